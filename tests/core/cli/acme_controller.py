"""The controller and the runner of the plugin in ``acme_widgets.py``."""

from __future__ import annotations

from typing import Any

from kastra_core import Condition, Resource, RunContext
from kastra_core.controller import AbstractController, ready_status
from kastra_core.errors import RunFailedError, TerminalError


class WidgetController(AbstractController):
    kind, group = "Widget", "acme.example"
    finalizer = "acme.example/widget"

    async def get_desired_state(self, resource: Resource) -> Any:
        for reference in self.runtime.registry.of_key(resource.key).references_of(resource):
            if await self.runtime.client.get(reference.key) is None:
                raise TerminalError(f"{reference} is missing", reason="MissingWidget", remedy="apply it")
        return ready_status(resource, [Condition(type="Ready", status="True", reason="Assembled")])


class WidgetRunner:
    """Returns its input; fails on the input "fail", waits for the signal "go" on "wait"."""

    async def run(self, ctx: RunContext, target: Resource, input: Any) -> Any:
        if input == "fail":
            raise RunFailedError("as asked", reason="Asked")
        return await ctx.wait_signal("go") if input == "wait" else input
