"""``kastra serve`` as a process: what it tells, what it keeps going, and how it stops."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

SLOTH = '''
import asyncio, pathlib
from kastra_core import ResourceKind, hookimpl


class SlothRunner:
    """Is done when there is a file ``wake``; counts how often it was begun."""

    async def run(self, ctx, target, input):
        with open("begun.txt", "a", encoding="utf-8") as file:
            file.write("x\\n")
        try:
            while not pathlib.Path("wake").exists():
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            if target.metadata.name == "stubborn":
                await asyncio.sleep(60)
            raise
        return "awake"


@hookimpl
def kastra_resource_kinds():
    yield ResourceKind(kind="Sloth", plural="sloths", group="acme.example", runner="sloth_plugin:SlothRunner")
'''

SLOTHS = """\
apiVersion: acme.example/v1
kind: Sloth
metadata: {name: sid}
---
apiVersion: acme.example/v1
kind: Sloth
metadata: {name: stubborn}
"""


class Project:
    """A project with sloths, and processes that serve it."""

    def __init__(self, path: Path, environment: dict[str, str], shell: Callable[..., Any], forks: Any) -> None:
        self.path, self.environment, self.kastra, self.forks = path, environment, shell, forks
        self.started: list[Any] = []

    def start(self, *args: str) -> Any:
        process = self.forks.begin(
            args,
            cwd=self.path,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        self.started.append(process)
        return process

    def begun(self) -> int:
        path = self.path / "begun.txt"
        return len(path.read_text(encoding="utf-8").splitlines()) if path.exists() else 0

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait for something that another process does."""
        deadline = time.monotonic() + 40
        while not holds():
            assert time.monotonic() < deadline, "it did not happen in time"
            time.sleep(0.02)

    def orphan(self, name: str = "sid") -> None:
        """A run ``left`` whose process was killed in the middle."""
        process = self.start("run", f"sloth/{name}", "--name", "left")
        self.until(lambda: self.begun() == 1)
        process.kill()
        process.wait()

    def phase(self, name: str) -> str:
        return str(orjson.loads(self.kastra("get", f"run/{name}", "-o", "json").out)["status"]["phase"])

    def stop(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.communicate()


@pytest.fixture
def served(
    project: Path, environment: dict[str, str], plugins: Any, shell: Callable[..., Any], forks: Any
) -> Iterator[Project]:
    plugins.install("sloth", SLOTH)
    (project / "sloths.yaml").write_text(SLOTHS, encoding="utf-8")
    made = Project(project, environment, shell, forks)
    assert shell("apply", "-f", "sloths.yaml").code == 0
    yield made
    made.stop()


def schedule_an_hour_ago(project: Path, **spec: Any) -> None:
    """Apply the workflow ``hourly`` at a clock that was an hour behind: an instant of its schedule was missed since."""
    from kastra_core.config import Config
    from kastra_core.plugins import PluginManager
    from kastra_core.runtime import RuntimeManager, open_store, registry_of

    async def apply() -> None:
        plugins = PluginManager()
        config = Config.load(project, env={})
        runtime = RuntimeManager(
            store=await open_store(config.store, plugins, {}),
            config=config,
            plugins=plugins,
            registry=registry_of(plugins),
            clock=lambda: time.time() - 3700,
        )
        manifest = {
            "apiVersion": "mastra.ai/v1",
            "kind": "Workflow",
            "metadata": {"name": "hourly"},
            "spec": {"steps": [{"id": "a", "set": 1}], "schedule": {"cron": "0 * * * *", **spec}},
        }
        await runtime.apply_resource(manifest)
        await runtime.aclose()

    asyncio.run(apply())


def test_it_tells_what_it_serves_starts_what_is_due_and_ends_with_0_on_sigterm(served: Project) -> None:
    schedule_an_hour_ago(served.path)
    process = served.start("serve")
    assert process.stdout is not None
    first = process.stdout.readline()
    assert first.startswith("serving file:")
    assert "(namespace default): 2 sloths, 1 workflow; next: workflow/hourly at 20" in first
    lines = [process.stdout.readline(), process.stdout.readline()]
    assert lines[0].startswith("run/hourly-20")
    assert lines[0].endswith(" started (workflow/hourly)\n")
    assert " succeeded (0." in lines[1]
    process.send_signal(signal.SIGTERM)
    rest, errors = process.communicate(timeout=30)
    assert (process.returncode, rest, errors) == (0, "stopped\n", "")
    [run] = [line for line in served.kastra("get", "runs", "--no-headers").out.splitlines() if line]
    assert run.startswith("hourly-20")


def test_a_run_of_a_dead_process_goes_on_is_handed_over_and_ended_by_the_next(served: Project) -> None:
    served.orphan()
    first = served.start("serve")
    assert first.stdout is not None
    assert first.stdout.readline().startswith("serving ")
    assert first.stdout.readline() == "run/left goes on (sloth/sid)\n"
    served.until(lambda: served.begun() == 2)
    first.send_signal(signal.SIGINT)
    rest, _ = first.communicate(timeout=30)
    assert (first.returncode, rest) == (130, "handing over run/left: another process goes on with them\n")
    assert served.phase("left") == "Running"

    second = served.start("serve")
    assert second.stdout is not None
    second.stdout.readline()
    assert second.stdout.readline() == "run/left goes on (sloth/sid)\n"
    (served.path / "wake").touch()
    assert second.stdout.readline().startswith("run/left succeeded (")
    assert served.phase("left") == "Succeeded"
    assert served.begun() == 3


def test_the_second_signal_leaves_at_once_and_loses_nothing(served: Project) -> None:
    served.orphan("stubborn")
    process = served.start("serve")
    served.until(lambda: served.begun() == 2)
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    while "handing over run/left" not in process.stdout.readline():
        pass
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "left at once" in errors
    assert time.monotonic() - began < 10
    assert served.phase("left") == "Running"


def test_json_is_an_object_a_line(served: Project) -> None:
    schedule_an_hour_ago(served.path)
    process = served.start("serve", "-o", "json")
    assert process.stdout is not None
    serving, started, finished = (orjson.loads(process.stdout.readline()) for _ in range(3))
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=30)
    assert serving["type"] == "serving"
    assert serving["resources"] == {"sloths": 2, "workflow": 1}
    assert [(item["kind"], item["name"]) for item in serving["next"]] == [("Workflow", "hourly")]
    assert (started["type"], started["target"], started["namespace"]) == ("started", "workflow/hourly", "default")
    assert (finished["type"], finished["run"], finished["phase"]) == ("finished", started["run"], "Succeeded")
    assert orjson.loads(rest) == {"type": "stopping", "handedOver": []}


