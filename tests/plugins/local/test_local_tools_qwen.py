"""Tool round trips with the smallest model that manages them: name and arguments of the call, and an answer."""

from __future__ import annotations

from collections.abc import AsyncIterator

import attrs
import pytest

from kastra_core.protocols.model import (
    ChatCompleted,
    ChatRequest,
    Message,
    ModelSettings,
    TextDelta,
    ToolCallDelta,
    ToolDefinition,
)
from kastra_plugin_local.provider import LocalProvider

pytestmark = [pytest.mark.model_slow, pytest.mark.usefixtures("loaded_qwen")]

TOOLS = (
    ToolDefinition(
        name="get_weather",
        description="Current weather of a city.",
        parameters={
            "type": "object",
            "properties": {"city": {"type": "string", "description": "Name of the city."}},
            "required": ["city"],
        },
    ),
    ToolDefinition(
        name="find_recipe",
        description="Find a recipe for a dish.",
        parameters={"type": "object", "properties": {"dish": {"type": "string"}}, "required": ["dish"]},
    ),
)


@pytest.fixture
async def provider() -> AsyncIterator[LocalProvider]:
    provider = LocalProvider("local")
    yield provider
    await provider.aclose()


def ask(text: str, tool_choice: str = "auto") -> ChatRequest:
    return ChatRequest(
        model="qwen2.5-coder-0.5b",
        messages=[Message.system("You are a helpful assistant."), Message.user(text)],
        tools=TOOLS,
        tool_choice=tool_choice,
        max_tokens=200,
    )


@pytest.mark.parametrize("tool_choice", ["auto", "required"])
@pytest.mark.parametrize(
    ("question", "name", "arguments", "result"),
    [
        ("What is the weather in Paris?", "get_weather", {"city": "Paris"}, {"temp_c": 18, "sky": "sunny"}),
        ("北京今天天气怎么样?", "get_weather", {"city": "北京"}, {"temp_c": 18, "sky": "sunny"}),
        ("Find me a recipe for lasagna.", "find_recipe", {"dish": "lasagna"}, {"minutes": 60, "serves": 4}),
    ],
)
async def test_tool_is_called_and_its_result_answered(
    provider: LocalProvider,
    question: str,
    name: str,
    arguments: dict[str, str],
    result: dict[str, object],
    tool_choice: str,
) -> None:
    request = ask(question, tool_choice)
    response = await provider.chat(request)
    (call,) = response.message.tool_calls
    assert response.finish_reason == "tool_calls"
    assert (call.name, call.arguments) == (name, arguments)
    messages = [*request.messages, response.message, Message.tool(call.id, result)]
    answer = await provider.chat(attrs.evolve(request, messages=messages, tool_choice="auto"))
    assert answer.finish_reason in ("stop", "length")
    assert answer.message.text.strip()
    assert not answer.message.tool_calls


async def test_streamed_call_shows_no_json(provider: LocalProvider) -> None:
    *deltas, last = [event async for event in provider.stream(ask("What is the weather in Paris?"))]
    assert isinstance(last, ChatCompleted)
    assert [event.name for event in deltas if isinstance(event, ToolCallDelta)] == ["get_weather"]
    assert not [event for event in deltas if isinstance(event, TextDelta)]


async def test_greeting_is_answered_without_a_call(provider: LocalProvider) -> None:
    *deltas, last = [event async for event in provider.stream(ask("Hello!"))]
    assert isinstance(last, ChatCompleted)
    assert not last.response.message.tool_calls
    assert "".join(event.text for event in deltas if isinstance(event, TextDelta)) == last.response.message.text


async def test_auto_is_a_model_that_calls_tools(provider: LocalProvider) -> None:
    check = provider.check("auto", ModelSettings())
    assert check.ok
    assert "qwen2.5-coder" in check.details["note"]
