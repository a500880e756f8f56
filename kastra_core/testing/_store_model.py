"""Random sequences of commits, compared with a model of some lines."""

from __future__ import annotations

import hashlib
import itertools
import math
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kastra_core.api.meta import JsonValue
from kastra_core.errors import (
    AlreadyExistsError,
    ConflictError,
    FencedError,
    KastraError,
    NotFoundError,
    VectorLengthError,
)
from kastra_core.protocols.store import (
    AppendMessages,
    AppendRecord,
    ClaimRun,
    ClearState,
    CreateResource,
    DeleteResource,
    DeleteThread,
    DropJournal,
    HoldBlob,
    Operation,
    PutBlob,
    ReleaseBlobs,
    ReleaseRun,
    SendSignal,
    SetState,
    Store,
    UpdateResource,
    UpsertVectors,
    thread_holder,
)
from kastra_core.testing._store_tools import GROUP, KIND, Cases, ManualClock, key_of, make, take

__all__ = ["ModelCases"]

_small = st.integers(0, 2)
_maybe = st.one_of(st.none(), _small)
_holder = st.one_of(st.none(), st.integers(0, 5))
_sub = st.sampled_from(["", "/a", "/a/b", "0", "%"])
"""Below a thread's own scope, and scopes whose names only begin like it."""
_DATA_STEPS = (
    st.tuples(st.just("claim"), _small, _small),
    st.tuples(st.just("release"), _small, _small, st.booleans()),
    st.tuples(st.just("drop"), _small),
    st.tuples(st.just("signal"), _small, _small, st.sampled_from(["", "a", "b"])),
    st.tuples(st.just("state"), _small, _sub, _small, _maybe, st.sampled_from([None, 1.0, 3.0])),
    st.tuples(st.just("clear"), _small, _sub),
    st.tuples(st.just("put"), _small, _holder),
    st.tuples(st.just("hold"), _small, _holder),
    st.tuples(st.just("let go"), _holder),
    st.tuples(st.just("append"), _small, _small, _maybe),
    st.tuples(st.just("delete thread"), _small),
    st.tuples(st.just("vectors"), st.lists(_small, max_size=3), _holder, st.sampled_from([2, 2, 2, 3])),
)
_WRITES = st.lists(
    st.one_of(*_DATA_STEPS, st.tuples(st.just("record"), _small, _small, _small, _small, st.just([]))), max_size=3
)
_STEPS = st.one_of(
    st.tuples(st.just("create"), _small, _small),
    st.tuples(st.just("update"), _small, _small, st.sampled_from(["", "right", "wrong", "other uid"])),
    st.tuples(st.just("delete"), _small, st.sampled_from(["", "right", "wrong", "other uid"])),
    st.tuples(st.just("record"), _small, _small, _small, _small, _WRITES),
    *_DATA_STEPS,
)
_COMMITS = st.lists(st.lists(_STEPS, min_size=1, max_size=4) | st.sampled_from([1.0, 2.0]), min_size=1, max_size=12)
"""Commits, and seconds that pass."""
_numbers = itertools.count(1)
_LARGE = "large " * 15_000


def _payload(number: int) -> JsonValue:
    """A value; one of them is larger than most stores keep within a row."""
    return _LARGE if number == 2 else number


