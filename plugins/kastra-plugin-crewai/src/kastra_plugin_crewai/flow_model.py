"""A declarative flow as it is meant: methods with what starts them, what they do and what they emit.

Source: crewAI ``flow/flow_definition.py`` (``crewai.flow/v1``); what it refuses is a problem here, too.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any, TypeAlias

import attrs

from kastra_core.api.meta import JsonObject
from kastra_core.errors import nearest
from kastra_core.migration import Node
from kastra_core.serde import type_word
from kastra_plugin_crewai.flow_expressions import InvalidExpressionError, NoCounterpartError, Output, Scope, translate
from kastra_plugin_crewai.flow_texts import template

__all__ = ["ACTIONS", "Action", "Condition", "EachStep", "Feedback", "Flow", "Method", "events_of", "read_flow"]

SCHEMA = "crewai.flow/v1"
Condition: TypeAlias = "str | tuple[str, tuple[Condition, ...]]"
"""The name of an event, or ("and" | "or", conditions)."""

ACTIONS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "code": (("ref",), ("with",)),
    "tool": (("ref",), ("with",)),
    "crew": ((), ("from_declaration", "with", "inputs")),
    "agent": (("with",), ()),
    "expression": (("expr",), ()),
    "script": (("code",), ("language",)),
    "each": (("in", "do"), ()),
}
"""``call`` -> (fields that it needs, fields that it may have)."""
_STEP_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_STATES = {
    "dict": ("default",),
    "json_schema": ("json_schema", "default"),
    "pydantic": ("ref", "json_schema", "default"),
    "unknown": ("ref", "default"),
}


@attrs.frozen(kw_only=True)
class EachStep:
    """A step of ``each``."""

    name: str
    node: Node
    action: Action


@attrs.frozen(kw_only=True)
class Action:
    """What a method does."""

    call: str
    node: Node
    steps: tuple[EachStep, ...] = ()
    """Of ``each``."""
    made: JsonObject | None = None
    """call "made": the step, without its id; of a method that the flow does not write itself."""
    answer: str = ""
    """Field of the output that is a router's answer."""

    @property
    def output_kind(self) -> str:
        """Kind of its output, as expressions know it."""
        return "crew" if self.call in ("crew", "agent", "made") else ""


@attrs.frozen(kw_only=True)
class Feedback:
    """``human_feedback``."""

    node: Node
    emit: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Method:
    """A method of a flow."""

    name: str
    node: Node
    action: Action
    start: bool = False
    start_when: Condition | None = None
    """It starts again when a router emits this."""
    listen: Condition | None = None
    """None for a start method, whose ``listen`` CrewAI passes over."""
    router: bool = False
    emit: tuple[str, ...] | None = None
    """Labels that a router declares; None: it declares none."""
    feedback: Feedback | None = None


@attrs.frozen(kw_only=True)
class Flow:
    """A flow."""

    name: str
    node: Node
    methods: dict[str, Method]


def events_of(condition: Condition | None) -> Iterator[str]:
    """The events that a condition names, in order."""
    if condition is None:
        return
    if isinstance(condition, str):
        yield condition
        return
    for item in condition[1]:
        yield from events_of(item)


# ------------------------------------------------------------------------------------------------ reading


def read_flow(root: Node) -> Flow | None:
    """Return the flow of a document. None: it is invalid, which is told by problems of the nodes."""
    reader = _Reader()
    flow = reader.flow(root)
    return flow if reader.good else None


