"""The project's own plugins and kinds keep to what is asked of third parties."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from kastra_core.api.kind import ResourceKind
from kastra_core.api.meta import JsonObject
from kastra_core.plugins import PluginManager
from kastra_core.testing.kind import KindConformance
from kastra_core.testing.plugin import PluginConformance

PLUGINS = (
    "adk", "agent", "agent-framework", "agentspec", "crd", "crewai", "docker-agent", "kagent", "legacy", "libsql",
    "litellm", "local", "network", "openai", "retention", "system", "tool", "workflow",
)  # fmt: skip
"""Entry points of the plugins in ``plugins/``."""


class TestAgentPlugin(PluginConformance):
    entry_point = "agent"


class TestCrdPlugin(PluginConformance):
    entry_point = "crd"


class TestLibsqlPlugin(PluginConformance):
    entry_point = "libsql"


class TestLitellmPlugin(PluginConformance):
    entry_point = "litellm"


class TestLocalPlugin(PluginConformance):
    entry_point = "local"


class TestNetworkPlugin(PluginConformance):
    entry_point = "network"


class TestOpenaiPlugin(PluginConformance):
    entry_point = "openai"


class TestRetentionPlugin(PluginConformance):
    entry_point = "retention"


class TestSystemPlugin(PluginConformance):
    entry_point = "system"


class TestToolPlugin(PluginConformance):
    entry_point = "tool"


class TestWorkflowPlugin(PluginConformance):
    entry_point = "workflow"


class TestAdkPlugin(PluginConformance):
    entry_point = "adk"


class TestAgentFrameworkPlugin(PluginConformance):
    entry_point = "agent-framework"


class TestAgentspecPlugin(PluginConformance):
    entry_point = "agentspec"


class TestCrewaiPlugin(PluginConformance):
    entry_point = "crewai"


class TestDockerAgentPlugin(PluginConformance):
    entry_point = "docker-agent"


class TestKagentPlugin(PluginConformance):
    entry_point = "kagent"


class TestLegacyPlugin(PluginConformance):
    entry_point = "legacy"


def test_every_plugin_of_the_project_is_tested_here() -> None:
    suites = [item for item in globals().values() if isinstance(item, type) and issubclass(item, PluginConformance)]
    assert {suite.entry_point for suite in suites} - {""} == set(PLUGINS)


def kind_of(name: str) -> ResourceKind:
    for _, record in PluginManager().records("kastra_resource_kinds"):
        if record.kind == name:
            assert isinstance(record, ResourceKind)
            return record
    raise AssertionError(f"no plugin offers {name}")


def manifest(kind: str, spec: Any = None) -> JsonObject:
    out: JsonObject = {"apiVersion": "mastra.ai/v1", "kind": kind, "metadata": {"name": "sample", "namespace": "n"}}
    return out if spec is None else {**out, "spec": spec}


class TestAgentKind(KindConformance):
    self_explaining = frozenset({"ToolUses.items"})  # written as a list or a map, not as a field

    @pytest.fixture
    def kind(self) -> ResourceKind:
        return kind_of("Agent")

    @pytest.fixture
    def others(self) -> Sequence[ResourceKind]:
        return [kind_of("Tool")]

    @pytest.fixture
    def valid(self) -> Sequence[JsonObject]:
        return [
            manifest("Agent"),
            manifest("Agent", {"model": "openai/gpt-4o-mini", "tools": ["finder", "cooking.timer", "agents/greeter"]}),
            manifest(
                "Agent",
                {
                    "instructions": "You are a cook.",
                    "description": "Cooks.",
                    "model": {
                        "provider": "openai",
                        "name": "gpt-4o",
                        "temperature": 0.7,
                        "maxTokens": 100,
                        "parameters": {"seed": 1},
                        "apiKey": {"valueFrom": {"env": "KEY"}},
                    },
                    "tools": [{"name": "finder", "refName": "cooking.finder", "description": "Finds."}, {"ref": "x.y"}],
                    "toolChoice": "finder",
                    "memory": {"enabled": True, "type": "buffer", "maxMessages": 3},
                    "output": {"schema": {"type": "object"}, "maxRepairs": 2},
                    "limits": {"maxSteps": 3, "timeoutS": 1.5, "maxCost": 0.1},
                    "scaling": {"minReplicas": 1, "maxReplicas": 5},
                },
            ),
        ]

    @pytest.fixture
    def invalid(self) -> Sequence[tuple[JsonObject, str]]:
        return [
            (manifest("Agent", {"instructions": 5}), "spec.instructions"),
            (manifest("Agent", {"model": "gpt-4o"}), "spec.model"),
            (manifest("Agent", {"model": {"provider": "openai"}}), "spec.model.name"),
            (manifest("Agent", {"tools": [{"name": "x", "url": "y"}]}), "spec.tools[0].url"),
            (manifest("Agent", {"tools": ["a", "a"]}), "spec.tools[1]"),
            (manifest("Agent", {"memory": {"type": "bufer"}}), "spec.memory.type"),
            (manifest("Agent", {"toolChoice": "nobody"}), "spec.toolChoice"),
        ]


class TestToolKind(KindConformance):
    @pytest.fixture
    def kind(self) -> ResourceKind:
        return kind_of("Tool")

    @pytest.fixture
    def valid(self) -> Sequence[JsonObject]:
        return [
            manifest("Tool", {"type": "python", "python": {"function": "json:loads"}}),
            manifest("Tool", {"type": "http", "http": {"url": "https://example.com/{city}"}, "timeout": "5s"}),
            manifest(
                "Tool",
                {
                    "type": "http",
                    "description": "Posts.",
                    "inputSchema": {"type": "object", "properties": {"q": {"type": "string"}}},
                    "http": {
                        "url": "https://example.com",
                        "method": "POST",
                        "headers": {"X-Key": {"valueFrom": {"env": "KEY"}}},
                        "query": {"page": 1},
                        "auth": {"bearer": {"valueFrom": {"env": "TOKEN"}}},
                        "body": "json",
                        "response": "text",
                    },
                    "retry": {"attempts": 2, "delay": "1s"},
                    "idempotent": True,
                },
            ),
        ]

    @pytest.fixture
    def invalid(self) -> Sequence[tuple[JsonObject, str]]:
        return [
            (manifest("Tool", {}), "spec.type"),
            (manifest("Tool", {"type": "pyhton"}), "spec.type"),
            (manifest("Tool", {"type": "python", "python": {}}), "spec.python.function"),
            (manifest("Tool", {"type": "python", "code": "print()"}), "spec.code"),
        ]


class TestWorkflowKind(KindConformance):
    @pytest.fixture
    def kind(self) -> ResourceKind:
        return kind_of("Workflow")

    @pytest.fixture
    def others(self) -> Sequence[ResourceKind]:
        return [kind_of("Agent"), kind_of("Tool")]

    @pytest.fixture
    def valid(self) -> Sequence[JsonObject]:
        return [
            manifest("Workflow", {"steps": [{"id": "only", "agent": "cook"}]}),
            manifest("Workflow", FULL_WORKFLOW),
        ]

    @pytest.fixture
    def invalid(self) -> Sequence[tuple[JsonObject, str]]:
        def step(**fields: Any) -> JsonObject:
            return manifest("Workflow", {"steps": [{"id": "a", **fields}]})

        return [
            (manifest("Workflow", {}), "spec.steps"),
            (manifest("Workflow", {"steps": [{"agent": "x"}]}), "spec.steps[0].id"),
            (step(agent="x", next="b"), "spec.steps[0].next"),
            (step(agent="x", agnet="y"), "spec.steps[0].agnet"),
            (step(set="{{ steps.b.output }}"), "spec.steps[0].set"),
            (step(parallel=[{"id": 5}]), "spec.steps[0].parallel.branches[0].id"),
            (step(loop={"while": "1 +", "steps": [{"id": "b", "set": 1}]}), "spec.steps[0].loop.while"),
            (step(agent="x", timeout="soon"), "spec.steps[0].timeout"),
        ]


FULL_WORKFLOW: JsonObject = {
    "name": "Everything",
    "description": "Uses every form.",
    "initialStep": "load",
    "inputSchema": {"type": "object", "properties": {"names": {"type": "array"}}},
    "outputSchema": {"type": "object"},
    "output": {"all": "{{ steps.each.output }}"},
    "timeout": "1h",
    "retry": {"maxAttempts": 2, "delay": "10ms", "multiplier": 1.5, "maxDelay": "1s", "jitter": 0, "on": ["Model*"]},
    "limits": {"maxSteps": 100, "timeoutS": 60},
    "scaling": {"minReplicas": 0, "maxReplicas": 2},
    "schedule": {"cron": "0 9 * * MON-FRI", "timeZone": "Europe/Berlin", "input": {"names": ["x"]}},
    "onFailure": [{"id": "tell", "tool": "notify", "arguments": {"text": "{{ error.message }}"}}],
    "steps": [
        {"id": "load", "operation": "model.embed", "input": {"texts": "{{ workflow.input.names }}"}},
        {
            "id": "each",
            "foreach": {
                "items": "{{ workflow.input.names }}",
                "as": "who",
                "concurrency": 3,
                "onError": "skip",
                "steps": [{"id": "greet", "agent": {"name": "cook", "namespace": "n"}, "input": "Hi {{ who }}"}],
            },
        },
        {
            "id": "fan",
            "parallel": {
                "branches": [{"id": "p", "sleep": "1s"}, {"name": "q", "steps": [{"id": "q1", "set": None}]}],
                "onFailure": "cancel",
            },
        },
        {"id": "go", "branch": [{"when": "size(workflow.input.names) > 1", "next": "ask"}], "input": 1},
        {"id": "again", "loop": {"until": "output == 3", "maxIterations": 5, "steps": [{"id": "z", "set": 3}]}},
        {
            "id": "ask",
            "suspend": {"message": "Well?", "schema": {"type": "boolean"}, "timeout": "2d"},
            "output": {"type": "answer"},
            "onFailure": {"output": False},
        },
        {"id": "event", "waitForEvent": {"name": "done", "timeout": 5}, "input": {"from": "answer"}},
        {"id": "sub", "workflow": "other", "timeout": "5m", "onFailure": "no"},
        {"id": "yes", "succeed": {"ok": True}},
        {"id": "no", "fail": {"reason": "Refused", "message": "no"}},
    ],
}


def definition(**spec: Any) -> JsonObject:
    names = {"kind": "Gadget", "plural": "gadgets"}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
    whole = {"group": "acme.example", "names": names, "scope": "Namespaced", "versions": [version], **spec}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "gadgets.acme.example"},
        "spec": {key: value for key, value in whole.items() if value is not None},
    }


class TestCustomResourceDefinitionKind(KindConformance):
    @pytest.fixture
    def kind(self) -> ResourceKind:
        return kind_of("CustomResourceDefinition")

    @pytest.fixture
    def valid(self) -> Sequence[JsonObject]:
        mission = {
            "group": "acme.example",
            "names": {"kind": "Gadget", "plural": "gadgets"},
            "scope": "Namespaced",
            "validation": {"openAPIV3Schema": {"type": "object", "properties": None}},
        }
        return [
            definition(),
            definition(names={"kind": "Gadget", "plural": "gadgets", "shortNames": ["gg"], "categories": ["all"]}),
            {**definition(), "apiVersion": "mastra.ai/v1alpha1", "spec": mission},
        ]

    @pytest.fixture
    def invalid(self) -> Sequence[tuple[JsonObject, str]]:
        return [
            (definition(scope=None), "spec.scope"),
            (definition(group="other.example"), "metadata.name"),
            (definition(versions=[]), "spec.versions"),
            (definition(names={"kind": "Gadget"}), "spec.names.plural"),
        ]
