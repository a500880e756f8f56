"""``kastra wait``: until resources are Ready, gone, or have a value somewhere."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import click

from kastra_core.api.meta import JsonObject, Resource, ResourceKey, condition_of
from kastra_core.cli.common import (
    KubectlCommand,
    all_namespaces_option,
    emit,
    namespace_option,
    runtime_command,
    selector_options,
    timeout_option,
)
from kastra_core.cli.jsonpath import compile_path, text_of
from kastra_core.cli.printing import kind_name
from kastra_core.cli.targets import Target, namespace_of, targets_of
from kastra_core.errors import NotFoundError, RunFailedError, UserError

if TYPE_CHECKING:
    from kastra_core.runtime import RuntimeManager

__all__ = ["command", "condition_to_wait_for"]

Holds: TypeAlias = Callable[[ResourceKey, Resource | None], bool]


def _condition(resource: Resource, name: str) -> JsonObject | None:
    """The condition of that name, in capitals or not."""
    conditions = resource.status.get("conditions")
    for one in conditions if isinstance(conditions, list) else ():
        if isinstance(one, dict) and str(one.get("type")).lower() == name.lower():
            return one
    return None


def condition_to_wait_for(text: str) -> tuple[Holds, str]:
    """Return what ``--for`` means: whether it holds of a resource, and the words for it.

    Raises: UserError.
    """
    if text in ("delete", "create"):
        gone = text == "delete"
        return (lambda key, resource: (resource is None) == gone), "deleted" if gone else "created"
    what, _, rest = text.partition("=")
    if what == "condition" and rest:
        name, _, wanted = rest.partition("=")
        status = (wanted or "true").capitalize()

        def has_condition(key: ResourceKey, resource: Resource | None) -> bool:
            if resource is None:
                return False
            found = _condition(resource, name)
            if found is None:
                return False
            # What was found about an older spec says nothing about this one.
            fresh = found.get("observedGeneration", 0) >= resource.metadata.generation or resource.kind == "Run"
            return fresh and found.get("status") == status

        return has_condition, f"condition {name} is {status}"
    if what == "jsonpath" and rest:
        found = re.fullmatch(r"(\{.*?\}|[^=]*(?:\[\?\(.*?\)\][^=]*)*)(?:=(.*))?", rest)
        path, wanted_text = (found[1], found[2]) if found else (rest, None)
        evaluate = compile_path(path)

        def has_value(key: ResourceKey, resource: Resource | None) -> bool:
            values = evaluate(resource.to_manifest()) if resource is not None else []
            if wanted_text is None:
                return bool(values)
            return bool(values) and all(text_of(value) == wanted_text for value in values)

        return has_value, f"{path} is {wanted_text}" if wanted_text is not None else f"{path} is there"
    raise UserError(
        f"--for {text!r}: write condition=NAME, condition=NAME=false, jsonpath=PATH=VALUE, create or delete"
    )


@click.command(cls=KubectlCommand)
@click.argument("what", nargs=-1, required=True, metavar="KIND/NAME... | KIND NAME...")
@click.option(
    "--for", "wanted", metavar="CONDITION", help="What for; default: condition=Ready, of runs condition=Complete."
)
@namespace_option
@all_namespaces_option
@selector_options
@click.option("--all", "everything", is_flag=True, help="All resources of the kind.")
@timeout_option("30s", "How long; 0 looks once.")
@runtime_command()
async def command(
    runtime: RuntimeManager,
    what: tuple[str, ...],
    wanted: str | None,
    namespace: str | None,
    all_namespaces: bool,
    selector: str | None,
    field_selector: str | None,
    everything: bool,
    timeout_s: float,
) -> None:
    """Wait for a condition of resources.

    CONDITION is condition=NAME, condition=NAME=false, jsonpath=PATH=VALUE, create or delete. Controllers run meanwhile,
    and unfinished runs of workers that are gone are taken up. A run that ended
    otherwise ends the wait with exit code 5. Exit code 1 when time is up.
    """
    from kastra_core.cli.waiting import wait_until
    from kastra_core.execution.run_status import FINISHED

    where = namespace_of(runtime, namespace, all_namespaces)
    targets = await targets_of(runtime, what)
    only_runs = all(target.kind.kind == "Run" for target in targets)
    wanted = wanted or f"condition={'Complete' if only_runs else 'Ready'}"
    holds, words = condition_to_wait_for(wanted)
    names = await _keys(runtime, targets, where, selector, field_selector, everything)
    if wanted not in ("delete", "create") and selector is None and not everything:
        there = await runtime.store.resources.get_many(list(names))
        for key in names:
            if key not in there:
                await runtime.client.require(key)
    await runtime.start_controllers()
    if any(key.kind == "Run" for key in names):
        await runtime.runs.start()
    failed: dict[ResourceKey, Resource] = {}

    def done(key: ResourceKey, resource: Resource | None) -> bool:
        if holds(key, resource):
            emit(f"{names[key]} {_met(words)}")
            return True
        # A run that is over will not change any more: there is nothing to wait for.
        if resource is not None and key.kind == "Run" and resource.status.get("phase") in FINISHED:
            failed[key] = resource
            return True
        return False

    left = await wait_until(runtime, names, done, timeout_s=timeout_s)
    if failed:
        told = "; ".join(f"{names[key]} ended: {_end(run)}" for key, run in failed.items())
        raise RunFailedError(told)
    if left:
        told = "; ".join(f"{names[key]} {_why(resource)}" for key, resource in left.items())
        raise UserError(f"after {timeout_s:g} s still not: {words}: {told}")


def _met(words: str) -> str:
    return "condition met" if words.startswith("condition") else words


def _end(run: Resource) -> str:
    status = run.status
    return ": ".join(str(status[name]) for name in ("phase", "reason", "message") if status.get(name))


def _why(resource: Resource | None) -> str:
    if resource is None:
        return "is not there"
    if resource.metadata.deletion_timestamp:
        return f"is being deleted, held by {', '.join(resource.metadata.finalizers) or 'nothing'}"
    ready = condition_of(resource, "Ready")
    if ready is None or ready.get("status") == "True":
        return f"has phase {resource.status.get('phase', 'unknown')}"
    return f"is not ready: {ready.get('reason')}: {ready.get('message', '')}".rstrip(": ")


async def _keys(
    runtime: RuntimeManager,
    targets: list[Target],
    namespace: str | None,
    selector: str | None,
    field_selector: str | None,
    everything: bool,
) -> dict[ResourceKey, str]:
    """The resources that are meant, with their names for people."""
    from kastra_core.cli.targets import refuse_whole_kinds, select

    out: dict[ResourceKey, str] = {}
    named = [target for target in targets if target.name is not None]
    for target in named:
        where = target.namespace or namespace or runtime.config.namespace
        out[target.kind.key(where, target.name or "")] = kind_name(target.kind, target.name or "")
    if len(named) < len(targets):
        refuse_whole_kinds(targets, chosen=bool(selector or field_selector or everything))
        found, _ = await select(
            runtime, targets, namespace=namespace, selector=selector, field_selector=field_selector, hints=False
        )
        for selection in found:
            for resource in selection.resources:
                out[resource.key] = kind_name(selection.kind, resource.metadata.name)
        if not out:
            raise NotFoundError("a resource that the selector matches")
    return out
