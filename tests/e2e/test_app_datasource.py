"""The sample plugin of the documentation: its controller alone, and all of it in a real project."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import shutil
import sqlite3
import subprocess
import threading
import tomllib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from functools import lru_cache, partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kastra_core import KindRegistry, PluginManager, Request, ResourceKey, ResourceKind, RuntimeManager, ValidationError
from kastra_core.api.lazy import load
from kastra_core.api.meta import JsonObject, Resource, condition_of
from kastra_core.config import Config
from kastra_core.controller import AbstractController
from kastra_core.decoding import decode
from kastra_core.manifests import read_sources
from kastra_core.runtime import registry_of
from kastra_core.testing.controller import MiniRuntime

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "datasource"
KIND = ResourceKind(kind="DataSource", plural="datasources", version="v1")
FINALIZER = "datasources.mastra.ai/connection"
TABLES = "CREATE TABLE orders (customer TEXT, cents INTEGER); INSERT INTO orders VALUES ('Ada', 1250), ('Lin', 8900);"


class Answers:
    """What the HTTP source answers; requests that came."""

    def __init__(self) -> None:
        self.status, self.body, self.type = 200, b'[{"item": "tea"}]', "application/json"
        self.headers: dict[str, str] = {}
        self.free = threading.Event()
        """Unset: nobody is answered."""
        self.free.set()
        self.seen: list[dict[str, str]] = []
        self.url = ""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, answers: Answers, *args: Any) -> None:
        self.answers = answers
        super().__init__(*args)

    def do_GET(self) -> None:
        self.answers.seen.append(dict(self.headers))
        self.answers.free.wait(20)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.send_response(self.answers.status)
            self.send_header("Content-Type", self.answers.type)
            self.send_header("Content-Length", str(len(self.answers.body)))
            for name, value in self.answers.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(self.answers.body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def answers() -> Iterator[Answers]:
    """An HTTP server on the loopback device."""
    found = Answers()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, found)) as server:
        found.url = f"http://127.0.0.1:{server.server_port}/prices.json"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield found
        found.free.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    path = tmp_path / "project"
    path.mkdir()
    return path


@pytest.fixture
def shop(project: Path) -> Path:
    """A database with a table."""
    with closing(sqlite3.connect(project / "shop.db")) as connection, connection:
        connection.executescript(TABLES)
    return project / "shop.db"


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The modules of the plugin."""
    monkeypatch.syspath_prepend(str(EXAMPLE / "src"))
    names = ("controller", "spec", "sqlite_source", "http_source")
    return SimpleNamespace(**{name: importlib.import_module(f"kastra_plugin_datasource.{name}") for name in names})


@pytest.fixture
def runtime(project: Path) -> MiniRuntime:
    return MiniRuntime.of(KIND, project=project)


@pytest.fixture
async def controller(runtime: MiniRuntime, plugin: SimpleNamespace) -> AsyncIterator[AbstractController]:
    made: AbstractController = plugin.controller.DataSourceController(runtime)
    yield made
    await made.aclose()


def source(**spec: Any) -> JsonObject:
    return {"apiVersion": "mastra.ai/v1", "kind": "DataSource", "metadata": {"name": "orders"}, "spec": spec}


class Looker:
    """Applies a DataSource, has the controller look at it, and tells what is stored then."""

    def __init__(self, runtime: MiniRuntime, controller: AbstractController) -> None:
        self.runtime, self.controller = runtime, controller

    async def __call__(self, **spec: Any) -> Resource:
        if spec:
            await self.runtime.apply([source(**spec)])
        await self.controller.reconcile(Request("default", "orders"))
        found = await self.runtime.client.get(ResourceKey("mastra.ai", "DataSource", "default", "orders"))
        assert found is not None
        return found


@pytest.fixture
def look(runtime: MiniRuntime, controller: AbstractController) -> Looker:
    return Looker(runtime, controller)


