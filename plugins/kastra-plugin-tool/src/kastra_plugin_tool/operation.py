"""The durable operation ``tool.invoke``: one call of a Tool, arguments and result checked."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import attrs

from kastra_core.api.meta import JsonObject, JsonValue, Resource
from kastra_core.api.references import Reference
from kastra_core.errors import ConfigError, OperationError, TerminalError
from kastra_core.protocols.runner import OperationContext, arguments_as
from kastra_core.serde import typed
from kastra_plugin_tool.context import ToolContext
from kastra_plugin_tool.policy import ToolPolicy
from kastra_plugin_tool.rules import declared_schema
from kastra_plugin_tool.runner import arguments_of
from kastra_plugin_tool.schemas import misfits
from kastra_plugin_tool.spec import ToolSpec

__all__ = ["invoke"]


@attrs.frozen(kw_only=True)
class _Name:
    namespace: str
    name: str


@attrs.frozen(kw_only=True)
class _Call:
    tool: _Name
    arguments: Any = None
    input: Any = None


async def invoke(ctx: OperationContext, arguments: JsonObject) -> JsonValue:
    """Call a Tool that the run pinned.

    Args:
        arguments: ``{"tool": {"namespace", "name"}, "arguments": {...}}``, or in place of ``arguments`` an ``input`` of
            any type: an object is the arguments, anything else the value of the tool's one parameter.
    Returns:
        ``{"output": ...}``.
    Raises:
        OperationError: reason NotFound, NotAllowed, InvalidArguments, InvalidOutput, Timeout, ToolFailed, HttpError
            and others that say what happened; ``retryable`` when another try could help and does no harm. Also for
            a python tool that is not ready, with the reason of its condition.
    """
    wanted = arguments_as(arguments, _Call).tool
    reference = Reference(kind="Tool", namespace=wanted.namespace, name=wanted.name)
    tool = ctx.pinned(reference)
    if tool is None:
        raise OperationError(f"{reference} is not among what this run may use", reason="NotFound")
    spec = typed(tool.spec, ToolSpec)
    given = arguments["arguments"] if "arguments" in arguments else arguments_of(tool, arguments.get("input"))
    if not isinstance(given, dict):
        raise OperationError(
            f"{reference}: the arguments do not fit: expected a JSON object, found {_excerpt(given)}",
            reason="InvalidArguments",
        )
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + spec.timeout_s
    limit = asyncio.timeout_at(deadline_s)
    try:
        async with limit:
            output = await _call(ctx, tool, spec, given, deadline_s)
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise OperationError(
            f"{reference} did not answer within {spec.timeout_s:g} s (spec.timeout)",
            reason="Timeout",
            retryable=spec.repeatable,
        ) from error
    except OperationError as error:
        if str(error).startswith(str(reference)):
            raise
        raise OperationError(
            f"{reference}: {error}",
            reason=error.reason,
            retryable=error.retryable and spec.repeatable,
            details=error.details,
        ) from error
    except ConfigError as error:
        # A secret that is not there (MissingSecret), or a setting of the operator that cannot be read (Config).
        raise OperationError(f"{reference}: {error}", reason=error.reason) from error
    except TerminalError as error:
        remedy = f"; {error.remedy}" if error.remedy else ""
        raise OperationError(f"{reference}: {error}{remedy}", reason=_public_reason(error.reason)) from error
    if spec.output_schema is not None:
        faults = misfits(spec.output_schema, output, whole="output")
        if faults:
            raise OperationError(
                f"{reference}: the result does not fit outputSchema: {'; '.join(faults)}", reason="InvalidOutput"
            )
    return {"output": output}


async def _call(
    ctx: OperationContext, tool: Resource, spec: ToolSpec, given: JsonObject, deadline_s: float
) -> JsonValue:
    policy = ToolPolicy.of(ctx.runtime)
    if spec.http is not None:
        from kastra_plugin_tool.http_tool import call_http

        schema = spec.input_schema or declared_schema(spec.http)
        values = _checked(schema, _with_defaults(schema, given))
        return await call_http(
            spec.http,
            values,
            policy,
            spec.tries,
            idempotency_key=ctx.idempotency_key,
            deadline_s=deadline_s,
        )
    assert spec.python is not None  # the kind's rules: exactly one of the two
    from kastra_plugin_tool.python_tool import call_function, load_function

    function, signature = await load_function(spec.python.function, policy)
    if spec.input_schema is not None:
        values = _checked(spec.input_schema, _with_defaults(spec.input_schema, given))
    else:
        values = _checked(signature.schema(spec.python.function), given)
    context = ToolContext(
        tool=tool.metadata.name,
        namespace=tool.metadata.namespace,
        run_id=ctx.run_id,
        idempotency_key=ctx.idempotency_key,
    )
    attempt = 1
    while True:
        try:
            return await call_function(function, signature, values, context)
        except OperationError as error:
            wait_s = _wait_s(spec, attempt)
            late = asyncio.get_running_loop().time() + wait_s >= deadline_s
            if not error.retryable or attempt >= spec.tries.attempts or late:
                raise
        await asyncio.sleep(wait_s)
        attempt += 1


def _wait_s(spec: ToolSpec, attempt: int) -> float:
    ceiling = min(spec.tries.delay_s * 2 ** min(attempt - 1, 30), spec.tries.max_delay_s)
    return float(ceiling * random.uniform(0.5, 1))  # noqa: S311 - jitter, no secret


def _checked(schema: JsonObject, values: JsonObject) -> JsonObject:
    faults = misfits(schema, values)
    if faults:
        raise OperationError(f"the arguments do not fit: {'; '.join(faults)}", reason="InvalidArguments")
    return values


def _with_defaults(schema: JsonObject, given: JsonObject) -> JsonObject:
    """The arguments, completed by the defaults that the schema's properties state."""
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return given
    defaults = {n: p["default"] for n, p in properties.items() if isinstance(p, dict) and "default" in p}
    return {**defaults, **given}


def _public_reason(reason: str) -> str:
    return "NotAllowed" if reason == "ModuleNotAllowed" else reason


def _excerpt(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else text[:99] + "…"
