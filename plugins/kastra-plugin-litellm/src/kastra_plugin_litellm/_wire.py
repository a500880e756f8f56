"""Kastra's requests as litellm's keyword arguments, litellm's answers as Kastra's responses. No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from kastra_core.api.meta import JsonObject, JsonValue
from kastra_core.protocols.model import (
    ChatEvent,
    ChatRequest,
    ChatResponse,
    EmbeddingRequest,
    FinishReason,
    Message,
    ModelSettings,
    Part,
    TextDelta,
    TextPart,
    ToolCallDelta,
    ToolCallPart,
    ToolResultPart,
    Usage,
)

__all__ = ["OptionError", "StreamedAnswer", "WireError", "chat_arguments", "chat_response", "embedding_arguments"]

Cost = Callable[[int, int], float | None]
"""USD for input and output tokens, None when it is not known."""


class WireError(Exception):
    """The answer is not what litellm promises."""


class OptionError(Exception):
    """A setting or parameter that must not, or cannot, be passed on."""


# ------------------------------------------------------------------------------------------------- requests

# What may be set for a provider in the configuration; everything else of litellm's is Kastra's own business.
_OPTION_PREFIXES = ("aws_", "azure_", "oci_", "vertex_", "watsonx_")
_OPTIONS = frozenset(
    [
        "allowed_openai_params",
        "api_version",
        "client_id",
        "client_secret",
        "drop_params",
        "organization",
        "project",
        "project_id",
        "region_name",
        "space_id",
        "tenant_id",
    ]
)
# Who may set options must not say where the operator's credentials go, nor have them filled with other secrets:
# litellm reads a value that begins so from the environment or a file.
_ADDRESSES = ("endpoint", "url", "host", "base")
_INDIRECT = ("os.environ/", "oidc/")
# These sign in by what they find in the environment, whatever key they are given.
_SELF_SIGNED = frozenset(
    ["github_copilot", "oci", "sagemaker", "sagemaker_chat", "vertex_ai", "vertex_ai_beta", "watsonx", "watsonx_text"]
)
# Parameters of a chat function, not of a model. litellm's own list is checked besides.
_RESERVED = frozenset(
    [
        "acompletion",
        "api_base",
        "api_key",
        "base_url",
        "client",
        "custom_llm_provider",
        "deployment_id",
        "extra_headers",
        "functions",
        "function_call",
        "headers",
        "messages",
        "model",
        "model_list",
        "stream",
        "timeout",
        "tools",
        "tool_choice",
        "shared_session",
    ]
)


def chat_arguments(
    request: ChatRequest, provider: str, owned: Callable[[str], bool], *, stream: bool
) -> dict[str, Any]:
    """Return the arguments of ``litellm.acompletion``.

    Args:
        owned: tells which names litellm takes for itself instead of passing them to the model.
    Raises:
        OptionError: a parameter or option is not allowed.
    """
    arguments = dict(request.parameters)
    for name in arguments:
        if name in _RESERVED or name.startswith("_") or owned(name):
            raise OptionError(f"the parameter {name!r} controls litellm, not the model; it is not passed on")
    arguments.update(_shared(request.settings, provider, request.model))
    arguments["messages"] = _messages(request.messages)
    if request.tools:
        arguments["tools"] = [
            {
                "type": "function",
                "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
            }
            for tool in request.tools
        ]
        if request.tool_choice in ("none", "required"):
            arguments["tool_choice"] = request.tool_choice
        elif request.tool_choice != "auto":
            arguments["tool_choice"] = {"type": "function", "function": {"name": request.tool_choice}}
    if request.response_schema is not None:
        arguments["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": request.response_schema},
        }
    for name in ("temperature", "top_p", "max_tokens", "seed"):
        if (value := getattr(request, name)) is not None:
            arguments[name] = value
    if request.stop:
        arguments["stop"] = list(request.stop)
    if stream:
        arguments["stream"] = True
        arguments.setdefault("stream_options", {"include_usage": True})
    # Releases from 1.106 on import an optional library for any call with tools unless this says no.
    arguments["_skip_mcp_handler"] = True
    return arguments


def embedding_arguments(request: EmbeddingRequest, provider: str) -> dict[str, Any]:
    arguments = _shared(request.settings, provider, request.model)
    arguments["input"] = list(request.texts)
    if request.dimensions is not None:
        arguments["dimensions"] = request.dimensions
    return arguments


def _shared(settings: ModelSettings, provider: str, model: str) -> dict[str, Any]:
    arguments = {_snake(name): value for name, value in settings.options.items()}
    for name in arguments:
        if name not in _OPTIONS and not name.startswith(_OPTION_PREFIXES):
            allowed = ", ".join([*(f"{prefix}..." for prefix in _OPTION_PREFIXES), *sorted(_OPTIONS)])
            raise OptionError(f"unknown option {name!r} in providers.{provider}.options; allowed are {allowed}")
        if any(word in name for word in _ADDRESSES):
            raise OptionError(f"the option {name!r} is an address; write apiBase instead")
    for name, value in arguments.items():
        if isinstance(value, str) and value.startswith(_INDIRECT):
            raise OptionError(
                f"the option {name!r} is read from elsewhere ({value.partition('/')[0]}/...); write it out"
            )
    if settings.foreign_base and provider in _SELF_SIGNED:
        raise OptionError(
            f"{provider} signs in with what it finds on this machine, which an address in a manifest must not get; "
            f"set providers.{provider}.apiBase in the configuration"
        )
    # Retries are the core's.
    arguments.update(model=f"{provider}/{model}", timeout=settings.timeout_s, num_retries=0, max_retries=0)
    if settings.api_base:
        arguments["api_base"] = settings.api_base
    if settings.api_key is not None:
        # Empty means: no key. litellm would take it for "look into the environment".
        arguments["api_key"] = settings.api_key.strip() or "none"
    if settings.headers:
        arguments["extra_headers"] = dict(settings.headers)
    return arguments


def _snake(name: str) -> str:
    """
    >>> _snake("awsRegionName")
    'aws_region_name'
    """
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


def _messages(messages: Sequence[Message]) -> list[JsonObject]:
    out: list[JsonObject] = []
    for message in messages:
        if message.role == "tool":
            out += [_tool_result(part) for part in message.parts if isinstance(part, ToolResultPart)]
            continue
        entry: JsonObject = {"role": message.role, "content": message.text}
        if calls := message.tool_calls:
            entry["content"] = message.text or None
            entry["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": _text(call.arguments)},
                }
                for call in calls
            ]
        out.append(entry)
    return out


def _tool_result(part: ToolResultPart) -> JsonObject:
    text = _text(part.response)
    # There is no field for failure; without a word the model would take the reason for a result.
    return {"role": "tool", "tool_call_id": part.id, "content": f"Error: {text}" if part.is_error else text}


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


# ------------------------------------------------------------------------------------------------- answers

_FINISH: dict[Any, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "max_tokens": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


def chat_response(answer: Any, cost: Cost) -> ChatResponse:
    """Return the response that a litellm ``ModelResponse`` says.

    Raises:
        WireError: it has no choices.
    """
    try:
        choice = answer.choices[0]
        message = choice.message
        parts: list[Part] = [TextPart(message.content)] if message.content else []
        for at, call in enumerate(message.tool_calls or ()):
            parts.append(
                ToolCallPart(
                    call.id or f"{answer.id or 'call'}-{at}",
                    call.function.name or "",
                    _arguments(call.function.arguments),
                )
            )
        hidden = getattr(answer, "_hidden_params", None) or {}
        if "response_cost" in hidden:
            # litellm has looked already, and knows of cached tokens too.
            usage = _usage(getattr(answer, "usage", None), lambda _read, _written: hidden["response_cost"])
        else:
            usage = _usage(getattr(answer, "usage", None), cost)
        return _response(parts, choice.finish_reason, usage, answer.model or "", answer.id or "")
    except (LookupError, AttributeError, TypeError) as err:
        why = "it has no choices" if not getattr(answer, "choices", None) else f"{type(err).__name__}: {err}"
        raise WireError(f"no chat completion: {why}") from err


def _response(parts: list[Part], finish: Any, usage: Usage, model: str, identifier: str) -> ChatResponse:
    reason: FinishReason = _FINISH.get(finish, "stop")
    if reason == "stop" and parts and isinstance(parts[-1], ToolCallPart):
        reason = "tool_calls"
    return ChatResponse(
        message=Message("assistant", tuple(parts)), finish_reason=reason, usage=usage, model=model, id=identifier
    )


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


def _usage(usage: Any, cost: Cost) -> Usage:
    if usage is None:
        return Usage()
    read, written = getattr(usage, "prompt_tokens", 0) or 0, getattr(usage, "completion_tokens", 0) or 0
    return Usage(input_tokens=read, output_tokens=written, cost=cost(read, written))


class StreamedAnswer:
    """Takes litellm's stream chunks one by one and puts them together."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._calls: dict[int, tuple[list[str], Mapping[str, str]]] = {}
        self._finish: Any = None
        self._usage: Any = None
        self._model = self._id = ""
        self._thought = False

    def add(self, chunk: Any) -> list[ChatEvent]:
        """Return the deltas of one chunk."""
        events: list[ChatEvent] = []
        if usage := getattr(chunk, "usage", None):
            self._usage = usage
        self._model, self._id = self._model or chunk.model or "", self._id or chunk.id or ""
        if not chunk.choices:
            return events
        choice = chunk.choices[0]
        self._finish = choice.finish_reason or self._finish
        delta = choice.delta
        if text := getattr(delta, "content", None):
            self._texts.append(text)
            events.append(TextDelta(text))
        self._thought = self._thought or bool(getattr(delta, "reasoning_content", None))
        for call in getattr(delta, "tool_calls", None) or ():
            name, arguments = call.function.name or "", call.function.arguments or ""
            if call.index not in self._calls:
                self._calls[call.index] = ([], {"id": call.id or "", "name": name})
            self._calls[call.index][0].append(arguments)
            position = list(self._calls).index(call.index)
            events.append(ToolCallDelta(position, call.id or "", name, arguments))
        return events

    def response(self, cost: Cost) -> ChatResponse:
        """Return the whole response.

        Raises:
            WireError: nothing came. litellm ends a stream that it could not read as if it were an empty answer.
        """
        if not (self._texts or self._calls or self._thought or self._finish in ("length", "content_filter")):
            raise WireError("the stream ended without an answer")
        parts: list[Part] = [TextPart("".join(self._texts))] if self._texts else []
        for at, (pieces, head) in enumerate(self._calls.values()):
            parts.append(
                ToolCallPart(head["id"] or f"{self._id or 'call'}-{at}", head["name"], _arguments("".join(pieces)))
            )
        return _response(parts, self._finish, _usage(self._usage, cost), self._model, self._id)
