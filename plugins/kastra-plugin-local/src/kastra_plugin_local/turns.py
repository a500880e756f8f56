"""What is asked of the engine for one request: which of the ways to get text, JSON or tool calls out of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

import attrs

from kastra_core.protocols.model import ChatRequest, ToolDefinition
from kastra_plugin_local.grammar import answer_schema, calls_schema, grammar_of
from kastra_plugin_local.prompts import calls_instruction, chat_messages, schema_instruction, wire_tools

__all__ = ["Turn", "Way", "first_turn", "json_or_answer_turn", "offered_tools", "plain_turn", "required_turn"]

_OWN_KEYS = frozenset({"messages", "stream", "stream_options", "return_progress", "tools", "tool_choice", "grammar"})


class Way(Enum):
    """How the answer is written and read."""

    TEXT = "text"
    JSON = "json"
    """JSON text that fits the response schema, by a grammar."""
    CALL = "call"
    """One tool call, by a grammar."""
    CALL_OR_ANSWER = "call or answer"
    """One tool call or an answer, by a grammar: for models whose template knows no tools."""
    FREE = "free"
    """Free text in which calls are looked for."""


@attrs.frozen(kw_only=True)
class Turn:
    """One question to the engine."""

    way: Way
    body: dict[str, Any]
    tools: tuple[ToolDefinition, ...] = ()
    schema: Mapping[str, Any] | None = None
    """Of the whole answer, for the ways that use a grammar."""


def offered_tools(request: ChatRequest, *, after_result: bool) -> tuple[ToolDefinition, ...]:
    """Return the tools to offer now: none right after a tool's result, unless the request demands a call."""
    if request.tool_choice == "none":
        return ()
    if request.tool_choice not in ("auto", "required"):
        return tuple(tool for tool in request.tools if tool.name == request.tool_choice)
    ends_with_result = bool(request.messages) and request.messages[-1].role == "tool"
    if request.tool_choice == "auto" and ends_with_result and not after_result:
        return ()
    return tuple(request.tools)


def first_turn(request: ChatRequest, tools: Sequence[ToolDefinition], *, max_tokens: int, supports_tools: bool) -> Turn:
    """Return the first question for a request."""
    if not tools:
        return plain_turn(request, max_tokens)
    if request.tool_choice != "auto":
        return required_turn(request, tools, max_tokens)
    if request.response_schema is not None or not supports_tools:
        return json_or_answer_turn(request, tools, max_tokens)
    body = _body(request, max_tokens)
    # "none" only stops llama.cpp from looking for calls itself, which it does for the template's own form alone.
    body |= {"tools": wire_tools(tools), "tool_choice": "none", "parse_tool_calls": False}
    return Turn(way=Way.FREE, body=body, tools=tuple(tools))


def plain_turn(request: ChatRequest, max_tokens: int) -> Turn:
    """Return a question without tools."""
    schema = request.response_schema
    if schema is None:
        return Turn(way=Way.TEXT, body=_body(request, max_tokens))
    body = _body(request, max_tokens, schema_instruction(schema))
    return Turn(way=Way.JSON, body=body | {"grammar": grammar_of(schema)}, schema=schema)


def required_turn(request: ChatRequest, tools: Sequence[ToolDefinition], max_tokens: int) -> Turn:
    """Return a question that can only be answered with a call of one of ``tools``."""
    schema = calls_schema(tools)
    body = _body(request, max_tokens, calls_instruction(tools, may_answer=False))
    return Turn(way=Way.CALL, body=body | {"grammar": grammar_of(schema)}, tools=tuple(tools), schema=schema)


def json_or_answer_turn(request: ChatRequest, tools: Sequence[ToolDefinition], max_tokens: int) -> Turn:
    """Return a question that can be answered with a call, or with an answer in JSON."""
    schema = calls_schema(tools, request.response_schema or answer_schema())
    instruction = calls_instruction(tools, may_answer=True)
    if request.response_schema is not None:
        instruction += f"\nANSWER is JSON {schema_instruction(request.response_schema, bare=True)}"
    body = _body(request, max_tokens, instruction)
    return Turn(way=Way.CALL_OR_ANSWER, body=body | {"grammar": grammar_of(schema)}, tools=tuple(tools), schema=schema)


def _body(request: ChatRequest, max_tokens: int, instruction: str = "") -> dict[str, Any]:
    body: dict[str, Any] = {key: value for key, value in request.parameters.items() if key not in _OWN_KEYS}
    body["messages"] = chat_messages(request.messages, instruction)
    body["stream_options"] = {"include_usage": True}
    body["max_tokens"] = request.max_tokens or max_tokens
    # The same question gets the same answer, unless the request wants otherwise.
    body["temperature"] = 0.0 if request.temperature is None else request.temperature
    if request.top_p is not None:
        body["top_p"] = request.top_p
    if request.seed is not None:
        body["seed"] = request.seed
    if request.stop:
        body["stop"] = list(request.stop)
    return body
