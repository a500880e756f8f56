"""What is missing is a condition with reason and remedy, and what was missing heals what waited for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import pytest

from kastra_core.api.meta import Resource, condition_of, is_true

KEY = {"OPENAI_API_KEY": "sk-healing-0123456789"}
NAME = "agent/recipe-assistant"
HERE = ("-n", "cooking")
NO_TOOL = "spec.tools[0]: Tool cooking/recipe-finder is not found"


def rows(text: str) -> list[dict[str, str]]:
    """A table as a list of rows by column."""
    head, *lines = [line.split() for line in text.splitlines() if line.strip()]
    return [dict(zip(head, line)) for line in lines]


# ------------------------------------------------------------------------------------------------ what is seen


def test_missing_tool_is_told_wherever_one_looks(kitchen: Any) -> None:
    applied = kitchen("apply", "-f", "agent.yaml", **KEY)
    assert applied.code == 0
    assert applied.out.startswith(
        f"agent.mastra.ai/recipe-assistant created (not ready: ToolNotFound: {NO_TOOL}; apply"
    )
    assert "1 applied (1 created), 1 not ready" in applied.err

    (row,) = rows(kitchen("get", "agents", *HERE).out)
    assert (row["READY"], row["REASON"]) == ("False", "ToolNotFound")

    described = kitchen("describe", NAME, *HERE).out
    assert f"{NO_TOOL}; apply the missing one, or take it out of spec.tools" in described
    (reference,) = [line for line in described.splitlines() if line.strip().startswith("spec.tools[0] ")]
    assert reference.split() == ["spec.tools[0]", "Tool", "cooking/recipe-finder", "missing"]
    assert "Warning" in described.partition("Events:")[2]

    run = kitchen("run", NAME, *HERE, "你好", **KEY)
    assert (run.code, run.out) == (1, "")
    assert f"is not ready (ToolNotFound): {NO_TOOL}" in run.err
    assert kitchen.items("runs") == []

    waited = kitchen("wait", NAME, *HERE, "--timeout", "0", **KEY)
    assert waited.code == 1
    assert "ToolNotFound" in waited.err


def test_missing_key_is_told_with_the_variable_to_set(kitchen: Any) -> None:
    applied = kitchen("apply", "-f", ".")
    assert "tool.mastra.ai/recipe-finder created\n" in applied.out
    assert "created (not ready: ModelMissingKey: openai/gpt-4-turbo: " in applied.out
    assert "set OPENAI_API_KEY" in applied.out
    assert "2 applied (2 created), 1 not ready" in applied.err
    (row,) = rows(kitchen("get", "agents", *HERE).out)
    assert (row["READY"], row["REASON"]) == ("False", "ModelMissingKey")
    run = kitchen("run", NAME, *HERE, "你好")
    assert (run.code, run.out) == (1, "")
    assert "set OPENAI_API_KEY" in run.err


def test_key_that_is_given_to_a_new_process_heals_the_agent(kitchen: Any) -> None:
    kitchen("apply", "-f", ".")
    assert kitchen.condition("Ready")["status"] == "False"
    waited = kitchen("wait", NAME, *HERE, **KEY)
    assert (waited.code, waited.out) == (0, "agent.mastra.ai/recipe-assistant condition met\n")
    assert kitchen.condition("Ready")["status"] == "True"
    assert KEY["OPENAI_API_KEY"] not in kitchen("get", "agents", *HERE, "-o", "yaml").out


def test_key_that_is_gone_ends_the_run_without_a_request(kitchen: Any) -> None:
    kitchen("apply", "-f", ".", **KEY)
    run = kitchen("run", NAME, *HERE, "你好")
    assert (run.code, run.out) == (5, "")
    assert "OpenAI needs an API key and none is set; set OPENAI_API_KEY" in run.err
    assert "trying again" not in run.err


def test_unknown_provider_is_told_with_the_nearest_one(kitchen: Any) -> None:
    _replace(kitchen, "agent.yaml", "provider: openai", "provider: opennai")
    applied = kitchen("apply", "-f", ".", **KEY)
    assert (
        "not ready: ModelUnknownProvider: opennai/gpt-4-turbo: no plugin serves the provider 'opennai'" in applied.out
    )
    assert "did you mean 'openai'?" in applied.out


def test_provider_of_a_plugin_that_comes_later_heals(kitchen: Any) -> None:
    _replace(kitchen, "agent.yaml", "provider: openai", "provider: anthropic")
    key = {"ANTHROPIC_API_KEY": "sk-healing-0123456789"}
    applied = kitchen("--no-plugin", "litellm", "apply", "-f", ".", **key)
    assert "not ready: ModelUnknownProvider" in applied.out
    assert "install a plugin that offers it, for example kastra-plugin-openai or kastra-plugin-litellm" in applied.out
    assert kitchen("wait", NAME, *HERE, **key).code == 0


def test_module_that_is_not_allowed_is_told_and_heals_when_it_is(kitchen: Any) -> None:
    kitchen.configure(tools={"python": {"allow": []}})
    applied = kitchen("apply", "-f", ".", **KEY)
    command = "kastra config set tools.python.allow pantry_recipes"
    assert applied.out.count(command) == 2  # of the tool, and of the agent that waits for it
    ready = kitchen.condition("Ready", "tools")
    assert (ready["status"], ready["reason"]) == ("False", "ModuleNotAllowed")
    assert kitchen.condition("Ready")["reason"] == "ToolNotReady"

    assert kitchen(*command.split()[1:]).code == 0
    assert kitchen("wait", NAME, *HERE, **KEY).code == 0
    assert kitchen.condition("Ready", "tools")["status"] == "True"


def test_function_that_does_not_exist_is_told_with_the_nearest_one(kitchen: Any) -> None:
    _replace(kitchen, "tool.yaml", "find_recipes", "find_recipe")
    applied = kitchen("apply", "-f", "tool.yaml")
    assert "not ready: FunctionNotFound" in applied.out
    assert "did you mean 'find_recipes'?" in applied.out


# ------------------------------------------------------------------------------------------------ healing by itself


@pytest.fixture
async def watched(
    kitchen: Any, open_runtime: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[..., Any]]:
    """A process that lives on with the agent applied, without its tool; await ``watched(holds)`` for a state of it."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY["OPENAI_API_KEY"])
    async with open_runtime() as runtime:
        events = runtime.store.resources.watch("mastra.ai", "Agent")
        async with aclosing(events):
            await runtime.apply(kitchen.path / "agent.yaml")

            async def until(holds: Callable[[Resource], bool]) -> Resource:
                async with asyncio.timeout(60):
                    async for event in events:
                        found: Resource | None = event.resource
                        if found is not None and holds(found):
                            return found
                raise AssertionError("the watch ended")

            yield until


