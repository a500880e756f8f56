"""What a workflow is when it is ready to run: all that does not change between its runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from kastra_core.api.meta import JsonValue, Resource
from kastra_plugin_workflow.expressions import CompiledTemplate, Expression
from kastra_plugin_workflow.spec import RetrySpec, StepSpec, WorkflowSpec
from kastra_plugin_workflow.steps_frame import Frame

__all__ = [
    "NEVER_RETRIED",
    "OVER",
    "Block",
    "Body",
    "InputOf",
    "Plan",
    "PlannedBranch",
    "PlannedCase",
    "PlannedFailure",
    "PlannedForeach",
    "PlannedLoop",
    "PlannedOutput",
    "PlannedParallel",
    "PlannedRetry",
    "PlannedSleep",
    "PlannedStep",
]

OVER = -1
"""In place of a step's index: the block is over."""
NEVER_RETRIED = frozenset(
    {
        "InvalidInput",
        "InvalidArguments",
        "InvalidOutput",
        "ExpressionFailed",
        "NotFound",
        "NotAllowed",
        "UnknownOperation",
        "ContentFilter",
        "OutcomeUnknown",
        "OutputInvalid",
        "NoSharedState",
    }
)
"""Reasons that a further try cannot change."""

Body = Callable[..., Any]
"""(ctx, frame, step, input) -> the result, or an awaitable of it where ``PlannedStep.waits``."""
InputOf = Callable[[Frame, JsonValue], JsonValue]
"""(frame, output of the step before) -> the step's input."""


@attrs.define(eq=False)
class PlannedRetry:
    """When a failed try is followed by another."""

    spec: RetrySpec
    on: re.Pattern[str] | None
    except_: re.Pattern[str] | None

    def takes(self, reason: str) -> bool:
        if reason in NEVER_RETRIED or (self.on is not None and self.on.fullmatch(reason) is None):
            return False
        return self.except_ is None or self.except_.fullmatch(reason) is None


@attrs.define(eq=False)
class PlannedOutput:
    """What becomes of a body's result."""

    value: CompiledTemplate | None
    type: str = ""
    schema: Mapping[str, Any] | None = None
    reads_state: bool = False
    """``value`` reads the shared state, which is to be read anew for it."""


@attrs.define(eq=False)
class PlannedFailure:
    """What is done when a step failed for good."""

    next: int
    block: Block | None
    output: CompiledTemplate | None
    reads_state: bool
    """``output`` reads the shared state."""


@attrs.define(eq=False)
class PlannedCase:
    """A case of a branch; without ``when`` its default."""

    name: str
    when: Expression | None
    next: int | None
    block: Block | None


@attrs.define(eq=False)
class PlannedBranch:
    first: bool
    cases: tuple[PlannedCase, ...]
    default: PlannedCase | None


@attrs.define(eq=False)
class PlannedParallel:
    branches: tuple[tuple[str, Block], ...]
    cancel: bool
    concurrency: int | None


@attrs.define(eq=False)
class PlannedForeach:
    items: CompiledTemplate
    block: Block
    item: str
    index: str
    concurrency: int
    skip: bool


@attrs.define(eq=False)
class PlannedLoop:
    block: Block
    while_: Expression | None
    until: Expression | None
    most: int
    fails: bool
    reads_state: bool
    """``while`` or ``until`` reads the shared state."""


@attrs.define(eq=False)
class PlannedSleep:
    duration: CompiledTemplate | None
    until: CompiledTemplate | None


@attrs.define(eq=False)
class PlannedStep:
    """A step: everything that does not change between its runs."""

    id: str
    index: int
    spec: StepSpec
    body: str
    """Name of its body, as the manifest writes it."""
    run: Body
    """Carries out a try, within ``timeout`` where it has one."""
    untimed: Body
    """Carries out a try, however long it takes."""
    waits: bool
    """``run`` gives an awaitable."""
    nested: bool
    """The body holds blocks."""
    work: Any
    """What the body needs: a name, a reference, a template, an object of one of the classes above."""
    input: InputOf | None
    """None: the output of the step before."""
    uses_input: bool
    """An expression of the step reads ``input``."""
    reads_state: bool
    """An expression of its input or its body reads the shared state."""
    output: PlannedOutput | None
    next: int
    timeout_s: float | None
    retry: PlannedRetry | None
    on_failure: PlannedFailure | None


@attrs.define(eq=False)
class Block:
    """Steps that follow each other."""

    steps: tuple[PlannedStep, ...]
    start: int
    named_start: bool
    """``spec.initialStep`` says where it starts."""
    revisits: bool
    """A step can be reached twice."""
    uses_steps: bool
    """An expression of it, or of a block in it, reads ``steps``."""
    uses_data: bool


@attrs.define(eq=False)
class Plan:
    """A workflow ready to run."""

    target: Resource
    spec: WorkflowSpec
    block: Block
    on_failure: Block | None
    output: CompiledTemplate | None
    reads_state: bool
    """``output`` reads the shared state."""
