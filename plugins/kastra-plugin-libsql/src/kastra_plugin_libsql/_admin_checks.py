"""Whether the rows of a store agree with each other: the questions in SQL, for whoever can ask them.

:func:`questions` is a generator, so that a file's connection and a server far away can both answer: it yields a
statement with its bindings and is sent the rows, or the error instead of them.
"""

# ruff: noqa: S608 - the names put into statements are this package's own

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import apsw
import attrs

from kastra_plugin_libsql._migrations import MIGRATIONS
from kastra_plugin_libsql._payloads import COLUMNS

if TYPE_CHECKING:
    from kastra_plugin_libsql._admin_backup import Stop

__all__ = ["Findings", "Questions", "find_problems", "questions"]

Questions: TypeAlias = "Generator[tuple[str, tuple[Any, ...]], Sequence[Any] | Exception, Findings]"

_SHOWN = 10
"""So many places of one kind of problem are told, then only their number."""
_BATCH_BYTES = 4_000_000
_NO_FINDINGS = (
    apsw.InterruptError,
    apsw.FullError,
    apsw.IOError,
    apsw.CantOpenError,
    apsw.BusyError,
    apsw.NoMemError,
)
"""Errors that say nothing about the rows: whoever asks must learn of them."""


@attrs.define
class Findings:
    checked: dict[str, int] = attrs.field(factory=dict)
    """What was looked at, and how many of it."""
    problems: list[str] = attrs.field(factory=list)


@attrs.frozen
class _Check:
    problem: str
    """With ``{}`` for the place."""
    sql: str
    """Gives the places, as text."""
    since: int = 1
    """The first schema that has the tables."""


_RESOURCE = "k.kind || ' ' || CASE r.namespace WHEN '' THEN '' ELSE r.namespace || '/' END || r.name"
_RUN = "'journal of run number ' || j.run || ', path ' || j.path"


def _row(word: str) -> str:
    table, key, column = COLUMNS[word]
    return f"SELECT '{word}/' || {key} AS holder, {column} AS body FROM {table}"


_PAYLOADS = " UNION ALL ".join(_row(word) for word in COLUMNS)
_MARKERS = " UNION ALL ".join(
    f"{_row(word)} WHERE substr({column}, 1, 1) = x'00'" for word, (_, _, column) in COLUMNS.items()
)

_COUNTS = {
    "resources": "SELECT count(*) FROM resources",
    "versions in the log": "SELECT count(*) FROM log",
    "owners": "SELECT count(*) FROM owners",
    "runs": "SELECT count(*) FROM runs",
    "claims": "SELECT count(*) FROM claims",
    "journal records": "SELECT count(*) FROM journal",
    "signals": "SELECT count(*) FROM signals",
    "leases": "SELECT count(*) FROM leases",
    "values of state": "SELECT count(*) FROM state",
    "threads": "SELECT count(*) FROM threads",
    "messages": "SELECT count(*) FROM messages",
    "vectors": "SELECT count(*) FROM vectors",
}

