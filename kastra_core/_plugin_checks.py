"""What surrounds the loading of a plugin: what its hooks may yield, and what its import may not do to the process.

A record that is unfit is told when its plugin is loaded, not where it is used.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import attrs

from kastra_core import __version__, hookspecs
from kastra_core.api.kind import PrinterColumn, Scale
from kastra_core.errors import PluginError, shortened
from kastra_core.registrations import (
    CommandRegistration,
    ControllerRegistration,
    MigratorRegistration,
    ModelProviderRegistration,
    OperationRegistration,
    ResourceKind,
    StoreRegistration,
)

__all__: Sequence[str] = ()

RECORDS: dict[str, type] = {
    "kastra_resource_kinds": ResourceKind,
    "kastra_controllers": ControllerRegistration,
    "kastra_stores": StoreRegistration,
    "kastra_model_providers": ModelProviderRegistration,
    "kastra_migrators": MigratorRegistration,
    "kastra_operations": OperationRegistration,
    "kastra_commands": CommandRegistration,
}
"""Hook -> what it yields."""


def _model_provider_names(record: ModelProviderRegistration) -> list[str]:
    return [] if record.fallback else list(record.providers)


NAMES: dict[str, tuple[str, Callable[[Any], list[str]]]] = {
    "kastra_resource_kinds": ("kind", lambda r: [f"{r.kind}.{r.group}", f"plural {r.qualified_plural}"]),
    "kastra_controllers": ("controller", lambda r: [r.name]),
    "kastra_stores": ("store scheme", lambda r: list(r.schemes)),
    "kastra_model_providers": ("model provider", _model_provider_names),
    "kastra_migrators": ("migrator", lambda r: [r.name]),
    "kastra_operations": ("operation", lambda r: [r.name]),
    "kastra_commands": ("command", lambda r: [r.name]),
}
"""Hook -> what its records are, and the names of one that nobody else may offer."""

_MOST_RECORDS = 10_000
"""A hook that yields more of them never ends."""
_SLOW_S = 10.0
"""An import that takes longer is told while it goes on: it may never end."""
_LONGEST_CAUSE = 1000
"""Characters of a cause that are told."""


def yielded(hook: str, implementation: Callable[[], Any]) -> list[Any]:
    """What an implementation of a hook gives, looked at.

    Raises: TypeError, PluginError when it is no iterable of fit records; whatever the implementation raises.
    """
    kind = RECORDS[hook]
    found = implementation()
    if found is None:
        return []
    if not isinstance(found, Iterable):
        if callable(close := getattr(found, "close", None)):
            close()  # a coroutine that nobody awaits would warn of that
        raise TypeError(f"it returned {type(found).__name__}, expected an iterable of {kind.__name__} records")
    records = list(islice(found, _MOST_RECORDS + 1))
    if len(records) > _MOST_RECORDS:
        raise PluginError(f"it yields more than {_MOST_RECORDS} records")
    for record in records:
        if not isinstance(record, kind):
            raise TypeError(f"it yielded {record!r}, expected {kind.__name__} records")
        _check_fields(record)
    return records


def check_once(hook: str, records: Iterable[Any]) -> None:
    """Raises: PluginError when a plugin offers a name twice."""
    what, names_of = NAMES[hook]
    seen: set[str] = set()
    for record in records:
        for name in names_of(record):
            if name in seen:
                raise PluginError(f"it yields the {what} {name!r} twice")
            seen.add(name)


def stated_version(module: Any) -> int | None:
    """The ``KASTRA_API_VERSION`` of a plugin's module, None when it states none.

    Raises: PluginError: it is no whole number.
    """
    stated = getattr(module, "KASTRA_API_VERSION", None)
    # Python takes True and 1.0 for 1.
    if stated is None or (type(stated) is int and abs(stated) < 2**31):
        return stated
    ours = hookspecs.API_VERSION
    raise PluginError(f"KASTRA_API_VERSION is {stated!r}, expected a whole number; this core has version {ours}")


def check_version(stated: int | None) -> None:
    """Raises: PluginError when a plugin states a version of the hooks that this core does not have."""
    ours = hookspecs.API_VERSION
    if stated is not None and stated != ours:
        made = f"it was made for version {stated} of the hooks, kastra-core {__version__} has version {ours}; "
        raise PluginError(made + ("upgrade kastra-core" if stated > ours else "upgrade the plugin"))


# ------------------------------------------------------------------------------------------------ around it


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Undo what the import of a plugin does to the process. What it prints goes to stderr: stdout is the program's.

    What it adds to ``sys.path`` stays, what it takes from there does not.
    """
    out, err, path, where = sys.stdout, sys.stderr, list(sys.path), ""
    with contextlib.suppress(OSError):
        where = str(Path.cwd())
    sys.stdout = err
    try:
        yield
    finally:
        sys.stdout, sys.stderr = out, err
        if sys.path != path:
            now = [entry for entry in sys.path if isinstance(entry, str)]
            sys.path[:] = [*now, *(entry for entry in path if entry not in now)]
        with contextlib.suppress(OSError):
            if where and str(Path.cwd()) != where:
                os.chdir(where)


@contextlib.contextmanager
def watched() -> Iterator[Callable[[str, str], None]]:
    """Tell of an import that takes long while it goes on.

    Gives what is to be called with the name and the module of each plugin before it is loaded.
    """
    now: list[tuple[str, str]] = []
    done = threading.Event()

    def watch() -> None:
        last: tuple[str, str] | None = None
        while not done.wait(_SLOW_S):
            if now and now[-1] is last:
                import logging

                logging.getLogger("kastra.plugins").warning(
                    "the import of plugin %r (%s) takes more than %g s; --no-plugin %s leaves it out",
                    *last,
                    _SLOW_S,
                    last[0],
                )
                return
            last = now[-1] if now else None

    watcher = threading.Thread(target=watch, name="kastra-plugins", daemon=True)
    watcher.start()
    try:
        yield lambda name, module: now.append((name, module))
    finally:
        done.set()
        watcher.join()


