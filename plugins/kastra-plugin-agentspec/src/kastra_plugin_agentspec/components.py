"""Components with their types, and references between them: within a file, to other files of the same migration."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import orjson

from kastra_core.errors import ManifestError
from kastra_core.migration import Node, Report
from kastra_core.protocols.migrator import SourceDocument
from kastra_core.serde import type_word
from kastra_plugin_agentspec.vocabulary import VERSION_FIELDS, VERSIONS, canonical_type, spellings

__all__ = ["DEFINED", "REF", "Component", "Library", "reference_in"]

REF = "$component_ref"
DEFINED = "$referenced_components"
_OLD_REF = "$ref"
_SIBLINGS = ("*.yaml", "*.yml", "*.json")


@attrs.frozen(eq=False)
class Component:
    """A component where it is written; of one that is nowhere the reference, with type "" and the id as name."""

    node: Node
    type: str
    """Present name of its type; "" when it is missing."""
    id: str
    name: str
    missing: bool = False

    @property
    def place(self) -> tuple[str, int, tuple[str | int, ...]]:
        """Unique for each component that is written."""
        return (self.node.document.file, self.node.document.index, self.node.path)

    def field(self, name: str) -> Node:
        """A field, under an earlier spelling of it where it has that."""
        return self.node.first(*spellings(name)) if not self.node[name].present else self.node[name]

    @property
    def kept(self) -> Mapping[str, Any]:
        """What an export of Kastra noted in the metadata."""
        held = self.node["metadata"]["kastra"].value
        return held if isinstance(held, Mapping) else {}

    def __str__(self) -> str:
        return f"{self.type} {self.name!r}"


def reference_in(value: Any) -> str | None:
    """The id that a value refers to, None when it is no reference. Drafts put references into lists of one."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], Mapping) and _OLD_REF in value[0]:
        value = value[0]
    if isinstance(value, Mapping) and "component_type" not in value:
        found = value.get(REF, value.get(_OLD_REF))
        return found if isinstance(found, str) else None
    return None