class _Reader:
    def __init__(self) -> None:
        self.good = True

    def fault(self, node: Node, message: str, hint: str = "") -> None:
        self.good = False
        node.problem(message, hint)

    def flow(self, root: Node) -> Flow:
        schema = root["schema"]
        if schema and schema.value != SCHEMA:
            self.fault(schema, f"expected {SCHEMA!r}, found {type_word(schema.value)}", "no other version is known")
        name = self.text(root["name"], "the flow's name") if "name" in root.value else ""
        if "name" not in root.value:
            self.fault(root, "a flow needs a name")
        self.state(root["state"])
        for key in ("config", "persist", "conversational"):
            if root[key] and not root[key].is_map:
                self.fault(root[key], f"expected an object, found {type_word(root[key].value)}")
        if root["methods"] and not root["methods"].is_map:
            self.fault(root["methods"], f"expected an object, found {type_word(root['methods'].value)}")
        methods = {key: self.method(key, node) for key, node in root["methods"].fields()}
        return Flow(name=name, node=root, methods={key: method for key, method in methods.items() if method})

    def text(self, node: Node, what: str) -> str:
        if not isinstance(node.value, str):
            self.fault(node, f"expected a string ({what}), found {type_word(node.value)}")
            return ""
        return node.value

    def state(self, node: Node) -> None:
        if not node:
            return
        if not node.is_map:
            self.fault(node, f"expected an object, found {type_word(node.value)}")
            return
        kind = node["type"].value
        if not isinstance(kind, str) or kind not in _STATES:
            what = f"expected one of {', '.join(_STATES)}, found {type_word(kind)}"
            self.fault(node["type"] if node["type"].present else node, what)
            return
        self.known(node, ("type", *_STATES[kind]))
        for key in ("default", "json_schema"):
            if key in _STATES[kind] and node[key] and not node[key].is_map:
                self.fault(node[key], f"expected an object, found {type_word(node[key].value)}")
        if kind == "json_schema" and not node["json_schema"]:
            self.fault(node, "a state of type json_schema needs json_schema")
        if "ref" in _STATES[kind] and node["ref"]:
            self.text(node["ref"], "module:name")

    def known(self, node: Node, names: Collection[str]) -> None:
        for key, child in node.fields():
            if key not in names:
                near = nearest(key, list(names))
                hint = f"did you mean {near!r}?" if near else f"it may have: {', '.join(names)}"
                self.fault(child, f"unknown field {key!r}", hint)

    # ----------------------------------------------------------------------------------------------- methods

    def method(self, name: str, node: Node) -> Method | None:
        if _STEP_NAME.fullmatch(name) is None:
            self.fault(node, f"{name!r} is no name of a method: a letter or '_', then letters, digits and '_'")
        if not node.is_map:
            self.fault(node, f"expected an object, found {type_word(node.value)}")
            return None
        if not node["do"]:
            self.fault(node, "a method needs `do`, the action that it carries out")
            return None
        action = self.action(node["do"], nested=False)
        start, start_when = self.start(node["start"])
        listen = self.condition(node["listen"])
        router = self.boolean(node["router"])
        emit = self.labels(node["emit"])
        feedback = self.feedback(node["human_feedback"])
        if name in set(events_of(listen)):
            hint = "let it listen to another method or event, or rename it"
            self.fault(node["listen"], f"a method that listens to its own end would never stop: {name!r}", hint)
        if action is None:
            return None
        if feedback is not None and feedback.emit:
            router, emit = True, feedback.emit
        return Method(
            name=name,
            node=node,
            action=action,
            start=start,
            start_when=start_when,
            listen=None if start else listen,
            router=router,
            emit=emit if router else None,
            feedback=feedback,
        )

    def boolean(self, node: Node) -> bool:
        if node and not isinstance(node.value, bool):
            self.fault(node, f"expected a boolean, found {type_word(node.value)}")
        return node.value is True

    def labels(self, node: Node) -> tuple[str, ...] | None:
        if not node:
            return None
        if not node.is_list:
            self.fault(node, f"expected a list of strings, found {type_word(node.value)}")
            return None
        return tuple(self.text(item, "the name of an event") for item in node.items())

    def start(self, node: Node) -> tuple[bool, Condition | None]:
        if not node or node.value is False or node.value == "":
            return False, None
        if node.value is True:
            return True, None
        return True, self.condition(node)

    def condition(self, node: Node) -> Condition | None:
        if not node:
            return None
        if isinstance(node.value, str):
            return node.value
        key = next((key for key in ("and", "or") if node[key].present), "")
        if not key or not node[key].is_list or not node[key].value:
            self.fault(node, "expected the name of an event, {and: [...]} or {or: [...]}")
            return None
        for other, child in node.fields():
            if other != key:
                self.fault(child, f"unknown field {other!r} beside {key!r}", "nest one in a list of the other")
        items = [self.condition(item) for item in node[key].items()]
        if any(item is None for item in items):
            self.good = False
            return None
        return key, tuple(item for item in items if item is not None)

    def feedback(self, node: Node) -> Feedback | None:
        if not node:
            return None
        if not node.is_map:
            self.fault(node, f"expected an object, found {type_word(node.value)}")
            return None
        if not node["message"].present:
            self.fault(node, "human_feedback needs a message")
        else:
            self.text(node["message"], "what the person is asked")
        if node["default_outcome"]:
            self.text(node["default_outcome"], "an outcome")
        return Feedback(node=node, emit=self.labels(node["emit"]) or ())

    # ----------------------------------------------------------------------------------------------- actions

    def action(self, node: Node, *, nested: bool) -> Action | None:
        if not node.is_map:
            self.fault(node, f"expected an object with `call`, found {type_word(node.value)}")
            return None
        call = node["call"].value if node["call"].present else ("code" if node["ref"].present else None)
        known = [name for name in ACTIONS if not nested or name != "each"]
        if not isinstance(call, str) or call not in known:
            place = node["call"] if node["call"].present else node
            self.fault(place, f"expected `call` to be one of {', '.join(known)}, found {type_word(call)}")
            return None
        needed, may = ACTIONS[call]
        self.known(node, ("call", *needed, *may))
        for key in needed:
            if node[key].value is None:
                self.fault(node, f"call: {call} needs {key!r}")
                return None
        if not getattr(self, f"_{call}")(node, nested):
            return None
        steps = self.each_steps(node["do"]) if call == "each" else ()
        return Action(call=call, node=node, steps=steps)

    def _code(self, node: Node, nested: bool) -> bool:
        return self.reference(node, nested)

    def _tool(self, node: Node, nested: bool) -> bool:
        return self.reference(node, nested)

    def reference(self, node: Node, nested: bool) -> bool:
        self.text(node["ref"], "module:name")
        if node["with"] and not node["with"].is_map:
            self.fault(node["with"], f"expected an object, found {type_word(node['with'].value)}")
            return False
        self.templates(node["with"], nested)
        return True

    def _crew(self, node: Node, nested: bool) -> bool:
        path, inline = node["from_declaration"], node["with"]
        if bool(path.value) == bool(inline):
            self.fault(node, "call: crew needs either from_declaration or with, and only one of them")
            return False
        if path:
            self.text(path, "path of a crew")
        for place in (inline, inline["inputs"], node["inputs"]):
            if place and not place.is_map:
                self.fault(place, f"expected an object, found {type_word(place.value)}")
                return False
        self.templates(inline["inputs"], nested)
        self.templates(node["inputs"], nested)
        return True

    def _agent(self, node: Node, nested: bool) -> bool:
        agent = node["with"]
        if not agent.is_map:
            self.fault(agent, f"expected an object, found {type_word(agent.value)}")
            return False
        if not agent["input"].present:
            self.fault(agent, "call: agent needs with.input, what the agent is asked")
            return False
        self.text(agent["input"], "what the agent is asked")
        self.templates(agent["input"], nested)
        return True

    def _expression(self, node: Node, nested: bool) -> bool:
        self.text(node["expr"], "a CEL expression")
        self.expression(node["expr"], nested)
        return True

    def _script(self, node: Node, nested: bool) -> bool:
        self.text(node["code"], "Python")
        if node["language"].present and node["language"].value != "python":
            self.fault(node["language"], f"expected python, found {type_word(node['language'].value)}")
        return True

    def _each(self, node: Node, nested: bool) -> bool:
        self.text(node["in"], "a CEL expression that gives a list")
        self.expression(node["in"], False)
        if not node["do"].is_list or not node["do"].value:
            self.fault(node["do"], "each needs `do`, a list of at least one step")
            return False
        return True

    def each_steps(self, node: Node) -> tuple[EachStep, ...]:
        out: list[EachStep] = []
        seen: set[str] = set()
        for item in node.items():
            if not item.is_map:
                self.fault(item, f"expected an object, found {type_word(item.value)}")
                continue
            self.known(item, ("name", "if", "action"))
            name = item["name"].value
            if not isinstance(name, str) or _STEP_NAME.fullmatch(name) is None:
                what = f"a step of each needs a name (letters, digits and '_', no digit first), found {type_word(name)}"
                self.fault(item["name"] if item["name"].present else item, what)
                continue
            if name in seen:
                self.fault(item["name"], f"two steps of each have the name {name!r}")
            seen.add(name)
            if item["if"]:
                self.text(item["if"], "a CEL expression")
                self.expression(item["if"], True)
            if not item["action"]:
                self.fault(item, "a step of each needs an action")
                continue
            action = self.action(item["action"], nested=True)
            if action is not None:
                out.append(EachStep(name=name, node=item, action=action))
        return tuple(out)

    # ----------------------------------------------------------------------------------------------- expressions

    def expression(self, node: Node, nested: bool) -> None:
        if isinstance(node.value, str):
            self.tried(node, lambda: translate(node.value, _anything(nested)))

    def templates(self, node: Node, nested: bool) -> None:
        if isinstance(node.value, str):
            self.tried(node, lambda: template(node.value, _anything(nested)))
        for _, child in node.fields():
            self.templates(child, nested)
        for child in node.items():
            self.templates(child, nested)

    def tried(self, node: Node, attempt: Any) -> None:
        try:
            attempt()
        except InvalidExpressionError as error:
            self.fault(node, str(error))
        except NoCounterpartError:
            pass  # right, but without counterpart: told by whoever makes the step


def _anything(nested: bool) -> Scope:
    return Scope(state="workflow.input", outputs=lambda name: Output(path="data.x", present="true"), item=nested)
