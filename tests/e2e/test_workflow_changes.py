"""What a run uses is what it was started with: workflow, agents, tools and sub-workflows may change or go meanwhile."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from crash_nursery import KILLED, Nursery, Place, nursery_of, places, until
from kastra_core.api.kind import MAIN_GROUP
from kastra_core.protocols.store import Store

API = "mastra.ai/v1"


def _resource(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": API, "kind": kind, "metadata": {"name": name}, "spec": spec}


def _version(word: str, site: str) -> list[dict[str, Any]]:
    """Everything that a run uses, as of ``word``: old or new."""
    model = {"provider": "script", "name": "m"}
    return [
        _resource("Tool", "teller", type="python", python={"function": f"workflow_worker:{word}"}),
        _resource("Tool", "fetch", type="http", http={"url": f"{site}/{word}"}),
        _resource("Agent", "speaker", instructions=f"say {word}", model=model, tools=["teller"]),
        _resource("Agent", "clerk", instructions=f"say {word}", model=model, tools=["workflows/permit"]),
        _resource(
            "Workflow",
            "permit",
            steps=[
                {"id": "gate", "suspend": {"message": f"may the {word} one?"}},
                {"id": "told", "set": f"{word} permit"},
            ],
        ),
        _resource(
            "Workflow",
            "deep",
            steps=[
                {"id": "tell", "tool": "teller", "arguments": {"number": 3}},
                {"id": "ask", "agent": "speaker", "input": "deep"},
                {"id": "shown", "set": [f"{word} deep", "{{ steps.tell.output }}", "{{ steps.ask.output }}"]},
            ],
        ),
        _resource(
            "Workflow", "part", steps=[{"id": "under", "workflow": "deep"}], output={word: "{{ steps.under.output }}"}
        ),
        _resource(
            "Workflow",
            "whole",
            steps=[
                {"id": "first", "tool": "teller", "arguments": {"number": 1}},
                {"id": "gate", "suspend": {"message": f"go on with the {word} one?"}},
                {"id": "second", "tool": "teller", "arguments": {"number": 2}},
                {"id": "page", "tool": "fetch", "arguments": {}},
                {"id": "ask", "agent": "speaker", "input": "whole"},
                {"id": "sub", "workflow": "part"},
            ],
            output={
                "word": word,
                "tools": ["{{ steps.first.output }}", "{{ steps.second.output }}", "{{ steps.page.output }}"],
                "agent": "{{ steps.ask.output }}",
                "sub": "{{ steps.sub.output }}",
            },
        ),
        _resource(
            "Workflow",
            "office",
            steps=[
                {"id": "ask", "agent": "clerk", "input": "office"},
                {"id": "then", "agent": "speaker", "input": "{{ steps.ask.output }}"},
            ],
        ),
    ]


def _expected(word: str) -> dict[str, Any]:
    """Outputs by workflow, when all is as of ``word``."""
    asked = f"say {word}: office [{word} permit]"
    return {
        "whole": {
            "word": word,
            "tools": [f"{word} 1", f"{word} 2", {"page": word}],
            "agent": f"say {word}: whole [{word} 7]",
            "sub": {word: [f"{word} deep", f"{word} 3", f"say {word}: deep [{word} 7]"]},
        },
        "office": f"say {word}: {asked} [{word} 7]",
    }


EVERYTHING = [
    *(f"workflows/{name}" for name in ("office", "whole", "part", "deep", "permit")),
    *(f"agents/{name}" for name in ("clerk", "speaker")),
    *(f"tools/{name}" for name in ("fetch", "teller")),
]


@pytest.fixture
async def site() -> AsyncIterator[str]:
    """Address of a server that answers with the page that it was asked for."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        body = json.dumps({"page": head.split()[1].decode().strip("/")}).encode()
        kind = b"content-type: application/json\r\nconnection: close\r\n"
        writer.write(b"HTTP/1.1 200 OK\r\n" + kind + b"content-length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    await server.wait_closed()


@pytest.fixture
async def nursery() -> AsyncIterator[Nursery]:
    async with nursery_of("workflow_worker.py") as made:
        yield made


@pytest.fixture
async def place(nursery: Nursery, tmp_path: Path) -> Callable[[], Place]:
    return await places(nursery, tmp_path, Place)


async def _awaits(here: Place, count: int) -> bool:
    async def read(store: Store) -> int:
        runs = (await store.resources.list(MAIN_GROUP, "Run")).items
        return sum(1 for run in runs if run.status.get("awaiting") and run.status.get("phase") == "Suspended")

    return bool(await here.look(read) == count)


async def _outputs(here: Place, prefix: str) -> dict[str, Any]:
    async def read(store: Store) -> dict[str, Any]:
        runs = (await store.resources.list(MAIN_GROUP, "Run")).items
        assert {run.status["phase"] for run in runs} == {"Succeeded"}, [run.status for run in runs]
        mine = [run for run in runs if "parent" not in run.spec and run.metadata.name.startswith(prefix)]
        return {run.spec["target"]["name"]: run.status["output"] for run in mine}

    found: dict[str, Any] = await here.look(read)
    return found


@pytest.mark.parametrize("gone", [False, True], ids=["changed", "deleted"])
@pytest.mark.parametrize("process", ["killed", "lives"])
async def test_a_suspended_run_ends_on_what_it_was_started_with(
    place: Callable[[], Place], site: str, process: str, gone: bool
) -> None:
    """The tools, agents and sub-workflows that it had not used by then too, and those of its children to come."""
    here = place()
    assert await here.begin("apply", manifests=_version("old", site)).end() == 0
    here.runs = {f"first-{name}": (f"workflows/{name}", None) for name in ("whole", "office")}
    worker = here.begin("run")
    await until(lambda: _awaits(here, 2))
    if process == "killed":
        await worker.kill()
        assert await worker.end() == KILLED
        await here.after_kill()
    if gone:
        assert await here.begin("delete", names=EVERYTHING).end() == 0
    else:
        assert await here.begin("apply", manifests=_version("new", site)).end() == 0
    assert await here.begin("resume", payload={}).end() == 0
    if process == "killed":
        worker = here.begin("serve")
    assert await worker.end() == 0
    assert await _outputs(here, "first-") == _expected("old")
    assert here.names() == {"old": 6, "chat": 8}
    assert set(here.calls().values()) == {1}


@pytest.mark.parametrize("process", ["killed", "lives"])
async def test_a_run_that_is_started_after_the_change_uses_the_new_ones(
    place: Callable[[], Place], site: str, process: str
) -> None:
    """Also in a process that has executed the old ones, while a run of these is suspended."""
    here = place()
    assert await here.begin("apply", manifests=_version("old", site)).end() == 0
    old = {f"first-{name}": (f"workflows/{name}", None) for name in ("whole", "office")}
    new = {f"second-{name}": (f"workflows/{name}", None) for name in ("whole", "office")}
    worker = here.begin("run", runs=old, later=new, later_after=str(here.directory / "changed"))
    await until(lambda: _awaits(here, 2))
    assert await here.begin("apply", manifests=_version("new", site)).end() == 0
    if process == "killed":
        await worker.kill()
        assert await worker.end() == KILLED
        worker = here.begin("run", runs={**old, **new})
    else:
        (here.directory / "changed").touch()
    await until(lambda: _awaits(here, 4))
    assert await here.begin("resume", payload={}).end() == 0
    assert await worker.end() == 0
    assert await _outputs(here, "first-") == _expected("old")
    assert await _outputs(here, "second-") == _expected("new")
    assert here.names() == {"old": 6, "new": 6, "chat": 16}


async def test_a_new_run_of_what_was_deleted_is_refused(place: Callable[[], Place], site: str) -> None:
    here = place()
    assert await here.begin("apply", manifests=_version("old", site)).end() == 0
    assert await here.begin("delete", names=EVERYTHING).end() == 0
    here.runs = {"late": ("workflows/whole", None)}
    assert await here.begin("run").end() == 2
