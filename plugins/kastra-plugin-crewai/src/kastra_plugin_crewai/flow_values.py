"""Small things of which steps are made: ids, inputs, schemas of arguments."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from kastra_core.api.meta import JsonObject
from kastra_core.migration import CEL_RESERVED, cel_literal
from kastra_plugin_crewai.flow_expressions import NoCounterpartError, Output
from kastra_plugin_crewai.flow_model import Action, EachStep
from kastra_plugin_crewai.flow_state import changes_state

__all__ = [
    "Ids",
    "as_input",
    "has_expression",
    "input_of",
    "may_change_state",
    "nothing",
    "output_of_step",
    "schema_of",
]

_WORDS = CEL_RESERVED | {"END"}
"""Words of CEL, and of workflows, that are no names of steps."""
_LONGEST = 50
_FORMS = frozenset({"type", "from", "description"})
"""Keys of the special forms of a step's input."""
_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}


class Ids:
    """Ids of steps, each once."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def fresh(self, name: str) -> str:
        """An id that resembles a name of the source."""
        plain = re.sub(r"[^A-Za-z0-9_]", "_", name).lstrip("_0123456789")[:_LONGEST] or "step"
        plain = f"{plain}_" if plain in _WORDS else plain
        out, number = plain, 1
        while out in self._taken:
            number += 1
            out = f"{plain}_{number}"
        self._taken.add(out)
        return out


def may_change_state(action: Action) -> bool:
    """Whether an action, or one in it, may change the flow's state."""
    if action.call == "script":
        return changes_state(str(action.node["code"].value))
    return action.call == "code" or any(may_change_state(step.action) for step in action.steps)


def nothing(step: str) -> JsonObject:
    """In place of steps that cannot be made, as the source is invalid."""
    return {"id": step, "set": None}


def output_of_step(step: str, one: EachStep, outside: Output | None) -> Output:
    """Output of a step of ``each``; where it is left out and a method has its name, that of the method."""
    present, path = f"has(steps.{step})", f"steps.{step}.output"
    if one.node["if"] and outside is not None:
        path, present = f"({present} ? {path} : {outside.path})", f"({present} || {outside.present})"
    return Output(path=path, present=present, kind=one.action.output_kind)


def as_input(value: Any) -> Any:
    """A step's input; an object that would be read as one of its special forms as an expression."""
    if not isinstance(value, Mapping) or not value or value.keys() - _FORMS:
        return value
    return "{{ " + _cel(value) + " }}"


def _cel(value: Any) -> str:
    """CEL of a template."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{cel_literal(key)}: {_cel(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_cel(item) for item in value) + "]"
    if isinstance(value, str) and "{{" in value:
        whole = re.fullmatch(r"\{\{ (.*) \}\}", value)
        if whole is None or "{{" in whole[1]:
            raise NoCounterpartError("a text with values in an input that has no other field than type")
        return f"({whole[1]})"
    return cel_literal(value)


def input_of(trigger: str) -> JsonObject:
    return {"input": f"{{{{ {trigger} }}}}"} if trigger else {}


def schema_of(value: Any) -> JsonObject:
    """Schema of an argument: its type where the source writes the value."""
    if isinstance(value, str) and "{{" in value:
        whole = value.startswith("{{") and value.endswith("}}") and value.count("{{") == 1
        return {} if whole else {"type": "string"}
    word = _TYPES.get(type(value))
    return {"type": word} if word else {}


def has_expression(value: Any) -> bool:
    if isinstance(value, str):
        return "${" in value
    items: Collection[Any] = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return any(has_expression(item) for item in items)
