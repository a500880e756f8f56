"""ARK's teams as workflows and networks, and that the workflows do what the teams did."""

from __future__ import annotations

import json
import types
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kastra_core import PluginManager, RuntimeManager, hookimpl
from kastra_core.config import Config
from kastra_core.memory_store import MemoryStore
from kastra_core.protocols.model import ChatRequest
from kastra_core.registrations import ModelProviderRegistration
from kastra_core.runtime import registry_of
from kastra_core.testing.fakes import FakeModelProvider


def _team(spec: str, *agents: str, ends: str = "") -> str:
    out = f"apiVersion: ark.mckinsey.com/v1alpha1\nkind: Team\nmetadata: {{name: team}}\nspec: {spec}\n"
    for name in agents:
        tools = "[{type: built-in, name: terminate}]" if name in ends.split() else "[]"
        out += f"---\napiVersion: ark.mckinsey.com/v1alpha1\nkind: Agent\nmetadata: {{name: {name}}}\n"
        out += f"spec: {{prompt: I am {name}., description: D-{name}, tools: {tools}}}\n"
    return out


def _members(*names: str) -> str:
    return "members: [" + ", ".join(f"{{name: {name}, type: agent}}" for name in names) + "]"


def test_a_sequential_team_tells_each_member_what_was_said_before(migrate: Any) -> None:
    moved = migrate(_team(f"{{strategy: sequential, {_members('a', 'b', 'a')}}}", "a", "b"), "ark")
    assert moved.spec("Workflow")["steps"] == [
        {"id": "a", "agent": "a", "input": "{{ workflow.input }}"},
        {"id": "b", "agent": "b", "input": "{{ workflow.input }}\n\na:\n{{ steps.a.output }}"},
        {
            "id": "a-2",
            "agent": "a",
            "input": "{{ workflow.input }}\n\na:\n{{ steps.a.output }}\n\nb:\n{{ steps.b.output }}",
        },
    ]


def test_a_graph_is_a_path_and_then_perhaps_a_circle(migrate: Any) -> None:
    edges = "graph: {edges: [{from: a, to: b}, {from: b, to: c}, {from: x, to: a}]}"
    moved = migrate(
        _team(f"{{strategy: graph, maxTurns: 9, {_members('a', 'b', 'c', 'x')}, {edges}}}", "a", "b", "c"), "ark"
    )
    assert [step["id"] for step in moved.spec("Workflow")["steps"]] == ["a", "b", "c"]
    assert moved.row("members[3].name").outcome == "dropped"
    assert moved.row("edges[2].from").outcome == "dropped"
    assert moved.row("maxTurns").outcome == "dropped"
    edges = "graph: {edges: [{from: a, to: b}, {from: b, to: c}, {from: c, to: b}]}"
    moved = migrate(
        _team(f"{{strategy: graph, maxTurns: 6, {_members('a', 'b', 'c')}, {edges}}}", "a", "b", "c"), "ark"
    )
    first, rounds = moved.spec("Workflow")["steps"]
    assert first["id"] == "a"
    assert (rounds["loop"]["maxIterations"], rounds["loop"]["onLimit"]) == (3, "stop")
    assert [step["id"] for step in rounds["loop"]["steps"]] == ["talk", "b", "c", "turn"]


def test_a_path_that_is_longer_than_max_turns_ends_before(migrate: Any) -> None:
    edges = "graph: {edges: [{from: a, to: b}, {from: b, to: c}]}"
    moved = migrate(
        _team(f"{{strategy: graph, maxTurns: 2, {_members('a', 'b', 'c')}, {edges}}}", "a", "b", "c"), "ark"
    )
    assert moved.spec("Workflow")["steps"][1]["next"] == "END"


