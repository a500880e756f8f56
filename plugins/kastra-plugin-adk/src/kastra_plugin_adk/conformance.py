"""The plugin keeps to what is asked of all plugins: ``kastra plugins check adk`` runs what is here."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from kastra_core.migration import read_text
from kastra_core.protocols.migrator import Migrator, SourceDocument
from kastra_core.testing.migrator import MigratorConformance
from kastra_core.testing.plugin import PluginConformance
from kastra_plugin_adk.migrator import AdkMigrator

__all__ = ["TestAdkMigrator", "TestAdkPlugin"]

_DESK = """\
name: desk
model: gemini-2.5-flash
description: Answers customers.
global_instruction: "Be polite."
static_instruction: {role: user, parts: [{text: The shop is open from nine to five.}]}
instruction: "Help {customer?} with {order}."
include_contents: default
output_key: reply
disallow_transfer_to_parent: true
generate_content_config:
  temperature: 0.2
  max_output_tokens: 500
  stop_sequences: [END]
  response_mime_type: text/plain
  http_options: {timeout: 20000, base_url: "https://models.example.com", headers: {X-Team: a}}
sub_agents:
  - config_path: refunds.yaml
  - code: shop.agents.stock_agent
  - {name: old_form, config_path: pipeline.yaml}
tools:
  - name: google_search
  - load_memory
  - name: shop.tools.find_order
  - name: shop.tools.make_lookup
    args: [{name: table, value: orders}]
  - name: AgentTool
    args: {agent: {config_path: translator.yaml}, skip_summarization: true}
  - name: LongRunningFunctionTool
    args: {func: json.tool.main}
  - name: MCPToolset
    args:
      stdio_server_params:
        command: npx
        args: ["-y", "@acme/orders-mcp", "--token", "s3cr3t-value"]
        env: {ORDERS_TOKEN: abcdefgh12345678, REGION: "${SHOP_REGION}"}
      tool_filter: [read_order]
  - name: ExampleTool
    args:
      examples:
        - input: {parts: [{text: Where is it?}]}
          output: [{parts: [{text: On its way.}]}]
  - name: transfer_to_agent
before_model_callbacks: [{name: shop.guard.check}]
after_tool_callbacks:
  - name: shop.guard.note
    args: [{name: level, value: high}]
code_executor: {name: shop.code.Runner}
planner_code: shop.plan.planner
colour: blue
"""
_REFUNDS = """\
agent_class: LlmAgent
name: refunds
instruction: Refund {order}.
output_schema: {type: object, properties: {amount: {type: number}}, required: [amount]}
"""
_TRANSLATOR = """\
name: translator
model_code: {name: google.adk.models.lite_llm.LiteLlm, args: [{name: model, value: openai/gpt-4o}]}
instruction: Translate.
"""
_PIPELINE = """\
agent_class: SequentialAgent
name: pipeline
description: Makes a letter.
before_agent_callbacks: [{name: shop.guard.check}]
sub_agents:
  - config_path: both.yaml
  - config_path: polish.yaml
"""
_BOTH = """\
agent_class: ParallelAgent
name: both
description: At once.
sub_agents: [{config_path: facts.yaml}, {config_path: tone.yaml}]
"""
_POLISH = """\
agent_class: LoopAgent
name: polish
max_iterations: 3
sub_agents: [{config_path: critic.yaml}, {config_path: writer.yaml}]
"""
_LEAF = "agent_class: LlmAgent\nname: {name}\nmodel: gemini-2.5-pro\ninstruction: {text}\noutput_key: {name}\n"
_GRAPH = """\
agent_class: Workflow
name: triage
description: Sorts mail.
max_concurrency: 2
input_schema: {type: string}
edges:
  - - START
    - shop.nodes.clean
    - name: sorter
      model: gemini-2.5-flash
      instruction: Sort by {rules}.
      include_contents: none
      timeout: 30
      retry_config: {max_attempts: 4, exceptions: [ValueError]}
    - bill: [facts.yaml, tone.yaml]
      default: {agent_class: FunctionNode, name: trash, func_code: .nodes.drop}
  - from_node: sorter
    to_node: {config_path: pipeline.yaml}
    route: [letter, note]
