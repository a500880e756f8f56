"""Plugins rendered from the template: one for each combination of features, and what makes one seem installed."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from typing import Any
from unittest.mock import patch

from jinja2 import Environment

from kastra_core.cli.plugins_new import Template

__all__ = ["COMBINATIONS", "FEATURES", "Rendered", "announce", "quickly", "render"]

FEATURES = ("kind", "crd", "store", "model", "migrator", "command")
COMBINATIONS = tuple(chosen for count in range(1, len(FEATURES) + 1) for chosen in combinations(FEATURES, count))
"""All 63 of them."""


class Rendered:
    """A rendered plugin.

    Args:
        directory: of the project.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.project: dict[str, Any] = tomllib.loads((directory / "pyproject.toml").read_text(encoding="utf-8"))
        self.distribution: str = self.project["project"]["name"]
        self.package = self.distribution.replace("-", "_")
        [self.name] = self.project["project"]["entry-points"]["kastra"]

    @property
    def files(self) -> list[Path]:
        return sorted(path for path in self.directory.rglob("*") if path.is_file())


def render(into: Path, name: str, features: Sequence[str], **answers: str) -> Rendered:
    """Render a plugin with ``features``, words of ``kastra plugins new --with``."""
    template = Template()
    given: dict[str, Any] = {"plugin_name": name, **answers}
    for question in ("group", "kind", "description", "author"):
        given.setdefault(question, template.default(question, given))
    given.setdefault("license", template.licenses[0])
    given |= {feature: word in features for feature, word in template.features.items()}
    return Rendered(template.render(given, into))


@contextmanager
def quickly() -> Iterator[None]:
    """Compile each text of the template once: that is three quarters of the time that 63 plugins take."""
    compiled: dict[Any, Any] = {}
    compile_ = Environment.compile

    def cached(
        self: Environment, source: Any, name: Any = None, filename: Any = None, *more: Any, **options: Any
    ) -> Any:
        key = (source, name, filename, more, *options.items())
        if key not in compiled:
            compiled[key] = compile_(self, source, name, filename, *more, **options)
        return compiled[key]

    with patch.object(Environment, "compile", cached):
        yield


def announce(site: Path, *plugins: Rendered) -> Path:
    """Make ``site`` a directory for PYTHONPATH in which the plugins are installed; return it."""
    site.mkdir(exist_ok=True)
    for plugin in plugins:
        project = plugin.project["project"]
        info = site / f"{plugin.package}-{project['version']}.dist-info"
        info.mkdir()
        name, version = project["name"], project["version"]
        (info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n", encoding="utf-8")
        groups = project["entry-points"].items()
        lines = [f"[{group}]\n" + "".join(f"{n} = {m}\n" for n, m in points.items()) for group, points in groups]
        (info / "entry_points.txt").write_text("".join(lines), encoding="utf-8")
        (site / plugin.package).symlink_to(plugin.directory / "src" / plugin.package)
    return site
