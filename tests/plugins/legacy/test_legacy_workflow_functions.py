"""A step that calls a function of a tool, and the agent that has the tool."""

from __future__ import annotations

from kastra_core.migration import MemorySource, read_text
from kastra_plugin_legacy.migrator import LegacyMigrator

AGENT = """\
apiVersion: mastra/v1
kind: Agent
metadata: {name: keeper}
spec:
  instructions: Keep tasks.
  model: {provider: openai, name: gpt-x}
  tools: [{name: tasks, functions: [create]}]
"""
WORKFLOW = """\
apiVersion: mastra/v1
kind: Workflow
metadata: {name: intake}
spec:
  steps:
    - {name: make, config: {tool: tasks, function: create}}
"""


def test_a_function_of_a_tool_that_nobody_describes_is_one_tool_for_agents_and_steps() -> None:
    source = MemorySource([*read_text(AGENT, "a.yaml"), *read_text(WORKFLOW, "w.yaml")])
    made = {(one["kind"], one["metadata"]["name"]): one for one in LegacyMigrator().migrate(source).resources}
    assert sorted(made) == [("Agent", "keeper"), ("Tool", "tasks-create"), ("Workflow", "intake")]
    assert made["Workflow", "intake"]["spec"]["steps"][0]["tool"] == "tasks-create"
    assert "tasks-create" in str(made["Agent", "keeper"]["spec"]["tools"])


def test_such_a_step_alone_gets_the_tool_as_well() -> None:
    made = LegacyMigrator().migrate(MemorySource(read_text(WORKFLOW, "w.yaml"))).resources
    assert [one["metadata"]["name"] for one in made if one["kind"] == "Tool"] == ["tasks-create"]
