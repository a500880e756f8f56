"""Functions of Power Fx that expressions of workflows do not have. Blank is None, a table a list, a record a dict."""

from __future__ import annotations

import json
import math
import uuid
from datetime import UTC, datetime
from typing import Any

__all__ = [
    "average",
    "distinct",
    "edit_table",
    "find",
    "greatest",
    "guid",
    "join",
    "least",
    "left",
    "lower",
    "mid",
    "now",
    "parse_json",
    "power",
    "proper",
    "replace",
    "right",
    "round_down",
    "round_number",
    "round_up",
    "search",
    "sort",
    "split",
    "square_root",
    "substitute",
    "to_json",
    "today",
    "total",
    "trim",
    "trim_ends",
    "upper",
]


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return value if isinstance(value, str) else str(value) if isinstance(value, (int, float)) else json.dumps(value)


def _number(value: Any) -> float:
    if value is None or value == "":
        return 0.0
    return float(value)


def _numbers(values: list[Any] | None) -> list[float]:
    return [_number(value) for value in values or [] if value is not None]


def _plain(number: float) -> int | float:
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def upper(text: Any) -> str:
    """The text in upper case."""
    return _text(text).upper()


def lower(text: Any) -> str:
    """The text in lower case."""
    return _text(text).lower()


def proper(text: Any) -> str:
    """The text with a capital at the start of each word."""
    return _text(text).title()


def trim(text: Any) -> str:
    """The text without blanks around it, and with single ones in it."""
    return " ".join(part for part in _text(text).split(" ") if part)


def trim_ends(text: Any) -> str:
    """The text without blanks around it."""
    return _text(text).strip(" ")


def find(find_text: Any, within_text: Any, start: Any = None) -> int | None:
    """Where a text stands in another, counted from 1; nothing where it does not."""
    begin = int(_number(start)) if start is not None else 1
    at = _text(within_text).find(_text(find_text), max(begin - 1, 0))
    return at + 1 if at >= 0 else None


def left(text: Any, count: Any) -> str:
    """The first characters."""
    return _text(text)[: max(int(_number(count)), 0)]


def right(text: Any, count: Any) -> str:
    """The last characters."""
    number = max(int(_number(count)), 0)
    return _text(text)[-number:] if number else ""


def mid(text: Any, start: Any, count: Any = None) -> str:
    """The characters from a place on, counted from 1."""
    begin = max(int(_number(start)) - 1, 0)
    end = None if count is None else begin + max(int(_number(count)), 0)
    return _text(text)[begin:end]


def replace(text: Any, start: Any, count: Any, new: Any) -> str:
    """The text with another one in place of some characters."""
    begin = max(int(_number(start)) - 1, 0)
    whole = _text(text)
    return whole[:begin] + _text(new) + whole[begin + max(int(_number(count)), 0) :]


def substitute(text: Any, old: Any, new: Any, instance: Any = None) -> str:
    """The text with another one in place of each ``old``, or of one of them."""
    whole, gone = _text(text), _text(old)
    if not gone:
        return whole
    if instance is None:
        return whole.replace(gone, _text(new))
    at = -1
    for _ in range(int(_number(instance))):
        at = whole.find(gone, at + 1)
        if at < 0:
            return whole
    return whole[:at] + _text(new) + whole[at + len(gone) :]


def split(text: Any, separator: Any) -> list[str]:
    """The parts of a text."""
    mark = _text(separator)
    return _text(text).split(mark) if mark else list(_text(text))


def join(values: list[Any] | None, separator: Any = None) -> str:
    """The texts of a list as one."""
    return _text(separator).join(_text(value) for value in values or [])


def search(table: list[Any] | None, text: Any, columns: list[str]) -> list[Any]:
    """The rows in which a column holds the text, in upper or lower case."""
    wanted = _text(text).lower()
    return [
        row
        for row in table or []
        if any(wanted in _text(row.get(name) if isinstance(row, dict) else row).lower() for name in columns)
    ]


def distinct(values: list[Any] | None) -> list[Any]:
    """The values, each once."""
    out: list[Any] = []
    for value in values or []:
        if value not in out:
            out.append(value)
    return out


