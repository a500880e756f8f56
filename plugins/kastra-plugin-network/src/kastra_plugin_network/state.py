"""The state that the members of a network share: where it lives, and the store to read and write it with."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import orjson

from kastra_core.api.meta import JsonObject, JsonValue, Resource
from kastra_core.api.references import Reference
from kastra_core.errors import UserError
from kastra_core.protocols.runner import RunContext, SharedState
from kastra_core.protocols.store import ClearState, Operation, thread_holder
from kastra_core.serde import typed
from kastra_plugin_network.spec import NetworkSpec, StateSpec

__all__ = [
    "NetworkState",
    "NetworkStateStore",
    "StateSubscription",
    "deletion",
    "scope_of",
    "shared_by",
    "state_scope",
]

_log = logging.getLogger("kastra.networks")

Handler = Callable[[JsonObject], "Awaitable[None] | None"]


def state_scope(namespace: str, name: str, thread: str | None = None, *, thread_namespace: str | None = None) -> str:
    """The scope of the store's ``state`` facet that a persistent network uses.

    Args:
        thread_namespace: that of the thread; default: the network's.

    >>> state_scope("default", "support", "t/1")
    'thread/default/t%2F1/network/default/support'
    """
    own = f"network/{namespace}/{name}"
    return f"{thread_holder(thread_namespace or namespace, thread)}/{own}" if thread else own


def scope_of(ctx: RunContext, target: Resource, *, persistent: bool) -> str:
    """The scope that a run of a network uses. One that is called within a thread's network belongs to that thread."""
    if not persistent:
        return f"run/{ctx.run_id}"
    meta = target.metadata
    if ctx.thread:
        return state_scope(meta.namespace, meta.name, ctx.thread, thread_namespace=ctx.namespace)
    own = state_scope(meta.namespace, meta.name)
    above = (ctx.spec.get("parent") or {}).get("thread")
    return f"{above}/{own}" if above else own


def shared_by(ctx: RunContext, target: Resource, spec: NetworkSpec) -> SharedState | None:
    """The state that a run of a network hands to its members; None: that which it was handed itself."""
    state = spec.state
    if state is None:
        return None
    ttl_s = float(state.ttl) if state.ttl is not None else None
    return SharedState(scope=scope_of(ctx, target, persistent=state.persistence), ttl_s=ttl_s, tools=state.tools)


def deletion(resource: Resource) -> list[Operation]:
    """What goes with a network: its own state. That of threads goes with the threads."""
    return [ClearState(state_scope(resource.metadata.namespace, resource.metadata.name))]


class StateSubscription:
    """A watch of a state. Iterate over it, or leave it to its handler; either ends with :meth:`unsubscribe`.

    Example:
        async with store.watch_state("support") as states:
            async for state in states:
                print(state)
    """

    def __init__(
        self,
        open_watch: Callable[[], AsyncIterator[JsonObject]],
        handler: Handler | None,
        name: str,
        check: Callable[[], Awaitable[None]],
    ) -> None:
        self._open, self._check = open_watch, check
        self._watch: AsyncIterator[JsonObject] | None = None
        self._closed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        if handler is None:
            self._watch = open_watch()
        else:
            watch = open_watch()
            self._task = asyncio.get_running_loop().create_task(self._serve(watch, handler), name=f"watch {name}")

    @property
    def closed(self) -> bool:
        """It gives no more states."""
        return self._closed.is_set()

    def unsubscribe(self) -> None:
        """End it. Safe to call twice, and from the handler."""
        self._closed.set()
        if self._task is not None:
            if self._task is not _current_task():
                self._task.cancel()
        elif self._watch is not None:
            watch, self._watch = self._watch, None
            self._task = asyncio.get_running_loop().create_task(_close(watch), name="close a watch")

    async def aclose(self) -> None:
        """End it, and wait until nothing of it is under way."""
        self.unsubscribe()
        if self._task is not None and self._task is not _current_task():
            await asyncio.wait([self._task])

    async def __aenter__(self) -> StateSubscription:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def __aiter__(self) -> AsyncIterator[JsonObject]:
        """The whole state after each change."""
        watch, self._watch = self._watch or self._open(), None
        try:
            await self._check()
            while not self.closed:
                state = await self._next(watch)
                if state is None:
                    return
                yield state
        finally:
            await _close(watch)

    async def _next(self, watch: AsyncIterator[JsonObject]) -> JsonObject | None:
        """The next state, None when there will be none."""
        following = asyncio.ensure_future(anext(watch, None))
        ended = asyncio.ensure_future(self._closed.wait())
        try:
            await asyncio.wait([following, ended], return_when=asyncio.FIRST_COMPLETED)
            return following.result() if following.done() else None
        finally:
            for task in (following, ended):
                if not task.done():
                    task.cancel()
                    await asyncio.wait([task])

    async def _serve(self, watch: AsyncIterator[JsonObject], handler: Handler) -> None:
        try:
            await self._check()
            async for state in watch:
                try:
                    waited = handler(state)
                    if inspect.isawaitable(waited):
                        await waited
                except Exception:
                    _log.exception("a handler of a network's state failed")
                if self.closed:
                    return
        except Exception:
            _log.exception("the watch of a network's state failed; its handler is called no more")
        finally:
            self._closed.set()
            await _close(watch)


