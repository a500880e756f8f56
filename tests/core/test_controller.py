from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kastra_core.api.kind import MAIN_GROUP, ResourceKind
from kastra_core.api.meta import Condition, ObjectMeta, Resource, ResourceKey, condition_of, is_true
from kastra_core.api.references import parse_reference
from kastra_core.controller import (
    AbstractController,
    ControllerManager,
    Request,
    Result,
    message_of,
    ready_status,
)
from kastra_core.errors import ConflictError, StoreUnavailableError, TerminalError, UnknownKindError
from kastra_core.memory_store import MemoryStore
from kastra_core.registrations import ControllerRegistration
from kastra_core.testing.controller import ControllerConformance, MiniRuntime


def references(resource: Resource) -> Any:
    for value in resource.spec.get("tools", ()):
        yield parse_reference(value, kind="Tool", namespace=resource.metadata.namespace)
    for value in resource.spec.get("agents", ()):
        yield parse_reference(value, kind="Agent", namespace=resource.metadata.namespace)


TOOL = ResourceKind(kind="Tool", plural="tools")
AGENT = ResourceKind(kind="Agent", plural="agents", references=references)
GROUP = ResourceKind(kind="Group", plural="groups")
NOTE = ResourceKind(kind="Note", plural="notes", group="acme.example")


def key(kind: str, name: str) -> ResourceKey:
    return ResourceKey(MAIN_GROUP, kind, "default", name)


