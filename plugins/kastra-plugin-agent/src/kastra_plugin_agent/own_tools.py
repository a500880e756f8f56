"""Tools that an agent has without a Tool resource: those of the state that its run shares with others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import attrs

from kastra_core.api.meta import JsonObject, JsonValue
from kastra_core.errors import OperationError
from kastra_core.protocols.runner import RunContext, SharedState

__all__ = ["OwnTool", "state_tools"]


@attrs.frozen
class OwnTool:
    """A tool that the plugin carries out itself."""

    definition: JsonObject
    call: Callable[[RunContext, JsonObject], Awaitable[JsonValue]]
    """Raises OperationError, which the model sees."""


_GET: JsonObject = {
    "name": "state_get",
    "description": "Read the state that all members of this network share.",
    "parameters": {
        "type": "object",
        "properties": {
            "keys": {"type": "array", "items": {"type": "string"}, "description": "Which keys; leave out for all."}
        },
    },
}
_SET: JsonObject = {
    "name": "state_set",
    "description": "Write values of the state that all members of this network share. null removes a key.",
    "parameters": {
        "type": "object",
        "properties": {"values": {"type": "object", "description": "Value by key."}},
        "required": ["values"],
    },
}


def state_tools(shared: SharedState) -> Mapping[str, OwnTool]:
    """``state_get`` and ``state_set`` over a shared state, by name."""

    async def get(ctx: RunContext, arguments: JsonObject) -> JsonValue:
        keys = arguments.get("keys")
        if isinstance(keys, str):
            keys = [keys]
        if keys is not None and not (isinstance(keys, list) and all(isinstance(key, str) for key in keys)):
            raise OperationError('keys must be a list of names, as ["customer"]', reason="InvalidArguments")
        wanted: JsonObject = {"scope": shared.scope}
        if keys:
            wanted["keys"] = keys
        return await ctx.perform("agent.state_get", wanted, name="state_get")

    async def update(ctx: RunContext, arguments: JsonObject) -> JsonValue:
        values = arguments.get("values")
        if not isinstance(values, dict):
            raise OperationError('values must be an object, as {"customer": "Ann"}', reason="InvalidArguments")
        change: JsonObject = {"scope": shared.scope, "values": values}
        if shared.ttl_s is not None:
            change["ttlS"] = shared.ttl_s
        await ctx.perform("agent.state_set", change, name="state_set")
        return "saved"

    return {"state_get": OwnTool(_GET, get), "state_set": OwnTool(_SET, update)}
