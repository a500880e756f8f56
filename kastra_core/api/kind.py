"""What a plugin says about a kind: names, scope, schema, columns, references, runner.

A :class:`ResourceKind` is cheap to make: what costs an import is given as ``"module:attribute"`` and
loaded on first use (:mod:`kastra_core.api.lazy`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from kastra_core.api.lazy import Lazy, load
from kastra_core.api.meta import JsonObject, Resource, ResourceKey
from kastra_core.errors import Problem

if TYPE_CHECKING:
    from kastra_core.api.graph import Graph
    from kastra_core.api.references import Reference
    from kastra_core.protocols.store import Operation

__all__ = [
    "MAIN_GROUP",
    "Embedded",
    "GroupVersionKind",
    "Includer",
    "PrinterColumn",
    "ResourceKind",
    "Scale",
    "Structure",
]

MAIN_GROUP = "mastra.ai"
"""Group of the first-party kinds; plugins of others have a group of their own."""


@attrs.frozen
class GroupVersionKind:
    """Type of a resource. ``str`` gives ``mastra.ai/v1, Kind=Agent``."""

    group: str
    version: str
    kind: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def __str__(self) -> str:
        return f"{self.api_version}, Kind={self.kind}"


@attrs.frozen(kw_only=True)
class PrinterColumn:
    """A column of ``kastra get``.

    ``json_path`` is the dotted subset of JSONPath: ``.spec.model.name``, ``.spec.tools[*].name``,
    ``.status.conditions[?(@.type=="Ready")].status``. ``type`` is string, integer, number, seconds,
    boolean or date (a date is shown as an age, seconds with their unit). ``priority`` 0 is always shown, 1 with
    ``-o wide`` only.
    """

    name: str
    json_path: str
    type: str = "string"
    priority: int = 0
    description: str = ""


@attrs.frozen(kw_only=True)
class Scale:
    """Where a kind keeps how many it wants, for ``kastra scale``. Paths are dotted: ``.spec.replicas``."""

    spec_replicas_path: str
    status_replicas_path: str = ""
    label_selector_path: str = ""
    """Where status says which objects are counted, as the text of a label selector."""


class Structure(Protocol):
    """What the manifests of one version of a kind look like, for a kind that a schema describes.

    Manifests come whole (apiVersion, kind, metadata and all other top-level fields) but for ``status``, which only
    controllers write. No method may change its arguments.
    """

    @property
    def schema(self) -> Mapping[str, Any]:
        """The OpenAPI v3 schema of the whole object."""
        ...

    def prune(self, manifest: JsonObject) -> tuple[JsonObject, Sequence[Problem]]:
        """Return a manifest without what the schema does not know, and a problem for each field that was dropped."""
        ...

    def default(self, manifest: JsonObject) -> JsonObject:
        """Return a pruned manifest with the schema's defaults filled in."""
        ...

    def validate(self, manifest: JsonObject, old: JsonObject | None = None) -> Sequence[Problem]:
        """Return what is wrong with a pruned manifest with its defaults.

        Args:
            manifest: what is wanted.
            old: what is stored, when the write changes something: for rules that compare the two.
        """
        ...


class Includer(Protocol):
    """Reads files for a manifest that names them, and is told where everything goes, so that every problem is shown
    in the file and line it comes from.
    """

    def include(self, path: str, into: str) -> Sequence[JsonObject]:
        """Return the manifests of a file, a directory or a glob, in order.

        The path is taken from the directory of the file that names it and may not lead out of it. A directory and a
        glob do not stand for the file that names them. What cannot be read is kept and raised when the manifest is
        resolved, with all else that is wrong; what can be read is returned.

        Args:
            path: as the manifest says it.
            into: field path in the manifest that names it ("spec.include[0]"); where problems are told.
        """
        ...

    def placed(self, into: str, manifest: JsonObject) -> None:
        """Say that an included manifest now stands at a field path of the resolved manifest ("spec.agents[2]")."""
        ...

    def moved(self, into: str, source: str) -> None:
        """Say that what the manifest itself has at the field path ``source`` stands at ``into`` when resolved."""
        ...


