"""From a manifest as a user wrote it to a resource that may be stored, or to all that is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import isfinite
from typing import Any

import attrs
import orjson

from kastra_core.api.kind import Embedded, ResourceKind, Structure
from kastra_core.api.lazy import load
from kastra_core.api.meta import JsonObject, ObjectMeta, Resource
from kastra_core.api.registry import KindRegistry
from kastra_core.errors import Problem, UnknownKindError, ValidationError, nearest
from kastra_core.metadata import MOST_PROBLEMS, found_word, read_metadata

__all__ = ["UNKNOWN_FIELDS", "Decoded", "decode", "fill", "without_status"]

_DEPTH = 200
"""Levels of nesting that every store and its JSON library can keep."""
_TOP = frozenset({"apiVersion", "kind", "metadata", "spec", "status"})
UNKNOWN_FIELDS = ("strict", "warn", "ignore")
"""What becomes of fields that the schema of a kind does not know: refused, dropped with a note, dropped. The words are
those of ``kubectl --validate``. Kinds made of a class refuse them always."""


@attrs.frozen
class Decoded:
    """A manifest that passed validation: the wanted resource, its kind, and what the user should know."""

    resource: Resource
    kind: ResourceKind
    notes: tuple[str, ...] = ()
    embedded: tuple[tuple[Embedded, Decoded], ...] = ()
    """The manifests inside it, decoded."""
    filled: Resource | None = None
    """``resource`` with the defaults of its kind; None: there are none for it."""
    structure: Structure | None = None
    """Of the version that the manifest is in, for a kind that a schema describes."""
    place: Callable[[Problem], Problem] | None = attrs.field(default=None, eq=False, repr=False)
    """Gives a problem of the resource the file and line of the manifest."""

    def all(self) -> Iterator[tuple[Decoded, Callable[[str], str]]]:
        """This and what is inside it, to any depth: each with the function that makes its field paths those of this."""
        yield self, _same
        for place, inner in self.embedded:
            for one, outer in inner.all():
                yield one, lambda path, place=place, outer=outer: place.outer(outer(path))  # type: ignore[misc]


def _same(path: str) -> str:
    return path


def decode(
    registry: KindRegistry,
    manifest: Mapping[str, Any],
    *,
    namespace: str = "default",
    unknown_fields: str = "warn",
    place: Callable[[Problem], Problem] | None = None,
) -> Decoded:
    """Return the resource that a manifest describes, validated; a later change of the manifest does not reach it.

    Args:
        registry: the kinds that are known.
        manifest: parsed YAML or JSON.
        namespace: for a namespaced kind whose manifest names none.
        unknown_fields: one of ``UNKNOWN_FIELDS``.
        place: gives a problem its file and line: for notes, and for what is found out later.
    Raises:
        ValidationError: with every problem of the manifest and of those inside it; paths are from its root.
    """
    if not isinstance(manifest, Mapping):
        raise ValidationError([Problem(f"expected an object, found {found_word(manifest)}")])
    api_version, kind_name = manifest.get("apiVersion"), manifest.get("kind")
    problems = [
        Problem(f"expected a string such as {example!r}, found {found_word(value)}", name)
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
        raise ValidationError([_unknown_kind(registry, api_version, kind_name, error)]) from error
    if kind.ephemeral:
        raise ValidationError([_of_the_runtime(kind)])
    notes: list[str] = []
    warning = kind.warnings.get(old_version or kind.version)
    if warning:
        notes.append(f"apiVersion {api_version}: {warning}")
    given_version = None
    if old_version is not None and old_version not in kind.structures:
        try:
            manifest = _filled(_convert, f"it cannot be converted from {api_version}", manifest, kind, old_version)
        except ValidationError as error:
            raise ValidationError(_labelled(list(error.problems), manifest, kind, namespace)) from error
        if not warning:
            told = "is read as" if "/" in old_version else "is an old spelling of"
            notes.append(f"apiVersion {api_version} {told} {kind.api_version}")
    else:
        given_version = old_version
    if kind.structure is not None:
        return _by_schema(registry, manifest, kind, given_version, namespace, notes, unknown_fields, place)
    written: Resource | None = None
    if kind.default is not None:
        written = _as_written(manifest, kind, namespace)
        manifest = _filled(load(kind.default), "defaults cannot be filled in", dict(manifest))
    meta, problems = read_metadata(manifest.get("metadata"), kind, namespace, notes)
    spec = manifest.get("spec")
    extra: JsonObject = {}
    if not manifest.keys() <= _TOP:
        extra = {key: value for key, value in manifest.items() if key not in _TOP}
        if kind.spec_type is not None:
            for key in list(extra)[:MOST_PROBLEMS]:
                near = nearest(str(key), sorted(_TOP))
                hint = f"did you mean {near!r}?" if near else f"known fields: {', '.join(sorted(_TOP))}"
                problems.append(Problem(f"unknown field {key!r}", str(key), hint=hint))
        else:
            extra = _copied(extra, "", problems)
    if manifest.get("status"):
        notes.append("status is ignored: controllers write it")
    if spec is None:
        spec = {}
    if not isinstance(spec, dict):
        problems.append(Problem(f"expected an object, found {found_word(spec)}", "spec"))
    else:
        count = len(problems)
        spec = _copied(spec, "spec", problems)
        if len(problems) == count:
            problems.extend(_structure(spec, kind))
    if meta is None or problems:
        raise ValidationError(_labelled(problems, manifest, kind, namespace))
    resource = Resource(api_version=kind.api_version, kind=kind.kind, metadata=meta, spec=spec, extra=extra)
    embedded = _by_rules(registry, manifest, kind, resource, namespace, notes)
    if written is not None:
        written = written.evolve(spec=_named(resource.spec, written.spec, kind.list_map_keys, "spec"))
    if written is None or written == resource:
        return Decoded(resource, kind, tuple(notes), embedded, place=place)
    return Decoded(written, kind, tuple(notes), embedded, filled=resource, place=place)


def _by_schema(
    registry: KindRegistry,
    manifest: Mapping[str, Any],
    kind: ResourceKind,
    version: str | None,
    namespace: str,
    notes: list[str],
    unknown_fields: str,
    place: Callable[[Problem], Problem] | None,
) -> Decoded:
    """:func:`decode` for a kind that a schema describes; ``version``: of ``structures``, None is the kind's own."""
    structure: Structure = load(kind.structure if version is None else kind.structures[version])
    superfluous: list[Problem] = []
    meta, problems = read_metadata(manifest.get("metadata"), kind, namespace, notes, superfluous)
    if manifest.get("status"):
        notes.append("status is ignored: controllers write it")
    count = len(problems)
    whole = _copied({key: value for key, value in manifest.items() if key != "status"}, "", problems)
    if len(problems) > count or not isinstance(whole.get("metadata"), dict):
        raise ValidationError(_labelled(problems, manifest, kind, namespace))
    pruned, unknown = structure.prune(whole)
    dropped = [*superfluous, *unknown]
    filled = structure.default(pruned)
    problems.extend(_with_neighbours(structure.validate(filled), unknown))
    if unknown_fields == "strict":
        problems[:0] = dropped
    elif unknown_fields == "warn":
        placed = [place(problem) for problem in dropped] if place is not None else dropped
        notes.extend(f"{problem} (dropped)" for problem in placed[:MOST_PROBLEMS])
        if len(dropped) > MOST_PROBLEMS:
            notes.append(f"and {len(dropped) - MOST_PROBLEMS} more unknown fields")
    spec = pruned.get("spec")
    if not (spec is None or isinstance(spec, dict) or problems):
        problems.append(
            Problem(f"expected an object, found {found_word(spec)}", "spec", reason="FieldValueTypeInvalid")
        )
    if problems or meta is None:
        told = _beside(dropped, problems) if unknown_fields == "warn" else []
        raise ValidationError(
            _labelled(problems, manifest, kind, namespace), _labelled(told, manifest, kind, namespace)
        )
    if version is not None:
        pruned, filled = (
            dict(_filled(_convert, f"it cannot be converted from {version}", one, kind, version))
            for one in (pruned, filled)
        )
        own: Structure = load(kind.structure)
        filled = own.default(filled)
    full = _resource(kind, meta, filled)
    resource = _resource(kind, meta, _named(filled, pruned, kind.list_map_keys))
    embedded = _by_rules(registry, manifest, kind, full, namespace, notes)
    more = None if full == resource else full
    return Decoded(resource, kind, tuple(notes), embedded, filled=more, structure=structure, place=place)


