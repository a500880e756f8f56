"""Tools and toolboxes as Tool resources."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kastra_core.api.meta import JsonObject
from kastra_core.migration import Draft, Node
from kastra_core.serde import type_word
from kastra_plugin_agentspec.components import Component, reference_in
from kastra_plugin_agentspec.http_tools import fill_http
from kastra_plugin_agentspec.maker import EMPTY, Maker, nothing
from kastra_plugin_agentspec.ports import Port, declared, object_schema, schema_of
from kastra_plugin_agentspec.vocabulary import TOOLBOXES, TOOLS

__all__ = ["function_row", "missing_tool", "put_stub", "stand_in", "tool_of", "tools_of_box"]

_CONFIRM = "nobody is asked before a tool is called: ask in the function, or in a workflow by a step with suspend"
_WHERE = {
    "ServerTool": "a function of the host",
    "ClientTool": "a function of the client",
    "BuiltinTool": "a tool of another runtime",
    "MCPTool": "a tool of an MCP server",
    "MCPToolBox": "the tools of an MCP server",
}
_TRANSPORT = "how the MCP server is reached: the function that is to be written does that"


def tool_of(maker: Maker, node: Node, draft: Draft, owner: str = "") -> str:
    """The name of the Tool that the tool at a node becomes; "" where there is none.

    Args:
        draft: what uses it, for the row of the reference.
        owner: name of that, for telling tools of one name apart.
    """
    component = maker.library.component(node, "tool")
    if component is None:
        return ""
    if component.node.path != node.path:
        maker.refer(node, draft)
    if component.missing:
        return missing_tool(maker, component, "tool", owner)
    made = make_tool(maker, component, owner)
    return made.name


def make_tool(maker: Maker, component: Component, owner: str = "") -> Draft:
    """The Tool that a tool component becomes."""
    return maker.resource(component, "Tool", lambda draft: _fill(maker, component, draft), owner=owner)


def missing_tool(maker: Maker, component: Component, what: str, owner: str = "") -> str:
    """A Tool in place of a component that is in none of the files."""

    def fill(draft: Draft) -> None:
        stub = maker.report.stubs.add(component.id, origin=f"{_origin(component)}, a {what} that is not in the files")
        draft.set("spec.type", "python")
        draft.set("spec.python.function", stub)
        told = (
            f"needed, and not in these files: the {what} {component.id!r}. Migrate the file that has it together with"
        )
        component.node.manual(f"{told} this one, or write {stub}", draft)

    return maker.resource(component, "Tool", fill, variant=f"missing {component.id}", owner=owner).name


def _fill(maker: Maker, component: Component, draft: Draft) -> None:
    node = component.node
    maker.common(component, draft)
    inputs, outputs = maker.ports.of(component)
    if component.type == "RemoteTool":
        fill_http(maker, component, draft, inputs)
    else:
        schema = object_schema(inputs)
        result = schema_of(outputs)
        draft.set("spec.type", "python")
        description = draft.get("spec.description", "")
        put_ports(component, draft)
        if inputs:
            draft.set("spec.inputSchema", schema)
        if result is not None:
            draft.set("spec.outputSchema", result)
        _special(maker, component, draft)
        put_stub(maker, component, draft, schema, description)
    confirm(node["requires_confirmation"], draft)


def put_ports(component: Component, draft: Draft) -> None:
    """Rows for inputs and outputs that become schemas."""
    for field, target in (("inputs", "spec.inputSchema"), ("outputs", "spec.outputSchema")):
        listed = component.field(field)
        if not nothing(listed):
            listed.mapped(draft.target(target))


def put_stub(maker: Maker, component: Component, draft: Draft, schema: JsonObject | None, description: str) -> None:
    """The function that a Tool calls: the one that an export noted, else one that is to be written."""
    kept = component.kept.get("function")
    draft.set("spec.type", "python")
    if isinstance(kept, str):
        draft.set("spec.python.function", kept)
        return
    what = _WHERE.get(component.type, f"a {component.type} of a plug-in")
    stub = maker.report.stubs.add(
        component.name, schema=schema, description=description, origin=f"{_origin(component)}, {what}"
    )
    draft.set("spec.python.function", stub)
    function_row(component, draft, f"{what}: write {stub} in Python")


def function_row(component: Component, draft: Draft, told: str) -> None:
    """The row that says what is to be written, at the component's type."""
    kind = component.field("component_type")
    (kind if kind.present else component.node).manual(told, draft.target("spec.python.function"))


