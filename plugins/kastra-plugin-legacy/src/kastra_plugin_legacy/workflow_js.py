"""Expressions in the JavaScript of older workflows, read into trees. Nothing is evaluated."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, TypeAlias

import attrs

__all__ = [
    "UNDEFINED",
    "Arrow",
    "Binary",
    "Call",
    "Choice",
    "Item",
    "Items",
    "Literal",
    "Member",
    "Name",
    "Pairs",
    "Tree",
    "Unary",
    "UntranslatableError",
    "parse_js",
]

_DEEPEST = 60
"""Levels of an expression; CEL takes no more."""
_LONGEST = 8_000


class UntranslatableError(Exception):
    """An expression that has no equivalent here; the message says why, for people."""


class _Undefined:
    def __repr__(self) -> str:
        return "undefined"


UNDEFINED: Any = _Undefined()


@attrs.frozen
class Literal:
    """A text, a number, true, false, null or UNDEFINED."""

    value: Any


@attrs.frozen
class Name:
    name: str


@attrs.frozen
class Member:
    """``target.name`` or ``target["name"]`` or ``target[0]``."""

    target: Tree
    name: str | int
    optional: bool = False
    """Written with ``?.``."""


@attrs.frozen
class Item:
    """``target[expression]``."""

    target: Tree
    key: Tree


@attrs.frozen
class Call:
    target: Tree
    arguments: tuple[Tree, ...]


@attrs.frozen
class Unary:
    """``!``, ``-``, ``+`` or ``typeof``."""

    sign: str
    operand: Tree


@attrs.frozen
class Binary:
    """``&&``, ``||``, ``??`` and what compares or computes."""

    sign: str
    left: Tree
    right: Tree


@attrs.frozen
class Choice:
    """``condition ? yes : no``"""

    condition: Tree
    yes: Tree
    no: Tree


@attrs.frozen
class Items:
    """``[a, b]``"""

    items: tuple[Tree, ...]


@attrs.frozen
class Pairs:
    """``{a: 1}``"""

    pairs: tuple[tuple[str, Tree], ...]


@attrs.frozen
class Arrow:
    """A function whose body is one expression."""

    parameters: tuple[str, ...]
    body: Tree


Tree: TypeAlias = Literal | Name | Member | Item | Call | Unary | Binary | Choice | Items | Pairs | Arrow

_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*|/\*.*?\*/)
    |(?P<number>0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    |(?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`(?:[^`\\$]|\\.|\$(?!\{))*`)
    |(?P<name>[^\W\d][\w$]*|\$[\w$]*)
    |(?P<sign>===|!==|==|!=|<=|>=|=>|&&|\|\||\?\?|\?\.(?!\d)|[-+*/%!<>?:.,()\[\]{};])""",
    re.VERBOSE | re.DOTALL,
)
_LEVELS = (("??",), ("||",), ("&&",), ("===", "!==", "==", "!="), ("<=", ">=", "<", ">"), ("+", "-"), ("*", "/", "%"))
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "0": "\0"}
_WORDS = {"true": True, "false": False, "null": None, "undefined": UNDEFINED}
_STATEMENTS = frozenset(
    (
        *("await", "class", "const", "delete", "do", "for", "function", "if", "import", "in", "instanceof", "let"),
        *("new", "return", "super", "switch", "this", "throw", "try", "var", "void", "while", "yield"),
    )
)
_FUNCTION = re.compile(
    r"(?:async\s+)?(?:function\s*\w*\s*\((?P<of>[\w$\s,]*+)\)|\(?(?P<arrow>[\w$\s,]*+)\)?\s*=>)\s*+"
    r"\{\s*+return\s+(?P<body>[^;{}]*);?\s*\}\s*;?",
)


def parse_js(source: str, names: Collection[str] = ()) -> Tree:
    """Return the tree of an expression, or of a function whose body is one expression.

    Args:
        names: names with hyphens (of steps), which are read as names and not as subtractions.
    Raises:
        UntranslatableError: it is no such expression.

    >>> parse_js("a.b === 'x'")
    Binary(sign='===', left=Member(target=Name(name='a'), name='b', optional=False), right=Literal(value='x'))
    """
    if len(source) > _LONGEST:
        raise UntranslatableError(f"it has {len(source)} characters")
    function = _FUNCTION.fullmatch(source.strip())
    if function is not None:
        given = function["of"] if function["of"] is not None else function["arrow"]
        parameters = tuple(word.strip() for word in given.split(",") if word.strip())
        return Arrow(parameters, _Parser(function["body"], names).whole())
    returned = re.fullmatch(r"\s*return\s+([^;{}]*);?\s*", source)
    return _Parser(returned[1] if returned is not None else source, names).whole()


