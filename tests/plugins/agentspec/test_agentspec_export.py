"""Resources as Agent Spec files: what is written, what is kept, what an edit of the files does."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from kastra_core.api.lazy import load
from kastra_core.api.meta import JsonObject
from kastra_core.errors import ValidationError
from kastra_core.plugins import PluginManager
from kastra_core.protocols.migrator import Exporter, Migrator
from kastra_plugin_agentspec.conformance import RESOURCES, resource
from kastra_plugin_agentspec.exporter import AgentSpecExporter

AGENT, FIND, COUNT, FLOW, TEAM = ALL = RESOURCES


def components_of(files: Any) -> dict[str, Any]:
    """Id -> component, of all JSON files."""
    return {ident: one for text in files.values() for ident, one in json.loads(text)["$referenced_components"].items()}


def test_it_is_an_exporter() -> None:
    assert isinstance(AgentSpecExporter(), Exporter)


def test_the_plugin_offers_both_ways() -> None:
    records = {record.name: record for _, record in PluginManager().records("kastra_migrators")}
    record = records["agentspec"]
    assert isinstance(load(record.factory)(), Migrator)
    assert record.exporter is not None
    assert isinstance(load(record.exporter)(), Exporter)


def test_everything_comes_back(round_trip: Callable[..., Any]) -> None:
    round_trip(ALL)
    for one in ALL:
        round_trip([one])


def test_an_agent_is_written_with_the_fields_of_the_format(export: Callable[..., Any]) -> None:
    found = export([AGENT, FIND], "json")
    assert list(found.files) == ["agent-helper.json"]
    data = json.loads(found.files["agent-helper.json"])
    assert (data["agentspec_version"], data["$component_ref"]) == ("26.1.2", "agent/default/helper")
    agent = data["$referenced_components"]["agent/default/helper"]
    assert agent["system_prompt"] == "You help with {{topic}}."
    assert agent["inputs"] == [{"title": "topic", "type": "string", "default": ""}]
    assert agent["llm_config"]["component_type"] == "OpenAiConfig"
    assert agent["llm_config"]["default_generation_parameters"] == {"temperature": 0.5, "stop": ["x"]}
    assert agent["tools"][0] == {"$component_ref": "tool/default/find"}
    assert agent["tools"][1]["metadata"]["kastra"] == {"reference": "agents/other"}
    assert agent["transforms"][0]["min_num_messages"] == 8
    tool = data["$referenced_components"]["tool/default/find"]
    assert (tool["component_type"], tool["url"], tool["query_params"]) == (
        "RemoteTool",
        "https://x.org/{{q}}",
        {"n": "{{n}}"},
    )


def test_a_workflow_is_a_flow_that_runs_elsewhere(export: Callable[..., Any]) -> None:
    nodes = components_of(export(ALL, "json").files)
    kinds = {
        ident.removeprefix("workflow/default/answer/"): one["component_type"]
        for ident, one in nodes.items()
        if ident.startswith("workflow/default/answer/")
    }
    assert kinds["look"] == "ToolNode"
    assert kinds["sort"] == "BranchingNode"
    assert kinds["sort-case-none"] == "FlowNode"
    assert kinds["each"] == "ParallelMapNode"
    assert kinds["each/item/tell"] == "AgentNode"
    assert kinds["both"] == "ParallelFlowNode"
    assert kinds["again"] == "FlowNode"
    assert kinds["done"] == "EndNode"
    tell = nodes["workflow/default/answer/each/item/tell"]["agent"]
    assert tell["agent_specialization_parameters"]["additional_instructions"] == "On {{one}} of {{question}}"
    edges = nodes["workflow/default/answer"]["data_flow_connections"]
    wires = {
        (
            edge["source_node"]["$component_ref"].rpartition("/")[2],
            edge["source_output"],
            edge["destination_node"]["$component_ref"].rpartition("/")[2],
            edge["destination_input"],
        )
        for edge in edges
    }
    assert ("start", "question", "look", "q") in wires
    assert ("look", "output", "each", "iterated_one") in wires
    assert ("start", "question", "each", "iterated_question") in wires
    assert nodes["workflow/default/answer/look"]["inputs"] == [{"title": "q"}, {"title": "n", "default": 5}]


def test_a_file_is_written_for_each_resource_that_no_other_uses(export: Callable[..., Any]) -> None:
    assert sorted(export(ALL).files) == ["network-team.yaml"]
    assert sorted(export([AGENT, COUNT, FIND]).files) == ["agent-helper.yaml", "tool-count.yaml"]
    twin = {**COUNT, "metadata": {"name": "count", "namespace": "other"}}
    assert sorted(export([COUNT, twin]).files) == ["other.tool-count.yaml", "tool-count.yaml"]


def test_the_same_resources_give_the_same_files(export: Callable[..., Any]) -> None:
    assert export(ALL) == export(copy.deepcopy(ALL))


def test_namespaces_names_and_circles_come_back(round_trip: Callable[..., Any]) -> None:
    def calls(name: str, other: str) -> JsonObject:
        steps = [{"id": "go", "workflow": other}, {"id": "me", "workflow": name}, {"id": "end", "set": 1}]
        return resource("Workflow", name, {"steps": steps}, namespace="x")

    round_trip([calls("a", "b"), calls("b", "a"), calls("c.d", "a")])
    agent = resource(
        "Agent", "writer", {"tools": {"alias": "cooking.find", "own": {"ref": "find"}}}, namespace="office"
    )
    round_trip(
        [
            agent,
            {**FIND, "metadata": {"name": "find", "namespace": "cooking"}},
            {**FIND, "metadata": {"name": "find", "namespace": "office"}},
        ]
    )


def test_a_field_without_place_has_a_row_that_says_it_is_kept(export: Callable[..., Any]) -> None:
    rows = {(row.file, row.key): row for row in export(ALL).rows}
    kept = rows["Agent default/helper", "spec.limits.maxSteps"]
    assert (kept.outcome, kept.target) == ("dropped", "Agent helper metadata.kastra")
    assert "kept in metadata.kastra" in kept.reason
    said = rows["Agent default/helper", "spec.instructions"]
    assert (said.outcome, said.target) == ("mapped", "Agent helper system_prompt")
    assert rows["Tool default/find", "spec.http.auth.bearer.valueFrom.env"].outcome == "dropped"
    assert rows["Workflow default/answer", "spec.steps[0].retry"].outcome == "dropped"
    assert rows["Network default/team", "spec.router.instructions"].target == "ManagerWorkers team group_manager"


def test_no_field_of_a_resource_is_without_row(export: Callable[..., Any]) -> None:
    from kastra_core.testing.migrator import keys_of

    rows = {(row.file, row.key) for row in export(ALL).rows}
    for one in ALL:
        label = f"{one['kind']} default/{one['metadata']['name']}"
        assert [key for key in keys_of(one) if (label, key) not in rows] == []


def test_an_import_of_an_export_leaves_nothing_to_do(export: Callable[..., Any]) -> None:
    from kastra_core.migration import MemorySource, read_text
    from kastra_core.testing.migrator import uncovered_keys
    from kastra_plugin_agentspec.migrator import AgentSpecMigrator

    documents = [document for path, text in export(ALL).files.items() for document in read_text(text, path)]
    result = AgentSpecMigrator().migrate(MemorySource(documents))
    assert result.files == {}
    assert [row.key for row in result.rows if row.outcome == "manual"] == []
    assert [key for document in documents for key in uncovered_keys(document, result)] == []


# ------------------------------------------------------------------------------------------------------------- edits

STEP = "workflow/default/answer"
Edit = Callable[[dict[str, Any]], Any]


def prompt(ident: str, text: str) -> Edit:
    return lambda nodes: nodes[ident]["agent"]["agent_specialization_parameters"].update(additional_instructions=text)


def place(manifest: Any, *path: Any) -> Any:
    for part in path:
        manifest = manifest[part]
    return manifest


@pytest.mark.parametrize(
    ("edit", "key", "path", "value"),
    [
        (
            lambda n: n["agent/default/helper"].update(system_prompt="New."),
            ("Agent", "helper"),
            ("spec", "instructions"),
            "New.",
        ),
        (
            lambda n: n["agent/default/helper"].update(description="New."),
            ("Agent", "helper"),
            ("spec", "description"),
            "New.",
        ),
        (
            lambda n: n["agent/default/helper"]["llm_config"].update(model_id="other"),
            ("Agent", "helper"),
            ("spec", "model", "name"),
            "other",
        ),
        (
            lambda n: n["agent/default/helper"]["llm_config"]["default_generation_parameters"].update(temperature=1),
            ("Agent", "helper"),
            ("spec", "model", "parameters", "temperature"),
            1,
        ),
        (lambda n: n["agent/default/helper"]["tools"].pop(), ("Agent", "helper"), ("spec", "tools"), ["find"]),
        (lambda n: n["agent/default/helper"]["transforms"].clear(), ("Agent", "helper"), ("spec",), None),
        (
            lambda n: n["tool/default/find"].update(url="https://y.org/{{q}}"),
            ("Tool", "find"),
            ("spec", "http", "url"),
            "https://y.org/{q}",
        ),
        (
            lambda n: n["tool/default/find"].update(description="New."),
            ("Tool", "find"),
            ("spec", "description"),
            "New.",
        ),
        (
            lambda n: n["tool/default/find"]["inputs"][1].update(default=9),
            ("Tool", "find"),
            ("spec", "inputSchema", "properties", "n", "default"),
            9,
        ),
        (
            lambda n: n["network/default/team"]["group_manager"].update(system_prompt="New."),
            ("Network", "team"),
            ("spec", "router", "instructions"),
            "New.",
        ),
        (
            prompt(f"{STEP}/each/item/tell", "New {{one}}."),
            ("Workflow", "answer"),
            ("spec", "steps", 2, "foreach", "steps", 0, "input"),
            "New {{ one }}.",
        ),
        (
            prompt(f"{STEP}/again/pass/poll", "New?"),
            ("Workflow", "answer"),
            ("spec", "steps", 4, "loop", "steps", 0, "input"),
            "New?",
        ),
        (
            prompt(f"{STEP}/sort/case-none/sorry", "New {{look}}."),
            ("Workflow", "answer"),
            ("spec", "steps", 1, "branch", "cases", 0, "steps", 0, "input"),
            "New {{ steps.look.output }}.",
        ),
        (
            lambda n: n[f"{STEP}/look"]["inputs"][1].update(default=7),
            ("Workflow", "answer"),
            ("spec", "steps", 0, "arguments", "n"),
            7,
        ),
        (
            lambda n: n[f"{STEP}/look"].update(description="New."),
            ("Workflow", "answer"),
            ("spec", "steps", 0, "description"),
            "New.",
        ),
    ],
)
def test_an_edited_field_wins_and_the_rest_comes_back(
    export: Callable[..., Any],
    read_back: Callable[..., Any],
    edit: Edit,
    key: tuple[str, str],
    path: tuple[Any, ...],
    value: Any,
) -> None:
    files = export(ALL, "json").files
    data = {name: json.loads(text) for name, text in files.items()}
    for one in data.values():
        edit(one["$referenced_components"])
    found = read_back({name: json.dumps(one) for name, one in data.items()})
    wanted = {(one["kind"], "", one["metadata"]["name"]): copy.deepcopy(one) for one in ALL}
    mine = wanted[key[0], "", key[1]]
    if value is None:
        memory = mine["spec"].pop("memory")
        assert memory["maxMessages"] == 8
    else:
        place(mine, *path[:-1])[path[-1]] = value
    assert found == wanted


def test_a_renamed_agent_is_renamed_where_it_is_used(export: Callable[..., Any], read_back: Callable[..., Any]) -> None:
    data = json.loads(export(ALL, "json").files["network-team.json"])
    data["$referenced_components"]["agent/default/helper"]["name"] = "aide"
    found = read_back({"network-team.json": json.dumps(data)})
    assert found["Agent", "", "aide"]["spec"] == AGENT["spec"]
    assert found["Workflow", "", "answer"]["spec"]["steps"][2]["foreach"]["steps"][0]["agent"] == "aide"


def test_a_new_node_is_a_new_step_among_the_kept_ones(
    export: Callable[..., Any], read_back: Callable[..., Any]
) -> None:
    data = json.loads(export(ALL, "json").files["network-team.json"])
    nodes = data["$referenced_components"]
    nodes["new"] = {"component_type": "OutputMessageNode", "id": "new", "name": "hello", "message": "Hello."}
    flow = nodes[STEP]
    flow["nodes"].append({"$component_ref": "new"})
    first = next(
        edge for edge in flow["control_flow_connections"] if edge["from_node"]["$component_ref"].endswith("/start")
    )
    look, first["to_node"] = first["to_node"], {"$component_ref": "new"}
    flow["control_flow_connections"].append(
        {**first, "id": "e", "from_node": {"$component_ref": "new"}, "to_node": look}
    )
    steps = read_back({"network-team.json": json.dumps(data)})["Workflow", "", "answer"]["spec"]["steps"]
    assert steps[0] == {"id": "hello", "set": "Hello."}
    assert steps[1:] == FLOW["spec"]["steps"]


# ---------------------------------------------------------------------------------------------------------- refusals


def test_kinds_without_form_are_refused_with_why() -> None:
    system = resource("System", "s", {})
    other = {"apiVersion": "acme.org/v1", "kind": "Agent", "metadata": {"name": "a"}, "spec": {}}
    with pytest.raises(ValidationError) as caught:
        AgentSpecExporter().export([AGENT, system, other, {"kind": "Agent"}, AGENT, 5])  # type: ignore[list-item]
    told = [str(problem) for problem in caught.value.problems]
    assert len(told) == 5
    assert "System default/s: kind: mastra.ai/v1 System has no form in Agent Spec" in told[0]
    assert "these have one: Agent, Tool, Workflow, Network" in told[0]
    assert "acme.org/v1 Agent" in told[1]
    assert "needs kind and metadata.name" in told[2]
    assert "there twice" in told[3]
    assert "expected a manifest (an object), found integer 5" in told[4]


def test_a_workflow_without_end_is_refused() -> None:
    steps = [{"id": "a", "set": 1, "next": "b"}, {"id": "b", "set": 1, "next": "a"}]
    with pytest.raises(ValidationError, match="comes to an end"):
        AgentSpecExporter().export([resource("Workflow", "w", {"steps": steps})])


def test_only_yaml_and_json_are_written() -> None:
    with pytest.raises(ValidationError, match="expected one of yaml, json, found 'xml'"):
        AgentSpecExporter().export([AGENT], format="xml")
