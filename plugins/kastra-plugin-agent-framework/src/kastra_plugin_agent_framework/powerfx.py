"""Power Fx as these files use it: text of a formula -> tree."""

from __future__ import annotations

import re
from typing import Any, TypeAlias

import attrs

__all__ = [
    "Binary",
    "Call",
    "Expr",
    "Literal",
    "Member",
    "Name",
    "PowerFxError",
    "Record",
    "Table",
    "Template",
    "Unary",
    "parse",
    "parse_template",
]

_DEEPEST = 60
"""Groups within each other; real formulas have fewer than ten."""


class PowerFxError(ValueError):
    """A formula that cannot be read; ``str()`` says why, ``position`` counts its characters from 0."""

    def __init__(self, message: str, position: int = 0) -> None:
        super().__init__(message, position)
        self.message, self.position = message, position

    def __str__(self) -> str:
        return self.message


@attrs.frozen
class Literal:
    """A text, a number, true, false or blank (None)."""

    value: Any


@attrs.frozen
class Name:
    """A word by itself: a scope (``Local``), or a column of the row at hand."""

    name: str


@attrs.frozen
class Member:
    """``of.name``."""

    of: Expr
    name: str


@attrs.frozen
class Call:
    """``function(arguments)``; the function as it is written."""

    function: str
    arguments: tuple[Expr, ...]


@attrs.frozen
class Unary:
    """``-x``, ``!x`` (also ``Not x``) and ``x%``."""

    sign: str
    of: Expr


@attrs.frozen
class Binary:
    """Two values: signs as Power Fx writes them; ``&&`` and ``||`` also for And and Or."""

    sign: str
    left: Expr
    right: Expr


@attrs.frozen
class Record:
    """``{name: value}``."""

    fields: tuple[tuple[str, Expr], ...]


@attrs.frozen
class Table:
    """``[a, b]``."""

    items: tuple[Expr, ...]


@attrs.frozen
class Template:
    """A text with formulas in it."""

    parts: tuple[str | Expr, ...]


Expr: TypeAlias = Literal | Name | Member | Call | Unary | Binary | Record | Table | Template

