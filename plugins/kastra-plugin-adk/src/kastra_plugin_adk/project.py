"""All agents and nodes that the documents describe or lead to, each once, and who uses whom."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, Literal, TypeAlias

import attrs

from kastra_core.api.meta import JsonObject
from kastra_core.errors import ManifestError, Problem, nearest
from kastra_core.migration import Draft, Node, Report
from kastra_core.protocols.migrator import SourceDocument
from kastra_plugin_adk.format import CALLBACKS, COMPOSITES, CUSTOM, class_of, field
from kastra_plugin_adk.python_files import Found, PythonFiles

__all__ = ["Child", "How", "Project", "Unit", "arguments_of", "builtin_name"]

How: TypeAlias = Literal["step", "member", "tool", "node"]
"""Runs in a fixed order; gets requests handed over; is called as a tool; is a node of a graph."""
_CLASSES = ("LlmAgent", *COMPOSITES, "Workflow", "FunctionNode", "JoinNode", "ToolNode")
_DEEPEST = 60
_TEXTS = ("description", "instruction", "global_instruction", "output_key", "include_contents")
"""Fields that are texts wherever they stand."""


@attrs.define(eq=False)
class Unit:
    """An agent or a node."""

    node: Node
    """What describes it; of an agent that is only named by ``code``, the name."""
    cls: str
    name: str
    code: str = ""
    """Dotted name, when it is an object of Python that cannot be read."""
    found: Found | None = None
    """The object of Python, where its file is there."""
    children: list[Child] = attrs.field(factory=list)
    """Its sub-agents."""
    tools: list[Child] = attrs.field(factory=list)
    """Agents that it calls as tools."""
    uses: list[tuple[How, Unit]] = attrs.field(factory=list)
    """Who uses it."""
    main: Draft | None = None
    """Agent of an LlmAgent, Tool of what has no form here, Workflow of the rest."""
    team: Draft | None = None
    """Network of an LlmAgent with sub-agents."""
    notes: dict[str, None] = attrs.field(factory=dict)
    """What else to say of its placeholders."""
    published: dict[str, None] = attrs.field(factory=dict)
    """Workflows in which its ``output_key`` is data."""
    in_loop: bool = False

    @property
    def exits(self) -> bool:
        """Whether it can end the loop that it runs in: it has exit_loop, and no team that answers for it."""
        return (
            self.cls == "LlmAgent"
            and not self.children
            and any(builtin_name(tool) == "exit_loop" for tool in field(self.node, "tools").items())
        )

    @property
    def output_key(self) -> str:
        key = field(self.node, "output_key")
        return key.value if self.cls == "LlmAgent" and key.is_text else ""

    @property
    def parents(self) -> list[Unit]:
        return [user for _, user in self.uses]


@attrs.frozen(eq=False)
class Child:
    """A use of a unit."""

    node: Node
    """The reference."""
    unit: Unit


def builtin_name(tool: Node) -> str:
    """Name of a tool of ADK's own, "" for anybody else's."""
    name = tool.value if tool.is_text else tool["name"].value
    if not isinstance(name, str) or not name.strip():
        return ""
    own = name.startswith(("google.adk.", "com.google.adk."))
    return name.rpartition(".")[2] if own or "." not in name else ""


def arguments_of(node: Node) -> dict[str, Node]:
    """What a tool or a class is made with: an object, or a list of {name, value}."""
    args = node["args"]
    out = dict(args.fields())
    for item in args.items():
        if item["name"].is_text:
            out[item["name"].text()] = item["value"]
    return out


class Project:
    """Follows references from document to document.

    What is wrong is told to the report; see :meth:`settle_problems`.
    """

    def __init__(self, report: Report) -> None:
        self.report = report
        self.python = PythonFiles(report.source)
        self.units: list[Unit] = []
        """In the order in which they were met."""
        self._by_place: dict[tuple[str, int, tuple[str | int, ...]], Unit] = {}
        self._by_code: dict[str, Unit] = {}
        self._open: list[Unit] = []
        self._met_through: dict[str, Node] = {}
        """File that was not given -> the reference that led to it."""
        self._objects = 0
        self._noted: set[tuple[str, str]] = set()

    def add_document(self, document: SourceDocument) -> Unit | None:
        """The unit of a document, with all that it refers to; None when it is none, which is told."""
        return self.add(self.report.read(document))

    def add(self, node: Node) -> Unit | None:
        """The unit that an object describes, made when it is met first."""
        place = (node.document.file, node.document.index, node.path)
        known = self._by_place.get(place)
        if known is not None:
            if known in self._open:
                chain = " -> ".join(one.name for one in [*self._open[self._open.index(known) :], known])
                node.problem(f"{chain}: an agent cannot contain itself", "remove one of these references")
                return None
            return known
        if not node.is_map:
            node.problem(f"expected an object that describes an agent, found {type(node.value).__name__}")
            return None
        cls_node = field(node, "agent_class")
        cls = class_of(cls_node.text())
        if not cls:
            near = nearest(cls_node.text(), _CLASSES)
            hint = f"did you mean {near!r}?" if near else f"one of {', '.join(_CLASSES)}, or the dotted path of a class"
            cls_node.problem(f"there is no class {cls_node.text()!r}", hint)
            return None
        name = field(node, "name")
        if not name or not name.text().strip():
            node.problem("an agent needs a name", "write name: ..., an identifier")
        for key in _TEXTS:
            field(node, key).text()
        unit = Unit(node=node, cls=cls, name=name.text().strip() or "unnamed")
        self._by_place[place] = unit
        self.units.append(unit)
        if len(self._open) > _DEEPEST:
            node.problem(f"more than {_DEEPEST} agents inside each other")
            return unit
        self._open.append(unit)
        self._children(unit)
        self._open.pop()
        return unit

    def _children(self, unit: Unit) -> None:
        subs = field(unit.node, "sub_agents")
        if subs and not subs.is_list:
            subs.list()
        how: How = "step" if unit.cls in COMPOSITES else "member"
        for item in subs.items():
            child = self.reference(item, unit, how)
            if child is not None and child.cls in ("FunctionNode", "JoinNode", "ToolNode"):
                item.problem(f"{child.name} is a {child.cls}, and no agent", "name it in the edges of a Workflow")
            elif child is not None:
                unit.children.append(Child(item, child))
        for tool in field(unit.node, "tools").items():
            if builtin_name(tool) != "AgentTool":
                continue
            agent = arguments_of(tool).get("agent")
            if agent is None:
                tool.problem("AgentTool needs the agent that it calls", "write args: {agent: {config_path: ...}}")
                continue
            called = self.reference(agent, unit, "tool")
            if called is not None:
                unit.tools.append(Child(tool, called))

    # -------------------------------------------------------------------------------------------- references

    def reference(self, node: Node, user: Unit, how: How) -> Unit | None:
        """The unit that a reference names: a path, or {config_path | code}. What is wrong is told."""
        if node.is_text:
            return self.used(self._file(node), user, how)
        if not node.is_map:
            node.problem("expected config_path or code, found another value", "write {config_path: agent.yaml}")
            return None
        path, code = field(node, "config_path"), node["code"]
        if bool(path) == bool(code and code.text().strip()):
            both = bool(path)
            told = "config_path and code are both there" if both else "neither config_path nor code is there"
            node.problem(f"{told}, expected exactly one", "config_path is a file, code an object of Python")
            return None
        return self.used(self._file(path) if path else self.by_code(code), user, how)

    def used(self, unit: Unit | None, user: Unit, how: How) -> Unit | None:
        if unit is not None and (how, user) not in unit.uses:
            unit.uses.append((how, user))
        return unit

    def _file(self, node: Node) -> Unit | None:
        path = node.text().strip()
        if not path:
            node.problem("the path is empty")
            return None
        try:
            documents = self.report.source.read(path.replace("\\", "/"), node.document)
        except ManifestError as error:
            for problem in error.problems[:3]:
                node.problem(_told(problem, path, node), problem.hint)
            return None
        if len(documents) != 1 or documents[0].data is None:
            count = f"{len(documents)} documents" if documents else "no document"
            node.problem(f"{path!r} holds {count}, expected one that describes an agent")
            return None
        document = documents[0]
        given = {one.file for one in self.report.source.documents}
        if document.file not in given:
            self._met_through.setdefault(document.file, node)
        unit = self.add(self.report.read(document))
        if unit is None and not self._has_problem(document.file):
            node.problem(f"{path!r} does not describe an agent")
        return unit

    def by_code(self, node: Node) -> Unit | None:
        """The unit of an object of Python: described by its constructor where that can be read."""
        code = node.text().strip()
        if "." not in code.strip("."):
            node.problem(f"{code!r} is no dotted path", "write the module and the object: package.module.agent")
            return None
        if code in self._by_code:
            return self._by_code[code]
        found = self.python.find(code, node.document)
        unit = self._described(node, code, found) if found is not None and found.kind == "call" else None
        if unit is None:
            unit = Unit(node=node, cls=CUSTOM, name=code.rpartition(".")[2], code=code, found=found)
            self.units.append(unit)
            self._by_code[code] = unit
        return unit

    def _described(self, reference: Node, code: str, found: Found) -> Unit | None:
        cls = class_of(found.call)
        if cls not in ("LlmAgent", *COMPOSITES):
            return None
        package = code.rpartition(".")[0]
        data: JsonObject = {"agent_class": found.call if found.call != "Agent" else "LlmAgent"}
        lines = {found.name: found.line, f"{found.name}.agent_class": found.line}
        left_out: list[tuple[str, int]] = []
        for key, tree, line in found.keywords():
            if key in ("tools", "sub_agents") and isinstance(tree, (ast.List, ast.Tuple)):
                named = [found.dotted(item, package) for item in tree.elts]
                value: Any = [{"name" if key == "tools" else "code": name} for name in named if name]
                if not all(named):
                    left_out.append((key, line))
            elif key in (*CALLBACKS, *(name.removesuffix("s") for name in CALLBACKS)):
                left_out.append((key, line))
                continue
            elif key.endswith("_schema") and isinstance(tree, ast.Name):
                value = {"name": f"{package}.{tree.id}"}
            else:
                try:
                    value = found.plain(tree)
                except ValueError:
                    left_out.append((key, line))
                    continue
            data[key] = value
            lines[f"{found.name}.{key}"] = line
        if not isinstance(data.get("name"), str):
            return None
        self._objects += 1
        document = attrs.evolve(
            found.document, data={found.name: data}, lines=lines, index=self._objects, line=found.line
        )
        node = self.report.read(document)[found.name]
        if (found.document.file, 0) not in self._by_file():
            self._met_through.setdefault(found.document.file, reference)
        self._by_code[code] = unit = Unit(node=node, cls=cls, name=data["name"], code="", found=found)
        self.units.append(unit)
        self._open.append(unit)
        self._children(unit)
        self._open.pop()
        for key, line in left_out:
            reason = "it is computed in Python: bring over by hand what it gives"
            self.report.row(document, line, f"{found.name}.{key}", "manual", reason)
        return unit

    def _by_file(self) -> set[tuple[str, int]]:
        return {(one.file, one.index) for one in self.report.source.documents}

    def note(self, found: Found | None, target: str) -> None:
        """Row for something of Python that was read, once for each target."""
        if found is not None and (found.place, target) not in self._noted:
            self._noted.add((found.place, target))
            self.report.row(found.document, found.line, found.name, "mapped", "read, not run", target)

    # -------------------------------------------------------------------------------------------- answers

    def ancestors(self, unit: Unit) -> Iterator[Unit]:
        """Those that contain it, the nearest first."""
        seen: list[Unit] = [unit]
        todo = [user for how, user in unit.uses if how != "tool"]
        while todo:
            one = todo.pop(0)
            if one not in seen:
                seen.append(one)
                yield one
                todo.extend(user for how, user in one.uses if how != "tool")

    def scope(self, kind: str, unit: Unit, taken: set[tuple[str, str, str]]) -> str:
        """What a name is unique in: the directory, the file where that has two of the name."""
        path = PurePosixPath(unit.node.document.file.replace("\\", "/"))
        scope = path.parent.name or path.stem
        number = 1
        for more in (path.stem, *(str(at) for at in range(2, 1000))):
            if (kind, scope, unit.name) not in taken:
                break
            scope, number = f"{path.parent.name or path.stem}-{more}", number + 1
        taken.add((kind, scope, unit.name))
        return scope

    # -------------------------------------------------------------------------------------------- problems

    def _has_problem(self, file: str) -> bool:
        return any(problem.file == file for problem in self.report.problems)

    def settle_problems(self) -> None:
        """Tell what is wrong in files that were only referred to where they were referred to.

        Who called leaves out the files that problems name; these must be among those that it gave.
        """
        given = {document.file for document in self.report.source.documents}
        settled: list[Problem] = []
        for problem in self.report.problems:
            told = problem
            for _ in range(_DEEPEST):
                through = self._met_through.get(told.file)
                if told.file in given or through is None:
                    break
                place = f"{told.file}:{told.line}" + (f" {told.path}" if told.path else "")
                message = told.message if told.message.startswith("in ") else f"in {place}: {told.message}"
                told = Problem(message, through.key, hint=told.hint, file=through.document.file, line=through.line)
            if told not in settled:
                settled.append(told)
        self.report.problems[:] = settled


def _told(problem: Problem, path: str, node: Node) -> str:
    return problem.message if path in problem.message else f"{path}: {problem.message}"
