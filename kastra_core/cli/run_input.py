"""The input of a run from a command line: words, standard input, ``--input`` and ``--set``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from kastra_core.api.meta import JsonObject, JsonValue
from kastra_core.errors import KastraError, UserError

__all__ = ["read_input", "read_json", "read_value", "set_values"]


def read_input(words: Sequence[str], document: str | None, assignments: Sequence[str]) -> JsonValue:
    """Return the input that a command line gives, None when it gives none.

    Args:
        words: joined by spaces; a word ``-`` is the text on standard input. Without any of the three, what is
            piped in is the input.
        document: JSON, ``@FILE`` with JSON in it, or ``@-``.
        assignments: ``key=value`` each; they go over the fields of ``document``.
    Raises: UserError.
    """
    if words:
        if document is not None or assignments:
            raise UserError("give the input as words, or with --input and --set, not both")
        return " ".join(_stdin() if word == "-" else word for word in words)
    if document is not None:
        value = read_json(document, "--input")
        if not assignments:
            return value
        if not isinstance(value, dict):
            raise UserError("--set needs an --input that is a JSON object")
        return set_values(assignments, value)
    if assignments:
        return set_values(assignments, {})
    return (_stdin() or None) if _is_piped() else None


def read_json(text: str, option: str) -> JsonValue:
    """The value of an option that takes JSON, ``@FILE`` or ``@-``. Raises: UserError."""
    where = option
    if text.startswith("@"):
        where = text[1:]
        if where == "-":
            text, where = _stdin(), "standard input"
        else:
            try:
                text = Path(where).read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as err:
                why = err.strerror if isinstance(err, OSError) else "it is not UTF-8"
                raise UserError(f"{option}: {where} cannot be read: {why}") from err
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as err:
        hint = '; write text in double quotes, for example \'{"name": "egg"}\'' if where == option else ""
        raise UserError(f"{where}:{err.lineno}:{err.colno}: it is not JSON: {err.msg}{hint}") from err


def set_values(assignments: Sequence[str], base: JsonObject) -> JsonObject:
    """``base`` with ``key=value`` set; ``a.b=1`` sets a field of the object ``a``. Raises: UserError."""
    out = dict(base)
    for assignment in assignments:
        name, equal, text = assignment.partition("=")
        parts = name.split(".")
        if not equal or not all(parts):
            raise UserError(f"--set {assignment!r}: write key=value, for example --set portions=4")
        inside = out
        for part in parts[:-1]:
            deeper = inside.get(part)
            if deeper is not None and not isinstance(deeper, dict):
                raise UserError(f"--set {assignment!r}: {part} is not an object")
            fields = dict(deeper or {})
            inside[part] = fields
            inside = fields
        inside[parts[-1]] = read_value(text, name)
    return out


def read_value(text: str, name: str) -> JsonValue:
    """What a value means in YAML: 4 is a number, true a boolean, [a, b] a list, all else text. Raises: UserError."""
    from kastra_core.manifests.scalars import Refused, read_plain

    if text[:1] in ("[", "{", '"', "'"):
        return _flow(text, name)
    meaning = read_plain(text)
    if isinstance(meaning, Refused):
        raise UserError(f"--set {name}: {meaning.message}; {meaning.hint}")
    return meaning[0] if isinstance(meaning, tuple) else text


def _flow(text: str, name: str) -> Any:
    from kastra_core.manifests import parse

    try:
        [document] = parse(f"value: {text}\n", "--set")
        return document.data["value"]
    except (KastraError, ValueError, KeyError) as error:
        hint = "write for example [egg, rice] or {name: egg}; text that begins so needs quotes inside the shell's"
        raise UserError(f"--set {name}: {text!r} is no YAML value; {hint}") from error


def _is_piped() -> bool:
    try:
        return sys.stdin is not None and not sys.stdin.isatty()
    except ValueError:
        return False


def _stdin() -> str:
    """Standard input without its last line end. Raises: UserError."""
    if sys.stdin is None:
        return ""
    try:
        data = sys.stdin.buffer.read()
    except OSError as err:
        raise UserError(f"standard input cannot be read: {err.strerror}") from err
    try:
        return data.decode("utf-8-sig").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as err:
        raise UserError(f"standard input is not UTF-8: byte {err.start}") from err
