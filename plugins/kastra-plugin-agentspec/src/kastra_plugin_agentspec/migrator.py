"""Open Agent Spec files as resources."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kastra_core.migration import Node
from kastra_core.protocols.migrator import MigrationResult, MigrationSource, SourceDocument
from kastra_core.serde import type_word
from kastra_plugin_agentspec.agents import agent_of, bare_agent, remote_agent
from kastra_plugin_agentspec.components import DEFINED, Component, Library, reference_in
from kastra_plugin_agentspec.flows import workflow_of
from kastra_plugin_agentspec.maker import VERSION, Maker, Rows, nothing
from kastra_plugin_agentspec.networks import network_of
from kastra_plugin_agentspec.singles import workflow_of_node
from kastra_plugin_agentspec.tools import make_tool, missing_tool, stand_in, tools_of_box
from kastra_plugin_agentspec.vocabulary import (
    AGENTIC,
    AGENTS,
    DATASTORES,
    LLMS,
    NODES,
    PARTS,
    REMOTE_AGENTS,
    TEAMS,
    TOOLBOXES,
    TOOLS,
    VERSION_FIELDS,
    canonical_type,
)

__all__ = ["AgentSpecMigrator", "build"]

_KNOWN = AGENTIC | NODES | TOOLS | TOOLBOXES | LLMS | PARTS | DATASTORES
_PART_OF = "is a part of other components and makes no resource alone"
_ELSEWHERE = "only other components of this file are referred to"
_UNUSED = "nothing of these files refers to it"


class AgentSpecMigrator:
    """Reads Open Agent Spec: a component with all that it refers to, or ``$referenced_components`` alone."""

    def detect(self, document: SourceDocument) -> float:
        """Confidence that a document is Open Agent Spec."""
        data = document.data
        if not isinstance(data, Mapping):
            return 0.0
        if any(isinstance(data.get(field), (str, float)) for field in VERSION_FIELDS):
            return 0.97
        if isinstance(data.get(DEFINED), Mapping):
            return 0.95
        kind = data.get("component_type")
        if isinstance(kind, str):
            return 0.92 if canonical_type(kind) in _KNOWN else 0.6
        return 0.0

    def migrate(self, source: MigrationSource) -> MigrationResult:
        """Make resources of all documents.

        Raises:
            ManifestError: what is invalid, with its place.
        """
        return build(source).report.result()


def build(source: MigrationSource) -> Maker:
    """Make the resources of all documents, without closing the report."""
    report = Rows(source)
    report.library = Library(report)
    maker = Maker(report, report.library)
    for document in source.documents:
        maker.library.add(document)
    maker.library.check_circles()
    if report.problems:
        return maker
    plain: list[Node] = []
    for document in source.documents:
        root = maker.library.add(document)
        if not root.is_map:
            root.problem(f"expected a component (an object), found {type_word(root.value)}")
        elif root[DEFINED]["component_type"].is_text:
            # The fields of the component are indented too far: they stand among the components.
            maker.library.drafts.add((document.file, document.index))
            _main(maker, root[DEFINED])
            _versions(root)
        elif set(root.mapping()) <= {DEFINED, *VERSION_FIELDS}:
            plain.append(root)
        else:
            _main(maker, root)
    for root in plain:
        for _, item in root[DEFINED].fields():
            _defined(maker, item)
        _versions(root)
        if not root[DEFINED].mapping():
            root.problem(f"expected a component, found only {', '.join(root.mapping()) or 'an empty object'}")
    _rest(maker)
    maker.forgive()
    return maker


def _main(maker: Maker, root: Node) -> None:
    component = maker.library.component(root)
    if component is None or component.node.path != root.path:
        _versions(root)
    if component is None:
        return
    if component.missing:
        root.problem(f"the component {component.id!r}, which is the whole of the file, is in none of the files")
        return
    made = _make(maker, component)
    if made and reference_in(root.value) is not None:
        root["$component_ref"].mapped(made, "the component that the file is about")


def _versions(root: Node) -> None:
    """Rows for the version of a file that is no component itself."""
    for field in VERSION_FIELDS:
        if not nothing(root[field]):
            root[field].mapped("apiVersion", VERSION)


def _defined(maker: Maker, item: Node) -> None:
    """A component of a file that only lists components for others: those that nobody used stand for themselves."""
    place = (item.document.file, item.document.index, item.path)
    if place in maker.library.used:
        return
    component = maker.library.component(item)
    if component is None or (component.missing and component.node.path != item.path):
        return
    if component.missing:
        missing_tool(maker, component, "flow")
        return
    if component.type in PARTS | NODES and component.type not in DATASTORES:
        item.dropped(f"{_UNUSED}; a {component.type} alone makes no resource")
        return
    _make(maker, component)


def _make(maker: Maker, component: Component) -> str:
    """Make the resource of a component that stands for itself. Return what rows call it, "" when there is none."""
    kind = component.type
    if kind in AGENTS:
        return agent_of(maker, component).target()
    if kind == "Flow":
        return workflow_of(maker, component).target()
    if kind in TEAMS:
        return network_of(maker, component).target()
    if kind in REMOTE_AGENTS:
        return remote_agent(maker, component).target()
    if kind in TOOLS:
        return make_tool(maker, component).target()
    if kind in TOOLBOXES:
        names = tools_of_box(maker, component.node, _NOBODY, "")
        return f"Tool default/{names[0]}" if names else ""
    if kind in LLMS:
        return bare_agent(maker, component).target()
    if kind in DATASTORES:
        told = "no kind here is a database that agents use: a function reaches it"
        return stand_in(maker, component, told, schema=None).target()
    if kind in NODES:
        return workflow_of_node(maker, component)
    if kind in PARTS:
        component.node.problem(f"{kind} {_PART_OF}", "give the file of the component that uses it as well")
        return ""
    return _unknown(maker, component)


def _unknown(maker: Maker, component: Component) -> str:
    from kastra_plugin_agentspec.ports import object_schema, schema_of

    told = f"{component.type} is of a plug-in, of which only the name is known here"
    inputs, outputs = maker.ports.of(component)
    return stand_in(
        maker, component, told, schema=object_schema(inputs) if inputs else None, result=schema_of(outputs)
    ).target()


def _rest(maker: Maker) -> None:
    """Rows for components that are defined and not used."""
    given = {(document.file, document.index) for document in maker.report.source.documents}
    for key, root in maker.library.roots.items():
        _unused(maker, root)
        if key not in given and (*key, ()) not in maker.library.used:
            for name, item in root.fields():
                if name != DEFINED:
                    item.dropped(_ELSEWHERE)


def _unused(maker: Maker, node: Node) -> None:
    for _, item in node[DEFINED].fields():
        place = (item.document.file, item.document.index, item.path)
        if item.is_map and place not in maker.library.used:
            item.dropped(_UNUSED)
            continue
        named = item.first("component_type", "type").value
        kind = canonical_type(named) if isinstance(named, str) else ""
        if kind in AGENTIC | TOOLS | LLMS and place not in maker.marked:
            item.dropped("only a node that is never reached refers to it")
        _unused(maker, item)


class _Nobody:
    """In place of a draft where nothing refers to what is made."""

    def target(self, path: str = "") -> str:
        return path


_NOBODY: Any = _Nobody()
