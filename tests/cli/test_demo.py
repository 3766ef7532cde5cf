"""`physlab demo`: the whole way from a graph to checked numbers, figures and a report."""

from pathlib import Path

import av
import pytest
from pypdf import PdfReader

from physlab_mcp.cli.demo import numbers, packaged


@pytest.fixture(scope="module")
def first(shared):
    return shared("--json", "demo").json


@pytest.fixture(scope="module")
def second(shared, first):
    return shared("demo", "--out", "again")


def test_every_number_is_what_theory_or_measurement_says(first):
    assert len(first["numbers"]) == 6
    assert all(row["ok"] for row in first["numbers"]), first["numbers"]


def test_the_energy_of_2p_is_the_closed_form(first):
    energy = first["numbers"][0]
    assert energy["expected"] == pytest.approx(-13.605693122990 / 4, rel=1e-10)
    assert energy["difference"] < 1e-9


def test_figures_and_report_lie_in_the_folder_that_is_told(first, shared):
    folder = Path(first["folder"])
    assert folder.parent == shared.folder / "physlab-out"
    assert folder.name == f"the-hydrogen-2p-orbital-{first['run_id']}"
    assert {"isosurface-isosurface.png", "film-animation.mp4", "values.json", "report.pdf"} <= {
        p.name for p in folder.iterdir()
    }
    assert Path(first["report"]).read_bytes().startswith(b"%PDF-")
    assert all(Path(path).stat().st_size > 1000 for path in first["figures"])
    with av.open(folder / "film-animation.mp4") as film:
        assert sum(1 for _ in film.decode(video=0)) == 81


def test_the_report_numbers_its_references_where_they_are_used(first):
    text = "\n".join(page.extract_text() for page in PdfReader(first["report"]).pages)
    assert "Further reading" not in text
    listed = text[text.rindex("References") :]
    assert all(f"[{number}]" in text[: text.rindex("References")] for number in range(1, 6))
    assert all(f"[{number}]" in listed for number in range(1, 6))


def test_nothing_of_the_first_run_comes_from_the_cache(first):
    assert first["cache_hits"] == 0
    assert sum(first["devices"].values()) == first["nodes"]


def test_the_second_run_comes_from_the_cache(first, second):
    assert f"All {first['nodes']} nodes from the cache." in second.out


def test_it_ends_with_the_next_commands(second):
    assert "Next:\n  physlab demo" in second.out
    assert "physlab install" in second.out


def test_it_tells_of_every_node_on_the_way(second):
    assert "orbital_2p: succeeded (from the cache)" in second.err
    assert "film: succeeded (from the cache)" in second.err


def test_out_names_the_folder(second, shared):
    del second
    assert (shared.folder / "again" / "report.pdf").is_file()


def test_a_wrong_number_is_marked():
    values = {
        "rydberg": {"value": 13.6}, "lyman_alpha": {"wavelength_nm": 122.0, "measured_nm": 121.567},
        "orbital_2p": {"energy_eV": -3.4, "energy_reduced_mass_eV": -3.39, "energy_closed_form_eV": -3.4, "norm": 1.0,
                       "r_mean_a0": 5.0, "inv_r_mean_inv_a0": 0.25},
    }  # fmt: skip
    assert [row["ok"] for row in numbers(values)] == [True, False, True, True, True, False]


@pytest.mark.parametrize("name", ["hydrogen_2p.json", "hydrogen_2p.bib"])
def test_the_packaged_files_equal_the_examples(name):
    assert packaged(name) == (Path(__file__).parents[2] / "examples" / name).read_text()
