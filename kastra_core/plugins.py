"""PluginManager: finds plugins by entry point, loads them late, and keeps a broken one from hurting the rest."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from importlib import import_module
from pathlib import Path
from typing import Any

import attrs
import pluggy

from kastra_core import hookspecs
from kastra_core._plugin_checks import (
    NAMES,
    RECORDS,
    check_once,
    check_version,
    one_line,
    stated_version,
    traceback_of,
    undisturbed,
    watched,
    yielded,
)
from kastra_core.errors import (
    PluginConflictError,
    PluginError,
    PluginLoadError,
    SamePluginNameError,
    nearest,
)
from kastra_core.registrations import ModelProviderRegistration, StoreRegistration

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

_NAME = re.compile(r"[^\W_][\w.-]*")
"""Of a plugin: it is written into options, lists with commas and configurations."""
_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*(:[^\W\d]\w*(\.[^\W\d]\w*)*)?")


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
        for info in _metadata_in(place):
            distribution, _, version = info.name.rpartition(".")[0].partition("-")
            normal = re.sub(r"[-_.]+", "-", distribution).lower()
            if normal in seen:
                continue
            seen.add(normal)
            try:
                # A name that is not UTF-8 is told when its plugin is loaded.
                text = (info / "entry_points.txt").read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
            if f"[{group}]" not in text:
                continue
            for name, module in dict.fromkeys(_parse_entry_points(text, group)):
                found.append(
                    EntryPoint(
                        name=name,
                        module=module,
                        distribution=distribution.replace("_", "-"),
                        version=version or _version_in(info),
                        metadata=str(info),
                    )
                )
    return sorted(found, key=lambda point: point.name)


def _metadata_in(place: Any) -> list[Path]:
    """The directories of metadata in an entry of ``sys.path``, which may be anything."""
    if not isinstance(place, str):
        return []
    try:
        with os.scandir(place or ".") as entries:
            infos = [e.name for e in entries if e.name.endswith((".dist-info", ".egg-info"))]
    except (OSError, ValueError):
        return []
    # With "~" begins what an interrupted pip has put aside.
    return [Path(place or ".") / info for info in sorted(infos) if not info.startswith("~")]


def _version_in(info: Path) -> str:
    """The version that metadata state; what was installed in development mode has none in its name."""
    for name in ("PKG-INFO", "METADATA"):
        with contextlib.suppress(OSError):
            head = (info / name).read_text(encoding="utf-8", errors="replace").partition("\n\n")[0]
            if stated := re.search(r"^Version:\s*(\S+)", head, re.MULTILINE | re.IGNORECASE):
                return stated[1]
    return ""


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
                taken.conflicts.append(_same_name(taken, point))
        objects = {}
        for name, plugin in self._extra:
            module = plugin if isinstance(plugin, str) else getattr(plugin, "__name__", type(plugin).__name__)
            infos[name] = PluginInfo(name=name, module=module)
            objects[name] = None if isinstance(plugin, str) else plugin
        with watched() as begin:
            for name in sorted(infos):
                if name == BUILTIN:
                    continue
                if name in self._block:
                    infos[name].state = "blocked"
                    continue
                begin(name, infos[name].module)
                self._load_one(infos[name], objects.get(name))
        self._settle_clashes()
        return infos

    def _load_one(self, info: PluginInfo, plugin: Any) -> None:
        stage = "entry point"
        try:
            if info.metadata:
                _check_entry_point(info)
            stage = "import"
            with undisturbed():
                module = plugin if plugin is not None else _imported(info.module)
                stage = "registration"
                info.api_version = stated_version(module)
                check_version(info.api_version)
                self._check(module)
                if (other := self._pluggy.get_name(module)) is not None:
                    raise PluginError(f"its module {info.module} is the plugin {other!r} already")
                self._pluggy.register(module, name=info.name)
                records: dict[str, list[Any]] = {}
                for hook in RECORDS:
                    stage = f"hook {hook}"
                    found = [
                        record
                        for implementation in getattr(self._pluggy.hook, hook).get_hookimpls()
                        if implementation.plugin is module
                        for record in yielded(hook, implementation.function)
                    ]
                    if found:
                        check_once(hook, found)
                        records[hook] = found
            info.records = records
        except KeyboardInterrupt as stop:
            said = f"plugin {info.name!r} ({info.module}) was being loaded; --no-plugin {info.name} leaves it out"
            raise KeyboardInterrupt(said) from stop
        except BaseException as error:  # a plugin that calls sys.exit() at import is broken, not the CLI
            info.state = "quarantined"
            info.error = PluginLoadError(info.name, stage, one_line(error))
            info.debug = traceback_of(error)
            if self._pluggy.get_plugin(info.name) is not None:
                self._pluggy.unregister(name=info.name)

    @staticmethod
    def _check(module: Any) -> None:
        for name in dir(module):
            item = getattr(module, name, None)
            if name in RECORDS and callable(item) and not hasattr(item, "kastra_impl"):
                raise PluginError(f"{name!r} is not marked: put @hookimpl above it")
            if callable(item) and isinstance(getattr(item, "kastra_impl", None), dict) and name not in RECORDS:
                near = nearest(name, list(RECORDS))
                hint = f"did you mean {near!r}?" if near else f"hooks are {', '.join(RECORDS)}"
                raise PluginError(f"{name!r} is no hook; {hint}")

    def _settle_clashes(self) -> None:
        """Give each name to the first plugin that offers it; tell both.

        A record keeps the names that nobody took before; one that has none left is dropped. Model providers stay, as
        the configuration may choose among the plugins that serve a name.
        """
        infos = self.load()
        taken: dict[tuple[str, str], str] = {}
        for info in self._in_order():
            for hook, (what, names_of) in NAMES.items():
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


def _check_entry_point(info: PluginInfo) -> None:
    """Raises: PluginError when an installed plugin has a name that nobody can write, or no module."""
    if not _NAME.fullmatch(info.name):
        raise PluginError(
            f"its name is {info.name!r}, expected letters, digits, '-', '_' and '.', a letter or digit first"
        )
    if not _MODULE.fullmatch(info.module):
        raise PluginError(f"it names {info.module!r}, expected MODULE or MODULE:OBJECT")


def _same_name(first: PluginInfo, second: EntryPoint) -> SamePluginNameError:
    those: tuple[PluginInfo | EntryPoint, ...] = (first, second)
    names = [f"{one.distribution} {one.version}".strip() for one in those]
    if names[0] == names[1]:  # of one distribution
        names = [f"{name} ({one.module})" for name, one in zip(names, those)]
    return SamePluginNameError(second.name, *names)


def _imported(name: str) -> Any:
    """The module of an entry point, or the object in it (``module:object``); each manager imports for itself."""
    module, _, path = name.partition(":")
    found: Any = import_module(module)
    return reduce(getattr, path.split("."), found) if path else found
