"""The Kubernetes objects of a migration: where each stands, and which one a reference means."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import attrs

from kastra_core.errors import ManifestError
from kastra_core.migration import Node, Report
from kastra_core.protocols.migrator import MigrationSource, SourceDocument

__all__ = ["AGENT_GROUPS", "Thing", "Things", "group_of", "objects_of", "text_at"]

AGENT_GROUPS = ("kagent.dev", "ark.mckinsey.com", "kaos.tools")
"""API groups that the migrators of this plugin read; each leaves those of the others alone."""
_AROUND = ("*.y*ml", "*/*.y*ml", "../*.y*ml", "../*/*.y*ml", "*.json")
"""Where an object that was not given may stand, the nearest first."""


def text_at(data: Any, *keys: str) -> str:
    """The text below some keys; "" where there is none.

    >>> text_at({"metadata": {"name": "a"}}, "metadata", "name")
    'a'
    """
    for key in keys:
        data = data.get(key) if isinstance(data, Mapping) else None
    return data if isinstance(data, str) else ""


def group_of(data: Any) -> str:
    """API group of an object; "" for the core group and for what is no object.

    >>> group_of({"apiVersion": "kagent.dev/v1alpha2"}), group_of({"apiVersion": "v1"})
    ('kagent.dev', '')
    """
    return text_at(data, "apiVersion").rpartition("/")[0]


def objects_of(data: Any) -> list[tuple[tuple[str | int, ...], Any]]:
    """The objects that a document holds, with their paths: itself, the items of a List, the objects of a test input."""
    if isinstance(data, Mapping):
        for key, holds in (("objects", "kind" not in data), ("items", data.get("kind") == "List")):
            if holds and isinstance(data.get(key), list):
                return [((key, at), item) for at, item in enumerate(data[key])]
    return [((), data)]


@attrs.define(eq=False)
class Thing:
    """One object."""

    node: Node
    group: str
    version: str
    kind: str
    name: str
    namespace: str
    """"" when the object does not say."""
    scope: tuple[str, ...]
    """Directories, file, and the document where that is a world of its own."""
    labels: Mapping[str, str] = attrs.field(factory=dict)
    users: list[str] = attrs.field(factory=list)
    """Targets of rows of what refers to it."""

    @property
    def document(self) -> SourceDocument:
        return self.node.document

    @property
    def place(self) -> str:
        """``file:line``"""
        return f"{self.document.file}:{self.node.line}"

    @property
    def shown(self) -> str:
        """How reasons name it: "ModelConfig kagent/small"."""
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


class Things:
    """All objects, in the order of their documents.

    Args:
        report: takes their rows.
        groups: API groups that the migrator reads.
        tests: API group of tests, whose own rows the migrator writes.
        unwrap: gives the paths of further objects in a document (of tests); none for other documents.
    """

    def __init__(
        self,
        report: Report,
        groups: tuple[str, ...],
        unwrap: Callable[[Any], list[tuple[tuple[str | int, ...], Any]]] | None = None,
        tests: str = "",
    ) -> None:
        self.report, self.groups, self._unwrap, self._tests = report, groups, unwrap, tests
        self.all: list[Thing] = []
        self._seen: set[tuple[str, int]] = set()
        self._looked: dict[tuple[str, str], list[SourceDocument]] = {}

    # ------------------------------------------------------------------------------------------------ gathering

    def gather(self, source: MigrationSource) -> None:
        """Take the documents of the source, and what stands in the same files."""
        for document in source.documents:
            for one in self._file_of(source, document):
                self._take(one)

    def _file_of(self, source: MigrationSource, document: SourceDocument) -> Iterable[SourceDocument]:
        try:
            documents = source.read(posixpath.basename(document.file), document)
        except ManifestError:
            return (document,)
        return documents if any(one == document for one in documents) else (document,)

    def _take(self, document: SourceDocument) -> None:
        key = (document.file, document.index)
        if key in self._seen:
            return
        self._seen.add(key)
        data = document.data
        if group_of(data) in AGENT_GROUPS and group_of(data) not in self.groups:
            return  # another migrator's
        if not isinstance(data, (Mapping, list)) or not data:
            return  # a text without keys
        root = self.report.read(document)
        found = objects_of(data) + (self._unwrap(data) if self._unwrap is not None else [])
        for path, item in found:
            node = root
            for part in path:
                node = node[part]
            self.all.append(self._thing(node, item, path))

    def _thing(self, node: Node, data: Any, path: tuple[str | int, ...]) -> Thing:
        document = node.document
        inner = (f"#{document.index}",) if path else ()
        group, _, version = text_at(data, "apiVersion").rpartition("/")
        labels = data.get("metadata", {}).get("labels") if isinstance(text_map(data, "metadata"), Mapping) else None
        return Thing(
            node=node,
            group=group,
            version=version,
            kind=text_at(data, "kind"),
            name=text_at(data, "metadata", "name") or text_at(data, "metadata", "generateName").rstrip("-"),
            namespace=text_at(data, "metadata", "namespace"),
            scope=(*document.file.split("/"), *inner),
            labels={key: str(value) for key, value in labels.items()} if isinstance(labels, Mapping) else {},
        )

    # ------------------------------------------------------------------------------------------------ looking

    def own(self, *kinds: str) -> Iterator[Thing]:
        """Objects of the migrator's groups, of some kinds or of all."""
        for thing in list(self.all):
            if thing.group in self.groups and (not kinds or thing.kind in kinds):
                yield thing

    def aside(self) -> Iterator[Thing]:
        """All others: what Kubernetes itself and further operators bring."""
        others = [thing for thing in self.all if thing.group not in self.groups]
        return iter([thing for thing in others if not (self._tests and thing.group == self._tests)])

    def find(
        self, kinds: tuple[str, ...], name: str, namespace: str, near: Thing, *, core: bool = False
    ) -> Thing | None:
        """The object that a reference means: of several that fit, the one that stands nearest.

        Args:
            kinds: those that it may be of.
            namespace: of the referring object, or the one that it names; objects that name none fit any.
            near: who refers to it.
            core: look among the objects of Kubernetes itself.
        """
        fit = [
            thing
            for thing in self.all
            if thing.kind in kinds
            and thing.name == name
            and (thing.group not in self.groups if core else thing.group in self.groups)
        ]
        exact = [thing for thing in fit if thing.namespace == namespace]
        loose = [thing for thing in fit if not (thing.namespace and namespace)]
        return max(exact or loose, key=lambda thing: _shared(thing.scope, near.scope), default=None)

    def find_core(self, kind: str, name: str, namespace: str, near: Thing) -> Thing | None:
        """A ConfigMap, Secret or Service; one that was not given is looked for in the files around."""
        found = self.find((kind,), name, namespace, near, core=True)
        if found is not None or not name:
            return found
        for document in self._around(near.document):
            for _, data in objects_of(document.data):
                theirs = text_at(data, "metadata", "namespace")
                fits = text_at(data, "kind") == kind and text_at(data, "metadata", "name") == name
                if fits and not group_of(data) and (theirs == namespace or not (theirs and namespace)):
                    for one in self._file_of(self.report.source, document):
                        if not any(group_of(item) in AGENT_GROUPS for _, item in objects_of(one.data)):
                            self._take(one)
                    return self.find((kind,), name, namespace, near, core=True)
        return None

    def _around(self, document: SourceDocument) -> Iterator[SourceDocument]:
        source = self.report.source
        for pattern in _AROUND:
            key = (posixpath.dirname(document.file), pattern)
            if key not in self._looked:
                self._looked[key] = self._read_all(source, pattern, document)
            yield from self._looked[key]

    def _read_all(self, source: MigrationSource, pattern: str, document: SourceDocument) -> list[SourceDocument]:
        out: list[SourceDocument] = []
        for path in source.find(pattern, document):
            try:
                out.extend(source.read(path, document))
            except ManifestError:
                continue  # whatever is broken there is not what is looked for
        return out


def text_map(data: Any, key: str) -> Any:
    return data.get(key) if isinstance(data, Mapping) else None


def _shared(left: tuple[str, ...], right: tuple[str, ...]) -> int:
    """How many steps two places have in common."""
    count = 0
    for one, other in zip(left, right, strict=False):
        if one != other:
            break
        count += 1
    return count
