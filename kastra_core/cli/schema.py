"""``kastra schema``: JSON schemas of the kinds for editors, and the kinds as CustomResourceDefinitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kastra_core.cli.common import KubectlCommand, current, emit
from kastra_core.cli.completion import complete_kinds
from kastra_core.errors import UserError

if TYPE_CHECKING:
    from kastra_core.api.kind import ResourceKind
    from kastra_core.api.meta import JsonObject
    from kastra_core.api.registry import KindRegistry
    from kastra_core.cli.common import CliState
    from kastra_core.runtime import RuntimeManager

__all__ = ["BUNDLE", "command"]

BUNDLE = "kastra.json"
"""File with the schema of all kinds that are exported."""


@click.group()
def command() -> None:
    """Export the schemas of kinds."""


@command.command(cls=KubectlCommand)
@click.argument("kinds", nargs=-1, metavar="[KIND...]", shell_complete=complete_kinds)
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonschema", "crd"]),
    default="jsonschema",
    show_default=True,
    help="JSON schema for editors, or CustomResourceDefinitions for Kubernetes and kastra apply.",
)
@click.option("--all", "everything", is_flag=True, help="Every kind that a manifest may be of.")
@click.option(
    "--api-version", metavar="GROUP/VERSION", help="JSON schema of one kind in another version in which it is served."
)
@click.option(
    "-o",
    "--output",
    "directory",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help=f"Write a file per kind here, and with JSON schema {BUNDLE} for all of them; made when it is not there.",
)
def export(
    kinds: tuple[str, ...], form: str, everything: bool, api_version: str | None, directory: Path | None
) -> None:
    """Write the schema of kinds, also of those that definitions in the store make.

    One kind goes to standard output as it is. Several go as one JSON schema that tells manifests by their apiVersion
    and kind, or as one YAML document for each definition; with -o DIR each has a file of its own. The definition of a
    kind that a definition makes is that one, as it was applied.

    \b
    kastra schema export --all -o schemas
    # yaml-language-server: $schema=schemas/kastra.json
    """
    state = current()
    if bool(kinds) == everything:
        raise UserError("name kinds, or give --all" + (", not both" if kinds else "; `kastra explain` lists the kinds"))
    registry = state.registry()
    chosen = _all(registry, form) if everything else _named(registry, kinds)
    if api_version is not None:
        if len(chosen) != 1 or form != "jsonschema" or directory is not None:
            raise UserError("--api-version is for the JSON schema of one kind, on standard output")
        emit(_one(chosen[0], api_version))
        return
    stored = _stored(state, registry, chosen) if form == "crd" else {}
    if directory is None:
        emit(_text(chosen, form, stored))
        return
    files = _files(chosen, form, stored)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (directory / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{error.filename or directory} cannot be written: {error.strerror}") from error
    emit("\n".join(str(directory / name) for name in files))


def _named(registry: KindRegistry, words: Sequence[str]) -> list[ResourceKind]:
    found: dict[tuple[str, str], ResourceKind] = {}
    for word in (part.strip() for words_ in words for part in words_.split(",")):
        kinds = [] if registry.lookup(word) else registry.in_category(word.lower())
        for kind in kinds or [registry.resolve(word)]:
            found.setdefault(kind.group_kind, kind)
    return list(found.values())


def _all(registry: KindRegistry, form: str) -> list[ResourceKind]:
    kinds = [kind for kind in registry if not kind.ephemeral]
    # Nobody can define a kind without group, nor the kind of the definitions.
    return [kind for kind in kinds if form == "jsonschema" or (kind.group and kind.defines is None)]


def _one(kind: ResourceKind, api_version: str) -> str:
    from kastra_core.cli.explain import version_of
    from kastra_core.schemas import json_schema

    return _json(json_schema(kind, version=version_of(kind, api_version)))


def _stored(
    state: CliState, registry: KindRegistry, kinds: Sequence[ResourceKind]
) -> Mapping[tuple[str, str], JsonObject]:
    """Group and kind to the definition in the store that makes it; kinds of plugins have none."""
    wanted = {registry.provider_of(kind): kind.group_kind for kind in kinds}
    if not any(" " in provider for provider in wanted):
        return {}

    async def read(runtime: RuntimeManager) -> dict[tuple[str, str], JsonObject]:
        from kastra_core.cli.export import portable_manifest

        found: dict[tuple[str, str], JsonObject] = {}
        for kind in registry.defining():
            for resource in (await runtime.client.list(kind)).items:
                made = wanted.get(f"{kind.kind} {resource.metadata.name}")
                if made is not None:
                    found[made] = portable_manifest(resource)
        return found

    return state.read(read)


def _text(kinds: Sequence[ResourceKind], form: str, stored: Mapping[tuple[str, str], JsonObject]) -> str:
    from kastra_core.schemas import bundle, crd_of, json_schema

    if form == "crd":
        from kastra_core.manifests import dump

        return dump([stored.get(kind.group_kind) or crd_of(kind) for kind in kinds])
    return _json(json_schema(kinds[0]) if len(kinds) == 1 else bundle(kinds))


def _files(kinds: Sequence[ResourceKind], form: str, stored: Mapping[tuple[str, str], JsonObject]) -> dict[str, str]:
    """Name of a file to what belongs in it."""
    from kastra_core.schemas import bundle, crd_of, json_schema

    if form == "crd":
        from kastra_core.manifests import dump

        return {f"{kind.qualified_plural}.yaml": dump([stored.get(kind.group_kind) or crd_of(kind)]) for kind in kinds}
    out: dict[str, str] = {}
    for kind in kinds:
        out[f"{kind.qualified_plural}.json"] = _json(json_schema(kind))
        for version in kind.structures:
            out[f"{kind.qualified_plural}_{version}.json"] = _json(json_schema(kind, version=version))
    return {**out, BUNDLE: _json(bundle(kinds))}


def _json(data: Any) -> str:
    import orjson

    return orjson.dumps(data, option=orjson.OPT_INDENT_2).decode() + "\n"
