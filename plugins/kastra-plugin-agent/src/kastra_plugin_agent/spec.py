"""What an Agent's manifest may say under ``spec``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from kastra_core.api.limits import LimitsSpec, ScalingSpec
from kastra_core.api.meta import JsonObject
from kastra_core.serde import FieldError, converter, register_schema, type_word
from kastra_plugin_agent.memory_spec import MemorySpec
from kastra_plugin_agent.model_spec import ModelSpec

__all__ = [
    "AgentSpec",
    "MemorySpec",
    "ModelSpec",
    "OutputSpec",
    "ToolUse",
    "ToolUses",
]


@attrs.frozen(kw_only=True)
class ToolUse:
    """A tool that the agent may call. ``reference`` is what the manifest says, ``name`` what the model sees."""

    name: str
    """What the model sees; default: the name of what is referred to."""
    reference: str | Mapping[str, Any]
    """What the manifest says: a text, or an object with name, namespace, ref, refName."""
    description: str = ""
    """Said to the model in place of the tool's own description."""


@attrs.frozen
class ToolUses:
    """Tools by list or by map.

    List items: a reference ("cooking.recipe-finder"), or {name, refName | ref | namespace, description}.
    Map: alias -> reference. Another executable kind ("agents/translator") is called with the fields of its
    inputSchema, or with one text where it has none.
    """

    items: tuple[ToolUse, ...] = ()


@attrs.frozen(kw_only=True)
class OutputSpec:
    """Structured output: the answer is JSON that fits ``schema``."""

    schema: Mapping[str, Any]
    """JSON schema of the output."""
    max_repairs: int = 1
    """How often the model is shown its mistake and asked again."""


@attrs.frozen(kw_only=True)
class AgentSpec:
    """Spec of kind Agent."""

    instructions: str = ""
    """Sent to the model as the system message."""
    description: str = ""
    """What the agent is good for, for people, routers and agents that call it as a tool."""
    model: ModelSpec | None = None
    """Default: the configuration's ``defaultModel``, else a provider that needs no account."""
    tools: ToolUses = attrs.field(factory=ToolUses)
    tool_choice: str = "auto"
    """auto, required, none or the name of a tool; holds for the first model call of a run."""
    memory: MemorySpec = attrs.field(factory=MemorySpec)
    output: OutputSpec | None = None
    """Structured output."""
    limits: LimitsSpec = attrs.field(factory=LimitsSpec)
    scaling: ScalingSpec = attrs.field(factory=ScalingSpec)


_TOOL_FIELDS = ("description", "kind", "name", "namespace", "ref", "refName")


def _tool(value: Any, alias: str = "") -> ToolUse:
    if isinstance(value, str):
        return ToolUse(name=alias or _last(value), reference=value)
    if not isinstance(value, Mapping):
        raise FieldError(f"expected a reference or an object, found {type_word(value)}")
    for key in value:
        if key not in _TOOL_FIELDS:
            hint = "a tool is named here and described by its own Tool resource"
            raise FieldError(
                f"unknown field {key!r}; known fields: {', '.join(_TOOL_FIELDS)}",
                path=str(key),
                hint=hint,
            )
        if not isinstance(value[key], str):
            raise FieldError(f"expected a string, found {type_word(value[key])}", path=str(key))
    target = value.get("ref") or value.get("refName") or value.get("name") or alias
    if not target:
        raise FieldError("expected name, ref or refName")
    reference = {key: item for key, item in value.items() if key != "description"}
    if not (reference.get("ref") or reference.get("refName") or reference.get("name")):
        reference["name"] = alias
    return ToolUse(
        name=alias or value.get("name") or _last(target),
        reference=reference,
        description=value.get("description", ""),
    )


def _last(reference: str) -> str:
    """Name of what a reference in text form names."""
    tail = reference.rpartition("/")[2]
    return tail if "/" in reference else tail.partition(".")[2] or tail


def _tools(value: Any, _: Any) -> ToolUses:
    if isinstance(value, Mapping):
        pairs = [(str(alias), item, f"{alias}") for alias, item in value.items()]
    elif isinstance(value, list):
        pairs = [("", item, f"[{index}]") for index, item in enumerate(value)]
    else:
        raise FieldError(f"expected a list or an object of tools, found {type_word(value)}")
    out = []
    for alias, item, place in pairs:
        try:
            out.append(_tool(item, alias))
        except FieldError as error:
            path = f"{place}.{error.path}" if error.path else place
            raise FieldError(error.message, path=path, hint=error.hint) from error
    return ToolUses(tuple(out))


def _tools_schema(own: JsonObject, schema_of: Callable[[Any], JsonObject]) -> JsonObject:
    words = {name: {"type": "string"} for name in _TOOL_FIELDS}
    known = {"type": "object", "properties": words, "additionalProperties": False}
    target = [{"required": [name], "properties": {name: {"minLength": 1}}} for name in ("ref", "refName", "name")]
    text = {"type": "string", "description": "A reference."}
    return {
        "anyOf": [
            {"type": "array", "items": {"anyOf": [text, {**known, "anyOf": target}]}},
            {
                "type": "object",
                "additionalProperties": {"anyOf": [text, known]},
                "description": "Name that the model sees to the reference.",
            },
        ]
    }


converter().register_structure_hook(ToolUses, _tools)
register_schema(ToolUses, _tools_schema)
