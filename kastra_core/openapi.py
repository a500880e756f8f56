"""OpenAPI v3 schemas as definitions have them to JSON schema (draft 2020-12), and JSON schema to structural schemas."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kastra_core.api.meta import JsonObject

__all__ = ["KEEPS_UNKNOWN", "to_json_schema", "to_structural"]

KEEPS_UNKNOWN = "x-kubernetes-preserve-unknown-fields"
"""True: fields that the schema does not know are kept."""
_INT_OR_STRING = "x-kubernetes-int-or-string"
_SAME = (
    "title",
    "description",
    "default",
    "enum",
    "format",
    "maximum",
    "minimum",
    "multipleOf",
    "maxLength",
    "minLength",
    "maxItems",
    "minItems",
    "uniqueItems",
    "maxProperties",
    "minProperties",
)
_SEVERAL = ("allOf", "anyOf", "oneOf")
_OF_GO = re.compile(r"\(\?[^:]|\\[AzZQECpP]|\[\[:")
"""What Go's regular expressions have and those of editors lack, or mean otherwise."""


# ------------------------------------------------------------------------------------------------ to JSON schema


def to_json_schema(schema: Mapping[str, Any], *, closed: bool = True, embedded: bool = False) -> JsonObject:
    """Return the JSON schema that accepts what the OpenAPI v3 schema of a definition accepts, before defaults.

    Args:
        schema: structural; Kubernetes' extensions are understood.
        closed: refuse fields that would be dropped.
        embedded: it is a whole resource, with apiVersion, kind and metadata.
    """
    out = {name: schema[name] for name in _SAME if name in schema}
    pattern = schema.get("pattern")
    if isinstance(pattern, str) and not _OF_GO.search(pattern):
        out["pattern"] = pattern
    _types(schema, out)
    for word, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if schema.get(exclusive) is True and word in out:
            out[exclusive] = out.pop(word)
    if "example" in schema:
        out["examples"] = [schema["example"]]
    if schema.get("x-kubernetes-list-type") == "set" and (schema.get("items") or {}).get("type") in _SCALARS:
        out["uniqueItems"] = True
    rules = [str(rule["message"]) for rule in schema.get("x-kubernetes-validations") or () if rule.get("message")]
    if rules:
        out["description"] = "\n\n".join(filter(None, [out.get("description", ""), *rules]))
    if isinstance(schema.get("items"), Mapping):
        out["items"] = to_json_schema(schema["items"], closed=closed)
    _properties(schema, out, closed, embedded or bool(schema.get("x-kubernetes-embedded-resource")))
    _junctors(schema, out)
    return out


_SCALARS = ("string", "integer", "number", "boolean")


def _types(schema: Mapping[str, Any], out: JsonObject) -> None:
    kinds = ["integer", "string"] if schema.get(_INT_OR_STRING) else [schema["type"]] if schema.get("type") else []
    # A null where null is not allowed is dropped when there is a default to take its place.
    if kinds and (schema.get("nullable") or "default" in schema):
        kinds.append("null")
        if None not in out.get("enum", [None]) and not schema.get("nullable"):
            out["enum"] = [*out["enum"], None]
    if kinds:
        out["type"] = kinds[0] if len(kinds) == 1 else kinds


def _properties(schema: Mapping[str, Any], out: JsonObject, closed: bool, embedded: bool) -> None:
    given = schema.get("properties") or {}
    properties = {name: to_json_schema(sub, closed=closed) for name, sub in given.items()}
    # What a default fills in need not be written.
    required = [name for name in schema.get("required") or () if "default" not in given.get(name, {})]
    if embedded:
        own = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}
        properties = {**properties, **own}
        required = list(dict.fromkeys([*required, "apiVersion", "kind"]))
    if properties:
        out["properties"] = properties
    if required:
        out["required"] = required
    additional = schema.get("additionalProperties")
    if isinstance(additional, Mapping):
        out["additionalProperties"] = to_json_schema(additional, closed=closed)
    elif closed and not schema.get(KEEPS_UNKNOWN) and additional is not True and schema.get("type") == "object":
        out["additionalProperties"] = False


def _junctors(schema: Mapping[str, Any], out: JsonObject) -> None:
    filled = set(_with_default(schema))
    found: JsonObject = {}
    for word in _SEVERAL:
        parts = schema.get(word)
        if not parts or (schema.get(_INT_OR_STRING) and word != "allOf" and _only_types(parts)):
            continue
        # Whether a part holds may hang on a default, which is not there yet.
        if not any(filled & set(_names(part)) for part in parts):
            found[word] = [to_json_schema(part, closed=False) for part in parts]
    inner = schema.get("not")
    if inner and not filled & set(_names(inner)):
        found["not"] = to_json_schema(inner, closed=False)
    if found and schema.get("nullable"):
        # null is asked for its type and nothing else.
        found = {"anyOf": [{"type": "null"}, found]}
    out.update(found)


def _only_types(parts: Iterable[Mapping[str, Any]]) -> bool:
    return all(set(part) <= {"type"} for part in parts)


