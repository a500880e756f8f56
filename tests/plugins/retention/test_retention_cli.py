"""Policies from the command line, on a real file, by real processes."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from kastra_core.api.meta import ResourceKey
from kastra_core.protocols.store import AppendMessages
from kastra_plugin_libsql.store import open_store

KASTRA = (sys.executable, "-c", "import sys; from kastra_core.cli import main; sys.exit(main())")
KEY = ResourceKey("mastra.ai", "RetentionPolicy", "", "default")

POLICY = """\
apiVersion: mastra.ai/v1
kind: RetentionPolicy
metadata: {name: default}
spec:
  interval: 10m
  runs: [{maxCount: 2}]
  events: {ttl: 1h}
  threads: {ttl: 90d}
"""

TOOL = """\
apiVersion: mastra.ai/v1
kind: Tool
metadata: {name: shout}
spec:
  type: python
  python: {function: "shouting:shout"}
"""

START = """\
import asyncio
from kastra_core import RuntimeManager

async def main():
    async with await RuntimeManager.open() as runtime:
        for number in range(3):
            run = await runtime.start_run("tool/shout", {"text": "hi"}, name=f"l{number}", labels={"app": "kitchen"})
            await run.result()

asyncio.run(main())
"""

ENFORCE = """\
import asyncio, sys
from kastra_core.api.meta import ResourceKey
from kastra_core.controller import Request
from kastra_core.errors import ConflictError
from kastra_core.plugins import PluginManager
from kastra_core.runtime import RuntimeManager
from kastra_plugin_retention.controller import RetentionController

KEY = ResourceKey("mastra.ai", "RetentionPolicy", "", "default")

async def main():
    runtime = await RuntimeManager.open(sys.argv[1], controllers=False)
    controller = RetentionController(runtime)
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(200):
        try:
            await controller.reconcile(Request("", "default"))
            await controller.finished()
        except ConflictError:
            continue
        policy = await runtime.client.get(KEY)
        if "lastRunTime" in policy.status:
            break
        await asyncio.sleep(0.05)
    await controller.aclose()
    await runtime.aclose()

asyncio.run(main())
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / ".kastra").mkdir()
    (tmp_path / ".kastra" / "config.yaml").write_text("tools: {python: {allow: [shouting]}}\n", encoding="utf-8")
    (tmp_path / "shouting.py").write_text("def shout(text: str) -> str:\n    return text.upper()\n", encoding="utf-8")
    (tmp_path / "tool.yaml").write_text(TOOL, encoding="utf-8")
    (tmp_path / "policy.yaml").write_text(POLICY, encoding="utf-8")
    return tmp_path


