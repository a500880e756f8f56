"""The migrator keeps to what all migrators keep to, with a document of each kind of component."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from kastra_core.errors import ManifestError
from kastra_core.migration import MemorySource, read_text
from kastra_core.protocols.migrator import MigrationResult, Migrator, SourceDocument
from kastra_core.testing.migrator import MigratorConformance
from kastra_plugin_agentspec.migrator import AgentSpecMigrator

AGENT = """\
agentspec_version: 26.1.2
component_type: Agent
id: helper
name: Travel Helper
description: Plans journeys.
metadata: {x: 1}
inputs: [{title: city, type: string, default: Oslo}]
outputs: [{title: plan, type: string, description: the plan}]
system_prompt: You know {{city}} well. See https://example.com/rules and run os.system.
human_in_the_loop: false
llm_config:
  component_type: VllmConfig
  id: llm
  name: big model
  description: null
  url: gpu:8000
  model_id: llama
  default_generation_parameters: {max_tokens: 10, top_p: 0.5, top_k: 3}
  retry_policy: {request_timeout: 30, max_attempts: 3}
tools:
- component_type: ServerTool
  id: s
  name: look_up
  description: Looks a thing up.
  inputs: [{title: what, type: string}]
  outputs: [{title: answer, type: string}]
  requires_confirmation: true
- component_type: RemoteTool
  id: r
  name: weather
  description: Weather of a city.
  inputs: [{title: city, type: string}, {title: unit, type: string, default: C}]
  outputs: [{title: report, type: object}]
  url: https://api.example.com/{{city}}
  http_method: get
  api_spec_uri: null
  data: {}
  query_params: {unit: "{{unit}}", n: 3}
  headers: {Accept: application/json, Authorization: Bearer abcdefghijklmnop}
  sensitive_headers: {X-Key: {$component_ref: r.key}}
- $component_ref: shared
toolboxes:
- component_type: MCPToolBox
  id: box
  name: files
  client_transport: {component_type: StdioTransport, id: t, name: t, command: npx, args: [files], env: {TOKEN: abcdef}}
  tool_filter:
  - read_file
  - {component_type: MCPToolSpec, id: w, name: write_file, inputs: [{title: path, type: string}]}
transforms:
- component_type: ConversationSummarizationTransform
  id: sum
  name: sum
  llm: {component_type: OllamaConfig, id: o, name: o, url: "localhost:11434", model_id: qwen}
  max_num_messages: 40
  min_num_messages: 12
  summarization_instructions: Be short.
$referenced_components:
  shared: {component_type: BuiltinTool, id: shared, name: search, tool_type: web, configuration: {top: 3}}
  unused: {component_type: ServerTool, id: unused, name: nobody}
"""

FLOW = """\
component_type: Flow
id: f
name: answer
inputs: [{title: question, type: string}]
outputs: [{title: reply, type: string, default: none}]
start_node: {$component_ref: start}
nodes:
- {$component_ref: start}
- {$component_ref: sort}
- {$component_ref: way}
- {$component_ref: good}
- {$component_ref: bad}
control_flow_connections:
- component_type: ControlFlowEdge
  from_node: {$component_ref: start}
  to_node: {$component_ref: sort}
- component_type: ControlFlowEdge
  from_node: {$component_ref: sort}
  to_node: {$component_ref: way}
- component_type: ControlFlowEdge
  from_node: {$component_ref: way}
  from_branch: fine
  to_node: {$component_ref: good}
- component_type: ControlFlowEdge
  from_node: {$component_ref: way}
  from_branch: default
  to_node: {$component_ref: bad}
data_flow_connections:
- component_type: DataFlowEdge
  source_node: {$component_ref: start}
  source_output: question
  destination_node: {$component_ref: sort}
  destination_input: question
- component_type: DataFlowEdge
  source_node: {$component_ref: sort}
  source_output: topic
  destination_node: {$component_ref: way}
  destination_input: value
- component_type: DataFlowEdge
  source_node: {$component_ref: sort}
  source_output: topic
  destination_node: {$component_ref: good}
  destination_input: reply
$referenced_components:
  start: {component_type: StartNode, id: start, name: start, inputs: [{title: question, type: string}]}
  sort:
    component_type: LlmNode
    id: sort
    name: sort it
    llm_config: {component_type: OpenAiConfig, id: m, name: m, model_id: gpt-4o-mini}
    prompt_template: "Topic of {{question}}?"
    inputs: [{title: question, type: string}]
    outputs: [{title: topic, type: string}]
  way:
    component_type: BranchingNode
    id: way
    name: way
    mapping: {a: fine, b: fine}
    inputs: [{title: value, type: string}]
  good: {component_type: EndNode, id: good, name: good, outputs: [{title: reply, type: string}]}
  bad: {component_type: EndNode, id: bad, name: bad, outputs: []}
agentspec_version: 25.4.2
"""

BROKEN = {
    "version.yaml": "agentspec_version: 23.0.0\ncomponent_type: Agent\nname: a\nsystem_prompt: x\n",
    "circle.yaml": """\
