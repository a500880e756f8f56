"""What formulas of a workflow can name: variables, inputs, the user's message."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from kastra_core.migration import cel_literal
from kastra_plugin_agent_framework.cel import ANY, BLANK, BOOLEAN, NUMBER, RECORD, TABLE, TEXT, Cel, literal, member

__all__ = ["LAST_MESSAGE", "SENT", "Knowledge", "Variables", "conversation", "data", "variable_name"]

SENT = "Workflow.Sent"
"""What the workflow said last."""
LAST_MESSAGE = "System.LastMessage"
"""What the user said last."""
_SCOPES = {
    "local": "Local",
    "topic": "Local",
    "global": "Global",
    "system": "System",
    "workflow": "Workflow",
    "agent": "Agent",
    "conversation": "Conversation",
    "env": "Env",
    "turn": "Turn",
    "dialog": "Dialog",
}
_FIELDS_OF_A_MESSAGE = ("text", "content", "value")


@attrs.define
class Knowledge:
    """What is known of a workflow only when it has been compiled once: it is compiled until nothing is new."""

    types: dict[str, frozenset[str]] = attrs.field(factory=dict)
    """What is published under a name."""
    unset: set[str] = attrs.field(factory=set)
    """Names that may be used before they are published."""
    dead: set[str] = attrs.field(factory=set)
    """Sites that are never reached."""
    useless: set[tuple[str, str]] = attrs.field(factory=set)
    """(site, name) that is published there and used nowhere."""
    untouched: set[tuple[str, str]] = attrs.field(factory=set)
    """(site, name) that has its first value there."""
    endless: set[str] = attrs.field(factory=set)
    """Sites of jumps from which no way leads out."""
    inputs: set[str] = attrs.field(factory=set)
    """Fields of the input that are used; none: the input is a text."""
    constants: dict[str, str] = attrs.field(factory=dict)
    """Names that have one text and no other value wherever they are used."""


def conversation(key: str) -> str:
    """The name under which the messages of a conversation are published."""
    return f"Conversation.{key}"


def data(name: str) -> str:
    """The expression of something published."""
    return f"data[{cel_literal(name)}]"


def variable_name(path: str) -> tuple[str, ...]:
    """Scope and name of a variable as the source spells it, without what some writers put around it.

    >>> variable_name("Topic.Count"), variable_name("workflow.outputs.answer"), variable_name("count")
    (('Local', 'Count'), ('Workflow', 'Outputs', 'answer'), ('Local', 'count'))
    """
    path = path.strip().removeprefix("=").removeprefix("init:").strip()
    parts = [part.strip("'") for part in path.split(".")]
    if len(parts) == 1:
        return "Local", parts[0]
    scope = _SCOPES.get(parts[0].lower())
    if parts[0].lower() in ("inputs", "outputs"):
        return "Workflow", parts[0].lower().title(), *parts[1:]
    if scope == "Workflow":
        return "Workflow", parts[1].title() if parts[1].lower() in ("inputs", "outputs") else parts[1], *parts[2:]
    return scope or parts[0], *parts[1:]


class Variables:
    """Resolves paths, and notes what was found."""

    def __init__(self, knowledge: Knowledge, declared: set[str], fresh: Callable[[], str]) -> None:
        self.knowledge, self.declared, self.fresh = knowledge, declared, fresh
        """``declared``: names that the workflow sets somewhere."""
        self.site = ""
        """Of the action at hand."""
        self.site_name = ""
        self.folding = False
        """Whether a name that only ever has one text is taken for that text."""
        self.inputs: dict[str, None] = {}
        """Fields of the input that are used."""
        self.uses_input = False
        self.env: dict[str, None] = {}
        self.unknown: dict[str, None] = {}
        """Names of the system that have no counterpart."""

    def resolve(self, path: tuple[str, ...]) -> Cel | None:
        """The value at a path that begins with a scope; None when it does not."""
        first = path[0].lower()
        named = first in ("inputs", "outputs") and len(path) > 1
        known = _SCOPES.get(first)
        own = any(name.startswith(f"{path[0]}.") for name in self.declared)
        if (known is None and not named and not own) or len(path) == 1:
            return None
        names = variable_name(".".join(path)) if all("." not in part for part in path) else path
        if names[:2] == ("Workflow", "Inputs"):
            return self.input_field(names[2:])
        if names[0] == "System":
            return self._system(names[1:])
        if names[0] == "Env":
            self.env[names[1]] = None
            return self.read(f"Env.{names[1]}", names[2:])
        if names[0] == "Agent":
            return self.read("Agent.response", ()) if len(names) > 1 and names[1] in ("response", "text") else None
        if names[0] == "Conversation":
            if names[1] not in ("messages", "history"):
                return None
            return Cel(data(conversation("System")), frozenset({TABLE}), True)
        for count in range(len(names), 1, -1):  # the longest name that is a variable
            name = ".".join(names[:count])
            if name in self.declared:
                return self.read(name, names[count:])
        count = 3 if names[:2] == ("Workflow", "Outputs") else 2
        return self.read(".".join(names[:count]), names[count:])

    def read(self, name: str, rest: tuple[str, ...] = ()) -> Cel:
        """Something published, or a field of it."""
        if self.folding and not rest and name in self.knowledge.constants:
            return literal(self.knowledge.constants[name])
        types = self.knowledge.types.get(name, frozenset({BLANK}))
        if name in self.knowledge.unset and name != LAST_MESSAGE:
            types = types | {BLANK}
        if ANY in types or not types or types == {BLANK}:
            types = frozenset({ANY})
        found = Cel(data(name), types, True)
        return self._fields(found, rest)

    def _fields(self, found: Cel, rest: tuple[str, ...]) -> Cel:
        if not rest:
            return found
        if found.only(TEXT, BLANK, NUMBER, BOOLEAN):  # a message is its text here
            field = rest[0].lower()
            if field in _FIELDS_OF_A_MESSAGE:
                return found
            if field in ("id", "messageid", "conversationid"):
                return Cel("workflow.run", frozenset({TEXT}), True)
            return literal("user") if field == "role" else literal(None)
        return member(found, rest, self.fresh)

    def input_field(self, rest: tuple[str, ...]) -> Cel:
        """A field of the workflow's input."""
        if not rest:
            return Cel("workflow.input", frozenset({RECORD}), True)
        self.inputs[rest[0]] = None
        return member(Cel("workflow.input", frozenset({RECORD}), True), rest, self.fresh)

    def last_message(self) -> Cel:
        """What the user said last."""
        if (self.site, LAST_MESSAGE) in self.knowledge.untouched:
            return self.input_text()
        return Cel(data(LAST_MESSAGE), frozenset({TEXT}), True)

    def input_text(self) -> Cel:
        """The workflow's input as a text."""
        self.uses_input = True
        fields = sorted(self.knowledge.inputs)
        if not fields:
            return Cel("workflow.input", frozenset({TEXT}), True)
        parts = []
        for name in fields:
            found = member(Cel("workflow.input", frozenset({RECORD}), True), (name,), self.fresh)
            text = f'[dyn({found.text})].map(v, v == null ? "" : string(v))[0]'
            parts.append(text if len(fields) == 1 else f"{cel_literal(f'{name}: ')} + {text}")
        return Cel(' + "\\n" + '.join(parts), frozenset({TEXT}), len(parts) == 1)

    def _system(self, names: tuple[str, ...]) -> Cel:
        first = names[0].lower() if names else ""
        if first in ("lastmessage", "lastmessagetext", "activity"):
            return self._fields(self.last_message(), names[1:])
        if first in ("conversation", "conversationid", "lastmessageid"):
            return Cel("workflow.run", frozenset({TEXT}), True)
        if first == "conversations":
            return Cel(data(conversation("System")), frozenset({TABLE}), True)
        self.unknown[f"System.{'.'.join(names)}"] = None
        return literal(None)
