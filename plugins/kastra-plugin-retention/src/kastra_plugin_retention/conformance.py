"""The plugin keeps to what is asked of all plugins: ``kastra plugins check retention`` runs what is here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from kastra_core.api.kind import ResourceKind
from kastra_core.api.meta import JsonObject
from kastra_core.testing.controller import ControllerConformance
from kastra_core.testing.kind import KindConformance
from kastra_core.testing.plugin import PluginConformance
from kastra_plugin_retention import hooks
from kastra_plugin_retention.controller import RetentionController

__all__ = ["FULL", "TestRetentionController", "TestRetentionPlugin", "TestRetentionPolicyKind", "manifest"]

[POLICY] = hooks.kastra_resource_kinds()


def manifest(spec: Any = None) -> JsonObject:
    out: JsonObject = {"apiVersion": "mastra.ai/v1", "kind": "RetentionPolicy", "metadata": {"name": "sample"}}
    return out if spec is None else {**out, "spec": spec}


FULL: JsonObject = {
    "interval": "10m",
    "namespaces": ["default", "cooking"],
    "dryRun": True,
    "runs": [
        {
            "phases": ["Succeeded"],
            "selector": {
                "matchLabels": {"app.example/name": "kitchen"},
                "matchExpressions": [
                    {"key": "tier", "operator": "In", "values": ["a", "b"]},
                    {"key": "keep", "operator": "DoesNotExist"},
                ],
            },
            "ttl": "7d",
            "maxCount": 1000,
        },
        {"phases": ["Failed", "Cancelled"], "ttl": "30d"},
    ],
    "events": {"ttl": "1h", "maxCount": 10000},
    "threads": {"ttl": "90d", "maxCount": 500},
}


class TestRetentionPlugin(PluginConformance):
    entry_point = "retention"


class TestRetentionPolicyKind(KindConformance):
    @pytest.fixture
    def kind(self) -> ResourceKind:
        return POLICY

    @pytest.fixture
    def valid(self) -> Sequence[JsonObject]:
        return [manifest({"runs": [{"ttl": "7d"}]}), manifest({"events": {"maxCount": 1}}), manifest(FULL)]

    @pytest.fixture
    def invalid(self) -> Sequence[tuple[JsonObject, str]]:
        runs = "spec.runs[0]"
        return [
            (manifest(), "spec"),
            (manifest({"interval": "5m"}), "spec"),
            (manifest({**FULL, "interval": 0}), "spec.interval"),
            (manifest({**FULL, "interval": "10 minutes"}), "spec.interval"),
            (manifest({**FULL, "namespaces": []}), "spec.namespaces"),
            (manifest({**FULL, "namespaces": ["a", "A"]}), "spec.namespaces[1]"),
            (manifest({**FULL, "namespaces": ["a", "a"]}), "spec.namespaces[1]"),
            (manifest({**FULL, "dryRun": "yes"}), "spec.dryRun"),
            (manifest({"runs": [{}]}), runs),
            (manifest({"runs": [{"ttl": 0}]}), f"{runs}.ttl"),
            (manifest({"runs": [{"ttl": -5}]}), f"{runs}.ttl"),
            (manifest({"runs": [{"ttl": "-5d"}]}), f"{runs}.ttl"),
            (manifest({"runs": [{"maxCount": 0}]}), f"{runs}.maxCount"),
            (manifest({"runs": [{"maxCount": True}]}), f"{runs}.maxCount"),
            (manifest({"runs": [{"tll": "7d"}]}), f"{runs}.tll"),
            (manifest({"runs": [{"ttl": "7d", "phases": ["Running"]}]}), f"{runs}.phases[0]"),
            (manifest({"runs": [{"ttl": "7d", "phases": []}]}), f"{runs}.phases"),
            (manifest({"runs": [{"ttl": "7d", "phases": ["Failed", "Failed"]}]}), f"{runs}.phases"),
            (manifest({"runs": [{"ttl": "7d", "selector": {}}]}), f"{runs}.selector"),
            (manifest({"runs": [{"ttl": "7d", "selector": "a=b"}]}), f"{runs}.selector"),
            (
                manifest({"runs": [{"ttl": 1, "selector": {"matchLabels": {"a b": "x"}}}]}),
                f"{runs}.selector.matchLabels",
            ),
            (
                manifest({"runs": [{"ttl": 1, "selector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}]}),
                f"{runs}.selector.matchExpressions[0].values",
            ),
            (manifest({"events": {}}), "spec.events"),
            (manifest({"threads": {"ttl": "1d", "maxMessages": 5}}), "spec.threads.maxMessages"),
            ({**manifest(FULL), "metadata": {"name": "x", "namespace": "n"}}, "metadata.namespace"),
        ]


class TestRetentionController(ControllerConformance):
    @pytest.fixture
    def kinds(self) -> Sequence[ResourceKind]:
        return [POLICY]

    @pytest.fixture
    def make_controller(self) -> Callable[[Any], RetentionController]:
        return RetentionController

    @pytest.fixture
    def manifest(self) -> JsonObject:
        return manifest(FULL)
