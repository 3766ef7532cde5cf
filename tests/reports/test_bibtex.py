"""The BibTeX reader and the references made from it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from physlab_mcp.errors import RequestError
from physlab_mcp.reports.bibtex import parse
from physlab_mcp.reports.latex import to_text
from physlab_mcp.reports.references import name_text, names_text, reference


def shown(source: str) -> str:
    return "".join(piece.text for piece in reference(parse([source])[0]))


def test_strings_numbers_quotes_braces_and_concatenation_are_read():
    (entry,) = parse(['@string{pr = "Phys. Rev."} @Article(k, journal = pr # { A} # " {B}", Year=2001, month = jan,)'])
    assert entry.kind == "article"
    assert entry.fields == {"journal": "Phys. Rev. A B", "year": "2001", "month": "January"}


def test_strings_hold_for_the_texts_that_follow():
    assert parse(['@string{x = "Y"}', "@misc{k, note = x}"])[0].fields["note"] == "Y"


def test_comments_and_text_between_entries_are_passed_over():
    text = 'A note. @comment{ @article{no} } @preamble{"\\x"} @misc{k, title={T {nested {deep}}}} the end'
    assert [(one.key, one.fields) for one in parse([text])] == [("k", {"title": "T nested deep"})]


@pytest.mark.parametrize(
    ("latex", "text"),
    [
        (r"Schr{\"o}dinger", "Schrödinger"),
        (r"Schr\"odinger", "Schrödinger"),
        (r"Erd\H{o}s, \'{E}mile, {\'\i}", "Erdős, Émile, í"),
        (r"{\O}rsted \aa ngstr\"om \ss", "Ørsted ångström ß"),
        (r"\v{S}koda \c{c}a \~n", "Škoda ça ñ"),
        (r"A \& B 100\% --- 1--2 ``q''", "A & B 100% — 1–2 “q”"),
        (r"{CODATA} of $\alpha^{2}$ and \emph{this}", r"CODATA of $\alpha^{2}$ and this"),
    ],
)
def test_latex_becomes_unicode_and_mathematics_stays(latex, text):
    assert to_text(latex) == text


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("Hans A. Bethe", "H. A. Bethe"),
        ("Bethe, Hans A.", "H. A. Bethe"),
        ("Ludwig van Beethoven", "L. van Beethoven"),
        ("de la Cruz, Ana", "A. de la Cruz"),
        ("King, Jr., Martin Luther", "M. L. King Jr."),
        ("{The ATLAS Collaboration}", "The ATLAS Collaboration"),
        ("Jean-Paul Sartre", "J.-P. Sartre"),
        ("Plato", "Plato"),
    ],
)
def test_names_are_set_as_initials_and_surname(raw, name):
    assert name_text(raw).replace("\u00a0", " ") == name


def test_many_authors_end_in_et_al():
    assert names_text(" and ".join(f"A. Name{at}" for at in range(20))).replace("\u00a0", " ") == "A. Name0 et al."
    assert names_text("A. One and others").replace("\u00a0", " ") == "A. One et al."


def test_missing_fields_are_left_out():
    assert shown("@misc{k, title={Only a title}}") == "Only a title."
    assert shown("@misc{k}") == "k."
    assert shown("@article{k, journal={J}, volume=3, pages={1-2}, year=1999}") == "J 3, 1–2 (1999)."


def test_only_web_addresses_become_links():
    entry = parse(["@misc{k, title={T}, url={javascript:alert(1)}}"])[0]
    assert [piece.link for piece in reference(entry) if piece.link] == []
    entry = parse(["@misc{k, title={T}, doi={https://doi.org/10.1/a_b}}"])[0]
    assert [piece.link for piece in reference(entry) if piece.link] == ["https://doi.org/10.1/a_b"]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("@article{a, title={x}", "entry 'a', line 1, column 22"),
        ("@article{a title={x}}", "expected ',' after the key"),
        ("@article{a, title=foo}", "'foo' is no number and no @string"),
        ("@book{b,\n year 3}", "entry 'b', line 2, column 7"),
        ("nothing", "no entry in this text"),
        ("@article{a, title={x} year={y}}", "Separate fields by commas"),
        ("@article{a, title={x", "never closed"),
        ("@misc{a, note={1}} @misc{a, note={2}}", "two different entries"),
    ],
)
def test_a_bad_entry_is_named_with_its_place_and_a_remedy(text, part):
    with pytest.raises(RequestError) as caught:
        parse([text])
    assert part in str(caught.value)
    assert caught.value.remedy
    assert caught.value.field == "bib[0]"


@given(st.text(alphabet='@{}(),="#\\ \nabc1$%', max_size=60))
def test_any_text_is_read_or_refused(text):
    try:
        entries = parse([text])
    except RequestError as error:
        entries = ()
        remedy = error.remedy
    else:
        remedy = "none needed"
    assert remedy
    assert all(reference(entry) for entry in entries)