def manifest(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "mastra.ai/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


class ToolController(AbstractController):
    """Ready unless ``spec.broken``; ``status.schema`` is spec.schema."""

    kind = "Tool"

    def __init__(self, runtime: Any) -> None:
        super().__init__(runtime)
        self.count: dict[str, int] = {}

    async def get_desired_state(self, resource: Resource) -> Any:
        self.count[resource.metadata.name] = self.count.get(resource.metadata.name, 0) + 1
        if resource.spec.get("broken"):
            raise TerminalError("the tool is broken", reason="BrokenTool", remedy="set spec.broken to false")
        ready = Condition(type="Ready", status="True", reason="Valid")
        return ready_status(resource, [ready], schema=resource.spec.get("schema"))


class AgentController(ToolController):
    """Ready when all that it refers to is."""

    kind = "Agent"

    async def get_desired_state(self, resource: Resource) -> Any:
        self.count[resource.metadata.name] = self.count.get(resource.metadata.name, 0) + 1
        for reference in references(resource):
            found = await self.runtime.client.get(reference.key)
            if found is None or not is_true(found):
                reason = "ToolNotFound" if found is None else "ToolNotReady"
                return ready_status(
                    resource, [Condition(type="Ready", status="False", reason=reason, message=str(reference))]
                )
        return ready_status(resource, [Condition(type="Ready", status="True", reason="ToolsReady")])


class KeepingController(AbstractController):
    """Keeps something outside of the store."""

    kind, finalizer = "Tool", "kastra.test/keeping"

    def __init__(self, runtime: Any) -> None:
        super().__init__(runtime)
        self.kept: set[str] = set()
        self.cleanup_error: Exception | None = None
        self.closed = False

    async def get_desired_state(self, resource: Resource) -> Any:
        self.kept.add(resource.metadata.name)
        return ready_status(resource, [Condition(type="Ready", status="True", reason="Kept")])

    async def cleanup_resource(self, resource: Resource) -> None:
        if self.cleanup_error is not None:
            raise self.cleanup_error
        self.kept.discard(resource.metadata.name)

    async def aclose(self) -> None:
        self.closed = True


class TestToolControllerConforms(ControllerConformance):
    @pytest.fixture
    def kinds(self) -> Sequence[ResourceKind]:
        return [TOOL]

    @pytest.fixture
    def make_controller(self) -> Callable[[Any], AbstractController]:
        return ToolController

    @pytest.fixture
    def manifest(self) -> Any:
        return manifest("Tool", "t")


class TestAgentControllerConforms(ControllerConformance):
    @pytest.fixture
    def kinds(self) -> Sequence[ResourceKind]:
        return [TOOL, AGENT]

    @pytest.fixture
    def make_controller(self) -> Callable[[Any], AbstractController]:
        return AgentController

    @pytest.fixture
    def manifest(self) -> Any:
        return manifest("Agent", "a", tools=["t"])

    @pytest.fixture
    def others(self) -> Sequence[Any]:
        return [manifest("Tool", "t")]


class TestKeepingControllerConforms(TestToolControllerConforms):
    @pytest.fixture
    def make_controller(self) -> Callable[[Any], AbstractController]:
        return KeepingController


@pytest.fixture
def runtime() -> MiniRuntime:
    return MiniRuntime.of(TOOL, AGENT, GROUP)


@pytest.fixture
def tools(runtime: MiniRuntime) -> ToolController:
    return ToolController(runtime)


@pytest.fixture
def agents(runtime: MiniRuntime) -> AgentController:
    return AgentController(runtime)


@pytest.fixture
async def manager(
    runtime: MiniRuntime, tools: ToolController, agents: AgentController
) -> AsyncIterator[ControllerManager]:
    manager = ControllerManager(runtime)
    manager.register_controller("Tool", tools)
    manager.register_controller("Agent", agents)
    yield manager
    await manager.stop()


async def ready(runtime: MiniRuntime, what: ResourceKey) -> tuple[str, str]:
    resource = await runtime.client.get(what)
    assert resource is not None
    condition = condition_of(resource, "Ready")
    assert condition is not None
    return condition["status"], condition["reason"]


# ---------------------------------------------------------------------------------------------- status


def resource_with(generation: int = 1, **fields: Any) -> Resource:
    meta = {"deletion_timestamp": fields.pop("deletion_timestamp", None)}
    return Resource(
        api_version="mastra.ai/v1", kind="Tool", metadata=ObjectMeta(name="t", generation=generation, **meta), **fields
    )


@pytest.mark.parametrize(
    ("status", "reason", "deleted", "phase"),
    [
        ("True", "Valid", None, "Ready"),
        ("False", "ToolNotFound", None, "Pending"),
        ("False", "InvalidSpec", None, "Failed"),
        ("Unknown", "InvalidSpec", None, "Pending"),
        ("True", "Valid", "2026-01-01T00:00:00Z", "Terminating"),
    ],
)
def test_phase_follows_the_ready_condition(status: str, reason: str, deleted: str | None, phase: str) -> None:
    built = ready_status(
        resource_with(deletion_timestamp=deleted), [Condition(type="Ready", status=status, reason=reason)]
    )
    assert built["phase"] == phase


def test_status_without_a_ready_condition_is_pending() -> None:
    assert ready_status(resource_with())["phase"] == "Pending"


def test_a_new_status_keeps_what_others_wrote_and_the_time_of_transition() -> None:
    old = {
        "replicas": 3,
        "gone": 1,
        "conditions": [
            {"type": "Ready", "status": "True", "reason": "Old", "lastTransitionTime": "2020-01-01T00:00:00Z"},
            {"type": "Other", "status": "True", "reason": "Theirs"},
        ],
    }
    built = ready_status(
        resource_with(5, status=old), [Condition(type="Ready", status="True", reason="New")], gone=None, toolCount=2
    )
    assert built == {
        "replicas": 3,
        "toolCount": 2,
        "phase": "Ready",
        "observedGeneration": 5,
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "New",
                "observedGeneration": 5,
                "lastTransitionTime": "2020-01-01T00:00:00Z",
            },
            {"type": "Other", "status": "True", "reason": "Theirs"},
        ],
    }


def test_a_message_has_the_remedy_once() -> None:
    assert message_of(TerminalError("bad", remedy="mend it")) == "bad; mend it"
    assert message_of(UnknownKindError("Agnt", ["Agent"])).count("did you mean") == 1
    assert message_of(ValueError("x")) == "ValueError: x"
    assert len(message_of(ValueError("x" * 9000))) == 2000


