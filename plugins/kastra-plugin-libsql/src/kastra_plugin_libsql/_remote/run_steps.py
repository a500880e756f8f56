"""Writes of claims, journals and signals as SQL."""

# ruff: noqa: S608 - the names put into statements are this package's own

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from kastra_core.errors import ConflictError, FencedError
from kastra_core.protocols.store import AppendRecord, ClaimRun, DropJournal, ReleaseRun, SendSignal
from kastra_plugin_libsql._payloads import encode, holder_name
from kastra_plugin_libsql._remote.script import LARGE_BYTES, Answers, Script
from kastra_plugin_libsql._remote.steps import RUN, RUN_ROWS, Large, Own, RemoteStep, divided, keep

__all__ = ["Append", "Claim", "Drop", "Release", "Send"]


_TURNS = 10
"""So often a record may turn out to be there, or not to be there any more, until its commit is given up."""


class _RunStep(RemoteStep):
    def __init__(self, run: str) -> None:
        self.run = run

    def fence(self, script: Script, epoch: int) -> None:
        claim = "SELECT 1 FROM runs r JOIN claims c ON c.run = r.id WHERE r.uid = ?1 AND r.epoch = ?2"
        script.guard(
            (("fenced", f"NOT EXISTS ({claim})"),),
            self.run,
            epoch,
        )

    def error(self, code: str, detail: str) -> Exception:
        return FencedError(self.run)


class Claim(_RunStep):
    def __init__(self, op: ClaimRun, _: int) -> None:
        super().__init__(op.run)
        self.op = op

    def write(self, script: Script) -> None:
        op = self.op
        epoch = "SELECT r.epoch FROM runs r JOIN claims c ON c.run = r.id WHERE r.uid = ?1"
        script.guard(
            (("fenced", f"coalesce(({epoch}), 0) <> ?2"),),
            op.run,
            op.expected_epoch,
        )
        script.add(
            "INSERT INTO runs (uid, epoch) VALUES (?, 1) ON CONFLICT (uid) DO UPDATE SET epoch = epoch + 1", op.run
        )
        script.add(
            "INSERT OR REPLACE INTO claims (run, grp, kind, namespace, name, holder, wake_at)"
            f" VALUES ({RUN}, ?2, ?3, ?4, ?5, ?6, ?7)",
            op.run,
            *op.key,
            op.holder,
            op.wake_at_s,
        )
        script.ask("(SELECT epoch FROM runs WHERE uid = ?1)", op.run)

    def result(self, answer: Answers, own: Own) -> int:
        return int(answer.value())


class Release(_RunStep):
    def __init__(self, op: ReleaseRun, _: int) -> None:
        super().__init__(op.run)
        self.op = op

    def write(self, script: Script) -> None:
        op = self.op
        self.fence(script, op.epoch)
        if op.finished:
            script.add(f"DELETE FROM claims WHERE run = {RUN}", op.run)
        else:
            script.add(f"UPDATE claims SET holder = '', wake_at = ?2 WHERE run = {RUN}", op.run, op.wake_at_s)


