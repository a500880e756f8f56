"""PluginManager: finds plugins by entry point, loads them late, and keeps a broken one from hurting the rest."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import attrs
import pluggy

from kastra_core import __version__, hookspecs
from kastra_core.errors import PluginConflictError, PluginError, PluginLoadError, SamePluginNameError, nearest
from kastra_core.registrations import (
    CommandRegistration,
    ControllerRegistration,
    MigratorRegistration,
    ModelProviderRegistration,
    OperationRegistration,
    ResourceKind,
    StoreRegistration,
)

__all__ = [
    "BUILTIN",
    "CONFORMANCE_GROUP",
    "ENTRY_POINT_GROUP",
    "EntryPoint",
    "PluginInfo",
    "PluginManager",
    "entry_points",
]

ENTRY_POINT_GROUP = "kastra"
"""Entry points that name a plugin's module of hooks."""
CONFORMANCE_GROUP = "kastra.conformance"
"""Entry points that name a plugin's module of conformance suites, under the plugin's name."""
BUILTIN = "kastra-core"
"""What the core itself offers is listed as a plugin of this name."""

_RECORDS: dict[str, type] = {
    "kastra_resource_kinds": ResourceKind,
    "kastra_controllers": ControllerRegistration,
    "kastra_stores": StoreRegistration,
    "kastra_model_providers": ModelProviderRegistration,
    "kastra_migrators": MigratorRegistration,
    "kastra_operations": OperationRegistration,
    "kastra_commands": CommandRegistration,
}


@attrs.frozen(kw_only=True)
class EntryPoint:
    """An installed plugin as its distribution announces it."""

    name: str
    module: str
    distribution: str = ""
    version: str = ""
    metadata: str = ""
    """Directory of the distribution's metadata (``*.dist-info``)."""


@attrs.define(kw_only=True)
class PluginInfo:
    """A plugin and how it fares. ``state`` is loaded, blocked or quarantined."""

    name: str
    module: str
    distribution: str = ""
    version: str = ""
    metadata: str = ""
    """Directory of the distribution's metadata, "" when it is no installed distribution."""
    api_version: Any = None
    """``KASTRA_API_VERSION`` of its module, a whole number; None: it states none, or was not imported."""
    state: str = "loaded"
    error: PluginError | None = None
    debug: str = attrs.field(default="", repr=False)
    """Traceback of the error, for ``--debug``."""
    conflicts: list[PluginConflictError] = attrs.field(factory=list)
    records: dict[str, list[Any]] = attrs.field(factory=dict)
    """Hook name -> what it yielded and is in use."""


def _parse_entry_points(text: str, group: str) -> Iterator[tuple[str, str]]:
    section = ""
    for raw in text.splitlines():
        line = raw.strip()
        if line.startswith("["):
            section = line.strip("[] ")
        elif section == group and "=" in line and not line.startswith(("#", ";")):
            name, _, value = line.partition("=")
            # Extras ("module [extra]") were never widely used and mean nothing here.
            yield name.strip(), value.split("[")[0].strip()


def entry_points(path: Sequence[str] | None = None, *, group: str = ENTRY_POINT_GROUP) -> list[EntryPoint]:
    """Return the entry points of a group that installed distributions announce, by name; default: the plugins.

    Two of one name are in the order in which they are found.

    Reads ``*.dist-info/entry_points.txt`` on ``path`` (default ``sys.path``) directly: the same answer as
    ``importlib.metadata``, whose import alone takes longer than all of ``kastra --version`` should.
    """
    found: list[EntryPoint] = []
    seen: set[str] = set()
    for place in sys.path if path is None else path:
        try:
            with os.scandir(place or ".") as entries:
                infos = sorted(e.name for e in entries if e.name.endswith((".dist-info", ".egg-info")))
        except OSError:
            continue
        for info in infos:
            distribution, _, version = info.rpartition(".")[0].partition("-")
            normal = re.sub(r"[-_.]+", "-", distribution).lower()
            if normal in seen:
                continue
            seen.add(normal)
            try:
                text = (Path(place or ".") / info / "entry_points.txt").read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError):
                continue
            if f"[{group}]" not in text:
                continue
            for name, module in _parse_entry_points(text, group):
                found.append(
                    EntryPoint(
                        name=name,
                        module=module,
                        distribution=distribution.replace("_", "-"),
                        version=version,
                        metadata=str(Path(place or ".") / info),
                    )
                )
    return sorted(found, key=lambda point: point.name)


