"""An order as it is in a file, and what makes it wrong or unusual. Plain Python, no database."""

from __future__ import annotations

import csv
import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

__all__ = ["FIELDS", "Order", "parse", "read_file", "unusual"]

FIELDS = ("order", "date", "customer", "item", "quantity", "price")
UNUSUAL = 10
"""An amount so many times the median is unusual."""


@dataclass(frozen=True)
class Order:
    """A valid order. ``cents`` is quantity times price."""

    number: str
    day: str
    customer: str
    item: str
    quantity: int
    cents: int


def read_file(path: Path) -> list[dict[str, Any]]:
    """Return the records of a CSV or JSON file.

    Raises:
        ValueError: the file is not what it should be; perhaps somebody is still writing it.
    """
    text = path.read_text(encoding="utf-8")
    if not text.endswith("\n"):
        raise ValueError(f"{path.name} does not end with a line break: it is not complete yet")
    if path.suffix == ".json":
        return [dict(record) for record in json.loads(text)]
    rows = csv.DictReader(text.splitlines())
    missing = set(FIELDS) - set(rows.fieldnames or ())
    if missing:
        raise ValueError(f"{path.name} has no column {', '.join(sorted(missing))}")
    return [dict(row) for row in rows]


def parse(record: Mapping[str, Any], customers: Iterable[str]) -> Order:
    """Return the order that a record describes.

    Raises:
        ValueError: in words that somebody who mends the file understands.
    """
    text = {name: str(record.get(name) or "").strip() for name in FIELDS}
    empty = [name for name, value in text.items() if not value]
    if empty:
        raise ValueError(f"{', '.join(empty)} is missing")
    if text["customer"] not in customers:
        raise ValueError(f"unknown customer {text['customer']}")
    try:
        date.fromisoformat(text["date"])
    except ValueError:
        raise ValueError(f"{text['date']} is no date") from None
    try:
        quantity, price = int(text["quantity"]), Decimal(text["price"])
    except (ValueError, InvalidOperation):
        raise ValueError(f"{text['quantity']} times {text['price']} is no amount") from None
    if quantity <= 0 or not price.is_finite() or price <= 0:
        raise ValueError(f"{quantity} times {price} is no amount")
    cents = int((quantity * price * 100).to_integral_value())
    return Order(text["order"], text["date"], text["customer"], text["item"], quantity, cents)


def unusual(orders: Sequence[Order]) -> list[str]:
    """Name the orders whose amounts are far above the median."""
    if not orders:
        return []
    median = statistics.median(order.cents for order in orders)
    return [
        f"{order.number}: {order.quantity} {order.item} for {order.cents / 100:.2f} EUR, "
        f"{order.cents / median:.0f} times the usual amount"
        for order in orders
        if order.cents > UNUSUAL * median
    ]
