"""How people ask for the node types of `cas`."""

from __future__ import annotations

from physlab_mcp.words.entries import Entry, Sets

_CAS_NOUNS = ("expression", "function", "symbolically", "analytically", "exactly", "algebraically")
# What people call what they measured, before `m = 2.0 ± 0.1 kg`.
_QUANTITIES = (
    *("mass", "length", "time", "period", "current", "voltage", "resistance", "charge", "temperature", "pressure"),
    *("radius", "diameter", "height", "width", "distance", "volume", "density", "speed", "velocity", "force"),
    *(
        "frequency",
        "energy",
        "power",
        "angle",
        "area",
        "measured",
        "measure",
        "given",
        "carry",
        "carries",
        "has",
        "fall",
    ),
    *("resistor", "capacitor", "coil", "circuit", "wire", "pendulum", "spring", "ball", "rod", "cylinder", "sphere"),
    *("sample", "object", "body", "lens", "disk", "cart", "moves", "swing", "takes"),
)
_TIMES: Sets = {
    "once": {"order": 1},
    "twice": {"order": 2},
    "first derivative": {"order": 1},
    "second derivative": {"order": 2},
    "third derivative": {"order": 3},
    "fourth derivative": {"order": 4},
    "fifth derivative": {"order": 5},
}
CAS: dict[str, Entry] = {
    "cas.evaluate": Entry(
        triggers=("what is", "numerical value", "compute"),
        weak=("calculate", "compute", "what is", "expression", "formula"),
        nouns=_CAS_NOUNS,
    ),
    "cas.diff": Entry(
        triggers=("d/dx",),
        nouns=(*_CAS_NOUNS, "times", "evaluate"),
        cues={"order": ("time", "order"), "symbol": ("wrt",)},
        sets=_TIMES,
    ),
    "cas.integrate": Entry(
        nouns=(*_CAS_NOUNS, "definite", "indefinite", "curve", "area", "primitive", "evaluate"),
        sets={"numerically": {"method": "quadrature"}, "quadrature": {"method": "quadrature"}},
    ),
    "cas.simplify": Entry(
        nouns=_CAS_NOUNS,
        sets={
            "multiply out": {"form": "expand"},
            "factorise": {"form": "factor"},
            "factorize": {"form": "factor"},
            "partial fraction": {"form": "apart"},
        },
    ),
    "cas.solve_equation": Entry(
        triggers=("solve", "root", "zero of", "solution of", "solutions of", "equation", "vanish"),
        weak=("equation", "solve", "unknown"),
        nouns=(
            *_CAS_NOUNS,
            "equation",
            "quadratic",
            "cubic",
            "algebraic",
            "system",
            "simultaneous",
            "zeros",
            "solution",
            "all",
        ),
        assumed={"search": ""},
    ),
    "cas.solve_ode": Entry(
        triggers=("differential equation", "ode", "solve"),
        weak=("solve",),
        nouns=(
            *_CAS_NOUNS,
            "differential equation",
            "ordinary",
            "equation",
            "initial",
            "condition",
            "initial condition",
        ),
        assumed={"func": "", "symbol": ""},
    ),
    "cas.propagate_uncertainty": Entry(
        triggers=("uncertainty", "error propagation", "propagate", "error of", "error on", "error in", "uncertain"),
        nouns=(*_CAS_NOUNS, "error", "uncertainties", "errors", "propagation", "through", *_QUANTITIES, "if"),
    ),
    "cas.matrix": Entry(
        nouns=(*_CAS_NOUNS, "matrix", "matrices"),
        core=("task", "matrix"),
        sets={
            "determinant": {"task": "det"},
            "invert": {"task": "inverse"},
            "eigenvalue": {"task": "eigenvalues"},
            "eigenvector": {"task": "eigenvectors"},
            "product": {"task": "multiply"},
        },
    ),
}
