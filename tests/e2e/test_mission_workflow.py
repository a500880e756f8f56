"""The Workflows as the mission writes them: applied as they stand, carried out offline and against a server."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from kastra_core import RuntimeManager, load_from_string
from kastra_core.api.meta import condition_of
from kastra_core.config import Config
from kastra_core.errors import NotReadyError

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "quickstart"
KEY = {"OPENAI_API_KEY": "sk-mission-0123456789"}

RECIPES = """\
# 工作流定义与资源引用
apiVersion: mastra.ai/v1
kind: Workflow
metadata:
  name: recipe-suggestion
spec:
  steps:
    - id: check-ingredients
      agent:
        name: recipe-assistant
        namespace: cooking
      input:
        type: user-input
      output:
        type: ingredients-list
      next: find-recipes
    - id: find-recipes
      tool:
        name: recipe-finder
        namespace: cooking
      input:
        from: ingredients-list
      output:
        type: recipe-results
"""

PROCESSING = """\

apiVersion: mastra.ai/v1
kind: Workflow
metadata:
  name: data-processing
spec:
  name: 数据处理工作流
  initialStep: extract
  steps:
    - id: extract
      name: 数据提取
      agent: extract-agent
      next: transform
    - id: transform
      name: 数据转换
      agent: transform-agent
      next: load
    - id: load
      name: 数据加载
      agent: load-agent
      next: END
"""

SUPPORT = """\
apiVersion: mastra.ai/v1
kind: Workflow
metadata:
  name: support-flow
spec:
        initialStep: initial-response
        steps:
          - id: initial-response
            agent: support-agent
            # 更多步骤...
"""
"""The body of the workflow is the mission's, which has it in a System."""

SUPPORT_AGENT = """\
apiVersion: mastra.ai/v1
kind: Agent
metadata:
  name: support-agent
spec:
        instructions: "你是客户支持代表..."
        model:
          provider: anthropic
          name: claude-3-opus
"""

AGENTS = "---\n".join(
    f"""\
apiVersion: mastra.ai/v1
kind: Agent
metadata:
  name: {name}-agent
spec:
  instructions: "{instructions}"
  model: openai/gpt-4o-mini
"""
    for name, instructions in (("extract", "提取数据。"), ("transform", "转换数据。"), ("load", "加载数据。"))
)

TOOL = """\
apiVersion: mastra.ai/v1
kind: Tool
metadata: {name: recipe-finder, namespace: cooking}
spec:
  type: python
  description: 根据现有食材查找菜谱 (find recipes by ingredients)
  python: {function: "pantry:find_recipes"}
"""

ANY_ANSWER = "Hello from the mock."


def to(server: Any, **more: Any) -> dict[str, Any]:
    """Configuration that leads the provider ``openai`` to a server that wants no key."""
    return {
        "providers": {"openai": {"apiBase": server.base_url}},
        "tools": {"python": {"allow": ["pantry", "pantry_recipes"]}},
        **more,
    }


@pytest.fixture
def project(kitchen: Any) -> Any:
    """The kitchen, with the workflows, their agents, and a tool that takes the text of an agent."""
    path = kitchen.path
    (path / "recipes.yaml").write_text(RECIPES, encoding="utf-8")
    (path / "processing.yaml").write_text(PROCESSING, encoding="utf-8")
    (path / "processing-agents.yaml").write_text(AGENTS, encoding="utf-8")
    (path / "support.yaml").write_text(SUPPORT, encoding="utf-8")
    (path / "support-agent.yaml").write_text(SUPPORT_AGENT, encoding="utf-8")
    shutil.copy(Path(__file__).with_name("mission_pantry.py"), path / "pantry.py")
    (path / "tool.yaml").write_text(TOOL, encoding="utf-8")
    kitchen.configure(tools={"python": {"allow": ["pantry"]}})
    return kitchen


def items(project: Any, kinds: str, namespace: str = "default") -> list[dict[str, Any]]:
    done = project("get", kinds, "-n", namespace, "-o", "json")
    assert done.code == 0, done.err
    found: list[dict[str, Any]] = orjson.loads(done.out)["items"]
    return found


