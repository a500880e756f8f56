"""``kastra delete``: with finalizers honoured and dependents collected."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kastra_core.api.kind import ResourceKind
from kastra_core.api.meta import Resource, ResourceKey, condition_of
from kastra_core.cli.common import (
    KubectlCommand,
    all_namespaces_option,
    current,
    emit,
    filename_options,
    namespace_option,
    output_option,
    selector_options,
    timeout_option,
    wait_option,
)
from kastra_core.cli.completion import complete_resources
from kastra_core.cli.failures import leaving
from kastra_core.cli.printing import kind_name
from kastra_core.cli.targets import (
    Selection,
    Target,
    namespace_of,
    orphaned_kinds,
    refuse_whole_kinds,
    select,
    targets_of,
)
from kastra_core.errors import ConflictError, NotFoundError, UnknownKindError, UserError
from kastra_core.resources import FOREGROUND

if TYPE_CHECKING:
    from kastra_core.manifests import Document
    from kastra_core.runtime import RuntimeManager

__all__ = ["command"]

_TRIES = 8
"""How often a resource that others write at the same time is read again."""


@click.command(cls=KubectlCommand)
@click.argument("what", nargs=-1, metavar="[KINDS [NAME]... | KIND/NAME...]", shell_complete=complete_resources)
@filename_options()
@namespace_option
@all_namespaces_option
@selector_options
@click.option("--all", "everything", is_flag=True, help="All resources of the kinds.")
@click.option(
    "--cascade",
    type=click.Choice(["background", "foreground", "orphan"]),
    default="background",
    show_default=True,
    help="What it owns: goes with it, goes first, or stays.",
)
@click.option(
    "--drop-finalizers",
    is_flag=True,
    help="Do not wait for controllers that are gone for good. What they keep elsewhere stays.",
)
@wait_option("Wait until they are gone.")
@timeout_option("60s")
@click.option("--ignore-not-found", is_flag=True, help="A name that is not there is no error.")
@click.option("--dry-run/--no-dry-run", default=False, help="Only say what would be deleted.")
@output_option("name")
def command(
    what: tuple[str, ...],
    filenames: tuple[str, ...],
    recursive: bool,
    namespace: str | None,
    all_namespaces: bool,
    selector: str | None,
    field_selector: str | None,
    everything: bool,
    cascade: str,
    drop_finalizers: bool,
    wait: bool,
    timeout_s: float,
    ignore_not_found: bool,
    dry_run: bool,
    output: str,
) -> None:
    """Delete resources by name, by selector or from files.

    Finalizers are honoured: the controllers run until they have let go. A definition of a kind takes all resources of
    the kind with it.
    """
    if bool(what) == bool(filenames):
        raise UserError("name resources, or files with -f" + (", not both" if what else ""))
    documents: list[Document] = []
    if filenames:
        from kastra_core import manifests

        with leaving("nothing was deleted"):
            documents = manifests.read_sources(list(filenames), recursive=recursive)

    async def delete(runtime: RuntimeManager) -> None:
        where = namespace_of(runtime, namespace, all_namespaces)
        if documents:
            targets = await _named_in(runtime, documents, namespace)
        else:
            targets = await targets_of(runtime, what)
            refuse_whole_kinds(targets, chosen=bool(selector or field_selector or everything))
        found, missing = await select(
            runtime, targets, namespace=where, selector=selector, field_selector=field_selector
        )
        left = await _delete_all(runtime, found, cascade, dry_run=dry_run, short=output == "name")
        for note in await _made_again(runtime, found):
            current().note(note)
        if not any(selection.resources for selection in found) and not missing:
            click.echo("No resources found", err=True)
        if left and drop_finalizers and not dry_run:
            for selection in found:
                for resource in selection.resources:
                    if resource.key in left:
                        await _drop_finalizers(runtime, selection.kind, resource)
        if left and wait:
            await _refuse_orphans(runtime, left)
            await _wait_gone(runtime, left, timeout_s)
        if missing and not ignore_not_found:
            for error in missing[:-1]:
                click.echo(f"error: {error}", err=True)
            raise missing[-1]

    current().run(delete)


async def _named_in(runtime: RuntimeManager, documents: list[Document], namespace: str | None) -> list[Target]:
    """The resources that manifests name; the rest of a manifest may be wrong, it goes anyway."""
    from kastra_core.definitions import KindsOfDocuments

    known = KindsOfDocuments(runtime.registry)
    defines = any(known.defines(document.data) for document in documents)
    out = []
    for document in documents:
        data = document.data
        meta = data.get("metadata")
        name = meta.get("name") if isinstance(meta, dict) else None
        if not isinstance(name, str) or not isinstance(data.get("kind"), str):
            raise UserError(f"{document.file}:{document.line}: kind and metadata.name are wanted to delete it")
        try:
            kind = runtime.registry.for_manifest(str(data.get("apiVersion")), data["kind"])[0]
        except UnknownKindError:
            kind = await _gone_kind(runtime, str(data.get("apiVersion")), data["kind"], defines=defines)
        where = (meta.get("namespace") if isinstance(meta, dict) else None) or namespace or runtime.config.namespace
        out.append(Target(kind, name, where))
    return out


async def _gone_kind(runtime: RuntimeManager, api_version: str, name: str, *, defines: bool) -> ResourceKind:
    """A kind that nobody offers: it has left resources, or ``defines``: it went with its definition and all of them.

    Raises: UnknownKindError.
    """
    group = api_version.rpartition("/")[0]
    for kind in await orphaned_kinds(runtime):
        if kind.group_kind == (group, name):
            return kind
    if not defines or runtime.registry.get(group, name) is not None:
        raise UnknownKindError(name, [kind.kind for kind in runtime.registry])
    return ResourceKind(kind=name, plural=f"{name.lower()}s", group=group)


async def _delete_all(
    runtime: RuntimeManager, found: list[Selection], cascade: str, *, dry_run: bool, short: bool
) -> dict[ResourceKey, tuple[str, str]]:
    """Delete; return those that are not gone yet: key to (uid, name for people)."""
    left: dict[ResourceKey, tuple[str, str]] = {}
    for selection in found:
        for resource in selection.resources:
            name = kind_name(selection.kind, resource.metadata.name)
            if not dry_run:
                gone = await runtime.client.delete(resource.key, propagation=cascade, uid=resource.metadata.uid)
                if gone is not None and await _is_there(runtime, resource):
                    left[resource.key] = (resource.metadata.uid, name)
            emit(name if short else f"{name} deleted" + (" (dry run)" if dry_run else ""))
        if selection.missing is not None and selection.resources:
            whose = selection.missing.plugin_name or "the plugin"
            current().note(f"what {whose} keeps of {selection.kind.plural} elsewhere is not cleaned up without it")
    return left


async def _made_again(runtime: RuntimeManager, found: list[Selection]) -> list[str]:
    """What is not gone for good: resources whose owner stays and makes them again."""
    gone = {resource.metadata.uid for selection in found for resource in selection.resources}
    names: dict[ResourceKey, list[str]] = {}
    uids: dict[ResourceKey, str] = {}
    for selection in found:
        if selection.kind.ephemeral:
            continue  # nobody makes a run again
        for resource in selection.resources:
            for owner in resource.metadata.owner_references:
                kind = runtime.registry.get(owner.api_version.rpartition("/")[0], owner.kind)
                if owner.controller and owner.uid not in gone and kind is not None:
                    key = kind.key(resource.metadata.namespace, owner.name)
                    uids[key] = owner.uid
                    names.setdefault(key, []).append(kind_name(selection.kind, resource.metadata.name))
    out = []
    for key, stays in (await runtime.store.resources.get_many(list(names))).items():
        if stays.metadata.uid == uids[key] and not stays.metadata.deletion_timestamp:
            more = f" and {len(names[key]) - 3} more" if len(names[key]) > 3 else ""
            what, short = f"{', '.join(names[key][:3])}{more}", kind_name(runtime.registry.of_key(key), key.name)
            it = "it" if len(names[key]) == 1 else "them"
            out.append(f"{short} owns {what} and makes {it} again; take {it} out of {short}, or delete that")
    return out


async def _is_there(runtime: RuntimeManager, resource: Resource) -> bool:
    now = await runtime.client.get(resource.key)
    return now is not None and now.metadata.uid == resource.metadata.uid


async def _drop_finalizers(runtime: RuntimeManager, kind: ResourceKind, resource: Resource) -> None:
    """Take off those of controllers that the kind does not know of; its own are its business."""
    for _ in range(_TRIES):
        live = await runtime.client.get(resource.key)
        if live is None or live.metadata.uid != resource.metadata.uid:
            return
        kept = tuple(name for name in live.metadata.finalizers if name in (*kind.finalizers, FOREGROUND))
        try:
            await runtime.client.set_finalizers(live, kept)
        except (ConflictError, NotFoundError):
            continue
        return


async def _refuse_orphans(runtime: RuntimeManager, left: dict[ResourceKey, tuple[str, str]]) -> None:
    """Nobody lets go of what is of a kind that is not known: do not wait for it.

    Raises: UserError.
    """
    missing = await runtime.missing_kinds()
    stay = await runtime.store.resources.get_many([key for key in left if (key.group, key.kind) in missing])
    if not stay:
        return
    told = "; ".join(f"{left[key][1]}{_why_there(resource)}" for key, resource in stay.items())
    kinds = "; ".join(dict.fromkeys(f"{one}; {one.remedy}" for key in stay if (one := missing[key.group, key.kind])))
    raise UserError(
        f"marked for deletion, but not gone: {told}. {kinds}, and it goes; or `kastra delete KIND/NAME "
        "--drop-finalizers`, and what its controller would have cleaned up stays"
    )


async def _wait_gone(runtime: RuntimeManager, left: dict[ResourceKey, tuple[str, str]], timeout_s: float) -> None:
    from kastra_core.cli.waiting import wait_until

    await runtime.start_controllers()
    late = await wait_until(
        runtime,
        left,
        lambda key, resource: resource is None or resource.metadata.uid != left[key][0],
        timeout_s=timeout_s,
    )
    if late:
        held = {left[key][1]: resource for key, resource in late.items() if resource is not None}
        told = "; ".join(f"{name}{_why_there(resource)}" for name, resource in held.items())
        raise UserError(
            f"marked for deletion, but not gone after {timeout_s:g} s: {told}; a controller that knows the finalizer "
            "must run (`kastra plugins`); if it is gone for good: `kastra delete KIND/NAME --drop-finalizers`"
        )


def _why_there(resource: Resource) -> str:
    """Why a resource that is being deleted is still there: its controller's words, else who holds it."""
    condition = condition_of(resource, "Terminating") or {}
    if condition.get("status") == "True" and condition.get("message"):
        return f": {condition['message']}"
    return f" is held by {', '.join(resource.metadata.finalizers) or 'what it owns'}"
