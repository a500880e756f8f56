"""JSON schema (draft 2020-12) of the manifests of a kind, for editors and ``kastra explain``; a kind as a definition.

The schema of a typed kind is made from its attrs classes as :mod:`kastra_core.serde` reads them; that of a kind that
a schema describes from its :class:`~kastra_core.api.kind.Structure`. A schema says what a schema can say: rules that
look at several fields, and references to other resources, are left to ``kastra validate``.
"""

from __future__ import annotations

import ast
import enum
import inspect
import textwrap
import types
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import attrs

from kastra_core.api.kind import ResourceKind
from kastra_core.api.lazy import load
from kastra_core.api.meta import JsonObject, ObjectMeta
from kastra_core.api.registry import OLD_API_VERSIONS
from kastra_core.errors import UserError
from kastra_core.metadata import DNS_LABEL, DNS_NAME, LABEL_WORD, SET_BY_KASTRA
from kastra_core.openapi import KEEPS_UNKNOWN, to_json_schema, to_structural
from kastra_core.serde import field_name, reads_fields, schema_forms, unstructure

__all__ = ["DIALECT", "attribute_docs", "bundle", "class_doc", "crd_of", "default_of", "is_object", "json_schema"]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
"""``$schema`` of every schema that is made here."""

_SIMPLE = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
_LISTS = (list, tuple, set, frozenset, Sequence)
_ANY_STATUS: JsonObject = {"description": "Written by controllers; ignored in a manifest."}


def json_schema(kind: ResourceKind, *, version: str = "") -> JsonObject:
    """Return the JSON schema of whole manifests of a kind.

    Args:
        kind: of any plugin or definition.
        version: one of ``kind.structures``, which may look different; default: the kind's own.
    Raises:
        UserError: there is no such version.
    """
    classes = _Classes()
    schema = _manifest(kind, version, classes)
    out = {"$schema": DIALECT, "title": kind.kind, **schema}
    return {**out, "$defs": classes.sorted()} if classes.defs else out


def bundle(kinds: Iterable[ResourceKind]) -> JsonObject:
    """Return one JSON schema for manifests of all these kinds: apiVersion and kind say which holds."""
    classes = _Classes()
    cases: list[JsonObject] = []
    manifests: dict[str, JsonObject] = {}
    names: list[str] = []
    versions: list[str] = []
    for kind in kinds:
        names.append(kind.kind)
        versions += [*kind.served_versions, *_spellings(kind, kind.version)]
        for version in (kind.version, *kind.structures):
            key = f"{kind.kind}.{kind.group}.{version}" if kind.group else f"{kind.kind}.{version}"
            manifests[key] = _manifest(kind, version, classes)
            is_it = {"apiVersion": _one_of(_spellings(kind, version)), "kind": {"const": kind.kind}}
            cases.append(
                {
                    "if": {"required": ["apiVersion", "kind"], "properties": is_it},
                    "then": {"$ref": f"#/$defs/{key}"},
                }
            )
    return {
        "$schema": DIALECT,
        "title": "Manifests of Kastra",
        "type": "object",
        "required": ["apiVersion", "kind", "metadata"],
        "properties": {
            "apiVersion": {"enum": list(dict.fromkeys(versions))},
            "kind": {"enum": list(dict.fromkeys(names))},
        },
        "allOf": cases,
        "$defs": {**dict(sorted(manifests.items())), **classes.sorted()},
    }


def _manifest(kind: ResourceKind, version: str, classes: _Classes) -> JsonObject:
    version = version or kind.version
    if version != kind.version and version not in kind.structures:
        served = ", ".join((kind.version, *kind.structures))
        raise UserError(f"{kind.kind}.{kind.group} has no schema for the version {version!r}; it has those of {served}")
    head: JsonObject = {
        "apiVersion": _one_of(_spellings(kind, version)),
        "kind": {"const": kind.kind},
        "metadata": _metadata(kind),
    }
    structure = kind.structure if version == kind.version else kind.structures[version]
    if structure is not None:
        return _of_structure(kind, load(structure).schema, head)
    schema: JsonObject = {"description": kind.description} if kind.description else {}
    required = ["apiVersion", "kind", "metadata"]
    spec: JsonObject = {"type": ["object", "null"], "description": "Any fields."}
    if kind.spec_type is not None:
        cls = load(kind.spec_type)
        spec = classes.of(cls)
        needs = [field_name(a) for a in attrs.fields(cls) if a.init and a.default is attrs.NOTHING]
        if needs and kind.default is None:
            required.append("spec")
        else:
            spec = {"anyOf": [{"type": "null"}, spec]}
        if needs and kind.default is not None:
            # What the defaults of the kind fill in cannot be known from here.
            spec = {"type": ["object", "null"], "description": class_doc(cls)}
    closed: JsonObject = {"additionalProperties": False} if kind.spec_type is not None else {}
    properties = {**head, "spec": spec, "status": _ANY_STATUS}
    return {**schema, "type": "object", "required": required, "properties": properties, **closed}


