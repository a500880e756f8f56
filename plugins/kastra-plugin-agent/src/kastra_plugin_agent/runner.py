"""AgentRunner: the loop model -> tools -> model, as a durable program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import orjson

from kastra_core.api.meta import JsonObject, JsonValue, Resource
from kastra_core.api.references import Reference
from kastra_core.errors import OperationError, RunFailedError
from kastra_core.protocols.runner import RunContext
from kastra_core.serde import typed
from kastra_plugin_agent.rules import output_validator, references, tool_name
from kastra_plugin_agent.spec import AgentSpec, ModelSpec

__all__ = ["AgentRunner", "chosen_model"]

_ASK_AS_TEXT = {
    "type": "object",
    "properties": {"input": {"type": "string", "description": "What to ask or to do, in full sentences."}},
    "required": ["input"],
}
_PLANS = 256


def chosen_model(spec: AgentSpec, override: str | None, default: str | None) -> tuple[ModelSpec | None, str]:
    """Return (model that answers, why it is not the agent's own or "").

    An override keeps the agent's parameters but not its address and key, which belong to its own provider.
    """
    own = spec.model
    if override:
        provider, _, name = override.partition("/")
        if own is not None and (own.provider, own.name) == (provider, name):
            return own, ""
        model = ModelSpec(provider=provider, name=name, parameters=own.all_parameters() if own else {})
        place = f" in place of {own.provider}/{own.name}" if own else ""
        return model, f"{override} answers{place}, as the configuration or --model says"
    if own is not None:
        return own, ""
    if default:
        provider, _, name = default.partition("/")
        return ModelSpec(provider=provider, name=name), f"spec.model is missing; the default {default} answers"
    return None, ""


@attrs.frozen
class _Tool:
    """A tool of an agent, ready to be called."""

    reference: Reference
    definition: JsonObject
    as_text: bool = False
    """It is another executable kind that does not say what input it takes: it is asked in full sentences."""
    at_most_once: bool = False
    """Its resource says ``idempotent: false``: after a crash it is not called again unless it had ended."""


@attrs.frozen
class _Plan:
    """What does not change between the runs of one pinned agent."""

    target: Resource
    spec: AgentSpec
    head: tuple[JsonObject, ...]
    """The system message, or nothing."""
    tools: Mapping[str, _Tool]


class AgentRunner:
    """Runs agents. Input: a text, ``{"input": text}``, ``{"messages": [...]}``, or any JSON, sent as text.

    Output: the answer's text, or with ``spec.output`` the JSON that fits its schema.
    Events: ``text`` {text}, ``tool_call`` {id, name, arguments}, ``tool_result`` {id, name, response, is_error},
    ``model_retry``, ``note`` {message}.
    """

    def __init__(self) -> None:
        self._plans: dict[int, _Plan] = {}

    async def run(self, ctx: RunContext, target: Resource, input: JsonValue) -> JsonValue:
        plan = self._plan(ctx, target)
        spec = plan.spec
        model, _ = chosen_model(spec, ctx.spec.get("model"), ctx.spec.get("defaultModel"))
        if model is None:
            raise RunFailedError("the agent names no model and there is no default", reason="ModelMissing")
        request: JsonObject = {"provider": model.provider, "model": model.name}
        if plan.tools:
            request["tools"] = [tool.definition for tool in plan.tools.values()]
            choice = spec.tool_choice
            if choice != "auto":
                request["tool_choice"] = choice if choice in ("required", "none") else tool_name(choice)
        if spec.output is not None:
            request["response_schema"] = dict(spec.output.schema)
        parameters, settings = model.all_parameters(), model.settings()
        if parameters:
            request["parameters"] = parameters
        if settings:
            request["settings"] = settings
        turn = _asked(input)
        before = await self._history(ctx, spec)
        repairs = spec.output.max_repairs if spec.output is not None else 0
        while True:
            ctx.step()
            response = await ctx.perform(
                "model.chat", {**request, "messages": [*plan.head, *before, *turn]}, name="chat"
            )
            request.pop("tool_choice", None)
            message = response["message"]
            turn.append(message)
            calls = [part for part in message["parts"] if part["type"] == "tool_call"]
            if calls:
                turn.extend(await self._call_tools(ctx, plan, calls))
                continue
            text = "".join(part["content"] for part in message["parts"] if part["type"] == "text")
            finish = response.get("finish_reason")
            if finish == "content_filter":
                raise RunFailedError("the provider's content filter stopped the answer", reason="ContentFilter")
            if finish == "length":
                await ctx.emit({"type": "note", "message": "the answer was cut at the model's output limit"})
            output, wrong = _checked(text, spec)
            if wrong is None:
                break
            if repairs <= 0:
                raise RunFailedError(f"the answer does not fit spec.output.schema: {wrong}", reason="OutputInvalid")
            repairs -= 1
            turn.append(_user(f"Your answer is not valid: {wrong}. Answer again with JSON that fits the schema only."))
        if ctx.thread and spec.memory.enabled:
            await ctx.remember(turn)
        return output

    def _plan(self, ctx: RunContext, target: Resource) -> _Plan:
        plan = self._plans.get(id(target))
        if plan is not None and plan.target is target:
            return plan
        spec = typed(target.spec, AgentSpec)
        head: tuple[JsonObject, ...] = ()
        if spec.instructions:
            head = ({"role": "system", "parts": [{"type": "text", "content": spec.instructions}]},)
        tools: dict[str, _Tool] = {}
        for use, reference in zip(spec.tools.items, references(target)):
            pinned = ctx.pinned(reference)
            if pinned is None:
                raise RunFailedError(f"{reference.path}: {reference.key} is not there", reason="ToolNotFound")
            name = tool_name(use.name)
            own = pinned.status.get("description") or pinned.spec.get("description") or ""
            schema = pinned.status.get("inputSchema") or pinned.spec.get("inputSchema")
            # The model APIs take objects only.
            as_text = reference.kind != "Tool" and (schema or {}).get("type") != "object"
            parameters = _ASK_AS_TEXT if as_text else schema or {"type": "object", "properties": {}}
            definition = {"name": name, "description": use.description or own, "parameters": parameters}
            tools[name] = _Tool(reference, definition, as_text, pinned.spec.get("idempotent") is False)
        plan = _Plan(target, spec, head, tools)
        if len(self._plans) >= _PLANS:
            self._plans.clear()
        self._plans[id(target)] = plan
        return plan

    @staticmethod
    async def _history(ctx: RunContext, spec: AgentSpec) -> Sequence[JsonObject]:
        if not ctx.thread or not spec.memory.enabled:
            return ()
        messages = list(await ctx.history())
        if len(messages) > spec.memory.max_messages:
            messages = messages[-spec.memory.max_messages :]
        # A turn begins with the user; anything before its first message was cut in the middle.
        first = next((at for at, message in enumerate(messages) if message["role"] == "user"), len(messages))
        return messages[first:]

    async def _call_tools(self, ctx: RunContext, plan: _Plan, calls: Sequence[JsonObject]) -> list[JsonObject]:
        def branch(call: JsonObject) -> Any:
            return lambda inner: self._call_tool(inner, plan, call)

        results = await ctx.gather({f"{at}": branch(call) for at, call in enumerate(calls)})
        out = []
        for result in results.values():
            if isinstance(result, BaseException):
                raise result
            out.append(result)
        return out

    async def _call_tool(self, ctx: RunContext, plan: _Plan, call: JsonObject) -> JsonObject:
        """Call one tool; a failure is an answer that the model sees."""
        name, arguments = call["name"], call["arguments"]
        await ctx.emit({"type": "tool_call", "id": call["id"], "name": name, "arguments": arguments})
        tool = plan.tools.get(name)
        is_error = True
        if tool is None:
            response: JsonValue = f"there is no tool {name!r}; tools are {', '.join(plan.tools) or 'none'}"
        elif not isinstance(arguments, Mapping):
            response = f"the arguments are no JSON object: {str(arguments)[:200]}"
        else:
            try:
                response, is_error = await self._invoke(ctx, tool, dict(arguments)), False
            except OperationError as error:
                response = f"{error.reason}: {error.message}"
        event = {"type": "tool_result", "id": call["id"], "name": name, "response": response, "is_error": is_error}
        await ctx.emit(event)
        part: JsonObject = {"type": "tool_call_response", "id": call["id"], "response": response}
        if is_error:
            part["is_error"] = True
        return {"role": "tool", "parts": [part]}

    @staticmethod
    async def _invoke(ctx: RunContext, tool: _Tool, arguments: JsonObject) -> JsonValue:
        reference = tool.reference
        if reference.kind != "Tool":
            return await ctx.call(reference, arguments.get("input", arguments) if tool.as_text else arguments)
        where = {"namespace": reference.namespace, "name": reference.name}
        result = await ctx.perform(
            "tool.invoke",
            {"tool": where, "arguments": arguments},
            name=reference.name,
            at_most_once=tool.at_most_once,
        )
        return result["output"]


def _user(text: str) -> JsonObject:
    return {"role": "user", "parts": [{"type": "text", "content": text}]}


def _asked(input: JsonValue) -> list[JsonObject]:
    """The messages that begin the turn."""
    if isinstance(input, str):
        return [_user(input)]
    if isinstance(input, Mapping):
        messages = input.get("messages")
        if isinstance(messages, list) and messages:
            return [_message(message) for message in messages]
        if isinstance(input.get("input"), str) and len(input) == 1:
            return [_user(input["input"])]
    if input is None:
        raise RunFailedError("an agent needs input: a text, or an object with messages", reason="InvalidInput")
    return [_user(orjson.dumps(input).decode())]


def _message(message: Any) -> JsonObject:
    """A message of the input: with ``parts``, or as the model APIs write it, with ``content``."""
    if isinstance(message, Mapping) and isinstance(message.get("role"), str):
        if isinstance(message.get("parts"), list):
            return dict(message)
        if isinstance(message.get("content"), str):
            return {"role": message["role"], "parts": [{"type": "text", "content": message["content"]}]}
    raise RunFailedError("each of input.messages needs role and content (or parts)", reason="InvalidInput")


def _checked(text: str, spec: AgentSpec) -> tuple[JsonValue, str | None]:
    """Return (output, what is wrong with it or None)."""
    if spec.output is None:
        return text, None
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return None, f"it is not JSON ({error})"
    errors = output_validator(spec.output.schema).iter_errors(value)
    lines = [f"{'.'.join(str(p) for p in e.instance_path) or 'the whole'}: {e.message}" for e in errors]
    return (None, "; ".join(lines[:5])) if lines else (value, None)
