"""Runs that schedules start: once per instant, whatever processes come, go, are killed or look at a wrong clock."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from kastra_core.api.meta import Resource, ResourceKey, rfc3339
from kastra_core.errors import StoreUnavailableError
from kastra_plugin_workflow.schedule import run_name
from kastra_plugin_workflow.scheduled_runs import SCHEDULED_AT, WORKFLOW_LABEL
from workflow_control import GROUP, World, at, world

__all__ = ["world"]

HOURLY = {"cron": "0 * * * *"}


def waits(gate: str = "g") -> dict[str, Any]:
    """A step that waits at a gate."""
    return {"id": "wait", "operation": "test.do", "arguments": {"gate": gate}}


async def test_an_instant_starts_a_run_that_bears_its_name_its_label_and_its_instant(world: World) -> None:
    await world.process()
    await world.workflow("w", schedule={**HOURLY, "input": {"year": 2026}})
    status = await world.status()
    assert status["nextScheduleTime"] == "2026-01-05T13:00:00Z"
    assert "lastScheduleTime" not in status
    await world.move_to("2026-01-05T12:59:59Z")
    assert await world.names() == []
    await world.move_to("2026-01-05T13:00:01Z")
    run = await world.over("w-20260105-1300")
    assert run.spec["input"] == {"year": 2026}
    assert run.metadata.labels[WORKFLOW_LABEL] == "w"
    assert run.metadata.annotations[SCHEDULED_AT] == "2026-01-05T13:00:00Z"
    assert run.status["phase"] == "Succeeded"
    status = await world.status()
    assert (status["lastScheduleTime"], status["nextScheduleTime"]) == ("2026-01-05T13:00:00Z", "2026-01-05T14:00:00Z")
    condition = await world.condition("Scheduled")
    assert condition is not None
    assert (condition["status"], condition["message"]) == ("True", "0 * * * * (UTC), kept by `kastra serve`")
    await world.look()
    assert await world.names() == ["w-20260105-1300"]


async def test_the_timer_starts_runs_without_anybody_asking(tmp_path: Path) -> None:
    world = World(tmp_path, in_memory=True)
    began, start = time.monotonic(), at("2026-01-05T12:59:59.700Z")
    world.clock = lambda: start + time.monotonic() - began
    try:
        await world.process()
        await world.workflow("w", schedule=HOURLY)
        run = await world.over("w-20260105-1300")
        assert run.status["startedAt"] >= "2026-01-05T13:00:00Z"
    finally:
        await world.aclose()


async def test_two_processes_start_each_instant_once(tmp_path: Path) -> None:
    world = World(tmp_path, in_memory=False)
    try:
        one, two, three = [await world.process() for _ in range(3)]
        for number in range(5):
            await world.workflow(f"w{number}", schedule=HOURLY)
        for hour in range(13, 18):
            await world.move_to(f"2026-01-05T{hour}:00:00Z", one, two, three)
        await asyncio.gather(*(world.over(run.metadata.name) for run in await world.runs()))
        expected = [run_name(f"w{n}", at(f"2026-01-05T{hour}:00:00Z")) for n in range(5) for hour in range(13, 18)]
        assert await world.names() == sorted(expected)
        assert len(world.stage.calls) == 25
        assert await world.events() == []
    finally:
        await world.aclose()


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("Latest", ["w-20260105-1500"]),
        ("All", ["w-20260105-1300", "w-20260105-1400", "w-20260105-1500"]),
        ("Skip", []),
    ],
)
async def test_what_was_missed_while_no_process_lived_is_made_up_for_by_the_policy(
    world: World, policy: str, expected: list[str]
) -> None:
    first = await world.process()
    await world.workflow("w", schedule={**HOURLY, "missedRunPolicy": policy})
    await first.controllers.stop()  # the process is gone; the store stays open for memory's sake
    await world.process()
    await world.move_to("2026-01-05T15:20:00Z", world.processes[1])
    assert await world.names() == expected
    missed = [message for reason, message in await world.events() if reason == "MissedSchedule"]
    assert len(missed) == (0 if policy == "All" else 1)
    await world.look(world.processes[1])
    assert await world.names() == expected
    assert (await world.status())["nextScheduleTime"] == "2026-01-05T16:00:00Z"


async def test_a_workflow_applied_while_nobody_looked_counts_since_it_was_made(world: World) -> None:
    await world.process(works=False, controllers=False)
    manifest = {
        "apiVersion": f"{GROUP}/v1",
        "kind": "Workflow",
        "metadata": {"name": "w"},
        "spec": {"steps": [{"id": "a", "set": 1}], "schedule": HOURLY},
    }
    await world.processes[0].apply_resource(manifest, wait=False)
    await world.process()
    await world.move_to("2026-01-05T13:30:00Z")
    assert await world.names() == ["w-20260105-1300"]


async def test_a_process_that_does_not_work_on_runs_starts_none_and_shows_the_times(world: World) -> None:
    await world.process(works=False)  # kastra apply, wait, delete
    await world.workflow("w", schedule=HOURLY)
    await world.move_to("2026-01-05T13:00:00Z")
    assert await world.names() == []
    assert (await world.status())["nextScheduleTime"] == "2026-01-05T14:00:00Z"
    await world.process()
    await world.look()
    assert await world.names() == ["w-20260105-1300"]


async def test_a_process_without_controllers_starts_none(world: World) -> None:
    maker = await world.process(works=False)
    await world.workflow("w", schedule=HOURLY)
    await maker.controllers.stop()
    world.stage.now = at("2026-01-05T13:00:00Z")
    runner = await world.process(controllers=False)  # kastra run, chat
    runner.tend()
    assert runner._tending is not None
    await runner._tending
    assert await world.names() == []


async def test_a_clock_set_back_starts_no_instant_twice(world: World) -> None:
    await world.process()
    await world.workflow("w", schedule=HOURLY)
    await world.move_to("2026-01-05T13:00:00Z")
    await world.over("w-20260105-1300")
    await world.processes[0].client.delete(ResourceKey(GROUP, "Run", "default", "w-20260105-1300"))
    await world.move_to("2026-01-05T12:30:00Z")
    await world.move_to("2026-01-05T13:00:00Z")
    assert await world.names() == []
    await world.move_to("2026-01-05T14:00:00Z")
    assert await world.names() == ["w-20260105-1400"]


async def test_what_was_decided_and_not_written_as_started_is_found_by_the_next_process(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process dies between the start of the run and the write of the status."""
    first = await world.process()
    await world.workflow("w", waits(), schedule={**HOURLY, "concurrencyPolicy": "Forbid"})
    [controller] = first.controllers.controllers(GROUP, "Workflow")
    write = controller.write_status  # type: ignore[attr-defined]

    async def cut(resource: Resource, status: Any) -> Any:
        if "pending" in resource.status.get("schedule", {}):
            raise StoreUnavailableError("cut off")
        return await write(resource, status)

    monkeypatch.setattr(controller, "write_status", cut)
    await world.move_to("2026-01-05T13:00:00Z")
    assert await world.names() == ["w-20260105-1300"]
    status = await world.status()
    assert status["schedule"]["pending"] == ["2026-01-05T13:00:00Z"]
    assert "lastScheduleTime" not in status
    await first.controllers.stop()

    await world.process()
    await world.move_to("2026-01-05T13:10:00Z", world.processes[1])
    status = await world.status()
    assert "pending" not in status["schedule"]
    assert (status["lastScheduleTime"], status["active"]) == ("2026-01-05T13:00:00Z", ["w-20260105-1300"])
    await world.move_to("2026-01-05T14:00:00Z", world.processes[1])
    assert await world.names() == ["w-20260105-1300"]  # it is active, so Forbid skips the next


