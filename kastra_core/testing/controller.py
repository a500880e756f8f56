"""What every controller must keep to, and a small runtime to try one in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import attrs
import pytest

from kastra_core.api.kind import ResourceKind
from kastra_core.api.meta import JsonObject, Resource, condition_of
from kastra_core.api.registry import KindRegistry
from kastra_core.config import Config
from kastra_core.controller import AbstractController, Request, Result
from kastra_core.controller_manager import ControllerManager
from kastra_core.definitions import Definitions
from kastra_core.errors import TerminalError
from kastra_core.events import EventBus
from kastra_core.execution.models import Models
from kastra_core.includes import decode_manifests
from kastra_core.memory_store import MemoryStore
from kastra_core.plugins import PluginManager
from kastra_core.protocols.store import Store
from kastra_core.resources import ResourceClient

__all__ = ["ControllerConformance", "MiniRuntime", "RecordedEvents"]


@attrs.define
class RecordedEvents:
    """Keeps Events in a list: (resource, type, reason, message)."""

    items: list[tuple[Resource, str, str, str]] = attrs.field(factory=list)

    def record(self, resource: Resource, type: str, reason: str, message: str) -> None:
        self.items.append((resource, type, reason, message))


@attrs.define(kw_only=True, slots=False)
class MiniRuntime:
    """As much of a runtime as a controller needs, around a store of this process.

    >>> MiniRuntime.of(ResourceKind(kind="Greeting", plural="greetings")).registry.resolve("greetings").kind
    'Greeting'
    """

    store: Store
    registry: KindRegistry
    client: ResourceClient
    config: Config = attrs.field(factory=lambda: Config(project=Path.cwd(), store="memory:"))
    bus: EventBus = attrs.field(factory=EventBus)
    events: RecordedEvents = attrs.field(factory=RecordedEvents)

    @cached_property
    def controllers(self) -> ControllerManager:
        """A manager without controllers of its own."""
        return ControllerManager(self)

    @cached_property
    def plugins(self) -> PluginManager:
        """The installed plugins; set it to have others."""
        return PluginManager()

    @cached_property
    def models(self) -> Models:
        """The models of the plugins."""
        return Models(self.plugins, self.config)

    @cached_property
    def definitions(self) -> Definitions:
        """The kinds that what is applied defines."""
        return Definitions(self.registry, self.store)

    @classmethod
    def of(cls, *kinds: ResourceKind, store: Store | None = None, project: Path | None = None) -> MiniRuntime:
        """Return a runtime that knows ``kinds``.

        Args:
            store: default: a new one in memory.
            project: the directory of ``config.project``; default: the current one.
        """
        registry = KindRegistry()
        for kind in kinds:
            registry.register(kind)
        kept = MemoryStore() if store is None else store
        config = Config(project=Path.cwd() if project is None else project, store="memory:")
        return cls(store=kept, registry=registry, client=ResourceClient(kept, registry), config=config)

    async def apply(self, manifests: Iterable[Mapping[str, Any]]) -> Sequence[Resource]:
        """Apply manifests; return what is stored then, in order."""
        decoded = decode_manifests(self.registry, list(manifests))
        applied = [item.resource for item in await self.client.apply(decoded)]
        self.definitions.learn(applied)
        return applied


def _request(resource: Resource) -> Request:
    return Request(resource.metadata.namespace, resource.metadata.name)


@pytest.mark.asyncio
class ControllerConformance:
    """Subclass it and override the fixtures ``kinds``, ``make_controller`` and ``manifest`` (and ``others``).

    Example:
        class TestGreetingController(ControllerConformance):
            @pytest.fixture
            def kinds(self):
                return [GREETING]

            @pytest.fixture
            def make_controller(self):
                return GreetingController

            @pytest.fixture
            def manifest(self):
                return {"apiVersion": "acme.example/v1", "kind": "Greeting", "metadata": {"name": "hello"}, "spec": {}}
    """

    @pytest.fixture
    def kinds(self) -> Sequence[ResourceKind]:
        """The kinds that the controller deals with."""
        raise NotImplementedError("override the fixture 'kinds'")

    @pytest.fixture
    def make_controller(self) -> Callable[[Any], AbstractController]:
        """The controller's factory, called with the runtime."""
        raise NotImplementedError("override the fixture 'make_controller'")

    @pytest.fixture
    def manifest(self) -> JsonObject:
        """A valid resource of the controller's kind."""
        raise NotImplementedError("override the fixture 'manifest'")

    @pytest.fixture
    def others(self) -> Sequence[JsonObject]:
        """What ``manifest`` refers to, and the definition of its kind when that is defined by YAML."""
        return ()

    @pytest.fixture
    def runtime(self, kinds: Sequence[ResourceKind], tmp_path: Path) -> Any:
        """What the controller is made with: a MiniRuntime with ``kinds`` and an empty project, or what is like one."""
        return MiniRuntime.of(*kinds, project=tmp_path)

    @pytest.fixture
    def controller(self, runtime: Any, make_controller: Callable[[Any], AbstractController]) -> AbstractController:
        return make_controller(runtime)

    async def stored(self, runtime: Any, manifest: JsonObject, others: Sequence[JsonObject]) -> Resource:
        """Put the manifests into the store; return the resource of ``manifest``."""
        applied = await runtime.client.apply(decode_manifests(runtime.registry, [*others, manifest]))
        if hasattr(runtime, "definitions"):
            runtime.definitions.learn([item.resource for item in applied])
        return applied[-1].resource  # type: ignore[no-any-return]

    async def reconciled(self, runtime: Any, controller: AbstractController, resource: Resource) -> Resource:
        await controller.reconcile(_request(resource))
        found = await runtime.client.get(resource.key)
        assert found is not None, f"{resource.key} is gone after a reconcile"
        return found  # type: ignore[no-any-return]

    async def test_a_missing_resource_is_no_work(self, controller: AbstractController) -> None:
        assert await controller.reconcile(Request("nowhere", "nothing")) == Result()

    async def test_status_says_which_generation_was_observed(
        self, runtime: Any, controller: AbstractController, manifest: JsonObject, others: Sequence[JsonObject]
    ) -> None:
        resource = await self.reconciled(runtime, controller, await self.stored(runtime, manifest, others))
        assert resource.status.get("observedGeneration") == resource.metadata.generation

    async def test_status_has_a_ready_condition_with_a_reason(
        self, runtime: Any, controller: AbstractController, manifest: JsonObject, others: Sequence[JsonObject]
    ) -> None:
        resource = await self.reconciled(runtime, controller, await self.stored(runtime, manifest, others))
        ready = condition_of(resource, "Ready")
        assert ready is not None, "status.conditions has no Ready"
        assert ready["status"] in ("True", "False", "Unknown")
        assert ready.get("reason"), "the Ready condition has no reason"
        assert ready.get("observedGeneration") == resource.metadata.generation
        assert ready.get("lastTransitionTime")
        assert resource.status.get("phase")

    async def test_a_second_reconcile_writes_nothing(
        self, runtime: Any, controller: AbstractController, manifest: JsonObject, others: Sequence[JsonObject]
    ) -> None:
        first = await self.reconciled(runtime, controller, await self.stored(runtime, manifest, others))
        before = (await runtime.store.resources.list("", "")).items
        await self.reconciled(runtime, controller, first)
        assert (await runtime.store.resources.list("", "")).items == before

    async def test_a_reconcile_does_not_change_the_spec(
        self, runtime: Any, controller: AbstractController, manifest: JsonObject, others: Sequence[JsonObject]
    ) -> None:
        stored = await self.stored(runtime, manifest, others)
        after = await self.reconciled(runtime, controller, stored)
        assert (after.spec, after.metadata.generation) == (stored.spec, stored.metadata.generation)

    async def test_a_deleted_resource_goes(
        self, runtime: Any, controller: AbstractController, manifest: JsonObject, others: Sequence[JsonObject]
    ) -> None:
        resource = await self.reconciled(runtime, controller, await self.stored(runtime, manifest, others))
        assert controller.finalizer is None or controller.finalizer in resource.metadata.finalizers
        await runtime.client.delete(resource.key)
        await controller.reconcile(_request(resource))
        assert await runtime.client.get(resource.key) is None

    async def test_a_terminal_error_becomes_a_condition_and_is_not_raised(
        self,
        runtime: Any,
        controller: AbstractController,
        manifest: JsonObject,
        others: Sequence[JsonObject],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        stored = await self.stored(runtime, manifest, others)
        self.fail_with(controller, TerminalError("no good", reason="NoGood", remedy="mend it"), monkeypatch)
        resource = await self.reconciled(runtime, controller, stored)
        ready = condition_of(resource, "Ready")
        assert ready is not None
        assert (ready["status"], ready["reason"]) == ("False", "NoGood")
        assert "no good" in ready["message"]
        assert "mend it" in ready["message"]

    async def test_any_other_error_becomes_a_condition_and_is_raised(
        self,
        runtime: Any,
        controller: AbstractController,
        manifest: JsonObject,
        others: Sequence[JsonObject],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        stored = await self.stored(runtime, manifest, others)
        self.fail_with(controller, OSError("out of luck"), monkeypatch)
        with pytest.raises(OSError, match="out of luck"):
            await controller.reconcile(_request(stored))
        ready = condition_of(await runtime.client.get(stored.key), "Ready")
        assert ready is not None
        assert ready["status"] == "False"
        assert "out of luck" in ready["message"]

    async def test_it_heals_when_the_cause_of_an_error_is_gone(
        self,
        runtime: Any,
        controller: AbstractController,
        manifest: JsonObject,
        others: Sequence[JsonObject],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        healthy = await self.reconciled(runtime, controller, await self.stored(runtime, manifest, others))
        with monkeypatch.context() as patch:
            self.fail_with(controller, TerminalError("no good", reason="NoGood"), patch)
            await controller.reconcile(_request(healthy))
        healed = await self.reconciled(runtime, controller, healthy)
        was, now = condition_of(healthy, "Ready"), condition_of(healed, "Ready")
        assert was is not None
        assert now is not None
        assert (now["status"], now["reason"]) == (was["status"], was["reason"])
        assert healed.status["phase"] == healthy.status["phase"]

    async def test_cancellation_is_not_swallowed(
        self,
        runtime: Any,
        controller: AbstractController,
        manifest: JsonObject,
        others: Sequence[JsonObject],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        stored = await self.stored(runtime, manifest, others)
        self.fail_with(controller, asyncio.CancelledError(), monkeypatch)
        with pytest.raises(asyncio.CancelledError):
            await controller.reconcile(_request(stored))

    @staticmethod
    def fail_with(controller: AbstractController, error: BaseException, patch: pytest.MonkeyPatch) -> None:
        """Have the controller fail where it looks at the resource."""

        async def get_desired_state(resource: Resource) -> Any:
            raise error

        patch.setattr(controller, "get_desired_state", get_desired_state)
