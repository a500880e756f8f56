"""Random programs of branches, waits, deadlines and calls, with crashes and signals at random moments, beside an
interpreter that knows nothing of tasks, journals and time."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import math
import random
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kastra_core.api.meta import Resource
from kastra_core.errors import OperationError, StoreUnavailableError
from kastra_core.execution import recovery, runs
from kastra_core.execution.replay import replay
from kastra_core.execution.run_status import FINISHED
from kastra_core.protocols.runner import OperationContext, RunContext
from kastra_core.protocols.store import AppendMessages, SendSignal
from kastra_core.runtime import RuntimeManager
from run_lab import JOB, Lab, World

Node = dict[str, Any]
"""A part of a program, as JSON, so that a child run can get one as its input. ``id`` is unique in a program."""

NEVER = "never"
"""A signal that nobody sends."""
LIMITS = (0, 1, 2, 4, 7)
"""``maxToolCalls`` of the jobs that are called with a limit."""
ROUNDS = 400
"""Looks of the driver until a run that does not end counts as stuck."""


# ------------------------------------------------------------------------------------------------- programs


def leaves() -> st.SearchStrategy[Node]:
    return st.one_of(
        st.fixed_dictionaries({"is": st.just("op"), "turns": st.integers(0, 6)}),
        st.fixed_dictionaries({"is": st.just("fail"), "turns": st.integers(0, 3)}),
        st.fixed_dictionaries({"is": st.just("sleep"), "seconds": st.sampled_from([-1.0, 0.0, 0.001, 6.0, 90.0])}),
        st.fixed_dictionaries({"is": st.just("wait")}),
        st.fixed_dictionaries({"is": st.just("shared")}),
        st.fixed_dictionaries({"is": st.just("late"), "seconds": st.sampled_from([0.0, 7.0])}),
        st.fixed_dictionaries({"is": st.just("effect"), "turns": st.integers(0, 2)}),
        st.fixed_dictionaries({"is": st.just("end")}),
    )


def calm(parts: st.SearchStrategy[Node], concurrency: st.SearchStrategy[int | None]) -> list[st.SearchStrategy[Node]]:
    several = st.lists(parts, min_size=1, max_size=4)
    return [
        st.fixed_dictionaries({"is": st.just("seq"), "parts": several}),
        st.fixed_dictionaries({"is": st.just("all"), "parts": several, "concurrency": concurrency}),
        st.fixed_dictionaries({"is": st.just("within"), "part": parts}),
    ]


def inner(parts: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    several = st.lists(parts, min_size=1, max_size=4)
    return st.one_of(
        *calm(parts, st.sampled_from([None, 1, 2])),
        *calm(parts, st.none())[1:2],
        st.fixed_dictionaries({"is": st.just("stop"), "parts": several, "before": parts, "at": st.integers(0, 4)}),
        st.fixed_dictionaries({"is": st.just("timeout"), "seconds": st.sampled_from([0.0, 3.0, 40.0]), "part": parts}),
        st.fixed_dictionaries({"is": st.just("call"), "part": parts}),
    )


def limited(concurrency: st.SearchStrategy[int | None]) -> st.SearchStrategy[Node]:
    """Programs whose calls may do only so much, without what ends branches at a moment that nobody can tell."""

    def parts(parts: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
        call = {"is": st.just("call"), "part": parts, "limit": st.sampled_from([None, *LIMITS])}
        return st.one_of(*calm(parts, concurrency), st.fixed_dictionaries(call), st.fixed_dictionaries(call))

    return st.recursive(leaves(), parts, max_leaves=20).map(copied).map(numbered)


def numbered(node: Node) -> Node:
    """Give each node its id."""
    for number, part in enumerate(walk(node)):
        part["id"] = f"n{number}"
    return node


def walk(node: Node) -> Iterator[Node]:
    yield node
    for part in [*node.get("parts", ()), *(node[name] for name in ("part", "before") if name in node)]:
        yield from walk(part)


def copied(node: Node) -> Node:
    """Hypothesis may use one object twice."""
    out = dict(node)
    for name in ("part", "before"):
        if name in node:
            out[name] = copied(node[name])
    if "parts" in node:
        out["parts"] = [copied(part) for part in node["parts"]]
    return out


PROGRAMS = st.recursive(leaves(), inner, max_leaves=14).map(copied).map(numbered)
ACTIONS = st.lists(
    st.sampled_from(["turns", "turns", "crash", "close", "signal", "signal", "early", "time"]), max_size=12
)


# ------------------------------------------------------------------------------------------------- the interpreter


class FailedError(Exception):
    """A failure of a part, by its reason."""


class OverError(Exception):
    """A limit is reached: it ends the run."""


class Did:
    """What a run did, and those above it with it.

    Args:
        limit: tool calls that it may make.
    """

    def __init__(self, limit: float = math.inf, above: Did | None = None) -> None:
        self.limit: float = limit if above is None else min(limit, above.limit - above.count["op"])
        self.above = above
        self.count: Counter[str] = Counter()
        self.ends: list[str] = []
        """Of this run: what is to be there when it has succeeded."""
        self.written: list[str] = above.written if above is not None else []

    def runs(self) -> Iterator[Did]:
        run: Did | None = self
        while run is not None:
            yield run
            run = run.above

    def over(self) -> bool:
        return any(run.count["op"] >= run.limit for run in self.runs())

    def op(self) -> None:
        for run in self.runs():
            run.count["step"] += 1
        if self.over():
            raise OverError
        for run in self.runs():
            run.count["op"] += 1


def whole(node: Node, did: Did) -> Any:
    """What a run of a program gives back."""
    out = meaning(node, did)
    did.written += did.ends
    return out


def meaning(node: Node, did: Did) -> Any:
    """What a part of a program gives back, when its branches are carried out one after another."""
    match node["is"]:
        case "op":
            did.op()
            return node["id"]
        case "fail":
            did.op()
            raise FailedError("Broken")
        case "effect":
            did.written.append(node["id"])
            return None
        case "end":
            did.ends.append(node["id"])
            return None
        case "sleep":
            return "slept"
        case "wait":
            return f"for {node['id']}"
        case "shared":
            return "shared"
        case "late":
            raise FailedError("Timeout")
        case "seq":
            return [meaning(part, did) for part in node["parts"]]
        case "all":
            return [told(part, did) for part in node["parts"]]
        case "stop":
            return "Stop"
        case "timeout":
            raise FailedError("Timeout")
        case "within":
            return meaning(node["part"], did)
        case _:
            limit = node.get("limit")
            try:
                return whole(node["part"], Did(math.inf if limit is None else limit, did))
            except OverError:
                if did.over():
                    raise  # it had what was left
                raise FailedError("LimitExceeded") from None


def told(node: Node, did: Did) -> Any:
    try:
        return meaning(node, did)
    except FailedError as error:
        return {"failed": str(error)}


# ------------------------------------------------------------------------------------------------- the runner


class Stop(OperationError):
    def __init__(self) -> None:
        super().__init__("it ends the others", reason="Stop")


class Busy(World):
    """Operations that take some turns of the event loop, and what must not be carried out any more."""

    def __init__(self) -> None:
        super().__init__()
        self.over: list[str] = []
        self.late: list[str] = []

    async def note(self, ctx: OperationContext, arguments: dict[str, Any]) -> Any:
        self.late += [scope for scope in self.over if f"{ctx.run_id}{ctx.path}".startswith(scope)]
        self.keys.append(ctx.idempotency_key)
        for _ in range(arguments.get("turns", 0)):
            await asyncio.sleep(0)
        if arguments.get("fail"):
            raise OperationError("it broke", reason="Broken")
        if "write" in arguments:
            ctx.write(written(arguments["write"]))
            return None
        return arguments.get("name")


def written(what: str) -> AppendMessages:
    return AppendMessages("default", "written", [{"role": "user", "what": what}])


def branch_of(world: Busy, runtime: Callable[[], RuntimeManager], node: Node) -> Callable[[RunContext], Awaitable[Any]]:
    return lambda ctx: carry_out(world, runtime, ctx, node)


async def carry_out(world: Busy, runtime: Callable[[], RuntimeManager], ctx: RunContext, node: Node) -> Any:
    async def ended(scope: str) -> None:
        # Once this is recorded, so is that the scope is over.
        await ctx.perform("note", {})
        world.over.append(ctx.run_id + scope)

    async def never(scope: RunContext, part: Node) -> Any:
        with contextlib.suppress(OperationError):
            await carry_out(world, runtime, scope, part)
        return await scope.wait_signal(NEVER)

    name = node["id"]
    match node["is"]:
        case "op" | "fail":
            ctx.step()
            return await ctx.perform(
                "use", {"name": name, "turns": node["turns"], "fail": node["is"] == "fail"}, name=name
            )
        case "effect":
            await ctx.perform("note", {"write": f"{ctx.run_id} {name}", "turns": node["turns"]}, name=name)
            return None
        case "end":
            ctx.at_end(written(f"{ctx.run_id} {name}"))
            return None
        case "sleep":
            await ctx.sleep(node["seconds"], name=name)
            return "slept"
        case "wait":
            return await ctx.wait_signal(name)
        case "shared":
            return {"shared": await ctx.wait_signal("shared", name=name)}
        case "late":
            return await ctx.wait_signal(NEVER, timeout_s=node["seconds"], name=name)
        case "seq":
            return [await carry_out(world, runtime, ctx, part) for part in node["parts"]]
        case "all":
            out = await ctx.gather(
                {part["id"]: branch_of(world, runtime, part) for part in node["parts"]}, concurrency=node["concurrency"]
            )
            return [shown(value) for value in out.values()]
        case "stop":

            async def stopping(scope: RunContext) -> None:
                with contextlib.suppress(OperationError):
                    await carry_out(world, runtime, scope, node["before"])
                raise Stop

            def waiting(part: Node) -> Callable[[RunContext], Awaitable[Any]]:
                return lambda scope: never(scope, part)

            branches = {part["id"]: waiting(part) for part in node["parts"]}
            names = list(branches)
            names.insert(node["at"], "stopping")
            branches["stopping"] = stopping
            got = await ctx.gather(
                {each: branches[each] for each in names}, stop_on=lambda error: isinstance(error, Stop)
            )
            assert list(got) == ["stopping"]
            return got["stopping"].reason  # type: ignore[union-attr]
        case "timeout":
            try:
                return await ctx.within(node["seconds"], lambda scope: never(scope, node["part"]), name=name)
            except OperationError:
                scope = str(getattr(ctx, "_scope", ""))
                await ended(f"{scope}/{name}#0/")
                raise
        case "within":
            return await ctx.within(1e9, branch_of(world, runtime, node["part"]), name=name)
        case _:
            limit = node.get("limit")
            job = "job" if limit is None else f"job{limit}"
            return await ctx.call(runtime().reference(f"jobs/{job}"), node["part"], name=name)


def shown(value: Any) -> Any:
    if isinstance(value, OperationError):
        return {"failed": value.reason}
    if isinstance(value, BaseException):
        raise value
    return value


# ------------------------------------------------------------------------------------------------- the driver


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "_RETRY_S", (0.0001, 0.0001))
    monkeypatch.setattr(recovery, "_AGAIN_S", 0.001)
    monkeypatch.setattr(recovery, "_AGAIN_AT_MOST_S", 0.001)
    monkeypatch.setattr(logging.getLogger("kastra.runs"), "disabled", True)


class Slow:
    """A part of a store whose look-ups take some turns of the event loop."""

    def __init__(self, part: Any, slow: Callable[[Any], Any]) -> None:
        self._part, self._slow = part, slow

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._part, name)
        return self._slow(found) if inspect.iscoroutinefunction(found) else found


class Drive:
    """One run of a program, and what happens to it."""

    def __init__(self, project: Path, program: Node, seed: int, faults: float) -> None:
        self.lab, self.program = Lab(project), program
        self.world = self.lab.world = Busy()
        self.rng = random.Random(seed)
        self.runtimes: list[RuntimeManager] = []
        self.crashes = 0
        self.sent: set[tuple[str, str]] = set()
        self.shared = 0
        self.faults, self.failed = 0.0, 0
        """How likely a commit fails, before or after it was done, from the run's beginning on; how many did."""
        self._faults = faults
        store = self.lab.store
        store.commit = self.slow(self.faulty(store.commit))  # type: ignore[method-assign,assignment]
        store.journal = Slow(store.journal, self.slow)
        store.resources = Slow(store.resources, self.slow)

    def slow(self, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def slowly(*args: Any, **more: Any) -> Any:
            await self.turns(self.rng.choice((0, 0, 1, 3)))
            out = await method(*args, **more)
            await self.turns(self.rng.choice((0, 0, 1, 3)))
            return out

        return slowly

    def faulty(self, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def faultily(*args: Any) -> Any:
            before, after = self.rng.random() < self.faults, self.rng.random() < self.faults
            self.failed += before or after
            if before:
                raise StoreUnavailableError("not done")
            out = await method(*args)
            if after:
                raise StoreUnavailableError("done all the same")
            return out

        return faultily

    @staticmethod
    async def turns(count: int) -> None:
        for _ in range(count):
            await asyncio.sleep(0)

    @property
    def runtime(self) -> RuntimeManager:
        return self.runtimes[-1]

    async def runs(self) -> Sequence[Resource]:
        found = await self.lab.store.resources.list("mastra.ai", "Run")
        return found.items

    async def do(self, action: str) -> None:
        match action:
            case "turns":
                await self.turns(self.rng.randrange(1, 30))
            case "crash" | "close":
                self.crashes += 1
                if action == "crash":
                    await self.lab.crash(self.runtime)
                else:
                    await self.runtime.runs.aclose()
                self.runtimes.append(await self.lab.runtime())
                await self.runtime.runs.start()
            case "time":
                await self.pass_time(self.rng.choice((3.0, 20.0, 100.0)))
            case _:
                await self.signal(only_awaited=action == "signal")

    async def pass_time(self, seconds: float) -> None:
        self.world.now += seconds
        self.runtime.runs.look_again()

    async def signal(self, *, only_awaited: bool) -> None:
        """Send runs what they wait for or, if not ``only_awaited``, will perhaps wait for."""
        for run in await self.runs():
            if run.status.get("phase") in FINISHED:
                continue
            awaited = [item["signal"] for item in run.status.get("awaiting") or () if item["signal"] != NEVER]
            names = set(awaited)
            if not only_awaited:
                names |= {node["id"] for node in walk(self.program) if node["is"] == "wait"}
            for name in sorted(names - {"shared"}):
                if (run.metadata.uid, name) not in self.sent:
                    self.sent.add((run.metadata.uid, name))
                    await self._send(run, name, f"for {name}")
            for _ in range(awaited.count("shared") if only_awaited else 1):
                self.shared += 1
                await self._send(run, "shared", self.shared)

    async def _send(self, run: Resource, name: str, payload: Any) -> None:
        signal = SendSignal(run.metadata.uid, name, payload, f"{name} {payload}")
        while True:
            with contextlib.suppress(StoreUnavailableError):
                await self.lab.store.commit([signal])
                return

    async def begin(self) -> Any:
        async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
            return await carry_out(self.world, lambda: self.runtime, ctx, input)

        self.world.program = program
        self.runtimes.append(await self.lab.runtime())
        names = ["job", *(f"job{limit}" for limit in LIMITS)]
        for name in names:
            limits = {"maxSteps": 1000} if name == "job" else {"maxSteps": 1000, "maxToolCalls": int(name[3:])}
            job = {**JOB, "metadata": {"name": name}, "spec": {"jobs": names, "limits": limits}}
            await self.runtime.apply([job], wait=False)
        key = (await self.runtime.start_run("jobs/job", self.program)).key
        self.faults = self._faults
        return key

    async def finish(self, key: Any) -> Resource:
        """Let signals come and time pass until all runs are over."""
        for _ in range(ROUNDS):
            await self.turns(30)
            if all(run.status.get("phase") in FINISHED for run in await self.runs()):
                return await self.runtime.client.require(key)
            await self.signal(only_awaited=True)
            if self.rng.random() < 0.3:
                await self.signal(only_awaited=False)
            if self.rng.random() < 0.3:
                await self.pass_time(50)
            await asyncio.sleep(0.0005)
        stuck = {run.metadata.name: (run.spec["input"], run.status) for run in await self.runs()}
        raise AssertionError(f"not over: {stuck}")


def without_shared(value: Any, taken: list[Any]) -> Any:
    if isinstance(value, dict) and "shared" in value:
        taken.append(value["shared"])
        return "shared"
    if isinstance(value, list):
        return [without_shared(item, taken) for item in value]
    return value


async def check(project: Path, program: Node, actions: list[str], seed: int, faults: float = 0.0) -> None:
    drive = Drive(project, program, seed, faults)
    try:
        key = await drive.begin()
        for action in actions:
            await drive.do(action)
        run = await drive.finish(key)
        drive.faults = 0.0
        all_runs = await drive.runs()
        nodes = list(walk(program))
        told, certain = is_told(nodes)
        did, status = Did(), run.status
        taken: list[Any] = []
        expected: tuple[str, Any]
        try:
            expected = ("Succeeded", whole(program, did))
        except FailedError as error:
            expected = ("Failed", str(error))
        except OverError:
            expected = ("Failed", "LimitExceeded")
        output = without_shared(status.get("output"), taken)
        if told:
            found = ("Succeeded", output) if status["phase"] == "Succeeded" else (status["phase"], status["reason"])
            assert found == expected, status
        assert len(taken) == len(set(taken)), "a signal was taken twice"
        assert not drive.world.late, "an operation began in what was over"
        repeated = Counter(drive.world.keys)
        begun_anew = 1 + drive.crashes + drive.failed
        assert all(times <= begun_anew for times in repeated.values()), "carried out more often than it crashed"
        for each in all_runs:
            allowed = each.spec["limits"].get("maxToolCalls", math.inf)
            assert each.status.get("usage", {}).get("toolCalls", 0) <= allowed, "more than its limit"
        await check_written(drive, all_runs, nodes, did if certain else None)
        if certain:
            usage = status["usage"]
            assert (usage["toolCalls"], usage.get("steps", 0)) == (did.count["op"], did.count["step"]), "what it used"
        for each in all_runs:
            trace = await replay(drive.runtime, each)
            assert not trace.differs, (trace, each.status)
    finally:
        await drive.lab.aclose()


def is_told(nodes: Sequence[Node]) -> tuple[bool, bool]:
    """Whether it is certain how a program ends, and what it does until then."""
    limits = any(node.get("limit") is not None for node in nodes)
    at_once = any(node["is"] == "all" and node["concurrency"] != 1 for node in nodes)
    ends_others = any(node["is"] in ("stop", "timeout") for node in nodes)
    return not (limits and at_once), not ends_others and not (limits and at_once)


async def check_written(drive: Drive, runs: Sequence[Resource], nodes: Sequence[Node], did: Did | None) -> None:
    """Effects are there once, those of operations with their record and the others with the end of their run."""
    store = drive.lab.store
    found = [str(each.message["what"]) for each in await store.threads.messages("default", "written")]
    assert len(found) == len(set(found)), "written twice"
    effects = {node["id"] for node in nodes if node["is"] == "effect"}
    due = set()
    for run in runs:
        for line in await store.journal.records(run.metadata.uid):
            name = line.path.rpartition("/")[2].partition("#")[0]
            if name in effects:
                due.add(f"{run.metadata.uid} {name}")
    assert {each for each in found if each.partition(" ")[2] in effects} == due
    if did is not None:
        assert sorted(each.partition(" ")[2] for each in found) == sorted(did.written)


def carried_out(program: Node, actions: list[str], seed: int, faults: float = 0.0) -> None:
    with tempfile.TemporaryDirectory() as project:
        asyncio.run(check(Path(project), program, actions, seed, faults))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(PROGRAMS, ACTIONS, st.integers(0, 2**16))
def test_a_program_means_the_same_whatever_happens_while_it_runs(program: Node, actions: list[str], seed: int) -> None:
    carried_out(program, actions, seed)


@pytest.mark.usefixtures("quick_retries")
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
@given(
    st.one_of(PROGRAMS, limited(st.just(1)), limited(st.just(1)), limited(st.none())),
    ACTIONS,
    st.integers(0, 2**16),
    st.sampled_from([0.0, 0.05, 0.2]),
)
def test_limits_and_effects_are_exact_though_commits_fail(
    program: Node, actions: list[str], seed: int, faults: float
) -> None:
    carried_out(program, actions, seed, faults)
