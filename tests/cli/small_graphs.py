"""Graphs that cost nothing: one node that ends at once, one that goes on until it is stopped."""

CONSTANT = {
    "nodes": [{"id": "r", "tool": "constants_get", "params": {"name": "R_inf"}}],
    "metadata": {"title": "A constant"},
}
SLEEP = {
    "nodes": [{"id": "s", "tool": "command", "params": {"command": ["sleep", "600"]}}],
    "metadata": {"title": "Long"},
}
