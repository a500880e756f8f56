"""Manifests of today come out as they are; what is of which format; stored objects."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from kastra_core.errors import ManifestError
from kastra_core.migration import MemorySource, read_text
from kastra_core.migration.engine import problems_of_result
from kastra_core.plugins import PluginManager
from kastra_plugin_legacy.migrator import LegacyMigrator

ROOT = Path(__file__).parents[3]
GUIDES = sorted([*ROOT.glob("docs/guide/*.md"), *ROOT.glob("plugins/*/README.md")])


def test_the_plugin_offers_the_migrator() -> None:
    (found,) = [one for _, one in PluginManager().records("kastra_migrators") if one.name == "legacy"]
    assert found.api_versions == ("mastra/v1", "mastra.ai/v1alpha1")


def test_manifests_of_the_guides_come_out_equal_with_low_confidence(registry: Any) -> None:
    migrator, count = LegacyMigrator(), 0
    for guide in GUIDES:
        for block in re.findall(r"```ya?ml[^\n]*\n(.*?)```", guide.read_text(encoding="utf-8"), re.DOTALL):
            try:
                documents = read_text(block, guide.name)
            except ManifestError:
                continue
            for document in documents:
                data = document.data
                if not isinstance(data, dict) or data.get("apiVersion") != "mastra.ai/v1":
                    continue
                if problems_of_result([data], registry):
                    continue
                count += 1
                assert migrator.detect(document) <= 0.5, block
                assert list(migrator.migrate(MemorySource([document])).resources) == [data]
    assert count > 20


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("kind: MastraPod\nmetadata: {name: a}", 0.9, 1),
        ("apiVersion: mastra/v1\nkind: Agent\nmetadata: {name: a}\nspec: {instructions: x}", 0.9, 1),
        ("apiVersion: mastra.ai/v1alpha1\nkind: Agent\nmetadata: {name: a}\nspec: {instructions: x}", 0.9, 1),
        ("apiVersion: mastra.ai/v1\nkind: Agent\nmetadata: {name: a}\nspec: {systemPrompt: x}", 0.9, 1),
        ("apiVersion: mastra.ai/v1\nkind: Agent\nmetadata: {name: a}\nspec: {instructions: x}", 0.2, 0.5),
        ("apiVersion: v1\nkind: Workflow\nmetadata: {name: a}\nspec: {steps: {}}", 0.5, 0.9),
        ("kind: Agent\nmetadata: {name: a}\nspec: {instructions: x}", 0.5, 0.9),
        ("version: '1'\nagents: {a: {instructions: x, model: {provider: p, name: n}}}", 0.5, 0.9),
        ("version: '2'\nagents: {root: {model: openai/gpt-x, instruction: y}}", 0, 0),
        ("agents: {a: {role: r, goal: g, backstory: b}}", 0, 0),
        ("apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {}", 0, 0),
        ("apiVersion: kagent.dev/v1alpha2\nkind: Agent\nmetadata: {name: a}\nspec: {systemMessage: x}", 0, 0),
        ("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {}", 0, 0),
        ("kind: Workflow\ntrigger: {kind: OnConversationStart}", 0, 0),
        ("component_type: Agent\nname: a", 0, 0),
        ("name: a\nscripts: {}", 0, 0),
    ],
)
def test_confidence(text: str, least: float, most: float) -> None:
    (document,) = read_text(text, "file.yaml")
    assert least <= LegacyMigrator().detect(document) <= most


def test_the_input_of_a_run_is_recognised_by_its_directory() -> None:
    text = "location: Berlin\ndays: 3"
    assert LegacyMigrator().detect(read_text(text, "app/inputs/weather.yaml")[0]) > 0.2
    assert LegacyMigrator().detect(read_text(text, "app/weather.yaml")[0]) == 0


@pytest.mark.parametrize(
    ("text", "file", "words"),
    [
        (
            '{"providers": {"openai": {"apiKey": "${K}"}}, "memory": {"type": "sqlite"}}',
            "config.json",
            "older command line",
        ),
        ("location: Berlin", "inputs/a.yaml", "input of a run"),
    ],
)
def test_what_is_no_configuration_is_refused_in_words(problems: Any, text: str, file: str, words: str) -> None:
    (problem,) = problems(text, file=file)
    assert words in problem.message
    assert problem.hint


def test_a_stored_object_of_an_older_version_keeps_name_and_namespace(migrate: Any) -> None:
    migrated = migrate(
        """
apiVersion: mastra.ai/v1alpha1
kind: Agent
metadata: {name: weather.agent, namespace: demo, uid: u, generation: 3, labels: {a: b}}
spec: {instructions: Help., model: {provider: openai, name: gpt-x}}
status: {phase: Running}
"""
    )
    (made,) = migrated.result.resources
    assert made == {
        "apiVersion": "mastra.ai/v1",
        "kind": "Agent",
        "metadata": {"name": "weather.agent", "namespace": "demo", "labels": {"a": "b"}},
        "spec": {"instructions": "Help.", "model": {"provider": "openai", "name": "gpt-x"}},
    }
