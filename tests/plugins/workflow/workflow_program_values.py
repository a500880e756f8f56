"""Typed values, expressions and templates of the generated workflows, and what they refer to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs

__all__ = ["FIELDS", "Path", "Ref", "Scope", "ValueWriter", "refs_of"]

Path = tuple[str | int, ...]

FIELDS = {"n": "int", "t": "str", "l": "list"}
"""Fields of an ``obj``; a ``list`` is one of integers."""


@attrs.frozen
class Ref:
    path: Path
    type: str
    certain: bool = True


@attrs.define
class Scope:
    """What expressions may refer to where they stand."""

    refs: list[Ref]
    indexes: tuple[str, ...] = ()
    """Names of the indexes of the foreach around: what makes the key of an operation unique."""

    def inner(self, *refs: Ref, index: str = "") -> Scope:
        return Scope([*self.refs, *refs], (*self.indexes, index) if index else self.indexes)


def refs_of(path: Path, type: str, certain: bool = True) -> list[Ref]:
    out = [Ref(path, type, certain)]
    if type == "obj":
        out += [Ref((*path, name), kind, certain) for name, kind in FIELDS.items()]
    if type == "list":
        out.append(Ref((*path, 0), "int", False))
    return out


class ValueWriter:
    """Writes values, expressions and templates; ``choose(least, most)`` makes every decision."""

    def __init__(self, choose: Callable[[int, int], int]) -> None:
        self.choose = choose

    # ------------------------------------------------------------------------------------------ chance

    def upto(self, most: int, least: int = 0) -> int:
        return self.choose(least, most)

    def chance(self, percent: int) -> bool:
        # What shrinks away is the rare thing.
        return self.upto(99) >= 100 - percent

    def pick(self, options: Sequence[Any]) -> Any:
        return options[self.upto(len(options) - 1)]

    def weighted(self, weights: dict[str, int]) -> str:
        at = self.upto(sum(weights.values()) - 1)
        for name, weight in weights.items():
            at -= weight
            if at < 0:
                return name
        raise AssertionError

    # ------------------------------------------------------------------------------------------ expressions

    def ref(self, scope: Scope, type: str) -> Ref | None:
        certain = not self.chance(15)
        found = [ref for ref in scope.refs if ref.type == type and ref.certain >= certain]
        told = [ref for ref in found if ref.path[0] in ("data", "error")]
        if told and self.chance(30):
            found = told
        # The latest are the most telling ones.
        return found[-1 - self.upto(min(len(found), 6) - 1)] if found else None

    def path(self, path: Path, *, plain: bool = False) -> str:
        """An expression of a path; in a larger one a hyphen would be a minus."""
        out = str(path[0])
        if out == "steps" and len(path) > 2 and path[2] == "output" and self.chance(10):
            out, path = "step", (*path[:2], "result", *path[3:])
        for part in path[1:]:
            if isinstance(part, int):
                out += f"[{part}]"
            elif (plain or "-" not in part) and not part.isdigit() and not self.chance(10):
                out += f".{part}"
            else:
                out += f'["{part}"]'
        return out

    def reading(self, ref: Ref, otherwise: str) -> str:
        """An expression that reads it; mostly a guarded one where it may not be there."""
        text = self.path(ref.path)
        if ref.certain or self.chance(25):
            return text
        root, name = ref.path[0], str(ref.path[1]) if len(ref.path) > 1 else ""
        if root not in ("steps", "data") or "-" in name or isinstance(ref.path[-1], int):
            return text
        return f"(has({root}.{name}) ? {text} : {otherwise})"

    def int_expression(self, scope: Scope, depth: int = 2) -> str:
        what = self.weighted({"literal": 2, "ref": 6, "sum": 3 * (depth > 0), "size": 1, "if": depth > 0})
        if what == "ref" and (ref := self.ref(scope, "int")):
            return self.reading(ref, "0")
        if what == "size" and (ref := self.ref(scope, "list")):
            return f"size({self.reading(ref, '[]')})"
        if what == "sum":
            operator = self.pick(("+", "-", "*"))
            left, right = self.int_expression(scope, depth - 1), self.int_expression(scope, depth - 1)
            return f"({left} {operator} {right}) % {self.pick((97, 7, 10))}"
        if what == "if":
            yes, no = self.int_expression(scope, depth - 1), self.int_expression(scope, depth - 1)
            return f"({self.condition(scope, depth - 1)} ? {yes} : {no})"
        return str(self.upto(5))

    def condition(self, scope: Scope, depth: int = 2) -> str:
        what = self.weighted(
            {"compare": 8, "text": 2, "and": 2 * (depth > 0), "not": depth > 0, "has": 1, "in": 1, "constant": 2}
        )
        if what == "text" and (ref := self.ref(scope, "str")):
            return f"{self.reading(ref, self.quoted())} {self.pick(('==', '!='))} {self.quoted()}"
        if what == "and":
            left, right = self.condition(scope, depth - 1), self.condition(scope, depth - 1)
            return f"({left} {self.pick(('&&', '||'))} {right})"
        if what == "not":
            return f"!({self.condition(scope, depth - 1)})"
        if what == "has" and (path := self.guardable(scope)):
            return f"has({path})"
        if what == "in" and (ref := self.ref(scope, "list")):
            return f"{self.int_expression(scope, 0)} in {self.reading(ref, '[]')}"
        if what == "constant":
            return str(self.pick(("true", "false")))
        operator = self.pick(("<", "==", ">", "<=", ">=", "!="))
        return f"{self.int_expression(scope, depth - 1)} {operator} {self.int_expression(scope, 0)}"

    def guardable(self, scope: Scope) -> str:
        """A path for ``has()``: mostly of a step or data, or of the error that a step may have."""
        found = [ref.path for ref in scope.refs if ref.path[0] in ("steps", "data") and "-" not in str(ref.path[1])]
        if not found:
            return ""
        path = found[-1 - self.upto(min(len(found), 6) - 1)]
        if path[2:] in (("error",), ("errors",)) or (path[0] == "steps" and self.chance(20)):
            return f"steps.{path[1]}.{path[2]}"
        return f"{path[0]}.{path[1]}"

    def quoted(self) -> str:
        return f'"{self.word()}"'

    def kind(self) -> str:
        return str(self.pick(("int", "str", "list", "obj")))

    def word(self) -> str:
        return str(self.pick(("a", "b", "", "ä b")))

    # ------------------------------------------------------------------------------------------ templates

    def value(self, scope: Scope, type: str, depth: int = 1) -> Any:
        """A template that gives a value of this type."""
        if self.chance(55) and (ref := self.ref(scope, type)):
            certain_or_bare = ref.certain or self.chance(15)
            return "{{ " + self.path(ref.path, plain=True) + " }}" if certain_or_bare else self.constant(type)
        if type == "int":
            return self.upto(9) if self.chance(30) else "{{" + self.int_expression(scope) + "}}"
        if type == "str":
            return self.text(scope)
        if type == "list":
            return [self.value(scope, "int", 0) for _ in range(self.upto(3))]
        if type == "obj":
            return {name: self.value(scope, kind, depth - 1) for name, kind in FIELDS.items()}
        return self.value(scope, self.pick(("int", "str", "list", "obj") if depth > 0 else ("int", "str")), depth)

    def constant(self, type: str) -> Any:
        return {"int": 3, "str": "c", "list": [1, 2], "obj": {"n": 1, "t": "o", "l": []}}.get(type)

    def text(self, scope: Scope) -> str:
        if self.chance(40):
            return self.word()
        out = self.word() + "-"
        for _ in range(self.upto(2, 1)):
            ref = self.ref(scope, self.pick(("int", "list", "any", "int")))
            out += "{{" + (self.path(ref.path, plain=True) if ref and ref.certain else "1 + 1") + "}}" + self.word()
        return out
