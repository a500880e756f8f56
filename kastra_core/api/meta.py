"""Resources and their metadata: frozen data, no I/O."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias, TypeVar

import attrs

__all__ = [
    "Condition",
    "JsonObject",
    "JsonValue",
    "ManagedFields",
    "ObjectMeta",
    "OwnerReference",
    "Resource",
    "ResourceKey",
    "condition_of",
    "is_true",
    "rfc3339",
    "set_condition",
]

JsonValue: TypeAlias = Any
"""None, bool, int, float, str, or lists and string-keyed dicts of them."""
JsonObject: TypeAlias = dict[str, Any]


def rfc3339(instant_s: float | None = None) -> str:
    """Return an instant as Kubernetes prints it, in UTC to the second.

    >>> rfc3339(0)
    '1970-01-01T00:00:00Z'
    """
    return _rfc3339(int(time.time() if instant_s is None else instant_s // 1))


@lru_cache(maxsize=64)
def _rfc3339(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class ResourceKey(NamedTuple):
    """Identity of a resource in a store; versions of a kind share it.

    >>> str(ResourceKey("mastra.ai", "Agent", "cooking", "recipe-assistant"))
    'Agent cooking/recipe-assistant'
    """

    group: str
    kind: str
    namespace: str
    """"" for cluster-scoped kinds."""
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


@attrs.frozen(kw_only=True)
class OwnerReference:
    """Who made a resource: it is collected when its last owner is gone. Owners live in the same namespace."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool = False
    block_owner_deletion: bool = False

    def to_manifest(self) -> JsonObject:
        """An entry of ``metadata.ownerReferences``."""
        out: JsonObject = {"apiVersion": self.api_version, "kind": self.kind, "name": self.name, "uid": self.uid}
        if self.controller:
            out["controller"] = True
        if self.block_owner_deletion:
            out["blockOwnerDeletion"] = True
        return out

    @classmethod
    def from_manifest(cls, data: Mapping[str, Any]) -> OwnerReference:
        """Read an entry that is known to be well formed."""
        return cls(
            api_version=data["apiVersion"],
            kind=data["kind"],
            name=data["name"],
            uid=data["uid"],
            controller=bool(data.get("controller", False)),
            block_owner_deletion=bool(data.get("blockOwnerDeletion", False)),
        )


@attrs.frozen(kw_only=True)
class ManagedFields:
    """The fields that one manager set by apply: nested objects, a leaf is ``{}`` (see ``api.merge``)."""

    manager: str
    fields: JsonObject


@attrs.frozen(kw_only=True)
class ObjectMeta:
    """Identity and bookkeeping of a resource, with Kubernetes' names and meanings."""

    name: str
    namespace: str = ""
    """"" for cluster-scoped kinds."""
    labels: Mapping[str, str] = attrs.field(factory=dict)
    annotations: Mapping[str, str] = attrs.field(factory=dict)
    uid: str = ""
    resource_version: str = ""
    """Counts writes of the whole store; opaque, compare for equality only."""
    generation: int = 0
    """Counts edits of spec, from 1."""
    creation_timestamp: str = ""
    deletion_timestamp: str | None = None
    finalizers: tuple[str, ...] = ()
    owner_references: tuple[OwnerReference, ...] = ()
    managed_fields: tuple[ManagedFields, ...] = ()

    def to_manifest(self) -> JsonObject:
        """Return the ``metadata`` object; empty fields are left out."""
        out: JsonObject = {"name": self.name}
        if self.namespace:
            out["namespace"] = self.namespace
        if self.labels:
            out["labels"] = dict(self.labels)
        if self.annotations:
            out["annotations"] = dict(self.annotations)
        if self.uid:
            out["uid"] = self.uid
        if self.resource_version:
            out["resourceVersion"] = self.resource_version
        if self.generation:
            out["generation"] = self.generation
        if self.creation_timestamp:
            out["creationTimestamp"] = self.creation_timestamp
        if self.deletion_timestamp:
            out["deletionTimestamp"] = self.deletion_timestamp
        if self.finalizers:
            out["finalizers"] = list(self.finalizers)
        if self.owner_references:
            out["ownerReferences"] = [owner.to_manifest() for owner in self.owner_references]
        if self.managed_fields:
            out["managedFields"] = [{"manager": m.manager, "fields": m.fields} for m in self.managed_fields]
        return out

    @classmethod
    def from_manifest(cls, data: Mapping[str, Any]) -> ObjectMeta:
        """Read a ``metadata`` object that is known to be well formed."""
        get = data.get
        owners = get("ownerReferences")
        managed = get("managedFields")
        return cls(
            name=data["name"],
            namespace=get("namespace") or "",
            labels=get("labels") or {},
            annotations=get("annotations") or {},
            uid=get("uid") or "",
            resource_version=get("resourceVersion") or "",
            generation=get("generation") or 0,
            creation_timestamp=get("creationTimestamp") or "",
            deletion_timestamp=get("deletionTimestamp"),
            finalizers=tuple(get("finalizers") or ()),
            owner_references=tuple(OwnerReference.from_manifest(o) for o in owners) if owners else (),
            managed_fields=tuple(ManagedFields(manager=m["manager"], fields=m["fields"]) for m in managed)
            if managed
            else (),
        )


