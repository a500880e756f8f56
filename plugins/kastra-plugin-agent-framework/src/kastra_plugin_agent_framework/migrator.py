"""Declarative agents and workflows of Microsoft Agent Framework."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from kastra_core.errors import ManifestError
from kastra_core.migration import Node, Report
from kastra_core.protocols.migrator import MigrationResult, MigrationSource, SourceDocument
from kastra_core.serde import type_word
from kastra_plugin_agent_framework.agent_tools import is_toolbox, migrate_toolbox
from kastra_plugin_agent_framework.agents import migrate_agent
from kastra_plugin_agent_framework.context import Context
from kastra_plugin_agent_framework.hosted import is_manifest, migrate_container, migrate_manifest
from kastra_plugin_agent_framework.workflows import is_workflow, migrate_workflow

__all__ = ["AgentFrameworkMigrator"]

_DIALOGS = ("tooldialog", "adaptivedialog", "taskdialog", "dialog")


class AgentFrameworkMigrator:
    """``kind: Prompt``, ``kind: hosted``, manifests with a template, and workflows of both forms."""

    def detect(self, document: SourceDocument) -> float:
        data = document.data
        if not isinstance(data, dict) or "apiVersion" in data or "spec" in data:
            return 0.0
        kind = data.get("kind")
        word = kind.lower() if isinstance(kind, str) else ""
        trigger = data.get("trigger")
        if word == "workflow":
            if "trigger" in data or _has_kinds(data.get("actions")):
                return 0.95
            return 0.5 if "actions" in data else 0.3
        if "kind" not in data:
            if is_manifest(data):
                return 0.93
            if _hosted_services(data):
                return 0.9
            if is_toolbox(data):
                return 0.6
            if isinstance(trigger, dict) and isinstance(trigger.get("actions"), list):
                return 0.9
            return 0.9 if _has_kinds(data.get("actions")) else 0.0
        if word == "prompt":
            return 0.93
        if word == "hosted":
            return 0.93 if "protocols" in data or "name" in data else 0.6
        if word in _DIALOGS and ("beginDialog" in data or "actions" in data):
            return 0.9
        if word == "agent" and isinstance(data.get("instructions"), str):
            return 0.6
        return 0.3 if word == "agent" and "name" in data else 0.0

    def migrate(self, source: MigrationSource) -> MigrationResult:
        report = Report(source)
        _migrate(source, report, None)
        return report.result()


def _has_kinds(actions: Any) -> bool:
    return (
        isinstance(actions, list) and bool(actions) and all(isinstance(one, dict) and "kind" in one for one in actions)
    )


def _hosted_services(data: dict[str, Any]) -> bool:
    services = data.get("services")
    return isinstance(services, dict) and any(
        isinstance(one, dict) and one.get("host") == "azure.ai.agent" for one in services.values()
    )


def _migrate(source: MigrationSource, report: Report, only: SourceDocument | None) -> tuple[Context, Node | None]:
    """Migrate all documents; with ``only`` all but the workflows, for a rehearsal of that one."""
    context = Context(report)
    roots = [(document, report.read(document)) for document in source.documents]
    for document, root in roots:
        if not is_workflow(document.data):
            _agent(context, document, root)
    found = None
    for document, root in roots:
        if only is not None and document == only:
            _agents_of(context, source, document, root)
            found = root
    if only is not None:
        return context, found
    for document, root in roots:
        if not is_workflow(document.data):
            continue
        _agents_of(context, source, document, root)

        def rehearse(document: SourceDocument = document) -> tuple[Context, Node]:
            trial, again = _migrate(source, Report(source), document)
            assert again is not None
            return trial, again

        migrate_workflow(context, root, _file_name(document), rehearse)
    return context, None


def _agent(context: Context, document: SourceDocument, root: Node) -> None:
    if not root.is_map:
        root.problem(
            f"expected an agent or a workflow, found {type_word(root.value)}", hint="kind: Prompt, kind: Workflow"
        )
        return
    scope = _directory(document)
    word = root["kind"].text().lower()
    if root["services"].is_map and "kind" not in root.mapping():
        _services(context, document, root, scope)
    elif is_toolbox(root.value):
        migrate_toolbox(context, root)
    elif is_manifest(root.value):
        migrate_manifest(context, root, _file_name(document), scope)
    elif word == "hosted":
        migrate_container(context, root, _file_name(document), scope)
    elif word in ("prompt", "agent"):
        agent = migrate_agent(context, root, _file_name(document))
        name = root["name"].text() or _file_name(document)
        context.files[document.file, document.index] = [agent]
        context.agents.setdefault(name, agent)
        context.agents.setdefault(_file_name(document), agent)
    else:
        found = f"kind {root['kind'].text()!r}" if root["kind"] else "no kind"
        root["kind" if root["kind"].present else "actions"].problem(
            f"expected an agent or a workflow, found {found}", hint="kind: Prompt, hosted or Workflow"
        )


def _services(context: Context, document: SourceDocument, root: Node, scope: str) -> None:
    for name, service in root["services"].fields():
        if service["host"].text() == "azure.ai.agent":
            key = scope if scope else name
            migrate_container(context, service, name, f"{key}/{name}")
        else:
            service.dropped("a service of the deployment, no agent")
    root["name"].dropped("the name of the deployment")
    root["metadata"].dropped("of the deployment")


def _agents_of(context: Context, source: MigrationSource, document: SourceDocument, root: Node) -> None:
    """Agents that a workflow defines itself, or that it names a file of."""
    for name, node in root["agents"].fields():
        if node["file"]:
            _agent_file(context, source, document, name, node)
        elif node["kind"]:
            if node["kind"].text().lower() not in ("hosted", "prompt", "agent"):
                node["kind"].problem(
                    f"expected an agent, found kind {node['kind'].text()!r}", hint="kind: Prompt or hosted"
                )
            elif node["kind"].text().lower() == "hosted":
                context.agents[name] = migrate_container(context, node, name, f"{document.file}/{name}")
            else:
                context.agents[name] = migrate_agent(context, node, name)
        else:
            agent = context.agent(name)
            node.manual(f"the program that ran the workflow gave this agent: make Agent {agent.name}")


def _agent_file(context: Context, source: MigrationSource, document: SourceDocument, name: str, node: Node) -> None:
    path = node["file"].text()
    try:
        found = source.read(path, document)
    except ManifestError as error:
        agent = context.agent(name)
        node["file"].manual(f"{error.problems[0].message}: make Agent {agent.name}")
        return
    for one in found:
        known = next((agent for agent in context.files.get((one.file, one.index), ())), None)
        if known is None:
            root = context.report.read(one)
            known = migrate_agent(context, root, name)
            context.files[one.file, one.index] = [known]
        context.agents[name] = known
        node["file"].mapped(f"Agent default/{known.name}", "read along")


def _file_name(document: SourceDocument) -> str:
    path = PurePosixPath(document.file.replace("\\", "/"))
    stem = path.name.partition(".")[0]
    if stem.lower() in ("agent", "workflow", "azure", "index", "main") and path.parent.name:
        stem = path.parent.name
    return stem if not document.index else f"{stem}-{document.index + 1}"


def _directory(document: SourceDocument) -> str:
    return str(PurePosixPath(document.file.replace("\\", "/")).parent)
