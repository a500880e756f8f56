"""Inputs and outputs of components: properties with a title, and the JSON schemas that they make together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from kastra_core.api.meta import JsonObject
from kastra_core.migration import Node
from kastra_core.serde import type_word
from kastra_plugin_agentspec.components import Component, Library
from kastra_plugin_agentspec.vocabulary import AGENTIC, NODES, TOOLS

__all__ = [
    "CAUGHT",
    "PLACEHOLDER",
    "Port",
    "Ports",
    "declared",
    "mended",
    "object_schema",
    "placeholders",
    "plain_schema",
    "schema_of",
]

PLACEHOLDER = re.compile(r"\{\{\s*(\w+)\s*\}\}")
"""As the specification's own reader finds them."""
_NOT_IN_TITLES = re.compile(r"[.,{} \n'\"]")
_UNTITLED = "property"
_TYPES = ("string", "number", "integer", "boolean", "array", "object", "null")
CAUGHT = "caught_exception_info"
"""Output of a CatchExceptionNode."""


@attrs.frozen(eq=False)
class Port:
    """An input or an output."""

    title: str
    schema: Mapping[str, Any]
    node: Node | None = None
    """Where it is declared; None: it follows from something else."""

    @property
    def has_default(self) -> bool:
        return "default" in self.schema

    @property
    def default(self) -> Any:
        return self.schema.get("default")

    @property
    def type(self) -> str:
        """The JSON type, "" when it has none or several."""
        kind = self.schema.get("type")
        return kind if isinstance(kind, str) else ""


def placeholders(*values: Any) -> list[str]:
    """Names in double braces in texts, and in keys and values of what holds texts; each once, in order."""
    found: dict[str, None] = {}

    def look(value: Any) -> None:
        if isinstance(value, str):
            found.update(dict.fromkeys(PLACEHOLDER.findall(value)))
        elif isinstance(value, Mapping):
            for key, item in value.items():
                look(key)
                look(item)
        elif isinstance(value, (list, tuple)):
            for item in value:
                look(item)

    look(values)
    return list(found)


def declared(node: Node) -> list[Port] | None:
    """The ports that a list declares; None when there is no list. Tells problems."""
    if not node:
        return None
    if not node.is_list:
        node.problem(f"expected a list of properties, found {type_word(node.value)}")
        return []
    out: list[Port] = []
    for item in node.items():
        if not item.is_map:
            item.problem(f"expected a property (an object with title and type), found {type_word(item.value)}")
            continue
        title = item["title"].value if item["title"] else _UNTITLED
        if not isinstance(title, str) or not title:
            item["title"].problem(f"expected the name of the property, found {type_word(item['title'].value)}")
            continue
        if _NOT_IN_TITLES.search(title):
            told = f"expected a title without blanks, quotes, braces, dots and commas, found {title!r}"
            item["title"].problem(told)
        if any(port.title == title for port in out):
            item["title"].problem(f"the title {title!r} is there twice")
            continue
        _check_types(item)
        out.append(Port(title=title, schema=item.mapping(), node=item))
    return out


def _check_types(node: Node) -> None:
    """Tell a problem for a type that JSON schemas have not, at any depth of a schema."""
    kind = node["type"]
    given = kind.value if isinstance(kind.value, list) else [kind.value]
    # null in YAML means the type "null"
    wrong = [one for one in given if one is not None and one not in _TYPES]
    if wrong or kind.value == []:
        kind.problem(f"expected one of {', '.join(_TYPES)}, found {type_word(kind.value)}")
    if node["description"] and not node["description"].is_text:
        node["description"].problem(f"expected a string, found {type_word(node['description'].value)}")
    for key in ("items", "additionalProperties"):
        if node[key].is_map:
            _check_types(node[key])
        elif node[key] and not isinstance(node[key].value, bool):
            node[key].problem(f"expected a schema (an object), found {type_word(node[key].value)}")
    for _, inner in node["properties"].fields():
        if inner.is_map:
            _check_types(inner)
    for inner in node["anyOf"].items():
        if inner.is_map:
            _check_types(inner)


def plain_schema(port: Port) -> JsonObject:
    """The schema of a property without its name."""
    out: JsonObject = mended({key: value for key, value in port.schema.items() if key != "title"})
    return out


