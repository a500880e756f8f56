"""Names of things that are imported when they are first used."""

from __future__ import annotations

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
    if not isinstance(target, str):
        return target
    module, _, attribute = target.partition(":")
    found: Any = import_module(module)
    for part in attribute.split(".") if attribute else ():
        found = getattr(found, part)
    return found
