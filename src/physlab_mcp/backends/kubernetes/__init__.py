"""Kubernetes: what a server can do, what is sent to it and how its answers are read; none of it does I/O."""