async def _close(watch: AsyncIterator[JsonObject]) -> None:
    close = getattr(watch, "aclose", None)
    if close is not None:
        await close()


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # no loop runs here
        return None


class NetworkStateStore:
    """Reads and writes the state of networks, as their members do.

    Each method takes the network ("name", "namespace.name", "networks/name" ...) and optionally the thread whose state
    is meant; without one it is the state of runs without thread. A value lives as long as the network's
    ``spec.state.ttl`` says, from its last write.

    Args:
        runtime: an open RuntimeManager.

    Example:
        states = NetworkStateStore(runtime)
        await states.set_value("research-network", "topic", "tides")
        assert await states.get_value("research-network", "topic") == "tides"
    """

    def __init__(self, runtime: Any) -> None:
        self._runtime = runtime

    async def get_value(self, network: object, key: str, thread: str | None = None) -> JsonValue:
        """A value, None when it is missing or expired.

        Raises: NotFoundError; UserError when the network's state belongs to single runs (as all methods).
        """
        scope, _ = await self._scope(network, thread)
        return await self._runtime.store.state.get_value(scope, key)

    async def set_value(self, network: object, key: str, value: JsonValue, thread: str | None = None) -> None:
        """Set a value; None removes the key. Raises: NotFoundError, UserError (no JSON)."""
        await self.update_values(network, {key: value}, thread)

    async def update_values(self, network: object, values: Mapping[str, JsonValue], thread: str | None = None) -> None:
        """Set values at once, all or none; a value None removes its key. Others stay.

        Raises: NotFoundError, UserError (no JSON).
        """
        scope, ttl_s = await self._scope(network, thread)
        for key in values:
            if not isinstance(key, str) or not key:
                raise UserError(f"a key of a network's state is a text that is not empty, found {key!r}")
        try:
            orjson.dumps(dict(values))
        except TypeError as error:
            raise UserError(f"the state of a network holds JSON only: {error}") from error
        if values:
            await self._runtime.store.state.update_values(scope, values, ttl_s=ttl_s)

    async def get_network_state(self, network: object, thread: str | None = None) -> JsonObject:
        """All values that have not expired. Raises: NotFoundError."""
        scope, _ = await self._scope(network, thread)
        return await self._runtime.store.state.get_state(scope)  # type: ignore[no-any-return]

    def watch_state(
        self, network: object, handler: Handler | None = None, thread: str | None = None
    ) -> StateSubscription:
        """The whole state after each change from now on; changes in quick succession may be seen as one.

        Args:
            network: need not exist yet.
            handler: called with each state, a coroutine function is awaited; what it raises is logged. Without one
                iterate over what is returned.
        Raises: UserError, by the iteration: the network's state belongs to single runs. With a handler it is logged.
        """
        reference = self._reference(network)
        scope = state_scope(reference.namespace, reference.name, thread)

        async def check() -> None:
            resource = await self._runtime.client.get(reference.key)
            if resource is not None:
                _kept(resource)

        return StateSubscription(lambda: self._runtime.store.state.watch_state(scope), handler, scope, check)

    def of(self, network: object) -> NetworkState:
        """The state of one network."""
        return NetworkState(self, self._reference(network))

    def _reference(self, network: object) -> Reference:
        if isinstance(network, Reference):
            return network
        found: Reference = self._runtime.reference(network, kind="networks.mastra.ai")
        if found.kind != "Network":
            raise UserError(f"expected a network, found {found}")
        return found

    async def _scope(self, network: object, thread: str | None) -> tuple[str, float | None]:
        reference = self._reference(network)
        resource = await self._runtime.client.require(reference.key)
        state = _kept(resource)
        ttl_s = float(state.ttl) if state is not None and state.ttl is not None else None
        return state_scope(reference.namespace, reference.name, thread), ttl_s


def _kept(resource: Resource) -> StateSpec | None:
    """What a network says of its state. Raises: UserError: it goes with each run."""
    state = typed(resource.spec, NetworkSpec).state
    if state is not None and not state.persistence:
        raise UserError(
            f"{resource.key}: its state belongs to each run by itself (spec.state.persistence: false) and is gone "
            "with the run; set persistence to true to read, write or watch it from outside"
        )
    return state


class NetworkState:
    """The state of one network; methods as of :class:`NetworkStateStore`, without the network."""

    def __init__(self, store: NetworkStateStore, reference: Reference) -> None:
        self._store, self._reference = store, reference

    async def get_value(self, key: str, thread: str | None = None) -> JsonValue:
        return await self._store.get_value(self._reference, key, thread)

    async def set_value(self, key: str, value: JsonValue, thread: str | None = None) -> None:
        await self._store.set_value(self._reference, key, value, thread)

    async def update_values(self, values: Mapping[str, JsonValue], thread: str | None = None) -> None:
        await self._store.update_values(self._reference, values, thread)

    async def get_network_state(self, thread: str | None = None) -> JsonObject:
        return await self._store.get_network_state(self._reference, thread)

    def watch_state(self, handler: Handler | None = None, thread: str | None = None) -> StateSubscription:
        return self._store.watch_state(self._reference, handler, thread)