class _Parser:
    def __init__(self, source: str, names: Collection[str]) -> None:
        self.tokens = _tokens(source, names)
        self.at = 0
        self.depth = 0

    def whole(self) -> Tree:
        tree = self.expression()
        if self.peek == ";":
            self.at += 1
        if self.at < len(self.tokens):
            raise UntranslatableError(f"{self.peek!r} does not fit there")
        return tree

    @property
    def peek(self) -> str:
        kind, text = self.tokens[self.at] if self.at < len(self.tokens) else ("", "")
        return text if kind in ("sign", "name", "") else ""

    def take(self, sign: str) -> bool:
        if self.at < len(self.tokens) and self.tokens[self.at] == ("sign", sign):
            self.at += 1
            return True
        return False

    def need(self, sign: str) -> None:
        if not self.take(sign):
            found = repr(self.tokens[self.at][1]) if self.at < len(self.tokens) else "its end"
            raise UntranslatableError(f"expected {sign!r}, found {found}")

    def expression(self) -> Tree:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise UntranslatableError("it is nested too deeply")
        arrow = self._arrow()
        tree = arrow if arrow is not None else self._choice()
        self.depth -= 1
        return tree

    def _arrow(self) -> Arrow | None:
        texts = [text for _, text in self.tokens[self.at : self.at + 16]]
        kinds = [kind for kind, _ in self.tokens[self.at : self.at + 16]]
        if kinds[:1] == ["name"] and texts[1:2] == ["=>"]:
            parameters: tuple[str, ...] = (texts[0],)
            self.at += 2
        elif texts[:1] == ["("] and "=>" in texts and texts[texts.index("=>") - 1] == ")":
            end = texts.index("=>")
            inner = list(zip(kinds, texts, strict=True))[1 : end - 1]
            if any(kind != "name" and text != "," for kind, text in inner):
                return None
            parameters = tuple(text for kind, text in inner if kind == "name")
            self.at += end + 1
        else:
            return None
        if self.peek == "{":
            raise UntranslatableError("it is a function with statements")
        return Arrow(parameters, self.expression())

    def _choice(self) -> Tree:
        condition = self._binary(0)
        if not self.take("?"):
            return condition
        yes = self.expression()
        self.need(":")
        return Choice(condition, yes, self.expression())

    def _binary(self, level: int) -> Tree:
        if level == len(_LEVELS):
            return self._unary()
        tree = self._binary(level + 1)
        count = 0
        while self.at < len(self.tokens) and self.tokens[self.at][0] == "sign":
            sign = self.tokens[self.at][1]
            if sign not in _LEVELS[level]:
                break
            self.at += 1
            count += 1
            if count > _DEEPEST:
                raise UntranslatableError("it is too long")
            tree = Binary(sign, tree, self._binary(level + 1))
        return tree

    def _unary(self) -> Tree:
        if self.peek in ("!", "-", "+", "typeof"):
            self.depth += 1
            if self.depth > _DEEPEST:
                raise UntranslatableError("it is nested too deeply")
            sign = self.peek
            self.at += 1
            operand = self._unary()
            self.depth -= 1
            if sign == "-" and isinstance(operand, Literal) and type(operand.value) in (int, float):
                return Literal(-operand.value)
            return Unary(sign, operand)
        return self._postfix()

    def _postfix(self) -> Tree:
        tree = self._primary()
        count = 0
        while True:
            count += 1
            if count > _DEEPEST:
                raise UntranslatableError("it is too long")
            optional = self.take("?.")
            if self.take("["):
                key = self.expression()
                self.need("]")
                plain = isinstance(key, Literal) and type(key.value) in (str, int)
                if isinstance(key, Literal) and plain and key.value != -1:
                    tree = Member(tree, key.value, optional)
                else:
                    tree = Item(tree, key)
            elif self.take("("):
                tree = Call(tree, tuple(self._list(")")))
            elif optional or self.take("."):
                if self.at >= len(self.tokens) or self.tokens[self.at][0] != "name":
                    raise UntranslatableError("a name is missing after '.'")
                tree = Member(tree, self.tokens[self.at][1], optional)
                self.at += 1
            else:
                return tree

    def _list(self, end: str) -> list[Tree]:
        items: list[Tree] = []
        while not self.take(end):
            if items:
                self.need(",")
                if self.take(end):
                    break
            items.append(self.expression())
        return items

    def _primary(self) -> Tree:
        if self.at >= len(self.tokens):
            raise UntranslatableError("it ends too early")
        kind, text = self.tokens[self.at]
        self.at += 1
        if kind == "number":
            return Literal(_number(text))
        if kind == "text":
            return Literal(_unquoted(text))
        if kind == "name":
            if text in _WORDS:
                return Literal(_WORDS[text])
            if text in _STATEMENTS:
                raise UntranslatableError(f"{text!r} is a statement or has no equivalent")
            return Name(text)
        if text == "(":
            tree = self.expression()
            self.need(")")
            return tree
        if text == "[":
            return Items(tuple(self._list("]")))
        if text == "{":
            return self._pairs()
        raise UntranslatableError(f"{text!r} does not fit there")

    def _pairs(self) -> Pairs:
        pairs: list[tuple[str, Tree]] = []
        while not self.take("}"):
            if pairs:
                self.need(",")
                if self.take("}"):
                    break
            if self.at >= len(self.tokens) or self.tokens[self.at][0] not in ("name", "text"):
                raise UntranslatableError("the object cannot be read")
            kind, text = self.tokens[self.at]
            self.at += 1
            key = _unquoted(text) if kind == "text" else text
            if self.take(":"):
                pairs.append((key, self.expression()))
            elif kind == "name":
                pairs.append((key, Name(key)))
            else:
                raise UntranslatableError("the object cannot be read")
        return Pairs(tuple(pairs))