# ---------------------------------------------------------------------------------------------- AbstractController


async def test_a_reconcile_is_published_with_resource_and_state(runtime: MiniRuntime, tools: ToolController) -> None:
    got: list[Any] = []
    runtime.bus.subscribe("tool.reconciled", got.append)
    await runtime.apply([manifest("Tool", "t")])
    await tools.reconcile(Request("default", "t"))
    assert got[0]["resource"].metadata.name == "t"
    assert got[0]["state"]["phase"] == "Ready"


async def test_a_terminal_error_is_failed_with_its_remedy_and_recorded(
    runtime: MiniRuntime, tools: ToolController
) -> None:
    failed: list[Any] = []
    runtime.bus.subscribe("tool.reconcile_failed", failed.append)
    await runtime.apply([manifest("Tool", "t", broken=True)])
    assert await tools.reconcile(Request("default", "t")) == Result()
    stored = await runtime.client.get(key("Tool", "t"))
    assert stored is not None
    assert stored.status["phase"] == "Failed"
    assert stored.status["conditions"][0]["message"] == "the tool is broken; set spec.broken to false"
    assert [(type_, reason) for _, type_, reason, _ in runtime.events.items] == [("Warning", "BrokenTool")]
    assert isinstance(failed[0]["error"], TerminalError)
    await runtime.apply([manifest("Tool", "t")])
    await tools.reconcile(Request("default", "t"))
    assert [(type_, reason) for _, type_, reason, _ in runtime.events.items][1:] == [("Normal", "Valid")]


async def test_a_conflict_on_the_resource_itself_is_raised_and_writes_no_condition(
    runtime: MiniRuntime, tools: ToolController, monkeypatch: pytest.MonkeyPatch
) -> None:
    await runtime.apply([manifest("Tool", "t")])

    async def slow(resource: Resource) -> Any:
        await runtime.apply([manifest("Tool", "t", schema={})])
        return resource.status

    monkeypatch.setattr(tools, "get_current_state", slow)
    with pytest.raises(ConflictError):
        await tools.reconcile(Request("default", "t"))
    stored = await runtime.client.get(key("Tool", "t"))
    assert stored is not None
    assert stored.status == {}


async def test_a_conflict_on_another_resource_is_a_failure_like_any(
    runtime: MiniRuntime, tools: ToolController, monkeypatch: pytest.MonkeyPatch
) -> None:
    await runtime.apply([manifest("Tool", "t")])
    ControllerConformance.fail_with(tools, ConflictError("Tool default/child", "another manager owns it"), monkeypatch)
    with pytest.raises(ConflictError):
        await tools.reconcile(Request("default", "t"))
    assert await ready(runtime, key("Tool", "t")) == ("False", "ReconcileError")


async def test_a_resource_that_goes_during_its_reconcile_is_no_error(
    runtime: MiniRuntime, tools: ToolController, monkeypatch: pytest.MonkeyPatch
) -> None:
    await runtime.apply([manifest("Tool", "t")])

    async def slow(resource: Resource) -> Any:
        await runtime.client.delete(resource.key)
        return resource.status

    monkeypatch.setattr(tools, "get_current_state", slow)
    assert await tools.reconcile(Request("default", "t")) == Result()


async def test_a_cleanup_that_fails_holds_the_deletion_back_until_it_succeeds(runtime: MiniRuntime) -> None:
    controller = KeepingController(runtime)
    await runtime.apply([manifest("Tool", "t")])
    await controller.reconcile(Request("default", "t"))
    assert controller.kept == {"t"}
    await runtime.client.delete(key("Tool", "t"))
    controller.cleanup_error = OSError("disk")
    with pytest.raises(OSError, match="disk"):
        await controller.reconcile(Request("default", "t"))
    stored = await runtime.client.get(key("Tool", "t"))
    assert stored is not None
    assert stored.status["phase"] == "Terminating"
    controller.cleanup_error = None
    await controller.reconcile(Request("default", "t"))
    assert await runtime.client.get(key("Tool", "t")) is None
    assert controller.kept == set()


