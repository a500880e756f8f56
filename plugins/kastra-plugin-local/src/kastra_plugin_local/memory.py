"""How much memory is free, as far as the system says without extra libraries."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["available_bytes"]


def available_bytes(proc: Path = Path("/proc/meminfo"), cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the bytes that a new allocation may use without swapping; a container's limit counts.

    Linux says so itself (``MemAvailable``, cgroup v2); Windows too; elsewhere half of the installed memory is taken.
    A system that says nothing counts as 2 GiB.
    """
    free = _linux(proc)
    if free is None:
        free = _windows() if sys.platform == "win32" else _half_of_installed()
    limit = _cgroup_left(cgroup)
    return free if limit is None else min(free, limit)


def _linux(proc: Path) -> int | None:
    try:
        text = proc.read_text("utf-8")
    except OSError:
        return None
    for line in text.splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _cgroup_left(cgroup: Path) -> int | None:
    try:
        limit = (cgroup / "memory.max").read_text("utf-8").strip()
        used = (cgroup / "memory.current").read_text("utf-8").strip()
    except OSError:
        return None
    if not (limit.isdigit() and used.isdigit()):  # "max": no limit
        return None
    return max(0, int(limit) - int(used))


def _half_of_installed() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, OSError, ValueError):
        return 2 << 30


def _windows() -> int:
    import ctypes

    # MEMORYSTATUSEX: two 32-bit words, then seven 64-bit ones; the third of those is ullAvailPhys.
    buffer = (ctypes.c_uint64 * 8)()
    buffer[0] = ctypes.sizeof(buffer)
    kernel = getattr(ctypes, "windll").kernel32  # noqa: B009  the name exists on Windows only
    if not kernel.GlobalMemoryStatusEx(ctypes.byref(buffer)):
        return 2 << 30
    return int(buffer[2])
