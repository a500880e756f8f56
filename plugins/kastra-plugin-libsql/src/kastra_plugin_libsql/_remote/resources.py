"""The resource facet of a server's store."""

# ruff: noqa: S608 - the names put into statements are this package's own

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Sequence
from typing import Any, TypeAlias

import attrs
import orjson

from kastra_core.api.meta import Resource, ResourceKey
from kastra_core.api.selectors import FieldSelector, LabelSelector
from kastra_core.errors import ExpiredError, StoreError
from kastra_core.protocols.store import ResourceList, WatchEvent
from kastra_plugin_libsql._database import resource_of
from kastra_plugin_libsql._remote.client import Server
from kastra_plugin_libsql._remote.reads import PAGE_BYTES, bodies, read_whole
from kastra_plugin_libsql._remote.script import LARGE_BYTES
from kastra_plugin_libsql._remote.watch import Hub
from kastra_plugin_libsql._resources import field_terms, label_terms, read_token

__all__ = ["Resources"]

Found: TypeAlias = list[Resource]

_KEYS = 256
"""Keys looked up by one request."""
_FIRST_ROWS = 2048
"""Rows of a list whose bodies come with the first answer, if they are small."""
_MAX_ROWS = 200_000
"""A list without limit ends in an error here: the answer to one request names them all."""
_TRIES = 5
_VERSION = "SELECT coalesce((SELECT max(rv) FROM log), 0), (SELECT value FROM meta WHERE key = 'horizon')"
_GET = (
    f"SELECT l.rv, iif(length(l.body) <= {LARGE_BYTES}, l.body, NULL) FROM resources r JOIN log l ON l.rv = r.rv"
    " WHERE r.kind = (SELECT id FROM kinds WHERE grp = ? AND kind = ?) AND r.namespace = ? AND r.name = ?"
)
_GET_MANY = (
    "SELECT r.rv FROM json_each(?) w"
    " CROSS JOIN kinds k ON k.grp = json_extract(w.value, '$[0]') AND k.kind = json_extract(w.value, '$[1]')"
    " CROSS JOIN resources r ON r.kind = k.id AND r.namespace = json_extract(w.value, '$[2]')"
    " AND r.name = json_extract(w.value, '$[3]')"
)


def _first_bodies(versions: str, limit: int) -> str:
    """SQL for the first bodies of a query for resourceVersions, as many as a page holds."""
    return (
        f"SELECT l.rv, iif(p.size <= {LARGE_BYTES}, l.body, NULL) FROM"
        " (SELECT rv, size, sum(size) OVER (ORDER BY at) - size AS before FROM"
        " (SELECT v.rv, length(b.body) AS size, row_number() OVER () AS at FROM"
        f" ({versions} LIMIT {limit}) v CROSS JOIN log b ON b.rv = v.rv)) p"
        f" CROSS JOIN log l ON l.rv = p.rv WHERE p.before < {PAGE_BYTES}"
    )


@attrs.frozen
class _Query:
    sql: str
    """Gives ``rv`` in the order of the list."""
    bindings: tuple[Any, ...]
    exact: bool
    """SQL decides all that was asked for."""


