"""The examples in the docstrings of the toolkit and of the migrators are true."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from types import ModuleType

import pytest

import kastra_core.migration
from kastra_core.plugins import PluginManager


def _packages() -> list[str]:
    migrators = {record.factory.partition(".")[0] for _, record in PluginManager().records("kastra_migrators")}
    return ["kastra_core.migration", *sorted(migrators)]


def _modules(name: str) -> list[ModuleType]:
    package = importlib.import_module(name)
    return [importlib.import_module(f"{name}.{found.name}") for found in pkgutil.iter_modules(package.__path__)]


@pytest.mark.parametrize("name", _packages())
def test_examples_in_docstrings_are_true(name: str) -> None:
    results = [doctest.testmod(module) for module in _modules(name)]
    assert sum(one.failed for one in results) == 0
    assert name != kastra_core.migration.__name__ or sum(one.attempted for one in results) > 10
