"""The suites of operations, runners, commands and exporters pass what is done as it should be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from good_parts import GREETING, GreetingExporter, GreetingMigrator, greet, greeting, operations_plugin
from kastra_core.api.kind import ResourceKind
from kastra_core.api.meta import JsonObject, JsonValue
from kastra_core.protocols.migrator import Exporter, Migrator
from kastra_core.registrations import CommandRegistration, OperationRegistration
from kastra_core.testing.command import CommandConformance
from kastra_core.testing.exporter import ExporterConformance
from kastra_core.testing.operation import OperationConformance
from kastra_core.testing.runner import RunnerConformance

__all__ = ["TestCommand", "TestExporter", "TestOperation", "TestRunner"]


class TestOperation(OperationConformance):
    @pytest.fixture
    def operation(self) -> OperationRegistration:
        return OperationRegistration(name="acme.greet", handler=greet, counts_as="model")

    @pytest.fixture
    def arguments(self) -> JsonObject:
        return {"name": "Ada", "loud": True}

    @pytest.fixture
    def invalid(self) -> Sequence[JsonObject]:
        return [{}, {"name": 5}, {"name": "Ada", "lowd": True}]


class TestRunner(RunnerConformance):
    @pytest.fixture
    def kind(self) -> ResourceKind:
        return GREETING

    @pytest.fixture
    def manifest(self) -> JsonObject:
        return greeting(text="Hello")

    @pytest.fixture
    def input(self) -> JsonValue:
        return {"name": "Ada"}

    @pytest.fixture
    def plugins(self) -> Sequence[tuple[str, Any]]:
        return [operations_plugin()]

    @pytest.fixture
    def signals(self) -> Mapping[str, JsonValue]:
        return {"fine": True}


class TestCommand(CommandConformance):
    @pytest.fixture
    def command(self) -> CommandRegistration:
        return CommandRegistration(name="greet", command="good_command:command", short_help="Say hello.")

    @pytest.fixture
    def valid(self) -> Sequence[Sequence[str]]:
        return [["Ada"], ["Ada", "--loud"]]

    @pytest.fixture
    def invalid(self) -> Sequence[Sequence[str]]:
        return [[], [""], ["Ada", "--loud=maybe"]]


class TestExporter(ExporterConformance):
    @pytest.fixture
    def exporter(self) -> Exporter:
        return GreetingExporter()

    @pytest.fixture
    def manifests(self) -> Sequence[JsonObject]:
        return [greeting("a", text="Hello"), greeting("b", text="Bye", note="late")]

    @pytest.fixture
    def invalid(self) -> Sequence[Sequence[JsonObject]]:
        return [[{**greeting("a"), "kind": "Agent"}]]

    @pytest.fixture
    def migrator(self) -> Migrator | None:
        return GreetingMigrator()
