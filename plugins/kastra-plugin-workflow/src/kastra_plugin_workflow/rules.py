"""What a Workflow refers to, and everything that is wrong with one whose structure is right."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kastra_core.api.kind import MAIN_GROUP
from kastra_core.api.meta import JsonObject, Resource, ResourceKey
from kastra_core.api.references import Reference, parse_reference
from kastra_core.errors import InvalidReferenceError, Problem, shortened
from kastra_core.serde import problems_of, typed
from kastra_plugin_workflow.outline import Outline, outline_of
from kastra_plugin_workflow.spec import ScheduleSpec, StepSpec, WorkflowSpec

__all__ = ["REFERRING", "reference_of", "references", "validate"]

REFERRING = {"agent": "Agent", "tool": "Tool", "workflow": "Workflow", "network": "Network"}
"""Body of a step that refers to a resource -> its kind."""


def reference_of(step: StepSpec, namespace: str, path: str) -> Reference | None:
    """Return what a step's body refers to, None when it refers to nothing.

    Args:
        namespace: that of the workflow.
        path: of the step; the reference gets the path of its field.
    Raises:
        InvalidReferenceError: it is none, or one to another kind than the body's.
    """
    for body, kind in REFERRING.items():
        value = getattr(step, body)
        if value is None or value == "":
            continue
        found = parse_reference(value, kind=kind, namespace=namespace, lookup=_lookup, path=f"{path}.{body}")
        if (found.group, found.kind) != (MAIN_GROUP, kind):
            raise InvalidReferenceError(value, f"it names a {found.kind}, and the body {body!r} takes a {kind}")
        return found
    return None


def references(resource: Resource) -> Iterable[Reference]:
    """What the steps of a workflow refer to, in the order of the file, nested blocks and handlers included.

    What is no reference is left to :func:`validate`.
    """
    return list(_references(resource, outline_of(resource.spec, typed(resource.spec, WorkflowSpec))))


def _references(resource: Resource, outline: Outline) -> Iterator[Reference]:
    for site in outline.sites:
        try:
            found = reference_of(site.step, resource.metadata.namespace, site.path)
        except InvalidReferenceError:
            continue
        if found is not None:
            yield found


def _lookup(spelling: str) -> tuple[str, str] | None:
    """Kinds that a step can name; a reference is read the same whether or not their plugins are installed."""
    for kind in REFERRING.values():
        if spelling.lower() in (kind.lower(), kind.lower() + "s"):
            return (MAIN_GROUP, kind)
    return None


# ------------------------------------------------------------------------------------------------ validation


def validate(resource: Resource) -> Iterable[Problem]:
    """Return everything that is wrong with a Workflow whose structure is right, in the order of the file.

    Whether what it refers to is there is not looked at: it may be applied later.
    """
    # The whole of the checks is needed only here; `references` is asked far more often.
    from kastra_plugin_workflow.flow import flow_problems
    from kastra_plugin_workflow.flow_types import Types
    from kastra_plugin_workflow.self_calls import self_call_problems
    from kastra_plugin_workflow.sight import sight_problems
    from kastra_plugin_workflow.step_rules import id_problems, step_problems
    from kastra_plugin_workflow.type_rules import mismatches
    from kastra_plugin_workflow.uses import uses_of

    try:
        spec = typed(resource.spec, WorkflowSpec)
    except Exception as error:  # whoever asks without a look at the structure before
        return problems_of(error, "spec")
    outline = outline_of(resource.spec, spec)
    namespace = resource.metadata.namespace
    found: list[Problem] = list(_spec(outline.spec))
    found += id_problems(outline)
    for site in outline.sites:
        found += step_problems(site, namespace)
    flow, of_flow = flow_problems(outline)
    found += of_flow
    uses = uses_of(outline)
    found += uses.problems
    found += sight_problems(outline, flow, uses)
    key = ResourceKey(resource.group, resource.kind, namespace, resource.metadata.name)
    found += self_call_problems(outline, flow, key)
    found += mismatches(outline, uses, Types(outline, uses, namespace, {}))
    return _in_order(resource.spec, found)


def _spec(spec: WorkflowSpec) -> Iterator[Problem]:
    from kastra_plugin_workflow.step_rules import retry_problems, schema_problems

    if not spec.steps:
        yield Problem("a workflow needs at least one step", "spec.steps")
    for name, schema in (("inputSchema", spec.input_schema), ("outputSchema", spec.output_schema)):
        if schema is not None:
            yield from schema_problems(schema, f"spec.{name}")
    if spec.timeout is not None and spec.timeout <= 0:
        yield Problem("must be more than 0", "spec.timeout")
    if spec.retry is not None:
        yield from retry_problems(spec.retry, "spec.retry")
    limits = spec.limits
    for field, value in (
        ("maxSteps", limits.max_steps),
        ("maxModelCalls", limits.max_model_calls),
        ("maxToolCalls", limits.max_tool_calls),
        ("maxTokens", limits.max_tokens),
        ("maxCost", limits.max_cost),
        ("timeoutS", limits.timeout_s),
    ):
        if value is not None and not value >= 0:
            yield Problem(f"expected 0 or more, found {shortened(str(value), 40)}", f"spec.limits.{field}")
    scaling = spec.scaling
    if scaling.min_replicas < 0:
        yield Problem(
            f"expected 0 or more, found {shortened(str(scaling.min_replicas), 40)}", "spec.scaling.minReplicas"
        )
    least = max(1, scaling.min_replicas)
    if scaling.max_replicas is not None and scaling.max_replicas < least:
        yield Problem(
            f"expected at least {shortened(str(least), 40)}, found {shortened(str(scaling.max_replicas), 40)}",
            "spec.scaling.maxReplicas",
        )
    if spec.schedule is not None:
        yield from _schedule(spec, spec.schedule)


def _schedule(spec: WorkflowSpec, schedule: ScheduleSpec) -> Iterator[Problem]:
    from kastra_plugin_workflow.schedule import Schedule, ScheduleError
    from kastra_plugin_workflow.signals import faults, schema_fault
    from kastra_plugin_workflow.values import with_defaults

    # Each alone, so that a fault of one does not hide that of the other.
    for cron, zone in ((schedule.cron, "UTC"), ("0 0 * * *", schedule.time_zone)):
        try:
            Schedule(cron, zone)
        except ScheduleError as error:
            hint = _near_zone(schedule.time_zone) if error.path == "timeZone" else ""
            yield Problem(error.message, f"spec.schedule.{error.path}", hint=hint)
    if schedule.starting_deadline is not None and schedule.starting_deadline <= 0:
        yield Problem(
            "must be more than 0", "spec.schedule.startingDeadline", hint="without it none is missed for good"
        )
    if spec.input_schema is not None and schema_fault(spec.input_schema) is None:
        for below, message in faults(spec.input_schema, with_defaults(spec.input_schema, schedule.input)):
            path = "spec.schedule.input" + (below if below.startswith("[") else f".{below}" if below else "")
            yield Problem(f"{message} (spec.inputSchema)", path)


def _near_zone(name: str) -> str:
    from zoneinfo import available_timezones

    from kastra_core.errors import nearest

    if name.isupper() and len(name) < 6:
        return "an abbreviation stands for several zones, or for a part of the year"
    known = sorted(available_timezones())
    near = nearest(name, known) or nearest(name, [zone.rpartition("/")[2] for zone in known])
    zone = next((zone for zone in known if near in (zone, zone.rpartition("/")[2])), None)
    return f"did you mean {zone!r}?" if near and zone else ""


# ------------------------------------------------------------------------------------------------ order


def _in_order(spec: JsonObject, problems: list[Problem]) -> list[Problem]:
    """The problems by the place of their field in the manifest, each once."""
    places: dict[int, dict[str, int]] = {}
    keyed = [(_place(spec, problem.path, places), index, problem) for index, problem in enumerate(problems)]
    keyed.sort(key=lambda entry: entry[:2])
    return list(dict.fromkeys(problem for _, _, problem in keyed))


def _place(spec: JsonObject, path: str, places: dict[int, dict[str, int]]) -> tuple[int, ...]:
    """Index of each part of a path among its siblings; a field that is not there ends it."""
    out: list[int] = []
    value: Any = spec
    rest = path.removeprefix("spec").removeprefix(".")
    while rest:
        if isinstance(value, (list, tuple)):
            digits, bracket, after = rest.removeprefix("[").partition("]")
            if not bracket or not digits.isdecimal() or len(digits) > 9 or int(digits) >= len(value):
                break
            out.append(int(digits))
            value = value[int(digits)]
            rest = after.removeprefix(".")
        elif isinstance(value, Mapping):
            order = places.get(id(value))
            if order is None:
                order = places[id(value)] = {str(key): index for index, key in enumerate(value)}
            # A key may hold dots: the longest that fits is meant.
            keys = [key for key in _prefixes(rest) if key in order]
            if not keys:
                break
            out.append(order[keys[-1]])
            value = value.get(keys[-1])
            rest = rest[len(keys[-1]) :].removeprefix(".")
        else:
            break
    return tuple(out)


def _prefixes(path: str) -> Iterator[str]:
    """The beginnings of a path that a key could be, shortest first."""
    for index, character in enumerate(path):
        if character in ".[" and index:
            yield path[:index]
            if index > 300:
                return
    yield path