# ---------------------------------------------------------------------------------------------- ControllerManager


async def test_what_is_applied_is_reconciled_once(
    runtime: MiniRuntime, manager: ControllerManager, tools: ToolController
) -> None:
    await runtime.apply([manifest("Tool", "before")])
    await manager.start()
    await runtime.apply([manifest("Tool", "after")])
    assert await manager.settled([key("Tool", "before"), key("Tool", "after")])
    assert tools.count == {"before": 1, "after": 1}
    assert await ready(runtime, key("Tool", "after")) == ("True", "Valid")


async def test_an_edit_is_reconciled_and_a_status_write_of_another_is_not(
    runtime: MiniRuntime, manager: ControllerManager, tools: ToolController
) -> None:
    await manager.start()
    await runtime.apply([manifest("Tool", "t")])
    assert await manager.settled()
    stored = await runtime.client.get(key("Tool", "t"))
    assert stored is not None
    await runtime.client.update_status(stored, {**stored.status, "calls": 1})
    assert await manager.settled()
    assert tools.count == {"t": 1}
    await runtime.apply([manifest("Tool", "t", schema={"x": 1})])
    assert await manager.settled()
    assert tools.count == {"t": 2}
    stored = await runtime.client.get(key("Tool", "t"))
    assert stored is not None
    assert (stored.status["calls"], stored.status["schema"], stored.status["observedGeneration"]) == (1, {"x": 1}, 2)


async def test_a_tool_that_comes_later_makes_the_agent_ready_and_its_removal_takes_that_back(
    runtime: MiniRuntime, manager: ControllerManager
) -> None:
    await manager.start()
    await runtime.apply([manifest("Agent", "a", tools=["t"])])
    assert await manager.settled()
    assert await ready(runtime, key("Agent", "a")) == ("False", "ToolNotFound")
    await runtime.apply([manifest("Tool", "t")])
    assert await manager.settled()
    assert await ready(runtime, key("Agent", "a")) == ("True", "ToolsReady")
    await runtime.apply([manifest("Tool", "t", broken=True)])
    assert await manager.settled()
    assert await ready(runtime, key("Agent", "a")) == ("False", "ToolNotReady")
    await runtime.client.delete(key("Tool", "t"))
    assert await manager.settled()
    assert await ready(runtime, key("Agent", "a")) == ("False", "ToolNotFound")


async def test_a_change_goes_through_a_chain_of_references(runtime: MiniRuntime, manager: ControllerManager) -> None:
    chain = [manifest("Agent", f"a{i}", agents=[f"a{i + 1}"]) for i in range(8)]
    await manager.start()
    await runtime.apply([*chain, manifest("Agent", "a8", tools=["t"])])
    assert await manager.settled()
    assert await ready(runtime, key("Agent", "a0")) == ("False", "ToolNotReady")
    await runtime.apply([manifest("Tool", "t")])
    assert await manager.settled()
    assert await ready(runtime, key("Agent", "a0")) == ("True", "ToolsReady")


async def test_resources_that_refer_to_each_other_come_to_rest(
    runtime: MiniRuntime, manager: ControllerManager, agents: AgentController
) -> None:
    await manager.start()
    await runtime.apply([manifest("Agent", "a", agents=["b", "a"]), manifest("Agent", "b", agents=["a"])])
    assert await manager.settled(timeout_s=5)
    assert max(agents.count.values()) < 6


async def test_settled_waits_for_its_keys_only(runtime: MiniRuntime, manager: ControllerManager) -> None:
    class Stuck(AbstractController):
        kind = "Group"

        async def get_desired_state(self, resource: Resource) -> Any:
            await asyncio.Event().wait()

    manager.register_controller("Group", Stuck(runtime))
    await manager.start()
    await runtime.apply([manifest("Group", "g"), manifest("Tool", "t")])
    assert await manager.settled([key("Tool", "t"), key("Tool", "never-there")])
    assert not await manager.settled([key("Group", "g")], timeout_s=0.05)
    assert not await manager.settled(timeout_s=0.05)
    await manager.stop(grace_s=0)


