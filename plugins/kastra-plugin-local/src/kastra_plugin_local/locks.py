"""A lock between processes: one of them at a time pulls a model."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["file_lock"]


@contextmanager
def file_lock(path: Path, waiting: Callable[[], None] = lambda: None, poll_s: float = 0.1) -> Iterator[None]:
    """Hold an exclusive lock on ``path`` (made when it is missing); the system frees it when the process ends.

    Args:
        waiting: called once when another process or thread holds the lock.
        poll_s: seconds between two tries.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        told = False
        while not _try_lock(handle):
            if not told:
                waiting()
                told = True
            time.sleep(poll_s)
        yield
    finally:
        os.close(handle)  # closing frees the lock


def _try_lock(handle: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
