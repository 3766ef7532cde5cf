"""The concise answer, the page and the files of a sweep."""

import csv
import io
import json
import math
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sweep_tables import grid, sweep, thousand, timeline

from physlab_mcp.analysis import export
from physlab_mcp.analysis.analysis import analyse
from physlab_mcp.analysis.dashboard import dashboard
from physlab_mcp.analysis.figures.histogram import histogram
from physlab_mcp.errors import RequestError


def test_the_answer_for_four_parameters_is_short_and_true():
    df = thousand()
    found = analyse(df, metric="accuracy", group_by="kind")
    text = json.dumps(found.numbers, allow_nan=False)
    assert len(text) <= 1500
    done = df[df["state"] == "succeeded"]
    best = done.loc[done["accuracy"].idxmax()]
    assert found.numbers["best"]["point"] == best["point"]
    assert found.numbers["best"]["params"] == {name: best[name] for name in ("rate", "layers", "dropout", "kind")}
    assert found.numbers["points"] == {"succeeded": 996, "failed": 4}
    assert found.numbers["statistics"]["mean"] == pytest.approx(done["accuracy"].mean(), rel=1e-4)
    assert found.numbers["errors"] == [{"error": "ValueError: no root", "points": 4, "first": "point-0003"}]
    assert list(found.numbers["effects"]["main"])[:2] == ["rate", "layers"]
    means = done.groupby("kind")["accuracy"].mean().sort_values(ascending=False)
    assert [one["group"]["kind"] for one in found.numbers["groups"]] == means.index.tolist()
    assert [one["failed"] for one in found.numbers["groups"] if "failed" in one]
    assert found.charts()[0].name == "heatmap"


