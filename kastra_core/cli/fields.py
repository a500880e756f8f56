"""What the fields of a kind are, from its attrs class or its OpenAPI schema: for ``kastra explain``."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import attrs

from kastra_core.api.kind import ResourceKind
from kastra_core.api.lazy import load
from kastra_core.api.meta import ObjectMeta
from kastra_core.metadata import SET_BY_USERS
from kastra_core.schemas import attribute_docs, class_doc, default_of, is_object
from kastra_core.serde import field_name

__all__ = ["Field", "about_kind", "fields_of_kind", "find_field"]

_Class = type  # the word means a field of Field below
_WORDS = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null", Any: "anything"}
_LIMITS = (
    "minLength",
    "maxLength",
    "pattern",
    "minimum",
    "maximum",
    "multipleOf",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
)
_KEEPS_UNKNOWN = "x-kubernetes-preserve-unknown-fields"
_INT_OR_STRING = "x-kubernetes-int-or-string"


def _no_fields() -> list[Field]:
    return []


@attrs.frozen(kw_only=True)
class Field:
    """A field of a manifest. ``default`` is JSON, None when there is none; ``fields`` makes what is below it."""

    name: str
    type: str
    """In plain words: "string", "list of objects", "one of a, b"."""
    description: str = ""
    required: bool = False
    default: Any = None
    format: str = ""
    """What kind of text or number it is: "date-time", "int64"."""
    limits: tuple[str, ...] = ()
    """Bounds of its value, as the schema has them: "minLength: 1"."""
    rules: tuple[str, ...] = ()
    """What must hold besides, in the words of the schema's author."""
    notes: tuple[str, ...] = ()
    """What becomes of it that its type does not say."""
    keeps_unknown: bool = False
    """Whether there may be fields below it that nobody has described."""
    fields: Callable[[], list[Field]] = attrs.field(default=_no_fields, repr=False, eq=False)
    form: _Class | None = None
    """The class that the fields below come from; one that is met again below itself is not told twice."""


def fields_of_kind(kind: ResourceKind, *, version: str = "") -> list[Field]:
    """The top-level fields of a kind's manifests.

    Args:
        version: one of ``kind.structures``; default: the kind's own.
    """
    structure = kind.structures[version] if version and version != kind.version else kind.structure
    if structure is not None:
        rest = _of_root(load(structure).schema)
    elif kind.spec_type is not None:
        spec_class = load(kind.spec_type)
        spec = Field(
            name="spec",
            type="object",
            description=class_doc(spec_class),
            required=any(field.required for field in _of_class(spec_class)),
            fields=lambda: _of_class(spec_class),
            form=spec_class,
        )
        rest = [spec]
    else:
        rest = [Field(name="spec", type="object", description="Any fields.")]
    api_version = f"{kind.group}/{version}" if version and kind.group else version or kind.api_version
    return [
        Field(name="apiVersion", type="string", description=api_version, required=True),
        Field(name="kind", type="string", description=f"{kind.kind}", required=True),
        Field(
            name="metadata",
            type="object",
            description=class_doc(ObjectMeta),
            required=True,
            fields=lambda: [field for field in _of_class(ObjectMeta) if field.name in SET_BY_USERS],
        ),
        *rest,
    ]


def about_kind(kind: ResourceKind, *, version: str = "") -> tuple[str, Sequence[str], Sequence[str]]:
    """The text of a kind in a version, the rules that hold for its resources as a whole, and notes on them."""
    structure = kind.structures[version] if version and version != kind.version else kind.structure
    if structure is None:
        return kind.description, (), ()
    schema = load(structure).schema
    return str(schema.get("description") or kind.description), tuple(_own_rules(schema)), tuple(_notes(schema))


def find_field(fields: Sequence[Field], path: Sequence[str]) -> Field | list[str]:
    """The field at a path, or the names that were possible at the first part that is none."""
    found: Field | None = None
    for part in path:
        here = list(fields) if found is None else found.fields()
        found = next((field for field in here if field.name == part), None)
        if found is None:
            return [field.name for field in here]
    assert found is not None
    return found


