"""The resource facet."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Generator, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast

import apsw
import attrs
import orjson

from kastra_core.api.meta import Resource, ResourceKey
from kastra_core.errors import ExpiredError, UserError
from kastra_core.protocols.store import ResourceList, WatchEvent
from kastra_plugin_libsql._database import Database, loop_is_running
from kastra_plugin_libsql._watch import Hub

if TYPE_CHECKING:
    from kastra_core.api.selectors import FieldSelector, LabelSelector

__all__ = ["Resources", "field_terms", "label_terms", "read_token"]

_SLICE_S = 0.002
"""The loop's other tasks get a turn after this long."""
_SLICE_ROWS = 512
"""One of so many rows comes back although it does not fit, so that between rows that do the loop gets its turns."""
_GET = (
    "SELECT l.rv, l.body FROM resources r JOIN log l ON l.rv = r.rv WHERE r.kind = ? AND r.namespace = ? AND r.name = ?"
)
_PLAIN = re.compile(r"(?![-+]?[0-9.]+[eE])[A-Za-z0-9_./ -]+")
"""Texts that stand in JSON as they are, also when the value is a number or a boolean."""


@attrs.frozen
class _Query:
    sql: str
    bindings: tuple[Any, ...]
    labels: LabelSelector | None
    fields: FieldSelector | None
    limit: int
    version: int | None
    """resourceVersion of the first page, None on the first."""


class Resources:
    def __init__(self, database: Database, hub: Hub) -> None:
        self._db, self._hub = database, hub

    async def get(self, key: ResourceKey) -> Resource | None:
        row = self._db.first(_GET, (self._db.kind_id(key.group, key.kind), key.namespace, key.name))
        return self._db.resource(*row) if row else None

    async def get_many(self, keys: Sequence[ResourceKey]) -> dict[ResourceKey, Resource]:
        found = {}
        database = self._db
        deadline = perf_counter() + _SLICE_S
        for key in keys:
            if perf_counter() > deadline and loop_is_running():
                from asyncio import sleep

                await sleep(0)
                deadline = perf_counter() + _SLICE_S
            row = database.first(_GET, (database.kind_id(key[0], key[1]), key[2], key[3]))
            if row:
                found[key] = database.resource(*row)
        return found

    async def list(
        self,
        group: str,
        kind: str,
        *,
        namespace: str | None = None,
        labels: LabelSelector | None = None,
        fields: FieldSelector | None = None,
        owner_uid: str | None = None,
        limit: int = 0,
        continue_token: str = "",
    ) -> ResourceList:
        terms: list[str] = []
        bindings: list[Any] = []
        source, order = "resources r", "r.namespace, r.name"
        if owner_uid is not None:
            source = (
                "owners o CROSS JOIN resources r ON r.kind = o.kind AND r.namespace = o.namespace AND r.name = o.name"
            )
            terms.append("o.owner = ?")
            bindings.append(owner_uid)
        several = not kind
        if not several:
            # Not by an id that was looked up before: another process may make the kind just now.
            terms.append("r.kind = (SELECT id FROM kinds WHERE grp = ? AND kind = ?)")
            bindings += [group, kind]
        else:
            source += " CROSS JOIN kinds k ON k.id = r.kind"
            order += ", k.grp, k.kind"
            if group:
                terms.append("k.grp = ?")
                bindings.append(group)
        version, after = read_token(continue_token)
        if after and namespace == after[0] and not several:
            # Else SQLite would start at the beginning of the namespace.
            terms.append("r.name > ?")
            bindings.append(after[1])
        elif after:
            terms.append(
                "(r.namespace, r.name, k.grp, k.kind) > (?, ?, ?, ?)" if several else "(r.namespace, r.name) > (?, ?)"
            )
            bindings += after if several else after[:2]
        if namespace is not None:
            terms.append("r.namespace = ?")
            bindings.append(namespace)
        filters = [*label_terms(labels), *field_terms(fields)]
        if filters:
            terms.append(f"({' AND '.join(term for term, _ in filters)} OR random() % {_SLICE_ROWS} = 0)")
            bindings += [value for _, values in filters for value in values]
        # CROSS JOIN: the resources in the order of their key, each with its row of the log; no sorting.
        sql = (
            f"SELECT l.rv, l.body, r.kind, r.namespace, r.name FROM {source} CROSS JOIN log l ON l.rv = r.rv"  # noqa: S608
            f" WHERE {' AND '.join(terms) or '1'} ORDER BY {order}"
        )
        query = _Query(sql, tuple(bindings), labels, fields, limit, version)
        with self._db.snapshot() as connection:
            scan = self._scan(connection, query)
            try:
                while True:
                    next(scan)
                    if loop_is_running():
                        break
            except StopIteration as end:
                result: ResourceList = end.value
                return result
            finally:
                scan.close()
        return await self._list_in_slices(query)

    async def _list_in_slices(self, query: _Query) -> ResourceList:
        from asyncio import sleep

        # The shared connection must not stay in one snapshot while other tasks run.
        with self._db.snapshot(own=True) as connection:
            scan = self._scan(connection, query)
            try:
                while True:
                    next(scan)
                    await sleep(0)
            except StopIteration as end:
                result: ResourceList = end.value
                return result
            finally:
                scan.close()

    def _scan(self, connection: apsw.Connection, query: _Query) -> Generator[None, None, ResourceList]:
        """Yields from time to time; returns the page."""
        [found] = connection.execute("SELECT value, (SELECT max(rv) FROM log) FROM meta WHERE key = 'horizon'")
        horizon, last = cast("tuple[int, int | None]", found)
        version = max(last or 0, horizon)
        if query.version is not None:
            if not horizon <= query.version <= version:
                raise ExpiredError(str(query.version), str(horizon))
            version = query.version
        items: list[Resource] = []
        place: tuple[Any, ...] = ()
        deadline = perf_counter() + _SLICE_S
        for rv, body, *at in connection.execute(query.sql, query.bindings):
            resource = self._db.resource(rv, body)
            if (query.labels is None or query.labels.matches(resource.metadata.labels)) and (
                query.fields is None or query.fields.matches(resource)
            ):
                if query.limit and len(items) == query.limit:
                    group, kind = self._db.kind_name(place[0])
                    token = urlsafe_b64encode(orjson.dumps([version, *place[1:], group, kind])).decode()
                    return ResourceList(tuple(items), str(version), token)
                items.append(resource)
                place = tuple(at)
            if perf_counter() > deadline:
                yield
                deadline = perf_counter() + _SLICE_S
        return ResourceList(tuple(items), str(version))

    def watch(
        self, group: str, kind: str, *, namespace: str | None = None, since: str | None = None
    ) -> AsyncIterator[WatchEvent]:
        return self._hub.watch_events(group, kind, namespace, since)

    async def counts(self) -> dict[tuple[str, str], int]:
        rows = self._db.rows(
            "SELECT k.grp, k.kind, c.resources FROM counts c JOIN kinds k ON k.id = c.kind WHERE c.resources > 0"
        )
        return {(group, kind): count for group, kind, count in rows}