def _tokens(source: str, names: Collection[str]) -> list[tuple[str, str]]:
    out: list[tuple[str, str]] = []
    long = sorted((name for name in names if "-" in name), key=len, reverse=True)
    at = 0
    while at < len(source):
        whole = next((name for name in long if source.startswith(name, at) and _ends(source, at, len(name))), "")
        if whole and not (out and out[-1][0] in ("number", "text")):
            out.append(("name", whole))
            at += len(whole)
            continue
        found = _TOKEN.match(source, at)
        if found is None or found.end() == at:
            raise UntranslatableError(f"{source[at]!r} is not understood")
        at = found.end()
        kind = str(found.lastgroup)
        if kind == "number" and at < len(source) and (source[at].isalnum() or source[at] == "_"):
            raise UntranslatableError(f"{source[found.start() : at + 1]!r} is not understood")
        if kind != "space":
            out.append((kind, found[0]))
    return out


def _ends(source: str, at: int, size: int) -> bool:
    """Whether a name stands there and not a part of a longer one."""
    before, after = source[at - 1 : at], source[at + size : at + size + 1]
    return not (before.isalnum() or (before in ("_", "$", "-") and before)) and not (
        after.isalnum() or (after in ("_", "$") and after != "")
    )


def _number(text: str) -> int | float:
    if text[:2] in ("0x", "0X"):
        value: int | float = int(text, 16)
    else:
        if len(text) > 1 and text[0] == "0" and text.isdigit():
            raise UntranslatableError(f"the number {text} is not understood")
        value = float(text)
        if value.is_integer() and abs(value) < 2**53:
            value = int(value)
    if isinstance(value, float) and value in (float("inf"),):
        raise UntranslatableError(f"the number {text} is too big")
    if isinstance(value, int) and abs(value) >= 2**53:
        value = float(value)
    return value


def _unquoted(text: str) -> str:
    def unescape(found: re.Match[str]) -> str:
        code = found[1]
        if code[0] in "xu" and len(code) > 1:
            point = int(code.strip("xu{}"), 16)
            if point > 0x10FFFF or 0xD800 <= point < 0xE000:
                raise UntranslatableError("a text has an escape that is no character")
            return chr(point)
        return "" if code == "\n" else _ESCAPES.get(code, code)

    return re.sub(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|u\{[0-9a-fA-F]{1,6}\}|.)", unescape, text[1:-1], flags=re.DOTALL)
