"""Reproducibility packages of runs and sweeps: made, verified, and run again."""
