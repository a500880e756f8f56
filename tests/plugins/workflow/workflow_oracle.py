"""What a workflow must do, computed in the plainest way: an interpreter of the manifest's JSON that shares no code with
the plugin. No event loop, no journal, no compiled plan; branches that the runtime carries out at once run here one
after another, and where that could change what comes out the outcome says so.
"""

from __future__ import annotations

import contextlib
import fnmatch
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from workflow_oracle_expressions import EvaluationError, condition, render

__all__ = ["Call", "Failed", "Frame", "Interpreter", "OperationFailure", "Outcome", "Result", "World"]

NEVER = frozenset(
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
    }
)
OPERATED = ("agent", "tool", "workflow", "network", "operation")
BODIES = (*OPERATED, "set", "branch", "parallel", "foreach", "loop", "sleep", "succeed", "fail")
OUTPUT_FIELDS = {"type", "schema", "value", "description"}

Json = dict[str, Any]
Program = Callable[["Frame", Any], Any]


@attrs.frozen
class Call:
    """An operation that was carried out."""

    lane: tuple[str, ...]
    """The branches and items around it; the calls of one lane have an order."""
    operation: str
    arguments: str
    """JSON with sorted keys."""


@attrs.frozen(kw_only=True)
class Outcome:
    """How a run ends."""

    phase: str
    reason: str = ""
    output: Any = None
    calls: tuple[Call, ...] = ()
    steps: int = 0
    any_calls: bool = False
    """What ran beside was cancelled: which of these calls were made is left to chance."""
    any_end: bool = False
    """Two things race for the run's end, or for what decides it."""


class OperationFailure(Exception):
    """An operation failed for ``reason``."""

    def __init__(self, reason: str, message: str = "") -> None:
        super().__init__(reason, message)
        self.reason, self.message = reason, message


World = Callable[[str, Json], Any]
"""Carries out an operation: (name, arguments) -> result. Raises OperationFailure."""


class Failed(Exception):
    """A step failed, and with it the block that it is in."""

    def __init__(
        self, reason: str, message: str = "", *, step: str = "", attempts: int = 0, final: bool = False
    ) -> None:
        super().__init__(reason, message)
        self.reason, self.message, self.step, self.attempts = reason, message, step, attempts
        self.final = final
        """It comes from a ``fail``, which no retry tries again."""

    def to_json(self) -> Json:
        return {"step": self.step, "reason": self.reason, "message": self.message, "attempts": self.attempts}


class Ended(Exception):
    """A ``succeed`` ends the workflow."""

    def __init__(self, value: Any) -> None:
        super().__init__(value)
        self.value = value


class LimitReached(Exception):
    """The run may start no further step."""


class Frame:
    """What a body sees: the steps and data of its own, and those of the frames around it."""

    def __init__(self, parent: Frame | None = None, lane: tuple[str, ...] = (), **names: Any) -> None:
        self.parent, self.lane = parent, lane
        self.steps: dict[str, Json] = {}
        self.data: dict[str, Any] = {}
        self.names: dict[str, Any] = names

    def merged(self, field: str) -> dict[str, Any]:
        around = self.parent.merged(field) if self.parent is not None else {}
        return {**around, **getattr(self, field)}

    @contextlib.contextmanager
    def knowing(self, **names: Any) -> Iterator[None]:
        """In the block that follows these names are in sight too."""
        before = self.names
        self.names = {**before, **names}
        try:
            yield
        finally:
            self.names = before


@attrs.define
class Result:
    """What a body gives."""

    value: Any
    goto: str = ""
    """Where a branch goes on."""
    errors: list[Json] | None = None
    """Of the items that a foreach left out."""


