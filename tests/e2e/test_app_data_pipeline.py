"""The data pipeline of docs/examples/data-pipeline: from files to a database, with a person in between, on a copy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from example_project import Application, copied, module_of, served
from kastra_plugin_tool import ToolContext
from scripted_openai import Call

PIPELINE: dict[str, Any] = {"allow": ["pipeline", "orders"]}
HEAD = "order,date,customer,item,quantity,price\n"
FILES = ["orders-2024-03.csv", "web-2024-03.json"]
RECORD = {"order": "A-1", "date": "2024-03-01", "customer": "C-01", "item": "tea", "quantity": "2", "price": "3.50"}


def only(application: Application, name: str, text: str) -> None:
    """Make a file the only one that comes in."""
    incoming = application.path / "incoming"
    for path in incoming.iterdir():
        path.unlink()
    (incoming / name).write_text(text, encoding="utf-8")


def stages(application: Application) -> dict[str, str]:
    return dict(application.rows("warehouse.db", "SELECT name, stage FROM files"))


async def test_orders_are_loaded_when_a_person_approves(kitchen: Any) -> None:
    async with served(kitchen, "data-pipeline", **PIPELINE) as pipeline:
        asked = await pipeline("run", "workflow/orders-import", "--name", "march")
        assert asked.out == ""
        for words in ("9 orders of 1974.40 EUR", "record 4: unknown customer C-07", "unusual: A-1007: 500 tea"):
            assert words in asked.err
        assert pipeline.rows("warehouse.db", "SELECT * FROM orders") == []
        loaded = await pipeline.json("run", "resume", "run/march", "--data", '{"approved": true}')
        assert loaded == {"files": FILES, "orders": 9}
        assert stages(pipeline) == dict.fromkeys(FILES, "loaded")
        assert pipeline.rows("warehouse.db", "SELECT sum(cents) FROM orders WHERE number LIKE 'W-%'") == [(6640,)]
        nothing = await pipeline.json("run", "workflow/orders-import")
        assert nothing == {"files": [], "orders": 0}
        assert pipeline.asked == [], "no model was asked"


async def test_nothing_is_loaded_when_a_person_refuses(kitchen: Any) -> None:
    async with served(kitchen, "data-pipeline", **PIPELINE) as pipeline:
        await pipeline("run", "workflow/orders-import", "--name", "march")
        answer = '{"approved": false, "note": "ask Lin about the 500"}'
        await pipeline("run", "resume", "run/march", "--data", answer)
        assert pipeline.rows("warehouse.db", "SELECT * FROM orders") == []
        kept = pipeline.rows("warehouse.db", "SELECT DISTINCT stage, note FROM files")
        assert kept == [("refused", "ask Lin about the 500")]


async def test_clean_file_is_loaded_without_a_question(kitchen: Any) -> None:
    async with served(kitchen, "data-pipeline", **PIPELINE) as pipeline:
        only(pipeline, "may.csv", f"{HEAD}A-9,2024-05-02,C-03,tea,5,3.50\n")
        assert await pipeline.json("run", "workflow/orders-import") == {"files": ["may.csv"], "orders": 1}
        assert pipeline.rows("warehouse.db", "SELECT * FROM orders") == [("A-9", "2024-05-02", "C-03", "tea", 5, 1750)]


async def test_useless_file_fails_the_run_and_is_set_aside(kitchen: Any) -> None:
    async with served(kitchen, "data-pipeline", **PIPELINE) as pipeline:
        only(pipeline, "may.csv", f"{HEAD}A-9,yesterday,C-03,tea,5,3.50\n")
        failed = await pipeline("run", "workflow/orders-import", code=5)
        assert "(TooManyRejected): step useless: 1 records were rejected, 0 accepted" in failed.err
        assert stages(pipeline) == {"may.csv": "refused"}
        assert (await pipeline.json("run", "workflow/orders-import"))["files"] == []


async def test_file_that_is_still_written_is_tried_again_and_left_for_the_next_run(kitchen: Any) -> None:
    async with served(kitchen, "data-pipeline", **PIPELINE) as pipeline:
        manifest = pipeline.path / "orders-import.yaml"
        text = manifest.read_text(encoding="utf-8")
        assert "delay: 1s" in text
        manifest.write_text(text.replace("delay: 1s", "delay: 1ms"), encoding="utf-8")
        await pipeline("apply", "-f", "orders-import.yaml")
        only(pipeline, "may.csv", f"{HEAD}A-9,2024-05-02,C-0")
        failed = await pipeline("run", "workflow/orders-import", "--name", "early", code=5)
        assert "may.csv does not end with a line break: it is not complete yet" in failed.err
        told = (await pipeline("describe", "run/early")).out
        assert ["extract", "tool", "Failed", "4"] in [line.split()[:4] for line in told.splitlines()], "four tries"
        only(pipeline, "may.csv", f"{HEAD}A-9,2024-05-02,C-03,tea,5,3.50\n")
        assert (await pipeline.json("run", "workflow/orders-import"))["orders"] == 1


async def test_import_has_a_schedule(kitchen: Any) -> None:
    async with served(kitchen, "data-pipeline", **PIPELINE) as pipeline:
        workflow = await pipeline.json("get", "workflow/orders-import", "-o", "json")
        assert workflow["status"]["nextScheduleTime"].endswith(("T04:30:00Z", "T05:30:00Z")), "6:30 in Berlin"


async def test_agents_call_their_tools_and_a_person_approves(kitchen: Any) -> None:
    answers = (
        Call("orders-extract"),
        "Two files were read.",
        Call("orders-transform"),
        "A customer is unknown.",
        Call("orders-load"),
        "Nine orders were loaded.",
    )
    async with served(kitchen, "data-pipeline", *answers, **PIPELINE) as pipeline:
        asked = await pipeline("run", "workflow/data-processing", "--name", "march")
        assert "9 orders of 1974.40 EUR" in asked.err
        assert "transform-agent: A customer is unknown." in asked.err
        demanded = [body["tool_choice"]["function"]["name"] for body in pipeline.asked[::2]]
        assert demanded == ["orders-extract", "orders-transform"]
        assert pipeline.rows("warehouse.db", "SELECT * FROM orders") == []
        done = await pipeline("run", "resume", "run/march", "--data", '{"approved": true}')
        assert done.out.strip() == "Nine orders were loaded."
        assert pipeline.rows("warehouse.db", "SELECT count(*) FROM orders") == [(9,)]


async def test_agents_load_nothing_that_is_refused(kitchen: Any) -> None:
    answers = (Call("orders-extract"), "Read.", Call("orders-transform"), "Checked.")
    async with served(kitchen, "data-pipeline", *answers, **PIPELINE) as pipeline:
        await pipeline("run", "workflow/data-processing", "--name", "march")
        done = await pipeline("run", "resume", "run/march", "--data", '{"approved": false, "note": "wait"}')
        assert done.out.strip() == "Refused: wait"
        assert stages(pipeline) == dict.fromkeys(FILES, "refused")


def test_load_that_is_repeated_after_a_crash_gives_the_same_answer(kitchen: Any) -> None:
    def context(key: str) -> ToolContext:
        return ToolContext(tool="orders-load", namespace="default", run_id="r", idempotency_key=key)

    with module_of(copied(kitchen, "data-pipeline").path, "pipeline") as pipeline:
        pipeline.extract()
        pipeline.decide(pipeline.transform()["files"], True)
        first = pipeline.load(context("a"))
        assert (first, pipeline.load(context("a"))) == ({"files": FILES, "orders": 9},) * 2
        assert pipeline.load(context("b")) == {"files": [], "orders": 0}
        assert pipeline.report()["orders"] == 9


def test_what_nobody_approved_is_not_loaded(kitchen: Any) -> None:
    with module_of(copied(kitchen, "data-pipeline").path, "pipeline") as pipeline:
        pipeline.extract()
        pipeline.transform()
        context = ToolContext(tool="orders-load", namespace="default", run_id="r", idempotency_key="a")
        assert pipeline.load(context) == {"files": [], "orders": 0}


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"customer": "C-99"}, "unknown customer C-99"),
        ({"date": "2024-02-30"}, "2024-02-30 is no date"),
        ({"quantity": "0"}, "0 times 3.50 is no amount"),
        ({"quantity": "two"}, "two times 3.50 is no amount"),
        ({"price": "NaN"}, "2 times NaN is no amount"),
        ({"price": "-1"}, "2 times -1 is no amount"),
        ({"item": " "}, "item is missing"),
        ({"order": None, "date": ""}, "order, date is missing"),
    ],
)
def test_wrong_record_says_what_is_wrong(kitchen: Any, changed: dict[str, Any], reason: str) -> None:
    with module_of(copied(kitchen, "data-pipeline").path, "orders") as orders, pytest.raises(ValueError) as caught:
        orders.parse({**RECORD, **changed}, ["C-01"])
    assert str(caught.value) == reason


@pytest.mark.parametrize(
    ("name", "text", "count"),
    [("a.csv", f"{HEAD}A-1,2024-03-01,C-01,tea,2,3.50\n", 1), ("a.json", f"{json.dumps([RECORD, RECORD])}\n", 2)],
)
def test_csv_and_json_give_the_same_orders(kitchen: Any, tmp_path: Path, name: str, text: str, count: int) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with module_of(copied(kitchen, "data-pipeline").path, "orders") as orders:
        found = [orders.parse(record, ["C-01"]) for record in orders.read_file(path)]
        assert found == [orders.Order("A-1", "2024-03-01", "C-01", "tea", 2, 700)] * count
