"""Flows and crews of JSON keep the contract of migrators."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from kastra_core.migration import read_text
from kastra_core.protocols.migrator import Migrator, SourceDocument
from kastra_core.testing.migrator import MigratorConformance
from kastra_plugin_crewai.migrator import CrewAiMigrator

_FLOW = """
schema: crewai.flow/v1
name: NewsDesk
description: From a topic to a note.
state:
  type: json_schema
  json_schema:
    type: object
    required: [topic, rows]
    properties:
      topic: {type: string}
      rows: {type: array, items: {type: object}}
  default: {depth: 2}
config: {stream: true, tracing: false, max_method_calls: 7, suppress_flow_events: true, checkpoint: {a: 1}}
persist: {enabled: true}
methods:
  plan:
    description: Says what to look for.
    start: true
    do: {call: expression, expr: "state.topic + ' (' + string(state.depth) + ')'"}
    persist: {enabled: false}
  search:
    listen: plan
    do:
      call: tool
      ref: crewai_tools:SerperDevTool
      with: {search_query: "News on ${outputs.plan}", limit: 3}
  sort_rows:
    listen: plan
    do:
      call: each
      in: state.rows
      do:
        - {name: title, action: {call: expression, expr: item.title}}
        - name: short
          if: "size(outputs.title) > 9"
          action:
            call: agent
            with: {role: Editor, goal: Cut, backstory: Terse, input: "Cut: ${outputs.title}"}
  write:
    listen: {and: [search, sort_rows]}
    do:
      call: crew
      with:
        agents:
          writer: {role: Writer of {topic}, goal: Write, backstory: Old hand, llm: openai/gpt-4o-mini}
        tasks:
          - {name: note, description: "On {topic}, {tone}", expected_output: A note, agent: writer}
        inputs: {topic: none, tone: dry}
      inputs: {topic: "${state.topic}"}
    human_feedback:
      message: Print it?
      emit: [printed, again]
      default_outcome: again
      llm: gpt-4o-mini
      metadata: {desk: 4}
      provider: desk.people:ask
  rework:
    listen: again
    router: true
    emit: [printed, dropped]
    do: {call: script, language: python, code: "state['n'] = state.get('n', 0) + 1\\nreturn 'printed'"}
  post:
    listen: {or: [printed, never]}
    do: {call: code, ref: "desk.post:send", with: {text: "${outputs.write.raw}", count: 2}}
  orphan:
    listen: nowhere
    do: {call: expression, expr: "1"}
""".replace("Writer of {topic}", '"Writer of {topic}"')

_CREW = """
{
  // a crew with an agent beside it
  "name": "desk",
  "agents": ["scout", "writer"],
  "manager_agent": "boss",
  "process": "hierarchical",
  "tasks": [
    {"name": "find", "description": "Find {topic}", "expected_output": "facts", "agent": "scout"},
    {"name": "say", "description": "Say it", "expected_output": "text", "context": ["find"], "markdown": true,
     "callback": {"python": "desk.hooks.done"}}
  ],
  "inputs": {"topic": "tea"},
  "memory": true,
  "verbose": true
}
"""
_SCOUT = """{"role": "Scout", "goal": "Find {topic}", "backstory": "Curious", "llm": {"model": "openai/gpt-4o"},
 "tools": ["SerperDevTool", "custom:maps", "desk.tools:Atlas"],
 "settings": {"max_iter": 4, "verbose": false, "goal": "Find all of {topic}"}}"""
_WRITER = '{"type": {"python": "desk.people.Writer"}, "role": "Writer", "goal": "Write", "backstory": "Old hand"}'
_BOSS = '{"type": "Agent", "role": "Boss", "goal": "Lead", "backstory": "Calm", "llm": "openai/gpt-4o"}'


@pytest.fixture
def migrator() -> Migrator:
    return CrewAiMigrator()


class TestFlows(MigratorConformance):
    @pytest.fixture
    def migrator(self) -> Migrator:
        return CrewAiMigrator()

    @pytest.fixture
    def documents(self) -> Sequence[SourceDocument]:
        return read_text(_FLOW, "news/flow.yaml")

    @pytest.fixture
    def broken(self) -> Sequence[SourceDocument]:
        head = "schema: crewai.flow/v1\nname: x\n"
        return [
            document
            for at, text in enumerate(
                (
                    "schema: crewai.flow/v9\nname: x\nmethods: {a: {start: true, do: {call: expression, expr: '1'}}}",
                    "schema: crewai.flow/v1\nmethods: {a: {start: true, do: {call: expression, expr: '1'}}}",
                    head + "methods: {a: {start: true, do: {call: expression, expr: 'state.'}}}",
                    head + "methods: {a: {start: true, do: {call: dance}}}",
                    head + "methods: {a: {listen: b, do: {call: expression, expr: '1'}}}",
                    head + "methods: {a: {start: true, listen: a, do: {call: expression, expr: '1'}}}",
                    head + "state: {type: cloud}\nmethods: {a: {start: true, do: {call: expression, expr: '1'}}}",
                )
            )
            for document in read_text(text, f"{at}.yaml")
        ]


class TestJsonCrews(MigratorConformance):
    @pytest.fixture
    def migrator(self) -> Migrator:
        return CrewAiMigrator()

    @pytest.fixture
    def documents(self) -> Sequence[SourceDocument]:
        files = {"crew.jsonc": _CREW, "agents/scout.jsonc": _SCOUT, "agents/writer.json": _WRITER}
        files["agents/boss.jsonc"] = _BOSS
        return [document for path, text in files.items() for document in read_text(text, f"desk/{path}")]

    @pytest.fixture
    def broken(self) -> Sequence[SourceDocument]:
        texts = (
            '{"agents": ["nobody"], "tasks": [{"description": "x", "expected_output": "y"}]}',
            '{"agents": {"a": {"role": "r", "goal": "g"}}, "tasks": [{"description": "x", "expected_output": "y"}]}',
            '{"agents": {"a": {"role": "r", "goal": "g", "backstory": "b"}}, '
            '"tasks": [{"description": "x", "expected_output": "y", "agent": "z"}]}',
        )
        return [document for at, text in enumerate(texts) for document in read_text(text, f"{at}/crew.json")]
