"""DefinitionController: says whether a definition is a kind now, looks at stored resources again, and tidies up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

import attrs

from kastra_core.api.kind import ResourceKind
from kastra_core.api.lazy import load
from kastra_core.api.meta import Condition, JsonObject, Resource, ResourceKey, condition_of, rfc3339, set_condition
from kastra_core.controller import AbstractController, ControllerRuntime, Request, Result, ready_status
from kastra_core.decoding import without_status
from kastra_core.errors import ConflictError, NotFoundError, Problem, TerminalError
from kastra_core.informer import Informer
from kastra_core.protocols.store import UpdateResource
from kastra_plugin_crd.definition import kinds_of
from kastra_plugin_crd.hooks import FINALIZER, GROUP, KIND
from kastra_plugin_crd.structure import SchemaStructure

__all__ = ["VALID", "DefinitionController"]

VALID = "Valid"
"""Condition of a resource that does not fit the schema of its kind any more; there is none while it fits."""
_CHANGED = "SchemaChanged"
"""Its reason; one with another reason is somebody else's."""
_FITS = "ResourcesValid"
_PAGE = 500
_MOST_TOLD = 5
"""Resources, and problems of one of them, that a message names."""
_PER_TURN = 50
"""Resources that are looked at before other tasks have their turn."""
_LATE_S = 10.0
"""How long after a change of schema somebody may still write what was checked by the one before."""
_TRIES = 8
"""How often a resource that others write at the same time is read again."""
_AGAIN_S = 1.0
"""How long a definition that waits for its resources to go sleeps where nobody tells it of their going."""