def _of_structure(kind: ResourceKind, schema: Mapping[str, Any], head: JsonObject) -> JsonObject:
    out = to_json_schema(schema, embedded=True)
    below = {name: sub for name, sub in out.get("properties", {}).items() if name not in (*head, "status")}
    own = (schema.get("properties") or {}).get("metadata")
    if own:
        # What a definition may say of metadata, rules for the name, holds beside what holds for all kinds.
        head["metadata"] = {**head["metadata"], "allOf": [to_json_schema(own, closed=False)]}
    needed = [name for name in out.get("required", ()) if name not in (*head, "status")]
    text = out.get("description") or kind.description
    out.pop("description", None)
    return {
        **({"description": text} if text else {}),
        **out,
        "type": "object",
        "required": [*head, *needed],
        "properties": {**head, **below, "status": _ANY_STATUS},
    }


def _spellings(kind: ResourceKind, version: str) -> list[str]:
    """The apiVersions of manifests that look like one of this version."""
    api_version = f"{kind.group}/{version}" if kind.group else version
    old = (
        spelling
        for spelling, new in OLD_API_VERSIONS.items()
        if new == api_version and spelling not in kind.served_versions
    )
    return [api_version, *old]


def _one_of(values: list[str]) -> JsonObject:
    return {"const": values[0]} if len(values) == 1 else {"enum": values}


def _metadata(kind: ResourceKind) -> JsonObject:
    """metadata as a user writes it. Sources: RFC 1123 names, Kubernetes' labels."""
    docs = attribute_docs(ObjectMeta)
    texts: JsonObject = {"type": ["object", "null"], "additionalProperties": {"type": "string"}}
    label = {"type": "string", "maxLength": 63, "pattern": f"^({LABEL_WORD})?$"}
    owner = {name: {"type": "string", "minLength": 1} for name in ("apiVersion", "kind", "name", "uid")}
    flags: JsonObject = {name: {"type": "boolean"} for name in ("controller", "blockOwnerDeletion")}
    namespace: JsonObject = {"enum": ["", None]}
    if kind.namespaced:
        namespace = {"type": ["string", "null"], "maxLength": 63, "pattern": f"^({DNS_LABEL})?$"}
        namespace["description"] = "Where it lives; default: the namespace of the command or the configuration."
    properties: JsonObject = {
        "name": {
            "type": "string",
            "description": docs.get("name") or "Unique among the resources of the kind in the namespace.",
            "maxLength": 253,
            "pattern": f"^{DNS_NAME}$",
        },
        "namespace": namespace,
        "labels": {
            **texts,
            "description": "What selectors find it by.",
            "propertyNames": {"pattern": f"^({DNS_NAME}/)?{LABEL_WORD}$"},
            "additionalProperties": label,
        },
        "annotations": {**texts, "description": "Texts for tools and people."},
        "finalizers": {
            "type": ["array", "null"],
            "description": "Who must do something before the resource goes.",
            "items": {"type": "string", "minLength": 1},
        },
        "ownerReferences": {
            "type": ["array", "null"],
            "description": "It goes when the last of these is gone.",
            "items": {"type": "object", "required": list(owner), "properties": {**owner, **flags}},
        },
        **{name: {"description": "Kastra sets it.", "readOnly": True} for name in SET_BY_KASTRA},
    }
    return {
        "type": "object",
        "description": class_doc(ObjectMeta),
        "required": ["name"],
        "properties": properties,
        "additionalProperties": False,
    }


# ------------------------------------------------------------------------------------------------ classes


