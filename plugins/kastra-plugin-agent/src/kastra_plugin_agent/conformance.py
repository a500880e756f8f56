"""The plugin keeps to what is asked of all plugins: ``kastra plugins check agent`` runs what is here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from kastra_core.api.kind import ResourceKind
from kastra_core.api.meta import JsonObject
from kastra_core.plugins import PluginManager
from kastra_core.protocols.model import ChatRequest, TextPart, ToolCallPart
from kastra_core.protocols.runner import SharedState
from kastra_core.registrations import OperationRegistration
from kastra_core.testing.controller import ControllerConformance, MiniRuntime
from kastra_core.testing.fakes import FakeModelProvider
from kastra_core.testing.kind import KindConformance
from kastra_core.testing.operation import OperationConformance
from kastra_core.testing.plugin import PluginConformance
from kastra_core.testing.runner import RunnerConformance
from kastra_plugin_agent import hooks
from kastra_plugin_agent.controller import AgentController

__all__ = [
    "TestAgentController",
    "TestAgentKind",
    "TestAgentPlugin",
    "TestAgentRunner",
    "TestMemoryEmbed",
    "TestMemoryRecall",
    "TestMemorySummarised",
    "TestMemorySummary",
    "TestMemoryTranscript",
    "TestMemoryUpdate",
    "TestStateGet",
    "TestStateSet",
]

[AGENT] = hooks.kastra_resource_kinds()
TOOL = ResourceKind(kind="Tool", plural="tools")
"""Stands for the one of another plugin."""
OPERATIONS = {record.name: record for record in hooks.kastra_operations()}


def manifest(spec: Any = None, name: str = "sample", namespace: str = "n") -> JsonObject:
    metadata = {"name": name, "namespace": namespace}
    out: JsonObject = {"apiVersion": "mastra.ai/v1", "kind": "Agent", "metadata": metadata}
    return out if spec is None else {**out, "spec": spec}


def scripted(request: ChatRequest) -> TextPart | ToolCallPart:
    """Asks for the first tool once, then answers."""
    if request.tools and not any(message.role == "tool" for message in request.messages):
        return ToolCallPart("call-1", request.tools[0].name, {"input": "Is it done?"})
    return TextPart("Done.")


class TestAgentPlugin(PluginConformance):
    entry_point = "agent"


class TestAgentKind(KindConformance):
    self_explaining = frozenset({"ToolUses.items"})  # written as a list or a map, not as a field

    @pytest.fixture
    def kind(self) -> ResourceKind:
        return AGENT

    @pytest.fixture
    def others(self) -> Sequence[ResourceKind]:
        return [TOOL]

    @pytest.fixture
    def valid(self) -> Sequence[JsonObject]:
        return [
            manifest(),
            manifest({"model": "openai/gpt-4o-mini", "tools": ["finder", "cooking.timer", "agents/greeter"]}),
            manifest(
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
                }
            ),
        ]

    @pytest.fixture
    def invalid(self) -> Sequence[tuple[JsonObject, str]]:
        return [
            (manifest({"instructions": 5}), "spec.instructions"),
            (manifest({"model": "gpt-4o"}), "spec.model"),
            (manifest({"model": {"provider": "openai"}}), "spec.model.name"),
            (manifest({"tools": [{"name": "x", "url": "y"}]}), "spec.tools[0].url"),
            (manifest({"tools": ["a", "a"]}), "spec.tools[1]"),
            (manifest({"memory": {"type": "bufer"}}), "spec.memory.type"),
            (manifest({"toolChoice": "nobody"}), "spec.toolChoice"),
        ]


class TestAgentController(ControllerConformance):
    @pytest.fixture
    def kinds(self) -> Sequence[ResourceKind]:
        return [AGENT]

    @pytest.fixture
    def make_controller(self) -> Callable[[Any], AgentController]:
        return AgentController

    @pytest.fixture
    def runtime(self, kinds: Sequence[ResourceKind], tmp_path: Path) -> MiniRuntime:
        made = MiniRuntime.of(*kinds, project=tmp_path)
        made.plugins = PluginManager(discover=False, extra=[FakeModelProvider().plugin()])
        return made

    @pytest.fixture
    def others(self) -> Sequence[JsonObject]:
        return [manifest({"model": "fake/m"}, "helper")]

    @pytest.fixture
    def manifest(self) -> JsonObject:
        return manifest({"model": "fake/m", "tools": ["agents/helper"], "scaling": {"minReplicas": 1}})


class TestAgentRunner(RunnerConformance):
    """An agent with a memory that asks another one."""

    @pytest.fixture
    def kind(self) -> ResourceKind:
        return AGENT

    @pytest.fixture
    def manifest(self) -> JsonObject:
        memory = {"type": "summary", "workingMemory": {"enabled": True}}
        return manifest({"model": "fake/m", "tools": ["agents/helper"], "memory": memory})

    @pytest.fixture
    def others(self) -> Sequence[JsonObject]:
        return [manifest({"model": "fake/m", "instructions": "Help."}, "helper")]

    @pytest.fixture
    def input(self) -> str:
        return "Do it."

    @pytest.fixture
    def plugins(self) -> Sequence[tuple[str, Any]]:
        return [FakeModelProvider(default=scripted).plugin()]


class _AgentOperation(OperationConformance):
    name = ""

    @pytest.fixture
    def operation(self) -> OperationRegistration:
        return OPERATIONS[self.name]

    @pytest.fixture
    def plugins(self) -> Sequence[tuple[str, Any]]:
        return [FakeModelProvider().plugin(embeddings="digest")]

    @pytest.fixture
    def shared(self) -> SharedState:
        return SharedState(scope="conformance")


class TestMemoryRecall(_AgentOperation):
    name = "memory.recall"

    @pytest.fixture
    def arguments(self) -> JsonObject:
        return {
            "question": "Where is the key?",
            "where": {"namespace": "default", "thread": "t"},
            "topK": 3,
            "minScore": 0.1,
            "embeddings": "fake/digest",
            "exclude": ["a-run"],
            "maxTokens": 100,
        }


class TestMemoryEmbed(_AgentOperation):
    name = "memory.embed"

    @pytest.fixture
    def arguments(self) -> JsonObject:
        return {"texts": ["Where is the key?", "On the table."], "embeddings": "fake/digest"}


class TestMemorySummary(_AgentOperation):
    name = "memory.summary"

    @pytest.fixture
    def arguments(self) -> JsonObject:
        return {"scope": "agent/default/a/summary/t", "namespace": "default", "thread": "t"}


class TestMemorySummarised(_AgentOperation):
    name = "memory.summarised"

    @pytest.fixture
    def arguments(self) -> JsonObject:
        place = {"scope": "agent/default/a/summary/t", "namespace": "default", "thread": "t"}
        return {**place, "upTo": 4, "text": "The key is on the table."}


class TestMemoryTranscript(_AgentOperation):
    name = "memory.transcript"

    @pytest.fixture
    def arguments(self) -> JsonObject:
        return {"namespace": "default", "thread": "t", "after": 0, "upTo": 4, "maxTokens": 100}


class TestMemoryUpdate(_AgentOperation):
    name = "memory.update"

    @pytest.fixture
    def arguments(self) -> JsonObject:
        schema = {"type": "object", "properties": {"name": {"type": "string"}}}
        return {"scope": "agent/default/a", "values": {"name": "Ann"}, "maxBytes": 1000, "schema": schema}

    @pytest.fixture
    def invalid(self) -> Sequence[JsonObject]:
        schema = {"type": "object", "properties": {"name": {"type": "string"}}}
        place = {"scope": "agent/default/a"}
        return [
            {**place, "values": {"name": 5}, "maxBytes": 1000, "schema": schema},
            {**place, "values": {"name": "Ann"}, "maxBytes": 3},
        ]


class TestStateGet(_AgentOperation):
    name = "agent.state_get"

    @pytest.fixture
    def arguments(self) -> JsonObject:
        return {"keys": ["tier"]}

    @pytest.fixture
    def invalid(self) -> Sequence[JsonObject]:
        return [{"keys": "tier"}, {"scope": 5}]


class TestStateSet(_AgentOperation):
    name = "agent.state_set"

    @pytest.fixture
    def arguments(self) -> JsonObject:
        return {"values": {"tier": "gold"}}

    @pytest.fixture
    def invalid(self) -> Sequence[JsonObject]:
        return [{}, {"values": ["tier"]}]
