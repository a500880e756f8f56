"""The parser: CEL as it is written to a syntax tree, in which macros are what they stand for.

Source:
    The grammar of cel-go (``parser/gen/CEL.g4``) and its macros (``parser/macro.go``).
"""

from __future__ import annotations

from kastra_core.cel.dialect import JSON_DIALECT, Dialect
from kastra_core.cel.hints import hint_for_syntax
from kastra_core.cel.macros import expanded
from kastra_core.cel.syntax import CelSyntaxError, FaultError, Node
from kastra_core.cel.tokens import Token, number_value, text_value, tokens_of

__all__ = ["parse"]

_LONGEST = 100_000
"""Characters of an expression, as in cel-go."""
_MOST_NODES = 50_000
_DEEPEST = 100
"""Nodes below one another, and brackets within brackets. cel-go takes 250; Python's stack has to hold a few calls for
each."""
_RANKS = {"*": 3, "/": 3, "%": 3, "+": 2, "-": 2, **dict.fromkeys(("<", "<=", ">", ">=", "==", "!=", "in"), 1)}
_CONSTANTS = {"true": True, "false": False, "null": None}
_RESERVED = frozenset(
    {
        *("as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "package"),
        *("namespace", "return", "var", "void", "while"),
    }
)


def parse(source: str, dialect: Dialect = JSON_DIALECT) -> Node:
    """Return the tree of an expression.

    Raises:
        CelSyntaxError: it is none, or has what the dialect does not know.
    """
    if len(source) > _LONGEST:
        raise CelSyntaxError(f"it has {len(source)} characters, more than {_LONGEST}")
    try:
        for offset, character in enumerate(source):
            if character == "\x00" or "\ud800" <= character <= "\udfff":
                raise FaultError(f"the character {character!r} cannot stand here", offset)
        tree = _Parser(source, dialect).whole()
        _check_size(tree, dialect)
    except FaultError as fault:
        raise fault.in_source(source) from None
    return tree


def _check_size(tree: Node, dialect: Dialect) -> None:
    count, waiting = 0, [(tree, 1)]
    while waiting:
        node, depth = waiting.pop()
        count += 1
        if depth > _DEEPEST:
            raise _too_deep(node.offset, dialect)
        if count > _MOST_NODES:
            raise FaultError(f"it has more than {_MOST_NODES} parts", node.offset)
        depth += 1
        if node.target is not None:
            waiting.append((node.target, depth))
        for item in node.items:
            waiting += [(part, depth) for part in (item if isinstance(item, tuple) else (item,))]


def _too_deep(offset: int, dialect: Dialect) -> FaultError:
    text = f"it is nested too deeply, or has more than {_DEEPEST} operators in a row{dialect.deep_hint}"
    return FaultError(text, offset)


class _Parser:
    def __init__(self, source: str, dialect: Dialect) -> None:
        self._source, self._dialect, self._typed = source, dialect, dialect.typed
        self._tokens = tokens_of(source)
        self._at = self._depth = 0

    def whole(self) -> Node:
        tree = self._expression()
        if self._tokens[self._at].kind != "end":
            raise self._unfit()
        return tree

    # ------------------------------------------------------------------------------------------------ tokens

    def _sign(self) -> str:
        """The sign that comes next, "" if it is no sign."""
        token = self._tokens[self._at]
        return token.text if token.kind == "sign" else ""

    def _next(self) -> Token:
        token = self._tokens[self._at]
        self._at += 1
        return token

    def _takes(self, sign: str) -> bool:
        if self._sign() != sign:
            return False
        self._at += 1
        return True

    def _expect(self, sign: str) -> None:
        if not self._takes(sign):
            raise self._unfit()

    def _unfit(self) -> FaultError:
        token = self._tokens[self._at]
        hint = hint_for_syntax(self._source)
        if token.kind == "end":
            return FaultError(f"the expression ends too early{hint}", len(self._source))
        return FaultError(f"{token.text[:40]!r} does not fit here{hint}", token.offset)

    # ------------------------------------------------------------------------------------------------ operators

    def _expression(self) -> Node:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _too_deep(self._tokens[self._at].offset, self._dialect)
        choices: list[tuple[int, Node, Node]] = []
        out = self._either()
        while self._sign() == "?":
            offset = self._next().offset
            yes = self._either()
            self._expect(":")
            choices.append((offset, out, yes))
            out = self._either()
        for offset, condition, yes in reversed(choices):
            out = Node("call", offset, "_?_:_", items=(condition, yes, out))
        self._depth -= 1
        return out

    def _either(self) -> Node:
        """Operands of ``||``, and of ``&&`` in them."""
        any_of: list[Node] = []
        ors: list[int] = []
        while True:
            all_of, ands = [self._relation()], list[int]()
            while self._sign() == "&&":
                ands.append(self._next().offset)
                all_of.append(self._relation())
            any_of.append(_balanced("_&&_", all_of, ands))
            if self._sign() != "||":
                return _balanced("_||_", any_of, ors)
            ors.append(self._next().offset)

    def _relation(self) -> Node:
        """Operands of all other operators that stand between two."""
        operands = [self._unary()]
        waiting: list[Token] = []
        while True:
            rank = _RANKS.get(self._sign(), 0)
            while waiting and _RANKS[waiting[-1].text] >= rank:
                sign = waiting.pop()
                right = operands.pop()
                name = "@in" if sign.text == "in" else f"_{sign.text}_"
                operands[-1] = Node("call", sign.offset, name, items=(operands[-1], right))
            if not rank:
                return operands[0]
            waiting.append(self._next())
            operands.append(self._unary())

    def _unary(self) -> Node:
        sign = self._sign()
        if sign not in ("!", "-") or self._is_negative_number():
            return self._member()
        first, count = self._tokens[self._at].offset, 0
        while self._sign() == sign:
            self._at += 1
            count += 1
        operand = self._member()
        return operand if count % 2 == 0 else Node("call", first, f"{sign}_", items=(operand,))

    def _is_negative_number(self) -> bool:
        return self._sign() == "-" and self._tokens[self._at + 1].kind in ("int", "float")

    # ------------------------------------------------------------------------------------------------ members

    def _member(self) -> Node:
        node = self._primary()
        while True:
            sign = self._sign()
            if sign == ".":
                node = self._field(node)
            elif sign == "[":
                offset = self._next().offset
                name = "_[?_]" if self._takes_optional() else "_[_]"
                node = Node("call", offset, name, items=(node, self._expression()))
                self._expect("]")
            elif sign == "{" and (dotted := _dotted(node)) is not None:
                raise self._message(*dotted)
            else:
                return node

    def _field(self, node: Node) -> Node:
        offset = self._next().offset
        optional = self._takes_optional()
        token = self._tokens[self._at]
        if token.kind == "quoted" and self._typed:
            raise FaultError(f"{token.text[1:-1]!r} is no name of CEL, and names in backticks are not known", offset)
        if token.kind not in ("name", "quoted"):
            raise self._unfit()
        self._at += 1
        name = token.text.strip("`")
        if optional:
            return Node("call", offset, "_?._", items=(node, Node("const", token.offset, name)))
        if token.kind == "name" and self._sign() == "(":
            offset = self._next().offset
            return expanded(Node("call", offset, name, node, self._arguments()), typed=self._typed)
        return Node("select", offset, name, node)

    def _takes_optional(self) -> bool:
        if self._sign() != "?":
            return False
        if not self._typed:
            raise self._unfit()
        self._at += 1
        return True

    def _message(self, name: str, offset: int) -> FaultError:
        if self._typed:
            return FaultError(f"there is no type {name!r} of which a value can be made", offset)
        return FaultError(f"'{name}{{...}}' is no JSON; write an object as {{'key': value}}", offset)

    def _arguments(self) -> tuple[Node, ...]:
        if self._takes(")"):
            return ()
        out = [self._expression()]
        while self._takes(","):
            out.append(self._expression())
        self._expect(")")
        return tuple(out)

    # ------------------------------------------------------------------------------------------------ the innermost

    def _primary(self) -> Node:
        token = self._tokens[self._at]
        kind, sign = token.kind, self._sign()
        if kind == "name" or sign == ".":
            return self._name()
        if not sign and kind in ("int", "uint", "float", "text"):
            self._at += 1
            return self._literal(token)
        if sign == "(":
            self._at += 1
            out = self._expression()
            self._expect(")")
            return out
        if sign == "[":
            return self._list()
        if sign == "{":
            return self._map()
        if sign in _CONSTANTS:
            self._at += 1
            return Node("const", token.offset, _CONSTANTS[sign])
        if self._is_negative_number():
            self._at += 1
            return Node("const", token.offset, number_value(self._next(), minus=True))
        raise self._unfit()

    def _literal(self, token: Token) -> Node:
        if token.kind == "text":
            return Node("const", token.offset, text_value(token))
        if token.kind == "uint" and not self._typed:
            raise FaultError("JSON has no unsigned integers; write the number without 'u'", token.offset)
        return Node("const", token.offset, number_value(token, minus=False))

    def _name(self) -> Node:
        from_root = self._takes(".")
        token = self._tokens[self._at]
        if token.kind != "name":
            raise self._unfit()
        if token.text in _RESERVED:
            raise FaultError(f"{token.text!r} is a word that CEL reserves{hint_for_syntax(self._source)}", token.offset)
        self._at += 1
        if self._sign() != "(":
            return Node("ident", token.offset, token.text)
        offset = self._next().offset
        call = Node("call", offset, token.text, items=self._arguments())
        return call if from_root else expanded(call, typed=self._typed)

    def _list(self) -> Node:
        offset = self._next().offset
        items: list[Node] = []
        optional: set[int] = set()
        while self._sign() not in ("]", ","):
            if self._takes_optional():
                optional.add(len(items))
            items.append(self._expression())
            if not self._takes(","):
                break
        self._close("]", empty=not items)
        return Node("list", offset, items=tuple(items), optional=frozenset(optional))

    def _map(self) -> Node:
        offset = self._next().offset
        pairs: list[tuple[Node, Node]] = []
        optional: set[int] = set()
        while self._sign() not in ("}", ","):
            if self._takes_optional():
                optional.add(len(pairs))
            key = self._expression()
            self._expect(":")
            pairs.append((key, self._expression()))
            if not self._takes(","):
                break
        self._close("}", empty=not pairs)
        return Node("map", offset, items=tuple(pairs), optional=frozenset(optional))

    def _close(self, sign: str, *, empty: bool) -> None:
        if empty:
            self._takes(",")  # as in cel-go
        self._expect(sign)


def _balanced(name: str, operands: list[Node], offsets: list[int]) -> Node:
    """The tree of operands of ``&&`` or ``||``, as flat as can be; their order stays."""

    def between(first: int, last: int) -> Node:
        middle = (first + last + 1) // 2
        left = operands[middle] if middle == first else between(first, middle - 1)
        right = operands[middle + 1] if middle == last else between(middle + 1, last)
        return Node("call", offsets[middle], name, items=(left, right))

    return between(0, len(offsets) - 1) if offsets else operands[0]


def _dotted(node: Node) -> tuple[str, int] | None:
    """``a.b.c`` and its offset, of a node that is nothing but names."""
    parts: list[str] = []
    inner: Node | None = node
    while inner is not None and inner.kind == "select":
        parts.append(inner.value)
        inner = inner.target
    if inner is None or inner.kind != "ident":
        return None
    return ".".join((inner.value, *reversed(parts))), inner.offset
