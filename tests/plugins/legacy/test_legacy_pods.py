"""MastraPods in all their forms, root files, and the files that they bring in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kastra_core.migration import FileSource
from kastra_plugin_legacy.migrator import LegacyMigrator

AGENT = "apiVersion: mastra/v1\nkind: Agent\nmetadata: {name: %s}\nspec: {systemPrompt: Hi.}\n"
POD = "apiVersion: mastra/v1\nkind: MastraPod\nmetadata: {name: pod, namespace: kitchen}\n"


def test_a_root_file_becomes_its_agents_tools_and_workflows(migrate: Any) -> None:
    migrated = migrate(
        """
version: "1"
agents:
  greeter: {name: Greeter, instructions: Say hello., model: {provider: openai, name: gpt-x}, tools: {clock: now}}
tools:
  now: {id: now, description: current time, execute: ./now.js}
workflows:
  hello: {name: Hello, initialStep: a, steps: [{id: a, name: A, agent: greeter}]}
memory: {type: sqlite}
""",
        file="root.yaml",
    )
    assert migrated.names() == ["Tool/now", "Agent/greeter", "Workflow/hello"]
    assert migrated.spec("Agent") == {
        "instructions": "Say hello.",
        "description": "Greeter",
        "model": {"provider": "openai", "name": "gpt-x"},
        "tools": {"clock": "now"},
    }
    assert migrated.spec("Workflow")["steps"][0]["agent"] == "greeter"
    assert migrated.row("memory").outcome == "dropped"


def test_a_namespace_of_a_root_entry_holds(migrate: Any) -> None:
    migrated = migrate("version: '1'\nagents: {a: {namespace: My Team, instructions: x}}", file="root.yaml")
    assert migrated.one("Agent")["metadata"] == {"name": "a", "namespace": "my-team"}


@pytest.mark.parametrize("place", ["", "spec: "])
def test_maps_of_a_pod_are_in_its_namespace(migrate: Any, place: str) -> None:
    body = "{agents: {a: {instructions: x}}, tools: {t: {execute: ./t.js}}}"
    text = (
        f"{POD}spec: {body}" if place else f"{POD}agents: {{a: {{instructions: x}}}}\ntools: {{t: {{execute: ./t.js}}}}"
    )
    migrated = migrate(text)
    assert migrated.names() == ["Tool/t", "Agent/a"]
    assert migrated.one("Agent")["metadata"]["namespace"] == "kitchen"


def test_lists_of_a_pod_take_bodies_specs_and_resources(migrate: Any) -> None:
    migrated = migrate(
        f"""{POD}spec:
  agents:
    - {{name: one, instructions: x}}
    - {{name: two, spec: {{instructions: x}}}}
    - {{metadata: {{name: three, namespace: other}}, spec: {{instructions: x}}}}
    - {{apiVersion: mastra/v1, kind: Agent, metadata: {{name: four}}, spec: {{instructions: x}}}}
