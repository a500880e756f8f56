"""JSON of the protocol to data and back, as strict as the specification's types."""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import attrs
import orjson

from .errors import BadMessageError, ProtocolError, SqlError
from .sql import check, single, statements

__all__ = ["Batch", "Json", "Reader", "Statement", "Step", "Value", "encode_value", "field", "parse"]

Json: TypeAlias = dict[str, Any]
Value: TypeAlias = int | float | str | bytes | None
Condition: TypeAlias = Callable[[Sequence[bool | None], Callable[[], bool]], bool]
"""Given what each earlier step did (True, False for an error, None for skipped) and how to ask for autocommit."""

_INTEGER = re.compile(r"-?[0-9]+")
_RANGES = {"int32": (-(2**31), 2**31 - 1), "uint32": (0, 2**32 - 1)}


@attrs.frozen
class Statement:
    sql: str
    args: tuple[Value, ...] = ()
    named_args: tuple[tuple[str, Value], ...] = ()
    want_rows: bool = True


@attrs.frozen
class Step:
    statement: Statement
    condition: Condition | None = None


@attrs.frozen
class Batch:
    steps: tuple[Step, ...]

    @property
    def sql(self) -> tuple[str, ...]:
        return tuple(step.statement.sql for step in self.steps)


def parse(text: str | bytes) -> Json:
    """Return the object of a message. Raises: BadMessageError."""
    try:
        message = orjson.loads(text)
    except orjson.JSONDecodeError as err:
        raise BadMessageError(str(err)) from err
    if not isinstance(message, dict):
        raise BadMessageError(f"expected an object, got {type(message).__name__}")
    return message


def _fits(value: Any, kind: str) -> bool:
    if kind in _RANGES:
        low, high = _RANGES[kind]
        return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
    if kind == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    types: dict[str, type] = {"string": str, "boolean": bool, "object": dict, "array": list}
    return isinstance(value, types[kind])


def field(message: Json, name: str, kind: str, *, optional: bool = False, nullable: bool = False) -> Any:
    """Return a field of a message, None where it may be absent or null and is.

    Args:
        kind: int32, uint32, number, string, boolean, object or array.
    Raises:
        BadMessageError: it is missing, or of another type.
    """
    if name not in message:
        if optional:
            return None
        raise BadMessageError(f"missing field `{name}`")
    value = message[name]
    if value is None and nullable:
        return None
    if not _fits(value, kind):
        raise BadMessageError(f"field `{name}` must be {kind}{' or null' if nullable else ''}, got {value!r}")
    return value


def _object(value: Any, what: str) -> Json:
    if not isinstance(value, dict):
        raise BadMessageError(f"{what} must be an object, got {value!r}")
    return value


def decode_value(value: Any) -> Value:
    """Return a ``Value`` structure's value. Raises: BadMessageError."""
    given = _object(value, "a value")
    kind = field(given, "type", "string")
    if kind == "null":
        return None
    if kind == "integer":
        digits = field(given, "value", "string")
        # Longer than any 64-bit number; int() of very long texts is refused by Python itself.
        if len(digits) > 40 or not _INTEGER.fullmatch(digits) or not -(2**63) <= int(digits) < 2**63:
            raise BadMessageError(f"a 64-bit integer is written as a decimal string, got {digits!r}")
        return int(digits)
    if kind == "float":
        return float(field(given, "value", "number"))
    if kind == "text":
        text: str = field(given, "value", "string")
        return text
    if kind == "blob":
        digits = field(given, "base64", "string").rstrip("=")
        try:
            return base64.b64decode(digits + "=" * (-len(digits) % 4), validate=True)
        except binascii.Error as err:
            raise BadMessageError(f"a blob is written as base64: {err}") from err
    raise BadMessageError(f"unknown type of value {kind!r}")


def encode_value(value: Value) -> Json:
    """Return the ``Value`` structure. Raises: SqlError for a number JSON has no word for."""
    if value is None:
        return {"type": "null"}
    if isinstance(value, int):
        return {"type": "integer", "value": str(value)}
    if isinstance(value, float):
        if not math.isfinite(value):
            raise SqlError(f"The number {value} cannot be written in JSON", "VALUE_NOT_JSON")
        return {"type": "float", "value": value}
    if isinstance(value, str):
        return {"type": "text", "value": value}
    # Without padding, as the LibSQL server writes it: clients must read both.
    return {"type": "blob", "base64": base64.b64encode(value).decode().rstrip("=")}


