"""Rules of an Agent beyond its structure, and what it refers to."""

from __future__ import annotations

import re
from collections.abc import Iterable

from kastra_core.api.kind import MAIN_GROUP
from kastra_core.api.meta import Resource
from kastra_core.api.references import Reference, parse_reference
from kastra_core.errors import InvalidReferenceError, Problem
from kastra_core.serde import typed
from kastra_plugin_agent.memory_rules import memory_problems
from kastra_plugin_agent.memory_spec import WORKING_MEMORY_TOOL
from kastra_plugin_agent.schemas import schema_problems
from kastra_plugin_agent.spec import AgentSpec

__all__ = ["references", "tool_name", "validate"]

_TOOL_NAME = re.compile(r"[^a-zA-Z0-9_-]")
_CALLABLE_KINDS = ("Tool", "Agent", "Workflow", "Network")


def _lookup(spelling: str) -> tuple[str, str] | None:
    """Kinds that an agent can call; a reference is read the same whether or not their plugins are installed."""
    for kind in _CALLABLE_KINDS:
        if spelling.lower() in (kind.lower(), kind.lower() + "s"):
            return (MAIN_GROUP, kind)
    return None


def tool_name(name: str) -> str:
    """What the model sees: the model APIs allow letters, digits, ``_`` and ``-``, at most 64."""
    return _TOOL_NAME.sub("_", name)[:64]


def _parse(resource: Resource, spec: AgentSpec, index: int) -> Reference:
    use = spec.tools.items[index]
    place = f"spec.tools[{index}]" if isinstance(resource.spec.get("tools"), list) else f"spec.tools.{use.name}"
    return parse_reference(
        use.reference, kind="Tool", namespace=resource.metadata.namespace, lookup=_lookup, path=place
    )


def references(resource: Resource) -> Iterable[Reference]:
    """The tools of an agent, in order; what is no reference is left to :func:`validate`."""
    if not resource.spec.get("tools"):
        return ()
    spec = typed(resource.spec, AgentSpec)
    out = []
    for index in range(len(spec.tools.items)):
        try:
            out.append(_parse(resource, spec, index))
        except InvalidReferenceError:
            continue
    return out


def validate(resource: Resource) -> Iterable[Problem]:
    """Problems of a spec that has the right structure."""
    spec = typed(resource.spec, AgentSpec)
    seen: dict[str, int] = {}
    for index, use in enumerate(spec.tools.items):
        place = f"spec.tools[{index}]"
        try:
            _parse(resource, spec, index)
        except InvalidReferenceError as error:
            yield Problem(str(error), place)
        name = tool_name(use.name)
        if name in seen:
            first = f"spec.tools[{seen[name]}]"
            yield Problem(
                f"the model would see two tools named {name!r}", place, hint=f"{first} has it too; rename one"
            )
        seen[name] = index
    works = spec.memory.works is not None
    if works and WORKING_MEMORY_TOOL in seen:
        yield Problem(
            f"the model would see two tools named {WORKING_MEMORY_TOOL!r}",
            f"spec.tools[{seen[WORKING_MEMORY_TOOL]}]",
            hint="spec.memory.workingMemory brings one; rename this one",
        )
    if works:
        seen.setdefault(WORKING_MEMORY_TOOL, -1)
    choice = spec.tool_choice
    if choice not in ("auto", "required", "none") and tool_name(choice) not in seen:
        allowed = ", ".join(("auto", "required", "none", *seen))
        yield Problem(f"expected one of {allowed}, found {choice!r}", "spec.toolChoice")
    scaling = spec.scaling
    if scaling.min_replicas < 0:
        yield Problem(f"expected 0 or more, found {scaling.min_replicas}", "spec.scaling.minReplicas")
    if scaling.max_replicas is not None and scaling.max_replicas < max(1, scaling.min_replicas):
        yield Problem(
            f"expected at least {max(1, scaling.min_replicas)}, found {scaling.max_replicas}",
            "spec.scaling.maxReplicas",
        )
    calls = spec.limits.max_model_calls
    yield from memory_problems(spec.memory, resource.spec.get("memory") or {}, max_model_calls=calls)
    for name, value in (resource.spec.get("limits") or {}).items():
        if value is not None and value < 0:
            yield Problem(f"expected 0 or more, found {value}", f"spec.limits.{name}")
    if spec.output is not None:
        yield from schema_problems(spec.output.schema, "spec.output.schema")
        if spec.output.max_repairs < 0:
            yield Problem(f"expected 0 or more, found {spec.output.max_repairs}", "spec.output.maxRepairs")
