"""`flow.passthrough`, `constants_get` and `units_convert`."""

import subprocess
import sys

import pytest
from node_runs import Bench

from physlab_mcp.errors import RequestError


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


@pytest.mark.parametrize("value", [None, 1.5, "text", [1, {"a": 2}]])
def test_passthrough_hands_its_value_on(bench, value):
    assert bench.run("flow.passthrough", value=value).values == {"value": value}


def test_the_entry_modules_import_nothing_heavy():
    modules = ", ".join(f"physlab_mcp.nodes.{name}" for name in ("flow", "constants", "units", "quantum", "plot"))
    code = f"import sys, {modules}; print([m for m in ('numpy','scipy','matplotlib','pint','av') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_constant_comes_with_uncertainty_unit_and_edition(bench):
    result = bench.run("constants_get", name="R_inf")
    bench.check_declared("constants_get", result)
    assert result.values["value"] == 10973731.568157
    assert result.values["unit"] == "m^-1"
    assert result.values["uncertainty"] == 1.2e-05
    assert result.values["exact"] is False
    assert bench.run("constants_get", name="h").values["exact"] is True


def test_unknown_constant_is_an_error_that_names_the_nearest(bench):
    with pytest.raises(RequestError, match="Rydberg constant"):
        bench.run("constants_get", name="rydbrg constant")


@pytest.mark.parametrize(
    ("value", "unit", "to", "expected"),
    [
        (1, "hartree", "eV", 27.211386),
        (25, "degC", "kelvin", 298.15),
        (121.567, "nm", "angstrom", 1215.67),
        (1, "kg*m**2/s^2", "J", 1.0),
        (2, "1/cm", "m**-1", 200.0),
        (3, "", "percent", 300.0),
    ],
)
def test_quantities_are_converted(bench, value, unit, to, expected):
    result = bench.run("units_convert", quantity={"value": value, "unit": unit}, to=to)
    bench.check_declared("units_convert", result)
    assert result.values["value"] == pytest.approx(expected, rel=1e-7)
    assert result.values["unit"] == to


def test_units_of_another_dimension_are_refused_with_both_dimensions(bench):
    with pytest.raises(RequestError, match=r"\[length\].*\[time\]") as caught:
        bench.run("units_convert", quantity={"value": 1, "unit": "m"}, to="s")
    assert caught.value.field == "to"


@pytest.mark.parametrize(
    "unit", ["nonsense", "9**9**9**9", "m**9999999", "m; s", "__import__('os')", "5 m", "m.__class__"]
)
def test_text_that_is_not_a_unit_is_refused(bench, unit):
    with pytest.raises(RequestError) as caught:
        bench.run("units_convert", quantity={"value": 1, "unit": unit}, to="m")
    assert caught.value.field == "quantity.unit"
