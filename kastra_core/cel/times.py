"""Timestamps and durations: their texts as Go reads and writes them, their parts, their arithmetic."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache

from kastra_core.cel.values import EvaluationError
from kastra_core.errors import shortened

__all__ = [
    "checked_duration",
    "duration_text",
    "in_zone",
    "moved",
    "parse_duration",
    "parse_timestamp",
    "timestamp_of",
    "timestamp_text",
    "unix_seconds",
]

_TIMESTAMP = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9})\d*)?(?:Z|([+-])(\d\d):(\d\d))", re.ASCII
)
_PART = re.compile(r"(\d*)(?:\.(\d*))?(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_UNITS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_LONGEST = timedelta(microseconds=2**63 // 1000)
"""Go's durations have 63 bits of nanoseconds: 292 years."""
_MOST_CHARACTERS = 64
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OFFSET = re.compile(r"([+-]?\d{1,3}):(\d{1,2})", re.ASCII)
_SECOND = timedelta(seconds=1)


def parse_timestamp(text: str) -> datetime:
    """Return the instant of an RFC 3339 text; below a microsecond it is cut.

    Raises:
        EvaluationError
    """
    found = _TIMESTAMP.fullmatch(text) if len(text) <= _MOST_CHARACTERS else None
    if found is None:
        raise EvaluationError(f"{shortened(text, 60)!r} is no timestamp; one is '2024-05-31T12:00:00Z'")
    year, month, day, hour, minute, second = map(int, found.group(1, 2, 3, 4, 5, 6))
    zone: tzinfo = UTC
    try:
        if found[8]:
            hours, minutes = int(found[9]), int(found[10])
            if hours > 24 or minutes > 59:
                raise ValueError("the offset is out of range")
            zone = timezone((timedelta(hours=hours, minutes=minutes)) * (1 if found[8] == "+" else -1))
        at = datetime(year, month, day, hour, minute, second, int((found[7] or "0").ljust(9, "0")) // 1000, zone)
        at.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise EvaluationError(f"{text!r} is no timestamp: {error}") from None
    return at


def parse_duration(text: str) -> timedelta:
    """Return a duration that is written as in Go ("1h30m", "-1.5s"); below a microsecond it is cut.

    Raises:
        EvaluationError
    """
    sign, rest = (-1, text[1:]) if text[:1] == "-" else (1, text.removeprefix("+"))
    if rest == "0":
        return timedelta(0)
    total = 0
    at = 0
    if len(text) > _MOST_CHARACTERS or not rest:
        raise _no_duration(text)
    while at < len(rest):
        found = _PART.match(rest, at)
        if found is None or not (found[1] or found[2]):
            raise _no_duration(text)
        unit = _UNITS[found[3]]
        fraction = found[2] or ""
        total += int(found[1] or "0") * unit + int(fraction or "0") * unit // 10 ** len(fraction)
        at = found.end()
    if total >= 2**63 + (sign < 0):
        raise _no_duration(text)
    return timedelta(microseconds=sign * (total // 1000))


def _no_duration(text: str) -> EvaluationError:
    form = "one is '1h30m' or '2.5s', of up to 292 years; there is no unit for days"
    return EvaluationError(f"{shortened(text, 60)!r} is no duration; {form}")


def timestamp_text(at: datetime) -> str:
    """RFC 3339, the fraction without trailing zeros."""
    text = at.replace(tzinfo=None, microsecond=0).isoformat()
    if at.microsecond:
        text += f".{at.microsecond:06d}".rstrip("0")
    offset = at.strftime("%z")
    return text + ("Z" if offset in ("", "+0000") else f"{offset[:3]}:{offset[3:5]}")


def duration_text(duration: timedelta) -> str:
    """Seconds, as "90s" or "-0.25s"."""
    seconds, micros = divmod(abs(duration) // timedelta(microseconds=1), 1_000_000)
    sign = "-" if duration < timedelta(0) else ""
    return f"{sign}{seconds}" + (f".{micros:06d}".rstrip("0") if micros else "") + "s"


def unix_seconds(at: datetime) -> int:
    return (at - _EPOCH) // _SECOND


def timestamp_of(seconds: int) -> datetime:
    """The instant of Unix seconds.

    Raises:
        EvaluationError: it is before the year 1 or after the year 9999.
    """
    try:
        return _EPOCH + timedelta(seconds=seconds)
    except OverflowError:
        raise _out_of_range() from None


def moved(at: datetime, by: timedelta) -> datetime:
    """``at + by``.

    Raises:
        EvaluationError: it is before the year 1 or after the year 9999.
    """
    try:
        out = at + by
        out.astimezone(UTC)
    except OverflowError:
        raise _out_of_range() from None
    return out


def _out_of_range() -> EvaluationError:
    return EvaluationError("a timestamp is before the year 1 or after the year 9999")


def checked_duration(duration: timedelta) -> timedelta:
    """Return ``duration``.

    Raises:
        EvaluationError: it is longer than 292 years.
    """
    if -_LONGEST <= duration <= _LONGEST:
        return duration
    raise EvaluationError("a duration is longer than 292 years")


def in_zone(at: datetime, zone: str) -> datetime:
    """``at`` in a zone such as "Europe/Berlin", "UTC" or "+02:00".

    Raises:
        EvaluationError: there is no such zone.
    """
    try:
        return at.astimezone(_zone(zone))
    except OverflowError:
        raise _out_of_range() from None


@lru_cache(maxsize=256)
def _zone(name: str) -> tzinfo:
    if name in ("", "UTC"):
        return UTC
    shown = shortened(name, 60)
    if ":" in name:
        found = _OFFSET.fullmatch(name)
        if found is None or int(found[2]) > 59 or abs(int(found[1])) > 23:
            raise EvaluationError(f"{shown!r} is no offset of a time zone; one is '+02:00'")
        minutes = int(found[2]) * (-1 if name.startswith("-") else 1)
        return timezone(timedelta(hours=int(found[1]), minutes=minutes))
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        raise EvaluationError(f"there is no time zone {shown!r}; one is 'Europe/Berlin'") from None