def _with_default(schema: Mapping[str, Any]) -> Iterator[str]:
    """The names of all fields below that have a default."""
    for name, sub in (schema.get("properties") or {}).items():
        if "default" in sub:
            yield name
        yield from _with_default(sub)
    for word in ("items", "additionalProperties"):
        if isinstance(schema.get(word), Mapping):
            yield from _with_default(schema[word])


def _names(schema: Mapping[str, Any]) -> Iterator[str]:
    """All fields that a part of a junctor speaks of."""
    yield from schema.get("required") or ()
    for name, sub in (schema.get("properties") or {}).items():
        yield name
        yield from _names(sub)
    for word in ("items", "additionalProperties", "not"):
        if isinstance(schema.get(word), Mapping):
            yield from _names(schema[word])
    for word in _SEVERAL:
        for part in schema.get(word) or ():
            yield from _names(part)


# ------------------------------------------------------------------------------------------------ to structural

_KEPT = (
    "format",
    "pattern",
    "maximum",
    "minimum",
    "multipleOf",
    "maxLength",
    "minLength",
    "maxItems",
    "minItems",
    "maxProperties",
    "minProperties",
)


def to_structural(schema: JsonObject, defs: Mapping[str, JsonObject], _above: tuple[str, ...] = ()) -> JsonObject:
    """Return the structural schema that accepts all that a JSON schema of attrs classes accepts.

    Args:
        schema: as :mod:`kastra_core.schemas` makes it.
        defs: its ``$defs``.
    """
    text: JsonObject = {"description": schema["description"]} if schema.get("description") else {}
    reference = schema.get("$ref")
    if reference is not None:
        name = reference.rpartition("/")[2]
        if name in _above:
            words = text or {key: value for key, value in defs[name].items() if key == "description"}
            kind = {"type": "object"} if _is_object(defs[name]) else {}
            return {**words, **kind, KEEPS_UNKNOWN: True}
        inner = to_structural(defs[name], defs, (*_above, name))
        return {**inner, **text, **_default(schema, inner)}
    out = _of_value(schema, defs, _above)
    return {**text, **out, **text, **_default(schema, out)}


def _is_object(schema: Mapping[str, Any]) -> bool:
    return schema.get("type") == "object"


def _of_value(schema: JsonObject, defs: Mapping[str, JsonObject], above: tuple[str, ...]) -> JsonObject:
    forms = schema.get("anyOf")
    if forms is None and isinstance(schema.get("type"), list):
        forms = [{**schema, "type": word} for word in schema["type"]]
    if forms is not None and "properties" not in schema:
        return _of_forms([form for form in forms if form.get("type") != "null"], forms, defs, above)
    word = schema.get("type")
    if word == "object":
        return _of_object(schema, defs, above)
    if word == "array":
        items = (
            to_structural(schema.get("items", {}), defs, above)
            if "prefixItems" not in schema
            else {KEEPS_UNKNOWN: True}
        )
        return {"type": "array", "items": items, **{key: schema[key] for key in _KEPT if key in schema}}
    if "const" in schema:
        schema = {**schema, "enum": [schema["const"]]}
    if word is None:
        return {KEEPS_UNKNOWN: True}
    out: JsonObject = {"type": word, **{key: schema[key] for key in _KEPT if key in schema}}
    return {**out, "enum": schema["enum"]} if "enum" in schema else out


def _of_forms(
    forms: list[JsonObject], all_forms: list[JsonObject], defs: Mapping[str, JsonObject], above: tuple[str, ...]
) -> JsonObject:
    null: JsonObject = {"nullable": True} if len(forms) < len(all_forms) else {}
    if len(forms) == 1:
        return {**to_structural(forms[0], defs, above), **null}
    if {form.get("type") for form in forms} == {"integer", "string"} and all(len(form) == 1 for form in forms):
        return {_INT_OR_STRING: True, **null}
    return {KEEPS_UNKNOWN: True, **null}


def _of_object(schema: JsonObject, defs: Mapping[str, JsonObject], above: tuple[str, ...]) -> JsonObject:
    out: JsonObject = {"type": "object", **{key: schema[key] for key in _KEPT if key in schema}}
    properties = schema.get("properties")
    additional = schema.get("additionalProperties", True)
    if properties:
        out["properties"] = {name: to_structural(sub, defs, above) for name, sub in properties.items()}
        if schema.get("required"):
            out["required"] = list(schema["required"])
        if additional is not False:
            out[KEEPS_UNKNOWN] = True
    elif additional is True:
        out[KEEPS_UNKNOWN] = True
    elif additional is not False:
        out["additionalProperties"] = to_structural(additional, defs, above)
    return out


_PYTHON: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


def _default(schema: Mapping[str, Any], made: Mapping[str, Any]) -> JsonObject:
    """The default, when it is a plain value of the type that was found."""
    value = schema.get("default")
    allowed = _PYTHON.get(made.get("type", ""), ())
    if value is None or not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
        return {}
    return {"default": value}
