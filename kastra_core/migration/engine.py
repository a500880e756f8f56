"""Files to resources: who reads which document, what cannot be read, and whether the result would apply.

Migrators are pure, so a file that one refuses can be left out and the rest migrated again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import attrs

from kastra_core.api.meta import JsonObject
from kastra_core.api.registry import KindRegistry
from kastra_core.errors import Problem, ValidationError
from kastra_core.includes import decode_documents
from kastra_core.manifests import dump, parse
from kastra_core.migration.reading import HELM, key_path
from kastra_core.migration.secret_texts import hide_tokens
from kastra_core.protocols.migrator import MigrationResult, MigrationRow, MigrationSource, Migrator, SourceDocument

__all__ = ["AUTO", "Detection", "Migration", "Sources", "detect", "migrate", "problems_of_result"]

AUTO = "auto"
_LEAST = 0.2
"""Confidence below which a document is of no format."""


class Sources(Protocol):
    """Files and their documents: a :class:`~kastra_core.migration.FileSource`, or what is like one."""

    files: list[str]
    given: set[str]
    left_out: list[str]
    problems: dict[str, tuple[Problem, ...]]

    def documents_of(self, file: str) -> Sequence[SourceDocument]: ...

    def of(self, documents: Sequence[SourceDocument]) -> MigrationSource: ...


@attrs.frozen(kw_only=True)
class Detection:
    """Who reads a file. A file whose documents are of several formats has one entry each."""

    file: str
    migrator: str
    confidence: float
    documents: int = 1


@attrs.frozen(kw_only=True)
class Migration:
    """All that came of some files."""

    resources: Sequence[JsonObject]
    rows: Sequence[MigrationRow]
    names: Mapping[str, str]
    files: Mapping[str, str]
    config: JsonObject
    detected: Sequence[Detection]
    """Files that were migrated or refused, in order."""
    refused: Sequence[Problem]
    """Why files were left out; each has its file."""
    ignored: Sequence[str]
    """Files of a directory that no migrator knows."""
    notes: Sequence[str] = ()
    """What else to know."""

    def count(self, outcome: str) -> int:
        """How many rows have an outcome."""
        return sum(row.outcome == outcome for row in self.rows)

    @property
    def lost(self) -> int:
        """Rows that are dropped or manual: what ``--strict`` asks for."""
        return self.count("dropped") + self.count("manual")


def detect(document: SourceDocument, migrators: Mapping[str, Migrator]) -> list[tuple[str, float]]:
    """Return (migrator, confidence) of those that know a document, the surest first; of equally sure ones by name.

    A migrator that fails at it does not know it.
    """
    found = []
    for name, migrator in migrators.items():
        try:
            confidence = float(migrator.detect(document))
        except Exception:  # noqa: S112 - whatever a plugin stumbles over: another may know the document
            continue
        if confidence >= _LEAST:
            found.append((name, confidence))
    return sorted(found, key=lambda pair: (-pair[1], pair[0]))


def migrate(
    source: Sources,
    migrators: Mapping[str, Migrator],
    registry: KindRegistry,
    *,
    chosen: str = AUTO,
    namespace: str = "default",
) -> Migration:
    """Make resources of files.

    Args:
        source: the files.
        migrators: by name.
        registry: the kinds that the result may have.
        chosen: the only migrator to use, or "auto": the surest for each document.
        namespace: of resources that name none, for finding twins.
    """
    return _Engine(source, migrators, registry, chosen, namespace).migrate()


def problems_of_result(
    resources: Sequence[JsonObject], registry: KindRegistry, *, namespace: str = "default"
) -> tuple[Problem, ...]:
    """Return why manifests would not apply; none when they would. It takes the way of ``kastra apply``."""
    try:
        documents = parse(dump(resources), "<result>") if resources else []
        decode_documents(registry, documents, namespace=namespace, unknown_fields="strict")
    except ValidationError as error:
        return error.problems
    except (TypeError, ValueError):
        return tuple(_unwritable(resources, namespace))
    return ()


def _unwritable(resources: Sequence[JsonObject], namespace: str) -> Iterator[Problem]:
    for manifest in resources:
        try:
            dump([manifest])
        except (TypeError, ValueError) as error:
            kind, space, name = _key(manifest, namespace)
            yield Problem(f"it cannot be written as YAML: {error}", resource=f"{kind} {space}/{name}")


class _Engine:
    def __init__(
        self, source: Sources, migrators: Mapping[str, Migrator], registry: KindRegistry, chosen: str, namespace: str
    ) -> None:
        self.source, self.migrators, self.registry = source, migrators, registry
        self.chosen, self.namespace = chosen, namespace
        self.refused: dict[str, list[Problem]] = {}
        self.ignored: list[str] = []
        self.charts: list[str] = []
        """Templates of charts in directories."""
        self.unknown: set[str] = set()
        """Refused files that nobody knows; what a migrator reads along is none of them after all."""
        self.detected: list[Detection] = []
        self.groups: dict[str, list[SourceDocument]] = {}
        """Migrator -> its documents."""

    def migrate(self) -> Migration:
        self.groups = self._groups()
        results = {name: self._run(name) for name in self.groups}
        while bad := self._would_not_apply(results):
            for name in sorted(bad):
                results[name] = self._run(name)
        return self._merged(results)

    # ------------------------------------------------------------------------------------------ who reads what

    def _groups(self) -> dict[str, list[SourceDocument]]:
        groups: dict[str, list[SourceDocument]] = {}
        for file in self.source.files:
            documents = self.source.documents_of(file)
            if file in self.source.problems:
                problems = self.source.problems[file]
                if file in self.source.given:
                    self._refuse(problems, [file])
                elif problems[0].message == HELM:
                    self.charts.append(file)
                elif not file.endswith(".py"):
                    self._refuse(problems, [file])
                continue
            known: dict[str, Detection] = {}
            for document in documents:
                name, confidence = self._reader_of(document)
                if name:
                    groups.setdefault(name, []).append(document)
                    before = known.get(name)
                    known[name] = Detection(
                        file=file,
                        migrator=name,
                        confidence=max(confidence, before.confidence if before else 0),
                        documents=before.documents + 1 if before else 1,
                    )
            self.detected.extend(known.values())
            if not known:
                self._unknown(file, documents)
        return {name: groups[name] for name in sorted(groups)}

    def _reader_of(self, document: SourceDocument) -> tuple[str, float]:
        if self.chosen != AUTO:
            # The file was given for this format: then the format says what is wrong with it.
            confidence = dict(detect(document, {self.chosen: self.migrators[self.chosen]})).get(self.chosen, 0.0)
            takes = confidence or document.file in self.source.given
            return (self.chosen, confidence) if takes else ("", 0.0)
        return next(iter(detect(document, self.migrators)), ("", 0.0))

    def _unknown(self, file: str, documents: Sequence[SourceDocument]) -> None:
        if file not in self.source.given:
            self.ignored.append(file)
            return
        what = "the file is empty" if not documents else f"no installed migrator knows this format{_said(documents)}"
        names = ", ".join(self.migrators) or "none"
        hint = f"installed: {names}; `--from NAME` chooses one, another may come with a plugin"
        self.unknown.add(file)
        self._refuse([Problem(what, hint=hint)], [file])

    # ------------------------------------------------------------------------------------------ running one

    def _run(self, name: str) -> MigrationResult:
        left = [one for one in self.groups[name] if one.file not in self.refused]
        while left:
            try:
                return self.migrators[name].migrate(self.source.of(left))
            except ValidationError as error:
                files = {problem.file for problem in error.problems}
                known = {one.file for one in left} & files
                if known:
                    self._refuse(error.problems, sorted(known))
                else:  # of a file that one of these reads along
                    self._refuse_those_that_fail(name, left, error)
            except Exception as error:
                self._refuse_those_that_fail(name, left, error)
            left = [one for one in left if one.file not in self.refused]
        return MigrationResult(resources=(), rows=())

    def _refuse_those_that_fail(self, name: str, documents: Sequence[SourceDocument], error: Exception) -> None:
        """Find the files that a migrator fails at when it has them alone; else it is all of them."""
        files = list(dict.fromkeys(one.file for one in documents))
        failing: dict[str, Exception] = {}
        for file in files:
            try:
                self.migrators[name].migrate(self.source.of([one for one in documents if one.file == file]))
            except ValidationError as trouble:
                self._refuse(trouble.problems, [file])
            except Exception as trouble:
                failing[file] = trouble
        if not failing and not any(file in self.refused for file in files):
            if isinstance(error, ValidationError):
                self._refuse(error.problems, files)
                return
            failing = dict.fromkeys(files, error)
        for file, fault in failing.items():
            told = f"the migrator {name!r} failed at it: {type(fault).__name__}: {fault}"
            self._refuse([Problem(told, hint=f"this is a fault of the migrator {name!r}: please report it")], [file])

    def _refuse(self, problems: Sequence[Problem], files: Sequence[str]) -> None:
        """Leave files out; one that has no problem of its own is told of those that have."""
        for problem in problems:
            told = _without_tokens(problem if problem.file else problem.at(file=files[0] if files else ""))
            kept = self.refused.setdefault(told.file, [])
            if told not in kept:
                kept.append(told)
        wrong = ", ".join(dict.fromkeys(problem.file for problem in problems if problem.file))
        for file in files:
            if file not in self.refused:
                self.refused[file] = [Problem(f"it goes with {wrong}, which is refused", file=file)]

    # ------------------------------------------------------------------------------------------ the result

    def _would_not_apply(self, results: Mapping[str, MigrationResult]) -> set[str]:
        """Refuse the files whose resources would not apply, or that another file makes too. Return their migrators."""
        bad: set[str] = set()
        origin: dict[tuple[str, str, str], tuple[str, JsonObject]] = {}
        resources: list[JsonObject] = []
        for name, result in results.items():
            for manifest in result.resources:
                key = _key(manifest, self.namespace)
                other, twin = origin.setdefault(key, (name, manifest))
                if twin is manifest:
                    resources.append(manifest)
                elif twin != manifest:
                    files = self._files_of(name, key, result)
                    theirs = ", ".join(self._files_of(other, key, results[other]))
                    told = f"{key[0]} {key[1]}/{key[2]} is made of {theirs} too, and is another one there"
                    self._refuse([Problem(told, file=file, hint="migrate them apart") for file in files], files)
                    bad.add(name)
        if bad:
            return bad
        for problem in problems_of_result(resources, self.registry, namespace=self.namespace):
            kind, _, full = problem.resource.partition(" (")[0].partition(" ")
            wanted = (kind, full.rpartition("/")[2])
            found = [key for key in origin if (key[0], key[2]) == wanted]
            told = f"what it would become cannot be applied: {problem.message}"
            # A problem of nobody in particular is everybody's.
            for key in found or list(origin):
                name, label = origin[key][0], f"{key[0]} {key[1]}/{key[2]}"
                files = self._files_of(name, key, results[name])
                row = _row_of(results[name].rows, label, problem.path)
                place = (row.file, row.line) if row else (files[0], 0)
                mended = Problem(told, problem.path, hint=problem.hint, file=place[0], line=place[1], resource=label)
                self._refuse([mended], files)
                bad.add(name)
        return bad

    def _files_of(self, name: str, key: tuple[str, str, str], result: MigrationResult) -> list[str]:
        """The given files that a resource is from; all of the migrator's where nobody can tell."""
        label = f"{key[0]} {key[1]}/{key[2]}"
        told = {row.file for row in result.rows if row.target == label or row.target.startswith(f"{label} ")}
        left = [one.file for one in self.groups[name] if one.file not in self.refused]
        return list(dict.fromkeys(file for file in left if file in told) or dict.fromkeys(left)) or [""]

    def _rows_of_the_silent(self, results: Mapping[str, MigrationResult]) -> Iterator[MigrationRow]:
        """For documents of migrated files that no migrator knows, or that one said nothing of."""
        told = {(row.file, row.document) for result in results.values() for row in result.rows}
        for file in dict.fromkeys(one.file for one in self.detected if one.file not in self.refused):
            for document in self.source.documents_of(file):
                if (file, document.index) in told or not isinstance(document.data, Mapping):
                    continue
                reason = f"nothing is made of this document{_said([document])}: no migrator knows it"
                for key in document.data:
                    path = key_path([key])
                    yield MigrationRow(
                        file=file,
                        line=document.lines.get(path, document.line),
                        key=hide_tokens(path),
                        outcome="dropped",
                        reason=reason,
                        document=document.index,
                    )

    def _merged(self, results: Mapping[str, MigrationResult]) -> Migration:
        resources: dict[tuple[str, str, str], JsonObject] = {}
        files: dict[str, str] = {}
        config: JsonObject = {}
        notes: list[str] = []
        if self.charts:
            notes.append(f"{_some(self.charts)} left out: templates of Helm; render them first (helm template)")
        if links := self.source.left_out:
            why = "links that lead out of the directory or nowhere; give by name what they lead to"
            notes.append(f"{_some(links)} left out: {why}")
        for name, result in results.items():
            for manifest in result.resources:
                resources.setdefault(_key(manifest, self.namespace), manifest)
            for path, text in result.files.items():
                if files.setdefault(path, text) != text:
                    files[path], other = _joined(files[path], text)
                    notes += [f"{path}: {one} is offered in two forms; the first is kept" for one in other]
            notes.extend(_merge_config(config, result.config, name))
        used = {row.file for result in results.values() for row in result.rows}
        return Migration(
            resources=list(resources.values()),
            rows=[*(row for result in results.values() for row in result.rows), *self._rows_of_the_silent(results)],
            names={key: value for result in results.values() for key, value in result.names.items()},
            files=files,
            config=config,
            detected=self.detected,
            refused=[
                problem
                for file, problems in self.refused.items()
                if not (file in self.unknown and file in used)
                for problem in problems
            ],
            ignored=[file for file in self.ignored if file not in used],
            notes=notes,
        )


