"""Names of things that are imported when they are first used."""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import Any, TypeAlias, TypeVar

__all__ = ["Lazy", "load"]

T = TypeVar("T")

Lazy: TypeAlias = T | str
"""The object itself, or ``"package.module:attribute"``."""


def load(target: Any) -> Any:
    """Return the object that ``target`` is or names.

    Raises:
        ImportError, AttributeError: the name leads nowhere.

    >>> load("json:loads")("[1]")
    [1]
    """
    return _named(target) if isinstance(target, str) else target


@lru_cache(maxsize=4096)
def _named(name: str) -> Any:
    module, _, attribute = name.partition(":")
    found: Any = import_module(module)
    for part in attribute.split(".") if attribute else ():
        found = getattr(found, part)
    return found