class PluginManager:
    """The installed plugins and what they offer.

    Args:
        block: names of plugins not to load.
        extra: further plugins as (name, module or object with hook implementations), for tests and embedding.
        discover: look for entry points.
        providers: model provider -> the plugin that serves it, as the configuration says: those do not clash.
    """

    def __init__(
        self,
        *,
        block: Iterable[str] = (),
        extra: Sequence[tuple[str, Any]] = (),
        discover: bool = True,
        providers: Mapping[str, str] | None = None,
    ) -> None:
        self._block = frozenset(block)
        self._providers = dict(providers or {})
        self._extra = tuple(extra)
        self._discover = discover
        self._infos: dict[str, PluginInfo] | None = None
        self._pluggy = pluggy.PluginManager("kastra")
        self._pluggy.add_hookspecs(hookspecs)

    # ------------------------------------------------------------------------------------------ loading

    def load(self) -> dict[str, PluginInfo]:
        """Load all plugins once; return them by name. Never raises for a plugin's fault."""
        if self._infos is not None:
            return self._infos
        infos: dict[str, PluginInfo] = {}
        self._infos = infos
        builtin = PluginInfo(name=BUILTIN, module="kastra_core.builtin", distribution="kastra-core")
        infos[BUILTIN] = builtin
        self._load_one(builtin, None)
        points = entry_points() if self._discover else []
        for point in points:
            taken = infos.get(point.name)
            if taken is None:
                infos[point.name] = PluginInfo(**attrs.asdict(point))
            else:
                names = [f"{one.distribution} {one.version}".strip() for one in (taken, point)]
                taken.conflicts.append(SamePluginNameError(point.name, *names))
        objects = {}
        for name, plugin in self._extra:
            module = plugin if isinstance(plugin, str) else getattr(plugin, "__name__", type(plugin).__name__)
            infos[name] = PluginInfo(name=name, module=module)
            objects[name] = None if isinstance(plugin, str) else plugin
        for name in sorted(infos):
            if name == BUILTIN:
                continue
            if name in self._block:
                infos[name].state = "blocked"
                continue
            self._load_one(infos[name], objects.get(name))
        self._settle_clashes()
        return infos

    def _load_one(self, info: PluginInfo, plugin: Any) -> None:
        stage = "import"
        try:
            module = plugin if plugin is not None else _imported(info.module)
            stage = "registration"
            info.api_version = getattr(module, "KASTRA_API_VERSION", None)
            _check_api_version(info.api_version)
            self._check(module)
            self._pluggy.register(module, name=info.name)
            records: dict[str, list[Any]] = {}
            for hook, record_type in _RECORDS.items():
                stage = f"hook {hook}"
                yielded = [
                    record
                    for implementation in getattr(self._pluggy.hook, hook).get_hookimpls()
                    if implementation.plugin is module
                    for record in implementation.function() or ()
                ]
                if not yielded:
                    continue
                for record in yielded:
                    if not isinstance(record, record_type):
                        raise TypeError(f"it yielded {record!r}, expected {record_type.__name__} records")
                    _check_fields(record)
                self._check_once(hook, yielded)
                records[hook] = yielded
            info.records = records
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # a plugin that calls sys.exit() at import is broken, not the CLI
            info.state = "quarantined"
            info.error = PluginLoadError(info.name, stage, _one_line(error))
            import traceback

            info.debug = "".join(traceback.format_exception(error))
            if self._pluggy.has_plugin(info.name):
                self._pluggy.unregister(name=info.name)

    @staticmethod
    def _check(module: Any) -> None:
        for name in dir(module):
            item = getattr(module, name, None)
            if name in _RECORDS and callable(item) and not hasattr(item, "kastra_impl"):
                raise PluginError(f"{name!r} is not marked: put @hookimpl above it")
            if callable(item) and isinstance(getattr(item, "kastra_impl", None), dict) and name not in _RECORDS:
                near = nearest(name, list(_RECORDS))
                hint = f"did you mean {near!r}?" if near else f"hooks are {', '.join(_RECORDS)}"
                raise PluginError(f"{name!r} is no hook; {hint}")

    @staticmethod
    def _check_once(hook: str, records: Sequence[Any]) -> None:
        what, names_of = _NAMES[hook]
        seen: set[str] = set()
        for record in records:
            for name in names_of(record):
                if name in seen:
                    raise PluginError(f"it yields the {what} {name!r} twice")
                seen.add(name)

    def _settle_clashes(self) -> None:
        """Give each name to the first plugin that offers it; tell both.

        A record keeps the names that nobody took before; one that has none left is dropped. Model providers stay, as
        the configuration may choose among the plugins that serve a name.
        """
        infos = self.load()
        taken: dict[tuple[str, str], str] = {}
        for info in self._in_order():
            for hook, (what, names_of) in _NAMES.items():
                kept = []
                for record in info.records.get(hook, ()):
                    names: list[str] = names_of(record)
                    clashes = [name for name in names if (what, name) in taken]
                    left = [name for name in names if (what, name) not in taken]
                    for clash in clashes:
                        if hook == "kastra_model_providers" and self._providers.get(clash) in infos:
                            continue
                        error = PluginConflictError(what, clash, taken[(what, clash)], info.name)
                        info.conflicts.append(error)
                        infos[error.first].conflicts.append(error)
                    if clashes and isinstance(record, StoreRegistration) and left:
                        record = attrs.evolve(record, schemes=tuple(left))
                    elif clashes and not isinstance(record, ModelProviderRegistration):
                        continue
                    kept.append(record)
                    taken.update({(what, name): info.name for name in left})
                if hook in info.records:
                    info.records[hook] = kept

    def _in_order(self) -> list[PluginInfo]:
        infos = self.load()
        return sorted(infos.values(), key=lambda info: (info.name != BUILTIN, info.name))

    # ------------------------------------------------------------------------------------------ asking

    def records(self, hook: str) -> list[tuple[str, Any]]:
        """What all plugins offer by a hook: (plugin name, record), in the order of plugin names."""
        return [(info.name, record) for info in self._in_order() for record in info.records.get(hook, ())]

    @property
    def faults(self) -> list[PluginError]:
        """Why plugins are quarantined, and which clash; empty when all is well."""
        out: list[PluginError] = []
        for info in self._in_order():
            if info.error is not None:
                out.append(info.error)
            out.extend(error for error in info.conflicts if error not in out)
        return out

    def packages(self) -> frozenset[str]:
        """Top-level packages of the loaded plugins, the core's own excluded."""
        return frozenset(
            info.module.partition(":")[0].partition(".")[0]
            for info in self.load().values()
            if info.state == "loaded" and info.name != BUILTIN
        )