def mended(schema: Any) -> Any:
    """A schema in which the type null, which YAML reads as no value, is a word again.

    >>> mended({"type": ["string", None]})
    {'type': ['string', 'null']}
    """
    if not isinstance(schema, Mapping):
        return schema
    out = dict(schema)
    if "type" in out:
        kind = out["type"]
        out["type"] = ["null" if one is None else one for one in kind] if isinstance(kind, list) else kind or "null"
    for key in ("items", "additionalProperties", "not"):
        if isinstance(out.get(key), Mapping):
            out[key] = mended(out[key])
    for key in ("anyOf", "oneOf", "allOf"):
        if isinstance(out.get(key), list):
            out[key] = [mended(one) for one in out[key]]
    if isinstance(out.get("properties"), Mapping):
        out["properties"] = {name: mended(one) for name, one in out["properties"].items()}
    return out


def object_schema(ports: Iterable[Port]) -> JsonObject:
    """The schema of an object that has the ports as fields; those without default are required."""
    ports = list(ports)
    out: JsonObject = {"type": "object", "properties": {port.title: plain_schema(port) for port in ports}}
    required = [port.title for port in ports if not port.has_default]
    if required:
        out["required"] = required
    return out


def schema_of(ports: Sequence[Port]) -> JsonObject | None:
    """The schema of a result: of one port its own, of several an object; None where there is none."""
    if not ports:
        return None
    return plain_schema(ports[0]) if len(ports) == 1 else object_schema(ports)


