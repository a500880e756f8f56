"""A CustomResourceDefinition as objects, and the kind that it defines.

:func:`kinds_of` is asked for every stored definition when a runtime opens: it looks at names and paths only. A schema
is read when the first manifest of its kind is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import attrs

from kastra_core.api.kind import PrinterColumn, ResourceKind, Scale
from kastra_core.api.meta import JsonObject, Resource
from kastra_core.errors import Problem

if TYPE_CHECKING:
    from kastra_core.api.references import Reference
    from kastra_plugin_crd.structure import SchemaStructure

__all__ = [
    "Definition",
    "Names",
    "Version",
    "by_priority",
    "kinds_of",
    "read_definition",
    "validate",
    "validate_update",
]

_AGE: Final = PrinterColumn(name="AGE", json_path=".metadata.creationTimestamp", type="date")
_PRIORITY: Final = re.compile(r"v([1-9][0-9]*)(?:(alpha|beta)([1-9][0-9]*))?")
_MOST_REPLICAS: Final = 2**31 - 1
_STABILITY: Final = {"alpha": 1, "beta": 2, None: 3}


@attrs.frozen(kw_only=True)
class Names:
    """How a kind is called; what a definition leaves out is filled in."""

    kind: str
    plural: str
    singular: str
    list_kind: str
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()


@attrs.frozen(kw_only=True, eq=False)
class Version:
    """One version of a kind."""

    name: str
    served: bool
    storage: bool
    schema: JsonObject
    """``openAPIV3Schema``."""
    columns: Sequence[JsonObject] = ()
    scale: JsonObject | None = None
    has_status: bool = False
    """Whether status is a subresource."""
    selectable_fields: tuple[str, ...] = ()
    """Their paths."""
    deprecated: bool = False
    deprecation_warning: str | None = None


@attrs.frozen(kw_only=True, eq=False)
class Definition:
    """What the spec of a CustomResourceDefinition says."""

    group: str
    names: Names
    namespaced: bool
    versions: tuple[Version, ...]

    @property
    def storage(self) -> Version | None:
        """The version that objects are stored in."""
        return next((version for version in self.versions if version.storage), None)

    @property
    def served(self) -> tuple[Version, ...]:
        """The versions that manifests may have, the best first."""
        return tuple(sorted((v for v in self.versions if v.served), key=lambda version: by_priority(version.name)))


def by_priority(version: str) -> tuple[Any, ...]:
    """Return the key that sorts names of versions as Kubernetes does, the best first.

    >>> sorted(["v1beta1", "foo1", "v10", "v1alpha2", "v2", "v1beta2"], key=by_priority)
    ['v10', 'v2', 'v1beta2', 'v1beta1', 'v1alpha2', 'foo1']
    """
    found = _PRIORITY.fullmatch(version)
    if found is None:
        return (1, version)
    return (0, -_STABILITY[found[2]], -int(found[1]), -int(found[3] or 0))


def read_definition(spec: JsonObject) -> Definition:
    """Return what a valid spec says.

    Raises:
        KeyError, TypeError, AttributeError: it is not valid.
    """
    given = spec["names"]
    kind = given["kind"]
    names = Names(
        kind=kind,
        plural=given["plural"],
        singular=given.get("singular") or kind.lower(),
        list_kind=given.get("listKind") or f"{kind}List",
        short_names=tuple(given.get("shortNames") or ()),
        categories=tuple(given.get("categories") or ()),
    )
    return Definition(
        group=spec["group"],
        names=names,
        namespaced=spec["scope"] == "Namespaced",
        versions=tuple([_read_version(version) for version in spec["versions"]]),
    )


def _read_version(version: JsonObject) -> Version:
    subresources = version.get("subresources") or {}
    return Version(
        name=version["name"],
        served=bool(version.get("served")),
        storage=bool(version.get("storage")),
        schema=version["schema"]["openAPIV3Schema"],
        columns=version.get("additionalPrinterColumns") or (),
        scale=subresources.get("scale"),
        has_status=subresources.get("status") is not None,
        selectable_fields=tuple([field["jsonPath"] for field in version.get("selectableFields") or ()]),
        deprecated=bool(version.get("deprecated")),
        deprecation_warning=version.get("deprecationWarning"),
    )


# ----------------------------------------------------------------------------------------------------- its kind


def kinds_of(resource: Resource) -> Sequence[ResourceKind]:
    """Return the kind that a valid definition defines.

    The kind has the storage version (the best served one when that is not served); all other served versions are read
    as it, each by its own schema.
    """
    from kastra_plugin_crd.structure import SchemaStructure

    definition = read_definition(resource.spec)
    names, served = definition.names, definition.served
    own = definition.storage
    if own is None or (not own.served and served):
        own = served[0]
    structures = {version.name: SchemaStructure(version.schema, kind=names.kind) for version in served}
    structure = structures.pop(own.name, None) or SchemaStructure(own.schema, kind=names.kind)
    return (
        ResourceKind(
            kind=names.kind,
            plural=names.plural,
            group=definition.group,
            version=own.name,
            singular=names.singular,
            short_names=names.short_names,
            categories=names.categories,
            namespaced=definition.namespaced,
            description=own.schema.get("description") or "",
            structure=structure,
            structures=structures,
            validate=_replica_check(own.scale),
            references=_References(structure),
            list_map_keys=_ListMapKeys(structure),
            warnings={version.name: _warning(definition, version) for version in served if version.deprecated},
            printer_columns=_columns(own.columns),
            scale=_scale(own.scale),
            closed=_closed(resource, served),
        ),
    )


def _closed(resource: Resource, served: Sequence[Version]) -> str:
    if resource.metadata.deletion_timestamp:
        name = resource.metadata.name
        return f"its definition {name} is being deleted (`kastra delete crd {name}` waits for that)"
    return "" if served else f"its definition {resource.metadata.name} serves no version"


def _columns(given: Sequence[JsonObject]) -> tuple[PrinterColumn, ...]:
    if not given:
        return (_AGE,)
    return tuple(
        [
            PrinterColumn(
                name=column["name"].upper(),
                json_path=column["jsonPath"],
                type=column["type"],
                priority=column.get("priority") or 0,
                description=column.get("description") or "",
            )
            for column in given
        ]
    )


def _scale(given: JsonObject | None) -> Scale | None:
    if given is None:
        return None
    return Scale(
        spec_replicas_path=given["specReplicasPath"],
        status_replicas_path=given["statusReplicasPath"],
        label_selector_path=given.get("labelSelectorPath") or "",
    )


def _replica_check(given: JsonObject | None) -> Callable[[Resource], list[Problem]] | None:
    """A number of replicas is one that `kastra scale` could set, whatever the schema says."""
    if given is None:
        return None
    path = given["specReplicasPath"].lstrip(".")

    def check(resource: Resource) -> list[Problem]:
        value: Any = {"spec": resource.spec}
        for name in path.split("."):
            if value is None:
                return []
            if not isinstance(value, dict):
                return [_no_replicas(value, path)]
            if name not in value:
                return []
            value = value[name]
        right = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_REPLICAS
        return [] if right else [_no_replicas(value, path)]

    return check


def _no_replicas(value: Any, path: str) -> Problem:
    from kastra_core.serde import type_word

    message = f"expected a number of replicas, an integer from 0 to {_MOST_REPLICAS}, found {type_word(value)}"
    return Problem(message, path, reason="FieldValueInvalid")


def _warning(definition: Definition, version: Version) -> str:
    """What whoever uses a deprecated version is told: the author's words, else which version is better."""
    if version.deprecation_warning:
        return version.deprecation_warning
    mine = by_priority(version.name)
    for other in definition.served:
        if not other.deprecated and by_priority(other.name) < mine:
            return f"deprecated; use {definition.group}/{other.name}"
    return "deprecated"


