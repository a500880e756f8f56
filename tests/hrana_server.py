"""A small LibSQL server for tests: Hrana 1, 2 and 3 over WebSocket and over HTTP, JSON encoding.

In the test's own process::

    async with HranaServer(tmp_path / "remote.db", token="secret") as server:
        client = libsql_client.create_client(server.url("ws"), auth_token="secret")
        server.faults.cut_after(match="COMMIT")

As a process, to be killed and started again (the first line printed is its address)::

    python tests/hrana_server.py DB --port 0 --token T

or, for tests without an event loop, ``with HranaProcess(path) as server: ...``. What ``faults`` does in the process of
the test, ``POST /__admin__/<method>`` with a JSON object of its arguments does in another process; ``close_all``,
``expire_streams`` and ``clear_log`` too. ``GET /__admin__`` returns counts and requests.

The server is strict: what the specification forbids ends the connection. Where it lets servers differ, ``limits=True``
does what the LibSQL server does: only the statements it accepts, no mix of positional and named arguments, a stored
text's number limited, errors with its codes. Not there: the Protobuf encoding, namespaces, replication.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import importlib.machinery
import importlib.util
import json
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import attrs
import orjson
from aiohttp import web

if TYPE_CHECKING:
    from tests.hrana.database import Connection, Database
    from tests.hrana.faults import Faults, Log, Received
    from tests.hrana.http import Http
    from tests.hrana.messages import Statement, Value
    from tests.hrana.raw import RawSocket, statement
    from tests.hrana.service import Service
    from tests.hrana.sql import parameters
    from tests.hrana.vectors import register as register_vectors
    from tests.hrana.ws import Socket, negotiate
else:

    def _module(name: str) -> Any:
        """Import from the directory ``hrana`` beside this file, under a name that nothing else has."""
        package = "kastra_tests_hrana"
        if package not in sys.modules:
            spec = importlib.machinery.ModuleSpec(package, None, is_package=True)
            spec.submodule_search_locations = [str(Path(__file__).with_name("hrana"))]
            sys.modules[package] = importlib.util.module_from_spec(spec)
        return importlib.import_module(f"{package}.{name}")

    Database = _module("database").Database
    Faults, Log, Received = (getattr(_module("faults"), name) for name in ("Faults", "Log", "Received"))
    Http = _module("http").Http
    Statement, Value = _module("messages").Statement, _module("messages").Value
    RawSocket, statement = _module("raw").RawSocket, _module("raw").statement
    Service = _module("service").Service
    parameters, register_vectors = _module("sql").parameters, _module("vectors").register
    Socket, negotiate = _module("ws").Socket, _module("ws").negotiate

__all__ = [
    "Faults",
    "HranaProcess",
    "HranaServer",
    "Log",
    "RawSocket",
    "Received",
    "main",
    "parameters",
    "register_vectors",
    "statement",
]

_MOST_BYTES = 64 * 1024 * 1024


class HranaServer:
    """A server on 127.0.0.1, in the running event loop.

    Args:
        path: the database; created when the server starts.
        token: what clients must send; None accepts anything.
        backend: ``apsw`` (plain SQLite) or ``libsql`` (the LibSQL library, with its vector index).
        vectors: with apsw, define LibSQL's functions for exact vector search.
        limits: behave as the LibSQL server where the specification leaves it open.
        idle_s: how long an HTTP stream lives between two requests.
        transaction_s: how long a transaction may take.
        port: 0 takes a free one; ``restart`` keeps it.
    """

    def __init__(
        self,
        path: Path,
        *,
        token: str | None = None,
        backend: str = "apsw",
        vectors: bool = True,
        limits: bool = True,
        idle_s: float = 10.0,
        transaction_s: float = 5.0,
        port: int = 0,
    ) -> None:
        if backend not in ("apsw", "libsql"):
            raise ValueError(f"backend must be apsw or libsql, got {backend!r}")
        self.database = Database(Path(path), backend, vectors, limits)
        self.token = token
        self.port = port
        self.faults: Faults = Faults()
        self.log: Log = Log()
        self._idle_s, self._transaction_s = idle_s, transaction_s
        self._runner: web.AppRunner | None = None
        self._service: Service | None = None
        self._http: Http | None = None
        self._sockets: dict[Socket, asyncio.Task[Any] | None] = {}
        self._peers = 0
        self._anchor: Connection | None = None

    def url(self, scheme: str = "ws") -> str:
        """Return the address for a client. ``libsql`` gets the argument that turns TLS off."""
        return f"{scheme}://127.0.0.1:{self.port}" + ("?tls=0" if scheme == "libsql" else "")

    @property
    def requests(self) -> list[Received]:
        """The last requests, oldest first."""
        return list(self.log.requests)

    @property
    def open_streams(self) -> int:
        """How many connections to the database are open."""
        return 0 if self._service is None else len(self._service.streams)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def query(self, sql: str, *values: Value) -> list[tuple[Value, ...]]:
        """Return what another connection sees in the database, without the protocol.

        Do not open the file with another SQLite library in this process, such as Python's own: when it closes, it drops
        the locks of the server's. A process of its own may.
        """
        connection = self.database.open()
        try:
            return [tuple(row) for row in connection.execute(Statement(sql, values)).rows()]
        finally:
            connection.close()

    async def start(self) -> None:
        """Listen. A server that was stopped listens on its old port again."""
        assert self._runner is None, "the server runs already"
        await asyncio.to_thread(self.database.prepare)
        self._service = Service(self.database, self.token, self.faults, self.log, self._idle_s, self._transaction_s)
        # One connection stays open: the last one that closes would fold the WAL into the file each time.
        self._anchor = await asyncio.to_thread(self.database.open)
        self._http = Http(self._service)
        app = web.Application(client_max_size=_MOST_BYTES)
        app.add_routes(
            [
                web.get("/", self._root, allow_head=False),
                web.get("/health", self._health),
                web.get("/version", self._health),
                web.get("/__admin__", self._status),
                web.post("/__admin__/{action}", self._admin),
                *self._http.routes(),
            ]
        )
        # Its connections are cut before it is cleaned up: nothing is left to wait for.
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Cut all connections, roll back what is open and stop listening. Does nothing when stopped."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        assert self._service is not None
        assert self._http is not None
        for site in list(runner.sites):
            await site.stop()
        for stream in list(self._service.streams):
            stream.interrupt()
        await self.close_all()
        if runner.server is not None:
            for connection in list(runner.server.connections):
                if connection.transport is not None:
                    connection.transport.abort()
        await runner.cleanup()
        await self._http.close()
        await self._service.close()
        if self._anchor is not None:
            await asyncio.to_thread(self._anchor.close)

    async def restart(self) -> None:
        """Stop, and listen on the same port: batons and open transactions are lost."""
        await self.stop()
        await self.start()

    async def close_all(self, code: int | None = None) -> None:
        """Cut all WebSockets, or close them politely with a code; return when their streams are closed."""
        for socket in list(self._sockets):
            if code is None:
                socket.cut()
            else:
                await socket.close(code, "Closed by the test")
        tasks = [task for task in self._sockets.values() if task is not None]
        if tasks:
            await asyncio.wait(tasks)

    async def expire_streams(self) -> None:
        """Let all idle HTTP streams expire now."""
        if self._http is not None:
            self._http.expire()
            await self._http.settle()

    async def _health(self, _: web.Request) -> web.Response:
        return web.Response(text="")

    async def _root(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() != "websocket":
            return web.Response(text="This server speaks Hrana")
        assert self._service is not None
        if self.faults.take_unavailable():
            self.log.count("refused")
            return web.Response(status=503, text="Service unavailable")
        try:
            version, chosen = negotiate(request.headers.get("Sec-WebSocket-Protocol"))
        except ValueError as err:
            return web.Response(status=400, text=str(err))
        ws = web.WebSocketResponse(protocols=chosen, compress=False, max_msg_size=_MOST_BYTES, timeout=1.0)
        await ws.prepare(request)
        self._peers += 1
        self.log.count("connect")
        socket = Socket(self._service, ws, request, version, self._peers)
        self._sockets[socket] = asyncio.current_task()
        try:
            await socket.serve()
        finally:
            del self._sockets[socket]
        return ws

    async def _status(self, _: web.Request) -> web.Response:
        body = {
            "counts": dict(self.log.counts),
            "requests": [attrs.asdict(one) for one in self.log.requests],
            "streams": self.open_streams,
            "sockets": len(self._sockets),
        }
        return web.Response(body=orjson.dumps(body), content_type="application/json")

    async def _admin(self, request: web.Request) -> web.Response:
        action = request.match_info["action"]
        own = {"close_all": self.close_all, "expire_streams": self.expire_streams, "clear_log": self.log.clear}
        method = own.get(action)
        if method is None and not action.startswith(("_", "take")):
            method = getattr(self.faults, action, None)
        if not callable(method):
            return web.Response(status=404, text=f"There is no {action!r}")
        body = await request.read()
        try:
            result = method(**(orjson.loads(body) if body else {}))
        except (TypeError, orjson.JSONDecodeError) as err:
            return web.Response(status=400, text=str(err))
        if asyncio.iscoroutine(result):
            await result
        return web.Response(text="")


class HranaProcess:
    """A server in a process of its own, for tests that kill it or have no event loop.

    The arguments are those of HranaServer that the command line has.
    """

    def __init__(self, path: Path, *, token: str | None = None, backend: str = "apsw", port: int = 0) -> None:
        self.path, self.token, self.backend, self.port = Path(path), token, backend, port
        self.process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def url(self, scheme: str = "ws") -> str:
        """Return the address for a client, as HranaServer.url."""
        return f"{scheme}://127.0.0.1:{self.port}" + ("?tls=0" if scheme == "libsql" else "")

    def start(self) -> None:
        """Start the process and return when it listens; on its old port, if it had one."""
        command = [sys.executable, __file__, str(self.path), "--port", str(self.port), "--backend", self.backend]
        if self.token is not None:
            command += ["--token", self.token]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        address = self.process.stdout.readline().strip()
        if not address:
            self.kill()
            raise RuntimeError("the server did not start")
        self.port = int(address.rpartition(":")[2])

    def kill(self) -> None:
        """Kill the process as ``kill -9`` does. Does nothing when it is dead."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()

    def restart(self) -> None:
        """Kill the process and start it again on the same port."""
        self.kill()
        self.start()

    def admin(self, action: str, **arguments: Any) -> None:
        """Call a method of Faults, or close_all, expire_streams or clear_log, in the process."""
        request = urllib.request.Request(
            f"{self.url('http')}/__admin__/{action}", data=json.dumps(arguments).encode(), method="POST"
        )
        with urllib.request.urlopen(request, timeout=30):
            pass

    def status(self) -> dict[str, Any]:
        """Return ``counts``, ``requests``, ``streams`` and ``sockets``."""
        with urllib.request.urlopen(f"{self.url('http')}/__admin__", timeout=30) as response:
            found: dict[str, Any] = json.load(response)
        return found


async def _serve(server: HranaServer) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, stop.set)
    async with server:
        print(server.url("ws"), flush=True)
        await stop.wait()


def main(arguments: list[str] | None = None) -> None:
    """Serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(description="A LibSQL server for tests.")
    parser.add_argument("path", type=Path, help="the database, created if it is missing")
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--token", help="what clients must send")
    parser.add_argument("--backend", choices=["apsw", "libsql"], default="apsw")
    parser.add_argument("--no-vectors", action="store_true", help="no vector functions with apsw")
    parser.add_argument("--no-limits", action="store_true", help="accept what only some servers accept")
    given = parser.parse_args(arguments)
    server = HranaServer(
        given.path,
        token=given.token,
        backend=given.backend,
        vectors=not given.no_vectors,
        limits=not given.no_limits,
        port=given.port,
    )
    asyncio.run(_serve(server))


if __name__ == "__main__":
    main()
