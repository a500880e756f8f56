"""What all parts of the migrator share: which component became which resource, rows for what every component has."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import attrs

from kastra_core.migration import Draft, Node, Report
from kastra_core.protocols.migrator import MigrationResult, MigrationSource, Outcome
from kastra_plugin_agentspec.components import Component, Library
from kastra_plugin_agentspec.kept import restore
from kastra_plugin_agentspec.ports import Ports
from kastra_plugin_agentspec.vocabulary import VERSION_FIELDS

__all__ = ["Maker", "Rows", "nothing"]

IDS = "the names of the migration say which resource has this id there"
METADATA = "additional data for editors and other tools; nothing runs by it"
VERSION = "says how the file is read; one that is not known is refused"
AS_EXPORTED = "nothing to do: as it was exported"
EMPTY = "says the same as no value"
WHOLE = "the component; its id connects it with others, and what is empty there or says the default adds nothing"


def nothing(node: Node) -> bool:
    """Whether a field is absent, null or empty; one that is there needs no row but that of its component."""
    if node.present and node.value in (None, "", [], {}):
        node.defaulted(EMPTY)
        return True
    return not node.present


@attrs.define
class Made:
    """A resource and the component that it was made of."""

    component: Component
    draft: Draft


class Rows(Report):
    """The report of a migration, which knows what is being made, and asks nobody to do by hand what an export noted."""

    current = ""
    """Label of the resource that is being made."""
    library: Library

    def __init__(self, source: MigrationSource) -> None:
        super().__init__(source)
        self._wholes: dict[tuple[str, int, tuple[str | int, ...]], tuple[Node, str]] = {}
        """Place of a component below the root of its file -> its node, and what it became."""
        self._still: list[tuple[Node, str]] = []
        """Fields that the row of their component speaks for, and the resource that was being made."""

    def whole(self, node: Node, target: str) -> None:
        """Note what a component became. It has a row when something in it needs one."""
        if node.path:
            self._wholes.setdefault((node.document.file, node.document.index, node.path), (node, target))

    def result(self) -> MigrationResult:
        """Close the report."""
        for node, target in self._still:
            self._speak_for(node, target)
        return super().result()

    def _speak_for(self, node: Node, target: str) -> None:
        file, index = node.document.file, node.document.index
        for count in range(len(node.path) - 1, 0, -1):
            held = self._wholes.get((file, index, node.path[:count]))
            if held is not None:
                super().cover(held[0], "mapped", WHOLE, held[1], whole=False)
                self.spoken_for(node)
                return
        super().cover(node, "defaulted", EMPTY, target)

    def cover(self, node: Node, outcome: Outcome, reason: str, target: str, *, whole: bool = True) -> None:
        if reason == EMPTY:
            self._still.append((node, target or self.current))
            return
        if outcome == "manual" and self.library.is_exported(node):
            outcome, reason = "dropped", f"{AS_EXPORTED} ({reason})"
        if outcome == "mapped" and not target:
            outcome, target = ("mapped", self.current) if self.current else ("dropped", "")
        super().cover(node, outcome, reason, target, whole=whole)


class Maker:
    """One migration.

    Args:
        report: of all that is made.
        library: of all that is read.
    """

    def __init__(self, report: Rows, library: Library) -> None:
        self.report, self.library = report, library
        self.ports = Ports(library)
        self.made: list[Made] = []
        self.marked: set[tuple[str, int, tuple[str | int, ...]]] = set()
        """Places of components that have rows."""
        self._by_place: dict[Any, Draft] = {}
        self._by_likeness: dict[tuple[str, ...], Draft] = {}
        self._names: dict[tuple[str, str, str], str] = {}
        self._open: list[Component] = []

    @property
    def failures(self) -> int:
        """How many problems there are so far; those of drafts do not count."""
        files = {file for file, _ in self.library.drafts}
        return sum(problem.file not in files for problem in self.report.problems)

    def forgive(self) -> None:
        """Make rows of the problems of drafts: what is wrong there is left out, and somebody has to look at it."""
        for key in self.library.drafts:
            root = self.library.roots[key]
            wrong = {one.path: one for one in self.report.problems if one.file == root.document.file}
            for node in _all_below(root) if wrong else ():
                problem = wrong.get(node.key)
                if problem is not None:
                    node.manual(f"left out: {problem.message}" + (f"; {problem.hint}" if problem.hint else ""))
            self.report.problems[:] = [one for one in self.report.problems if one.file != root.document.file]

    # ------------------------------------------------------------------------------------------------ resources

    def resource(
        self,
        component: Component,
        kind: str,
        fill: Callable[[Draft], None],
        *,
        variant: str = "",
        name: str = "",
        owner: str = "",
    ) -> Draft:
        """The resource that a component becomes; made when it is asked for first, one for all that say the same.

        Args:
            component: what it is made of.
            kind: of the resource.
            fill: puts the fields in and writes the rows; called once for each place where such a component is written.
            variant: tells resources apart that are made of the same component.
            name: in place of the component's.
            owner: added to the name where another component has it already.
        """
        place = (*component.place, kind, variant)
        if any(one.place == component.place for one in self._open):
            told = " -> ".join([*(one.name for one in self._open), component.name])
            component.node.problem(f"{component} contains itself: {told}")
        if place in self._by_place:
            return self._by_place[place]
        likeness = (kind, variant, name or component.name, self.library.likeness(component))
        twin = self._by_likeness.get(likeness)
        if twin is None:
            draft = self._begin(component, kind, name or component.name, likeness, owner)
        else:
            # Its keys want rows as well; the resource is there.
            draft = Draft({**copy.deepcopy(twin.manifest), "spec": {}})
        self._by_place[place] = twin or draft
        self._by_likeness.setdefault(likeness, draft)
        self._open.append(component)
        before, self.report.current = self.report.current, draft.target()
        fill(draft)
        self.report.current = before
        self._open.pop()
        if not variant:
            draft.manifest = restore(component.kept.get("kept"), draft.manifest)
            if twin is None and component.kept:
                self.made.append(Made(component, draft))
        return twin or draft

    def _begin(self, component: Component, kind: str, name: str, likeness: tuple[str, ...], owner: str) -> Draft:
        kept = component.kept
        given, space = name, ""
        if kept.get("of") and isinstance(kept.get("name"), str) and kept.get("component") == component.name:
            given, space = kept["name"], str(kept.get("namespace") or "")
        scope = ""
        stem = component.node.document.file.rpartition("/")[2].partition(".")[0]
        for scope in ("", owner, stem, component.id, "/".join(likeness)):
            if self._names.setdefault((kind, given, f"{space}/{scope}"), "/".join(likeness)) == "/".join(likeness):
                break
        draft = self.report.draft(kind, given, scope=scope, namespace=space)
        if given is not name and "." in given and draft.name == given.replace(".", "-"):
            draft.manifest["metadata"]["name"] = given
        return draft

    # ------------------------------------------------------------------------------------------------ rows

    def common(self, component: Component, draft: Draft, *, described: bool = True) -> None:
        """Rows for what every component has; the description goes into ``spec.description``."""
        self.marks(component, draft)
        component.node["name"].mapped(draft.target("metadata.name"))
        description = component.node["description"]
        if not nothing(description) and described:
            description.to(draft, "spec.description", description.text())

    def marks(self, component: Component, draft: Draft) -> None:
        """Rows for type, id, metadata, version."""
        node = component.node
        self.marked.add(component.place)
        for field in ("component_type", "type"):
            node[field].mapped(draft, "the type of the component")
        self.report.whole(node, draft.target())
        self._id(component, draft)
        if component.kept:
            node["metadata"].mapped(draft, "what the exporter noted beside the fields")
        elif not nothing(node["metadata"]):
            node["metadata"].dropped(METADATA)
        for field in VERSION_FIELDS:
            if not nothing(node[field]):
                node[field].mapped(draft.target("apiVersion"), VERSION)

    def _id(self, component: Component, draft: Draft) -> None:
        """The id of a whole file is that of its resource in the names of the migration; others connect within it."""
        node = component.node["id"]
        if not node.is_text or not node.value or component.node.path:
            node.defaulted(EMPTY) if node.present else None
            return
        names = self.report.names.changed
        label = f"{draft.kind}/{node.text()} (id)"
        if names.setdefault(label, draft.name) != draft.name:
            names[f"{draft.kind}/{node.text()} (id in {node.document.file})"] = draft.name
        node.mapped(draft.target("metadata.name"), IDS)

    def quiet(self, component: Component, *fields: str, reason: str) -> None:
        """Rows for fields that nothing is made of."""
        for field in fields:
            if not nothing(component.node[field]):
                component.node[field].dropped(reason)

    def refer(self, node: Node, draft: Draft) -> None:
        """The row of a reference: which resource it became."""
        if node.present and not node["component_type"].present:
            node.mapped(draft)


def _all_below(root: Node) -> Iterator[Node]:
    """A node and all below it."""
    todo = [root]
    while todo:
        node = todo.pop()
        yield node
        todo.extend(reversed([child for _, child in node.fields()] or node.items()))