def read_token(token: str) -> tuple[int | None, tuple[Any, ...]]:
    if not token:
        return None, ()
    try:
        version, namespace, name, group, kind = orjson.loads(urlsafe_b64decode(token))
        return int(version), (namespace, name, group, kind)
    except (ValueError, TypeError):
        raise UserError(f"continue token {token!r} cannot be read; list again without it") from None


def label_terms(selector: LabelSelector | None) -> Generator[tuple[str, list[str]], None, None]:
    """What of a selector SQL can decide from the small row, before the JSON is read; the rest is checked after."""
    for requirement in selector.requirements if selector else ():
        if '"' in requirement.key or "\\" in requirement.key:
            continue
        path, values = f'$."{requirement.key}"', sorted(requirement.values)
        value, marks = "json_extract(r.labels, ?)", ", ".join("?" * len(values))
        if requirement.op == "in":
            yield f"{value} IN ({marks})", [path, *values]
        elif requirement.op == "notin":
            yield f"coalesce({value} NOT IN ({marks}), 1)", [path, *values]
        elif requirement.op == "exists":
            yield f"{value} IS NOT NULL", [path]
        else:
            yield f"{value} IS NULL", [path]


def field_terms(selector: FieldSelector | None) -> Generator[tuple[str, list[Any]], None, None]:
    """The JSON must hold the text of a wanted value somewhere: cheap to see, and most rows are out."""
    for requirement in selector.requirements if selector else ():
        if requirement.op == "in" and all(_PLAIN.fullmatch(value) for value in requirement.values):
            terms = " OR ".join("instr(l.body, ?)" for _ in requirement.values)
            yield f"({terms})", [value.encode() for value in requirement.values]
