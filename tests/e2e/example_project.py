"""A copy of an application of ``docs/examples``, as a project of its own; a server on the loopback device answers."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import shutil
import sqlite3
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson

from scripted_openai import Answer, ScriptedServer

__all__ = ["EXAMPLES", "Application", "copied", "module_of", "served"]

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"
MADE = (".kastra", "__pycache__", "*.egg-info", "*.db", "new", "spec", "again")
"""What following a README leaves behind."""


def copied(kitchen: Any, name: str) -> Any:
    """Put a copy of an example into the project of ``kitchen``, in place of what is there."""
    for path in kitchen.path.iterdir():
        if path.is_file():
            path.unlink()
    shutil.copytree(EXAMPLES / name, kitchen.path, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*MADE))
    return kitchen


class Application:
    """An applied example.

    Args:
        kitchen: its project.
        server: what answers for every model.
    """

    def __init__(self, kitchen: Any, server: ScriptedServer) -> None:
        self.kitchen, self.server = kitchen, server

    @property
    def path(self) -> Path:
        found: Path = self.kitchen.path
        return found

    @property
    def asked(self) -> list[dict[str, Any]]:
        """The bodies of all chat requests."""
        return self.server.asked("")

    async def __call__(self, *arguments: str, code: int = 0) -> Any:
        """Run ``kastra ARGUMENTS`` to its end: ``.out``, ``.err``."""
        done = await asyncio.to_thread(self.kitchen, *arguments)
        assert done.code == code, done.all
        return done

    async def json(self, *arguments: str) -> Any:
        """What ``kastra ARGUMENTS`` writes, which is JSON."""
        return orjson.loads((await self(*arguments)).out)

    async def waiting(self, target: str) -> str:
        """The one run of a target that waits for an answer."""
        chosen = f"spec.target.name={target},status.phase=Suspended"
        (name,) = (await self("get", "runs", "-o", "name", "--field-selector", chosen)).out.split()
        return str(name)

    async def end_of(self, name: str) -> Any:
        """The output of a run that succeeded."""
        run = await self.json("get", f"run/{name}", "-o", "json")
        assert run["status"]["phase"] == "Succeeded"
        return run["status"]["output"]

    def rows(self, database: str, query: str) -> list[tuple[Any, ...]]:
        """What a query of one of the application's SQLite files gives."""
        with closing(sqlite3.connect(self.path / database)) as connection:
            return connection.execute(query).fetchall()


@contextlib.asynccontextmanager
async def served(
    kitchen: Any,
    name: str,
    *answers: Answer,
    allow: Sequence[str],
) -> AsyncIterator[Application]:
    """An example, applied and Ready; its models say the answers, one per request.

    Args:
        allow: modules that may be tools.
    """
    copied(kitchen, name)
    async with ScriptedServer({"": answers}) as server:
        kitchen.configure(
            tools={"python": {"allow": list(allow)}},
            providers={"openai": {"apiBase": server.base_url}},
            model="openai/m",
            defaultEmbeddings="openai/e",
        )
        application = Application(kitchen, server)
        done = await application("apply", "-f", ".")
        assert "not ready" not in done.out
        yield application


@contextlib.contextmanager
def module_of(directory: Path, name: str) -> Iterator[ModuleType]:
    """Import a module of a copied example, with those that it imports from beside it."""
    before, modules = list(sys.path), set(sys.modules)
    sys.path.insert(0, str(directory))
    try:
        spec = importlib.util.spec_from_file_location(name, directory / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses look their module up
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path[:] = before
        for made in set(sys.modules) - modules:
            if Path(getattr(sys.modules[made], "__file__", None) or "/").is_relative_to(directory):
                del sys.modules[made]
