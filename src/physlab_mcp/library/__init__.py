"""The Python library: workflows of tasks, sweeps over their parameters, and their results."""