def _by_rules(
    registry: KindRegistry,
    manifest: Mapping[str, Any],
    kind: ResourceKind,
    resource: Resource,
    namespace: str,
    notes: list[str],
) -> tuple[tuple[Embedded, Decoded], ...]:
    """Look at a resource of the right structure by the rules of its kind; return what is inside it, decoded.

    Raises: ValidationError.
    """
    problems = list(load(kind.validate)(resource)) if kind.validate is not None else []
    embedded = _embedded(registry, kind, resource, problems, notes) if kind.embedded is not None else ()
    if problems:
        raise ValidationError(_labelled(problems, manifest, kind, namespace))
    return embedded


def _beside(dropped: Sequence[Problem], problems: Sequence[Problem]) -> list[Problem]:
    """Unknown fields but those within a value of a wrong type, which are none of its."""
    wrong = tuple(problem.path for problem in problems if problem.reason == "FieldValueTypeInvalid")
    within = (*(f"{path}." for path in wrong), *(f"{path}[" for path in wrong))
    return [problem for problem in dropped if not problem.path.startswith(within)]


def _with_neighbours(problems: Sequence[Problem], unknown: Sequence[Problem]) -> Iterator[Problem]:
    """Where a required field is missing, the unknown ones beside it are told: one of them may be meant."""
    beside: dict[str, list[str]] = {}
    for one in unknown:
        parent, _, name = one.path.rpartition(".")
        beside.setdefault(parent, []).append(name)
    for problem in problems:
        parent, _, name = problem.path.rpartition(".")
        others = beside.get(parent)
        if others and problem.reason == "FieldValueRequired" and not problem.hint:
            near = nearest(name, others)
            named = [near] if near else others[:3]
            what = f"field{'s' if len(named) > 1 else ''} {', '.join(map(repr, named))}"
            problem = problem.at(hint=f"beside it {'are' if len(named) > 1 else 'is'} the unknown {what}")
        yield problem


