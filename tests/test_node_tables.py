"""docs/tools.md tells every node type, each parameter, cap and bound, as the registry has them."""

import re

from tests.node_tables import END, PAGE, START, sections

from physlab_mcp.nodes.registry import Registry


def ours():
    registry = Registry.load()
    return [one for one in registry if one.function.__module__.startswith("physlab_mcp.")]


def test_every_node_type_has_a_heading():
    assert {one.name for one in ours()} <= set(re.findall(r"^### `([^`]+)`$", PAGE.read_text(), re.MULTILINE))


def test_the_tables_are_those_of_the_registry():
    """Renew them with `uv run python tests/node_tables.py`."""
    written = PAGE.read_text().partition(START)[2].partition(END)[0]
    assert written.strip() == sections(Registry.load()).strip()


def test_every_cap_is_told_with_its_number():
    written = PAGE.read_text()
    for one in ours():
        for cap in one.caps:
            assert re.search(
                rf"^\| `{one.name}` \| .*`{cap.shown or cap.field}` {cap.most:g}\b", written, re.MULTILINE
            ), cap