def told(resource: Resource) -> tuple[str, str]:
    """Status and reason of Connected, which Ready repeats."""
    connected, ready = condition_of(resource, "Connected"), condition_of(resource, "Ready")
    assert connected is not None
    assert ready is not None
    assert ready["observedGeneration"] == resource.metadata.generation
    found = (connected["status"], connected["reason"])
    assert found == (ready["status"], ready["reason"])
    return found


def message(resource: Resource) -> str:
    return str((condition_of(resource, "Connected") or {})["message"])


# ------------------------------------------------------------------------------------------------ SQLite


async def test_tables_of_a_database_are_counted(look: Looker, shop: Path) -> None:
    found = await look(type="sqlite", path="shop.db")
    assert told(found) == ("True", "Connected")
    assert (found.status["tables"], found.status["latencyMs"] >= 1) == (1, True)
    assert FINALIZER in found.metadata.finalizers


async def test_rows_of_a_query_are_counted_and_kept(look: Looker, shop: Path, project: Path) -> None:
    found = await look(type="sqlite", path="shop.db", query="SELECT customer, cents FROM orders ORDER BY 1")
    assert (found.status["rows"], found.status["cache"]) == (2, ".kastra/datasources/default/orders.json")
    assert b'"Ada"' in (project / found.status["cache"]).read_bytes()


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"path": "gone.db"}, "FileNotFound"),
        ({"path": "words.txt"}, "NotADatabase"),
        ({"path": "shop.db", "query": "SELECT * FROM nothing"}, "QueryFailed"),
        ({"path": "shop.db", "query": "DELETE FROM orders"}, "QueryFailed"),
        ({"path": "shop.db", "query": "ATTACH 'words.txt' AS other"}, "QueryFailed"),
        ({"path": "shop.db", "query": "PRAGMA user_version"}, "QueryFailed"),
        (
            {
                "path": "shop.db",
                "timeout": "50ms",
                "query": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
            },
            "Timeout",
        ),
    ],
)
async def test_what_is_wrong_with_a_database_is_a_condition(
    look: Looker, shop: Path, project: Path, spec: dict[str, Any], reason: str
) -> None:
    (project / "words.txt").write_text("no database, but long enough to be one" * 100, encoding="utf-8")
    found = await look(type="sqlite", **spec)
    assert told(found) == ("False", reason)
    assert message(found)


async def test_file_outside_of_the_project_is_refused_through_a_link_too(look: Looker, shop: Path) -> None:
    outside = shop.parent.parent / "other.db"
    shop.rename(outside)
    shop.symlink_to(outside)
    found = await look(type="sqlite", path="shop.db")
    assert (condition_of(found, "Ready") or {})["reason"] == "InvalidSpec"
    assert found.status["phase"] == "Failed"


async def test_source_that_goes_and_comes_back_is_told_and_keeps_its_cache(
    look: Looker, shop: Path, project: Path
) -> None:
    before = await look(type="sqlite", path="shop.db", query="SELECT * FROM orders")
    away = shop.rename(shop.with_suffix(".away"))
    gone = await look()
    assert told(gone) == ("False", "FileNotFound")
    assert gone.status["cache"] == before.status["cache"]
    away.rename(shop)
    assert told(await look()) == ("True", "Connected")


async def test_it_is_looked_at_again_after_its_interval(
    runtime: MiniRuntime, controller: AbstractController, shop: Path
) -> None:
    await runtime.apply([source(type="sqlite", path="shop.db", refreshInterval="90s")])
    result = await controller.reconcile(Request("default", "orders"))
    assert result.requeue_after_s == 90.0


async def test_spec_that_only_another_version_knows_is_told(look: Looker) -> None:
    found = await look(type="sqlite", path="shop.db", depth=3)
    ready = condition_of(found, "Ready") or {}
    assert (ready["status"], ready["reason"]) == ("False", "InvalidSpec")
    assert "depth" in ready["message"]


# ------------------------------------------------------------------------------------------------ HTTP


async def test_answer_of_a_server_is_counted_and_kept(look: Looker, answers: Answers, project: Path) -> None:
    found = await look(type="http", url=answers.url)
    assert told(found) == ("True", "Connected")
    assert found.status["rows"] == 1
    assert b'"tea"' in (project / found.status["cache"]).read_bytes()


