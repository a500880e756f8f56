"""The plugin keeps to what is asked of all plugins: ``kastra plugins check workflow`` runs what is here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from kastra_core.api.kind import ResourceKind
from kastra_core.api.meta import JsonObject, JsonValue
from kastra_core.testing.controller import ControllerConformance
from kastra_core.testing.kind import KindConformance
from kastra_core.testing.plugin import PluginConformance
from kastra_core.testing.runner import RunnerConformance
from kastra_plugin_workflow import hooks
from kastra_plugin_workflow.controller import WorkflowController

__all__ = ["TestWorkflowController", "TestWorkflowKind", "TestWorkflowPlugin", "TestWorkflowRunner"]

[WORKFLOW] = hooks.kastra_resource_kinds()
OTHERS = [ResourceKind(kind=name, plural=f"{name.lower()}s") for name in ("Agent", "Network", "Tool")]
"""Stand for those of other plugins."""


def manifest(spec: Any, name: str = "sample") -> JsonObject:
    metadata = {"name": name, "namespace": "n"}
    return {"apiVersion": "mastra.ai/v1", "kind": "Workflow", "metadata": metadata, "spec": spec}


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


class TestWorkflowPlugin(PluginConformance):
    entry_point = "workflow"


class TestWorkflowKind(KindConformance):
    @pytest.fixture
    def kind(self) -> ResourceKind:
        return WORKFLOW

    @pytest.fixture
    def others(self) -> Sequence[ResourceKind]:
        return OTHERS

    @pytest.fixture
    def valid(self) -> Sequence[JsonObject]:
        return [manifest({"steps": [{"id": "only", "agent": "cook"}]}), manifest(FULL_WORKFLOW)]

    @pytest.fixture
    def invalid(self) -> Sequence[tuple[JsonObject, str]]:
        def step(**fields: Any) -> JsonObject:
            return manifest({"steps": [{"id": "a", **fields}]})

        return [
            (manifest({}), "spec.steps"),
            (manifest({"steps": [{"agent": "x"}]}), "spec.steps[0].id"),
            (step(agent="x", next="b"), "spec.steps[0].next"),
            (step(agent="x", agnet="y"), "spec.steps[0].agnet"),
            (step(set="{{ steps.b.output }}"), "spec.steps[0].set"),
            (step(parallel=[{"id": 5}]), "spec.steps[0].parallel.branches[0].id"),
            (step(loop={"while": "1 +", "steps": [{"id": "b", "set": 1}]}), "spec.steps[0].loop.while"),
            (step(agent="x", timeout="soon"), "spec.steps[0].timeout"),
        ]


class TestWorkflowController(ControllerConformance):
    @pytest.fixture
    def kinds(self) -> Sequence[ResourceKind]:
        return [WORKFLOW, *OTHERS]

    @pytest.fixture
    def make_controller(self) -> Callable[[Any], WorkflowController]:
        return WorkflowController

    @pytest.fixture
    def manifest(self) -> JsonObject:
        return manifest({"steps": [{"id": "one", "set": 1}]})


RUNNABLE: JsonObject = {
    "timeout": "1h",
    "onFailure": [{"id": "tell", "set": "{{ error.message }}"}],
    "steps": [
        {"id": "keep", "operation": "state.update", "input": {"scope": "n/sample", "values": {"a": 1}}},
        {
            "id": "each",
            "foreach": {
                "items": "{{ workflow.input.names }}",
                "as": "who",
                "concurrency": 2,
                "steps": [{"id": "greet", "workflow": "greeting", "input": {"name": "{{ who }}"}}],
            },
        },
        {
            "id": "fan",
            "parallel": [
                {"id": "nap", "sleep": "1m"},
                {"id": "read", "operation": "state.get", "input": {"scope": "n/sample"}, "retry": 2},
            ],
        },
        {"id": "again", "loop": {"until": "output == 3", "maxIterations": 5, "steps": [{"id": "z", "set": 3}]}},
        {"id": "ask", "suspend": {"message": "Well?", "schema": {"type": "boolean"}, "timeout": "2d"}},
        {"id": "event", "waitForEvent": {"name": "done", "timeout": 5}},
        {"id": "go", "branch": [{"when": "steps.ask.output", "next": "yes"}]},
        {"id": "no", "fail": {"reason": "Refused", "message": "no"}},
        {"id": "yes", "succeed": {"greetings": "{{ steps.each.output }}", "event": "{{ steps.event.output }}"}},
    ],
}
"""Uses every form that needs no other plugin."""


class TestWorkflowRunner(RunnerConformance):
    @pytest.fixture
    def kind(self) -> ResourceKind:
        return WORKFLOW

    @pytest.fixture
    def manifest(self) -> JsonObject:
        return manifest(RUNNABLE)

    @pytest.fixture
    def others(self) -> Sequence[JsonObject]:
        return [manifest({"steps": [{"id": "say", "set": "Hi {{ workflow.input.name }}"}]}, "greeting")]

    @pytest.fixture
    def input(self) -> JsonObject:
        return {"names": ["Ada", "Bob", "Cy"]}

    @pytest.fixture
    def signals(self) -> Mapping[str, JsonValue]:
        return {"ask": True, "done": {"by": "the suite"}}
