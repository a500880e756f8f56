"""What tests of the public API share: the modules of docs/_generate, and a small module whose API changes."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["BASE", "RETIRED", "ROOT", "Read", "part", "reader"]

ROOT = Path(__file__).resolve().parents[2]
Read = Callable[..., list[Any]]


def part(name: str) -> Any:
    """A module of docs: ``generate``, or one of what it is made of."""
    if str(ROOT / "docs") not in sys.path:
        sys.path.insert(0, str(ROOT / "docs"))
    return importlib.import_module(name if name == "generate" else f"_generate.{name}")


BASE = """
import attrs

__all__ = ["LIMIT", "Box", "Lid", "pack", "send"]

LIMIT = 10

def pack(things: list[str], *, tight: bool = False) -> "Box": ...

async def send(box: "Box", to: str, priority: int = 0) -> None: ...

class _Thing:
    def weigh(self) -> float: ...

class Lid(_Thing):
    def close(self) -> None: ...

@attrs.frozen
class Box:
    width_cm: int
    label: str = ""
    fragile: bool = attrs.field(default=False, kw_only=True)
    _hidden: int = 0

    @property
    def empty(self) -> bool: ...

    def open(self, force: bool = False) -> None: ...

    def _shake(self, times: int) -> None: ...

def _helper(x): ...
"""

RETIRED = BASE.replace("def pack(", '@deprecated(since="0.2", until="0.4")\ndef pack(').replace(
    '"Lid", "pack"', '"pack"'
) + (
    "from kastra_core.deprecation import Moved, deprecated, deprecated_names\n"
    "if not TYPE_CHECKING:\n"
    '    __getattr__ = deprecated_names(__name__, Lid=Moved("acme.lids:Cover", since="0.2", until="0.4"))\n'
)


def reader(directory: Path) -> Read:
    """Return what reads the public names of a module ``acme.boxes`` with some text, and of others beside it."""
    count = iter(range(100))
    python_api, surface = part("python_api"), part("surface")

    def read(text: str, **others: str) -> list[Any]:
        root = directory / str(next(count))
        (root / "acme").mkdir(parents=True)
        (root / "acme" / "__init__.py").write_text("", encoding="utf-8")
        for name, source in {"boxes": text, **others}.items():
            (root / "acme" / f"{name}.py").write_text(source, encoding="utf-8")
        return list(surface.python_entries(python_api.Package("acme", search=[root])))

    return read