async def test_secret_is_sent_and_not_kept(look: Looker, answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATASOURCE_KEY", "s3cret")
    found = await look(type="http", url=answers.url, credentials={"valueFrom": {"env": "DATASOURCE_KEY"}})
    assert answers.seen[-1]["Authorization"] == "Bearer s3cret"
    assert "s3cret" not in repr(found)


async def test_missing_secret_is_told(look: Looker, answers: Answers) -> None:
    found = await look(type="http", url=answers.url, credentials={"valueFrom": {"env": "DATASOURCE_NOT_SET"}})
    assert told(found) == ("False", "MissingSecret")
    assert "DATASOURCE_NOT_SET" in message(found)
    assert not answers.seen


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (500, b"", "HttpStatus"),
        (302, b"", "HttpStatus"),
        (403, b"", "Unauthorized"),
        (200, b"{", "NotJson"),
        (200, b" " * (1024 * 1024 + 1), "AnswerTooLarge"),
    ],
)
async def test_bad_answer_of_a_server_is_a_condition(
    look: Looker, answers: Answers, status: int, body: bytes, reason: str
) -> None:
    answers.status, answers.body, answers.headers = status, body, {"Location": f"{answers.url}x"}
    found = await look(type="http", url=answers.url)
    assert told(found) == ("False", reason)
    assert len(answers.seen) == 1


async def test_server_that_does_not_answer_is_told_in_time(look: Looker, answers: Answers) -> None:
    answers.free.clear()
    found = await look(type="http", url=answers.url, timeout="50ms")
    assert told(found) == ("False", "Timeout")


async def test_nobody_at_the_address_is_told(look: Looker) -> None:
    found = await look(type="http", url="http://127.0.0.1:9/nothing", timeout="2s")
    assert told(found) == ("False", "ConnectionFailed")


# ------------------------------------------------------------------------------------------------ cleaning up


async def test_deletion_closes_connections_and_removes_the_cache(
    runtime: MiniRuntime, controller: AbstractController, look: Looker, answers: Answers, project: Path
) -> None:
    found = await look(type="http", url=answers.url)
    assert (project / found.status["cache"]).exists()
    await runtime.client.delete(found.key)
    held = await runtime.client.get(found.key)
    assert held is not None, "the finalizer did not hold it back"
    await controller.reconcile(Request("default", "orders"))
    assert await runtime.client.get(found.key) is None
    assert not (project / ".kastra" / "datasources" / "default").exists()
    assert not controller._http  # type: ignore[attr-defined]


async def test_cleaning_up_can_be_repeated(look: Looker, controller: AbstractController, shop: Path) -> None:
    found = await look(type="sqlite", path="shop.db")
    await controller.cleanup_resource(found)
    await controller.cleanup_resource(found)


# ------------------------------------------------------------------------------------------------ all of it


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A directory on which the example is installed, as far as finding it goes."""
    info = tmp_path / "site" / "kastra_plugin_datasource-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: kastra-plugin-datasource\n", encoding="utf-8")
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    points = [f"{name} = {module}" for name, module in project["entry-points"]["kastra"].items()]
    (info / "entry_points.txt").write_text("\n".join(["[kastra]", *points, ""]), encoding="utf-8")
    return info.parent


@pytest.fixture
def shop_project(project: Path, shop: Path, answers: Answers) -> Path:
    """The project of the example, its HTTP source being the test's server, looked at very often."""
    for name in ("datasources.yaml", "sources.yaml"):
        shutil.copy(EXAMPLE / "shop" / name, project)
    sources = project / "sources.yaml"
    text = sources.read_text(encoding="utf-8").replace("http://127.0.0.1:8765/prices.json", answers.url)
    sources.write_text(text.replace("refreshInterval: 10s", "refreshInterval: 100ms"), encoding="utf-8")
    return project


