"""The core's own operations: ``model.*`` and ``state.*``. JSON in, JSON out, as for everybody's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from kastra_core.api.meta import JsonObject, JsonValue
from kastra_core.errors import ModelError, OperationError
from kastra_core.protocols.model import (
    ChatEvent,
    ChatRequest,
    EmbeddingRequest,
    Message,
    TextDelta,
    ToolDefinition,
)
from kastra_core.protocols.runner import OperationContext
from kastra_core.protocols.store import SetState
from kastra_core.serde import type_word

if TYPE_CHECKING:
    from kastra_core.execution.models import Models

__all__ = ["chat", "embed", "state_get", "state_update"]

_KNOWN_PARAMETERS = {
    "temperature": "temperature",
    "topP": "top_p",
    "maxTokens": "max_tokens",
    "seed": "seed",
    "stop": "stop",
}


def _parameters(given: JsonObject) -> dict[str, Any]:
    """Split parameters (camelCase, or as the provider writes them) into named ones and the rest."""
    named: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    for key, value in given.items():
        field = _KNOWN_PARAMETERS.get(key) or (key if key in _KNOWN_PARAMETERS.values() else None)
        if field is None:
            rest[key] = value
        elif value is not None:
            named[field] = [value] if field == "stop" and isinstance(value, str) else value
    named["parameters"] = rest
    return named


async def chat(ctx: OperationContext, arguments: JsonObject) -> JsonValue:
    """Ask a model.

    Arguments: ``provider``, ``model``, ``messages`` (JSON of Message), and optionally ``tools`` ({name, description,
    parameters}), ``tool_choice``, ``response_schema``, ``parameters`` (temperature, maxTokens ...), ``settings``
    (apiBase, apiKey by reference, headers, timeoutS, options), ``show`` (default true).
    Result: JSON of ChatResponse. While somebody listens, the answer is streamed as events ``text``,
    ``model_retry``; a retry after the first text starts the answer over. With ``show`` false it is not.
    """
    models: Models = ctx.runtime.models
    with _reading("model.chat", arguments, provider=str, model=str, messages=list):
        provider = arguments["provider"]
        request = ChatRequest(
            model=arguments["model"],
            messages=[Message.from_json(message) for message in arguments["messages"]],
            tools=[ToolDefinition(**tool) for tool in arguments.get("tools") or ()],
            tool_choice=arguments.get("tool_choice") or "auto",
            response_schema=arguments.get("response_schema"),
            settings=models.settings(provider, arguments.get("settings")),
            idempotency_key=ctx.idempotency_key,
            **_parameters(arguments.get("parameters") or {}),
        )

    async def on_retry(attempt: int, wait_s: float, error: ModelError) -> None:
        await ctx.emit(
            {
                "type": "model_retry",
                "attempt": attempt,
                "wait_s": round(wait_s, 3),
                "reason": error.reason,
                "message": str(error),
            }
        )

    if not (ctx.streaming and arguments.get("show", True)):
        return (await models.chat(provider, request, on_retry=on_retry)).to_json()

    async def on_event(event: ChatEvent) -> None:
        if isinstance(event, TextDelta) and event.text:
            await ctx.emit({"type": "text", "text": event.text})

    return (await models.stream(provider, request, on_event=on_event, on_retry=on_retry)).to_json()


async def embed(ctx: OperationContext, arguments: JsonObject) -> JsonValue:
    """Embed texts. Arguments: ``provider``, ``model``, ``texts``, ``dimensions``, ``inputType``, ``settings``.

    Result: ``{"vectors": [[float]], "usage": {...}, "model": name}``.
    """
    models: Models = ctx.runtime.models
    with _reading("model.embed", arguments, provider=str, model=str, texts=list):
        provider = arguments["provider"]
        request = EmbeddingRequest(
            model=arguments["model"],
            texts=arguments["texts"],
            dimensions=arguments.get("dimensions"),
            input_type=arguments.get("inputType") or "",
            settings=models.settings(provider, arguments.get("settings")),
        )

    async def on_retry(attempt: int, wait_s: float, error: ModelError) -> None:
        await ctx.emit({"type": "model_retry", "attempt": attempt, "wait_s": round(wait_s, 3), "reason": error.reason})

    response = await models.embed(provider, request, on_retry=on_retry)
    return {
        "vectors": [list(vector) for vector in response.vectors],
        "usage": response.usage.to_json(),
        "model": response.model,
    }


async def state_get(ctx: OperationContext, arguments: JsonObject) -> JsonValue:
    """Read a state. Arguments: ``keys`` (default: all), ``scope`` (default: that which the run shares).

    Result: an object; keys that are not there are left out.
    """
    scope, _ = _scope(ctx, arguments)
    keys = arguments.get("keys")
    if not (keys is None or (isinstance(keys, list) and all(isinstance(key, str) for key in keys))):
        raise _invalid("state.get takes keys: a list of texts", keys)
    state: JsonObject = await ctx.runtime.store.state.get_state(scope)
    return state if keys is None else {key: state[key] for key in keys if key in state}


async def state_update(ctx: OperationContext, arguments: JsonObject) -> JsonValue:
    """Write values of a state, with the record of this operation or not at all. Result: null.

    Arguments: ``values`` (null removes a key), ``ttlS`` (seconds that each lives from now, null = for ever; default: as
    the run shares it), ``scope`` (default: that which the run shares).
    """
    scope, ttl_s = _scope(ctx, arguments)
    values = arguments.get("values")
    if not isinstance(values, dict):
        raise _invalid("state.update takes values: an object of keys and values, null removes a key", values)
    if values:
        ctx.write(SetState(scope, values, arguments.get("ttlS", ttl_s)))
    return None


def _scope(ctx: OperationContext, arguments: JsonObject) -> tuple[str, float | None]:
    scope = arguments.get("scope")
    if isinstance(scope, str) and scope:
        return scope, None
    if scope is not None:
        raise _invalid("scope is a text", scope)
    if ctx.shared is None:
        message = "this run shares no state; run it as a member of a network that has spec.state, or say scope"
        raise OperationError(message, reason="NoSharedState")
    return ctx.shared.scope, ctx.shared.ttl_s


@contextmanager
def _reading(name: str, arguments: JsonObject, **required: type) -> Iterator[None]:
    """Arguments that a runner made are right; a workflow's may be anything.

    Raises: OperationError with the reason ``InvalidArguments``.
    """
    for key, kind in required.items():
        if not isinstance(arguments.get(key), kind):
            raise _invalid(f"{name} takes {key}: {'a text' if kind is str else 'a list'}", arguments.get(key))
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        what = f"{type(error).__name__}: {error}"
        raise OperationError(f"{name} cannot read its arguments ({what})", reason="InvalidArguments") from error


def _invalid(expected: str, found: object) -> OperationError:
    return OperationError(f"{expected}; found {type_word(found)}", reason="InvalidArguments")
