"""All items of one migration by name, and what their references mean."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, cast

from kastra_core.api.references import parse_reference
from kastra_core.errors import InvalidReferenceError
from kastra_core.metadata import is_name
from kastra_core.migration import Draft, Node, Report, dns_name, identifier
from kastra_plugin_legacy.items import RUNNABLE, Item, is_kind_spelling, kind_of_spelling, same_content
from kastra_plugin_legacy.lookup import Found, RunnableKind

__all__ = ["Book", "Names", "Target", "fill_stub"]

Target = tuple[str, str, str, str]
"""What a reference names: kind, namespace ("" when it says none), name, function ("")."""


class Book:
    """Knows every item and gives each resource its name."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.items: list[Item] = []
        self.by_place: dict[tuple[str, int, tuple[str | int, ...]], Item] = {}
        """By file, document and path."""
        self.provider_nodes: list[Node] = []
        """``providers`` of pods and root files."""
        self.included: dict[str, Node] = {}
        """File that a pod brings in -> the entry that names it."""
        self.providers: dict[str, str] = {}
        """Name of a provider in the source -> its name here."""
        self.default_models: dict[str, str] = {}
        """Name of a provider in the source -> the model that it says is usual."""
        self._named: dict[tuple[str, str, str], Item] = {}
        """By kind, namespace and source name: the first of them."""
        self._taken: set[tuple[str, str, str]] = set()
        self.stubs: dict[tuple[str, str, str, str], tuple[Found, Draft]] = {}
        """By namespace, name, what stood there and schema: tools that somebody has to write."""
        self.functions: dict[str, Draft] = {}
        """Name of a function to write -> the Tool that calls it."""
        self._by_name: dict[tuple[str, str, str], list[Item]] = {}
        self._by_alias: dict[tuple[str, str, str], list[Item]] = {}
        self._anywhere: dict[tuple[str, str], list[Item]] = {}

    def add(self, item: Item, beside: str = "") -> None:
        """Take an item in and give it a name; one that says what another says already becomes its twin.

        Args:
            beside: a word that tells it from another of the same name; default: the file's name.
        """
        self.by_place[item.file, item.node.document.index, item.node.path] = item
        key = (item.kind, item.effective_namespace, item.source_name)
        first = self._named.setdefault(key, item)
        self.items.append(item)
        if first is not item and same_content(first, item):
            item.twin = first
            item.name = first.name
            return
        space = item.effective_namespace
        self._by_name.setdefault((item.kind, space, item.source_name), []).append(item)
        self._anywhere.setdefault((item.kind, item.source_name), []).append(item)
        for alias in item.aliases:
            self._by_alias.setdefault((item.kind, space, alias), []).append(item)
        word = (beside or PurePosixPath(item.file).stem) if first is not item else ""
        item.name = self.name_for(item.kind, item.source_name, item.effective_namespace, word)

    def name_for(self, kind: str, source: str, namespace: str, beside: str = "") -> str:
        """Return a free name for a resource: the source's own when it is valid and free.

        Args:
            beside: a word that tells it from another of the same source name.
        """
        if not beside and is_name(source) and "." in source and (kind, namespace, source) not in self._taken:
            self._taken.add((kind, namespace, source))
            return source
        scope, number = beside or namespace, 1
        while True:
            name = self.report.names.give(kind, source, scope=scope, namespace=namespace)
            if (kind, namespace, name) not in self._taken:
                self._taken.add((kind, namespace, name))
                return name
            number += 1
            scope = f"{beside or namespace}-{number}"

    def draft(self, kind: str, name: str, namespace: str) -> Draft:
        """Begin a resource whose name was given by :meth:`name_for`."""
        metadata: dict[str, Any] = {"name": name}
        if namespace:
            metadata["namespace"] = namespace
        draft = Draft({"apiVersion": "mastra.ai/v1", "kind": kind, "metadata": metadata, "spec": {}})
        self.report.drafts.append(draft)
        return draft

    def parse(self, reference: object, kind: str) -> Target | None:
        """Read a reference; None when it is none."""
        if isinstance(reference, Mapping):
            return self._parse_object(reference, kind)
        if not isinstance(reference, str):
            return None
        text = reference.strip()
        if not text or "\n" in text or text.startswith((".", "/")) or text.endswith((".js", ".ts", ".cjs", ".mjs")):
            return None
        parts = text.split("/")
        if not all(parts) or len(parts) > 3:
            return None
        if len(parts) == 3:
            return kind_of_spelling(parts[0]) or kind, parts[1], parts[2], ""
        if len(parts) == 2:
            spelled = kind_of_spelling(parts[0])
            return (spelled, "", parts[1], "") if spelled else (kind, parts[0], parts[1], "")
        return kind, "", text, ""

    def _parse_object(self, value: Mapping[str, Any], kind: str) -> Target | None:
        function = value.get("function")
        named = kind_of_spelling(str(value.get("kind") or "")) or kind
        for key in ("$ref", "ref", "refName", "name", "id"):
            text = value.get(key)
            if isinstance(text, str) and text.strip():
                found = self.parse(text, named)
                if found is None:
                    return None
                space = value.get("namespace")
                given = space if isinstance(space, str) and not found[1] else found[1]
                return found[0], given, found[2], function if isinstance(function, str) else ""
        return None

    def resolve(self, target: Target, item: Item) -> tuple[Item | None, str, str]:
        """Return (item that is meant, namespace, name) for a target that ``item`` names."""
        kind, namespace, name, _ = target
        own = item.effective_namespace
        tries = [(namespace or own, name)]
        before, dot, after = name.partition(".")
        if dot and before and after and not namespace:
            tries.append((before, after))
        if not namespace and own != "default":
            tries.append(("default", name))
        for space, word in tries:
            found = self._find(kind, space, word, item)
            if found is not None:
                return found, found.effective_namespace, found.name
        if not namespace:
            anywhere = self._anywhere.get((kind, name), [])
            if len(anywhere) == 1:
                return anywhere[0], anywhere[0].effective_namespace, anywhere[0].name
        space, word = tries[1] if dot and before and after and not namespace else tries[0]
        return (
            None,
            space if is_name(space) else dns_name(space, "namespace"),
            word if is_name(word) else dns_name(word),
        )

    def _find(self, kind: str, namespace: str, name: str, item: Item) -> Item | None:
        named = self._by_name.get((kind, namespace, name))
        if named:
            return next((one for one in named if one.file == item.file), named[0])
        by_alias = self._by_alias.get((kind, namespace, name), [])
        own = [one for one in by_alias if one.file == item.file]
        return (own or by_alias)[0] if len(own or by_alias) == 1 else None

    def is_taken(self, kind: str, namespace: str, name: str) -> bool:
        """Whether a resource of this name is made already."""
        return (kind, namespace, name) in self._taken