class Interpreter:
    """Carries out one workflow. Each rule of the page is a method, so that a test can break just that rule."""

    def __init__(self, manifest: Json, world: World, *, max_steps: int = 10_000) -> None:
        self.spec: Json = manifest["spec"]
        metadata = manifest["metadata"]
        self.identity = {"name": metadata["name"], "namespace": metadata.get("namespace", "default")}
        self.world = world
        self.max_steps = (self.spec.get("limits") or {}).get("maxSteps", max_steps)
        self.steps = 0
        self.input: Any = None
        self.calls: list[Call] = []
        self.beside = 0
        """Concurrent bodies around what is carried out."""
        self.any_calls = False
        self.any_end = False
        self.tainted: set[str] = set()
        self.published = set(_published(self.spec))
        text = json.dumps(self.spec)
        self.cancels = '"succeed"' in text or '"cancel"' in text or '"foreach"' in text

    # ---------------------------------------------------------------------------------------- the whole

    def run(self, input: Any) -> Outcome:
        self.input = input
        top = Frame()
        try:
            output = self._graph(top)
        except Ended as end:
            return self._outcome("Succeeded", output=end.value)
        except LimitReached:
            return self._outcome("Failed", "LimitExceeded")
        except Failed as failure:
            return self._outcome("Failed", failure.reason)
        return self._outcome("Succeeded", output=output)

    def _outcome(self, phase: str, reason: str = "", output: Any = None) -> Outcome:
        return Outcome(
            phase=phase,
            reason=reason,
            output=output,
            calls=tuple(self.calls),
            steps=self.steps,
            any_calls=self.any_calls,
            any_end=self.any_end,
        )

    def _graph(self, top: Frame) -> Any:
        try:
            output = self.block(self.spec["steps"], top, self.input, self.spec.get("initialStep", ""))
            if "output" in self.spec:
                return self._render(self.spec["output"], top)
            return output
        except Failed as failure:
            handler = self.spec.get("onFailure")
            if handler:
                # When the handler fails too, why the graph did is what counts.
                with top.knowing(error=failure.to_json()), contextlib.suppress(Failed):
                    self.block(handler, top, self.input)
            raise

    # ---------------------------------------------------------------------------------------- blocks and steps

    def block(self, steps: Sequence[Json], frame: Frame, input: Any, first: str = "") -> Any:
        order = [step["id"] for step in steps]
        at = order.index(first) if first else 0
        output = input
        while at < len(steps):
            output, goto = self.step(steps[at], frame, output)
            goto = goto or self.next_of(steps[at])
            if goto == "END":
                break
            at = order.index(goto) if goto else at + 1
        return output

    def next_of(self, step: Json) -> str:
        return str(step.get("next", ""))

    def step(self, step: Json, frame: Frame, previous: Any) -> tuple[Any, str]:
        """(output, where the flow goes on when the step's own next does not say it)"""
        if self.steps >= self.max_steps:
            if self.beside and self.cancels:
                self.any_end = True
            self.any_calls = self.any_calls or self.beside > 0
            raise LimitReached
        self.steps += 1
        attempts = 0
        while True:
            attempts += 1
            seen: list[Any] = [previous]
            try:
                result = self._try(step, frame, previous, seen)
            except Failed as failure:
                if self.retried(step, failure, attempts):
                    continue
                failure.step, failure.attempts = failure.step or step["id"], failure.attempts or attempts
                return self._handle(step, frame, seen[0], failure)
            entry: Json = {"output": result.value}
            if result.errors is not None:
                entry["errors"] = result.errors
            frame.steps[step["id"]] = entry
            return result.value, result.goto

    def retried(self, step: Json, failure: Failed, attempts: int) -> bool:
        policy = step.get("retry")
        if policy is None and self.body_of(step) in OPERATED:
            policy = self.spec.get("retry")
        if policy is None or attempts >= policy.get("maxAttempts", 3):
            return False
        if failure.final or failure.reason in NEVER:
            return False
        chosen = policy.get("on") or ["*"]
        refused = policy.get("except") or []
        return _names(chosen, failure.reason) and not _names(refused, failure.reason)

    def _try(self, step: Json, frame: Frame, previous: Any, seen: list[Any]) -> Result:
        seen[0] = self._input(step, frame, previous)
        result = self._body(step, frame, seen[0])
        if "output" in step:
            result.value = self._output(step["output"], frame, seen[0], result.value)
        return result

    def _handle(self, step: Json, frame: Frame, input: Any, failure: Failed) -> tuple[Any, str]:
        handler = step.get("onFailure")
        if handler is None:
            raise failure
        if isinstance(handler, str):
            handler = {"next": handler}
        error = failure.to_json()
        output = None
        with frame.knowing(error=error):
            if handler.get("steps"):
                output = self.block(handler["steps"], frame, input)
            if "output" in handler:
                try:
                    output = self._render(handler["output"], frame, input=input)
                except Failed as worse:
                    worse.step, worse.attempts = step["id"], failure.attempts
                    raise
        self.publish_fallback(step, frame, output)
        frame.steps[step["id"]] = {"output": output, "error": error}
        return output, handler.get("next", "")

    def publish_fallback(self, step: Json, frame: Frame, output: Any) -> None:
        given = step.get("output")
        if isinstance(given, dict) and "type" in given and set(given) <= OUTPUT_FIELDS:
            self.publish(frame, given["type"], output)

    # ---------------------------------------------------------------------------------------- input and output

    def _scope(self, frame: Frame, names: Mapping[str, Any]) -> Json:
        steps = frame.merged("steps")
        return {
            "workflow": {"input": self.input, **self.identity},
            "steps": steps,
            "step": {name: {**entry, "result": entry["output"]} for name, entry in steps.items()},
            "data": frame.merged("data"),
            **frame.merged("names"),
            **names,
        }

    def _render(self, template: Any, frame: Frame, **names: Any) -> Any:
        try:
            return render(template, self._scope(frame, names))
        except EvaluationError as error:
            raise Failed("ExpressionFailed", str(error)) from error

    def _true(self, source: str, frame: Frame, **names: Any) -> bool:
        try:
            return condition(source, self._scope(frame, names))
        except EvaluationError as error:
            raise Failed("ExpressionFailed", str(error)) from error

    def _input(self, step: Json, frame: Frame, previous: Any) -> Any:
        if "arguments" in step:
            return self._render(step["arguments"], frame)
        if "input" not in step:
            return previous
        given = step["input"]
        if isinstance(given, dict) and given and set(given) <= {"type", "from", "description"}:
            source = given.get("from", given.get("type"))
            if source == "user-input":
                return self.input
            if "from" not in given and source not in self.published:
                return previous
            data = frame.merged("data")
            if source not in data:
                raise Failed("ExpressionFailed", f"nothing published {source}")
            return data[source]
        return self._render(given, frame)

    def _output(self, given: Any, frame: Frame, input: Any, result: Any) -> Any:
        if isinstance(given, dict) and set(given) <= OUTPUT_FIELDS and ("type" in given or "schema" in given):
            value = self._render(given["value"], frame, input=input, result=result) if "value" in given else result
            if "type" in given:
                self.publish(frame, given["type"], value)
            return value
        return self._render(given, frame, input=input, result=result)

    def publish(self, frame: Frame, name: str, value: Any) -> None:
        frame.data[name] = value

    # ---------------------------------------------------------------------------------------- bodies

    def body_of(self, step: Json) -> str:
        return next(name for name in BODIES if name in step)

    def _body(self, step: Json, frame: Frame, input: Any) -> Result:
        name = self.body_of(step)
        result = getattr(self, f"do_{name}")(step, step[name], frame, input)
        return result if isinstance(result, Result) else Result(result)

    def do_operation(self, step: Json, name: str, frame: Frame, input: Any) -> Any:
        arguments = {} if input is None else input
        if not isinstance(arguments, dict):
            raise Failed("InvalidArguments", "the arguments must be an object")
        key = str(arguments.get("key", ""))
        self.any_end = self.any_end or key in self.tainted
        self.calls.append(Call(frame.lane, name, json.dumps(arguments, sort_keys=True)))
        try:
            return self.world(name, arguments)
        except OperationFailure as failure:
            raise Failed(failure.reason, failure.message) from failure

    def do_set(self, step: Json, template: Any, frame: Frame, input: Any) -> Any:
        return self._render(template, frame, input=input)

    def do_sleep(self, step: Json, duration: Any, frame: Frame, input: Any) -> Any:
        return input

    def do_succeed(self, step: Json, template: Any, frame: Frame, input: Any) -> Any:
        raise Ended(self._render(template, frame, input=input))

    def do_fail(self, step: Json, given: Any, frame: Frame, input: Any) -> Any:
        if isinstance(given, str):
            given = {"message": given}
        message = self._render(given.get("message", ""), frame, input=input)
        raise Failed(given.get("reason", "Failed"), str(message), final=True)

    def do_branch(self, step: Json, given: Any, frame: Frame, input: Any) -> Any:
        if isinstance(given, list):
            given = {"cases": given}
        cases = given["cases"]
        default = given.get("default")
        if isinstance(default, str):
            default = {"next": default}
        if given.get("mode", "first") == "all":
            return self.all_cases(step, cases, default, frame, input)
        return self.first_case(cases, default, frame, input)

    def first_case(self, cases: Sequence[Json], default: Json | None, frame: Frame, input: Any) -> Any:
        taken = next((case for case in cases if self._true(case["when"], frame, input=input)), default)
        if taken is None:
            return input
        if taken.get("next"):
            return Result(input, goto=taken["next"])
        return self.case_block(taken["steps"], frame, input)

    def case_block(self, steps: Sequence[Json], frame: Frame, input: Any) -> Any:
        """Its steps are in sight after the branch too."""
        return self.block(steps, frame, input)

    def all_cases(self, step: Json, cases: Sequence[Json], default: Json | None, frame: Frame, input: Any) -> Any:
        bodies: list[tuple[str, Sequence[Json]]] = []
        for index, case in enumerate(cases):
            if self._true(case["when"], frame, input=input):
                bodies.append((case.get("name") or str(index), case["steps"]))
        if not bodies:
            if default is None:
                return input
            bodies = [("default", default["steps"])]
        ends = self._bodies(step, frame, [(name, self._bodied(steps, input), {}) for name, steps in bodies])
        return dict(zip([name for name, _ in bodies], self._all_or_first_failure(ends, frame)))

    def do_parallel(self, step: Json, given: Any, frame: Frame, input: Any) -> Any:
        if isinstance(given, list):
            given = {"branches": given}
        bodies: list[tuple[str, Program, Json]] = []
        for branch in given["branches"]:
            steps = branch.get("steps", [branch])
            bodies.append((branch["name"] if "steps" in branch else branch["id"], self._bodied(steps, input), {}))
        cancel = given.get("onFailure", "wait") == "cancel"
        ends = self._bodies(step, frame, bodies, cancel=cancel, concurrency=given.get("concurrency"))
        return dict(zip([name for name, _, _ in bodies], self._all_or_first_failure(ends, frame)))

    def items_of(self, given: Json, frame: Frame, input: Any) -> list[Any]:
        items = self._render(given["items"], frame, input=input)
        if not isinstance(items, list):
            raise Failed("ExpressionFailed", "items must be a list")
        return items

    def do_foreach(self, step: Json, given: Json, frame: Frame, input: Any) -> Any:
        items = self.items_of(given, frame, input)
        name = given.get("as", "item")
        index_name = f"{name}_index" if "as" in given else "index"
        bodies: list[tuple[str, Program, Json]] = [
            (str(index), self._bodied(given["steps"], item), {name: item, index_name: index})
            for index, item in enumerate(items)
        ]
        skip = given.get("onError", "stop") == "skip"
        ends = self._bodies(step, frame, bodies, cancel=not skip, concurrency=given.get("concurrency", 1))
        if not skip:
            return self._all_or_first_failure(ends, frame)
        errors = [
            {"index": index, "reason": end.reason, "message": end.message}
            for index, (end, _) in enumerate(ends)
            if isinstance(end, Failed)
        ]
        good = [(end, inner) for end, inner in ends if not isinstance(end, Failed)]
        self.merge(frame, [inner for _, inner in good])
        return Result([end for end, _ in good], errors=errors)

    def do_loop(self, step: Json, given: Json, frame: Frame, input: Any) -> Any:
        inner = Frame(frame, frame.lane)
        tested = self.tested_in(inner)
        output, passes = input, 0
        most = self.bound_of(given)
        while True:
            if "while" in given and not self._true(
                given["while"], tested, input=input, output=output, iteration=passes
            ):
                break
            if passes >= most:
                if given.get("onLimit", "fail") == "stop":
                    break
                raise Failed("LoopLimit", f"{most} passes")
            self.begin_pass(inner, passes)
            output = self.block(given["steps"], inner, output)
            passes += 1
            if "until" in given and self._true(
                given["until"], tested, input=input, output=output, iteration=passes - 1
            ):
                break
        frame.data.update(inner.data)
        return output

    def tested_in(self, inner: Frame) -> Frame:
        """The conditions of a loop see what its passes left."""
        return inner

    def begin_pass(self, inner: Frame, number: int) -> None:
        """Passes follow each other in one frame."""
        inner.names = {"iteration": number}

    def bound_of(self, given: Json) -> int:
        return int(given.get("maxIterations", 100))

    # ---------------------------------------------------------------------------------------- bodies at once

    def _bodied(self, steps: Sequence[Json], input: Any) -> Program:
        return lambda frame, _: self.block(steps, frame, input)

    def _bodies(
        self,
        step: Json,
        frame: Frame,
        bodies: Sequence[tuple[str, Program, Json]],
        *,
        cancel: bool = False,
        concurrency: int | None = None,
    ) -> list[tuple[Any, Frame]]:
        """Carry out each body in a frame of its own: (its output or failure, its frame), in their order."""
        at_once = len(bodies) > 1 and concurrency != 1
        self.beside += at_once
        began = len(self.calls)
        ends: list[tuple[Any, Frame]] = []
        finals: list[Ended] = []
        failures = 0
        try:
            for name, body, names in self.in_order(bodies):
                inner = Frame(frame, (*frame.lane, f"{step['id']}[{name}]"), **names)
                try:
                    ends.append((body(inner, None), inner))
                except Failed as failure:
                    ends.append((failure, inner))
                    failures += 1
                except Ended as end:
                    if not at_once:
                        raise
                    finals.append(end)
                if cancel and failures and not at_once:
                    break
        finally:
            self.beside -= at_once
        if at_once and (finals or (cancel and failures)):
            self.any_calls = True
            self.tainted.update(json.loads(call.arguments).get("key", "") for call in self.calls[began:])
            self.any_end = self.any_end or len(finals) + failures * cancel > 1
        if finals:
            raise finals[0]
        return ends

    def in_order(self, bodies: Sequence[tuple[str, Program, Json]]) -> Sequence[tuple[str, Program, Json]]:
        return bodies

    def _all_or_first_failure(self, ends: Sequence[tuple[Any, Frame]], frame: Frame) -> list[Any]:
        for end, _ in ends:
            if isinstance(end, Failed):
                raise end
        self.merge(frame, [inner for _, inner in ends])
        return [end for end, _ in ends]

    def merge(self, frame: Frame, bodies: Sequence[Frame]) -> None:
        """What the bodies published is in sight around the step, when all went well."""
        for inner in bodies:
            frame.data.update(inner.data)


def _names(patterns: Sequence[str], reason: str) -> bool:
    return any(fnmatch.fnmatchcase(reason, pattern) for pattern in patterns)


def _published(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _published(item)
    elif isinstance(value, dict):
        output = value.get("output")
        special = isinstance(output, dict) and "type" in output and set(output) <= OUTPUT_FIELDS
        if "id" in value and special:
            yield str(value["output"]["type"])
        for item in value.values():
            yield from _published(item)
