"""Crews in one file (``crew.jsonc``, JSON, YAML) with agents inside or beside them (``agents/NAME.jsonc``)."""

from __future__ import annotations

import glob
import posixpath
from collections.abc import Mapping
from typing import Any

import attrs

from kastra_core.errors import ManifestError
from kastra_core.migration import Draft, Node
from kastra_core.protocols.migrator import MigrationSource, SourceDocument
from kastra_core.serde import type_word
from kastra_plugin_crewai.build import build_agent, build_crew
from kastra_plugin_crewai.json_conditions import put_conditions
from kastra_plugin_crewai.json_parts import agent_part, crew_of, inline_agents
from kastra_plugin_crewai.model import AgentPart, Crew, CrewReport

__all__ = ["detect_json_crew", "finish_crew", "migrate_json_crew", "read_crew_file"]

_ENDINGS = (".jsonc", ".json")
_TEXTS = ("role", "goal", "backstory")


@attrs.define(eq=False)
class _Read:
    """Files that a report has read, so that each is made once. Kept with the report."""

    crews: dict[str, Draft] = attrs.field(factory=dict)
    agents: dict[str, AgentPart] = attrs.field(factory=dict)


def _read_of(report: CrewReport) -> _Read:
    for one in report.kept:
        if isinstance(one, _Read):
            return one
    report.kept.append(_Read())
    return _read_of(report)


def detect_json_crew(document: SourceDocument) -> float:
    """Confidence that a document is a crew, or an agent of one, in a file of its own."""
    data = document.data
    if not isinstance(data, Mapping):
        return 0.0
    stem, ending = posixpath.splitext(posixpath.basename(document.file.replace("\\", "/")))
    is_json = ending in _ENDINGS
    if _is_crew(data):
        return 0.95 if stem == "crew" and is_json else 0.9
    if stem == "crew" and is_json and ("agents" in data or "tasks" in data):
        return 0.7
    if all(isinstance(data.get(key), str) for key in _TEXTS):
        return 0.9
    if _folder(document) == "agents" and is_json and ("role" in data or "from_repository" in data):
        return 0.6
    return 0.0


def _is_crew(data: Mapping[str, Any]) -> bool:
    agents, tasks = data.get("agents"), data.get("tasks")
    if not isinstance(agents, (list, Mapping)) or not isinstance(tasks, (list, Mapping)):
        return False
    each = tasks.values() if isinstance(tasks, Mapping) else tasks
    return any(isinstance(task, Mapping) and "expected_output" in task for task in each)


def _folder(document: SourceDocument) -> str:
    return posixpath.basename(posixpath.dirname(document.file.replace("\\", "/")))


def migrate_json_crew(report: CrewReport, source: MigrationSource, document: SourceDocument) -> None:
    """Make the resources of a crew's document, or of an agent's that no crew of the source names."""
    data = document.data
    if not isinstance(data, Mapping):
        report.problem(document, f"expected an object, found {type_word(data)}")
    elif "agents" in data or "tasks" in data:
        read_crew_file(report, source, document)
    elif not _belongs_to_crew(source, document):
        part = _agent_of_file(report, document)
        build_agent(report, part)


def _belongs_to_crew(source: MigrationSource, document: SourceDocument) -> bool:
    """Whether a crew that is migrated, too, names the agent of this file."""
    path = document.file.replace("\\", "/")
    stem = posixpath.splitext(posixpath.basename(path))[0]
    for other in source.documents:
        data = other.data
        if not isinstance(data, Mapping) or not isinstance(data.get("tasks"), list) or other is document:
            continue
        folder = posixpath.join(posixpath.dirname(other.file.replace("\\", "/")), "agents")
        agents = data.get("agents")
        named = [*(agents if isinstance(agents, list) else ()), data.get("manager_agent")]
        if posixpath.normpath(folder) == posixpath.normpath(posixpath.dirname(path)) and stem in named:
            return True
    return False