async def test_settled_sees_a_removal(runtime: MiniRuntime, manager: ControllerManager) -> None:
    await manager.start()
    await runtime.apply([manifest("Tool", "t")])
    assert await manager.settled()
    await runtime.client.delete(key("Tool", "t"))
    assert await manager.settled([key("Tool", "t")])
    informer = manager.informer(MAIN_GROUP, "Tool")
    assert informer is not None
    assert len(informer.lister) == 0


async def test_settled_needs_a_running_manager(manager: ControllerManager) -> None:
    with pytest.raises(RuntimeError, match="reconcile_now"):
        await manager.settled()


async def test_an_error_is_tried_again_until_it_heals(runtime: MiniRuntime, manager: ControllerManager) -> None:
    tries = 0

    class Flaky(AbstractController):
        kind = "Group"

        async def get_desired_state(self, resource: Resource) -> Any:
            nonlocal tries
            tries += 1
            if tries < 4:
                raise OSError("not yet")
            healed.set()
            return ready_status(resource, [Condition(type="Ready", status="True", reason="AtLast")])

    healed = asyncio.Event()
    manager.register_controller("Group", Flaky(runtime))
    await manager.start()
    await runtime.apply([manifest("Group", "g")])
    async with asyncio.timeout(5):
        await healed.wait()
    assert await manager.settled()
    assert await ready(runtime, key("Group", "g")) == ("True", "AtLast")
    assert tries == 4


async def test_a_terminal_error_is_not_tried_again(
    runtime: MiniRuntime, manager: ControllerManager, tools: ToolController
) -> None:
    await manager.start()
    await runtime.apply([manifest("Tool", "t", broken=True)])
    assert await manager.settled()
    await asyncio.sleep(0.02)  # several times the first backoff
    assert tools.count == {"t": 1}


async def test_conflicts_are_tried_again_before_it_counts_as_settled(
    runtime: MiniRuntime, manager: ControllerManager
) -> None:
    class Racing(AbstractController):
        kind = "Group"
        races = 3

        async def get_desired_state(self, resource: Resource) -> Any:
            if self.races:
                self.races -= 1
                await self.runtime.client.update_status(resource, {"raced": self.races})
            return ready_status(resource, [Condition(type="Ready", status="True", reason="Won")])

    manager.register_controller("Group", Racing(runtime))
    await manager.start()
    await runtime.apply([manifest("Group", "g")])
    assert await manager.settled([key("Group", "g")])
    assert await ready(runtime, key("Group", "g")) == ("True", "Won")


async def test_a_result_brings_the_resource_back_in_time(runtime: MiniRuntime, manager: ControllerManager) -> None:
    class Twice:
        def __init__(self) -> None:
            self.seen: list[Request] = []

        async def reconcile(self, request: Request) -> Result:
            self.seen.append(request)
            if len(self.seen) == 2:
                done.set()
                return Result()
            return Result(requeue_after_s=0.01)

    done = asyncio.Event()
    controller = Twice()
    manager.register_controller("Group", controller)
    await manager.start()
    await runtime.apply([manifest("Group", "g")])
    async with asyncio.timeout(5):
        await done.wait()
    assert controller.seen == [Request("default", "g")] * 2


async def test_never_two_reconciles_of_one_resource_and_several_of_different_ones(
    runtime: MiniRuntime, manager: ControllerManager
) -> None:
    class Watched:
        def __init__(self) -> None:
            self.running: set[Request] = set()
            self.most = 0

        async def reconcile(self, request: Request) -> Result:
            assert request not in self.running
            self.running.add(request)
            self.most = max(self.most, len(self.running))
            for _ in range(5):
                await asyncio.sleep(0)
            self.running.discard(request)
            return Result()

    controller = Watched()
    manager.register_controller("Group", controller, workers=3)
    await manager.start()
    for edit in range(5):
        await runtime.apply([manifest("Group", f"g{i}", edit=edit) for i in range(10)])
        await asyncio.sleep(0)
    assert await manager.settled()
    assert controller.most == 3


