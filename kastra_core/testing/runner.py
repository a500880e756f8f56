"""What every runner of a kind must keep to: subclass :class:`RunnerConformance` in a plugin's test suite."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import orjson
import pytest

from kastra_core.api.kind import ResourceKind
from kastra_core.api.lazy import load
from kastra_core.api.meta import JsonObject, JsonValue, Resource
from kastra_core.api.references import Reference
from kastra_core.errors import KastraError, OperationError
from kastra_core.execution.replay import replay
from kastra_core.execution.run_status import FINISHED
from kastra_core.protocols.runner import OperationContext, RunContext, Runner
from kastra_core.protocols.store import UpdateResource
from kastra_core.runtime import RuntimeManager
from kastra_core.testing._run_lab import THREAD, Answer, Asked, Commit, Handler, KeepingStore, RunLab, json_faults

__all__ = ["RunnerConformance"]

_MOST_DEATHS = 40
"""Moments at which a run is taken over by another process, spread evenly over its commits."""
_MOST_CUTS = 12
"""Operations that fail, or during which the run is cancelled, one try each."""
_PERSONAL = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\b[0-9a-f]{8}\b|\b[0-9a-f]{32,64}\b"  # uids, digests
    r"|\b17\d{8}(\.\d+)?\b"  # times of the lab's clock
)
_ODD_INPUTS: tuple[JsonValue, ...] = (None, 5, True, "", "text", [], [1, "a"], {}, {"noSuchFieldAtAll": None})
_REASON = re.compile(r"[A-Z][A-Za-z0-9]*")


@attrs.frozen(kw_only=True)
class _Told:
    """A run that went undisturbed, to compare others with."""

    target: Reference
    input: JsonValue
    run: Resource
    store: KeepingStore
    asked: Mapping[str, Asked]
    """What its operations were asked and answered, by place."""
    messages: Sequence[JsonObject]
    staged: int
    """Number of commits before the run was begun,"""
    last: int
    """and before its end was written."""


class RunnerConformance:
    """Override the fixtures ``kind`` and ``manifest``; ``input``, ``others``, ``plugins``, ``signals`` where needed.

    Needs pytest-asyncio with ``asyncio_mode = "auto"``. A run of ``manifest`` goes undisturbed first, its operations
    carried out by the plugins that are installed. Then it is taken over at every moment at which a killed process could
    have left it, with what its operations answered before: a runner that keeps to the rules (no clock, no random
    numbers, no memory of its own between two calls of ``ctx``) asks the same and ends the same.

    Example:
        class TestGreetingRunner(RunnerConformance):
            @pytest.fixture
            def kind(self):
                return GREETING

            @pytest.fixture
            def manifest(self):
                return {"apiVersion": "acme.example/v1", "kind": "Greeting", "metadata": {"name": "hello"},
                        "spec": {"text": "Hello"}}

            @pytest.fixture
            def input(self):
                return {"name": "Ada"}
    """

    @pytest.fixture
    def kind(self) -> ResourceKind:
        """The kind whose runner it is, as its hook yields it."""
        raise NotImplementedError("override the fixture 'kind'")

    @pytest.fixture
    def manifest(self) -> JsonObject:
        """A valid resource of the kind; let its run use all that the runner can do."""
        raise NotImplementedError("override the fixture 'manifest'")

    @pytest.fixture
    def input(self) -> JsonValue:
        """What the run gets; the run must succeed with it."""
        return None

    @pytest.fixture
    def others(self) -> Sequence[JsonObject]:
        """Resources that ``manifest`` refers to."""
        return ()

    @pytest.fixture
    def plugins(self) -> Sequence[tuple[str, Any]]:
        """Plugins beside the installed ones, as (name, module or object with hooks): a fake model provider, say."""
        return ()

    @pytest.fixture
    def signals(self) -> Mapping[str, JsonValue]:
        """Payload by name of a signal that the run waits for; sleeps and timeouts pass without delay."""
        return {}

    @pytest.fixture
    def project(self, tmp_path: Path) -> Path:
        """The directory of the project; files that are needed go there, ``.kastra/config.yaml`` among them."""
        return tmp_path

    @pytest.fixture
    async def lab(
        self,
        project: Path,
        kind: ResourceKind,
        plugins: Sequence[tuple[str, Any]],
        signals: Mapping[str, JsonValue],
    ) -> AsyncIterator[RunLab]:
        made = RunLab(project, kinds=[kind], plugins=plugins, signals=signals)
        yield made
        await made.aclose()

    @pytest.fixture
    async def staged(
        self, lab: RunLab, manifest: JsonObject, others: Sequence[JsonObject]
    ) -> tuple[KeepingStore, Reference]:
        """A store with the resources, and a reference to the one that is run."""
        store, references = await lab.stage([*others, manifest])
        return store, references[-1]

    @pytest.fixture
    async def told(self, lab: RunLab, staged: tuple[KeepingStore, Reference], input: JsonValue) -> Any:
        """The run that goes undisturbed."""
        store, target = staged
        begun = len(store.commits)
        runtime = lab.runtime(store)
        key = await lab.start(runtime, target, input)
        run = await lab.follow(runtime, key)
        await lab.close(runtime)
        assert run.status["phase"] == "Succeeded", f"{run.status.get('reason')}: {run.status.get('message')}"
        last = next(at for at, commit in enumerate(store.commits) if _ends(commit, run))
        asked = dict(lab.operations.asked)
        assert len(asked) == len(lab.operations.asked), "an operation was carried out twice"
        messages = await lab.messages(store, key.namespace)
        return _Told(
            target=target, input=input, run=run, store=store, asked=asked, messages=messages, staged=begun, last=last
        )

    # -------------------------------------------------------------------------------------- a run

    def test_it_is_a_runner(self, kind: ResourceKind) -> None:
        assert kind.runner is not None, "the kind has no runner"
        assert isinstance(load(kind.runner)(), Runner)

    async def test_a_run_ends_with_an_output_that_is_json(self, told: Any) -> None:
        status = told.run.status
        assert json_faults(status.get("output")) == []
        assert _REASON.fullmatch(status["reason"]), f"the reason {status['reason']!r} is not in CamelCase"

    async def test_its_journal_tells_the_run_again(self, lab: RunLab, told: Any) -> None:
        trace = await replay(lab.runtime(told.store), told.run)
        assert not trace.differs, f"a replay ends otherwise: {trace.end} {trace.error or trace.output}"
        unused = {line.path for line in await told.store.journal.records(told.run.metadata.uid)} - trace.used
        assert [path for path in unused if not path.endswith("!")] == [], "a replay does not come to these records"

    async def test_target_and_input_are_left_as_they_are(
        self, project: Path, kind: ResourceKind, plugins: Sequence[tuple[str, Any]], signals: Mapping[str, JsonValue],
        manifest: JsonObject, others: Sequence[JsonObject], input: JsonValue,
    ) -> None:  # fmt: skip
        changed: list[str] = []
        watched = attrs.evolve(kind, runner=lambda: _Watched(load(kind.runner)(), changed))
        lab = RunLab(project, kinds=[watched], plugins=plugins, signals=signals)
        try:
            store, references = await lab.stage([*others, manifest])
            runtime = lab.runtime(store)
            await lab.follow(runtime, await lab.start(runtime, references[-1], input))
        finally:
            await lab.aclose()
        assert changed == [], "the runner changed them; other runs and a replay must see what this one saw"

    # -------------------------------------------------------------------------------------- crashes

    async def test_taken_over_at_any_moment_it_asks_and_ends_the_same(self, lab: RunLab, told: Any) -> None:
        for moment in _spread(range(told.staged + 1, told.last + 1), _MOST_DEATHS):
            store = await lab.store_after(told.store.commits[:moment])
            where = f"taken over after commit {moment - told.staged} of {told.last - told.staged}"
            await self._go_on(lab, told, store, where)

    async def _go_on(self, lab: RunLab, told: _Told, store: KeepingStore, where: str) -> None:
        """Have a new process end the run that a store holds, and compare."""
        key, uid = told.run.key, told.run.metadata.uid
        durable = {store.place(uid_, line.path) for uid_ in store.runs for line in await store.journal.records(uid_)}
        faults: list[str] = []

        async def answer(
            place: str, operation: str, arguments: JsonObject, ctx: OperationContext, handler: Handler
        ) -> JsonValue:
            faults.extend(_differences(told.asked, place, operation, arguments))
            if place in durable:
                faults.append(f"{operation} at {place} is carried out once more, though its result was recorded")
            if faults:
                raise OperationError("; ".join(faults), reason="RunnerDiffers")
            return _again(told.asked[place], ctx)

        lab.operations.answer = answer
        runtime = lab.runtime(store)
        try:
            await runtime.runs.start()
            run = await lab.follow(runtime, key)
        finally:
            lab.operations.answer = lab.operations.really
        await lab.close(runtime)
        assert not faults, f"{where}: {faults[0]}"
        assert _end_of(run) == _end_of(told.run), f"{where} it ends otherwise"
        assert await lab.messages(store, key.namespace) == told.messages, f"{where} it leaves another conversation"
        paths = [{line.path for line in await kept.journal.records(uid)} for kept in (store, told.store)]
        assert paths[0] == paths[1], f"{where} its journal has other records"

    async def test_runs_at_the_same_time_do_not_mix(self, lab: RunLab, told: Any) -> None:
        faults: list[str] = []

        async def answer(
            place: str, operation: str, arguments: JsonObject, ctx: OperationContext, handler: Handler
        ) -> JsonValue:
            await asyncio.sleep(0)  # the other runs have their turn
            faults.extend(_differences(told.asked, place, operation, arguments, alike=_nameless))
            if faults:
                raise OperationError("; ".join(faults), reason="RunnerDiffers")
            return _again(told.asked[place], ctx)

        async with self._process(lab, told, answer) as runtime:
            keys = [
                await lab.start(runtime, told.target, told.input, thread=f"{THREAD}-{number}") for number in range(3)
            ]
            runs = [await lab.follow(runtime, key) for key in keys]
        assert not faults, f"one runner object serves all runs, it must keep nothing of a run in itself; {faults[0]}"
        for run in runs:
            assert _nameless(_end_of(run)) == _nameless(_end_of(told.run)), "a run ends otherwise beside others"

    # -------------------------------------------------------------------------------------- ends

    async def test_cancelled_it_ends_as_cancelled(self, lab: RunLab, told: Any) -> None:
        for place in _spread(sorted(told.asked), _MOST_CUTS):
            reached = asyncio.Event()
            begun: list[str] = []

            async def answer(
                at: str, operation: str, arguments: JsonObject, ctx: OperationContext, handler: Handler,
                place: str = place, reached: asyncio.Event = reached, begun: list[str] = begun,
            ) -> JsonValue:  # fmt: skip
                if at == place:
                    reached.set()
                if reached.is_set():
                    begun.append(f"{operation} at {at}")
                    await asyncio.Event().wait()
                return _again(told.asked[at], ctx) if at in told.asked else None

            async with self._process(lab, told, answer) as runtime:
                key = await lab.start(runtime, told.target, told.input)
                following = asyncio.ensure_future(lab.follow(runtime, key))
                reaching = asyncio.ensure_future(reached.wait())
                await asyncio.wait([following, reaching], return_when="FIRST_COMPLETED")
                reaching.cancel()
                before = list(begun)
                if not following.done():
                    await runtime.runs.cancel(key)
                run = await following
            assert run.status["phase"] == "Cancelled", f"cancelled in {told.asked[place].operation} at {place}"
            assert begun == before, f"cancelled in {place} it began further operations"

    async def test_an_operation_that_fails_is_no_bug_of_the_runner(self, lab: RunLab, told: Any) -> None:
        for place in _spread(sorted(told.asked), _MOST_CUTS):

            async def answer(
                at: str, operation: str, arguments: JsonObject, ctx: OperationContext, handler: Handler,
                place: str = place,
            ) -> JsonValue:  # fmt: skip
                if at == place or at not in told.asked:
                    raise OperationError("the suite has it fail", reason="ConformanceFailure")
                return _again(told.asked[at], ctx)

            async with self._process(lab, told, answer) as runtime:
                run = await lab.follow(runtime, await lab.start(runtime, told.target, told.input))
            message = f"when {told.asked[place].operation} at {place} fails: {run.status.get('message')}"
            assert run.status["reason"] not in ("RunnerBug", "OperationBug"), message
            assert run.status["phase"] == "Succeeded" or run.status.get("message"), "it fails and does not say why"

    async def test_an_odd_input_is_no_bug_of_the_runner(self, lab: RunLab, told: Any) -> None:
        async def answer(
            at: str, operation: str, arguments: JsonObject, ctx: OperationContext, handler: Handler
        ) -> JsonValue:
            raise OperationError("the suite has it fail", reason="ConformanceFailure")

        async with self._process(lab, told, answer) as runtime:
            for odd in _ODD_INPUTS:
                try:
                    key = await lab.start(runtime, told.target, odd)
                except KastraError:
                    continue  # it is refused before it is begun
                status = (await lab.follow(runtime, key)).status
                assert status["reason"] != "RunnerBug", f"given {odd!r}: {status.get('message')}"

    @staticmethod
    @contextlib.asynccontextmanager
    async def _process(lab: RunLab, told: _Told, answer: Answer) -> AsyncIterator[RuntimeManager]:
        """A runtime on the store as it was before the undisturbed run, whose operations are answered by ``answer``."""
        runtime = lab.runtime(await lab.store_after(told.store.commits[: told.staged]))
        lab.operations.answer = answer
        try:
            yield runtime
        finally:
            lab.operations.answer = lab.operations.really
            await lab.close(runtime)


class _Watched:
    """Runs another runner and looks at what it was given before and after."""

    def __init__(self, runner: Runner, changed: list[str]) -> None:
        self._runner, self._changed = runner, changed

    async def run(self, ctx: RunContext, target: Resource, input: JsonValue) -> Any:
        before = copy.deepcopy((target.to_manifest(), input))
        try:
            return await self._runner.run(ctx, target, input)
        finally:
            after = (target.to_manifest(), input)
            self._changed += [name for name, was, now in zip(("target", "input"), before, after) if was != now]


def _spread(items: Sequence[Any], most: int) -> list[Any]:
    """At most so many of the items, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(at * (len(items) - 1) / (most - 1))] for at in range(most)]