def _named(filled: Any, written: Any, list_keys: Mapping[str, tuple[str, ...]], path: str = "") -> Any:
    """``filled`` without the fields that ``written`` does not name.

    A null that a default stands for names nothing. A list is one value, so it comes with its defaults: else it would
    differ from what is stored of it. The items of a map list have owners of their own, and keep what names them.
    """
    if isinstance(filled, dict) and isinstance(written, dict):
        at = f"{path}." if path else ""
        return {
            key: _named(filled[key], value, list_keys, f"{at}{key}")
            for key, value in written.items()
            if key in filled and not (value is None and filled[key] is not None)
        }
    if isinstance(filled, list) and isinstance(written, list) and len(filled) == len(written):
        keys = list_keys.get(path)
        if keys:
            return [_named_item(one, item, keys, list_keys, path) for one, item in zip(filled, written)]
    return filled


def _named_item(
    filled: Any, written: Any, keys: tuple[str, ...], list_keys: Mapping[str, tuple[str, ...]], path: str
) -> Any:
    named = _named(filled, written, list_keys, path)
    if isinstance(named, dict):
        named.update({key: filled[key] for key in keys if key in filled and key not in named})
    return named


def _resource(kind: ResourceKind, meta: ObjectMeta, manifest: Mapping[str, Any]) -> Resource:
    extra = {key: value for key, value in manifest.items() if key not in _TOP}
    spec = manifest.get("spec") or {}
    return Resource(api_version=kind.api_version, kind=kind.kind, metadata=meta, spec=spec, extra=extra)


