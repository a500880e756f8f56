"""A workflow made ready to run: expressions compiled, names turned to places. Made once per pinned workflow."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from kastra_core.api.meta import JsonValue, Resource
from kastra_core.api.references import Reference
from kastra_core.errors import KastraError, RunFailedError
from kastra_core.serde import problems_of, typed
from kastra_plugin_workflow.expressions import CompiledTemplate, Expression, compile_expression, compile_template
from kastra_plugin_workflow.outline import outline_of
from kastra_plugin_workflow.rules import REFERRING, reference_of
from kastra_plugin_workflow.spec import END, UNSET, RetrySpec, StepSpec, Template, WorkflowSpec
from kastra_plugin_workflow.steps_frame import BodyFailed, Frame
from kastra_plugin_workflow.steps_plan import (
    OVER,
    Block,
    Body,
    InputOf,
    Plan,
    PlannedBranch,
    PlannedCase,
    PlannedFailure,
    PlannedForeach,
    PlannedLoop,
    PlannedOutput,
    PlannedParallel,
    PlannedRetry,
    PlannedSleep,
    PlannedStep,
)
from kastra_plugin_workflow.values import USER_INPUT, input_form, output_form

__all__ = ["compile_plan"]

_WITH_RETRY = (*REFERRING, "operation")
_NESTED = ("branch", "parallel", "foreach", "loop")
_WAITING_NOT = ("set", "succeed", "fail")


def compile_plan(target: Resource, bodies: Mapping[str, Body], timed: Body) -> Plan:
    """Return the plan of a pinned workflow.

    Args:
        bodies: name of a body -> what carries it out.
        timed: carries out a body with a deadline; calls ``bodies`` for it.
    Raises:
        RunFailedError: reason InvalidSpec, for a spec that today's rules would not have let in.
    """
    try:
        return _Compiler(target, typed(target.spec, WorkflowSpec), bodies, timed).plan()
    except _Wrong as error:
        raise RunFailedError(str(error), reason="InvalidSpec") from error
    except KastraError as error:
        raise RunFailedError(f"{target.key}: {error}", reason="InvalidSpec") from error
    except RecursionError as error:
        raise RunFailedError(f"{target.key}: its blocks are nested too deeply", reason="InvalidSpec") from error
    except Exception as error:
        problems = problems_of(error, "spec")
        raise RunFailedError(f"{target.key}: {'; '.join(map(str, problems))}", reason="InvalidSpec") from error


class _Wrong(Exception):
    pass


class _Compiler:
    def __init__(self, target: Resource, spec: WorkflowSpec, bodies: Mapping[str, Body], timed: Body) -> None:
        self.target, self.spec, self.bodies, self.timed = target, spec, bodies, timed
        forms = (output_form(site.step.output) for site in outline_of(target.spec, spec).sites)
        self.published = {form["type"] for form in forms if form is not None and form.get("type")}
        self.roots: set[str] = set()
        """Names that the expressions compiled so far read; see :meth:`_block`."""
        self.state_hidden = False
        """A foreach around has ``as: state``, from before there was a shared one."""

    def plan(self) -> Plan:
        spec = self.spec
        names = frozenset({"workflow", "steps", "data", "state"})
        block = self._block(spec.steps, names, "spec.steps", spec.initial_step)
        handler = None
        if spec.on_failure:
            handler = self._block(spec.on_failure, names | {"error"}, "spec.onFailure")
        output = self._template(spec.output, names, "spec.output")
        return Plan(self.target, spec, block, handler, output, self._state_is_read())

    # ------------------------------------------------------------------------------------ expressions

    def _template(self, value: Template, names: Collection[str], place: str) -> CompiledTemplate | None:
        if value is UNSET:
            return None
        return self._given_template(value, names, place)

    def _given_template(self, value: Template, names: Collection[str], place: str) -> CompiledTemplate:
        try:
            template = compile_template(value, names)
        except KastraError as error:
            raise _Wrong(f"{self.target.key}: {place}: {error}") from error
        for expression in template.expressions:
            self.roots |= expression.roots
        return template

    def _state_is_read(self) -> bool:
        """Whether an expression compiled since it was asked last reads the shared state."""
        found = "state" in self.roots and not self.state_hidden
        self.roots.discard("state")
        return found

    def _condition(self, source: str, names: Collection[str], place: str) -> Expression | None:
        if not source.strip():
            return None
        try:
            expression = compile_expression(source, names)
        except KastraError as error:
            raise _Wrong(f"{self.target.key}: {place}: {error}") from error
        self.roots |= expression.roots
        return expression

    # ------------------------------------------------------------------------------------ blocks

    def _block(self, specs: Iterable[StepSpec], names: frozenset[str], place: str, start: str = "") -> Block:
        specs = tuple(specs)
        around, self.roots = self.roots, set()
        at = {spec.id: index for index, spec in enumerate(specs)}
        steps = tuple(self._step(spec, index, at, names, f"{place}[{index}]") for index, spec in enumerate(specs))
        if start and start not in at:
            raise _Wrong(f"{self.target.key}: spec.initialStep names {start!r}, which is no step of the workflow")
        found = Block(
            steps=steps,
            start=(at[start] if start else 0) if steps else OVER,
            named_start=bool(start),
            revisits=any(target <= step.index for step in steps for target in _targets(step) if target != OVER),
            uses_steps="steps" in self.roots,
            uses_data="data" in self.roots,
        )
        self.roots |= around
        return found

    def _optional_block(self, specs: tuple[StepSpec, ...], names: frozenset[str], place: str) -> Block | None:
        return self._block(specs, names, place) if specs else None

    def _goal(self, name: str, at: Mapping[str, int], place: str) -> int:
        if name == END:
            return OVER
        if name not in at:
            raise _Wrong(f"{self.target.key}: {place} names {name!r}, which is no step of its block")
        return at[name]

    def _step(
        self, spec: StepSpec, index: int, at: Mapping[str, int], names: frozenset[str], place: str
    ) -> PlannedStep:
        body = spec.body
        if body not in self.bodies:
            raise _Wrong(f"{self.target.key}: {place} has no body")
        following = index + 1 if index + 1 < len(at) else OVER
        goes_on = self._goal(spec.next, at, f"{place}.next") if spec.next else following
        input_of = self._input(spec, body, names, place)
        reads_state = self._state_is_read()
        around, self.roots = self.roots, set()
        own = names | {"input"}
        work = self._work(spec, body, at, own, names, place)
        reads_state |= self._state_is_read()
        output = self._output(spec.output, own | {"result"}, f"{place}.output")
        waits = body not in _WAITING_NOT
        if output is not None:
            # A body that takes no time leaves the state as it was read for it.
            output.reads_state = self._state_is_read() and (waits or not reads_state)
        failure = self._failure(spec, goes_on, at, names, place)
        uses_input = "input" in self.roots
        self.roots = (self.roots - {"input"}) | around
        retry = spec.retry or (self.spec.retry if body in _WITH_RETRY else None)
        return PlannedStep(
            id=spec.id,
            index=index,
            spec=spec,
            body=body,
            run=self.timed if spec.timeout is not None and waits else self.bodies[body],
            untimed=self.bodies[body],
            waits=waits,
            nested=body in _NESTED,
            work=work,
            input=input_of,
            uses_input=uses_input,
            reads_state=reads_state,
            output=output,
            next=goes_on,
            timeout_s=None if spec.timeout is None else float(spec.timeout),
            retry=_retry(retry) if retry is not None and retry.max_attempts > 1 else None,
            on_failure=failure,
        )

    def _failure(
        self, spec: StepSpec, goes_on: int, at: Mapping[str, int], names: frozenset[str], place: str
    ) -> PlannedFailure | None:
        failure = spec.on_failure
        if failure is None:
            return None
        place, names = f"{place}.onFailure", names | {"error"}
        return PlannedFailure(
            next=self._goal(failure.next, at, f"{place}.next") if failure.next else goes_on,
            block=self._optional_block(failure.steps, names, f"{place}.steps"),
            output=self._template(failure.output, names | {"input"}, f"{place}.output"),
            reads_state=self._state_is_read(),
        )

    # ------------------------------------------------------------------------------------ input and output

    def _input(self, spec: StepSpec, body: str, names: frozenset[str], place: str) -> InputOf | None:
        found = self._given_input(spec, names, place)
        if body != "agent":
            return found
        text = spec.description or spec.name or spec.id

        def asked(frame: Frame, before: JsonValue) -> JsonValue:
            value = before if found is None else found(frame, before)
            return text if value is None else value

        return asked

    def _given_input(self, spec: StepSpec, names: frozenset[str], place: str) -> InputOf | None:
        if spec.arguments is not UNSET:
            return _rendering(self._given_template(spec.arguments, names, f"{place}.arguments"))
        if spec.input is UNSET:
            return None
        name = input_form(spec.input, self.published)
        if name is not None:
            return self._data(name) if name else None
        return _rendering(self._given_template(spec.input, names, f"{place}.input"))

    def _data(self, name: str) -> InputOf:
        if name == USER_INPUT:
            return lambda frame, _: frame.scope["workflow"]["input"]
        self.roots.add("data")

        def published(frame: Frame, _: JsonValue) -> JsonValue:
            try:
                return frame.data[name]
            except KeyError:
                known = ", ".join(sorted(frame.data)) or "nothing"
                message = f"no step has published {name!r} so far; published: {known}"
                raise BodyFailed(message, reason="ExpressionFailed") from None

        return published

    def _output(self, value: Template, names: frozenset[str], place: str) -> PlannedOutput | None:
        if value is UNSET:
            return None
        form = output_form(value)
        if form is None:
            return PlannedOutput(self._given_template(value, names, place))
        shape = self._template(form.get("value", UNSET), names, f"{place}.value")
        return PlannedOutput(shape, form.get("type") or "", form.get("schema"))

    # ------------------------------------------------------------------------------------ bodies

    def _work(
        self,
        spec: StepSpec,
        body: str,
        at: Mapping[str, int],
        own: frozenset[str],
        names: frozenset[str],
        place: str,
    ) -> Any:
        if body in ("agent", "workflow", "network", "tool"):
            return self._reference(spec, place)
        if body == "operation":
            return spec.operation
        if body == "set":
            return self._given_template(spec.set, own, f"{place}.set")
        if body == "succeed":
            return self._given_template(spec.succeed, own, f"{place}.succeed")
        if body == "fail":
            assert spec.fail is not None
            return self._given_template(spec.fail.message, own, f"{place}.fail.message")
        if body == "suspend":
            assert spec.suspend is not None
            return self._given_template(spec.suspend.message, own, f"{place}.suspend.message")
        if body == "sleep":
            assert spec.sleep is not None
            return PlannedSleep(
                self._template(spec.sleep.duration, own, f"{place}.sleep.duration"),
                self._template(spec.sleep.until, own, f"{place}.sleep.until"),
            )
        if body == "waitForEvent":
            return None
        if body == "branch":
            return self._branch(spec, at, own, names, f"{place}.branch")
        if body == "parallel":
            assert spec.parallel is not None
            branches = tuple(
                (branch.name, self._block(branch.steps, names, f"{place}.parallel.branches[{index}].steps"))
                for index, branch in enumerate(spec.parallel.branches)
            )
            return PlannedParallel(branches, spec.parallel.on_failure == "cancel", spec.parallel.concurrency)
        if body == "foreach":
            return self._foreach(spec, own, names, f"{place}.foreach")
        return self._loop(spec, own, names, f"{place}.loop")

    def _reference(self, spec: StepSpec, place: str) -> Reference:
        reference = reference_of(spec, self.target.metadata.namespace, place)
        if reference is None:
            raise _Wrong(f"{self.target.key}: {place} names nothing")
        return reference

    def _branch(
        self, spec: StepSpec, at: Mapping[str, int], own: frozenset[str], names: frozenset[str], place: str
    ) -> PlannedBranch:
        branch = spec.branch
        assert branch is not None
        cases = tuple(
            PlannedCase(
                case.name or str(index),
                self._condition(case.when, own, f"{place}.cases[{index}].when"),
                self._goal(case.next, at, f"{place}.cases[{index}].next") if case.next else None,
                self._optional_block(case.steps, names, f"{place}.cases[{index}].steps"),
            )
            for index, case in enumerate(branch.cases)
        )
        default = None
        if branch.default is not None:
            default = PlannedCase(
                "default",
                None,
                self._goal(branch.default.next, at, f"{place}.default") if branch.default.next else None,
                self._optional_block(branch.default.steps, names, f"{place}.default.steps"),
            )
        return PlannedBranch(branch.mode == "first", cases, default)

    def _foreach(self, spec: StepSpec, own: frozenset[str], names: frozenset[str], place: str) -> PlannedForeach:
        foreach = spec.foreach
        assert foreach is not None
        item = foreach.as_
        index = "index" if item == "item" else f"{item}_index"
        items = self._given_template(foreach.items, own, f"{place}.items")
        hidden = self.state_hidden
        self.state_hidden |= item == "state"
        block = self._block(foreach.steps, names | {item, index}, f"{place}.steps")
        self.state_hidden = hidden
        return PlannedForeach(
            items=items,
            block=block,
            item=item,
            index=index,
            concurrency=foreach.concurrency,
            skip=foreach.on_error == "skip",
        )

    def _loop(self, spec: StepSpec, own: frozenset[str], names: frozenset[str], place: str) -> PlannedLoop:
        loop = spec.loop
        assert loop is not None
        tested = own | {"iteration", "output"}
        block = self._block(loop.steps, names | {"iteration"}, f"{place}.steps")
        around, self.roots = self.roots, set()
        while_ = self._condition(loop.while_, tested, f"{place}.while")
        until = self._condition(loop.until, tested, f"{place}.until")
        # They are evaluated in the frame of the passes.
        block.uses_steps |= "steps" in self.roots
        block.uses_data |= "data" in self.roots
        reads_state = self._state_is_read()
        self.roots |= around
        return PlannedLoop(block, while_, until, loop.max_iterations, loop.on_limit == "fail", reads_state)


def _rendering(template: CompiledTemplate) -> InputOf:
    return lambda frame, _: template.render(frame.scope)


def _targets(step: PlannedStep) -> Iterator[int]:
    yield step.next
    if step.on_failure is not None:
        yield step.on_failure.next
    if isinstance(step.work, PlannedBranch):
        for case in (*step.work.cases, *([step.work.default] if step.work.default else [])):
            if case.next is not None:
                yield case.next


def _retry(spec: RetrySpec) -> PlannedRetry:
    return PlannedRetry(spec, _pattern(spec.on), _pattern(spec.except_))


def _pattern(words: Collection[str]) -> re.Pattern[str] | None:
    """What matches any of the reasons, in which only ``*`` is special."""
    if not words:
        return None
    return re.compile("|".join(".*".join(map(re.escape, word.split("*"))) for word in words))
