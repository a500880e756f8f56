"""What the fields of a kind are, from its attrs class or its OpenAPI schema: for ``kastra explain``."""

from __future__ import annotations

import ast
import inspect
import textwrap
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import attrs

from kastra_core.api.kind import ResourceKind
from kastra_core.api.lazy import load
from kastra_core.api.meta import ObjectMeta
from kastra_core.serde import field_name, unstructure

__all__ = ["Field", "fields_of_kind", "find_field"]

_Class = type  # the word means a field of Field below
_BY_USERS = ("name", "namespace", "labels", "annotations", "finalizers", "ownerReferences")
_WORDS = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null", Any: "anything"}


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
    fields: Callable[[], list[Field]] = attrs.field(default=_no_fields, repr=False, eq=False)
    form: _Class | None = None
    """The class that the fields below come from; one that is met again below itself is not told twice."""


def fields_of_kind(kind: ResourceKind) -> list[Field]:
    """The top-level fields of a kind's manifests."""
    if kind.spec_type is not None:
        spec_class = load(kind.spec_type)
        spec = Field(
            name="spec",
            type="object",
            description=_doc(spec_class),
            required=any(field.required for field in _of_class(spec_class)),
            fields=lambda: _of_class(spec_class),
            form=spec_class,
        )
        rest = [spec]
    elif kind.schema is not None:
        rest = [
            field
            for field in _of_schema(load(kind.schema))
            if field.name not in ("apiVersion", "kind", "metadata", "status")
        ]
    else:
        rest = [Field(name="spec", type="object", description="Any fields.")]
    return [
        Field(name="apiVersion", type="string", description=f"{kind.api_version}", required=True),
        Field(name="kind", type="string", description=f"{kind.kind}", required=True),
        Field(
            name="metadata",
            type="object",
            description=_doc(ObjectMeta),
            required=True,
            fields=lambda: [field for field in _of_class(ObjectMeta) if field.name in _BY_USERS],
        ),
        *rest,
    ]


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
                default=None if required else _default(attribute),
                fields=partial(_of_class, inner) if inner is not None else _no_fields,
                form=inner,
            )
        )
    return out


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


def _doc(cls: type) -> str:
    text = cls.__dict__.get("__doc__") or ""
    # attrs and dataclasses put a signature there when a class has no text of its own.
    return "" if text.startswith(f"{cls.__name__}(") else _plain(text)


def _doc_in(kind: Any) -> str:
    """The text of the first attrs class in a type, "" when there is none."""
    return next((_doc(cls) for cls in _classes_in(kind)), "")


def _default(attribute: attrs.Attribute[Any]) -> Any:
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


def _classes_in(kind: Any) -> Iterator[type]:
    """The attrs classes in a type, through lists, maps and Optional."""
    if isinstance(kind, type) and attrs.has(kind):
        yield kind
    elif get_origin(kind) is not Literal:
        for arg in get_args(kind):
            yield from _classes_in(arg)


def _class_in(kind: Any) -> type | None:
    """The attrs class whose fields stand below a type.

    A class with positional fields stands for a value that has a form of its own, with its own reader.
    """
    return next((cls for cls in _classes_in(kind) if all(a.kw_only for a in attrs.fields(cls))), None)


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
    return [
        Field(
            name=name,
            type=_schema_words(sub),
            description=" ".join(str(sub.get("description") or "").split()),
            required=name in required,
            default=sub.get("default"),
            fields=partial(_of_schema, _inside(sub)),
        )
        for name, sub in (schema.get("properties") or {}).items()
    ]


def _inside(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema whose properties stand below a field: of a list its items', of a map its values'."""
    while "properties" not in schema:
        below = schema.get("items") or schema.get("additionalProperties")
        if not isinstance(below, Mapping):
            break
        schema = below
    return schema


def _schema_words(schema: Mapping[str, Any], *, many: bool = False) -> str:
    if schema.get("enum"):
        return "one of " + ", ".join(str(value) for value in schema["enum"])
    kind = schema.get("type")
    plural = "s" if many else ""
    if kind == "array":
        return f"list{plural} of {_schema_words(schema.get('items') or {}, many=True)}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        return f"map{plural} of {_schema_words(schema['additionalProperties'], many=True)}"
    return f"{kind}{plural}" if isinstance(kind, str) else "anything"
