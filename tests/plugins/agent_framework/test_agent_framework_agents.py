"""Agents: prompt agents, their models and tools, and those that are containers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from kastra_core.errors import ManifestError
from kastra_core.migration import MemorySource, read_text
from kastra_core.protocols.migrator import SourceDocument
from kastra_plugin_agent_framework.migrator import AgentFrameworkMigrator


def _documents(files: dict[str, str]) -> Sequence[SourceDocument]:
    return [document for file, text in files.items() for document in read_text(text, file)]


def test_a_prompt_agent_becomes_an_agent_with_structured_output(migrated: Any) -> None:
    made = migrated("""
kind: Prompt
name: Assistant
description: Helpful
instructions: Answer in JSON.
model:
  id: gpt-4o-mini
  provider: AzureOpenAI
  apiType: Responses
  options: {temperature: 0.9, topP: 0.95, maxOutputTokens: 10, allowMultipleToolCalls: true, chatToolMode: required}
  connection: {kind: ApiKey, endpoint: https://x.example.com, key: =Env.AZURE_KEY}
outputSchema:
  properties:
    answer: {type: string, required: true, description: The answer.}
    score: {kind: integer, enum: [1, 2]}
""")
    assert made.one("Agent")["spec"] == {
        "description": "Helpful",
        "instructions": "Answer in JSON.",
        "model": {
            "provider": "azure",
            "name": "gpt-4o-mini",
            "apiKey": {"valueFrom": {"env": "AZURE_KEY"}},
            "apiBase": "https://x.example.com",
            "parameters": {"temperature": 0.9, "topP": 0.95, "maxTokens": 10, "parallel_tool_calls": True},
        },
        "toolChoice": "required",
        "output": {
            "schema": {
                "type": "object",
                "properties": {
                    "answer": {"type": "string", "description": "The answer."},
                    "score": {"type": "integer", "enum": [1, 2]},
                },
                "required": ["answer"],
            }
        },
    }


def test_a_key_in_the_open_is_left_out(migrated: Any) -> None:
    made = migrated("kind: Prompt\nname: a\nmodel: {id: gpt-4o, connection: {kind: key, apiKey: very-secret-thing}}\n")
    assert made.one("Agent")["spec"]["model"]["apiKey"] == {"valueFrom": {"env": "OPENAI_API_KEY"}}
    assert made.outcomes("model.connection.apiKey") == {"manual"}
    assert "very-secret-thing" not in repr(made.result)


def test_a_model_of_the_environment_is_written_by_hand(migrated: Any) -> None:
    made = migrated("kind: Prompt\nname: a\nmodel: {id: =Env.MY_MODEL, provider: OpenAI, options: {seed: 1}}\n")
    assert made.one("Agent")["spec"]["model"] == {"provider": "openai", "name": "MY_MODEL", "parameters": {"seed": 1}}
    assert made.outcomes("model.id") == {"manual"}


def test_without_a_model_the_default_answers_and_its_options_are_told(migrated: Any) -> None:
    made = migrated("kind: Prompt\nname: a\ninstructions: Hi\nmodel: {options: {temperature: 0.5}}\n")
    assert "model" not in made.one("Agent")["spec"]
    assert (made.outcomes("model.id"), made.outcomes("model.options")) == ({"defaulted"}, {"manual"})


def test_tools_of_agents_become_stubs_of_which_the_same_one_is_made_once() -> None:
    agent = """
kind: Prompt
name: {name}
tools:
  - kind: function
    name: weather
    description: The weather
    parameters: {{properties: {{city: {{kind: string, required: true}}}}}}
  - {{kind: mcp, name: learn, url: https://learn.example.com, allowedTools: [search]}}
  - {{kind: code_interpreter}}
"""
    files = {f"{name}.yaml": agent.format(name=name) for name in ("one", "two")}
    result = AgentFrameworkMigrator().migrate(MemorySource(_documents(files)))
    tools = {one["metadata"]["name"]: one["spec"] for one in result.resources if one["kind"] == "Tool"}
    agents = [one for one in result.resources if one["kind"] == "Agent"]
    assert list(tools) == ["weather", "learn-search", "code-interpreter"]
    assert [one["spec"]["tools"] for one in agents] == [list(tools)] * 2
    assert tools["weather"] == {
        "type": "python",
        "description": "The weather",
        "inputSchema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        "python": {"function": "migrated_tools:weather"},
    }
    assert "def weather(*, city: str)" in result.files["migrated_tools.py"]


def test_the_two_files_of_a_container_are_one_tool() -> None:
    files = {
        "box/agent.yaml": "kind: hosted\nname: box\nprotocols: [{protocol: responses, version: 1.0.0}]\n",
        "box/agent.manifest.yaml": (
            "name: box\ndescription: A box\ntemplate: {name: box, kind: hosted}\n"
            "resources: [{kind: model, id: gpt-4.1, name: M}]\n"
        ),
        "other/agent.yaml": "kind: hosted\nname: other\nenv: [{name: API_KEY, value: plain-secret}]\n",
    }
    result = AgentFrameworkMigrator().migrate(MemorySource(_documents(files)))
    assert [(one["kind"], one["metadata"]["name"], one["spec"]["description"]) for one in result.resources] == [
        ("Tool", "box", "A box"),
        ("Tool", "other", "The hosted agent other."),
    ]
    assert "plain-secret" not in repr(result)


def test_agents_that_a_workflow_defines_or_names_a_file_of_are_its_agents() -> None:
    files = {
        "flow.yaml": """
name: flow
agents:
  Writer: {kind: Prompt, instructions: Write., model: {id: gpt-4o}}
  Reader: {file: reader.yaml}
  Lost: {file: lost.yaml}
  Given: {connection: {kind: reference}}
actions:
  - {kind: InvokeAzureAgent, id: write, agent: Writer, input: {messages: go}}
  - {kind: InvokeAzureAgent, id: read, agent: {name: Reader}, output: {responseObject: Local.Answer}}
  - {kind: InvokeAzureAgent, id: lost, agent: {name: Lost}}
""",
    }
    reader = read_text(
        "kind: Prompt\nname: The Reader\noutputSchema: {properties: {a: {type: string}}}\n", "reader.yaml"
    )
    result = AgentFrameworkMigrator().migrate(MemorySource(_documents(files), reader))
    names = [(one["kind"], one["metadata"]["name"]) for one in result.resources]
    assert names == [("Agent", "writer"), ("Agent", "the-reader"), ("Workflow", "flow")]
    steps = result.resources[2]["spec"]["steps"]
    assert [step["agent"] for step in steps if "agent" in step] == ["writer", "the-reader", "lost"]
    assert steps[0]["input"] == "go"
    assert next(step for step in steps if step["id"] == "read")["output"] == {"type": "Local.Answer"}
    assert {row.outcome for row in result.rows if row.key == "agents.Lost.file"} == {"manual"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: ToolDialog\nbeginDialog: {}\n", "expected an agent or a workflow, found kind 'ToolDialog'"),
        ("kind: Prompt\nname: a\ntools: [{name: x}]\n", "a tool needs a kind"),
        ("name: a\ntemplate: {kind: strange}\n", "expected an agent, found kind 'strange'"),
        ("- id: 1\n", "expected an agent or a workflow, found"),
    ],
)
def test_what_is_no_agent_is_refused(text: str, message: str) -> None:
    with pytest.raises(ManifestError) as caught:
        AgentFrameworkMigrator().migrate(MemorySource(read_text(text, "bad.yaml")))
    assert message in str(caught.value)
