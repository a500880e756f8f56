"""Writes of resources as SQL."""

# ruff: noqa: S608 - the names put into statements are this package's own

from __future__ import annotations

import orjson

from kastra_core.api.meta import Resource, ResourceKey
from kastra_core.errors import AlreadyExistsError, ConflictError, NotFoundError, StoreError
from kastra_core.protocols.store import CreateResource, DeleteResource, UpdateResource
from kastra_plugin_libsql._database import resource_of
from kastra_plugin_libsql._payloads import encode
from kastra_plugin_libsql._remote.script import LARGE_BYTES, LAST_RV, Answers, Script
from kastra_plugin_libsql._remote.steps import Large, Own, RemoteStep
from kastra_plugin_libsql._remote.uploads import Data
from kastra_plugin_libsql._transaction import ADDED, DELETED, MODIFIED

__all__ = ["Create", "Delete", "Update"]

KIND = "(SELECT id FROM kinds WHERE grp = ?1 AND kind = ?2)"
AT = f"kind = {KIND} AND namespace = ?3 AND name = ?4"
NEW_RV = "(SELECT max(rv) FROM log)"


class _ResourceStep(RemoteStep):
    def __init__(self, key: ResourceKey) -> None:
        self.key = key
        self.event = 0
        """Its number in the batch, from 1."""

    def error(self, code: str, detail: str) -> Exception:
        if code == "exists":
            return AlreadyExistsError(str(self.key))
        if code == "missing":
            return NotFoundError(str(self.key))
        if code == "uid":
            return ConflictError(str(self.key), "it was deleted and made anew meanwhile (its uid differs)")
        return ConflictError(str(self.key))

    def log(self, script: Script, type_: int, uid: str | None, expected: str | None, body: Data | None) -> None:
        """Write the event if the resource is there and as expected; ``body`` None: as it is."""
        self.event = script.event()
        cases = (("missing", "r.rv IS NULL"), ("uid", "r.uid <> ?6"), ("version", "CAST(r.rv AS TEXT) <> ?7"))
        value = "(SELECT body FROM log WHERE rv = r.rv)" if body is None else body.sql(9)
        script.add(
            "INSERT INTO log (rv, type, kind, time, namespace, name, body)"
            f" SELECT CASE {script.failing(cases, 8)} ELSE {LAST_RV} + 1 END, {type_}, {KIND}, ?5, ?3, ?4, {value}"
            f" FROM (SELECT 1) LEFT JOIN resources r ON r.kind = {KIND} AND r.namespace = ?3 AND r.name = ?4",
            *self.key,
            int(script.now),
            uid,
            expected,
            script.place,
            *(() if body is None else body.bindings),
        )

    def disown(self, script: Script) -> None:
        script.add(
            "DELETE FROM owners WHERE (owner, kind, namespace, name) IN (SELECT e.value, r.kind, r.namespace, r.name"
            f" FROM resources r, json_each(r.owners) e WHERE r.kind = {KIND} AND r.namespace = ?3 AND r.name = ?4)",
            *self.key,
        )

    def own(self, script: Script, owners: str | None) -> None:
        if owners:
            script.add(
                f"INSERT INTO owners (owner, kind, namespace, name) SELECT value, {KIND}, ?3, ?4 FROM json_each(?5)",
                *self.key,
                owners,
            )

    def forget(self, script: Script) -> None:
        """Remove the version so far, when the log does not need it any more. Before the row is changed."""
        script.add(
            f"DELETE FROM log WHERE rv = (SELECT rv FROM resources WHERE {AT})"
            " AND rv <= (SELECT value FROM meta WHERE key = 'horizon')",
            *self.key,
        )


