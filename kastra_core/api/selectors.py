"""Label and field selectors in kubectl's syntax."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import attrs

from kastra_core.api.meta import Resource
from kastra_core.errors import SelectorError

__all__ = ["FieldSelector", "LabelSelector", "Requirement", "field_value"]

_KEY = r"[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?"
# For terms without blanks around them.
_SET = re.compile(rf"(?P<key>{_KEY})\s+(?P<op>in|notin)\s*\((?P<values>[^()]*)\)")
_EQUAL = re.compile(rf"(?P<key>{_KEY})\s*(?P<op>==|=|!=)\s*(?P<value>[^\s,=!]*)")
_EXISTS = re.compile(rf"(?P<not>!?)\s*(?P<key>{_KEY})")


@attrs.frozen
class Requirement:
    """One term: ``op`` is in, notin, exists or !exists. ``notin`` also matches what lacks the key."""

    key: str
    op: str
    values: frozenset[str] = frozenset()

    def matches(self, value: str | None) -> bool:
        """Whether the label's value meets it; None: there is no such label."""
        if self.op == "in":
            return value in self.values
        if self.op == "notin":
            return value not in self.values
        return (value is not None) == (self.op == "exists")


def _terms(text: str) -> list[str]:
    """Split at commas outside of parentheses. Raises: SelectorError for an empty term; blank text has none."""
    if not text.strip():
        return []
    terms, depth, start = [], 0, 0
    for at, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if char == "," and depth == 0:
            terms.append(text[start:at])
            start = at + 1
    terms.append(text[start:])
    terms = [term.strip() for term in terms]
    if not all(terms):
        raise SelectorError(f"selector {text!r}: nothing before or after a comma")
    return terms


@attrs.frozen
class LabelSelector:
    """``app=kitchen,tier in (frontend, backend),!legacy``: all terms must hold.

    >>> LabelSelector.parse("app=kitchen,tier in (a,b),!old").matches({"app": "kitchen", "tier": "a"})
    True
    """

    requirements: tuple[Requirement, ...] = ()

    @classmethod
    def parse(cls, text: str) -> LabelSelector:
        """Raises: SelectorError."""
        out = []
        for term in _terms(text):
            if found := _SET.fullmatch(term):
                values = frozenset(v.strip() for v in found["values"].split(","))
                out.append(Requirement(found["key"], found["op"], values))
            elif found := _EQUAL.fullmatch(term):
                op = "notin" if found["op"] == "!=" else "in"
                out.append(Requirement(found["key"], op, frozenset({found["value"]})))
            elif found := _EXISTS.fullmatch(term):
                out.append(Requirement(found["key"], "!exists" if found["not"] else "exists"))
            else:
                raise SelectorError(
                    f"label selector {text!r}: cannot read {term!r}; allowed are key=value, key!=value, "
                    "key in (a,b), key notin (a,b), key, !key"
                )
        return cls(tuple(out))

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether labels meet all terms."""
        return all(requirement.matches(labels.get(requirement.key)) for requirement in self.requirements)


def field_value(resource: Resource, path: str) -> Any:
    """Value at a dotted path of the manifest (``status.phase``), or None."""
    meta = resource.metadata
    if path == "metadata.name":
        return meta.name
    if path == "metadata.namespace":
        return meta.namespace
    head, _, rest = path.partition(".")
    value: Any = {"spec": resource.spec, "status": resource.status}.get(head)
    if head == "metadata":
        value = meta.to_manifest()
    elif value is None:
        value = resource.to_manifest().get(head)
    for part in rest.split(".") if rest else ():
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


@attrs.frozen
class FieldSelector:
    """``status.phase=Running,metadata.name!=x``; an absent field compares as "".

    >>> FieldSelector.parse("status.phase!=Running").requirements[0].op
    'notin'
    """

    requirements: tuple[Requirement, ...] = ()

    @classmethod
    def parse(cls, text: str) -> FieldSelector:
        """Raises: SelectorError."""
        out = []
        for term in _terms(text):
            found = _EQUAL.fullmatch(term)
            if not found:
                raise SelectorError(
                    f"field selector {text!r}: cannot read {term!r}; allowed are path=value and path!=value"
                )
            op = "notin" if found["op"] == "!=" else "in"
            out.append(Requirement(found["key"], op, frozenset({found["value"]})))
        return cls(tuple(out))

    def matches(self, resource: Resource) -> bool:
        """Whether a resource meets all terms."""
        return all(
            requirement.matches(_text(field_value(resource, requirement.key)) or "")
            for requirement in self.requirements
        )
