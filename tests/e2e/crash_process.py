"""A process that executes runs on a file store and dies where it is told to; the worlds it does so in are others'.

Jobs come as JSON lines on stdin, and a process is forked for each (``fork_server``). What operations do to the world is
a line in a file outside the store, written in one piece (O_APPEND).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
import types
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

import kastra_core.execution.context
from fork_server import serve
from kastra_core import PluginManager, Runtime, RuntimeManager
from kastra_core.api.kind import MAIN_GROUP
from kastra_core.api.meta import ResourceKey
from kastra_core.config import Config
from kastra_core.errors import AlreadyExistsError, KastraError, UserError
from kastra_core.execution.run_status import FINISHED
from kastra_core.execution.runs import RunManager
from kastra_core.settings import HttpToolSettings, PythonToolSettings, ToolSettings

__all__ = ["World", "key_of", "note", "noted", "serve_world"]

SHORT_S = 0.05
"""A sleep that is longer leaves memory."""


def key_of(name: str) -> ResourceKey:
    """Key of a run."""
    return ResourceKey(MAIN_GROUP, "Run", "default", name)


def note(kind: str, key: str) -> None:
    """Write down that an operation is carried out."""
    descriptor = os.open(os.environ["KASTRA_CRASH_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{kind} {key}\n".encode())
    os.close(descriptor)


def noted(kind: str) -> list[str]:
    """Idempotency keys of the operations of a kind that were carried out, in the order in which they first were."""
    path = Path(os.environ["KASTRA_CRASH_LOG"])
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return list(dict.fromkeys(line.split()[1] for line in lines if line.split()[0] == kind))


@attrs.frozen(kw_only=True)
class World:
    """What the runs of a worker are made of."""

    plugins: Sequence[str]
    """Our own plugins, by short name."""
    plugin: Callable[[], types.ModuleType]
    """A further one, the test's."""
    modules: tuple[str, ...]
    """Of the functions of tools."""
    manifests: Callable[[], list[dict[str, Any]]]
    """What ``prepare`` applies."""
    imports: Sequence[str]
    """Modules that the server imports before it forks."""
    answers: Mapping[str, Any] = attrs.field(factory=dict)
    """What somebody answers a run that waits: payload by the step that waits."""
    early: Mapping[str, Any] = attrs.field(factory=dict)
    """Signals that each run gets before it waits for them, payload by name."""


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


class Doom:
    """Ends the process at one commit: before it, after it, or while it is under way."""

    def __init__(self, store: Any, at: int, when: str) -> None:
        self._commit, self._at, self._when, self._count = store.commit, at, when, 0

    async def commit(self, operations: Sequence[Any]) -> list[Any]:
        self._count += 1
        if self._count != self._at:
            return await self._commit(operations)  # type: ignore[no-any-return]
        if self._when == "before":
            die()
        if self._when == "amid":
            task = asyncio.ensure_future(self._commit(operations))
            for _ in range(4):
                await asyncio.sleep(0)
            die()
            await task
        results = await self._commit(operations)
        if self._when == "after":
            die()
        return results  # type: ignore[no-any-return]


class Census:
    """Counts commits, and says how many there were."""

    def __init__(self, store: Any) -> None:
        self._commit, self.count = store.commit, 0

    async def commit(self, operations: Sequence[Any]) -> list[Any]:
        self.count += 1
        return await self._commit(operations)  # type: ignore[no-any-return]


async def open_runtime(job: dict[str, Any], world: World) -> RuntimeManager:
    hooks = {name: f"kastra_plugin_{name}.hooks" for name in world.plugins}
    plugins = PluginManager(discover=False, extra=[*hooks.items(), ("crash", world.plugin())])
    config = attrs.evolve(
        Config.load(Path(job["project"]), env={}),
        project=Path(__file__).parent,
        tools=ToolSettings(
            python=PythonToolSettings(allow=tuple(world.modules)), http=HttpToolSettings(allow_private=("127.0.0.1",))
        ),
    )
    runtime = await Runtime.open(job["store"], config=config, plugins=plugins, controllers=False)
    ttl_s = job.get("lease_ttl_s")
    if ttl_s is not None:
        runtime.runs = RunManager(runtime, lease_ttl_s=ttl_s)
    return runtime


