"""CEL that says what an expression of an older workflow says, truth of any value included.

What differs from JavaScript, for CEL has no word for it: a field of a value that has none (a text, a number) is an
error and not undefined; undefined and null are one where two fields are compared; a text is never compared by order
with a number.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import attrs

from kastra_core.cel import JSON_DIALECT, CelSyntaxError
from kastra_plugin_legacy.workflow_js import (
    UNDEFINED,
    Arrow,
    Binary,
    Call,
    Choice,
    Item,
    Items,
    Literal,
    Member,
    Name,
    Pairs,
    Tree,
    Unary,
    UntranslatableError,
)

__all__ = [
    "Code",
    "Path",
    "Resolve",
    "cel_text",
    "checked",
    "literal",
    "member",
    "path_of",
    "probe_of",
    "test_of",
    "to_cel",
    "truth",
]

Path = tuple[str | int, ...]
_WORDS = frozenset(
    (
        *("in", "true", "false", "null", "as", "break", "const", "continue", "else", "for", "function", "if", "import"),
        *("let", "loop", "package", "namespace", "return", "var", "void", "while"),
    )
)
_ATOM, _UNARY, _TERM, _SUM, _COMPARED, _AND, _OR, _CHOICE = range(8)
_IS_PATH = re.compile(r"(?:workflow|steps|data|input|result)(?:\.\w+|\[\d+\]|\[\"(?:[^\"\\]|\\.)*\"\])*", re.ASCII)
_NUMERIC = frozenset({"number", "integer"})
_LONGEST = 12_000
"""Characters of a translation; an expression may have 16,384."""
_MOST_CLOSED = 60


@attrs.frozen(kw_only=True)
class Code:
    """A piece of CEL."""

    text: str
    level: int = _ATOM
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
        text = f"dyn({self.text})" if _is_typed(self) else self.at(_OR)
        return Code(text=f"{' && '.join(self.guards)} ? {text} : {default}", level=_CHOICE)

    def asked(self) -> Code:
        """The value, null where there is none."""
        return attrs.evolve(self, guards=self.tests).value() if not self.absent else NULL


Resolve = Callable[[Path], Code]
"""What a path of the source means; raises UntranslatableError."""


def cel_text(value: str) -> str:
    """A text as CEL writes it.

    >>> cel_text('a "b"')
    '"a \\\\"b\\\\""'
    """
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def literal(value: Any) -> Code:
    """A JSON value as CEL.

    >>> literal({"a": [1, None]}).text
    '{"a": [1, null]}'
    """
    if value is UNDEFINED:
        return Code(text="null", absent=True, types=frozenset({"null"}))
    if value is None:
        return NULL
    if isinstance(value, bool):
        return Code(text="true" if value else "false", types=frozenset({"boolean"}))
    if isinstance(value, str):
        return Code(text=cel_text(value), types=frozenset({"string"}))
    if isinstance(value, (int, float)):
        if isinstance(value, int) and abs(value) >= 2**63:
            value = float(value)
        return Code(text=repr(value), level=_UNARY if value < 0 else _ATOM, types=frozenset({"number"}))
    if isinstance(value, list):
        return Code(text=f"[{', '.join(literal(item).text for item in value)}]", types=frozenset({"array"}))
    pairs = ", ".join(f"{cel_text(str(key))}: {literal(item).text}" for key, item in value.items())
    return Code(text=f"{{{pairs}}}", types=frozenset({"object"}))


NULL = Code(text="null", types=frozenset({"null"}))


def member(base: str, name: str | int) -> str:
    """A member of what ``base`` (a path) means.

    >>> member("workflow.input", "a"), member("steps", "a-b"), member("x", 0)
    ('workflow.input.a', 'steps["a-b"]', 'x[0]')
    """
    if isinstance(name, int):
        return f"{base}[{name}]"
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) and name not in _WORDS:
        return f"{base}.{name}"
    return f"{base}[{cel_text(name)}]"


def probe_of(base: str, name: str | int) -> str:
    """Whether an object has a member.

    >>> probe_of("steps", "a-b"), probe_of("workflow.input", "a"), probe_of("x", 2)
    ('"a-b" in steps', 'has(workflow.input.a)', 'size(x) > 2')
    """
    if isinstance(name, int):
        return f"size({base}) > {name}"
    text = member(base, name)
    return f"{cel_text(name)} in {base}" if text.endswith("]") else f"has({text})"


def truth(code: Code, *, empty_list: bool = True) -> Code:
    """Whether a value counts as true.

    Args:
        empty_list: an empty list does (JavaScript; not Handlebars).
    """
    if code.absent:
        return Code(text="false", types=frozenset({"boolean"}))
    test = _truth_of_value(code, empty_list)
    parts = [*code.tests, *([test.at(_COMPARED)] if test.text != "true" else [])]
    if not parts:
        return test
    if len(parts) == 1 and test.text != "true":
        return test
    return Code(
        text=" && ".join(parts), level=_AND if len(parts) > 1 else _COMPARED, types=frozenset({"boolean"})
    )


def _truth_of_value(code: Code, empty_list: bool) -> Code:
    types, boolean = code.types, frozenset({"boolean"})
    if types == boolean:
        return attrs.evolve(code, guards=(), probe="")
    if types == {"string"}:
        return Code(text=f'{code.at(_SUM)} != ""', level=_COMPARED, types=boolean)
    if types is not None and types and types <= _NUMERIC:
        return Code(text=f"{code.at(_SUM)} != 0", level=_COMPARED, types=boolean)
    if types == {"null"}:
        return Code(text="false", types=boolean)
    if types == {"object"} or (types == {"array"} and empty_list):
        return Code(text="true", types=boolean)
    if types == {"array"}:
        return Code(text=f"size({code.text}) > 0", level=_COMPARED, types=boolean)
    falsy = '[null, false, 0, ""]' if empty_list else '[null, false, 0, "", []]'
    return Code(text=f"!({code.at(_SUM)} in {falsy})", level=_UNARY, types=boolean)


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


def to_cel(tree: Tree, resolve: Resolve) -> Code:
    """Translate a tree as a value.

    Raises:
        UntranslatableError
    """
    return _Translator(resolve).code(tree)


def test_of(tree: Tree, resolve: Resolve, *, empty_list: bool = True) -> Code:
    """Translate a tree as a condition.

    Args:
        empty_list: an empty list counts as true, as in JavaScript; not so in Handlebars.
    Raises:
        UntranslatableError
    """
    return _Translator(resolve).test(tree, empty_list=empty_list)


class _Translator:
    def __init__(self, resolve: Resolve) -> None:
        self.resolve = resolve

    def code(self, tree: Tree) -> Code:
        path = path_of(tree)
        if path is not None:
            return self._path(path, tree)
        if isinstance(tree, Literal):
            return literal(tree.value)
        if isinstance(tree, (Member, Item)):
            return self._member(tree)
        if isinstance(tree, Unary):
            return self._unary(tree)
        if isinstance(tree, Binary):
            return self._binary(tree)
        if isinstance(tree, Choice):
            return _choice(self.test(tree.condition), self.code(tree.yes).asked(), self.code(tree.no).asked())
        if isinstance(tree, Call):
            return self._call(tree)
        if isinstance(tree, Items):
            items = [self.code(item).asked() for item in tree.items]
            return Code(text=f"[{', '.join(_dyn(item).text for item in items)}]", types=frozenset({"array"}))
        if isinstance(tree, Pairs):
            pairs = ", ".join(f"{cel_text(key)}: {_dyn(self.code(item).asked()).text}" for key, item in tree.pairs)
            return Code(text=f"{{{pairs}}}", types=frozenset({"object"}))
        raise UntranslatableError("a function has no equivalent")

    def test(self, tree: Tree, *, empty_list: bool = True) -> Code:
        """Whether a tree counts as true."""
        if isinstance(tree, Literal):
            return literal(tree.value is not UNDEFINED and bool(tree.value))
        if isinstance(tree, Unary) and tree.sign == "!":
            return _negated(self.test(tree.operand, empty_list=empty_list))
        if isinstance(tree, Binary) and tree.sign in ("&&", "||"):
            left, right = self.test(tree.left, empty_list=empty_list), self.test(tree.right, empty_list=empty_list)
            return _and(left, right) if tree.sign == "&&" else _or(left, right)
        if isinstance(tree, Choice):
            yes, no = self.test(tree.yes, empty_list=empty_list), self.test(tree.no, empty_list=empty_list)
            return _choice(self.test(tree.condition), yes, no)
        return truth(self.code(tree), empty_list=empty_list)

    # ------------------------------------------------------------------------------------------ paths

    def _path(self, path: Path, tree: Tree) -> Code:
        if path[-1] == "length" and len(path) > 1:
            return self._length(tree)
        code = self.resolve(path)
        return self._optional(code, tree)

    def _optional(self, code: Code, tree: Tree) -> Code:
        """``a?.b``: nothing where ``a`` is nothing."""
        above: list[Tree] = []
        while isinstance(tree, Member):
            if tree.optional:
                above.append(tree.target)
            tree = tree.target
        if not above or code.absent:
            return code
        tests: list[str] = []
        for target in reversed(above):
            found = self.code(target)
            if found.absent:
                return literal(UNDEFINED)
            tests += [*found.tests, f"{found.at(_SUM)} != null"]
        return attrs.evolve(code, guards=tuple(dict.fromkeys((*tests, *code.tests))), probe="")

    def _length(self, tree: Tree) -> Code:
        assert isinstance(tree, Member)
        target = self.code(tree.target)
        if target.absent:
            return literal(UNDEFINED)
        if target.types is not None and not target.types & {"string", "array"}:
            if target.types == {"object"}:
                return self.resolve(path_of(tree) or ())
            return literal(UNDEFINED)
        guards = target.guards
        if tree.optional:
            guards = tuple(dict.fromkeys((*target.tests, f"{target.at(_SUM)} != null")))
        return Code(text=f"size({target.text})", guards=guards, types=frozenset({"number"}))

    def _member(self, tree: Member | Item) -> Code:
        if isinstance(tree, Member) and tree.name == "length":
            if isinstance(tree.target, Call) and path_of(tree.target.target) == ("Object", "keys"):
                (only,) = tree.target.arguments if len(tree.target.arguments) == 1 else (None,)
                if only is not None:
                    found = self.code(only)
                    return Code(text=f"size({found.text})", guards=found.guards, types=frozenset({"number"}))
            return self._length(tree)
        if isinstance(tree, Member):
            base = self.code(tree.target)
            if base.absent:
                return literal(UNDEFINED)
            if base.types is not None and not base.types & {"object", "array"}:
                return literal(UNDEFINED)
            text = base.at(_ATOM)
            return Code(text=member(text, tree.name), guards=base.tests, probe=probe_of(text, tree.name))
        base, key = self.code(tree.target), self.code(tree.key)
        if base.absent or key.absent:
            raise UntranslatableError("it takes a member of nothing")
        if key.types is not None and not key.types & {"string", "number", "integer"}:
            raise UntranslatableError("it takes a member that is neither a name nor a number")
        return Code(text=f"{base.at(_ATOM)}[{key.text}]", guards=(*base.guards, *key.guards))

    # ------------------------------------------------------------------------------------------ operators

    def _unary(self, tree: Unary) -> Code:
        if tree.sign == "!":
            return _negated(self.test(tree.operand))
        if tree.sign == "typeof":
            raise UntranslatableError("typeof is translated only where it is compared with a text")
        code = self.code(tree.operand)
        if code.types is None or code.types <= _NUMERIC:
            if code.absent:
                raise UntranslatableError(f"{tree.sign!r} of nothing")
            sign = "-" if tree.sign == "-" else ""
            if not sign and code.types is None:
                raise UntranslatableError("'+' makes a number of anything")
            return Code(text=f"{sign}{code.at(_ATOM)}", level=_UNARY, guards=code.guards, types=frozenset({"number"}))
        raise UntranslatableError(f"{tree.sign!r} takes a number")

    def _binary(self, tree: Binary) -> Code:
        sign = tree.sign
        if sign in ("===", "!==", "==", "!="):
            same = self._equal(tree.left, tree.right, loose=len(sign) == 2)  # noqa: PLR2004 - == and !=
            return _negated(same) if sign[0] == "!" else same
        left, right = self.code(tree.left), self.code(tree.right)
        if sign == "&&":
            return _both(left, right, self.test(tree.left))
        if sign == "||":
            return _either(left, right, self.test(tree.left))
        if sign == "??":
            if left.absent:
                return right.value()
            tests = [*left.tests, f"{left.at(_SUM)} != null"]
            if left.types is not None and "null" not in left.types:
                tests.pop()
            if not tests:
                return left
            return _choice(_all(tests), attrs.evolve(left, guards=(), probe=""), right.value())
        if sign in ("<", "<=", ">", ">="):
            return _ordered(sign, left, right)
        return _computed(sign, left, right)

    def _equal(self, left: Tree, right: Tree, *, loose: bool) -> Code:
        for one, other in ((left, right), (right, left)):
            if isinstance(one, Unary) and one.sign == "typeof":
                return self._typeof(one.operand, other)
        for one, other in ((left, right), (right, left)):
            if isinstance(one, Literal) and (one.value is UNDEFINED or one.value is None):
                code = self.code(other)
                if isinstance(other, Literal):
                    nothing = other.value is None or other.value is UNDEFINED
                    return literal(nothing if loose else other.value is one.value)
                if not loose and path_of(other) is None:
                    raise UntranslatableError("it tells null from undefined, which are one here")
                return _is_nothing(code, one.value, loose)
        a, b = self.code(left), self.code(right)
        return _same(a, b, left, right, loose)

    def _typeof(self, operand: Tree, other: Tree) -> Code:
        if not isinstance(other, Literal) or not isinstance(other.value, str):
            raise UntranslatableError("typeof is translated only where it is compared with a text")
        code, word = self.code(operand), other.value
        if word == "undefined":
            return _negated(_all(code.tests)) if not code.absent else literal(True)
        if code.absent:
            return literal(False)
        if word == "number":
            test = f"type({code.text}) in [int, double]"
        elif word in ("string", "boolean"):
            test = f"type({code.text}) == {'string' if word == 'string' else 'bool'}"
        elif word == "object":
            test = f"type({code.text}) in [map, list, null_type]"
        else:
            return literal(False)
        return _all([*code.tests, test])

    # ------------------------------------------------------------------------------------------ calls

    def _call(self, tree: Call) -> Code:
        path = path_of(tree.target)
        arguments = [self.code(item) for item in tree.arguments if not isinstance(item, Arrow)]
        if len(arguments) != len(tree.arguments):
            raise UntranslatableError("a function as an argument has no equivalent")
        if path == ("Boolean",) and len(arguments) == 1:
            return truth(arguments[0])
        if path == ("String",) and len(arguments) == 1:
            return _text_of(arguments[0])
        if path == ("Array", "isArray") and len(arguments) == 1:
            (only,) = arguments
            return literal(False) if only.absent else _all([*only.tests, f"type({only.text}) == list"])
        if path == ("JSON", "stringify") and arguments:
            raise UntranslatableError("JSON.stringify has no equivalent; in a text values are written as JSON anyway")
        if isinstance(tree.target, Member) and isinstance(tree.target.name, str):
            target = self.code(tree.target.target)
            if target.absent:
                raise UntranslatableError(f"it calls {tree.target.name} of nothing")
            if tree.target.optional:
                target = attrs.evolve(target, guards=(*target.tests, f"{target.at(_SUM)} != null"), probe="")
            return _method(target, tree.target.name, arguments)
        raise UntranslatableError(f"there is no function {'.'.join(map(str, path or ('here',)))}")


def path_of(tree: Tree) -> Path | None:
    """The path of a tree that is nothing but members of a name."""
    parts: list[str | int] = []
    while isinstance(tree, Member):
        parts.append(tree.name)
        tree = tree.target
    return (tree.name, *reversed(parts)) if isinstance(tree, Name) else None


def _all(tests: Sequence[str]) -> Code:
    boolean = frozenset({"boolean"})
    if not tests:
        return Code(text="true", types=boolean)
    if len(tests) == 1 and tests[0].startswith("has(") and _closes_at_end(tests[0]):
        return Code(text=tests[0], types=boolean)
    return Code(text=" && ".join(tests), level=_AND if len(tests) > 1 else _COMPARED, types=boolean)


def _negated(code: Code) -> Code:
    boolean = frozenset({"boolean"})
    if code.text in ("true", "false"):
        return Code(text="false" if code.text == "true" else "true", types=boolean)
    if code.level == _UNARY and code.text.startswith("!"):
        inner = code.text[1:]
        closed = inner.startswith("(") and _closes_at_end(inner)
        return Code(text=inner[1:-1] if closed else inner, level=_CHOICE if closed else _ATOM, types=boolean)
    return Code(text=f"!{code.at(_ATOM)}", level=_UNARY, types=boolean)


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


def _is_typed(code: Code) -> bool:
    """Whether CEL knows the type of the value; it knows none of what a path leads to."""
    return code.types is not None and _IS_PATH.fullmatch(code.text) is None


def _dyn(code: Code) -> Code:
    """The same, of no known type; what has one may not meet another one."""
    return Code(text=f"dyn({code.text})") if _is_typed(code) else code


def _choice(condition: Code, yes: Code, no: Code) -> Code:
    if condition.text in ("true", "false"):
        return yes if condition.text == "true" else no
    types = None
    if yes.types is not None and no.types is not None:
        types = yes.types | no.types
    first = _dyn(yes) if yes.types != no.types and _is_typed(no) else yes
    return Code(
        text=f"{condition.at(_OR)} ? {first.at(_OR)} : {no.at(_CHOICE)}",
        level=_CHOICE,
        types=types if types is not None and len(types) == 1 else None,
    )


def _and(left: Code, right: Code) -> Code:
    if "false" in (left.text, right.text):
        return literal(False)
    if "true" in (left.text, right.text):
        return right if left.text == "true" else left
    return Code(text=f"{left.at(_AND)} && {right.at(_COMPARED)}", level=_AND, types=frozenset({"boolean"}))


def _or(left: Code, right: Code) -> Code:
    if "true" in (left.text, right.text):
        return literal(True)
    if "false" in (left.text, right.text):
        return right if left.text == "false" else left
    return Code(text=f"{left.at(_OR)} || {right.at(_AND)}", level=_OR, types=frozenset({"boolean"}))


def _is_boolean(code: Code) -> bool:
    return code.types == {"boolean"} and not code.tests and not code.absent


def _both(left: Code, right: Code, test: Code) -> Code:
    if _is_boolean(left) and _is_boolean(right):
        return _and(left, right)
    return _choice(test, right.asked(), left.asked())


def _either(left: Code, right: Code, test: Code) -> Code:
    if (_is_boolean(left) and _is_boolean(right)) or (right.text == "false" and left.types == {"boolean"}):
        return _or(test, right)
    return _choice(test, attrs.evolve(left, guards=(), probe=""), right.asked())


def _is_nothing(code: Code, nothing: Any, loose: bool) -> Code:
    if code.absent:
        return literal(loose or nothing is UNDEFINED)
    missing = _negated(_all(code.tests)) if code.tests else literal(False)
    null = Code(text=f"{code.at(_SUM)} == null", level=_COMPARED, types=frozenset({"boolean"}))
    if code.types is not None and "null" not in code.types:
        null = literal(False)
    if loose:
        if missing.text == "false":
            return null
        if null.text == "false":
            return missing
        return Code(text=f"{missing.at(_OR)} || {null.at(_AND)}", level=_OR, types=frozenset({"boolean"}))
    if nothing is UNDEFINED:
        return missing
    return literal(False) if null.text == "false" else _all([*code.tests, null.text])


def _same(a: Code, b: Code, left: Tree, right: Tree, loose: bool) -> Code:
    boolean = frozenset({"boolean"})
    if a.absent or b.absent:
        raise UntranslatableError("it compares something that is never there")
    if isinstance(left, Literal) and not isinstance(right, Literal):
        a, b, left, right = b, a, right, left
    if isinstance(right, (Items, Pairs)) or isinstance(left, (Items, Pairs)):
        raise UntranslatableError("objects and lists are compared by what they are, not by what they hold")
    if loose and isinstance(right, Literal) and not isinstance(left, Literal):
        return _loosely(a, right.value)
    if _known_apart(a, b):
        if loose:
            raise UntranslatableError("it compares values of different types")
        return literal(False)
    if isinstance(right, Literal):
        return _all([*a.tests, f"{a.at(_SUM)} == {b.at(_SUM)}"])
    return Code(text=f"{a.asked().at(_SUM)} == {b.asked().at(_SUM)}", level=_COMPARED, types=boolean)


def _known_apart(a: Code, b: Code) -> bool:
    if a.types is None or b.types is None:
        return False
    first = a.types | _NUMERIC if a.types & _NUMERIC else a.types
    second = b.types | _NUMERIC if b.types & _NUMERIC else b.types
    return not first & second


def _loosely(code: Code, value: Any) -> Code:
    """``==`` with a literal, which takes what is written alike for equal."""
    alike: list[Any] = [value]
    if isinstance(value, bool):
        alike += [1, "1"] if value else [0, "0", ""]
    elif isinstance(value, (int, float)):
        alike += [json.dumps(value)] + ([value == 1] if value in (0, 1) else []) + ([""] if value == 0 else [])
    elif re.fullmatch(r"-?(0|[1-9]\d{0,14})(\.\d{1,15})?", value):
        number = json.loads(value)
        alike += [number] + ([number == 1] if number in (0, 1) else [])
    elif value == "":
        alike += [0, False]
    fitting = [item for item in alike if not _known_apart(code, literal(item))]
    if not fitting:
        return literal(False)
    if len(fitting) == 1:
        return _all([*code.tests, f"{code.at(_SUM)} == {literal(fitting[0]).at(_SUM)}"])
    return _all([*code.tests, f"{code.at(_SUM)} in {literal(fitting).text}"])


def _ordered(sign: str, left: Code, right: Code) -> Code:
    if left.absent or right.absent:
        return literal(False)
    if _known_apart(left, right):
        raise UntranslatableError("it orders values of different types")
    for code in (left, right):
        if code.types is not None and not code.types & {"string", "number", "integer"}:
            raise UntranslatableError("it orders values that are neither numbers nor texts")
    tests = dict.fromkeys((*left.tests, *right.tests))
    return _all([*tests, f"{left.at(_SUM)} {sign} {right.at(_SUM)}"])


def _computed(sign: str, left: Code, right: Code) -> Code:
    if left.absent or right.absent:
        raise UntranslatableError("it computes with something that is never there")
    guards = tuple(dict.fromkeys((*left.guards, *right.guards)))
    sides = [code.types for code in (left, right)]
    if sign == "+" and {"string"} in sides:
        texts = [_text_of(code) for code in (left, right)]
        return Code(text=f"{texts[0].at(_SUM)} + {texts[1].at(_TERM)}", level=_SUM, types=frozenset({"string"}))
    for types in sides:
        if types is not None and not types <= _NUMERIC:
            raise UntranslatableError(f"{sign!r} takes numbers")
    known = all(types is not None for types in sides)
    if sign == "/":
        text = f"double({left.text}) / double({right.text})"
        return Code(text=text, level=_TERM, guards=guards, types=frozenset({"number"}))
    if sign == "+":
        kind = frozenset({"number"}) if known or any(types is not None for types in sides) else None
        return Code(text=f"{left.at(_SUM)} + {right.at(_TERM)}", level=_SUM, guards=guards, types=kind)
    loose = _SUM if sign == "-" else _TERM
    tight = _TERM if sign == "-" else _UNARY
    return Code(
        text=f"{left.at(loose)} {sign} {right.at(tight)}", level=loose, guards=guards, types=frozenset({"number"})
    )


def _text_of(code: Code) -> Code:
    """``String(x)``; null and undefined are written as JavaScript does."""
    string = frozenset({"string"})
    if code.absent:
        return literal("undefined")
    if code.types == string and not code.tests:
        return code
    text = code.text if code.types == string else f"string({code.text})"
    if code.types is None:
        text = f'{code.at(_SUM)} == null ? "null" : string({code.text})'
    if code.tests:
        inner = f"({text})" if "?" in text else text
        return Code(text=f'{" && ".join(code.tests)} ? {inner} : "undefined"', level=_CHOICE, types=string)
    if code.types == {"null"}:
        return literal("null")
    return Code(text=text, level=_CHOICE if code.types is None else _ATOM, types=string)


def _method(target: Code, name: str, arguments: Sequence[Code]) -> Code:
    boolean = frozenset({"boolean"})
    if any(argument.absent for argument in arguments):
        raise UntranslatableError(f"{name} is given something that is never there")
    guards = tuple(dict.fromkeys((*target.guards, *(guard for argument in arguments for guard in argument.guards))))
    types = target.types
    if name == "toString" and not arguments:
        return _text_of(target)
    if name in ("startsWith", "endsWith") and len(arguments) == 1 and _may_be(types, "string"):
        if not _may_be(arguments[0].types, "string"):
            raise UntranslatableError(f"{name} takes a text")
        return Code(text=f"{target.at(_ATOM)}.{name}({arguments[0].text})", guards=guards, types=boolean)
    if name == "includes" and len(arguments) == 1:
        (only,) = arguments
        inside = f"{only.at(_SUM)} in {target.at(_SUM)}"
        if types == {"array"}:
            return Code(text=inside, level=_COMPARED, guards=guards, types=boolean)
        contains = f"{target.at(_ATOM)}.contains({only.text})"
        if types == {"string"}:
            if not _may_be(only.types, "string"):
                raise UntranslatableError("includes takes a text")
            return Code(text=contains, guards=guards, types=boolean)
        if types is None:
            if not _may_be(only.types, "string"):
                return Code(text=inside, level=_COMPARED, guards=guards, types=boolean)
            text = f"type({target.text}) == list ? {inside} : {contains}"
            return Code(text=text, level=_CHOICE, guards=guards, types=boolean)
    if name == "hasOwnProperty" and len(arguments) == 1 and _may_be(types, "object"):
        text = f"{arguments[0].at(_SUM)} in {target.at(_SUM)}"
        return Code(text=text, level=_COMPARED, guards=guards, types=boolean)
    raise UntranslatableError(f"there is no {name} here")


def _may_be(types: frozenset[str] | None, word: str) -> bool:
    return types is None or word in types
