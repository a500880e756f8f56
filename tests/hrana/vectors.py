"""LibSQL's vector functions for a plain SQLite connection: exact, for clients that compare float32 vectors."""

from __future__ import annotations

import math
import re
import struct
from typing import Any

__all__ = ["register"]

_NUMBER = re.compile(r"\s*[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?\s*")
_MOST_DIMENSIONS = 65536


class VectorError(Exception):
    """An argument that is no vector; SQLite reports the text."""


def _vector(value: Any) -> tuple[float, ...]:
    if isinstance(value, bytes):
        # LibSQL writes float32 vectors without the type byte that its other kinds end with.
        if len(value) % 4:
            raise VectorError(f"vector: unexpected binary type: {value[-1]}")
        return struct.unpack(f"<{len(value) // 4}f", value)
    if not isinstance(value, str):
        kind = {type(None): "NULL", int: "INTEGER", float: "REAL"}.get(type(value), type(value).__name__)
        raise VectorError(f"vector: unexpected value type: got {kind}, expected TEXT or BLOB")
    text = value.strip()
    if not text.startswith("["):
        raise VectorError("vector: must start with '['")
    if not text.endswith("]"):
        raise VectorError("vector: must end with ']'")
    parts = text[1:-1].split(",") if text[1:-1].strip() else []
    if len(parts) > _MOST_DIMENSIONS:
        raise VectorError(f"vector: max size exceeded {_MOST_DIMENSIONS}")
    for part in parts:
        if not _NUMBER.fullmatch(part):
            raise VectorError(f"vector: invalid float at: {part.strip()!r}")
    try:
        return struct.unpack(f"<{len(parts)}f", struct.pack(f"<{len(parts)}f", *map(float, parts)))
    except OverflowError as err:
        raise VectorError("vector: a number is too large for float32") from err


def _vector32(value: Any) -> bytes:
    vector = _vector(value)
    return struct.pack(f"<{len(vector)}f", *vector)


def _pair(left: Any, right: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    a, b = _vector(left), _vector(right)
    if len(a) != len(b):
        raise VectorError(f"vector_distance: vectors must have the same length: {len(a)} != {len(b)}")
    return a, b


def _distance_cos(left: Any, right: Any) -> float | None:
    a, b = _pair(left, right)
    norms = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(y * y for y in b))
    return 1.0 - sum(x * y for x, y in zip(a, b)) / norms if norms else None


def _distance_l2(left: Any, right: Any) -> float:
    return math.dist(*_pair(left, right))


def _extract(value: Any) -> str:
    return "[" + ",".join(f"{x:g}" for x in _vector(value)) + "]"


def register(connection: Any) -> None:
    """Give an apsw connection vector32, vector, vector_extract, vector_distance_cos and vector_distance_l2."""
    for name, function, count in (
        ("vector", _vector32, 1),
        ("vector32", _vector32, 1),
        ("vector_extract", _extract, 1),
        ("vector_distance_cos", _distance_cos, 2),
        ("vector_distance_l2", _distance_l2, 2),
    ):
        connection.create_scalar_function(name, function, count, deterministic=True)
