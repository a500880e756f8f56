"""``kastra serve``: keeps a project alive in the foreground: controllers, schedules, runs that nobody goes on with."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Mapping
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from kastra_core.api.meta import JsonObject, Resource
from kastra_core.cli.common import CliState, KubectlCommand, current, emit, output_option
from kastra_core.cli.failures import INTERRUPTED, silence_stdout

if TYPE_CHECKING:
    from kastra_core.runtime import RuntimeManager

__all__ = ["command"]

_SETTLE_S = 10.0
"""How long the first line waits for the controllers to have looked at what time brings."""
_NEXT_SHOWN = 3


@click.command(cls=KubectlCommand)
@click.option("-q", "--quiet", is_flag=True, help="No lines about runs.")
@output_option("json")
def command(quiet: bool, output: str) -> None:
    """Keep the project alive until it is stopped: controllers, schedules, unfinished runs of dead processes.

    Prints a line at start and one for each run that starts, waits or ends here; -o json prints JSON, an object a line.
    Ctrl-C (exit code 130) and SIGTERM (0) hand unfinished runs over to other processes, or to the next one; a second
    one leaves at once. Several may serve one store: each scheduled run is started once.
    """
    state = current()

    async def serve(runtime: RuntimeManager) -> int:
        return await _Server(state, runtime, quiet=quiet or state.quiet, as_json=output == "json").serve()

    code = state.run(serve, create=True)
    if code:
        raise click.exceptions.Exit(code)


class _Signals:
    """The first SIGINT or SIGTERM sets ``stopped``, the second ends the process."""

    def __init__(self) -> None:
        import asyncio

        self.number = 0
        self.stopped = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(ValueError):  # not in the main thread: then no signals come here
                signal.signal(number, self._hit)

    @property
    def exit_code(self) -> int:
        return INTERRUPTED if self.number == signal.SIGINT else 0

    def _hit(self, number: int, frame: FrameType | None) -> None:
        if self.number:
            # Unfinished runs stay in the store and go on with the next worker.
            with contextlib.suppress(OSError, ValueError):
                os.write(2, b"stopped again: left at once\n")
            os._exit(128 + number)
        self.number = number
        self._loop.call_soon_threadsafe(self.stopped.set)


class _Server:
    def __init__(self, state: CliState, runtime: RuntimeManager, *, quiet: bool, as_json: bool) -> None:
        self._state, self._runtime, self._quiet, self._as_json = state, runtime, quiet, as_json
        self._held: list[tuple[JsonObject, str]] | None = []
        """Lines that wait for the first one."""

    async def serve(self) -> int:
        """Serve until a signal comes; the exit code. Raises: StoreError."""
        import asyncio

        signals = _Signals()
        bus = self._runtime.bus
        bus.subscribe("run.started", self._run_started)
        bus.subscribe("run.suspended", self._run_suspended)
        bus.subscribe("run.finished", self._run_finished)
        stopped = asyncio.create_task(signals.stopped.wait())
        begin = asyncio.create_task(self._begin())
        try:
            await asyncio.wait((stopped, begin), return_when=asyncio.FIRST_COMPLETED)
            if begin.done():
                begin.result()
                await stopped
        finally:
            for task in (stopped, begin):
                task.cancel()
            await asyncio.wait((stopped, begin))
        self._tell_stop()
        return signals.exit_code

    async def _begin(self) -> None:
        runtime = self._runtime
        # First a worker: what the controllers find due is started here.
        await runtime.runs.start()
        await runtime.start_controllers()
        timed = await self._timed()
        await runtime.controllers.settled([resource.key for resource in timed], _SETTLE_S)
        for fault in runtime.controllers.faults.values():
            self._state.warn(str(fault))
        await self._tell_start()

    async def _timed(self) -> list[Resource]:
        """The resources of the kinds whose controllers do what time brings."""
        found: list[Resource] = []
        kinds = {(r.group, r.kind) for _, r in self._runtime.plugins.records("kastra_controllers") if r.periodic}
        for group, kind in sorted(kinds):
            found += (await self._runtime.store.resources.list(group, kind)).items
        return found

    # ------------------------------------------------------------------------------------------ lines

    async def _tell_start(self) -> None:
        runtime = self._runtime
        counts: dict[str, int] = {}
        for (group, name), count in sorted((await runtime.store.resources.counts()).items()):
            kind = runtime.registry.get(group, name)
            if count and kind is not None and not kind.ephemeral:
                counts[kind.singular if count == 1 else kind.plural] = count
        coming = [
            (str(resource.status["nextScheduleTime"]), resource)
            for resource in await self._timed()
            if resource.status.get("nextScheduleTime")
        ]
        # Many come at the same instant.
        coming.sort(key=lambda one: (one[0], one[1].metadata.namespace, one[1].metadata.name))
        store, namespace = self._state.url, runtime.config.namespace
        data: JsonObject = {
            "type": "serving",
            "store": store,
            "namespace": namespace,
            "resources": counts,
            "next": [{"at": at, **_named(resource)} for at, resource in coming],
        }
        missing = (await runtime.missing_kinds()).values()
        for one in missing:
            self._state.warn(f"{one.count} orphaned: {one}; {one.remedy}")
        data["orphaned"] = {f"{one.kind}.{one.group}": one.count for one in missing}
        orphans = f"{sum(one.count for one in missing)} orphaned resources" if missing else "no resources yet"
        what = ", ".join(f"{count} {name}" for name, count in counts.items()) or orphans
        text = f"serving {store} (namespace {namespace}): {what}"
        if coming:
            shown = ", ".join(f"{self._name(resource)} at {at}" for at, resource in coming[:_NEXT_SHOWN])
            more = f" and {len(coming) - _NEXT_SHOWN} more" if len(coming) > _NEXT_SHOWN else ""
            text += f"; next: {shown}{more}"
        held, self._held = self._held or [], None
        self._say(data, text)
        for line in held:
            self._say(*line)

    def _run_started(self, message: Mapping[str, Any]) -> None:
        run = message["resource"]
        active = self._runtime.runs.find(run.metadata.uid)
        again = active is not None and active.state.epoch > 1
        data = {"type": "resumed" if again else "started", **_run_data(run)}
        verb = "goes on" if again else "started"
        self._say(data, f"{self._name(run)} {verb}{self._target(run)}", child="parent" in run.spec)

    def _run_suspended(self, message: Mapping[str, Any]) -> None:
        from kastra_core.cli.run_screen import in_one_line

        run, status = message["resource"], message["status"]
        awaiting = list(status.get("awaiting") or ())
        data = {"type": "suspended", **_run_data(run), "awaiting": awaiting}
        if status.get("wakeAtS") is not None:
            data["wakeAtS"] = status["wakeAtS"]
        asked = [f"{item['signal']}: {item['message']}" if item.get("message") else item["signal"] for item in awaiting]
        until = next((str(c.get("message")) for c in status.get("conditions") or ()), "")
        text = (
            f"{self._name(run)} waits for {in_one_line('; '.join(asked))}"
            if asked
            else f"{self._name(run)} waits {until}"
        )
        self._say(data, text, child="parent" in run.spec)

    def _run_finished(self, message: Mapping[str, Any]) -> None:
        from kastra_core.cli.run_screen import in_one_line, usage_words

        run, status = message["resource"], message["status"]
        phase, reason = str(status.get("phase")), str(status.get("reason") or "")
        data = {"type": "finished", **_run_data(run), "phase": phase, "reason": reason}
        for name in ("message", "durationS", "usage"):
            if status.get(name):
                data[name] = status[name]
        used = usage_words(status.get("usage") or {}, status.get("durationS"))
        text = f"{self._name(run)} {phase.lower()}" + (f" ({used})" if used else "")
        if phase == "Failed":
            text += f": {reason}: {in_one_line(status.get('message') or '')}"
        self._say(data, text, child="parent" in run.spec)

    def _tell_stop(self) -> None:
        left = self._runtime.runs.active if "runs" in vars(self._runtime) else []
        names = [f"run/{key.name}" for key in left]
        text = f"handing over {', '.join(names)}: another process goes on with them" if names else "stopped"
        self._held = None
        self._say({"type": "stopping", "handedOver": [f"{key.namespace}/{key.name}" for key in left]}, text)

    def _say(self, data: JsonObject, text: str, *, child: bool = False) -> None:
        """A line; of child runs only as JSON."""
        if self._quiet or (child and not self._as_json):
            return
        if self._held is not None:
            self._held.append((data, text))
            return
        if self._as_json:
            import orjson

            text = orjson.dumps(data).decode()
        try:
            emit(text)
        except BrokenPipeError:
            # Nobody reads any more; that is no reason to stop serving.
            self._quiet = True
            silence_stdout()

    def _name(self, resource: Resource) -> str:
        from kastra_core.cli.run_target import option_n, short_name

        return short_name(resource.kind, resource.metadata.name) + option_n(self._runtime, resource.metadata.namespace)

    def _target(self, run: Resource) -> str:
        target = run.spec.get("target") or {}
        return f" ({str(target.get('kind', '')).lower()}/{target.get('name')})"


def _named(resource: Resource) -> JsonObject:
    return {"kind": resource.kind, "namespace": resource.metadata.namespace, "name": resource.metadata.name}


def _run_data(run: Resource) -> JsonObject:
    target = run.spec.get("target") or {}
    out: JsonObject = {
        "run": run.metadata.name,
        "namespace": run.metadata.namespace,
        "target": f"{str(target.get('kind', '')).lower()}/{target.get('name')}",
    }
    if "parent" in run.spec:
        out["parent"] = run.spec["parent"].get("run")
    return out
