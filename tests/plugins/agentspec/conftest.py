"""Migrating components, looking at what became of them, and writing flows in few words."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import pytest

from kastra_core.api.meta import JsonObject
from kastra_core.api.registry import KindRegistry
from kastra_core.errors import ManifestError, Problem
from kastra_core.migration import MemorySource, read_text
from kastra_core.migration.engine import problems_of_result
from kastra_core.plugins import PluginManager
from kastra_core.protocols.migrator import ExportResult, MigrationResult, MigrationRow, SourceDocument
from kastra_core.runtime import registry_of
from kastra_plugin_agentspec.exporter import AgentSpecExporter
from kastra_plugin_agentspec.migrator import AgentSpecMigrator

LLM: JsonObject = {"component_type": "OpenAiConfig", "id": "llm", "name": "small", "model_id": "gpt-4o-mini"}


def text(title: str, **more: Any) -> JsonObject:
    """A property of type string."""
    return {"title": title, "type": "string", **more}


def node(kind: str, name: str, **fields: Any) -> JsonObject:
    return {"component_type": kind, "id": f"{name}-id", "name": name, **fields}


def tool(name: str, inputs: Sequence[JsonObject] = (), outputs: Sequence[JsonObject] = (), **fields: Any) -> JsonObject:
    return node("ServerTool", name, inputs=list(inputs), outputs=list(outputs), **fields)


def tool_node(name: str, inputs: Sequence[JsonObject] = (), outputs: Sequence[JsonObject] = ()) -> JsonObject:
    """A ToolNode with a tool of the same name."""
    return node(
        "ToolNode", name, inputs=list(inputs), outputs=list(outputs), tool=tool(f"{name}-tool", inputs, outputs)
    )


def ends(name: str, *outputs: JsonObject, branch: str = "next") -> JsonObject:
    return node("EndNode", name, inputs=list(outputs), outputs=list(outputs), branch_name=branch)


def flow(
    name: str,
    nodes: Sequence[JsonObject],
    control: Sequence[str],
    data: Sequence[str] | None = (),
    *,
    inputs: Sequence[JsonObject] = (),
    outputs: Sequence[JsonObject] = (),
    **fields: Any,
) -> JsonObject:
    """A Flow. Edges as text: "a -> b", "a[branch] -> b"; "a.out -> b.in" for data. "start" is its start node."""
    start = node("StartNode", "start", inputs=list(inputs), outputs=list(inputs))
    ids = {one["name"]: f"{name}/{one['name']}" for one in (start, *nodes)}
    held = {ids[one["name"]]: {**one, "id": ids[one["name"]]} for one in (start, *nodes)}

    def control_edge(at: int, edge: str) -> JsonObject:
        left, right = edge.split(" -> ")
        giver, _, branch = left.rstrip("]").partition("[")
        return {
            **node("ControlFlowEdge", f"{name}-c{at}"),
            "from_node": {"$component_ref": ids[giver]},
            "from_branch": branch or None,
            "to_node": {"$component_ref": ids[right]},
        }

    def data_edge(at: int, edge: str) -> JsonObject:
        (giver, output), (taker, given) = (side.split(".") for side in edge.split(" -> "))
        return {
            **node("DataFlowEdge", f"{name}-d{at}"),
            "source_node": {"$component_ref": ids[giver]},
            "source_output": output,
            "destination_node": {"$component_ref": ids[taker]},
            "destination_input": given,
        }

    return {
        **node("Flow", name, inputs=list(inputs), outputs=list(outputs)),
        "start_node": {"$component_ref": ids["start"]},
        "nodes": [{"$component_ref": ids[one["name"]]} for one in (start, *nodes)],
        "control_flow_connections": [control_edge(at, edge) for at, edge in enumerate(control)],
        "data_flow_connections": None if data is None else [data_edge(at, edge) for at, edge in enumerate(data)],
        "$referenced_components": held,
        **fields,
    }


@attrs.frozen
class Moved:
    """What became of some files."""

    result: MigrationResult

    def names(self, kind: str) -> list[str]:
        return [one["metadata"]["name"] for one in self.result.resources if one["kind"] == kind]

    def spec(self, kind: str, name: str = "") -> Any:
        """The spec of the resource of a kind and name; of the only one of the kind."""
        found = [
            one["spec"]
            for one in self.result.resources
            if one["kind"] == kind and (not name or one["metadata"]["name"] == name)
        ]
        assert len(found) == 1, f"{kind}: {self.names(kind)}"
        return found[0]

    def step(self, name: str, workflow: str = "") -> Any:
        return next(step for step in self.spec("Workflow", workflow)["steps"] if step["id"] == name)

    def rows(self, key: str) -> list[MigrationRow]:
        return [row for row in self.result.rows if row.key == key or row.key.endswith(f".{key}")]

    def row(self, key: str, outcome: str) -> MigrationRow:
        found = [row for row in self.rows(key) if row.outcome == outcome]
        assert found, f"{key}: {self.rows(key)}"
        return found[0]


def documents_of(*components: Any) -> list[SourceDocument]:
    found = []
    for at, one in enumerate(components):
        whole = one if not isinstance(one, Mapping) else {"agentspec_version": "26.1.0", **one}
        file = f"part{at}.json" if at else "main.json"
        found += read_text(whole if isinstance(whole, str) else json.dumps(whole), file)
    return found


@pytest.fixture(scope="session")
def registry() -> KindRegistry:
    return registry_of(PluginManager())


class Build:
    """Components in few words."""

    llm = LLM
    text = staticmethod(text)
    node = staticmethod(node)
    tool = staticmethod(tool)
    tool_node = staticmethod(tool_node)
    ends = staticmethod(ends)
    flow = staticmethod(flow)

    @staticmethod
    def agent(name: str, **fields: Any) -> JsonObject:
        return node("Agent", name, **{"system_prompt": "Help.", "llm_config": LLM, **fields})


@pytest.fixture(scope="session")
def build() -> type[Build]:
    return Build


@pytest.fixture(scope="session")
def round_trip() -> Callable[[Sequence[JsonObject]], ExportResult]:
    """Assert that what is exported is what is imported again, in both formats."""
    return assert_round_trip


@pytest.fixture(scope="session")
def export() -> Callable[..., ExportResult]:
    return exported


@pytest.fixture(scope="session")
def read_back() -> Callable[[Mapping[str, str]], dict[tuple[str, str, str], JsonObject]]:
    """What an import makes of files, by kind, namespace and name."""
    return imported


@pytest.fixture(scope="session")
def moved(registry: KindRegistry) -> Callable[..., Moved]:
    """Migrate components, each in a file of its own; what comes of it would apply."""

    def migrate(*components: Any) -> Moved:
        result = AgentSpecMigrator().migrate(MemorySource(documents_of(*components)))
        problems = problems_of_result(result.resources, registry)
        assert problems == (), "\n".join(str(problem) for problem in problems)
        return Moved(result)

    return migrate


@pytest.fixture(scope="session")
def refused() -> Callable[..., list[Problem]]:
    """Migrate components that are refused. Return why."""

    def migrate(*components: Any) -> list[Problem]:
        with pytest.raises(ManifestError) as caught:
            AgentSpecMigrator().migrate(MemorySource(documents_of(*components)))
        return list(caught.value.problems)

    return migrate


def key_of(manifest: Mapping[str, Any]) -> tuple[str, str, str]:
    metadata = manifest["metadata"]
    return manifest["kind"], metadata.get("namespace", ""), metadata["name"]


def exported(resources: Sequence[JsonObject], format: str = "yaml") -> ExportResult:
    return AgentSpecExporter().export(resources, format=format)


def imported(files: Mapping[str, str]) -> dict[tuple[str, str, str], JsonObject]:
    """What an import makes of files, by kind, namespace and name."""
    documents = [document for path, said in files.items() for document in read_text(said, path)]
    result = AgentSpecMigrator().migrate(MemorySource(documents))
    return {key_of(one): one for one in result.resources}


def assert_round_trip(resources: Sequence[JsonObject]) -> ExportResult:
    """What is exported is what is imported again, in both formats."""
    wanted = {key_of(one): one for one in resources}
    for kind in ("json", "yaml"):
        found = exported(resources, kind)
        assert imported(found.files) == wanted
    return found
