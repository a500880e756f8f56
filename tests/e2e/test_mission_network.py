"""The Networks as the mission writes them: applied as they stand, answering against a server and without a key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from kastra_core import RuntimeManager, load_from_string
from kastra_core.api.meta import condition_of
from kastra_core.config import Config
from kastra_core.errors import NotReadyError
from mission_networks import RESEARCH, SUPPORT

ASK = "我的账单有问题，能帮我解决吗？"
KEY = {"OPENAI_API_KEY": "sk-mission-0123456789"}

SUPPORT_AGENTS = {
    "greeter": "欢迎客户，回答关于公司和服务的一般问题，例如营业时间和联系方式。",
    "technical": "解决技术问题：软件安装、报错、登录失败、连接和设备故障。",
    "billing": "处理账单、付款、退款、发票和订阅费用的问题。",
}
RESEARCH_AGENTS = {
    "search-agent": "搜索网络和数据库，找到相关的资料、论文和新闻。",
    "analysis-agent": "分析数据和资料，比较、计算并找出原因和趋势。",
    "summary-agent": "把长文章和多份材料总结成简短的要点或摘要。",
}


def agents(described: dict[str, str]) -> str:
    """Manifests of agents; what they are for is in their instructions, as in the mission's own agents."""
    return "---\n".join(
        f"""\
apiVersion: mastra.ai/v1
kind: Agent
metadata:
  name: {name}
spec:
  instructions: "{text}"
  model: {{provider: openai, name: gpt-4o-mini, maxTokens: 40}}
"""
        for name, text in described.items()
    )


WHOLE_SUPPORT = f"{SUPPORT}---\n{agents(SUPPORT_AGENTS)}"
WHOLE_RESEARCH = f"{RESEARCH}---\n{agents(RESEARCH_AGENTS)}"


def to(server: Any, **more: Any) -> dict[str, Any]:
    """Configuration that leads the provider ``openai`` to a server that wants no key."""
    return {"providers": {"openai": {"apiBase": server.base_url}}, **more}


def route(member: str, input: str) -> str:
    """Has the server, as the router's model, choose that member and ask it that."""
    choice = {"agent": member, "input": input, "reason": "scripted", "done": True}
    return f"JSON({orjson.dumps(choice).decode()})"


@pytest.fixture
def project(kitchen: Any) -> Any:
    """A project with both networks and their agents; nothing is applied."""
    (kitchen.path / "agent.yaml").unlink()
    (kitchen.path / "tool.yaml").unlink()
    for name, text in (
        ("support", SUPPORT),
        ("support-agents", agents(SUPPORT_AGENTS)),
        ("research", RESEARCH),
        ("research-agents", agents(RESEARCH_AGENTS)),
    ):
        (kitchen.path / f"{name}.yaml").write_text(text, encoding="utf-8")
    kitchen.configure(tools={})
    return kitchen


def items(project: Any, kinds: str) -> list[dict[str, Any]]:
    done = project("get", kinds, "-n", "default", "-o", "json")
    assert done.code == 0, done.err
    found: list[dict[str, Any]] = orjson.loads(done.out)["items"]
    return found


async def targets(runtime: RuntimeManager) -> list[str]:
    """Whom the stored runs ran, by their creation."""
    runs = (await runtime.client.list(runtime.registry.resolve("Run"))).items
    return sorted(str(run.spec["target"]["name"]) for run in runs)


# ------------------------------------------------------------------------------------------------ applying them


def test_networks_are_ready_with_their_agents_and_applying_again_changes_nothing(project: Any) -> None:
    first = project("apply", "-f", ".", **KEY)
    assert first.code == 0, first.err
    assert "not ready" not in first.out
    again = project("apply", "-f", ".", **KEY)
    assert again.out == first.out.replace("created", "unchanged")
    found = {item["metadata"]["name"]: item for item in items(project, "networks")}
    assert set(found) == {"customer-support", "research-network"}
    for item in found.values():
        assert [c["status"] for c in item["status"]["conditions"] if c["type"] == "Ready"] == ["True"]


def test_networks_are_stored_as_they_were_written(project: Any) -> None:
    project("apply", "-f", ".")
    found = {item["metadata"]["name"]: item["spec"] for item in items(project, "networks")}
    assert found["customer-support"] == {
        "instructions": "客户支持网络，由多个专业代理组成",
        "agents": [{"name": name, "ref": f"agents/{name}"} for name in SUPPORT_AGENTS],
        "router": {"model": {"provider": "openai", "name": "gpt-4"}},
    }
    assert found["research-network"] == {
        "instructions": "此网络协调多个智能体进行深入研究，包括搜索、分析和总结。",
        "agents": [{"name": name, "ref": f"default.{name}"} for name in RESEARCH_AGENTS],
        "router": {"model": {"provider": "openai", "name": "gpt-4o"}, "maxSteps": 15},
        "state": {"persistence": True, "ttl": 3600},
    }


def test_network_is_accepted_before_its_agents_and_heals_with_them(project: Any) -> None:
    first = project("apply", "-f", "support.yaml", **KEY)
    assert first.code == 0, first.err
    assert "network.mastra.ai/customer-support created (not ready: " in first.out
    assert project("apply", "-f", "support-agents.yaml", **KEY).code == 0
    done = project("wait", "network/customer-support", "--timeout", "20s", **KEY)
    assert done.code == 0, done.err


# ------------------------------------------------------------------------------------------------ against a server