def test_a_team_with_a_selector_becomes_a_network(migrate: Any) -> None:
    spec = (
        "{strategy: selector, description: S, maxTurns: 4, "
        "members: [{name: a, type: agent}, {name: inner, type: team}], "
        "selector: {selectorPrompt: '{{.Participants}} | {{.Roles}} | {{.History}}'}}"
    )
    inner = (
        "---\napiVersion: ark.mckinsey.com/v1alpha1\nkind: Team\n"
        "metadata: {name: inner}\nspec: {strategy: sequential, members: [{name: a, type: agent}]}\n"
    )
    moved = migrate(_team(spec, "a", ends="a") + inner, "ark")
    assert moved.spec("Network") == {
        "description": "S",
        "agents": ["a"],
        "workflows": ["inner"],
        "router": {
            "instructions": "a, inner | a: D-a, inner | (the conversation so far)",
            "fallback": "a",
            "maxSteps": 4,
        },
    }


def test_a_network_says_that_it_has_a_limit_where_the_team_has_none(migrate: Any) -> None:
    text = _team(f"{{strategy: selector, {_members('a')}}}", "a")
    moved = migrate(text, "ark")
    assert "maxSteps" not in moved.spec("Network")["router"]
    row = moved.row("maxTurns")
    assert (row.outcome, row.target) == ("defaulted", "Network default/team spec.router.maxSteps")
    assert "after 10 members" in row.reason
    bounded = migrate(text.replace("selector,", "selector, maxTurns: 4,"), "ark")
    assert [row.outcome for row in bounded.rows("maxTurns")] == ["mapped"]


def _says(answer: str, *, end: bool = False) -> str:
    """What an agent answers that may end its team."""
    return json.dumps({"terminate": end, "answer": answer})


