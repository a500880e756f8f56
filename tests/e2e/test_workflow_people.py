"""Runs of workflows that wait for a person, and runs that are ended from outside."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from kastra_core import RuntimeManager
from kastra_core.errors import UserError, ValidationError
from workflow_shop import Shop, echo, workflow

APPROVAL = workflow(
    {
        "id": "review",
        "suspend": {
            "message": "Publish {{ workflow.input.title }}?",
            "schema": {
                "type": "object",
                "properties": {"approved": {"type": "boolean"}, "note": {"type": "string"}},
                "required": ["approved"],
                "additionalProperties": False,
            },
        },
    },
    {"id": "decide", "branch": {"cases": [{"when": "steps.review.output.approved", "next": "publish"}]}, "next": "END"},
    echo("publish", "published {{ workflow.input.title }}"),
)


@pytest.fixture
def shop(kitchen: Any) -> Shop:
    return Shop(kitchen)


@pytest.fixture
async def runtime(shop: Shop, open_runtime: Callable[..., Any]) -> Any:
    async with open_runtime() as opened:
        await opened.apply(shop.path / "tools.json")
        yield opened


# ------------------------------------------------------------------------------------------------ people


def test_suspended_run_is_listed_described_and_resumed(shop: Shop) -> None:
    shop.apply(APPROVAL)
    asked = shop.run("--set", "title=news")
    assert asked.out == ""
    assert "run/x is suspended" in asked.err
    assert "kastra run resume run/x" in asked.err
    listed = shop("get", "runs").out
    assert re.search(r"^x .*Suspended", listed, re.MULTILINE), listed
    described = shop("describe", "run/x").out
    assert "Publish news?" in described
    done = shop("run", "resume", "run/x", "--data", '{"approved": true}')
    assert (done.code, done.out) == (0, "published news\n"), done.err
    assert shop.calls == ["echo published news"]
    assert shop.status()["phase"] == "Succeeded"


def test_answer_may_be_no(shop: Shop) -> None:
    shop.apply(APPROVAL)
    shop.run("--set", "title=news")
    done = shop("run", "resume", "run/x", "--data", '{"approved": false}', "-o", "json")
    assert done.code == 0, done.err
    assert orjson.loads(done.out)["phase"] == "Succeeded"
    assert shop.calls == []


@pytest.mark.parametrize(
    ("data", "word"),
    [
        ("{}", "approved"),
        ('{"approved": "yes"}', "boolean"),
        ('{"approved": true, "by": "me"}', "by"),
        ("true", "object"),
        ("{approved", "--data"),
    ],
)
def test_answer_that_does_not_fit_is_refused_and_the_run_still_waits(shop: Shop, data: str, word: str) -> None:
    shop.apply(APPROVAL)
    shop.run("--set", "title=news")
    refused = shop("run", "resume", "run/x", "--data", data)
    assert refused.code == 1, refused.all
    assert word in refused.err
    assert shop.status()["phase"] == "Suspended"
    done = shop("run", "resume", "run/x", "--data", '{"approved": true}')
    assert (done.code, done.out) == (0, "published news\n"), done.err


def test_run_that_is_over_takes_no_answer(shop: Shop) -> None:
    shop.apply(workflow(echo("first", "a")))
    shop.run()
    refused = shop("run", "resume", "run/x", "--data", "{}")
    assert refused.code == 1
    assert "over" in refused.err


def test_answer_that_never_comes_is_a_timeout(shop: Shop) -> None:
    ask = {"id": "ask", "suspend": {"message": "Anybody?", "timeout": "300ms"}}
    shop.apply(workflow(ask))
    assert "(Timeout)" in shop.run(code=5).err


async def test_suspended_run_is_resumed_from_python(shop: Shop, runtime: RuntimeManager) -> None:
    await runtime.apply([APPROVAL])
    run = await runtime.start_run("workflows/w", {"title": "news"}, name="x")
    await runtime.runs.drain([run.key])
    stored = await runtime.client.require(run.key)
    assert stored.status["phase"] == "Suspended"
    [awaited] = stored.status["awaiting"]
    assert (awaited["signal"], awaited["message"]) == ("review", "Publish news?")
    with pytest.raises(ValidationError, match="approved"):
        await runtime.runs.resume(run.key, {"approved": "yes"})
    assert (await runtime.client.require(run.key)).status["phase"] == "Suspended"
    assert await runtime.runs.resume(run.key, {"approved": True}) == "review"
    async with asyncio.timeout(30):
        assert await run.result() == "published news"
    with pytest.raises(UserError, match="over"):
        await runtime.runs.resume(run.key, {"approved": True})


# ------------------------------------------------------------------------------------------------ ended from outside


def test_suspended_run_is_cancelled(shop: Shop) -> None:
    shop.apply(APPROVAL)
    shop.run("--set", "title=news")
    done = shop("run", "cancel", "run/x")
    assert (done.code, done.out) == (0, "run/x cancelled\n"), done.err
    assert shop.status()["phase"] == "Cancelled"
    assert shop("run", "resume", "run/x", "--data", '{"approved": true}').code == 1
    assert shop.calls == []


def test_running_run_is_cancelled_from_another_process_and_runs_no_handler(shop: Shop) -> None:
    slow = {"id": "wait", "tool": "slow", "input": {"seconds": 60}, "onFailure": {"output": "never"}}
    shop.apply(workflow(slow, onFailure=[echo("tell", "never")]))
    process = shop.kitchen.start("run", "workflow/w", "--name", "x")
    shop.wait_for_call("slow", process)
    done = shop("run", "cancel", "run/x")
    assert (done.code, done.out) == (0, "run/x cancelled\n"), done.err
    _, told = process.communicate()
    assert process.returncode == 5, told
    assert "cancelled" in told
    assert shop.status()["phase"] == "Cancelled"
    assert shop.calls == ["slow"]


def test_ctrl_c_cancels_the_run_and_its_children(shop: Shop) -> None:
    slow = workflow({"id": "wait", "tool": "slow", "input": {"seconds": 60}}, name="below")
    shop.apply(slow, workflow({"id": "call", "workflow": "below"}))
    process = shop.kitchen.start("run", "workflow/w", "--name", "x")
    shop.wait_for_call("slow", process)
    os.kill(process.pid, signal.SIGINT)
    out, told = process.communicate()
    assert (process.returncode, out) == (130, ""), told
    assert "Traceback" not in told
    runs = orjson.loads(shop("get", "runs", "-o", "json").out)["items"]
    assert {run["spec"]["target"]["name"]: run["status"]["phase"] for run in runs} == {
        "w": "Cancelled",
        "below": "Cancelled",
    }
    assert shop.calls == ["slow"]


def test_process_that_is_killed_leaves_a_run_that_another_one_finishes(shop: Shop) -> None:
    shop.apply(
        workflow(echo("first", "a"), {"id": "wait", "tool": "slow", "input": {"seconds": 1.5}}, echo("last", "z"))
    )
    process = shop.kitchen.start("run", "workflow/w", "--name", "x")
    shop.wait_for_call("slow", process)
    process.kill()
    process.communicate()
    done = shop("run", "resume", "run/x")
    assert (done.code, done.out) == (0, "z\n"), done.err
    assert shop.calls == ["echo a", "slow", "slow", "slow ended", "echo z"]
