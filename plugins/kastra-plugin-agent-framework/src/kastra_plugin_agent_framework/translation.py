"""Formulas of Power Fx as CEL: names, signs, coercions. Functions are in ``functions``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from kastra_core.migration import cel_literal, escape_braces
from kastra_plugin_agent_framework.cel import (
    ANY,
    BLANK,
    BOOLEAN,
    NUMBER,
    RECORD,
    TABLE,
    TEXT,
    Cel,
    choose,
    literal,
    member,
    wrapped,
)
from kastra_plugin_agent_framework.powerfx import (
    Binary,
    Call,
    Expr,
    Literal,
    Member,
    Name,
    Record,
    Table,
    Template,
    Unary,
)

__all__ = ["Scope", "Translator", "UntranslatableError"]


class UntranslatableError(ValueError):
    """A formula, or a part of one, that CEL cannot say; ``str()`` says which."""


class Scope(Protocol):
    """What a formula can name, and where what CEL cannot say is done."""

    def resolve(self, path: tuple[str, ...]) -> Cel | None:
        """The value at a path from a scope (``Local.X.y``); None: that is no scope."""
        ...

    def call(self, function: str, arguments: Mapping[str, Any]) -> Cel:
        """The result of a function of ``powerfx_functions``; arguments are templates."""
        ...

    def stub(self, function: str, arguments: Sequence[Any]) -> Cel:
        """The result of a function that somebody has to write; arguments are templates."""
        ...


class Translator:
    """Makes CEL of formulas, for one place where they are evaluated."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.rows: list[Cel] = []
        """Variables of the macros around, the innermost last."""
        self._fresh = 0

    def fresh(self) -> str:
        """A name that no macro around has."""
        self._fresh += 1
        return f"v{self._fresh}" if self._fresh > 1 else "v"

    # ------------------------------------------------------------------------------------------- whole values

    def template(self, tree: Expr) -> Any:
        """The value as a template of a workflow: JSON with expressions in it."""
        if isinstance(tree, Literal):
            return escape_braces(tree.value) if isinstance(tree.value, str) else tree.value
        if isinstance(tree, Record):
            return {name: self.template(value) for name, value in tree.fields}
        if isinstance(tree, Table):
            return [self.template(item) for item in tree.items]
        found = self.value(tree)
        if found.constant:
            return escape_braces(found.value) if isinstance(found.value, str) else found.value
        return f"{{{{ {found.text} }}}}"

    def text_parts(self, tree: Expr) -> list[str | Cel]:
        """The value as a text in parts: what is put together needs no function then."""
        if isinstance(tree, Template):
            return [
                piece for part in tree.parts for piece in ([part] if isinstance(part, str) else self.text_parts(part))
            ]
        if isinstance(tree, Binary) and tree.sign == "&":
            return [*self.text_parts(tree.left), *self.text_parts(tree.right)]
        if isinstance(tree, Call):
            lowered = tree.function.lower()
            if lowered in ("usermessage", "agentmessage", "assistantmessage", "systemmessage", "messagetext") or (
                lowered == "text" and len(tree.arguments) == 1
            ):
                return self.text_parts(tree.arguments[0]) if len(tree.arguments) == 1 else []
            if lowered in ("concat", "concatenate") and not self._of_rows(tree):
                return [piece for item in tree.arguments for piece in self.text_parts(item)]
        if isinstance(tree, Table) and tree.items:
            out: list[str | Cel] = []
            for at, item in enumerate(tree.items):
                out += (["\n"] if at else []) + self.text_parts(item)
            return out
        found = self.value(tree)
        if found.constant:
            return [] if found.value is None else [_constant_text(found.value)]
        return [found]

    def _of_rows(self, tree: Call) -> bool:
        from kastra_plugin_agent_framework.functions import concat_of_rows

        return concat_of_rows(tree)

    # ------------------------------------------------------------------------------------------- values

    def value(self, tree: Expr) -> Cel:
        """The value; blank is null."""
        if isinstance(tree, Literal):
            return literal(tree.value)
        if isinstance(tree, (Name, Member)):
            return self._named(tree)
        if isinstance(tree, Unary):
            return self._unary(tree)
        if isinstance(tree, Binary):
            return self._binary(tree)
        if isinstance(tree, Record):
            fields = ", ".join(f"{cel_literal(name)}: {self.value(value).text}" for name, value in tree.fields)
            return Cel(f"{{{fields}}}", frozenset({RECORD}), True)
        if isinstance(tree, Table):
            items = [self.value(item) for item in tree.items]
            return Cel(f"[{', '.join(_mixed(items))}]", frozenset({TABLE}), True)
        if isinstance(tree, Template):
            return self.join(self.text_parts(tree))
        from kastra_plugin_agent_framework.functions import call

        return call(self, tree)

    def join(self, parts: Sequence[str | Cel]) -> Cel:
        """Parts of a text as one expression."""
        if not parts:
            return literal("")
        texts: list[Cel] = []
        for part in parts:
            if isinstance(part, str) and texts and texts[-1].constant:
                texts[-1] = literal(texts[-1].value + part)
            else:
                texts.append(literal(part) if isinstance(part, str) else self.as_text(part))
        if len(texts) == 1:
            return texts[0]
        return Cel(" + ".join(text.grouped for text in texts), frozenset({TEXT}))

    def _named(self, tree: Name | Member) -> Cel:
        names: list[str] = []
        inner: Expr = tree
        while isinstance(inner, Member):
            names.insert(0, inner.name)
            inner = inner.of
        if isinstance(inner, Name):
            found = self.scope.resolve((inner.name, *names))
            if found is not None:
                return found
            if not self.rows:
                raise UntranslatableError(f"{inner.name!r} names nothing that is known")
            row = self.rows[-1]
            if inner.name == "ThisRecord":
                return member(row, tuple(names), self.fresh) if names else row
            if inner.name == "Value" and not names:
                return self._single(row)
            return member(row, (inner.name, *names), self.fresh)
        found = self.value(inner)
        if names == ["Value"]:
            return wrapped(found, self.fresh, self._single)
        return member(found, tuple(names), self.fresh)

    def _single(self, row: Cel) -> Cel:
        """``Value`` of a row: rows of a list of scalars are the scalars themselves."""
        if row.types and not row.types & {RECORD, ANY}:
            return row
        condition = f'type({row.text}) == map && "Value" in {row.text}'
        return choose(condition, Cel(f"{row.text}.Value", frozenset({ANY}), True), row)

    def _unary(self, tree: Unary) -> Cel:
        if tree.sign == "!":
            return self.negated(self.boolean(tree.of))
        number = self.as_number(self.value(tree.of))
        if tree.sign == "%":
            return Cel(f"double({number.text}) / 100.0", frozenset({NUMBER}))
        if number.constant:
            return literal(-number.value)
        return Cel(f"-{number.grouped}", frozenset({NUMBER}))

    def _binary(self, tree: Binary) -> Cel:
        sign = tree.sign
        if sign in ("&&", "||"):
            left, right = self.boolean(tree.left), self.boolean(tree.right)
            return Cel(f"{_inside(left, sign)} {sign} {_inside(right, sign)}", frozenset({BOOLEAN}))
        if sign == "&":
            return self.join(self.text_parts(tree))
        if sign in ("=", "<>"):
            return self._equal(tree)
        if sign in ("in", "exactin"):
            return self._within(tree)
        left, right = self.value(tree.left), self.value(tree.right)
        if sign in ("<", "<=", ">", ">="):
            if left.only(TEXT) and right.only(TEXT):
                return Cel(f"{left.grouped} {sign} {right.grouped}", frozenset({BOOLEAN}))
            return Cel(f"{self.as_number(left).grouped} {sign} {self.as_number(right).grouped}", frozenset({BOOLEAN}))
        if sign == "^":
            return self.scope_call("power", {"base": self.as_template(left), "exponent": self.as_template(right)})
        first, second = self.as_number(left), self.as_number(right)
        if sign == "/":
            return Cel(f"double({first.text}) / double({second.text})", frozenset({NUMBER}))
        return Cel(f"{first.grouped} {sign} {second.grouped}", frozenset({NUMBER}))

    def _equal(self, tree: Binary) -> Cel:
        negated = tree.sign == "<>"
        special = self._case_test(tree.left, tree.right) or self._case_test(tree.right, tree.left)
        if special is not None:
            return self.negated(special) if negated else special
        left, right = self.value(tree.left), self.value(tree.right)
        sign = "!=" if negated else "=="
        if ANY not in left.types | right.types and not left.types & right.types:
            return literal(negated)  # of two types: never equal
        return Cel(f"{left.grouped} {sign} {right.grouped}", frozenset({BOOLEAN}))

    def contains(self, within: Expr, part: Expr) -> Cel:
        """Whether a text holds another; ``Upper`` of the one does not need a step for it."""
        found = self._case_test(within, part, whole=False)
        if found is not None:
            return found
        text, inner = self.join(self.text_parts(within)), self.join(self.text_parts(part))
        return Cel(f"{self.as_text(text).grouped}.contains({self.as_text(inner).text})", frozenset({BOOLEAN}), True)

    def _case_test(self, call: Expr, other: Expr, *, whole: bool = True) -> Cel | None:
        """``Upper(x) = "EXIT"`` without a function that CEL has not."""
        if not (isinstance(call, Call) and call.function.lower() in ("upper", "lower") and len(call.arguments) == 1):
            return None
        if not (isinstance(other, Literal) and isinstance(other.value, str) and other.value.isascii()):
            return None
        upper = call.function.lower() == "upper"
        if other.value != (other.value.upper() if upper else other.value.lower()):
            return literal(False)
        text = self.as_text(self.join(self.text_parts(call.arguments[0])))
        pattern = f"(?i)^{_pattern(other.value)}$" if whole else f"(?i){_pattern(other.value)}"
        return Cel(f"{text.grouped}.matches({cel_literal(pattern)})", frozenset({BOOLEAN}), True)

    def _within(self, tree: Binary) -> Cel:
        left, right = self.value(tree.left), self.value(tree.right)
        exact = tree.sign == "exactin"
        if right.only(TABLE):
            name = self.fresh()
            if left.constant and isinstance(left.value, str) and not exact:
                test = (
                    f"type({name}) == string && string({name}).matches({cel_literal(f'(?i)^{_pattern(left.value)}$')})"
                )
                return Cel(f"{self.ranged(right)}.exists({name}, {test})", frozenset({BOOLEAN}))
            return Cel(f"{self.ranged(right)}.exists({name}, {name} == {left.grouped})", frozenset({BOOLEAN}))
        if not right.only(TEXT, BLANK) and not exact and not left.only(TEXT):
            raise UntranslatableError(f"whether {tree.sign!r} looks into a text or a table is not known")
        whole = self.as_text(right)
        if exact:
            return Cel(f"{whole.grouped}.contains({self.as_text(left).text})", frozenset({BOOLEAN}))
        if left.constant:
            return Cel(
                f"{whole.grouped}.matches({cel_literal(f'(?is){_pattern(str(left.value))}')})", frozenset({BOOLEAN})
            )
        small = [self.scope_call("lower", {"text": self.as_template(one)}) for one in (left, whole)]
        return Cel(f"string({small[1].text}).contains(string({small[0].text}))", frozenset({BOOLEAN}))

    # ------------------------------------------------------------------------------------------- coercions

    def boolean(self, tree: Expr) -> Cel:
        """As a condition: blank, and what is neither true nor false, is false."""
        if isinstance(tree, Unary) and tree.sign == "!":
            return self._unary(tree)
        if isinstance(tree, Call) and tree.function.lower() == "not" and len(tree.arguments) == 1:
            return self.negated(self.boolean(tree.arguments[0]))
        found = self.value(tree)
        if found.only(BOOLEAN):
            return found
        guarded, question, rest = found.text.partition(" ? ")
        place = rest.removesuffix(" : dyn(null)")
        if question and place != rest and guarded.endswith(f"has({place})") and not guarded.startswith("["):
            return Cel(f"{guarded} && {place} == true", frozenset({BOOLEAN}))
        if found.only(BLANK):
            return literal(False)
        if found.only(NUMBER):
            return Cel(f"{found.grouped} != 0", frozenset({BOOLEAN}))
        if found.only(TEXT):
            return Cel(f'{found.grouped} == "true"', frozenset({BOOLEAN}))
        return Cel(f"{found.grouped} == true", frozenset({BOOLEAN}))

    def negated(self, value: Cel) -> Cel:
        """The opposite of a condition."""
        if value.text.startswith("!") and value.text.count("(") == value.text.count(")") and "&" not in value.text:
            inner = value.text[1:]
            if re.fullmatch(r"[\w.\-\[\]\"]+(\.\w+\(.*\))?", inner) and "|" not in inner:
                return Cel(inner, value.types, value.atom)
        return Cel(f"!{value.grouped}", frozenset({BOOLEAN}))

    def as_text(self, value: Cel) -> Cel:
        """As a text: blank is the empty one."""
        if value.only(TEXT):
            return value
        if value.only(BLANK):
            return literal("")
        if value.constant:
            return literal("" if value.value is None else _constant_text(value.value))
        if value.only(TABLE, RECORD):
            return self.scope_call("to_json", {"value": self.as_template(value)}, frozenset({TEXT}))
        if not value.may_be_blank:
            return Cel(f"string({value.text})", frozenset({TEXT}), True)

        def spelled(one: Cel) -> Cel:
            inner = one.text if one.only(TEXT, BLANK) else f"string({one.text})"
            return Cel(f'{one.text} == null ? "" : {inner}', frozenset({TEXT}))

        return wrapped(value, self.fresh, spelled)

    def as_number(self, value: Cel) -> Cel:
        """As a number: blank is 0."""
        if value.only(NUMBER):
            return value
        if value.only(BLANK):
            return literal(0)
        if value.constant:
            return literal(_constant_number(value.value))
        if value.only(TEXT):
            return Cel(f"double({value.text})", frozenset({NUMBER}), True)
        if value.only(BOOLEAN):
            return Cel(f"{value.grouped} ? 1 : 0", frozenset({NUMBER}))

        def counted(one: Cel) -> Cel:
            inner = f"double({one.text})" if one.only(TEXT, BLANK) else one.text
            return Cel(f"{one.text} == null ? dyn(0) : dyn({inner})", frozenset({NUMBER}))

        return wrapped(value, self.fresh, counted)

    def as_table(self, value: Cel) -> Cel:
        """As a list: blank is the empty one."""
        if not value.may_be_blank:
            return value
        return wrapped(
            value, self.fresh, lambda one: Cel(f"{one.text} == null ? dyn([]) : {one.text}", frozenset({TABLE}))
        )

    def as_template(self, value: Cel) -> Any:
        """As an argument of a tool."""
        if value.constant:
            return escape_braces(value.value) if isinstance(value.value, str) else value.value
        return f"{{{{ {value.text} }}}}"

    def scope_call(self, function: str, arguments: Mapping[str, Any], types: frozenset[str] | None = None) -> Cel:
        """The result of a function of ours, which a step before computes."""
        if self.rows:
            raise UntranslatableError(f"{function} within the rows of a table")
        found = self.scope.call(function, arguments)
        return found if types is None else Cel(found.text, types, found.atom)

    def ranged(self, table: Cel) -> str:
        """A table for a macro to go through; CEL has to be told that it may."""
        return table.text if table.text.startswith("[") and table.atom else f"dyn({table.text})"

    def in_row(self, table: Cel, make: Callable[[Cel], str], macro: str) -> Cel:
        """A macro over a table: ``map`` or ``filter``."""
        name = self.fresh()
        row = Cel(name, frozenset({ANY}), True)
        self.rows.append(row)
        try:
            inner = make(row)
        finally:
            self.rows.pop()
        return Cel(f"{self.ranged(table)}.{macro}({name}, {inner})", frozenset({TABLE}), True)


def _inside(value: Cel, sign: str) -> str:
    bare = value.atom or (re.fullmatch(r"[^?|&]*", value.text) is not None) or (sign not in value.text and False)
    return value.text if bare else f"({value.text})"


def _mixed(items: Sequence[Cel]) -> list[str]:
    """Items of a list, which CEL wants to be of one type."""
    types = frozenset().union(*(item.types for item in items)) if items else frozenset()
    if len(types) < 2:
        return [item.text for item in items]
    return [f"dyn({item.text})" for item in items]


def _pattern(text: str) -> str:
    """A regular expression that finds just this text; CEL knows those of RE2."""
    return "".join(char if char.isalnum() or char in " _" else f"\\{char}" if char.isascii() else char for char in text)


def _constant_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _constant_number(value: Any) -> int | float:
    if value is None or value == "":
        return 0
    try:
        return value if isinstance(value, (int, float)) and not isinstance(value, bool) else float(value)
    except ValueError as error:
        raise UntranslatableError(f"{value!r} is no number") from error
