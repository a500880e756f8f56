"""What a Workflow's manifest may say under ``spec``. What each form means stands in the guide to workflows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import attrs

from kastra_core.api.limits import LimitsSpec, ScalingSpec
from kastra_core.api.meta import JsonObject
from kastra_core.durations import Duration
from kastra_core.serde import FieldError, converter, register_schema, structure, structure_object, type_word

__all__ = [
    "BODIES",
    "END",
    "UNSET",
    "Branch",
    "BranchSpec",
    "CaseSpec",
    "Condition",
    "DefaultSpec",
    "FailSpec",
    "ForeachSpec",
    "LoopSpec",
    "OnFailureSpec",
    "ParallelSpec",
    "RetrySpec",
    "ScheduleSpec",
    "SleepSpec",
    "StepSpec",
    "SuspendSpec",
    "Template",
    "WaitForEventSpec",
    "WorkflowSpec",
]

END = "END"
"""``next: END``: the block is over after this step."""


class _Unset:
    """The value of a field that a manifest does not have, where null means something."""

    _one: _Unset | None = None

    def __new__(cls) -> _Unset:
        cls._one = cls._one or super().__new__(cls)
        return cls._one

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "UNSET"


UNSET = _Unset()

Template = Any
"""JSON whose texts may hold ``{{ expression }}``."""
Condition = str
"""A CEL expression that gives a boolean."""
Ref = Any
"""A reference: a text, or an object with name, namespace, ref, refName."""


@attrs.frozen(kw_only=True)
class RetrySpec:
    """When and how often a step that failed is tried again. In a manifest also the number of tries."""

    max_attempts: int = 3
    """Tries in all, the first included."""
    delay: Duration = attrs.field(default=Duration(1.0))
    """Wait before the second try."""
    multiplier: float = 2.0
    """Each further wait is so many times the one before."""
    max_delay: Duration = attrs.field(default=Duration(60.0))
    """No wait is longer."""
    jitter: float = 0.5
    """0 to 1: the part of a wait that is left to chance."""
    on: tuple[str, ...] = ()
    """Reasons that are tried again (``Timeout``, ``Model*``); none: all that can be."""
    except_: tuple[str, ...] = attrs.field(default=(), alias="except_")
    """Reasons that are not tried again."""


@attrs.frozen(kw_only=True)
class CaseSpec:
    """A case of a branch: ``next`` or ``steps``."""

    when: Condition = ""
    """True: the case is taken."""
    name: str = ""
    """Key of its output in mode all, and what histories call it; default: its index."""
    next: str = ""
    """Id of a step of the same block, or END."""
    steps: tuple[StepSpec, ...] = ()


@attrs.frozen(kw_only=True)
class DefaultSpec:
    """What a branch does when no case is true. In a manifest also the id of a step."""

    next: str = ""
    """Id of a step of the same block, or END."""
    steps: tuple[StepSpec, ...] = ()


@attrs.frozen(kw_only=True)
class BranchSpec:
    """Goes on with the first case that is true, or with all of them. In a manifest also the list of cases."""

    cases: tuple[CaseSpec, ...]
    mode: Literal["first", "all"] = "first"
    """first: the first case that is true. all: each that is true, at once."""
    default: DefaultSpec | None = None


@attrs.frozen(kw_only=True)
class Branch:
    """A branch of ``parallel``: a name and a block. In a manifest also a single step, whose id is the name."""

    name: str
    """Key of its output."""
    steps: tuple[StepSpec, ...]


@attrs.frozen(kw_only=True)
class ParallelSpec:
    """Carries out branches at once. In a manifest also the list of branches."""

    branches: tuple[Branch, ...]
    on_failure: Literal["wait", "cancel"] = "wait"
    """wait: the others end first. cancel: they are ended."""
    concurrency: int | None = None
    """Branches at once; none: all."""


@attrs.frozen(kw_only=True)
class ForeachSpec:
    """Carries out a block for each item of a list."""

    items: Template
    """A list, or a template that gives one."""
    steps: tuple[StepSpec, ...]
    as_: str = attrs.field(default="item", alias="as_")
    """Name of the item in expressions."""
    concurrency: int = 1
    """Items at once."""
    on_error: Literal["stop", "skip"] = "stop"
    """stop: the first failed item ends the step. skip: it is left out of the result."""


@attrs.frozen(kw_only=True)
class LoopSpec:
    """Carries out a block again and again: ``while`` is tested before each pass, ``until`` after it."""

    steps: tuple[StepSpec, ...]
    while_: Condition = attrs.field(default="", alias="while_")
    """Goes on while it is true."""
    until: Condition = ""
    """Goes on until it is true."""
    max_iterations: int = 100
    """Passes at most."""
    on_limit: Literal["fail", "stop"] = "fail"
    """What the bound means: fail (reason LoopLimit), or stop as if the condition had ended it."""


@attrs.frozen(kw_only=True)
class SleepSpec:
    """Waits. In a manifest also the duration alone."""

    duration: Template = UNSET
    """A duration, or a template that gives one."""
    until: Template = UNSET
    """RFC 3339."""


@attrs.frozen(kw_only=True)
class WaitForEventSpec:
    """Waits for a signal of this name; its payload must fit ``schema``. In a manifest also the name alone."""

    name: str
    """Name of the signal."""
    timeout: Duration | None = None
    """Reason Timeout afterwards; none: it waits for ever."""
    schema: Mapping[str, Any] | None = None
    """JSON schema of the payload."""


@attrs.frozen(kw_only=True)
class SuspendSpec:
    """Waits for a person's answer (``kastra run resume``), which must fit ``schema``."""

    message: Template = ""
    """What to show to whom is asked."""
    schema: Mapping[str, Any] | None = None
    """JSON schema of the answer."""
    timeout: Duration | None = None
    """Reason Timeout afterwards; none: it waits for ever."""