def read_crew_file(report: CrewReport, source: MigrationSource, document: SourceDocument) -> Draft | None:
    """Make the resources of a crew's document, once. Return its Workflow; None: it is invalid, which is told."""
    done = _read_of(report)
    key = f"{document.file}#{document.index}"
    if key in done.crews:
        return done.crews[key]
    root = report.read(document)
    before = len(report.problems)
    agents = root["agents"]
    if not agents.is_map and not agents.is_list:
        agents.problem(f"expected a list of agents, found {type_word(agents.value)}")
        return None
    if agents.is_map or any(not isinstance(item.value, str) for item in agents.items()):
        parts = inline_agents(agents)
    else:
        parts = _agents_beside(report, source, document, root)
    path = document.file.replace("\\", "/")
    stem = posixpath.splitext(posixpath.basename(path))[0]
    name = posixpath.basename(posixpath.dirname(path)) or stem if stem == "crew" else stem
    crew = crew_of(root, name, parts)
    crew.inputs = _defaults(root["inputs"])
    draft = finish_crew(report, crew) if len(report.problems) == before else None
    if draft is not None:
        done.crews[key] = draft
        for item in agents.items():
            if isinstance(item.value, str):
                item.mapped(draft.target("spec.steps"), "a member of the crew")
    return draft


def _defaults(node: Node) -> dict[str, Any]:
    from kastra_plugin_crewai.model import Field

    if node.present and not node.value:
        node.dropped("empty")
    return {key: Field(child) for key, child in node.fields()}


def finish_crew(report: CrewReport, crew: Crew) -> Draft:
    """Make the resources of a crew, conditional tasks included. Return its Workflow."""
    draft = build_crew(report, crew)
    if not report.problems:
        put_conditions(report, crew, draft)
    return draft


def _agents_beside(
    report: CrewReport, source: MigrationSource, document: SourceDocument, root: Node
) -> dict[str, AgentPart]:
    """The agents that a crew names, out of ``agents/NAME.jsonc`` or ``agents/NAME.json``."""
    places = [*root["agents"].items()]
    if isinstance(root["manager_agent"].value, str) and root["manager_agent"].value:
        places.append(root["manager_agent"])
    out: dict[str, AgentPart] = {}
    for place in places:
        name = place.value
        if not isinstance(name, str) or not name or name in out:
            if not isinstance(name, str) or not name:
                place.problem(f"expected the name of an agent, found {type_word(name)}")
            continue
        found = _find(source, document, place, name)
        if found is not None:
            out[name] = _agent_of_file(report, found, name)
    return out


def _find(source: MigrationSource, document: SourceDocument, place: Node, name: str) -> SourceDocument | None:
    tried = [f"agents/{name}{ending}" for ending in _ENDINGS]
    if posixpath.basename(name) != name:
        place.problem(f"{name!r} is no name of an agent", "the name of a file in agents/, without its ending")
        return None
    for path in tried:
        if not source.find(glob.escape(path), document):
            continue
        try:
            documents = source.read(path, document)
        except ManifestError as error:
            place.problem(f"agent {name!r}: {error.problems[0].message}")
            return None
        if documents:
            return documents[0]
    place.problem(f"there is no file for the agent {name!r}", f"expected {' or '.join(tried)} beside the crew")
    return None


def _agent_of_file(report: CrewReport, document: SourceDocument, name: str = "") -> AgentPart:
    done = _read_of(report)
    if document.file not in done.agents:
        root = report.read(document)
        stem = posixpath.splitext(posixpath.basename(document.file.replace("\\", "/")))[0]
        chosen = name or stem
        if not root.is_map:
            root.problem(f"expected an object (an agent), found {type_word(root.value)}")
            return AgentPart(name=chosen, node=root)
        if root["name"].present:
            root["name"].dropped("an agent bears the name of its file")
        done.agents[document.file] = agent_part(root, chosen, passed_over=("name",))
    return done.agents[document.file]
