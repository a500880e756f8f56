"""What becomes of every key of a source: read it by nodes, put it into drafts, and no key is left without a row.

A migrator reads a document as a :class:`Node` and moves what it finds into a :class:`Draft` with :meth:`Node.to`, which
writes the row. At the end each key that nobody spoke for gets a row too (dropped), secrets in the open are taken
out, and what is wrong with the source is raised with its place.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from kastra_core.api.meta import JsonObject
from kastra_core.errors import ManifestError, Problem
from kastra_core.migration.names import Names, env_name
from kastra_core.migration.reading import key_path
from kastra_core.migration.secret_texts import (
    REMOVED,
    env_reference,
    hide_tokens,
    is_secret_key,
    looks_like_token,
    open_secrets,
    tokens_pattern,
)
from kastra_core.migration.stubs import Stubs
from kastra_core.protocols.migrator import MigrationResult, MigrationRow, MigrationSource, Outcome, SourceDocument
from kastra_core.serde import type_word

__all__ = ["UNKNOWN", "Draft", "Node", "Report"]

UNKNOWN = "not known to this format; nothing is made of it"
_LINE_LIMIT = 200
_WORD = re.compile(r"[a-z_-]{0,16}|[A-Z_-]{0,8}|[A-Z]?[a-z]{0,15}")
_UNSET: Any = object()


class Draft:
    """A resource in the making; ``manifest`` may be edited at will."""

    def __init__(self, manifest: JsonObject) -> None:
        self.manifest = manifest
        manifest.setdefault("spec", {})

    @property
    def kind(self) -> str:
        return str(self.manifest["kind"])

    @property
    def name(self) -> str:
        return str(self.manifest["metadata"]["name"])

    @property
    def namespace(self) -> str:
        return str(self.manifest["metadata"].get("namespace") or "")

    @property
    def spec(self) -> JsonObject:
        return self.manifest["spec"]  # type: ignore[no-any-return]

    def target(self, path: str = "") -> str:
        """How rows name this resource, or a field of it.

        >>> Draft({"kind": "Agent", "metadata": {"name": "a"}}).target("spec.instructions")
        'Agent default/a spec.instructions'
        """
        return f"{self.kind} {self.namespace or 'default'}/{self.name} {path}".rstrip()

    def set(self, path: str | Sequence[str | int], value: Any) -> None:
        """Put a value at a path ("spec.model.name"); what lies above is made.

        A key with dots, or the index of a list (there, or the next): give the path as a sequence.
        """
        parts = path.split(".") if isinstance(path, str) else list(path)
        place: Any = self.manifest
        for at, part in enumerate(parts[:-1]):
            fresh: Any = [] if isinstance(parts[at + 1], int) else {}
            if isinstance(place, list):
                if part == len(place):
                    place.append(fresh)
                place = place[int(part)]
            else:
                place = place.setdefault(part, fresh)
        last = parts[-1]
        if isinstance(place, list) and last == len(place):
            place.append(value)
        else:
            place[last] = value

    def get(self, path: str, default: Any = None) -> Any:
        """The value at a path of keys, ``default`` where there is none."""
        place: Any = self.manifest
        for part in path.split("."):
            if not isinstance(place, Mapping) or part not in place:
                return default
            place = place[part]
        return place


class Node:
    """A value of the source with its place. A key that is not there is a node too: falsy, its value None."""

    __slots__ = ("_report", "document", "path", "present", "value")

    def __init__(
        self, report: Report, document: SourceDocument, path: tuple[str | int, ...], value: Any, present: bool
    ) -> None:
        self._report, self.document, self.path, self.value, self.present = report, document, path, value, present

    def __bool__(self) -> bool:
        """Whether it is there and not null."""
        return self.present and self.value is not None

    def __repr__(self) -> str:
        return f"Node({self.document.file}:{self.line} {self.key})"

    @property
    def key(self) -> str:
        """Key path in the document."""
        return key_path(self.path)

    @property
    def name(self) -> str:
        """The last key of the path; of a list's item its index."""
        return str(self.path[-1]) if self.path else ""

    @property
    def line(self) -> int:
        """Where it stands, else what is around it."""
        path = self.path
        while path:
            line = self.document.lines.get(key_path(path))
            if line is not None:
                return line
            path = path[:-1]
        return self.document.line

    # -------------------------------------------------------------------------------------------- looking

    def __getitem__(self, key: str | int) -> Node:
        """The node below; one that is not there when this is no object, or no list for an index."""
        inside = (
            (isinstance(self.value, Mapping) and key in self.value)
            if isinstance(key, str)
            else (isinstance(self.value, list) and -1 < key < len(self.value))
        )
        value = self.value[key] if inside else None
        return Node(self._report, self.document, (*self.path, key), value, inside)

    def first(self, *keys: str) -> Node:
        """The first of these keys that is there; else the last of them, which is not."""
        return next((self[key] for key in keys if self[key]), self[keys[-1]])

    def fields(self) -> Iterator[tuple[str, Node]]:
        """The keys of an object with their nodes; nothing for anything else."""
        if isinstance(self.value, Mapping):
            for key in self.value:
                yield key, self[key]

    def items(self) -> list[Node]:
        """The items of a list; none for anything else."""
        return [self[at] for at in range(len(self.value))] if isinstance(self.value, list) else []

    @property
    def is_text(self) -> bool:
        return isinstance(self.value, str)

    @property
    def is_map(self) -> bool:
        return isinstance(self.value, Mapping)

    @property
    def is_list(self) -> bool:
        return isinstance(self.value, list)

    # ----------------------------------------------------------------------- reading, with a problem for a wrong type

    def text(self, default: str = "") -> str:
        """A string. Numbers and booleans are taken as they are written in JSON. No row is written."""
        if isinstance(self.value, (bool, int, float)):
            return str(self.value).lower() if isinstance(self.value, bool) else str(self.value)
        return self._typed(str, "a string", default)  # type: ignore[no-any-return]

    def boolean(self, default: bool = False) -> bool:
        return self._typed(bool, "a boolean", default)  # type: ignore[no-any-return]

    def number(self, default: float | None = None) -> float | None:
        if isinstance(self.value, bool):
            self._wrong("a number", default)
            return default
        return self._typed((int, float), "a number", default)  # type: ignore[no-any-return]

    def mapping(self) -> Mapping[str, Any]:
        return self._typed(Mapping, "an object", {})  # type: ignore[no-any-return]

    def list(self) -> list[Any]:
        return self._typed(list, "a list", [])  # type: ignore[no-any-return]

    def _typed(self, types: Any, word: str, default: Any) -> Any:
        if not self:
            return default
        return self.value if isinstance(self.value, types) else self._wrong(word, default)

    def _wrong(self, word: str, default: Any) -> Any:
        is_secret = self.is_text and is_secret_key(self.name)
        self.problem(f"expected {word}, found {'a string' if is_secret else type_word(self.value)}")
        return default

    def problem(self, message: str, hint: str = "") -> None:
        """Say that the source is invalid here: nothing is made of its file. What a secret is, is not repeated."""
        if self.is_text and is_secret_key(self.name):
            self._report.hide(self.value)
        told = Problem(message, self.key, hint=hint, file=self.document.file, line=self.line)
        if told not in self._report.problems:
            self._report.problems.append(told)

    # -------------------------------------------------------------------------------------------- what becomes of it

    def to(
        self,
        draft: Draft,
        path: str | Sequence[str | int],
        value: Any = _UNSET,
        *,
        reason: str = "",
        whole: bool = True,
    ) -> Any:
        """Put the value, or ``value`` in its place, into a draft and write the row. Return what was put.

        Does nothing where the key is absent or null (a null gets a row that says so).

        Args:
            path: field of the draft, "spec.model.name" or a sequence.
            value: what it became, when not the same.
            reason: how it was changed, for the row.
            whole: the row speaks for all below too; False when they get rows of their own.
        """
        if not self.present:
            return None
        if self.value is None and value is _UNSET:
            self.mapped(draft.target(), "null: as if it were not there")
            return None
        value = copy.deepcopy(self.value) if value is _UNSET else value
        draft.set(path, value)
        shown = path if isinstance(path, str) else key_path(path)
        self._report.cover(self, "mapped", reason, draft.target(shown), whole=whole)
        return value

    def mapped(self, target: str | Draft, reason: str = "", *, whole: bool = True) -> None:
        """Say where it went, when that is no single field. Nothing for a key that is not there."""
        told = target.target() if isinstance(target, Draft) else target
        if self.present:
            self._report.cover(self, "mapped", reason, told, whole=whole)

    def dropped(self, reason: str, target: str = "") -> None:
        """Say why nothing is made of it and all below it that has no row. Nothing for a key that is not there."""
        if self.present:
            self._report.cover(self, "dropped", reason, target)

    def manual(self, reason: str, target: str | Draft = "") -> None:
        """Say what somebody has to do by hand; also for a key that is not there and should be."""
        told = target.target() if isinstance(target, Draft) else target
        self._report.cover(self, "manual", reason, told)

    def defaulted(self, reason: str, target: str | Draft = "") -> None:
        """Say what was chosen because the source does not say it; also for a key that is not there."""
        told = target.target() if isinstance(target, Draft) else target
        self._report.cover(self, "defaulted", reason, told)

    def secret(self, draft: Draft, path: str | Sequence[str | int], *env: str) -> str:
        """Put a reference to an environment variable into the draft. Return the variable's name, "" for none.

        A text such as ``${env.X}`` refers to X; a secret in the open is left out, and somebody has to put it into the
        variable that ``env`` (words) names.
        """
        if not self:
            return ""
        shown = path if isinstance(path, str) else key_path(path)
        name = env_reference(self.text())
        if name:
            self._report.cover(self, "mapped", f"environment variable {name}", draft.target(shown))
        else:
            name = env_name(*(env or (draft.name, self.name)))
            self._report.hide(self.text())
            self._report.cover(
                self,
                "manual",
                f"a secret in the open was left out: put it into the environment variable {name}",
                draft.target(shown),
            )
        draft.set(path, {"valueFrom": {"env": name}})
        return name


