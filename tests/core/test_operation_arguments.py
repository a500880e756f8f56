"""What the core's operations take: an argument that does not fit is told, and is no fault in Kastra."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import attrs
import pytest

from kastra_core.errors import OperationError
from kastra_core.execution import operations
from kastra_core.protocols.runner import arguments_as


@attrs.frozen(kw_only=True)
class Greeting:
    name: str
    how_often: int = 1


def test_arguments_become_an_object() -> None:
    assert arguments_as({"name": "Ann", "howOften": 3}, Greeting) == Greeting(name="Ann", how_often=3)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, "name: "),
        ({"name": 3}, "name: "),
        ({"name": "Ann", "howOften": "often"}, "howOften: "),
        ({"name": "Ann", "howoften": 1}, "did you mean 'howOften'?"),
    ],
)
def test_arguments_that_do_not_fit_are_an_operation_error(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(OperationError) as caught:
        arguments_as(arguments, Greeting)
    assert caught.value.reason == "InvalidArguments"
    assert told in str(caught.value)


CHAT = {"provider": "p", "model": "m", "messages": []}
EMBED = {"provider": "p", "model": "m", "texts": []}


@pytest.mark.parametrize(
    ("operation", "arguments", "told"),
    [
        (operations.chat, {}, "model.chat takes provider: a text"),
        (operations.chat, {**CHAT, "model": None}, "model.chat takes model: a text; found null"),
        (operations.chat, {**CHAT, "messages": "hello"}, "model.chat takes messages: a list; found string"),
        (operations.chat, {**CHAT, "messages": [3]}, "model.chat cannot read its arguments"),
        (operations.chat, {**CHAT, "tools": [{"nam": "x"}]}, "model.chat cannot read its arguments"),
        (operations.embed, {**EMBED, "texts": None}, "model.embed takes texts: a list; found null"),
    ],
)
async def test_the_operations_of_models_tell_what_they_take(operation: Any, arguments: Any, told: str) -> None:
    models = SimpleNamespace(settings=lambda provider, given: None)
    context = SimpleNamespace(runtime=SimpleNamespace(models=models), idempotency_key="k", streaming=False)
    with pytest.raises(OperationError) as caught:
        await operation(context, arguments)
    assert caught.value.reason == "InvalidArguments"
    assert told in str(caught.value)
