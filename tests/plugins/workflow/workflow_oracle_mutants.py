"""Interpreters that break one rule each; random workflows must tell every one of them from the runtime."""

from __future__ import annotations

from typing import Any

from workflow_oracle import Failed, Frame, Interpreter

__all__ = ["MUTANTS"]


class NextIsIgnored(Interpreter):
    def next_of(self, step: Any) -> str:
        return ""


class AllCasesWhereTheFirstIsMeant(Interpreter):
    def first_case(self, cases: Any, default: Any, frame: Frame, input: Any) -> Any:
        if all("steps" in case for case in cases):
            return self.all_cases({"id": "x"}, cases, None, frame, input)
        return super().first_case(cases, default, frame, input)


class FirstCaseWhereAllAreMeant(Interpreter):
    def all_cases(self, step: Any, cases: Any, default: Any, frame: Frame, input: Any) -> Any:
        return self.first_case(cases, default, frame, input)


class DefaultIsIgnored(Interpreter):
    def first_case(self, cases: Any, default: Any, frame: Frame, input: Any) -> Any:
        return super().first_case(cases, None, frame, input)


class StepsOfACaseAreOutOfSight(Interpreter):
    def case_block(self, steps: Any, frame: Frame, input: Any) -> Any:
        inner = Frame(frame, frame.lane)
        output = self.block(steps, inner, input)
        frame.data.update(inner.data)
        return output


class ForeachBackwards(Interpreter):
    def items_of(self, given: Any, frame: Frame, input: Any) -> list[Any]:
        return super().items_of(given, frame, input)[::-1]


class OnePassTooMany(Interpreter):
    def bound_of(self, given: Any) -> int:
        return super().bound_of(given) + 1


class PassesForgetTheOneBefore(Interpreter):
    def begin_pass(self, inner: Frame, number: int) -> None:
        super().begin_pass(inner, number)
        inner.steps, inner.data = {}, {}


class ConditionsSeeOnlyWhatIsAroundTheLoop(Interpreter):
    def tested_in(self, inner: Frame) -> Frame:
        assert inner.parent is not None
        return inner.parent


class OneTryTooMany(Interpreter):
    def retried(self, step: Any, failure: Failed, attempts: int) -> bool:
        return super().retried(step, failure, attempts - 1)


class EveryReasonIsTriedAgain(Interpreter):
    def retried(self, step: Any, failure: Failed, attempts: int) -> bool:
        policy = step.get("retry", {})
        return bool(attempts < policy.get("maxAttempts", 1))


class AFailIsTriedAgain(Interpreter):
    def retried(self, step: Any, failure: Failed, attempts: int) -> bool:
        failure.final = False
        return super().retried(step, failure, attempts)


class EachTryIsAStep(Interpreter):
    def retried(self, step: Any, failure: Failed, attempts: int) -> bool:
        again = super().retried(step, failure, attempts)
        self.steps += again
        return again


class TheErrorIsOfTheStepAround(Interpreter):
    def _handle(self, step: Any, frame: Frame, input: Any, failure: Failed) -> Any:
        failure.step = step["id"]
        return super()._handle(step, frame, input, failure)


class HandlersGetTheWorkflowsInput(Interpreter):
    def _handle(self, step: Any, frame: Frame, input: Any, failure: Failed) -> Any:
        return super()._handle(step, frame, self.input, failure)


class OneStepMore(Interpreter):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.max_steps += 1


class NothingIsPublished(Interpreter):
    def publish(self, frame: Frame, name: str, value: Any) -> None:
        pass


class WhatStandsInIsNotPublished(Interpreter):
    def publish_fallback(self, step: Any, frame: Frame, output: Any) -> None:
        pass


class DataMergedBackwards(Interpreter):
    def merge(self, frame: Frame, bodies: Any) -> None:
        super().merge(frame, bodies[::-1])


class DataOfBodiesIsLost(Interpreter):
    def merge(self, frame: Frame, bodies: Any) -> None:
        pass


class WhatFailedPublishesToo(Interpreter):
    def _all_or_first_failure(self, ends: Any, frame: Frame) -> list[Any]:
        self.merge(frame, [inner for _, inner in ends])
        return super()._all_or_first_failure(ends, frame)


class TheLastFailureCounts(Interpreter):
    def _all_or_first_failure(self, ends: Any, frame: Frame) -> list[Any]:
        failures = [end for end, _ in ends if isinstance(end, Failed)]
        if failures:
            raise failures[-1]
        return super()._all_or_first_failure(ends, frame)


MUTANTS: tuple[type[Interpreter], ...] = tuple(Interpreter.__subclasses__())
