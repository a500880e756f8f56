"""The words and signs of a CEL expression, and the values that its literals write.

Source:
    The lexer of cel-go (``parser/gen/CEL.g4``) and what it makes of escapes (``parser/unescape.go``).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from kastra_core.cel.hints import TEXT_LITERAL, hint_for_syntax
from kastra_core.cel.syntax import FaultError
from kastra_core.cel.values import INT_MAX, INT_MIN, UINT_MAX, Uint

__all__ = ["Token", "number_value", "text_value", "tokens_of"]

_TOKEN = re.compile(
    rf"""(?:[ \t\r\n\f]++|//[^\n]*+)*+(?:
    (?P<text>{TEXT_LITERAL})
    |(?P<float>\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\.\d+(?:[eE][+-]?\d+)?)
    |(?P<uint>(?:0x[0-9a-fA-F]+|\d+)[uU])
    |(?P<int>0x[0-9a-fA-F]+|\d+)
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<quoted>`[A-Za-z0-9_./ -]+`)
    |(?P<sign>==|!=|<=|>=|&&|\|\||[-+*/%<>!?:.,()\[\]{{}}])
    |(?P<end>\Z)
    )""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_BLANK = re.compile(r"(?:[ \t\r\n\f]++|//[^\n]*+)*+")
_SIGNS = frozenset({"true", "false", "null", "in"})
"""Words that are no names, not even of fields."""
_ESCAPE = re.compile(
    r"\\(?:([abfnrtv\"'\\?`])|[xX]([0-9a-fA-F]{2})|([0-3][0-7]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|)"
)
_ESCAPED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_QUOTES = re.compile(r"([bB]?)([rR]?)('''|\"\"\"|'|\")")


class Token(NamedTuple):
    kind: str
    """text, float, uint, int, name, quoted (a name in backticks), end, or sign: an operator, a bracket, true, in ..."""
    text: str
    """As it is written."""
    offset: int
    """In the source, in characters."""


def tokens_of(source: str) -> list[Token]:
    """Return all tokens; the last one, and no other, is the end.

    Raises:
        FaultError: a character that no token begins with, a text that is not closed.
    """
    out: list[Token] = []
    position = 0
    while True:
        found = _TOKEN.match(source, position)
        if found is None:
            raise _no_token(source, position)
        group = found.lastgroup or "end"
        text = found[group]
        kind = "sign" if group == "name" and text in _SIGNS else group
        out.append(Token(kind, text, found.start(group)))
        if kind == "end":
            return out
        position = found.end()


def _no_token(source: str, position: int) -> FaultError:
    blank = _BLANK.match(source, position)
    offset = blank.end() if blank else position
    character = source[offset]
    if character in "'\"":
        return FaultError("a text is not closed", offset)
    return FaultError(f"{character!r} does not fit here{hint_for_syntax(source)}", offset)


def number_value(token: Token, minus: bool) -> int | float:
    """The value of a literal of kind int, uint or float.

    Raises:
        FaultError: it has more than 64 bits.
    """
    text = f"-{token.text}" if minus else token.text
    if token.kind == "float":
        value = float(text)
        if value in (float("inf"), float("-inf")):
            raise FaultError(f"{text[:40]} is too big for a double", token.offset)
        return value
    digits = text.rstrip("uU")
    # Python reads at most 4300 digits.
    number = int(digits, 0 if "x" in digits else 10) if len(digits.lstrip("-0x")) <= 20 else UINT_MAX + 1
    if token.kind == "uint":
        if number > UINT_MAX:
            raise FaultError(f"{text[:40]} has more than 64 bits", token.offset)
        return Uint(number)
    if not INT_MIN <= number <= INT_MAX:
        raise FaultError(f"{text[:40]} has more than 64 bits", token.offset)
    return number


def text_value(token: Token) -> str | bytes:
    """The value of a literal of kind text.

    Raises:
        FaultError: an escape that there is not.
    """
    opening = _QUOTES.match(token.text)
    assert opening is not None
    is_bytes, raw, quotes = opening.groups()
    content = token.text[opening.end() : -len(quotes)]
    if "\r" in content:
        content = content.replace("\r\n", "\n").replace("\r", "\n")
    if raw or "\\" not in content:
        return content.encode("utf-8") if is_bytes else content
    parts: list[str | bytes] = []
    position = 0
    for found in _ESCAPE.finditer(content):
        parts.append(content[position : found.start()])
        parts.append(_escaped(found, bool(is_bytes), token.offset + opening.end()))
        position = found.end()
    parts.append(content[position:])
    if is_bytes:
        return b"".join(part if isinstance(part, bytes) else part.encode("utf-8") for part in parts)
    return "".join(str(part) for part in parts)


def _escaped(found: re.Match[str], is_bytes: bool, start: int) -> str | bytes:
    plain, hexadecimal, octal, short, long = found.groups()
    if plain:
        return _ESCAPED.get(plain, plain)
    if hexadecimal or octal:
        code = int(hexadecimal, 16) if hexadecimal else int(octal, 8)
        return bytes((code,)) if is_bytes else chr(code)
    offset = start + found.start()
    shown = found.string[found.start() : found.start() + 2]
    if not (short or long):
        hint = f"write \\\\{shown[1:]}, or r'...', in which a backslash is just that"
        raise FaultError(f"there is no escape {shown} in a text; {hint}", offset)
    if is_bytes:
        raise FaultError(f"there is no escape {shown} in bytes; \\x writes one", offset)
    code = int(short or long, 16)
    if code > 0x10FFFF or 0xD800 <= code < 0xE000:
        raise FaultError(f"{found[0]} is no character", offset)
    return chr(code)
