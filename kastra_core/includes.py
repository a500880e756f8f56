"""From documents to resources: files that a manifest names are read, and what is wrong is told with its place.

Which fields name files, and what becomes of their manifests, the kind says (``ResourceKind.resolve``). What holds for
every kind is here: paths begin at the directory of the file that says them and never lead out of it, nothing includes
itself, and all that is wrong with all files is told at once, each with its own file, line and column.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import attrs

from kastra_core.api.kind import ResourceKind
from kastra_core.api.lazy import load
from kastra_core.api.meta import JsonObject, ResourceKey
from kastra_core.api.registry import KindRegistry
from kastra_core.decoding import Decoded, decode
from kastra_core.definitions import KindsOfDocuments
from kastra_core.errors import ManifestError, Problem, ValidationError
from kastra_core.manifests import DEFAULT_LIMITS, Document, Limits, Origin, json_bytes, read_below

__all__ = ["decode_documents", "decode_manifests", "resolve_document"]

_DEEPEST = 32
"""Files that bring each other in, one below the other: as deep as manifests within each other can be written in one
file (:attr:`Limits.depth`; each takes three levels)."""


def decode_documents(
    registry: KindRegistry,
    documents: Sequence[Document],
    *,
    namespace: str = "default",
    limits: Limits = DEFAULT_LIMITS,
    unknown_fields: str = "warn",
) -> list[Decoded]:
    """Return the validated resources of documents, whose files are read first.

    Documents may define kinds and use them, in any order.

    Args:
        registry: the kinds that are known besides.
        documents: as they were read.
        namespace: for namespaced kinds whose manifests name none.
        limits: of what may be read.
        unknown_fields: see :func:`kastra_core.decoding.decode`.
    Raises:
        ValidationError: with the problems of all documents and of all files that they name, each with file, line and
            column.
    """
    out: dict[int, Decoded] = {}
    problems: list[Problem] = []
    dropped: list[Problem] = []
    kinds = KindsOfDocuments(registry)
    first: dict[ResourceKey, tuple[Document, str, ResourceKey | None]] = {}
    acyclic: dict[ResourceKey, tuple[Document, Callable[[str], str], Decoded, Decoded]] = {}
    order = sorted(range(len(documents)), key=lambda index: not kinds.defines(documents[index].data))
    for index in order:
        if kinds.is_of_a_wrong_one(documents[index].data):
            continue
        document, wrong, is_whole = _resolved(kinds.registry, documents[index], limits)
        problems.extend(wrong)
        if not is_whole:
            continue
        try:
            decoded = decode(
                kinds.registry,
                document.data,
                namespace=namespace,
                unknown_fields=unknown_fields,
                place=partial(_placed, document),
            )
        except ValidationError as error:
            problems.extend(_placed(document, problem) for problem in error.problems)
            dropped.extend(_placed(document, problem) for problem in error.dropped)
            kinds.refused(document.data)
            continue
        label = str(decoded.resource.key)
        problems.extend(_placed(document, problem.at(resource=label)) for problem in kinds.learn(decoded))
        twins = []
        for one, outer in decoded.all():
            key, path = one.resource.key, outer("metadata.name")
            holder = None if one is decoded else decoded.resource.key
            twin = first.setdefault(key, (document, path if holder else "", holder))
            if twin[0] is not document:
                hint = f"the first is at {_place_of(twin[0], twin[1])}"
                if holder or twin[2]:
                    hint = f"{hint}; {holder or twin[2]} brings it in: leave out one of the two"
                twins.append(_placed(document, Problem(f"{key} is there twice", path, hint=hint)))
            if one.kind.acyclic:
                acyclic[key] = (document, outer, one, decoded)
        problems.extend(twins)
        if not twins:
            out[index] = decoded
    problems.extend(_circles(acyclic))
    if problems:
        raise ValidationError(problems, dropped)
    return [out[index] for index in range(len(documents))]


def decode_manifests(
    registry: KindRegistry,
    manifests: Sequence[Mapping[str, Any]],
    *,
    namespace: str = "default",
    unknown_fields: str = "warn",
) -> list[Decoded]:
    """As :func:`decode_documents`, with manifests that are in no file.

    Raises:
        ValidationError: with the problems of the first that is wrong.
    """
    kinds = KindsOfDocuments(registry)
    out: dict[int, Decoded] = {}
    is_object = [isinstance(manifest, Mapping) for manifest in manifests]
    for index in sorted(range(len(manifests)), key=lambda at: not (is_object[at] and kinds.defines(manifests[at]))):
        decoded = decode(kinds.registry, manifests[index], namespace=namespace, unknown_fields=unknown_fields)
        if problems := kinds.learn(decoded):
            raise ValidationError([problem.at(resource=str(decoded.resource.key)) for problem in problems])
        out[index] = decoded
    return [out[index] for index in range(len(manifests))]


def _circles(acyclic: Mapping[ResourceKey, tuple[Document, Callable[[str], str], Decoded, Decoded]]) -> list[Problem]:
    """Circles of references within the documents."""
    if not acyclic:
        return []
    from kastra_core.api.circles import circles, own_references

    edges = {key: own_references(one.kind, one.resource) for key, (_, _, one, _) in acyclic.items()}
    out = []
    for key, problem in circles(edges, lambda key: edges.get(key, ())):
        document, outer, _, whole = acyclic[key]
        problem = problem.at(path=outer(problem.path), resource=str(whole.resource.key))
        out.append(_placed(document, problem))
    return out


def _placed(document: Document, problem: Problem) -> Problem:
    """The problem with the place of its field."""
    origin, path = document.origin(problem.path)
    line, column = origin.locate(path)
    return problem.at(file=origin.file, line=line, column=column)


def _place_of(document: Document, path: str) -> str:
    if not path:
        return f"{document.file}:{document.line}"
    origin, inner = document.origin(path)
    return f"{origin.file}:{origin.locate(inner)[0]}"


def resolve_document(registry: KindRegistry, document: Document, *, limits: Limits = DEFAULT_LIMITS) -> Document:
    """Return a document with what its files hold in place of the files' names; most name none and stay as they are.

    The result places a problem of an included manifest in the included file.

    Raises:
        ManifestError: with every problem of every file.
    """
    resolved, problems, _ = _resolved(registry, document, limits)
    if problems:
        raise ManifestError(problems)
    return resolved


def _resolved(registry: KindRegistry, document: Document, limits: Limits) -> tuple[Document, list[Problem], bool]:
    """The document with its files as far as they can be read, what is wrong, and whether to look at it further."""
    kind = registry.of_manifest(document.data)
    if kind is None or kind.resolve is None:
        return document, [], True
    resolving = _Resolving(registry, limits)
    resolved = resolving.resolve(kind, document, ())
    size = json_bytes(resolved.data)
    if size > limits.document_bytes:
        told = Problem(
            f"with its files it has {size / 1048576:.1f} MiB, more than the "
            f"{limits.document_bytes / 1048576:.1f} MiB that a manifest may have",
            hint="split it, or raise Limits.document_bytes",
        )
        return document, [*resolving.problems, document.place(told)], False
    return resolved, list(dict.fromkeys(resolving.problems)), resolving.is_whole


class _Resolving:
    """One manifest with all that it brings in."""

    def __init__(self, registry: KindRegistry, limits: Limits) -> None:
        self.registry, self.limits = registry, limits
        self.problems: list[Problem] = []
        self.files = 0
        self.is_full = False
        """Whether more files were named than a manifest may bring in; that is told once."""
        self.is_whole = True

    def resolve(self, kind: ResourceKind, document: Document, above: tuple[str, ...]) -> Document:
        """
        Args:
            above: real paths of the files that led here, with links followed.
        """
        files = _Files(self, document, above)
        try:
            data = load(kind.resolve)(document.data, files)
        except ValidationError as error:
            data, self.is_whole = document.data, False
            self.problems.extend(files.document().place(problem) for problem in error.problems)
        except Exception as error:
            # Nobody has looked at this manifest yet, so whatever a plugin stumbles over is wrong in it.
            told = Problem(f"its files cannot be put in their places: {type(error).__name__}: {error}")
            self.problems.append(document.place(told))
            self.is_whole = False
            return document
        return attrs.evolve(files.document(), data=dict(data))

    def read(self, document: Document, path: str, into: str, above: tuple[str, ...]) -> Sequence[Document]:
        """The documents of a path, themselves resolved."""
        if self.is_full:
            return []
        here = os.path.realpath(document.file)
        chain = (*above, here)
        if len(chain) > _DEEPEST:
            hint = "include some of them from one file"
            told = Problem(f"more than {_DEEPEST} files include each other one below the other", into, hint=hint)
            self.problems.append(document.place(told))
            return []
        found = read_below(document.directory or "", path, omit=document.file, limits=self.limits, used=self.files)
        self.files += found.files
        self.is_full = found.is_full
        self.problems.extend(document.place(problem.at(path=into)) for problem in found.own)
        self.problems.extend(found.problems)
        if not (found.documents or found.own or found.problems):
            told = Problem(
                f"{path!r} holds no manifest", into, hint="only comments, empty documents, or this file itself"
            )
            self.problems.append(document.place(told))
        out = []
        for one in found.documents:
            if os.path.realpath(one.file) in chain:
                self.circle(document, one.file, into, chain)
                break
            kind = self.registry.of_manifest(one.data)
            out.append(self.resolve(kind, one, chain) if kind is not None and kind.resolve is not None else one)
        return out

    def circle(self, document: Document, file: str, into: str, chain: tuple[str, ...]) -> None:
        whole = [os.path.relpath(each) for each in chain[chain.index(os.path.realpath(file)) :]]
        told = " -> ".join([*whole, whole[0]])
        hint = "a file cannot bring itself in; take one of these out"
        self.problems.append(
            document.place(Problem(f"the files include each other in a circle: {told}", into, hint=hint))
        )


class _Files:
    """The Includer that one manifest's resolver is given."""

    def __init__(self, resolving: _Resolving, document: Document, above: tuple[str, ...]) -> None:
        self._resolving, self._document, self._above = resolving, document, above
        self._read: dict[int, Document] = {}
        """By the identity of the manifest that was handed out."""
        self._origins: list[Origin] = []

    def document(self) -> Document:
        """The document with the origins that were told so far."""
        return attrs.evolve(self._document, origins=tuple(self._origins)) if self._origins else self._document

    def include(self, path: str, into: str) -> Sequence[JsonObject]:
        document = self._document
        if document.directory is None:
            hint = "name the manifest's file (-f file.yaml), or write what it includes into it"
            told = Problem(f"{path!r} cannot be found: this manifest is in no file ({document.file})", into, hint=hint)
            self._resolving.problems.append(document.place(told))
            return ()
        found = self._resolving.read(document, path, into, self._above)
        for one in found:
            self._read[id(one.data)] = one
        return [one.data for one in found]

    def placed(self, into: str, manifest: JsonObject) -> None:
        self._origins.append(Origin(into, self._read[id(manifest)]))

    def moved(self, into: str, source: str) -> None:
        if into != source:
            self._origins.append(Origin(into, None, source))