async def test_network_is_loaded_from_a_text_and_answers(project: Any, mock_openai: Any, here: None) -> None:
    project.configure(**to(mock_openai))
    async with await load_from_string(WHOLE_SUPPORT, config=Config.load(project.path)) as runtime:
        network = runtime.get_network("default.customer-support")
        result = await network.generate(f"{ASK} {route('billing', 'SAY(请告诉我账单号。)')}")
        assert await targets(runtime) == ["billing", "customer-support"]
    assert str(result) == result.output == "请告诉我账单号。"
    assert (result.reason, tuple(result.members)) == ("Completed", ("billing",))
    assert result.usage["modelCalls"] == 2


async def test_text_of_the_mission_alone_is_loaded_and_says_which_agents_it_lacks(project: Any, here: None) -> None:
    async with await load_from_string(SUPPORT, config=Config.load(project.path)) as runtime:
        network = runtime.get_network("default.customer-support")
        ready = condition_of(await network.resource(), "Ready") or {}
        assert ready["status"] == "False"
        for name in SUPPORT_AGENTS:
            assert name in ready["message"]
        with pytest.raises(NotReadyError, match="greeter"):
            await network.generate(ASK)


def test_research_network_is_run_explained_and_described_on_the_command_line(project: Any, mock_openai: Any) -> None:
    project.configure(**to(mock_openai))
    assert project("apply", "-f", "research.yaml", "-f", "research-agents.yaml").code == 0
    ask = f"比较两种电池。 {route('analysis-agent', 'SAY(磷酸铁锂更便宜。)')}"
    done = project("run", "network/research-network", "--name", "batteries", "-o", "json", ask)
    assert done.code == 0, done.err
    answer = orjson.loads(done.out)
    assert (answer["phase"], answer["output"]) == ("Succeeded", "磷酸铁锂更便宜。")
    assert answer["usage"]["modelCalls"] <= 3
    explained = project("explain", "run/batteries")
    assert explained.code == 0, explained.err
    for name in RESEARCH_AGENTS:
        assert name in explained.out
    described = project("describe", "run/batteries")
    assert described.code == 0, described.err
    assert "analysis-agent" in described.out


def test_network_has_a_graph_and_a_list_of_its_own(project: Any) -> None:
    project("apply", "-f", ".", **KEY)
    assert "customer-support" in project("get", "networks").out
    graph = project("graph", "network/research-network")
    assert graph.code == 0, graph.err
    for name in RESEARCH_AGENTS:
        assert name in graph.out


async def test_research_network_keeps_state_as_the_mission_says(project: Any, mock_openai: Any, here: None) -> None:
    project.configure(**to(mock_openai))
    async with await load_from_string(WHOLE_RESEARCH, config=Config.load(project.path)) as runtime:
        network = runtime.get_network("research-network")
        state = {"topic": "电池"}
        await network.state.update_values(state)
        ask = route("search-agent", 'CALL(state_set:{"values":{"sources":3}}) SAY(找到了。)')
        assert (await network.generate(ask)).output == "找到了。"
        assert await network.state.get_network_state() == {"topic": "电池", "sources": 3}


# ------------------------------------------------------------------------------------------------ without a key

QUESTIONS = {
    "zh": (ASK, "billing"),
    "en": ("The app shows an error when I try to log in.", "technical"),
}


@pytest.mark.model
@pytest.mark.parametrize(("ask", "member"), QUESTIONS.values(), ids=QUESTIONS)
async def test_network_is_routed_by_the_local_embeddings(
    project: Any, mock_openai: Any, here: None, ask: str, member: str
) -> None:
    # Members are on a server here, so that only the routing is real.
    project.configure(**to(mock_openai))
    text = WHOLE_SUPPORT.replace("  router:\n", "  router:\n    type: embedding\n")
    async with await load_from_string(text, config=Config.load(project.path)) as runtime:
        events = [event async for event in runtime.get_network("default.customer-support").stream(ask)]
    [decision] = [event for event in events if event["type"] == "decision"]
    assert (decision["router"], decision["chosen"]) == ("embedding", member)
    scores = {candidate["name"]: candidate["score"] for candidate in decision["candidates"]}
    assert max(scores, key=scores.__getitem__) == member
    assert events[-1]["usage"]["modelCalls"] == 1


@pytest.mark.model_slow
@pytest.mark.parametrize(("ask", "member"), QUESTIONS.values(), ids=QUESTIONS)
async def test_network_of_the_mission_answers_without_a_key(
    project: Any, open_runtime: Callable[..., Any], weights: Any, ask: str, member: str
) -> None:
    project.configure(model="local/auto", tools={})
    async with open_runtime() as runtime:
        report = await runtime.apply([project.path / name for name in ("support.yaml", "support-agents.yaml")])
        assert not report.not_ready
        result = await runtime.get_network("default.customer-support").generate(ask)
        resource = await runtime.get_network("default.customer-support").resource()
    assert result.output.strip()
    assert result.members[0] == member
    assert "local/auto" in orjson.dumps(resource.status).decode()


@pytest.mark.model_slow
def test_network_of_the_mission_answers_on_the_command_line_without_a_key(project: Any, weights: Any) -> None:
    done = project("apply", "-f", ".")
    assert done.code == 0, done.err
    done = project("run", "network/customer-support", "--model", "local/auto", "-o", "json", "--name", "first", ASK)
    assert done.code == 0, done.err
    answer = orjson.loads(done.out)
    assert answer["phase"] == "Succeeded"
    assert answer["output"].strip()
    assert "billing" in project("explain", "run/first").out
    done = project("run", "network/research-network", "--model", "local/auto", "-o", "json", "用一句话总结：茶是什么？")
    assert done.code == 0, done.err
    assert orjson.loads(done.out)["output"].strip()
