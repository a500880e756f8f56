"""Random workflows on the real runtime against ``workflow_oracle``, an interpreter of its own.

``KASTRA_ORACLE_EXAMPLES=5000`` takes so many programs, others in each run, in place of the few hundred that are the
same in each run.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import functools
import json
import os
import random
import types
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

import kastra_plugin_libsql.hooks
import kastra_plugin_workflow.hooks
from kastra_core import PluginManager, RuntimeManager, hookimpl
from kastra_core.api.meta import JsonObject, ResourceKey
from kastra_core.config import Config
from kastra_core.errors import OperationError, ValidationError
from kastra_core.execution.runs import RunHandle
from kastra_core.memory_store import MemoryStore
from kastra_core.protocols.runner import OperationContext
from kastra_core.protocols.store import Store
from kastra_core.registrations import OperationRegistration
from kastra_core.runtime import open_store, registry_of
from workflow_operations import OPERATIONS, OperationWorld
from workflow_oracle import Interpreter, OperationFailure, Outcome
from workflow_oracle_mutants import MUTANTS
from workflow_programs import Program, program_of, programs

EXAMPLES = int(os.environ.get("KASTRA_ORACLE_EXAMPLES", "0"))
TIMEOUT_S = 30.0
"""A run that takes so long hangs."""


def examples(usual: int, share: float = 1.0) -> settings:
    """Settings for so many examples, or for a share of what the environment asks for."""
    return settings(
        max_examples=max(1, round(EXAMPLES * share)) if EXAMPLES else usual,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )


@attrs.define
class RunWorld:
    """What the operations of one run did; it outlives the runtime, as the real world does."""

    world: OperationWorld = attrs.field(factory=OperationWorld)
    calls: list[tuple[str, str]] = attrs.field(factory=list)
    """(operation, arguments) of each operation that was done, once for each idempotency key."""
    answers: dict[str, Any] = attrs.field(factory=dict)
    ended: set[str] = attrs.field(factory=set)
    """Idempotency keys of the handlers that returned."""
    begun: collections.Counter[str] = attrs.field(factory=collections.Counter)
    """Idempotency key -> how often the handler was called."""


class Lab:
    """Runtimes on one store, whose operations are those of ``OperationWorld``."""

    def __init__(self, project: Path, *, file: bool = False) -> None:
        self.config = Config.load(project, env={})
        self.project = project
        self.url = f"file:{project / 'oracle.db'}" if file else ""
        self.memory = MemoryStore()
        self.worlds: dict[str, RunWorld] = collections.defaultdict(RunWorld)
        self.delays: random.Random | None = None
        """Lets each operation end some turns of the event loop later."""
        self.hang_at = 0
        """The n-th operation from now on does not end; 0: none."""
        self.hang_all = False
        """Those after it neither."""
        self.hang_after_effect = False
        self.hung = asyncio.Event()
        self.numbers = 0
        self.runtime: RuntimeManager | None = None

    def _plugins(self) -> PluginManager:
        module = types.ModuleType("oracle_plugin")

        @hookimpl
        def kastra_operations() -> list[OperationRegistration]:
            return [OperationRegistration(name=name, handler=self._handler(name)) for name in OPERATIONS]

        module.kastra_operations = kastra_operations  # type: ignore[attr-defined]
        named = [("world", module), ("workflow", kastra_plugin_workflow.hooks)]
        return PluginManager(discover=False, extra=[*named, ("libsql", kastra_plugin_libsql.hooks)])

    def _handler(self, name: str) -> Callable[[OperationContext, JsonObject], Awaitable[Any]]:
        async def handle(ctx: OperationContext, arguments: JsonObject) -> Any:
            run, key = self.worlds[ctx.run_id], ctx.idempotency_key
            run.begun[key] += 1
            hangs = self.hang_at == 1
            if not (hangs and self.hang_all):
                self.hang_at = max(0, self.hang_at - 1)
            if hangs and not self.hang_after_effect:
                await self._hang()
            if self.delays is not None:
                for _ in range(self.delays.choice((0, 0, 1, 2, 5, 20))):
                    await asyncio.sleep(0)
            if key not in run.answers:
                run.calls.append((name, json.dumps(arguments, sort_keys=True)))
                try:
                    run.answers[key] = run.world(name, arguments)
                except OperationFailure as failure:
                    run.answers[key] = failure
            if hangs:
                await self._hang()
            answer = run.answers[key]
            run.ended.add(key)
            if isinstance(answer, OperationFailure):
                raise OperationError(answer.message, reason=answer.reason)
            return answer

        return handle

    async def _hang(self) -> None:
        self.hung.set()
        await asyncio.Event().wait()

    async def open(self) -> RuntimeManager:
        if self.runtime is None:
            plugins = self._plugins()
            store: Store = await open_store(self.url, plugins, {}) if self.url else self.memory
            self.runtime = RuntimeManager(
                store=store, config=self.config, plugins=plugins, registry=registry_of(plugins)
            )
            await self.runtime.runs.start()
        return self.runtime

    async def close(self) -> None:
        """Close the runtime as the end of a process does; a store in memory stays for the next one."""
        runtime, self.runtime = self.runtime, None
        if runtime is None:
            return
        if self.url:
            await runtime.aclose()
        else:
            await runtime.runs.aclose()

    async def start(self, program: Program) -> RunHandle:
        runtime = await self.open()
        self.numbers += 1
        name = f"p{self.numbers}"
        await runtime.apply([{**program.manifest, "metadata": {"name": name}}], wait=False)
        # Half of the runs are watched: events must not change what is done.
        listener = (lambda event: None) if self.numbers % 2 else None
        return await runtime.start_run(
            f"workflow/{name}", program.input, name=f"r{self.numbers}", require_ready=False, listener=listener
        )

    async def status(self, key: ResourceKey) -> JsonObject:
        """Wait for the run's end, whoever executes it."""
        runtime = await self.open()
        async with asyncio.timeout(TIMEOUT_S):
            return await runtime.runs.wait(key)

    async def carry_out(self, program: Program) -> tuple[JsonObject, RunWorld]:
        """Run it to its end: its status, and what its operations did."""
        run = await self.start(program)
        async with asyncio.timeout(TIMEOUT_S):
            status = await run.status()
        return status, self.worlds.pop(run.uid, RunWorld())