"""


def _read(**texts: str) -> list[SourceDocument]:
    return [one for name, text in texts.items() for one in read_text(text, f"shop/{name}.yaml")]


class TestAdkPlugin(PluginConformance):
    entry_point = "adk"


class TestAdkMigrator(MigratorConformance):
    @pytest.fixture
    def migrator(self) -> Migrator:
        return AdkMigrator()

    @pytest.fixture
    def documents(self) -> Sequence[SourceDocument]:
        return _read(
            desk=_DESK,
            refunds=_REFUNDS,
            translator=_TRANSLATOR,
            pipeline=_PIPELINE,
            both=_BOTH,
            polish=_POLISH,
            facts=_LEAF.format(name="facts", text="State facts."),
            tone=_LEAF.format(name="tone", text="Choose a tone for {facts?}."),
            critic=_LEAF.format(name="critic", text="Find fault with {writer?}."),
            writer=_LEAF.format(name="writer", text="Write with {tone} and {critic}.") + "tools: [exit_loop]\n",
            graph=_GRAPH,
            custom="agent_class: shop.agents.Robot\nname: robot\nspeed: 3\nsub_agents: [{config_path: refunds.yaml}]\n",
        )

    @pytest.fixture
    def others(self) -> Sequence[SourceDocument]:
        return read_text('stock_agent = Agent(name="stock", instruction="Count.")\n', "shop/agents.py")

    @pytest.fixture
    def broken(self) -> Sequence[SourceDocument]:
        texts = (
            "agent_class: LlmAgent\ninstruction: A.\n",
            "agent_class: SequentalAgent\nname: a\n",
            "agent_class: LoopAgent\nname: a\nmax_iterations: many\nsub_agents: []\n",
            "agent_class: SequentialAgent\nname: a\nsub_agents: [{config_path: nowhere.yaml}]\n",
            "agent_class: SequentialAgent\nname: a\nsub_agents: [{config_path: ../../../etc/passwd}]\n",
            "agent_class: SequentialAgent\nname: a\nsub_agents: [{config_path: a.yaml, code: a.b}]\n",
            "agent_class: SequentialAgent\nname: a\nsub_agents: [{class_name: Robot}]\n",
            "agent_class: SequentialAgent\nname: a\nsub_agents: {config_path: a.yaml}\n",
            "agent_class: LlmAgent\nname: a\ninstruction: A.\ninclude_contents: some\n",
            "agent_class: LlmAgent\nname: a\ninstruction: [A.]\n",
            "agent_class: LlmAgent\nname: a\ninstruction: A.\nmodel: m\nmodel_code: {name: a.b}\n",
            "agent_class: LlmAgent\nname: a\ninstruction: A.\ngenerate_content_config: {system_instruction: B.}\n",
            "agent_class: LlmAgent\nname: a\ninstruction: A.\ntools: [{name: AgentTool}]\n",
            "agent_class: LlmAgent\nname: a\ninstruction: A.\ntools: [{args: {}}]\n",
            "agent_class: Workflow\nname: a\nedges: [[one.a, two.b]]\n",
            "agent_class: Workflow\nname: a\nedges: [[START, {go: one.fn}]]\n",
            "agent_class: Workflow\nname: a\nedges: [[START, one.fn, START]]\n",
            "agent_class: Workflow\nname: a\nedges: [[START, one.a, two.b, one.a]]\n",
            "agent_class: Workflow\nname: a\nedges: [[START, one.fn], [START, one.fn]]\n",
            "agent_class: Workflow\nname: a\nedges: [[START, one.a, {a: two.b}, {b: three.c}]]\n",
            "agent_class: Workflow\nname: a\nedges: [[START, one.a], [two.b, three.c]]\n",
            "agent_class: Workflow\nname: a\nedges: [[START, later], [START, {name: later, instruction: A.}]]\n",
            "agent_class: Workflow\nname: a\nedges: [START]\n",
            "agent_class: JoinNode\nname: a\n",
            '{"eval_set_id": "a", "eval_cases": []}',
            "criteria: {response_match_score: 0.8}\n",
            "services: [{scheme: bar, type: memory, class: a.B}]\n",
            "sources: {db: {kind: sqlite}}\ntools: {find: {kind: sqlite-sql, source: db}}\n",
            '[{"query": "hi", "reference": "hello"}]',
        )
        return [attributed for at, text in enumerate(texts) for attributed in read_text(text, f"shop/broken-{at}.yaml")]
