"""The chat-completions protocol: Kastra's requests to its JSON, its JSON to Kastra's responses. No I/O."""

from __future__ import annotations

import base64
import binascii
import sys
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import orjson

from kastra_core.api.meta import JsonObject, JsonValue
from kastra_core.protocols.model import (
    ChatEvent,
    ChatRequest,
    ChatResponse,
    EmbeddingRequest,
    EmbeddingResponse,
    FinishReason,
    Message,
    Part,
    TextDelta,
    TextPart,
    ToolCallDelta,
    ToolCallPart,
    ToolDefinition,
    ToolResultPart,
    Usage,
)
from kastra_plugin_openai.endpoints import Endpoint

__all__ = [
    "Prices",
    "StreamedAnswer",
    "WireError",
    "chat_body",
    "chat_response",
    "embedding_body",
    "embedding_response",
]


class WireError(Exception):
    """The answer is not what the protocol says; the text says in what."""


@attrs.frozen
class Prices:
    """USD per million tokens."""

    input_per_million: float
    output_per_million: float


# ------------------------------------------------------------------------------------------------- requests


def chat_body(request: ChatRequest, endpoint: Endpoint, *, stream: bool, max_tokens_field: str = "") -> bytes:
    """Return the JSON of a chat request.

    Raises:
        TypeError: something in the request is not JSON.
    """
    body: dict[str, Any] = {"model": request.model, "messages": _messages(request.messages)}
    if request.parameters:
        body = {**request.parameters, **body}
        body.pop("stream", None)
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
        choice = request.tool_choice
        if choice in ("none", "required"):
            body["tool_choice"] = choice
        elif choice != "auto":
            body["tool_choice"] = {"type": "function", "function": {"name": choice}}
    if request.response_schema is not None:
        schema = request.response_schema
        described: dict[str, Any] = {"name": "answer", "schema": schema}
        if _is_strict(schema):
            described["strict"] = True
        body["response_format"] = {"type": "json_schema", "json_schema": described}
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.top_p is not None:
        body["top_p"] = request.top_p
    if request.max_tokens is not None:
        body[max_tokens_field or endpoint.max_tokens_field] = request.max_tokens
    if request.stop:
        body["stop"] = list(request.stop)
    if request.seed is not None:
        body[endpoint.seed_field] = request.seed
    if stream:
        body["stream"] = True
        if endpoint.stream_usage:
            body.setdefault("stream_options", {"include_usage": True})
    return orjson.dumps(body)


def _messages(messages: Sequence[Message]) -> list[JsonObject]:
    out: list[JsonObject] = []
    for message in messages:
        role, parts = message.role, message.parts
        if len(parts) == 1 and isinstance(parts[0], TextPart):
            out.append({"role": role, "content": parts[0].content})
        elif role == "tool":
            out += [_tool_result(part) for part in parts if isinstance(part, ToolResultPart)]
        elif calls := [_tool_call(part) for part in parts if isinstance(part, ToolCallPart)]:
            out.append({"role": role, "content": message.text or None, "tool_calls": calls})
        else:
            out.append({"role": role, "content": message.text})
    return out


def _tool_call(part: ToolCallPart) -> JsonObject:
    return {"id": part.id, "type": "function", "function": {"name": part.name, "arguments": _text(part.arguments)}}


def _tool_result(part: ToolResultPart) -> JsonObject:
    text = _text(part.response)
    # The protocol has no field for failure; without a word the model would take the reason for a result.
    return {"role": "tool", "tool_call_id": part.id, "content": f"Error: {text}" if part.is_error else text}


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _tool(tool: ToolDefinition) -> JsonObject:
    function: JsonObject = {"name": tool.name, "parameters": tool.parameters}
    if tool.description:
        function["description"] = tool.description
    return {"type": "function", "function": function}


_STRICT_WORDS = {
    *("type", "properties", "required", "additionalProperties", "items", "enum", "const", "anyOf"),
    *("$ref", "$defs", "definitions", "title", "description"),
}