def _origin(component: Component) -> str:
    return f"{component.node.document.file}:{component.node.line}"


def _special(maker: Maker, component: Component, draft: Draft) -> None:
    """Rows for what only some tools have."""
    node, target = component.node, draft.target("spec.python.function")
    if not nothing(node["client_transport"]):
        transport(maker, node["client_transport"], draft)
    told = "tells another runtime which of its tools is meant: the function that is to be written does that"
    for field in ("tool_type", "configuration", "executor_name", "tool_version"):
        if not nothing(node[field]):
            node[field].manual(told, target)
    if component.type not in TOOLS | TOOLBOXES:
        common = ("component_type", "type", "id", "name", "description", "metadata", "inputs", "outputs")
        for name, item in node.fields():
            if name not in (*common, "requires_confirmation", "agentspec_version", "client_transport") and item:
                item.manual(f"a field of the plug-in type {component.type}: the function has to heed it", target)


def transport(maker: Maker, node: Node, draft: Draft) -> None:
    """Rows for how an MCP server is reached; secrets are kept out of what is made."""
    component = maker.library.component(node, "transport", "ClientTransport")
    node.manual(_TRANSPORT, draft.target("spec.python.function"))
    if component is None or component.missing:
        return
    if component.node.path != node.path:
        component.node.manual(_TRANSPORT, draft.target("spec.python.function"))
    for field in ("headers", "sensitive_headers", "env"):
        for name, item in component.node[field].fields():
            if item.is_text and (field == "sensitive_headers" or _is_secret(name)):
                maker.report.hide(item.text())


def _is_secret(name: str) -> bool:
    from kastra_core.migration import is_secret_key

    return is_secret_key(name)


def confirm(node: Node, draft: Draft) -> None:
    """The row of ``requires_confirmation``."""
    if nothing(node):
        return
    if node.boolean():
        node.manual(_CONFIRM, draft)
    else:
        node.defaulted(EMPTY)


# ------------------------------------------------------------------------------------------------------ toolboxes


def tools_of_box(maker: Maker, node: Node, draft: Draft, owner: str = "") -> list[str]:
    """Names of the Tools that a toolbox becomes: one for each that it lists, else one for all of them."""
    box = maker.library.component(node, "toolbox")
    if box is None:
        return []
    if box.missing:
        return [missing_tool(maker, box, "toolbox", owner)]
    if box.node.path != node.path:
        maker.refer(node, draft)
    listed = box.node["tool_filter"]
    if not listed.items():
        return [_whole_box(maker, box, owner).name]
    return [made for item in listed.items() if (made := _one_of_box(maker, box, item, owner))]


def _whole_box(maker: Maker, box: Component, owner: str) -> Draft:
    schema: JsonObject = {
        "type": "object",
        "properties": {
            "tool": {"type": "string", "description": "Name of the tool."},
            "arguments": {"type": "object", "description": "What it is called with."},
        },
        "required": ["tool"],
    }

    def fill(draft: Draft) -> None:
        maker.common(box, draft)
        nothing(box.node["tool_filter"])
        if not draft.get("spec.description"):
            draft.set("spec.description", f"The tools of {box.name}.")
        draft.set("spec.inputSchema", schema)
        _special(maker, box, draft)
        confirm(box.node["requires_confirmation"], draft)
        put_stub(maker, box, draft, schema, draft.get("spec.description"))

    return maker.resource(box, "Tool", fill, owner=owner)


