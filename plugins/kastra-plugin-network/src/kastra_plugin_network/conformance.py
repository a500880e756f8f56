"""The plugin keeps to what is asked of all plugins: ``kastra plugins check network`` runs what is here."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import orjson
import pytest

from kastra_core.api.kind import ResourceKind
from kastra_core.api.meta import JsonObject, JsonValue, Resource
from kastra_core.hookspecs import hookimpl
from kastra_core.protocols.model import ChatRequest
from kastra_core.protocols.runner import RunContext
from kastra_core.registrations import OperationRegistration
from kastra_core.testing.controller import ControllerConformance
from kastra_core.testing.fakes import FakeModelProvider
from kastra_core.testing.kind import KindConformance
from kastra_core.testing.operation import OperationConformance
from kastra_core.testing.plugin import PluginConformance
from kastra_core.testing.runner import RunnerConformance
from kastra_plugin_network import hooks
from kastra_plugin_network.controller import NetworkController
from kastra_plugin_network.testing import RouterConformance

__all__ = [
    "TestEmbeddingRouter",
    "TestNetworkController",
    "TestNetworkKind",
    "TestNetworkPlan",
    "TestNetworkPlugin",
    "TestNetworkRunner",
]

[NETWORK] = hooks.kastra_resource_kinds()
OPERATIONS = {record.name: record for record in hooks.kastra_operations()}
OTHERS = [ResourceKind(kind=name, plural=f"{name.lower()}s") for name in ("Agent", "Tool", "Workflow")]
"""Stand for those of other plugins."""


class Colleague:
    """Runner of members: repeats what it is asked."""

    async def run(self, ctx: RunContext, target: Resource, input: JsonValue) -> JsonValue:
        return f"{target.metadata.name} heard {input}"


COLLEAGUE = ResourceKind(kind="Colleague", plural="colleagues", runner=Colleague)


def colleagues() -> tuple[str, Any]:
    """A plugin with a kind that members may be of."""
    module = types.ModuleType("colleagues")

    @hookimpl
    def kastra_resource_kinds() -> Iterable[ResourceKind]:
        return (COLLEAGUE,)

    setattr(module, kastra_resource_kinds.__name__, kastra_resource_kinds)
    return "colleagues", module


def manifest(spec: Any = None, *, kind: str = "Network", name: str = "sample") -> JsonObject:
    out: JsonObject = {"apiVersion": "mastra.ai/v1", "kind": kind, "metadata": {"name": name, "namespace": "n"}}
    return out if spec is None else {**out, "spec": spec}


MEMBERS = [{"name": name, "kind": "Colleague"} for name in ("ann", "bob")]


class TestNetworkPlugin(PluginConformance):
    entry_point = "network"


class TestNetworkKind(KindConformance):
    @pytest.fixture
    def kind(self) -> ResourceKind:
        return NETWORK

    @pytest.fixture
    def others(self) -> Sequence[ResourceKind]:
        return OTHERS

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


class TestNetworkController(ControllerConformance):
    @pytest.fixture
    def kinds(self) -> Sequence[ResourceKind]:
        return [NETWORK, COLLEAGUE]

    @pytest.fixture
    def make_controller(self) -> Callable[[Any], NetworkController]:
        return NetworkController

    @pytest.fixture
    def others(self) -> Sequence[JsonObject]:
        return [manifest(kind="Colleague", name=member["name"]) for member in MEMBERS]

    @pytest.fixture
    def manifest(self) -> JsonObject:
        return manifest({"agents": MEMBERS, "router": {"model": "fake/m"}})


def route(request: ChatRequest) -> str:
    """Ask ann, then bob, then say that it is done."""
    text = "\n".join(message.text for message in request.messages)
    agent = next((member["name"] for member in MEMBERS if f"{member['name']} heard" not in text), None)
    choice = {"reason": "it is their turn", "agent": agent, "input": "Say something.", "done": agent is None}
    return orjson.dumps(choice).decode()


class TestNetworkRunner(RunnerConformance):
    @pytest.fixture
    def kind(self) -> ResourceKind:
        return NETWORK

    @pytest.fixture
    def manifest(self) -> JsonObject:
        spec = {
            "agents": MEMBERS,
            "router": {"model": "fake/m", "maxSteps": 3},
            "state": True,
            "memory": {"enabled": True},
        }
        return manifest(spec)

    @pytest.fixture
    def others(self) -> Sequence[JsonObject]:
        return [manifest(kind="Colleague", name=member["name"]) for member in MEMBERS]

    @pytest.fixture
    def input(self) -> str:
        return "Let everybody say something."

    @pytest.fixture
    def plugins(self) -> Sequence[tuple[str, Any]]:
        return [FakeModelProvider(default=route).plugin(), colleagues()]


class TestEmbeddingRouter(RouterConformance):
    @pytest.fixture
    def operation(self) -> OperationRegistration:
        return OPERATIONS["router.embedding"]

    @pytest.fixture
    def plugins(self) -> Sequence[tuple[str, Any]]:
        return [FakeModelProvider().plugin(embeddings="digest")]


class TestNetworkPlan(OperationConformance):
    @pytest.fixture
    def operation(self) -> OperationRegistration:
        return OPERATIONS["network.plan"]

    @pytest.fixture
    def arguments(self) -> JsonObject:
        return {"type": None, "model": "fake/m", "embeddings": None}

    @pytest.fixture
    def plugins(self) -> Sequence[tuple[str, Any]]:
        return [FakeModelProvider().plugin()]
