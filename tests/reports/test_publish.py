"""A whole report, read back with pypdf."""

from __future__ import annotations

import io
import re

import msgspec
import pytest
import report_samples as samples
from pypdf import PdfReader

from physlab_mcp.artifacts.blobs import Blobs
from physlab_mcp.errors import RequestError
from physlab_mcp.reports import PublishedReport, ReportInput, publish
from physlab_mcp.schemas.artifact import ArtifactRef, Figure


@pytest.fixture(scope="module")
def blobs(tmp_path_factory) -> Blobs:
    return Blobs(tmp_path_factory.mktemp("blobs"))


@pytest.fixture(scope="module")
def report(blobs) -> ReportInput:
    return samples.hydrogen(blobs)


@pytest.fixture(scope="module")
def published(report, blobs) -> PublishedReport:
    return publish(report, blobs)


def text_of(published: PublishedReport) -> str:
    pages = [page.extract_text() for page in PdfReader(io.BytesIO(published.pdf)).pages]
    return re.sub(r"\s+", " ", "\n".join(pages))


def links_of(published: PublishedReport) -> set[str]:
    found = set()
    for page in PdfReader(io.BytesIO(published.pdf)).pages:
        for one in page.get("/Annots") or ():
            action = one.get_object().get("/A")
            if action is not None and "/URI" in action.get_object():
                found.add(str(action.get_object()["/URI"]))
    return found


def test_it_has_title_authors_date_and_numbered_pages(published):
    text = text_of(published)
    assert "The 2p orbital of hydrogen: energy, shape and the Lyman-α line" in text
    assert "Ada Example, Erwin Øst" in text
    assert "21 November 2026" in text
    reader = PdfReader(io.BytesIO(published.pdf))
    assert len(reader.pages) == published.page_count
    assert 4 <= published.page_count <= 9
    for number, page in enumerate(reader.pages, 1):
        assert re.search(rf"{number} of\s+{published.page_count}\b", page.extract_text())


def test_metadata_and_outline_name_the_report_and_its_sections(published):
    reader = PdfReader(io.BytesIO(published.pdf))
    assert reader.metadata.title.startswith("The 2p orbital")
    assert reader.metadata.author == "Ada Example, Erwin Øst"
    assert reader.metadata.creation_date.year == 2026
    titles = [one.title for one in reader.outline if not isinstance(one, list)]
    assert titles == ["1 Aim", "2 Results", "3 Methods", "4 Data flow", "5 Provenance", "References", "Further reading"]


def test_the_abstract_is_composed_from_the_values_when_none_is_given(published):
    text = text_of(published)
    assert "It found Rydberg constant times hc in eV = 13.605693122990(15) eV in rydberg" in text
    assert "energy = −3.4014233 eV (closed form: −3.4014233 eV" in text
    assert "wavelength = 121.5684 nm (measured: 121.567" in text


def test_a_given_abstract_stands_as_it_is(report, blobs):
    text = text_of(publish(msgspec.structs.replace(report, abstract=r"We solve $E=mc^2$ \cite{bethe1957}."), blobs))
    assert "It found" not in text
    assert "We solve" in text
    assert "E=mc^2" in text


def test_figures_are_numbered_captioned_and_link_to_their_artifacts(report, published):
    assert [one.number for one in published.figures] == [1, 2, 3, 4, 5]
    text = text_of(published)
    for one in published.figures:
        assert f"Figure {one.number}. {one.caption[:20].split('$')[0]}" in text
    links = links_of(published)
    orbital, beat = report.nodes[1].result, report.nodes[3].result
    for figure in orbital.figures:
        assert f"physlab://artifacts/{figure.png.sha256}" in links
        assert f"physlab://artifacts/{figure.svg.sha256}" in links
    assert f"physlab://artifacts/{beat.figures[0].mp4.sha256}" in links
    assert published.figures[3].sha256 == beat.figures[0].mp4.sha256
    assert "A representative frame of the animation is shown" in text


def test_results_have_units_comparisons_and_uncertainties(published):
    text = text_of(published)
    assert "Computed quantities beside known ones" in text
    assert "−3.401423281 (closed form)" in text
    assert "121.567 (measured)" in text
    assert "13.605693122990(15)" in text
    assert "The grid holds 0.997 of the density" in text
    assert len(re.findall(r"Table \d+\. ", text)) >= published.tables