def one_line(error: BaseException) -> str:
    """What an error says, in a line that can be shown; of other errors than a PluginError with the class."""
    name = type(error).__name__
    try:
        text = str(error)
    except Exception:  # what a plugin raises may be anything
        text = "(its text cannot be had)"
    # What cannot be written as UTF-8 can be shown nowhere.
    text = shortened(" ".join(text.encode("utf-8", "backslashreplace").decode().split()), _LONGEST_CAUSE)
    return text if isinstance(error, PluginError) else f"{name}: {text}" if text else name


def traceback_of(error: BaseException) -> str:
    """The traceback of an error as a text that can be shown."""
    import traceback

    text = "".join(traceback.format_exception(error))
    return text.encode("utf-8", "backslashreplace").decode()


# ------------------------------------------------------------------------------------------------ fields


def _is_text(value: Any) -> bool:
    # What Python makes of bytes that are no UTF-8 cannot be written anywhere.
    return isinstance(value, str) and not re.search("[\ud800-\udfff]", value)


def _are_texts(value: Any) -> bool:
    return isinstance(value, tuple) and all(_is_text(item) for item in value)


def _is_lazy(value: Any) -> bool:
    return _LAZY.fullmatch(value) is not None if isinstance(value, str) else value is not None


def _is_map(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, Mapping) and all(_is_text(k) and fits(v) for k, v in value.items())


_LAZY = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_OBJECT = 'an object, or its name as "module:attribute"'
_FITTING: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "str": ("a text", _is_text),
    "bool": ("true or false", lambda value: isinstance(value, bool)),
    "int": ("a whole number", lambda value: isinstance(value, int) and not isinstance(value, bool)),
    "tuple[str, ...]": ("a tuple of texts", _are_texts),
    "tuple[PrinterColumn, ...]": (
        "a tuple of PrinterColumn",
        lambda value: isinstance(value, tuple) and all(isinstance(item, PrinterColumn) for item in value),
    ),
    "Scale | None": ("a Scale", lambda value: isinstance(value, Scale)),
    "Mapping[str, str]": ("a map of texts", _is_map(_is_text)),
    "Mapping[str, Any]": ("a map with texts as keys", _is_map(lambda value: True)),
    "Mapping[str, tuple[str, ...]]": ("a map of tuples of texts", _is_map(_are_texts)),
    "Mapping[str, Lazy[": (f"a map of which each value is {_OBJECT}", _is_map(_is_lazy)),
    "Lazy[": (_OBJECT, _is_lazy),
}
"""Annotation of a field, or how it begins -> what it takes, in words and as a test."""

_WORD = ("lower case letters, digits and '-'", re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?"))
_NAME = ("a name without blanks", re.compile(r"[^\s\x00-\x1f\x7f-\x9f]+"))
_NAMED: dict[str, tuple[str, re.Pattern[str]]] = {
    "ResourceKind.kind": ("letters and digits, a letter first", re.compile(r"[A-Za-z][A-Za-z0-9]*")),
    "ResourceKind.plural": _WORD,
    "ResourceKind.singular": _WORD,
    "ResourceKind.short_names": _WORD,
    "ResourceKind.version": _WORD,
    "ResourceKind.group": ("a domain in lower case, or nothing", re.compile(r"([a-z0-9]([a-z0-9.-]*[a-z0-9])?)?")),
    "StoreRegistration.schemes": (
        "what stands before the ':' of a URL, in lower case",
        re.compile(r"[a-z][a-z0-9+.-]*"),
    ),
    "CommandRegistration.name": ("a name without blanks and without '-' in front", re.compile(r"(?!-)[^\s\x00-\x1f]+")),
    **{f"{kind.__name__}.name": _NAME for kind in RECORDS.values() if kind not in (ResourceKind, CommandRegistration)},
    "ModelProviderRegistration.providers": _NAME,
}
"""Field that holds a name, or several -> what a name looks like."""


def _check_fields(record: Any) -> None:
    """Raises: PluginError when a field of a record is not of its type, or a name is none: it would hurt its readers."""
    kind: Any = type(record)
    for name, wanted, fits in _tests_of(kind):
        value = getattr(record, name)
        if not fits(value):
            raise PluginError(f"{kind.__name__}.{name} is {value!r}, expected {wanted}")


@lru_cache(maxsize=64)
def _tests_of(kind: Any) -> tuple[tuple[str, str, Callable[[Any], bool]], ...]:
    """(field, what it takes, the test of it) of a class of records."""
    out: list[tuple[str, str, Callable[[Any], bool]]] = []
    for field in attrs.fields(kind):
        annotation = str(field.type)
        for known, (wanted, fits) in _FITTING.items():
            if annotation == known or (known.endswith("[") and annotation.startswith(known)):
                out.append((field.name, wanted, _or_none(fits) if annotation.endswith("| None") else fits))
                break
        if (named := _NAMED.get(f"{kind.__name__}.{field.name}")) is not None:
            out.append((field.name, named[0], _is_named(named[1])))
    return tuple(out)


def _or_none(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or fits(value)


def _is_named(pattern: re.Pattern[str]) -> Callable[[Any], bool]:
    return lambda value: all(pattern.fullmatch(name) for name in (value if isinstance(value, tuple) else (value,)))