_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*|/\*.*?\*/)
    |(?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|\.\d+)
    |(?P<text>\$?"(?:[^"]|"")*")
    |(?P<quoted>'(?:[^']|'')+')
    |(?P<word>[^\W\d]\w*)
    |(?P<sign><>|<=|>=|&&|\|\||[-+*/^%&=<>!(){}\[\],;:.])""",
    re.VERBOSE | re.DOTALL,
)
# Loosest first. In Power Fx `&` binds looser than `+`, comparisons looser than `&`, `in` looser than those.
_LEVELS: tuple[tuple[str, ...], ...] = (
    ("||",),
    ("&&",),
    ("in", "exactin"),
    ("=", "<>", "<", "<=", ">", ">="),
    ("&",),
    ("+", "-"),
    ("*", "/"),
)
_WORD_SIGNS = {"and": "&&", "or": "||", "in": "in", "exactin": "exactin", "not": "!"}


@attrs.frozen
class _Token:
    kind: str
    text: str
    at: int


def _tokens(text: str) -> list[_Token]:
    out: list[_Token] = []
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            told = "a text without its closing quote" if text[at] == '"' else f"{text[at]!r} does not fit here"
            raise PowerFxError(told, at)
        kind = str(found.lastgroup)
        if kind != "space":
            out.append(_Token(kind, found[0], at))
        at = found.end()
    out.append(_Token("end", "", len(text)))
    return out


def parse(text: str, *, lenient: bool = False) -> tuple[Expr, bool]:
    """Read a formula (without the ``=`` before it). Return its tree, and whether parentheses were closed for it.

    Args:
        lenient: parentheses that are open at its end are closed there.

    Raises:
        PowerFxError: it cannot be read.

    >>> parse('Len(Local.Name) > 2')[0].sign
    '>'
    """
    parser = _Parser(text, lenient)
    try:
        tree = parser.formula()
    except RecursionError as error:  # many signs one after another
        raise PowerFxError("it is nested too deeply") from error
    return tree, parser.mended


def parse_template(text: str, *, names: bool = False) -> Template:
    """Read a text with formulas in braces; what is in braces and is no formula stays text.

    Args:
        names: a single word is a formula too, as in ``$"{name}"``.

    >>> parse_template("Hi {Local.Name}!").parts[0]
    'Hi '
    """
    parts: list[str | Expr] = []
    plain, at = "", 0
    while at < len(text):
        end = _end_of_braces(text, at) if text[at] == "{" else -1
        tree = _formula_in_braces(text[at + 1 : end], names) if end > 0 else None
        if tree is None:
            plain += text[at]
            at += 1
            continue
        if plain:
            parts.append(plain)
        parts.append(tree)
        plain, at = "", end + 1
    if plain:
        parts.append(plain)
    return Template(tuple(parts))


def _formula_in_braces(text: str, names: bool) -> Expr | None:
    """The formula, if it is one that names something of a scope or calls a function; JSON in braces is not."""
    try:
        tree, _ = parse(text.strip())
    except PowerFxError:
        return None
    return tree if isinstance(tree, (Member, Call, Binary, Unary)) or (names and isinstance(tree, Name)) else None


def _end_of_braces(text: str, start: int) -> int:
    """Index of the brace that closes the one at ``start``; -1 when there is none."""
    depth, quoted = 0, False
    for at in range(start, len(text)):
        char = text[at]
        if char == '"' and depth:
            quoted = not quoted
        elif not quoted and char == "{":
            depth += 1
        elif not quoted and char == "}":
            depth -= 1
            if depth == 0:
                return at
    return -1


class _Parser:
    def __init__(self, text: str, lenient: bool) -> None:
        self.text, self.lenient, self.mended = text, lenient, False
        self.tokens = _tokens(text)
        self.at = 0
        self.depth = 0

    @property
    def here(self) -> _Token:
        return self.tokens[self.at]

    def formula(self) -> Expr:
        if self.here.kind == "end":
            raise PowerFxError("there is no formula", 0)
        tree = self.level(0)
        if self.here.kind != "end":
            raise PowerFxError(f"{self.here.text!r} does not fit here", self.here.at)
        return tree

    def level(self, number: int) -> Expr:
        if number == len(_LEVELS):
            return self.power()
        self.depth += number == 0
        if self.depth > _DEEPEST:
            raise PowerFxError("it is nested too deeply", self.here.at)
        left = self.level(number + 1)
        while (sign := self.sign()) in _LEVELS[number]:
            self.at += 1
            left = Binary(sign, left, self.level(number + 1))
        self.depth -= number == 0
        return left

    def sign(self) -> str:
        """The sign at hand; that of a word such as And, unless it is called as a function."""
        token = self.here
        if token.kind == "sign":
            return token.text
        follows = self.tokens[self.at + 1].text if token.kind == "word" else ""
        word = _WORD_SIGNS.get(token.text.lower(), "") if token.kind == "word" else ""
        return word if word and (follows != "(" or word in ("in", "exactin") or self.after_value()) else ""

    def after_value(self) -> bool:
        """Whether a value ends before the token at hand, so that ``And (`` is a sign."""
        if not self.at:
            return False
        before = self.tokens[self.at - 1]
        return before.kind in ("number", "text", "quoted", "word") or before.text in (")", "]", "}", "%")

    def power(self) -> Expr:
        left = self.unary()
        if self.sign() == "^":
            self.at += 1
            return Binary("^", left, self.power())
        return left

    def unary(self) -> Expr:
        sign = self.sign()
        if sign in ("-", "!"):
            self.at += 1
            return Unary(sign, self.unary())
        if sign == "+":
            self.at += 1
            return self.unary()
        value = self.value()
        while self.sign() == "%":
            self.at += 1
            value = Unary("%", value)
        return value

    def value(self) -> Expr:
        value = self.primary()
        while self.here.text == "." and self.here.kind == "sign":
            self.at += 1
            token = self.here
            if token.kind not in ("word", "quoted"):
                raise PowerFxError("a name is missing after '.'", token.at)
            self.at += 1
            value = Member(value, _plain(token))
        return value

    def primary(self) -> Expr:
        token = self.here
        self.at += 1
        if token.kind == "number":
            number = float(token.text)
            return Literal(int(number) if number.is_integer() and abs(number) < 2**53 else number)
        if token.kind == "text":
            return _text(token)
        if token.kind == "quoted":
            return Name(_plain(token))
        if token.kind == "word":
            return self.word(token)
        if token.text == "(":
            inner = self.level(0)
            self.close(")")
            return inner
        if token.text == "[":
            items = self.items("]")
            return Table(tuple(items))
        if token.text == "{":
            return self.record()
        told = "it ends too early" if token.kind == "end" else f"{token.text!r} does not fit here"
        raise PowerFxError(told, token.at)

    def word(self, token: _Token) -> Expr:
        if self.here.text == "(" and self.here.kind == "sign":
            self.at += 1
            return Call(token.text, tuple(self.items(")")))
        lowered = token.text.lower()
        if lowered in ("true", "false"):
            return Literal(lowered == "true")
        return Name(token.text)

    def items(self, closing: str) -> list[Expr]:
        out: list[Expr] = []
        if self.here.text == closing and self.here.kind == "sign":
            self.at += 1
            return out
        out.append(self.level(0))
        while self.here.kind == "sign" and self.here.text in ",;":
            self.at += 1
            out.append(self.level(0))
        self.close(closing)
        return out

    def record(self) -> Record:
        fields: list[tuple[str, Expr]] = []
        while not (self.here.kind == "sign" and self.here.text == "}"):
            token = self.here
            if token.kind not in ("word", "quoted", "text"):
                raise PowerFxError("a record has names and values: {name: value}", token.at)
            self.at += 1
            if self.here.text != ":":
                raise PowerFxError("':' is missing after the name of a field", self.here.at)
            self.at += 1
            name = token.text[1:-1] if token.kind == "text" else _plain(token)
            fields.append((name, self.level(0)))
            if self.here.kind == "sign" and self.here.text in ",;":
                self.at += 1
            elif self.here.text != "}":
                break
        self.close("}")
        return Record(tuple(fields))

    def close(self, sign: str) -> None:
        if self.here.kind == "sign" and self.here.text == sign:
            self.at += 1
        elif self.here.kind == "end" and self.lenient:
            self.mended = True
        else:
            found = "the end" if self.here.kind == "end" else repr(self.here.text)
            raise PowerFxError(f"{sign!r} is missing before {found}", self.here.at)


def _plain(token: _Token) -> str:
    return token.text[1:-1].replace("''", "'") if token.kind == "quoted" else token.text


def _text(token: _Token) -> Expr:
    if not token.text.startswith("$"):
        return Literal(token.text[1:-1].replace('""', '"'))
    plain = token.text[2:-1].replace('""', '"')
    template = parse_template(plain, names=True)
    if any(not isinstance(part, str) for part in template.parts):
        return template
    return Literal("".join(str(part) for part in template.parts))