def test_quiet_tells_nothing(served: Project) -> None:
    schedule_an_hour_ago(served.path)
    process = served.start("serve", "--quiet")
    served.until(lambda: "Succeeded" in served.kastra("get", "runs").out)
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=30) == ("", "")
    assert process.returncode == 0


def test_it_goes_on_when_nobody_reads_what_it_tells(served: Project) -> None:
    served.orphan()
    process = served.start("serve")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    process.stdout = None
    served.until(lambda: served.begun() == 2)
    (served.path / "wake").touch()
    served.until(lambda: served.phase("left") == "Succeeded")
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")


def test_what_other_processes_apply_is_reconciled_while_it_serves(served: Project) -> None:
    process = served.start("serve")
    assert process.stdout is not None
    process.stdout.readline()
    manifest = "apiVersion: mastra.ai/v1\nkind: Workflow\nmetadata: {name: later}\nspec: {steps: [{id: a, set: 1}]}\n"
    (served.path / "later.yaml").write_text(manifest, encoding="utf-8")
    assert served.kastra("apply", "-f", "later.yaml", "--no-wait").code == 0
    served.until(lambda: '"Ready"' in served.kastra("get", "workflow/later", "-o", "json").out)


def test_workflows_that_are_due_at_the_same_instant_are_told_by_name(served: Project) -> None:
    manifests = [
        f"apiVersion: mastra.ai/v1\nkind: Workflow\nmetadata: {{name: {name}}}\n"
        "spec: {schedule: {cron: '0 0 1 1 *'}, steps: [{id: a, set: 1}]}\n"
        for name in ("beta", "alpha")
    ]
    (served.path / "yearly.yaml").write_text("---\n".join(manifests), encoding="utf-8")
    assert served.kastra("apply", "-f", "yearly.yaml").code == 0
    process = served.start("serve")
    assert process.stdout is not None
    _, at, told = process.stdout.readline().partition("; next: ")
    assert at, "it ended before it said what it serves"
    assert [item.split()[0] for item in told.split(", ")] == ["workflow/alpha", "workflow/beta"]


def test_a_store_that_cannot_be_opened_is_told_with_exit_code_4(served: Project) -> None:
    (served.path / "broken.db").write_bytes(b"no database" * 1000)
    done = served.kastra("--store", "file:broken.db", "serve")
    assert done.code == 4
    assert done.err.startswith("error: ")


def test_stopped_while_it_begins_it_ends_in_order(
    project: Path, environment: dict[str, str], shell: Any, forks: Any
) -> None:
    made = Project(project, environment, shell, forks)
    try:
        process = made.start("serve")
        assert process.stderr is not None
        assert "using store file:" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
        assert process.returncode in (0, -signal.SIGTERM), errors
        assert "Traceback" not in errors
    finally:
        made.stop()
