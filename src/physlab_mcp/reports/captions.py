"""Captions and the composed abstract: plain text made from what the nodes really gave."""

from __future__ import annotations

import re

from physlab_mcp.analysis import quantities
from physlab_mcp.reports.findings import is_known, key_findings, quantities_of
from physlab_mcp.reports.model import NodeTypeInfo, ReportInput
from physlab_mcp.schemas.artifact import Figure
from physlab_mcp.schemas.status import NodeView

CAPTION_LIMIT = 900
_SWITCHES = ("emit_plots", "emit_csv", "emit_animation")


def tidy(text: str) -> str:
    """A node's own prose with its numbers and units set properly: 1.2e-12, a0^(-3/2), |Y|^2."""

    def power(found: re.Match[str]) -> str:
        return f"{found.group(1)} × 10{quantities.raised(int(found.group(2)))}"

    if "$" in text:
        return text
    text = re.sub(r"\^\(?([+-]?\d{1,3}(?:/\d)?)\)?(?![\w.])", lambda found: quantities.raised(found.group(1)), text)
    text = re.sub(r"\ba0\b", "a₀", text)
    text = re.sub(r"(?<![\w.])(-?\d+(?:\.\d+)?)e([+-]?\d{1,3})\b", power, text)
    text = re.sub(r"<(r|z|x|1/r)>", r"⟨\1⟩", text)
    return re.sub(r"(?<![\w.–⁰-⁹-])-(?=\d)", "−", text)


def pair_text(name: str, value: object, units: dict[str, str] | None = None) -> str:
    """One parameter as `n = 2` or `extent = 20 a₀`."""
    words, unit = quantities.split_name(name, units)
    return f"{words} = {quantities.with_unit(quantities.value_text(value, 40), unit)}"


def key_params(node: NodeView, info: NodeTypeInfo, limit: int = 5) -> list[str]:
    """The parameters that tell this node from others: those off their default first; switches never."""
    plain = {
        name: value
        for name, value in node.params.items()
        if name not in _SWITCHES and isinstance(value, (bool, int, float, str)) and len(str(value)) <= 40
    }
    changed = [name for name in plain if name not in info.defaults or info.defaults[name] != plain[name]]
    rest = [name for name in plain if name not in changed]
    chosen = [*changed, *rest][:limit]
    return [pair_text(name, plain[name], info.units) for name in plain if name in chosen]


def caption_for(node: NodeView, figure: Figure, info: NodeTypeInfo | None = None) -> str:
    """The whole caption of a figure: the node's own words, then key parameters and values not yet in them."""
    info = info or NodeTypeInfo()
    own = figure.caption.strip()
    text = tidy(quantities.shorten(own or f"{figure.name.replace('_', ' ')} of {node.node_id}", CAPTION_LIMIT))
    text += "" if text.endswith((".", "!", "?", "…")) else "."
    squeezed = text.replace(" ", "")
    params = [one for one in key_params(node, info) if one.replace(" ", "") not in squeezed]
    found = [
        f"{one.words} = {quantities.with_unit(one.text, one.unit)}"
        for one in quantities_of(node, info)
        if one.number is not None and one.unit and one.text not in text and not is_known(one.key)
    ][:2]
    if figure.mp4 is not None:
        text += " A representative frame of the animation is shown."
    if params:
        text += f" Parameters: {', '.join(params)}."
    if found and "=" not in own:
        text += f" Results: {', '.join(found)}."
    return text


def abstract_for(report: ReportInput) -> str:
    """An abstract that claims only what the run holds: what ran, the key numbers, what did not work."""
    done = [node for node in report.nodes if node.state == "succeeded"]
    broken = [node for node in report.nodes if node.state != "succeeded"]
    types = len({node.type for node in report.nodes})
    text = f"This report documents a computational experiment of {quantities.counted(len(report.nodes), 'node')}"
    text += f" of {quantities.counted(types, 'type')}." if types > 1 else "."
    findings = key_findings(report.nodes, report.node_types)
    if findings:
        text += f" It found {'; '.join(findings[:-1])}{'; and ' if len(findings) > 1 else ''}{findings[-1]}."
    elif done:
        text += f" {quantities.counted(len(done), 'node')} succeeded; none gave a number with a unit."
    if broken:
        text += (
            f" Of the nodes, {len(broken)} did not succeed ({quantities.listed([node.node_id for node in broken], 4)})."
        )
    return text