def _said(documents: Sequence[SourceDocument]) -> str:
    """What the first document calls itself, in brackets."""
    data = documents[0].data
    words = [str(data[key]) for key in ("apiVersion", "kind") if isinstance(data, Mapping) and data.get(key)]
    return f" ({hide_tokens(' '.join(words))[:100]})" if words else ""


def _without_tokens(one: Problem) -> Problem:
    return one.at(message=hide_tokens(one.message), path=hide_tokens(one.path), hint=hide_tokens(one.hint))


def _some(files: Sequence[str]) -> str:
    return f"{files[0]} and {len(files) - 1} more are" if files[1:] else f"{files[0]} is"


def _key(manifest: Mapping[str, Any], namespace: str) -> tuple[str, str, str]:
    metadata = manifest.get("metadata") or {}
    return str(manifest.get("kind")), str(metadata.get("namespace") or namespace), str(metadata.get("name"))


def _row_of(rows: Iterable[MigrationRow], label: str, path: str) -> MigrationRow | None:
    """The row of what is at ``path`` of a resource, or near it."""
    best: MigrationRow | None = None
    length = -1
    for row in rows:
        target, _, field = row.target.rpartition(" ")
        if target != label and row.target != label:
            continue
        field = field if target == label else ""
        common = len(field) if path.startswith(field) else 0
        if common > length:
            best, length = row, common
    return best