@attrs.frozen(kw_only=True)
class Embedded:
    """A manifest inside a resource."""

    path: str
    """Where in the resource ("spec.agents[0]")."""
    manifest: JsonObject
    """apiVersion, kind, metadata, spec."""
    places: Mapping[str, str] = attrs.field(factory=dict)
    """Field path of the manifest -> field path below ``path``, where they differ ("metadata.name" -> "name"); the
    longest that fits holds, "" stands for ``path`` itself."""

    def outer(self, path: str) -> str:
        """Return the field path in the resource of a field path of the manifest.

        >>> Embedded(path="spec.agents[0]", manifest={}, places={"metadata.name": "name"}).outer("metadata.name")
        'spec.agents[0].name'
        """
        best = max((inner for inner in self.places if _is_below(path, inner)), key=len, default="")
        below = self.places.get(best, best) + path[len(best) :]
        return f"{self.path}.{below}" if below and below[0] not in ".[" else f"{self.path}{below}"


def _is_below(path: str, above: str) -> bool:
    return path.startswith(above) and (not above or len(path) == len(above) or path[len(above)] in ".[")


SpecValidator = Callable[[Resource], Iterable[Problem]]
"""Rules beyond the structure; paths are from the resource's root ("spec.steps[2].next")."""
ReferencesOf = Callable[[Resource], "Iterable[Reference]"]
"""What a resource refers to; namespaces filled in from the resource."""
OperationsOnDeletion = Callable[[Resource], "Sequence[Operation]"]
"""Further operations of the store for the commit that removes a resource."""
SignalCheck = Callable[[Resource, str, Any], Iterable[Problem]]
"""(Run, name of a signal, its payload) -> what is wrong with the payload; paths are from the payload's root."""
UpdateValidator = Callable[[Resource, Resource], Iterable[Problem]]
"""(what is to be stored, what is stored) -> what may not change so; paths are from the resource's root."""
GraphOf = Callable[[Resource], "Graph"]
FileResolver = Callable[[JsonObject, "Includer"], JsonObject]
"""Manifest in, manifest without files out; must not change its argument. Raises: ManifestError, ValidationError."""
EmbeddedOf = Callable[[Resource], "Iterable[Embedded]"]
Converter = Callable[[JsonObject], JsonObject]
"""A manifest of another version to one of the kind's version; apiVersion is set by the core."""
KindsOf = Callable[[Resource], "Iterable[ResourceKind]"]
"""The kinds that a resource defines. Called for every stored resource when a runtime opens, so it must be quick."""