def _one_of_box(maker: Maker, box: Component, item: Node, owner: str) -> str:
    """A tool of a toolbox: its name, or an MCPToolSpec."""
    if item.is_text:
        spec = Component(node=box.node, type="MCPTool", id=item.text(), name=item.text())
    else:
        found = maker.library.component(item, "tool of the MCP server", "MCPToolSpec")
        if found is None:
            return ""
        if found.missing:
            return missing_tool(maker, found, "tool", owner)
        spec = found

    def fill(draft: Draft) -> None:
        inputs: list[Port] = []
        if item.is_text:
            item.mapped(draft)
        else:
            maker.common(spec, draft)
            put_ports(spec, draft)
            inputs, outputs = declared(spec.field("inputs")) or [], declared(spec.field("outputs")) or []
            if inputs:
                draft.set("spec.inputSchema", object_schema(inputs))
            if (result := schema_of(outputs)) is not None:
                draft.set("spec.outputSchema", result)
            confirm(spec.node["requires_confirmation"], draft)
        maker.marks(box, draft)
        box.node["name"].dropped("the tools of a toolbox become Tools of their own")
        maker.quiet(box, "description", reason="the tools of a toolbox become Tools of their own")
        _special(maker, box, draft)
        confirm(box.node["requires_confirmation"], draft)
        schema = object_schema(inputs) if inputs else None
        kinds = {box.type, spec.type} - {"MCPToolBox", "MCPToolSpec", "MCPTool"}
        named = Component(node=spec.node, type=min(kinds, default="MCPTool"), id=spec.id, name=spec.name)
        put_stub(maker, named, draft, schema, draft.get("spec.description", ""))

    variant = f"of a toolbox: {item.text()}" if item.is_text else ""
    return maker.resource(spec, "Tool", fill, variant=variant, name=spec.name, owner=owner).name


# ------------------------------------------------------------------------------------------------------ stand-ins


def stand_in(
    maker: Maker,
    component: Component,
    told: str,
    *,
    schema: JsonObject | None,
    result: JsonObject | None = None,
    secrets: tuple[str, ...] = (),
    owner: str = "",
) -> Draft:
    """A Tool in place of something that has no form here (a remote agent, a node of a plug-in, a datastore).

    Args:
        told: what it is and what to do, for the rows.
        schema: of its arguments.
        result: schema of what it gives.
        secrets: fields whose texts are kept out of what is made.
    """

    def fill(draft: Draft) -> None:
        maker.common(component, draft)
        draft.set("spec.type", "python")
        if schema is not None:
            draft.set("spec.inputSchema", schema)
        if result is not None:
            draft.set("spec.outputSchema", result)
        stub = maker.report.stubs.add(
            component.name,
            schema=schema,
            description=draft.get("spec.description", ""),
            origin=f"{_origin(component)}, {component.type}",
        )
        draft.set("spec.python.function", stub)
        function_row(component, draft, f"{told}: write {stub} in Python")
        common = ("component_type", "type", "id", "name", "description", "metadata", "agentspec_version")
        for name, item in component.node.fields():
            if name in common or nothing(item):
                continue
            if name in ("inputs", "outputs"):
                used = schema if name == "inputs" else result
                if used is not None and used.get("properties"):
                    item.mapped(draft.target("spec.inputSchema" if name == "inputs" else "spec.outputSchema"))
                    continue
            if name in secrets:
                _hide(maker, item)
            if name != "$referenced_components":
                item.manual(f"the function that is to be written has to heed it ({component.type}.{name})", draft)

    return maker.resource(component, "Tool", fill, owner=owner)


def _hide(maker: Maker, node: Node) -> None:
    """Have what looks like a secret below a node kept out of what is made."""
    for name, item in node.fields():
        if item.is_text and _is_secret(name):
            maker.report.hide(item.text())
        _hide(maker, item)
    for item in node.items():
        _hide(maker, item)


def expect_object(node: Node) -> Mapping[str, Any]:
    """An object; {} with a problem for anything else."""
    if node and not node.is_map and reference_in(node.value) is None:
        node.problem(f"expected an object, found {type_word(node.value)}")
    return node.value if isinstance(node.value, Mapping) else {}