def _merge_config(into: JsonObject, more: Mapping[str, Any], name: str, path: str = "") -> list[str]:
    """Merge settings; the first one holds. Return what was left out."""
    notes = []
    for key, value in more.items():
        where = f"{path}.{key}" if path else key
        held = into.get(key)
        if isinstance(held, dict) and isinstance(value, Mapping):
            notes += _merge_config(held, value, name, where)
        elif isinstance(held, list) and isinstance(value, list):
            into[key] = [*held, *(item for item in value if item not in held)]
        elif key not in into:
            into[key] = value
        elif held != value:
            notes.append(f"the setting {where} of {name} was left out: another file sets it to another value")
    return notes


def _joined(first: str, second: str) -> tuple[str, list[str]]:
    """Two modules of stubs as one, and the names of functions that the second offers in another form."""
    between = "\n\n\ndef "
    have = {_name_of(part): part.rstrip("\n") for part in first.split(between)[1:]}
    more, other = [], []
    for part in second.split(between)[1:]:
        held = have.get(_name_of(part))
        if held is None:
            more.append(part.rstrip("\n"))
        elif held != part.rstrip("\n"):
            other.append(_name_of(part))
    return between.join([first.rstrip("\n"), *more]) + "\n", other


def _name_of(function: str) -> str:
    return function.partition("(")[0]