def expected(program: Program, interpreter: type[Interpreter] = Interpreter) -> Outcome:
    return interpreter(program.manifest, OperationWorld()).run(program.input)


@contextlib.contextmanager
def refused_is_rejected() -> Iterator[None]:
    """A program that validation refuses (a reference to what can never be there) is no example; they are few."""
    try:
        yield
    except ValidationError:
        reject()


def compare(program: Program, outcome: Outcome, status: JsonObject, world: RunWorld) -> None:
    """Raise AssertionError where the run differs from what the oracle says."""
    shown = json.dumps(program.manifest["spec"], indent=1, ensure_ascii=False)
    shown = f"\ninput: {json.dumps(program.input)}\nspec: {shown}\nmessage: {status.get('message')}"
    assert status["phase"] in ("Succeeded", "Failed"), shown
    if outcome.any_end:
        return
    found = (status["phase"], "" if status["phase"] == "Succeeded" else status.get("reason"), status.get("output"))
    assert found == (outcome.phase, outcome.reason, outcome.output), shown
    calls = [(call.operation, call.arguments) for call in outcome.calls]
    if outcome.any_calls:
        if outcome.reason != "LimitExceeded":
            assert not collections.Counter(world.calls) - collections.Counter(calls), shown
        return
    assert collections.Counter(world.calls) == collections.Counter(calls), shown
    assert by_lane(outcome, world.calls) == by_lane(outcome, calls), shown
    assert (status.get("usage") or {}).get("steps", 0) == outcome.steps, shown


def by_lane(outcome: Outcome, calls: list[tuple[str, str]]) -> dict[tuple[str, ...], list[str]]:
    """The calls of each branch and item in their order; the key in the arguments tells to which one a call belongs."""
    lanes = {json.loads(call.arguments).get("key"): call.lane for call in outcome.calls}
    out: dict[tuple[str, ...], list[str]] = collections.defaultdict(list)
    for _, arguments in calls:
        key = json.loads(arguments).get("key")
        if key is not None:
            out[lanes[key]].append(arguments)
    return out