def _is_strict(schema: Any, *, root: bool = True) -> bool:
    """Tell whether OpenAI's strict mode takes the schema: each object closed, each of its properties required.

    Source: OpenAI guide "Structured model outputs", "Supported schemas"; only the words that every model with strict
    mode takes count, because the mode refuses a schema with any other.
    """
    if not isinstance(schema, dict) or not schema.keys() <= _STRICT_WORDS:
        return False
    properties = schema.get("properties")
    if root and (properties is None or "anyOf" in schema):
        return False
    if properties is not None or schema.get("type") == "object":
        if not isinstance(properties, dict) or schema.get("additionalProperties") is not False:
            return False
        if set(schema.get("required", ())) != properties.keys():
            return False
    parts = [*(properties or {}).values(), *schema.get("anyOf", ())]
    for name in ("$defs", "definitions"):
        parts += schema.get(name, {}).values()
    if "items" in schema:
        parts.append(schema["items"])
    return all(_is_strict(part, root=False) for part in parts)


# ------------------------------------------------------------------------------------------------- answers

_FINISH: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "max_tokens": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "error": "error",
}


def chat_response(data: Any, prices: Prices | None = None) -> ChatResponse:
    """Return the response that the JSON of a chat completion says.

    Raises:
        WireError: it is no chat completion.
    """
    try:
        choice = data["choices"][0]
        message = choice["message"]
        identifier = data.get("id") or ""
        parts: list[Part] = []
        refusal = message.get("refusal")
        if text := _content(message.get("content")) or refusal or "":
            parts.append(TextPart(text))
        for at, call in enumerate(message.get("tool_calls") or ()):
            function = call["function"]
            parts.append(
                ToolCallPart(
                    call.get("id") or f"{identifier or 'call'}-{at}",
                    function["name"],
                    _arguments(function.get("arguments")),
                )
            )
        return _response(parts, choice.get("finish_reason"), refusal, data, prices)
    except (LookupError, TypeError, AttributeError) as err:
        raise WireError(f"no chat completion: {_fault(data, err)}") from err


def _response(
    parts: list[Part], finish: Any, refusal: Any, data: Mapping[str, Any], prices: Prices | None
) -> ChatResponse:
    reason: FinishReason = _FINISH.get(finish, "stop") if isinstance(finish, str) else "stop"
    if refusal:
        reason = "content_filter"
    elif reason == "stop" and parts and isinstance(parts[-1], ToolCallPart):
        # Some servers say "stop" where OpenAI says "tool_calls".
        reason = "tool_calls"
    return ChatResponse(
        message=Message("assistant", tuple(parts)),
        finish_reason=reason,
        usage=_usage(data.get("usage"), prices),
        model=str(data.get("model") or ""),
        id=str(data.get("id") or ""),
    )


def _fault(data: Any, err: Exception) -> str:
    if not isinstance(data, dict):
        return f"expected an object, found {type(data).__name__}"
    if not data.get("choices"):
        return "it has no choices"
    return f"{type(err).__name__}: {err}"


def _content(content: Any) -> str:
    """Return the text of a content, which a few servers send as a list of typed parts."""
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(part["text"] for part in content if part.get("type") == "text")


def _arguments(arguments: Any) -> JsonObject | str:
    if isinstance(arguments, dict):
        return arguments
    if not arguments:
        return {}
    try:
        parsed = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return str(arguments)
    return parsed if isinstance(parsed, dict) else str(arguments)


def _usage(usage: Any, prices: Prices | None) -> Usage:
    if not isinstance(usage, dict):
        return Usage()
    read, written = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    cost = usage.get("cost")
    if prices is not None:
        cost = (read * prices.input_per_million + written * prices.output_per_million) / 1e6
    elif isinstance(cost, bool) or not isinstance(cost, int | float):
        cost = None
    return Usage(input_tokens=read, output_tokens=written, cost=cost)


def _count(tokens: Any) -> int:
    # Within what JSON numbers keep exactly; anything else is no count.
    return int(tokens) if isinstance(tokens, int | float) and 0 <= tokens < 2**53 else 0


