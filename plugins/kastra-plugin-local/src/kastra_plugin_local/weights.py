"""Where weights are kept, which are installed, and which one ``auto`` takes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import attrs

from kastra_plugin_local.catalogue import CATALOGUE, CatalogueModel, find
from kastra_plugin_local.memory import available_bytes

__all__ = ["Weights", "best_installed", "installed_path", "model_dir", "resolve"]


@attrs.frozen
class Weights:
    """A file that can be loaded; ``entry`` is None for a file that is not of the catalogue."""

    path: Path
    entry: CatalogueModel | None = None

    @property
    def name(self) -> str:
        return self.entry.name if self.entry else self.path.name

    @property
    def note(self) -> str:
        """One line: who answers and how weak it is."""
        if self.entry is None:
            return f"{self.name} answers, from a file of your own on this machine"
        return (
            f"{self.name} answers ({self.entry.parameters} parameters, on this machine); good for {self.entry.good_for}"
        )


def model_dir() -> Path:
    """Return the directory of the weights: ``$KASTRA_MODEL_DIR``, else ``kastra/models`` in the user's cache.

    The cache is ``$XDG_CACHE_HOME`` or ``~/.cache``, on macOS ``~/Library/Caches``, on Windows ``%LOCALAPPDATA%``.
    """
    if own := os.environ.get("KASTRA_MODEL_DIR"):
        return Path(own).expanduser()
    if cache := os.environ.get("XDG_CACHE_HOME"):
        return Path(cache).expanduser() / "kastra" / "models"
    if sys.platform == "win32" and (data := os.environ.get("LOCALAPPDATA")):
        return Path(data) / "kastra" / "models"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "kastra" / "models"
    return Path.home() / ".cache" / "kastra" / "models"


def installed_path(entry: CatalogueModel, directory: Path | None = None) -> Path | None:
    """Return the file of an installed model, or None.

    A pull verifies the hash and moves the file into place at once, so that the size is enough of a check here.
    """
    path = (directory or model_dir()) / entry.file_name
    try:
        return path if path.stat().st_size == entry.size_bytes else None
    except OSError:
        return None


def best_installed(directory: Path | None = None, free_bytes: Callable[[], int] = available_bytes) -> Weights | None:
    """Return what ``auto`` means here: of the installed models that fit the free memory, the highest rank.

    When memory is too short for all of them the smallest is returned: it may still work, slowly.
    """
    found = [Weights(path, entry) for entry in CATALOGUE if (path := installed_path(entry, directory))]
    if not found:
        return None
    free = free_bytes()
    fitting = [weights for weights in found if weights.entry and weights.entry.ram_bytes <= free]
    if fitting:
        return max(fitting, key=lambda weights: weights.entry.rank if weights.entry else 0)
    return min(found, key=lambda weights: weights.entry.ram_bytes if weights.entry else 0)


def resolve(model: str, directory: Path | None = None) -> Weights | None:
    """Return the weights that a model name means: ``auto``, a name of the catalogue, or a ``.gguf`` file.

    A relative ``.gguf`` name is looked for in the weights directory, then in the current one. None: not installed.
    """
    if model == "auto":
        return best_installed(directory)
    if entry := find(model):
        path = installed_path(entry, directory)
        return Weights(path, entry) if path else None
    name = model.removeprefix("path:")
    if not name.lower().endswith(".gguf"):
        return None
    given = Path(name).expanduser()
    for path in (given,) if given.is_absolute() else ((directory or model_dir()) / given, given):
        if path.is_file():
            return Weights(path.absolute())
    return None
