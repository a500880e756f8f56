"""The migrator ``crewai``: sorts documents to the readers of Python, YAML, JSON crews and flows."""

from __future__ import annotations

import posixpath
import re

from kastra_core.errors import ManifestError
from kastra_core.protocols.migrator import MigrationResult, MigrationSource, SourceDocument
from kastra_plugin_crewai.flow_migrator import detect_flow, migrate_flow
from kastra_plugin_crewai.json_crews import detect_json_crew, migrate_json_crew
from kastra_plugin_crewai.model import CrewReport
from kastra_plugin_crewai.py_project import Project
from kastra_plugin_crewai.yaml_crews import detect_yaml, kind_of, migrate_yaml

__all__ = ["CrewAiMigrator"]

_IMPORTS = re.compile(r"^\s*(?:from\s+crewai(?:\.\w+)*\s+import\b|import\s+crewai\b)", re.MULTILINE)
_MAKES = re.compile(r"\b(?:Crew|Agent|Task|ConditionalTask)\s*\(|@CrewBase\b|\(\s*Flow\b")
_FLOW = re.compile(r"^class\s+\w+\(\s*Flow\b", re.MULTILINE)
_RUNS = re.compile(r"\.(?:kickoff|kickoff_async|kickoff_for_each|akickoff)\s*\(")
_CREW_PY = re.compile(r"@CrewBase\b|agents_config|tasks_config|config/(?:agents|tasks)\.ya?ml")


class CrewAiMigrator:
    """CrewAI: crews of YAML, JSON and Python, and declarative flows."""

    def detect(self, document: SourceDocument) -> float:
        """Confidence that a document is of CrewAI."""
        if document.file.endswith(".py"):
            return _detect_python(document.text)
        return max(detect_flow(document), detect_json_crew(document), detect_yaml(document))

    def migrate(self, source: MigrationSource) -> MigrationResult:
        """Make resources of all documents.

        Raises:
            ManifestError: with all problems of those that are invalid.
        """
        report = CrewReport(source)
        python, plain, others = [], [], []
        for document in source.documents:
            if document.file.endswith(".py"):
                python.append(document)
            elif max(detect_flow(document), detect_json_crew(document)) > detect_yaml(document):
                others.append(document)
            else:
                plain.append(document)
        beside: list[SourceDocument] = []
        known = {document.file for document in python}
        for document in plain:
            for found in _crew_files(source, document):
                if found.file not in known:
                    known.add(found.file)
                    if _fits(source, found):
                        beside.append(found)
        project = Project(report, source)
        project.run(python, beside)
        for document in others:
            if detect_flow(document) >= detect_json_crew(document):
                migrate_flow(report, document)
            else:
                migrate_json_crew(report, source, document)
        left = [one for one in plain if not project.has(one)]
        migrate_yaml(report, source, left)
        project.finish({(one.file, one.index) for one in left})
        if not report.drafts and not report.problems:
            _refuse(report, [*python, *beside])
        return report.result()


def _fits(source: MigrationSource, found: SourceDocument) -> bool:
    """Whether a crew.py that was found beside YAML files agrees with them; what does not is left alone."""
    trial = CrewReport(source)
    Project(trial, source).run((), [found])
    return bool(trial.drafts) and not trial.problems


def _refuse(report: CrewReport, python: list[SourceDocument]) -> None:
    """Refuse files of Python of which nothing came."""
    for document in python:
        told = "nothing that makes an agent, a task or a crew of CrewAI could be read here"
        hint = "give the directory of the project, or the files with the calls of Agent, Task and Crew"
        if _FLOW.search(document.text):
            told = "a flow in Python is code, which is never run: nothing is made of it"
            hint = "write each method as a step of a Workflow; give the directory of the project to migrate its crews"
        report.problem(document, told, hint=hint)


def _detect_python(text: str) -> float:
    if _IMPORTS.search(text):
        if _MAKES.search(text):
            return 0.95
        return 0.4 if _RUNS.search(text) else 0.0
    return 0.3 if _RUNS.search(text) and re.search(r"crew", text, re.IGNORECASE) else 0.0


def _crew_files(source: MigrationSource, document: SourceDocument) -> list[SourceDocument]:
    """Files of Python near agents.yaml or tasks.yaml that say that they read it."""
    if kind_of(document) not in ("agents", "tasks"):
        return []
    out = []
    for pattern in ("../*.py", "*.py"):
        for path in source.find(pattern, document, beside=True):
            if posixpath.basename(path) == "main.py":
                continue
            try:
                found = source.read(path, document, beside=True)
            except ManifestError:
                continue
            if found and _CREW_PY.search(found[0].text) and _detect_python(found[0].text) > 0.9:
                out.append(found[0])
    return out
