"""What a suspended run waits for, in words, and the command that answers it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from kastra_core.api.meta import JsonValue
from kastra_core.cli.run_screen import in_one_line

__all__ = ["awaiting_lines", "example_of"]

_DEEPEST = 5
"""Objects in objects of an example."""
_LONGEST = 60
"""Characters of a field's description."""


def awaiting_lines(run: str, item: Mapping[str, Any], option_n: str = "") -> Iterator[str]:
    """What to tell of a signal that a run awaits: who asks for what, the fields of the answer, the command.

    Args:
        run: name of the run; ``item["run"]`` is that of a run that it called, when that one awaits it.
        item: of ``status.awaiting``: signal, step, message, schema.
        option_n: `` -n NAMESPACE`` when the command needs it.
    """
    signal, name = str(item.get("signal")), str(item.get("run") or run)
    asks = "message" in item
    where = f"step {item['step']} of run/{name}" if item.get("step") else f"run/{name}"
    yield f"{where} awaits {'an answer' if asks else f'the event {in_one_line(signal)}'}" + (
        ":" if item.get("message") else ""
    )
    if item.get("message"):
        yield from (f"  {line}" for line in str(item["message"]).splitlines())
    found = item.get("schema")
    schema = found if isinstance(found, Mapping) else {}
    if schema:
        yield from _fields(schema)
    command = f"kastra run resume run/{name}{option_n} --signal {shlex.quote(signal)}"
    if schema:
        example = orjson.dumps(example_of(schema), default=str).decode()
        yield f"answer: {command} --data {shlex.quote(example)}"
    else:
        yield f"answer: {command} (and --data JSON, where it should carry something)"


def _fields(schema: Mapping[str, Any]) -> Iterator[str]:
    properties = schema.get("properties")
    if not isinstance(properties, Mapping) or not properties:
        yield f"  the answer: {_type(schema)}"
        return
    required = schema.get("required")
    needed = required if isinstance(required, list) else []
    for name, field in properties.items():
        words = [_type(field)] + (["required"] if name in needed else [])
        text = field.get("description") or field.get("title") if isinstance(field, Mapping) else ""
        told = in_one_line(str(text or ""))
        told = told if len(told) <= _LONGEST else told[: _LONGEST - 1] + "…"
        yield f"  {in_one_line(str(name))} ({', '.join(words)})" + (f": {told}" if told else "")


def _type(schema: Any) -> str:
    if not isinstance(schema, Mapping):
        return "anything"
    if isinstance(schema.get("enum"), list):
        return "one of " + ", ".join(in_one_line(value) for value in schema["enum"])
    kind = schema.get("type")
    return " or ".join(map(str, kind)) if isinstance(kind, list) else str(kind or "anything")


def example_of(schema: Any, depth: int = 0) -> JsonValue:
    """A value of a JSON schema's form, to be changed by whoever answers.

    >>> example_of({"properties": {"approved": {"type": "boolean"}, "why": {"type": "string"}}, "required": ["why"]})
    {'why': '...'}
    """
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        return None
    for word in ("const", "default"):
        if word in schema:
            return schema[word]
    for word in ("examples", "enum"):
        if isinstance(schema.get(word), list) and schema[word]:
            return schema[word][0]
    for word in ("anyOf", "oneOf"):
        if isinstance(schema.get(word), list) and schema[word]:
            return example_of(schema[word][0], depth + 1)
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = kind[0] if kind else None
    properties = schema.get("properties")
    if kind == "object" or isinstance(properties, Mapping):
        return _object(schema, depth)
    if kind == "array":
        item = example_of(schema.get("items"), depth + 1)
        return [item] if schema.get("minItems") else []
    if kind in ("integer", "number"):
        least = schema.get("minimum")
        return least if isinstance(least, (int, float)) and least > 0 else 0
    return {"boolean": True, "string": "...", "null": None}.get(str(kind), "...")


def _object(schema: Mapping[str, Any], depth: int) -> JsonValue:
    found = schema.get("properties")
    properties = found if isinstance(found, Mapping) else {}
    required = schema.get("required")
    names = [str(name) for name in required] if isinstance(required, list) and required else list(properties)
    return {name: example_of(properties.get(name), depth + 1) for name in names}
