"""The node `constants_get`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from physlab_mcp.errors import RequestError
from physlab_mcp.nodes.registry import NodeParams, node_type
from physlab_mcp.schemas.result import NodeResult

if TYPE_CHECKING:
    from physlab_mcp.nodes.io import NodeIO


class ConstantsGetParams(NodeParams):
    """Which constant."""

    name: str = Field(
        min_length=1,
        max_length=100,
        description='CODATA name ("Rydberg constant") or alias (R_inf, Ry, h, hbar, c, e, m_e, m_p, k_B, N_A, a_0 …)',
    )


def known(name: str) -> str:
    """The full name of a constant.

    Raises:
        RequestError: no such constant; the remedy names the nearest.

    """
    from physlab_mcp.physics import constants

    try:
        return constants.full_name(name)
    except KeyError:
        raise RequestError(
            f"There is no constant {name!r}.",
            field="name",
            got=name,
            remedy=f"Nearest: {', '.join(constants.nearest(name))}.",
            example={"name": "R_inf"},
        ) from None


@node_type(
    "constants_get",
    params=ConstantsGetParams,
    summary="A fundamental constant as CODATA recommends it, with uncertainty and unit",
    packages=("numpy", "scipy"),
    outputs={
        "name": "full CODATA name",
        "value": "recommended value in `unit`",
        "uncertainty": "standard uncertainty in `unit`",
        "relative_uncertainty": "uncertainty over value",
        "unit": "SI unit, empty for a pure number",
        "exact": "whether the SI fixes the value",
        "edition": "the CODATA adjustment",
    },
    example={"name": "R_inf"},
    aliases=("constants.get",),
    words=("constant", "look up", "value of", "what is", "codata"),
    compute_s=3.0,
    checks={"name": known},
)
def constants_get(params: ConstantsGetParams, io: NodeIO) -> NodeResult:
    """Look one constant up.

    Raises:
        RequestError: no such constant; the remedy names the nearest.

    """
    from physlab_mcp.physics import constants

    found = constants.get(known(params.name))
    values = {
        "name": found.name,
        "value": found.value,
        "uncertainty": found.uncertainty,
        "relative_uncertainty": abs(found.uncertainty / found.value),
        "unit": found.unit,
        "exact": found.exact,
        "edition": constants.edition(),
    }
    return NodeResult(
        values=values,
        units={"value": found.unit, "uncertainty": found.unit},
        meta={"device": io.device, "dtype": "float64", "samples": 1, "warnings": list(io.warnings)},
    )
