"""The migrator ``legacy``: the older Kastra formats as resources of today."""

from __future__ import annotations

import copy

from kastra_core.migration import Draft, Node, Report
from kastra_core.protocols.migrator import MigrationResult, MigrationSource, SourceDocument
from kastra_plugin_legacy.agents import migrate_agent
from kastra_plugin_legacy.book import Book, Names
from kastra_plugin_legacy.customs import BUILT_IN, migrate_custom, migrate_definition
from kastra_plugin_legacy.gather import LISTS, Gather
from kastra_plugin_legacy.items import KINDS, Item
from kastra_plugin_legacy.metadata import migrate_frame
from kastra_plugin_legacy.models import migrate_llms, migrate_providers
from kastra_plugin_legacy.networks import migrate_network
from kastra_plugin_legacy.shape import confidence
from kastra_plugin_legacy.tools import migrate_tool

__all__ = ["LegacyMigrator"]

_ORDER = ("CustomResourceDefinition", "Tool", "Agent", "Workflow", "Network", "System")
"""Of resources in the result: what others refer to comes first."""


class LegacyMigrator:
    """Reads root files, MastraPods and resources of older API versions. Two passes: find and name all, then fill."""

    def detect(self, document: SourceDocument) -> float:
        return confidence(document)

    def migrate(self, source: MigrationSource) -> MigrationResult:
        report = Report(source)
        book = Book(report)
        gather = Gather(book)
        for document in source.documents:
            gather.document(document)
        for node in book.provider_nodes:
            migrate_providers(book, node)
        for item in [one for one in book.items if one.system is None]:
            _migrate(book, item)
        migrate_llms(book)
        _tell_includers(book)
        _must_give_something(book)
        report.drafts.sort(key=lambda draft: _ORDER.index(draft.kind) if draft.kind in _ORDER else len(_ORDER))
        return report.result()


def _migrate(book: Book, item: Item) -> None:
    if item.kind == "LLM":
        if item.twin is not None:
            _drop(item.node, f"the same as at {item.twin.place}")
        return
    if item.twin is not None:
        _drop(item.node, f"the same as at {item.twin.place}", _target(item.twin))
        return
    if item.kind == "CustomResourceDefinition" and _is_built_in(item):
        told = f"the kind {item.spec['names']['kind'].text()} is one of Kastra's own and needs no definition"
        _drop(item.node, told)
        return
    if item.system is None:
        draft = book.draft(item.kind, item.name, item.namespace)
    else:
        metadata = {"name": item.name, **({"namespace": item.namespace} if item.namespace else {})}
        draft = Draft({"apiVersion": "mastra.ai/v1", "kind": item.kind, "metadata": metadata, "spec": {}})
    item.draft = draft
    if item.kind not in KINDS and not item.native:
        migrate_custom(book, item, draft)
    migrate_frame(item, draft)
    if item.native:
        draft.manifest["spec"] = copy.deepcopy(item.spec.value)
        item.spec.mapped(draft.target("spec"))
        return
    _fill(book, item, draft)
    if item.inline and item.metadata is None:
        _body_frame(item, draft)


def _drop(node: Node, reason: str, target: str = "") -> None:
    """Rows for the whole of a thing of which nothing is made; a root has no key of its own."""
    for part in [node] if node.path else [one for _, one in node.fields()]:
        part.dropped(reason, target)


def _fill(book: Book, item: Item, draft: Draft) -> None:
    if item.kind == "Agent":
        migrate_agent(book, item, draft)
    elif item.kind == "Tool":
        migrate_tool(book, item, draft)
    elif item.kind == "Network":
        migrate_network(book, item, draft)
    elif item.kind == "Workflow":
        from kastra_plugin_legacy.workflow_spec import migrate_workflow

        migrate_workflow(book.report, item.spec, draft, Names(book, item))
    elif item.kind == "CustomResourceDefinition":
        migrate_definition(item, draft)
    elif item.kind == "System":
        _system(book, item, draft)


def _body_frame(item: Item, draft: Draft) -> None:
    """Rows for what stands around a spec without metadata."""
    if item.name_node is not None and item.name_node:
        reason = "" if item.name == item.source_name else "no valid name, or one that is taken"
        item.name_node.mapped(draft.target("metadata.name"), reason)
    if item.spec.path != item.node.path:
        for key in ("labels", "annotations"):
            for word, part in item.node[key].fields():
                part.to(draft, ("metadata", key, word), part.text())
        if item.node["kind"].present:
            item.node["kind"].dropped("the list says what it holds")


def _system(book: Book, item: Item, draft: Draft) -> None:
    spec = item.spec
    for field, kind in LISTS.items():
        for member in [one for one in book.items if one.system is item and one.kind == kind]:
            _migrate(book, member)
            if member.draft is None:
                continue
            manifest = member.draft.manifest
            entry = {"name": member.name, "spec": manifest["spec"]}
            for key in ("labels", "annotations"):
                if manifest["metadata"].get(key):
                    entry[key] = manifest["metadata"][key]
            draft.spec.setdefault(field, []).append(entry)
    for key in ("description", "name", "id", "version"):
        if spec[key].present:
            spec[key].dropped("a System is named by metadata.name and described by what it holds")
    if not draft.spec:
        book.report.drafts.remove(draft)
        item.draft = None


def _is_built_in(item: Item) -> bool:
    names, group = item.spec["names"]["kind"].value, item.spec["group"].value
    return names in (*BUILT_IN, "CustomResourceDefinition") and group in ("mastra.ai", "mastra", "")


def _target(item: Item) -> str:
    return item.draft.target() if item.draft is not None else ""


def _tell_includers(book: Book) -> None:
    """A problem in a file that nobody gave is also one of the entry that brings the file in."""
    given = {one.file for one in book.report.source.documents}
    for problem in list(book.report.problems):
        node = book.included.get(problem.file)
        seen: set[str] = set()
        while node is not None and node.document.file not in given and node.document.file not in seen:
            seen.add(node.document.file)
            node = book.included.get(node.document.file)
        if problem.file not in given and node is not None:
            node.problem(f"{problem.file}:{problem.line}: {problem.message}", problem.hint)


def _must_give_something(book: Book) -> None:
    """A file that holds nothing but definitions of Kastra's own kinds is no configuration."""
    report = book.report
    if report.problems:
        return
    for document in report.source.documents:
        root = report.read(document)
        mine = [one for one in book.items if one.node.document is document]
        if mine and all(one.kind == "CustomResourceDefinition" and _is_built_in(one) for one in mine):
            kind = mine[0].spec["names"]["kind"]
            if root.path == mine[0].node.path:
                kind.problem(
                    f"the kind {kind.text()!r} is one of Kastra's own and needs no definition",
                    "leave the file out: `kastra explain` shows the kind's fields",
                )
