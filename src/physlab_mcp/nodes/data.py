"""The nodes of the tool `data`."""