def _as_written(manifest: Mapping[str, Any], kind: ResourceKind, namespace: str) -> Resource | None:
    """The resource without defaults, None when it cannot even be read; what is wrong is found after the defaults."""
    try:
        meta, _ = read_metadata(manifest.get("metadata"), kind, namespace, [])
        spec = manifest.get("spec")
        if meta is None or not (spec is None or isinstance(spec, dict)):
            return None
        return _resource(kind, meta, {"spec": orjson.loads(orjson.dumps(spec or {}))})
    except (TypeError, ValueError):
        return None


def fill(kind: ResourceKind, resource: Resource, structure: Structure | None = None) -> Resource:
    """Return a resource with the defaults of its kind, itself when there are none for it.

    Args:
        kind: its kind.
        resource: as a manifest says it, or as it is stored.
        structure: of the version that the manifest is in, when it is not the kind's own.
    """
    fillers: list[Callable[[JsonObject], JsonObject]] = []
    if kind.structure is not None:
        own = load(kind.structure)
        fillers = [own.default] if structure is None or structure is own else [structure.default, own.default]
    elif kind.default is not None:
        fillers = [load(kind.default)]
    if not fillers:
        return resource
    before = manifest = without_status(resource)
    for filler in fillers:
        manifest = filler(manifest)
    if manifest == before:
        return resource
    meta = manifest.get("metadata") or {}
    return resource.evolve(
        spec=manifest.get("spec") or {},
        extra={key: value for key, value in manifest.items() if key not in _TOP},
        labels=meta.get("labels") or {},
        annotations=meta.get("annotations") or {},
    )


def without_status(resource: Resource) -> JsonObject:
    """The manifest of a resource as a :class:`Structure` takes it."""
    manifest = resource.to_manifest()
    manifest.pop("status", None)
    return manifest


def _embedded(
    registry: KindRegistry, kind: ResourceKind, resource: Resource, problems: list[Problem], notes: list[str]
) -> tuple[tuple[Embedded, Decoded], ...]:
    """The manifests inside a resource, decoded; what is wrong with them goes to ``problems``, with the outer path.

    They live where the resource lives, as owners do not reach across namespaces.
    """
    out = []
    seen: dict[Any, str] = {resource.key: ""}
    namespace = resource.metadata.namespace
    found: Iterator[Embedded] = iter(load(kind.embedded)(resource))
    for one in found:
        try:
            inner = decode(registry, one.manifest, namespace=namespace or "default")
        except ValidationError as error:
            problems.extend(problem.at(path=one.outer(problem.path), resource="") for problem in error.problems)
            continue
        where = inner.resource.metadata.namespace
        if namespace and not inner.kind.namespaced:
            hint = "apply it by itself"
            told = f"{inner.kind.kind} is cluster-scoped: it cannot be inside a {kind.kind}, which has a namespace"
            problems.append(Problem(told, one.outer("kind"), hint=hint))
        elif namespace and where != namespace:
            told = f"it would be in the namespace {where!r}, outside of that of the {kind.kind}, {namespace!r}"
            problems.append(Problem(told, one.outer("metadata.namespace"), hint="leave the namespace out"))
        elif not (twins := _twins(one, inner, seen)):
            notes.extend(f"{one.path}: {note}" for note in inner.notes)
            out.append((one, inner))
        else:
            problems.extend(twins)
    return tuple(out)


def _twins(place: Embedded, inner: Decoded, seen: dict[Any, str]) -> list[Problem]:
    """What is inside a resource twice; ``seen``: where each key was first, "" for the resource itself."""
    out = []
    for one, outer in inner.all():
        key, path = one.resource.key, place.outer(outer("metadata.name"))
        first = seen.setdefault(key, path)
        if not first:
            out.append(Problem(f"{key} would be inside itself", path, hint="give it another name"))
        elif first != path:
            out.append(Problem(f"{key} is there twice", path, hint=f"the first is at {first}"))
    return out


