"""The type checker: refuses expressions that cannot work, and writes into the tree what it knows of each value.

Source:
    The rules are those of cel-go (``checker/checker.go``) with the options that Kubernetes sets: literals of lists and
    maps hold one type, numbers of different types can be compared, literal patterns, durations and timestamps are read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from kastra_core.cel.dialect import Dialect
from kastra_core.cel.evaluation import text_of_path
from kastra_core.cel.functions import Function, Library, Overload
from kastra_core.cel.hints import SIZE_FIELDS, hint_for_function, hint_for_name, suggestion
from kastra_core.cel.literals import format_fault, mixed_fault
from kastra_core.cel.refusals import no_field, no_overload, type_text
from kastra_core.cel.syntax import FaultError, Node
from kastra_core.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DYN,
    INT,
    NULL,
    STRING,
    UINT,
    CelType,
    list_of,
    map_of,
    optional_of,
)
from kastra_core.cel.unification import Unifier, is_optional
from kastra_core.cel.values import EvaluationError, Type, Uint
from kastra_core.errors import shortened

__all__ = ["Signatures", "check_tree"]

_CONSTANTS: dict[type, CelType] = {
    type(None): NULL,
    bool: BOOL,
    int: INT,
    Uint: UINT,
    float: DOUBLE,
    str: STRING,
    bytes: BYTES,
}
_TYPE_NAMES = ("bool", "bytes", "double", "int", "null_type", "string", "type", "uint")


class Signatures:
    """A library as the checker looks into it: made once for a dialect."""

    def __init__(self, library: Library) -> None:
        self.functions: Mapping[str, Function] = library
        self.types: dict[str, CelType] = {name: CelType(name) for name in _TYPE_NAMES}
        self.types["list"], self.types["map"] = list_of(DYN), map_of(DYN, DYN)
        self.candidates: dict[tuple[str, bool, int], tuple[tuple[Overload, bool], ...]] = {}
        """(name, member, count of operands) -> overloads, and whether they have type parameters."""
        for function in library.values():
            for overload in function.overloads:
                key = (function.name, overload.member, len(overload.parameters))
                generic = any(map(_is_generic, (*overload.parameters, overload.result)))
                self.candidates[key] = (*self.candidates.get(key, ()), (overload, generic))
                for kind in (*overload.parameters, overload.result):
                    if "." in kind.name or kind.name == "optional_type":
                        self.types.setdefault(kind.name, kind)


def _is_generic(kind: CelType) -> bool:
    return kind.is_param or any(map(_is_generic, kind.params))


def check_tree(tree: Node, variables: Mapping[str, CelType], signatures: Signatures, dialect: Dialect) -> CelType:
    """Check ``tree`` and annotate its nodes; return the type of its value.

    Fields become their names in JSON, names of types and literals of durations constants, and names with a namespace
    whole.

    Raises:
        FaultError
    """
    checker = _Checker(variables, signatures, dialect)
    checker.check(tree)
    return checker.finish(tree)


class _Checker:
    def __init__(self, variables: Mapping[str, CelType], signatures: Signatures, dialect: Dialect) -> None:
        self._variables, self._signatures, self._dialect = variables, signatures, dialect
        self._scopes: list[dict[str, CelType]] = []
        self._types = Unifier()
        self._nodes: list[Node] = []
        self._literals: list[Node] = []
        self._formatting = 0
        self._checks: dict[str, Callable[[Node], CelType]] = {
            "const": self._const,
            "ident": self._ident,
            "select": self._select,
            "has": self._select,
            "call": self._call,
            "list": self._list,
            "map": self._map,
            "fold": self._fold,
        }

    def check(self, node: Node) -> CelType:
        self._nodes.append(node)
        found = self._checks[node.kind](node)
        node.type = found
        return found

    def finish(self, tree: Node) -> CelType:
        for node in self._nodes:
            assert node.type is not None
            node.type = self._types.resolve(node.type, final=True)
        for node in self._literals:
            fault = (format_fault if node.kind == "call" else mixed_fault)(node, type_text)
            if fault is not None:
                raise self._fault(*fault)
        assert tree.type is not None
        return tree.type

    def _fault(self, node: Node, message: str) -> FaultError:
        return FaultError(message, node.offset)

    # ------------------------------------------------------------------------------------------------ names

    def _const(self, node: Node) -> CelType:
        return _CONSTANTS[type(node.value)]

    def _declared(self, name: str) -> CelType | None:
        for scope in reversed(self._scopes):
            if name in scope:
                return scope[name]
        return self._variables.get(name)

    def _ident(self, node: Node) -> CelType:
        name = node.value
        found = self._declared(name)
        if found is not None:
            return found
        if name in self._signatures.types:
            return self._type_name(node, name)
        known = sorted({name for name in (*self._variables, *(n for s in self._scopes for n in s)) if name[0] != "@"})
        hint = hint_for_name(name) or self._owner(name) or suggestion(name, known)
        hint += "" if not hint else " " if hint.endswith("?") else "; "
        raise self._fault(node, f"there is no variable {name!r}; {hint}there are: {', '.join(known) or 'none'}")

    def _owner(self, name: str) -> str:
        """For a field that is written without what it is a field of."""
        owners = (owner for owner, kind in self._variables.items() if name in (kind.members or ()))
        owner = min(owners, key=len, default="")
        return f"did you mean '{owner}.{name}'?" if owner else ""

    def _type_name(self, node: Node, name: str) -> CelType:
        node.kind, node.value, node.target = "const", Type(name), None
        return CelType("type", (self._signatures.types[name],))

    def _qualified(self, node: Node | None) -> str | None:
        """ "a.b.c" of a node that is nothing but names, unless a macro's variable is called "a"."""
        parts: list[str] = []
        while node is not None and node.kind == "select":
            parts.append(node.value)
            node = node.target
        if node is None or node.kind != "ident" or any(node.value in scope for scope in self._scopes):
            return None
        return ".".join((node.value, *reversed(parts)))

    # ------------------------------------------------------------------------------------------------ members

    def _select(self, node: Node) -> CelType:
        assert node.target is not None
        if node.kind == "select":
            name = self._qualified(node)
            if name is not None and name in self._signatures.types:
                return self._type_name(node, name)
        found, key = self._member(node, node.target, node.value)
        node.value = key
        return BOOL if node.kind == "has" else found

    def _optional_member(self, node: Node) -> CelType:
        operand, field = node.items
        if field.kind != "const" or not isinstance(field.value, str):
            raise self._fault(node, "after '.?' stands the name of a field")
        found, key = self._member(node, operand, field.value)
        field.value, field.type = key, STRING
        return found if is_optional(found) else optional_of(found)

    def _member(self, node: Node, target: Node, field: str) -> tuple[CelType, str]:
        """(type of the field, its name in JSON)"""
        whole = self._types.resolve(self.check(target))
        kind = whole.params[0] if is_optional(whole) else whole
        key = field
        if kind.members is not None:
            member = kind.members.get(field)
            if member is None:
                raise self._fault(node, no_field(target, kind.members, field))
            found, key = member.type, member.key
        elif kind.name == "map":
            found = kind.params[1]
        elif kind.is_param:
            self._types.assign(DYN, kind)
            found = DYN
        elif kind.name == "dyn":
            found = DYN
        else:
            where = text_of_path(target)
            hint = ""
            if field in SIZE_FIELDS and kind.name in ("list", "string"):
                hint = f"; size({where}) says how many" if kind.name == "list" else f"; size({where}) is its length"
            elif self._is_method(field, kind):
                hint = f"; it is a function: {where}.{field}()"
            elif kind.name == "list":
                hint = f"; an item is {where}[0]"
            raise self._fault(node, f"{where} is of type {type_text(kind)} and has no field {field!r}{hint}")
        return (optional_of(found) if is_optional(whole) else found), key

    def _is_method(self, name: str, kind: CelType) -> bool:
        candidates = self._signatures.candidates.get((name, True, 1), ())
        return any(overload.parameters[0].name == kind.name for overload, _ in candidates)

    # ------------------------------------------------------------------------------------------------ calls

    def _call(self, node: Node) -> CelType:
        if node.value == "_?._":
            return self._optional_member(node)
        if node.target is not None:
            name = self._qualified(node.target)
            name = f"{name}.{node.value}" if name is not None else ""
            if name in self._signatures.functions:
                node.value, node.target = name, None
        if node.value not in self._signatures.functions:
            self._unknown_root(node)
            raise self._fault(node, self._no_function(node))
        if node.value == "format":
            self._formatting += 1
        arguments = [self.check(item) for item in node.items]
        if node.value == "format":
            self._formatting -= 1
            self._literals.append(node)
        if node.target is not None:
            arguments.insert(0, self.check(node.target))
        found = self._resolve(node, arguments)
        self._look_at_constants(node)
        return found

    def _unknown_root(self, node: Node) -> None:
        """A call such as ``math.abs(x)`` is of an unknown function, not of a variable ``math``."""
        name = self._qualified(node.target) if node.target is not None else None
        if name is not None and self._declared(name.partition(".")[0]) is None:
            node.value, node.target = f"{name}.{node.value}", None
            raise self._fault(node, self._no_function(node))

    def _no_function(self, node: Node) -> str:
        name = node.value
        known = [known for known in self._signatures.functions if known[0].isalpha() and "@" not in known]
        hint = hint_for_function(name) or (f"; {near}" if (near := suggestion(name, known)) else "")
        return f"there is no function {shortened(name, 80)!r}{hint or self._dialect.function_hint}"

    def _resolve(self, node: Node, arguments: list[CelType]) -> CelType:
        """The type that the call has; of several overloads that fit, dyn unless they agree."""
        types, result = self._types, None
        fitting: list[Overload] = []
        for overload, generic in self._signatures.candidates.get(
            (node.value, node.target is not None, len(arguments)), ()
        ):
            parameters, out = overload.parameters, overload.result
            if generic:
                fresh: dict[str, CelType] = {}
                parameters = tuple(self._instance(kind, fresh) for kind in parameters)
                out = self._instance(out, fresh)
            if not types.assign_all(arguments, parameters):
                continue
            fitting.append(overload)
            out = types.resolve(out)
            if result is None:
                result = out
            elif result.name != "dyn" and out != result:
                result = DYN
        if result is None:
            overloads = self._signatures.functions[node.value].overloads
            given = [types.resolve(kind, final=True) for kind in arguments]
            raise self._fault(node, no_overload(node, overloads, given))
        node.overloads = tuple(fitting)
        return result

    def _instance(self, kind: CelType, fresh: dict[str, CelType]) -> CelType:
        if kind.is_param:
            if kind.name not in fresh:
                fresh[kind.name] = self._types.fresh()
            return fresh[kind.name]
        if not kind.params:
            return kind
        return CelType(kind.name, tuple(self._instance(inner, fresh) for inner in kind.params))

    def _look_at_constants(self, node: Node) -> None:
        # The pattern of matches(text, pattern) is the second argument, that of text.findAll(pattern, limit) the first.
        literal = node.items[0 if node.target is not None else -1] if node.items else None
        if literal is None or literal.kind != "const" or not isinstance(literal.value, str):
            return
        from kastra_core.cel.standard import read_literal

        try:
            value = read_literal(node.value, literal.value)
        except EvaluationError as error:
            raise self._fault(literal, str(error)) from None
        if value is not None:
            node.kind, node.value, node.items, node.overloads = "const", value, (), ()

    # ------------------------------------------------------------------------------------------------ literals

    def _joined(self, before: CelType | None, found: CelType) -> CelType:
        return found if before is None else self._types.join(before, found) or DYN

    def _unwrapped(self, node: Node, found: CelType) -> CelType:
        kind = self._types.resolve(found)
        if is_optional(kind):
            return kind.params[0]
        if kind.name != "dyn":
            raise self._fault(node, f"after '?' stands an optional value, such as a.?b, not {type_text(kind)}")
        return kind

    def _list(self, node: Node) -> CelType:
        found: CelType | None = None
        for index, item in enumerate(node.items):
            kind = self.check(item)
            if index in node.optional:
                kind = self._unwrapped(item, kind)
            found = self._joined(found, kind)
        if len(node.items) > 1 and not self._formatting:
            self._literals.append(node)
        return list_of(found or self._types.fresh())

    def _map(self, node: Node) -> CelType:
        keys: CelType | None = None
        values: CelType | None = None
        for index, (key, value) in enumerate(node.items):
            keys = self._joined(keys, self.check(key))
            kind = self.check(value)
            if index in node.optional:
                kind = self._unwrapped(value, kind)
            values = self._joined(values, kind)
        if len(node.items) > 1 and not self._formatting:
            self._literals.append(node)
        return map_of(keys or self._types.fresh(), values or self._types.fresh())

    # ------------------------------------------------------------------------------------------------ folds

    def _fold(self, node: Node) -> CelType:
        source, first, going, step, result = node.items
        kind = self._types.resolve(self.check(source))
        accumulated = self.check(first)
        name, accumulator, second = (*node.names, "")[:3]
        scope: dict[str, CelType] = {accumulator: accumulated}
        self._scopes.append(scope)
        variables: dict[str, CelType] = {}
        if kind.name == "list":
            variables[name] = INT if second else kind.params[0]
            if second:
                variables[second] = kind.params[0]
        elif kind.name == "map":
            variables[name] = kind.params[0]
            if second:
                variables[second] = kind.params[1]
        elif kind.name == "dyn" or kind.is_param:
            self._types.assign(DYN, kind)
            variables[name] = DYN
            if second:
                variables[second] = DYN
        else:
            where = text_of_path(source)
            hint = "; fields of an object are named one by one" if kind.members is not None else ""
            raise self._fault(
                source, f"{where} is of type {type_text(kind)}; a macro goes through a list or a map{hint}"
            )
        self._scopes.append(variables)
        if not self._types.assign(BOOL, self.check(going)):
            raise self._fault(going, "the condition of a macro must be a bool")
        found = self.check(step)
        if not self._types.assign(accumulated, found):
            raise self._fault(step, self._wrong_step(step, found))
        self._scopes.pop()
        out = self._types.resolve(self.check(result))
        self._scopes.pop()
        return out

    def _wrong_step(self, step: Node, found: CelType) -> str:
        return f"the body of a macro is of the wrong type: {type_text(self._types.resolve(found, final=True))}"