@attrs.frozen(kw_only=True)
class Resource:
    """One object of the API. ``spec`` and ``status`` are JSON and never changed in place; use :meth:`evolve`."""

    api_version: str
    kind: str
    metadata: ObjectMeta
    spec: JsonObject = attrs.field(factory=dict)
    status: JsonObject = attrs.field(factory=dict)
    extra: JsonObject = attrs.field(factory=dict)
    """Other top-level fields (``data`` of a ConfigMap-like kind), as written."""

    @property
    def group(self) -> str:
        """Group of apiVersion; "" for the core group ("v1")."""
        return self.api_version.rpartition("/")[0]

    @property
    def version(self) -> str:
        """Version of apiVersion."""
        return self.api_version.rpartition("/")[2]

    @property
    def key(self) -> ResourceKey:
        """Its identity in a store."""
        meta = self.metadata
        return ResourceKey(self.api_version.rpartition("/")[0], self.kind, meta.namespace, meta.name)

    def evolve(self, **changes: Any) -> Resource:
        """Return a copy with top-level fields replaced, and metadata fields by their own names.

        >>> r = Resource(api_version="mastra.ai/v1", kind="Agent", metadata=ObjectMeta(name="a"))
        >>> r.evolve(name="b", spec={"x": 1}).metadata.name
        'b'
        """
        top = {name: changes.pop(name) for name in tuple(changes) if name in _TOP_FIELDS}
        if changes:
            top["metadata"] = _replaced(top.get("metadata", self.metadata), _META_FIELDS, changes)
        return _replaced(self, _TOP_FIELDS, top)

    def to_manifest(self) -> JsonObject:
        """Return the manifest: ``apiVersion, kind, metadata, spec, status``; an empty status is left out."""
        out: JsonObject = {"apiVersion": self.api_version, "kind": self.kind, "metadata": self.metadata.to_manifest()}
        if self.extra:
            out.update(self.extra)
        out["spec"] = self.spec
        if self.status:
            out["status"] = self.status
        return out

    @classmethod
    def from_manifest(cls, data: Mapping[str, Any]) -> Resource:
        """Read a manifest that is known to be well formed (stores; ``loader`` is for users' input)."""
        known = data.keys() <= _MANIFEST_FIELDS
        extra = {} if known else {k: v for k, v in data.items() if k not in _MANIFEST_FIELDS}
        return cls(
            api_version=data["apiVersion"],
            kind=data["kind"],
            metadata=ObjectMeta.from_manifest(data["metadata"]),
            spec=data.get("spec") or {},
            status=data.get("status") or {},
            extra=extra,
        )


_T = TypeVar("_T")
_TOP_FIELDS = tuple(field.name for field in attrs.fields(Resource))
_META_FIELDS = tuple(field.name for field in attrs.fields(ObjectMeta))


def _replaced(instance: _T, fields: tuple[str, ...], changes: dict[str, Any]) -> _T:
    """As ``attrs.evolve``, which asks the class for its fields each time and takes five times as long."""
    unknown = changes.keys() - set(fields)
    if unknown:
        raise TypeError(f"{type(instance).__name__} has no field {', '.join(sorted(unknown))}")
    return type(instance)(**{name: changes[name] if name in changes else getattr(instance, name) for name in fields})


_MANIFEST_FIELDS = frozenset({"apiVersion", "kind", "metadata", "spec", "status"})


@attrs.frozen(kw_only=True)
class Condition:
    """One fact of status. ``status`` is "True", "False" or "Unknown"; ``reason`` a CamelCase word."""

    type: str
    status: str
    reason: str
    message: str = ""
    observed_generation: int = 0
    last_transition_time: str = ""

    def to_manifest(self) -> JsonObject:
        out: JsonObject = {"type": self.type, "status": self.status, "reason": self.reason}
        if self.message:
            out["message"] = self.message
        if self.observed_generation:
            out["observedGeneration"] = self.observed_generation
        if self.last_transition_time:
            out["lastTransitionTime"] = self.last_transition_time
        return out


def condition_of(resource: Resource, type_: str) -> JsonObject | None:
    """Return the condition of that type as it stands in status, or None."""
    conditions = resource.status.get("conditions")
    if isinstance(conditions, Sequence):
        for condition in conditions:
            if isinstance(condition, Mapping) and condition.get("type") == type_:
                return dict(condition)
    return None


def is_true(resource: Resource, type_: str = "Ready") -> bool:
    """True when the condition is "True" and was observed at the current generation."""
    condition = condition_of(resource, type_)
    if condition is None or condition.get("status") != "True":
        return False
    return int(condition.get("observedGeneration") or resource.metadata.generation) >= resource.metadata.generation


def set_condition(
    conditions: Iterable[Mapping[str, Any]], new: Condition, *, now: str = "", observed_generation: int = 0
) -> list[JsonObject]:
    """Return ``conditions`` with ``new`` in place of the one of its type.

    ``lastTransitionTime`` changes only when ``status`` does, as in Kubernetes. ``observed_generation`` replaces that of
    ``new`` unless it is 0.
    """
    out: list[JsonObject] = []
    manifest = new.to_manifest()
    if observed_generation:
        manifest["observedGeneration"] = observed_generation
    found = False
    for old in conditions:
        if old.get("type") != new.type:
            out.append(dict(old))
            continue
        found = True
        if old.get("status") == new.status and old.get("lastTransitionTime"):
            manifest["lastTransitionTime"] = old["lastTransitionTime"]
        out.append(manifest)
    if not found:
        out.append(manifest)
    manifest.setdefault("lastTransitionTime", now or rfc3339())
    return out