def _check_fields(record: Any) -> None:
    """Raises: PluginError when a field of a record is not of its type: it would hurt whoever reads it later."""
    for field in attrs.fields(type(record)):
        kind, value = str(field.type), getattr(record, field.name)
        if kind.startswith("Lazy["):
            fits = value is not None or kind.endswith("| None")
            if isinstance(value, str):
                fits = _LAZY.fullmatch(value) is not None
            wanted = 'an object, or its name as "module:attribute"'
        elif kind in _FITTING:
            wanted, fit = _FITTING[kind]
            fits = fit(value)
        else:
            continue
        if not fits:
            what = f"{type(record).__name__}.{field.name}"
            raise PluginError(f"{what} is {value!r}, expected {wanted}")


_LAZY = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_FITTING: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "str": ("a text", lambda value: isinstance(value, str)),
    "bool": ("true or false", lambda value: isinstance(value, bool)),
    "int": ("a whole number", lambda value: isinstance(value, int) and not isinstance(value, bool)),
    "tuple[str, ...]": (
        "a tuple of texts",
        lambda value: isinstance(value, tuple) and all(isinstance(item, str) for item in value),
    ),
}
"""Annotation of a field -> what it takes, in words and as a test."""


def _check_api_version(stated: Any) -> None:
    """Raises: PluginError when a plugin states a version of the hooks that this core does not have."""
    ours = hookspecs.API_VERSION
    if stated is None or stated == ours:
        return
    if not isinstance(stated, int):
        raise PluginError(f"KASTRA_API_VERSION is {stated!r}, expected a whole number; this core has version {ours}")
    made = f"it was made for version {stated} of the hooks, kastra-core {__version__} has version {ours}; "
    raise PluginError(made + ("upgrade kastra-core" if stated > ours else "upgrade the plugin"))


def _imported(name: str) -> Any:
    """The module of an entry point, or the object in it (``module:object``); each manager imports for itself."""
    module, _, attribute = name.partition(":")
    found: Any = import_module(module)
    return getattr(found, attribute) if attribute else found


def _model_provider_names(record: ModelProviderRegistration) -> list[str]:
    return [] if record.fallback else list(record.providers)


_NAMES: dict[str, tuple[str, Callable[[Any], list[str]]]] = {
    "kastra_resource_kinds": ("kind", lambda r: [f"{r.kind}.{r.group}", f"plural {r.qualified_plural}"]),
    "kastra_controllers": ("controller", lambda r: [r.name]),
    "kastra_stores": ("store scheme", lambda r: list(r.schemes)),
    "kastra_model_providers": ("model provider", _model_provider_names),
    "kastra_migrators": ("migrator", lambda r: [r.name]),
    "kastra_operations": ("operation", lambda r: [r.name]),
    "kastra_commands": ("command", lambda r: [r.name]),
}
"""Hook -> what its records are, and the names of one that nobody else may offer."""


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    name = type(error).__name__
    return text if isinstance(error, PluginError) else f"{name}: {text}" if text else name
