"""The database's errors in the words of a store."""

from __future__ import annotations

from pathlib import Path

import apsw
import orjson

from kastra_core.errors import NotFoundError, StoreError, StoreUnavailableError

__all__ = ["DAMAGED", "EmptyError", "damaged", "reason_of", "store_error"]

DAMAGED = (orjson.JSONDecodeError, UnicodeDecodeError)
"""What reading a value raises that was overwritten: SQLite has no checksums of its pages."""


class EmptyError(NotFoundError):
    """There is a database, and nothing was written to it yet. ``what`` is the whole message."""

    @property
    def reason(self) -> str:
        return "NotFound"

    def __str__(self) -> str:
        return self.what


def reason_of(err: BaseException) -> str:
    """What an error says of itself in brackets, with a blank before them; "" where it says nothing.

    SQLite calls a full disk that it met outside of a statement "not an error".
    """
    text = str(err)
    return f" ({text})" if text and "not an error" not in text else ""


def store_error(path: Path, err: BaseException) -> BaseException:
    """Return what to raise for ``err``: names the file, the fact and the remedy."""
    if isinstance(err, DAMAGED):
        return damaged(path, err)
    if not isinstance(err, apsw.Error):
        return err
    for kind, words in _WORDS:
        if isinstance(err, kind):
            return StoreUnavailableError(f"store {path}: {words}{reason_of(err)}")
    return StoreError(f"store {path}: {type(err).__name__}{reason_of(err)}")


_MEND = "`kastra store check` says where, `kastra store restore BACKUP --force` mends it"


def damaged(path: Path, err: BaseException) -> StoreError:
    """A value was read and is not what was written."""
    return StoreError(
        f"store {path}: the file is damaged, a value in it cannot be read ({type(err).__name__}: {err}); {_MEND}"
    )


_WORDS: tuple[tuple[type[apsw.Error], str], ...] = (
    (apsw.ConnectionClosedError, "it is closed; open it again"),
    (apsw.BusyError, "another program keeps it locked; wait for that program or end it"),
    (apsw.LockedError, "another program keeps it locked; wait for that program or end it"),
    (apsw.ReadOnlyError, "it is read-only; make the file and its directory writable for this user"),
    (apsw.PermissionsError, "no permission; make the file and its directory writable for this user"),
    (apsw.CantOpenError, "it cannot be opened; check that the path is a file and its directory is writable"),
    (apsw.FullError, "the disk is full, so nothing was changed; make room and try again"),
    (apsw.NotADBError, "the file is no database; name another file, or `kastra store restore BACKUP --force` mends it"),
    (
        apsw.CorruptError,
        f"the file is damaged; {_MEND}",
    ),
    (apsw.IOError, "the disk failed or is full, so this has no result; check disk space and quota, then try again"),
    (apsw.NoLFSError, "the file is too large for this system"),
)
