"""Fixtures for every test."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# How long an example takes says more about the machine than about the code.
settings.register_profile("kastra", deadline=None)
settings.load_profile("kastra")


def _mock_module() -> Any:
    name = "kastra_tests_mock_openai"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("mock_openai.py"))
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@pytest.fixture(scope="session")
def _mock_openai_server() -> Iterator[Any]:
    with _mock_module().ThreadedServer() as server:
        yield server


@pytest.fixture
def mock_openai(_mock_openai_server: Any) -> Any:
    """An OpenAI-compatible server on the loopback device: ``.base_url``, ``.stats()``, ``.last()``, ``.reset()``.

    What it answers is written into the last user message; the head of ``mock_openai.py`` lists the directives.
    """
    _mock_openai_server.reset()
    return _mock_openai_server
