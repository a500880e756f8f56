"""Functions of semantic versions, read as Kubernetes' parser (blang/semver) reads them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeAlias

import attrs

from kastra_core.cel.functions import Function, Overload
from kastra_core.cel.kubernetes.estimates import TEXT_FACTOR, reading, steps
from kastra_core.cel.types import BOOL, INT, STRING, CelType, opaque
from kastra_core.cel.values import INT_MAX, UINT_MAX, EvaluationError, Frame
from kastra_core.errors import shortened

__all__ = ["FUNCTIONS", "SEMVER_TYPE", "Semver", "parse_semver"]

SEMVER_TYPE = opaque("kubernetes.Semver")

_DIGITS = frozenset("0123456789")
_IDENTIFIER = _DIGITS | frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-")

_Identifier: TypeAlias = tuple[bool, int, str]
"""Of a pre-release, sorted as versions are: whether it is a text, its number, its text."""


@attrs.frozen(slots=True, order=False, eq=False)
class Semver:
    """A version; build metadata (``+x``) is read, and does not count in comparisons."""

    cel_type: ClassVar[CelType] = SEMVER_TYPE

    major: int
    minor: int
    patch: int
    pre: tuple[_Identifier, ...] = ()

    @property
    def rank(self) -> tuple[int, int, int, bool, tuple[_Identifier, ...]]:
        """What versions are sorted by: a pre-release comes before its release."""
        return self.major, self.minor, self.patch, not self.pre, self.pre

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Semver) and self.rank == other.rank

    def __hash__(self) -> int:
        return hash(self.rank)


def parse_semver(text: str, *, normalize: bool = False) -> Semver:
    """Return the version that ``text`` writes.

    Args:
        normalize: allow a "v" before it, a version without minor or patch, and leading zeros.

    Raises:
        EvaluationError: it writes none.
    """
    shown = repr(shortened(text, 80))
    parts = (text.removeprefix("v") if normalize else text).split(".", 2)
    if normalize:
        parts = [_without_zeros(part) for part in parts]
        if len(parts) < 3 and ("+" in parts[-1] or "-" in parts[-1]):
            raise EvaluationError(
                f"{shown} is no version: one with '-' or '+' needs all three numbers, as in 1.2.0-rc.1"
            )
        parts += ["0"] * (3 - len(parts))
    if len(parts) < 3:
        raise EvaluationError(f"{shown} is no version: it needs three numbers, as in 1.2.0")
    rest, plus, build = parts[2].partition("+")
    patch, dash, pre = rest.partition("-")
    major, minor = _number("major", parts[0], shown), _number("minor", parts[1], shown)
    identifiers = tuple(_identifier(part, shown) for part in pre.split(".")) if dash else ()
    if plus and not all(part and _IDENTIFIER.issuperset(part) for part in build.split(".")):
        raise EvaluationError(
            f"{shown} is no version: after '+' come letters, digits and '-', in parts with dots between"
        )
    return Semver(major, minor, _number("patch", patch, shown), identifiers)


def _without_zeros(part: str) -> str:
    if len(part) < 2:
        return part
    stripped = part.lstrip("0")
    return stripped if stripped[:1] in _DIGITS else f"0{stripped}"


def _number(name: str, digits: str, shown: str) -> int:
    problem = EvaluationError(f"{shown} is no version: the {name} number is {shortened(digits, 40)!r}")
    if not digits or not _DIGITS.issuperset(digits) or (len(digits) > 1 and digits[0] == "0") or len(digits) > 20:
        raise problem
    number = int(digits)
    if number > UINT_MAX:
        raise problem
    return number


def _identifier(part: str, shown: str) -> _Identifier:
    if not part or not _IDENTIFIER.issuperset(part):
        raise EvaluationError(
            f"{shown} is no version: after '-' come letters, digits and '-', in parts with dots between"
        )
    return (False, _number("pre-release", part, shown), "") if _DIGITS.issuperset(part) else (True, 0, part)


# ------------------------------------------------------------------------------------------------ functions


def _semver(frame: Frame, text: str, normalize: bool = False) -> Semver:
    frame.charge(steps(len(text), TEXT_FACTOR))
    return parse_semver(text, normalize=normalize)


def _is_semver(frame: Frame, text: str, normalize: bool = False) -> bool:
    frame.charge(steps(len(text), TEXT_FACTOR))
    try:
        parse_semver(text, normalize=normalize)
    except EvaluationError:
        return False
    return True


def _part(name: str) -> Function:
    def read(frame: Frame, version: Semver) -> int:
        number: int = getattr(version, name)
        if number > INT_MAX:
            raise EvaluationError(f"{name}: the number is too big for an integer of 64 bits")
        return number

    return Function(name, (Overload(parameters=(SEMVER_TYPE,), result=INT, work=read, member=True),))


def _comparison(name: str, result: CelType, work: Callable[[Semver, Semver], Any]) -> Function:
    def compare(frame: Frame, a: Semver, b: Semver) -> Any:
        return work(a, b)

    return Function(name, (Overload(parameters=(SEMVER_TYPE, SEMVER_TYPE), result=result, work=compare, member=True),))


def _reader(name: str, result: CelType, work: Callable[..., Any]) -> Function:
    return Function(
        name,
        tuple(
            Overload(parameters=parameters, result=result, work=work, estimate=reading())
            for parameters in ((STRING,), (STRING, BOOL))
        ),
    )


FUNCTIONS = (
    _reader("semver", SEMVER_TYPE, _semver),
    _reader("isSemver", BOOL, _is_semver),
    _part("major"),
    _part("minor"),
    _part("patch"),
    _comparison("isGreaterThan", BOOL, lambda a, b: a.rank > b.rank),
    _comparison("isLessThan", BOOL, lambda a, b: a.rank < b.rank),
    _comparison("compareTo", INT, lambda a, b: (a.rank > b.rank) - (a.rank < b.rank)),
)