def test_repeats_ties_and_confounding_are_told():
    df = sweep(
        [{"a": a, "b": 2 * a, "seed": s} for a in range(12) for s in range(3)] * 2,
        lambda p, i: {"m": float(p["a"] // 6) + 0.01 * p["seed"]} if i else {"m": math.nan},
    )
    numbers = analyse(df, metric="m", group_by=["a"], plots=[]).numbers
    assert numbers["best"]["ties"] == 11
    assert numbers["best"]["setting"]["n"] == 6
    assert numbers["best"]["near"] == 5
    assert numbers["effects"]["confounded"] == [["a", "b", 1.0]]
    assert numbers["effects"]["noise"] == pytest.approx(0, abs=0.01)
    assert numbers["statistics"]["without_a_number"] == 1
    assert numbers["more_groups"] == 4
    assert analyse(df, metric="m", plots=[]).charts() == []


def test_a_constant_metric_and_few_points_are_analysed():
    assert "effects" not in analyse(sweep(grid(a=[1, 2, 3]), lambda p, i: {"m": 1.0}), maximize=False).numbers
    whole = analyse(sweep(grid(a=[1, 2], b=[1, 2], c=[1, 2]), lambda p, i: {"m": float(i)})).numbers
    assert (whole["effects"]["main"], whole.get("notes")) == ({"a": 0.7619, "b": 0.1905, "c": 0.0476}, None)
    one = analyse(sweep([{"a": 1}], lambda p, i: {"m": 1.0})).numbers
    assert one["statistics"] == {"n": 1, "mean": 1.0, "min": 1.0, "median": 1.0, "max": 1.0}


def test_a_sweep_that_gave_no_number_is_still_answered():
    df = sweep(grid(a=[1, 2]), lambda p, i: None)
    found = analyse(df, timeline=timeline(4))
    assert found.numbers["points"] == {"failed": 2}
    assert found.numbers["notes"] == ["No point gave a number."]
    assert [one.kind for one in found.charts()] == ["utilisation"]
    dead = analyse(sweep(grid(a=[1, 2]), lambda p, i: None, metrics=["fit.m"]), metric="m", group_by="a")
    assert "best" not in dead.numbers
    assert dead.numbers["groups"][0]["mean"] is None
    assert "<h1>Sweep</h1>" in found.dashboard()


class Page(HTMLParser):
    """What a page opens, closes and links to."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links, self.tags = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.append(tag)
        self.links += [given[name] for name in ("src", "href", "action", "data") if name in given]
        self.ids += [given["id"]] if "id" in given else []
        if tag not in ("meta", "link", "img", "input", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def hostile():
    points = grid(**{"<b>a": [1, 2], "k": ["</script><script>alert(1)</script>", "&amp; %%DATA%%"]})
    return sweep(points, lambda p, i: {"m": float(i), "inf": math.inf} if i != 1 else None, title="<i>Title & more</i>")


@pytest.mark.parametrize("make", [hostile, thousand])
def test_the_page_is_whole_self_contained_and_escaped(make):
    df = make()
    text = analyse(df, metric=df.attrs["metrics"][0], plots=["histogram", "convergence"]).dashboard()
    page = Page(text)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert all(one.startswith("data:image/") for one in page.links)
    assert page.tags.count("script") == 4  # one for each figure, data, code: nothing of the table became one
    assert not re.search(r"https?://(?!www\.w3\.org)", re.sub(r"base64,[^\"]+", "", text))
    assert text == analyse(df, metric=df.attrs["metrics"][0], plots=["histogram", "convergence"]).dashboard()


def test_the_page_holds_every_point_and_the_marks_of_its_figures():
    df = hostile()
    text = dashboard(df, [histogram(df, "m")], title="T")
    data = json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', text).group(1))
    assert len(data["rows"]) == 4
    assert data["rows"][0][data["columns"].index("k")] == "</script><script>alert(1)</script>"
    assert data["rows"][1][data["columns"].index("m")] is None
    assert data["rows"][0][data["columns"].index("inf")] == "inf"
    marks = json.loads(re.search(r'<script type="application/json">(\[\[.*?)</script>', text).group(1))
    assert sum(int(one[2].split(": ")[1].split(" ")[0]) for one in marks) == 3
    with pytest.raises(RequestError, match="no column 'point'"):
        dashboard(df.drop(columns="point"), [])


def test_a_big_sweep_shows_its_first_points_and_heavy_figures_as_images(monkeypatch):
    monkeypatch.setattr("physlab_mcp.analysis.dashboard.MOST_ROWS", 2)
    monkeypatch.setattr("physlab_mcp.analysis.dashboard._VECTOR_BYTES", 10)
    df = hostile()
    text = dashboard(df, [histogram(df, "m")])
    assert "The first 2 of 4 points." in text
    assert "data:image/png;base64," in text


PROBE = """
<script>
(() => {
  const cells = (at) => [...document.querySelectorAll("#points tbody tr")].map((row) => row.children[at].textContent);
  const heads = [...document.querySelectorAll("#points th")];
  const m = heads.findIndex((one) => one.textContent === "m");
  const filter = document.getElementById("filter");
  const ask = (text) => { filter.value = text; filter.dispatchEvent(new Event("input")); return cells(1).join(","); };
  const seen = { plain: cells(1).join(",") };
  heads[m].click(); seen.up = cells(1).join(",");
  heads[m].click(); seen.down = cells(1).join(",");
  seen.condition = ask("m >= 2"); seen.words = ask("alert failed"); seen.none = ask("nothing like it");
  seen.mixed = ask('state = succeeded m<3 m!=0');
  seen.spaced = ask('a name>1 "a name" = 2 m<3'); seen.large = cells(heads.findIndex((one) => one.textContent === "ended"))[0];
  const figure = document.querySelector("figure");
  const mark = JSON.parse(figure.querySelector("script").textContent)[0];
  const picture = figure.querySelector(".picture");
  const box = picture.getBoundingClientRect();
  picture.dispatchEvent(new MouseEvent("mousemove", {
    clientX: box.left + mark[0] * box.width + 3, clientY: box.top + mark[1] * box.height + 3, bubbles: true }));
  seen.tip = document.getElementById("tip").textContent === mark[2] && !document.getElementById("tip").hidden;
  picture.dispatchEvent(new MouseEvent("mouseleave"));
  seen.gone = document.getElementById("tip").hidden;
  seen.wide = figure.querySelector("img").naturalWidth > 100;
  document.title = JSON.stringify(seen);
})();
</script>
"""


def test_the_code_of_the_page_is_sound_javascript():
    node = Path(sys.executable).parent / "node"
    code = Path(export.__file__).parent / "page" / "page.js"
    done = subprocess.run([node, "--check", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def chromium():
    found = shutil.which("chromium")
    if found is None and os.environ.get("CI") == "true":
        pytest.fail("no Chromium here: run scripts/install-test-tools.sh as root")
    return found or pytest.skip("no Chromium here")


def test_the_page_sorts_filters_and_shows_values_in_a_browser(tmp_path, chromium):
    df = sweep(
        grid(**{"a name": [1, 2], "k": ["</script><script>alert(1)</script>", "plain"]}),
        lambda p, i: {"m": [2.0, 10.0, None, 0.5][i], "ended": 1795285198.8517} if i != 2 else None,
    )
    page = tmp_path / "page.html"
    text = dashboard(df, [histogram(df, "m")]).replace("</body>", f"{PROBE}</body>")
    page.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
         "--disable-background-networking", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    title = re.search(r"<title>(.*?)</title>", done.stdout)
    assert title, done.stderr[-2000:]
    assert json.loads(title.group(1)) == {
        "plain": "0,1,2,3", "up": "3,0,1,2", "down": "1,0,3,2", "condition": "1,0", "words": "2", "none": "",
        "mixed": "0,3", "spaced": "3", "large": "1795285198.852", "tip": True, "gone": True, "wide": True,
    }  # fmt: skip


def test_csv_holds_all_digits_and_reads_back():
    df = thousand()
    data = export.csv_bytes(df)
    assert data == export.csv_bytes(thousand())
    rows = list(csv.DictReader(io.StringIO(data.decode())))
    assert float(rows[0]["accuracy"]) == df["accuracy"][0]
    assert (rows[0]["ok"], rows[3]["ok"], rows[3]["accuracy"]) == ("true", "", "")
    assert data.count(b"\r") == 0


def test_parquet_keeps_types_and_names():
    df = thousand().assign(mixed=[1, "a"] * 500)
    data = export.parquet_bytes(df)
    assert data == export.parquet_bytes(thousand().assign(mixed=[1, "a"] * 500))
    back = pd.read_parquet(io.BytesIO(data))
    assert back["accuracy"].equals(df["accuracy"])
    assert back["layers"].dtype == "int64"
    assert back["mixed"].tolist()[:2] == ["1", "a"]
    assert back.attrs["metrics"] == df.attrs["metrics"]


def test_a_latex_table_is_escaped_and_tells_what_it_leaves_out():
    df = sweep(
        [{"a_b": r"50% of \x {y} & $z$ #1 ~^", "n": -3}, {"a_b": "t\n", "n": 1}, {"a_b": "u", "n": 2}],
        lambda p, i: {"m": [1.5e-7, -2.25, math.nan][i], "ok": bool(i), "big": [math.inf, -math.inf, 1.0][i]},
    )
    text = export.latex_table(df, caption="Best & worst", label="tab:best one", limit=2)
    assert r"a\_b & n & m & ok & big \\" in text
    assert (
        r"50\% of \textbackslash{}x \{y\} \& \$z\$ \#1 \textasciitilde{}\textasciicircum{} & $-3$ & $1.5 \times 10^{-7}$ & no & $\infty$ \\"
        in text
    )
    assert r"t  & 1 & $-2.25$ & yes & $-\infty$ \\" in text
    assert r"\begin{tabular}{lrrlr}" in text
    assert r"\caption{Best \& worst}" in text
    assert r"\label{tab:best-one}" in text
    assert "1 more row is not shown." in text
    assert "--" in export.latex_table(df, ["fit.m"])
    with pytest.raises(RequestError, match="names: there is no column 'nn'; the nearest is 'n'"):
        export.latex_table(df, ["nn"])


def test_everything_is_written_and_equal_input_gives_equal_bytes(tmp_path):
    df = hostile()
    charts = analyse(df, metric="m", plots=["histogram"]).charts()
    first = export.write_all(df, charts, tmp_path / "a", width="single")
    second = export.write_all(df, charts, tmp_path / "b", width="single")
    assert [one.name for one in first] == [
        "points.csv",
        "points.parquet",
        "points.tex",
        "histogram.pdf",
        "histogram.svg",
        "histogram.png",
    ]
    assert [one.read_bytes() for one in first] == [one.read_bytes() for one in second]
    assert export.write_figure(charts[0], tmp_path / "x.png", width=60.0).exists()
    with pytest.raises(RequestError, match=r"No table is written as '\.xlsx'"):
        export.write_table(df, tmp_path / "t.xlsx")
    with pytest.raises(RequestError, match="no width 'triple'"):
        export.write_figure(charts[0], tmp_path / "x.png", width="triple")
    with pytest.raises(RequestError, match="no figure format 'bmp'"):
        export.write_all(df, charts, tmp_path, formats=["bmp"])


def test_a_printed_figure_embeds_its_fonts(tmp_path):
    from pypdf import PdfReader

    place = export.write_figure(histogram(thousand(), "accuracy"), tmp_path / "h.pdf", width="single")
    page = PdfReader(place).pages[0]
    assert float(page.mediabox.width) == pytest.approx(85 / 25.4 * 72, abs=0.1)
    assert "accuracy" in page.extract_text()
    assert np.isfinite(float(page.mediabox.height))


def test_numbers_among_other_things_are_found():
    values = ["a", None, True, [1], {"b": 1}, 1.5, 10**400, -(10**400)]
    df = sweep(grid(a=list(range(8))), lambda p, i: {"m": values[i]})
    for metric in (None, "m", "fit.m"):
        numbers = analyse(df, metric=metric).numbers
        assert numbers["best"]["value"] == 1.5
        assert numbers["statistics"]["n"] == 1
        assert numbers["notes"][0] == "m: 2 values are no numbers and count as missing; the first is at point-0000."
    texts = analyse(sweep(grid(a=[1, 2]), lambda p, i: {"m": "x"})).numbers
    assert texts["notes"] == ["No point gave a number."]


def test_an_answer_can_always_be_written_as_json():
    df = sweep(grid(a=[0, 1, 2], s=[1, 2]), lambda p, i: {"m": [1.7e308, -1.7e308][i % 2]})
    numbers = analyse(df).numbers
    assert "Infinity" not in json.dumps(numbers, allow_nan=False)
    assert numbers["statistics"]["mean_95"] == [None, None]
    assert "A null stands for what is no finite number." in numbers["notes"]
    zero = analyse(sweep(grid(a=[0, 1]), lambda p, i: {"m": -0.0}), maximize=False).numbers
    assert "-0.0" not in json.dumps(zero)


def test_a_metric_that_no_point_gave_is_told_with_those_that_there_are():
    df = sweep(grid(a=[0, 1]), lambda p, i: {"accuracy": 1.0}, metrics=["fit.loss"])
    assert "No point gave loss; they gave accuracy." in analyse(df, metric="loss").numbers["notes"]
    alone = sweep(grid(a=[0, 1]), lambda p, i: {}, metrics=["fit.loss"])
    alone.attrs["other_metrics"] = ["fit.accuracy"]
    notes = analyse(alone).numbers["notes"]
    assert notes == ["No point gave a number.", "No point gave loss; they gave fit.accuracy."]


def test_none_is_a_group_of_the_answer():
    df = sweep(grid(penalty=[None, "l2"], a=[1, 2, 3]), lambda p, i: {"m": p["a"] + 100.0 * (p["penalty"] is None)})
    groups = analyse(df, group_by="penalty").numbers["groups"]
    assert [(one["group"]["penalty"], one["mean"]) for one in groups] == [(None, 102.0), ("l2", 2.0)]
