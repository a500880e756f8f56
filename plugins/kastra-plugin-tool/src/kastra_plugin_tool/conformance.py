"""The plugin keeps to what is asked of all plugins: ``kastra plugins check tool`` runs what is here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from kastra_core.api.kind import ResourceKind
from kastra_core.api.meta import JsonObject
from kastra_core.registrations import OperationRegistration
from kastra_core.testing.controller import ControllerConformance
from kastra_core.testing.kind import KindConformance
from kastra_core.testing.operation import OperationConformance
from kastra_core.testing.plugin import PluginConformance
from kastra_core.testing.runner import RunnerConformance
from kastra_plugin_tool import hooks
from kastra_plugin_tool.controller import ToolController

__all__ = ["TestToolController", "TestToolInvoke", "TestToolKind", "TestToolPlugin", "TestToolRunner"]

[TOOL] = hooks.kastra_resource_kinds()
[INVOKE] = hooks.kastra_operations()


def manifest(spec: Any = None) -> JsonObject:
    metadata = {"name": "sample", "namespace": "n"}
    out: JsonObject = {"apiVersion": "mastra.ai/v1", "kind": "Tool", "metadata": metadata}
    return out if spec is None else {**out, "spec": spec}


async def spell(word: str) -> list[str]:
    """The letters of a word."""
    await asyncio.sleep(0)
    return list(word)


SPELL = manifest({"type": "python", "python": {"function": f"{__name__}:spell"}, "outputSchema": {"type": "array"}})


def allowing(project: Path) -> Path:
    """The project, whose configuration allows the tool of this module."""
    (project / ".kastra").mkdir()
    text = f"tools: {{python: {{allow: [{__name__}]}}}}\n"
    (project / ".kastra" / "config.yaml").write_text(text, encoding="utf-8")
    return project


class TestToolPlugin(PluginConformance):
    entry_point = "tool"


class TestToolKind(KindConformance):
    @pytest.fixture
    def kind(self) -> ResourceKind:
        return TOOL

    @pytest.fixture
    def valid(self) -> Sequence[JsonObject]:
        return [
            manifest({"type": "python", "python": {"function": "json:loads"}}),
            manifest({"type": "http", "http": {"url": "https://example.com/{city}"}, "timeout": "5s"}),
            manifest(
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
                }
            ),
        ]

    @pytest.fixture
    def invalid(self) -> Sequence[tuple[JsonObject, str]]:
        return [
            (manifest({}), "spec.type"),
            (manifest({"type": "pyhton"}), "spec.type"),
            (manifest({"type": "python", "python": {}}), "spec.python.function"),
            (manifest({"type": "python", "code": "print()"}), "spec.code"),
        ]


class TestToolController(ControllerConformance):
    @pytest.fixture
    def kinds(self) -> Sequence[ResourceKind]:
        return [TOOL]

    @pytest.fixture
    def make_controller(self) -> Callable[[Any], ToolController]:
        return ToolController

    @pytest.fixture
    def manifest(self) -> JsonObject:
        return SPELL


class TestToolRunner(RunnerConformance):
    @pytest.fixture
    def project(self, tmp_path: Path) -> Path:
        return allowing(tmp_path)

    @pytest.fixture
    def kind(self) -> ResourceKind:
        return TOOL

    @pytest.fixture
    def manifest(self) -> JsonObject:
        return SPELL

    @pytest.fixture
    def input(self) -> JsonObject:
        return {"word": "egg"}


class TestToolInvoke(OperationConformance):
    @pytest.fixture
    def project(self, tmp_path: Path) -> Path:
        return allowing(tmp_path)

    @pytest.fixture
    def operation(self) -> OperationRegistration:
        return INVOKE

    @pytest.fixture
    def manifests(self) -> Sequence[JsonObject]:
        return [SPELL]

    @pytest.fixture
    def arguments(self) -> JsonObject:
        return {"tool": {"namespace": "n", "name": "sample"}, "arguments": {"word": "egg"}}

    @pytest.fixture
    def invalid(self) -> Sequence[JsonObject]:
        sample = {"namespace": "n", "name": "sample"}
        return [
            {"tool": {"namespace": "n", "name": "other"}, "arguments": {}},
            {"tool": sample, "arguments": {}},
            {"tool": sample, "arguments": {"word": 5}},
            {"tool": sample, "arguments": ["word"]},
        ]
