"""First pass: finds every thing that becomes a resource or a setting, wherever it stands, and names it."""

from __future__ import annotations

from kastra_core.errors import nearest
from kastra_core.migration import Node, dns_name
from kastra_core.protocols.migrator import SourceDocument
from kastra_plugin_legacy.book import Book
from kastra_plugin_legacy.customs import BUILT_IN
from kastra_plugin_legacy.items import KINDS, Item
from kastra_plugin_legacy.metadata import valid_namespace
from kastra_plugin_legacy.models import note_providers
from kastra_plugin_legacy.native import is_native
from kastra_plugin_legacy.networks import is_inline_member
from kastra_plugin_legacy.pods import Pods
from kastra_plugin_legacy.shape import is_root, is_run_input, is_settings
from kastra_plugin_legacy.tools import note_tool

__all__ = ["LISTS", "Gather"]

LISTS = {"agents": "Agent", "tools": "Tool", "workflows": "Workflow", "networks": "Network"}
"""Lists and maps of root files, pods and Systems -> kind of what they hold."""


class Gather:
    """Goes through documents; each is gone through once."""

    def __init__(self, book: Book) -> None:
        self.book, self.report = book, book.report
        self.seen: set[tuple[str, int]] = set()
        self.pods = Pods(self)

    def document(self, document: SourceDocument) -> None:
        """Find what a document holds."""
        key = (document.file, document.index)
        if key in self.seen:
            return
        self.seen.add(key)
        self.value(self.report.read(document))

    def value(self, node: Node) -> None:
        """Find what a whole document, or an item of a list of resources, holds."""
        data = node.value
        if node.is_list and node.value:
            for one in node.items():
                self.value(one)
        elif not node.is_map:
            node.problem("expected a resource, a MastraPod or a root file", "this is no configuration")
        elif data.get("kind") == "List" and node["items"].is_list:
            for key in ("apiVersion", "kind", "metadata"):
                if node[key].present:
                    node[key].dropped("a list becomes its items")
            self.value(node["items"])
        elif data.get("kind") == "MastraPod":
            self.pods.pod(node)
        elif node["kind"].present or node["apiVersion"].present:
            self.resource(node)
        elif is_root(data):
            self.root(node)
        elif is_settings(data):
            node.problem(
                "these are settings of the older command line, not resources",
                "set them with `kastra config set`: providers.NAME.apiKey, store",
            )
        elif is_run_input(node.document):
            node.problem("this is the input of a run, not configuration", "give it to `kastra run` as its input")
        else:
            node.problem("expected a resource, a MastraPod or a root file", "a resource has kind, metadata and spec")

    # ---------------------------------------------------------------------------------------------- resources

    def resource(self, node: Node, *, inline: bool = False, namespace: str = "") -> Item | None:
        """Take in an object with kind, metadata and spec."""
        kind_node = node["kind"]
        kind = kind_node.value
        if not isinstance(kind, str) or not kind:
            near = "write one of " + ", ".join(KINDS)
            kind_node.problem("expected a kind, found none" if not kind_node else "expected a string", near)
            return None
        metadata, spec = node["metadata"], node["spec"]
        if metadata and not metadata.is_map:
            metadata.problem("expected an object with a name")
            return None
        name_node = metadata["name"] if metadata["name"] else node["name"]
        name = name_node.text()
        if not name:
            metadata["name"].problem("expected a name, found none")
            return None
        if kind in KINDS and not spec.is_map:
            spec.problem("expected an object, found none" if not spec else "expected an object")
            return None
        if kind not in KINDS and kind not in BUILT_IN:
            close = next((one for one in KINDS if one.lower() == kind.lower()), "") or nearest(kind, KINDS)
            if close and (close.lower() == kind.lower()):
                kind_node.problem(f"there is no kind {kind!r}", f"did you mean {close!r}?")
                return None
        space = metadata["namespace"].text() or namespace
        item = Item(
            kind=kind,
            node=node,
            spec=spec,
            source_name=name,
            namespace=self.namespace(space),
            api_version=node["apiVersion"].text(),
            metadata=metadata,
            name_node=None if metadata["name"] else name_node,
            inline=inline,
        )
        item.native = not inline and item.api_version == "mastra.ai/v1" and is_native(kind, spec.value)
        if not metadata.present:
            name_node.dropped("the name of the resource") if name_node.path != () else None
        self.take(item)
        return item

    def take(self, item: Item, beside: str = "") -> None:
        """Give an item its name, and find what stands inside it."""
        if item.kind == "CustomResourceDefinition":
            kind, plural, group = (item.spec["names"]["kind"], item.spec["names"]["plural"], item.spec["group"])
            item.namespace = ""
            word = plural.text() or f"{kind.text().lower()}s"
            given, item.source_name = item.source_name, f"{word}.{group.text()}"
            if given != item.source_name:
                self.report.names.changed[f"{item.kind}/{given}"] = item.source_name
        words = [item.spec[key].value for key in ("id", "name") if item.spec.is_map]
        item.aliases = tuple(one for one in words if isinstance(one, str) and one and one != item.source_name)
        self.book.add(item, beside)
        if item.twin is not None:
            return
        if item.kind == "Tool":
            note_tool(self.book, item)
        elif item.kind == "Network" and not item.native:
            self._members(item)
        elif item.kind == "System" and not item.native:
            self._system(item)

    def namespace(self, text: str) -> str:
        """The namespace of the source, made a valid one."""
        return text if not text or valid_namespace(text) else dns_name(text, "namespace")

    def _members(self, network: Item) -> None:
        agents = network.spec["agents"]
        pairs = list(agents.fields()) if agents.is_map else [("", one) for one in agents.items()]
        for alias, node in pairs:
            name = alias or node["name"].text() or node["id"].text()
            if is_inline_member(node) and name:
                self.inline("Agent", node, node, name, network.namespace, beside=network.name)

    def inline(self, kind: str, node: Node, spec: Node, name: str, namespace: str, *, beside: str = "") -> Item:
        """Take in a body without metadata."""
        item = Item(
            kind=kind,
            node=node,
            spec=spec,
            source_name=name,
            namespace=namespace,
            name_node=node["name"],
            inline=True,
        )
        self.take(item, beside)
        return item

    # ---------------------------------------------------------------------------------------------- root files

    def root(self, node: Node) -> None:
        """Take in a root file."""
        if node["version"].present:
            node["version"].dropped("Kastra counts the generations of a resource itself")
        for field, kind in LISTS.items():
            self.group(node[field], kind, self.namespace(node["namespace"].text()))
        self.settings(node)
        if node["namespace"].present:
            node["namespace"].dropped("the namespace stands in the metadata of each resource")

    def settings(self, node: Node) -> None:
        """Take in what is no resource: providers; and say what became of the rest."""
        providers = node["providers"]
        if providers:
            note_providers(self.book, providers)
            self.book.provider_nodes.append(providers)
        elif providers.present:
            providers.dropped("no providers")
        for key, told in (
            ("memory", "conversations are in Kastra's own store; an agent's memory stands at the agent"),
            ("logging", "Kastra logs by its own settings (-v, --log-format)"),
            ("storage", "Kastra has a store of its own (`kastra config view`)"),
            ("config", "Kastra has settings of its own (`kastra config view`)"),
            ("description", "nothing is made of the file itself, only of what is in it"),
            ("name", "nothing is made of the file itself, only of what is in it"),
        ):
            if node[key].present:
                node[key].dropped(told)

    def group(self, node: Node, kind: str, namespace: str) -> None:
        """Take in a map of bodies, or a list of bodies and entries."""
        if node.is_map:
            for name, body in node.fields():
                if body.is_text:
                    self.pods.include(body, body.text())
                elif not body.is_map:
                    body.problem(f"expected the body of a {kind}")
                elif body["kind"].is_text and body["metadata"].is_map:
                    self.resource(body, inline=True, namespace=namespace)
                else:
                    self._body(kind, body, name, namespace)
        elif node.is_list:
            for one in node.items():
                self.pods.entry(one, kind, namespace)
        elif node:
            node.problem(f"expected an object: name to the body of a {kind}")

    def _body(self, kind: str, body: Node, name: str, namespace: str) -> None:
        own = body["namespace"].text()
        spec = body["spec"] if body["spec"].is_map else body
        item = self.inline(kind, body, spec, name, self.namespace(own or namespace))
        item.name_node = None

    def body(self, kind: str, body: Node, namespace: str) -> None:
        """Take in an entry of a list: {name, spec}, {metadata, spec}, or a body with a name of its own."""
        metadata = body["metadata"]
        if metadata.is_map and body["spec"].is_map:
            name = metadata["name"].text()
            space = metadata["namespace"].text()
            if name:
                item = Item(
                    kind=kind,
                    node=body,
                    spec=body["spec"],
                    source_name=name,
                    namespace=self.namespace(space or namespace),
                    metadata=metadata,
                    inline=True,
                )
                self.take(item)
                return
        name = body["name"].text() or body["id"].text()
        if not name:
            body.problem("expected a name, found none")
            return
        spec = body["spec"] if body["spec"].is_map else body
        self.inline(kind, body, spec, name, self.namespace(body["namespace"].text() or namespace))

    # ---------------------------------------------------------------------------------------------- Systems

    def _system(self, system: Item) -> None:
        for field, kind in LISTS.items():
            entries = system.spec[field]
            pairs = list(entries.fields()) if entries.is_map else [("", one) for one in entries.items()]
            for alias, node in pairs:
                name = alias or node["name"].text()
                if node.is_map and name and (node["spec"].is_map or is_inline_member(node)):
                    spec = node["spec"] if node["spec"].is_map else node
                    item = Item(
                        kind=kind,
                        node=node,
                        spec=spec,
                        source_name=name,
                        namespace=system.namespace,
                        name_node=node["name"],
                        inline=True,
                        system=system,
                    )
                    self.take(item, system.name)
                else:
                    self.pods.entry(node, kind, system.namespace)
        for node in system.spec["resources"].items():
            self.pods.entry(node, "", system.namespace)
        for node in system.spec["include"].items():
            self.pods.include(node, node.text())