async def test_a_change_of_an_owned_resource_brings_its_owner_back(
    runtime: MiniRuntime, manager: ControllerManager
) -> None:
    class Owner:
        seen = 0

        async def reconcile(self, request: Request) -> Result:
            self.seen += 1
            return Result()

    controller = Owner()
    manager.register_controller("Group", controller)
    await manager.start()
    [owner] = await runtime.apply([manifest("Group", "g")])
    assert await manager.settled()
    child = manifest("Tool", "t")
    child["metadata"]["ownerReferences"] = [
        {"apiVersion": "mastra.ai/v1", "kind": "Group", "name": "g", "uid": owner.metadata.uid, "controller": True}
    ]
    await runtime.apply([child])
    assert await manager.settled()
    assert controller.seen >= 2


async def test_a_controller_that_cannot_be_made_leaves_the_others_at_work(runtime: MiniRuntime) -> None:
    def broken(runtime: Any) -> Any:
        raise ImportError("no module named acme")

    manager = ControllerManager(
        runtime,
        [
            ControllerRegistration(name="broken", kind="Tool", factory=broken),
            ControllerRegistration(name="missing", kind="Tool", factory="no_such_module_of_kastra:Controller"),
            ControllerRegistration(name="no controller", kind="Tool", factory=lambda runtime: object()),
            ControllerRegistration(name="tool", kind="Tool", factory=ToolController),
        ],
    )
    await manager.start()
    await runtime.apply([manifest("Tool", "t"), manifest("Tool", "u")])
    assert await manager.settled()
    assert await ready(runtime, key("Tool", "u")) == ("True", "Valid")
    assert set(manager.faults) == {"broken", "missing", "no controller"}
    assert "acme" in str(manager.faults["broken"])
    await manager.stop()


async def test_a_controller_is_not_made_before_there_is_a_resource_for_it(runtime: MiniRuntime) -> None:
    made: list[Any] = []

    def make(runtime: Any) -> Any:
        made.append(runtime)
        return ToolController(runtime)

    manager = ControllerManager(runtime, [ControllerRegistration(name="tool", kind="Tool", factory=make)])
    await manager.start()
    assert await manager.settled()
    assert made == []
    await runtime.apply([manifest("Tool", "t")])
    assert await manager.settled()
    assert made == [runtime]
    await manager.stop()


async def test_a_name_of_a_controller_is_taken_once(manager: ControllerManager, tools: ToolController) -> None:
    with pytest.raises(ValueError, match="already"):
        manager.register_controller("Tool", tools)


async def test_kinds_may_come_and_go(runtime: MiniRuntime, manager: ControllerManager) -> None:
    class NoteController(AbstractController):
        kind, group = "Note", "acme.example"

        async def get_desired_state(self, resource: Resource) -> Any:
            return ready_status(resource, [Condition(type="Ready", status="True", reason="Noted")])

    manager.register_controller("Note", NoteController(runtime), group="acme.example")
    await manager.start()
    note = {"apiVersion": "acme.example/v1", "kind": "Note", "metadata": {"name": "n"}, "spec": {}}
    for edit in range(3):
        runtime.registry.register(NOTE)
        [stored] = await runtime.apply([{**note, "spec": {"edit": edit}}])
        assert await manager.settled([stored.key])
        found = await runtime.client.get(stored.key)
        assert found is not None
        assert found.status["observedGeneration"] == edit + 1
        runtime.registry.unregister("acme.example", "Note")
        assert manager.informer("acme.example", "Note") is None


async def test_a_kind_without_controller_still_wakes_those_that_refer_to_it(runtime: MiniRuntime) -> None:
    agents = AgentController(runtime)
    manager = ControllerManager(runtime)
    manager.register_controller("Agent", agents)
    await manager.start()
    await runtime.apply([manifest("Agent", "a", tools=["t"])])
    assert await manager.settled()
    await runtime.apply([manifest("Tool", "t")])
    assert await manager.settled()
    assert await ready(runtime, key("Agent", "a")) == ("False", "ToolNotReady")
    await manager.stop()


