"""What every router of a plugin must keep to: subclass :class:`RouterConformance` in its test suite.

A router type ``T`` is the operation ``router.T``; ``spec.router.type: T`` of a Network names it.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
import types
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import orjson
import pytest

from kastra_core.api.kind import ResourceKind
from kastra_core.api.lazy import load
from kastra_core.api.meta import JsonObject, JsonValue, Resource
from kastra_core.config import Config
from kastra_core.errors import OperationError
from kastra_core.execution.replay import replay
from kastra_core.hookspecs import hookimpl
from kastra_core.plugins import PluginManager
from kastra_core.protocols.runner import OperationContext, RunContext
from kastra_core.registrations import OperationRegistration
from kastra_core.runtime import RuntimeManager
from kastra_plugin_network.spec import CHOICE_S

__all__ = ["RouterConformance", "router_arguments", "router_faults"]

_KIND = "RouterConformanceMember"
_END_REASONS = ("Completed", "MaxSteps", "NoCandidate", "MemberFailed")


def router_arguments(
    candidates: Sequence[Mapping[str, Any]], request: str = "What does my last bill say?", **changes: Any
) -> JsonObject:
    """What a network gives a router at its first choice, with ``changes``."""
    return {
        "network": {"namespace": "default", "name": "desk"},
        "instructions": "A help desk.",
        "request": request,
        "conversation": [],
        "candidates": [
            {"kind": "Agent", "description": "", "inputSchema": None, "examples": [], **candidate}
            for candidate in candidates
        ],
        "results": [],
        "state": None,
        "options": {},
        "step": 1,
        **changes,
    }


def router_faults(result: JsonValue, names: Sequence[str]) -> list[str]:
    """Why a result is no choice between the candidates of these names; empty when it is one."""
    if not isinstance(result, dict):
        return [f"it is no object: {result!r}"]
    faults = []
    agent, done, scores, usage = (result.get(field) for field in ("agent", "done", "scores", "usage"))
    if "agent" not in result:
        faults.append("agent is missing")
    elif agent is not None and agent not in names:
        faults.append(f"agent {agent!r} is no candidate")
    if not isinstance(result.get("reason"), str):
        faults.append("reason is no text")
    if not isinstance(done, bool):
        faults.append("done is neither true nor false")
    if scores is not None:
        if not isinstance(scores, dict):
            faults.append("scores is no object")
        else:
            faults += [f"scores.{name}: no such candidate" for name in scores if name not in names]
            wrong = [n for n, s in scores.items() if isinstance(s, bool) or not isinstance(s, (int, float)) or s != s]
            faults += [f"scores.{name} is no number" for name in wrong]
    if usage is not None and not (
        isinstance(usage, dict) and all(isinstance(value, (int, float)) and value >= 0 for value in usage.values())
    ):
        faults.append("usage is no object of numbers")
    try:
        orjson.dumps(result)
    except TypeError as error:
        faults.append(f"it is not JSON: {error}")
    return faults


class RouterConformance:
    """Override ``operation``; ``plugins`` when the router needs others than its own, ``options`` when it needs some.

    Needs pytest-asyncio with ``asyncio_mode = "auto"``.

    Example:
        class TestAcmeRouter(RouterConformance):
            @pytest.fixture
            def operation(self):
                return OperationRegistration(name="router.acme", handler="kastra_plugin_acme.router:choose")
    """

    candidates: Sequence[Mapping[str, Any]] = (
        {"name": "billing", "description": "Bills, invoices, charges and refunds."},
        {"name": "support", "description": "Bugs, crashes, login and installation."},
        {"name": "sales", "description": "Prices, offers and orders."},
    )
    requests: Sequence[str] = ("I was charged twice for one order.", "我无法登录我的账户", "?", "x" * 20_000)

    @pytest.fixture
    def operation(self) -> OperationRegistration:
        raise NotImplementedError("override the fixture `operation`")

    @pytest.fixture
    def options(self) -> JsonObject:
        """``spec.router.options``."""
        return {}

    @pytest.fixture
    def plugins(self) -> Sequence[tuple[str, Any]]:
        """Plugins that the router's runtime has: (name, module)."""
        return ()

    @pytest.fixture
    async def runtime(
        self, plugins: Sequence[tuple[str, Any]], operation: OperationRegistration, tmp_path: Any
    ) -> AsyncIterator[RuntimeManager]:
        """A runtime on a store in memory, with members that repeat what they are asked."""
        own = _plugin(operation, [candidate["name"] for candidate in self.candidates])
        if operation.name == "router.embedding":  # the network plugin has it
            del own.kastra_operations
        extra = [("network", "kastra_plugin_network.hooks"), *plugins, ("router_conformance", own)]
        manager = PluginManager(discover=False, extra=extra)
        made = await RuntimeManager.open(
            "memory:",
            config=Config.load(tmp_path, env={"KASTRA_CONFIG_HOME": str(tmp_path / "config")}),
            plugins=manager,
        )
        yield made
        await made.aclose()

    async def choose(self, runtime: RuntimeManager, operation: OperationRegistration, arguments: JsonObject) -> Any:
        """Call the router as a run does."""

        async def emit(_: JsonObject) -> None: ...

        context = OperationContext(
            run_id="00000000-0000-0000-0000-000000000000",
            namespace="default",
            path="/route#0",
            idempotency_key="0" * 64,
            streaming=False,
            emit=emit,
            pinned=lambda _: None,
            runtime=runtime,
        )
        async with asyncio.timeout(CHOICE_S):
            return await load(operation.handler)(context, arguments)

    def _names(self) -> list[str]:
        return [str(candidate["name"]) for candidate in self.candidates]

    # ------------------------------------------------------------------------------------ the operation

    def test_it_is_an_operation_of_a_router_type(self, operation: OperationRegistration) -> None:
        area, _, word = operation.name.partition(".")
        assert area == "router"
        assert word
        assert word not in ("model", "auto"), "the network plugin keeps this word for itself"
        assert operation.counts_as in ("", "model", "embedding")
        assert inspect.iscoroutinefunction(load(operation.handler)) or callable(load(operation.handler))

    async def test_it_chooses_a_candidate_or_nobody(
        self, runtime: RuntimeManager, operation: OperationRegistration, options: JsonObject
    ) -> None:
        for request in self.requests:
            arguments = router_arguments(self.candidates, request, options=options)
            result = await self.choose(runtime, operation, arguments)
            assert router_faults(result, self._names()) == [], request[:100]
            if result.get("usage"):
                assert operation.counts_as, "usage is counted of an operation that counts_as model or embedding only"

    async def test_it_leaves_its_arguments_as_they_are(
        self, runtime: RuntimeManager, operation: OperationRegistration, options: JsonObject
    ) -> None:
        arguments = router_arguments(self.candidates, options=options)
        before = copy.deepcopy(arguments)
        await self.choose(runtime, operation, arguments)
        assert arguments == before

    async def test_it_chooses_when_much_is_known_already(
        self, runtime: RuntimeManager, operation: OperationRegistration, options: JsonObject
    ) -> None:
        said = [{"role": role, "parts": [{"type": "text", "content": "Hello."}]} for role in ("user", "assistant")]
        results = [
            {"agent": self._names()[0], "input": "x", "output": {"total": 3}},
            {"agent": self._names()[1], "input": "x", "error": {"reason": "Timeout", "message": "too slow"}},
        ]
        arguments = router_arguments(
            self.candidates, conversation=said, results=results, state={"tier": "gold"}, step=3, options=options
        )
        assert router_faults(await self.choose(runtime, operation, arguments), self._names()) == []

    async def test_one_candidate_is_enough(
        self, runtime: RuntimeManager, operation: OperationRegistration, options: JsonObject
    ) -> None:
        arguments = router_arguments(self.candidates[:1], options=options)
        assert router_faults(await self.choose(runtime, operation, arguments), self._names()[:1]) == []

    async def test_without_candidates_it_chooses_nobody(
        self, runtime: RuntimeManager, operation: OperationRegistration, options: JsonObject
    ) -> None:
        try:
            result = await self.choose(runtime, operation, router_arguments((), options=options))
        except OperationError:
            return  # it says so
        assert router_faults(result, ()) == []
        assert result["agent"] is None

    async def test_candidates_of_any_kind_and_without_a_description(
        self, runtime: RuntimeManager, operation: OperationRegistration, options: JsonObject
    ) -> None:
        schema = {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}
        some: list[Mapping[str, Any]] = [
            {"name": "账单", "kind": "Workflow", "description": "账单和退款", "inputSchema": schema},
            {"name": "plain", "kind": "Tool"},
        ]
        result = await self.choose(runtime, operation, router_arguments(some, "退款", options=options))
        assert router_faults(result, ["账单", "plain"]) == []

    async def test_choices_at_once_do_not_mix(
        self, runtime: RuntimeManager, operation: OperationRegistration, options: JsonObject
    ) -> None:
        teams = [[{"name": f"{letter}{number}"} for number in range(3)] for letter in "abcd"]
        results = await asyncio.gather(
            *(self.choose(runtime, operation, router_arguments(team, options=options)) for team in teams)
        )
        for team, result in zip(teams, results):
            assert router_faults(result, [member["name"] for member in team]) == []

    # ------------------------------------------------------------------------------------ in a network

    async def test_a_network_that_names_it_runs_and_replays_to_the_same(
        self, runtime: RuntimeManager, operation: OperationRegistration, options: JsonObject
    ) -> None:
        members = []
        for candidate in self.candidates:
            name = candidate["name"]
            await runtime.apply_resource(_manifest(_KIND, name, {"description": candidate.get("description", "")}))
            members.append({"name": name, "kind": _KIND})
        word = operation.name.removeprefix("router.")
        router = {"type": word, "maxSteps": 3, "options": options}
        await runtime.apply_resource(_manifest("Network", "desk", {"agents": members, "router": router}))
        started = await runtime.start_run(runtime.get_network("desk").reference, self.requests[0])
        status = await started.status()
        assert status["reason"] in _END_REASONS, status
        run = await runtime.client.require(started.key)
        trace = await replay(runtime, run)
        assert (trace.output, trace.differs) == (status.get("output"), False)
        decisions = [entry.event for entry in trace.entries if entry.event["type"] == "decision"]
        assert all(decision["router"] == word for decision in decisions)


class _Repeats:
    """Runner of the members."""

    async def run(self, ctx: RunContext, target: Resource, input: JsonValue) -> JsonValue:
        return {"member": target.metadata.name, "asked": input}


def _plugin(operation: OperationRegistration, names: Sequence[str]) -> types.ModuleType:
    module = types.ModuleType("router_conformance")

    @hookimpl
    def kastra_resource_kinds() -> list[ResourceKind]:
        return [ResourceKind(kind=_KIND, plural=f"{_KIND.lower()}s", runner=_Repeats)]

    @hookimpl
    def kastra_operations() -> list[OperationRegistration]:
        return [operation]

    for hook in (kastra_resource_kinds, kastra_operations):
        setattr(module, hook.__name__, hook)
    return module


def _manifest(kind: str, name: str, spec: JsonObject) -> JsonObject:
    return {"apiVersion": "mastra.ai/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}