class DefinitionController(AbstractController):
    """Conditions: ``NamesAccepted``, ``Established``, ``Terminating``, ``ResourcesValid``, ``Ready``.

    Which kinds there are is a matter of the core; this controller says so in status. When a definition's spec has
    changed it looks at all that is stored of the kind: resources of an earlier storage version are rewritten to the one
    of now, and those that do not fit the schema get the condition ``Valid`` = False. Nothing else of them is touched.
    """

    kind = KIND
    group = GROUP
    finalizer = FINALIZER

    def __init__(self, runtime: ControllerRuntime) -> None:
        super().__init__(runtime)
        self._refused: dict[ResourceKey, Resource] = {}
        self._followed: dict[tuple[str, str], tuple[Informer, ResourceKey, Callable[[], None]]] = {}
        self._late_until_s: dict[ResourceKey, float] = {}
        self._late: dict[ResourceKey, set[ResourceKey]] = {}
        """What was written since a definition's schema changed, by others who may not have heard of that."""
        self._end = runtime.registry.subscribe(self._kinds_changed)

    async def aclose(self) -> None:
        self._end()

    def _kinds_changed(self, kind: ResourceKind, registered: bool) -> None:
        for definition in tuple(self._refused.values()):
            self.watch(definition)  # what it wanted may be free now

    # ------------------------------------------------------------------------------------------ the loop

    async def reconcile(self, request: Request) -> Result:
        resource = await self.runtime.client.get(ResourceKey(self.group, self.kind, *request))
        if resource is not None and resource.metadata.deletion_timestamp and FINALIZER in resource.metadata.finalizers:
            return await self._terminate(resource)
        return await super().reconcile(request)

    async def get_desired_state(self, resource: Resource) -> JsonObject:
        kind = _kind_of(resource)
        holder = self._holder(resource, kind)
        if holder:
            self._refused[resource.key] = resource
            return ready_status(resource, _refusal(kind, holder), terminal_reasons=("NameConflict",))
        self._refused.pop(resource.key, None)
        self._follow(resource, kind)
        fits = await self._look(resource, kind)
        names = resource.spec["names"]
        conditions = [
            Condition(type="NamesAccepted", status="True", reason="NoConflicts", message="no conflicts found"),
            Condition(type="Established", status="True", reason="InitialNamesAccepted", message="the kind can be used"),
            fits,
            Condition(type="Ready", status="True", reason="Established", message=f"{kind.kind} can be used"),
        ]
        return ready_status(
            resource,
            conditions,
            acceptedNames={"listKind": f"{kind.kind}List", **names, "singular": kind.singular},
            storedVersions=[kind.version],
        )

    def _holder(self, resource: Resource, kind: ResourceKind) -> str:
        """Who has what this definition wants; "" when it has it itself."""
        registry = self.runtime.registry
        other = registry.get(*kind.group_kind)
        if other is None:
            other = next(iter(registry.rivals(kind)), None)
        if other is None:
            return ""  # its registration is under way
        provider = registry.provider_of(other)
        if provider == str(resource.key):
            return ""
        return provider if provider.startswith(f"{KIND} ") else f"the plugin {provider}"

    # ------------------------------------------------------------------------------------------ stored resources

    def _follow(self, definition: Resource, kind: ResourceKind) -> None:
        """Be told when a resource that does not fit is mended, and when one goes."""
        informer = self.runtime.controllers.informer(*kind.group_kind)
        before = self._followed.get(kind.group_kind)
        if informer is None or (before is not None and before[:2] == (informer, definition.key)):
            return
        if before is not None:
            before[2]()

        def changed(old: Resource | None, new: Resource | None) -> None:
            if (
                new is None
                or (old is not None and _is_unfit(old) and not (_is_unfit(new) and _same(old, new)))
                or (self._is_old(new) and not (old is not None and self._is_old(old)))
                or self._is_late(definition.key, old, new)
            ):
                self.watch(definition)

        self._followed[kind.group_kind] = (informer, definition.key, informer.add_handler(changed))

    def _is_late(self, definition: ResourceKey, old: Resource | None, new: Resource) -> bool:
        """Whether a resource may have been checked by the schema of before; it is looked at again then."""
        if time.monotonic() > self._late_until_s.get(definition, 0.0) or (old is not None and _same(old, new)):
            return False
        self._late.setdefault(definition, set()).add(new.key)
        return True

    def _is_old(self, resource: Resource) -> bool:
        """Whether it is of an earlier storage version: somebody wrote it who did not know of the change yet."""
        kind = self.runtime.registry.get(resource.group, resource.kind)
        return kind is not None and kind.api_version != resource.api_version

    async def _look(self, definition: Resource, kind: ResourceKind) -> Condition:
        """Look at what is stored, where that was not done for this schema yet; say how it is."""
        last = condition_of(definition, _FITS)
        generation = definition.metadata.generation
        is_done = last is not None and last.get("observedGeneration") == generation and last.get("status") == "True"
        informer = self.runtime.controllers.informer(*kind.group_kind)
        if is_done and informer is not None:
            is_done = all(one.api_version == kind.api_version for one in informer.snapshot().values())
        if is_done:
            is_done = await self._fit(kind, self._late.pop(definition.key, set()))
        if last is not None and is_done:
            return Condition(
                type=_FITS, status="True", reason=str(last.get("reason")), message=str(last.get("message"))
            )
        unfit: list[tuple[Resource, list[Problem]]] = []
        count = total = 0
        if generation > 1:
            self._late_until_s[definition.key] = time.monotonic() + _LATE_S
        async for resource in self._stored(kind):
            total += 1
            if total % _PER_TURN == 0:
                await asyncio.sleep(0)
            problems = await self._mark(kind, resource)
            if problems:
                count += 1
                if len(unfit) < _MOST_TOLD:
                    unfit.append((resource, problems))
        if not unfit:
            return Condition(type=_FITS, status="True", reason="AllValid", message="what is stored fits the schema")
        named = "; ".join(
            f"{_name(resource)}: {problems[0].path or 'the object'}: {problems[0].message}"
            for resource, problems in unfit
        )
        more = f"; and {count - len(unfit)} more" if count > len(unfit) else ""
        told = f"{count} of {total} stored resources do not fit the schema: {named}{more}"
        return Condition(type=_FITS, status="False", reason=_CHANGED, message=told)

    async def _fit(self, kind: ResourceKind, late: Collection[ResourceKey]) -> bool:
        """Whether all of some resources fit; those that do not say so."""
        found = await self.runtime.store.resources.get_many(list(late)) if late else {}
        return not any([await self._mark(kind, resource) for resource in found.values()])

    async def _stored(self, kind: ResourceKind) -> AsyncIterator[Resource]:
        token = ""
        while True:
            page = await self.runtime.client.list(kind, limit=_PAGE, continue_token=token)
            for resource in page.items:
                yield resource
            token = page.continue_token
            if not token:
                return

    async def _mark(self, kind: ResourceKind, resource: Resource) -> list[Problem]:
        """Say in a resource whether it fits, and bring its apiVersion up to date; return why it does not fit.

        Its own controller may write it at any time: then it is read again, so that nothing of that is lost.
        """
        for attempt in range(_TRIES):
            problems = [] if resource.metadata.deletion_timestamp else _problems(kind, resource)
            new = _marked(kind, resource, problems)
            if new is None:
                return problems
            try:
                await self.runtime.store.commit([UpdateResource(new, resource.metadata.resource_version)])
            except (ConflictError, NotFoundError):
                if attempt == _TRIES - 1:
                    raise
                live = await self.runtime.client.get(resource.key)
                if live is None:
                    return []
                resource = live
            else:
                return problems
        raise AssertionError("unreachable")

    # ------------------------------------------------------------------------------------------ the end

    async def _terminate(self, definition: Resource) -> Result:
        """Delete what is stored of the kind; the definition goes when the last of it, held by finalizers, is gone."""
        try:
            kind = _kind_of(definition)
        except TerminalError:
            await self._let_go(definition)  # it is of no kind, so nothing is stored of it that could be told
            return Result()
        left: list[Resource] = []
        if not self._holder(definition, kind):
            self._follow(definition, kind)
            for resource in [resource async for resource in self._stored(kind)]:
                if not resource.metadata.deletion_timestamp:
                    await self.runtime.client.delete(resource.key, uid=resource.metadata.uid)
            left = [resource async for resource in self._stored(kind)]
        if left:
            told = _held(kind, left)
            conditions = [
                Condition(type="Terminating", status="True", reason="InstanceDeletionInProgress", message=told),
                Condition(type="Ready", status="False", reason="Terminating", message="it is being deleted"),
            ]
            await self.write_status(definition, ready_status(definition, conditions))
            return Result(requeue_after_s=_AGAIN_S)
        self._refused.pop(definition.key, None)
        self._late_until_s.pop(definition.key, None)
        self._late.pop(definition.key, None)
        followed = self._followed.get(kind.group_kind)
        if followed is not None and followed[1] == definition.key:
            del self._followed[kind.group_kind]
            followed[2]()
        await self._let_go(definition)
        return Result()

    async def _let_go(self, definition: Resource) -> None:
        kept = tuple(name for name in definition.metadata.finalizers if name != FINALIZER)
        with suppress(NotFoundError):
            await self.runtime.client.set_finalizers(definition, kept)