@attrs.frozen(kw_only=True)
class ResourceKind:
    """A kind of resource, as a plugin offers it to ``kastra_resource_kinds``.

    Either ``spec_type`` (an attrs class, structured by the core's cattrs converter) or ``structure`` (made from a
    schema of the whole object) describes its manifests; a kind with neither takes any ``spec``.
    """

    kind: str
    """CamelCase: ``Greeting``."""
    plural: str
    """Lower case: ``greetings``."""
    group: str = MAIN_GROUP
    """A domain of yours: ``acme.example``."""
    version: str = "v1"
    """In which resources are stored; ``conversions`` and ``structures`` have others that manifests may be in."""
    singular: str = ""
    """Default: kind in lower case."""
    short_names: tuple[str, ...] = ()
    """Further spellings for the command line."""
    categories: tuple[str, ...] = ("all",)
    """What it is shown with: ``kastra get all``."""
    namespaced: bool = True
    """False: its resources stand outside of namespaces."""
    description: str = ""
    """What it is, a sentence."""

    spec_type: Lazy[type] | None = None
    """The attrs class of ``spec``."""
    status_type: Lazy[type] | None = None
    """The attrs class of ``status``, for exported schemas; what controllers write is not checked."""
    structure: Lazy[Structure] | None = None
    """What describes manifests in place of ``spec_type``."""
    default: Lazy[Callable[[JsonObject], JsonObject]] | None = None
    """Of a typed kind: manifest in, manifest with defaults out; must not change its argument. attrs defaults are not
    written to spec. Defaults are filled into what is stored and belong to no manager."""
    validate: Lazy[SpecValidator] | None = None
    """Rules beyond the structure."""
    validate_update: Lazy[UpdateValidator] | None = None
    """Asked when a stored resource would change."""
    references: Lazy[ReferencesOf] | None = None
    """What a resource refers to: a run pins it, and when it changes the resource is looked at again."""
    list_map_keys: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    """Lists that apply merges item by item: path ("spec.tools") -> key fields; all others are replaced whole."""
    conversions: Mapping[str, Lazy[Converter]] = attrs.field(factory=dict)
    """Another version, or the apiVersion of another group ("acme.example/v1"), -> converter of its manifests."""
    structures: Mapping[str, Lazy[Structure]] = attrs.field(factory=dict)
    """Of another version that is served as well: what its manifests look like before they are converted."""
    warnings: Mapping[str, str] = attrs.field(factory=dict)
    """Version -> what whoever writes a manifest of it is told ("deprecated, use v2")."""

    printer_columns: tuple[PrinterColumn, ...] = ()
    """Of ``kastra get``, after the name."""
    runner: Lazy[Any] | None = None
    """Factory of a ``Runner`` (no arguments); makes the kind executable."""
    handle: Lazy[Any] | None = None
    """Class of the object that ``runtime.get_<singular>()`` returns; called with (runtime, reference)."""
    pinned_status: tuple[str, ...] = ()
    """Fields of status that a run pins together with spec."""
    check_signal: Lazy[SignalCheck] | None = None
    """Looks at a signal before it is sent to a run of this kind; what it finds wrong refuses it."""
    default_limits: Mapping[str, Any] = attrs.field(factory=dict)
    """Limits of its runs in place of the core's defaults; what anybody configures wins over them."""
    graph: Lazy[GraphOf] | None = None
    """The picture of a resource, for ``kastra graph``."""
    deletion: Lazy[OperationsOnDeletion] | None = None
    """What else goes in the commit that removes a resource: what it keeps in other facets of the store."""
    resolve: Lazy[FileResolver] | None = None
    """Replaces what a manifest says of files by what is in them; asked by whoever reads manifests from files."""
    embedded: Lazy[EmbeddedOf] | None = None
    """The manifests inside a resource; each is validated as if it stood alone, in the namespace of the resource."""
    acyclic: bool = False
    """Its resources may not refer to each other in a circle; an apply that would make one is refused."""
    ephemeral: bool = False
    """Bookkeeping of the runtime (Run, Event): no manifest may make one; left out of ``export`` and of ``get all``."""
    closed: str = ""
    """Why no manifest may make one now ("its definition is being deleted"); "" means that it may. One that is being
    deleted itself may still be changed."""
    finalizers: tuple[str, ...] = ()
    """What every resource begins with: for kinds whose resources may not just go before a controller has seen them."""
    scale: Scale | None = None
    """Its resources have replicas that ``kastra scale`` sets."""
    defines: Lazy[KindsOf] | None = None
    """Its resources define kinds (:mod:`kastra_core.definitions`)."""

    def __attrs_post_init__(self) -> None:
        if not self.singular:
            object.__setattr__(self, "singular", self.kind.lower())

    @property
    def gvk(self) -> GroupVersionKind:
        """Group, version and kind."""
        return GroupVersionKind(self.group, self.version, self.kind)

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def group_kind(self) -> tuple[str, str]:
        """(group, kind), which is what a registry knows it by."""
        return (self.group, self.kind)

    @property
    def qualified_plural(self) -> str:
        """``agents.mastra.ai``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def served_versions(self) -> tuple[str, ...]:
        """The apiVersions that manifests may have, the kind's own first."""
        others = (v if "/" in v else f"{self.group}/{v}" for v in (*self.conversions, *self.structures))
        return tuple(dict.fromkeys((self.api_version, *others)))

    @property
    def executable(self) -> bool:
        """Whether it has a runner."""
        return self.runner is not None

    @property
    def names(self) -> tuple[str, ...]:
        """All spellings that the CLI takes, lower case."""
        return (self.plural, self.singular, *self.short_names, self.kind.lower())

    def key(self, namespace: str, name: str) -> ResourceKey:
        """Identity of a resource of this kind; the namespace of a cluster-scoped kind counts for nothing."""
        return ResourceKey(self.group, self.kind, namespace if self.namespaced else "", name)

    def references_of(self, resource: Resource) -> tuple[Reference, ...]:
        """What ``resource`` refers to, in order, or nothing when the kind declares no references."""
        return tuple(load(self.references)(resource)) if self.references is not None else ()