def _ends(commit: Commit, run: Resource) -> bool:
    return any(
        isinstance(operation, UpdateResource)
        and operation.resource.metadata.uid == run.metadata.uid
        and operation.resource.status.get("phase") in FINISHED
        for operation in commit.operations
    )


def _end_of(run: Resource) -> JsonObject:
    status = run.status
    return {name: status.get(name) for name in ("phase", "reason", "message", "output", "usage")}


def _same(value: JsonValue) -> JsonValue:
    return value


def _nameless(value: JsonValue) -> str:
    """JSON without what every run has its own of: conversation, times, uids, names of runs and what follows of them."""
    text = re.sub(rf"\b{THREAD}-\d\b", THREAD, orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode())
    return _PERSONAL.sub("ITS-OWN", text)


def _differences(
    asked: Mapping[str, Asked], place: str, operation: str, arguments: JsonObject, *, alike: Any = _same
) -> list[str]:
    """How what a runner asks differs from what it asked at the same place when it was not disturbed."""
    before = asked.get(place)
    if before is None:
        return [f"it asks for {operation} at {place}, where it asked for nothing before"]
    if before.operation != operation:
        return [f"it asks for {operation} at {place}, where it asked for {before.operation} before"]
    if alike(before.arguments) != alike(arguments):
        return [f"it asks {operation} at {place} with {arguments}, before with {before.arguments}"]
    return []


def _again(before: Asked, ctx: OperationContext) -> JsonValue:
    """Answer as before."""
    if before.error is not None:
        raise before.error
    ctx.write(*copy.deepcopy(before.writes))
    return copy.deepcopy(before.result)
