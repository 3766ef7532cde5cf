"""Numbers, units and captions in print."""

from __future__ import annotations

import math

import pytest
import report_samples as samples
from hypothesis import given
from hypothesis import strategies as st

from physlab_mcp.analysis import quantities
from physlab_mcp.artifacts.blobs import Blobs
from physlab_mcp.reports.captions import caption_for, tidy
from physlab_mcp.reports.findings import comparisons_of, quantities_of


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (-3.4014232807, "−3.4014233"),
        (1.2e-12, "1.2 × 10⁻¹²"),
        (1e-5, "10⁻⁵"),
        (-1e20, "−10²⁰"),
        (0.0, "0"),
        (5, "5"),
        (True, "yes"),
        (math.inf, "∞"),
        (0.9999999999998, "1 − 2 × 10⁻¹³"),
        (121567.3, "121567.3"),
    ],
)
def test_numbers_are_printed_as_in_a_paper(value, text):
    assert quantities.number_text(value) == text


@pytest.mark.parametrize(
    ("value", "spread", "text"),
    [
        (9.1093837139e-31, 2.8e-40, "9.1093837139(28) × 10⁻³¹"),
        (13.60569312299, 1.5e-11, "13.605693122990(15)"),
        (-3.4014, 0.002, "−3.4014(20)"),
        (120.0, 35.0, "120(35)"),
        (1.0, 0.0, "1"),
    ],
)
def test_uncertainties_stand_on_the_last_two_digits(value, spread, text):
    assert quantities.measured_text(value, spread) == text


@given(st.floats(allow_nan=True, allow_infinity=True), st.floats(allow_nan=True, allow_infinity=True))
def test_any_two_numbers_can_be_printed(value, spread):
    assert quantities.number_text(value)
    assert quantities.measured_text(value, spread)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("photon_energy_eV", ("photon energy", "eV")),
        ("extent_a0", ("extent", "a₀")),
        ("inv_r_mean_inv_a0", ("inv r mean", "a₀⁻¹")),
        ("wavenumber_per_cm", ("wavenumber", "cm⁻¹")),
        ("n", ("n", "")),
    ],
)
def test_names_are_split_into_words_and_unit(name, split):
    assert quantities.split_name(name) == split


def test_long_values_end_in_an_ellipsis():
    assert quantities.value_text("y" * 10_000, 50) == "y" * 49 + "…"
    assert quantities.value_text(list(range(1000))).endswith("(1000 in all)]")
    assert quantities.value_text({"$from": "a", "key": "values.x"}) == "values.x of a"


def test_a_nodes_prose_is_set_properly():
    assert tidy("relative error 1.0e-11; <r> = -5 a0, R in a0^(-3/2)") == (
        "relative error 1.0 × 10⁻¹¹; ⟨r⟩ = −5 a₀, R in a₀⁻³⁄²"
    )


def test_a_caption_adds_the_parameters_and_values_it_does_not_tell_yet(tmp_path):
    node = samples.orbital(Blobs(tmp_path))
    caption = caption_for(node, node.result.figures[2], samples.ORBITAL)
    assert caption.startswith(
        "Probability density of the 2p state in a plane through the z axis. Parameters: n = 2, l = 1"
    )
    assert "grid points = 96" in caption
    assert "energy = −3.4014233 eV" in caption


def test_comparisons_pair_a_number_with_its_closed_form_or_measurement(tmp_path):
    nodes = samples.nodes(Blobs(tmp_path))
    found = [one for node in nodes for one in comparisons_of(node, samples.TYPES[node.type])]
    assert [(one.words, one.kind) for one in found] == [
        ("energy", "closed form"),
        ("r mean", "closed form"),
        ("wavelength", "measured"),
    ]
    assert found[2].relative == pytest.approx(1.15e-5, rel=0.01)


def test_an_uncertainty_is_folded_into_its_value(tmp_path):
    node = samples.nodes(Blobs(tmp_path))[0]
    rows = {one.key: one for one in quantities_of(node, samples.TYPES[node.type])}
    assert rows["value"].text == "13.605693122990(15)"
    assert rows["value"].unit == "eV"
    assert "uncertainty" not in rows
