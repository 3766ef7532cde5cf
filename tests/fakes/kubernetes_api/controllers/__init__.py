"""The loops that bring the cluster to what its objects ask for."""
