"""The plugin keeps to what is asked of all plugins: ``kastra plugins check system`` runs what is here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs
import pytest

from kastra_core.api.kind import ResourceKind
from kastra_core.api.meta import JsonObject
from kastra_core.testing.controller import ControllerConformance
from kastra_core.testing.kind import KindConformance
from kastra_core.testing.plugin import PluginConformance
from kastra_plugin_system import hooks
from kastra_plugin_system.controller import SystemController
from kastra_plugin_system.rules import LABEL

__all__ = ["TestSystemController", "TestSystemKind", "TestSystemPlugin"]

[SYSTEM] = hooks.kastra_resource_kinds()


@attrs.frozen(kw_only=True)
class MemberSpec:
    """Spec of the kinds that stand for those of other plugins."""

    instructions: str = ""
    """Of an agent."""
    type: str = ""
    """Of a tool,"""
    python: Any = None
    """and what it calls."""
    steps: Any = ()
    """Of a workflow."""


OTHERS = [
    ResourceKind(kind=name, plural=f"{name.lower()}s", spec_type=MemberSpec) for name in ("Agent", "Tool", "Workflow")
]


def manifest(name: str = "shop", **spec: Any) -> JsonObject:
    return {"apiVersion": "mastra.ai/v1", "kind": "System", "metadata": {"name": name}, "spec": spec}


AGENT: JsonObject = {"name": "a", "spec": {"instructions": "您好"}}
WHOLE: JsonObject = {"apiVersion": "mastra.ai/v1", "kind": "Agent", "metadata": {"name": "w"}, "spec": {}}


class TestSystemPlugin(PluginConformance):
    entry_point = "system"


class TestSystemKind(KindConformance):
    @pytest.fixture
    def kind(self) -> ResourceKind:
        return SYSTEM

    @pytest.fixture
    def others(self) -> Sequence[ResourceKind]:
        return OTHERS

    @pytest.fixture
    def valid(self) -> Sequence[JsonObject]:
        return [
            manifest(),
            manifest(
                agents=[{**AGENT, "labels": {"tier": "front"}, "annotations": {"note": "说明"}}],
                tools=[{"name": "t", "spec": {"type": "python", "python": {"function": "json:loads"}}}],
                workflows=[{"name": "w", "spec": {"steps": [{"id": "s", "agent": "a"}]}}],
                networks=[],
                resources=[WHOLE],
            ),
        ]

    @pytest.fixture
    def invalid(self) -> Sequence[tuple[JsonObject, str]]:
        meta = WHOLE["metadata"]
        owned = {**WHOLE, "metadata": {**meta, "ownerReferences": [{"uid": "x"}]}}
        labelled = {**WHOLE, "metadata": {**meta, "labels": {LABEL: "other"}}}
        return [
            (manifest(agents=["a"]), "spec.agents[0]"),
            (manifest(agents={"a": {}}), "spec.agents"),
            (manifest(agents=[{"spec": {}}]), "spec.agents[0].name"),
            (manifest(agents=[{"name": "a"}]), "spec.agents[0].spec"),
            (manifest(agents=[{"name": "a", "instructions": "x"}]), "spec.agents[0].instructions"),
            (manifest(agents=[{"metadata": {"name": "a"}, "spec": {}}]), "spec.agents[0].metadata"),
            (manifest(agents=[{**AGENT, "file": "a.yaml"}]), "spec.agents[0]"),
            (manifest(agents=[{"file": "a.yaml"}]), "spec.agents[0].file"),
            (manifest(agents=[{"file": 5}]), "spec.agents[0].file"),
            (manifest(include=["a.yaml"]), "spec.include[0]"),
            (manifest(agents=[AGENT, {"name": "a", "spec": {}}]), "spec.agents[1].name"),
            (manifest(agents=[AGENT, {"name": "B", "spec": {}}]), "spec.agents[1].name"),
            (manifest(agents=[{"name": "a", "spec": {"modle": "x"}}]), "spec.agents[0].spec.modle"),
            (manifest(agents=[{"name": "a", "spec": {}, "labels": {"k": "!"}}]), "spec.agents[0].labels.k"),
            (manifest(agents=[{**AGENT, "labels": {LABEL: "x"}}]), f"spec.agents[0].labels.{LABEL}"),
            (manifest(agents=[{**AGENT, "name": "w"}], resources=[WHOLE]), "spec.resources[0].metadata.name"),
            (manifest(networks=[{"name": "n", "spec": {}}]), "spec.networks[0]"),
            (manifest(resources=[{"kind": "Agent"}]), "spec.resources[0].apiVersion"),
            (manifest(resources=[owned]), "spec.resources[0].metadata.ownerReferences"),
            (manifest(resources=[labelled]), f"spec.resources[0].metadata.labels.{LABEL}"),
            (manifest(resources=[manifest()]), "spec.resources[0].metadata.name"),
            (manifest(name="x" * 64), "metadata.name"),
        ]


class TestSystemController(ControllerConformance):
    @pytest.fixture
    def kinds(self) -> Sequence[ResourceKind]:
        return [SYSTEM, *OTHERS]

    @pytest.fixture
    def make_controller(self) -> Callable[[Any], SystemController]:
        return SystemController

    @pytest.fixture
    def manifest(self) -> JsonObject:
        steps = [{"id": "s", "agent": "a"}]
        return manifest(agents=[AGENT], workflows=[{"name": "w", "spec": {"steps": steps}}])
