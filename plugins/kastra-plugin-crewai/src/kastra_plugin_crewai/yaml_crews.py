"""agents.yaml and tasks.yaml without a crew.py: tasks in the order of the file, each done by whom it names.

One that names nobody is done by the agent at the same place of its file, or by the one whose words are nearest.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from typing import Any

from kastra_core.errors import ManifestError, nearest
from kastra_core.migration.report import Node
from kastra_core.protocols.migrator import MigrationSource, SourceDocument
from kastra_core.serde import type_word
from kastra_plugin_crewai.build import build_agent, build_crew
from kastra_plugin_crewai.model import AgentPart, Crew, CrewReport, Field, TaskPart, ToolPart
from kastra_plugin_crewai.py_parts import file_name

__all__ = ["detect_yaml", "kind_of", "migrate_yaml"]

_AGENT_MARKS = frozenset({"role", "goal", "backstory"})
_TASK_MARKS = frozenset({"description", "expected_output"})
_PROSE = 60
"""Characters that no setting has."""
_LETTERS = 5
"""Beginning of a word by which two of one stem are told: research, researcher."""


def kind_of(document: SourceDocument) -> str:
    """ "agents", "tasks", "inputs" (texts in a directory ``config``) or ""."""
    data, file = document.data, document.file.replace("\\", "/")
    if not isinstance(data, Mapping) or not data:
        return ""
    stem = posixpath.splitext(posixpath.basename(file))[0]
    entries = [value for value in data.values() if isinstance(value, Mapping)]
    agents = sum(len(_AGENT_MARKS & value.keys()) >= 2 for value in entries)
    tasks = sum(bool(_TASK_MARKS & value.keys()) and not _AGENT_MARKS & value.keys() for value in entries)
    if entries and agents * 2 > len(data):
        return "agents"
    if entries and tasks * 2 > len(data) and all(_is_task(value) for value in entries):
        return "tasks"
    if stem in ("agents", "tasks") and len(entries) * 2 >= len(data) and (agents or tasks or _in_config(file)):
        return stem
    if _in_config(file) and file.endswith((".yaml", ".yml")) and _are_texts(list(data.values())):
        return "inputs"
    return ""


def _is_task(value: Mapping[str, Any]) -> bool:
    """Whether nothing in it is of another format's (a schema has a description, too)."""
    return "expected_output" in value or "agent" in value or value.keys() <= {"description", "context", "tools"}


def _are_texts(values: list[Any]) -> bool:
    """Whether these are prose, and no settings."""
    return all(isinstance(value, str) for value in values) and any(len(value) > _PROSE for value in values)


def _in_config(file: str) -> bool:
    return posixpath.basename(posixpath.dirname(file)) == "config"


def detect_yaml(document: SourceDocument) -> float:
    """Confidence that a document is agents.yaml, tasks.yaml, or run inputs beside them."""
    kind = kind_of(document)
    if not kind:
        return 0.0
    if kind == "inputs":
        return 0.25
    data: Mapping[str, Any] = document.data
    marks = _AGENT_MARKS if kind == "agents" else _TASK_MARKS
    whole = sum(isinstance(value, Mapping) and marks <= value.keys() for value in data.values())
    named = posixpath.splitext(posixpath.basename(document.file.replace("\\", "/")))[0] == kind
    if whole * 2 > len(data):
        return 0.95 if named else 0.9
    partly = any(isinstance(value, Mapping) and marks & value.keys() for value in data.values())
    return 0.8 if named and partly else 0.45


def migrate_yaml(report: CrewReport, source: MigrationSource, documents: Sequence[SourceDocument]) -> None:
    """Migrate files that no crew.py read: those of a directory are one crew."""
    done: set[tuple[str, int]] = set()
    for document in documents:
        if (document.file, document.index) in done:
            continue
        kind = kind_of(document)
        if kind not in ("agents", "tasks"):
            _refuse(report, document, kind)
            continue
        other = _beside(source, documents, document, "tasks" if kind == "agents" else "agents")
        pair = [document, other] if kind == "agents" else [other, document]
        done |= {(one.file, one.index) for one in pair if one is not None}
        _Pair(report, *pair).build()


def _refuse(report: CrewReport, document: SourceDocument, kind: str) -> None:
    if kind == "inputs" and len(report.source.documents) > 1:
        # Beside a crew they are no fault: the crew is migrated, and this says what they are.
        for _, node in report.read(document).fields():
            node.dropped("a text that a program hands to its crew: give it as the input of the migrated workflow")
        return
    if kind == "inputs":
        told = "these are texts that a program hands to its crew, and no configuration of agents or tasks"
        hint = "give them as the input of the migrated workflow: kastra run workflow/NAME --set NAME=TEXT"
    else:
        found = type_word(document.data)
        told = f"expected agents (role, goal, backstory) or tasks (description, expected_output) by name, found {found}"
        hint = "CrewAI reads agents.yaml, tasks.yaml, crew.py, crew.jsonc and flows of the schema crewai.flow/v1"
    report.problem(document, told, hint=hint)


def _beside(
    source: MigrationSource, documents: Sequence[SourceDocument], document: SourceDocument, kind: str
) -> SourceDocument | None:
    """The other file of a pair: given with it, or in the same directory."""
    folder = posixpath.dirname(document.file)
    for one in documents:
        if posixpath.dirname(one.file) == folder and kind_of(one) == kind:
            return one
    for ending in ("yaml", "yml"):
        try:
            found = source.read(f"{kind}.{ending}", document, beside=True)
        except ManifestError:
            continue
        for one in found:
            if kind_of(one) == kind:
                return one
    return None