@attrs.frozen(eq=False)
class _References:
    """The references that a schema says a resource has; the schema is read at the first call."""

    structure: SchemaStructure

    def __call__(self, resource: Resource) -> Iterable[Reference]:
        return self.structure.references(resource)


@attrs.frozen(eq=False)
class _ListMapKeys(Mapping[str, tuple[str, ...]]):
    """Lists of type map of a schema; the schema is read when somebody looks."""

    structure: SchemaStructure

    def __getitem__(self, path: str) -> tuple[str, ...]:
        return self.structure.list_map_keys()[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self.structure.list_map_keys())

    def __len__(self) -> int:
        return len(self.structure.list_map_keys())


# ------------------------------------------------------------------------------------------------------ verdicts


def validate(resource: Resource) -> Iterable[Problem]:
    """Return what is wrong with a definition, as kube-apiserver finds it when one is created.

    Paths are those of ``apiextensions.k8s.io/v1`` ("spec.versions[0].schema.openAPIV3Schema.properties.spec").
    """
    from kastra_plugin_crd.definition_rules import definition_problems

    return definition_problems(resource)


def validate_update(new: Resource, old: Resource) -> Iterable[Problem]:
    """Return what may not change so: what :func:`validate` finds is not told again."""
    from kastra_plugin_crd.definition_rules import update_problems

    return update_problems(new, old)