@attrs.frozen(kw_only=True)
class FailSpec:
    """Fails. In a manifest also the message alone."""

    message: Template = ""
    """Why, for people."""
    reason: str = "Failed"
    """CamelCase, one word."""


@attrs.frozen(kw_only=True)
class OnFailureSpec:
    """What happens when a step failed for good. In a manifest also the id of the step to go on with."""

    next: str = ""
    """Id of the step to go on with; default: the step's own ``next``."""
    output: Template = UNSET
    """Output of the step in place of the one that it could not give."""
    steps: tuple[StepSpec, ...] = ()


_CONDITION = "a condition is a step with `branch`: [{when: ..., next: ID}]"
_ORDER = "steps run in the order of the list; `next` leads elsewhere, `parallel` runs them at once"


@attrs.frozen(kw_only=True)
class StepSpec:
    """A step: an id, exactly one body, and how its input, output, end and failure are treated."""

    field_hints: ClassVar[Mapping[str, str]] = {
        "if": _CONDITION,
        "when": _CONDITION,
        "condition": _CONDITION,
        "needs": _ORDER,
        "dependsOn": _ORDER,
        "after": _ORDER,
        "with": "what a step gets is its `input`; the arguments of a tool may be called `arguments`",
        "run": "a step has a body: agent, tool, workflow, operation, set ...",
        "uses": "a step has a body: agent, tool, workflow, operation, set ...",
        "type": "the body says what a step is: agent, tool, workflow, operation, set ...",
        "retries": "write `retry: {maxAttempts: 3}`",
        "continueOnError": "`onFailure: {}` goes on after a failure",
        "onError": "`onFailure` names the step to go on with; `onError` is a field of `foreach`",
        "catch": "`onFailure` names the step to go on with, or has `steps`",
    }

    id: str
    """Unique in the whole workflow: a letter, then letters, digits, ``_`` and ``-``."""
    name: str = ""
    """For people."""
    description: str = ""
    """For people; what an agent is asked when the step has no input."""

    agent: Ref = None
    """Body: an agent, by reference; its answer is the result."""
    tool: Ref = None
    """Body: a tool, by reference."""
    workflow: Ref = None
    """Body: another workflow, by reference."""
    network: Ref = None
    """Body: a network, by reference."""
    operation: str = ""
    """Body: a durable operation that a plugin offers (``model.embed``); the input is its arguments."""
    set: Template = UNSET
    """Body: a template whose value is the result."""
    branch: BranchSpec | None = None
    parallel: ParallelSpec | None = None
    foreach: ForeachSpec | None = None
    loop: LoopSpec | None = None
    sleep: SleepSpec | None = None
    wait_for_event: WaitForEventSpec | None = None
    suspend: SuspendSpec | None = None
    succeed: Template = UNSET
    """Body: ends the workflow as success with this output (a template)."""
    fail: FailSpec | None = None

    input: Template = UNSET
    """A template, ``{type: user-input}`` or ``{from: NAME}``; default: the output of the step before."""
    arguments: Template = UNSET
    """Of tool and operation: a template, whatever its keys are."""
    output: Template = UNSET
    """``{type: NAME}`` publishes the output, a template reshapes ``result``."""
    next: str = ""
    """Id of a step of the same block, or END; default: the following step."""
    timeout: Duration | None = None
    """Of each try."""
    retry: RetrySpec | None = None
    on_failure: OnFailureSpec | None = None

    @property
    def bodies(self) -> tuple[str, ...]:
        """Names of the bodies that it has, as the manifest writes them; just one, when it is valid."""
        out = []
        for name, field in BODIES.items():
            value = getattr(self, name)
            if value is not UNSET and (value or name in _MAY_BE_NULL or isinstance(value, (dict, list))):
                out.append(field)
        return tuple(out)

    @property
    def body(self) -> str:
        """Name of its body; "" when it has none."""
        return next(iter(self.bodies), "")