def _columns(resource: Resource) -> tuple[bytes, str | None, str | None]:
    """JSON of the resource, of its labels, and the uids of its owners."""
    manifest = resource.to_manifest()
    manifest["metadata"].pop("resourceVersion", None)
    meta = resource.metadata
    labels = orjson.dumps(manifest["metadata"]["labels"]).decode() if meta.labels else None
    owners = None
    if meta.owner_references:
        owners = orjson.dumps(sorted({owner.uid for owner in meta.owner_references})).decode()
    return encode(manifest, resource.key), labels, owners


class _Write(_ResourceStep):
    """Creates or replaces a resource."""

    type_ = ADDED

    def __init__(self, resource: Resource) -> None:
        super().__init__(resource.key)
        self.resource = resource
        body, self.labels, self.owners = _columns(resource)
        self.body = Data(body)
        self.data = (self.body,)
        self.small_bytes = len(self.labels or "") + len(self.owners or "")

    def result(self, answer: Answers, own: Own) -> Resource:
        rv = answer.before_rv + self.event
        resource = self.resource.evolve(resource_version=str(rv))
        own.events.append((rv, self.type_, resource))
        return resource


class Create(_Write):
    def __init__(self, op: CreateResource, _: int) -> None:
        super().__init__(op.resource)

    def write(self, script: Script) -> None:
        if script.first_use(self.key.group, self.key.kind):
            script.add("INSERT INTO kinds (grp, kind) VALUES (?, ?) ON CONFLICT DO NOTHING", *self.key[:2])
        self.event = script.event()
        cases = (("exists", f"EXISTS (SELECT 1 FROM resources WHERE {AT})"),)
        script.add(
            "INSERT INTO log (rv, type, kind, time, namespace, name, body)"
            f" VALUES (CASE {script.failing(cases, 6)} ELSE {LAST_RV} + 1 END, {ADDED}, {KIND}, ?5, ?3, ?4,"
            f" {self.body.sql(7)})",
            *self.key,
            int(script.now),
            script.place,
            *self.body.bindings,
        )
        script.add(
            "INSERT INTO resources (kind, namespace, name, rv, uid, labels, owners)"
            f" VALUES ({KIND}, ?3, ?4, {NEW_RV}, ?5, ?6, ?7)",
            *self.key,
            self.resource.metadata.uid,
            self.labels,
            self.owners,
        )
        self.own(script, self.owners)


class Update(_Write):
    type_ = MODIFIED

    def __init__(self, op: UpdateResource, _: int) -> None:
        super().__init__(op.resource)
        self.expected = op.expected

    def write(self, script: Script) -> None:
        self.log(script, MODIFIED, self.resource.metadata.uid, self.expected, self.body)
        self.disown(script)
        self.own(script, self.owners)
        self.forget(script)
        script.add(
            f"UPDATE resources SET rv = {NEW_RV}, labels = ?5, owners = ?6 WHERE {AT}",
            *self.key,
            self.labels,
            self.owners,
        )


class Delete(_ResourceStep):
    def __init__(self, op: DeleteResource, _: int) -> None:
        super().__init__(op.key)
        self.uid, self.expected = op.uid, op.expected

    def write(self, script: Script) -> None:
        self.log(script, DELETED, self.uid, self.expected, None)
        self.disown(script)
        self.forget(script)
        script.add(f"DELETE FROM resources WHERE {AT}", *self.key)
        script.read(
            f"SELECT iif(length(body) <= {LARGE_BYTES}, body, NULL) FROM log"
            f" WHERE rv = {script.value_sql(0, 1)} + {self.event}",
            script.token,
        )

    def result(self, answer: Answers, own: Own) -> Resource | Large:
        rv, rows = answer.before_rv + self.event, answer.rows()
        if not rows:
            raise StoreError(f"{self.key} was deleted, but its last state is not in the store's history any more")

        def make(body: bytes) -> Resource:
            return resource_of(rv, body)

        if rows[0][0] is None:
            own.events.append((rv, DELETED, None))
            return Large("log", "body", "rv = ?1", rv, make)
        resource = make(rows[0][0])
        own.events.append((rv, DELETED, resource))
        return resource
