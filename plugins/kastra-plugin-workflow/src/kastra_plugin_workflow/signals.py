"""Whether data fit a JSON schema: payloads of signals, inputs and outputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import orjson

from kastra_core.api.meta import JsonValue, Resource
from kastra_core.cel.hints import suggestion
from kastra_core.errors import Problem, shortened
from kastra_plugin_workflow.values import place_text

__all__ = [
    "OTHER_TYPES",
    "TYPES",
    "check_signal",
    "faults",
    "meant_schema",
    "misfits",
    "misfits_by_place",
    "schema_fault",
]

TYPES = ("object", "array", "string", "integer", "number", "boolean", "null")
"""Of JSON Schema."""
OTHER_TYPES = {
    **dict.fromkeys(("str", "text", "date", "datetime", "uuid"), "string"),
    **dict.fromkeys(("int", "long"), "integer"),
    **dict.fromkeys(("float", "double", "decimal"), "number"),
    **dict.fromkeys(("bool",), "boolean"),
    **dict.fromkeys(("list", "tuple", "set"), "array"),
    **dict.fromkeys(("dict", "map", "record", "struct"), "object"),
    **dict.fromkeys(("none", "nil"), "null"),
}
"""What other languages call a type -> its name."""

_KEYWORDS = frozenset(
    (
        *(
            "type",
            "enum",
            "const",
            "title",
            "description",
            "default",
            "examples",
            "deprecated",
            "readOnly",
            "writeOnly",
        ),
        *("properties", "patternProperties", "additionalProperties", "propertyNames", "required", "minProperties"),
        *("maxProperties", "dependencies", "dependentRequired", "dependentSchemas", "unevaluatedProperties"),
        *("items", "prefixItems", "additionalItems", "contains", "minContains", "maxContains", "minItems", "maxItems"),
        *("uniqueItems", "unevaluatedItems", "minLength", "maxLength", "pattern", "format", "minimum", "maximum"),
        *("exclusiveMinimum", "exclusiveMaximum", "multipleOf", "divisibleBy", "allOf", "anyOf", "oneOf", "not", "if"),
        *("then", "else", "extends", "disallow", "contentEncoding", "contentMediaType", "contentSchema", "definitions"),
        *("id", "example", "nullable", "discriminator", "xml", "externalDocs"),
    )
)
"""Of JSON Schema in its drafts, and of OpenAPI; those with a $ are not listed."""
_SHOWN_FIELDS = 5
_SHOWN = 300
_MOST = 20


def check_signal(run: Resource, name: str, payload: JsonValue) -> Iterable[Problem]:
    """Yield what is wrong with the payload of a signal to a run of a workflow; paths are from the payload's root.

    A run that is suspended says in ``status.awaiting`` what it waits for. What it does not wait for now is let through:
    a later step may wait for it, and the schema of that step is not known here.
    """
    awaiting = run.status.get("awaiting")
    entries = [entry for entry in awaiting if isinstance(entry, Mapping)] if isinstance(awaiting, list) else []
    if not any(entry.get("signal") == name for entry in entries):
        names = [str(entry["signal"]) for entry in entries if "signal" in entry]
        if name.casefold() in (other.casefold() for other in names):
            yield Problem(f"the run does not wait for {name!r}", hint=suggestion(name, names))
        return
    told: set[tuple[str, str]] = set()
    for entry in entries:
        schema = entry.get("schema")
        if entry.get("signal") != name or not isinstance(schema, Mapping):
            continue
        found = list(faults(schema, payload))
        for path, message in found[:_MOST]:
            if (path, message) not in told:
                told.add((path, message))
                yield Problem(message, path)
        if len(found) > _MOST:
            yield Problem("more does not fit")


def misfits(schema: Mapping[str, Any], value: JsonValue) -> list[str]:
    """Return why ``value`` does not fit ``schema``, a line for each place ("items[2].price: ..."); empty when it does.

    Nothing is ever fetched. A schema that is none, or that refers to another document, is a line too: nothing fits it.
    """
    lines: list[str] = []
    for path, message in faults(schema, value):
        if len(lines) == _MOST:
            lines.append("and more")
            break
        lines.append(f"{path}: {message}" if path else message)
    return lines


def faults(schema: Mapping[str, Any], value: JsonValue) -> Iterator[tuple[str, str]]:
    """(path in the value, what is wrong there) of each misfit, at most one more than are ever shown."""
    for place, _, message in misfits_by_place(schema, value, _MOST + 1):
        yield place_text(place), message


def misfits_by_place(
    schema: Mapping[str, Any], value: JsonValue, most: int
) -> Iterator[tuple[tuple[str | int, ...], str, str]]:
    """(place in the value, keyword of the schema, what is wrong) of each misfit, at most ``most``.

    A field that is missing has the place that it should have. The keyword is "" for a schema that is none.
    """
    import jsonschema_rs

    try:
        validator = _validator(_key(schema))
    except (jsonschema_rs.ValidationError, ValueError, TypeError) as error:
        yield (), "", f"the schema is not valid: {_cut(str(error))}"
        return
    try:
        if validator.is_valid(value):
            return
        for count, misfit in enumerate(validator.iter_errors(value)):
            if count == most:
                return
            yield _fault(misfit)
    except (ValueError, TypeError, RecursionError, OverflowError) as error:  # no JSON, or nested beyond its bounds
        yield (), "", f"it cannot be checked: {_cut(str(error))}"


def schema_fault(schema: Any) -> tuple[str, str] | None:
    """What is wrong with a JSON schema as (path below it, message); None when it is a valid one."""
    import jsonschema_rs

    try:
        _validator(_key(schema))
    except jsonschema_rs.ValidationError as error:
        return place_text(error.instance_path), _type_fault(error) or _cut(error.message)
    except (ValueError, TypeError) as error:
        return "", _cut(str(error))
    return None


def meant_schema(schema: Any) -> str:
    """What a schema without any keyword (``{customer: string}``) probably means, in YAML; "" when it has one."""
    if not isinstance(schema, Mapping) or not schema:
        return ""
    if any(key in _KEYWORDS or str(key).startswith(("$", "x-")) for key in schema):
        return ""
    shown = [
        f"{shortened(str(name), 40)}: {_meant_field(value)}" for name, value in list(schema.items())[:_SHOWN_FIELDS]
    ]
    rest = ", ..." if len(schema) > len(shown) else ""
    return f"{{type: object, properties: {{{', '.join(shown)}{rest}}}}}"


def _meant_field(value: Any) -> str:
    given = value.get("type") if isinstance(value, Mapping) else value
    lower = given.lower() if isinstance(given, str) else ""
    found = lower if lower in TYPES else OTHER_TYPES.get(lower)
    return f"{{type: {found}}}" if found else "{...}"


def _type_fault(error: Any) -> str:
    """What is wrong with the value of ``type``, "" when the fault is another one."""
    place, value = list(error.instance_path), error.instance
    if place[-1:] != ["type"] or place[-2:-1] == ["properties"] or not isinstance(value, str):
        return ""
    near = OTHER_TYPES.get(value.lower())
    hint = f"did you mean {near!r}?" if near else suggestion(value, TYPES)
    return f"{shortened(value, 80)!r} is no type; {hint}{' ' if hint else ''}types are {', '.join(TYPES)}"


def _fault(error: Any) -> tuple[tuple[str | int, ...], str, str]:
    place, keyword = tuple(error.instance_path), error.kind.name
    if keyword == "required":
        return (*place, str(error.kind.as_dict()["property"])), keyword, "is required"
    if keyword == "additionalProperties":
        names = ", ".join(repr(name) for name in error.kind.as_dict()["unexpected"])
        return place, keyword, f"unknown: {_cut(names)}"
    return place, keyword, _cut(error.message)


def _key(schema: Any) -> bytes:
    if not isinstance(schema, (Mapping, bool)):
        raise ValueError("a schema is an object")
    return orjson.dumps(schema)


@lru_cache(maxsize=512)
def _validator(schema: bytes) -> Any:
    import jsonschema_rs

    return jsonschema_rs.validator_for(orjson.loads(schema), retriever=_refuse)


def _refuse(uri: str) -> Any:
    raise ValueError("a schema may refer to itself only ('#/...')")


def _cut(text: str) -> str:
    first = text.strip().partition("\n")[0]
    if len(first) <= _SHOWN:
        return first
    # A message begins with the value, and says what is wrong with it at its end.
    return f"{first[: _SHOWN // 2 - 2]}…{first[-(_SHOWN // 2) + 1 :]}"
