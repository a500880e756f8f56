"""What goes wrong while a workflow runs, and what a user is told: at the terminal and in Python."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from kastra_core import RuntimeManager
from kastra_core.errors import NotReadyError, RunFailedError
from workflow_shop import Shop, agent, echo, workflow


@pytest.fixture
def shop(kitchen: Any) -> Shop:
    return Shop(kitchen)


# ------------------------------------------------------------------------------------------------ a failing step


def test_failing_step_ends_the_run_and_the_message_names_step_tool_and_cause(shop: Shop) -> None:
    shop.apply(workflow(echo("first", "a"), {"id": "load", "tool": "broken"}, echo("last", "b")))
    done = shop.run(code=5)
    assert done.out == ""
    for words in (
        "run/x ended without an answer (ToolFailed)",
        "step load",
        "the disk is on fire",
        "kastra logs run/x",
    ):
        assert words in done.err
    status = shop.status()
    assert (status["phase"], status["reason"]) == ("Failed", "ToolFailed")
    assert status["message"].startswith("step load: ")
    assert shop.calls == ["echo a", "broken"]


def test_failing_step_shows_in_the_history(shop: Shop) -> None:
    shop.apply(workflow(echo("first", "a"), {"id": "load", "tool": "broken", "input": {"text": "b"}}))
    shop.run(code=5)
    for words in (("describe", "run/x"), ("explain", "run/x"), ("logs", "run/x")):
        shown = shop(*words)
        assert shown.code == 0, shown.err
        assert "first" in shown.out, words
        assert "load" in shown.out, words
        assert "the disk is on fire" in shown.out, words


def test_failed_run_is_machine_readable(shop: Shop) -> None:
    shop.apply(workflow({"id": "load", "tool": "broken", "input": {}}))
    answer = orjson.loads(shop.run("-o", "json", code=5).out)
    assert (answer["phase"], answer["reason"]) == ("Failed", "ToolFailed")
    assert answer["message"].startswith("step load: ")


def test_failure_that_a_step_handles_does_not_end_the_run(shop: Shop) -> None:
    risky = {
        "id": "load",
        "tool": "broken",
        "input": {},
        "onFailure": {"steps": [echo("tell", "{{ error.step }}: {{ error.reason }}")], "output": "nothing"},
    }
    shop.apply(workflow(risky, echo("last", "{{ steps.load.output }} after {{ steps.load.error.attempts }} try")))
    assert shop.run().out == "nothing after 1 try\n"
    assert shop.calls == ["broken", "echo load: ToolFailed", "echo nothing after 1 try"]


def test_handler_of_the_workflow_runs_and_the_run_still_fails_with_the_reason(shop: Shop) -> None:
    handler = [echo("tell", "{{ error.step }}: {{ error.reason }}")]
    shop.apply(workflow({"id": "load", "tool": "broken", "input": {}}, onFailure=handler))
    assert "step load" in shop.run(code=5).err
    assert shop.calls == ["broken", "echo load: ToolFailed"]
    assert shop.status()["reason"] == "ToolFailed"


def test_step_that_says_fail_ends_the_run_with_its_own_reason(shop: Shop) -> None:
    steps = {"id": "stop", "fail": {"reason": "OutOfStock", "message": "no {{ workflow.input.what }} left"}}
    shop.apply(workflow(steps))
    done = shop.run("--set", "what=eggs", code=5)
    assert "(OutOfStock): step stop: no eggs left" in done.err


def test_input_that_does_not_fit_the_schema_is_refused_by_name(shop: Shop) -> None:
    schema = {"type": "object", "properties": {"amount": {"type": "number"}}, "required": ["amount"]}
    shop.apply(workflow(echo("first", "a"), inputSchema=schema))
    done = shop.run("--set", "amount=many", code=5)
    assert "InvalidInput" in done.err
    assert "amount" in done.err
    assert "`--set KEY=VALUE` and `--input JSON` make an object" in done.err
    assert "run retry" not in done.err  # the same input fails again
    assert shop.calls == []


def test_expression_that_finds_nothing_fails_the_step_and_says_which(shop: Shop) -> None:
    shop.apply(workflow(echo("first", "{{ workflow.input.absent }}")))
    done = shop.run("--set", "there=1", code=5)
    assert "(ExpressionFailed)" in done.err
    assert "step first" in done.err
    assert "absent" in done.err
    assert shop.calls == []


# ------------------------------------------------------------------------------------------------ an unknown agent


def test_unknown_agent_is_a_condition_which_run_repeats_and_which_heals(shop: Shop, mock_openai: Any) -> None:
    shop.configure(providers={"openai": {"apiBase": mock_openai.base_url}})
    applied = shop.apply(workflow({"id": "ask", "agent": "helper"}))
    assert "workflow.mastra.ai/w created (not ready: AgentNotFound" in applied.out
    described = shop("describe", "workflow/w").out
    assert "AgentNotFound" in described
    assert "spec.steps[0].agent" in described
    refused = shop("run", "workflow/w", "SAY(hello)")
    assert refused.code == 1
    assert "AgentNotFound" in refused.err
    assert "helper" in refused.err
    assert "No resources" in shop("get", "runs").all or shop("get", "runs", "-o", "name").out == ""
    shop.write("helper.json", agent("helper"))
    assert shop("apply", "-f", "helper.json").code == 0
    assert shop("run", "workflow/w", "SAY(hello)").out == "hello\n"


@pytest.mark.parametrize(
    ("body", "reason"),
    [({"tool": "absent", "input": {}}, "ToolNotFound"), ({"workflow": "absent"}, "WorkflowNotFound")],
)
def test_unknown_tools_and_workflows_are_conditions_too(shop: Shop, body: dict[str, Any], reason: str) -> None:
    applied = shop.apply(workflow({"id": "use", **body}))
    assert f"not ready: {reason}" in applied.out
    assert "absent" in shop("run", "workflow/w").err


async def test_unknown_agent_is_refused_from_python_until_it_is_there(
    shop: Shop, mock_openai: Any, open_runtime: Callable[..., Any]
) -> None:
    shop.configure(providers={"openai": {"apiBase": mock_openai.base_url}})
    async with open_runtime() as runtime:
        await runtime.apply([workflow({"id": "ask", "agent": "helper"})])
        handle = runtime.get_workflow("w")
        with pytest.raises(NotReadyError) as caught:
            await handle.execute("SAY(hello)")
        assert caught.value.reason == "AgentNotFound"
        await runtime.apply([agent("helper")])
        assert await handle.execute("SAY(hello)") == "hello"


# ------------------------------------------------------------------------------------------------ time


def test_step_that_takes_too_long_fails_with_timeout(shop: Shop) -> None:
    shop.apply(workflow({"id": "wait", "tool": "slow", "input": {"seconds": 60}, "timeout": "1500ms"}))
    start = time.monotonic()
    done = shop.run(code=5)
    assert time.monotonic() - start < 20
    assert "(Timeout)" in done.err
    assert "step wait" in done.err
    assert shop.calls == ["slow"]


def test_agent_that_takes_too_long_is_ended_with_its_step(shop: Shop, mock_openai: Any) -> None:
    shop.configure(providers={"openai": {"apiBase": mock_openai.base_url}})
    shop.apply(agent("helper"), workflow({"id": "ask", "agent": "helper", "timeout": "2s"}))
    done = shop.run("SLEEP(20000) SAY(late)", code=5)
    assert "(Timeout)" in done.err
    runs = orjson.loads(shop("get", "runs", "-o", "json").out)["items"]
    phases = {run["spec"]["target"]["kind"]: run["status"]["phase"] for run in runs}
    assert phases == {"Workflow": "Failed", "Agent": "Cancelled"}


def test_time_limit_of_the_whole_workflow_runs_its_handler(shop: Shop) -> None:
    slow = {"id": "wait", "tool": "slow", "input": {"seconds": 60}}
    shop.apply(workflow(slow, timeout="1500ms", onFailure=[echo("tell", "{{ error.reason }}")]))
    assert "(Timeout)" in shop.run(code=5).err
    assert shop.calls == ["slow", "echo Timeout"]


def test_limit_of_the_run_runs_no_handler(shop: Shop) -> None:
    slow = {"id": "wait", "tool": "slow", "input": {"seconds": 60}}
    shop.apply(workflow(slow, onFailure=[echo("tell", "{{ error.reason }}")]))
    assert "(LimitExceeded)" in shop.run("--timeout", "3s", code=5).err
    assert shop.calls == ["slow"]


# ------------------------------------------------------------------------------------------------ retries


def test_step_that_fails_twice_succeeds_with_the_third_try(shop: Shop) -> None:
    retry = {"maxAttempts": 3, "delay": "10ms"}
    shop.apply(workflow({"id": "try", "tool": "flaky", "input": {"fails": 2}, "retry": retry}))
    assert shop.run().out == "at last\n"
    assert shop.calls == ["flaky"] * 3
    assert "3" in shop("describe", "run/x").out
    explained = shop("explain", "run/x").out
    assert explained.count("not yet") >= 2


def test_tries_are_counted_and_told_when_they_were_not_enough(shop: Shop) -> None:
    retry = {"maxAttempts": 2, "delay": "10ms"}
    shop.apply(workflow({"id": "try", "tool": "flaky", "input": {"fails": 9}}, retry=retry))
    done = shop.run(code=5)
    assert "step try" in done.err
    assert "not yet" in done.err
    assert shop.calls == ["flaky"] * 2


def test_what_another_try_cannot_mend_is_tried_once(shop: Shop) -> None:
    retry = {"maxAttempts": 5, "delay": "10ms"}
    shop.apply(workflow({"id": "try", "tool": "flaky", "input": {"fails": "no number"}}, retry=retry))
    assert "(InvalidArguments)" in shop.run(code=5).err
    assert shop.calls == []


def test_timeout_is_retried_when_retries_name_it(shop: Shop) -> None:
    late = {"id": "try", "tool": "slow", "input": {"seconds": 60}, "timeout": "1500ms"}
    shop.apply(workflow({**late, "retry": {"maxAttempts": 2, "delay": "10ms", "on": ["Timeout"]}}))
    assert "(Timeout)" in shop.run(code=5).err
    assert shop.calls == ["slow"] * 2


# ------------------------------------------------------------------------------------------------ from Python


@pytest.fixture
async def runtime(shop: Shop, open_runtime: Callable[..., Any]) -> Any:
    async with open_runtime() as opened:
        await opened.apply(shop.path / "tools.json")
        yield opened


@pytest.mark.parametrize(
    ("steps", "reason", "message"),
    [
        ([{"id": "load", "tool": "broken", "input": {}}], "ToolFailed", r"step load: .*the disk is on fire"),
        (
            [{"id": "stop", "fail": {"reason": "OutOfStock", "message": "none left"}}],
            "OutOfStock",
            "step stop: none left",
        ),
        ([{"id": "wait", "tool": "slow", "input": {"seconds": 60}, "timeout": 0.1}], "Timeout", "step wait: "),
        ([{"id": "sum", "set": "{{ 1 / workflow.input }}"}], "ExpressionFailed", "step sum: "),
    ],
)
async def test_failure_reaches_python_with_reason_and_step(
    runtime: RuntimeManager, steps: list[dict[str, Any]], reason: str, message: str
) -> None:
    await runtime.apply([workflow(*steps)])
    with pytest.raises(RunFailedError, match=message) as caught:
        await runtime.get_workflow("w").execute(0)
    assert caught.value.reason == reason


async def test_retries_that_succeed_give_the_result_to_python(shop: Shop, runtime: RuntimeManager) -> None:
    retry = {"maxAttempts": 4, "delay": 0.01}
    await runtime.apply([workflow({"id": "try", "tool": "flaky", "input": {"fails": 3}, "retry": retry})])
    assert await runtime.get_workflow("w").execute() == "at last"
    assert shop.calls == ["flaky"] * 4