_CHECKS = (
    _Check(
        "{} has no present version in the log",
        f"SELECT coalesce({_RESOURCE}, 'kind number ' || r.kind || ' ' || r.name) FROM resources r"
        " LEFT JOIN kinds k ON k.id = r.kind LEFT JOIN log l ON l.rv = r.rv AND l.kind = r.kind"
        " AND l.namespace = r.namespace AND l.name = r.name AND l.type <> 2 WHERE l.rv IS NULL OR k.id IS NULL",
    ),
    _Check(
        "version {} in the log is no JSON",
        "SELECT rv FROM log WHERE NOT json_valid(CAST(body AS TEXT))",
    ),
    _Check(
        "{}: its uid or its labels are not those of its present version",
        f"SELECT {_RESOURCE} FROM resources r JOIN kinds k ON k.id = r.kind JOIN log l ON l.rv = r.rv"
        " WHERE CASE WHEN json_valid(CAST(l.body AS TEXT)) THEN"
        " coalesce(json_extract(CAST(l.body AS TEXT), '$.metadata.uid'), '') <> r.uid"
        " OR coalesce(json_extract(CAST(l.body AS TEXT), '$.metadata.labels'), '{}') <> coalesce(json(r.labels), '{}')"
        " END",
    ),
    _Check(
        "{}: its owners are not those of its present version",
        f"SELECT {_RESOURCE} FROM resources r JOIN kinds k ON k.id = r.kind JOIN log l ON l.rv = r.rv"
        " WHERE CASE WHEN json_valid(CAST(l.body AS TEXT)) THEN coalesce(json(r.owners), '[]') <>"
        " (SELECT json_group_array(uid) FROM (SELECT DISTINCT json_extract(o.value, '$.uid') AS uid FROM"
        " json_each(CAST(l.body AS TEXT), '$.metadata.ownerReferences') o ORDER BY uid)) END",
    ),
    _Check(
        "{}: an owner is not in the table of owners",
        f"SELECT DISTINCT {_RESOURCE} FROM resources r JOIN kinds k ON k.id = r.kind, json_each(r.owners) e"
        " WHERE NOT EXISTS (SELECT 1 FROM owners o WHERE o.owner = e.value AND o.kind = r.kind"
        " AND o.namespace = r.namespace AND o.name = r.name)",
    ),
    _Check(
        "the table of owners names {}, which has no such owner",
        "SELECT o.namespace || '/' || o.name FROM owners o WHERE NOT EXISTS (SELECT 1 FROM resources r,"
        " json_each(r.owners) e WHERE r.kind = o.kind AND r.namespace = o.namespace AND r.name = o.name"
        " AND e.value = o.owner)",
    ),
    _Check(
        "the log's last version of {} is not its present one",
        "SELECT CASE l.namespace WHEN '' THEN '' ELSE l.namespace || '/' END || l.name FROM"
        " (SELECT kind, namespace, name, max(rv) AS rv, type FROM log GROUP BY 1, 2, 3) l LEFT JOIN resources r"
        " ON r.kind = l.kind AND r.namespace = l.namespace AND r.name = l.name"
        " WHERE CASE l.type WHEN 2 THEN NULL ELSE l.rv END IS NOT r.rv",
    ),
    _Check(
        "version {} in the log lies below the horizon and is nobody's present one",
        "SELECT rv FROM log WHERE rv <= (SELECT value FROM meta WHERE key = 'horizon')"
        " AND rv NOT IN (SELECT rv FROM resources)",
    ),
    _Check(
        "the count of the resources of kind number {} is wrong",
        "SELECT kind FROM (SELECT kind, resources AS n FROM counts"
        " UNION ALL SELECT kind, -count(*) FROM resources GROUP BY kind) GROUP BY kind HAVING sum(n) <> 0",
        2,
    ),
    _Check("version {} in the log is of no kind", "SELECT rv FROM log WHERE kind NOT IN (SELECT id FROM kinds)"),
    _Check(
        "the store's {} is missing or no whole number",
        'SELECT e.value FROM json_each(\'["horizon", "lease_epoch"]\') e'
        " WHERE coalesce((SELECT typeof(value) FROM meta WHERE key = e.value), '') <> 'integer'",
    ),
    _Check(
        "lease {} has a higher epoch than was ever given out, or its data is no JSON",
        "SELECT name FROM leases WHERE epoch > (SELECT value FROM meta WHERE key = 'lease_epoch')"
        " OR NOT json_valid(CAST(data AS TEXT))",
    ),
    _Check(
        "the claim on {} has no run",
        "SELECT kind || ' ' || namespace || '/' || name FROM claims WHERE run NOT IN (SELECT id FROM runs)",
    ),
    _Check("{} has no run", f"SELECT {_RUN} FROM journal j WHERE j.run NOT IN (SELECT id FROM runs)"),
    _Check("{} lies in the rows of another run", f"SELECT {_RUN} FROM journal j WHERE j.id >> 32 <> j.run"),
    _Check("signal {} has no run", "SELECT seq FROM signals WHERE run NOT IN (SELECT id FROM runs)"),
    _Check(
        "signal {} has a number that was not given out yet",
        "SELECT seq FROM signals WHERE seq > coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'signals'), 0)",
    ),
    _Check(
        "scope {} of state has no token for its watches",
        "SELECT DISTINCT scope FROM state WHERE scope NOT IN (SELECT scope FROM scopes)",
    ),
    _Check(
        "message number {} is in no thread",
        "SELECT m.id FROM messages m WHERE NOT EXISTS (SELECT 1 FROM threads t WHERE t.id = m.id >> 32)",
    ),
    _Check(
        "thread {}: its counts are not those of its messages",
        "SELECT t.namespace || '/' || t.thread FROM threads t LEFT JOIN (SELECT id >> 32 AS thread, count(*) AS n,"
        " max(id & 4294967295) AS last FROM messages GROUP BY 1) m ON m.thread = t.id"
        " WHERE t.messages <> coalesce(m.n, 0) OR t.last_seq <> coalesce(m.last, 0)",
    ),
    _Check(
        "vector {} is of no collection, or not of its collection's length",
        "SELECT v.name FROM vectors v LEFT JOIN collections c ON c.id = v.collection"
        " WHERE c.id IS NULL OR length(v.vector) <> 4 * c.length",
    ),
    _Check(
        "collection {} has no vectors, and keeps others of another length out",
        "SELECT name FROM collections WHERE id NOT IN (SELECT collection FROM vectors)",
    ),
    _Check(
        "the payload of {} is no JSON",
        f"SELECT holder FROM ({_PAYLOADS}) WHERE substr(body, 1, 1) <> x'00' AND NOT json_valid(CAST(body AS TEXT))",
    ),
    _Check(
        "the payload of {} is lost: no blob has its digest",
        f"SELECT holder FROM ({_MARKERS}) WHERE substr(body, 2) NOT IN (SELECT digest FROM blobs)",
    ),
    _Check(
        "the payload of {} is not held by its row",
        f"SELECT p.holder FROM ({_MARKERS}) p JOIN blobs b ON b.digest = substr(p.body, 2)"
        " WHERE NOT EXISTS (SELECT 1 FROM holds h WHERE h.holder = char(1) || p.holder AND h.blob = b.id)",
        2,
    ),
    _Check(
        "a blob is held by {}, which does not name it",
        "SELECT substr(h.holder, 2) FROM holds h JOIN blobs b ON b.id = h.blob"
        f" LEFT JOIN ({_MARKERS}) p ON p.holder = substr(h.holder, 2)"
        " WHERE substr(h.holder, 1, 1) = char(1) AND substr(h.holder, 2, 1) <> char(1)"
        " AND substr(p.body, 2) IS NOT b.digest",
        2,
    ),
    _Check(
        "a blob is held by {} but is not there",
        "SELECT coalesce(nullif(replace(holder, char(1), ''), ''), 'nobody in particular') FROM holds"
        " WHERE blob NOT IN (SELECT id FROM blobs)",
        2,
    ),
    _Check(
        "blob sha256:{} is held by nobody; compacting removes it",
        "SELECT lower(hex(digest)) FROM blobs WHERE id NOT IN (SELECT blob FROM holds)",
        2,
    ),
)


