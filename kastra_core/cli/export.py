"""``kastra export``: resources as manifests that can be applied elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kastra_core.api.meta import JsonObject, Resource
from kastra_core.cli.common import (
    CliState,
    KubectlCommand,
    all_namespaces_option,
    current,
    emit,
    filename_options,
    made_by,
    namespace_option,
    output_option,
    selector_options,
)
from kastra_core.cli.completion import complete_resources
from kastra_core.cli.printing import render_data
from kastra_core.cli.targets import namespace_of, orphaned_kinds, select, targets_of
from kastra_core.errors import UserError
from kastra_core.resources import EVERYTHING

if TYPE_CHECKING:
    from kastra_core.cli.targets import Target
    from kastra_core.runtime import RuntimeManager

__all__ = ["clean_manifest", "command", "portable_manifest"]

_MOST_FIELDS = 3
"""Fields that a note names."""
_RUNTIME_FIELDS = (
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "managedFields",
)


def clean_manifest(resource: Resource) -> JsonObject:
    """The manifest without what the runtime sets: no status, no uid, no bookkeeping of owners."""
    manifest = resource.to_manifest()
    manifest.pop("status", None)
    for name in _RUNTIME_FIELDS:
        manifest["metadata"].pop(name, None)
    return manifest


@click.command(cls=KubectlCommand)
@click.argument("what", nargs=-1, metavar="[KINDS [NAME]... | KIND/NAME...]", shell_complete=complete_resources)
@namespace_option
@all_namespaces_option
@selector_options
@filename_options()
@click.option(
    "--to", "target", default="", metavar="NAME", help="Write another system's format (kastra migrate --list)."
)
@output_option("yaml", "json", default="yaml")
@click.option(
    "--output-dir",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="A file per resource, NAMESPACE/KIND-NAME.yaml, instead of stdout; with --to as that format has it.",
)
def command(
    what: tuple[str, ...],
    namespace: str | None,
    all_namespaces: bool,
    selector: str | None,
    field_selector: str | None,
    filenames: tuple[str, ...],
    recursive: bool,
    target: str,
    output: str,
    output_dir: Path | None,
) -> None:
    """Write resources as manifests that can be applied.

    Without arguments all kinds but runs and events. What the runtime sets (uid, resourceVersion, status ...) is left
    out, and so are resources that another one owns: their owner makes them anew. With -f the manifests of files are
    written, and the store is not asked.

    \b
    Examples:
      kastra export agents -n shop > agents.yaml
      kastra export --to agentspec --output-dir out
      kastra export -f agents/ --to agentspec -o json
    """
    state = current()
    if filenames:
        if what or selector or field_selector or all_namespaces:
            raise click.UsageError("-f takes all resources of the files: leave out what selects in the store")
        manifests = _of_files(state, filenames, recursive, namespace)
    else:
        manifests = _of_store(state, what, namespace, all_namespaces, selector, field_selector)
    if target:
        _convert(state, target, manifests, output, output_dir)
        return
    if output_dir is not None:
        _write(output_dir, manifests, output)
        state.note(f"{len(manifests)} files in {output_dir}")
        return
    if not manifests:
        click.echo("No resources found", err=True)
    elif output == "json":
        emit(render_data({"apiVersion": "v1", "kind": "List", "items": manifests}, "json"))
    else:
        from kastra_core.manifests import dump

        emit(dump(manifests))


def _of_files(state: CliState, filenames: Sequence[str], recursive: bool, namespace: str | None) -> list[JsonObject]:
    from kastra_core import manifests
    from kastra_core.cli.offline import decode_offline

    documents = manifests.read_sources(list(filenames), recursive=recursive)
    return [clean_manifest(decoded.resource) for decoded in decode_offline(state, documents, namespace)]


def _convert(
    state: CliState, target: str, manifests: Sequence[JsonObject], output: str, output_dir: Path | None
) -> None:
    """Write another system's format; what has no place there is told on stderr."""
    records = {record.name: (plugin, record) for plugin, record in state.plugins.records("kastra_migrators")}
    able = sorted(name for name, (_, record) in records.items() if record.exporter is not None)
    if target not in able:
        why = "reads its format and does not write it" if target in records else "is not installed"
        raise UserError(f"the format {target!r} {why}; those that can be written: {', '.join(able) or 'none'}")
    plugin, record = records[target]
    exporter = made_by(plugin, f"its exporter {target!r}", record.exporter)
    result = exporter.export(manifests, format=output)
    groups: dict[tuple[str, str], list[str]] = {}
    for row in result.rows:
        if row.outcome in ("dropped", "manual"):
            groups.setdefault((row.outcome, row.reason), []).append(f"{row.file} {row.key}".strip())
    for (outcome, reason), fields in groups.items():
        more = f" and {len(fields) - _MOST_FIELDS} more" if len(fields) > _MOST_FIELDS else ""
        state.note(f"{', '.join(fields[:_MOST_FIELDS])}{more}: {outcome}: {reason}")
    if output_dir is None:
        if len(result.files) > 1 and output == "json":
            raise UserError(f"{len(result.files)} files come of it; name a directory for them: --output-dir DIR")
        emit("---\n".join(text if text.endswith("\n") else f"{text}\n" for text in result.files.values()))
        return
    for path, text in result.files.items():
        file = output_dir / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    state.note(f"{len(result.files)} files in {output_dir}")


