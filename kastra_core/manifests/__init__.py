"""Manifests as text: YAML and JSON from files, directories, globs and standard input, and back to YAML.

Pure reading: nothing here knows a kind, and data never runs code.
"""

from kastra_core.manifests.documents import Document, Limits, parse
from kastra_core.manifests.emitter import dump
from kastra_core.manifests.sources import read_sources

__all__ = ["Document", "Limits", "dump", "parse", "read_sources"]
