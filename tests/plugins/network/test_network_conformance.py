"""The plugin's own kind and router keep to what is asked of third parties."""

from __future__ import annotations

import types
from collections.abc import Sequence
from typing import Any

import attrs
import pytest

from kastra_core import PluginManager, hookimpl
from kastra_core.api.kind import ResourceKind
from kastra_core.api.meta import JsonObject
from kastra_core.registrations import ModelProviderRegistration, OperationRegistration
from kastra_core.testing.fakes import FakeModelProvider
from kastra_core.testing.kind import KindConformance
from kastra_plugin_network.testing import RouterConformance, router_faults


def record(hook: str, name: str) -> Any:
    for _, found in PluginManager(discover=False, extra=[("network", "kastra_plugin_network.hooks")]).records(hook):
        if name in (getattr(found, "kind", ""), found.name if hasattr(found, "name") else ""):
            return found
    raise AssertionError(f"the plugin offers no {name}")


def manifest(spec: Any = None) -> JsonObject:
    meta = {"name": "sample", "namespace": "n"}
    out: JsonObject = {"apiVersion": "mastra.ai/v1", "kind": "Network", "metadata": meta}
    return out if spec is None else {**out, "spec": spec}


class TestNetworkKind(KindConformance):
    @pytest.fixture
    def kind(self) -> ResourceKind:
        found = record("kastra_resource_kinds", "Network")
        assert isinstance(found, ResourceKind)
        return found

    @pytest.fixture
    def others(self) -> Sequence[ResourceKind]:
        return [ResourceKind(kind=name, plural=f"{name.lower()}s") for name in ("Agent", "Tool", "Workflow")]

    @pytest.fixture
    def valid(self) -> Sequence[JsonObject]:
        return [
            manifest({"agents": ["a"]}),
            manifest({"agents": ["a", "other.b", "agents/c", "workflows/d"], "router": {"model": "openai/gpt-4o"}}),
            manifest(
                {
                    "instructions": "Help.",
                    "description": "Helps.",
                    "agents": [{"name": "x", "ref": "n.a", "description": "The first."}],
                    "workflows": [{"name": "report", "namespace": "other"}],
                    "tools": [{"refName": "cooking.timer"}],
                    "networks": ["inner"],
                    "router": {
                        "type": "auto",
                        "model": {"provider": "openai", "name": "gpt-4o", "temperature": 0, "parameters": {"seed": 1}},
                        "instructions": "Be quick.",
                        "maxSteps": 15,
                        "fallback": "x",
                        "maxRepairs": 0,
                        "answer": "router",
                        "embeddings": "local/multilingual-e5-small",
                        "margin": 0.02,
                        "options": {"k": [1]},
                    },
                    "state": {"persistence": False, "ttl": "1h", "tools": False},
                    "memory": {"enabled": True, "maxMessages": 5},
                    "limits": {"maxModelCalls": 10, "timeoutS": 30},
                    "scaling": {"minReplicas": 0, "maxReplicas": 4},
                }
            ),
        ]

    @pytest.fixture
    def invalid(self) -> Sequence[tuple[JsonObject, str]]:
        def router(**fields: Any) -> JsonObject:
            return manifest({"agents": ["a"], "router": fields})

        return [
            (manifest(), "spec"),
            (manifest({"agents": []}), "spec"),
            (manifest({"agents": ["a", "other.a"]}), "spec.agents[1]"),
            (manifest({"agents": ["a"], "tools": ["a"]}), "spec.tools[0]"),
            (manifest({"agents": ["a//b"]}), "spec.agents[0]"),
            (manifest({"agents": [{"ref": "a", "model": "x"}]}), "spec.agents[0].model"),
            (manifest({"agents": [{"description": "x"}]}), "spec.agents[0]"),
            (manifest({"agents": [{"name": "a/b", "ref": "a"}]}), "spec.agents[0]"),
            (manifest({"agents": [5]}), "spec.agents[0]"),
            (manifest({"members": ["a"]}), "spec.members"),
            (manifest({"agents": ["a"], "model": "openai/gpt-4o"}), "spec.model"),
            (manifest({"agents": ["a"], "state": {"ttl": "soon"}}), "spec.state.ttl"),
            (manifest({"agents": ["a"], "state": {"ttl": 0}}), "spec.state.ttl"),
            (manifest({"agents": ["a"], "memory": {"maxMessages": 0}}), "spec.memory.maxMessages"),
            (manifest({"agents": ["a"], "limits": {"maxTokens": -1}}), "spec.limits.maxTokens"),
            (manifest({"agents": ["a"], "scaling": {"minReplicas": 2, "maxReplicas": 1}}), "spec.scaling.maxReplicas"),
            (router(model="gpt-4o"), "spec.router.model"),
            (router(model={"provider": "openai"}), "spec.router.model.name"),
            (router(maxSteps=0), "spec.router.maxSteps"),
            (router(maxRepairs=-1), "spec.router.maxRepairs"),
            (router(fallback="aa"), "spec.router.fallback"),
            (router(margin=3), "spec.router.margin"),
            (router(embeddings="e5"), "spec.router.embeddings"),
            (router(type="two words"), "spec.router.type"),
            (router(answer="nobody"), "spec.router.answer"),
        ]


class TestEmbeddingRouter(RouterConformance):
    @pytest.fixture
    def operation(self) -> OperationRegistration:
        found = record("kastra_operations", "router.embedding")
        assert isinstance(found, OperationRegistration)
        return found

    @pytest.fixture
    def plugins(self) -> Sequence[tuple[str, Any]]:
        module = types.ModuleType("fake_embeddings")
        provider = FakeModelProvider()

        @hookimpl
        def kastra_model_providers() -> list[ModelProviderRegistration]:
            return [attrs.evolve(provider.registration("fake"), embeddings="digest")]

        module.kastra_model_providers = kastra_model_providers  # type: ignore[attr-defined]
        return [("fake_embeddings", module)]


@pytest.mark.parametrize(
    ("result", "fault"),
    [
        (5, "it is no object: 5"),
        ({"reason": "", "done": True}, "agent is missing"),
        ({"agent": "z", "reason": "", "done": True}, "agent 'z' is no candidate"),
        ({"agent": "a", "reason": 1, "done": True}, "reason is no text"),
        ({"agent": "a", "reason": "", "done": "yes"}, "done is neither true nor false"),
        ({"agent": "a", "reason": "", "done": True, "scores": {"z": 1}}, "scores.z: no such candidate"),
        ({"agent": "a", "reason": "", "done": True, "scores": {"a": True}}, "scores.a is no number"),
        ({"agent": "a", "reason": "", "done": True, "usage": {"input_tokens": -1}}, "usage is no object of numbers"),
    ],
)
def test_a_result_that_is_no_choice_is_found_out(result: Any, fault: str) -> None:
    assert router_faults(result, ["a"]) == [fault]
