"""Sweeps in numbers and figures: tables, statistics, effects, optimum, Pareto front, comparison, figures, dashboard, export."""
