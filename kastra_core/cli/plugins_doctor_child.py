"""What ``kastra plugins doctor --imports`` does in a process of its own: import a plugin and what its records name."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import attrs

from kastra_core.api.lazy import load
from kastra_core.plugins import PluginInfo, PluginManager

__all__ = ["HOOKS_BEGIN", "HOOKS_END", "LOADED", "answer"]

HOOKS_BEGIN, HOOKS_END = "--- hooks ---", "--- end ---"
"""Lines on stderr before and after the import of the hooks; what stands between is timed."""
LOADED = "--- loaded ---"
"""Line on stderr after the hooks were called: what comes now is imported when it is used."""


def answer(name: str, module: str) -> dict[str, Any]:
    """Import the plugin ``name`` and what its records name; stdout must lead nowhere that matters.

    Returns:
        JSON: ``effects`` (what the import of the hooks changes in the process, in words) and ``failed``: a list of
        {"name", "of", "why"} for each name in a record that leads nowhere. A plugin that is quarantined has neither.
    """
    before = _Process()
    _mark(HOOKS_BEGIN)
    try:
        import_module(module.partition(":")[0])
    except BaseException:  # whoever loads the plugins says so
        return {"effects": [], "failed": []}
    finally:
        _mark(HOOKS_END)
    effects = list(before.changes())
    info = PluginManager(discover=False, extra=[(name, module)]).load()[name]
    _mark(LOADED)
    failed = []
    for lazy, of in _lazy_names(info).items():
        try:
            load(lazy)
        except BaseException as error:
            why = f"{type(error).__name__}: {' '.join(str(error).split())}"
            failed.append({"name": lazy, "of": of, "why": why.encode("utf-8", "backslashreplace").decode()})
    return {"effects": effects, "failed": failed}


def _mark(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


class _Process:
    """What an import has to leave alone."""

    def __init__(self) -> None:
        self._out = sys.stdout = io.StringIO()
        self._cwd, self._path, self._environment = Path.cwd(), list(sys.path), dict(os.environ)
        self._threads = set(threading.enumerate())
        self._handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def changes(self) -> Iterator[str]:
        """What is different now, in words."""
        if sys.stdout is not self._out:
            yield "takes stdout away"
        elif self._out.getvalue():
            yield "prints to stdout"
        if Path.cwd() != self._cwd:
            yield "changes the current directory"
        gone = [entry for entry in self._path if entry not in sys.path]
        if gone:
            yield f"takes {', '.join(gone)} from sys.path"
        names = sorted({*self._environment, *os.environ})
        changed = [name for name in names if os.environ.get(name) != self._environment.get(name)]
        if changed:
            yield f"changes environment variables ({', '.join(changed)})"
        if set(threading.enumerate()) - self._threads:
            yield "starts threads"
        for number, handler in self._handlers.items():
            if signal.getsignal(number) != handler:
                yield f"handles {signal.Signals(number).name}"


def _lazy_names(info: PluginInfo) -> dict[str, str]:
    """ "module:attribute" -> which field of which record names it."""
    found: dict[str, str] = {}
    for records in info.records.values():
        for record in records:
            title = f"{type(record).__name__} {getattr(record, 'name', None) or record.kind}"
            for field in attrs.fields(type(record)):
                if "Lazy" not in str(field.type):
                    continue
                value: Any = getattr(record, field.name)
                for name in value.values() if isinstance(value, Mapping) else [value]:
                    if isinstance(name, str):
                        found.setdefault(name, f"{field.name} of {title}")
    return found