class _Classes:
    """JSON schemas of types as the converter reads them; those of classes stand in ``defs`` once, by name."""

    def __init__(self) -> None:
        self.defs: dict[str, JsonObject] = {}
        self._names: dict[type, str] = {}

    def sorted(self) -> JsonObject:
        return dict(sorted(self.defs.items()))

    def of(self, kind: Any) -> JsonObject:
        """The schema of a type; what the converter does not know is anything."""
        kind = getattr(kind, "__supertype__", kind)
        origin, args = get_origin(kind), get_args(kind)
        if kind in _SIMPLE:
            return {"type": _SIMPLE[kind]}
        if origin is Literal:
            return _literal(args)
        if origin in (Union, types.UnionType):
            return self._union(args)
        if origin in _LISTS or kind in _LISTS:
            return self._list(origin or kind, args)
        if origin in (dict, Mapping) or kind in (dict, Mapping):
            below = self.of(args[1]) if args else {}
            return {"type": "object", "additionalProperties": below} if below else {"type": "object"}
        if not isinstance(kind, type):
            return {}
        forms = schema_forms(kind)
        if forms is not None or reads_fields(kind):
            return {"$ref": f"#/$defs/{self._name(kind)}"}
        if issubclass(kind, enum.Enum):
            return _literal(tuple(member.value for member in kind))
        return {}

    def _union(self, args: Sequence[Any]) -> JsonObject:
        parts = [self.of(arg) for arg in args]
        if {} in parts:
            return {}
        plain = [part["type"] for part in parts if part.keys() == {"type"} and isinstance(part["type"], str)]
        if len(plain) == len(parts):
            return {"type": plain}
        return {"anyOf": parts}

    def _list(self, origin: Any, args: Sequence[Any]) -> JsonObject:
        if origin is tuple and args and args[-1] is not Ellipsis:
            parts = [self.of(arg) for arg in args]
            return {"type": "array", "prefixItems": parts, "minItems": len(parts), "maxItems": len(parts)}
        items = self.of(args[0]) if args else {}
        return {"type": "array", "items": items} if items else {"type": "array"}

    def _name(self, cls: type) -> str:
        """The key of a class in ``defs``, where its schema is put at the first call."""
        if cls in self._names:
            return self._names[cls]
        name, number = cls.__name__, 2
        while name in self.defs:
            name, number = f"{cls.__name__}{number}", number + 1
        self._names[cls] = name
        self.defs[name] = {}  # taken, also while the class is read: it may contain itself
        forms = schema_forms(cls)
        own = self._object(cls) if is_object(cls) else {}
        made = forms(own, self.of) if forms is not None else own
        text = class_doc(cls)
        self.defs[name] = {"description": text, **made} if text else made
        return name

    def _object(self, cls: type) -> JsonObject:
        hints, docs = get_type_hints(cls), attribute_docs(cls)
        properties: JsonObject = {}
        required = []
        for attribute in attrs.fields(cls):
            if not attribute.init or attribute.name.startswith("_"):
                continue
            schema = dict(self.of(hints.get(attribute.name, Any)))
            text = " ".join(docs.get(attribute.name, "").split())
            if text:
                schema["description"] = text
            name = field_name(attribute)
            if attribute.default is attrs.NOTHING:
                required.append(name)
            elif (default := default_of(attribute)) is not None:
                schema["default"] = default
            properties[name] = schema
        out: JsonObject = {"type": "object", "properties": properties}
        if required:
            out["required"] = required
        return {**out, "additionalProperties": False}


def _literal(values: Sequence[Any]) -> JsonObject:
    kinds = {_SIMPLE.get(type(value)) for value in values}
    word = kinds.pop() if len(kinds) == 1 else None
    return {"type": word, "enum": list(values)} if word else {"enum": list(values)}


def is_object(cls: type) -> bool:
    """Whether a manifest writes an attrs class as an object with its fields.

    A class with positional fields stands for a value that has a form of its own, with its own reader.
    """
    return attrs.has(cls) and all(attribute.kw_only for attribute in attrs.fields(cls))


def attribute_docs(cls: type) -> dict[str, str]:
    """The texts that stand below the attributes of a class and its bases, by attribute."""
    out: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if base is object:
            continue
        try:
            source = textwrap.dedent(inspect.getsource(base))
        except (OSError, TypeError):
            continue
        [definition] = ast.parse(source).body[:1]
        if not isinstance(definition, ast.ClassDef):
            continue
        for statement, below in zip(definition.body, definition.body[1:]):
            if (
                isinstance(statement, ast.AnnAssign)
                and isinstance(statement.target, ast.Name)
                and isinstance(below, ast.Expr)
                and isinstance(below.value, ast.Constant)
                and isinstance(below.value.value, str)
            ):
                out[statement.target.id] = _plain(below.value.value)
    return out


def class_doc(cls: type) -> str:
    """The text of a class, "" when it has none of its own."""
    text = cls.__dict__.get("__doc__") or ""
    # attrs and dataclasses put a signature there when a class has no text of its own.
    return "" if text.startswith(f"{cls.__name__}(") else _plain(text).split("\n\n>>>")[0]


