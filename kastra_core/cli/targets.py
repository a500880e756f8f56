"""From ``agents``, ``agent/a``, ``agents a b``, ``agents,tools``, ``all`` to kinds and names, and to resources."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import attrs

from kastra_core.api.kind import PrinterColumn, ResourceKind
from kastra_core.api.meta import Resource, ResourceKey
from kastra_core.api.selectors import FieldSelector, LabelSelector
from kastra_core.errors import NotFoundError, UnknownKindError, UserError

if TYPE_CHECKING:
    from kastra_core.origins import MissingKind
    from kastra_core.runtime import RuntimeManager

__all__ = [
    "Selection",
    "Target",
    "as_orphan",
    "namespace_of",
    "orphaned_kinds",
    "refuse_whole_kinds",
    "resolve_kinds",
    "select",
    "targets_of",
]


class Target(NamedTuple):
    """All resources of a kind (``name`` None) or one of them."""

    kind: ResourceKind
    name: str | None = None
    namespace: str | None = None
    """When the user wrote kind/namespace/name."""


class Selection(NamedTuple):
    """Resources of one kind."""

    kind: ResourceKind
    resources: tuple[Resource, ...]
    missing: MissingKind | None = None
    """The kind as the store remembers it, when nobody offers it: its resources are orphaned."""


def namespace_of(runtime: RuntimeManager, namespace: str | None, all_namespaces: bool) -> str | None:
    """The namespace that is meant, None for all."""
    return None if all_namespaces else namespace or runtime.config.namespace


def _orphaned_kind(missing: MissingKind) -> ResourceKind:
    """A kind that nobody offers, as far as it is known; its version is not."""
    return ResourceKind(
        kind=missing.kind,
        plural=missing.plural,
        singular=missing.singular,
        short_names=missing.short_names,
        group=missing.group,
        version="",
        namespaced=missing.namespaced is not False,
        description="No plugin offers it.",
        printer_columns=(
            PrinterColumn(name="STATUS", json_path=".status.phase"),
            PrinterColumn(name="PLUGIN", json_path=".status.plugin"),
            PrinterColumn(name="AGE", json_path=".metadata.creationTimestamp", type="date"),
        ),
    )


def as_orphan(resource: Resource, missing: MissingKind) -> Resource:
    """The resource as a table shows it, whose columns are those of :func:`orphaned_kinds`."""
    return attrs.evolve(resource, status={"phase": "Orphaned", "plugin": missing.plugin_name or "unknown"})


async def orphaned_kinds(runtime: RuntimeManager) -> list[ResourceKind]:
    """Kinds that have resources in the store and that nobody offers."""
    return [_orphaned_kind(missing) for missing in (await runtime.missing_kinds()).values()]


async def resolve_kinds(runtime: RuntimeManager, words: str) -> list[ResourceKind]:
    """The kinds that ``agents``, ``agents,tools``, ``all`` or ``Widget.acme.example`` mean.

    Raises: UnknownKindError, AmbiguousKindError.
    """
    found: dict[tuple[str, str], ResourceKind] = {}
    for word in filter(None, (part.strip() for part in words.split(","))):
        for kind in await _kinds_of_word(runtime, word):
            found.setdefault(kind.group_kind, kind)
    if not found:
        raise UserError(f"{words!r} names no kind")
    return list(found.values())


async def _kinds_of_word(runtime: RuntimeManager, word: str) -> list[ResourceKind]:
    try:
        return [runtime.registry.resolve(word)]
    except UnknownKindError:
        if category := runtime.registry.in_category(word.lower()):
            return [*category, *(await orphaned_kinds(runtime) if word.lower() == "all" else ())]
        for kind in await orphaned_kinds(runtime):
            short = (kind.kind.lower(), *kind.names)
            if word.lower() in (*short, *(f"{name}.{kind.group}" for name in short)):
                return [kind]
        if word.lower() == "all":
            return []
        if word.lower() in ("thread", "threads"):
            raise UserError(
                "threads are no resources; `kastra threads list` lists them, `kastra threads show NAME` shows one, "
                "`kastra threads delete NAME` deletes one"
            ) from None
        raise


def refuse_whole_kinds(targets: Sequence[Target], *, chosen: bool) -> None:
    """Refuse targets that name a kind and nothing else, unless the resources are ``chosen`` in another way.

    Raises: UserError.
    """
    if not chosen and any(target.name is None for target in targets):
        raise UserError("name resources, or give -l, --field-selector or --all")


class _ElsewhereError(NotFoundError):
    """It is not where it was looked for, but in other namespaces."""

    def __init__(self, what: str, places: Sequence[str]) -> None:
        super().__init__(what)
        self.places = tuple(places)

    def __str__(self) -> str:
        return f"{self.what} not found; there is one in namespace {', '.join(self.places)}: add -n {self.places[0]}"


_LOOKED_THROUGH = 1000
"""Resources that are looked through for a hint, at most."""


async def _with_places(runtime: RuntimeManager, kind: ResourceKind, name: str, error: NotFoundError) -> NotFoundError:
    if not kind.namespaced:
        return error
    every = (await runtime.client.list(kind, limit=_LOOKED_THROUGH)).items
    places = sorted(item.metadata.namespace for item in every if item.metadata.name == name)
    return _ElsewhereError(error.what, places) if places else error


async def targets_of(runtime: RuntimeManager, words: Sequence[str]) -> list[Target]:
    """What the arguments of a command name.

    Raises: UserError, UnknownKindError, AmbiguousKindError.
    """
    if not words:
        raise UserError("name a kind, for example agents, or KIND/NAME; `kastra explain` lists the kinds")
    slashed = [word for word in words if "/" in word]
    if slashed:
        if len(slashed) != len(words):
            plain = next(word for word in words if "/" not in word)
            raise UserError(f"write either KIND NAME ... or KIND/NAME ...; {plain!r} is not KIND/NAME")
        out: list[Target] = []
        for word in words:
            kind_word, *rest = word.split("/")
            if not 1 <= len(rest) <= 2 or not all((kind_word, *rest)):
                raise UserError(f"{word!r} is neither KIND/NAME nor KIND/NAMESPACE/NAME")
            kinds = await resolve_kinds(runtime, kind_word)
            out.extend(Target(kind, rest[-1], rest[0] if len(rest) == 2 else None) for kind in kinds)
        return out
    kinds = await resolve_kinds(runtime, words[0])
    names = words[1:]
    if names:
        return [Target(kind, name) for kind in kinds for name in names]
    return [Target(kind) for kind in kinds]


async def select(
    runtime: RuntimeManager,
    targets: Sequence[Target],
    *,
    namespace: str | None,
    selector: str | None = None,
    field_selector: str | None = None,
    hints: bool = True,
) -> tuple[list[Selection], list[NotFoundError]]:
    """Read what targets name, by kind in the order of the targets; and what was named and is not there.

    Args:
        namespace: None for all.
        selector, field_selector: of labels and fields.
        hints: let what is missing say in which other namespaces there is one of that name.
    Raises: SelectorError; UserError when a name stands beside ``namespace`` None.
    """
    labels = LabelSelector.parse(selector) if selector else None
    fields = FieldSelector.parse(field_selector) if field_selector else None
    found: dict[tuple[str, str], list[Resource]] = {}
    kinds: dict[tuple[str, str], ResourceKind] = {}
    missing: list[NotFoundError] = []
    for target in targets:
        kind = target.kind
        kinds.setdefault(kind.group_kind, kind)
        resources = found.setdefault(kind.group_kind, [])
        if target.name is None:
            resources.extend(await _list(runtime, kind, namespace, labels, fields))
            continue
        if labels or fields:
            raise UserError("a selector stands in place of names, not beside them")
        where = target.namespace or namespace
        if where is None and kind.namespaced:
            raise UserError(f"{target.name!r} with --all-namespaces: name its namespace with -n, or no name at all")
        if runtime.registry.get(*kind.group_kind) is None:
            # Whether an orphaned kind had namespaces is not known any more.
            found_so = await runtime.client.get(ResourceKey(*kind.group_kind, "", target.name))
            if found_so is not None:
                resources.append(found_so)
                continue
        try:
            resources.append(await runtime.client.require(kind.key(where or "", target.name)))
        except NotFoundError as error:
            missing.append(await _with_places(runtime, kind, target.name, error) if hints else error)
    gone: dict[tuple[str, str], MissingKind] = {}
    if any(runtime.registry.get(*group_kind) is None for group_kind in kinds):
        gone = await runtime.missing_kinds()
    selections = [Selection(kind, tuple(found[group_kind]), gone.get(group_kind)) for group_kind, kind in kinds.items()]
    return selections, missing


async def _list(
    runtime: RuntimeManager,
    kind: ResourceKind,
    namespace: str | None,
    labels: LabelSelector | None,
    fields: FieldSelector | None,
) -> Sequence[Resource]:
    if runtime.registry.get(*kind.group_kind) is not None:
        return (await runtime.client.list(kind, namespace=namespace, labels=labels, fields=fields)).items
    # Whether an orphaned kind had namespaces is not known any more.
    every = await runtime.client.list(kind, labels=labels, fields=fields)
    return [item for item in every.items if namespace is None or item.metadata.namespace in ("", namespace)]
