"""What a block of a running workflow sees, where it stands, and how steps end other than with an output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kastra_core.api.meta import JsonObject, JsonValue
from kastra_core.errors import OperationError
from kastra_plugin_workflow.expressions import ExpressionError

if TYPE_CHECKING:
    from kastra_plugin_workflow.steps_plan import Block, PlannedStep

__all__ = ["FAILED", "BodyFailed", "Frame", "Progress", "StepFailed", "Succeeded"]


class BodyFailed(Exception):
    """A try of a step failed.

    Args:
        message: what went wrong.
        reason: CamelCase word.
        final: no retry may try it again, that of a step around it neither.
    """

    def __init__(self, message: str, *, reason: str, final: bool = False) -> None:
        super().__init__(message)
        self.message, self.reason, self.final = message, reason, final


class StepFailed(Exception):
    """A step failed for good, and with it the block that it is in.

    Args:
        step, path: the innermost step that failed.
        attempts: tries that it had.
        final: see BodyFailed.
    """

    def __init__(
        self, message: str, *, reason: str, step: str = "", path: str = "", attempts: int = 1, final: bool = False
    ) -> None:
        super().__init__(message)
        self.message, self.reason, self.final = message, reason, final
        self.step, self.path, self.attempts = step, path, attempts

    @property
    def entry(self) -> JsonObject:
        """What expressions see as ``error``."""
        return {"step": self.step, "reason": self.reason, "message": self.message, "attempts": self.attempts}

    def __str__(self) -> str:
        return f"step {self.path}: {self.message}" if self.path else self.message


class Succeeded(Exception):
    """A ``succeed`` step ends the workflow."""

    def __init__(self, output: JsonValue) -> None:
        super().__init__()
        self.output = output


FAILED = (OperationError, ExpressionError, BodyFailed, StepFailed)
"""What makes a try fail. All else (a limit, cancellation, a store that does not answer) ends the run."""


class Progress:
    """What all frames of one run share."""

    __slots__ = ("run_id", "steps")

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.steps = 0
        """Steps that started."""


class Frame:
    """A block while it is carried out: what is in sight of it, and its place in the run.

    ``steps`` and ``data`` belong to the block alone, or are those of the block around it where what it does is to be
    seen there. A frame is made by the function that carries the block out, so that one that is begun again from its
    start finds what it found the first time.
    """

    __slots__ = (
        "attempt",
        "counts",
        "data",
        "errors",
        "holder",
        "jump",
        "kind",
        "label",
        "parent",
        "progress",
        "published",
        "scope",
        "steps",
    )

    def __init__(
        self,
        progress: Progress,
        scope: dict[str, Any],
        published: dict[str, JsonValue] | None = None,
        parent: Frame | None = None,
        holder: PlannedStep | None = None,
        label: str = "",
        kind: str = "",
    ) -> None:
        self.progress = progress
        self.scope = scope
        """Name -> value, as expressions see them."""
        self.steps: dict[str, JsonObject] = scope["steps"]
        self.data: dict[str, JsonValue] = scope["data"]
        self.published = published
        """What was published here and is to be seen outside later; None = it is there already."""
        self.parent, self.holder, self.label = parent, holder, label
        self.kind = kind or (holder.body if holder is not None else "")
        """What the block is to its holder: the holder's body, ``default`` (of a branch) or ``onFailure``."""
        self.attempt = 1
        """Which try of its step is under way."""
        self.counts: dict[str, int] | None = None
        """Id -> how often the step was reached before, in a block that can go back."""
        self.jump: int | None = None
        """Index of the step that a branch chose to go on with."""
        self.errors: list[JsonObject] = []
        """Of the items that a foreach left out."""

    @classmethod
    def top(cls, progress: Progress, workflow: Mapping[str, JsonValue]) -> Frame:
        return cls(progress, {"workflow": workflow, "steps": {}, "data": {}})

    def local(self, holder: PlannedStep, label: str, block: Block, names: Mapping[str, Any], kind: str = "") -> Frame:
        """A frame whose steps are out of sight here; what it publishes is in its ``published``."""
        scope = {
            **self.scope,
            **names,
            "steps": dict(self.steps) if block.uses_steps else {},
            "data": dict(self.data) if block.uses_data else {},
        }
        return Frame(self.progress, scope, {}, self, holder, label, kind)

    def shared(self, holder: PlannedStep | None, label: str, names: Mapping[str, Any], kind: str = "") -> Frame:
        """A frame whose steps and data are those of this one."""
        return Frame(self.progress, {**self.scope, **names}, self.published, self, holder, label, kind)

    def copied(self) -> Frame:
        """A frame for a try of this frame's step that may be given up: :meth:`take` its doings when it was not."""
        scope = {**self.scope, "steps": dict(self.steps), "data": dict(self.data)}
        copy = Frame(self.progress, scope, {}, self.parent, self.holder, self.label, self.kind)
        copy.attempt, copy.counts = self.attempt, self.counts
        return copy

    def take(self, copy: Frame) -> None:
        """Do here what was done in a copy."""
        self.steps.update(copy.steps)
        self.jump, self.errors = copy.jump, copy.errors
        self.publish_all(copy.published or {})

    def publish(self, name: str, value: JsonValue) -> None:
        self.data[name] = value
        if self.published is not None:
            self.published[name] = value

    def publish_all(self, values: Mapping[str, JsonValue]) -> None:
        if values:
            self.data.update(values)
            if self.published is not None:
                self.published.update(values)

    def path_of(self, step: PlannedStep) -> str:
        """The step's path as events show it, unique in the run: ``load``, ``fan[a]/load``, ``load#1`` the second time,
        ``fan@2[a]/load`` in the second try of ``fan``."""
        again = self.counts.get(step.id, 0) if self.counts else 0
        path = f"{step.id}#{again}" if again else step.id
        return self.prefix + path

    @property
    def prefix(self) -> str:
        parent = self.parent
        if parent is None:
            return f"{self.label}/" if self.label else ""
        if self.holder is None:
            return f"{parent.prefix}{self.label}/"
        path = parent.path_of(self.holder)
        if self.kind == "onFailure":
            return f"{path}.onFailure/"
        if parent.attempt > 1:
            path = f"{path}@{parent.attempt}"
        return f"{path}[{self.label}]/"
