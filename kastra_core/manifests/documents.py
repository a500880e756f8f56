"""Text to documents: encodings, sizes, many documents in one text, JSON, lists of manifests."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import attrs

from kastra_core.errors import ManifestError, Problem
from kastra_core.manifests.json_values import JsonTroubleError, lone_surrogate, read_values, with_characters
from kastra_core.manifests.source import Source, decode

__all__ = ["DEFAULT_LIMITS", "Document", "Limits", "Origin", "depth_of", "json_bytes", "parse", "parse_into"]


@attrs.frozen
class Limits:
    """How much a source may hold. Sizes count bytes of UTF-8."""

    file_bytes: int = 64 * 1024 * 1024
    document_bytes: int = 4 * 1024 * 1024
    """One document, also with its aliases expanded; a list of manifests counts item by item."""
    depth: int = 100
    """Lists and mappings within each other."""
    nodes: int = 1_000_000
    """Scalars, lists and mappings of one document, with its aliases expanded."""
    included_files: int = 1000
    """Files that one manifest brings in, with those that they bring in."""


DEFAULT_LIMITS = Limits()


@attrs.frozen
class Origin:
    """Where a part of a resolved manifest was read."""

    into: str
    """Its field path in the resolved manifest ("spec.resources[2]")."""
    document: Document | None
    """The included manifest; None: it stood elsewhere in the manifest itself."""
    path: str = ""
    """Its field path there."""


@attrs.frozen
class Document:
    """One manifest of a source, and where it is.

    ``data`` is JSON-compatible. Places cost nothing until they are asked for. A manifest whose files were resolved
    (:mod:`kastra_core.includes`) knows where each of its parts was read.
    """

    data: dict[str, Any]
    file: str
    """As the user gave it; "<stdin>" for "-"."""
    index: int
    """Counts the manifests of the file, from 0."""
    line: int
    """Of the first content, from 1."""
    _source: Source = attrs.field(repr=False, eq=False)
    _start: int = attrs.field(repr=False, eq=False)
    _end: int = attrs.field(repr=False, eq=False)
    _inside: str = attrs.field(default="", repr=False, eq=False)
    """Path of the manifest in a list of manifests."""
    directory: str | None = attrs.field(default=None, repr=False, eq=False)
    """Of the file, where paths that the manifest names begin; None: it is from no file (a text, a pipe)."""
    origins: tuple[Origin, ...] = attrs.field(default=(), repr=False, eq=False)
    """Parts of ``data`` that stand elsewhere in the text, or in another file."""

    def origin(self, path: str) -> tuple[Document, str]:
        """Return the document that the field at ``path`` was read from, as its file has it, and its path there."""
        best: Origin | None = None
        for one in self.origins:
            if _is_below(path, one.into) and (best is None or len(one.into) > len(best.into)):
                best = one
        here = attrs.evolve(self, origins=()) if self.origins else self
        if best is None:
            return here, path
        rest = path[len(best.into) :].removeprefix("." if not best.path else "")
        inner = best.path + rest
        return (here, inner) if best.document is None else best.document.origin(inner)

    def locate(self, path: str, *, key: bool = False) -> tuple[int, int]:
        """Return line and column, from 1, of the field at ``path`` ("spec.tools[0].name"), in the file of its origin.

        That is where a scalar stands, or the key of a list or mapping; with ``key`` always the key. A path that does
        not exist gives its nearest existing ancestor.
        """
        document, path = self.origin(path)
        return document._locate(path, key)

    def _locate(self, path: str, key: bool) -> tuple[int, int]:
        from kastra_core.manifests.places import find

        root = self._source.root(self._start, self._end)
        full = _join(self._inside, path)
        offset = 0 if root is None else find(root, full, key=key)
        return self._source.place(self._start + offset)

    def place(self, problem: Problem) -> Problem:
        """Return ``problem`` with file, line and column of its path; an unknown field is shown by its key."""
        document, path = self.origin(problem.path)
        line, column = document._locate(path, problem.message.startswith("unknown field"))
        return problem.at(file=document.file, line=line, column=column)


def parse(text: str | bytes, file: str = "<string>", limits: Limits = DEFAULT_LIMITS) -> list[Document]:
    """Return the manifests of a YAML or JSON text, in order.

    Several YAML documents are separated by ``---``; empty ones are skipped. A JSON list of manifests, and a manifest
    whose kind is ``List`` or ends in it and that has ``items``, stand for their items.

    Raises:
        ManifestError: with every problem of every document and its place.

    >>> [d.data["kind"] for d in parse("kind: A\\n---\\nkind: B\\n")]
    ['A', 'B']
    """
    problems: list[Problem] = []
    documents = parse_into(problems, text, file, limits)
    if problems:
        raise ManifestError(problems)
    return documents


def parse_into(
    problems: list[Problem],
    text: str | bytes,
    file: str,
    limits: Limits = DEFAULT_LIMITS,
    *,
    may_be_empty: bool = False,
    directory: str | None = None,
) -> list[Document]:
    """Like :func:`parse`, but what is wrong is added to ``problems``, and the good documents are returned.

    ``directory``: of the file that the text is from.
    """
    reading = _Reading(file, limits, may_be_empty, directory)
    documents = reading.read(text)
    problems.extend(sorted(reading.problems, key=lambda problem: (problem.line, problem.column)))
    return documents


_BOUNDARY = re.compile(r"^(?:---(?=[ \t\r\n]|\Z)|\.\.\.[ \t]*(?:#.*)?(?:\r?\n|\Z))", re.MULTILINE)
_MOST_PROBLEMS = 1000
"""Of the syntax of one file."""
_LIST_KIND = re.compile(r"^kind: *[\"']?\w*List[\"']?\s*$", re.MULTILINE)


class _Reading:
    """One call of parse."""

    def __init__(self, file: str, limits: Limits, may_be_empty: bool, directory: str | None = None) -> None:
        self.file, self.limits, self.may_be_empty, self.directory = file, limits, may_be_empty, directory
        self.problems: list[Problem] = []
        self.documents: list[Document] = []
        self.source = Source("", file, limits.depth)

    def problem(self, message: str, hint: str = "", offset: int = -1, path: str = "") -> None:
        line, column = self.source.place(offset) if offset >= 0 else (0, 0)
        self.problems.append(Problem(message, path, hint=hint, file=self.file, line=line, column=column))

    def finding(self, base: int, found: Any) -> None:
        self.problems.append(self.source.problem(found, base))

    def read(self, raw: str | bytes) -> list[Document]:
        if len(raw) > self.limits.file_bytes:
            self.problem(
                f"the file has {_mebibytes(len(raw))}, more than the {_mebibytes(self.limits.file_bytes)} allowed",
                "split it, or raise Limits.file_bytes",
            )
            return []
        text = decode(raw, self.file)
        if isinstance(text, Problem):
            self.problems.append(text)
            return []
        self.source = Source(text, self.file, self.limits.depth)
        begins = text.lstrip()[:1]
        if not begins:
            if not self.may_be_empty:
                self.problem("the file is empty", "write a manifest with apiVersion, kind and metadata.name")
            return []
        if not (begins in "{[" and self.json(text)):
            self.yaml(text)
        if not self.documents and not self.problems and not self.may_be_empty:
            self.problem("the file holds no manifest, only comments or empty documents")
        return self.documents

    # ------------------------------------------------------------------------------------------ YAML

    def yaml(self, text: str) -> None:
        import yaml

        limit = self.limits.document_bytes
        if len(text) * 4 <= limit or len(text.encode("utf-8", "replace")) <= limit:
            try:
                self.compose(text, 0)
                return
            except (yaml.YAMLError, UnicodeEncodeError) as error:
                whole: Any = error
        else:
            whole = None
        self.documents.clear()
        self.problems.clear()
        self.yaml_by_parts(text)
        if whole is not None and not self.problems:
            from kastra_core.manifests.syntax import explain

            self.finding(0, explain(whole, text))

    def compose(self, text: str, base: int) -> None:
        """Read the documents of ``text``, which begins at offset ``base`` of the source."""
        from kastra_core.manifests.composer import Builder, new_parser

        limits = self.limits
        parser = new_parser(text, limits.depth)
        builder = Builder(limits.depth, limits.nodes)
        line_base = self.source.place(base)[0] if base else 1
        aliases = "&" in text
        while parser.check_node():
            node = parser.get_node()
            builder.findings.clear()
            data = builder.document(node)
            start = node.start_mark
            if builder.findings:
                for found in builder.findings:
                    self.finding(base, found)
            elif data is not None:
                offset, end = base + start.index, base + node.end_mark.index
                if aliases and self.expands_too_far(data, offset):
                    continue
                self.add(data, start.line + line_base, offset, end)

    def yaml_by_parts(self, text: str) -> None:
        """Read each document alone: an error in one hides nothing in the others, and each has its size."""
        import yaml

        from kastra_core.manifests.syntax import explain, find_bad_characters

        bad = find_bad_characters(text)
        for start, end in _parts(text):
            part = text[start:end]
            if found := [one for one in bad if start <= one.offset < end]:
                for one in found:
                    self.finding(0, one)
                continue
            if self.too_large(part, start):
                continue
            if len(self.problems) >= _MOST_PROBLEMS:
                self.problem("there are more problems; the rest of the file is not read", offset=start)
                break
            try:
                self.compose(part, start)
            except (yaml.YAMLError, UnicodeEncodeError) as error:
                self.finding(start, explain(error, part))

    def too_large(self, part: str, start: int) -> bool:
        limit = self.limits.document_bytes
        if len(part) * 4 <= limit or (size := len(part.encode("utf-8", "replace"))) <= limit:
            return False
        if _LIST_KIND.search(part):
            return False  # its items are looked at one by one
        first = re.compile(r"(?:---)?(?:\s|#.*)*").match(part)
        self.problem(
            f"the document has {_mebibytes(size)}, more than the {_mebibytes(limit)} allowed",
            "split it into documents, or raise Limits.document_bytes",
            start + (first.end() if first else 0),
        )
        return True

    def expands_too_far(self, data: Any, offset: int) -> bool:
        if json_bytes(data) <= self.limits.document_bytes:
            return False
        self.problem(
            f"the aliases of the document expand to more than {_mebibytes(self.limits.document_bytes)}",
            "write less by aliases, or raise Limits.document_bytes",
            offset,
        )
        return True

    # ------------------------------------------------------------------------------------------ JSON

    def json(self, text: str) -> bool:
        """Read ``text`` as one or more JSON values; False when it must be read as YAML instead."""
        found: list[tuple[Any, int, int]] = []
        trouble: Any = None
        try:
            found = read_values(text)
        except (json.JSONDecodeError, JsonTroubleError, RecursionError) as error:
            trouble = error
        if trouble is None and (lone := lone_surrogate(text)) is not None:
            self.problem("a lone surrogate (\\ud800 to \\udfff) is no character", "write the character itself", lone)
            return True
        if trouble is None and text.count("[") + text.count("{") > self.limits.depth:
            trouble = next((v for v, _, _ in found if depth_of(v, self.limits.depth) > self.limits.depth), None)
        if trouble is None:
            for value, start, end in found:
                self.json_value(value, start, end)
            return True
        return self.not_quite_json(text, trouble)

    def not_quite_json(self, text: str, trouble: Any) -> bool:
        """YAML takes comments and trailing commas, and knows the places of duplicate keys, big numbers and depth."""
        if isinstance(trouble, JsonTroubleError):
            message, hint, shown = trouble.args
            if shown:
                place = re.search(shown, text)
                self.problem(message, hint, place.start() if place else 0)
                return True
        text = with_characters(text)
        self.source = Source(text, self.file, self.limits.depth)
        self.yaml(text)
        if not isinstance(trouble, json.JSONDecodeError):
            if not self.problems:
                self.problem("this JSON cannot be read: " + str(trouble.args[0] if trouble.args else trouble), offset=0)
                self.documents.clear()
        elif self.problems and self.file.endswith(".json"):
            from kastra_core.manifests.syntax import explain_json

            self.problems.clear()
            self.finding(0, explain_json(trouble))
        return True

    def json_value(self, value: Any, start: int, end: int) -> None:
        large = end - start > self.limits.document_bytes // 4
        if isinstance(value, list):
            self.expand(value, "", start, end, {})
        elif large and not _is_list(value) and self.too_large(self.source.text[start:end], start):
            return
        else:
            self.add(value, self.source.place(start)[0], start, end)

    # ------------------------------------------------------------------------------------------ manifests

    def add(self, data: Any, line: int, start: int, end: int) -> None:
        if data.__class__ is dict:
            if "items" in data and _is_list(data):
                self.expand(data["items"], "items", start, end, data)
            else:
                self.document(data, line, start, end)
        elif isinstance(data, list):
            hint = "separate manifests by a line '---' instead of making a list of them"
            self.problem("a manifest is a mapping, found a list", hint, start)
        else:
            hint = "write a manifest with apiVersion, kind and metadata.name"
            if isinstance(data, str) and re.match(r"[\w.-]+:\S", data):
                hint = "put a space after each ':'"
            self.problem(f"a manifest is a mapping, found {_word(data)}", hint, start)

    def expand(self, items: list[Any], path: str, start: int, end: int, parent: dict[str, Any]) -> None:
        """Add the items of a list of manifests, with their own places."""
        from kastra_core.manifests.places import find

        root = self.source.root(start, end)
        large = end - start > self.limits.document_bytes // 4
        for number, item in enumerate(items):
            inside = f"{path}[{number}]"
            offset = start + (find(root, inside) if root is not None else 0)
            line = self.source.place(offset)[0]
            if not isinstance(item, dict):
                self.problem(f"a manifest is a mapping, found {_word(item)}", "", offset, inside)
                continue
            if large and (size := json_bytes(item)) > self.limits.document_bytes:
                most = _mebibytes(self.limits.document_bytes)
                hint = "raise Limits.document_bytes"
                self.problem(f"the manifest has {_mebibytes(size)}, more than the {most} allowed", hint, offset, inside)
                continue
            if "kind" not in item and "apiVersion" not in item and parent.get("kind", "List") != "List":
                item = {"apiVersion": parent.get("apiVersion"), "kind": parent["kind"].removesuffix("List"), **item}
            self.document(item, line, start, end, inside)

    def document(self, data: dict[str, Any], line: int, start: int, end: int, inside: str = "") -> None:
        number = len(self.documents)
        document = Document(data, self.file, number, line, self.source, start, end, inside, self.directory)
        self.documents.append(document)


def _is_list(data: Any) -> bool:
    kind = data.get("kind")
    return (
        isinstance(kind, str) and kind.endswith("List") and isinstance(data.get("items"), list) and "spec" not in data
    )


def _parts(text: str) -> Iterator[tuple[int, int]]:
    """Cut at lines that begin or end a document; directives (%YAML) stay with the document they precede."""
    start = 0
    for found in _BOUNDARY.finditer(text):
        at = found.start() if found[0].startswith("---") else found.end()
        before = text[start:at]
        if at == start or (before.lstrip().startswith("%") and "\n---" not in before):
            continue
        yield start, at
        start = at
    if start < len(text):
        yield start, len(text)


def json_bytes(data: Any) -> int:
    """Return how many bytes the JSON of ``data`` has, about."""
    if isinstance(data, str):
        return len(data)
    if isinstance(data, dict):
        return sum(len(key) + json_bytes(value) + 4 for key, value in data.items())
    if isinstance(data, list):
        return sum(json_bytes(item) + 1 for item in data)
    return 4


def depth_of(data: Any, most: int) -> int:
    """How deep lists and objects are within each other; nothing below ``most`` + 1 is looked at."""
    if most < 0 or not isinstance(data, (dict, list)):
        return 0
    return 1 + max(
        (depth_of(item, most - 1) for item in (data.values() if isinstance(data, dict) else data)), default=0
    )


def _mebibytes(size: int) -> str:
    return f"{size / 1048576:.1f} MiB" if size >= 104858 else f"{size} bytes"


def _word(value: Any) -> str:
    for kind, word in _KINDS:
        if isinstance(value, kind):
            return word if kind in (list, type(None)) else f"{word} {str(value)[:40]!r}"
    return "something else"


_KINDS: tuple[tuple[type, str], ...] = (
    (type(None), "null"),
    (bool, "the boolean"),
    (int, "the integer"),
    (float, "the number"),
    (str, "the text"),
    (list, "a list"),
)


def _is_below(path: str, above: str) -> bool:
    """Whether a field path is ``above``, or of something in it."""
    return path.startswith(above) and (len(path) == len(above) or not above or path[len(above)] in ".[")


def _join(prefix: str, path: str) -> str:
    return f"{prefix}.{path}" if prefix and path and not path.startswith("[") else prefix + path
