"""The plugin keeps to what is asked of all plugins: ``kastra plugins check crd`` runs what is here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from kastra_core.api.kind import ResourceKind
from kastra_core.api.meta import Condition, JsonObject, Resource
from kastra_core.controller import AbstractController, ready_status
from kastra_core.testing.controller import ControllerConformance
from kastra_core.testing.kind import KindConformance
from kastra_core.testing.plugin import PluginConformance
from kastra_plugin_crd import hooks
from kastra_plugin_crd.controller import DefinitionController

__all__ = [
    "TestControllerOfADefinedKind",
    "TestCrdPlugin",
    "TestCustomResourceDefinitionKind",
    "TestDefinitionController",
]

[CRD] = hooks.kastra_resource_kinds()


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


class TestCrdPlugin(PluginConformance):
    entry_point = "crd"


class TestCustomResourceDefinitionKind(KindConformance):
    @pytest.fixture
    def kind(self) -> ResourceKind:
        return CRD

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


class TestDefinitionController(ControllerConformance):
    @pytest.fixture
    def kinds(self) -> Sequence[ResourceKind]:
        return [CRD]

    @pytest.fixture
    def make_controller(self) -> Callable[[Any], AbstractController]:
        return DefinitionController

    @pytest.fixture
    def manifest(self) -> JsonObject:
        return definition()


class GadgetController(AbstractController):
    kind, group, finalizer = "Gadget", "acme.example", "acme.example/gadget"

    async def get_desired_state(self, resource: Resource) -> JsonObject:
        return ready_status(resource, [Condition(type="Ready", status="True", reason="Made")])


class TestControllerOfADefinedKind(ControllerConformance):
    """The conformance suite serves authors of controllers for kinds that YAML defines, too."""

    @pytest.fixture
    def kinds(self) -> Sequence[ResourceKind]:
        return [CRD]

    @pytest.fixture
    def make_controller(self) -> Callable[[Any], AbstractController]:
        return GadgetController

    @pytest.fixture
    def others(self) -> Sequence[JsonObject]:
        return [definition()]

    @pytest.fixture
    def manifest(self) -> JsonObject:
        return {"apiVersion": "acme.example/v1", "kind": "Gadget", "metadata": {"name": "a"}, "spec": {"size": 1}}