# ------------------------------------------------------------------------------------------------ attrs classes


def _of_class(cls: type) -> list[Field]:
    hints = get_type_hints(cls)
    docs = attribute_docs(cls)
    out = []
    for attribute in attrs.fields(cls):
        if not attribute.init or attribute.name.startswith("_"):
            continue
        kind = hints.get(attribute.name, Any)
        required = attribute.default is attrs.NOTHING
        inner = _class_in(kind)
        out.append(
            Field(
                name=field_name(attribute),
                type=_words(kind),
                description=" ".join((docs.get(attribute.name) or _doc_in(kind)).split()),
                required=required,
                default=None if required else default_of(attribute),
                fields=partial(_of_class, inner) if inner is not None else _no_fields,
                form=inner,
            )
        )
    return out


def _doc_in(kind: Any) -> str:
    """The text of the first attrs class in a type, "" when there is none."""
    return next((class_doc(cls) for cls in _classes_in(kind)), "")


def _classes_in(kind: Any) -> Iterator[type]:
    """The attrs classes in a type, through lists, maps and Optional."""
    if isinstance(kind, type) and attrs.has(kind):
        yield kind
    elif get_origin(kind) is not Literal:
        for arg in get_args(kind):
            yield from _classes_in(arg)


def _class_in(kind: Any) -> type | None:
    """The attrs class whose fields stand below a type."""
    return next(filter(is_object, _classes_in(kind)), None)


def _words(kind: Any, *, many: bool = False) -> str:
    origin, args = get_origin(kind), get_args(kind)
    if kind in _WORDS:
        word = _WORDS[kind]
        return f"{word}s" if many and kind is not Any else word
    if origin is Literal:
        return "one of " + ", ".join(str(arg) for arg in args)
    if origin in (Union, types.UnionType):
        words = dict.fromkeys(_words(arg, many=many) for arg in args if arg is not type(None))
        return " or ".join(words)
    if origin in (list, tuple, set, frozenset, Sequence):
        return f"list{'s' if many else ''} of {_words(args[0], many=True) if args else 'anything'}"
    if origin in (dict, Mapping) or kind in (dict, Mapping):
        return f"map{'s' if many else ''} of {_words(args[1], many=True) if args else 'anything'}"
    if isinstance(kind, type) and attrs.has(kind):
        if _class_in(kind) is None:
            return kind.__name__
        return "objects" if many else "object"
    return getattr(kind, "__name__", str(kind))


# ------------------------------------------------------------------------------------------------ schemas


def _of_schema(schema: Mapping[str, Any]) -> list[Field]:
    required = schema.get("required") or ()
    fields = [
        Field(
            name=name,
            type=_schema_words(sub),
            description=" ".join(str(sub.get("description") or "").split()),
            required=name in required,
            default=sub.get("default"),
            format=_format(sub),
            limits=tuple(_limits(sub)),
            rules=tuple(_rules(sub)),
            notes=tuple(_notes(sub)),
            keeps_unknown=bool(_inside(sub).get(_KEEPS_UNKNOWN)),
            fields=partial(_of_schema, _inside(sub)),
        )
        for name, sub in (schema.get("properties") or {}).items()
    ]
    if schema.get("x-kubernetes-embedded-resource"):
        known = {field.name for field in fields}
        own = [
            Field(name="apiVersion", type="string", required=True),
            Field(name="kind", type="string", required=True),
            Field(name="metadata", type="object"),
        ]
        fields = [*(field for field in own if field.name not in known), *fields]
    return fields


def _of_root(schema: Mapping[str, Any]) -> list[Field]:
    """The fields beside apiVersion, kind and metadata; what a manifest leaves to controllers comes last."""
    fields = [field for field in _of_schema(schema) if field.name not in ("apiVersion", "kind", "metadata")]
    if schema.get(_KEEPS_UNKNOWN) and not any(field.name == "spec" for field in fields):
        fields.insert(0, Field(name="spec", type="object", description="Any fields."))
    status = [
        attrs.evolve(field, description=field.description or "Written by controllers, ignored in a manifest.")
        for field in fields
        if field.name == "status"
    ]
    return [*(field for field in fields if field.name != "status"), *status]


