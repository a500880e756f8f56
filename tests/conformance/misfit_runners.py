"""Runners that break one promise each, in their suites.

Not collected by itself: ``test_misfits`` runs it. ``breaks`` says which tests must find what is wrong; with ``exactly``
no other test may fail.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from typing import Any, ClassVar

import attrs
import pytest

from good_parts import GREETING, GreetingRunner
from kastra_core.api.kind import ResourceKind
from kastra_core.api.meta import JsonValue
from kastra_core.errors import OperationError
from kastra_core.protocols.runner import Outcome, RunContext
from test_good_parts import TestRunner as GoodRunner

_COUNTER = itertools.count()

_TAKEN = "test_taken_over_at_any_moment_it_asks_and_ends_the_same"
_BESIDE = "test_runs_at_the_same_time_do_not_mix"
_REPLAY = "test_its_journal_tells_the_run_again"


class _Runner(GoodRunner):
    breaks: ClassVar[frozenset[str]] = frozenset()
    exactly: ClassVar[bool] = True
    runner: ClassVar[Any] = GreetingRunner

    @pytest.fixture
    def kind(self) -> ResourceKind:
        return attrs.evolve(GREETING, runner=self.runner)


class TestNoRunner(_Runner):
    breaks = frozenset({"test_it_is_a_runner"})
    exactly = False
    runner = object


class _WithANumber:
    """Says a number in what it asks."""

    def number(self) -> Any:
        raise NotImplementedError

    async def run(self, ctx: RunContext, target: Any, input: Any) -> JsonValue:
        await ctx.now()
        return await ctx.perform("acme.greet", {"name": f"Ada {self.number()}"})


class _Random(_WithANumber):
    def number(self) -> Any:
        return random.random()


class _Clock(_WithANumber):
    def number(self) -> Any:
        return time.perf_counter()


class _Global(_WithANumber):
    def number(self) -> Any:
        return next(_COUNTER)


class _Own(_WithANumber):
    """Counts its runs in itself: a process that takes one over begins anew, one that runs several does not."""

    def __init__(self) -> None:
        self.runs = 0

    def number(self) -> Any:
        self.runs += 1
        return self.runs


class TestRandomNumber(_Runner):
    breaks = frozenset({_TAKEN, _BESIDE})
    runner = _Random


class TestClock(_Runner):
    breaks = frozenset({_TAKEN, _BESIDE})
    runner = _Clock


class TestMemoryOfTheProcess(_Runner):
    breaks = frozenset({_TAKEN, _BESIDE})
    runner = _Global


class TestMemoryOfTheRunner(_Runner):
    breaks = frozenset({_BESIDE})
    runner = _Own


class _RandomOutput:
    async def run(self, ctx: RunContext, target: Any, input: Any) -> JsonValue:
        await ctx.perform("acme.greet", {"name": "Ada"})
        return random.random()


class TestRandomOutput(_Runner):
    breaks = frozenset({_REPLAY, _TAKEN, _BESIDE})
    runner = _RandomOutput


class _RandomWay:
    async def run(self, ctx: RunContext, target: Any, input: Any) -> JsonValue:
        if next(_COUNTER) % 2:
            await ctx.perform("acme.greet", {"name": "Ada"}, name="odd")
        else:
            await ctx.perform("acme.greet", {"name": "Ada"}, name="even")
        return "done"


class TestAnotherWay(_Runner):
    breaks = frozenset({_REPLAY, _TAKEN})
    exactly = False
    runner = _RandomWay


class _NoJson:
    async def run(self, ctx: RunContext, target: Any, input: Any) -> JsonValue:
        return {"names": {"Ada"}}


class TestOutputThatIsNoJson(_Runner):
    breaks = frozenset({"test_a_run_ends_with_an_output_that_is_json"})
    exactly = False
    runner = _NoJson


class _NoWord:
    async def run(self, ctx: RunContext, target: Any, input: Any) -> Any:
        return Outcome(output=1, reason="all done")


class TestReasonThatIsNoWord(_Runner):
    breaks = frozenset({"test_a_run_ends_with_an_output_that_is_json"})
    runner = _NoWord


class _Untidy:
    async def run(self, ctx: RunContext, target: Any, input: Any) -> JsonValue:
        target.spec["seen"] = True
        if isinstance(input, dict):
            input["seen"] = True
        return "done"


class TestTargetThatItChanges(_Runner):
    breaks = frozenset({"test_target_and_input_are_left_as_they_are"})
    runner = _Untidy


class _Stubborn:
    async def run(self, ctx: RunContext, target: Any, input: Any) -> JsonValue:
        try:
            await ctx.perform("acme.greet", {"name": "Ada"})
        except asyncio.CancelledError:
            return "done all the same"
        return "done"


class TestCancellationThatTheRunnerSwallows(_Runner):
    breaks = frozenset({"test_cancelled_it_ends_as_cancelled"})
    runner = _Stubborn


class _Careless:
    async def run(self, ctx: RunContext, target: Any, input: Any) -> JsonValue:
        try:
            found = await ctx.perform("acme.greet", {"name": "Ada"})
        except OperationError as error:
            return error.details["said"]
        return found["said"]


class TestFailureThatIsABug(_Runner):
    breaks = frozenset(
        {"test_an_operation_that_fails_is_no_bug_of_the_runner", "test_an_odd_input_is_no_bug_of_the_runner"}
    )
    runner = _Careless


class _Trusting:
    async def run(self, ctx: RunContext, target: Any, input: Any) -> JsonValue:
        return await ctx.perform("acme.greet", {"name": input["name"]})


class TestInputThatIsABug(_Runner):
    breaks = frozenset({"test_an_odd_input_is_no_bug_of_the_runner"})
    runner = _Trusting
