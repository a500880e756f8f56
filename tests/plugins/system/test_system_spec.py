"""What a System's manifest may say, the files that it names, and its picture."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from kastra_core.api.kind import ResourceKind
from kastra_core.api.meta import JsonObject, Resource
from kastra_core.api.registry import KindRegistry
from kastra_core.decoding import decode
from kastra_core.errors import Problem, ValidationError
from kastra_core.includes import decode_documents, resolve_document
from kastra_core.manifests import dump, parse, read_sources
from kastra_plugin_agent.hooks import kastra_resource_kinds as agent_kinds
from kastra_plugin_system.conformance import manifest
from kastra_plugin_system.graph import graph_of
from kastra_plugin_system.hooks import kastra_resource_kinds as system_kinds
from kastra_plugin_tool.hooks import kastra_resource_kinds as tool_kinds
from kastra_plugin_workflow.hooks import kastra_resource_kinds as workflow_kinds


def kinds() -> list[ResourceKind]:
    return [*system_kinds(), *agent_kinds(), *workflow_kinds(), *tool_kinds()]


@pytest.fixture
def registry() -> KindRegistry:
    found = KindRegistry()
    for kind in kinds():
        found.register(kind)
    return found


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    monkeypatch.chdir(tmp_path)

    def file(name: str, text: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    return file


SYSTEM = """\
apiVersion: mastra.ai/v1
kind: System
metadata: {name: shop}
spec:
  agents:
    - file: agents/
    - name: inline
      spec: {instructions: "在这里"}
  include:
    - flows/*.yaml
"""
AGENTS = """\
apiVersion: mastra.ai/v1
kind: Agent
metadata: {name: front, labels: {tier: front}}
spec:
  instructions: 您好
---
apiVersion: mastra.ai/v1
kind: Agent
metadata: {name: back}
spec:
  model: local/auto
"""
FLOW = """\
# the way of a request
apiVersion: mastra.ai/v1
kind: Workflow
metadata: {name: flow}
spec:
  steps:
    - id: ask
      agent: front
"""


def resolved(registry: KindRegistry) -> JsonObject:
    (document,) = read_sources(["app/system.yaml"])
    return resolve_document(registry, document).data


def problems(registry: KindRegistry, *sources: str) -> Sequence[Problem]:
    with pytest.raises(ValidationError) as caught:
        decode_documents(registry, read_sources(sources))
    return caught.value.problems


def test_files_are_taken_in_as_whole_manifests(registry: KindRegistry, write: Callable[[str, str], None]) -> None:
    write("app/system.yaml", SYSTEM)
    write("app/agents/both.yaml", AGENTS)
    write("app/flows/flow.yaml", FLOW)
    spec = resolved(registry)["spec"]
    assert spec["agents"] == [{"name": "inline", "spec": {"instructions": "在这里"}}]
    assert "include" not in spec
    names = [(one["kind"], one["metadata"]["name"]) for one in spec["resources"]]
    assert names == [("Agent", "front"), ("Agent", "back"), ("Workflow", "flow")]
    (decoded,) = decode_documents(registry, read_sources(["app/system.yaml"]))
    again = decode(registry, decoded.resource.to_manifest())
    assert again.resource == decoded.resource, "what is stored can be exported and applied as it is"
    assert decode_documents(registry, parse(dump([decoded.resource.to_manifest()])))[0].resource == decoded.resource


def test_a_problem_is_shown_where_it_was_written(registry: KindRegistry, write: Callable[[str, str], None]) -> None:
    write("app/system.yaml", SYSTEM.replace("instructions: ", "instruction: "))
    write("app/agents/both.yaml", AGENTS.replace("model: local/auto", "model: 5"))
    write("app/flows/flow.yaml", FLOW.replace("      agent: front\n", "      agent: front\n      next: gone\n"))
    found = sorted((one.file, one.line, one.path) for one in problems(registry, "app/system.yaml"))
    assert found == [
        ("app/agents/both.yaml", 11, "spec.resources[1].spec.model"),
        ("app/flows/flow.yaml", 9, "spec.resources[2].spec.steps[0].next"),
        ("app/system.yaml", 8, "spec.agents[0].spec.instruction"),
    ]


def test_a_file_of_a_list_holds_that_kind_only(registry: KindRegistry, write: Callable[[str, str], None]) -> None:
    write("app/system.yaml", SYSTEM)
    write("app/agents/both.yaml", AGENTS)
    write("app/agents/flow.yaml", FLOW)
    write("app/flows/flow.yaml", FLOW.replace("name: flow", "name: other"))
    (found,) = problems(registry, "app/system.yaml")
    assert str(found).startswith(
        "app/agents/flow.yaml:3:7: spec.resources[2].kind: expected kind Agent, found 'Workflow'"
    )


def test_what_is_given_beside_a_system_that_has_it_too_is_refused(
    registry: KindRegistry, write: Callable[[str, str], None]
) -> None:
    write("app/system.yaml", SYSTEM)
    write("app/agents/both.yaml", AGENTS)
    write("app/flows/flow.yaml", FLOW)
    found = problems(registry, "app/system.yaml", "app/flows")
    assert [str(one) for one in found] == [
        "app/flows/flow.yaml:4:18: metadata.name: Workflow default/flow is there twice; "
        "the first is at app/flows/flow.yaml:4; System default/shop brings it in: leave out one of the two"
    ]


@pytest.mark.parametrize(
    "spec",
    [
        None,
        5,
        "text",
        {"agents": 5},
        {"agents": [5, None, {"file": 5}]},
        {"include": "x.yaml"},
        {"include": [5]},
        {"resources": {"a": 1}},
        {"resources": [5], "include": []},
        {"agents": [{"file": "x.yaml", "name": "x"}]},
    ],
)
def test_a_manifest_of_another_shape_is_left_for_the_validation(registry: KindRegistry, spec: Any) -> None:
    text = dump([{**manifest(), "spec": spec}])
    (document,) = parse(text)
    assert resolve_document(registry, document).data["metadata"] == {"name": "shop"}
    if spec is not None:
        with pytest.raises(ValidationError) as caught:
            decode_documents(registry, [document])
        assert all(problem.path.startswith("spec") for problem in caught.value.problems)


def test_from_standard_input_no_file_is_found_and_the_hint_says_what_to_do(registry: KindRegistry) -> None:
    (document,) = parse(SYSTEM, "<stdin>")
    with pytest.raises(ValidationError) as caught:
        decode_documents(registry, [document])
    assert [(one.line, one.path) for one in caught.value.problems] == [
        (6, "spec.agents[0].file"),
        (10, "spec.include[0]"),
    ]
    assert all("-f file.yaml" in one.hint for one in caught.value.problems)


def drawn(registry: KindRegistry, **spec: Any) -> tuple[list[str], list[str]]:
    graph = graph_of(decode(registry, manifest(**spec)).resource)
    labels = {node.id: node.label for node in graph.nodes}
    return [*labels.values()], [f"{labels[edge.source]} > {labels[edge.target]}" for edge in graph.edges]


def test_the_picture_shows_what_refers_to_what(registry: KindRegistry) -> None:
    def lane(name: str, **body: Any) -> JsonObject:
        return {"name": name, "steps": [{"id": name, **body}]}

    steps = [
        {"id": "one", "agent": {"name": "a"}, "next": "two"},
        {"id": "two", "parallel": {"branches": [lane("three", workflow="elsewhere.flow"), lane("four", agent="a")]}},
    ]
    agent = {"name": "a", "spec": {"tools": ["t", {"name": "alias", "refName": "default.t"}, "agents/b"]}}
    tool = {"name": "t", "spec": {"type": "python", "python": {"function": "json:loads"}}}
    nodes, edges = drawn(
        registry,
        agents=[agent, {"name": "b", "spec": {}}],
        tools=[tool],
        workflows=[{"name": "w", "spec": {"steps": steps}}],
    )
    assert nodes == ["w", "a", "b", "t", "elsewhere/flow"]
    assert edges == ["w > a", "w > elsewhere/flow", "a > t", "a > b"]


def test_the_picture_of_networks_shows_their_members() -> None:
    members: Iterable[Any] = [{"name": "x", "ref": "default.a"}, "b"]
    spec: JsonObject = {"networks": [{"name": "n", "spec": {"agents": members, "router": {"model": "local/auto"}}}]}
    system = Resource.from_manifest({**manifest(**spec), "metadata": {"name": "shop", "namespace": "default"}})
    graph = graph_of(system)
    assert [(edge.source, edge.target) for edge in graph.edges] == [
        ("Network default/n", "Agent default/a"),
        ("Network default/n", "Agent default/b"),
    ]
