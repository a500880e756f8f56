"""Tools of the pipeline: files of ``incoming`` to the table ``orders`` of ``warehouse.db``, both beside this file.

A file goes through stages: extracted, transformed, approved (or refused), loaded. Each tool takes the files that are in
the stage before its own, so it can be called again after a crash, and nothing is loaded that nobody approved.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orders import Order, parse, read_file, unusual

from kastra_plugin_tool import ToolContext

__all__ = ["decide", "extract", "load", "report", "review", "set_aside", "transform"]

HERE = Path(__file__).resolve().parent
TABLES = """
CREATE TABLE IF NOT EXISTS files (name TEXT PRIMARY KEY, stage TEXT, note TEXT DEFAULT '', loaded_by TEXT DEFAULT '');
CREATE TABLE IF NOT EXISTS raw (file TEXT, line INTEGER, record TEXT, PRIMARY KEY (file, line));
CREATE TABLE IF NOT EXISTS rejected (file TEXT, line INTEGER, reason TEXT, PRIMARY KEY (file, line));
CREATE TABLE IF NOT EXISTS staged (
    file TEXT, number TEXT PRIMARY KEY, day TEXT, customer TEXT, item TEXT, quantity INTEGER, cents INTEGER);
CREATE TABLE IF NOT EXISTS orders (
    number TEXT PRIMARY KEY, day TEXT, customer TEXT, item TEXT, quantity INTEGER, cents INTEGER);
