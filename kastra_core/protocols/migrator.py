"""Migrators turn foreign or older documents into resources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import attrs

from kastra_core.api.meta import JsonObject

__all__ = ["MigrationResult", "MigrationRow", "Migrator", "SourceDocument"]


@attrs.frozen(kw_only=True)
class SourceDocument:
    """One document to look at: parsed data (None when it is no YAML or JSON) and its raw text."""

    file: str
    text: str
    data: Any = None
    lines: Mapping[str, int] = attrs.field(factory=dict)
    """Key path -> line, from 1, where known."""


@attrs.frozen(kw_only=True)
class MigrationRow:
    """What became of one key of the source; no key is without a row."""

    file: str
    line: int
    key: str
    outcome: Literal["mapped", "defaulted", "dropped", "manual"]
    reason: str = ""
    target: str = ""
    """"Agent default/greeter spec.instructions", "" when it went nowhere."""


@attrs.frozen(kw_only=True)
class MigrationResult:
    resources: Sequence[JsonObject]
    """Manifests, in an order that can be applied."""
    rows: Sequence[MigrationRow]
    names: Mapping[str, str] = attrs.field(factory=dict)
    """Source name -> resource name, where it had to change."""


@runtime_checkable
class Migrator(Protocol):
    """Pure: same document, same result; never imports, runs or fetches what a document refers to."""

    def detect(self, document: SourceDocument) -> float:
        """Confidence 0 to 1 that the document is of this migrator's format."""
        ...

    def migrate(self, document: SourceDocument) -> MigrationResult:
        """Raises: ManifestError with all problems when the document is invalid."""
        ...