def _below(schema: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The schema of the items of a list or the values of a map."""
    below = schema.get("items") or schema.get("additionalProperties")
    return below if isinstance(below, Mapping) else None


def _inside(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema whose properties stand below a field: of a list its items', of a map its values'."""
    while not schema.get("properties") and (below := _below(schema)) is not None:
        schema = below
    return schema


def _format(schema: Mapping[str, Any]) -> str:
    inner = _below(schema) if not schema.get("properties") else None
    return str(schema.get("format") or (_format(inner) if inner is not None else ""))


def _limits(schema: Mapping[str, Any]) -> Iterator[str]:
    for word in _LIMITS:
        if word in schema:
            beyond = schema.get({"minimum": "exclusiveMinimum", "maximum": "exclusiveMaximum"}.get(word, ""))
            yield f"{word}: {schema[word]}" + (" (itself excluded)" if beyond is True else "")
    below = _below(schema)
    if below is not None and not below.get("properties"):
        what = "each item" if schema.get("items") else "each value"
        yield from (f"{what}: {limit}" for limit in _limits(below))


def _rules(schema: Mapping[str, Any]) -> Iterator[str]:
    """The rules of a field, and of the items of a list or the values of a map that have no entry of their own."""
    yield from _own_rules(schema)
    below = _below(schema) if not schema.get("properties") else None
    if below is not None:
        yield from _rules(below)


def _own_rules(schema: Mapping[str, Any]) -> Iterator[str]:
    """What the author says of each rule, else the rule itself."""
    for rule in schema.get("x-kubernetes-validations") or ():
        yield " ".join(str(rule.get("message") or rule.get("rule") or "").split())


def _notes(schema: Mapping[str, Any]) -> Iterator[str]:
    if schema.get("nullable"):
        yield "may be null"
    if schema.get(_KEEPS_UNKNOWN) and (schema.get("properties") or schema.get("type") == "object"):
        yield "unknown fields are kept"
    if schema.get("x-kubernetes-embedded-resource"):
        yield "a whole resource with apiVersion, kind and metadata"
    reference = schema.get("x-kastra-reference")
    if isinstance(reference, Mapping):
        yield f"refers to a resource of kind {reference.get('kind')}"
    for word, told in (("oneOf", "exactly one of"), ("anyOf", "at least one of")):
        named = _alternatives(schema.get(word))
        if named:
            yield f"{told} {', '.join(named)}"
    kind = schema.get("x-kubernetes-list-type")
    if kind == "map":
        yield f"one item for each {', '.join(schema.get('x-kubernetes-list-map-keys') or ())}"
    elif kind == "set":
        yield "no item twice"
    below = _below(schema) if not schema.get("properties") else None
    if below is not None:
        yield from _notes(below)


def _alternatives(schemas: Any) -> list[str]:
    """What each alternative requires, when that is all they say: ["url", "host and port"]."""
    if not isinstance(schemas, list) or not all(
        isinstance(one, Mapping) and one.keys() == {"required"} and one["required"] for one in schemas
    ):
        return []
    return [" and ".join(map(str, one["required"])) for one in schemas]


def _schema_words(schema: Mapping[str, Any], *, many: bool = False) -> str:
    if schema.get("enum"):
        return "one of " + ", ".join("null" if value is None else str(value) for value in schema["enum"])
    plural = "s" if many else ""
    if schema.get(_INT_OR_STRING):
        return f"integer{plural} or string{plural}"
    kind = schema.get("type")
    if kind == "array":
        return f"list{plural} of {_schema_words(schema.get('items') or {}, many=True)}"
    additional = schema.get("additionalProperties")
    if kind == "object" and not schema.get("properties") and additional:
        return f"map{plural} of {_schema_words(additional if isinstance(additional, Mapping) else {}, many=True)}"
    return f"{kind}{plural}" if isinstance(kind, str) and kind else "anything"
