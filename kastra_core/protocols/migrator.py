"""Migrators turn foreign or older configurations into resources, exporters turn resources into foreign ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import attrs

from kastra_core.api.meta import JsonObject

__all__ = [
    "ExportResult",
    "Exporter",
    "MigrationResult",
    "MigrationRow",
    "MigrationSource",
    "Migrator",
    "Outcome",
    "SourceDocument",
]

Outcome = Literal["mapped", "defaulted", "dropped", "manual"]


@attrs.frozen(kw_only=True)
class SourceDocument:
    """One document of a file: what it says and its text.

    A YAML file has a document for each ``---`` part, each with the text of the whole file.
    """

    file: str
    """Path as the user gave it, or below the directory that the user gave."""
    text: str
    data: Any = None
    """JSON-compatible; None when it is no YAML or JSON (Python)."""
    lines: Mapping[str, int] = attrs.field(factory=dict, eq=False, repr=False)
    """Key path ("agents.chef.tools[0]") -> line, from 1, where known."""
    index: int = 0
    """Counts the documents of the file, from 0."""
    line: int = 1
    """Where it begins."""


@attrs.frozen(kw_only=True)
class MigrationRow:
    """What became of one key of the source, and all below it that has no row of its own; no key is without a row.

    mapped: it is in the target. defaulted: the source says nothing, so this was chosen. dropped: nothing was made of
    it. manual: somebody has to do something, which ``reason`` says.
    """

    file: str
    line: int
    """From 1; 0 where the source has no such place."""
    key: str
    """Key path in the document; of Python a dotted name."""
    outcome: Outcome
    reason: str = ""
    target: str = ""
    """"Agent default/greeter spec.instructions", "" when it went nowhere."""
    document: int = 0
    """Index of the document in its file."""


@attrs.frozen(kw_only=True)
class MigrationResult:
    """Resources and what to know of them."""

    resources: Sequence[JsonObject]
    """Manifests, in an order that can be applied."""
    rows: Sequence[MigrationRow]
    names: Mapping[str, str] = attrs.field(factory=dict)
    """"Kind/source name" -> resource name, where it had to change."""
    files: Mapping[str, str] = attrs.field(factory=dict)
    """Further files that are offered: relative path -> text. Stubs of functions that somebody has to write."""
    config: JsonObject = attrs.field(factory=dict)
    """What belongs into the project's configuration: providers, allowed modules."""


class MigrationSource(Protocol):
    """The documents to migrate, and a bounded look at the files around them. Nothing is written, nothing fetched."""

    @property
    def documents(self) -> Sequence[SourceDocument]:
        """Those that this migrator was chosen for, in the order of their files."""
        ...

    def read(self, path: str, of: SourceDocument, *, beside: bool = False) -> Sequence[SourceDocument]:
        """Return the documents of a file that ``of`` names, relative to its directory; the same objects each time.

        Args:
            path: relative; it may not lead out of what the user gave. A path that the document itself names.
            of: the document that names it.
            beside: the path is a convention of the format and not from the document; it may then lead one directory
                above what the user gave ("../crew.py").

        Raises:
            ManifestError: there is no such file, it cannot be read, or it lies outside.
        """
        ...

    def find(self, pattern: str, of: SourceDocument, *, beside: bool = False) -> Sequence[str]:
        """Files (paths for :meth:`read`, sorted) that match a glob relative to the directory of ``of``; ``**`` too."""
        ...


@runtime_checkable
class Migrator(Protocol):
    """Pure: same documents, same result; never imports, runs or fetches what a document refers to."""

    def detect(self, document: SourceDocument) -> float:
        """Confidence 0 to 1 that the document is of this migrator's format.

        0.9 and above: a mark that nobody else has. About 0.5: its shape fits. 0: not this format. A broken document of
        the format counts as one, so that :meth:`migrate` can say what is wrong.
        """
        ...

    def migrate(self, source: MigrationSource) -> MigrationResult:
        """Make resources of all documents, which may refer to each other.

        Raises:
            ManifestError: with all problems of all documents that are invalid; each has its file. Who calls leaves
                those files out and may try again.
        """
        ...


@attrs.frozen(kw_only=True)
class ExportResult:
    """Foreign files and what became of each field of the resources."""

    files: Mapping[str, str]
    """Relative path -> text."""
    rows: Sequence[MigrationRow]
    """``key`` is a field of the resource that ``file`` names ("Agent default/greeter"); ``target`` a foreign one."""


@runtime_checkable
class Exporter(Protocol):
    """The other way: pure, as a migrator is."""

    def export(self, resources: Sequence[JsonObject], *, format: str = "yaml") -> ExportResult:
        """Make foreign files of manifests.

        Args:
            resources: manifests; what one refers to may be missing.
            format: yaml or json.
        Raises:
            ValidationError: a resource has no form there; with all problems.
        """
        ...
