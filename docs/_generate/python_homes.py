"""Which page documents which public name of Python."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import griffe

from _generate.markdown import slug
from _generate.python_api import Package

__all__ = ["FRONT_DOOR", "PARTS", "Part", "Reference"]

FRONT_DOOR = "kastra_core"


@attrs.frozen
class Part:
    """A page: modules in this order; ``kastra_core.cel.*`` is all below it that no other page names."""

    name: str
    title: str
    text: str
    modules: tuple[str, ...]


PARTS = (
    Part(
        "runtime",
        "Runtime",
        "Open a project in your program: apply, read, watch and run.",
        ("runtime", "resources", "includes", "execution.handle", "events"),
    ),
    Part(
        "resources",
        "Resources and kinds",
        "What a resource, a kind, a reference and a selector are.",
        ("api.meta", "api.kind", "api.references", "api.selectors", "api.registry", "api.limits", "api.*"),
    ),
    Part(
        "plugins",
        "Plugins",
        "What a plugin's hooks yield, and how plugins are found.",
        ("registrations", "hookspecs", "plugins", "origins", "builtin", "deprecation", "cli.common", "*tool"),
    ),
    Part(
        "controllers",
        "Controllers",
        "Make what a resource says true.",
        (
            "controller",
            "protocols.controller",
            "status",
            "recorder",
            "informer",
            "workqueue",
            "controller_manager",
            "controller_pool",
        ),
    ),
    Part(
        "runners",
        "Runners and operations",
        "Make a kind executable, durably.",
        ("protocols.runner", "protocols.model_input", "execution.operations"),
    ),
    Part(
        "models",
        "Model providers",
        "Serve a model provider, choose a model.",
        ("protocols.model", "model_spec", "execution.models"),
    ),
    Part(
        "stores",
        "Stores",
        "Keep resources, runs, threads, state, vectors and blobs.",
        ("protocols.store", "protocols.store_admin", "protocols.*", "memory_store"),
    ),
    Part(
        "migration",
        "Migration",
        "Read foreign and older formats, write them.",
        ("protocols.migrator", "migration", "migration.*"),
    ),
    Part(
        "testing",
        "Testing",
        "Suites that a plugin's tests subclass, and stand-ins.",
        ("testing", "testing.*", "*network.testing"),
    ),
    Part("errors", "Errors", "Everything that Kastra raises on purpose.", ("errors",)),
    Part(
        "configuration",
        "Configuration and secrets",
        "Read and change the configuration, resolve secrets.",
        ("config", "settings", "config_edit", "secrets", "durations"),
    ),
    Part(
        "schemas",
        "Schemas and manifests",
        "Manifests as text, as objects, and what they may look like.",
        ("manifests", "decoding", "metadata", "serde", "schemas", "openapi", "definitions", "manifests.*"),
    ),
    Part("cel", "CEL", "Compile and evaluate expressions.", ("cel",)),
    Part("cel-parts", "Parts of CEL", "What :mod:`kastra_core.cel` is made of.", ("cel.*",)),
    Part(
        "execution",
        "Execution",
        "How the core carries out runs; runners see :class:`~kastra_core.protocols.runner.RunContext`.",
        ("execution.runs", "execution.*"),
    ),
)
_PLUGIN = "kastra_plugin_"


class Reference:
    """Where each public name is documented."""

    def __init__(self, package: Package) -> None:
        self.package = package
        self.pages = {part.name: self._modules(part) for part in PARTS}
        told = {path for paths in self.pages.values() for path in paths}
        lost = sorted(set(package.modules) - told - {FRONT_DOOR})
        if lost:
            raise ValueError(f"say in PARTS of {__file__} which page documents {', '.join(lost)}")
        self._homes: dict[str, tuple[str, str]] = {}
        """Path of an object -> (page, heading)."""
        titles = {part.name: part.title for part in PARTS}
        for page, paths in self.pages.items():
            taken = {slug(titles[page]), *map(slug, paths)}
            for path in paths:
                for name in self.names(path):
                    item = package.find(package.modules[path], name)
                    heading = name if slug(name) not in taken else f"{name} of {path}"
                    if not isinstance(item, griffe.Class | griffe.Function):
                        heading = path  # it is a row of the module's table
                    taken.add(slug(heading))
                    self._homes.setdefault(item.path, (page, heading))

    def _modules(self, part: Part) -> list[str]:
        named = {self._path(name) for other in PARTS for name in other.modules if not name.endswith("*")}
        out: list[str] = []
        for name in part.modules:
            path = self._path(name)
            if name.endswith(".*"):
                below = (module for module in self.package.modules if module.startswith(path[:-1]))
                out += [module for module in sorted(below) if module not in named]
            else:
                out += [path] if path in self.package.modules else []
        return list(dict.fromkeys(out))

    @staticmethod
    def _path(name: str) -> str:
        return f"{_PLUGIN}{name[1:]}" if name.startswith("*") else f"{FRONT_DOOR}.{name}"

    def names(self, path: str) -> list[str]:
        """The names of a module that are documented with it: its own, those of its parts when it is a package."""
        module = self.package.modules[path]
        return [name for name in self.package.exports(module) if self._is_home(path, name)]

    def _is_home(self, path: str, name: str) -> bool:
        item = self.package.find(self.package.modules[path], name)
        doors = [above for above in self._packages(item.path) if self.package.is_public(f"{above}.{name}")]
        best = doors[0] if doors else item.path.rpartition(".")[0]
        if not doors and not self.package.is_public(item.path):
            best = self.package.public_path(item).rpartition(".")[0]
        return best == path

    def _packages(self, path: str) -> list[str]:
        """The packages above a path that have names of their own, the outermost first; not the front door."""
        parts = path.split(".")
        above = (".".join(parts[:count]) for count in range(2, len(parts) - 1))
        return [one for one in above if one in self.package.modules]

    def elsewhere(self, path: str) -> list[str]:
        """Names of a module that are documented with another."""
        own = set(self.names(path))
        return [name for name in self.package.exports(self.package.modules[path]) if name not in own]

    def page_of(self, item: griffe.Object) -> tuple[str, str]:
        return self._homes[item.path]

    def linker(self, page: str) -> Callable[[str], str]:
        """Dotted path -> link as seen from a page of the reference; "" for what is not documented."""

        def link(path: str) -> str:
            home = self._homes.get(path) or self._homes.get(self._canonical(path))
            member = ""
            if home is None and "." in path:
                owner, _, member = path.rpartition(".")
                home = self._homes.get(owner) or self._homes.get(self._canonical(owner))
            if home is None:
                return ""
            other, heading = home
            anchor = slug(heading) if not member else self._member_anchor(path, heading, member)
            return f"#{anchor}" if other == page else f"{other}.md#{anchor}"

        return link

    def _canonical(self, path: str) -> str:
        module, _, name = path.rpartition(".")
        found = self.package.modules.get(module)
        if found is None or name not in self.package.exports(found):
            return ""
        return self.package.find(found, name).path

    def _member_anchor(self, path: str, heading: str, member: str) -> str:
        owner = self._canonical(path.rpartition(".")[0]) or path.rpartition(".")[0]
        cls = self._found(owner)
        has = cls is not None and isinstance(self.package.members(cls).get(member), griffe.Function)
        return slug(f"{heading}.{member}") if has else slug(heading)

    def _found(self, path: str) -> griffe.Class | None:
        module, _, name = path.rpartition(".")
        found = self.package.modules.get(module)
        item = found.members.get(name) if found is not None else None
        return item if isinstance(item, griffe.Class) else None

    def heading_of(self, item: griffe.Object) -> str:
        return self._homes[item.path][1]