"""
    )
    assert [(one["metadata"]["name"], one["metadata"]["namespace"]) for one in migrated.result.resources] == [
        ("one", "kitchen"),
        ("two", "kitchen"),
        ("three", "other"),
        ("four", "kitchen"),
    ]


def test_a_file_and_a_directory_are_brought_in_once(tmp_path: Path) -> None:
    (tmp_path / "agents").mkdir()
    (tmp_path / "pod.yaml").write_text(
        POD + 'resources:\n  - file: ./agents/a.yaml\n  - directory: ./agents\n    pattern: "*.{yaml,yml}"\n'
        "  - pattern: agents/*.yaml\n  - $ref: Agent/a\n"
    )
    (tmp_path / "agents" / "a.yaml").write_text(AGENT % "a")
    (tmp_path / "agents" / "b.yml").write_text(AGENT % "b")
    source = FileSource([str(tmp_path)])
    result = LegacyMigrator().migrate(source.of(list(source)))
    assert [one["metadata"]["name"] for one in result.resources] == ["a", "b"]
    one = FileSource([str(tmp_path / "pod.yaml")])
    assert LegacyMigrator().migrate(one.of(list(one))).resources == result.resources


def test_includes_by_path(migrate: Any) -> None:
    migrated = migrate(
        POD + "includes:\n  - {path: more/, optional: true}\n  - {path: x.yaml, when: '${env.X}'}\n",
        {"more/a.yaml": AGENT % "a", "x.yaml": AGENT % "b"},
    )
    assert migrated.names() == ["Agent/a", "Agent/b"]
    assert migrated.row("includes[1].when").outcome == "manual"


def test_a_missing_file_is_told_with_its_place_and_the_rest_is_made(migrate: Any) -> None:
    migrated = migrate(
        POD + "agents: {a: {instructions: x}}\nresources:\n  - file: ./gone.yaml\n  - directory: ./nowhere\n"
    )
    row = migrated.row("resources[0].file")
    assert (row.outcome, row.line) == ("manual", 6)
    assert "there is no file 'gone.yaml'" in row.reason
    assert migrated.row("resources[1].directory").outcome == "manual"
    assert migrated.names() == ["Agent/a"]


def test_a_file_outside_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "secret.yaml").write_text(AGENT % "a")
    (tmp_path / "in" / "pod.yaml").write_text(
        POD + "agents: {b: {instructions: x}}\nresources: [{file: ../secret.yaml}]"
    )
    source = FileSource([str(tmp_path / "in")])
    result = LegacyMigrator().migrate(source.of(list(source)))
    assert [one["metadata"]["name"] for one in result.resources] == ["b"]
    assert any("leads out of" in row.reason and row.outcome == "manual" for row in result.rows)


def test_pods_that_bring_in_each_other_are_a_circle_that_ends(migrate: Any) -> None:
    other = POD.replace("pod", "other") + "agents: {b: {instructions: x}}\nresources: [{file: ./pod.yaml}]\n"
    migrated = migrate(
        POD + "agents: {a: {instructions: x}}\nresources: [{file: ./other.yaml}, {file: pod.yaml}]\n",
        {"other.yaml": other},
    )
    assert migrated.names() == ["Agent/a", "Agent/b"]
    assert "circle" in migrated.row("resources[0].file", "other.yaml").reason
    assert "circle" in migrated.row("resources[1].file", "pod.yaml").reason


def test_a_file_of_another_format_is_left_for_its_own_migration(migrate: Any) -> None:
    migrated = migrate(
        POD + "agents: {a: {instructions: x}}\nresources: [{file: compose.yaml}]\n", {"compose.yaml": "services: {}"}
    )
    assert "another format" in migrated.row("resources[0].file").reason


def test_what_is_wrong_in_a_file_that_was_brought_in_is_told_at_the_pod_too(problems: Any) -> None:
    found = problems(
        POD + "resources: [{file: bad.yaml}]\n", {"bad.yaml": "apiVersion: mastra/v1\nkind: Agent\nspec: {a: 1}"}
    )
    assert {one.file for one in found} == {"pod.yaml", "bad.yaml"}


def test_a_condition_by_the_environment_is_manual(migrate: Any) -> None:
    inline = "{apiVersion: mastra/v1, kind: Agent, metadata: {name: a}, spec: {instructions: x}, when: '${env.ON}'}"
    migrated = migrate(f"{POD}resources:\n  - {inline}\n")
    assert migrated.names() == ["Agent/a"]
    assert "${env.ON}" in migrated.row("resources[0].when").reason


def test_twins_in_two_files_are_one_and_others_get_a_name_of_their_own(migrate: Any) -> None:
    same = AGENT % "a"
    migrated = migrate(
        POD + "resources: [{file: one.yaml}, {file: two.yaml}, {file: x/three.yaml}]\n",
        {
            "one.yaml": same,
            "two.yaml": same.replace("mastra/v1", "mastra.ai/v1"),
            "x/three.yaml": same.replace("Hi", "No"),
        },
    )
    assert migrated.names() == ["Agent/a", "Agent/three-a"]
    assert migrated.row("spec", "two.yaml").reason == "the same as at one.yaml:1"


def test_references_mean_the_twin_of_their_own_file(migrate: Any) -> None:
    network = "---\napiVersion: mastra/v1\nkind: Network\nmetadata: {name: n-%s}\nspec: {id: n, agents: [a]}\n"
    one, two = AGENT % "a" + network % "1", (AGENT % "a").replace("Hi", "No") + network % "2"
    migrated = migrate(POD + "resources: [{file: one.yaml}, {file: two.yaml}]\n", {"one.yaml": one, "two.yaml": two})
    assert migrated.spec("Network", "n-1")["agents"] == ["a"]
    assert migrated.spec("Network", "n-2")["agents"] == [{"name": "a", "ref": "two-a"}]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (POD + "resources: [5]", "resources[0]"),
        (POD + "resources: [{a: 1}]", "resources[0]"),
        (POD + "resources: {a: 1}", "resources"),
        (POD + "spec: 5", "spec"),
        (POD + "agents: {a: 5}", "agents.a"),
        (POD + "resources: [{kind: Agent, metadata: {name: a}}]", "resources[0].spec"),
        (POD + "resources: [{kind: agent, metadata: {name: a}, spec: {a: 1}}]", "resources[0].kind"),
        (POD + "resources: [{kind: Agent, spec: {a: 1}}]", "resources[0].metadata.name"),
        (POD, ""),
    ],
)
def test_what_is_wrong_with_a_pod_is_told_at_its_place(problems: Any, text: str, path: str) -> None:
    assert [one.path for one in problems(text)] == [path]


def test_several_problems_are_told_at_once(problems: Any) -> None:
    assert len(problems(POD + "resources: [5, {a: 1}, {kind: Nothing, metadata: {name: a}, spec: {b: 1}}]")) == 3


def test_a_list_of_resources_becomes_its_items(migrate: Any) -> None:
    migrated = migrate(
        "apiVersion: v1\nkind: List\nitems:\n"
        "  - {apiVersion: mastra/v1, kind: Agent, metadata: {name: a}, spec: {instructions: x}}\n"
    )
    assert migrated.names() == ["Agent/a"]