class Names:
    """:class:`~kastra_plugin_legacy.lookup.Lookup` for one item."""

    def __init__(self, book: Book, item: Item) -> None:
        self.book, self.item = book, item

    def find(self, kind: RunnableKind, reference: object) -> Found | None:
        target = self.book.parse(reference, kind)
        if target is None or target[0] not in RUNNABLE:
            return None
        found, namespace, name = self.book.resolve(target, self.item)
        note = ""
        function = target[3]
        schema = found.schema if found is not None else None
        exists = found is not None
        if found is not None and function and found.functions:
            exists = function in found.functions
            name = found.functions.get(function, name)
            schema = None
            note = f"function {function!r} is the Tool {name}" if exists else f"there is no function {function!r}"
        elif found is not None and found.name != found.source_name:
            note = f"{found.source_name!r} is named {name}"
        elif found is None:
            note = f"no {target[0]} of this name is migrated here: it waits until there is one"
        real = cast("RunnableKind", target[0])
        text = self._text(kind, real, namespace, name, reference)
        return Found(kind=real, name=name, namespace=namespace, reference=text, exists=exists, schema=schema, note=note)

    def _text(self, wanted: str, kind: str, namespace: str, name: str, reference: object) -> str:
        own = self.item.effective_namespace
        if isinstance(reference, str):
            try:
                plain = parse_reference(reference, kind=wanted, namespace=own, lookup=_kinds)
            except InvalidReferenceError:
                plain = None
            if plain is not None and (plain.kind, plain.namespace, plain.name) == (kind, namespace, name):
                return reference.strip()
        plural = f"{kind.lower()}s"
        if namespace == own:
            return name if kind == wanted and "." not in name else f"{plural}/{name}"
        if kind == wanted and not is_kind_spelling(namespace):
            return f"{namespace}/{name}"
        return f"{plural}/{namespace}/{name}"

    def tool_stub(
        self,
        name: str,
        node: Node,
        *,
        what: str,
        description: str = "",
        schema: Mapping[str, Any] | None = None,
    ) -> Found:
        book, own = self.book, self.item.effective_namespace
        key = (own, name, what, repr(schema))
        new = key not in book.stubs
        if new:
            beside = self.item.name if book.is_taken("Tool", own, dns_name(name, "Tool")) else ""
            tool = book.name_for("Tool", name, own, beside)
            draft = book.draft("Tool", tool, self.item.namespace)
            origin = f"{PurePosixPath(node.document.file).name}:{node.line}, {what}"
            fill_stub(book, draft, name, schema=schema, description=description, origin=origin)
            found = Found(
                kind="Tool",
                name=tool,
                namespace=own,
                reference=tool if "." not in tool else f"tools/{tool}",
                exists=True,
                schema=schema,
                note=f"{name!r} is named {tool}" if tool != name else "",
            )
            book.stubs[key] = (found, draft)
        found, draft = book.stubs[key]
        function = draft.spec["python"]["function"]
        if new or not node:
            node.manual(f"{what}: write the Python function {function}, which the Tool {found.name} calls", draft)
        else:
            node.mapped(draft, f"the Tool {found.name}; another row tells to write its function")
        return found


def fill_stub(
    book: Book,
    draft: Draft,
    name: str,
    *,
    schema: Mapping[str, Any] | None,
    description: str,
    origin: str,
) -> str:
    """Make a draft a Tool of type python whose function is offered as a stub; return ``module:function``.

    Two tools never share a function, whatever their names.
    """
    spec = draft.spec
    spec["type"] = "python"
    if description:
        spec.setdefault("description", description)
    if schema is not None:
        spec.setdefault("inputSchema", dict(schema))
    word = identifier(name, "tool")
    for other in (identifier(f"{draft.name} {name}"), *(f"{word}_{number}" for number in range(2, 10_000))):
        if book.functions.setdefault(word, draft) is draft:
            break
        word = other
    function = book.report.stubs.add(word, schema=schema, description=description, origin=origin)
    spec["python"] = {"function": function}
    return function


def _kinds(spelling: str) -> tuple[str, str] | None:
    kind = kind_of_spelling(spelling)
    return ("mastra.ai", kind) if kind in RUNNABLE else None
