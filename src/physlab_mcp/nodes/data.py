"""The nodes `data.import`, `data.fft`, `data.filter`, `data.fit` and `data.statistics`."""

from __future__ import annotations

from physlab_mcp.nodes.data_fft import fft
from physlab_mcp.nodes.data_filter import filter_samples
from physlab_mcp.nodes.data_fit import fit
from physlab_mcp.nodes.data_import import import_table
from physlab_mcp.nodes.data_statistics import statistics

__all__ = ["fft", "filter_samples", "fit", "import_table", "statistics"]