def default_of(attribute: attrs.Attribute[Any]) -> Any:
    """The default of an attrs field as JSON; None when it has none, or one that says nothing (empty, "not given")."""
    value: Any = attribute.default
    if isinstance(value, attrs.Factory):  # type: ignore[arg-type]
        if value.takes_self:
            return None
        value = value.factory()
    try:
        plain = unstructure(value)
    except Exception:
        return None
    # What is no JSON is a mark for "not given", which a manifest cannot say.
    return plain if isinstance(plain, (str, int, float, list, dict)) and plain not in ("", [], {}) else None


def _plain(text: str) -> str:
    return inspect.cleandoc(text).replace("``", "")


# ------------------------------------------------------------------------------------------------ definitions


def crd_of(kind: ResourceKind) -> JsonObject:
    """Return the CustomResourceDefinition (``apiextensions.k8s.io/v1``) of a kind, with a structural schema.

    What a structural schema cannot say is left open (``x-kubernetes-preserve-unknown-fields``): a class inside
    itself, several forms of one value. Defaults that are no plain values are left out.

    Raises:
        UserError: a kind without group, which Kubernetes does not let anybody define.
    """
    if not kind.group:
        raise UserError(f"{kind.kind} has no group, so no definition can name it")
    names: JsonObject = {
        "kind": kind.kind,
        "listKind": f"{kind.kind}List",
        "plural": kind.plural,
        "singular": kind.singular,
    }
    if kind.short_names:
        names["shortNames"] = list(kind.short_names)
    if kind.categories:
        names["categories"] = list(kind.categories)
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": kind.qualified_plural},
        "spec": {
            "group": kind.group,
            "names": names,
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "versions": [_version(kind, version) for version in (kind.version, *kind.structures)],
        },
    }


def _version(kind: ResourceKind, version: str) -> JsonObject:
    subresources: JsonObject = {"status": {}}
    if kind.scale is not None:
        paths = {
            "specReplicasPath": kind.scale.spec_replicas_path,
            "statusReplicasPath": kind.scale.status_replicas_path,
            "labelSelectorPath": kind.scale.label_selector_path,
        }
        subresources["scale"] = {name: path for name, path in paths.items() if path}
    out: JsonObject = {
        "name": version,
        "served": True,
        "storage": version == kind.version,
        "schema": {"openAPIV3Schema": _structural(kind, version)},
        "subresources": subresources,
    }
    columns = [
        {
            "name": column.name,
            # Seconds with their unit are a type of Kastra's alone.
            "type": "number" if column.type == "seconds" else column.type,
            "jsonPath": column.json_path,
            **({"description": column.description} if column.description else {}),
            **({"priority": column.priority} if column.priority else {}),
        }
        for column in kind.printer_columns
    ]
    return {**out, "additionalPrinterColumns": columns} if columns else out


def _structural(kind: ResourceKind, version: str) -> JsonObject:
    structure = kind.structure if version == kind.version else kind.structures[version]
    if structure is not None:
        return dict(load(structure).schema)
    classes = _Classes()
    anything: JsonObject = {"type": "object", KEEPS_UNKNOWN: True}
    spec, status, required = anything, anything, []
    if kind.spec_type is not None:
        cls = load(kind.spec_type)
        schema = classes.of(cls)
        spec = {"description": class_doc(cls), **to_structural(schema, classes.defs)}
        keys = {path.removeprefix("spec."): key for path, key in kind.list_map_keys.items() if path.startswith("spec.")}
        for path, key in keys.items():
            _list_map(spec, path.split("."), key)
        if any(a.default is attrs.NOTHING for a in attrs.fields(cls) if a.init) and kind.default is None:
            required.append("spec")
    if kind.status_type is not None:
        status = to_structural(classes.of(load(kind.status_type)), classes.defs)
    properties: JsonObject = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        "spec": spec,
        "status": status,
    }
    out: JsonObject = {"type": "object", "properties": properties}
    if kind.description:
        out["description"] = kind.description
    return {**out, "required": required} if required else out


def _list_map(schema: JsonObject, path: Sequence[str], keys: tuple[str, ...]) -> None:
    """Mark a list that is merged item by item, where the schema says enough of its items for Kubernetes."""
    for part in path:
        schema = schema.get("properties", {}).get(part, {})
    items = schema.get("items", {})
    given = items.get("properties", {})
    sure = set(items.get("required", ())) | {name for name, sub in given.items() if "default" in sub}
    if schema.get("type") == "array" and items.get("type") == "object" and sure.issuperset(keys):
        schema["x-kubernetes-list-type"] = "map"
        schema["x-kubernetes-list-map-keys"] = list(keys)
