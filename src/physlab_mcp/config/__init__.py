"""The configuration, `server.config.json`."""

from physlab_mcp.config.reading import FILE_NAME, load, locate, parse, schema
from physlab_mcp.config.sections import Config, KubernetesSection, Secret, Section, SlurmSection, Ssh, seconds_of

__all__ = [
    "FILE_NAME",
    "Config",
    "KubernetesSection",
    "Secret",
    "Section",
    "SlurmSection",
    "Ssh",
    "load",
    "locate",
    "parse",
    "schema",
    "seconds_of",
]
