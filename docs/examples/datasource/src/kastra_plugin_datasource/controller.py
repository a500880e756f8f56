"""DataSourceController: looks at every DataSource now and then, and says in its status what it found."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from kastra_core.api.meta import Condition, JsonObject, Resource, ResourceKey
from kastra_core.controller import AbstractController, ControllerRuntime, Result, ready_status
from kastra_core.errors import ConfigError, TerminalError
from kastra_core.secrets import resolve_secret
from kastra_core.serde import problems_of, typed
from kastra_plugin_datasource import sqlite_source
from kastra_plugin_datasource.cache import Cache
from kastra_plugin_datasource.spec import DataSourceSpec, Found, SourceError

__all__ = ["FINALIZER", "DataSourceController"]

FINALIZER = "datasources.mastra.ai/connection"
_FACTOR = 4
_LEAST_MS = 100
"""``status.latencyMs`` stays while it changes less: a healthy source is not written about at every look."""


class DataSourceController(AbstractController):
    """Conditions: ``Connected`` (the source answers), ``Ready``.

    It keeps connections to HTTP sources open and a cache file per source; its finalizer sees to it that both go before
    the resource does.
    """

    kind: ClassVar[str] = "DataSource"
    group: ClassVar[str] = "mastra.ai"
    finalizer: ClassVar[str | None] = FINALIZER

    def __init__(self, runtime: ControllerRuntime) -> None:
        super().__init__(runtime)
        config = getattr(runtime, "config", None)
        self._project: Path = config.project if config is not None else Path.cwd()
        self._cache = Cache(self._project)
        self._clock: Callable[[], float] = time.monotonic
        self._http: dict[ResourceKey, Any] = {}
        """HttpSource by resource; its library is imported for the first one."""

    # ------------------------------------------------------------------------------------------ looking

    async def get_desired_state(self, resource: Resource) -> JsonObject:
        """Look at the source and return the status. What is wrong with the source is a condition, not an error.

        Raises: TerminalError: the spec cannot be used; only another spec helps.
        """
        spec = _spec_of(resource)
        began = self._clock()
        try:
            found = await self._look(resource.key, spec)
        except SourceError as error:
            return self._status(resource, "False", error.reason, error.message)
        latency_ms = max(1, round((self._clock() - began) * 1000))
        if found.content is None:
            await asyncio.to_thread(self._cache.remove, resource.key)
        else:
            await asyncio.to_thread(self._cache.keep, resource.key, found.content)
        return self._status(
            resource,
            "True",
            "Connected",
            found.message,
            tables=found.tables,
            rows=found.rows,
            latencyMs=_steady_ms(resource.status.get("latencyMs"), latency_ms),
        )

    async def _look(self, key: ResourceKey, spec: DataSourceSpec) -> Found:
        if spec.type == "sqlite":
            await self._hang_up(key)
            path = self._within(spec.path)
            return await asyncio.to_thread(sqlite_source.look, path, spec.path, spec.query, float(spec.timeout))
        try:
            secret = resolve_secret(spec.credentials, base=self._project) if spec.credentials is not None else ""
        except ConfigError as error:
            raise SourceError("MissingSecret", str(error)) from error
        if key not in self._http:
            # aiohttp takes a while to import, and a project may have databases only.
            from kastra_plugin_datasource.http_source import HttpSource

            self._http[key] = HttpSource()
        found: Found = await self._http[key].look(spec.url, secret, float(spec.timeout))
        return found

    def _within(self, name: str) -> Path:
        """The file that a manifest names. Links are followed first: none leads out of the project."""
        path = Path(os.path.realpath(self._project / name))
        if not path.is_relative_to(os.path.realpath(self._project)):
            raise TerminalError(
                f"spec.path: {name} lies outside of the project", reason="InvalidSpec", remedy="put the file into it"
            )
        return path

    def _status(self, resource: Resource, status: Any, reason: str, message: str, **fields: Any) -> JsonObject:
        conditions = [
            Condition(type=kind, status=status, reason=reason, message=message) for kind in ("Connected", "Ready")
        ]
        # What the cache holds stays while the source is away; the figures of the last good look do, too.
        cache = self._cache.shown(resource.key) or None
        return ready_status(resource, conditions, cache=cache, **fields)

    def result_of(self, resource: Resource, desired: Any) -> Result:
        """When to look again: after ``spec.refreshInterval``."""
        return Result(requeue_after_s=float(_spec_of(resource).refresh_interval))

    # ------------------------------------------------------------------------------------------ giving back

    async def cleanup_resource(self, resource: Resource) -> None:
        await self._hang_up(resource.key)
        await asyncio.to_thread(self._cache.remove, resource.key)

    async def _hang_up(self, key: ResourceKey) -> None:
        source = self._http.pop(key, None)
        if source is not None:
            await source.aclose()

    async def aclose(self) -> None:
        for key in tuple(self._http):
            await self._hang_up(key)


def _spec_of(resource: Resource) -> DataSourceSpec:
    try:
        return typed(resource.spec, DataSourceSpec)
    except Exception as error:
        # The definition was changed, and this controller does not know what it allows now.
        told = "; ".join(str(problem) for problem in problems_of(error, "spec"))
        raise TerminalError(told, reason="InvalidSpec", remedy="mend the manifest, or upgrade the plugin") from error


def _steady_ms(before: Any, now: int) -> int:
    if not isinstance(before, int) or abs(now - before) < _LEAST_MS or before / _FACTOR < now < before * _FACTOR:
        return before if isinstance(before, int) else now
    return now
