"""From a manifest as a user wrote it to a resource that may be stored, or to all that is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import attrs

from kastra_core.api.kind import ResourceKind
from kastra_core.api.lazy import load
from kastra_core.api.meta import JsonObject, ObjectMeta, OwnerReference, Resource
from kastra_core.api.registry import KindRegistry
from kastra_core.errors import Problem, UnknownKindError, ValidationError, nearest

__all__ = ["Decoded", "decode"]

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
_METADATA = ("annotations", "finalizers", "labels", "name", "namespace", "ownerReferences")
_SERVER_SET = frozenset(
    {
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "generation",
        "managedFields",
        "resourceVersion",
        "selfLink",
        "uid",
    }
)
_TOP = frozenset({"apiVersion", "kind", "metadata", "spec", "status"})


@attrs.frozen
class Decoded:
    """A manifest that passed validation: the wanted resource, its kind, and what the user should know."""

    resource: Resource
    kind: ResourceKind
    notes: tuple[str, ...] = ()


def decode(registry: KindRegistry, manifest: Mapping[str, Any], *, namespace: str = "default") -> Decoded:
    """Return the resource that a manifest describes, validated.

    Args:
        registry: the kinds that are known.
        manifest: parsed YAML or JSON.
        namespace: for a namespaced kind whose manifest names none.
    Raises:
        ValidationError: with every problem of the manifest; paths are from its root.
    """
    api_version, kind_name = manifest.get("apiVersion"), manifest.get("kind")
    problems = [
        Problem(f"expected a string such as {example!r}, found {_found(value)}", name)
        for name, value, example in (
            ("apiVersion", api_version, "mastra.ai/v1"),
            ("kind", kind_name, "Agent"),
        )
        if not isinstance(value, str) or not value
    ]
    if problems:
        raise ValidationError(problems)
    assert isinstance(api_version, str)
    assert isinstance(kind_name, str)
    try:
        kind, old_version = registry.for_manifest(api_version, kind_name)
    except UnknownKindError as error:
        raise ValidationError([_unknown_kind(registry, api_version, error)]) from error
    notes: list[str] = []
    if old_version is not None:
        manifest = _convert(manifest, kind, old_version)
        notes.append(f"apiVersion {api_version} is an old spelling of {kind.api_version}")
    if kind.default is not None:
        manifest = load(kind.default)(dict(manifest))
    meta, problems = _metadata(manifest.get("metadata"), kind, namespace, notes)
    spec = manifest.get("spec")
    extra: JsonObject = {}
    if not manifest.keys() <= _TOP:
        extra = {key: value for key, value in manifest.items() if key not in _TOP}
        if kind.spec_type is not None:
            for key in extra:
                near = nearest(key, sorted(_TOP))
                hint = f"did you mean {near!r}?" if near else f"known fields: {', '.join(sorted(_TOP))}"
                problems.append(Problem(f"unknown field {key!r}", key, hint=hint))
    if manifest.get("status"):
        notes.append("status is ignored: controllers write it")
    if spec is None:
        spec = {}
    if not isinstance(spec, dict):
        problems.append(Problem(f"expected an object, found {_found(spec)}", "spec"))
    else:
        problems.extend(_structure(manifest, spec, kind))
    if not isinstance(spec, dict) or meta is None:
        raise ValidationError(problems)
    resource = Resource(api_version=kind.api_version, kind=kind.kind, metadata=meta, spec=spec, extra=extra)
    if not problems and kind.validate is not None:
        problems.extend(load(kind.validate)(resource))
    if problems:
        label = str(resource.key)
        raise ValidationError([problem.at(resource=label) for problem in problems])
    return Decoded(resource, kind, tuple(notes))


def _unknown_kind(registry: KindRegistry, api_version: str, error: UnknownKindError) -> Problem:
    versions = sorted({kind.api_version for kind in registry})
    if api_version not in versions and any(error.kind == kind.kind for kind in registry):
        near = nearest(api_version, versions)
        hint = f"did you mean {near!r}?" if near else f"served: {', '.join(versions)}"
        return Problem(f"no plugin offers kind {error.kind} in {api_version!r}", "apiVersion", hint=hint)
    return Problem(f"no plugin offers the kind {error.kind!r}", "kind", hint=error.remedy)


def _convert(manifest: Mapping[str, Any], kind: ResourceKind, version: str) -> Mapping[str, Any]:
    converted = dict(manifest)
    if version in kind.conversions:
        converted = load(kind.conversions[version])(converted)
    converted["apiVersion"] = kind.api_version
    return converted


def _structure(manifest: Mapping[str, Any], spec: JsonObject, kind: ResourceKind) -> list[Problem]:
    if kind.spec_type is not None:
        from kastra_core.serde import problems_of, typed

        try:
            typed(spec, load(kind.spec_type))
        except Exception as error:
            return problems_of(error, "spec")
    elif kind.validate_structure is not None:
        return list(load(kind.validate_structure)(dict(manifest)))
    return []


def _metadata(
    data: Any, kind: ResourceKind, namespace: str, notes: list[str]
) -> tuple[ObjectMeta | None, list[Problem]]:
    if not isinstance(data, dict):
        return None, [Problem(f"expected an object with a name, found {_found(data)}", "metadata")]
    problems: list[Problem] = []
    name = data.get("name")
    if not isinstance(name, str) or not name:
        problems.append(Problem(f"expected a name, found {_found(name)}", "metadata.name"))
    elif len(name) > 253 or not _NAME.fullmatch(name):
        hint = "use lower case letters, digits, '-' and '.', begin and end with a letter or digit"
        problems.append(Problem(f"{name[:60]!r} is no valid name", "metadata.name", hint=hint))
    space = data.get("namespace")
    if space is not None and not isinstance(space, str):
        problems.append(Problem(f"expected a string, found {_found(space)}", "metadata.namespace"))
    elif space and (len(space) > 63 or "." in space or not _NAME.fullmatch(space)):
        hint = "use lower case letters, digits and '-', at most 63, begin and end with a letter or digit"
        problems.append(Problem(f"{space[:70]!r} is no valid namespace", "metadata.namespace", hint=hint))
    elif space and not kind.namespaced:
        problems.append(Problem(f"{kind.kind} is cluster-scoped and has no namespace", "metadata.namespace"))
    for unknown in data.keys() - set(_METADATA) - _SERVER_SET:
        near = nearest(str(unknown), _METADATA)
        hint = f"did you mean {near!r}?" if near else f"known fields: {', '.join(_METADATA)}"
        problems.append(Problem(f"unknown field {unknown!r}", f"metadata.{unknown}", hint=hint))
    ignored = sorted(data.keys() & _SERVER_SET)
    if ignored:
        notes.append(f"metadata.{', metadata.'.join(ignored)} ignored: Kastra sets it")
    labels, annotations = data.get("labels"), data.get("annotations")
    if labels:
        problems.extend(_label_problems(labels))
    if annotations:
        problems.extend(_text_problems(annotations, "metadata.annotations"))
    owners = _owners(data.get("ownerReferences"), problems)
    finalizers = data.get("finalizers") or []
    if not isinstance(finalizers, list) or not all(isinstance(f, str) and f for f in finalizers):
        problems.append(Problem("expected a list of names", "metadata.finalizers"))
        finalizers = []
    if problems:
        label = f"{kind.kind} {name}" if isinstance(name, str) and name else kind.kind
        return (
            ObjectMeta(name=name, namespace=namespace) if isinstance(name, str) and isinstance(space, str) else None
        ), [problem.at(resource=label) for problem in problems]
    return (
        ObjectMeta(
            name=name,  # type: ignore[arg-type]
            namespace=(space or namespace) if kind.namespaced else "",
            labels=labels or {},
            annotations=annotations or {},
            finalizers=tuple(finalizers),
            owner_references=owners,
        ),
        [],
    )


def _found(value: Any) -> str:
    from kastra_core.serde import type_word

    return "nothing" if value is None else type_word(value)


def _label_problems(labels: Any) -> list[Problem]:
    problems = _text_problems(labels, "metadata.labels")
    if problems:
        return problems
    for key, value in labels.items():
        prefix, slash, name = key.rpartition("/")
        if len(name) > 63 or not _LABEL_NAME.fullmatch(name) or (slash and not _NAME.fullmatch(prefix)):
            problems.append(Problem(f"{key!r} is no valid label name", f"metadata.labels.{key}"))
        if len(value) > 63 or (value and not _LABEL_NAME.fullmatch(value)):
            hint = "at most 63 letters, digits, '-', '_' and '.', begin and end with a letter or digit"
            problems.append(Problem(f"{value[:70]!r} is no valid label value", f"metadata.labels.{key}", hint=hint))
    return problems


def _text_problems(value: Any, path: str) -> list[Problem]:
    if not isinstance(value, dict):
        return [Problem(f"expected an object, found {_found(value)}", path)]
    return [
        Problem(f"expected a string, found {_found(item)}", f"{path}.{key}", hint="put it in quotes")
        for key, item in value.items()
        if not isinstance(item, str)
    ]


def _owners(value: Any, problems: list[Problem]) -> tuple[OwnerReference, ...]:
    if not value:
        return ()
    if not isinstance(value, list):
        problems.append(Problem(f"expected a list, found {_found(value)}", "metadata.ownerReferences"))
        return ()
    out = []
    for index, item in enumerate(value):
        path = f"metadata.ownerReferences[{index}]"
        missing = [f for f in ("apiVersion", "kind", "name", "uid") if not isinstance(item, dict) or not item.get(f)]
        if missing:
            problems.append(Problem(f"required: {', '.join(missing)}", path))
        else:
            out.append(OwnerReference.from_manifest(item))
    return tuple(out)