"""


def extract() -> dict[str, Any]:
    """Read the files of the incoming directory that are new. 提取新文件中的数据。"""
    with _warehouse() as warehouse:
        known = {name for (name,) in warehouse.execute("SELECT name FROM files")}
        for path in sorted((HERE / "incoming").iterdir()):
            if path.suffix not in (".csv", ".json") or path.name in known:
                continue
            # Lines are counted from 1 below the heading, records of JSON from 1.
            rows = [(path.name, line, json.dumps(record)) for line, record in enumerate(read_file(path), start=1)]
            warehouse.executemany("INSERT INTO raw VALUES (?, ?, ?)", rows)
            warehouse.execute("INSERT INTO files (name, stage) VALUES (?, 'extracted')", (path.name,))
        files = _in_stage(warehouse, "extracted")
        marks = ", ".join("?" * len(files))
        [rows_read] = warehouse.execute(f"SELECT count(*) FROM raw WHERE file IN ({marks})", files).fetchone()
    return {"files": files, "rows": rows_read}


def transform() -> dict[str, Any]:
    """Check the extracted records and make orders of those that are right. 检查并转换提取的数据。"""
    customers = json.loads((HERE / "reference" / "customers.json").read_text(encoding="utf-8"))
    with _warehouse() as warehouse:
        for file in _in_stage(warehouse, "extracted"):
            known = warehouse.execute("SELECT number FROM orders UNION SELECT number FROM staged")
            seen = {number for (number,) in known}
            for line, record in warehouse.execute("SELECT line, record FROM raw WHERE file = ?", (file,)).fetchall():
                try:
                    order = parse(json.loads(record), customers)
                    if order.number in seen:
                        raise ValueError(f"order {order.number} is there twice")
                except ValueError as error:
                    warehouse.execute("INSERT OR REPLACE INTO rejected VALUES (?, ?, ?)", (file, line, str(error)))
                    continue
                seen.add(order.number)
                warehouse.execute("INSERT INTO staged VALUES (?, ?, ?, ?, ?, ?, ?)", (file, *_row(order)))
            warehouse.execute("UPDATE files SET stage = 'transformed' WHERE name = ?", (file,))
    return review()


def review() -> dict[str, Any]:
    """Say what waits for an approval: files, sums, what was rejected, what is unusual. 汇总等待批准的数据。"""
    with _warehouse() as warehouse:
        files = _in_stage(warehouse, "transformed")
        marks = ", ".join("?" * len(files))
        orders = [
            Order(*row)
            for row in warehouse.execute(
                f"SELECT number, day, customer, item, quantity, cents FROM staged WHERE file IN ({marks})", files
            )
        ]
        rejected = [
            f"{file}, record {line}: {reason}"
            for file, line, reason in warehouse.execute(
                f"SELECT file, line, reason FROM rejected WHERE file IN ({marks}) ORDER BY file, line", files
            )
        ]
    total = f"{sum(order.cents for order in orders) / 100:.2f} EUR"
    odd = unusual(orders)
    count = f"{len(orders)} order{'' if len(orders) == 1 else 's'}"
    lines = [f"{count} of {total} from {', '.join(files)}"]
    lines += [f"rejected: {text}" for text in rejected] + [f"unusual: {text}" for text in odd]
    return {
        "files": files,
        "accepted": len(orders),
        "total": total,
        "rejected": rejected,
        "unusual": odd,
        "summary": "\n".join(lines),
    }


def decide(files: list[str], approved: bool, note: str = "") -> dict[str, Any]:
    """Keep what a person decided about files that were transformed.

    Args:
        files: their names
        approved: whether they may be loaded
        note: of the person
    """
    stage = "approved" if approved else "refused"
    with _warehouse() as warehouse:
        for file in files:
            warehouse.execute(
                "UPDATE files SET stage = ?, note = ? WHERE name = ? AND stage = 'transformed'", (stage, note, file)
            )
    return {"files": files, "stage": stage, "note": note}


def load(context: ToolContext) -> dict[str, Any]:
    """Load the orders of all approved files into the warehouse. 把已批准的数据加载到数据库。"""
    key = context.idempotency_key
    with _warehouse() as warehouse:
        files = _in_stage(warehouse, "approved")
        for file in files:
            warehouse.execute(
                "INSERT INTO orders SELECT number, day, customer, item, quantity, cents FROM staged WHERE file = ?",
                (file,),
            )
            warehouse.execute("UPDATE files SET stage = 'loaded', loaded_by = ? WHERE name = ?", (key, file))
        # When the call is repeated after a crash, it gives the answer that got lost.
        mine = warehouse.execute("SELECT name FROM files WHERE loaded_by = ? ORDER BY name", (key,))
        loaded = [name for (name,) in mine]
        marks = ", ".join("?" * len(loaded))
        [count] = warehouse.execute(f"SELECT count(*) FROM staged WHERE file IN ({marks})", loaded).fetchone()
    return {"files": loaded, "orders": count}


def set_aside(files: list[str], reason: str) -> dict[str, Any]:
    """Refuse the files of a failed run, so that the next run begins with new ones.

    Args:
        files: their names
        reason: why the run failed
    """
    with _warehouse() as warehouse:
        warehouse.executemany(
            "UPDATE files SET stage = 'refused', note = ? WHERE name = ? AND stage IN ('extracted', 'transformed')",
            [(reason, file) for file in files],
        )
    return {"files": files, "reason": reason}


def report() -> dict[str, Any]:
    """Say what is in the warehouse: orders, amounts by customer, and the stage of each file."""
    with _warehouse() as warehouse:
        stages = dict(warehouse.execute("SELECT name, stage FROM files ORDER BY name"))
        sums: Counter[str] = Counter()
        for customer, cents in warehouse.execute("SELECT customer, cents FROM orders ORDER BY customer"):
            sums[customer] += cents
        [count] = warehouse.execute("SELECT count(*) FROM orders").fetchone()
    return {"orders": count, "eur": {name: f"{cents / 100:.2f}" for name, cents in sums.items()}, "files": stages}


@contextmanager
def _warehouse() -> Iterator[sqlite3.Connection]:
    """The database in one transaction: what a tool does is there as a whole, or not at all."""
    connection = sqlite3.connect(HERE / "warehouse.db", timeout=10)
    try:
        connection.executescript(TABLES)
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            yield connection
    finally:
        connection.close()


def _in_stage(warehouse: sqlite3.Connection, stage: str) -> list[str]:
    return [name for (name,) in warehouse.execute("SELECT name FROM files WHERE stage = ? ORDER BY name", (stage,))]


def _row(order: Order) -> tuple[Any, ...]:
    return (order.number, order.day, order.customer, order.item, order.quantity, order.cents)
