"""Rules of a System beyond its structure, the manifests inside it, and what it refers to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kastra_core.api.kind import MAIN_GROUP, Embedded
from kastra_core.api.meta import JsonObject, Resource
from kastra_core.api.references import Reference
from kastra_core.errors import Problem
from kastra_plugin_system.spec import LISTS

__all__ = ["LABEL", "embedded", "members", "references", "validate"]

LABEL = f"{MAIN_GROUP}/system"
"""Label of what a System owns: the System's name."""

_LONGEST_LABEL = 63
_PLACES = {
    "apiVersion": "",
    "kind": "",
    "metadata": "",
    "metadata.name": "name",
    "metadata.labels": "labels",
    "metadata.annotations": "annotations",
    "spec": "spec",
}


def embedded(resource: Resource) -> Iterable[Embedded]:
    """The manifests inside a System, in the order of tools, agents, workflows, networks and resources.

    Tools first: most resources are Ready sooner when what they refer to is there already.
    """
    for name in ("tools", "agents", "workflows", "networks"):
        for index, entry in enumerate(resource.spec.get(name) or ()):
            if entry.get("name") and "spec" in entry and not entry.get("file"):
                yield Embedded(path=f"spec.{name}[{index}]", manifest=_manifest(LISTS[name], entry), places=_PLACES)
    for index, manifest in enumerate(resource.spec.get("resources") or ()):
        yield Embedded(path=f"spec.resources[{index}]", manifest=dict(manifest))


def _manifest(kind: str, entry: Mapping[str, Any]) -> JsonObject:
    metadata = {key: entry[key] for key in ("name", "labels", "annotations") if entry.get(key)}
    return {"apiVersion": f"{MAIN_GROUP}/v1", "kind": kind, "metadata": metadata, "spec": entry["spec"]}


def members(resource: Resource) -> Iterable[tuple[Embedded, Reference]]:
    """The manifests inside a System, each with the reference to the resource that is made of it."""
    for one in embedded(resource):
        manifest = one.manifest
        meta, kind = manifest.get("metadata"), manifest.get("kind")
        name = meta.get("name") if isinstance(meta, Mapping) else None
        if isinstance(kind, str) and isinstance(name, str) and kind and name:
            group = str(manifest.get("apiVersion")).rpartition("/")[0]
            group = MAIN_GROUP if group == "mastra" else group  # the old spelling
            namespace = resource.metadata.namespace
            yield one, Reference(kind=kind, group=group, namespace=namespace, name=name, path=one.path)


def references(resource: Resource) -> Iterable[Reference]:
    """The resources that a System is made of: it looks again when one of them changes, whoever owns it."""
    return [reference for _, reference in members(resource)]


def validate(resource: Resource) -> Iterable[Problem]:
    """Problems of a spec that has the right structure; the core looks at the manifests inside."""
    name = resource.metadata.name
    if len(name) > _LONGEST_LABEL:
        told = f"the name of a System has at most {_LONGEST_LABEL} characters, found {len(name)}"
        yield Problem(told, "metadata.name", hint="all that it owns bears the name as a label")
    for plural in LISTS:
        for index, entry in enumerate(resource.spec.get(plural) or ()):
            yield from _entry_problems(entry, f"spec.{plural}[{index}]", plural)
    for index, path in enumerate(resource.spec.get("include") or ()):
        yield _unread(path, f"spec.include[{index}]")
    for index, manifest in enumerate(resource.spec.get("resources") or ()):
        meta = manifest.get("metadata")
        if isinstance(meta, Mapping):
            yield from _owner_problems(meta, resource, f"spec.resources[{index}].metadata")


def _entry_problems(entry: Mapping[str, Any], path: str, plural: str) -> Iterator[Problem]:
    file = entry.get("file")
    if file:
        others = sorted(entry.keys() - {"file"})
        if others:
            hint = f"{others[0]} goes into the file, or leave file out"
            yield Problem(f"expected either file or name and spec, found file and {', '.join(others)}", path, hint=hint)
        else:
            yield _unread(file, f"{path}.file")
        return
    if not entry.get("name"):
        yield Problem("required field is missing", f"{path}.name", hint=f"name what spec.{plural} should hold here")
    if entry.get("spec") is None:
        yield Problem("expected spec, or file alone", f"{path}.spec", hint="write spec: {} for one without fields")
    labels = entry.get("labels") or {}
    if LABEL in labels:
        yield Problem(f"the label {LABEL} is set by the System", f"{path}.labels.{LABEL}", hint="leave it out")


def _unread(path: str, place: str) -> Problem:
    hint = "apply the file with `kastra apply -f` or runtime.apply(path), which read it, or write its manifests here"
    return Problem(f"{path!r} was not read: this manifest did not come from a file"[:300], place, hint=hint)


def _owner_problems(meta: Mapping[str, Any], resource: Resource, path: str) -> Iterator[Problem]:
    if meta.get("ownerReferences"):
        told = f"the owner is {resource.key}"
        yield Problem(told, f"{path}.ownerReferences", hint="leave ownerReferences out")
    labels = meta.get("labels")
    if isinstance(labels, Mapping) and labels.get(LABEL, resource.metadata.name) != resource.metadata.name:
        yield Problem(f"the label {LABEL} is set by the System", f"{path}.labels.{LABEL}", hint="leave it out")
