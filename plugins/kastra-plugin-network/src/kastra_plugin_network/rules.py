"""Rules of a Network beyond its structure, and what it refers to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from kastra_core.api.kind import MAIN_GROUP
from kastra_core.api.meta import Resource
from kastra_core.api.references import Reference, parse_reference
from kastra_core.errors import InvalidReferenceError, Problem, nearest
from kastra_core.serde import typed
from kastra_plugin_network.spec import LISTS, LONGEST_EXAMPLE, MOST_EXAMPLES, MemberUse, NetworkSpec, RouterSpec

__all__ = ["ROUTER_TYPES", "member_uses", "reference_of", "references", "uses_of", "validate"]

ROUTER_TYPES = ("model", "embedding", "auto")
"""Router types of this plugin; any other is an operation of another plugin."""

_TYPE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,62}")
_NAME = re.compile(r"[^\s/#\x00-\x1f\x7f](?:[^/#\x00-\x1f\x7f]{0,99})")
"""Of a member: the router repeats it, and it is part of journal paths."""


def _lookup(spelling: str) -> tuple[str, str] | None:
    """Kinds that a network can call; a reference is read the same whether or not their plugins are installed."""
    for kind in LISTS.values():
        if spelling.lower() in (kind.lower(), kind.lower() + "s"):
            return (MAIN_GROUP, kind)
    return None


def member_uses(spec: NetworkSpec) -> Iterator[tuple[str, str, MemberUse]]:
    """(field path, kind that is meant when none is named, member) of all members, in the order of the lists."""
    for name, kind in LISTS.items():
        for index, use in enumerate(getattr(spec, name)):
            yield f"spec.{name}[{index}]", kind, use


def uses_of(resource: Resource) -> Iterator[tuple[MemberUse, Reference]]:
    """Members with what they refer to; what is no reference is left to :func:`validate`."""
    for path, kind, use in member_uses(typed(resource.spec, NetworkSpec)):
        try:
            yield use, reference_of(resource, use, kind, path)
        except InvalidReferenceError:
            continue


def references(resource: Resource) -> Iterable[Reference]:
    """The members of a network, in order."""
    return [reference for _, reference in uses_of(resource)]


def reference_of(resource: Resource, use: MemberUse, kind: str, path: str) -> Reference:
    """What a member refers to. Raises: InvalidReferenceError."""
    return parse_reference(use.reference, kind=kind, namespace=resource.metadata.namespace, lookup=_lookup, path=path)


def validate(resource: Resource) -> Iterable[Problem]:
    """Problems of a spec that has the right structure."""
    spec = typed(resource.spec, NetworkSpec)
    seen: dict[str, str] = {}
    for path, kind, use in member_uses(spec):
        yield from _example_problems(use, path)
        try:
            reference_of(resource, use, kind, path)
        except InvalidReferenceError as error:
            yield Problem(str(error), path)
            continue
        if not _NAME.fullmatch(use.name):
            hint = "give the member a short name of its own, without '/' and '#': {name: ..., ref: ...}"
            yield Problem(f"{use.name[:80]!r} is no name that a router can repeat", path, hint=hint)
        if use.name in seen:
            hint = f"{seen[use.name]} has it too; give one a name of its own: {{name: ..., ref: ...}}"
            yield Problem(f"the router would see two members named {use.name!r}", path, hint=hint)
        seen.setdefault(use.name, path)
    if not seen and not any(True for _ in member_uses(spec)):
        hint = "list members under spec.agents, spec.workflows, spec.tools or spec.networks"
        yield Problem("a network needs at least one member", "spec", hint=hint)
    yield from _router_problems(spec.router, list(seen))
    if spec.state is not None and spec.state.ttl is not None and spec.state.ttl <= 0:
        yield Problem("expected more than 0 seconds", "spec.state.ttl", hint="leave it out for values that stay")
    if spec.memory.max_messages < 1:
        hint = "write memory: {enabled: false} for a network without memory"
        yield Problem(f"expected 1 or more, found {spec.memory.max_messages}", "spec.memory.maxMessages", hint=hint)
    for name, value in (resource.spec.get("limits") or {}).items():
        if value is not None and value < 0:
            yield Problem(f"expected 0 or more, found {value}", f"spec.limits.{name}")
    scaling = spec.scaling
    if scaling.min_replicas < 0:
        yield Problem(f"expected 0 or more, found {scaling.min_replicas}", "spec.scaling.minReplicas")
    if scaling.max_replicas is not None and scaling.max_replicas < max(1, scaling.min_replicas):
        least = max(1, scaling.min_replicas)
        yield Problem(f"expected at least {least}, found {scaling.max_replicas}", "spec.scaling.maxReplicas")


def _example_problems(use: MemberUse, path: str) -> Iterable[Problem]:
    if len(use.examples) > MOST_EXAMPLES:
        hint = "a few that differ do more than many that are alike"
        yield Problem(f"{len(use.examples)} examples, at most {MOST_EXAMPLES}", f"{path}.examples", hint=hint)
    for at, text in enumerate(use.examples):
        if not text.strip():
            yield Problem("expected a text, found an empty one", f"{path}.examples[{at}]")
        elif len(text) > LONGEST_EXAMPLE:
            hint = "an example is a request as people put it"
            told = f"{len(text)} characters, at most {LONGEST_EXAMPLE}"
            yield Problem(told, f"{path}.examples[{at}]", hint=hint)


def _router_problems(router: RouterSpec, names: list[str]) -> Iterable[Problem]:
    if router.type is not None and not _TYPE_NAME.fullmatch(router.type):
        offered = ", ".join(ROUTER_TYPES)
        hint = f"types are {offered}, and words of plugins"
        yield Problem(f"{router.type[:80]!r} is no router type", "spec.router.type", hint=hint)
    if router.max_steps < 1:
        hint = "it is the number of members that one run may call"
        yield Problem(f"expected 1 or more, found {router.max_steps}", "spec.router.maxSteps", hint=hint)
    if router.max_repairs < 0:
        yield Problem(f"expected 0 or more, found {router.max_repairs}", "spec.router.maxRepairs")
    if router.timeout <= 0:
        yield Problem("expected more than 0 seconds", "spec.router.timeout")
    if router.fallback is not None and router.fallback not in names:
        near = nearest(router.fallback, names)
        hint = f"did you mean {near!r}?" if near else f"members are {', '.join(names) or 'none'}"
        yield Problem(f"{router.fallback!r} is no member of the network", "spec.router.fallback", hint=hint)
    if not 0 <= router.margin <= 2:
        hint = "it is a difference of two cosines, 0.01 for example"
        yield Problem(f"expected a number from 0 to 2, found {router.margin:g}", "spec.router.margin", hint=hint)
    if router.embeddings is not None:
        provider, slash, name = router.embeddings.partition("/")
        if not (provider and slash and name):
            hint = "for example local/multilingual-e5-small or openai/text-embedding-3-small"
            yield Problem(f"expected PROVIDER/NAME, found {router.embeddings!r}", "spec.router.embeddings", hint=hint)
