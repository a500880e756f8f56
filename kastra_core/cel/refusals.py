"""What the checker says of what cannot work: types and places in words, and hints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kastra_core.cel.evaluation import text_of_path
from kastra_core.cel.functions import Overload
from kastra_core.cel.hints import suggestion
from kastra_core.cel.syntax import Node, function_text
from kastra_core.cel.types import CelType, Member
from kastra_core.errors import shortened

__all__ = ["no_field", "no_overload", "type_text"]

_SHOWN = 10
"""Names that are listed."""


def type_text(kind: CelType) -> str:
    """A type for people; an object is just that, its name being a path in a schema."""
    if kind.members is not None:
        return "object"
    name = kind.name.removeprefix("google.protobuf.").lower() if kind.name.startswith("google.") else kind.name
    name = {"null_type": "null", "optional_type": "optional"}.get(name, name)
    return f"{name}({', '.join(map(type_text, kind.params))})" if kind.params else name


def no_field(target: Node, members: Mapping[str, Member], field: str) -> str:
    names = list(dict.fromkeys(member.key for member in members.values()))
    hint = suggestion(field, [*members, *(name for name in names if name not in members)])
    shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    have = f"it has: {shown}" if names else "it has no fields that its schema names"
    if written := next((name for name, member in members.items() if member.key == field), None):
        hint = f"it is written {written} in CEL"
    elif written := next((name for name, member in members.items() if _is_begun(field, member.key)), None):
        hint = f"{members[written].key} is written {written} in CEL"
    hint += "" if not hint else " " if hint.endswith("?") else "; "
    return f"no field {shortened(field, 80)!r} in {text_of_path(target)}; {hint}{have}"


def no_overload(node: Node, overloads: Sequence[Overload], given: list[CelType]) -> str:
    """For a call whose operands no overload takes.

    Args:
        given: types of the receiver, if there is one, and of the arguments.
    """
    name, member = node.value, node.target is not None
    shown = " and ".join(map(type_text, given))
    if any(item.kind == "ident" and item.value[0] == "@" for item in node.items):
        if name == "cel.@mapInsert" and len(given) == 2:
            return f"transformMapEntry needs a map of what is added, not {type_text(given[1])}"
        body = given[0] if name == "_?_:_" else given[-1]
        return f"the condition of a macro must be a bool, not {type_text(body)}"
    if name == "_?_:_":
        if given[0].name not in ("bool", "dyn"):
            return f"'? :' needs a bool before the '?', not {type_text(given[0])}{_ASKED}"
        first, second = map(type_text, given[1:])
        return f"'? :' needs values of one type, not {first} and {second}; dyn(x) hides a type"
    if not (name[0].isalpha() or name == "_[_]"):
        return f"{function_text(name)} does not take {shown}{_operator_hint(name, given)}"
    if name == "_[_]":
        return f"'[]' does not take {shown}; {_index_hint(node, given[0])}"
    alike = [overload for overload in overloads if overload.member == member] or overloads
    forms = list(dict.fromkeys(_form(name, overload) for overload in alike))
    many = f" and {len(forms) - _SHOWN} more" if len(forms) > _SHOWN else ""
    called = _written(name, member, [type_text(kind) for kind in given])
    return f"there is no {called}; there is {', '.join(forms[:_SHOWN])}{many}"


def _is_begun(name: str, key: str) -> bool:
    """Whether CEL reads ``key`` as ``name`` and something after it, as ``self.a - b``."""
    return key.startswith(name) and key[len(name) :][:1] in ("-", ".", "/")


def _index_hint(node: Node, kind: CelType) -> str:
    field = node.items[1].value if node.items[1].kind == "const" else None
    if kind.members is None:
        return "a list takes an int, a map its key"
    written = next((name for name, member in kind.members.items() if member.key == field), "field")
    return f"a field of an object is written {text_of_path(node.items[0])}.{written}"


_ASKED = "; has(x.y) asks whether a field is there"


def _operator_hint(name: str, given: list[CelType]) -> str:
    names = {kind.name for kind in given}
    if len(names) == 2 and names <= _NUMBERS:
        return f"; convert one of them: {' or '.join(f'{kind}(x)' for kind in sorted(names))}"
    if "string" in names and names & _TIMES:
        return "; timestamp('2024-05-31T12:00:00Z') and duration('1h30m') make such values of texts"
    if name == "_+_" and "string" in names:
        return "; string(x) makes a text of a number"
    if name == "!_" or (name in ("_==_", "_!=_") and "null_type" in names):
        return _ASKED
    if name in ("_&&_", "_||_"):
        return "; both sides are conditions, as in x == 'a' || x == 'b'"
    if name in ("_==_", "_!=_") and "type" in names:
        return "; the names of types stand without quotes, as in type(x) == string"
    if name in ("_==_", "_!=_"):
        return "; they are never equal"
    if name in _ORDERS:
        return _order_hint(names)
    if name == "@in" and given[-1].name == "string":
        return "; text.contains(part) looks into a text"
    return ""


_NUMBERS = frozenset({"int", "uint", "double"})
_TIMES = frozenset({"google.protobuf.Timestamp", "google.protobuf.Duration"})
_ORDERS = frozenset({"_<_", "_<=_", "_>_", "_>=_"})


def _order_hint(names: set[str]) -> str:
    if "bool" in names:
        return "; of three numbers write a < b && b < c"
    if "string" in names and names & _NUMBERS:
        return "; int(x) and double(x) read a number from a text"
    if any(name.startswith("kubernetes.") for name in names):
        return "; such values are compared by x.compareTo(y) < 0"
    return ""


def _form(name: str, overload: Overload) -> str:
    return _written(name, overload.member, [type_text(kind) for kind in overload.parameters])


def _written(name: str, member: bool, kinds: list[Any]) -> str:
    if member:
        return f"{kinds[0]}.{name}({', '.join(kinds[1:])})"
    return f"{name}({', '.join(kinds)})"
