"""A project whose store is on a LibSQL server: every command works as it does on a file."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

HERE = ("-n", "cooking")
TOKEN = "tok-7d1f"
FIND = ("run", "tool/recipe-finder", *HERE, "--set", "ingredients=[鸡蛋, 番茄]", "-o", "json")


@pytest.fixture
def server(hrana: Any, tmp_path: Path) -> Iterator[Any]:
    with hrana.HranaProcess(tmp_path / "server.db", token=TOKEN) as running:
        yield running


@pytest.fixture(params=["ws", "http"])
def hosted(request: pytest.FixtureRequest, kitchen: Any, server: Any) -> Any:
    """The kitchen, its store on the server, its token in a variable."""
    url = server.url(request.param)
    kitchen.configure(store=url, storeOptions={"authToken": {"valueFrom": {"env": "DB_TOKEN"}}})
    kitchen.environment["DB_TOKEN"] = TOKEN
    return kitchen


def test_manifests_are_applied_run_shown_and_deleted(hosted: Any) -> None:
    applied = hosted("apply", "-f", "tool.yaml")
    assert (applied.code, applied.out) == (0, "tool.mastra.ai/recipe-finder created\n"), applied.err
    assert hosted("apply", "-f", "tool.yaml").out == "tool.mastra.ai/recipe-finder unchanged\n"
    done = hosted(*FIND)
    assert done.code == 0, done.err
    answer = orjson.loads(done.out)
    assert answer["output"] == ["番茄炒蛋"]
    assert hosted.calls == ["鸡蛋 番茄"]
    (run,) = hosted.items("runs")
    assert (run["metadata"]["name"], run["status"]["phase"]) == (answer["run"], "Succeeded")
    assert answer["run"] in hosted("describe", f"run/{answer['run']}", *HERE).out
    assert "tool.invoke" in hosted("logs", f"run/{answer['run']}", *HERE).out
    assert hosted("delete", f"run/{answer['run']}", *HERE).code == 0
    assert hosted.items("runs") == []
    assert hosted("status").code == 0


def test_a_watch_sees_what_another_process_writes_also_over_a_restart_of_the_server(hosted: Any, server: Any) -> None:
    hosted("apply", "-f", "tool.yaml")
    process = hosted.start("get", "tools", *HERE, "-w")
    lines: list[str] = []
    seen = threading.Event()

    def read() -> None:
        for line in process.stdout:
            lines.append(line)
            seen.set()

    threading.Thread(target=read, daemon=True).start()

    def wait_for(word: str) -> None:
        while not any(word in line for line in lines):
            assert seen.wait(30), lines
            seen.clear()

    wait_for("recipe-finder")
    text = (hosted.path / "tool.yaml").read_text(encoding="utf-8")
    (hosted.path / "more.yaml").write_text(text.replace("recipe-finder", "second-finder"), encoding="utf-8")
    assert hosted("apply", "-f", "more.yaml").code == 0
    wait_for("second-finder")
    server.restart()
    (hosted.path / "more.yaml").write_text(text.replace("recipe-finder", "third-finder"), encoding="utf-8")
    assert hosted("apply", "-f", "more.yaml").code == 0
    wait_for("third-finder")


def test_a_wrong_token_is_told_without_the_token(hosted: Any) -> None:
    told = hosted("get", "tools", DB_TOKEN="tok-wrong")
    assert told.code == 4
    assert "token" in told.err
    assert "storeOptions.authToken" in told.err
    assert "tok-wrong" not in told.all
    hosted.environment.pop("DB_TOKEN")
    assert "DB_TOKEN" in hosted("get", "tools").err


def test_the_token_may_stand_in_its_variable_and_never_in_the_url(kitchen: Any, server: Any) -> None:
    url = server.url("ws")
    variables = {"KASTRA_STORE": url, "KASTRA_STORE_AUTH_TOKEN": TOKEN}
    assert kitchen("apply", "-f", "tool.yaml", **variables).code == 0
    # A store given on the command line takes it, too; one on a file has no use for it.
    assert "recipe-finder" in kitchen("--store", url, "get", "tools", *HERE, KASTRA_STORE_AUTH_TOKEN=TOKEN).out
    assert kitchen("apply", "-f", "tool.yaml", KASTRA_STORE_AUTH_TOKEN=TOKEN).code == 0
    told = kitchen("--store", f"{url}?authToken={TOKEN}", "get", "tools")
    assert told.code == 1
    assert "KASTRA_STORE_AUTH_TOKEN" in told.err
    assert TOKEN not in told.all
    assert TOKEN not in kitchen("config", "view", **variables).all


def test_a_server_that_is_away_is_told_with_its_address(kitchen: Any, server: Any) -> None:
    kitchen.configure(store=server.url("ws"), storeOptions={"timeoutS": 0.5})
    server.kill()
    told = kitchen("get", "tools", KASTRA_STORE_AUTH_TOKEN=TOKEN)
    assert told.code == 4
    assert server.url("ws") in told.err
    assert "check that the server runs" in told.err


def test_the_operators_commands_work_on_a_server(hosted: Any) -> None:
    hosted("apply", "-f", "tool.yaml")
    assert hosted(*FIND).code == 0
    status = orjson.loads(hosted("store", "status", "-o", "json").out)
    assert status["schema"] == status["latestSchema"]
    assert next(facet for facet in status["facets"] if facet["name"] == "journal")["items"] > 0
    assert TOKEN not in str(status)
    checked = hosted("store", "check")
    assert (checked.code, "no problem" in checked.out) == (0, True), checked.all
    assert hosted("store", "backup", "copy.backup").code == 0
    # A backup of a server is a database file.
    here = orjson.loads(hosted("--store", "file:copy.backup", "get", "runs,tools", *HERE, "-o", "json").out)
    assert [item["kind"] for item in here["items"]] == ["Run", "Tool"]
    assert hosted("store", "compact").code == 0