@attrs.define
class Reader:
    """Reads the structures that WebSocket and HTTP share, for one version of the protocol."""

    version: int
    stored: Mapping[int, str] = attrs.field(factory=dict)
    """Texts that the client stored, by its number."""
    limits: bool = True
    syntax: bool = True

    def needs(self, version: int, what: str) -> None:
        if self.version < version:
            raise ProtocolError(f"{what} is only supported in protocol version hrana{version} and higher")

    def text(self, message: Json) -> str:
        """Return the SQL text that ``sql`` or ``sql_id`` gives. Raises: ProtocolError unless exactly one does."""
        if self.version < 2:
            # There is no `sql_id` in version 1, and fields one does not know are ignored.
            found: str = field(message, "sql", "string")
            return found
        sql = field(message, "sql", "string", optional=True, nullable=True)
        sql_id = field(message, "sql_id", "int32", optional=True, nullable=True)
        if sql is None and sql_id is None:
            raise ProtocolError("Either `sql` or `sql_id` are required")
        if sql is not None and sql_id is not None:
            raise ProtocolError("Either `sql` or `sql_id` are required, but not both")
        if sql is not None:
            return str(sql)
        if sql_id not in self.stored:
            raise ProtocolError(f"SQL text {sql_id} not found")
        return self.stored[sql_id]

    def statement(self, message: Json) -> Statement:
        """Return a ``Stmt``. Raises: ProtocolError; SqlError if its text is not one statement."""
        sql = self.text(message)
        args = tuple(decode_value(value) for value in field(message, "args", "array", optional=True) or ())
        named = []
        for entry in field(message, "named_args", "array", optional=True) or ():
            given = _object(entry, "a named argument")
            if "value" not in given:
                raise BadMessageError("missing field `value`")
            named.append((field(given, "name", "string"), decode_value(given["value"])))
        # Required in version 1, optional later.
        want_rows = field(message, "want_rows", "boolean", optional=self.version >= 2, nullable=self.version >= 2)
        if self.limits and args and named:
            raise SqlError(
                "Specifying both positional and named arguments is not supported", "ARGS_BOTH_POSITIONAL_AND_NAMED"
            )
        return Statement(
            single(sql, limits=self.limits, syntax=self.syntax), args, tuple(named), want_rows is not False
        )

    def batch(self, message: Json) -> Batch:
        """Return a ``Batch``. Raises: ProtocolError; SqlError as ``statement``."""
        steps = []
        for index, entry in enumerate(field(message, "steps", "array")):
            given = _object(entry, "a step")
            statement = self.statement(field(given, "stmt", "object"))
            condition = field(given, "condition", "object", optional=True, nullable=True)
            steps.append(Step(statement, None if condition is None else self._condition(condition, index)))
        return Batch(tuple(steps))

    def described(self, message: Json) -> str:
        """Return the text of a ``describe`` request. Raises: ProtocolError, SqlError."""
        return single(self.text(message), limits=False, syntax=False)

    def sequence(self, message: Json) -> tuple[str, ...]:
        """Return the statements of a ``sequence`` request. Raises: ProtocolError, SqlError."""
        found = statements(self.text(message))
        for sql in found:
            check(sql, limits=self.limits, syntax=self.syntax)
        return found

    def _condition(self, message: Json, before: int) -> Condition:
        kind = field(message, "type", "string")
        if kind in ("ok", "error"):
            step = field(message, "step", "uint32" if self.version >= 3 else "int32")
            if not 0 <= step < before:
                raise ProtocolError("Invalid reference to step in a batch condition")
            wanted = kind == "ok"
            return lambda done, _: done[step] is wanted
        if kind == "not":
            inner = self._condition(field(message, "cond", "object"), before)
            return lambda done, autocommit: not inner(done, autocommit)
        if kind in ("and", "or"):
            parts = [self._condition(_object(part, "a condition"), before) for part in field(message, "conds", "array")]
            if kind == "and":
                return lambda done, autocommit: all(part(done, autocommit) for part in parts)
            return lambda done, autocommit: any(part(done, autocommit) for part in parts)
        if kind == "is_autocommit":
            self.needs(3, "BatchCond of type `is_autocommit`")
            return lambda _, autocommit: autocommit()
        raise BadMessageError(f"unknown type of condition {kind!r}")