class Append(_RunStep):
    """``writes``: its writes as steps. They are sent with the record, and a guard behind it fails when the record was
    there before: then the commit is sent again without them, with a guard for the contrary.
    """

    def __init__(self, op: AppendRecord, inline_bytes: int, writes: Sequence[RemoteStep] = ()) -> None:
        super().__init__(op.run)
        self.op, self.writes = op, writes
        self.body, self.payload = divided(encode(op.record, f"record {op.path} of run {op.run}"), inline_bytes)
        self.small_bytes = len(self.body) + sum(write.small_bytes for write in writes)
        self.data = (
            *(() if self.payload is None else (self.payload,)),
            *(one for write in writes for one in write.data),
        )
        self.parts = 1 + sum(write.parts for write in writes)
        self._is_new = True
        self._turns_left = _TURNS

    def write(self, script: Script) -> None:
        op = self.op
        self.fence(script, op.epoch)
        script.add(
            "INSERT INTO journal (id, run, path, time, record)"
            " SELECT coalesce((SELECT max(id) FROM journal WHERE id BETWEEN r.id << 32 AND (r.id << 32) | 4294967295),"
            " r.id << 32) + 1, r.id, ?2, ?3, ?4 FROM runs r WHERE r.uid = ?1 ON CONFLICT DO NOTHING",
            op.run,
            op.path,
            script.now,
            self.body,
        )
        index = script.ask("changes()")
        keep(
            script,
            self.body,
            self.payload,
            f"SELECT char(1) || 'journal/' || id AS name FROM journal WHERE run = {RUN} AND path = ?2 AND record = ?3",
            op.run,
            op.path,
            self.body,
        )
        script.read(
            f"SELECT id, iif(length(record) <= {LARGE_BYTES}, record, NULL) FROM journal"
            f" WHERE {script.value_sql(index, 3)} = 0"
            f" AND run = {RUN} AND path = ?2",
            op.run,
            op.path,
            script.token,
        )
        if self.writes:
            inserted = script.value_sql(index, 1)
            script.guard(
                ((("known", f"{inserted} = 0") if self._is_new else ("new", f"{inserted} = 1")),), script.token
            )
        if self._is_new:
            self._write_writes(script)

    def _write_writes(self, script: Script) -> None:
        try:
            for number, write in enumerate(self.writes):
                script.within = f"w{number}_"
                write.write(script)
        finally:
            script.within = ""

    def adapts(self, code: str) -> bool:
        if code not in ("known", "new"):
            return False
        self._is_new = code == "new"
        self._turns_left -= 1
        return self._turns_left > 0

    def error(self, code: str, detail: str) -> Exception:
        if code in ("known", "new"):
            return ConflictError(
                f"record {self.op.path} of run {self.op.run}", "others write and remove it all the time"
            )
        place, _, inner = code.partition("_")
        return self.writes[int(place[1:])].error(inner, detail) if inner else super().error(code, detail)

    def result(self, answer: Answers, own: Own) -> Any:
        inserted, rows = answer.value(), answer.rows()
        if self._is_new:
            for write in self.writes:
                write.result(answer, own)
        if inserted or not rows:
            return None
        [(at, body)] = rows
        if body is None:
            return Large("journal", "record", "id = ?1", at, orjson.loads)
        if body[0] == 0:
            return Large("blobs", "data", "digest = ?1", body[1:], orjson.loads)
        return orjson.loads(body)


class Drop(_RunStep):
    def __init__(self, op: DropJournal, _: int) -> None:
        super().__init__(op.run)

    def write(self, script: Script) -> None:
        script.add(f"DELETE FROM journal WHERE {RUN_ROWS}", self.run)
        script.add(f"DELETE FROM signals WHERE run = {RUN}", self.run)
        script.add(f"DELETE FROM claims WHERE run = {RUN}", self.run)
        script.add("DELETE FROM runs WHERE uid = ?", self.run)
        script.add("DELETE FROM holds WHERE holder = ?", holder_name(self.run))


class Send(_RunStep):
    def __init__(self, op: SendSignal, inline_bytes: int) -> None:
        super().__init__(op.run)
        self.op = op
        self.body, self.payload = divided(encode(op.payload, f"signal {op.name} to run {op.run}"), inline_bytes)
        self.small_bytes = len(self.body)
        self.data = () if self.payload is None else (self.payload,)

    def write(self, script: Script) -> None:
        op = self.op
        script.add("INSERT INTO runs (uid, epoch) VALUES (?, 0) ON CONFLICT DO NOTHING", op.run)
        repeated = f"?2 <> '' AND EXISTS (SELECT 1 FROM signals WHERE run = {RUN} AND signal_id = ?2)"
        script.add(
            f"INSERT INTO signals (run, signal_id, name, payload) SELECT {RUN}, ?2, ?3, ?4 WHERE NOT ({repeated})",
            op.run,
            op.signal_id,
            op.name,
            self.body,
        )
        last = f"(SELECT max(seq) FROM signals WHERE run = {RUN})"
        script.ask(f"CASE WHEN changes() THEN {last} ELSE 0 END", op.run)
        keep(
            script,
            self.body,
            self.payload,
            f"SELECT char(1) || 'signal/' || seq AS name FROM signals WHERE seq = {last} AND payload = ?2",
            op.run,
            self.body,
        )

    def result(self, answer: Answers, own: Own) -> bool:
        seq = int(answer.value())
        own.signals = max(own.signals, seq)
        return seq > 0
