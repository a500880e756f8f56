"""What ``kastra store`` shows: sizes, counts, pages and tables for people, JSON data for programs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from kastra_core.cli.common import file_of, style
from kastra_core.cli.printing import NONE
from kastra_core.cli.tables import format_table, size_text, terminal_width
from kastra_core.protocols.store_admin import (
    BackupInfo,
    CheckReport,
    CompactReport,
    MigrationReport,
    RestoreReport,
    StoreStatus,
)

__all__ = [
    "as_json",
    "backup_page",
    "check_page",
    "compact_page",
    "comparison",
    "count_text",
    "problem_lines",
    "restore_page",
    "status_page",
    "steps_table",
]

_FACETS = {
    "resources": ("resource", "resources"),
    "history": ("version in the history", "versions in the history"),
    "journal": ("journal record", "journal records"),
    "signals": ("signal", "signals"),
    "leases": ("lease", "leases"),
    "state": ("value of state", "values of state"),
    "threads": ("thread", "threads"),
    "vectors": ("vector", "vectors"),
    "blobs": ("blob", "blobs"),
    "unfinished copies": ("unfinished copy", "unfinished copies"),
}


def count_text(counts: Mapping[str, int]) -> str:
    """Counts by name as an enumeration, without those of which there is none.

    >>> count_text({"resources": 1200, "journal": 1, "blobs": 0, "pages": 3})
    '1,200 resources, 1 journal record, 3 pages'
    """
    told = []
    for name, count in counts.items():
        if count:
            one, many = _FACETS.get(name, (name, name))
            told.append(f"{count:,} {one if count == 1 else many}")
    return ", ".join(told) or "nothing"


def as_json(value: Any) -> Any:
    """An attrs object as JSON data: its fields in camelCase; the keys of mappings stay as they are."""
    if attrs.has(type(value)):
        return {_camel(field.name): as_json(getattr(value, field.name)) for field in attrs.fields(type(value))}
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(map(str.capitalize, rest))


def _label(name: str) -> str:
    """``journalMode`` and ``journal_mode`` as "Journal mode"."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|_", " ", name)
    return words[:1].upper() + words[1:].lower()


def _lines(rows: Sequence[tuple[str, str]]) -> str:
    width = max(len(label) for label, _ in rows) + 4
    return "".join(f"{label + ':':<{width}}{value}\n" for label, value in rows)


def problem_lines(problems: Sequence[str]) -> str:
    """A line for each problem, red on a terminal; "" when there is none."""
    return "".join(style(f"Problem: {' '.join(problem.split())}", fg="red") + "\n" for problem in problems)


# ------------------------------------------------------------------------------------------------ status


def status_page(status: StoreStatus) -> str:
    """All of a status. What cannot be told, because the store cannot be read, is left out."""
    if not status.exists and not status.problems:
        return _lines([("Store", status.url)]) + "It is not there yet; `kastra apply` makes it.\n"
    rows = [("Store", status.url)]
    if status.engine:
        rows.append(("Engine", status.engine))
    if status.schema or not status.problems:
        rows.append(("Schema", _schema(status)))
    if status.size_bytes:
        free = f", {size_text(status.free_bytes)} of it free" if status.free_bytes else ""
        rows.append(("Size", size_text(status.size_bytes) + free))
    if status.schema:
        rows.append(("Resource version", status.resource_version))
        rows.append(("Watches begin at", f"{status.oldest_version} or later"))
        rows.append(("Workers", ", ".join(status.workers) or NONE))
    rows.extend(
        (_label(name), _value(name, value))
        for name, value in status.details.items()
        if not (name == "path" and isinstance(value, str) and file_of(status.url) == Path(value))
    )
    parts = [_lines(rows)]
    if status.facets:
        table = [["FACET", "ITEMS", "SIZE"]]
        for facet in status.facets:
            size = NONE if facet.size_bytes is None else size_text(facet.size_bytes)
            table.append([facet.name, f"{facet.items:,}", size])
        parts.append(format_table(table, limit=terminal_width()))
    if status.problems:
        parts.append(problem_lines(status.problems))
    return "\n".join(parts)


