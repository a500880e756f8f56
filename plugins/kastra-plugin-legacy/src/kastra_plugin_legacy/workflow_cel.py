"""Pieces of CEL with what is known of their values, and what they make together."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import attrs

from kastra_core.cel import JSON_DIALECT, CelSyntaxError
from kastra_core.migration import CEL_RESERVED, cel_literal
from kastra_plugin_legacy.workflow_js import UNDEFINED, UntranslatableError

__all__ = [
    "AND",
    "ARRAY",
    "ATOM",
    "BOOLEAN",
    "CHOICE",
    "COMPARED",
    "NOTHING",
    "NUMBER",
    "NUMERIC",
    "OBJECT",
    "OR",
    "STRING",
    "SUM",
    "TERM",
    "UNARY",
    "Code",
    "Path",
    "Resolve",
    "all_of",
    "both_of",
    "checked",
    "choice",
    "conjunction",
    "disjunction",
    "either_of",
    "is_typed",
    "literal",
    "member",
    "negated",
    "probe_of",
    "truth",
    "untyped",
]

Path = tuple[str | int, ...]
ATOM, UNARY, TERM, SUM, COMPARED, AND, OR, CHOICE = range(8)
"""How loosely a piece of CEL binds, ``level`` of :class:`Code`."""
_IS_PATH = re.compile(r"(?:workflow|steps|data|input|result)(?:\.\w+|\[\d+\]|\[\"(?:[^\"\\]|\\.)*\"\])*", re.ASCII)
NUMERIC = frozenset({"number", "integer"})
ARRAY, BOOLEAN, NOTHING, NUMBER, OBJECT, STRING = (
    frozenset({word}) for word in ("array", "boolean", "null", "number", "object", "string")
)
_LONGEST = 12_000
"""Characters of a translation; an expression may have 16,384."""
_MOST_CLOSED = 60


@attrs.frozen(kw_only=True)
class Code:
    """A piece of CEL."""

    text: str
    level: int = ATOM
    """How loosely it binds: 0 for a path or a literal."""
    guards: tuple[str, ...] = ()
    """Conditions without which it has no value, though it may be used without asking in the older format: an input that
    may be left out, a step that may not have run."""
    probe: str = ""
    """Condition that asks whether its last member is there; "" where it cannot be missing."""
    types: frozenset[str] | None = None
    """JSON types that it can have; None: unknown."""
    absent: bool = False
    """It is undefined, whatever happens."""

    @property
    def tests(self) -> tuple[str, ...]:
        """All that must hold for it to have a value."""
        return tuple(dict.fromkeys((*self.guards, *((self.probe,) if self.probe else ()))))

    def at(self, level: int) -> str:
        """The text, in parentheses where it stands among what binds more strongly."""
        return f"({self.text})" if self.level > level else self.text

    def value(self, default: str = "null") -> Code:
        """The value, ``default`` (a literal) where a guard does not hold."""
        if self.absent:
            return NULL if default == "null" else Code(text=default)
        if not self.guards:
            return attrs.evolve(self, probe="")
        text = f"dyn({self.text})" if is_typed(self) else self.at(OR)
        return Code(text=f"{' && '.join(self.guards)} ? {text} : {default}", level=CHOICE)

    def asked(self) -> Code:
        """The value, null where there is none."""
        return attrs.evolve(self, guards=self.tests).value() if not self.absent else NULL


Resolve = Callable[[Path], Code]
"""What a path of the source means; raises UntranslatableError."""


def literal(value: Any) -> Code:
    """A JSON value as CEL.

    >>> literal({"a": [1, None]}).text
    '{"a": [1, null]}'
    """
    if value is UNDEFINED:
        return Code(text="null", absent=True, types=NOTHING)
    if value is None:
        return NULL
    if isinstance(value, bool):
        return Code(text="true" if value else "false", types=BOOLEAN)
    if isinstance(value, str):
        return Code(text=cel_literal(value), types=STRING)
    if isinstance(value, (int, float)):
        if isinstance(value, int) and abs(value) >= 2**63:
            value = float(value)
        return Code(text=repr(value), level=UNARY if value < 0 else ATOM, types=NUMBER)
    if isinstance(value, list):
        return Code(text=f"[{', '.join(literal(item).text for item in value)}]", types=ARRAY)
    pairs = ", ".join(f"{cel_literal(str(key))}: {literal(item).text}" for key, item in value.items())
    return Code(text=f"{{{pairs}}}", types=OBJECT)


NULL = Code(text="null", types=NOTHING)


def member(base: str, name: str | int) -> str:
    """A member of what ``base`` (a path) means.

    >>> member("workflow.input", "a"), member("steps", "a-b"), member("x", 0)
    ('workflow.input.a', 'steps["a-b"]', 'x[0]')
    """
    if isinstance(name, int):
        return f"{base}[{name}]"
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) and name not in CEL_RESERVED:
        return f"{base}.{name}"
    return f"{base}[{cel_literal(name)}]"


def probe_of(base: str, name: str | int) -> str:
    """Whether an object has a member.

    >>> probe_of("steps", "a-b"), probe_of("workflow.input", "a"), probe_of("x", 2)
    ('"a-b" in steps', 'has(workflow.input.a)', 'size(x) > 2')
    """
    if isinstance(name, int):
        return f"size({base}) > {name}"
    text = member(base, name)
    return f"{cel_literal(name)} in {base}" if text.endswith("]") else f"has({text})"


def truth(code: Code, *, empty_list: bool = True) -> Code:
    """Whether a value counts as true.

    Args:
        empty_list: an empty list does (JavaScript; not Handlebars).
    """
    if code.absent:
        return Code(text="false", types=BOOLEAN)
    test = _truth_of_value(code, empty_list)
    parts = [*code.tests, *([test.at(COMPARED)] if test.text != "true" else [])]
    if not parts:
        return test
    if len(parts) == 1 and test.text != "true":
        return test
    return Code(text=" && ".join(parts), level=AND if len(parts) > 1 else COMPARED, types=BOOLEAN)


def _truth_of_value(code: Code, empty_list: bool) -> Code:
    types = code.types
    if types == BOOLEAN:
        return attrs.evolve(code, guards=(), probe="")
    if types == STRING:
        return Code(text=f'{code.at(SUM)} != ""', level=COMPARED, types=BOOLEAN)
    if types is not None and types and types <= NUMERIC:
        return Code(text=f"{code.at(SUM)} != 0", level=COMPARED, types=BOOLEAN)
    if types == NOTHING:
        return Code(text="false", types=BOOLEAN)
    if types == OBJECT or (types == ARRAY and empty_list):
        return Code(text="true", types=BOOLEAN)
    if types == ARRAY:
        return Code(text=f"size({code.text}) > 0", level=COMPARED, types=BOOLEAN)
    falsy = '[null, false, 0, ""]' if empty_list else '[null, false, 0, "", []]'
    return Code(text=f"!({code.at(SUM)} in {falsy})", level=UNARY, types=BOOLEAN)


def checked(text: str) -> str:
    """Return the text when it can be compiled.

    Raises:
        UntranslatableError: it cannot.
    """
    from kastra_core.cel.json_types import check
    from kastra_core.cel.parser import parse
    from kastra_core.cel.syntax import FaultError

    if len(text) > _LONGEST:
        raise UntranslatableError("it gets too long as CEL")
    if text.count("(") + text.count("[") + text.count("{") > 4 * _MOST_CLOSED:
        raise UntranslatableError("it gets too deep as CEL")
    try:
        parse(text, JSON_DIALECT)
        check(text, ("data", "input", "result", "steps", "workflow"))
    except (CelSyntaxError, FaultError) as error:
        raise UntranslatableError(f"CEL does not take it: {getattr(error, 'message', error)}") from error
    except RecursionError as error:
        raise UntranslatableError("it is nested too deeply") from error
    return text


def all_of(tests: Sequence[str]) -> Code:
    if not tests:
        return Code(text="true", types=BOOLEAN)
    if len(tests) == 1 and tests[0].startswith("has(") and _closes_at_end(tests[0]):
        return Code(text=tests[0], types=BOOLEAN)
    return Code(text=" && ".join(tests), level=AND if len(tests) > 1 else COMPARED, types=BOOLEAN)


def negated(code: Code) -> Code:
    if code.text in ("true", "false"):
        return Code(text="false" if code.text == "true" else "true", types=BOOLEAN)
    if code.level == UNARY and code.text.startswith("!"):
        inner = code.text[1:]
        closed = inner.startswith("(") and _closes_at_end(inner)
        return Code(text=inner[1:-1] if closed else inner, level=CHOICE if closed else ATOM, types=BOOLEAN)
    return Code(text=f"!{code.at(ATOM)}", level=UNARY, types=BOOLEAN)


def _closes_at_end(text: str) -> bool:
    """Whether the first parenthesis is closed by the last character."""
    depth, at, quote = 0, 0, False
    while at < len(text):
        char = text[at]
        if quote:
            if char == "\\":
                at += 1
            elif char == '"':
                quote = False
        elif char == '"':
            quote = True
        elif char == "(":
            depth += 1
        elif char == ")":
            depth -= 1
            if depth == 0:
                return at == len(text) - 1
        at += 1
    return False


def is_typed(code: Code) -> bool:
    """Whether CEL knows the type of the value; it knows none of what a path leads to."""
    return code.types is not None and _IS_PATH.fullmatch(code.text) is None


def untyped(code: Code) -> Code:
    """The same, of no known type; what has one may not meet another one."""
    return Code(text=f"dyn({code.text})") if is_typed(code) else code


def choice(condition: Code, yes: Code, no: Code) -> Code:
    if condition.text in ("true", "false"):
        return yes if condition.text == "true" else no
    types = None
    if yes.types is not None and no.types is not None:
        types = yes.types | no.types
    first = untyped(yes) if yes.types != no.types and is_typed(no) else yes
    return Code(
        text=f"{condition.at(OR)} ? {first.at(OR)} : {no.at(CHOICE)}",
        level=CHOICE,
        types=types if types is not None and len(types) == 1 else None,
    )


def conjunction(left: Code, right: Code) -> Code:
    if "false" in (left.text, right.text):
        return literal(False)
    if "true" in (left.text, right.text):
        return right if left.text == "true" else left
    return Code(text=f"{left.at(AND)} && {right.at(COMPARED)}", level=AND, types=BOOLEAN)


def disjunction(left: Code, right: Code) -> Code:
    if "true" in (left.text, right.text):
        return literal(True)
    if "false" in (left.text, right.text):
        return right if left.text == "false" else left
    return Code(text=f"{left.at(OR)} || {right.at(AND)}", level=OR, types=BOOLEAN)


def _is_boolean(code: Code) -> bool:
    return code.types == BOOLEAN and not code.tests and not code.absent


def both_of(left: Code, right: Code, test: Code) -> Code:
    if _is_boolean(left) and _is_boolean(right):
        return conjunction(left, right)
    return choice(test, right.asked(), left.asked())


def either_of(left: Code, right: Code, test: Code) -> Code:
    if (_is_boolean(left) and _is_boolean(right)) or (right.text == "false" and left.types == BOOLEAN):
        return disjunction(test, right)
    return choice(test, attrs.evolve(left, guards=(), probe=""), right.asked())
