"""What every plugin must keep to: subclass :class:`PluginConformance` in a plugin's test suite."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import attrs
import pytest

from kastra_core.api.lazy import load
from kastra_core.hookspecs import API_VERSION
from kastra_core.plugins import CONFORMANCE_GROUP, PluginInfo, PluginManager, entry_points
from kastra_core.testing._imports import HEAVY_MODULES

__all__ = ["PluginConformance", "forbidden_imports"]

_NAMES = {
    "kastra_controllers": ("name", r"[a-z][a-z0-9.-]*"),
    "kastra_stores": ("schemes", r"[a-z][a-z0-9+.-]*"),
    "kastra_model_providers": ("providers", r"[a-z0-9][a-z0-9_.-]*|\*"),
    "kastra_migrators": ("name", r"[a-z][a-z0-9-]*"),
    "kastra_operations": ("name", r"[a-z][a-z0-9_-]*\.[a-z][a-zA-Z0-9_-]*"),
    "kastra_commands": ("name", r"[a-z][a-z0-9-]*"),
}
_LAZY = (
    *("admin", "check_signal", "command", "default", "defines", "deletion", "embedded", "exporter", "factory", "graph"),
    *("handle", "handler", "references", "resolve", "runner", "spec_type", "status_type", "structure", "validate"),
    "validate_update",
)
_PROBE = """
import sys
import kastra_core.api.kind, kastra_core.hookspecs, kastra_core.registrations
before = set(sys.modules)
import {module}
print(*sorted(set(sys.modules) - before))
"""


def forbidden_imports(source: str, *, others: frozenset[str] = frozenset(), suites: bool = False) -> Iterator[str]:
    """Imports in a plugin's source that it must not have: private names of kastra_core, and other plugins.

    Args:
        source: Python.
        others: the packages of other plugins.
        suites: it is a module of conformance suites, which may import the module ``testing`` of another plugin.

    >>> list(forbidden_imports("from kastra_core._secret import x\\nimport kastra_core.plugins"))
    ['line 1: kastra_core._secret.x']
    """
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            root, *rest = name.split(".")
            private = root == "kastra_core" and any(_is_private(part) for part in rest)
            foreign = root in others and not (suites and rest[:1] == ["testing"])
            if private or foreign:
                yield f"line {getattr(node, 'lineno', 0)}: {name}"


@lru_cache(maxsize=1)
def _installed(search: tuple[str, ...]) -> PluginManager:
    """One manager for all tests of a suite, which only look at it: to load many plugins takes a while."""
    return PluginManager()


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


class PluginConformance:
    """Set ``entry_point``, the plugin's name in the entry-point group ``kastra``; the plugin must be installed.

    Example:
        class TestAcme(PluginConformance):
            entry_point = "acme"
    """

    entry_point: ClassVar[str] = ""

    @pytest.fixture
    def manager(self) -> PluginManager:
        """All that is installed."""
        return _installed(tuple(sys.path))

    @pytest.fixture
    def info(self, manager: PluginManager) -> PluginInfo:
        """How the plugin fares."""
        assert self.entry_point, "set entry_point"
        found = manager.load().get(self.entry_point)
        assert found is not None, f"no installed distribution has the entry point {self.entry_point!r}"
        return found

    def test_it_is_installed_with_an_entry_point(self) -> None:
        names = [point.name for point in entry_points()]
        assert self.entry_point in names, f"installed are {', '.join(names)}"

    def test_it_is_loaded_and_clashes_with_nobody(self, info: PluginInfo) -> None:
        assert info.state == "loaded", str(info.error)
        assert [str(conflict) for conflict in info.conflicts] == []
        assert any(info.records.values()), "it offers nothing"

    def test_it_says_for_which_version_of_the_hooks_it_is(self, info: PluginInfo) -> None:
        assert getattr(load(info.module), "KASTRA_API_VERSION", None) == API_VERSION

    def test_its_hooks_are_light(self, info: PluginInfo) -> None:
        module = info.module.partition(":")[0]
        code = _PROBE.format(module=module)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
        loaded = done.stdout.split()
        assert module in loaded
        package = module.partition(".")[0]
        foreign = [
            name for name in loaded if name.partition(".")[0] not in (package, "kastra_core", *sys.stdlib_module_names)
        ]
        assert foreign == [], "importing the hooks imports libraries; name them lazily as 'module:attribute'"
        assert sorted(HEAVY_MODULES.intersection(loaded)) == []

    def test_names_are_well_formed(self, info: PluginInfo) -> None:
        for hook, (field, pattern) in _NAMES.items():
            for record in info.records.get(hook, ()):
                value = getattr(record, field)
                for name in (value,) if isinstance(value, str) else value:
                    assert re.fullmatch(pattern, name), f"{hook}: {name!r} does not match {pattern}"
        for record in info.records.get("kastra_commands", ()):
            assert record.short_help, f"command {record.name} has no short help"

    def test_what_is_named_lazily_is_there(self, info: PluginInfo) -> None:
        for hook, records in info.records.items():
            for record in records:
                for field in attrs.fields(type(record)):
                    target: Any = getattr(record, field.name)
                    if field.name in _LAZY and isinstance(target, str):
                        assert load(target) is not None, f"{hook}: {field.name} {target}"

    def test_it_imports_only_public_names_of_the_core_and_no_other_plugin(
        self, info: PluginInfo, manager: PluginManager
    ) -> None:
        package = info.module.partition(":")[0].partition(".")[0]
        spec = importlib.util.find_spec(package)
        assert spec is not None
        folders = [Path(place) for place in spec.submodule_search_locations or ()]
        files = [file for folder in folders for file in sorted(folder.rglob("*.py"))] or [Path(str(spec.origin))]
        others = manager.packages() - {package, "kastra_core"}
        suites = {point.module for point in entry_points(group=CONFORMANCE_GROUP)}
        found = {}
        for file in files:
            of_suites = any(file.as_posix().endswith(f"/{module.replace('.', '/')}.py") for module in suites)
            wrong = list(forbidden_imports(file.read_text(encoding="utf-8"), others=others, suites=of_suites))
            if wrong:
                found[str(file)] = wrong
        assert found == {}, "plugins meet in resources and hooks; of the core its public names are for them"