def test_methods_and_provenance_list_what_is_needed_to_repeat_it(published):
    text = text_of(published)
    for word in (
        "grid_points", "radial_points", "values.value of rydberg", "9f2b44c1d0e8", "run-0bk3f9w2m4xq7c1t",
        "dag-5d1c0e77a92b", "cached from", "job-0bj9earlier00000", "2026-11-18", "cpu: 3 nodes, cuda: 1 node", "dc93301f0e",
        "with uncommitted changes", "NVIDIA H100", "1 of 4", "rydberg → orbital_2p",
    ):  # fmt: skip
        assert word in text, word
    assert "scipy" in text
    assert "ab" * 32 in text


def test_references_are_numbered_by_citation_and_the_rest_is_further_reading(published):
    text = text_of(published)
    references = text[text.index("References") :]
    first, second = references.index("[1]"), references.index("[2]")
    assert (
        "H. A. Bethe and E. E. Salpeter, Quantum Mechanics of One- and Two-Electron Atoms (Springer, Berlin, 1957)."
        in (references[first:second])
    )
    assert "P. J. Mohr, D. B. Newell, B. N. Taylor, and E. Tiesinga" in references[second:]
    assert "E. Schrödinger, Quantisierung" in references[references.index("Further reading") :]
    assert "https://doi.org/10.1103/RevModPhys.97.025002" in links_of(published)


def test_mathematics_is_drawn_and_can_be_searched(published):
    text = text_of(published)
    assert r"\frac{l(l+1)}{2r^2}" in text
    assert "GPU hour, $2, does" in text
    assert "ℏω" in text


def test_typefaces_are_embedded(published):
    reader = PdfReader(io.BytesIO(published.pdf))
    for font in reader.pages[0]["/Resources"]["/Font"].values():
        held = font.get_object()
        if "STIX" in str(held["/BaseFont"]):
            assert "/FontFile2" in held["/FontDescriptor"]
            break
    else:
        pytest.fail("no STIX on the first page")


def test_equal_input_gives_equal_bytes(report, published, blobs):
    assert publish(report, blobs).pdf == published.pdf
    later = publish(msgspec.structs.replace(report, created_at=report.created_at + 86_400), blobs)
    assert later.pdf != published.pdf


def test_failed_and_skipped_nodes_have_their_own_section(report, blobs):
    text = text_of(publish(msgspec.structs.replace(report, nodes=(*report.nodes, *samples.broken())), blobs))
    assert "Nodes that did not succeed" in text
    assert "oom: The node needed more than 4 GiB of memory." in text
    assert "Lower grid_points or raise resources.memory." in text
    assert "need failed: orbital_5g failed" in text
    assert "2 did not succeed (orbital_5g and compare)" in text


def test_a_corrupted_picture_becomes_a_placeholder_and_a_warning(tmp_path):
    own = Blobs(tmp_path)
    report = samples.hydrogen(own)
    digest = report.nodes[1].result.figures[0].png.sha256
    own.path(digest).write_bytes(b"rotten")
    made = publish(report, own)
    assert "No picture: Artifact" in text_of(made)
    assert [one for one in made.warnings if "orbital_2p" in one and "corrupted" in one]
    assert len(made.figures) == 5


HOSTILE = '<b>bold</b> & "q" <img src="file:///x"/> \u202eabc שלום 中文 😀 \x00\x07 $\\frac{$ ]]> <para><a href="x">'


