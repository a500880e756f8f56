"""docker-agent's files to resources."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from kastra_core.migration import Report
from kastra_core.protocols.migrator import MigrationResult, MigrationSource, SourceDocument
from kastra_plugin_docker_agent.documents import migrate_document
from kastra_plugin_docker_agent.toolbox import Toolbox

__all__ = ["DockerAgentMigrator"]

_FIRST_LINE = re.compile(r"#!.*\b(docker[ -]agent|cagent)\b")
_MARKS = frozenset(
    {
        "add_date",
        "add_environment_info",
        "add_prompt_files",
        "code_mode_tools",
        "fallback",
        "force_handoff",
        "handoffs",
        "harness",
        "instruction_file",
        "max_iterations",
        "num_history_items",
        "skills",
        "structured_output",
        "sub_agents",
        "toolsets",
        "use_toolsets",
        "welcome_message",
    }
)
"""Fields of an agent that other formats with ``agents:`` do not have, or not by this name."""
_FOREIGN = frozenset({"apiVersion", "kind", "methods", "tasks", "schema", "agent_class", "component_type"})
_FOREIGN_IN_AGENTS = frozenset({"instructions", "role", "goal", "backstory", "system_prompt", "prompt"})
_ORDER = {"Tool": 0, "Agent": 1, "Network": 2}


class DockerAgentMigrator:
    """Reads docker-agent (cagent) teams in YAML, versions 0 to 15."""

    def detect(self, document: SourceDocument) -> float:
        data = document.data
        if not isinstance(data, Mapping) or data.keys() & _FOREIGN:
            return 0.0
        if _FIRST_LINE.match(document.text):
            return 0.98
        agents = data.get("agents")
        if not isinstance(agents, Mapping):
            return 0.0
        bodies = [body for body in agents.values() if isinstance(body, Mapping)]
        if any(body.keys() & _MARKS for body in bodies):
            return 0.95
        if any(body.keys() & _FOREIGN_IN_AGENTS or isinstance(body.get("model"), Mapping) for body in bodies):
            return 0.1
        if any("instruction" in body for body in bodies) or _has_models(data.get("models")):
            return 0.9
        if any(isinstance(body.get("model"), str) for body in bodies):
            return 0.7
        return 0.4 if str(data.get("version", "")).isdigit() or ("agents" in data and len(data) <= 2) else 0.0

    def migrate(self, source: MigrationSource) -> MigrationResult:
        report = Report(source)
        toolbox = Toolbox(report)
        for document, scope in zip(source.documents, _scopes(source.documents), strict=True):
            migrate_document(report, toolbox, report.read(document), scope)
        report.drafts.sort(key=lambda draft: _ORDER[draft.kind])
        return report.result()


def _has_models(models: Any) -> bool:
    if not isinstance(models, Mapping):
        return False
    return any(isinstance(model, Mapping) and model.keys() & {"provider", "type"} for model in models.values())


def _scopes(documents: Sequence[SourceDocument]) -> list[str]:
    """A word for each document, for names of resources that several documents have: the end of the file's path."""
    files = {
        document.file: PurePosixPath(document.file.replace("\\", "/")).with_suffix("").parts for document in documents
    }
    words = []
    for document in documents:
        parts = files[document.file]
        others = [other for file, other in files.items() if file != document.file]
        count = 1
        while count < len(parts) and any(other[-count:] == parts[-count:] for other in others):
            count += 1
        word = "-".join(parts[-count:])
        words.append(f"{word}-{document.index + 1}" if document.index else word)
    return words
