"""AgentRunner: the loop model -> tools -> model, as a durable program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import orjson

from kastra_core.api.meta import JsonObject, JsonValue, Resource
from kastra_core.api.references import Reference
from kastra_core.errors import OperationError, RunFailedError
from kastra_core.model_spec import chosen_model
from kastra_core.protocols.model_input import input_messages, text_of, user_message
from kastra_core.protocols.runner import RunContext
from kastra_core.serde import typed
from kastra_plugin_agent.memory import Memory, Remembered
from kastra_plugin_agent.own_tools import OwnTool, state_tools
from kastra_plugin_agent.rules import references, tool_name
from kastra_plugin_agent.schemas import schema_validator
from kastra_plugin_agent.spec import AgentSpec

__all__ = ["AgentRunner"]

_ASK_AS_TEXT = {
    "type": "object",
    "properties": {"input": {"type": "string", "description": "What to ask or to do, in full sentences."}},
    "required": ["input"],
}
_PLANS = 256
_NOTHING = Remembered()


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
    tools: Mapping[str, _Tool]
    memory: Memory | None


class AgentRunner:
    """Runs agents. Input: see :func:`kastra_core.protocols.model_input.input_messages`.

    Output: the answer's text, or with ``spec.output`` the JSON that fits its schema.
    Events: ``text`` {text}, ``tool_call`` {id, name, arguments}, ``tool_result`` {id, name, response, is_error},
    ``model_retry``, ``note`` {message}, ``memory`` (:mod:`kastra_plugin_agent.memory`).
    """

    def __init__(self) -> None:
        self._plans: dict[int, _Plan] = {}

    async def run(self, ctx: RunContext, target: Resource, input: JsonValue) -> JsonValue:
        plan = self._plan(ctx, target)
        spec = plan.spec
        model, _ = chosen_model(spec.model, ctx.spec.get("model"), ctx.spec.get("defaultModel"))
        if model is None:
            raise RunFailedError("the agent names no model and there is no default", reason="ModelMissing")
        turn = input_messages(input, what="an agent")
        memory, remembered = plan.memory, _NOTHING
        if memory is not None and (ctx.thread or memory.outlives_threads):
            remembered = await memory.remembered(ctx, turn, model)
        own = await _own_tools(ctx, plan, remembered) if ctx.shared is not None or remembered.tools else {}
        request = model.request()
        if plan.tools or own:
            request["tools"] = [*(t.definition for t in plan.tools.values()), *(t.definition for t in own.values())]
            choice = spec.tool_choice if spec.tool_choice in ("required", "none") else tool_name(spec.tool_choice)
            if choice in ("required", "none", *plan.tools, *own):
                request["tool_choice"] = choice
        if spec.output is not None:
            request["response_schema"] = dict(spec.output.schema)
        before = (*_head(spec, remembered.notes), *remembered.messages)
        repairs = spec.output.max_repairs if spec.output is not None else 0
        repaired: list[JsonObject] = []
        while True:
            ctx.step()
            response = await ctx.perform(
                "model.chat", {**request, "messages": [*before, *turn, *repaired]}, name="chat"
            )
            request.pop("tool_choice", None)
            message = response["message"]
            calls = [part for part in message["parts"] if part["type"] == "tool_call"]
            if calls:
                turn += [*repaired, message, *await self._call_tools(ctx, plan, own, calls)]
                repaired = []
                continue
            text = text_of(message)
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
            ask = f"Your answer is not valid: {wrong}. Answer again with JSON that fits the schema only."
            repaired += [message, user_message(ask)]
        if ctx.thread and memory is not None:
            # What the caller says as system holds for this run, and what was not valid is of no use later.
            kept = [said for said in (*turn, message) if said["role"] != "system"]
            await memory.keep(ctx, kept, text)
        return output

    def _plan(self, ctx: RunContext, target: Resource) -> _Plan:
        plan = self._plans.get(id(target))
        if plan is not None and plan.target is target:
            return plan
        spec = typed(target.spec, AgentSpec)
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
        memory = Memory(spec.memory, target) if spec.memory.enabled else None
        plan = _Plan(target, spec, tools, memory)
        if len(self._plans) >= _PLANS:
            self._plans.clear()
        self._plans[id(target)] = plan
        return plan

    async def _call_tools(
        self, ctx: RunContext, plan: _Plan, own: Mapping[str, OwnTool], calls: Sequence[JsonObject]
    ) -> list[JsonObject]:
        """Call tools at once, but the agent's own ones, which change what the next one sees, in order."""
        branches: list[list[int]] = []
        of_own: list[int] | None = None
        for at, call in enumerate(calls):
            if call["name"] not in own:
                branches.append([at])
            elif of_own is None:
                of_own = [at]
                branches.append(of_own)
            else:
                of_own.append(at)

        def branch(places: Sequence[int]) -> Any:
            async def in_order(inner: RunContext) -> list[JsonObject]:
                return [await self._call_tool(inner, plan, own, calls[at]) for at in places]

            return in_order

        results = await ctx.gather({f"{places[0]}": branch(places) for places in branches})
        out: dict[int, JsonObject] = {}
        for places, result in zip(branches, results.values(), strict=True):
            if isinstance(result, BaseException):
                raise result
            out.update(zip(places, result, strict=True))
        return [out[at] for at in range(len(calls))]

    async def _call_tool(
        self, ctx: RunContext, plan: _Plan, own: Mapping[str, OwnTool], call: JsonObject
    ) -> JsonObject:
        """Call one tool; a failure is an answer that the model sees."""
        name, arguments = call["name"], call["arguments"]
        await ctx.emit({"type": "tool_call", "id": call["id"], "name": name, "arguments": arguments})
        tool, own_tool = plan.tools.get(name), own.get(name)
        is_error = True
        if tool is None and own_tool is None:
            response: JsonValue = f"there is no tool {name!r}; tools are {', '.join((*plan.tools, *own)) or 'none'}"
        elif not isinstance(arguments, Mapping):
            response = f"the arguments are no JSON object: {str(arguments)[:200]}"
        else:
            try:
                if tool is not None:
                    response = await self._invoke(ctx, tool, dict(arguments))
                elif own_tool is not None:
                    response = await own_tool.call(ctx, dict(arguments))
                is_error = False
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


def _head(spec: AgentSpec, notes: Sequence[str]) -> Sequence[JsonObject]:
    """One system message, which is what all models take, or none."""
    texts = [text for text in (spec.instructions, *notes) if text]
    return ({"role": "system", "parts": [{"type": "text", "content": "\n\n".join(texts)}]},) if texts else ()


async def _own_tools(ctx: RunContext, plan: _Plan, remembered: Remembered) -> Mapping[str, OwnTool]:
    """The tools of memory and of the shared state, but those that the agent has by the same name."""
    own = dict(remembered.tools)
    if ctx.shared is not None and ctx.shared.tools:
        own |= state_tools(ctx.shared)
    for name in [name for name in own if name in plan.tools]:
        del own[name]
        message = f"the agent's own tool {name} is in the place of the one that is built in"
        await ctx.emit({"type": "note", "message": message})
    return own


def _checked(text: str, spec: AgentSpec) -> tuple[JsonValue, str | None]:
    """Return (output, what is wrong with it or None)."""
    if spec.output is None:
        return text, None
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return None, f"it is not JSON ({error})"
    errors = schema_validator(spec.output.schema).iter_errors(value)
    lines = [f"{'.'.join(str(p) for p in e.instance_path) or 'the whole'}: {e.message}" for e in errors]
    return (None, "; ".join(lines[:5])) if lines else (value, None)
