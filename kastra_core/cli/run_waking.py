"""Suspended runs that call one another: which could go on, and which await an answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kastra_core.api.kind import MAIN_GROUP
from kastra_core.api.meta import Resource, ResourceKey
from kastra_core.execution.children import CANCEL_SIGNAL, RUN_KIND
from kastra_core.execution.run_status import FINISHED
from kastra_core.execution.state import used_signals
from kastra_core.protocols.store import Claim

if TYPE_CHECKING:
    from kastra_core.runtime import RuntimeManager

__all__ = ["awaited_below", "can_run", "is_due", "key_of_caller", "unfinished_called"]


async def is_due(runtime: RuntimeManager, run: Resource, claim: Claim) -> bool:
    """Whether a run that no worker has could go on: its instant has come, or a signal that it has not taken."""
    if claim.holder:
        return False
    if claim.wake_at_s is not None and claim.wake_at_s <= runtime.clock():
        return True
    signals = await runtime.store.journal.signals(claim.run)
    if any(signal.name == CANCEL_SIGNAL for signal in signals):
        return True
    waits_for = run.status.get("waitsFor") or ()
    wanted = {signal.seq for signal in signals if signal.name in waits_for}
    if not wanted:
        return False
    records = await runtime.store.journal.records(claim.run)
    return not wanted <= used_signals(line.record for line in records if isinstance(line.record, dict))


def can_run(runtime: RuntimeManager, run: Resource) -> bool:
    """Whether an installed plugin runs what a run is of."""
    target = run.spec.get("target")
    if not isinstance(target, dict):
        return True  # whoever takes it ends it with what is wrong with it
    kind = runtime.registry.get(str(target.get("group")), str(target.get("kind")))
    return kind is not None and kind.executable


def key_of_caller(run: Resource) -> ResourceKey | None:
    """The run that called this one, None when nobody did."""
    uid = (run.spec.get("parent") or {}).get("run")
    for owner in run.metadata.owner_references:
        if uid and owner.uid == uid:
            return ResourceKey(MAIN_GROUP, RUN_KIND, run.metadata.namespace, owner.name)
    return None


async def unfinished_called(runtime: RuntimeManager, run: Resource) -> list[Resource]:
    """The runs that a run called itself and that are not over."""
    meta = run.metadata
    found = await runtime.store.resources.list(MAIN_GROUP, RUN_KIND, namespace=meta.namespace, owner_uid=meta.uid)
    return [child for child in found.items if child.status.get("phase") not in FINISHED]


async def awaited_below(runtime: RuntimeManager, run: Resource) -> list[tuple[Resource, Mapping[str, Any]]]:
    """What the runs await that a run called, at any depth: each with the item of its ``status.awaiting``."""
    from kastra_core.cli.run_answer import awaited

    out: list[tuple[Resource, Mapping[str, Any]]] = []
    for child in await unfinished_called(runtime, run):
        out += [(child, item) for item in awaited(child)]
        out += await awaited_below(runtime, child)
    return out
