"""Agents: instructions, model, tools in three forms, memory, and fields that became settings of something else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from kastra_core.migration import Draft, Node
from kastra_plugin_legacy.book import Book, Names
from kastra_plugin_legacy.items import Item
from kastra_plugin_legacy.models import fill_model
from kastra_plugin_legacy.schemas import object_schema
from kastra_plugin_legacy.tools import function_name

__all__ = ["fill_instructions", "migrate_agent", "migrate_memory"]

_VISIBLE = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_TOOL_FIELDS = ("description", "kind", "name", "namespace", "ref", "refName")
"""Of an entry of ``spec.tools`` today."""
_DROPPED: Mapping[str, str] = {
    "caching": "Kastra keeps results of runs, not answers of models",
    "features": "Kastra streams what the caller asks to be streamed, and keeps no answers of models",
    "id": "an agent is named by metadata.name",
    "logging": "Kastra logs by its own settings",
    "namespace": "the namespace stands in metadata",
    "streaming": "Kastra streams what the caller asks to be streamed",
    "type": "there is one type of agent",
    "version": "Kastra counts the generations of a resource itself",
    "voice": "Kastra has no speech",
}


def migrate_agent(book: Book, item: Item, draft: Draft) -> None:
    """Fill the draft of an Agent."""
    spec = item.spec
    if not spec.is_map:
        return
    if not spec.value:
        spec.problem("expected instructions, model and what else an agent has, found nothing")
        return
    fill_instructions(spec, draft, "spec.instructions")
    _description(item, draft)
    model = spec["model"]
    if model or not spec["llm"]:
        fill_model(book, item, draft, model)
    else:
        fill_model(book, item, draft, spec["llm"])
    _tools(book, item, draft)
    migrate_memory(spec, draft)
    _limits(spec, draft)
    for key in ("inputSchema", "input"):
        if spec[key].present:
            spec[key].dropped("an agent is asked with a text or messages; a Workflow around it can have an inputSchema")
    for key in ("outputSchema", "output"):
        node = spec[key]
        if node.is_map and isinstance(node.value.get("schema"), dict) and key == "output":
            node.to(draft, "spec.output")
        elif node:
            schema = object_schema(node)[0]
            if schema is None:
                node.manual("no JSON schema: write spec.output.schema by hand", draft)
            else:
                node.to(draft, "spec.output.schema", schema)
    for key in ("toolChoice", "scaling"):
        spec[key].to(draft, f"spec.{key}")
    for key, told in _DROPPED.items():
        if spec[key].present:
            spec[key].dropped(told)


def fill_instructions(spec: Node, draft: Draft, path: str) -> None:
    """Join what the model is told: instructions, systemPrompt, and the model's own systemPrompt."""
    parts = [spec[key] for key in ("instructions", "systemPrompt", "prompt")]
    if spec["model"].is_map:
        parts.append(spec["model"]["systemPrompt"])
    found = [one for one in parts if one]
    texts = [one.text() for one in found]
    for one in found:
        told = "" if len(found) == 1 else "one after the other"
        one.mapped(draft.target(path), told)
    if texts:
        draft.set(path, "\n\n".join(text.rstrip() for text in texts) if len(texts) > 1 else texts[0])


def _description(item: Item, draft: Draft) -> None:
    spec = item.spec
    described, name = spec["description"], spec["name"]
    described.to(draft, "spec.description", described.text())
    if not name.present or (item.name_node is not None and name.path == item.name_node.path):
        return
    if not described and name.is_text:
        name.to(draft, "spec.description", reason="for people; it has no other description")
    else:
        name.dropped("an agent is named by metadata.name and described by its description")


def migrate_memory(spec: Node, draft: Draft) -> None:
    """Put ``memory`` and ``memorySettings`` into ``spec.memory``."""
    for key in ("memory", "memorySettings"):
        node = spec[key]
        if isinstance(node.value, bool):
            node.to(draft, "spec.memory.enabled")
        elif node.is_text:
            _memory_type(node, draft)
        elif node.is_map:
            for name, part in node.fields():
                if name == "config":
                    for inner, one in part.fields():
                        _memory_field(inner, one, draft)
                else:
                    _memory_field(name, part, draft)
        elif node:
            node.problem("expected an object, true or false")