def _of_store(
    state: CliState,
    what: tuple[str, ...],
    namespace: str | None,
    all_namespaces: bool,
    selector: str | None,
    field_selector: str | None,
) -> list[JsonObject]:
    async def read(runtime: RuntimeManager) -> list[Resource]:
        targets = await targets_of(runtime, what) if what else await _everything(runtime)
        found, missing = await select(
            runtime,
            targets,
            namespace=namespace_of(runtime, namespace, all_namespaces),
            selector=selector,
            field_selector=field_selector,
        )
        if missing:
            raise missing[0]
        named = {target.name for target in targets}
        return [
            resource
            for selection in found
            for resource in selection.resources
            if not resource.metadata.deletion_timestamp
            and (resource.metadata.name in named or not any(o.controller for o in resource.metadata.owner_references))
        ]

    return [portable_manifest(resource) for resource in state.read(read)]


async def _everything(runtime: RuntimeManager) -> list[Target]:
    from kastra_core.cli.targets import Target

    # What defines kinds comes first, as whoever else reads the manifests may want it.
    kinds = sorted((kind for kind in runtime.registry if not kind.ephemeral), key=lambda kind: kind.defines is None)
    return [Target(kind) for kind in [*kinds, *await orphaned_kinds(runtime)]]


def portable_manifest(resource: Resource) -> JsonObject:
    """The manifest as it can be applied elsewhere.

    Owners are named by uid, which means nothing elsewhere; finalizers of controllers are put by those elsewhere.
    """
    manifest = clean_manifest(resource)
    meta = manifest["metadata"]
    meta.pop("ownerReferences", None)
    kept = [name for name in meta.pop("finalizers", ()) if _is_a_wish(resource, name)]
    if kept:
        meta["finalizers"] = kept
    return manifest


def _is_a_wish(resource: Resource, finalizer: str) -> bool:
    """Whether a manifest asked for a finalizer."""
    return any(
        managed.fields == EVERYTHING or finalizer in managed.fields.get("metadata", {}).get("finalizers", {})
        for managed in resource.metadata.managed_fields
    )


def _write(directory: Path, manifests: list[JsonObject], output: str) -> None:
    written: set[Path] = set()
    for manifest in manifests:
        meta, kind = manifest["metadata"], manifest["kind"].lower()
        folder = directory / meta.get("namespace", "")
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{kind}-{meta['name']}.{output}"
        if file in written:  # kinds of two groups may have one name
            file = folder / f"{kind}.{manifest['apiVersion'].rpartition('/')[0]}-{meta['name']}.{output}"
        written.add(file)
        file.write_text(render_data(manifest, output), encoding="utf-8")