@pytest.fixture
def kastra(project: Path) -> Callable[..., str]:
    """``kastra("get", "runs")`` in the project: what it prints; it must succeed."""
    env = {**os.environ, "KASTRA_CONFIG_HOME": str(project / "home"), "NO_COLOR": "1"}

    def call(*words: str, code: int = 0) -> str:
        done = subprocess.run(
            [*KASTRA, *words], cwd=project, env=env, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + (done.stderr if code else "")

    return call


def names(text: str) -> list[str]:
    return sorted(text.split())


async def test_runs_of_the_command_line_go_with_all_that_they_left(project: Path, kastra: Callable[..., str]) -> None:
    kastra("apply", "-f", "tool.yaml")
    for number in range(4):
        assert kastra("run", "tool/shout", "--name", f"r{number}", "--set", "text=hi").strip() == "HI"
    uids = {
        item["metadata"]["name"]: item["metadata"]["uid"]
        for item in orjson.loads(kastra("get", "runs", "-o", "json"))["items"]
    }
    assert "created" in kastra("apply", "-f", "policy.yaml")
    left = names(kastra("get", "runs", "-o", "name").replace("run.mastra.ai/", ""))
    assert left == ["r2", "r3"]
    shown = kastra("get", "retention")
    assert "ENFORCED" in shown
    assert shown.splitlines()[1].split()[:4] == ["default", "True", "True", "2"]
    store = await open_store(f"file:{project}/.kastra/kastra.db", {})
    try:
        for name, uid in uids.items():
            assert bool(await store.journal.records(uid)) == (name in left)
    finally:
        await store.aclose()


@pytest.mark.parametrize(
    "words", [("apply", "-f", "tool.yaml"), ("run", "tool/shout", "--set", "text=hi")], ids=["apply", "run"]
)
async def test_a_command_enforces_a_policy_that_is_due(
    words: tuple[str, ...], project: Path, kastra: Callable[..., str], clock: Any, world_of: Callable[..., Any]
) -> None:
    """The pass runs beside the command; what it does not get done is done by the next one."""
    kastra("apply", "-f", "policy.yaml", "-f", "tool.yaml")
    store = await open_store(f"file:{project}/.kastra/kastra.db", {})
    try:
        world = world_of(store, clock)
        policy = await world.client.require(KEY)
        # The clock of the test is some years back, and so is the last pass.
        await world.client.update_status(policy, {**policy.status, "lastRunTime": "2020-01-01T00:00:00Z"})
        for number in range(5):
            await world.run(f"r{number}", age_s=60 * number)
    finally:
        await store.aclose()
    old = {f"r{number}" for number in range(5)}
    for _ in range(20):
        kastra(*words)
        left = old & set(names(kastra("get", "runs", "-o", "name").replace("run.mastra.ai/", "")))
        if left <= {"r0", "r1"}:
            break
    assert left <= {"r0", "r1"}
    assert "lastRunTime: '2020" not in kastra("get", "retention", "default", "-o", "yaml")


def test_a_wrong_policy_is_refused_with_file_line_and_column(project: Path, kastra: Callable[..., str]) -> None:
    (project / "policy.yaml").write_text(POLICY.replace("maxCount", "maxCuont"), encoding="utf-8")
    told = kastra("apply", "-f", "policy.yaml", code=1)
    assert "policy.yaml:6:21: RetentionPolicy default: spec.runs[0].maxCuont: unknown field 'maxCuont'" in told
    assert "did you mean 'maxCount'?" in told


def test_explain_tells_every_field(kastra: Callable[..., str]) -> None:
    text = kastra("explain", "retentionpolicy", "--recursive")
    for word in ("interval", "dryRun", "matchExpressions", "maxCount", "threads", "cluster"):
        assert word in text


def test_a_selector_is_about_runs_that_a_program_started_with_labels(project: Path, kastra: Callable[..., str]) -> None:
    kastra("apply", "-f", "tool.yaml")
    env = {**os.environ, "KASTRA_CONFIG_HOME": str(project / "home"), "PYTHONPATH": str(project)}
    subprocess.run([sys.executable, "-c", START], cwd=project, env=env, check=True, timeout=60)
    for number in range(2):
        kastra("run", "tool/shout", "--name", f"r{number}", "--set", "text=hi")
    rule = "{maxCount: 1, selector: {matchLabels: {app: kitchen}}}"
    (project / "policy.yaml").write_text(POLICY.replace("{maxCount: 2}", rule), encoding="utf-8")
    kastra("apply", "-f", "policy.yaml")
    assert names(kastra("get", "runs", "-o", "name").replace("run.mastra.ai/", "")) == ["l2", "r0", "r1"]


def test_explain_tells_how_a_duration_is_written(kastra: Callable[..., str]) -> None:
    assert '(default: "10m")' in kastra("explain", "retentionpolicy")
    for field in ("interval", "runs.ttl", "events.ttl", "threads.ttl"):
        text = " ".join(kastra("explain", f"retentionpolicy.spec.{field}").split())
        assert "text with units (s, m, h, d, w): 90s, 10m, 12h, 7d, 1d12h" in text


def test_apply_of_a_policy_leaves_an_event_that_tells_what_went(kastra: Callable[..., str]) -> None:
    kastra("apply", "-f", "tool.yaml")
    for _ in range(3):
        kastra("run", "tool/shout", "--set", "text=hi")
    kastra("apply", "-f", "policy.yaml")
    shown = kastra("describe", "retention", "default")
    assert [line.split()[:2] for line in shown.splitlines() if " 1 run" in line and "Normal" in line] == [
        ["Normal", "Removed"]
    ]
    assert "removed 1 run" in shown


async def test_two_processes_at_once_remove_and_count_everything_once(
    tmp_path: Path, clock: Any, world_of: Callable[..., Any]
) -> None:
    url = f"file:{tmp_path}/kastra.db"
    store = await open_store(url, {})
    try:
        world = world_of(store, clock)
        await asyncio.gather(*(world.run(f"r{number:03}", age_s=number) for number in range(300)))
        for number in range(100):
            await store.commit([AppendMessages("default", f"t{number}", ({"role": "user"},))])
        await world.policy(runs=[{"maxCount": 10}], threads={"maxCount": 5})
        processes = [
            await asyncio.create_subprocess_exec(
                sys.executable, "-c", ENFORCE, url, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tmp_path
            )
            for _ in range(2)
        ]
        async with asyncio.timeout(60):
            for process in processes:
                assert process.stdout is not None
                assert await process.stdout.readline() == b"ready\n"
            await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
        assert [process.returncode for process in processes] == [0, 0]
        status = await world.status()
        assert len(await world.names()) == 10
        assert len(await world.threads()) == 5
        assert status["removed"] == {"runs": 290, "threads": 95, "total": 385}
        assert status["lastRun"]["failed"] == 0
    finally:
        await store.aclose()
