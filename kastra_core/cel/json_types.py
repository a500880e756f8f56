"""What is known of the type of an expression on JSON: a check by another library of CEL."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from kastra_core.cel.dialect import JSON_DIALECT, Dialect
from kastra_core.cel.hints import hint_for_function
from kastra_core.cel.syntax import CelSyntaxError, function_text

__all__ = ["check"]

_MESSAGE = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): (.*)")
_OVERLOAD = re.compile(r"found no matching overload for '(.*?)' applied to '\((.*?)\)'")
_UNDECLARED = re.compile(r"undeclared reference to '(.*?)'")
_MIXING = frozenset({"_+_", "_-_", "_*_", "_/_", "_<_", "_<=_", "_>_", "_>=_", "_==_", "_!=_", "_?_:_"})
"""Operators that take integers and doubles together here; the library takes them so only where it knows no types."""


def check(source: str, names: tuple[str, ...], dialect: Dialect = JSON_DIALECT) -> str:
    """Return the type of the value, as far as it is known ("bool", "list", "dyn"), with ``names`` declared.

    Args:
        source: an expression that has been parsed.
    Raises:
        CelSyntaxError: it cannot work, whatever the values are.
    """
    try:
        kind = _environment(names).compile(source).return_type()
    except RuntimeError as error:
        text = str(error)
        # The library takes about 30 levels, and does not say of a long expression what is wrong with it.
        if "ecursion" in text or _only_mixes_numbers(text):
            return "dyn"
        raise _readable(text, source, dialect) from error
    return str(kind.name()).partition("<")[0].lower()


def _only_mixes_numbers(text: str) -> bool:
    """Whether all that is wrong is that an operator gets integers and doubles."""
    messages = [found[3] for found in _MESSAGE.finditer(text)]
    return bool(messages) and all(
        (found := _OVERLOAD.match(message)) is not None
        and found[1] in _MIXING
        and set(found[2].removeprefix("bool, ").split(", ")) == {"int", "double"}
        for message in messages
    )


@lru_cache(maxsize=256)
def _environment(names: tuple[str, ...]) -> Any:
    from cel_expr_python import cel

    return cel.NewEnv(variables=dict.fromkeys(names, cel.Type.DYN))


def _readable(text: str, source: str, dialect: Dialect) -> CelSyntaxError:
    found = _MESSAGE.search(text)
    # A fault without a place has -1, or that as an unsigned number.
    if found is None or not 1 <= int(found[1]) <= source.count("\n") + 1:
        first = (found[3] if found else text.partition("\n")[0]).removesuffix("[INVALID_ARGUMENT]").strip()
        return CelSyntaxError(first.partition(": ")[2] or first)
    message = found[3].removesuffix(" [INVALID_ARGUMENT]")
    return CelSyntaxError(_words(message, dialect), int(found[1]), max(1, int(found[2])))


def _words(message: str, dialect: Dialect) -> str:
    if found := _OVERLOAD.match(message):
        return f"{function_text(found[1])} does not take ({found[2]})"
    if found := _UNDECLARED.match(message):
        return f"there is no function {found[1]!r}{hint_for_function(found[1], dialect.function_hint)}"
    return message
