"""Named formats of texts: ``format.dns1123Label().validate(name)`` says what is wrong with a name, if anything."""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Callable, Sequence
from typing import ClassVar

import attrs

from kastra_core.cel.functions import Cost, Function, Overload, Size
from kastra_core.cel.kubernetes.estimates import PATTERN_FACTOR, TEXT_FACTOR, scan, steps
from kastra_core.cel.kubernetes.url import check_url
from kastra_core.cel.types import STRING, CelType, list_of, opaque, optional_of
from kastra_core.cel.values import ABSENT, EvaluationError, Frame, Optional

__all__ = ["FORMATS", "FORMAT_TYPE", "FUNCTIONS", "Format"]

FORMAT_TYPE = opaque("kubernetes.NamedFormat")

_LOWER = frozenset("abcdefghijklmnopqrstuvwxyz")
_LOWER_OR_DIGIT = _LOWER | frozenset("0123456789")
_LETTER_OR_DIGIT = _LOWER_OR_DIGIT | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_BASE64 = _LETTER_OR_DIGIT | frozenset("+/")
_LONGEST_LABEL, _LONGEST_SUBDOMAIN = 63, 253
_MOST_PATTERN = 128
"""Characters of a pattern that an estimate reckons with."""

_UUID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})", re.ASCII)
# As in Kubernetes, any character may be before the fraction of a second.
_TIME = re.compile(r"([0-9]{2}):([0-9]{2}):([0-9]{2})(?:[^\n][0-9]+)?(?:z|[+-][0-9]{2}:[0-9]{2})", re.ASCII)


