"""The operations of the core keep to what is asked of a plugin's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from kastra_core import builtin
from kastra_core.api.meta import JsonObject
from kastra_core.protocols.runner import SharedState
from kastra_core.registrations import OperationRegistration
from kastra_core.testing.fakes import FakeModelProvider
from kastra_core.testing.operation import OperationConformance

OPERATIONS = {record.name: record for record in builtin.kastra_operations()}


class _Operation(OperationConformance):
    name = ""

    @pytest.fixture
    def operation(self) -> OperationRegistration:
        return OPERATIONS[self.name]

    @pytest.fixture
    def plugins(self) -> Sequence[tuple[str, Any]]:
        return [FakeModelProvider(default="Hello.").plugin()]

    @pytest.fixture
    def shared(self) -> SharedState:
        return SharedState(scope="conformance")


class TestModelChat(_Operation):
    name = "model.chat"

    @pytest.fixture
    def arguments(self) -> JsonObject:
        return {
            "provider": "fake",
            "model": "m",
            "messages": [{"role": "user", "parts": [{"type": "text", "content": "Hi."}]}],
            "tools": [{"name": "add", "description": "", "parameters": {"type": "object"}}],
            "tool_choice": "auto",
            "parameters": {"temperature": 0},
            "settings": {"timeoutS": 5},
            "show": True,
        }

    @pytest.fixture
    def invalid(self) -> Sequence[JsonObject]:
        return [{}, {"provider": "fake", "model": "m"}, {"provider": "fake", "model": "m", "messages": ["Hi."]}]


class TestModelEmbed(_Operation):
    name = "model.embed"

    @pytest.fixture
    def arguments(self) -> JsonObject:
        return {"provider": "fake", "model": "m", "texts": ["Hi."], "dimensions": 4, "inputType": "query"}

    @pytest.fixture
    def invalid(self) -> Sequence[JsonObject]:
        return [{"provider": "fake", "model": "m", "texts": "Hi."}, {"provider": "fake", "texts": []}]


class TestStateGet(_Operation):
    name = "state.get"

    @pytest.fixture
    def arguments(self) -> JsonObject:
        return {"keys": ["tier"], "scope": "n/s"}

    @pytest.fixture
    def invalid(self) -> Sequence[JsonObject]:
        return [{"keys": "tier"}, {"scope": 5}]


class TestStateUpdate(_Operation):
    name = "state.update"

    @pytest.fixture
    def arguments(self) -> JsonObject:
        return {"values": {"tier": "gold", "gone": None}, "scope": "n/s", "ttlS": 60}

    @pytest.fixture
    def invalid(self) -> Sequence[JsonObject]:
        return [{}, {"values": ["tier"]}]


def test_every_operation_of_the_core_is_tested_here() -> None:
    suites = [item for item in globals().values() if isinstance(item, type) and issubclass(item, _Operation)]
    assert {suite.name for suite in suites} - {""} == set(OPERATIONS)
