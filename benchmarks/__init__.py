"""What physlab-mcp costs, measured beside its limit and its peers. `python -m benchmarks` writes docs/benchmarks.md."""