def reason(resource: Resource) -> str:
    return str((condition_of(resource, "Ready") or {}).get("reason"))


async def test_tool_that_another_process_applies_heals_the_agent_of_this_one(kitchen: Any, watched: Any) -> None:
    await watched(lambda agent: reason(agent) == "ToolNotFound")
    # Without waiting the other process runs no controllers, so it is this one that notices.
    done = await asyncio.to_thread(kitchen, "apply", "-f", "tool.yaml", "--wait=false")
    assert done.code == 0
    assert "not ready" not in done.all
    await watched(is_true)


async def test_tool_that_another_process_deletes_is_missed_and_welcome_back(kitchen: Any, watched: Any) -> None:
    await asyncio.to_thread(kitchen, "apply", "-f", "tool.yaml", "--wait=false")
    await watched(is_true)
    deleted = await asyncio.to_thread(kitchen, "delete", "tool/recipe-finder", *HERE)
    assert deleted.code == 0
    agent = await watched(lambda agent: reason(agent) == "ToolNotFound")
    assert NO_TOOL in (condition_of(agent, "Ready") or {})["message"]
    await asyncio.to_thread(kitchen, "apply", "-f", "tool.yaml", "--wait=false")
    await watched(is_true)


async def test_module_and_key_that_appear_later_heal_by_themselves(
    kitchen: Any, open_runtime: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = kitchen.path / "pantry_recipes.py"
    text = module.read_text(encoding="utf-8")
    module.unlink()
    async with open_runtime() as runtime:
        events = runtime.store.resources.watch("mastra.ai", "Agent")
        async with aclosing(events):
            report = await runtime.apply(kitchen.path)
            told = {item.resource.kind: condition_of(item.resource, "Ready") or {} for item in report.not_ready}
            assert told["Tool"]["reason"] == "ModuleNotFound"
            assert str(kitchen.path) in told["Tool"]["message"]
            assert told["Agent"]["reason"] == "ToolNotReady"
            module.write_text(text, encoding="utf-8")
            monkeypatch.setenv("OPENAI_API_KEY", KEY["OPENAI_API_KEY"])
            # Files and the environment tell nobody of a change: they are looked at again every few seconds.
            async with asyncio.timeout(60):
                async for event in events:
                    if event.resource is not None and is_true(event.resource):
                        break
        assert await runtime.get_tool("cooking.recipe-finder").call(ingredients=["鸡蛋", "番茄"]) == ["番茄炒蛋"]


def test_wait_of_one_process_ends_when_another_applies_the_tool(kitchen: Any) -> None:
    kitchen("apply", "-f", "agent.yaml", **KEY)
    waiting = kitchen.start("wait", "--for=condition=Ready", NAME, *HERE, "--timeout", "60s", **KEY)
    assert kitchen("apply", "-f", "tool.yaml", "--wait=false").code == 0
    out, err = waiting.communicate()
    assert (waiting.returncode, out) == (0, "agent.mastra.ai/recipe-assistant condition met\n"), err


def test_watch_of_one_process_shows_what_another_applies(kitchen: Any) -> None:
    kitchen("apply", "-f", "agent.yaml", **KEY)
    watching = kitchen.start("get", "agents", *HERE, "-w")
    assert watching.stdout is not None
    assert "READY" in watching.stdout.readline()
    assert "ToolNotFound" in watching.stdout.readline()
    kitchen("apply", "-f", "tool.yaml", **KEY)
    assert kitchen("wait", NAME, *HERE, **KEY).code == 0
    seen = iter(watching.stdout.readline, "")
    assert any(line.split()[3:5] == ["True", "Ready"] for line in seen)


def _replace(kitchen: Any, name: str, old: str, new: str) -> None:
    path = kitchen.path / name
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_an_agent_whose_tool_is_orphaned_says_so_and_heals_with_the_plugin(kitchen: Any) -> None:
    kitchen("apply", "-f", ".", **KEY)
    assert kitchen.condition("ToolsResolved")["status"] == "True"
    kitchen("--no-plugin", "tool", "apply", "-f", "agent.yaml", **KEY)
    found = kitchen.condition("ToolsResolved")
    assert (found["status"], found["reason"]) == ("False", "ToolNotReady")
    assert "recipe-finder is orphaned: no plugin offers the kind Tool" in found["message"]
    kitchen("apply", "-f", "agent.yaml", **KEY)
    assert kitchen.condition("ToolsResolved")["status"] == "True"
