"""Networks: members by reference and a router, or members described inline and a coordinator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kastra_core.migration import Draft, Node
from kastra_plugin_legacy.agents import fill_instructions
from kastra_plugin_legacy.book import Book, Names
from kastra_plugin_legacy.items import Item
from kastra_plugin_legacy.lookup import RunnableKind
from kastra_plugin_legacy.models import fill_model

__all__ = ["LISTS", "is_inline_member", "migrate_network"]

LISTS: Mapping[str, RunnableKind] = {
    "agents": "Agent",
    "workflows": "Workflow",
    "tools": "Tool",
    "networks": "Network",
}
"""Lists of members -> kind of what they name."""
_SKILLS = ("responsibilities", "specialties", "capabilities", "expertise")
_BODY = ("model", "instructions", "systemPrompt", "prompt", "tools", "memory")
"""Fields that say that a member is described where it stands."""
_STRATEGIES: Mapping[str, str] = {
    "coordinatordecision": "model",
    "default": "model",
    "dynamic": "model",
    "llm": "model",
    "model": "model",
    "semanticmatching": "embedding",
}
"""Routing strategy of the source, in lower case without separators -> spec.router.type."""


def is_inline_member(node: Node) -> bool:
    """Whether a member is described where it stands, and no reference."""
    return node.is_map and any(node[key] for key in _BODY) and not any(node[key] for key in ("ref", "refName", "$ref"))


def migrate_network(book: Book, item: Item, draft: Draft) -> None:
    """Fill the draft of a Network; members that are described inline have become Agents in the first pass."""
    spec = item.spec
    if not spec.is_map:
        return
    _words(item, draft)
    members = _Members(book, item, draft)
    for field, kind in LISTS.items():
        members.read(spec[field], field, kind)
    coordinator, router = spec["coordinator"], spec["router"]
    if not members.names and not any(spec[field] for field in LISTS):
        spec.problem("a network needs at least one member: expected agents, found none")
    if coordinator.is_map:
        _coordinator(book, item, draft, coordinator)
    elif coordinator.is_text:
        members.reference("agents", "Agent", coordinator, coordinator, "", None)
        coordinator.mapped(draft.target("spec.agents"), "a member; the router's model decides who is called")
    if router.is_map:
        _router(book, item, draft, router, members)
    elif router.is_text:
        draft.set("spec.router.instructions", router.text())
        router.mapped(draft.target("spec.router.instructions"))
    routing = spec["routing"]
    if routing.is_map:
        for key, node in routing.fields():
            if key in ("strategy", "routingStrategy"):
                _strategy(node, draft)
            elif key == "type":
                node.dropped("the strategy says how members are chosen")
            elif key in ("defaultAgent", "fallback", "fallbackAgent"):
                members.fallback(node)
    elif routing.is_text:
        _strategy(routing, draft)
    _rest(spec, draft)


def _words(item: Item, draft: Draft) -> None:
    spec = item.spec
    described, name = spec["description"], spec["name"]
    described.to(draft, "spec.description", described.text())
    spec["instructions"].to(draft, "spec.instructions", spec["instructions"].text())
    if name.present and not (item.name_node is not None and name.path == item.name_node.path):
        if not described and name.is_text:
            name.to(draft, "spec.description", reason="for people; it has no other description")
        else:
            name.dropped("a network is named by metadata.name and described by its description")


def _rest(spec: Node, draft: Draft) -> None:
    state = spec["state"]
    if state.is_map:
        draft.spec.setdefault("state", {})
        for key, node in state.fields():
            if key in ("persistence", "tools") and isinstance(node.value, bool):
                node.to(draft, f"spec.state.{key}")
            elif key == "ttl" and node:
                node.to(draft, "spec.state.ttl")
            elif node:
                node.dropped("state is in Kastra's own store")
    elif state.value is True:
        state.to(draft, "spec.state")
    memory = spec["memory"]
    if isinstance(memory.value, bool):
        memory.to(draft, "spec.memory.enabled")
    for key, node in memory.fields():
        if key == "enabled":
            node.to(draft, "spec.memory.enabled", node.boolean())
        elif key == "maxMessages":
            node.to(draft, "spec.memory.maxMessages")
        elif node:
            node.dropped("members are told the last messages of the thread, which is in Kastra's own store")
    for key in ("maxTurns", "maxSteps", "maxIterations"):
        if spec[key]:
            spec[key].number()
            spec[key].to(draft, "spec.router.maxSteps", reason="members called in one run")
    timeout = spec["timeout"]
    if timeout:
        timeout.number()
        timeout.to(draft, "spec.limits.timeoutS", reason="taken as seconds")
    spec["limits"].to(draft, "spec.limits")
    spec["scaling"].to(draft, "spec.scaling")
    if spec["maxTokens"]:
        told = "spec.limits.maxTokens bounds all tokens of a run, those of members included: set it if that is meant"
        spec["maxTokens"].manual(told, draft.target("spec.limits.maxTokens"))
    for key, told in (
        ("id", "a network is named by metadata.name"),
        ("logging", "Kastra logs by its own settings"),
        ("namespace", "the namespace stands in metadata"),
        ("version", "Kastra counts the generations of a resource itself"),
    ):
        if spec[key].present:
            spec[key].dropped(told)


def _coordinator(book: Book, item: Item, draft: Draft, node: Node) -> None:
    if node["name"]:
        node["name"].dropped("the router of a network has no name")
    fill_model(book, item, draft, node["model"], "spec.router.model")
    fill_instructions(node, draft, "spec.router.instructions")
    draft.set("spec.router.answer", "router")
    node["answer"].defaulted(
        "the coordinator words the answer, as it did: spec.router.answer member gives that of the last member",
        draft.target("spec.router.answer"),
    )
    for key, told in (("tools", "a router calls members only: make it a member with tools"),):
        if node[key].present:
            node[key].manual(told, draft)
    for key, part in (("maxSteps", node["maxSteps"]), ("description", node["description"])):
        if part and key == "maxSteps":
            part.to(draft, "spec.router.maxSteps")
        elif part:
            part.dropped("a router has no description")


def _router(book: Book, item: Item, draft: Draft, node: Node, members: _Members) -> None:
    if node["model"] or not draft.get("spec.router.model"):
        fill_model(book, item, draft, node["model"], "spec.router.model")
    fill_instructions(node, draft, "spec.router.instructions")
    for key in ("maxSteps", "maxIterations"):
        if node[key]:
            node[key].number()
            node[key].to(draft, "spec.router.maxSteps")
    for key in ("fallback", "fallbackAgent", "defaultAgent"):
        if node[key]:
            members.fallback(node[key])
    for key in ("strategy", "routingStrategy"):
        if node[key]:
            _strategy(node[key], draft)
    for key in ("type", "answer", "embeddings", "margin", "maxRepairs", "options", "timeout"):
        node[key].to(draft, f"spec.router.{key}")
    if node["name"].present:
        node["name"].dropped("the router of a network has no name")


def _strategy(node: Node, draft: Draft) -> None:
    word = "".join(char for char in node.text().lower() if char.isalnum())
    known = _STRATEGIES.get(word)
    if known is None:
        told = f"Kastra has no strategy {node.text()!r}: the router's model decides; another way needs a plugin"
        node.manual(told, draft.target("spec.router.type"))
    else:
        reason = "the router's model decides" if known == "model" else "the member whose description is nearest"
        node.to(draft, "spec.router.type", known, reason=reason)


class _Members:
    """Fills the lists of members; each name is there once."""

    def __init__(self, book: Book, item: Item, draft: Draft) -> None:
        self.book, self.item, self.draft = book, item, draft
        self.finder = Names(book, item)
        self.names: dict[str, str] = {}
        """What the source calls a member -> what the router sees."""

    def read(self, node: Node, field: str, kind: RunnableKind) -> None:
        if node.is_map:
            for alias, one in node.fields():
                self._member(one, field, kind, alias)
        elif node.is_list:
            for one in node.items():
                self._member(one, field, kind, "")
        elif node:
            node.problem("expected a list of members")

    def _member(self, node: Node, field: str, kind: RunnableKind, alias: str) -> None:
        if is_inline_member(node):
            name = alias or node["name"].text() or node["id"].text()
            self.inline(node, field, name)
            return
        if node.is_text:
            self.reference(field, kind, node, node, alias, None)
            return
        if not node.is_map:
            node.problem("expected a reference or an object with name and ref")
            return
        named = node.first("ref", "refName", "$ref", "agent", "agentId", "name", "id")
        described = self._description(node)
        self.reference(field, kind, named, node, alias or node["name"].text(), described)

    def _description(self, node: Node) -> str | None:
        """What a router reads of a member: role, description, and what it is good at."""
        words = [node[key].text() for key in ("role", "description") if node[key]]
        skills = []
        for key in _SKILLS:
            part = node[key]
            told = ", ".join(one.text() for one in part.items()) if part.is_list else part.text() if part else ""
            if told:
                skills.append(told)
        for key in ("role", "description", *_SKILLS):
            if node[key]:
                alone = key == "description" and len(words) + len(skills) == 1
                node[key].mapped(
                    self.draft.target("spec.agents"), "" if alone else "what the router reads of the member"
                )
        text = ": ".join(words)
        return "; ".join([*([text] if text else []), *skills]) or None

    def reference(
        self, field: str, kind: RunnableKind, named: Node, node: Node, alias: str, described: str | None
    ) -> None:
        value: object = named.value
        if named is not node and node["namespace"] and isinstance(value, str):
            value = {"name": value, "namespace": node["namespace"].value}
        found = self.finder.find(kind, value)
        if found is None:
            node.problem("expected the name of a member, or an object with name and ref")
            return
        said = alias or str(named.value).strip().rpartition("/")[2].rpartition(".")[2]
        visible = self._visible(said)
        target = self.draft.target(f"spec.{field}")
        for key in ("ref", "refName", "$ref", "agent", "agentId", "name", "id", "namespace"):
            part = node[key] if named is not node else named[key]
            if part:
                part.mapped(target, found.note if part.path == named.path else "")
        if named is node:
            node.mapped(target, found.note)
        examples = node["examples"]
        self._add(field, said, visible, found.reference, described, examples)

    def inline(self, node: Node, field: str, name: str) -> None:
        made = self.book.by_place.get((node.document.file, node.document.index, node.path))
        if made is None:
            node.problem("a member that is described here needs a name")
            return
        reference = self.finder.find("Agent", {"name": made.source_name, "namespace": made.effective_namespace})
        text = made.name if "." not in made.name else f"agents/{made.name}"
        if node["name"]:
            node["name"].mapped(
                self.draft.target(f"spec.{field}"), "" if made.name == name else f"the Agent {made.name}"
            )
        self._add(
            field, name, self._visible(name), text if reference is not None else made.name, None, node["examples"]
        )

    def _visible(self, said: str) -> str:
        word = "".join("-" if char in "/#" or ord(char) < 32 or char == "\x7f" else char for char in said).strip()[:100]
        return word or "member"

    def _add(self, field: str, said: str, visible: str, reference: str, described: str | None, examples: Node) -> None:
        if visible in self.names.values():
            return
        self.names[said] = visible
        entry: Any = {"name": visible, "ref": reference}
        if described:
            entry["description"] = described
        if examples.is_list:
            entry["examples"] = list(examples.value)
            examples.mapped(self.draft.target(f"spec.{field}"))
        if len(entry) == 2 and visible == reference:
            entry = reference
        self.draft.spec.setdefault(field, []).append(entry)

    def fallback(self, node: Node) -> None:
        said = node.text()
        name = self.names.get(said) or self.names.get(said.rpartition("/")[2].rpartition(".")[2])
        if name is None:
            members = ", ".join(self.names.values()) or "none"
            node.manual(f"{said!r} is no member ({members}): name one", self.draft.target("spec.router.fallback"))
        else:
            node.to(self.draft, "spec.router.fallback", name)