@pytest.fixture
async def opened(
    shop_project: Path, site: Path, plugin: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[RuntimeManager]:
    """A runtime of the project with all that is installed; what is in its directory is applied."""
    monkeypatch.syspath_prepend(str(site))
    config = Config.load(shop_project, {"KASTRA_CONFIG_HOME": str(shop_project / "home")})
    async with await RuntimeManager.open(config=config) as runtime:
        report = await runtime.apply([str(shop_project)])
        assert [item.outcome for item in report.items] == ["created"] * 3
        assert not report.not_ready
        yield runtime


class Watcher:
    """Waits for what becomes of a resource."""

    def __init__(self, runtime: RuntimeManager) -> None:
        self.runtime = runtime

    async def until(self, name: str, holds: Callable[[Resource | None], bool], kind: str = "DataSource") -> None:
        """Until the resource is so; None stands for gone."""
        found = self.runtime.registry.resolve(kind)
        key = found.key("default", name)
        events: Any = self.runtime.client.watch(found)  # from this moment on
        async with asyncio.timeout(30), contextlib.aclosing(events):
            while not holds(await self.runtime.client.get(key)):
                await anext(events)


def has(status: str, reason: str) -> Callable[[Resource | None], bool]:
    return lambda found: found is not None and told(found) == (status, reason)


async def test_sources_that_go_and_come_back_are_told_and_cleaned_up_with_their_definition(
    opened: RuntimeManager, shop: Path, answers: Answers, shop_project: Path
) -> None:
    watcher = Watcher(opened)
    away = shop.rename(shop.with_suffix(".away"))
    await watcher.until("orders", has("False", "FileNotFound"))
    away.rename(shop)
    await watcher.until("orders", has("True", "Connected"))
    answers.status = 500
    await watcher.until("prices", has("False", "HttpStatus"))
    answers.status = 200
    await watcher.until("prices", has("True", "Connected"))

    orders = opened.get_datasource("orders")
    assert (await orders.resource()).status["tables"] == 1
    caches = shop_project / ".kastra" / "datasources" / "default"
    assert (caches / "orders.json").exists()
    await orders.delete()
    await watcher.until("orders", lambda found: found is None)
    assert not (caches / "orders.json").exists()
    assert (caches / "prices.json").exists()

    forgotten = asyncio.Event()
    opened.registry.subscribe(lambda kind, known: forgotten.set() if kind.kind == "DataSource" and not known else None)
    await opened.client.delete(opened.registry.resolve("crd").key("", "datasources.mastra.ai"))
    await watcher.until("datasources.mastra.ai", lambda found: found is None, kind="crd")
    async with asyncio.timeout(30):
        await forgotten.wait()
    assert not caches.exists()
    assert opened.registry.get("mastra.ai", "DataSource") is None
    left = await opened.store.resources.list("mastra.ai", "DataSource")
    assert not left.items


async def test_changed_source_is_looked_at_at_once(opened: RuntimeManager, shop_project: Path) -> None:
    with closing(sqlite3.connect(shop_project / "other.db")) as connection, connection:
        connection.executescript("CREATE TABLE a (x); CREATE TABLE b (x); CREATE TABLE c (x);")
    manifest = source(type="sqlite", path="other.db", refreshInterval="1h")
    await opened.apply([manifest])
    found = await opened.get_datasource("orders").resource()
    assert (found.status["tables"], found.status["observedGeneration"]) == (3, 2)


@pytest.mark.parametrize(
    ("spec", "path", "words"),
    [
        ({"type": "sqlite"}, "spec", "give exactly one of path and url"),
        ({"type": "sqlite", "path": "a.db", "url": "http://a.example"}, "spec", "give exactly one of path and url"),
        ({"type": "sqlite", "url": "http://a.example"}, "spec", "a source of type sqlite needs path"),
        ({"type": "http", "path": "a.db"}, "spec", "a source of type http needs url"),
        ({"type": "http", "url": "ftp://a.example"}, "spec.url", "http:// or https://"),
        ({"type": "http", "url": "http://u:p@a.example"}, "spec.url", "a password has no place in a URL"),
        (
            {"type": "http", "url": "http://a.example", "query": "SELECT 1"},
            "spec.query",
            "only a source of type sqlite",
        ),
        ({"type": "sqlite", "path": "../a.db"}, "spec.path", "in the project"),
        ({"type": "sqlite", "path": "/etc/a.db"}, "spec.path", "in the project"),
        ({"type": "sqlite", "path": "a.db", "timeout": "2h"}, "spec.timeout", ""),
        ({"type": "sqlite", "path": "a.db", "timeout": "5m"}, "spec.timeout", "from 10ms to 60s"),
        ({"type": "sqlite", "path": "a.db", "refreshInterval": "1ms"}, "spec.refreshInterval", "from 100ms to 24h"),
        ({"type": "ftp", "path": "a.db"}, "spec.type", "sqlite"),
        ({"path": "a.db"}, "spec.type", ""),
        (
            {"type": "http", "url": "http://a.example", "credentials": {"valueFrom": {"env": "OPENAI_API_KEY"}}},
            "spec.credentials.valueFrom.env",
            "DATASOURCE_",
        ),
    ],
)
def test_wrong_source_is_refused_where_it_is_wrong(spec: dict[str, Any], path: str, words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        decode(_defined(), source(**spec))
    assert any(problem.path == path and words in problem.message for problem in caught.value.problems), caught.value


def test_type_of_a_source_cannot_change() -> None:
    kind = _defined().resolve("datasource")
    structure = load(kind.structure)
    assert structure is not None
    old, new = source(type="sqlite", path="a.db"), source(type="http", url="http://a.example")
    problems = structure.validate(structure.default(new), structure.default(old))
    assert [problem.path for problem in problems] == ["spec.type"]


@lru_cache
def _defined() -> KindRegistry:
    """The kinds of the plugins, and the one that the example defines."""
    registry = registry_of(PluginManager())
    (document,) = read_sources([str(EXAMPLE / "shop" / "datasources.yaml")])
    definition = decode(registry, document.data)
    for kind in load(definition.kind.defines)(definition.filled or definition.resource):
        registry.register(kind)
    return registry


def test_commands_apply_show_watch_and_delete_sources(
    shop_project: Path, site: Path, environment: dict[str, str], forks: Any
) -> None:
    env = {**environment, "PYTHONPATH": os.pathsep.join([str(site), str(EXAMPLE / "src")])}

    def kastra(*args: str) -> str:
        code, out, err = forks.run(args, cwd=shop_project, env=env, input="")
        assert code == 0, err
        return str(out)

    out = kastra("apply", "-f", ".")
    assert "datasource.mastra.ai/orders created" in out
    assert "not ready" not in out
    rows = [line.split() for line in kastra("get", "ds").splitlines()]
    assert rows[0] == ["NAME", "TYPE", "READY", "REASON", "TABLES", "ROWS", "AGE"]
    assert [row[:5] for row in rows[1:]] == [
        ["orders", "sqlite", "True", "Connected", "1"],
        ["prices", "http", "True", "Connected", "<none>"],
    ]
    assert "How long until the source is looked at again." in kastra("explain", "ds.spec.refreshInterval")
    described = kastra("describe", "ds/orders")
    assert "1 table, the query gives 2 rows" in described
    assert FINALIZER in described

    pipe = subprocess.PIPE
    watching = forks.begin(("get", "ds", "-w"), cwd=shop_project, env=env, stdout=pipe, stderr=pipe, encoding="utf-8")
    try:
        lines = iter(watching.stdout.readline, "")
        assert any(line.startswith("orders") for line in lines)
        assert "datasource.mastra.ai/orders deleted" in kastra("delete", "ds/orders")
        assert any(line.startswith("orders") and "(deleted)" in line for line in lines)
    finally:
        watching.kill()
        watching.communicate()
    assert "datasources.mastra.ai deleted" in kastra("delete", "-f", "datasources.yaml")
    assert not (shop_project / ".kastra" / "datasources" / "default").exists()
    code, _, err = forks.run(("get", "ds"), cwd=shop_project, env=env, input="")
    assert code != 0
    assert "ds" in err