class StreamedAnswer:
    """Takes the chunks of a streamed completion one by one and puts them together.

    Args:
        prices: for the cost in the usage.
    """

    def __init__(self, prices: Prices | None = None) -> None:
        self._prices = prices
        self._texts: list[str] = []
        self._calls: list[_Call] = []
        self._refused = False
        self._head: dict[str, Any] = {}
        self._finish: str | None = None
        self.started = False
        """A choice has come."""

    @property
    def finished(self) -> bool:
        """The provider has said why it ended."""
        return self._finish is not None

    def add(self, chunk: Any) -> list[ChatEvent]:
        """Return the deltas of one chunk.

        Raises:
            WireError: it is no chunk of a chat completion.
        """
        try:
            if usage := chunk.get("usage"):
                self._head["usage"] = usage
            choices = chunk.get("choices")
            if not choices:
                return []
            if not self.started:
                self.started = True
                self._head.update(id=chunk.get("id"), model=chunk.get("model"))
            choice = choices[0]
            if choice.get("index"):
                # Of several answers (parameter n) the first is taken, as in chat.
                return []
            if finish := choice.get("finish_reason"):
                self._finish = finish
            delta = choice.get("delta")
            if not delta:
                return []
            events: list[ChatEvent] = []
            text = delta.get("content")
            if text is None and delta.get("refusal"):
                text, self._refused = delta["refusal"], True
            if text and (text := _content(text)):
                self._texts.append(text)
                events.append(TextDelta(text))
            if calls := delta.get("tool_calls"):
                events += [self._add_call(call) for call in calls]
            return events
        except (LookupError, TypeError, AttributeError) as err:
            raise WireError(f"no chunk of a chat completion: {type(err).__name__}: {err}") from err

    def _add_call(self, delta: Mapping[str, Any]) -> ToolCallDelta:
        index, identifier = delta.get("index"), delta.get("id") or ""
        function = delta.get("function") or {}
        name, arguments = function.get("name") or "", function.get("arguments") or ""
        if not isinstance(arguments, str):
            arguments = orjson.dumps(arguments).decode()
        slot = next((slot for slot in reversed(self._calls) if slot.index == index), None)
        if index is None and self._calls and not identifier:
            slot = self._calls[-1]
        # Some servers number every parallel call 0; a second id under the same number is a second call.
        if slot is None or (identifier and slot.id and identifier != slot.id):
            slot = _Call(len(self._calls), index)
            self._calls.append(slot)
        slot.id = slot.id or identifier
        slot.name = slot.name or name
        slot.arguments.append(arguments)
        return ToolCallDelta(slot.position, identifier, name, arguments)

    def response(self) -> ChatResponse:
        """Return the whole response.

        Raises:
            WireError: no choice came, or a tool call has no name.
        """
        if not self.started:
            raise WireError("no chat completion: it has no choices")
        parts: list[Part] = []
        if text := "".join(self._texts):
            parts.append(TextPart(text))
        for call in self._calls:
            if not call.name:
                raise WireError("a streamed tool call has no name")
            identifier = call.id or f"{self._head.get('id') or 'call'}-{call.position}"
            parts.append(ToolCallPart(identifier, call.name, _arguments("".join(call.arguments))))
        return _response(parts, self._finish, self._refused, self._head, self._prices)


class _Call:
    __slots__ = ("arguments", "id", "index", "name", "position")

    def __init__(self, position: int, index: Any) -> None:
        self.position, self.index = position, index
        self.id = self.name = ""
        self.arguments: list[str] = []


# ------------------------------------------------------------------------------------------------- embeddings


def embedding_body(request: EmbeddingRequest, endpoint: Endpoint) -> bytes:
    body: dict[str, Any] = {"model": request.model, "input": list(request.texts)}
    if request.dimensions is not None:
        body["dimensions"] = request.dimensions
    if endpoint.base64_embeddings:
        # A quarter of the bytes, and no decimal parsing.
        body["encoding_format"] = "base64"
    return orjson.dumps(body)


def embedding_response(data: Any, count: int, prices: Prices | None = None) -> EmbeddingResponse:
    """Return the vectors in the order of the texts.

    Raises:
        WireError: it is no list of ``count`` embeddings.
    """
    try:
        items = sorted(data["data"], key=lambda item: item.get("index", 0))
        vectors = [_vector(item["embedding"]) for item in items]
        usage, model = _usage(data.get("usage"), prices), data.get("model") or ""
    except (LookupError, TypeError, AttributeError, ValueError, binascii.Error) as err:
        raise WireError(f"no embeddings: {type(err).__name__}: {err}") from err
    if len(vectors) != count:
        raise WireError(f"{len(vectors)} embeddings for {count} texts")
    return EmbeddingResponse(vectors=vectors, usage=usage, model=model)


def _vector(embedding: Any) -> list[float]:
    if not isinstance(embedding, str):
        return [float(value) for value in embedding]
    floats = array("f", base64.b64decode(embedding, validate=True))
    if sys.byteorder == "big":
        floats.byteswap()
    return floats.tolist()