@attrs.frozen(slots=True, eq=False)
class Format:
    """A format by its name; ``problems`` lists what is wrong with a text, in words."""

    cel_type: ClassVar[CelType] = FORMAT_TYPE

    name: str
    problems: Callable[[str], Sequence[str]] = attrs.field(repr=False)
    pattern_size: int = attrs.field(repr=False)
    """Characters of a regular expression that would do the same: what a call is charged for."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Format) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)


# ------------------------------------------------------------------------------------------------ names


def _is_word(text: str, first: frozenset[str], inner: frozenset[str], last: frozenset[str]) -> bool:
    return bool(text) and text[0] in first and text[-1] in last and inner.issuperset(text)


def _is_label(text: str) -> bool:
    return _is_word(text, _LOWER_OR_DIGIT, _LOWER_OR_DIGIT | {"-"}, _LOWER_OR_DIGIT)


def _is_subdomain(text: str) -> bool:
    return all(map(_is_label, text.split(".")))


def _is_label_key(text: str) -> bool:
    return _is_word(text, _LETTER_OR_DIGIT, _LETTER_OR_DIGIT | frozenset("-_."), _LETTER_OR_DIGIT)


def _length(text: str, most: int) -> list[str]:
    size = len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
    return [f"it has {size} bytes; at most {most} are allowed"] if size > most else []


_LABEL_FORM = "lower-case letters, digits and '-', beginning and ending with a letter or digit, as in 'my-name'"
_SUBDOMAIN_FORM = "labels with dots between, each of lower-case letters, digits and '-', as in 'example.com'"
_1035_FORM = "lower-case letters, digits and '-', beginning with a letter and not ending with '-', as in 'my-name'"
_KEY_FORM = "letters, digits, '-', '_' and '.', beginning and ending with a letter or digit, as in 'my.name'"


def _dns1123_label(text: str) -> list[str]:
    problems = _length(text, _LONGEST_LABEL)
    if not _is_label(text):
        problems.append("it must have no dots" if _is_subdomain(text) else f"it must have {_LABEL_FORM}")
    return problems


def _dns1123_subdomain(text: str) -> list[str]:
    problems = _length(text, _LONGEST_SUBDOMAIN)
    return problems if _is_subdomain(text) else [*problems, f"it must have {_SUBDOMAIN_FORM}"]


def _dns1035_label(text: str) -> list[str]:
    problems = _length(text, _LONGEST_LABEL)
    fits = _is_word(text, _LOWER, _LOWER_OR_DIGIT | {"-"}, _LOWER_OR_DIGIT)
    return problems if fits else [*problems, f"it must have {_1035_FORM}"]


def _qualified_name(text: str) -> list[str]:
    prefix, slash, name = text.rpartition("/")
    if "/" in prefix:
        return ["it must be a name, with at most one '/' to set off a domain before it, as in 'example.com/my.name'"]
    problems = []
    if slash:
        problems += [
            f"before '/': {problem}" for problem in (_dns1123_subdomain(prefix) if prefix else ["it is empty"])
        ]
    where = "after '/': " if slash else ""
    if not name:
        problems.append(f"{where}it is empty")
    problems += [f"{where}{problem}" for problem in _length(name, _LONGEST_LABEL)]
    if not _is_label_key(name):
        problems.append(f"{where}it must have {_KEY_FORM}")
    return problems


def _label_value(text: str) -> list[str]:
    problems = _length(text, _LONGEST_LABEL)
    return problems if not text or _is_label_key(text) else [*problems, f"it must be empty or have {_KEY_FORM}"]


def _as_prefix(problems: Callable[[str], list[str]]) -> Callable[[str], list[str]]:
    """For a text to which more will be added: a dash may be its end."""

    def of_prefix(text: str) -> list[str]:
        # As Kubernetes does it, the character before the dash goes with it.
        return problems(f"{text[:-2]}a" if len(text) > 1 and text.endswith("-") else text)

    return of_prefix


# ------------------------------------------------------------------------------------------------ other formats


def _uri(text: str) -> list[str]:
    try:
        check_url(text)
    except EvaluationError as error:
        return [str(error)]
    return []


def _uuid(text: str) -> list[str]:
    return [] if _UUID.fullmatch(text) else ["it is no UUID, such as '123e4567-e89b-12d3-a456-426614174000'"]


def _byte(text: str) -> list[str]:
    content = text.removesuffix("==") if text.endswith("==") else text.removesuffix("=")
    fits = bool(content) and len(text) % 4 == 0 and _BASE64.issuperset(content)
    return [] if fits else ["it is no base64"]


def _is_date(text: str) -> bool:
    found = _DATE.fullmatch(text)
    if found is None:
        return False
    year, month, day = map(int, found.groups())
    # The calendar repeats after 400 years; Python has no year 0.
    return 1 <= month <= 12 and 1 <= day <= monthrange(year + 400, month)[1]


def _date(text: str) -> list[str]:
    return [] if _is_date(text) else ["it is no date, such as '2024-01-31'"]


def _datetime(text: str) -> list[str]:
    parts = text.lower().split("t")
    fits = len(parts) > 1 and _is_date(parts[0])
    time = _TIME.fullmatch(parts[1]) if fits else None
    if time is not None and time[1] <= "23" and time[2] <= "59" and time[3] <= "59":
        return []
    return ["it is no date with a time, such as '2024-01-31T00:00:00Z'"]


FORMATS = {
    "dns1123Label": Format("DNS1123Label", _dns1123_label, 30),
    "dns1123Subdomain": Format("DNS1123Subdomain", _dns1123_subdomain, 60),
    "dns1035Label": Format("DNS1035Label", _dns1035_label, 30),
    "qualifiedName": Format("QualifiedName", _qualified_name, 60),
    "dns1123LabelPrefix": Format("DNS1123LabelPrefix", _as_prefix(_dns1123_label), 30),
    "dns1123SubdomainPrefix": Format("DNS1123SubdomainPrefix", _as_prefix(_dns1123_subdomain), 60),
    "dns1035LabelPrefix": Format("DNS1035LabelPrefix", _as_prefix(_dns1035_label), 30),
    "labelValue": Format("LabelValue", _label_value, 40),
    "uri": Format("URI", _uri, 1103),
    "uuid": Format("uuid", _uuid, 70),
    "byte": Format("byte", _byte, 84),
    "date": Format("date", _date, 71),
    "datetime": Format("datetime", _datetime, 71),
}
"""Name in ``format.named(...)`` and after ``format.`` to format."""


# ------------------------------------------------------------------------------------------------ functions


def _named(frame: Frame, name: str) -> Optional:
    found = FORMATS.get(name)
    return ABSENT if found is None else Optional(found)


def _validate(frame: Frame, format: Format, text: str) -> Optional:
    frame.charge(steps(len(text) + 1, TEXT_FACTOR) * steps(format.pattern_size, PATTERN_FACTOR))
    problems = format.problems(text)
    return Optional(list(problems)) if problems else ABSENT


def _validating(format: Size, text: Size) -> Cost:
    cost = scan(scan(text), _MOST_PATTERN * PATTERN_FACTOR)
    return Cost(cost.least, cost.most)


def _constant(name: str, value: Format) -> Function:
    def work(frame: Frame) -> Format:
        return value

    return Function(f"format.{name}", (Overload(parameters=(), result=FORMAT_TYPE, work=work),))


FUNCTIONS = (
    Function("format.named", (Overload(parameters=(STRING,), result=optional_of(FORMAT_TYPE), work=_named),)),
    Function(
        "validate",
        (
            Overload(
                parameters=(FORMAT_TYPE, STRING),
                result=optional_of(list_of(STRING)),
                work=_validate,
                member=True,
                estimate=_validating,
            ),
        ),
    ),
    *(_constant(name, value) for name, value in FORMATS.items()),
)
