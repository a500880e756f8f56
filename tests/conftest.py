"""Fixtures for every test."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# How long an example takes says more about the machine than about the code.
settings.register_profile("kastra", deadline=None)
settings.load_profile("kastra")


def _module(file: str) -> Any:
    """Import a file beside this one."""
    name = f"kastra_tests_{file}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{file}.py"))
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@pytest.fixture(scope="session")
def mock_module() -> Any:
    """The module ``mock_openai``."""
    return _module("mock_openai")


@pytest.fixture(scope="session")
def _mock_openai_server() -> Iterator[Any]:
    with _module("mock_openai").ThreadedServer() as server:
        yield server


@pytest.fixture
def mock_openai(_mock_openai_server: Any) -> Any:
    """An OpenAI-compatible server on the loopback device: ``.base_url``, ``.stats()``, ``.last()``, ``.reset()``.

    What it answers is written into the last user message; the head of ``mock_openai.py`` lists the directives.
    """
    _mock_openai_server.reset()
    return _mock_openai_server


@pytest.fixture(scope="session")
def forks() -> Iterator[Any]:
    """Begins processes of ``kastra`` that have everything imported: ``.run(args, ...)``, ``.begin(args, ...)``.

    See ``forked_kastra.py``; a process that starts from nothing takes four times as much of the machine.
    """
    with _module("forked_kastra").ForkServer() as server:
        yield server


@pytest.fixture(scope="session")
def hrana() -> Any:
    """The module ``hrana_server``: ``HranaServer`` for the test's event loop, ``HranaProcess`` for another process."""
    return _module("hrana_server")


@pytest.fixture
async def hrana_server(hrana: Any, tmp_path: Path) -> AsyncIterator[Any]:
    """A LibSQL server that accepts any token, in the test's event loop: ``.url(scheme)``, ``.faults``, ``.requests``.

    The head of ``hrana_server.py`` tells what it does; for other options make one with ``hrana.HranaServer``.
    """
    async with hrana.HranaServer(tmp_path / "hrana.db") as server:
        yield server
