"""The plugin keeps to what is asked of all plugins: ``kastra plugins check agentspec`` runs what is here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from kastra_core.api.meta import JsonObject
from kastra_core.migration import read_text
from kastra_core.protocols.migrator import Exporter, Migrator, SourceDocument
from kastra_core.testing.exporter import ExporterConformance
from kastra_core.testing.migrator import MigratorConformance
from kastra_core.testing.plugin import PluginConformance
from kastra_plugin_agentspec.exporter import AgentSpecExporter
from kastra_plugin_agentspec.migrator import AgentSpecMigrator

__all__ = ["RESOURCES", "TestAgentSpecExporter", "TestAgentSpecMigrator", "TestAgentSpecPlugin"]

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


def resource(kind: str, name: str, spec: JsonObject, **metadata: Any) -> JsonObject:
    return {"apiVersion": "mastra.ai/v1", "kind": kind, "metadata": {"name": name, **metadata}, "spec": spec}


HELPER = resource(
    "Agent",
    "helper",
    {
        "description": "Helps.",
        "instructions": "You help with {{topic}}.",
        "model": {
            "provider": "openai",
            "name": "gpt-4o-mini",
            "parameters": {"temperature": 0.5, "stop": ["x"]},
            "timeoutS": 9,
        },
        "tools": ["find", {"name": "talk", "ref": "agents/other"}],
        "memory": {"type": "summary", "maxMessages": 8},
        "limits": {"maxSteps": 3},
    },
    labels={"a": "b"},
)
FIND = resource(
    "Tool",
    "find",
    {
        "type": "http",
        "description": "Finds.",
        "inputSchema": {
            "type": "object",
            "properties": {"q": {"type": "string"}, "n": {"type": "integer", "default": 3}},
            "required": ["q"],
        },
        "http": {"url": "https://x.org/{q}", "query": {"n": "{n}"}, "auth": {"bearer": {"valueFrom": {"env": "T"}}}},
    },
)
COUNT = resource("Tool", "count", {"type": "python", "python": {"function": "texts:count"}, "timeout": "5s"})
ANSWER = resource(
    "Workflow",
    "answer",
    {
        "inputSchema": {"type": "object", "properties": {"question": {"type": "string"}}, "required": ["question"]},
        "steps": [
            {"id": "look", "tool": "find", "arguments": {"q": "{{ workflow.input.question }}", "n": 5}, "retry": 2},
            {
                "id": "sort",
                "branch": {
                    "cases": [
                        {
                            "name": "none",
                            "when": "size(steps.look.output) == 0",
                            "steps": [
                                {"id": "sorry", "agent": "helper", "input": "Say sorry for {{ steps.look.output }}."}
                            ],
                        },
                        {"name": "some", "when": "true", "next": "each"},
                    ]
                },
                "next": "END",
            },
            {
                "id": "each",
                "foreach": {
                    "items": "{{ steps.look.output }}",
                    "as": "one",
                    "concurrency": 2,
                    "steps": [
                        {"id": "tell", "agent": "helper", "input": "On {{ one }} of {{ workflow.input.question }}"}
                    ],
                },
            },
            {
                "id": "both",
                "parallel": [
                    {"id": "left", "tool": "count", "input": {}},
                    {"name": "right", "steps": [{"id": "wait", "sleep": "1s"}]},
                ],
            },
            {
                "id": "again",
                "loop": {
                    "until": "size(steps.poll.output) > 3",
                    "steps": [{"id": "poll", "agent": "helper", "input": "More?"}],
                },
            },
            {"id": "done", "succeed": {"answer": "{{ steps.again.output }}"}},
        ],
        "outputSchema": {"type": "object", "properties": {"answer": {"type": "string"}}},
    },
)
TEAM = resource(
    "Network",
    "team",
    {
        "agents": ["helper", {"name": "clerk", "ref": "agents/missing", "examples": ["x"]}],
        "workflows": ["answer"],
        "tools": ["count"],
        "router": {"model": "openai/gpt-4o", "instructions": "Share the work.", "maxSteps": 4},
        "state": True,
    },
)
RESOURCES = [HELPER, FIND, COUNT, ANSWER, TEAM]


class TestAgentSpecPlugin(PluginConformance):
    entry_point = "agentspec"


class TestAgentSpecMigrator(MigratorConformance):
    @pytest.fixture
    def migrator(self) -> Migrator:
        return AgentSpecMigrator()

    @pytest.fixture
    def documents(self) -> Sequence[SourceDocument]:
        return [*read_text(AGENT, "helper.yaml"), *read_text(FLOW, "answer.yaml")]

    @pytest.fixture
    def broken(self) -> Sequence[SourceDocument]:
        return [document for file, text in BROKEN.items() for document in read_text(text, file)]


class TestAgentSpecExporter(ExporterConformance):
    @pytest.fixture
    def exporter(self) -> Exporter:
        return AgentSpecExporter()

    @pytest.fixture
    def manifests(self) -> Sequence[JsonObject]:
        return RESOURCES

    @pytest.fixture
    def invalid(self) -> Sequence[Sequence[JsonObject]]:
        return [[resource("RetentionPolicy", "p", {"events": {"ttl": "1h"}})], [FIND, FIND], [{"kind": "Agent"}]]

    @pytest.fixture
    def migrator(self) -> Migrator:
        return AgentSpecMigrator()
