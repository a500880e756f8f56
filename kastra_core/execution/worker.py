"""A worker's lease: one per process, for all runs it holds, and how others tell that it is gone."""

from __future__ import annotations

import os
import platform
import uuid
from pathlib import Path

from kastra_core.api.meta import JsonObject
from kastra_core.protocols.store import Lease, Store

__all__ = ["LEASE_TTL_S", "Worker"]

LEASE_TTL_S = 15.0
"""A lease is renewed three times within this long, as Kubernetes does it."""


def _process_start(pid: int) -> str | None:
    """Start time of a process in clock ticks since boot (Linux), "" where that cannot be told, None when it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return None
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except OSError:
            return ""
        return ""
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    # Field 3 (state) is the first after the name: a zombie holds no runs. Field 22 is starttime; see proc(5).
    return None if fields[0] in "ZX" else fields[19]


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _pid_namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


class Worker:
    """This process as a holder of runs.

    Args:
        store: where the lease is.
        lease_ttl_s: seconds without a renewal after which others take its runs, > 0.
    """

    def __init__(self, store: Store, *, lease_ttl_s: float = LEASE_TTL_S) -> None:
        self._store = store
        self.lease_ttl_s = lease_ttl_s
        self.id = f"worker/{platform.node() or 'host'}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        self._here = {"host": platform.node(), "boot": _boot_id(), "pidns": _pid_namespace()}
        self._data: JsonObject = {**self._here, "pid": os.getpid(), "start": _process_start(os.getpid()) or ""}
        self.registered = False

    @property
    def renew_every_s(self) -> float:
        return self.lease_ttl_s / 3

    async def renew(self) -> bool:
        """Take or renew the lease; False when another has it (never, as the name is unique)."""
        lease = await self._store.leases.acquire(self.id, self.id, self.lease_ttl_s, self._data)
        self.registered = lease is not None
        return self.registered

    async def release(self) -> None:
        if self.registered:
            self.registered = False
            await self._store.leases.release(self.id, self.id)

    def alive(self, lease: Lease | None, now_s: float) -> bool:
        """Whether the holder of a lease still works: at once on this host, after the lease's end elsewhere."""
        if lease is None or lease.expires_at_s <= now_s:
            return False
        data = lease.data
        if all(data.get(name) == value and value for name, value in self._here.items()):
            start = _process_start(int(data.get("pid", 0)))
            return start is not None and start in ("", data.get("start", ""))
        return True
