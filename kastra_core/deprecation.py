"""How a public name retires: it goes on working, warns, and names what to use. ``docs/stability.md`` has the rules.

A function or a method is marked; a class, a constant or a whole move of a name becomes a name that its module looks up:

    __getattr__ = deprecated_names(__name__, Cabinet=Moved("acme.furniture:Shelf", since="0.2", until="0.4"))

A parameter, or a field of a record, calls :func:`warn_deprecated` where it is used.
"""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any, ParamSpec, TypeVar, cast

__all__ = ["Moved", "deprecated", "deprecated_names", "warn_deprecated"]

P = ParamSpec("P")
T = TypeVar("T")

_FRONT_DOOR = "kastra_core"


class Moved:
    """Where a retired name of a module is now.

    Args:
        target: ``"module:attribute"``. An attribute with an underscore has no successor.
        since: the version of the distribution that deprecated it.
        until: the version that no longer has it.
        instead: what to use, for people; default: the target.
    """

    __slots__ = ("instead", "since", "target", "until")

    def __init__(self, target: str, *, since: str, until: str, instead: str = "") -> None:
        module, _, attribute = target.partition(":")
        if not instead and attribute and not attribute.startswith("_"):
            instead = f"{module}.{attribute}"
        self.target, self.since, self.until, self.instead = target, since, until, instead

    def __repr__(self) -> str:
        return f"Moved({self.target!r}, since={self.since!r}, until={self.until!r})"


def warn_deprecated(what: str, *, since: str, until: str, instead: str = "", within: str = "") -> None:
    """Warn whoever called the function that calls this: ``what`` is deprecated.

    Args:
        what: as users write it ("kastra_core.status.old", "the argument 'depth' of graph()").
        since: the version that deprecated it.
        until: the version that no longer has it.
        instead: what to use; "": nothing takes its place.
        within: a module whose frames are passed over to find who is to be told; default: that of the caller.
    Warns:
        DeprecationWarning: at the place of the use, so that filters by module find it.
    """
    told = f"; use {instead}" if instead else ""
    level = _level(within or str(sys._getframe(1).f_globals.get("__name__")))
    warnings.warn(
        f"{what} is deprecated since {since} and goes with {until}{told}", DeprecationWarning, stacklevel=level
    )


def _level(within: str) -> int:
    """The stack level, for a call of ``warnings.warn`` in the caller, of the first frame outside of a module."""
    inside = {within, __name__, _FRONT_DOOR}
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__") in inside:
        level, frame = level + 1, frame.f_back
    return level


def deprecated(*, since: str, until: str, instead: str = "") -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Mark a function or a method: whoever calls it is warned, at the call; a coroutine function, at the await.

    Args:
        since: the version that deprecated it.
        until: the version that no longer has it.
        instead: what to use; "": nothing takes its place.

    Example:
        @deprecated(since="0.2", until="0.4", instead="acme.shelve")
        def store_away(thing): ...
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        from inspect import iscoroutinefunction

        name = f"{function.__module__}.{function.__qualname__}"

        def warn() -> None:
            warn_deprecated(f"{name}()", since=since, until=until, instead=instead, within=__name__)

        if iscoroutinefunction(function):

            @functools.wraps(function)
            async def later(*args: P.args, **kwargs: P.kwargs) -> Any:
                warn()
                return await cast(Any, function)(*args, **kwargs)

            return cast(Callable[P, T], later)

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            warn()
            return function(*args, **kwargs)

        return call

    return decorate


def deprecated_names(module: str, /, **names: Moved) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a module whose names have gone elsewhere; each use of an old one is warned.

    The old names leave the module's ``__all__``. For the type checker write it below ``if not TYPE_CHECKING:``, else
    every name seems to be there.

    Args:
        module: ``__name__``.
        names: old name -> where it is now; imported at the first use.

    Example:
        __getattr__ = deprecated_names(__name__, old=Moved("acme.new:new", since="0.2", until="0.4"))
    """

    def look_up(name: str) -> Any:
        moved = names.get(name)
        if moved is None:
            raise AttributeError(f"module {module!r} has no attribute {name!r}", name=name, obj=sys.modules.get(module))
        warn_deprecated(f"{module}.{name}", since=moved.since, until=moved.until, instead=moved.instead, within=module)
        home, _, attribute = moved.target.partition(":")
        return getattr(import_module(home), attribute)

    return look_up