def runs_by_target(runs: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    found = {run["spec"]["target"]["name"]: run for run in runs}
    assert len(found) == len(runs)
    return found


async def stored_runs(runtime: RuntimeManager) -> dict[str, dict[str, Any]]:
    kind = runtime.registry.resolve("Run")
    return runs_by_target([run.to_manifest() for run in (await runtime.client.list(kind)).items])


# ------------------------------------------------------------------------------------------------ applying them


def test_example_of_the_documentation_is_the_workflow_of_the_mission() -> None:
    assert (EXAMPLE / "recipe-suggestion.yaml").read_text(encoding="utf-8") == RECIPES


def test_workflows_are_ready_with_what_they_name_and_applying_again_changes_nothing(project: Any) -> None:
    first = project("apply", "-f", ".", ANTHROPIC_API_KEY="sk-a-0123456789", **KEY)
    assert first.code == 0, first.err
    assert "not ready" not in first.out
    again = project("apply", "-f", ".", ANTHROPIC_API_KEY="sk-a-0123456789", **KEY)
    assert again.out == first.out.replace("created", "unchanged")
    found = {item["metadata"]["name"]: item for item in items(project, "workflows")}
    ready = {
        name: [c["status"] for c in item["status"]["conditions"] if c["type"] == "Ready"]
        for name, item in found.items()
    }
    assert ready == {key: ["True"] for key in ("data-processing", "recipe-suggestion", "support-flow")}
    assert {name: item["status"]["steps"] for name, item in found.items()} == {
        "data-processing": 3,
        "recipe-suggestion": 2,
        "support-flow": 1,
    }


def test_workflow_is_stored_as_it_was_written(project: Any) -> None:
    project("apply", "-f", "recipes.yaml")
    [workflow] = items(project, "workflows")
    assert workflow["spec"] == {
        "steps": [
            {
                "id": "check-ingredients",
                "agent": {"name": "recipe-assistant", "namespace": "cooking"},
                "input": {"type": "user-input"},
                "output": {"type": "ingredients-list"},
                "next": "find-recipes",
            },
            {
                "id": "find-recipes",
                "tool": {"name": "recipe-finder", "namespace": "cooking"},
                "input": {"from": "ingredients-list"},
                "output": {"type": "recipe-results"},
            },
        ]
    }


def test_workflow_is_accepted_before_its_agent_and_heals_with_it(project: Any) -> None:
    first = project("apply", "-f", "recipes.yaml", "-f", "tool.yaml")
    assert first.code == 0
    assert "workflow.mastra.ai/recipe-suggestion created (not ready: AgentNotFound" in first.out
    assert project("apply", "-f", "agent.yaml", **KEY).code == 0
    done = project("wait", "workflow/recipe-suggestion", "--timeout", "20s", **KEY)
    assert done.code == 0, done.err


def test_get_lists_the_workflows_with_their_steps(project: Any) -> None:
    project("apply", "-f", "processing.yaml", "-f", "processing-agents.yaml", **KEY)
    head, line = project("get", "workflows").out.splitlines()
    assert head.split()[:4] == ["NAME", "STEPS", "READY", "REASON"]
    assert line.split()[:3] == ["data-processing", "3", "True"]


def test_graph_of_a_workflow_names_its_steps_and_agents(project: Any) -> None:
    project("apply", "-f", "processing.yaml")
    text = project("graph", "workflow/data-processing")
    assert text.code == 0, text.err
    mermaid = project("graph", "workflow/data-processing", "-o", "mermaid")
    assert mermaid.code == 0, mermaid.err
    for word in ("extract", "transform", "load"):
        assert word in text.out
        assert word in mermaid.out


# ------------------------------------------------------------------------------------------------ against a server


def test_agents_answer_is_what_the_tool_gets(project: Any, mock_openai: Any) -> None:
    project.configure(**to(mock_openai))
    project("apply", "-f", ".")
    done = project("run", "workflow/recipe-suggestion", "-o", "json", "SAY(鸡蛋和番茄)")
    assert done.code == 0, done.err
    answer = orjson.loads(done.out)
    assert answer["phase"] == "Succeeded"
    assert answer["output"]["ingredients"] == ["egg", "tomato"]
    assert answer["output"]["recipes"][0].startswith("番茄炒蛋")
    assert (answer["usage"]["modelCalls"], answer["usage"]["toolCalls"]) == (1, 1)
    runs = runs_by_target(items(project, "runs"))
    assert runs["recipe-assistant"]["spec"]["input"] == "SAY(鸡蛋和番茄)"
    assert runs["recipe-assistant"]["metadata"]["ownerReferences"][0]["name"] == answer["run"]


def test_agent_of_the_workflow_uses_its_own_tools(project: Any, mock_openai: Any) -> None:
    project.configure(**to(mock_openai))
    project("apply", "-f", ".")
    ask = 'CALL(recipe-finder:{"ingredients":"豆腐"}) SAY(豆腐和番茄)'
    done = project("run", "workflow/recipe-suggestion", "-o", "json", ask)
    assert done.code == 0, done.err
    answer = orjson.loads(done.out)
    assert answer["output"] == {"ingredients": ["tofu", "tomato"], "recipes": answer["output"]["recipes"]}
    assert (answer["usage"]["modelCalls"], answer["usage"]["toolCalls"]) == (2, 2)


async def test_recipes_are_suggested_from_python(
    project: Any, mock_openai: Any, open_runtime: Callable[..., Any]
) -> None:
    project.configure(**to(mock_openai))
    async with open_runtime() as runtime:
        report = await runtime.apply([project.path / name for name in ("tool.yaml", "agent.yaml", "recipes.yaml")])
        assert not report.not_ready
        result = await runtime.get_workflow("default.recipe-suggestion").execute("SAY(鸡蛋, 米饭)")
    assert result["ingredients"] == ["egg", "rice"]


async def test_workflow_is_loaded_and_executed_from_a_text_without_input(
    project: Any, mock_openai: Any, here: None
) -> None:
    project.configure(**to(mock_openai))
    async with await load_from_string(f"{PROCESSING}---\n{AGENTS}", config=Config.load(project.path)) as runtime:
        workflow = runtime.get_workflow("default.data-processing")
        result = await workflow.execute()
        runs = await stored_runs(runtime)
    assert result == ANY_ANSWER
    assert {name: run["status"]["phase"] for name, run in runs.items()} == dict.fromkeys(
        ("data-processing", "extract-agent", "transform-agent", "load-agent"), "Succeeded"
    )
    # The first agent gets the name of its step, each further one what the one before said.
    assert [runs[f"{name}-agent"]["spec"]["input"] for name in ("extract", "transform", "load")] == [
        "数据提取",
        ANY_ANSWER,
        ANY_ANSWER,
    ]


async def test_text_of_the_mission_alone_is_loaded_and_says_which_agents_it_lacks(project: Any, here: None) -> None:
    async with await load_from_string(PROCESSING, config=Config.load(project.path)) as runtime:
        workflow = runtime.get_workflow("default.data-processing")
        ready = condition_of(await workflow.resource(), "Ready") or {}
        assert (ready["status"], ready["reason"]) == ("False", "AgentNotFound")
        for name in ("extract-agent", "transform-agent", "load-agent"):
            assert name in ready["message"]
        with pytest.raises(NotReadyError, match="extract-agent"):
            await workflow.execute()


def test_agents_are_asked_one_after_the_other(project: Any, mock_openai: Any) -> None:
    project.configure(**to(mock_openai))
    project("apply", "-f", "processing.yaml", "-f", "processing-agents.yaml")
    done = project("run", "workflow/data-processing", "SAY(SAY(SAY(已加载)))")
    assert (done.code, done.out) == (0, "已加载\n")
    inputs = {name: run["spec"]["input"] for name, run in runs_by_target(items(project, "runs")).items()}
    assert inputs == {
        "data-processing": "SAY(SAY(SAY(已加载)))",
        "extract-agent": "SAY(SAY(SAY(已加载)))",
        "transform-agent": "SAY(SAY(已加载))",
        "load-agent": "SAY(已加载)",
    }


def test_history_of_a_run_names_each_step(project: Any, mock_openai: Any) -> None:
    project.configure(**to(mock_openai))
    project("apply", "-f", "processing.yaml", "-f", "processing-agents.yaml")
    project("run", "workflow/data-processing", "--name", "march", "SAY(SAY(SAY(已加载)))")
    for words in (("describe", "run/march"), ("explain", "run/march"), ("logs", "run/march")):
        done = project(*words)
        assert done.code == 0, done.err
        for step in ("extract", "transform", "load"):
            assert step in done.out, words
    assert "已加载" in project("describe", "run/march").out


def test_workflow_of_the_support_system_answers(project: Any, mock_openai: Any) -> None:
    project.configure(**to(mock_openai, model="openai/gpt-4o-mini"))
    project("apply", "-f", "support.yaml", "-f", "support-agent.yaml")
    done = project("run", "workflow/support-flow", "SAY(您好，请问有什么可以帮您？)")
    assert (done.code, done.out) == (0, "您好，请问有什么可以帮您？\n"), done.err


def test_workflow_of_the_support_system_answers_with_a_model_override(project: Any, mock_openai: Any) -> None:
    project.configure(**to(mock_openai))
    project("apply", "-f", "support.yaml", "-f", "support-agent.yaml")
    done = project("run", "workflow/support-flow", "--model", "openai/gpt-4o-mini", "SAY(您好)")
    assert (done.code, done.out) == (0, "您好\n"), done.err


# ------------------------------------------------------------------------------------------------ offline


@pytest.mark.model_slow
def test_recipes_are_suggested_offline_with_a_model_override(project: Any, weights: Path) -> None:
    project("apply", "-f", ".")  # no key: the model of the manifest is missing, the override is not
    ask = "我有鸡蛋和番茄。只写食材的名称。"
    done = project("run", "workflow/recipe-suggestion", "--model", "local/auto", "-o", "json", ask)
    assert done.code == 0, done.err
    answer = orjson.loads(done.out)
    assert answer["phase"] == "Succeeded"
    assert answer["usage"]["toolCalls"] >= 1
    assert set(answer["output"]) == {"ingredients", "recipes"}
    assert {"egg", "tomato"} & set(answer["output"]["ingredients"])
    runs = runs_by_target(items(project, "runs"))
    assert runs["recipe-assistant"]["status"]["phase"] == "Succeeded"


@pytest.mark.model_slow
async def test_workflow_is_loaded_and_executed_offline_without_input(project: Any, here: None, weights: Path) -> None:
    project.configure(model="local/auto")
    agents = AGENTS.replace("据。", "据。用一句话回答。")
    async with await load_from_string(f"{PROCESSING}---\n{agents}", config=Config.load(project.path)) as runtime:
        workflow = runtime.get_workflow("default.data-processing")
        result = await workflow.execute()
        runs = await stored_runs(runtime)
    assert isinstance(result, str)
    assert result.strip()
    assert runs["extract-agent"]["spec"]["input"] == "数据提取"
    outputs = {name: run["status"]["output"] for name, run in runs.items()}
    assert runs["transform-agent"]["spec"]["input"] == outputs["extract-agent"]
    assert runs["load-agent"]["spec"]["input"] == outputs["transform-agent"]
    assert outputs["load-agent"] == outputs["data-processing"] == result


@pytest.mark.model_slow
def test_workflow_of_the_support_system_answers_offline(project: Any, weights: Path) -> None:
    project.configure(model="local/auto")
    project("apply", "-f", "support.yaml", "-f", "support-agent.yaml")
    done = project("run", "workflow/support-flow", "-o", "json", "你好！")
    assert done.code == 0, done.err
    answer = orjson.loads(done.out)
    assert answer["phase"] == "Succeeded"
    assert answer["output"].strip()
