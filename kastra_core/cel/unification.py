"""Which type fits where: type parameters and what stands for them.

Source:
    The rules are those of cel-go (``checker/types.go``), so that a rule that one accepts is accepted by the other.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from kastra_core.cel.types import DYN, CelType

__all__ = ["Unifier", "is_optional"]

_PLAIN = frozenset({"bool", "int", "uint", "double", "string", "bytes", "list", "map", "type", "null_type"})
"""Types that null does not fit (null_type apart); it fits objects, timestamps, durations and what libraries add."""


def is_optional(kind: CelType) -> bool:
    return kind.name == "optional_type"


class Unifier:
    """What the type parameters of one expression stand for."""

    def __init__(self) -> None:
        self._bound: dict[str, CelType] = {}
        self._undo: list[tuple[str, CelType | None]] = []
        """What the names stood for that the attempt that is under way has bound."""
        self._count = 0

    def fresh(self) -> CelType:
        """A new type parameter."""
        self._count += 1
        return CelType(f"_{self._count}", is_param=True)

    def assign(self, given: CelType, wanted: CelType) -> bool:
        """Whether ``given`` fits ``wanted``; what that says of type parameters is kept when it does."""
        return self.assign_all((given,), (wanted,))

    def assign_all(self, given: Sequence[CelType], wanted: Sequence[CelType]) -> bool:
        self._undo.clear()
        if len(given) == len(wanted) and all(map(self._fits, given, wanted)):
            return True
        for name, before in reversed(self._undo):
            if before is None:
                del self._bound[name]
            else:
                self._bound[name] = before
        return False

    def resolve(self, kind: CelType, *, final: bool = False) -> CelType:
        """``kind`` with what its parameters stand for; ``final``: dyn for those that stand for nothing yet."""
        if kind.is_param:
            found = self._bound.get(kind.name)
            if found is not None:
                return self.resolve(found, final=final)
            return DYN if final else kind
        if not kind.params:
            return kind
        params = tuple(self.resolve(inner, final=final) for inner in kind.params)
        if all(new is old for new, old in zip(params, kind.params, strict=True)):
            return kind
        return attrs.evolve(kind, params=params)

    def join(self, first: CelType, second: CelType) -> CelType | None:
        """The more general type of both, None when they do not fit."""
        return _more_general(first, second) if self.assign(first, second) else None

    def _fits(self, a: CelType, b: CelType) -> bool:
        if b.is_param:
            fits, known = self._substitutes(a, b)
            if fits or known:
                return fits
        if a.is_param:
            return self._substitutes(b, a)[0]
        if a.name == "dyn" or b.name == "dyn":
            return True
        if a.name == "null_type" or b.name == "null_type":
            other = b if a.name == "null_type" else a
            return other.name == "null_type" or other.name not in _PLAIN
        if a.name != b.name:
            return False
        if a.name == "type":
            return True
        return len(a.params) == len(b.params) and all(map(self._fits, a.params, b.params))

    def _substitutes(self, kind: CelType, parameter: CelType) -> tuple[bool, bool]:
        """(whether ``kind`` can stand for ``parameter``, whether something did before)."""
        if kind == parameter:
            return True, True
        known = self._bound.get(parameter.name)
        if known is None:
            if self._occurs(parameter, kind):
                return False, False
            self._bind(parameter.name, kind)
            return True, False
        if kind == known:
            return True, True
        if not self._fits(kind, known):
            return False, True
        general = _more_general(kind, known)
        if not self._occurs(parameter, general):
            self._bind(parameter.name, general)
        return True, True

    def _bind(self, name: str, kind: CelType) -> None:
        self._undo.append((name, self._bound.get(name)))
        self._bound[name] = kind

    def _occurs(self, parameter: CelType, kind: CelType) -> bool:
        if kind == parameter:
            return True
        if kind.is_param:
            known = self._bound.get(kind.name)
            return known is not None and self._occurs(parameter, known)
        return any(self._occurs(parameter, inner) for inner in kind.params)


def _more_general(a: CelType, b: CelType) -> CelType:
    return a if _as_general(a, b) else b


def _as_general(a: CelType, b: CelType) -> bool:
    """Whether ``a`` is ``b``, or differs from it only where it is dyn."""
    if a.name == "dyn" or a.is_param:
        return True
    if b.name == "dyn" or b.is_param or a.name != b.name or len(a.params) != len(b.params):
        return False
    return a.name == "type" or all(map(_as_general, a.params, b.params))