class Library:
    """All components of a migration.

    Args:
        report: told of what is read, and of problems.
    """

    def __init__(self, report: Report) -> None:
        self.report = report
        self.roots: dict[tuple[str, int], Node] = {}
        self._defined: dict[tuple[str, int], dict[str, Node]] = {}
        """Document -> id -> component, of ``$referenced_components`` at any depth."""
        self._inline: dict[tuple[str, int], dict[str, Node]] = {}
        """The same of components that are written where they are used."""
        self._looked: set[str] = set()
        self._exported: dict[tuple[str, int], list[str]] = {}
        """Document -> ids of the components that an export wrote for resources."""
        self._hashes: dict[tuple[str, int, tuple[str | int, ...]], str] = {}
        self._open: set[tuple[str, int, tuple[str | int, ...]]] = set()
        self.drafts: set[tuple[str, int]] = set()
        """Documents in the spelling of a draft of the format (type, $ref): outlines, in which parts may be left out."""
        self.used: set[tuple[str, int, tuple[str | int, ...]]] = set()
        """Places of components that something refers to or holds."""

    def add(self, document: SourceDocument) -> Node:
        """Read a document and note its components. Tells problems: ids twice, versions that nobody knows."""
        key = (document.file, document.index)
        root = self.report.read(document)
        if key in self.roots:
            return root
        self.roots[key] = root
        self._defined[key], self._inline[key] = {}, {}
        owners = [item for _, item in root[DEFINED].fields() if item["metadata"]["kastra"]["of"].is_text]
        self._exported[key] = [item["id"].text() for item in owners if item["id"].is_text]
        for node in _below(root):
            self._version(node)
            for name, item in node[DEFINED].fields():
                before = self._defined[key].setdefault(name, item)
                if before is not item:
                    item.problem(
                        f"the id {name!r} is defined twice: in line {before.line} too",
                        "an id stands for one component of the whole file",
                    )
            given = node["id"].value
            if isinstance(given, str) and any(node[one].present for one in spellings("component_type")):
                self._inline[key].setdefault(given, node)
            if isinstance(node[_OLD_REF].value, str) and len(node.mapping()) == 1 and "properties" not in node.path:
                self.drafts.add(key)
        return root

    def _version(self, node: Node) -> None:
        for field in (node[name] for name in VERSION_FIELDS):
            if field and field.text() not in VERSIONS:
                known = ", ".join(VERSIONS[1:])
                field.problem(f"Agent Spec {field.text()!r} is not a version that can be read", f"these can: {known}")

    # ------------------------------------------------------------------------------------------------ finding

    def component(self, node: Node, expected: str = "component", default_type: str = "") -> Component | None:
        """The component that stands at a node or that the node refers to; None, with a problem, when it is neither.

        Args:
            expected: what should stand there, for the problem.
            default_type: type of an object that names none.
        """
        seen: list[str] = []
        start = node
        while (wanted := self._reference(node)) is not None:
            if not any(char.isalnum() for char in wanted):
                start.problem(f"refers to nothing: {wanted!r}")
                return None
            if wanted in seen:
                start.problem(f"refers to itself: {' -> '.join([*seen, wanted])}")
                return None
            seen.append(wanted)
            found = self._find(wanted, node.document)
            if found is None:
                return Component(node=start, type="", id=wanted, name=wanted, missing=True)
            node = found
        if not node.is_map:
            start.problem(f"expected a {expected}, found {type_word(node.value)}")
            return None
        kind = next((node[one] for one in spellings("component_type") if node[one].is_text), node["component_type"])
        if not kind.is_text and not default_type:
            hint = "write component_type, and $component_ref for a reference"
            node.problem(f"expected a {expected} with component_type, found an object without it", hint)
            return None
        self.used.add((node.document.file, node.document.index, node.path))
        name, given = node["name"].value, node["id"].value
        if name is not None and not isinstance(name, str):
            node["name"].problem(f"expected a string, found {type_word(name)}")
        given = given if isinstance(given, str) else node.name
        shown = name if isinstance(name, str) and name else given or default_type or "component"
        out = Component(node=node, type=canonical_type(kind.text()) or default_type, id=given, name=shown)
        return attrs.evolve(out, missing=True) if self._is_outline(out) else out

    def _reference(self, node: Node) -> str | None:
        wanted = reference_in(node.value)
        key = (node.document.file, node.document.index)
        if wanted is None and node.is_text and key in self.drafts and node.text() in self._defined[key]:
            return node.text()
        return wanted

    def _is_outline(self, component: Component) -> bool:
        """Whether a draft names a flow and leaves out what it consists of."""
        node = component.node
        lacks = not all(node[field] for field in ("start_node", "nodes", "control_flow_connections"))
        return component.type == "Flow" and lacks and (node.document.file, node.document.index) in self.drafts

    def _find(self, wanted: str, document: SourceDocument) -> Node | None:
        key = (document.file, document.index)
        own = self._defined[key].get(wanted) or self._inline[key].get(wanted)
        if own is not None:
            return own
        found = self._elsewhere(wanted, key)
        if found is None and document.file not in self._looked:
            self._looked.add(document.file)
            self._look_around(wanted, document)
            found = self._elsewhere(wanted, key)
        return found

    def _elsewhere(self, wanted: str, own: tuple[str, int]) -> Node | None:
        """In another file: among what it defines, else the whole component that it is."""
        others = [key for key in self.roots if key != own]
        others.sort(key=lambda key: (_folder(key[0]) != _folder(own[0]), _suffix(key[0]) != _suffix(own[0])))
        for held in (self._defined, self._inline):
            for key in others:
                if wanted in held[key]:
                    return held[key][wanted]
        return None

    def _look_around(self, wanted: str, document: SourceDocument) -> None:
        """Read files beside a document that define what it refers to."""
        source = self.report.source
        same = f"*{_suffix(document.file)}"
        for pattern in dict.fromkeys((same, *_SIBLINGS)):
            for path in source.find(pattern, document):
                try:
                    documents = source.read(path, document)
                except ManifestError:
                    continue
                for one in documents:
                    if (one.file, one.index) not in self.roots and _defines(one.data, wanted):
                        self.add(one)
                        return

    def is_exported(self, node: Node) -> bool:
        """Whether the innermost component around a node is one of those that an export wrote for a resource."""
        key = (node.document.file, node.document.index)
        if not self._exported.get(key):
            return False
        innermost: Any = None
        place = self.roots[key]
        for part in (*node.path, None):
            if place.is_map and place["component_type"].present:
                innermost = place["id"].value
            if part is not None:
                place = place[part]
        owners = self._exported[key]
        return isinstance(innermost, str) and any(innermost == one or innermost.startswith(f"{one}/") for one in owners)

    # ------------------------------------------------------------------------------------------------ circles

    def check_circles(self) -> None:
        """Tell a problem for each component that contains itself. Edges only name nodes, they contain nothing."""
        done: set[tuple[str, int, tuple[str | int, ...]]] = set()
        for root in list(self.roots.values()):
            for node in _below(root):
                wanted = reference_in(node.value)
                if wanted is not None:
                    self._follow(node, [], done)

    def _follow(self, node: Node, way: list[Node], done: set[tuple[str, int, tuple[str | int, ...]]]) -> None:
        wanted = reference_in(node.value)
        found = self._known(wanted, node.document) if wanted is not None else node
        if found is None:
            return
        place = (found.document.file, found.document.index, found.path)
        if any(one.document is found.document and one.path == found.path for one in way):
            names = [str(one["name"].value or one["id"].value or one.name) for one in (*way, found)]
            node.problem(f"the component {names[-1]!r} contains itself: {' -> '.join(names)}")
            return
        if place in done:
            return
        for inner in _below(found):
            if inner.path != found.path and reference_in(inner.value) is not None:
                self._follow(inner, [*way, found], done)
        done.add(place)

    def _known(self, wanted: str, document: SourceDocument) -> Node | None:
        key = (document.file, document.index)
        return self._defined[key].get(wanted) or self._inline[key].get(wanted) or self._elsewhere(wanted, key)

    # ------------------------------------------------------------------------------------------------ likeness

    def likeness(self, component: Component) -> str:
        """A digest of what a component says, whatever its ids and wherever it stands."""
        held = self._hashes.get(component.place)
        if held is not None:
            return held
        if component.missing or component.place in self._open:
            return f"missing:{component.id}"
        self._open.add(component.place)
        plain = self._plain(component.node, top=True)
        self._open.discard(component.place)
        out = hashlib.sha256(orjson.dumps(plain, option=orjson.OPT_SORT_KEYS)).hexdigest()
        self._hashes[component.place] = out
        return out

    def _plain(self, node: Node, *, top: bool = False) -> Any:
        wanted = reference_in(node.value)
        if wanted is not None:
            found = self._find(wanted, node.document)
            return f"missing:{wanted}" if found is None else self._digest(found)
        if node.is_map:
            if not top and node["component_type"].is_text:
                return self._digest(node)
            out = {
                key: self._plain(item) for key, item in node.fields() if not (top and _says_nothing(key, item.value))
            }
            if top and "metadata" in out:
                out["metadata"] = self._plain(node["metadata"]["kastra"])
            return out
        return [self._plain(item) for item in node.items()] if node.is_list else node.value

    def _digest(self, node: Node) -> str:
        return self.likeness(Component(node=node, type="", id="", name=""))


def _below(root: Node) -> Iterator[Node]:
    """Every object of a document, the root first."""
    todo = [root]
    while todo:
        node = todo.pop()
        if node.is_map:
            yield node
        todo.extend(reversed([child for _, child in node.fields()] or node.items()))


def _says_nothing(key: str, value: Any) -> bool:
    """Whether a field of a component makes no difference between it and another one."""
    if key in ("id", DEFINED, *VERSION_FIELDS) or value in (None, {}, []):
        return True
    return key == "requires_confirmation" and value is False


def _defines(data: Any, wanted: str) -> bool:
    """Whether a file that is not part of the migration holds a component of this id."""
    if not isinstance(data, Mapping):
        return False
    defined = data.get(DEFINED)
    inside = isinstance(defined, Mapping) and wanted in defined
    return inside or (data.get("id") == wanted and isinstance(data.get("component_type"), str))


def _folder(file: str) -> str:
    return file.rpartition("/")[0]


def _suffix(file: str) -> str:
    return f".{file.rpartition('.')[2]}"
