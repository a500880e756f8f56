"""A server that forks a process for each job: what they import is imported once.

Jobs come as JSON lines on stdin. Each is answered by ``{"job", "pid"}`` when it began and ``{"job", "code"}`` when it
ended; ``{"to", "signal"}`` sends a signal to the process of a job.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["serve"]


def serve(child: Callable[[Any], None], modules: Iterable[str]) -> None:
    """Serve until stdin ends.

    Args:
        child: does a job in its process, and ends that.
        modules: imported before the forks.
    """
    for module in modules:
        importlib.import_module(module)
    gc.freeze()
    jobs: dict[int, int] = {}
    waiting = b""
    ended_r, ended_w = os.pipe()
    os.set_blocking(ended_w, False)
    signal.set_wakeup_fd(ended_w)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        ready, _, _ = select.select([0, ended_r], [], [])
        if ended_r in ready:
            os.read(ended_r, 4096)
        while jobs:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            print(json.dumps({"job": jobs.pop(pid), "code": os.waitstatus_to_exitcode(status)}), flush=True)
        if 0 in ready:
            found = os.read(0, 65536)
            if not found:
                return
            *lines, waiting = (waiting + found).split(b"\n")
            for line in lines:
                job = json.loads(line)
                if "signal" in job:  # one that ended is still in `jobs` until its number is free again
                    for pid in [pid for pid, number in jobs.items() if number == job["to"]]:
                        os.kill(pid, job["signal"])
                    continue
                pid = os.fork()
                if pid == 0:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    child(job)
                jobs[pid] = job["id"]
                print(json.dumps({"job": job["id"], "pid": pid}), flush=True)
