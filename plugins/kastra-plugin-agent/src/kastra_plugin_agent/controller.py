"""AgentController: says in conditions whether an agent could answer now, and what is missing."""

from __future__ import annotations

import asyncio
from typing import Any

import attrs

from kastra_core.api.meta import Condition, JsonObject, Resource, condition_of
from kastra_core.controller import AbstractController, ready_status
from kastra_core.model_spec import chosen_model
from kastra_core.protocols.controller import Result
from kastra_core.protocols.model import ModelCheck
from kastra_core.serde import typed
from kastra_plugin_agent.rules import references
from kastra_plugin_agent.spec import AgentSpec

__all__ = ["AgentController"]

RECHECK_S = 10.0
"""How soon a missing key or model is looked for again: the environment tells nobody when it changes."""
SLOTS_AFTER_S = 1.0
"""Changes of the number of busy slots are written at most so often."""


class AgentController(AbstractController):
    """Conditions: ``ToolsResolved``, ``ModelAvailable``, ``MemoryReady`` (of memory that needs more than a thread; it
    does not hold ``Ready`` up, as the buffer is used meanwhile), ``Ready`` (Unknown with the reason ``Pending`` while
    nothing is wrong but a tool was not reconciled yet).
    """

    kind = "Agent"

    def __init__(self, runtime: Any) -> None:
        super().__init__(runtime)
        self._scheduled: set[Any] = set()
        self._subscription = runtime.bus.subscribe("run.*", self._run_changed)

    async def aclose(self) -> None:
        self._subscription.unsubscribe()

    async def get_desired_state(self, resource: Resource) -> JsonObject:
        spec = typed(resource.spec, AgentSpec)
        tools = await self._tools(resource)
        model, shown = self._model(spec)
        memory = self._memory(spec, shown)
        ready = Condition(type="Ready", status="True", reason="Ready")
        # What is wrong says more than what nobody knows yet.
        bad = sorted((one for one in (tools, model) if one.status != "True"), key=lambda one: one.status == "Unknown")
        if bad:
            ready = attrs.evolve(bad[0], type="Ready")
        conditions = [ready, tools, model]
        if memory is not None or condition_of(resource, "MemoryReady") is not None:
            conditions.append(memory or _memory_ready("Buffer"))
        return ready_status(
            resource,
            conditions,
            model=shown,
            tools=len(spec.tools.items),
            memory=spec.memory.type if spec.memory.enabled else None,
            replicas=self._replicas(resource, spec),
        )

    def result_of(self, resource: Resource, desired: Any) -> Result:
        for condition in desired["conditions"]:
            if condition["type"] in ("ModelAvailable", "MemoryReady") and condition["status"] != "True":
                return Result(requeue_after_s=RECHECK_S)
        return Result()

    async def _tools(self, resource: Resource) -> Condition:
        wanted = list(references(resource))
        if not wanted:
            return Condition(type="ToolsResolved", status="True", reason="NoTools")
        found = {}
        missing: list[str] = []
        unready: list[str] = []
        pending: list[str] = []
        for reference in wanted:
            tool = found[reference.key] = await self.runtime.client.get(reference.key)
            known = self.runtime.registry.get(reference.group, reference.kind)
            if tool is not None and known is None:  # what it said of itself is from the time of its plugin
                unready.append(
                    f"{reference.path}: {reference.key} is orphaned: no plugin offers the kind {reference.kind}"
                )
            elif tool is None:
                what = "not found" if known else f"not found (no plugin offers the kind {reference.kind})"
                missing.append(f"{reference.path}: {reference.key} is {what}")
            elif tool.metadata.deletion_timestamp:
                missing.append(f"{reference.path}: {reference.key} is being deleted")
            elif (ready := condition_of(tool, "Ready")) is None or ready.get("status") != "True":
                why = f"{ready.get('reason')}: {ready.get('message', '')}" if ready else "it was not reconciled yet"
                # Its controller says more a moment later, and this agent is looked at again then.
                told = pending if ready is None or ready.get("status") == "Unknown" else unready
                told.append(f"{reference.path}: {reference.key} is not ready ({why})")
        if missing:
            text = "; ".join(missing)
            return Condition(
                type="ToolsResolved",
                status="False",
                reason="ToolNotFound",
                message=f"{text}; apply the missing one, or take it out of spec.tools",
            )
        if unready:
            return Condition(type="ToolsResolved", status="False", reason="ToolNotReady", message="; ".join(unready))
        if pending:
            return Condition(type="ToolsResolved", status="Unknown", reason="Pending", message="; ".join(pending))
        return Condition(type="ToolsResolved", status="True", reason="Resolved")

    def _model(self, spec: AgentSpec) -> tuple[Condition, str]:
        models, config = self.runtime.models, self.runtime.config
        default = config.default_model or models.keyless_model
        model, why = chosen_model(spec.model, config.model, default)
        if model is None:
            message = (
                "spec.model is missing and there is no default; name a model, set defaultModel in the configuration, "
                "or pip install kastra-plugin-local"
            )
            return Condition(type="ModelAvailable", status="False", reason="ModelMissing", message=message), ""
        shown = f"{model.provider}/{model.name}"
        check = models.recent_check(model.provider, model.name, model.settings())
        if check.ok:
            return Condition(type="ModelAvailable", status="True", reason="Available", message=why), shown
        message = f"{shown}: {check.told}"
        reason = check.reason if check.reason.startswith("Model") else f"Model{check.reason}"
        return Condition(type="ModelAvailable", status="False", reason=reason, message=message), shown

    def _memory(self, spec: AgentSpec, answers: str) -> Condition | None:
        """Of memory that needs a model; ``answers`` is the model of the agent."""
        memory = spec.memory
        if not memory.enabled or memory.type == "buffer":
            return None
        models = self.runtime.models
        if memory.type == "summary":
            model = memory.summary.model
            if model is None or self.runtime.config.model:
                return _memory_ready("Summary", f"{answers} writes the summaries" if answers else "")
            check = models.recent_check(model.provider, model.name, model.settings())
            shown = f"{model.provider}/{model.name}"
            if check.ok:
                return _memory_ready("Summary", f"{shown} writes the summaries")
            return _memory_amiss(f"SummaryModel{check.reason}", f"spec.memory.summary.model: {shown}", check)
        if self.runtime.store.vectors is None:
            nothing = ModelCheck(ok=False, message="the store keeps no vectors", remedy="use a store that does")
            return _memory_amiss("NoVectorStore", self.runtime.store.url, nothing)
        name = memory.recall.embeddings or models.embeddings()
        if name is None:
            nothing = ModelCheck(
                ok=False,
                message="there is no provider of embeddings",
                remedy="name one, set defaultEmbeddings in the configuration, or pip install kastra-plugin-local",
            )
            return _memory_amiss("NoEmbeddings", "spec.memory.recall.embeddings", nothing)
        provider, _, model_name = name.partition("/")
        check = models.recent_check(provider, model_name)
        if check.ok:
            return _memory_ready("Vector", f"{name} makes the vectors")
        return _memory_amiss(f"Embeddings{check.reason}", name, check)

    # ------------------------------------------------------------------------------------ slots

    def _replicas(self, resource: Resource, spec: AgentSpec) -> int | None:
        """Execution slots that the agent has now, None when it declares no scaling."""
        if not resource.spec.get("scaling"):
            return None
        if "runs" not in vars(self.runtime):
            return spec.scaling.min_replicas
        use = self.runtime.runs.scheduler.slots(resource.key)  # type: ignore[attr-defined]
        return max(spec.scaling.min_replicas, int(use.current))

    def _run_changed(self, message: Any) -> None:
        target = message["resource"].spec.get("target") or {}
        if target.get("kind") != self.kind or target.get("group") != self.group:
            return
        key = (target.get("namespace", ""), target["name"])
        if key in self._scheduled:
            return
        self._scheduled.add(key)
        asyncio.get_running_loop().call_later(SLOTS_AFTER_S, self._recheck, key)

    def _recheck(self, key: tuple[str, str]) -> None:
        self._scheduled.discard(key)
        informer = self.runtime.controllers.informer(self.group, self.kind)
        if informer is None:
            return
        for resource in informer.snapshot().values():
            if (resource.metadata.namespace, resource.metadata.name) == key and resource.spec.get("scaling"):
                self.watch(resource)


def _memory_ready(reason: str, message: str = "") -> Condition:
    return Condition(type="MemoryReady", status="True", reason=reason, message=message)


def _memory_amiss(reason: str, what: str, check: ModelCheck) -> Condition:
    message = f"{what}: {check.told}. Until then the last messages of the thread are used"
    return Condition(type="MemoryReady", status="False", reason=reason, message=message)