class _Pair:
    """Agents and tasks of a directory; one of them may be missing."""

    def __init__(self, report: CrewReport, agents: SourceDocument | None, tasks: SourceDocument | None) -> None:
        self.report = report
        self.agents_root = report.read(agents) if agents is not None else None
        self.tasks_root = report.read(tasks) if tasks is not None else None
        self.name = file_name((tasks or agents).file)  # type: ignore[union-attr]  # one of them is there

    def build(self) -> None:
        agents: dict[str, AgentPart] = {
            key: self._agent(key, node) for key, node in self._entries(self.agents_root, "agent")
        }
        entries = self._entries(self.tasks_root, "task")
        if not entries:
            for agent in agents.values():
                build_agent(self.report, agent, scope=self.name)
            return
        made: dict[str, AgentPart] = {}
        parts = [self._task(key, node) for key, node in entries]
        told: list[tuple[TaskPart, str]] = []
        free = [part for part in parts if not part.node["agent"]]
        for part in parts:
            if part.node["agent"]:
                self._named(part, agents, made)
        paired = len(free) == len(agents) == len(parts)
        for part in free:
            if agents:
                part.agent = list(agents.values())[parts.index(part)] if paired else _nearest(part, agents)
                why = "the one at the same place of its file" if paired else "the one whose words are nearest"
                told.append((part, f"no file says who does it: {part.agent.name}, {why}; check it"))
            else:
                told.append((part, "no file says who does it: an agent was made for it; write its instructions"))
        crew = Crew(
            name=self.name,
            node=self.report.read(entries[0][1].document),
            agents=[*agents.values(), *made.values()],
            tasks=self._ordered(parts),
        )
        draft = build_crew(self.report, crew)
        crew.node["process"].defaulted("no crew.py: the tasks run one after the other, in the order of the file", draft)
        for part, reason in told:
            part.node["agent"].defaulted(reason, draft)

    def _entries(self, root: Node | None, word: str) -> list[tuple[str, Node]]:
        """The agents or tasks of a file; what is none is a problem."""
        out = []
        for key, node in root.fields() if root is not None else ():
            if node.value is None:
                node.dropped("null: as if it were not there")
            elif not node.is_map:
                node.problem(f"expected an object with the {word}, found {type_word(node.value)}")
            else:
                out.append((key, node))
        return out

    def _agent(self, key: str, node: Node) -> AgentPart:
        fields = {name: Field(child) for name, child in node.fields() if name != "tools"}
        return AgentPart(name=key, node=node, fields=fields, tools=_tools(node["tools"]))

    def _task(self, key: str, node: Node) -> TaskPart:
        if not node["description"] and not node["config"]:
            node.problem("a task needs a description", "write description: what is to be done")
        fields = {name: Field(child) for name, child in node.fields()}
        part = TaskPart(name=key, node=node, fields=fields, tools=_tools(node["tools"]))
        context = node["context"]
        if context.is_list:
            part.context = [item.text() for item in context.items()]
        elif context.is_text:
            context.problem(f"expected a list of names of tasks, found {type_word(context.value)}")
        return part

    def _named(self, part: TaskPart, agents: Mapping[str, AgentPart], made: dict[str, AgentPart]) -> None:
        """The agent that a task names; one that no file has is made, and somebody has to write it."""
        node = part.node["agent"]
        name = node.text()
        if name in agents:
            part.agent = agents[name]
            return
        if name not in made:
            made[name] = AgentPart(name=name, node=node)
            near = nearest(name, list(agents))
            where = f"{self.agents_root.document.file} has no agent {name!r}" if self.agents_root else "no agents.yaml"
            hint = f"; did you mean {near!r}?" if near else ""
            node.manual(f"{where}{hint}: write the instructions of this agent")
        part.agent = made[name]

    def _ordered(self, parts: list[TaskPart]) -> list[TaskPart]:
        """The tasks in the order of the file, each after those whose outputs it gets."""
        names = {part.name: part for part in parts}
        out: list[TaskPart] = []
        left = list(parts)
        for part in parts:
            for item in part.node["context"].items():
                if item.is_text and item.value not in names:
                    near = nearest(item.value, list(names))
                    item.problem(f"no task has the name {item.value!r}", f"did you mean {near!r}?" if near else "")
        while left:
            ready = [part for part in left if all(names.get(name) in (None, *out) for name in part.context or ())]
            if not ready:
                left[0].node["context"].problem(
                    f"the tasks {', '.join(part.name for part in left)} wait for each other"
                )
                return out + left
            out.append(ready[0])
            left.remove(ready[0])
        return out


def _tools(node: Node) -> list[ToolPart]:
    if node and not node.is_list:
        node.list()
    if node.is_list and not node.value:
        node.dropped("no tools")
    out = []
    for item in node.items():
        if item.is_text:
            why = "CrewAI takes it from the method of this name of crew.py"
            out.append(ToolPart(name=item.text(), node=item, why=why))
        else:
            item.text()
    return out


def _words(text: str) -> set[str]:
    return {word[:_LETTERS] for word in re.findall(r"[a-z]{3,}", text.lower())}


def _nearest(part: TaskPart, agents: Mapping[str, AgentPart]) -> AgentPart:
    """The agent whose name and role share most words with a task; the first one of equals."""
    name, text = _words(part.name), _words(str(part.node["description"].value))

    def score(agent: AgentPart) -> tuple[int, int]:
        own, role = _words(agent.name), _words(str(agent.node["role"].value))
        return len(name & (own | role)), len(text & (own | role))

    return max(agents.values(), key=score)
