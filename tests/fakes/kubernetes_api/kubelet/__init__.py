"""The stand-in for kubelets: pods as real processes, their volumes, environment, limits and logs."""
