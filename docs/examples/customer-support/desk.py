"""Tools of the support desk: invoices and known problems of ``data/desk.json``, tickets in ``data/desk.db``.

Words decide what a person is asked about, not a model: so the desk does the same with any model.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from kastra_plugin_tool import ToolContext

__all__ = ["close_ticket", "list_tickets", "look_up_invoices", "look_up_problem", "open_ticket", "show_ticket"]

DATA = Path(__file__).resolve().parent / "data"
TABLES = """
CREATE TABLE IF NOT EXISTS tickets (
    number INTEGER PRIMARY KEY, key TEXT UNIQUE, customer TEXT, message TEXT, reply TEXT, invoice TEXT,
    action TEXT, status TEXT DEFAULT 'open', note TEXT DEFAULT '');
CREATE TABLE IF NOT EXISTS refunds (invoice TEXT PRIMARY KEY, ticket INTEGER);
"""


def look_up_invoices(question: str) -> dict[str, str]:
    """Find the invoices whose numbers a question names. 查询客户提到的账单。"""
    named, chinese = _numbers(question), _is_chinese(question)
    found = [_invoice_text(invoice, chinese) for invoice in _desk()["invoices"] if invoice["number"] in named]
    if found:
        return {"answer": " ".join(found)}
    if chinese:
        return {"answer": "请告诉我们账单的编号，例如 R-1001，写在账单的第一页上。"}
    return {"answer": "Please tell us the number of the invoice, which looks like R-1001. It is on its first page."}


def look_up_problem(question: str) -> dict[str, str]:
    """Find advice for a technical problem. 查询技术问题的解决办法。"""
    words = question.lower()
    best = max(_desk()["problems"], key=lambda problem: _count(problem["words"], words))
    if not _count(best["words"], words):
        return {"advice": "Unplug the device for ten seconds; if that does not help, call us."}
    return {"advice": best["fix.zh" if _is_chinese(question) else "fix"]}


def open_ticket(message: str, context: ToolContext, customer: str = "", reply: str = "") -> dict[str, Any]:
    """Keep a customer's message as a ticket, and say what a person has to decide about it.

    Args:
        message: the customer's words
        customer: who it is; default: the owner of the invoice that the message names
        reply: what the customer was answered
    """
    invoice = next((one for one in _desk()["invoices"] if one["number"] in _numbers(message)), None)
    owner = customer or (invoice["customer"] if invoice else "unknown")
    with _database() as database:
        action = _action(message, invoice, database)
        # After a crash the same call comes again with the same key: it gives the ticket that is there.
        database.execute(
            "INSERT OR IGNORE INTO tickets (key, customer, message, reply, invoice, action) VALUES (?, ?, ?, ?, ?, ?)",
            (context.idempotency_key, owner, message, reply, invoice and invoice["number"], action),
        )
        [number] = database.execute("SELECT number FROM tickets WHERE key = ?", (context.idempotency_key,)).fetchone()
    return show_ticket(number)


def show_ticket(number: int) -> dict[str, Any]:
    """Show a ticket.

    Args:
        number: of the ticket
    """
    with _database() as database:
        row = database.execute("SELECT * FROM tickets WHERE number = ?", (number,)).fetchone()
        if row is None:
            raise LookupError(f"there is no ticket {number}")
        paid = database.execute("SELECT ticket FROM refunds WHERE invoice = ?", (row["invoice"],)).fetchone()
    invoice = next((one for one in _desk()["invoices"] if one["number"] == row["invoice"]), None)
    facts = f"{_invoice_text(invoice)} It is that of {invoice['customer']}." if invoice else "No invoice is named."
    if paid:
        facts += f" It was refunded with ticket {paid['ticket']}."
    shown = {name: row[name] for name in ("number", "customer", "message", "action", "status", "note")}
    return {**shown, "facts": facts, "text": _ticket_text(row)}


def list_tickets(status: Literal["open", "answered", "settled", "declined", "all"] = "open") -> list[dict[str, Any]]:
    """List tickets, the newest first.

    Args:
        status: of those that are listed
    """
    with _database() as database:
        rows = database.execute(
            "SELECT number FROM tickets WHERE ? IN (status, 'all') ORDER BY number DESC", (status,)
        ).fetchall()
    return [show_ticket(row["number"]) for row in rows]


def close_ticket(number: int, outcome: Literal["answered", "settled", "declined"], note: str = "") -> dict[str, Any]:
    """Close an open ticket. One that is closed stays as it is, so that nothing is paid twice.

    Args:
        number: of the ticket
        outcome: settled: what the ticket's action says is done
        note: of the person who decided
    """
    with _database() as database:
        row = database.execute("SELECT * FROM tickets WHERE number = ? AND status = 'open'", (number,)).fetchone()
        if row is not None:
            if outcome == "settled" and row["action"].startswith("refund"):
                # An invoice is refunded once, also when two tickets about it were open.
                database.execute("INSERT OR IGNORE INTO refunds VALUES (?, ?)", (row["invoice"], number))
                [first] = database.execute("SELECT ticket FROM refunds WHERE invoice = ?", (row["invoice"],)).fetchone()
                if first != number:
                    outcome, note = "declined", f"refunded already with ticket {first}"
            database.execute("UPDATE tickets SET status = ?, note = ? WHERE number = ?", (outcome, note, number))
    shown = show_ticket(number)
    return {"ticket": number, "outcome": shown["status"], "text": shown["text"]}


def _desk() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DATA / "desk.json").read_text(encoding="utf-8"))
    return found


@contextmanager
def _database() -> Iterator[sqlite3.Connection]:
    """The database in one transaction; runs at the same time wait for each other."""
    connection = sqlite3.connect(DATA / "desk.db", timeout=10)
    connection.row_factory = sqlite3.Row
    try:
        connection.executescript(TABLES)
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            yield connection
    finally:
        connection.close()


def _is_chinese(text: str) -> bool:
    return bool(re.search(r"[\u4e00-\u9fff]", text))


def _numbers(text: str) -> list[str]:
    """Numbers of invoices in a text, however they are written: R-1002, r1002."""
    return [f"R-{digits}" for digits in re.findall(r"[Rr][- ]?(\d{4})", text)]


def _count(wanted: list[str], text: str) -> int:
    return sum(word in text for word in wanted)


def _action(message: str, invoice: dict[str, Any] | None, database: sqlite3.Connection) -> str:
    """What a person has to decide about, "none" when there is nothing."""
    words, desk = message.lower(), _desk()
    if _count(desk["refund"], words) and invoice is not None and invoice["refundable"]:
        paid = database.execute("SELECT 1 FROM refunds WHERE invoice = ?", (invoice["number"],)).fetchone()
        if not paid:
            return f"refund {_eur(invoice['refundable'])} of {invoice['number']}"
    return "call the customer back" if _count(desk["refund"] + desk["callback"], words) else "none"


def _invoice_text(invoice: dict[str, Any], chinese: bool = False) -> str:
    number, amount = invoice["number"], _eur(invoice["cents"])
    if chinese:
        return f"账单 {number}：{amount}。{invoice['note.zh']}{'已付款' if invoice['paid'] else '尚未付款'}。"
    paid = "It is paid." if invoice["paid"] else "It is not paid yet."
    return f"Invoice {number} of {invoice['month']} is {amount}. {invoice['note']} {paid}"


def _ticket_text(row: sqlite3.Row) -> str:
    ends = {"open": "waits for a decision", "settled": f"is settled: {row['action']}", "declined": "is declined"}
    note = f" ({row['note']})" if row["note"] else ""
    return f"Ticket {row['number']} {ends.get(row['status'], 'is answered')}{note}."


def _eur(cents: int) -> str:
    return f"{cents / 100:.2f} EUR"