class Ports:
    """Finds what goes into components and comes out of them, declared or inferred, and that both agree."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self._held: dict[Any, tuple[list[Port], list[Port]]] = {}

    def of(self, component: Component) -> tuple[list[Port], list[Port]]:
        """Inputs and outputs of a component."""
        if component.place in self._held:
            return self._held[component.place]
        self._held[component.place] = ([], [])
        inputs, outputs = declared(component.field("inputs")), declared(component.field("outputs"))
        sure_in, sure_out = self._inferred(component, inputs, outputs)
        # Who edits a text of an exported file need not mend what follows from it.
        checked = not self.library.is_exported(component.node)
        if checked and inputs is not None and sure_in is not None:
            _agree(component, component.field("inputs"), inputs, sure_in)
        if checked and outputs is not None and sure_out is not None:
            _agree(component, component.field("outputs"), outputs, sure_out)
        found = (
            inputs if inputs is not None else sure_in or [],
            outputs if outputs is not None else sure_out or [],
        )
        self._held[component.place] = found
        return found

    def _of_field(self, component: Component, field: str) -> tuple[list[Port], list[Port]] | None:
        node = component.node[field]
        if not node:
            return None
        inner = self.library.component(node)
        known = inner is not None and not inner.missing and inner.type in AGENTIC | TOOLS | NODES
        return self.of(inner) if inner is not None and known else None

    def _inferred(
        self, component: Component, inputs: list[Port] | None, outputs: list[Port] | None
    ) -> tuple[list[Port] | None, list[Port] | None]:
        """What the component's own fields say of its inputs and outputs; None: anything goes."""
        node, kind = component.node, component.type
        if kind in ("StartNode", "EndNode"):
            both = inputs or outputs or []
            return (both, both) if not (inputs and outputs) else (inputs, inputs)
        if kind == "LlmNode":
            texts = _texts(placeholders(component.field("prompt_template").value))
            return texts, None if outputs else _texts(["generated_text"])
        if kind in ("OutputMessageNode", "InputMessageNode"):
            texts = _texts(placeholders(node["message"].value))
            named = outputs[0].title if outputs else "user_input"
            return texts, [] if kind == "OutputMessageNode" else _texts([named])
        if kind == "BranchingNode":
            return _texts([inputs[0].title if inputs else "branching_mapping_key"]), []
        if kind in ("ApiNode", "RemoteTool"):
            parts = ("url", "http_method", "api_spec_uri", "data", "query_params", "headers")
            texts = _texts(placeholders(*(node[part].value for part in parts)))
            response = None if outputs is not None or kind == "RemoteTool" else [Port(title="response", schema={})]
            return texts, response
        if kind in ("AgentNode", "FlowNode", "ToolNode"):
            inner = self._of_field(component, {"AgentNode": "agent", "FlowNode": "subflow"}.get(kind, "tool"))
            return inner or (None, None)
        if kind in ("MapNode", "ParallelMapNode"):
            return self._mapped(component)
        if kind == "ParallelFlowNode":
            return self._side_by_side(component, inputs, outputs)
        if kind == "CatchExceptionNode":
            inner = self._of_field(component, "subflow")
            if inner is None:
                return None, None
            caught = Port(title=CAUGHT, schema={"anyOf": [{"type": "string"}, {"type": "null"}], "default": None})
            own = [port for port in outputs or inner[1] if port.title != CAUGHT]
            titles = {port.title for port in inner[1]}
            return inner[0], [*(port for port in own if port.title in titles), *self._lacking(inner[1], own), caught]
        if kind == "Flow":
            return self._of_flow(component, outputs)
        if kind == "Agent":
            return _texts(placeholders(component.field("system_prompt").value)), None
        if kind == "SpecializedAgent":
            return self._specialized(component)
        return (None, None) if kind not in AGENTIC | TOOLS else (inputs, outputs)

    @staticmethod
    def _lacking(wanted: Iterable[Port], have: Iterable[Port]) -> list[Port]:
        titles = {port.title for port in have}
        return [port for port in wanted if port.title not in titles]

    def _mapped(self, component: Component) -> tuple[list[Port] | None, list[Port] | None]:
        inner = self._of_field(component, "subflow")
        if inner is None:
            return None, None
        inputs = [
            Port(
                title=f"iterated_{port.title}",
                schema={"anyOf": [port.schema, {"type": "array", "items": port.schema}]},
            )
            for port in inner[0]
        ]
        reducers = component.node["reducers"]
        how = {port.title: "append" for port in inner[1]} if not reducers else reducers.mapping()
        outputs = [
            Port(
                title=f"collected_{port.title}",
                schema={"type": "array", "items": port.schema} if how[port.title] == "append" else port.schema,
            )
            for port in inner[1]
            if port.title in how
        ]
        return inputs, outputs

    def _side_by_side(
        self, component: Component, inputs: list[Port] | None, outputs: list[Port] | None
    ) -> tuple[list[Port] | None, list[Port] | None]:
        all_in: dict[str, Port] = {}
        all_out: dict[str, Port] = {}
        for item in component.node["subflows"].items():
            inner = self.library.component(item, "Flow")
            if inner is None or inner.missing:
                return None, None
            found = self.of(inner)
            all_in |= {port.title: port for port in found[0] if port.title not in all_in}
            for port in found[1]:
                if port.title in all_out:
                    item.problem(f"two flows that run side by side have an output {port.title!r}")
                all_out[port.title] = port
        return list(all_in.values()), list(all_out.values())

    def _of_flow(self, component: Component, outputs: list[Port] | None) -> tuple[list[Port] | None, list[Port] | None]:
        start = self._of_field(component, "start_node")
        ends = []
        for item in component.node["nodes"].items():
            found = self.library.component(item, "node")
            if found is not None and found.type == "EndNode":
                ends.append(self.of(found)[1])
        common = [port for port in (ends[0] if ends else []) if all(_has(one, port.title) for one in ends)]
        return (start[0] if start else None), (common if outputs is None else None)

    def _specialized(self, component: Component) -> tuple[list[Port] | None, list[Port] | None]:
        agent = self._of_field(component, "agent")
        more = component.node["agent_specialization_parameters"]
        added = self.library.component(more, "AgentSpecializationParameters", "AgentSpecializationParameters")
        if agent is None or added is None or added.missing:
            return None, None
        texts = _texts(placeholders(added.node["additional_instructions"].value))
        own = declared(added.field("inputs"))
        inputs = [*agent[0], *self._lacking(own if own is not None else texts, agent[0])]
        return inputs, agent[1]


def _has(ports: Iterable[Port], title: str) -> bool:
    return any(port.title == title for port in ports)


def _texts(titles: Iterable[str]) -> list[Port]:
    return [Port(title=title, schema={"type": "string"}) for title in titles]


def _agree(component: Component, node: Node, given: Sequence[Port], sure: Sequence[Port]) -> None:
    """Tell a problem where the declared names are others than those that follow from the component."""
    have, want = {port.title for port in given}, {port.title for port in sure}
    word = "inputs" if node.name in ("inputs", "input_values") else "outputs"
    if missing := sorted(want - have):
        node.problem(f"{component} lacks {word} that it must have: {', '.join(missing)}")
    for port in given:
        if port.title not in want and port.node is not None:
            names = ", ".join(sorted(want)) or "none"
            port.node["title"].problem(f"{component} has no such {word[:-1]} as {port.title!r}; it has: {names}")
