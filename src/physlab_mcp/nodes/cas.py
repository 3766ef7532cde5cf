"""The nodes of the tool `cas`."""
