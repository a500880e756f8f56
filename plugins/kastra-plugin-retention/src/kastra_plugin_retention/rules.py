"""Rules of a RetentionPolicy beyond its structure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from kastra_core.api.meta import Resource
from kastra_core.api.selectors import LabelSelector
from kastra_core.errors import Problem, SelectorError
from kastra_core.serde import typed
from kastra_plugin_retention.spec import KeepRule, RetentionPolicySpec, RunRule, Selector

__all__ = ["validate"]

_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
"""A DNS label, as the core wants namespaces."""

_RUN_IS_READ = "a run that has just ended may still be read by whoever waits for it"
_IS_READ = {
    "events": "an event that was just recorded may still be read by whoever looks for it",
    "threads": "a thread that was just written to may still be read by whoever writes to it",
}


def validate(resource: Resource) -> Iterable[Problem]:
    """Yield everything that is wrong with a RetentionPolicy whose structure is right."""
    spec = typed(resource.spec, RetentionPolicySpec)
    if not spec.runs and spec.events is None and spec.threads is None:
        yield Problem(
            "says nothing about what goes",
            "spec",
            hint="write runs, events or threads, for example runs: [{ttl: 7d}]",
        )
    if spec.interval_s < 1:
        yield Problem("must be at least 1s", "spec.interval")
    if spec.namespaces is not None:
        yield from _namespaces(spec.namespaces)
    for index, rule in enumerate(spec.runs):
        path = f"spec.runs[{index}]"
        yield from _keep(rule, path, _RUN_IS_READ)
        if not rule.phases:
            yield Problem("names no phase", f"{path}.phases", hint="leave it out for all finished runs")
        elif len(set(rule.phases)) < len(rule.phases):
            yield Problem("names a phase twice", f"{path}.phases")
        if rule.selector is not None:
            yield from _selector(rule.selector, f"{path}.selector")
    for name, keep in (("events", spec.events), ("threads", spec.threads)):
        if keep is not None:
            yield from _keep(keep, f"spec.{name}", _IS_READ[name])


def _keep(rule: RunRule | KeepRule, path: str, why: str) -> Iterator[Problem]:
    if rule.ttl_s is None and rule.max_count is None:
        yield Problem("says nothing about when one goes", path, hint="write ttl, maxCount or both")
    if rule.ttl_s is not None and rule.ttl_s <= 0:
        yield Problem("must be more than 0", f"{path}.ttl", hint=f"{why}; write 1m to keep the least")
    if rule.max_count is not None and rule.max_count < 1:
        yield Problem("must be at least 1", f"{path}.maxCount", hint=f"{why}; to keep the least write ttl: 1m")


def _namespaces(names: tuple[str, ...]) -> Iterator[Problem]:
    if not names:
        yield Problem("names no namespace", "spec.namespaces", hint="leave it out for all namespaces")
    seen: set[str] = set()
    for index, name in enumerate(names):
        path = f"spec.namespaces[{index}]"
        if not _NAMESPACE.fullmatch(name):
            yield Problem(
                f"{name[:63]!r} is no name of a namespace", path, hint="use lower case letters, digits and '-'"
            )
        elif name in seen:
            yield Problem(f"{name!r} is there twice", path)
        seen.add(name)


def _selector(selector: Selector, path: str) -> Iterator[Problem]:
    if not selector.match_labels and not selector.match_expressions:
        yield Problem("selects nothing", path, hint="write matchLabels, or leave it out for all runs")
    for key in selector.match_labels:
        if not _is_label(key):
            yield Problem(f"{key[:63]!r} is no name of a label", f"{path}.matchLabels")
    for index, term in enumerate(selector.match_expressions):
        at = f"{path}.matchExpressions[{index}]"
        if not _is_label(term.key):
            yield Problem(f"{term.key[:63]!r} is no name of a label", f"{at}.key")
        if term.operator in ("In", "NotIn") and not term.values:
            yield Problem(f"{term.operator} needs values", f"{at}.values")
        elif term.operator in ("Exists", "DoesNotExist") and term.values:
            yield Problem(f"{term.operator} takes no values", f"{at}.values", hint="remove them, or write In or NotIn")


def _is_label(key: str) -> bool:
    try:
        [requirement] = LabelSelector.parse(key).requirements
    except (SelectorError, ValueError):
        return False
    return requirement.op == "exists" and requirement.key == key
