"""What sets uses of CEL apart: which values there are, which functions, and in whose words a message speaks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from kastra_core.cel.functions import Library, library

__all__ = ["JSON_DIALECT", "KUBERNETES", "Dialect"]


def _no_functions() -> Library:
    return {}


def _no_words(where: str, value: Any, part: str | int) -> str | None:
    return None


@attrs.frozen(kw_only=True, eq=False)
class Dialect:
    """A way to use CEL. Make another one with ``attrs.evolve``."""

    name: str
    typed: bool
    """Whether variables have types that the checker looks at, and values are those of CEL. Otherwise all values are
    JSON, in which there is one kind of number, so that integers and doubles mix; a function that this package does not
    have is answered by another library of CEL. A typed dialect has optional values and macros of two variables."""
    library: Callable[[], Library] = _no_functions
    """All functions of a typed dialect; asked for once, at the first compilation."""
    deep_hint: str = ""
    """Ends the message about an expression that is nested too deeply."""
    function_hint: str = ""
    """Ends the message about a function that is not there."""
    missing: Callable[[str, Any, str | int], str | None] = _no_words
    """``missing(where, value, part)``: words for a ``part`` that the value of ``where`` lacks, None: the usual ones."""


def _kubernetes_library() -> Library:
    from kastra_core.cel.kubernetes import LIBRARY
    from kastra_core.cel.standard import STANDARD

    return library(STANDARD, LIBRARY)


JSON_DIALECT = Dialect(name="JSON", typed=False, deep_hint="; use parentheses to make groups")
"""Expressions on JSON as it is."""

KUBERNETES = Dialect(name="Kubernetes", typed=True, library=_kubernetes_library)
"""CEL as in ``x-kubernetes-validations``, with the function libraries of Kubernetes."""
