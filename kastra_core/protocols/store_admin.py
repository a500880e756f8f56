"""What an operator does to a store from outside: look at it, check, back up, restore, migrate, compact.

A store offers it by ``StoreRegistration.admin``. Nothing here opens the store for work, so it also serves a store that
:meth:`~kastra_core.protocols.store.Store` refuses: one of another schema, a damaged one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import attrs

from kastra_core.api.meta import JsonValue

__all__ = [
    "BackupInfo",
    "CheckReport",
    "CompactReport",
    "FacetStatus",
    "MigrationReport",
    "MigrationStep",
    "RestoreReport",
    "StoreAdmin",
    "StoreStatus",
]


@attrs.frozen(kw_only=True)
class FacetStatus:
    """What of one facet is kept."""

    name: str
    """"resources", "history", "journal", "signals", "leases", "state", "threads", "vectors", "blobs"."""
    items: int
    size_bytes: int | None = None
    """None when the store cannot tell."""


@attrs.frozen(kw_only=True)
class StoreStatus:
    """What a store is, how large, and who works on it."""

    url: str
    """Without secrets."""
    exists: bool
    """False: nothing was written yet; all else is 0 or empty."""
    engine: str
    """"SQLite 3.50.4"."""
    schema: int
    """Number of the schema found, 0 when there is none."""
    latest_schema: int
    """The newest that this program knows."""
    written_by: str = ""
    """The program that brought it to its schema, "kastra-plugin-libsql 0.1.0"."""
    size_bytes: int = 0
    """All that the store takes from the disk."""
    free_bytes: int = 0
    """Of it what new data will use first; compacting gives it back."""
    resource_version: str = "0"
    oldest_version: str = "0"
    """A watch can begin after this resourceVersion and later ones."""
    facets: tuple[FacetStatus, ...] = ()
    workers: tuple[str, ...] = ()
    """Workers whose lease (named ``worker/...``) has not expired: somebody uses the store."""
    details: Mapping[str, JsonValue] = attrs.field(factory=dict)
    """What only this store knows: path, durability, journal mode."""
    problems: tuple[str, ...] = ()
    """Why it cannot be used as it is, each with the remedy."""


@attrs.frozen(kw_only=True)
class CheckReport:
    """``problems`` is empty when the store is sound; each names the place and what is wrong."""

    url: str
    checked: Mapping[str, int]
    """What was looked at, and how many of it."""
    problems: tuple[str, ...] = ()
    duration_s: float = 0.0


@attrs.frozen(kw_only=True)
class BackupInfo:
    """A backup that was read back and found whole."""

    path: Path
    size_bytes: int
    schema: int
    resource_version: str
    time_s: float
    """Unix seconds."""
    items: Mapping[str, int]
    """Rows by facet."""


@attrs.frozen(kw_only=True)
class RestoreReport:
    """What a restore put in the place of what was there."""

    source: Path
    """The backup."""
    schema: int
    items: Mapping[str, int]
    kept: Path | None
    """Where the store's former content is; None when there was none."""


@attrs.frozen(kw_only=True)
class MigrationStep:
    """A step from a schema to the next one, or back."""

    number: int
    """The schema that ``up`` leads to and ``down`` leads away from."""
    direction: Literal["up", "down"]
    title: str
    loses: str = ""
    """What is given up on the way, "" for nothing."""


@attrs.frozen(kw_only=True)
class MigrationReport:
    """What a migration did, or would do."""

    before: int
    """Number of the schema that was found."""
    after: int
    """Number of the schema that is there now."""
    steps: tuple[MigrationStep, ...]
    dry_run: bool
    """The steps were tried and rolled back."""
    backup: BackupInfo | None = None


@attrs.frozen(kw_only=True)
class CompactReport:
    """What a compaction gave back."""

    before_bytes: int
    after_bytes: int
    removed: Mapping[str, int]
    """What was not needed any more: expired values, old history, blobs that nobody holds, expired leases."""


@runtime_checkable
class StoreAdmin(Protocol):
    """Made by ``StoreRegistration.admin(url, options)`` with the arguments of the store's factory.

    Each method opens what it needs and closes it before it returns.
    All raise StoreError or a subclass with the remedy; ``NotFoundError`` when there is no store yet (not ``status``);
    UserError for an operation that this store cannot do.
    """

    async def status(self) -> StoreStatus:
        """Say what is there, also of a store that cannot be used as it is."""
        ...

    async def check(self) -> CheckReport:
        """Look at everything: the file's structure, and that the rows agree with each other."""
        ...

    async def backup(self, target: Path) -> BackupInfo:
        """Write a consistent copy while others go on working, read it back, and only then give it its name.

        Raises: UserError when ``target`` exists.
        """
        ...

    async def restore(self, source: Path, *, force: bool = False) -> RestoreReport:
        """Put a backup in the place of what is there, which is kept beside it.

        Watches of before are expired: resource versions go on above all that were given out.

        Raises: UserError when the backup is not whole, of a newer schema, or when workers use the store (unless
        ``force``).
        """
        ...

    async def migrate(
        self, schema: int | None = None, *, dry_run: bool = False, backup: bool = True
    ) -> MigrationReport:
        """Bring the store to ``schema`` (None: the newest), up or down, all steps or none, after a verified backup.

        Raises: UserError for a schema that there is no way to, or when workers use the store.
        """
        ...

    async def compact(self) -> CompactReport:
        """Remove what is not needed any more and give the space back to the disk."""
        ...