async def test_without_resync_what_is_ready_is_left_alone(
    runtime: MiniRuntime, manager: ControllerManager, tools: ToolController
) -> None:
    await runtime.apply([manifest("Tool", "old")])
    await manager.reconcile_now(key("Tool", "old"))
    await runtime.apply([manifest("Tool", "new"), manifest("Tool", "bad", broken=True)])
    await manager.reconcile_now(key("Tool", "bad"))
    await manager.start(resync=False)
    assert await manager.settled()
    assert tools.count == {"old": 1, "new": 1, "bad": 2}


async def test_watch_brings_back_one_resource_or_all(
    runtime: MiniRuntime, manager: ControllerManager, tools: ToolController
) -> None:
    tools.watch()  # nothing runs it yet
    await manager.start()
    one, _ = await runtime.apply([manifest("Tool", "a"), manifest("Tool", "b")])
    assert await manager.settled()
    tools.watch(one)
    assert await manager.settled()
    assert tools.count == {"a": 2, "b": 1}
    tools.watch()
    assert await manager.settled()
    assert tools.count == {"a": 3, "b": 2}


async def test_a_cancellation_inside_of_a_reconcile_does_not_cost_a_worker(
    runtime: MiniRuntime, manager: ControllerManager
) -> None:
    class Odd:
        tries = 0

        async def reconcile(self, request: Request) -> Result:
            self.tries += 1
            if self.tries == 1:
                raise asyncio.CancelledError
            done.set()
            return Result()

    done = asyncio.Event()
    manager.register_controller("Group", Odd(), workers=1)
    await manager.start()
    await runtime.apply([manifest("Group", "g")])
    async with asyncio.timeout(5):
        await done.wait()


async def test_stop_lets_a_reconcile_finish_and_closes_controllers(runtime: MiniRuntime) -> None:
    class Slow(KeepingController):
        async def get_desired_state(self, resource: Resource) -> Any:
            begun.set()
            await asyncio.sleep(0.01)
            return await super().get_desired_state(resource)

    begun = asyncio.Event()
    controller = Slow(runtime)
    manager = ControllerManager(runtime)
    manager.register_controller("Tool", controller)
    await manager.start()
    await runtime.apply([manifest("Tool", "t")])
    await begun.wait()
    await manager.stop()
    assert await ready(runtime, key("Tool", "t")) == ("True", "Kept")
    assert controller.closed
    assert len(asyncio.all_tasks()) == 1


async def test_it_can_be_started_again(runtime: MiniRuntime, manager: ControllerManager, tools: ToolController) -> None:
    for edit in range(2):
        await manager.start()
        await runtime.apply([manifest("Tool", "t", edit=edit)])
        assert await manager.settled()
        await manager.stop()
        await manager.stop()
    stored = await runtime.client.get(key("Tool", "t"))
    assert stored is not None
    assert stored.status["observedGeneration"] == 2


NAMES = ("a", "b", "c")
steps = st.lists(
    st.one_of(
        st.tuples(st.just("tool"), st.sampled_from(NAMES), st.booleans()),
        st.tuples(st.just("agent"), st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES), max_size=2)),
        st.tuples(st.just("delete"), st.sampled_from(("Tool", "Agent")), st.sampled_from(NAMES)),
        st.tuples(st.just("pause"), st.integers(1, 5), st.none()),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(steps=steps, history=st.sampled_from([2, 10_000]))