class Report:
    """All that one :meth:`~kastra_core.protocols.migrator.Migrator.migrate` makes.

    Args:
        source: what is migrated.
    """

    def __init__(self, source: MigrationSource) -> None:
        self.source = source
        self.names = Names()
        self.stubs = Stubs()
        self.drafts: list[Draft] = []
        """In the order in which they were begun, which is that of the result."""
        self.problems: list[Problem] = []
        self.config: JsonObject = {}
        self.files: dict[str, str] = {}
        """Further files to offer: relative path -> text."""
        self._rows: list[MigrationRow] = []
        self._roots: dict[tuple[str, int], Node] = {}
        self._covered: dict[tuple[str, int], set[tuple[str | int, ...]]] = {}
        self._hidden: set[str] = set()
        self._tokens: re.Pattern[str] | None = None
        """Parts of the tokens of the source, as names made of them have them."""

    def read(self, document: SourceDocument) -> Node:
        """The root of a document; from now on each of its keys gets a row. The same each time."""
        key = (document.file, document.index)
        if key not in self._roots:
            self._roots[key] = Node(self, document, (), document.data, True)
            self._covered[key] = set()
        return self._roots[key]

    def draft(
        self,
        kind: str,
        name: str,
        *,
        scope: str = "",
        namespace: str = "",
        api_version: str = "mastra.ai/v1",
    ) -> Draft:
        """Begin a resource.

        Args:
            kind: of the resource.
            name: of the source; a valid name is made of it (:class:`Names`).
            scope: what the name is unique in.
        """
        metadata: JsonObject = {"name": self.names.give(kind, name, scope=scope, namespace=namespace)}
        if namespace:
            metadata["namespace"] = namespace
        draft = Draft({"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": {}})
        self.drafts.append(draft)
        return draft

    def row(
        self, document: SourceDocument, line: int, key: str, outcome: Outcome, reason: str = "", target: str = ""
    ) -> None:
        """Write a row by hand, for sources without keys (Python)."""
        self._rows.append(
            MigrationRow(
                file=document.file,
                line=line,
                key=key,
                outcome=outcome,
                reason=reason,
                target=target,
                document=document.index,
            )
        )

    def cover(self, node: Node, outcome: Outcome, reason: str, target: str, *, whole: bool = True) -> None:
        """Write a row for a node; a second one for the same node and target replaces nothing and is left out."""
        row = MigrationRow(
            file=node.document.file,
            line=node.line,
            key=node.key,
            outcome=outcome,
            reason=reason,
            target=target,
            document=node.document.index,
        )
        if row not in self._rows[-50:]:
            self._rows.append(row)
        if node.present and (whole or not isinstance(node.value, (Mapping, list)) or not node.value):
            self._covered[node.document.file, node.document.index].add(node.path)

    def spoken_for(self, node: Node) -> None:
        """Say that a row above a node, written with ``whole=False``, speaks for it and all below it."""
        self._covered[node.document.file, node.document.index].add(node.path)

    def hide(self, text: str) -> None:
        """Remember a secret: it appears in nothing that is made.

        A plain word ("ollama", "dummy": where a server asks for no key) is passed over: other texts have it too.
        """
        if len(text) >= 4 and not _WORD.fullmatch(text):
            self._hidden.add(text)

    def problem(self, document: SourceDocument, message: str, *, line: int = 0, path: str = "", hint: str = "") -> None:
        """Say that a document is invalid."""
        line = line or document.line
        self.problems.append(Problem(message, path, hint=hint, file=document.file, line=line))

    def result(self) -> MigrationResult:
        """Close the report.

        Raises:
            ManifestError: with every problem that was told.
        """
        known = {(one.file, one.index): one for one in self.source.documents}
        known |= {key: root.document for key, root in self._roots.items()}
        self._tokens = tokens_pattern((one.text, one.data) for one in known.values())
        if self.problems:
            raise ManifestError([self._clean_problem(one) for one in self.problems])
        for key, root in self._roots.items():
            self._cover_rest(root, self._covered[key])
        for draft in self.drafts:
            for secret in open_secrets(draft.manifest):
                self.hide(secret)
        resources = [self._without_tokens(draft) for draft in self.drafts]
        order = {key: at for at, key in enumerate(self._roots)}
        rows = sorted(self._rows, key=lambda row: (order.get((row.file, row.document), len(order)), row.line, row.key))
        config = copy.deepcopy(self.config)
        if self.stubs:
            allow = config.setdefault("tools", {}).setdefault("python", {}).setdefault("allow", [])
            allow.extend(module for module in self.stubs.modules if module not in allow)
        files = {path: self._scrub(text) for path, text in {**self.files, **self.stubs.files()}.items()}
        return MigrationResult(
            resources=resources,
            rows=[self._clean(row) for row in rows],
            names={self._scrub(was): name for was, name in self.names.changed.items()},
            files=files,
            config=_mapped_texts(config, self._scrub),
        )

    def _cover_rest(self, node: Node, covered: set[tuple[str | int, ...]]) -> None:
        """A row for what nobody spoke for, as high up as possible."""
        if node.path in covered:
            return
        above = {path[:count] for path in covered for count in range(len(path))}
        todo = [node]
        while todo:
            one = todo.pop()
            if one.path in covered:
                continue
            children = [child for _, child in one.fields()] or one.items()
            if children and (one.path in above or not one.path):
                todo.extend(reversed(children))
            elif one.path or children or one.value is not None:
                self.cover(one, "dropped", UNKNOWN, "")

    def _without_tokens(self, draft: Draft) -> JsonObject:
        """The manifest, with REMOVED in place of what looks like a token, and a row for each such text."""

        def clean(text: str, path: str) -> str:
            out = self._scrub(text)
            if out != text:
                self._rows.append(
                    MigrationRow(
                        file=next(iter(self._roots), ("", 0))[0],
                        line=0,
                        key="",
                        outcome="manual",
                        reason="a secret in the open was taken out of this text (REMOVED); refer to it in another way",
                        target=draft.target(path),
                    )
                )
            return out

        return _mapped_texts(draft.manifest, clean)  # type: ignore[no-any-return]

    def _scrub(self, text: str, path: str = "") -> str:
        for secret in sorted(self._hidden, key=len, reverse=True):
            if secret in text:
                text = text.replace(secret, REMOVED)
        text = hide_tokens(text) if looks_like_token(text) else text
        return self._tokens.sub(REMOVED, text) if self._tokens else text

    def _clean(self, row: MigrationRow) -> MigrationRow:
        reason = self._scrub(row.reason)
        if len(reason) > _LINE_LIMIT * 4:
            reason = reason[: _LINE_LIMIT * 4] + " ..."
        key, target = self._scrub(row.key), self._scrub(row.target)
        return attrs.evolve(row, reason=" ".join(reason.split()), key=key, target=target)

    def _clean_problem(self, one: Problem) -> Problem:
        return one.at(message=self._scrub(one.message), path=self._scrub(one.path), hint=self._scrub(one.hint))


def _mapped_texts(value: Any, change: Callable[[str, str], str], path: str = "") -> Any:
    """A copy with each text changed, and each key."""
    if isinstance(value, str):
        return change(value, path)
    if isinstance(value, Mapping):
        out: dict[str, Any] = {}
        for key, item in value.items():
            name = plain = change(key, path)
            number = 1
            while name != key and (name in out or name in value):
                name = f"{plain}_{(number := number + 1)}"
            out[name] = _mapped_texts(item, change, f"{path}.{name}" if path else name)
        return out
    if isinstance(value, (list, tuple)):
        return [_mapped_texts(item, change, f"{path}[{at}]") for at, item in enumerate(value)]
    return value