def _labelled(
    problems: list[Problem], manifest: Mapping[str, Any], kind: ResourceKind, namespace: str
) -> list[Problem]:
    """The problems with the name of the resource, as far as it can be read."""
    data = manifest.get("metadata")
    name = data.get("name") if isinstance(data, dict) else None
    label = kind.kind
    if isinstance(data, dict) and isinstance(name, str) and name:
        space = data.get("namespace") or namespace
        label = str(kind.key(space if isinstance(space, str) else namespace, name[:253]))
    shown = [problem.at(resource=label) for problem in problems[:MOST_PROBLEMS]]
    if len(problems) > MOST_PROBLEMS:
        shown.append(Problem(f"and {len(problems) - MOST_PROBLEMS} more problems", resource=label))
    return shown


def _filled(work: Callable[..., Mapping[str, Any]], failed: str, *args: Any) -> Mapping[str, Any]:
    """What a plugin makes of a manifest that nobody has checked yet, so that any error of it is the manifest's."""
    try:
        return work(*args)
    except ValidationError:
        raise
    except Exception as error:
        raise ValidationError([Problem(f"{failed}: {type(error).__name__}: {error}")]) from error


def _copied(value: JsonObject, path: str, problems: list[Problem]) -> JsonObject:
    """A copy through JSON, or problems: what cannot be written as JSON cannot be stored."""
    try:
        copy: JsonObject = orjson.loads(orjson.dumps(value))
    except (TypeError, ValueError) as error:
        problems.extend(_not_json(value, path) or [Problem(f"it cannot be kept as JSON: {error}", path)])
        return value
    if copy != value:  # orjson writes some values as others: infinity as null, tuples as lists, dates as text
        problems.extend(_not_json(value, path))
    return copy


def _not_json(value: Any, path: str) -> list[Problem]:
    found: list[Problem] = []
    stack = [(value, path, 0)]
    while stack:
        item, at, depth = stack.pop()
        if depth > _DEPTH:
            return [Problem(f"nested deeper than {_DEPTH} levels", at[:60])]
        if isinstance(item, dict):
            for key, sub in item.items():
                below = f"{at}.{key}" if at else str(key)
                if isinstance(key, str):
                    stack.append((sub, below, depth + 1))
                else:
                    found.append(Problem(f"expected a string as key, found {found_word(key)}", below, hint="quote it"))
        elif isinstance(item, (list, tuple)):
            stack.extend((sub, f"{at}[{index}]", depth + 1) for index, sub in enumerate(item))
        elif isinstance(item, float) and not isfinite(item):
            found.append(Problem(f"expected a finite number, found {item}", at))
        else:
            try:
                orjson.dumps(item)
            except (TypeError, ValueError) as error:
                found.append(Problem(f"{found_word(item)[:80]} cannot be kept as JSON: {error}", at))
    return sorted(found, key=lambda problem: problem.path)


def _unknown_kind(registry: KindRegistry, api_version: str, name: str, error: UnknownKindError) -> Problem:
    served = sorted({version for kind in registry if kind.kind == name for version in kind.served_versions})
    if served:
        near = nearest(api_version, served)
        hint = f"did you mean {near!r}?" if near else f"served: {', '.join(served)}"
        return Problem(f"no plugin or definition offers the kind {name} in {api_version!r}", "apiVersion", hint=hint)
    return Problem(f"no plugin or definition offers the kind {error.kind!r}", "kind", hint=error.remedy)


def _of_the_runtime(kind: ResourceKind) -> Problem:
    hint = "leave it out; `kastra run KIND/NAME` starts a run" if kind.kind == "Run" else "leave it out"
    return Problem(f"the runtime makes resources of the kind {kind.kind}, no manifest does", "kind", hint=hint)


def _convert(manifest: Mapping[str, Any], kind: ResourceKind, version: str) -> Mapping[str, Any]:
    converted = dict(manifest)
    if version in kind.conversions:
        converted = load(kind.conversions[version])(converted)
    converted["apiVersion"] = kind.api_version
    return converted


def _structure(spec: JsonObject, kind: ResourceKind) -> list[Problem]:
    if kind.spec_type is None:
        return []
    from kastra_core.serde import problems_of, typed

    spec_type = load(kind.spec_type)
    try:
        typed(spec, spec_type)
    except Exception as error:
        return problems_of(error, "spec")
    return []