def questions(schema: int) -> Questions:
    """Ask about everything in a store of the given schema; returns what was found."""
    findings = Findings()
    yield from _names(findings, schema)
    for what, sql in _COUNTS.items():
        rows = yield sql, ()
        if isinstance(rows, Exception):
            findings.problems.append(f"{what} cannot be counted: {rows}")
        else:
            findings.checked[what] = int(rows[0][0])
    for check in _CHECKS:
        if check.since > schema:
            continue
        rows = yield check.sql, ()
        if isinstance(rows, Exception):
            findings.problems.append(f"not checked ({rows}): whether {check.problem.format('…')}")
            continue
        findings.problems.extend(check.problem.format(shown) for (shown,) in rows[:_SHOWN])
        if len(rows) > _SHOWN:
            findings.problems.append(f"{check.problem.format('…')}: {len(rows) - _SHOWN:,} more")
    yield from _digests(findings)
    return findings


def _names(findings: Findings, schema: int) -> Generator[tuple[str, tuple[Any, ...]], Sequence[Any] | Exception, None]:
    """Whether all tables, indexes and triggers are there."""
    expected: set[str] = set()
    for migration in MIGRATIONS[:schema]:
        for statement in migration.up:
            made = re.match(r"\s*(CREATE(?: UNIQUE)?|DROP) (?:TABLE|INDEX|TRIGGER) (\w+)", statement)
            if made and made[1] == "DROP":
                expected.discard(made[2])
            elif made:
                expected.add(made[2])
    rows = yield "SELECT name FROM sqlite_schema", ()
    if isinstance(rows, Exception):
        findings.problems.append(f"the list of tables cannot be read: {rows}")
        return
    found = {name for (name,) in rows}
    findings.checked["tables, indexes and triggers"] = len(expected)
    findings.problems.extend(f"there is no {name} in the database" for name in sorted(expected - found))


def _digests(findings: Findings) -> Generator[tuple[str, tuple[Any, ...]], Sequence[Any] | Exception, None]:
    """Whether each blob is what its digest says."""
    import hashlib

    sizes = yield "SELECT id, length(data) FROM blobs ORDER BY id", ()
    if isinstance(sizes, Exception):
        findings.problems.append(f"blobs cannot be counted: {sizes}")
        return
    findings.checked["blobs"] = len(sizes)
    batches: list[tuple[int, int]] = []
    filled = _BATCH_BYTES
    for at, size in sizes:
        if filled + size > _BATCH_BYTES:
            batches.append((at, at))
            filled = 0
        batches[-1] = (batches[-1][0], at)
        filled += size
    for first, last in batches:
        rows = yield "SELECT digest, data FROM blobs WHERE id BETWEEN ? AND ?", (first, last)
        if isinstance(rows, Exception):
            findings.problems.append(f"blobs number {first} to {last} cannot be read: {rows}")
            continue
        findings.problems.extend(
            f"blob sha256:{bytes(digest).hex()} has other bytes than its digest says"
            for digest, data in rows
            if hashlib.sha256(data).digest() != bytes(digest)
        )


def find_problems(connection: apsw.Connection, schema: int, stop: Stop) -> Findings:
    """Ask all questions to a connection, best in one snapshot.

    Raises: apsw.Error where the answer is missing for a reason that is not the store's content (a full disk).
    """
    asked = questions(schema)
    answer: Any = None
    while True:
        try:
            sql, bindings = asked.send(answer)
        except StopIteration as end:
            found: Findings = end.value
            return found
        stop.check()
        try:
            answer = connection.execute(sql, bindings).fetchall()
        except _NO_FINDINGS:
            raise
        except apsw.Error as err:
            answer = err
