"""Slurm: how its jobs are asked for, what it says of them, and what its partitions can hold. No I/O in these files."""