def _memory_field(key: str, node: Node, draft: Draft) -> None:
    if not node:
        return
    if key == "enabled":
        node.to(draft, "spec.memory.enabled", node.boolean())
    elif key == "type":
        _memory_type(node, draft)
    elif key in ("maxMessages", "maxItems", "messageWindow", "lastMessages", "windowSize", "limit"):
        number = node.number()
        if number is not None and number >= 1 and number == int(number):
            node.to(draft, "spec.memory.maxMessages", int(number))
        else:
            node.manual("write spec.memory.maxMessages: the number of messages that are remembered", draft)
    elif key in ("maxTokens", "summary", "recall", "workingMemory"):
        node.to(draft, f"spec.memory.{key}")
    elif key == "ttl":
        node.dropped("threads stay until a RetentionPolicy says how long (spec.threads.ttl)")
    else:
        node.dropped("threads are in Kastra's own store (`kastra config view`)")


def _memory_type(node: Node, draft: Draft) -> None:
    word = node.text().lower()
    known = {
        "vector": "vector",
        "semantic": "vector",
        "summary": "summary",
        "buffer": "buffer",
        "conversation": "buffer",
    }
    if word in known:
        node.to(draft, "spec.memory.type", known[word], reason="" if known[word] == node.value else "called so here")
    else:
        node.dropped("threads are in Kastra's own store, which keeps them")


def _limits(spec: Node, draft: Draft) -> None:
    spec["limits"].to(draft, "spec.limits")
    for key, field in (("maxTurns", "maxSteps"), ("maxSteps", "maxSteps"), ("maxIterations", "maxSteps")):
        if spec[key]:
            spec[key].number()
            spec[key].to(draft, f"spec.limits.{field}")
    timeout = spec["timeout"]
    if timeout:
        timeout.number()
        timeout.to(draft, "spec.limits.timeoutS", reason="taken as seconds")
    for key, field in (("maxTokens", "maxTokens"), ("temperature", "temperature")):
        node = spec[key]
        if not node:
            continue
        node.number()
        model = draft.spec.get("model")
        if not isinstance(model, dict):
            node.manual(f"write spec.model.{field} beside the model that you choose", draft)
        elif field in model or field in model.get("parameters", {}):
            node.dropped("the model says it already")
        else:
            node.to(draft, f"spec.model.{field}", reason="of an answer")


# ------------------------------------------------------------------------------------------------------- tools


def _tools(book: Book, item: Item, draft: Draft) -> None:
    tools = item.spec["tools"]
    if not tools.present:
        return
    names = Names(book, item)
    if not tools.value:
        if tools.is_map or tools.is_list:
            tools.to(draft, "spec.tools")
        else:
            tools.dropped("no tools")
        return
    uses = _Uses(book, item, names, draft, as_map=tools.is_map)
    if tools.is_map:
        for alias, node in tools.fields():
            uses.aliased(alias, node)
    elif tools.is_list:
        for node in tools.items():
            uses.listed(node)
    else:
        tools.problem("expected a list or an object of tools")


