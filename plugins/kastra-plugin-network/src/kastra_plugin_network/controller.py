"""NetworkController: says in conditions whether a network could answer now, and what is missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from kastra_core.api.meta import Condition, JsonObject, Resource, condition_of
from kastra_core.api.references import Reference
from kastra_core.controller import AbstractController, ready_status
from kastra_core.errors import nearest
from kastra_core.model_spec import ModelSpec
from kastra_core.protocols.controller import Result
from kastra_core.serde import typed
from kastra_plugin_network.routers import embedding_text, model_of
from kastra_plugin_network.rules import ROUTER_TYPES, references
from kastra_plugin_network.spec import NetworkSpec

__all__ = ["NetworkController"]

RECHECK_S = 10.0
"""How soon a missing key or model is looked for again: the environment tells nobody when it changes."""
_MODEL = "Model"
"""Reasons that begin so say that only a model is missing: a run that brings a model may start all the same."""
_PENDING = "Pending"
"""Reason while nothing is wrong but a member was not reconciled yet."""
_MOST_TOLD = 10


class NetworkController(AbstractController):
    """Conditions: ``MembersResolved``, ``RouterReady``, ``StateReady`` (with a state), ``MemberMemory`` (only when an
    agent's memory is not used), ``Ready`` (Unknown with the reason ``Pending`` while nothing is wrong but a member was
    not reconciled yet).

    ``status.model`` is the router's where it is asked, else the model without account that answers for a member.
    ``status.routerModel`` is what the router works with: that model, else the one that makes the embeddings.
    """

    kind = "Network"

    async def get_desired_state(self, resource: Resource) -> JsonObject:
        spec = typed(resource.spec, NetworkSpec)
        wanted = list(references(resource))
        there = await self.runtime.store.resources.get_many([reference.key for reference in wanted])
        named = [(reference, there.get(reference.key)) for reference in wanted]
        members = self._members(named)
        router, shown, model, vectors = self._router(spec)
        faults = [condition for condition in (members, router) if condition.status != "True"]
        # What is wrong says more than what nobody knows yet; what a model given to the run would mend is told last.
        faults.sort(key=lambda condition: (condition.status == "Unknown", condition.reason.startswith(_MODEL)))
        ready = Condition(type="Ready", status="True", reason="Ready")
        if faults:
            ready = attrs.evolve(faults[0], type="Ready")
        optional = [self._state(spec), self._memory(named)]
        conditions = [ready, members, router, *(condition for condition in optional if condition is not None)]
        status = ready_status(
            resource,
            conditions,
            members=len(wanted),
            router=shown,
            model=model or self._members_model(named) or None,
            routerModel=model or vectors or None,
            state=_state_word(spec),
        )
        kept = {condition.type for condition in conditions}
        status["conditions"] = [
            condition
            for condition in status["conditions"]
            if condition["type"] in kept or condition["type"] not in ("StateReady", "MemberMemory")
        ]
        return status

    def result_of(self, resource: Resource, desired: Any) -> Result:
        for condition in desired["conditions"]:
            if condition["type"] == "RouterReady" and condition["status"] != "True":
                return Result(requeue_after_s=RECHECK_S)
        return Result()

    # ------------------------------------------------------------------------------------ members

    def _members(self, named: Sequence[tuple[Reference, Resource | None]]) -> Condition:
        missing: list[str] = []
        unready: list[str] = []
        pending: list[str] = []
        models: list[tuple[str, str]] = []
        for reference, found in named:
            what = f"{reference.path}: {reference.key}"
            if found is None:
                known = self.runtime.registry.get(reference.group, reference.kind)
                how = "" if known else f" (no plugin offers the kind {reference.kind})"
                missing.append(f"{what} is not found{how}")
            elif found.metadata.deletion_timestamp:
                missing.append(f"{what} is being deleted")
            elif not self._callable(reference):
                missing.append(f"{what} cannot be called: no plugin runs resources of kind {reference.kind}")
            elif condition_of(found, "Ready") is not None or self._controlled(reference):
                self._unready(what, found, unready, pending, models)
        if missing:
            return Condition(
                type="MembersResolved",
                status="False",
                reason="MemberNotFound",
                message=f"{_joined(missing)}; apply the missing one, or take it out of the network",
            )
        if unready:
            return Condition(
                type="MembersResolved",
                status="False",
                reason="MemberNotReady",
                message=_joined([*unready, *(text for _, text in models), *pending]),
            )
        if models:
            # Only models are missing: the reason is theirs, so that a run that brings one may start.
            message = _joined([*(text for _, text in models), *pending])
            return Condition(type="MembersResolved", status="False", reason=models[0][0], message=message)
        if pending:
            # Their controllers say more a moment later, and this network is looked at again then.
            return Condition(type="MembersResolved", status="Unknown", reason=_PENDING, message=_joined(pending))
        return Condition(type="MembersResolved", status="True", reason="Resolved")

    def _callable(self, reference: Reference) -> bool:
        kind = self.runtime.registry.get(reference.group, reference.kind)
        return reference.kind == "Tool" or (kind is not None and kind.executable)

    def _controlled(self, reference: Reference) -> bool:
        """Whether somebody says when resources of the kind are ready."""
        plugins = getattr(self.runtime, "plugins", None)
        if plugins is None:
            return True
        wanted = (reference.group, reference.kind)
        return any((record.group, record.kind) == wanted for _, record in plugins.records("kastra_controllers"))

    @staticmethod
    def _unready(
        what: str, found: Resource, unready: list[str], pending: list[str], models: list[tuple[str, str]]
    ) -> None:
        ready = condition_of(found, "Ready")
        if ready is None:
            pending.append(f"{what} is not ready (it was not reconciled yet)")
        elif ready.get("status") != "True":
            reason, message = str(ready.get("reason")), ready.get("message")
            text = f"{what} is not ready ({reason}: {message})" if message else f"{what} is not ready ({reason})"
            if ready.get("status") == "Unknown":
                pending.append(text)
            elif reason.startswith(_MODEL):
                models.append((reason, text))
            else:
                unready.append(text)

    @staticmethod
    def _memory(named: Sequence[tuple[Reference, Resource | None]]) -> Condition | None:
        """Of agents whose own memory goes beyond what a network gives its members."""
        lost = []
        for reference, found in named:
            memory = found.spec.get("memory") if found is not None and found.kind == "Agent" else None
            if not isinstance(memory, Mapping) or memory.get("enabled") is False:
                continue
            if memory.get("type") in ("summary", "vector"):
                lost.append(f"{reference.path}: {reference.name} ({memory['type']})")
        if not lost:
            return None
        return Condition(
            type="MemberMemory",
            status="False",
            reason="NotUsedInNetwork",
            message=f"the memory that these agents keep of a thread is not used here: {_joined(lost)}; members get the "
            "last spec.memory.maxMessages messages of the network's thread",
        )

    # ------------------------------------------------------------------------------------ state

    @staticmethod
    def _state(spec: NetworkSpec) -> Condition | None:
        if spec.state is None:
            return None
        if not spec.state.persistence:
            text = "it belongs to each run and goes with it"
        else:
            text = "it is kept for the network, and for each thread by itself"
        if spec.state.ttl is not None:
            text += f"; a value lives for {spec.state.ttl.plain} after it was written"
        return Condition(type="StateReady", status="True", reason="Ready", message=text)

    # ------------------------------------------------------------------------------------ router

    def _router(self, spec: NetworkSpec) -> tuple[Condition, str, str, str]:
        """(RouterReady, type of the router, the model that it asks, the one that makes its embeddings).

        A model that only breaks ties is not named: most runs never ask it.
        """
        models, config = self.runtime.models, self.runtime.config
        default = config.default_model or models.keyless_model
        model, _ = model_of(spec, config.model, default)
        weak = model is None or models.is_keyless(str(model))
        router = spec.router
        embeddings = router.embeddings or models.embeddings()
        kind, notes = router.type, []
        if kind is None:
            kind = "model"
            if weak and embeddings and (model is None or model is not router.model):
                kind = "embedding"
                notes.append(embedding_text(router.model, model))
        needed = kind == "model" or router.answer == "router"
        faults: list[tuple[str, str]] = []
        if kind not in ROUTER_TYPES:
            fault = self._unknown_type(kind)
            faults += [fault] if fault is not None else []
        if kind in ("embedding", "auto"):
            faults += self._embedding_faults(embeddings)
        wrong = list(self._model_faults(model)) if needed or kind == "auto" else []
        if needed:
            faults += wrong
        elif wrong:
            notes.append(f"no model decides between members that are about as near ({wrong[0][1]})")
        if (needed or kind == "auto") and not wrong:
            near = "decides between members that are about as near"
            does = "routes" if kind == "model" else near if kind == "auto" else "words the answer"
            notes.append(model_of(spec, config.model, default, does=does)[1])
        asked = str(model) if model is not None and (needed or (kind == "auto" and not wrong and not weak)) else ""
        vectors = str(embeddings or "") if kind in ("embedding", "auto") else ""
        if not faults:
            told = "; ".join(note for note in notes if note)
            return Condition(type="RouterReady", status="True", reason="Ready", message=told), kind, asked, vectors
        reason, message = faults[0]
        return Condition(type="RouterReady", status="False", reason=reason, message=message), kind, asked, vectors

    def _members_model(self, named: Sequence[tuple[Reference, Resource | None]]) -> str:
        """The model without account that answers for members, "" when there is none: users are told of it."""
        models = self.runtime.models
        theirs = {str(found.status.get("model") or "") for _, found in named if found is not None}
        return next((model for model in sorted(theirs) if model and models.is_keyless(model)), "")

    def _unknown_type(self, kind: str) -> tuple[str, str] | None:
        plugins = getattr(self.runtime, "plugins", None)
        if plugins is None:
            return None
        names = [record.name for _, record in plugins.records("kastra_operations")]
        offered = sorted(name.removeprefix("router.") for name in names if name.startswith("router."))
        if kind in offered:
            return None
        known = sorted({*offered, *ROUTER_TYPES})
        near = nearest(kind, known)
        hint = f"did you mean {near!r}?" if near else f"there are {', '.join(known)}"
        return (
            "RouterTypeNotFound",
            f"spec.router.type: no installed plugin offers the router type {kind!r} (operation router.{kind}); {hint}",
        )

    def _embedding_faults(self, embeddings: str | None) -> Iterator[tuple[str, str]]:
        if embeddings is None:
            yield (
                "EmbeddingsMissing",
                "no model makes embeddings; set spec.router.embeddings or defaultEmbeddings in the configuration, or "
                "pip install kastra-plugin-local",
            )
            return
        provider, _, name = embeddings.partition("/")
        check = self.runtime.models.recent_check(provider, name)
        if not check.ok:
            yield f"Embeddings{check.reason}", f"{embeddings}: {check.told}"

    def _model_faults(self, model: ModelSpec | None) -> Iterator[tuple[str, str]]:
        if model is None:
            yield (
                "ModelMissing",
                "spec.router.model is missing and there is no default; name a model, set defaultModel in the "
                "configuration, or pip install kastra-plugin-local",
            )
            return
        check = self.runtime.models.recent_check(model.provider, model.name, model.settings())
        if check.ok:
            return
        reason = check.reason if check.reason.startswith(_MODEL) else f"{_MODEL}{check.reason}"
        yield reason, f"{model}: {check.told}"


def _state_word(spec: NetworkSpec) -> str | None:
    if spec.state is None:
        return None
    return "kept" if spec.state.persistence else "run"


def _joined(texts: Sequence[str]) -> str:
    more = [f"and {len(texts) - _MOST_TOLD} more"] if len(texts) > _MOST_TOLD else []
    return "; ".join([*texts[:_MOST_TOLD], *more])
