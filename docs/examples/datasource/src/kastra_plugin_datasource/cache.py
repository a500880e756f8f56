"""What a source held at the last good look, as a JSON file of the project."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from kastra_core.api.meta import ResourceKey

__all__ = ["Cache"]


class Cache:
    """Files ``.kastra/datasources/<namespace>/<name>.json``; names of resources are safe as names of files."""

    def __init__(self, project: Path) -> None:
        self.project = project
        self._root = project / ".kastra" / "datasources"

    def path(self, key: ResourceKey) -> Path:
        return self._root / key.namespace / f"{key.name}.json"

    def shown(self, key: ResourceKey) -> str:
        """The file as ``status.cache`` names it, "" when it is not there."""
        path = self.path(key)
        return path.relative_to(self.project).as_posix() if path.exists() else ""

    def keep(self, key: ResourceKey, content: Any) -> None:
        """Write the file when it differs; who reads it meanwhile sees the old one or the new one. Blocks."""
        path, data = self.path(key), orjson.dumps(content, option=orjson.OPT_INDENT_2)
        with suppress(OSError):
            if path.read_bytes() == data:
                return
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_bytes(data)
        part.replace(path)

    def remove(self, key: ResourceKey) -> None:
        """Remove the file, and the directory when it is empty; safe to call twice. Blocks."""
        path = self.path(key)
        path.with_suffix(".part").unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        with suppress(OSError):
            path.parent.rmdir()