class _Uses:
    """Fills ``spec.tools``; the model sees each name once."""

    def __init__(self, book: Book, item: Item, names: Names, draft: Draft, *, as_map: bool) -> None:
        self.book, self.item, self.names, self.draft, self.as_map = book, item, names, draft, as_map
        self.seen: set[str] = set()

    def aliased(self, alias: str, node: Node) -> None:
        value = node.value
        if value is True or value is None or value == {}:
            value = alias
        if node.is_map and not any(key in value for key in (*_TOOL_FIELDS, "$ref", "id")):
            self._described(alias, node)
            return
        if node.is_map and "name" not in value and not any(key in value for key in ("ref", "refName", "$ref", "id")):
            value = {**value, "name": alias}
        found = self.names.find("Tool", value)
        if found is None:
            self._stub(alias, node, f"the tool {alias}", "", None)
            return
        self._put(node, alias, found.reference, found.note)

    def listed(self, node: Node) -> None:
        if node.is_text:
            found = self.names.find("Tool", node.value)
            if found is None:
                self._stub(_stem(node.text()), node, node.text(), "", None)
                return
            said = re.split(r"[/.]", node.text().strip())[-1]
            functions = self._functions_of(node.value)
            if functions:
                node.mapped(self.draft.target("spec.tools"), f"each of its {len(functions)} functions is a Tool")
                for name in functions:
                    one = self.names.find("Tool", {"name": node.text(), "function": name})
                    if one is not None:
                        self._add(name, one.reference, "")
                return
            self._put(node, said, found.reference, found.note)
        elif node.is_map:
            self._object(node)
        else:
            node.problem("expected the name of a tool or an object")

    def _functions_of(self, reference: object) -> list[str]:
        target = self.book.parse(reference, "Tool")
        tool = self.book.resolve(target, self.item)[0] if target is not None else None
        return list(tool.functions) if tool is not None and len(tool.functions) > 1 else []

    def _object(self, node: Node) -> None:
        inner = node["function"]
        if inner.is_map:
            self._described(inner["name"].text() or "tool", inner, outer=node)
            return
        if inner.is_text and not node["name"]:
            self._described(inner.text(), node)
            return
        named = node.first("refName", "ref", "$ref", "name", "id")
        name = node["name"].text() or named.text()
        if not name:
            node.problem("expected the name of a tool")
            return
        functions = [one.text() if one.is_text else one["name"].text() for one in node["functions"].items()]
        reference = dict(node.mapping())
        reference.pop("function", None)
        found = self.names.find("Tool", reference)
        if functions:
            self._several(node, name, reference, functions)
        elif found is not None and (found.exists or set(node.mapping()) <= {*_TOOL_FIELDS, "$ref", "id"}):
            all_of_it = self._functions_of(reference)
            if all_of_it:
                self._several(node, name, reference, all_of_it)
                return
            described = node["description"]
            self._rows(node, found.note, described=True)
            self._add(name, found.reference, described.text() if described.is_text else "")
        else:
            self._described(name, node)

    def _several(self, node: Node, name: str, reference: Mapping[str, Any], functions: list[str]) -> None:
        for at, word in enumerate(functions):
            if not word:
                continue
            entry = node["functions"][at]
            found = self.names.find("Tool", {**reference, "function": word})
            if found is not None and found.exists:
                if entry:
                    entry.mapped(self.draft.target("spec.tools"), found.note)
                self._add(word if found.note.startswith("function") else name, found.reference, "")
                continue
            body = entry if entry.is_map else node
            schema = object_schema(body.first("parameters", "inputSchema"))[0] if entry.is_map else None
            described = body["description"].text() if body["description"].is_text else ""
            what = f"function {word} of the tool {name}"
            made = self.names.tool_stub(
                function_name(name, word), entry, what=what, description=described, schema=schema
            )
            self._add(word, made.reference, "")
        self._rows(node, "a Tool for each of its functions")

    def _described(self, name: str, node: Node, outer: Node | None = None) -> None:
        """A tool that is described where it is used: a Tool whose function somebody has to write, if none is there."""
        whole = outer or node
        found = self.names.find("Tool", name)
        if found is not None and found.exists:
            self._rows(whole, found.note or "the Tool of this name")
            self._add(name, found.reference, "")
            return
        described = node["description"]
        if not described and node["config"].is_map:
            described = node["config"]["description"]
        schema = object_schema(node.first("inputSchema", "parameters"))[0]
        self._stub(name, whole, f"the tool {name}", described.text() if described.is_text else "", schema)

    def _stub(self, name: str, node: Node, what: str, description: str, schema: Mapping[str, Any] | None) -> None:
        made = self.names.tool_stub(name, node, what=what, description=description, schema=schema)
        self._add(name, made.reference, "")

    def _rows(self, node: Node, note: str, *, described: bool = False) -> None:
        """Rows for an entry that is an object: its reference is mapped, what it describes is the Tool's own."""
        for key, part in node.fields():
            if not part:
                continue
            if key in ("refName", "ref", "$ref", "name", "id", "namespace", "kind"):
                part.mapped(self.draft.target("spec.tools"), note)
            elif key == "function" and part.is_map:
                part.dropped("the Tool describes itself")
                part["name"].mapped(self.draft.target("spec.tools"), note)
            elif key == "description" and part.is_text and described:
                part.mapped(self.draft.target("spec.tools"))
            elif key != "functions":
                part.dropped("the Tool describes itself")

    def _put(self, node: Node, name: str, reference: str, note: str) -> None:
        described = node["description"] if node.is_map else None
        if node.is_map:
            self._rows(node, note, described=True)
        else:
            node.mapped(self.draft.target("spec.tools"), note)
        self._add(name, reference, described.text() if described is not None and described.is_text else "")

    def _add(self, name: str, reference: str, description: str) -> None:
        visible = re.sub(r"[^a-zA-Z0-9_-]", "_", name)[:64] or "tool"
        if visible in self.seen:
            return
        self.seen.add(visible)
        tools = self.draft.spec.setdefault("tools", {} if self.as_map else [])
        entry: Any = reference
        if description:
            entry = {"ref": reference, "description": description}
        if self.as_map:
            tools[name if _VISIBLE.fullmatch(name) else visible] = entry
            return
        if not _VISIBLE.fullmatch(name):
            visible = _last(reference)
        if description or visible != _last(reference):
            entry = {"name": visible, "ref": reference, **({"description": description} if description else {})}
        tools.append(entry)


def _stem(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2].partition(".")[0] or "tool"


def _last(reference: str) -> str:
    tail = reference.rpartition("/")[2]
    return tail if "/" in reference else tail.partition(".")[2] or tail
