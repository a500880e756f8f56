"""Functions of Power Fx as CEL, or as calls of ``powerfx_functions``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kastra_plugin_agent_framework.cel import (
    ANY,
    BLANK,
    BOOLEAN,
    NUMBER,
    TABLE,
    TEXT,
    Cel,
    choose,
    literal,
    wrapped,
)
from kastra_plugin_agent_framework.powerfx import Call, Expr, Literal, Name
from kastra_plugin_agent_framework.translation import Translator, UntranslatableError

__all__ = ["HELPERS", "call", "concat_of_rows"]

_TEXT = frozenset({TEXT})
_NUMBER = frozenset({NUMBER})
_BOOLEAN = frozenset({BOOLEAN})

HELPERS: Mapping[str, tuple[str, tuple[str, ...], frozenset[str]]] = {
    "upper": ("upper", ("text",), _TEXT),
    "lower": ("lower", ("text",), _TEXT),
    "proper": ("proper", ("text",), _TEXT),
    "trim": ("trim", ("text",), _TEXT),
    "trimends": ("trim_ends", ("text",), _TEXT),
    "find": ("find", ("find_text", "within_text", "start"), frozenset({NUMBER, BLANK})),
    "left": ("left", ("text", "count"), _TEXT),
    "right": ("right", ("text", "count"), _TEXT),
    "mid": ("mid", ("text", "start", "count"), _TEXT),
    "replace": ("replace", ("text", "start", "count", "new"), _TEXT),
    "substitute": ("substitute", ("text", "old", "new", "instance"), _TEXT),
    "split": ("split", ("text", "separator"), frozenset({TABLE})),
    "round": ("round_number", ("number", "digits"), _NUMBER),
    "roundup": ("round_up", ("number", "digits"), _NUMBER),
    "rounddown": ("round_down", ("number", "digits"), _NUMBER),
    "trunc": ("round_down", ("number", "digits"), _NUMBER),
    "power": ("power", ("base", "exponent"), _NUMBER),
    "sqrt": ("square_root", ("number",), _NUMBER),
    "parsejson": ("parse_json", ("text",), frozenset({ANY})),
    "json": ("to_json", ("value",), _TEXT),
    "now": ("now", (), _TEXT),
    "today": ("today", (), _TEXT),
    "guid": ("guid", (), _TEXT),
}
"""Function in lower case -> (function of ours, its parameters, what it gives)."""
_TOTALS = {"sum": "total", "average": "average", "min": "least", "max": "greatest"}


def concat_of_rows(tree: Call) -> bool:
    """Whether a Concat joins the rows of a table; that of the Python framework joins texts.

    A second argument that names a column, or a table that can be seen as one, tells.
    """
    if tree.function.lower() != "concat" or len(tree.arguments) < 2 or len(tree.arguments) > 3:
        return False
    first, second = tree.arguments[0], tree.arguments[1]
    if isinstance(first, Call) and first.function.lower() in (*_OF_TABLES, "table", "split", "distinct", "sort"):
        return True
    return isinstance(second, Name) or _names_columns(second)


def _names_columns(tree: Expr) -> bool:
    from kastra_plugin_agent_framework.powerfx import Binary, Member

    if isinstance(tree, Binary):
        return _names_columns(tree.left) or _names_columns(tree.right)
    if isinstance(tree, Call):
        return any(_names_columns(argument) for argument in tree.arguments)
    if isinstance(tree, Member):
        return isinstance(tree.of, Name) and tree.of.name == "ThisRecord"
    return isinstance(tree, Name)


_OF_TABLES = ("forall", "filter", "search", "sortbycolumns", "firstn", "lastn")


def call(self: Translator, tree: Call) -> Cel:
    """The value of a call."""
    name, arguments = tree.function.lower(), tree.arguments
    handler = _HANDLERS.get(name)
    if handler is not None:
        least, most, make = handler
        if not least <= len(arguments) <= most:
            raise UntranslatableError(f"{tree.function} takes {least} to {most} values, found {len(arguments)}")
        return make(self, arguments)
    if name in _TOTALS:
        return _total(self, _TOTALS[name], arguments)
    if name in HELPERS:
        function, parameters, types = HELPERS[name]
        if len(arguments) > len(parameters):
            raise UntranslatableError(f"{tree.function} takes at most {len(parameters)} values")
        given = {key: self.template(value) for key, value in zip(parameters, arguments, strict=False)}
        return self.scope_call(function, given, types)
    if self.rows:
        raise UntranslatableError(f"{tree.function} within the rows of a table")
    return self.scope.stub(tree.function, [self.template(argument) for argument in arguments])


def _text(self: Translator, tree: Expr) -> Cel:
    return self.join(self.text_parts(tree))


def _if(self: Translator, given: tuple[Expr, ...]) -> Cel:
    tests = [(given[at], given[at + 1]) for at in range(0, len(given) - 1, 2)]
    out = self.value(given[-1]) if len(given) % 2 else literal(None)
    for condition, value in reversed(tests):
        out = choose(self.boolean(condition).grouped, self.value(value), out)
    return out


def _switch(self: Translator, given: tuple[Expr, ...]) -> Cel:
    def made(subject: Cel) -> Cel:
        rest = given[1:]
        out = self.value(rest[-1]) if len(rest) % 2 else literal(None)
        for at in reversed(range(0, len(rest) - 1, 2)):
            match = self.value(rest[at])
            out = choose(f"{subject.text} == {match.grouped}", self.value(rest[at + 1]), out)
        return out

    return wrapped(self.value(given[0]), self.fresh, made)


def _is_blank(self: Translator, given: tuple[Expr, ...]) -> Cel:
    inner = given[0]
    if isinstance(inner, Call) and inner.function.lower() == "find" and len(inner.arguments) == 2:
        return self.negated(self.contains(inner.arguments[1], inner.arguments[0]))
    found = self.value(inner)
    if found.only(TEXT):
        return Cel(f'{found.grouped} == ""', _BOOLEAN)
    if not found.may_be_blank:
        return literal(False)
    if found.only(NUMBER, BOOLEAN, TABLE, BLANK):
        return Cel(f"{found.grouped} == null", _BOOLEAN)
    return wrapped(found, self.fresh, lambda one: Cel(f'{one.text} == null || {one.text} == ""', _BOOLEAN))


def _coalesce(self: Translator, given: tuple[Expr, ...]) -> Cel:
    out = self.value(given[-1])
    for tree in reversed(given[:-1]):
        found, rest = self.value(tree), out
        out = wrapped(
            found,
            self.fresh,
            lambda one, rest=rest: choose(f'{one.text} != null && {one.text} != ""', one, rest),  # type: ignore[misc]
        )
    return out


def _value(self: Translator, given: tuple[Expr, ...]) -> Cel:
    found = self.value(given[0])
    if found.only(NUMBER):
        return found
    if found.constant and isinstance(found.value, str):
        return literal(float(found.value)) if found.value else literal(None)
    return wrapped(
        found,
        self.fresh,
        lambda one: Cel(
            f'{one.text} == null || {one.text} == "" ? dyn(null) : dyn(double({one.text}))', frozenset({NUMBER, BLANK})
        ),
    )


def _whole(self: Translator, number: Cel) -> Cel:
    """The largest integer that is no larger."""
    return wrapped(
        Cel(f"double({number.text})", _NUMBER),
        self.fresh,
        lambda one: Cel(f"double(int({one.text})) > {one.text} ? int({one.text}) - 1 : int({one.text})", _NUMBER),
    )


def _mod(self: Translator, given: tuple[Expr, ...]) -> Cel:
    def first(left: Cel) -> Cel:
        return wrapped(right, self.fresh, lambda one: second(left, one))

    def second(left: Cel, divisor: Cel) -> Cel:
        times = _whole(self, Cel(f"double({left.text}) / double({divisor.text})", _NUMBER))
        return Cel(f"{left.grouped} - {divisor.grouped} * {times.grouped}", _NUMBER)

    right = self.as_number(self.value(given[1]))
    return wrapped(self.as_number(self.value(given[0])), self.fresh, first)


def _abs(self: Translator, given: tuple[Expr, ...]) -> Cel:
    number = self.as_number(self.value(given[0]))
    return wrapped(number, self.fresh, lambda one: Cel(f"{one.text} < 0 ? -{one.grouped} : {one.text}", _NUMBER))


def _table_of(self: Translator, tree: Expr) -> Cel:
    return self.as_table(self.value(tree))


def _first(self: Translator, given: tuple[Expr, ...]) -> Cel:
    return wrapped(
        _table_of(self, given[0]),
        self.fresh,
        lambda one: choose(f"size({one.text}) > 0", Cel(f"{one.text}[0]", atom=True), literal(None)),
    )


def _last(self: Translator, given: tuple[Expr, ...]) -> Cel:
    return wrapped(
        _table_of(self, given[0]),
        self.fresh,
        lambda one: choose(f"size({one.text}) > 0", Cel(f"{one.text}[size({one.text}) - 1]", atom=True), literal(None)),
    )


def _index(self: Translator, given: tuple[Expr, ...]) -> Cel:
    at = self.as_number(self.value(given[1]))
    return Cel(f"{_table_of(self, given[0]).grouped}[int({at.text}) - 1]", atom=True)


def _count(self: Translator, given: tuple[Expr, ...]) -> Cel:
    return Cel(f"size({_table_of(self, given[0]).text})", _NUMBER, True)


def _count_if(self: Translator, given: tuple[Expr, ...]) -> Cel:
    return Cel(f"size({_filter(self, given).text})", _NUMBER, True)


def _filter(self: Translator, given: tuple[Expr, ...]) -> Cel:
    table = _table_of(self, given[0])
    return self.in_row(
        table, lambda _: " && ".join(self.boolean(condition).grouped for condition in given[1:]), "filter"
    )


def _look_up(self: Translator, given: tuple[Expr, ...]) -> Cel:
    found = _filter(self, given[:2])

    def first(rows: Cel) -> Cel:
        row = Cel(f"{rows.text}[0]", atom=True)
        value = row
        if len(given) == 3:
            self.rows.append(row)
            try:
                value = self.value(given[2])
            finally:
                self.rows.pop()
        return choose(f"size({rows.text}) > 0", value, literal(None))

    return wrapped(Cel(found.text, found.types), self.fresh, first)


def _for_all(self: Translator, given: tuple[Expr, ...]) -> Cel:
    return self.in_row(_table_of(self, given[0]), lambda _: self.value(given[1]).text, "map")


def _concat(self: Translator, given: tuple[Expr, ...]) -> Cel:
    if not concat_of_rows(Call("Concat", given)):
        return self.join([piece for tree in given for piece in self.text_parts(tree)])
    table = _table_of(self, given[0])
    values = self.in_row(table, lambda _: _text(self, given[1]).text, "map")
    arguments: dict[str, Any] = {"values": self.as_template(values)}
    if len(given) == 3:
        arguments["separator"] = self.template(given[2])
    return self.scope_call("join", arguments, _TEXT)


def _search(self: Translator, given: tuple[Expr, ...]) -> Cel:
    columns = []
    for tree in given[2:]:
        name = tree.name if isinstance(tree, Name) else tree.value if isinstance(tree, Literal) else None
        if not isinstance(name, str):
            raise UntranslatableError("Search looks into columns that are named")
        columns.append(name)
    arguments = {"table": self.template(given[0]), "text": self.template(given[1]), "columns": columns}
    return self.scope_call("search", arguments, frozenset({TABLE}))


def _sort(self: Translator, given: tuple[Expr, ...]) -> Cel:
    table = _table_of(self, given[0])
    keys = self.in_row(table, lambda _: self.value(given[1]).text, "map")
    descending = len(given) == 3 and "descending" in repr(given[2]).lower()
    arguments = {"table": self.as_template(table), "keys": self.as_template(keys), "descending": descending}
    return self.scope_call("sort", arguments, frozenset({TABLE}))


def _distinct(self: Translator, given: tuple[Expr, ...]) -> Cel:
    values = self.in_row(_table_of(self, given[0]), lambda _: self.value(given[1]).text, "map")
    return self.scope_call("distinct", {"values": self.as_template(values)}, frozenset({TABLE}))


def _total(self: Translator, function: str, given: tuple[Expr, ...]) -> Cel:
    if len(given) == 2 and _names_columns(given[1]):
        values = self.in_row(_table_of(self, given[0]), lambda _: self.value(given[1]).text, "map")
        template = self.as_template(values)
    elif function == "total" and given:
        numbers = [self.as_number(self.value(tree)) for tree in given]
        return Cel(" + ".join(number.grouped for number in numbers), _NUMBER)
    else:
        template = [self.template(tree) for tree in given]
    return self.scope_call(function, {"values": template}, frozenset({NUMBER, BLANK}))


def _starts(method: str) -> Callable[[Translator, tuple[Expr, ...]], Cel]:
    def made(self: Translator, given: tuple[Expr, ...]) -> Cel:
        whole, part = _text(self, given[0]), _text(self, given[1])
        if not (part.constant and part.value.isascii() and part.value.upper() == part.value.lower()):
            # Power Fx does not mind upper and lower case here.
            small = [self.scope_call("lower", {"text": self.as_template(one)}, _TEXT) for one in (whole, part)]
            whole, part = small
        return Cel(f"{whole.grouped}.{method}({part.text})", _BOOLEAN)

    return made


def _and(sign: str) -> Callable[[Translator, tuple[Expr, ...]], Cel]:
    def made(self: Translator, given: tuple[Expr, ...]) -> Cel:
        return Cel(f" {sign} ".join(self.boolean(tree).grouped for tree in given), _BOOLEAN)

    return made


def _not(self: Translator, given: tuple[Expr, ...]) -> Cel:
    return self.negated(self.boolean(given[0]))


def _boolean(self: Translator, given: tuple[Expr, ...]) -> Cel:
    return self.boolean(given[0])


def _char(self: Translator, given: tuple[Expr, ...]) -> Cel:
    if isinstance(given[0], Literal) and isinstance(given[0].value, int) and 0 < given[0].value < 0x110000:
        return literal(chr(given[0].value))
    raise UntranslatableError("Char of a number that is computed")


def _table(self: Translator, given: tuple[Expr, ...]) -> Cel:
    from kastra_plugin_agent_framework.powerfx import Table

    return self.value(Table(given))


def _is_number(self: Translator, given: tuple[Expr, ...]) -> Cel:
    found = self.value(given[0])
    return wrapped(
        found,
        self.fresh,
        lambda one: Cel(
            f"type({one.text}) in [int, double] || type({one.text}) == string && "
            f'string({one.text}).matches("^ *[-+]?[0-9]+([.][0-9]+)? *$")',
            _BOOLEAN,
        ),
    )


def _format(self: Translator, given: tuple[Expr, ...]) -> Cel:
    if len(given) > 1:
        return self.scope.stub("Text", [self.template(tree) for tree in given])
    return self.as_text(_text(self, given[0]))


_MANY = 200
_HANDLERS: Mapping[str, tuple[int, int, Callable[[Translator, tuple[Expr, ...]], Cel]]] = {
    "abs": (1, 1, _abs),
    "agentmessage": (1, 1, lambda self, given: _text(self, given[0])),
    "and": (1, _MANY, _and("&&")),
    "assistantmessage": (1, 1, lambda self, given: _text(self, given[0])),
    "blank": (0, 0, lambda self, given: literal(None)),
    "boolean": (1, 1, _boolean),
    "char": (1, 1, _char),
    "coalesce": (1, _MANY, _coalesce),
    "concat": (1, _MANY, _concat),
    "concatenate": (1, _MANY, lambda self, given: self.join([part for one in given for part in self.text_parts(one)])),
    "countif": (2, 2, _count_if),
    "countrows": (1, 1, _count),
    "count": (1, 1, _count),
    "distinct": (2, 2, _distinct),
    "endswith": (2, 2, _starts("endsWith")),
    "filter": (2, _MANY, _filter),
    "first": (1, 1, _first),
    "forall": (2, 2, _for_all),
    "if": (2, _MANY, _if),
    "index": (2, 2, _index),
    "int": (1, 1, lambda self, given: _whole(self, self.as_number(self.value(given[0])))),
    "isblank": (1, 1, _is_blank),
    "isempty": (1, 1, lambda self, given: Cel(f"{_count(self, given).text} == 0", _BOOLEAN)),
    "isnumeric": (1, 1, _is_number),
    "last": (1, 1, _last),
    "len": (1, 1, lambda self, given: Cel(f"size({_text(self, given[0]).text})", _NUMBER, True)),
    "lookup": (2, 3, _look_up),
    "messagetext": (1, 1, lambda self, given: self.as_text(_text(self, given[0]))),
    "mod": (2, 2, _mod),
    "not": (1, 1, _not),
    "or": (1, _MANY, _and("||")),
    "search": (3, _MANY, _search),
    "sort": (2, 3, _sort),
    "startswith": (2, 2, _starts("startsWith")),
    "switch": (3, _MANY, _switch),
    "systemmessage": (1, 1, lambda self, given: _text(self, given[0])),
    "table": (0, _MANY, _table),
    "text": (1, 3, _format),
    "usermessage": (1, 1, lambda self, given: _text(self, given[0])),
    "value": (1, 2, _value),
}