async def answer(runtime: RuntimeManager, names: Sequence[str], world: World) -> None:
    """Be the people and systems that the runs wait for."""
    told: set[str] = set()
    while world.answers or world.early:
        for run in (await runtime.store.resources.list(MAIN_GROUP, "Run")).items:
            name, status = run.metadata.name, run.status
            if status.get("phase") in FINISHED:
                continue
            with contextlib.suppress(KastraError):  # it ended meanwhile
                if name in names and name not in told:
                    told.add(name)
                    for event, payload in world.early.items():
                        await runtime.runs.signal(run.key, event, payload, signal_id=event)
                for waits in status.get("awaiting") or ():
                    step, awaited = waits.get("step"), waits["signal"]
                    if step in world.answers:
                        await runtime.runs.resume(run.key, world.answers[step], signal=awaited)
        await asyncio.sleep(0.02)


async def _start(runtime: RuntimeManager, runs: Mapping[str, Any], thread: str | None) -> None:
    for name, (target, given) in runs.items():
        if await runtime.client.get(key_of(name)) is None:
            with contextlib.suppress(AlreadyExistsError):  # another process was quicker
                await runtime.start_run(target, given, name=name, thread=thread)


async def _execute(runtime: RuntimeManager, job: dict[str, Any], world: World) -> None:
    doing, runs = job["do"], dict(job["runs"])
    await runtime.runs.start()
    people = asyncio.create_task(answer(runtime, list(runs), world))
    try:
        if doing != "serve":
            await _start(runtime, runs, job.get("thread"))
        if later := job.get("later"):
            while not Path(job["later_after"]).exists():
                await asyncio.sleep(0.01)
            await _start(runtime, later, None)
            runs.update(later)
        if doing == "start":
            await asyncio.sleep(job.get("wait_s", 60.0))
        keys = [key_of(name) for name in runs]
        while None in [await runtime.client.get(key) for key in keys]:
            await asyncio.sleep(0.01)
        while True:
            for key in keys:
                await runtime.runs.wait(key)
            await runtime.runs.drain()
            if not await runtime.store.journal.claims():
                break
            await asyncio.sleep(0.01)
    finally:
        people.cancel()
        await asyncio.gather(people, return_exceptions=True)


async def work(job: dict[str, Any], world: World) -> None:
    """prepare, apply, delete: change resources. run: start the runs unless they are there (``later`` those that are to
    be started when the file ``later_after`` is there), and wait for their end.
    serve: take over what there is until the runs are over. start: only start them. signal, resume, cancel: do that as
    one who executes nothing (resume: each run that awaits something). wait: for the end of what others execute."""
    kastra_core.execution.context.IN_MEMORY_WAIT_S = SHORT_S
    runtime = await open_runtime(job, world)
    doing, runs = job["do"], job["runs"]
    keys = [key_of(name) for name in runs]
    census = Census(runtime.store)
    if doom := job.get("doom"):
        runtime.store.commit = Doom(runtime.store, *doom).commit  # type: ignore[method-assign]
    elif job.get("census"):
        runtime.store.commit = census.commit  # type: ignore[method-assign]
    try:
        if doing in ("prepare", "apply"):
            report = await runtime.apply(world.manifests() if doing == "prepare" else job["manifests"])
            amiss = [(str(item.resource.key), item.resource.status.get("conditions")) for item in report.not_ready]
            assert not amiss, amiss
        elif doing == "delete":
            for name in job["names"]:
                await runtime.client.delete(runtime.reference(name).key)
        elif doing == "signal":
            for key in keys:
                await runtime.runs.signal(
                    key, job.get("signal", "go"), job.get("payload"), signal_id=job.get("signal_id", "")
                )
        elif doing == "resume":
            for run in (await runtime.store.resources.list(MAIN_GROUP, "Run")).items:
                if run.status.get("awaiting"):
                    await runtime.runs.resume(run.key, job["payload"])
        elif doing == "cancel":
            for key in keys:
                await runtime.runs.cancel(key)
        elif doing == "wait":
            for key in keys:
                await runtime.runs.wait(key)
        else:
            await _execute(runtime, job, world)
        if job.get("census"):
            Path(job["census"]).write_text(str(census.count), encoding="utf-8")
    except UserError as error:
        print(f"{doing}: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    finally:
        await runtime.aclose()


Work = Callable[[dict[str, Any], World], Awaitable[None]]


def _child(job: dict[str, Any], world: World, work: Work) -> None:
    code = 1
    try:
        os.environ["KASTRA_CRASH_LOG"] = job["log"]
        logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format=f"{os.getpid()} %(message)s")
        asyncio.run(asyncio.wait_for(work(job, world), job.get("within_s", 30.0)))
        code = 0
    except SystemExit as error:
        code = int(error.code or 0)
    except BaseException:
        logging.exception("job %s", job)
    finally:
        sys.stderr.flush()
        os._exit(code)


def serve_world(world: World, work: Work = work) -> None:
    """Do jobs in a world until stdin ends; ``work`` does one."""
    serve(lambda job: _child(job, world, work), world.imports)
