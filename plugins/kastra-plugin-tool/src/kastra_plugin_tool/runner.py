"""ToolRunner: ``kastra run tool/NAME`` and tool steps."""

from __future__ import annotations

from kastra_core.api.meta import JsonObject, JsonValue, Resource
from kastra_core.errors import OperationError
from kastra_core.protocols.runner import RunContext

__all__ = ["ToolRunner", "arguments_of"]


class ToolRunner:
    """Runs a Tool by itself: one operation ``tool.invoke``; the run's input is the tool's arguments."""

    async def run(self, ctx: RunContext, target: Resource, input: JsonValue) -> JsonValue:
        """Return the tool's result.

        Raises: OperationError.
        """
        result = await ctx.perform(
            "tool.invoke",
            {
                "tool": {"namespace": target.metadata.namespace, "name": target.metadata.name},
                "arguments": arguments_of(target, input),
            },
            at_most_once=target.spec.get("idempotent") is False,
        )
        return result["output"]


def arguments_of(tool: Resource, input: JsonValue) -> JsonObject:
    """Return a run's input as arguments: an object as it is, nothing as no arguments.

    Anything else is the value of the tool's one parameter, or of the one that is required.

    Raises:
        OperationError: reason InvalidArguments, when there is no such one.
    """
    if isinstance(input, dict):
        return input
    if input is None:
        return {}
    schema = tool.status.get("inputSchema") or tool.spec.get("inputSchema") or {}
    properties = list(schema.get("properties") or {})
    required = list(schema.get("required") or [])
    for names in (properties, required):
        if len(names) == 1:
            return {names[0]: input}
    wanted = ", ".join(properties) or "none"
    raise OperationError(
        f"{tool.key}: the input is not an object, and the tool has not just one parameter to take it "
        f"(parameters: {wanted}); write them by name",
        reason="InvalidArguments",
    )