def sort(table: list[Any] | None, keys: list[Any], descending: bool = False) -> list[Any]:
    """The rows in the order of their keys."""

    def rank(pair: tuple[Any, Any]) -> tuple[int, Any]:
        key = pair[0]
        if key is None:
            return 0, 0
        return (1, key) if isinstance(key, (int, float)) else (2, _text(key))

    pairs = sorted(zip(keys, table or [], strict=False), key=rank, reverse=bool(descending))
    return [row for _, row in pairs]


def edit_table(
    table: list[Any] | None, operation: str, item: Any = None, index: Any = None, key: str | None = None
) -> list[Any]:
    """The table after an operation: add, remove, update, upsert, takefirst or takelast."""
    rows = list(table or [])
    at = None if index is None else int(_number(index))

    def same(row: Any) -> bool:
        if key and isinstance(row, dict) and isinstance(item, dict):
            return bool(row.get(key) == item.get(key))
        return bool(row in item) if isinstance(item, list) else bool(row == item)

    if operation.startswith("take"):
        gone = rows[:1] if operation == "takefirst" else rows[-1:]
        return [row for row in rows if row not in gone]
    if operation == "remove" and item is None:
        return [row for number, row in enumerate(rows) if number != at]
    if operation == "remove":
        return [row for row in rows if not same(row)]
    if operation == "add":
        rows.insert(len(rows) if at is None else at, item)
        return rows
    if at is not None:
        return [item if number == at else row for number, row in enumerate(rows)]
    found = bool(key) and any(same(row) for row in rows)
    if found:
        return [item if same(row) else row for row in rows]
    return [*rows, item] if operation == "upsert" else rows


def total(values: list[Any] | None) -> int | float | None:
    """The sum of numbers; nothing without any."""
    numbers = _numbers(values)
    return _plain(math.fsum(numbers)) if numbers else None


def average(values: list[Any] | None) -> int | float | None:
    """The mean of numbers; nothing without any."""
    numbers = _numbers(values)
    return _plain(math.fsum(numbers) / len(numbers)) if numbers else None


def least(values: list[Any] | None) -> int | float | None:
    """The smallest number; nothing without any."""
    numbers = _numbers(values)
    return _plain(min(numbers)) if numbers else None


def greatest(values: list[Any] | None) -> int | float | None:
    """The largest number; nothing without any."""
    numbers = _numbers(values)
    return _plain(max(numbers)) if numbers else None


def round_number(number: Any, digits: Any = 0) -> int | float:
    """The number with so many digits after the point; halves away from zero."""
    scale = 10.0 ** int(_number(digits))
    value = _number(number)
    return _plain(math.copysign(math.floor(abs(value) * scale + 0.5), value) / scale)


def round_up(number: Any, digits: Any = 0) -> int | float:
    """The number rounded away from zero."""
    scale = 10.0 ** int(_number(digits))
    value = _number(number)
    return _plain(math.copysign(math.ceil(abs(value) * scale), value) / scale)


def round_down(number: Any, digits: Any = 0) -> int | float:
    """The number rounded towards zero."""
    scale = 10.0 ** int(_number(digits))
    value = _number(number)
    return _plain(math.copysign(math.floor(abs(value) * scale), value) / scale)


def power(base: Any, exponent: Any) -> int | float:
    """``base`` to the power of ``exponent``."""
    return _plain(math.pow(_number(base), _number(exponent)))


def square_root(number: Any) -> int | float:
    """The square root."""
    return _plain(math.sqrt(_number(number)))


def parse_json(text: Any) -> Any:
    """What a JSON text says; values that are no text stay as they are, and what is no JSON gives nothing."""
    if not isinstance(text, str):
        return text
    body = text.strip()
    if body.startswith("```"):
        body = body.partition("\n")[2].rpartition("```")[0]
    try:
        return json.loads(body)
    except ValueError:
        return None


def to_json(value: Any) -> str:
    """A value as JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def now() -> str:
    """The time in UTC, as RFC 3339."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def today() -> str:
    """The date in UTC."""
    return datetime.now(UTC).date().isoformat()


def guid() -> str:
    """A new identifier."""
    return str(uuid.uuid4())