class Stage:
    """Applies what came of a team, and runs it with scripted answers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.model = FakeModelProvider(default=self._answer)
        self.answers: dict[str, list[str]] = {}
        """Name of an agent -> what it answers, in turn."""
        self.asked: list[tuple[str, str]] = []
        self.runtime: RuntimeManager | None = None

    def _answer(self, request: ChatRequest) -> Any:
        name = next(one.text for one in request.messages if one.role == "system").split()[-1].rstrip(".")
        self.asked.append((name, request.messages[-1].text))
        answers = self.answers.get(name) or [f"{name} speaks"]
        return answers.pop(0) if len(answers) > 1 else answers[0]

    async def run(self, resources: Any, text: str) -> Any:
        module = types.ModuleType("kagent_team_test_plugin")

        @hookimpl
        def kastra_model_providers() -> list[ModelProviderRegistration]:
            return [self.model.registration("fake", keyless=True)]

        module.kastra_model_providers = kastra_model_providers  # type: ignore[attr-defined]
        hooks = [(name, f"kastra_plugin_{name}.hooks") for name in ("agent", "workflow", "network", "tool")]
        plugins = PluginManager(discover=False, extra=[*hooks, ("test", module)])
        self.runtime = RuntimeManager(
            store=MemoryStore(),
            config=Config.load(self.path, env={"KASTRA_MODEL": "fake/any"}),
            plugins=plugins,
            registry=registry_of(plugins),
        )
        for manifest in resources:
            await self.runtime.apply_resource(manifest, wait=False)
        run = await self.runtime.start_run("workflow/team", text)
        return await run.result()


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    out = Stage(tmp_path)
    yield out
    if out.runtime is not None:
        await out.runtime.aclose()


async def test_a_circle_ends_when_somebody_says_so(migrate: Any, stage: Stage) -> None:
    text = _team(f"{{strategy: round-robin, {_members('ann', 'bob', 'cat')}}}", "ann", "bob", "cat", ends="bob")
    stage.answers["bob"] = [_says("go on"), _says("done", end=True)]
    result = await stage.run(migrate(text, "ark").result.resources, "Hello")
    assert result == "done"
    assert [name for name, _ in stage.asked] == ["ann", "bob", "cat", "ann", "bob"]
    assert stage.asked[0][1] == "Hello"
    assert stage.asked[3][1] == "Hello\n\nann:\nann speaks\n\nbob:\ngo on\n\ncat:\ncat speaks"
    assert '{"terminate": true, "answer": your final response}' in stage.asked[1][1]


async def test_a_circle_ends_after_its_turns_with_the_last_answer(migrate: Any, stage: Stage) -> None:
    text = _team(f"{{strategy: round-robin, maxTurns: 2, {_members('ann', 'bob')}}}", "ann", "bob")
    result = await stage.run(migrate(text, "ark").result.resources, "Hello")
    assert result == "bob speaks"
    assert len(stage.asked) == 4


async def test_a_chain_ends_early_when_somebody_says_so(migrate: Any, stage: Stage) -> None:
    text = _team(f"{{strategy: sequential, {_members('ann', 'bob')}}}", "ann", "bob", ends="ann")
    stage.answers["ann"] = [_says("at once", end=True)]
    result = await stage.run(migrate(text, "ark").result.resources, "Hello")
    assert result == "at once"
    assert len(stage.asked) == 1


async def test_the_last_of_a_chain_answers_with_its_text_alone(migrate: Any, stage: Stage) -> None:
    text = _team(f"{{strategy: sequential, {_members('ann', 'bob')}}}", "ann", "bob", ends="ann bob")
    stage.answers |= {"ann": [_says("first")], "bob": [_says("second", end=True)]}
    assert await stage.run(migrate(text, "ark").result.resources, "Hello") == "second"
    assert stage.asked[1][1].startswith("Hello\n\nann:\nfirst\n\n")


@pytest.mark.parametrize(("end", "answer", "calls"), [(True, "enough", 1), (False, "cat speaks", 5)])
async def test_a_path_before_a_circle_may_end_the_team(
    migrate: Any, stage: Stage, end: bool, answer: str, calls: int
) -> None:
    edges = "graph: {edges: [{from: ann, to: bob}, {from: bob, to: cat}, {from: cat, to: bob}]}"
    spec = f"{{strategy: graph, maxTurns: 5, {_members('ann', 'bob', 'cat')}, {edges}}}"
    stage.answers["ann"] = [_says("enough", end=end)]
    resources = migrate(_team(spec, "ann", "bob", "cat", ends="ann"), "ark").result.resources
    assert await stage.run(resources, "Hello") == answer
    assert len(stage.asked) == calls


def test_max_turns_cuts_a_path_by_members_and_not_by_steps(migrate: Any) -> None:
    edges = "graph: {edges: [{from: a, to: b}, {from: b, to: c}]}"
    moved = migrate(
        _team(f"{{strategy: graph, maxTurns: 2, {_members('a', 'b', 'c')}, {edges}}}", "a", "b", "c", ends="a"), "ark"
    )
    steps = moved.spec("Workflow")["steps"]
    assert [step["id"] for step in steps] == ["a", "a-said", "a-end", "b"]
    assert steps[-1]["next"] == "END"


def test_who_may_end_a_team_says_so_beside_the_answer(migrate: Any) -> None:
    text = _team(f"{{strategy: round-robin, {_members('a')}}}", "a", ends="a")
    text += (
        "---\napiVersion: ark.mckinsey.com/v1alpha1\nkind: Query\nmetadata: {name: q}\n"
        "spec: {input: Hi, targets: [{type: agent, name: a}]}\n"
    )
    moved = migrate(text, "ark")
    assert moved.spec("Agent")["output"]["schema"]["required"] == ["terminate", "answer"]
    row = next(row for row in moved.rows("tools[0].name") if row.document == 1)
    assert (row.outcome, row.target) == ("mapped", "Agent default/a spec.output.schema")
    assert moved.spec("Workflow", "q")["steps"][0]["output"] == "{{ result.answer }}"


def test_who_may_end_a_team_and_is_in_one_with_a_router_is_told(migrate: Any) -> None:
    text = _team(f"{{strategy: round-robin, {_members('a')}}}", "a", ends="a")
    text += _team(f"{{strategy: selector, {_members('a')}}}").replace("name: team", "name: other").join(["---\n", ""])
    moved = migrate(text, "ark")
    assert [row.outcome for row in moved.rows("tools[0].name")] == ["mapped", "manual"]
