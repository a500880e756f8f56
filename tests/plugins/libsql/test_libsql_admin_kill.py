"""Whatever an operator's command is doing when it is killed, the store stays whole."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kills by SIGKILL, and forks")

DRIVER = """
# For each call into SQLite or to the operating system that a job makes: a child that dies just before it.
import asyncio, os, shutil, signal, sys, threading
from pathlib import Path

import apsw

sys.path.insert(0, sys.argv[1])
from libsql_content import fill, key, problems_of, resource, rows, told, told_of
from kastra_core.protocols.store import CreateResource
from kastra_plugin_libsql.admin import open_admin
from kastra_plugin_libsql.store import open_store

place, whole, job = Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
path, made = place / "k.db", place / "made.backup"
admin = open_admin(f"file:{path}", {"history_events": 1})
JOBS = {
    "backup": lambda: admin.backup(place / "new.backup"),
    "compact": admin.compact,
    "down": lambda: admin.migrate(1),
    "restore": lambda: admin.restore(made),
}
SYSTEM = {os.fsync, os.link, os.rename, os.unlink, os.open}
CONTENT = [
    *(("create", n, kind, {"v": "x" * 300}) for n in range(3) for kind in ("Thing", "Run")),
    ("update", 0, "Thing", {"v": "y"}), ("delete", 1, "Thing"), ("claim", 0), ("record", 0, 0, {"v": "x" * 300}),
    ("signal", 0, "", {"v": "y" * 300}), ("state", 0, 0, {"v": "z" * 300}), ("say", 0, [{"v": "x" * 300}]),
    ("put", "x", ""), ("put", "y", "run-0"), ("vector", 1, 0),
]


async def make():
    store = await open_store(f"file:{path}", {"inline_bytes": 200})
    await fill(store, CONTENT)
    await store.aclose()
    await admin.backup(made)
    store = await open_store(f"file:{path}", {"inline_bytes": 200})
    await store.commit([CreateResource(resource("later"))])
    await store.aclose()


def child(last):
    # Does the job; dies before its call number `last`, or ends with the number of calls in the file "calls".
    calls = 0

    def count(frame, event, function):
        nonlocal calls
        if event != "c_call":
            return
        if type(getattr(function, "__self__", None)).__module__ == "apsw" or function in SYSTEM:
            calls += 1
            if calls == last:
                os.kill(os.getpid(), signal.SIGKILL)

    threading.setprofile(count)
    asyncio.run(JOBS[job]())
    threading.setprofile(None)
    (place / "calls").write_text(str(calls))


def run_child(last):
    shutil.rmtree(place)
    shutil.copytree(whole, place)
    pid = os.fork()
    if not pid:
        try:
            child(last)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


async def look(before, restored):
    copies = [file for file in place.iterdir() if file.name.endswith(".backup") or "before-restore" in file.name]
    for file in (path, *(file for file in copies if ".part" not in file.name)):
        assert await problems_of(file) == (), file
    [[schema]] = rows(path, "PRAGMA user_version")
    now = await told_of(path)
    assert now == before or (job == "restore" and now == restored), now
    store = await open_store(f"file:{path}", {})
    await store.commit([CreateResource(resource("new"))])
    await store.aclose()
    return schema, now == before


shutil.rmtree(place, ignore_errors=True)
place.mkdir()
asyncio.run(make())
before, restored = asyncio.run(told_of(path)), asyncio.run(told_of(made))
assert before != restored
shutil.copytree(place, whole)
assert run_child(None) == 0
calls = int((place / "calls").read_text())
points = sorted({round(1 + n * (calls - 1) / 49) for n in range(50)})
seen = set()
for last in points:
    assert run_child(last) == -signal.SIGKILL, last
    seen.add(asyncio.run(look(before, restored)))
print(len(points), sorted(seen))
"""


@pytest.mark.parametrize(
    ("job", "outcomes"),
    [
        ("backup", {"(3, True)"}),
        ("compact", {"(3, True)"}),
        ("down", {"(1, True)", "(3, True)"}),
        ("restore", {"(3, False)", "(3, True)"}),
    ],
)
def test_a_command_that_is_killed_at_any_call_leaves_the_store_whole(
    tmp_path: Path, job: str, outcomes: set[str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(Path(__file__).parent), str(tmp_path / "a"), str(tmp_path / "b"), job],
        capture_output=True,
        text=True,
        check=False,
        timeout=55,
    )
    assert done.returncode == 0, done.stderr
    points, _, seen = done.stdout.partition(" ")
    assert int(points) > 20
    assert {f"({pair})" for pair in seen.strip()[2:-2].split("), (")} == outcomes
