"""Fundamental constants as CODATA recommends them, through `scipy.constants`.

Source: P. J. Mohr et al., "CODATA recommended values of the fundamental physical constants: 2022",
Rev. Mod. Phys. 97, 025002 (2025), doi:10.1103/RevModPhys.97.025002.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cache, lru_cache
from types import MappingProxyType
from typing import Any

ALIASES = MappingProxyType(
    {
        "c": "speed of light in vacuum",
        "speed of light": "speed of light in vacuum",
        "h": "Planck constant",
        "h_eV": "Planck constant in eV/Hz",
        "hbar": "reduced Planck constant",
        "hbar_eV": "reduced Planck constant in eV s",
        "e": "elementary charge",
        "q_e": "elementary charge",
        "m_e": "electron mass",
        "m_p": "proton mass",
        "m_n": "neutron mass",
        "m_alpha": "alpha particle mass",
        "m_u": "atomic mass constant",
        "u": "atomic mass constant",
        "k": "Boltzmann constant",
        "k_B": "Boltzmann constant",
        "k_B_eV": "Boltzmann constant in eV/K",
        "N_A": "Avogadro constant",
        "R": "molar gas constant",
        "F": "Faraday constant",
        "G": "Newtonian constant of gravitation",
        "g": "standard acceleration of gravity",
        "sigma": "Stefan-Boltzmann constant",
        "epsilon_0": "vacuum electric permittivity",
        "eps_0": "vacuum electric permittivity",
        "mu_0": "vacuum mag. permeability",
        "Z_0": "characteristic impedance of vacuum",
        "alpha": "fine-structure constant",
        "R_inf": "Rydberg constant",
        "R_inf_hc": "Rydberg constant times hc in J",
        "Ry": "Rydberg constant times hc in eV",
        "rydberg_eV": "Rydberg constant times hc in eV",
        "a_0": "Bohr radius",
        "a0": "Bohr radius",
        "E_h": "Hartree energy",
        "hartree": "Hartree energy",
        "hartree_eV": "Hartree energy in eV",
        "mu_B": "Bohr magneton",
        "mu_N": "nuclear magneton",
        "r_e": "classical electron radius",
        "lambda_C": "Compton wavelength",
        "m_e/m_p": "electron-proton mass ratio",
        "m_p/m_e": "proton-electron mass ratio",
        "g_e": "electron g factor",
        "Phi_0": "mag. flux quantum",
        "K_J": "Josephson constant",
        "R_K": "von Klitzing constant",
        "eV": "electron volt",
    }
)


@dataclass(frozen=True)
class Constant:
    """A recommended value with its standard uncertainty, both in `unit` (SI; "" is dimensionless)."""

    name: str
    value: float
    uncertainty: float
    unit: str

    @property
    def exact(self) -> bool:
        """Whether the SI fixes the value: its uncertainty is zero."""
        return self.uncertainty == 0


@cache
def _codata() -> dict[str, tuple[Any, Any, Any]]:
    """Value, unit and uncertainty by name; scipy is imported at the first look beyond the aliases."""
    from scipy.constants import physical_constants

    return dict(physical_constants)


@cache
def edition() -> str:
    """The CODATA adjustment that the installed scipy carries, told by its fine-structure constant."""
    inverse = f"{_codata()['inverse fine-structure constant'][0]:.9f}"
    return {"137.035999177": "CODATA 2022", "137.035999084": "CODATA 2018"}.get(inverse, "CODATA")


@cache
def _by_folded_name() -> dict[str, str]:
    return {name.casefold(): name for name in _codata()}


def full_name(name: str) -> str:
    """The CODATA name behind a CODATA name (case does not matter) or alias (case matters: `g` is not `G`).

    Raises:
        KeyError: there is no such constant.

    """
    return ALIASES.get(name) or _by_folded_name()[name.strip().casefold()]


def get(name: str) -> Constant:
    """The constant of that CODATA name or alias.

    Raises:
        KeyError: there is no such constant.

    """
    full = full_name(name)
    value, unit, uncertainty = _codata()[full]
    return Constant(full, float(value), float(uncertainty), str(unit))


@lru_cache(maxsize=1024)
def nearest(name: str, limit: int = 5) -> tuple[str, ...]:
    """Names and aliases most like an unknown one, best first."""
    wanted = name.casefold()

    def likeness(candidate: str) -> float:
        other = candidate.casefold()
        inside = 0.5 if len(wanted) > 2 and wanted in other else 0.0
        return inside + SequenceMatcher(None, wanted, other).ratio()

    candidates = {*ALIASES, *_codata()}
    return tuple(sorted(candidates, key=lambda one: (-likeness(one), len(one), one))[:limit])
