"""The migrator ``adk``: agent configurations of Google ADK become resources."""

from __future__ import annotations

from kastra_core.migration import Draft, Report
from kastra_core.protocols.migrator import MigrationResult, MigrationSource, SourceDocument
from kastra_plugin_adk.agents import AgentMaker, say_callbacks
from kastra_plugin_adk.flows import write_flow
from kastra_plugin_adk.format import COMPOSITES, CUSTOM, confidence, field, not_an_agent
from kastra_plugin_adk.graph_nodes import fill_node
from kastra_plugin_adk.graph_steps import write_graph
from kastra_plugin_adk.graphs import Graph, read_graph
from kastra_plugin_adk.project import Project, Unit
from kastra_plugin_adk.tools import ToolShelf

__all__ = ["AdkMigrator"]

_ORDER = ("Tool", "Agent", "Workflow", "Network")


class AdkMigrator:
    """Makes Agents, Networks, Workflows and Tools of ``root_agent.yaml`` and the files that it names."""

    def detect(self, document: SourceDocument) -> float:
        return confidence(document)

    def migrate(self, source: MigrationSource) -> MigrationResult:
        return _Migration(source).result()


class _Migration:
    def __init__(self, source: MigrationSource) -> None:
        self.report = Report(source)
        self.project = Project(self.report)
        self.shelf = ToolShelf(self.project)
        self.graphs: dict[int, Graph] = {}
        self._scopes: set[tuple[str, str, str]] = set()

    def result(self) -> MigrationResult:
        for document in self.report.source.documents:
            other = not_an_agent(document.data)
            if other:
                self.report.problem(document, other)
            elif not isinstance(document.data, dict):
                self.report.problem(document, "expected an object that describes an agent")
            else:
                self.project.add_document(document)
        self._collect()
        if not self.report.problems:
            self._make()
        self.project.settle_problems()
        self.report.drafts.sort(key=lambda draft: _ORDER.index(draft.kind))
        return self.report.result()

    # ------------------------------------------------------------------------------------------ what there is

    def _collect(self) -> None:
        """Name the resources. Graphs lead to further agents, so the list grows."""
        for unit in self.project.units:
            if unit.cls == "Workflow":
                unit.main = self._draft("Workflow", unit)
                self.graphs[id(unit)] = read_graph(self.project, unit)
        self._refuse_circles()
        if self.report.problems:
            return
        for unit in self.project.units:
            _mark_loops(unit)
            if unit.cls == "LlmAgent":
                unit.main = self._draft("Agent", unit)
                if unit.children:
                    unit.team = self._draft("Network", unit)
            elif unit.cls == CUSTOM:
                unit.main = self.shelf.agent_of_code(unit)
            elif unit.cls in COMPOSITES and _stands_alone(unit):
                unit.main = self._draft("Workflow", unit)
            elif unit.cls == "JoinNode" and not unit.uses:
                unit.node.problem("a JoinNode is a part of a Workflow", "migrate the file whose edges name it")

    def _draft(self, kind: str, unit: Unit) -> Draft:
        return self.report.draft(kind, unit.name, scope=self.project.scope(kind, unit, self._scopes))

    def _refuse_circles(self) -> None:
        """Workflows that contain themselves."""
        for unit in self.project.units:
            graph = self.graphs.get(id(unit))
            if graph is None:
                continue
            seen: list[Unit] = []
            todo = self._inside(unit)
            while todo:
                one = todo.pop()
                if one is unit:
                    told = f"{unit.name} contains itself through its edges"
                    field(unit.node, "edges").problem(told, "remove one of the references")
                    break
                if one not in seen:
                    seen.append(one)
                    todo.extend(self._inside(one))

    def _inside(self, unit: Unit) -> list[Unit]:
        graph = self.graphs.get(id(unit))
        nodes = [node.unit for node in graph.nodes.values() if node.unit is not None] if graph is not None else []
        return [*(child.unit for child in (*unit.children, *unit.tools)), *nodes]

    # ------------------------------------------------------------------------------------------ making it

    def _make(self) -> None:
        for unit in self.project.units:
            graph = self.graphs.get(id(unit))
            if graph is not None:
                write_graph(self.project, self.shelf, unit, graph)
            elif unit.cls in COMPOSITES and unit.main is not None:
                write_flow(self.project, unit)
            elif unit.cls in ("FunctionNode", "ToolNode") and not unit.uses:
                fill_node(unit, self.project, self.shelf)
        maker = AgentMaker(self.project, self.shelf)
        for unit in self.project.units:
            if unit.cls == "LlmAgent":
                maker.fill(unit)
            elif unit.cls == CUSTOM and unit.node.is_map:
                self._custom(unit)

    def _custom(self, unit: Unit) -> None:
        """Rows for an agent of a class of somebody's own."""
        draft = unit.main
        assert draft is not None
        node = unit.node
        function = draft.get("spec.python.function")
        cls = field(node, "agent_class")
        cls.manual(
            f"nobody here knows the class: write what it did in {function}", draft.target("spec.python.function")
        )
        field(node, "name").mapped(draft.target("metadata.name"))
        if field(node, "description"):
            field(node, "description").mapped(draft.target("spec.description"))
        for child in unit.children:
            reference = child.unit.team or child.unit.main
            told = f"let {function} call {reference.kind} {reference.name}" if reference is not None else "call it"
            child.node.manual(told, draft)
        if unit.in_loop:
            cls.manual('let it return {"exit_loop": true} to end the loop, {"answer": ...} else', draft)
        say_callbacks(node, draft)
        known = {"agent_class", "agentClass", "name", "description", "sub_agents", "subAgents"}
        for key, value in node.fields():
            if key not in known and "callback" not in key.lower():
                value.manual(f"a field of the class: let {function} do what it says", draft)


def _stands_alone(unit: Unit) -> bool:
    """Whether an agent with a fixed order needs a Workflow of its own: not where it is but a part of another one."""
    return not unit.uses or any(how in ("member", "tool") for how, _ in unit.uses)


def _mark_loops(unit: Unit) -> None:
    """Note which agents run in a loop."""
    if unit.cls != "LoopAgent":
        return
    todo = [child.unit for child in unit.children]
    seen: list[Unit] = []
    while todo:
        one = todo.pop()
        if one in seen:
            continue
        seen.append(one)
        one.in_loop = True
        if one.cls in COMPOSITES:
            todo.extend(child.unit for child in one.children)