@pytest.fixture
def loop() -> Iterator[asyncio.Runner]:
    """One event loop for all examples of a test."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def lab(loop: asyncio.Runner, tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path)
    yield made
    loop.run(made.close())


# ---------------------------------------------------------------------------------------------- tests


def test_a_run_ends_as_the_oracle_says(loop: asyncio.Runner, lab: Lab) -> None:
    @examples(300)
    @given(programs())
    def check(program: Program) -> None:
        with refused_is_rejected():
            status, world = loop.run(lab.carry_out(program))
        compare(program, expected(program), status, world)

    check()


def test_the_time_that_operations_take_changes_nothing(loop: asyncio.Runner, lab: Lab) -> None:
    @examples(60, 0.2)
    @given(programs(size=24), st.integers(0, 2**32))
    def check(program: Program, seed: int) -> None:
        lab.delays = random.Random(seed)
        with refused_is_rejected():
            status, world = loop.run(lab.carry_out(program))
        compare(program, expected(program), status, world)

    check()


@attrs.frozen
class Interruption:
    """Closes the runtime when the ``at``-th operation is under way, or the last one when there are fewer."""

    at: int
    after_effect: bool
    """The operation has had its effect, but it has not returned."""
    all: bool
    """The operations that begin after it do not return either."""


interruptions = st.builds(Interruption, st.integers(1, 12), st.booleans(), st.booleans())


async def interrupted(lab: Lab, program: Program, interruption: Interruption) -> None:
    """Close the runtime in the middle of an operation and go on in another one."""
    outcome = expected(program)
    lab.hang_at = min(interruption.at, len(outcome.calls))
    lab.hang_after_effect, lab.hang_all = interruption.after_effect, interruption.all
    lab.hung = asyncio.Event()
    run = await lab.start(program)
    ended, hung = asyncio.ensure_future(run.status()), asyncio.ensure_future(lab.hung.wait())
    async with asyncio.timeout(TIMEOUT_S):
        await asyncio.wait([ended, hung], return_when=asyncio.FIRST_COMPLETED)
    for _ in range(50):
        # What runs beside comes to its end, or to its own wait.
        await asyncio.sleep(0)
    lab.hang_at = 0
    finished = set(lab.worlds[run.uid].ended)
    await lab.close()
    for task in (ended, hung):
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    status = await lab.status(run.key)
    world = lab.worlds.pop(run.uid)
    compare(program, outcome, status, world)
    again = [key for key, count in world.begun.items() if count > 1]
    assert not finished.intersection(again), "an operation that had ended was carried out again"
    assert all(world.begun[key] == 2 for key in again)


def interrupt(loop: asyncio.Runner, lab: Lab, program: Program, interruption: Interruption) -> None:
    """The same, where it can be told how the run must end."""
    outcome = expected(program)
    with refused_is_rejected():
        if outcome.calls and not outcome.any_end and not outcome.any_calls:
            loop.run(interrupted(lab, program, interruption))
        else:
            status, world = loop.run(lab.carry_out(program))
            compare(program, outcome, status, world)


def test_a_run_that_is_interrupted_ends_as_if_it_had_not_been(loop: asyncio.Runner, lab: Lab) -> None:
    @examples(60, 0.2)
    @given(programs(), interruptions)
    def check(program: Program, interruption: Interruption) -> None:
        interrupt(loop, lab, program, interruption)

    check()


def test_fields_keep_their_order_when_a_run_is_taken_up_again(loop: asyncio.Runner, lab: Lab) -> None:
    """What is pinned has the order of the manifest: a text that holds an object shows it."""
    echo = {"id": "a", "operation": "test.echo", "arguments": {"key": "a", "value": {"z": 1, "b": 2}}}
    spec = {"steps": [echo, {"id": "t", "set": "it is {{ steps.a.output }}"}]}
    manifest = {"apiVersion": "mastra.ai/v1", "kind": "Workflow", "metadata": {"name": "order"}, "spec": spec}
    program = Program(manifest=manifest, input={})
    assert expected(program).output == 'it is {"z":1,"b":2}'
    loop.run(interrupted(lab, program, Interruption(1, after_effect=False, all=False)))


def test_a_run_on_a_file_that_is_interrupted_ends_as_if_it_had_not_been(loop: asyncio.Runner, tmp_path: Path) -> None:
    lab = Lab(tmp_path, file=True)

    @examples(15, 0.02)
    @given(programs(), interruptions)
    def check(program: Program, interruption: Interruption) -> None:
        interrupt(loop, lab, program, interruption)

    try:
        check()
    finally:
        loop.run(lab.close())


ONE = {"id": "one", "set": 1}
SEEN = [
    {"steps": [ONE, {"id": "two", "set": '{{ step.one["result"] + step["one"].result }}'}]},
    {"steps": [ONE, {"id": "l", "loop": {"until": "steps.one.output == 1", "steps": [{"id": "in-it", "set": 2}]}}]},
    {"steps": [{"id": "l", "loop": {"until": "steps.x.output > 1", "steps": [{"id": "x", "set": "{{ iteration }}"}]}}]},
]
"""What random programs have found in the runtime, made small."""


@pytest.mark.parametrize("spec", SEEN)
def test_what_was_found_before_ends_as_the_oracle_says(loop: asyncio.Runner, lab: Lab, spec: dict[str, Any]) -> None:
    manifest = {"apiVersion": "mastra.ai/v1", "kind": "Workflow", "metadata": {"name": "seen"}, "spec": spec}
    program = Program(manifest=manifest, input={})
    status, world = loop.run(lab.carry_out(program))
    assert status["phase"] == "Succeeded"
    compare(program, expected(program), status, world)


def test_most_programs_are_valid(loop: asyncio.Runner, lab: Lab) -> None:
    refused = 0
    runtime = loop.run(lab.open())
    for seed in range(200):
        try:
            runtime.client.decode(program_of(seed).manifest, namespace="default")
        except ValidationError:
            refused += 1
    assert refused <= 10


# ---------------------------------------------------------------------------------------------- can it fail?


MOST_TRIED = 4000
"""Programs within which the runtime must differ from an oracle that breaks a rule."""


@functools.cache
def numbered(seed: int) -> tuple[Program, Outcome]:
    program = program_of(seed)
    return program, expected(program)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_an_oracle_that_breaks_a_rule_is_found_out(loop: asyncio.Runner, lab: Lab, mutant: type[Interpreter]) -> None:
    for seed in range(MOST_TRIED):
        program, right = numbered(seed)
        wrong = expected(program, mutant)
        if wrong == right or wrong.any_end:
            continue  # the rule does not matter here
        try:
            status, world = loop.run(lab.carry_out(program))
        except ValidationError:
            continue
        compare(program, right, status, world)
        with contextlib.suppress(AssertionError, KeyError):
            compare(program, wrong, status, world)
            continue
        return
    pytest.fail(f"{MOST_TRIED} programs do not tell it from the runtime")