class Resources:
    def __init__(self, server: Server, hub: Hub) -> None:
        self._server, self._hub = server, hub

    async def get(self, key: ResourceKey) -> Resource | None:
        row = await self._server.first(_GET, *key)
        if row is None:
            return None
        rv, body = row
        if body is None:
            body = await read_whole(self._server, "log", "body", "rv = ?1", rv)
            if body is None:  # replaced meanwhile, and the version that was found is not kept
                return await self.get(key)
        return resource_of(rv, body)

    async def get_many(self, keys: Sequence[ResourceKey]) -> dict[ResourceKey, Resource]:
        found: dict[ResourceKey, Resource] = {}
        for start in range(0, len(keys), _KEYS):
            part = orjson.dumps([list(key) for key in keys[start : start + _KEYS]]).decode()
            for resource in await self._read(_Query(_GET_MANY, (part,), True), _KEYS):
                found[resource.key] = resource
        return {key: found[key] for key in keys if key in found}

    async def _read(self, query: _Query, limit: int) -> Found:
        _, resources = await self._page(query, limit)
        return resources

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
        first, place = read_token(continue_token)
        items: Found = []
        version: int | None = None
        while True:
            query = _query(group, kind, namespace, labels, fields, owner_uid, place)
            # One more than wanted tells whether there is a next page.
            window = _MAX_ROWS if not limit else limit + 1 - len(items)
            if limit and not query.exact:
                window = max(window, 256)
            (last, horizon), page = await self._page(query, window)
            if version is None:
                version = max(last, horizon)
                if first is not None:
                    if not horizon <= first <= version:
                        raise ExpiredError(str(first), str(horizon))
                    version = first
            for resource in page:
                if (labels is None or labels.matches(resource.metadata.labels)) and (
                    fields is None or fields.matches(resource)
                ):
                    if limit and len(items) == limit:
                        key = items[-1].key
                        token = orjson.dumps([version, key.namespace, key.name, key.group, key.kind])
                        return ResourceList(tuple(items), str(version), urlsafe_b64encode(token).decode())
                    items.append(resource)
            if len(page) < window:
                return ResourceList(tuple(items), str(version))
            if not limit:
                raise StoreError(
                    f"store {self._server.settings.shown}: the list has more than {_MAX_ROWS} resources; "
                    "read it in pages (limit), or choose by namespace or labels"
                )
            at = page[-1].key
            place = (at.namespace, at.name, at.group, at.kind)

    async def _page(self, query: _Query, limit: int) -> tuple[tuple[int, int], Found]:
        """The store's version and horizon, and the first resources of a query, as of that moment.

        Bodies that do not fit in the first answer are read after, by the version that was found: one version never
        changes. When the history does not keep it any more, all is read again.
        """
        for _ in range(_TRIES):
            [status], [[names]], rows = await self._server.read(
                (_VERSION, ()),
                (f"SELECT json_group_array(rv) FROM ({query.sql} LIMIT {limit})", query.bindings),
                (_first_bodies(query.sql, min(limit, _FIRST_ROWS)), query.bindings),
            )
            versions = orjson.loads(names)
            found = {rv: body for rv, body in rows if body is not None}
            missing = [rv for rv in versions if rv not in found]
            if missing:
                found.update(await bodies(self._server, missing))
            if len(found) == len(versions):
                at, horizon = int(status[0]), int(status[1])
                self._hub.heard(at, horizon)
                return (at, horizon), [resource_of(rv, found[rv]) for rv in versions]
        raise StoreError(
            f"store {self._server.settings.shown}: the resources change faster than they can be read; read "
            "smaller pages (limit), or keep more history (history_events)"
        )

    def watch(
        self, group: str, kind: str, *, namespace: str | None = None, since: str | None = None
    ) -> AsyncIterator[WatchEvent]:
        return self._hub.watch_events(group, kind, namespace, since)

    async def counts(self) -> dict[tuple[str, str], int]:
        rows = await self._server.rows(
            "SELECT k.grp, k.kind, n FROM (SELECT kind, count(*) AS n FROM resources GROUP BY kind) c"
            " JOIN kinds k ON k.id = c.kind"
        )
        return {(group, kind): count for group, kind, count in rows}


def _query(
    group: str,
    kind: str,
    namespace: str | None,
    labels: LabelSelector | None,
    fields: FieldSelector | None,
    owner_uid: str | None,
    after: tuple[Any, ...],
) -> _Query:
    terms: list[str] = []
    bindings: list[Any] = []
    source, order = "resources r", "r.namespace, r.name"
    if owner_uid is not None:
        source = "owners o CROSS JOIN resources r ON r.kind = o.kind AND r.namespace = o.namespace AND r.name = o.name"
        terms.append("o.owner = ?")
        bindings.append(owner_uid)
    if kind:
        terms.append("r.kind = (SELECT id FROM kinds WHERE grp = ? AND kind = ?)")
        bindings += [group, kind]
    else:
        source += " CROSS JOIN kinds k ON k.id = r.kind"
        order += ", k.grp, k.kind"
        if group:
            terms.append("k.grp = ?")
            bindings.append(group)
    if after:
        terms.append(
            "(r.namespace, r.name) > (?, ?)" if kind else "(r.namespace, r.name, k.grp, k.kind) > (?, ?, ?, ?)"
        )
        bindings += after[:2] if kind else after
    if namespace is not None:
        terms.append("r.namespace = ?")
        bindings.append(namespace)
    found = [*label_terms(labels), *field_terms(fields)]
    for term, values in found:
        terms.append(term)
        bindings += values
    if fields is not None:
        source += " CROSS JOIN log l ON l.rv = r.rv"
    # CROSS JOIN: the resources in the order of their key; no sorting.
    sql = f"SELECT r.rv FROM {source} WHERE {' AND '.join(terms) or '1'} ORDER BY {order}"
    return _Query(sql, tuple(bindings), exact=not (labels and labels.requirements) and fields is None)