BODIES: Mapping[str, str] = {
    "agent": "agent",
    "tool": "tool",
    "workflow": "workflow",
    "network": "network",
    "operation": "operation",
    "set": "set",
    "branch": "branch",
    "parallel": "parallel",
    "foreach": "foreach",
    "loop": "loop",
    "sleep": "sleep",
    "wait_for_event": "waitForEvent",
    "suspend": "suspend",
    "succeed": "succeed",
    "fail": "fail",
}
"""Attribute of StepSpec -> field of a manifest."""
_MAY_BE_NULL = ("set", "succeed")


@attrs.frozen(kw_only=True)
class ScheduleSpec:
    """Starts runs by the clock."""

    cron: str
    """Five fields: minute, hour, day of month, month, day of week."""
    time_zone: str = "UTC"
    """IANA name: ``Europe/Berlin``."""
    input: Any = None
    """Input of the runs."""
    concurrency_policy: Literal["Allow", "Forbid", "Replace"] = "Allow"
    """What to do when the run before is not over."""
    missed_run_policy: Literal["Latest", "All", "Skip"] = "Latest"
    """What to start of what fell in a time when no process was there."""
    starting_deadline: Duration | None = None
    """A run that could not be started for so long is missed for good."""
    suspend: bool = False
    """Start nothing until it is false again."""


@attrs.frozen(kw_only=True)
class WorkflowSpec:
    """Spec of kind Workflow."""

    steps: tuple[StepSpec, ...]
    name: str = ""
    """For people."""
    description: str = ""
    """What it is good for, for people, routers and agents that call it as a tool."""
    initial_step: str = ""
    """Id of the step to begin with; default: the first one."""
    input_schema: Mapping[str, Any] | None = None
    """JSON schema of the input."""
    output_schema: Mapping[str, Any] | None = None
    """JSON schema of the output."""
    output: Template = UNSET
    """The workflow's output; default: that of the step that was carried out last."""
    on_failure: tuple[StepSpec, ...] = ()
    """A block that runs when the workflow failed."""
    timeout: Duration | None = None
    """Of the whole, waiting included; afterwards ``onFailure`` runs, as it does not for ``limits.timeoutS``."""
    retry: RetrySpec | None = None
    """Of each step with agent, tool, workflow, network or operation that says nothing itself."""
    limits: LimitsSpec = attrs.field(factory=LimitsSpec)
    scaling: ScalingSpec = attrs.field(factory=ScalingSpec)
    schedule: ScheduleSpec | None = None


# --------------------------------------------------------------------------------------------- short forms


_OF_TYPE = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    list: {"type": "array"},
}


def _short(cls: Any, forms: Mapping[type, str], words: str) -> None:
    """Let a value of one of these types stand for an object with that one field."""

    def read(value: Any, _: Any) -> Any:
        if isinstance(value, Mapping):
            return structure_object(value, cls)
        for kind, field in forms.items():
            if isinstance(value, kind) and not isinstance(value, bool):
                return structure_object({field: value}, cls)
        raise FieldError(f"expected {words}, found {type_word(value)}")

    def schema(own: JsonObject, schema_of: Callable[[Any], JsonObject]) -> JsonObject:
        return {"anyOf": [*({**own["properties"][field], **_OF_TYPE[kind]} for kind, field in forms.items()), own]}

    converter().register_structure_hook(cls, read)
    register_schema(cls, schema)


def _read_branch(value: Any, _: Any) -> Branch:
    if isinstance(value, Mapping) and "steps" not in value and "id" in value:
        step = structure(value, StepSpec)
        return Branch(name=step.id, steps=(step,))
    return structure_object(value, Branch)


for _class in (CaseSpec, DefaultSpec, Branch, BranchSpec, ForeachSpec, LoopSpec, OnFailureSpec, StepSpec):
    attrs.resolve_types(_class)
converter().register_structure_hook(Branch, _read_branch)
register_schema(Branch, lambda own, schema_of: {"anyOf": [own, schema_of(StepSpec)]})
_short(RetrySpec, {int: "maxAttempts"}, "the number of tries or an object")
_short(BranchSpec, {list: "cases"}, "a list of cases or an object with cases")
_short(DefaultSpec, {str: "next"}, "the id of a step, or an object with next or steps")
_short(ParallelSpec, {list: "branches"}, "a list of branches or an object with branches")
_short(
    SleepSpec, {str: "duration", int: "duration", float: "duration"}, "a duration or an object with duration or until"
)
_short(WaitForEventSpec, {str: "name"}, "the name of an event, or an object with name")
_short(FailSpec, {str: "message"}, "a message, or an object with reason and message")
_short(OnFailureSpec, {str: "next"}, "the id of a step, or an object with next, output or steps")
