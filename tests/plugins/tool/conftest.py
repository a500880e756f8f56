"""A project with modules, a server on the loopback interface, the operator's settings, calls as a run makes them."""

from __future__ import annotations

import itertools
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
from aiohttp import web

from kastra_core.api.meta import ObjectMeta, Resource
from kastra_core.api.references import Reference
from kastra_core.protocols.runner import OperationContext
from kastra_plugin_tool.operation import invoke

_numbers = itertools.count()


@attrs.define
class Project:
    """A project directory and the parts of a runtime that tools look at."""

    path: Path
    allow: list[str] = attrs.field(factory=list)
    allow_private: list[str] = attrs.field(factory=list)
    packages: frozenset[str] = frozenset()

    @property
    def runtime(self) -> Any:
        tools = SimpleNamespace(
            python=SimpleNamespace(allow=self.allow), http=SimpleNamespace(allow_private=self.allow_private)
        )
        return SimpleNamespace(
            config=SimpleNamespace(tools=tools, project=self.path),
            plugins=SimpleNamespace(packages=lambda: self.packages),
        )

    def module(self, source: str, *, allow: bool = True) -> str:
        """Write a module that no other test has; return its name."""
        name = f"toolmod_{next(_numbers)}"
        (self.path / f"{name}.py").write_text(source, encoding="utf-8")
        if allow:
            self.allow.append(name)
        return name


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield Project(tmp_path)
    for name in set(sys.modules) - before:
        if name.startswith("toolmod_"):
            del sys.modules[name]


def make_tool(spec: dict[str, Any], **status: Any) -> Resource:
    meta = ObjectMeta(name="t", namespace="default", generation=1)
    return Resource(api_version="mastra.ai/v1", kind="Tool", metadata=meta, spec=spec, status=status)


def make_context(runtime: Any, tool: Resource | None) -> OperationContext:
    async def emit(event: dict[str, Any]) -> None:
        return None

    def pinned(reference: Reference) -> Resource | None:
        return tool if tool is not None and reference.key == tool.key else None

    return OperationContext(
        run_id="run-1",
        namespace="default",
        path="/tool.invoke#0",
        idempotency_key="key-1",
        streaming=False,
        emit=emit,
        pinned=pinned,
        runtime=runtime,
    )


Call = Callable[..., Any]


@pytest.fixture
def call(project: Project) -> Call:
    """``await call(spec, arguments)``: the output of the operation tool.invoke on a pinned tool with that spec."""

    async def run(spec: dict[str, Any], arguments: Any = None) -> Any:
        context = make_context(project.runtime, make_tool(spec))
        request = {"tool": {"namespace": "default", "name": "t"}, "arguments": {} if arguments is None else arguments}
        result = await invoke(context, request)
        return result["output"]

    return run


@pytest.fixture
def tool_of() -> Callable[..., Resource]:
    return make_tool


@pytest.fixture
def context_of() -> Callable[..., OperationContext]:
    return make_context


class Server:
    """A real server on 127.0.0.1; ``answers`` are used in turn, the last one for ever."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.answers: list[Callable[[web.Request], Awaitable[web.StreamResponse]]] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def say(self, body: Any = None, **options: Any) -> None:
        async def answer(_: web.Request) -> web.StreamResponse:
            if isinstance(body, (bytes, str)):
                return web.Response(body=body, **options)
            return web.json_response(body, **options)

        self.answers.append(answer)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(
            {
                "method": request.method,
                "target": request.raw_path,
                "query": list(request.query.items()),
                "headers": dict(request.headers),
                "body": await request.read(),
            }
        )
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return await answer(request)


async def start(server: Server) -> web.AppRunner:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", server.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.port = runner.addresses[0][1]
    return runner


@pytest.fixture
async def server(project: Any) -> AsyncIterator[Server]:
    project.allow_private.append("127.0.0.1")
    server = Server()
    runner = await start(server)
    yield server
    await runner.cleanup()


@pytest.fixture
async def other() -> AsyncIterator[Server]:
    server = Server()
    runner = await start(server)
    yield server
    await runner.cleanup()
