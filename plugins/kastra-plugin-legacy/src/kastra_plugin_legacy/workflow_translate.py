"""CEL that says what an expression of an older workflow says, truth of any value included.

What differs from JavaScript, for CEL has no word for it: a field of a value that has none (a text, a number) is an
error and not undefined; undefined and null are one where two fields are compared; a text is never compared by order
with a number.
"""

from __future__ import annotations

import attrs

from kastra_core.migration import cel_literal
from kastra_plugin_legacy.workflow_cel import (
    ARRAY,
    ATOM,
    NUMBER,
    NUMERIC,
    OBJECT,
    SUM,
    UNARY,
    Code,
    Path,
    Resolve,
    all_of,
    both_of,
    choice,
    conjunction,
    disjunction,
    either_of,
    literal,
    member,
    negated,
    probe_of,
    truth,
    untyped,
)
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
from kastra_plugin_legacy.workflow_operators import computed, is_nothing, method, ordered, same, text_of

__all__ = ["path_of", "to_cel", "truth_of"]


def to_cel(tree: Tree, resolve: Resolve) -> Code:
    """Translate a tree as a value.

    Raises:
        UntranslatableError
    """
    return _Translator(resolve).code(tree)


def truth_of(tree: Tree, resolve: Resolve, *, empty_list: bool) -> Code:
    """Translate a tree as a condition.

    Args:
        empty_list: an empty list counts as true, as in JavaScript and not in Handlebars.
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
            return choice(self.test(tree.condition), self.code(tree.yes).asked(), self.code(tree.no).asked())
        if isinstance(tree, Call):
            return self._call(tree)
        if isinstance(tree, Items):
            items = [self.code(item).asked() for item in tree.items]
            return Code(text=f"[{', '.join(untyped(item).text for item in items)}]", types=ARRAY)
        if isinstance(tree, Pairs):
            pairs = ", ".join(
                f"{cel_literal(key)}: {untyped(self.code(item).asked()).text}" for key, item in tree.pairs
            )
            return Code(text=f"{{{pairs}}}", types=OBJECT)
        raise UntranslatableError("a function has no equivalent")

    def test(self, tree: Tree, *, empty_list: bool = True) -> Code:
        """Whether a tree counts as true."""
        if isinstance(tree, Literal):
            return literal(tree.value is not UNDEFINED and bool(tree.value))
        if isinstance(tree, Unary) and tree.sign == "!":
            return negated(self.test(tree.operand, empty_list=empty_list))
        if isinstance(tree, Binary) and tree.sign in ("&&", "||"):
            left, right = self.test(tree.left, empty_list=empty_list), self.test(tree.right, empty_list=empty_list)
            return conjunction(left, right) if tree.sign == "&&" else disjunction(left, right)
        if isinstance(tree, Choice):
            yes, no = self.test(tree.yes, empty_list=empty_list), self.test(tree.no, empty_list=empty_list)
            return choice(self.test(tree.condition), yes, no)
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
            tests += [*found.tests, f"{found.at(SUM)} != null"]
        return attrs.evolve(code, guards=tuple(dict.fromkeys((*tests, *code.tests))), probe="")

    def _length(self, tree: Tree) -> Code:
        assert isinstance(tree, Member)
        target = self.code(tree.target)
        if target.absent:
            return literal(UNDEFINED)
        if target.types is not None and not target.types & {"string", "array"}:
            if target.types == OBJECT:
                return self.resolve(path_of(tree) or ())
            return literal(UNDEFINED)
        guards = target.guards
        if tree.optional:
            guards = tuple(dict.fromkeys((*target.tests, f"{target.at(SUM)} != null")))
        return Code(text=f"size({target.text})", guards=guards, types=NUMBER)

    def _member(self, tree: Member | Item) -> Code:
        if isinstance(tree, Member) and tree.name == "length":
            if isinstance(tree.target, Call) and path_of(tree.target.target) == ("Object", "keys"):
                (only,) = tree.target.arguments if len(tree.target.arguments) == 1 else (None,)
                if only is not None:
                    found = self.code(only)
                    return Code(text=f"size({found.text})", guards=found.guards, types=NUMBER)
            return self._length(tree)
        if isinstance(tree, Member):
            base = self.code(tree.target)
            if base.absent:
                return literal(UNDEFINED)
            if base.types is not None and not base.types & {"object", "array"}:
                return literal(UNDEFINED)
            text = base.at(ATOM)
            return Code(text=member(text, tree.name), guards=base.tests, probe=probe_of(text, tree.name))
        base, key = self.code(tree.target), self.code(tree.key)
        if base.absent or key.absent:
            raise UntranslatableError("it takes a member of nothing")
        if key.types is not None and not key.types & {"string", "number", "integer"}:
            raise UntranslatableError("it takes a member that is neither a name nor a number")
        return Code(text=f"{base.at(ATOM)}[{key.text}]", guards=(*base.guards, *key.guards))

    # ------------------------------------------------------------------------------------------ operators

    def _unary(self, tree: Unary) -> Code:
        if tree.sign == "!":
            return negated(self.test(tree.operand))
        if tree.sign == "typeof":
            raise UntranslatableError("typeof is translated only where it is compared with a text")
        code = self.code(tree.operand)
        if code.types is None or code.types <= NUMERIC:
            if code.absent:
                raise UntranslatableError(f"{tree.sign!r} of nothing")
            sign = "-" if tree.sign == "-" else ""
            if not sign and code.types is None:
                raise UntranslatableError("'+' makes a number of anything")
            return Code(text=f"{sign}{code.at(ATOM)}", level=UNARY, guards=code.guards, types=NUMBER)
        raise UntranslatableError(f"{tree.sign!r} takes a number")

    def _binary(self, tree: Binary) -> Code:
        sign = tree.sign
        if sign in ("===", "!==", "==", "!="):
            equal = self._equal(tree.left, tree.right, loose=len(sign) == 2)
            return negated(equal) if sign[0] == "!" else equal
        left, right = self.code(tree.left), self.code(tree.right)
        if sign == "&&":
            return both_of(left, right, self.test(tree.left))
        if sign == "||":
            return either_of(left, right, self.test(tree.left))
        if sign == "??":
            if left.absent:
                return right.value()
            tests = [*left.tests, f"{left.at(SUM)} != null"]
            if left.types is not None and "null" not in left.types:
                tests.pop()
            if not tests:
                return left
            return choice(all_of(tests), attrs.evolve(left, guards=(), probe=""), right.value())
        if sign in ("<", "<=", ">", ">="):
            return ordered(sign, left, right)
        return computed(sign, left, right)

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
                return is_nothing(code, one.value, loose)
        a, b = self.code(left), self.code(right)
        return same(a, b, left, right, loose)

    def _typeof(self, operand: Tree, other: Tree) -> Code:
        if not isinstance(other, Literal) or not isinstance(other.value, str):
            raise UntranslatableError("typeof is translated only where it is compared with a text")
        code, word = self.code(operand), other.value
        if word == "undefined":
            return negated(all_of(code.tests)) if not code.absent else literal(True)
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
        return all_of([*code.tests, test])

    # ------------------------------------------------------------------------------------------ calls

    def _call(self, tree: Call) -> Code:
        path = path_of(tree.target)
        arguments = [self.code(item) for item in tree.arguments if not isinstance(item, Arrow)]
        if len(arguments) != len(tree.arguments):
            raise UntranslatableError("a function as an argument has no equivalent")
        if path == ("Boolean",) and len(arguments) == 1:
            return truth(arguments[0])
        if path == ("String",) and len(arguments) == 1:
            return text_of(arguments[0])
        if path == ("Array", "isArray") and len(arguments) == 1:
            (only,) = arguments
            return literal(False) if only.absent else all_of([*only.tests, f"type({only.text}) == list"])
        if path == ("JSON", "stringify") and arguments:
            raise UntranslatableError("JSON.stringify has no equivalent; in a text values are written as JSON anyway")
        if isinstance(tree.target, Member) and isinstance(tree.target.name, str):
            target = self.code(tree.target.target)
            if target.absent:
                raise UntranslatableError(f"it calls {tree.target.name} of nothing")
            if tree.target.optional:
                target = attrs.evolve(target, guards=(*target.tests, f"{target.at(SUM)} != null"), probe="")
            return method(target, tree.target.name, arguments)
        raise UntranslatableError(f"there is no function {'.'.join(map(str, path or ('here',)))}")


def path_of(tree: Tree) -> Path | None:
    """The path of a tree that is nothing but members of a name."""
    parts: list[str | int] = []
    while isinstance(tree, Member):
        parts.append(tree.name)
        tree = tree.target
    return (tree.name, *reversed(parts)) if isinstance(tree, Name) else None