def _schema(status: StoreStatus) -> str:
    by = f", made by {status.written_by}" if status.written_by else ""
    if status.schema == status.latest_schema:
        return f"{status.schema} (the newest{by})"
    later = ""
    if status.schema < status.latest_schema:
        how = "the next opening" if file_of(status.url) is not None else "`kastra store migrate`"
        later = f"; {how} brings it up"
    return f"{status.schema} (this program's newest is {status.latest_schema}{by}{later})"


def _value(name: str, value: Any) -> str:
    if isinstance(value, (dict, list)):
        import orjson

        return orjson.dumps(value).decode()
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and re.search("(size|bytes)$", name, re.IGNORECASE):
        return size_text(value)
    return f"{value:,}" if isinstance(value, int) else NONE if value in (None, "") else str(value)


# ------------------------------------------------------------------------------------------------ reports


def check_page(report: CheckReport, *, looked: bool = True) -> str:
    """What was checked and what was found.

    Args:
        looked: False: the problems say why it could not be checked; a backup mends none of them.
    """
    table = [["CHECKED", "COUNT"], *([name, f"{count:,}"] for name, count in report.checked.items())]
    parts = [_lines([("Store", report.url), ("Took", f"{report.duration_s:.1f} s")])]
    if report.checked:
        parts.append(format_table(table, limit=terminal_width()))
    if not report.problems:
        return "\n".join([*parts, "no problem found\n"])
    if not looked:
        return "\n".join([*parts, f"{problem_lines(report.problems)}it could not be checked\n"])
    count = "1 problem" if len(report.problems) == 1 else f"{len(report.problems):,} problems"
    told = (
        f"{problem_lines(report.problems)}{count}; `kastra store restore BACKUP` puts a backup in its place "
        "(`--force` when too little can be read)\n"
    )
    return "\n".join([*parts, told])


def backup_page(info: BackupInfo) -> str:
    """Where the backup is and what is in it."""
    return _lines(
        [
            ("Backup", str(info.path)),
            ("Size", size_text(info.size_bytes)),
            ("Schema", str(info.schema)),
            ("Resource version", info.resource_version),
            ("Holds", count_text(info.items)),
            ("Verified", "yes: it was read back and is whole"),
        ]
    )


def comparison(now: StoreStatus | None, backup: StoreStatus | None) -> str:
    """What a restore replaces beside what it brings; a side that cannot be read is None."""
    facets = list(dict.fromkeys(facet.name for side in (now, backup) if side for facet in side.facets))
    rows = [["", "NOW", "BACKUP"], ["Schema"], ["Written by"], ["Size"], ["Resource version"], *([n] for n in facets)]
    for side in (now, backup):
        if side is None or not side.schema:
            # Of what is not there all is known.
            known = side is not None and not side.exists and not side.problems
            cells = [NONE, *([""] * (len(rows) - 2))] if known else ["<unreadable>", *(["?"] * (len(rows) - 2))]
        else:
            read = bool(side.facets) or not side.problems
            items = {facet.name: f"{facet.items:,}" for facet in side.facets}
            cells = [
                str(side.schema),
                side.written_by or (NONE if read else "?"),
                size_text(side.size_bytes),
                side.resource_version if read else "?",
                *(items.get(name, "0" if read else "?") for name in facets),
            ]
        for row, text in zip(rows[1:], cells):
            row.append(text)
    return format_table(rows, limit=terminal_width())


def restore_page(report: RestoreReport) -> str:
    """What is there now, and where is what was there before."""
    return _lines(
        [
            ("Restored", str(report.source)),
            ("Schema", str(report.schema)),
            ("Holds", count_text(report.items)),
            ("Former content", str(report.kept) if report.kept else "there was none"),
        ]
    )


def steps_table(report: MigrationReport) -> str:
    """Each step of a migration with what it loses."""
    rows = [["STEP", "WHAT", "LOSES"]]
    for step in report.steps:
        name = f"up to {step.number}" if step.direction == "up" else f"down from {step.number}"
        rows.append([name, step.title, step.loses or "nothing"])

    def paint(number: int, text: str) -> str:
        return style(text, fg="red") if number == 2 and text not in ("LOSES", "nothing") else text

    return format_table(rows, limit=terminal_width(), paint=paint)


def compact_page(report: CompactReport) -> str:
    """The sizes before and after, and what was removed."""
    return _lines(
        [
            ("Before", size_text(report.before_bytes)),
            ("After", size_text(report.after_bytes)),
            ("Removed", count_text(report.removed)),
        ]
    )
