"""MastraPods: what stands in them, and the files, directories and patterns that they bring in."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kastra_core.errors import ManifestError
from kastra_core.migration import Node
from kastra_plugin_legacy.shape import confidence

if TYPE_CHECKING:
    from kastra_plugin_legacy.gather import Gather

__all__ = ["Pods"]

_FRAME = ("apiVersion", "kind", "metadata", "status", "version")
_SUFFIXES = ("yaml", "yml", "json")
_GROUPS = {"agents": "Agent", "tools": "Tool", "workflows": "Workflow", "networks": "Network"}
_ELSEWHERE = "its resources stand on their own: nothing has to bring them in"


class Pods:
    """Takes pods apart."""

    def __init__(self, gather: Gather) -> None:
        self.gather, self.book = gather, gather.book
        self._open: list[str] = []
        """Files that are being gone through, the outermost first."""

    def pod(self, node: Node) -> None:
        """Take in a MastraPod in any of its forms."""
        for key in _FRAME:
            if node[key].present:
                node[key].dropped("a pod becomes its resources, which stand on their own")
        namespace = self.gather.namespace(node["metadata"]["namespace"].text() if node["metadata"].is_map else "")
        spec = node["spec"]
        if spec and not spec.is_map:
            spec.problem("expected an object")
            return
        self._open.append(node.document.file)
        found = False
        for place in (node, spec):
            for key in (*_GROUPS, "resources", "includes", "include", "providers"):
                found = found or bool(place[key].value)
            self.gather.settings(place)
            for field, kind in _GROUPS.items():
                self.gather.group(place[field], kind, namespace)
            for key in ("resources", "includes", "include"):
                self._entries(place[key])
        self._open.pop()
        if not found:
            node.problem("expected resources, found none", "a pod lists them under resources, or under spec.resources")

    def _entries(self, node: Node) -> None:
        if node.is_list:
            for one in node.items():
                self.entry(one, "", "")
        elif node:
            node.problem("expected a list of resources")

    def entry(self, node: Node, kind: str, namespace: str) -> None:
        """Take in an entry of a list: a resource, or what names files.

        Args:
            kind: of what the list holds; "" for any.
        """
        if node.is_text:
            self.include(node, node.text())
            return
        if not node.is_map:
            node.problem("expected a resource, or an object with file, directory or pattern")
            return
        when = node["when"]
        if when.present:
            when.manual(f"made in any case: leave the resource out where {when.text()} does not hold")
        if node["kind"].is_text and node["kind"].value == "MastraPod":
            self.pod(node)
        elif node["kind"].present:
            self.gather.resource(node, inline=True, namespace=namespace)
        elif node["file"] or node["path"]:
            self._file(node)
        elif node["directory"] or node["dir"]:
            self._directory(node, node.first("directory", "dir"))
        elif node["pattern"]:
            self._pattern(node["pattern"], node["pattern"].text())
        elif node["$ref"]:
            self._reference(node["$ref"])
        elif kind:
            self.gather.body(kind, node, namespace)
        else:
            node.problem("expected kind, file, directory, pattern or $ref")

    def _file(self, node: Node) -> None:
        named = node.first("file", "path")
        path = named.text()
        if node["optional"].present:
            node["optional"].dropped("a file that is not there is no error here")
        if path.endswith("/"):
            self._directory(node, named)
        elif "*" in path:
            self._pattern(named, path)
        else:
            self.include(named, path)

    def _directory(self, node: Node, named: Node) -> None:
        folder = named.text().rstrip("/") or "."
        given = node["pattern"].text()
        if node["pattern"].present:
            node["pattern"].dropped(_ELSEWHERE)
        patterns = _braces(given) if given else [f"*.{suffix}" for suffix in _SUFFIXES]
        self._find(named, [f"{folder}/{pattern}" for pattern in patterns])

    def _pattern(self, named: Node, pattern: str) -> None:
        self._find(named, _braces(pattern))

    def _find(self, node: Node, patterns: list[str]) -> None:
        found: list[str] = []
        try:
            for pattern in patterns:
                found += self.book.report.source.find(_plain(pattern), node.document)
        except (ManifestError, ValueError, OSError) as error:
            node.manual(f"cannot be looked up: {_told(error)}")
            return
        if not found:
            node.manual("no file is found there: migrate its files when you have them")
            return
        for path in sorted(set(found)):
            self.include(node, path)

    def _reference(self, node: Node) -> None:
        target = self.book.parse(node.value, "")
        if target is None or not target[0]:
            node.problem("expected Kind/name")
        else:
            node.dropped("the resource stands where it is described: nothing has to bring it in")

    def include(self, node: Node, path: str) -> None:
        """Take in the documents of a file that ``node`` names."""
        try:
            documents = self.book.report.source.read(_plain(path), node.document)
        except ManifestError as error:
            node.manual(f"cannot be brought in: {_told(error)}")
            return
        if not documents:
            node.dropped("the file is empty")
            return
        file = documents[0].file
        if file in self._open or file == node.document.file:
            node.dropped(f"a circle: {file} is being read already; its resources are there once")
            return
        known = [one for one in documents if confidence(one) > 0]
        if len(known) < len(documents):
            node.manual(f"{file} is of another format: migrate it by itself")
        else:
            node.dropped(_ELSEWHERE)
        self.book.included.setdefault(file, node)
        self._open.append(file)
        for one in known:
            self.gather.document(one)
        self._open.pop()


def _plain(path: str) -> str:
    return re.sub(r"^(\./)+", "", path)


def _told(error: Exception) -> str:
    if isinstance(error, ManifestError) and error.problems:
        first = error.problems[0]
        return f"{first.message}; {first.hint}" if first.hint else first.message
    return str(error)


def _braces(pattern: str) -> list[str]:
    """Patterns without ``{a,b}``.

    >>> _braces("*.{yaml,yml}")
    ['*.yaml', '*.yml']
    """
    found = re.search(r"\{([^{}]*)\}", pattern)
    if not found:
        return [pattern]
    return [
        one
        for word in found[1].split(",")
        for one in _braces(pattern[: found.start()] + word.strip() + pattern[found.end() :])
    ]
