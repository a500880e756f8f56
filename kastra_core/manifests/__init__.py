"""Manifests as text: YAML and JSON from files, directories, globs and standard input, and back to YAML.

Pure reading: nothing here knows a kind, and data never runs code.
"""

from kastra_core.manifests.documents import DEFAULT_LIMITS, Document, Limits, Origin, json_bytes, parse
from kastra_core.manifests.emitter import dump
from kastra_core.manifests.sources import Below, read_below, read_sources

__all__ = [
    "DEFAULT_LIMITS",
    "Below",
    "Document",
    "Limits",
    "Origin",
    "dump",
    "json_bytes",
    "parse",
    "read_below",
    "read_sources",
]
