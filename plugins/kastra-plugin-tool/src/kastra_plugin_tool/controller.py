"""ToolController: says whether a Tool can be called, and with what arguments."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from kastra_core.api.meta import Condition, JsonObject, Resource
from kastra_core.controller import AbstractController, Result, failed_status, message_of, ready_status
from kastra_core.errors import TerminalError
from kastra_core.secrets import MissingSecretError, resolve_secret
from kastra_core.serde import typed
from kastra_plugin_tool.http_request import secrets_of
from kastra_plugin_tool.policy import ToolPolicy
from kastra_plugin_tool.python_tool import load_function
from kastra_plugin_tool.rules import declared_schema
from kastra_plugin_tool.spec import HttpSpec, ToolSpec

__all__ = ["ToolController"]

_LOOK_AGAIN_S = 15.0
_MENDED_OUTSIDE = frozenset({"MissingSecret", "ModuleFailed", "ModuleNotAllowed", "ModuleNotFound"})
"""What changes without a change of the resource: files, installed packages, settings, the environment's secrets."""


class ToolController(AbstractController):
    """Sets ``status.inputSchema``, ``outputSchema``, ``description`` and ``target``, and the condition Ready.

    A python tool is imported here for the first time, an http tool is not called.
    """

    kind: ClassVar[str] = "Tool"

    async def get_desired_state(self, resource: Resource) -> JsonObject:
        """Raises: TerminalError with the reason why the tool cannot be called."""
        spec = typed(resource.spec, ToolSpec)
        if spec.http is not None:
            schema, description = await self._look_at_http(spec, spec.http)
        else:
            schema, description = await self._look_at_function(spec)
        return ready_status(
            resource,
            [Condition(type="Ready", status="True", reason="Callable", message=f"{spec.type} {spec.target}")],
            inputSchema=schema,
            outputSchema=spec.output_schema,
            description=description or None,
            target=spec.target,
        )

    async def handle_reconcile_failure(self, resource: Resource, error: Exception) -> Result:
        """As the core does; what is mended outside of the resource is looked at again every 15 s, phase Pending."""
        if isinstance(error, TerminalError) and error.reason in _MENDED_OUTSIDE:
            await self.write_status(resource, failed_status(resource, error.reason, message_of(error), terminal=False))
            return Result(requeue_after_s=_LOOK_AGAIN_S)
        return await super().handle_reconcile_failure(resource, error)

    async def _look_at_http(self, spec: ToolSpec, http: HttpSpec) -> tuple[JsonObject, str]:
        refs = secrets_of(http)
        if refs:
            try:
                base = ToolPolicy.of(self.runtime).project
                await asyncio.to_thread(lambda: [resolve_secret(ref, base=base) for ref in refs])  # may read files
            except MissingSecretError as error:
                raise TerminalError(str(error), reason=error.reason, remedy=error.remedy) from error
        return spec.input_schema or declared_schema(http), spec.description

    async def _look_at_function(self, spec: ToolSpec) -> tuple[JsonObject, str]:
        assert spec.python is not None  # the kind's rules: exactly one of the two
        target = spec.python.function
        _, signature = await load_function(target, ToolPolicy.of(self.runtime))
        if spec.input_schema is None:
            return signature.schema(target), spec.description or signature.description
        mismatch = signature.mismatch(spec.input_schema)
        if mismatch:
            raise TerminalError(
                f"{target} cannot be called with these arguments: {mismatch}",
                reason="SignatureMismatch",
                remedy="make spec.inputSchema and the function's parameters agree, or remove spec.inputSchema",
            )
        return spec.input_schema, spec.description or signature.description