class _Model:
    """What the store should hold below one prefix."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.objects: dict[str, tuple[str, int, int]] = {}  # uid, spec, write
        self.writes = 0
        self.events: list[tuple[str, str, int]] = []
        self.epochs: dict[str, int] = {}
        self.claims: dict[str, str] = {}
        self.records: dict[str, dict[str, JsonValue]] = {}
        self.signals: dict[str, list[tuple[JsonValue, str]]] = {}
        self.state: dict[str, dict[str, tuple[JsonValue, float]]] = {}
        self.now_s = 0.0
        self.held: dict[str, set[int]] = {}
        self.threads: dict[str, list[int]] = {}
        self.vectors: dict[int, tuple[int, str]] = {}  # length, holder
        self.uids = 0

    def apply(self, step: tuple[Any, ...], versions: dict[int, str]) -> tuple[Operation, Any]:
        """The operation of a step, and its expected result: a value, or the type of an error."""
        return getattr(self, "do_" + step[0].replace(" ", "_"))(*step[1:], versions)  # type: ignore[no-any-return]

    def name(self, n: int) -> str:
        return f"{self.prefix}-{n}"

    def do_create(self, n: int, spec: int, _: Any) -> tuple[Operation, Any]:
        self.uids += 1
        uid = f"{self.prefix}-u{self.uids}"
        operation = CreateResource(make(self.name(n), self.prefix, uid=uid, n=spec))
        if self.name(n) in self.objects:
            return operation, AlreadyExistsError
        self._write("ADDED", self.name(n), uid, spec)
        return operation, ("resource", self.writes, spec)

    def _write(self, event: str, name: str, uid: str, spec: int) -> None:
        self.writes += 1
        self.objects[name] = (uid, spec, self.writes)
        self.events.append((event, name, spec))

    def _conditions(self, n: int, how: str, versions: dict[int, str]) -> tuple[str, str | None, Any]:
        """uid, expected version, and the error they lead to."""
        uid, _, write = self.objects.get(self.name(n), ("none", 0, 0))
        # A version that this same commit gives is not known yet: then there is no right condition.
        expected = {"right": versions.get(write, "wrong"), "wrong": "wrong"}.get(how)
        error: type[KastraError] | None = None
        if self.name(n) not in self.objects:
            error = NotFoundError
        elif how == "other uid" or (expected is not None and expected != versions.get(write)):
            error = ConflictError
        return "another" if how == "other uid" else uid, expected, error

    def do_update(self, n: int, spec: int, how: str, versions: dict[int, str]) -> tuple[Operation, Any]:
        uid, expected, error = self._conditions(n, how, versions)
        operation = UpdateResource(make(self.name(n), self.prefix, uid=uid, n=spec), expected)
        if error:
            return operation, error
        self._write("MODIFIED", self.name(n), uid, spec)
        return operation, ("resource", self.writes, spec)

    def do_delete(self, n: int, how: str, versions: dict[int, str]) -> tuple[Operation, Any]:
        uid, expected, error = self._conditions(n, how, versions)
        operation = DeleteResource(key_of(self.name(n), self.prefix), uid, expected)
        if error:
            return operation, error
        spec = self.objects.pop(self.name(n))[1]
        self.writes += 1
        self.events.append(("DELETED", self.name(n), spec))
        return operation, ("resource", self.writes, spec)

    def do_claim(self, n: int, expected: int, _: Any) -> tuple[Operation, Any]:
        run = self.name(n)
        operation = ClaimRun(run, key_of(run), f"w{self.uids}", expected)
        if (self.epochs[run] if run in self.claims else 0) != expected:
            return operation, FencedError
        self.epochs[run] = self.epochs.get(run, 0) + 1
        self.claims[run] = operation.holder
        return operation, self.epochs[run]

    def _fenced(self, run: str, epoch: int) -> bool:
        return run not in self.claims or self.epochs[run] != epoch

    def do_release(self, n: int, epoch: int, finished: bool, _: Any) -> tuple[Operation, Any]:
        run = self.name(n)
        operation = ReleaseRun(run, epoch, finished)
        if self._fenced(run, epoch):
            return operation, FencedError
        if finished:
            del self.claims[run]
        else:
            self.claims[run] = ""
        return operation, None

    def do_record(
        self, n: int, path: int, value: int, epoch: int, writes: list[tuple[Any, ...]], versions: dict[int, str]
    ) -> tuple[Operation, Any]:
        run, trial = self.name(n), deepcopy(self)
        record = _payload(value)
        operation = AppendRecord(
            run, f"p{path}", record, epoch, tuple(trial.apply(write, versions)[0] for write in writes)
        )
        if self._fenced(run, epoch):
            return operation, FencedError
        records = self.records.setdefault(run, {})
        if f"p{path}" in records:
            return operation, records[f"p{path}"]
        records[f"p{path}"] = record
        for write in writes:
            _, outcome = self.apply(write, versions)
            if isinstance(outcome, type):
                return operation, outcome
        return operation, None

    def do_drop(self, n: int, _: Any) -> tuple[Operation, Any]:
        for table in (self.records, self.claims, self.epochs, self.signals):
            table.pop(self.name(n), None)
        self.held.pop(self.name(n), None)
        return DropJournal(self.name(n)), None

    def do_signal(self, n: int, payload: int, signal_id: str, _: Any) -> tuple[Operation, Any]:
        operation = SendSignal(self.name(n), "go", _payload(payload), signal_id)
        sent = self.signals.setdefault(self.name(n), [])
        if signal_id and any(old == signal_id for _, old in sent):
            return operation, False
        sent.append((operation.payload, signal_id))
        return operation, True

    def scope(self, n: int, sub: str) -> str:
        return thread_holder(self.prefix, self.name(n)) + sub

    def do_state(
        self, n: int, sub: str, key: int, number: int | None, ttl_s: float | None, _: Any
    ) -> tuple[Operation, Any]:
        scope = self.state.setdefault(self.scope(n, sub), {})
        value = None if number is None else _payload(number)
        if value is None:
            scope.pop(f"k{key}", None)
        else:
            # "/a" lies below the thread's scope, "0" makes it another's, and "%" is in the name of none.
            if sub != "%":
                self.threads.setdefault(self.name(n) + sub.partition("/")[0], [])
            scope[f"k{key}"] = (value, math.inf if ttl_s is None else self.now_s + ttl_s)
        return SetState(self.scope(n, sub), {f"k{key}": value}, ttl_s), None

    def do_clear(self, n: int, sub: str, _: Any) -> tuple[Operation, Any]:
        self._clear(self.scope(n, sub))
        return ClearState(self.scope(n, sub)), None

    def _clear(self, scope: str) -> None:
        self.state = {
            name: values for name, values in self.state.items() if f"{name}/"[: len(scope) + 1] != f"{scope}/"
        }

    def _blob(self, number: int) -> bytes:
        return f"{self.prefix} {number}".encode() * 1000

    def _digest(self, number: int) -> str:
        return f"sha256:{hashlib.sha256(self._blob(number)).hexdigest()}"

    def holder(self, n: int | None) -> str:
        """Nobody in particular, a run or a thread."""
        return "" if n is None else self.name(n) if n < 3 else thread_holder(self.prefix, self.name(n - 3))

    def do_put(self, number: int, n: int | None, _: Any) -> tuple[Operation, Any]:
        self.held.setdefault(self.holder(n), set()).add(number)
        return PutBlob(self._blob(number), self.holder(n)), self._digest(number)

    def do_hold(self, number: int, n: int | None, _: Any) -> tuple[Operation, Any]:
        operation = HoldBlob(self._digest(number), self.holder(n))
        if not any(number in held for held in self.held.values()):
            return operation, NotFoundError
        self.held.setdefault(self.holder(n), set()).add(number)
        return operation, None

    def do_let_go(self, n: int | None, _: Any) -> tuple[Operation, Any]:
        # Of nobody in particular there are also those of other examples.
        holder = self.name(0) if n is None else self.holder(n)
        return ReleaseBlobs(holder), len(self.held.pop(holder, ()))

    def do_vectors(self, ids: list[int], n: int | None, length: int, _: Any) -> tuple[Operation, Any]:
        operation = UpsertVectors(
            self.prefix, [(f"v{at}", [1.0, float(at), 0.5][:length], {"at": at}) for at in ids], self.holder(n)
        )
        if ids and any(known != length for known, _ in self.vectors.values()):
            return operation, VectorLengthError
        if ids and n is not None and n >= 3:
            self.threads.setdefault(self.name(n - 3), [])
        self.vectors.update((at, (length, self.holder(n))) for at in ids)
        return operation, None

    def do_append(self, n: int, count: int, expected: int | None, _: Any) -> tuple[Operation, Any]:
        name, last = self.name(n), len(self.threads.get(self.name(n), ()))
        operation = AppendMessages(self.prefix, name, [{"n": last + at} for at in range(count)], "", expected)
        if expected is not None and expected != last:
            return operation, ConflictError
        self.threads.setdefault(name, []).extend(range(last, last + count))
        return operation, last + count

    def do_delete_thread(self, n: int, _: Any) -> tuple[Operation, Any]:
        holder = thread_holder(self.prefix, self.name(n))
        self._clear(holder)
        self.held.pop(holder, None)
        self.vectors = {at: known for at, known in self.vectors.items() if known[1] != holder}
        return DeleteThread(self.prefix, self.name(n)), self.threads.pop(self.name(n), None) is not None


def _without_vectors(steps: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    kept = [step for step in steps if step[0] != "vectors"]
    return [(*step[:-1], _without_vectors(step[-1])) if step[0] == "record" else step for step in kept]


class ModelCases(Cases):
    @settings(
        max_examples=40,
        deadline=None,
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.too_slow,
            HealthCheck.differing_executors,
        ],
        database=None,
    )
    @given(commits=_COMMITS)
    async def test_any_sequence_of_commits_does_what_a_simple_model_does(
        self, store: Store, clock: ManualClock, commits: list[list[tuple[Any, ...]] | float]
    ) -> None:
        # One store for all examples: each has names of its own.
        model = _Model(f"m{next(_numbers)}")
        watch = store.resources.watch(GROUP, KIND, namespace=model.prefix)
        versions: dict[int, str] = {}
        for commit in commits:
            if isinstance(commit, float):
                clock.advance(commit)
                model.now_s += commit
                continue
            if store.vectors is None:
                commit = _without_vectors(commit)
            trial = deepcopy(model)
            operations, expected = [], []
            error: type[KastraError] | None = None
            for step in commit:
                operation, outcome = trial.apply(step, versions)
                operations.append(operation)
                if isinstance(outcome, type):
                    error = error or outcome
                    break
                expected.append(outcome)
            if error is not None:
                with pytest.raises(error):
                    await store.commit(operations)
                continue
            results = await store.commit(operations)
            model = trial
            for result, outcome in zip(results, expected):
                if isinstance(outcome, tuple):
                    _, write, spec = outcome
                    versions[write] = result.metadata.resource_version
                    assert result.spec == {"n": spec}
                else:
                    assert result == outcome
        await self._compare(store, model, versions)
        if model.events:
            seen = await take(watch, len(model.events))
            assert [(e.type, e.resource.metadata.name, e.resource.spec["n"]) for e in seen] == model.events
            assert [e.resource.metadata.resource_version for e in seen] == [
                versions[n + 1] for n in range(model.writes)
            ]

    async def _compare(self, store: Store, model: _Model, versions: dict[int, str]) -> None:
        page = await store.resources.list(GROUP, KIND, namespace=model.prefix)
        assert {r.metadata.name: (r.metadata.uid, r.spec["n"], r.metadata.resource_version) for r in page.items} == {
            name: (uid, spec, versions[write]) for name, (uid, spec, write) in model.objects.items()
        }
        claims = {c.run: (c.holder, c.epoch) for c in await store.journal.claims() if c.key.namespace == "default"}
        assert {run: claim for run, claim in claims.items() if run.startswith(f"{model.prefix}-")} == {
            run: (holder, model.epochs[run]) for run, holder in model.claims.items()
        }
        for n in range(3):
            name = model.name(n)
            assert {r.path: r.record for r in await store.journal.records(name)} == model.records.get(name, {})
            assert [(s.payload, s.signal_id) for s in await store.journal.signals(name)] == model.signals.get(name, [])
            for scope in {*model.state, *(model.scope(n, sub) for sub in ("", "/a", "0"))}:
                state = {key: value for key, (value, end) in model.state.get(scope, {}).items() if end > model.now_s}
                assert await store.state.get_state(scope) == state
            assert await store.blobs.has(model._digest(n)) == any(n in held for held in model.held.values())
            messages = await store.threads.messages(model.prefix, name)
            assert [m.message["n"] for m in messages] == model.threads.get(name, [])
        infos = await store.threads.list(model.prefix)
        assert {i.thread: i.last_seq for i in infos} == {name: len(found) for name, found in model.threads.items()}
        if store.vectors is not None:
            length = next((length for length, _ in model.vectors.values()), 2)
            found = await store.vectors.query(model.prefix, [1.0] * length)
            assert {match.id: match.metadata for match in found} == {f"v{at}": {"at": at} for at in model.vectors}
