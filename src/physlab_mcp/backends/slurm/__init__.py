"""Slurm: `backend.SlurmBackend` over a host, and pure files on how jobs are asked for and what Slurm says of them.

`element.py` is the one program that runs on the cluster's nodes.
"""
