"""Kastra messages as the chat messages that small local models understand best.

Tool results are told in plain words: in the template's own form these models repeat the call instead of answering.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from kastra_core.api.meta import JsonValue
from kastra_core.protocols.model import Message, ToolCallPart, ToolDefinition, ToolResultPart

__all__ = ["calls_instruction", "chat_messages", "schema_instruction", "wire_tools"]


def chat_messages(messages: Sequence[Message], instruction: str = "") -> list[dict[str, Any]]:
    """Return OpenAI-shaped messages of plain text.

    System texts become one, with ``instruction`` at its end; neighbours of one role are joined, since many chat
    templates want the roles to take turns.
    """
    system = [message.text for message in messages if message.role == "system" and message.text]
    if instruction:
        system.append(instruction)
    out: list[dict[str, Any]] = [{"role": "system", "content": "\n\n".join(system)}] if system else []
    calls: dict[str, ToolCallPart] = {}
    for message in messages:
        calls.update((call.id, call) for call in message.tool_calls)
        if message.role == "system":
            continue
        role, text = message.role, message.text
        results = [part for part in message.parts if isinstance(part, ToolResultPart)]
        if results:
            role, text = "user", "\n".join(_result(part, calls.get(part.id)) for part in results)
        if not text and role == "assistant":
            continue  # only calls; what they gave follows in plain words
        if out and out[-1]["role"] == role:
            gap = "\n" if results and out[-1].get("results") else "\n\n"
            out[-1]["content"] += gap + text
        else:
            out.append({"role": role, "content": text})
        out[-1]["results"] = bool(results)
    # Lone surrogates have no UTF-8, in which the engine is asked.
    return [{"role": m["role"], "content": m["content"].encode("utf-8", "replace").decode()} for m in out]


def _result(part: ToolResultPart, call: ToolCallPart | None) -> str:
    what = f"{call.name}({_json(call.arguments)})" if call else "the tool"
    answer = part.response if isinstance(part.response, str) else _json(part.response)
    return f"{what} failed: {answer}" if part.is_error else f"Result of {what}: {answer}"


def _json(value: JsonValue | Mapping[str, Any]) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def wire_tools(tools: Sequence[ToolDefinition]) -> list[dict[str, Any]]:
    """Return tools as the chat-completion API wants them; the model's own template tells the model about them."""
    return [
        {
            "type": "function",
            "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
        }
        for tool in tools
    ]


def calls_instruction(tools: Sequence[ToolDefinition], *, may_answer: bool) -> str:
    """Return what a model is told that must answer with a call as JSON, or may answer with ``{"answer": ...}``."""
    lines = ["You can use these tools:"]
    for tool in tools:
        about = f": {tool.description}" if tool.description else ""
        lines.append(f"- {tool.name}{about} Parameters: {_json(tool.parameters)}")
    lines.append('Answer with JSON only. To use a tool: {"name": TOOL, "arguments": {...}}')
    if may_answer:
        lines.append('When no tool is needed: {"answer": ANSWER}')
    return "\n".join(lines)


def schema_instruction(schema: Mapping[str, Any], *, bare: bool = False) -> str:
    """Return what a model is told whose answer must fit a schema; the grammar sees to the form."""
    fitting = f"that fits this schema: {_json(schema)}"
    return fitting if bare else f"Answer with JSON only, {fitting}"