def test_hostile_text_is_shown_as_it_is(report, blobs):
    node = report.nodes[1]
    figures = (
        Figure(name="gone", caption=HOSTILE, png=ArtifactRef("cd" * 32, "gone.png", "image/png", 5)),
        Figure(name="none", caption="x" * 10_000),
    )
    values = {
        "<x>": HOSTILE,
        "long": "W" * 5000,
        "nan": float("nan"),
        "inf": float("-inf"),
        "big": 10**400,
        "deep": [[1]],
    }
    node = msgspec.structs.replace(
        node,
        params={"x": "y" * 10_000, "<k>": HOSTILE, "list": list(range(1000))},
        result=msgspec.structs.replace(node.result, figures=figures, values=values),
    )
    made = publish(
        msgspec.structs.replace(
            report,
            nodes=(node,),
            title=HOSTILE + "T" * 10_000,
            authors=(HOSTILE, "B" * 1000, *(f"A{at}" for at in range(90))),
            abstract=HOSTILE + "w" * 10_000,
            description=f"{HOSTILE} \\cite{{nope}}",
            environment={"x": HOSTILE, "packages": {HOSTILE: HOSTILE}},
            overview_png=b"no picture",
        ),
        blobs,
    )
    text = text_of(made)
    assert '<b>bold</b> & "q" <img src="file:///x"/>' in text
    assert "not a number" in text
    assert "nope?" in text
    assert any("'nope' has no BibTeX entry" in one for one in made.warnings)
    assert any("could not be set" in one for one in made.warnings)
    assert not [one for one in links_of(made) if not one.startswith(("physlab://", "https://doi.org/"))]


def test_characters_that_no_typeface_has_are_named_with_where_they_stand(report, published, blobs):
    assert not [one for one in published.warnings if "typefaces" in one]
    made = publish(msgspec.structs.replace(report, title="氢原子 2p", description="能级 of hydrogen, 原"), blobs)
    (told,) = [one for one in made.warnings if "typefaces" in one]
    assert "cannot draw 氢 原 子 能 级, which stand in '氢原子 2p'" in told
    assert "能级 of hydrogen" in told
    many = "".join(map(chr, range(0x4E00, 0x4E00 + 300)))
    (told,) = [
        one for one in publish(msgspec.structs.replace(report, title=many), blobs).warnings if "typefaces" in one
    ]
    assert "and 290 more" in told
    assert len(told) < 400
    assert not [one for one in publish(report, blobs).warnings if "typefaces" in one]


def test_what_is_cited_nowhere_stands_under_references_where_nothing_is_cited(report, blobs):
    made = publish(msgspec.structs.replace(report, abstract="None.", description="None."), blobs)
    text = text_of(made)
    assert "Further reading" not in text
    assert "Quantum Mechanics of One- and Two-Electron Atoms" in text[text.rindex("References") :]


def test_hundreds_of_nodes_are_capped_with_how_many_more(report, blobs):
    line = report.nodes[2]
    many = tuple(
        msgspec.structs.replace(line, node_id=f"line_{at}", params={**line.params, "upper_n": at + 2})
        for at in range(400)
    )
    made = publish(msgspec.structs.replace(report, nodes=(report.nodes[0], *many)), blobs)
    text = text_of(made)
    assert "Values of the 400 nodes of quantum.spectral_line" in text
    assert "… and 320 more nodes" in text
    assert "more jobs" in text
    assert made.page_count < 25


def test_a_run_without_anything_still_gives_a_report(blobs):
    made = publish(ReportInput(run_id="run-1", dag_id="dag-1", title=""), blobs)
    assert "Untitled experiment" in text_of(made)
    assert made.figures == ()


def test_a_bad_bibliography_is_refused_before_anything_is_drawn(report, blobs):
    with pytest.raises(RequestError, match=r"bib\[0\], entry 'a', line 1"):
        publish(msgspec.structs.replace(report, bib=("@article{a, title={x}",)), blobs)


@pytest.mark.parametrize("copies", [1, 5])
def test_mathematics_in_parameters_is_set(report, blobs, copies):
    first = report.nodes[0]
    params = {"x_label": "$a_0$ of it", "plain": "costs 5$", **{f"p{i}": f"$b_{i}$" for i in range(6)}}
    nodes = tuple(
        msgspec.structs.replace(first, node_id=f"n{i}", params={**params, **{f"v{j}": f"$c_{i}$" for j in range(6)}})
        for i in range(copies)
    )
    text = text_of(publish(msgspec.structs.replace(report, nodes=nodes), blobs))
    methods = text[text.index("3 Methods") :]
    assert "of it" in methods
    assert "$a_0$" not in methods
    assert "$b_" not in methods
    assert "$c_" not in methods
    assert "costs 5$" in methods
