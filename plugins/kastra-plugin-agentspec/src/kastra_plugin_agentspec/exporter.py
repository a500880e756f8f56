"""Resources as Open Agent Spec files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from kastra_core.api.meta import JsonObject
from kastra_core.errors import Problem, ValidationError
from kastra_core.manifests import dump
from kastra_core.migration import MemorySource, key_path, read_text
from kastra_core.protocols.migrator import ExportResult, MigrationRow
from kastra_core.serde import type_word
from kastra_plugin_agentspec.components import DEFINED, REF
from kastra_plugin_agentspec.export_agents import write_agent, write_network
from kastra_plugin_agentspec.export_book import KINDS, Book, Exported
from kastra_plugin_agentspec.export_flows import write_workflow
from kastra_plugin_agentspec.export_tools import write_tool
from kastra_plugin_agentspec.kept import difference
from kastra_plugin_agentspec.migrator import build
from kastra_plugin_agentspec.vocabulary import WRITTEN

__all__ = ["AgentSpecExporter"]

_WRITERS: Mapping[str, Callable[[Book, Exported], JsonObject]] = {
    "Agent": write_agent,
    "Network": write_network,
    "Tool": write_tool,
    "Workflow": write_workflow,
}
_FIELDS: Mapping[str, Mapping[str, str]] = {
    "Agent": {
        "spec.instructions": "system_prompt",
        "spec.memory": "transforms",
        "spec.model": "llm_config",
        "spec.output": "outputs",
        "spec.tools": "tools",
    },
    "Network": {"spec.router": "group_manager", "spec": "workers"},
    "Tool": {
        "spec.http.body": "data",
        "spec.http.headers": "headers",
        "spec.http.method": "http_method",
        "spec.http.query": "query_params",
        "spec.http.url": "url",
        "spec.inputSchema": "inputs",
        "spec.outputSchema": "outputs",
        "spec.python.function": "metadata.kastra.function",
    },
    "Workflow": {"spec.inputSchema": "inputs", "spec.outputSchema": "outputs", "spec.steps": "nodes"},
}
_KEPT = "Agent Spec has no field for it, or only a part of it: kept in metadata.kastra, which an import here reads"
_GROUP = "mastra.ai/"
_REASONS = {
    "CustomResourceDefinition": "it defines a kind, and Agent Spec has no kinds of its own",
    "RetentionPolicy": "it is about what a runtime keeps, which Agent Spec does not describe",
    "System": "Agent Spec has no component for a whole system; export the resources that it makes",
}


class AgentSpecExporter:
    """Writes Open Agent Spec 26.1.2: a file for each resource that no other one uses, with all that it refers to."""

    def export(self, resources: Sequence[JsonObject], *, format: str = "yaml") -> ExportResult:
        """Make files of Agents, Tools, Workflows and Networks.

        Args:
            resources: manifests; what one refers to may be missing.
            format: yaml or json.
        Raises:
            ValidationError: with all problems: a kind that has no form there, a resource twice, a wrong format.
        """
        if format not in ("yaml", "json"):
            raise ValidationError([Problem(f"expected one of yaml, json, found {format!r}", "format")])
        found = _checked(resources)
        book = _book(found)
        if book.problems:
            raise ValidationError(book.problems)
        tops = _tops(book)
        _keep(book, tops)
        files = {path: _text(_file(book, top), format) for path, top in _paths(tops, format).items()}
        return ExportResult(files=files, rows=[row for one in found for row in _rows(book, one)])


def _checked(resources: Sequence[JsonObject]) -> list[Exported]:
    problems: list[Problem] = []
    out: dict[tuple[str, str, str], Exported] = {}
    for at, manifest in enumerate(resources):
        if not isinstance(manifest, Mapping):
            problems.append(Problem(f"expected a manifest (an object), found {type_word(manifest)}", f"[{at}]"))
            continue
        metadata = manifest.get("metadata")
        named: Mapping[str, Any] = metadata if isinstance(metadata, Mapping) else {}
        kind, name = manifest.get("kind"), named.get("name")
        space = named.get("namespace")
        label = f"{kind} {space or 'default'}/{name}"
        if not isinstance(kind, str) or not isinstance(name, str) or not name:
            problems.append(Problem("a manifest needs kind and metadata.name", f"[{at}]"))
        elif kind not in KINDS or not str(manifest.get("apiVersion", "")).startswith(_GROUP):
            why = _REASONS.get(kind, "no component of Agent Spec is like it")
            told = f"{manifest.get('apiVersion')} {kind} has no form in Agent Spec: {why}"
            problems.append(Problem(told, "kind", hint=f"these have one: {', '.join(KINDS)}", resource=label))
        elif not isinstance(manifest.get("spec", {}), Mapping):
            problems.append(Problem(f"expected an object, found {type_word(manifest['spec'])}", "spec", resource=label))
        else:
            one = Exported(dict(manifest), kind, space if isinstance(space, str) and space else "default", name)
            if one.key in out:
                problems.append(Problem("the resource is there twice", "metadata.name", resource=label))
            out.setdefault(one.key, one)
    if problems:
        raise ValidationError(problems)
    return list(out.values())


def _book(found: Sequence[Exported]) -> Book:
    """All components, without what is kept beside their fields."""
    book = Book(found, lambda book, one: _WRITERS[one.kind](book, one))
    for one in found:
        if one.kind == "Workflow":
            _answers(book, one)
    for one in found:
        book.component(one)
    return book


def _answers(book: Book, one: Exported) -> None:
    """Note the agents and networks that the steps of a workflow ask."""
    for value in _objects(one.spec.get("steps")):
        for field, kind in (("agent", "Agent"), ("network", "Network")):
            if field in value and "id" in value:
                asked = book.find(value[field], kind, one.namespace)
                if asked is not None:
                    book.answers.add(asked.key)


def _objects(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        yield value
        for item in value.values():
            yield from _objects(item)
    elif isinstance(value, list):
        for item in value:
            yield from _objects(item)


def _tops(book: Book) -> list[Exported]:
    """The resources that get a file: those that no other one uses; of a circle the first."""
    inside: set[str] = set()
    for one in book.resources.values():
        inside.update(book.used_by(one.id))
    tops = [one for one in book.resources.values() if one.id not in inside]
    covered = {ident for one in tops for ident in (one.id, *book.used_by(one.id))}
    for one in book.resources.values():
        if one.id not in covered:
            tops.append(one)
            covered.update((one.id, *book.used_by(one.id)))
    order = list(book.resources)
    return sorted(tops, key=lambda one: order.index(one.key))


def _keep(book: Book, tops: Sequence[Exported]) -> None:
    """Note in each component what an import would not find in its fields."""
    documents = [
        document
        for top in tops
        for document in read_text(_text(_file(book, top), "json"), f"{top.id.replace('/', '-')}.json")
    ]
    maker = build(MemorySource(documents))
    if maker.report.problems:
        raise ValidationError(maker.report.problems)
    said = {made.component.id: made.draft.manifest for made in maker.made}
    for one in book.resources.values():
        note = difference(one.manifest, said.get(one.id, {}))
        if note is not None:
            book.components[one.id]["metadata"]["kastra"]["kept"] = note


def _file(book: Book, top: Exported) -> JsonObject:
    used = [ident for ident in book.used_by(top.id) if ident != top.id]
    components = {ident: book.components[ident] for ident in (top.id, *used)}
    # The published schemas allow agentspec_version beside a reference only, not in a component.
    return {"agentspec_version": WRITTEN, REF: top.id, DEFINED: components}


def _text(data: JsonObject, format: str) -> str:
    if format == "json":
        return orjson.dumps(data, option=orjson.OPT_INDENT_2).decode() + "\n"
    return dump([data])


def _paths(tops: Sequence[Exported], format: str) -> dict[str, Exported]:
    out: dict[str, Exported] = {}
    for one in tops:
        path = f"{one.kind.lower()}-{one.name}.{format}"
        out[path if path not in out else f"{one.namespace}.{path}"] = one
    return out


# -------------------------------------------------------------------------------------------------------------- rows


def _rows(book: Book, one: Exported) -> Iterator[MigrationRow]:
    """A row for each field of a resource."""
    component = book.components[one.id]
    shown = f"{component['component_type']} {one.name}"
    note = component["metadata"]["kastra"].get("kept")
    for path, wanted in _leaves(one.manifest, ()):
        kept = _is_kept(note, path, one.manifest)
        key = key_path(path)
        field = "metadata.kastra" if kept else _field(one, key)
        yield MigrationRow(
            file=one.label,
            line=0,
            key=key,
            outcome="dropped" if kept else "mapped",
            reason=_KEPT if kept else "",
            target=f"{shown} {field}",
        )
        del wanted


def _leaves(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    below: list[tuple[Any, Any]] = []
    if isinstance(value, Mapping):
        below = list(value.items())
    elif isinstance(value, list):
        below = list(enumerate(value))
    for key, item in below:
        yield from _leaves(item, (*path, key))
    if not below and path:
        yield path, value


def _field(one: Exported, key: str) -> str:
    if key in ("metadata.name", "spec.description"):
        return key.rpartition(".")[2]
    if key in ("apiVersion", "kind"):
        return "component_type"
    fields = _FIELDS[one.kind]
    for prefix in sorted(fields, key=len, reverse=True):
        if key.startswith(prefix):
            return fields[prefix]
    return "component_type"


def _is_kept(note: Any, path: Sequence[str | int], value: Any) -> bool:
    """Whether a note speaks of a place."""
    for part in path:
        if not isinstance(note, Mapping):
            return False
        if "add" in note or "is" in note or "was" in note:
            return True
        if "in" in note:
            note, value = note["in"].get(part), value[part]
        elif "at" in note:
            note, value = note["at"].get(str(part)), value[part]
        elif "items" in note:
            value = value[part]
            note = note["items"].get(value.get("id"))
        else:
            return False
    return isinstance(note, Mapping) and bool({"add", "is", "was"} & note.keys())