def _refusal(kind: ResourceKind, holder: str) -> list[Condition]:
    told = f"{kind.qualified_plural} is taken by {holder}"
    return [
        Condition(type="NamesAccepted", status="False", reason="NameConflict", message=told),
        Condition(type="Established", status="False", reason="NotAccepted", message="not all names are accepted"),
        Condition(type="Ready", status="False", reason="NameConflict", message=told),
    ]


def _held(kind: ResourceKind, left: Sequence[Resource]) -> str:
    named = ", ".join(
        f"{'/'.join(filter(None, (one.metadata.namespace, one.metadata.name)))} by {', '.join(one.metadata.finalizers)}"
        for one in left[:_MOST_TOLD]
        if one.metadata.finalizers
    )
    more = f" and {len(left) - _MOST_TOLD} more" if len(left) > _MOST_TOLD else ""
    how_many = f"{len(left)} {kind.kind} resource{'s are' if len(left) > 1 else ' is'} left"
    return f"{how_many}, held by finalizers: {named}{more}" if named else how_many


def _marked(kind: ResourceKind, resource: Resource, problems: list[Problem]) -> Resource | None:
    """What is to be stored of a resource, None when that is what is stored.

    Status is its own controller's: where that has a condition of this type itself, or conditions that are not a list of
    objects, there is no place to say it.
    """
    status = resource.status
    given = status.get("conditions") or []
    if isinstance(given, list) and all(isinstance(one, Mapping) for one in given):
        left = _with_verdict(resource, given, problems)
        if left != given:
            status = {key: value for key, value in status.items() if key != "conditions"}
            if left:
                status["conditions"] = left
    if status == resource.status and resource.api_version == kind.api_version:
        return None
    return attrs.evolve(resource, status=status, api_version=kind.api_version)


def _with_verdict(resource: Resource, given: list[JsonObject], problems: list[Problem]) -> list[JsonObject]:
    if any(one.get("type") == VALID and not _is_ours(one) for one in given):
        return given
    if problems:
        told = "; ".join(str(problem) for problem in problems[:_MOST_TOLD])
        more = f"; and {len(problems) - _MOST_TOLD} more" if len(problems) > _MOST_TOLD else ""
        condition = Condition(type=VALID, status="False", reason=_CHANGED, message=told + more)
        return set_condition(given, condition, observed_generation=resource.metadata.generation, now=rfc3339())
    return [one for one in given if not _is_ours(one)]


def _is_ours(condition: Mapping[str, Any]) -> bool:
    return condition.get("type") == VALID and condition.get("reason") == _CHANGED


def _kind_of(definition: Resource) -> ResourceKind:
    """Raises: TerminalError: it was stored by other rules."""
    try:
        (kind,) = kinds_of(definition)
    except Exception as error:
        what = f"it cannot be read: {type(error).__name__}: {error}"
        raise TerminalError(what, reason="Invalid", remedy="apply it again, or delete it") from error
    return kind


def _problems(kind: ResourceKind, resource: Resource) -> list[Problem]:
    structure: SchemaStructure = load(kind.structure)
    pruned, _ = structure.prune(without_status(resource))
    return list(structure.validate_stored(structure.default(pruned)))


def _is_unfit(resource: Resource) -> bool:
    return _is_ours(condition_of(resource, VALID) or {})


def _same(old: Resource, new: Resource) -> bool:
    return old.metadata.generation == new.metadata.generation and old.metadata.uid == new.metadata.uid


def _name(resource: Resource) -> str:
    meta = resource.metadata
    return f"{meta.namespace}/{meta.name}" if meta.namespace else meta.name
