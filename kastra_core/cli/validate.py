"""``kastra validate``: is it right, without a store."""

from __future__ import annotations

import click

from kastra_core.cli.common import KubectlCommand, current, emit, filename_options, namespace_option

__all__ = ["command"]


@click.command(cls=KubectlCommand)
@filename_options(required=True)
@namespace_option
@click.option("--strict", is_flag=True, help="Refuse fields that the schema of a kind does not know.")
def command(filenames: tuple[str, ...], recursive: bool, namespace: str | None, strict: bool) -> None:
    """Check manifests; print every problem with its place. Nothing is written.

    Checks syntax, structure, names and the rules of the kinds, also of what a manifest includes, not whether what is
    referred to exists. The store is read only for kinds that are defined in it.
    """
    from kastra_core import manifests
    from kastra_core.cli.offline import decode_offline

    state = current()
    documents = manifests.read_sources(list(filenames), recursive=recursive)
    decoded = decode_offline(state, documents, namespace, "strict" if strict else "warn")
    for item in decoded:
        for note in item.notes:
            state.note(f"{note} ({item.resource.key})")
    count = len(decoded)
    inside = sum(1 for item in decoded for _ in item.all()) - count
    more = f", with {inside} inside" if inside else ""
    emit(f"1 resource is valid{more}" if count == 1 else f"{count} resources are valid{more}")