def test_whatever_happens_in_any_order_the_conditions_are_right_in_the_end(
    steps: list[tuple[str, Any, Any]], history: int
) -> None:
    async def check() -> None:
        runtime = MiniRuntime.of(TOOL, AGENT, store=MemoryStore(history=history))
        manager = ControllerManager(runtime)
        manager.register_controller("Tool", ToolController(runtime))
        manager.register_controller("Agent", AgentController(runtime))
        await manager.start()
        broken: dict[str, bool] = {}
        agents: dict[str, list[str]] = {}
        for what, name, detail in steps:
            if what == "tool":
                await runtime.apply([manifest("Tool", name, broken=detail)])
                broken[name] = detail
            elif what == "agent":
                await runtime.apply([manifest("Agent", name, tools=detail)])
                agents[name] = detail
            elif what == "delete":
                await runtime.client.delete(key(name, detail))
                (broken if name == "Tool" else agents).pop(detail, None)
            else:
                for _ in range(name):
                    await asyncio.sleep(0)
        assert await manager.settled(timeout_s=10)
        for name, tools in agents.items():
            wanted = "True" if all(broken.get(tool) is False for tool in tools) else "False"
            status, reason = await ready(runtime, key("Agent", name))
            assert (name, status) == (name, wanted), reason
        for kind, names in (("Tool", broken), ("Agent", agents)):
            informer = manager.informer(MAIN_GROUP, kind)
            assert informer is not None
            assert {found.metadata.name for found in informer.lister.list()} == set(names)
        await manager.stop()

    asyncio.run(check())


# ---------------------------------------------------------------------------------------------- one shot


async def test_reconcile_now_needs_no_informer_and_returns_the_resource(
    runtime: MiniRuntime, manager: ControllerManager
) -> None:
    await runtime.apply([manifest("Tool", "t"), manifest("Tool", "bad", broken=True)])
    found = await manager.reconcile_now(key("Tool", "t"))
    assert found is not None
    assert is_true(found)
    bad = await manager.reconcile_now(key("Tool", "bad"))
    assert bad is not None
    assert bad.status["phase"] == "Failed"
    assert await manager.reconcile_now(key("Tool", "missing")) is None


async def test_the_closure_is_reconciled_deepest_first_and_each_once(
    runtime: MiniRuntime, manager: ControllerManager, tools: ToolController, agents: AgentController
) -> None:
    await runtime.apply(
        [
            manifest("Agent", "top", agents=["left", "right"], tools=["t"]),
            manifest("Agent", "left", agents=["deep"]),
            manifest("Agent", "right", agents=["deep"]),
            manifest("Agent", "deep", tools=["t"]),
            manifest("Tool", "t"),
        ]
    )
    top = await manager.reconcile_closure(key("Agent", "top"))
    assert top is not None
    assert is_true(top)
    assert tools.count == {"t": 1}
    assert agents.count == {"deep": 1, "left": 1, "right": 1, "top": 1}


async def test_the_closure_of_a_circle_ends(runtime: MiniRuntime, manager: ControllerManager) -> None:
    await runtime.apply([manifest("Agent", "a", agents=["b"]), manifest("Agent", "b", agents=["a", "a/b/c/d"])])
    assert await manager.reconcile_closure(key("Agent", "a")) is not None


async def test_one_shot_tells_when_the_store_fails_and_swallows_what_became_a_condition(
    runtime: MiniRuntime, manager: ControllerManager, tools: ToolController, monkeypatch: pytest.MonkeyPatch
) -> None:
    await runtime.apply([manifest("Tool", "t")])
    with monkeypatch.context() as patch:
        ControllerConformance.fail_with(tools, OSError("world"), patch)
        await manager.reconcile_now(key("Tool", "t"))
    assert await ready(runtime, key("Tool", "t")) == ("False", "ReconcileError")
    with monkeypatch.context() as patch:
        ControllerConformance.fail_with(tools, StoreUnavailableError("disk full"), patch)
        with pytest.raises(StoreUnavailableError):
            await manager.reconcile_now(key("Tool", "t"))


async def test_three_thousand_resources_come_to_rest_with_one_reconcile_each(
    runtime: MiniRuntime, manager: ControllerManager, agents: AgentController
) -> None:
    await manager.start()
    await runtime.apply([manifest("Tool", "t")])
    assert await manager.settled()
    await runtime.apply([manifest("Agent", f"a{i}", tools=["t"]) for i in range(3000)])
    assert await manager.settled()
    assert len(agents.count) == 3000
    assert set(agents.count.values()) == {1}