async def test_what_was_decided_and_not_started_is_started_by_the_next_process(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await world.process()
    await world.workflow("w", schedule=HOURLY)

    async def cut(*_: Any, **__: Any) -> Any:
        raise StoreUnavailableError("cut off")

    monkeypatch.setattr(first, "start_run", cut)
    await world.move_to("2026-01-05T13:00:00Z")
    await first.controllers.stop()
    assert await world.names() == []
    await world.process()
    await world.look(world.processes[1])
    assert await world.names() == ["w-20260105-1300"]


# ------------------------------------------------------------------------------------------ concurrency


async def test_active_tells_of_runs_that_are_not_over(world: World) -> None:
    await world.process()
    await world.workflow("w", waits(), schedule=HOURLY)
    await world.move_to("2026-01-05T13:00:00Z")
    await world.move_to("2026-01-05T14:00:00Z")
    assert (await world.status())["active"] == ["w-20260105-1300", "w-20260105-1400"]
    world.stage.gate("g").set()
    await world.until(lambda workflow: "active" not in workflow.status)


async def test_forbid_skips_an_instant_while_the_run_before_is_not_over_and_tells_so(world: World) -> None:
    await world.process()
    await world.workflow("w", waits(), schedule={**HOURLY, "concurrencyPolicy": "Forbid"})
    await world.move_to("2026-01-05T13:00:00Z")
    await world.move_to("2026-01-05T14:00:00Z")
    assert await world.names() == ["w-20260105-1300"]
    assert await world.events() == [
        (
            "SkippedSchedule",
            "the run of 2026-01-05T14:00:00Z is skipped: run/w-20260105-1300 is not over (concurrencyPolicy Forbid)",
        )
    ]
    assert (await world.status())["lastScheduleTime"] == "2026-01-05T13:00:00Z"
    world.stage.gate("g").set()
    await world.until(lambda workflow: "active" not in workflow.status)
    assert await world.names() == ["w-20260105-1300"]  # skipped for good
    await world.move_to("2026-01-05T15:00:00Z")
    assert await world.names() == ["w-20260105-1300", "w-20260105-1500"]


async def test_forbid_with_all_makes_up_for_missed_ones_one_after_the_other(world: World) -> None:
    await world.process()
    step = {"id": "wait", "operation": "test.do", "arguments": {"gate": "g", "run": "{{ workflow.run }}"}}
    await world.workflow("w", step, schedule={**HOURLY, "concurrencyPolicy": "Forbid", "missedRunPolicy": "All"})
    await world.move_to("2026-01-05T15:30:00Z")
    assert await world.names() == ["w-20260105-1300"]
    world.stage.gate("g").set()
    await world.until(lambda workflow: "active" not in workflow.status and "pending" not in workflow.status["schedule"])
    assert await world.names() == ["w-20260105-1300", "w-20260105-1400", "w-20260105-1500"]
    uids = [run.metadata.uid for run in await world.runs()]
    assert [arguments["run"] for _, arguments in world.stage.calls] == uids


async def test_replace_cancels_the_run_before_and_starts(world: World) -> None:
    await world.process()
    await world.workflow("w", waits(), schedule={**HOURLY, "concurrencyPolicy": "Replace"})
    await world.move_to("2026-01-05T13:00:00Z")
    await world.stage.entry("g").wait()
    await world.move_to("2026-01-05T14:00:00Z")
    assert (await world.over("w-20260105-1300")).status["phase"] == "Cancelled"
    assert await world.names() == ["w-20260105-1300", "w-20260105-1400"]
    assert ("Replaced", "run/w-20260105-1300 is cancelled for the next one (concurrencyPolicy Replace)") in (
        await world.events()
    )
    world.stage.gate("g").set()
    assert (await world.over("w-20260105-1400")).status["phase"] == "Succeeded"


# ------------------------------------------------------------------------------------------ what holds it up


async def test_a_workflow_that_is_not_ready_at_its_instant_is_started_when_it_heals(world: World) -> None:
    await world.process()
    await world.workflow("w", {"id": "a", "agent": "writer"}, schedule=HOURLY)
    await world.move_to("2026-01-05T13:00:00Z")
    assert await world.names() == []
    condition = await world.condition("Scheduled")
    assert condition is not None
    assert (condition["status"], condition["reason"]) == ("False", "Waiting")
    assert condition["message"].startswith(
        "the run of 2026-01-05T13:00:00Z is not started yet: spec.steps[0].agent: Agent default/writer is not found"
    )
    for _ in range(3):
        await world.look()
    told = [message for reason, message in await world.events() if reason == "NotReady"]
    assert len(told) == 1
    assert told[0].startswith("the run of 2026-01-05T13:00:00Z cannot be started yet: spec.steps[0].agent: Agent")
    await world.apply("Agent", "writer", {"instructions": "x", "model": "fake/m"})
    await world.until(lambda workflow: workflow.status.get("lastScheduleTime") == "2026-01-05T13:00:00Z")
    assert await world.names() == ["w-20260105-1300"]
    healed = await world.condition("Scheduled")
    assert healed is not None
    assert healed["status"] == "True"


async def test_a_workflow_that_is_not_ready_until_the_deadline_misses_its_instant(world: World) -> None:
    await world.process()
    await world.workflow("w", {"id": "a", "agent": "writer"}, schedule={**HOURLY, "startingDeadline": "10m"})
    await world.move_to("2026-01-05T13:00:00Z")
    await world.move_to("2026-01-05T13:11:00Z")
    assert ("MissedSchedule", "the run of 2026-01-05T13:00:00Z missed the startingDeadline of 10m") in (
        await world.events()
    )
    await world.apply("Agent", "writer", {"instructions": "x", "model": "fake/m"})
    await world.until(lambda workflow: workflow.status["phase"] == "Ready")
    await world.look()
    assert await world.names() == []


async def test_an_instant_whose_name_another_run_bears_is_told(world: World) -> None:
    runtime = await world.process()
    await world.workflow("w", schedule=HOURLY)
    handle = await runtime.start_run("workflow/w", name="w-20260105-1300")
    await handle.status()
    world.stage.now = at("2026-01-05T13:00:00Z")
    await world.look()
    assert [reason for reason, _ in await world.events()] == ["NameTaken"]
    await world.look()
    assert await world.names() == ["w-20260105-1300"]


async def test_a_suspended_schedule_starts_nothing_and_does_not_make_up_for_it(world: World) -> None:
    await world.process()
    await world.workflow("w", schedule={**HOURLY, "suspend": True})
    condition = await world.condition("Scheduled")
    assert condition is not None
    assert (condition["status"], condition["reason"]) == ("False", "Suspended")
    await world.move_to("2026-01-05T15:30:00Z")
    assert await world.names() == []
    assert "nextScheduleTime" not in await world.status()
    await world.workflow("w", schedule=HOURLY)
    await world.look()
    assert await world.names() == []
    assert (await world.status())["nextScheduleTime"] == "2026-01-05T16:00:00Z"


async def test_a_workflow_without_schedule_any_more_shows_nothing_of_it(world: World) -> None:
    await world.process()
    await world.workflow("w", schedule=HOURLY)
    await world.move_to("2026-01-05T13:00:00Z")
    await world.over("w-20260105-1300")
    await world.workflow("w")
    status = await world.status()
    assert not {"schedule", "nextScheduleTime", "lastScheduleTime", "active"} & status.keys()
    assert await world.condition("Scheduled") is None
    await world.move_to("2026-01-05T14:00:00Z")
    assert await world.names() == ["w-20260105-1300"]


async def test_local_time_of_a_zone_holds_across_its_summer_time(tmp_path: Path) -> None:
    world = World(tmp_path, in_memory=True)
    world.stage.now = at("2026-03-28T00:00:00Z")
    try:
        await world.process()
        await world.workflow("w", schedule={"cron": "30 2 * * *", "timeZone": "Europe/Berlin"})
        for day, expected in ((28, "01:30"), (29, "01:00"), (30, "00:30")):
            assert (await world.status())["nextScheduleTime"] == f"2026-03-{day}T{expected}:00Z"
            await world.move_to(f"2026-03-{day}T{expected}:00Z")
        assert await world.names() == ["w-20260328-0130", "w-20260329-0100", "w-20260330-0030"]
    finally:
        await world.aclose()


# ------------------------------------------------------------------------------------------ killed


WORKER = """\
import asyncio, os, sys
from kastra_core.runtime import RuntimeManager
from kastra_plugin_workflow.scheduled_runs import ScheduledRuns

where, url, now = sys.argv[1], sys.argv[2], float(sys.argv[3])
start = ScheduledRuns.start
begin = ScheduledRuns._start

async def before(self, *args):
    if where == "decided":
        os.kill(os.getpid(), 9)
    return await start(self, *args)

async def after(self, *args):
    done = await begin(self, *args)
    if where == "started":
        os.kill(os.getpid(), 9)
    return done

ScheduledRuns.start, ScheduledRuns._start = before, after

async def main():
    runtime = await RuntimeManager.open(url, controllers=False)
    runtime.clock = lambda: now
    await runtime.runs.start()
    await runtime.start_controllers()
    await runtime.controllers.settled()
    print("settled", flush=True)
    await runtime.aclose()

asyncio.run(main())
"""


@pytest.mark.parametrize("where", ["decided", "started", "nowhere"])
async def test_a_killed_process_neither_loses_an_instant_nor_starts_it_twice(tmp_path: Path, where: str) -> None:
    world = World(tmp_path, in_memory=False)
    world.stage.now = time.time() // 3600 * 3600 - 60
    instant = world.now + 60
    try:
        maker = await world.process(works=False)
        await world.workflow("w", {"id": "a", "set": "done"}, schedule=HOURLY)
        await maker.controllers.stop()
        done = subprocess.run(
            [sys.executable, "-c", WORKER, where, f"file:{tmp_path}/k.db", str(instant + 1)],
            capture_output=True,
            timeout=60,
            cwd=tmp_path,
        )
        assert (done.returncode, b"settled" in done.stdout) == ((0, True) if where == "nowhere" else (-9, False))
        name = run_name("w", instant)
        assert await world.names() == ([] if where == "decided" else [name])
        world.stage.now = instant + 2
        survivor = await world.process()
        await world.look(survivor)
        assert await world.names() == [name]
        assert (await world.over(name)).status["phase"] == "Succeeded"
        await world.until(lambda workflow: "pending" not in workflow.status["schedule"])
        assert (await world.status())["lastScheduleTime"] == rfc3339(instant)
    finally:
        await world.aclose()