agentspec_version: 25.4.1
$component_ref: a
$referenced_components:
  a:
    component_type: SpecializedAgent
    name: a
    agent: {$component_ref: a}
    agent_specialization_parameters: {}
""",
    "twice.yaml": """\
component_type: Agent
name: a
system_prompt: x
$referenced_components: {t: {component_type: ServerTool, name: t}}
tools: [{component_type: BuiltinTool, name: b, $referenced_components: {t: {component_type: ServerTool, name: t}}}]
""",
    "part.yaml": "agentspec_version: 25.4.1\ncomponent_type: SSETransport\nname: t\nurl: http://x\n",
    "list.json": json.dumps({"agentspec_version": "25.4.1", "component_type": "Flow", "name": "f", "nodes": 5}),
}


class TestAgentSpecConformance(MigratorConformance):
    @pytest.fixture
    def migrator(self) -> Migrator:
        return AgentSpecMigrator()

    @pytest.fixture
    def documents(self) -> Sequence[SourceDocument]:
        return [*read_text(AGENT, "helper.yaml"), *read_text(FLOW, "answer.yaml")]

    @pytest.fixture
    def broken(self) -> Sequence[SourceDocument]:
        return [document for file, text in BROKEN.items() for document in read_text(text, file)]


def test_a_mark_of_the_format_is_surer_than_its_shape() -> None:
    migrator = AgentSpecMigrator()
    marks = (
        "agentspec_version: 26.1.0",
        "$referenced_components: {}",
        "component_type: Agent",
        "component_type: AcmeNode",
    )
    found = [migrator.detect(read_text(text, "x.yaml")[0]) for text in marks]
    assert found == [0.97, 0.95, 0.92, 0.6]
    assert migrator.detect(read_text("kind: Agent", "x.yaml")[0]) == 0.0


def _moved(text: str, file: str = "a.yaml") -> MigrationResult:
    return AgentSpecMigrator().migrate(MemorySource(read_text(text, file)))


EMPTY = """\
agentspec_version: 26.1.0
component_type: Agent
id: {id}
name: helper
description: ""
metadata: {{}}
inputs: []
outputs: []
system_prompt: Help.
llm_config:
  {{component_type: OpenAiConfig, id: m, name: {model}, description: null, metadata: {{}}, model_id: gpt-4o-mini{more}}}
tools:
- {{component_type: ServerTool, id: t, name: look, description: "", inputs: [], requires_confirmation: false}}
toolboxes: []
"""


def test_ids_versions_and_empty_fields_are_no_loss() -> None:
    rows = _moved(EMPTY.format(id="one", model="null", more="")).rows
    assert [row.key for row in rows if row.outcome == "dropped"] == []
    empty = {row.key for row in rows if row.reason == "says the same as no value"}
    assert empty == {"description", "metadata", "inputs", "outputs", "toolboxes"}
    assert {row.key for row in rows if row.reason.startswith("the component;")} == {"llm_config", "tools[0]"}
    assert {row.outcome for row in rows if row.key in empty} == {"defaulted"}


def test_what_is_not_known_is_dropped_beside_empty_fields() -> None:
    rows = _moved(EMPTY.format(id="one", model="m", more=", size: 3, metadata2: {x: 1}")).rows
    dropped = {row.key: row.reason for row in rows if row.outcome == "dropped"}
    assert {"llm_config.size", "llm_config.metadata2", "llm_config.name"} == set(dropped)
    assert "not known" in dropped["llm_config.size"]


def test_the_id_of_a_file_leads_to_its_resource_in_the_names() -> None:
    result = _moved(EMPTY.format(id="7f3a", model="null", more=""))
    assert result.names == {"Agent/7f3a (id)": "helper"}
    row = next(row for row in result.rows if row.key == "id")
    assert (row.outcome, row.target) == ("mapped", "Agent default/helper metadata.name")


def test_one_id_of_two_files_leads_to_both_resources() -> None:
    first, second = (EMPTY.format(id="same", model="null", more="") for _ in range(2))
    documents = [*read_text(first, "a.yaml"), *read_text(second.replace("name: helper", "name: other"), "b.yaml")]
    names = AgentSpecMigrator().migrate(MemorySource(documents)).names
    assert names == {"Agent/same (id)": "helper", "Agent/same (id in b.yaml)": "other"}


@pytest.mark.parametrize("field", ["agentspec_version", "air_version"])
def test_a_version_is_read_and_an_unknown_one_refused_in_either_spelling(field: str) -> None:
    text = f"agentspec_version: 26.1.0\n{field}: {{}}\ncomponent_type: Agent\nname: a\nsystem_prompt: x\n"
    text = text if field == "air_version" else text.removeprefix("agentspec_version: 26.1.0\n")
    row = next(row for row in _moved(text.format("25.4.1")).rows if row.key == field)
    assert (row.outcome, row.target) == ("mapped", "Agent default/a apiVersion")
    with pytest.raises(ManifestError, match="not a version"):
        _moved(text.format("23.0.0"))
