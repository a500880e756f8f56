"""The contract of a StoreAdmin as tests: subclass :class:`StoreAdminConformance` in a plugin's test suite."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import pytest

from kastra_core.errors import ConflictError, ExpiredError, FencedError, NotFoundError, UserError
from kastra_core.protocols.store import (
    AppendMessages,
    AppendRecord,
    ClaimRun,
    CreateResource,
    DeleteResource,
    PutBlob,
    SetState,
    Store,
    UpdateResource,
)
from kastra_core.protocols.store_admin import StoreAdmin
from kastra_core.testing._store_tools import GROUP, KIND, ManualClock, Reopen, key_of, make, take

__all__ = ["StoreAdminConformance"]

_RUN = key_of("run", kind="Run")
_BLOB = b"blob" * 100


class StoreAdminConformance:
    """Give the fixtures ``admin`` (of a store to which nothing was written) and ``reopen`` (opens that store).

    Both take the time from the fixture ``clock``. Needs pytest-asyncio (``asyncio_mode = "auto"``).

    Example:
        class TestAcmeAdmin(StoreAdminConformance):
            @pytest.fixture
            def reopen(self, tmp_path, clock):
                return lambda: open_store(f"acme:{tmp_path}/db", {"clock": clock})

            @pytest.fixture
            def admin(self, tmp_path, clock):
                return open_admin(f"acme:{tmp_path}/db", {"clock": clock})
    """

    @pytest.fixture(autouse=True)
    def _here(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        # A store that has no directory of its own puts copies where it is called.
        monkeypatch.chdir(tmp_path)

    @pytest.fixture
    def clock(self) -> ManualClock:
        """Hand it to the store and its admin as their clock."""
        return ManualClock()

    @pytest.fixture
    def reopen(self) -> Reopen:
        raise NotImplementedError("give a fixture `reopen`: an async function that opens the store")

    @pytest.fixture
    def admin(self) -> StoreAdmin:
        raise NotImplementedError("give a fixture `admin`: the StoreAdmin of the store that `reopen` opens")

    # ------------------------------------------------------------------------------------------------- looking

    async def test_a_store_that_is_not_there_has_a_status_and_nothing_else(
        self, admin: StoreAdmin, tmp_path: Path
    ) -> None:
        status = await admin.status()
        assert not status.exists
        assert (status.schema, status.facets, status.workers, status.problems) == (0, (), (), ())
        assert status.latest_schema > 0
        for job in (admin.check, admin.compact, admin.migrate, lambda: admin.backup(tmp_path / "b")):
            with pytest.raises(NotFoundError):
                await job()
        assert not (tmp_path / "b").exists()

    async def test_status_tells_what_is_kept(self, admin: StoreAdmin, reopen: Reopen) -> None:
        await _fill(reopen)
        status = await admin.status()
        assert status.exists
        assert status.schema == status.latest_schema
        assert status.problems == ()
        items = {facet.name: facet.items for facet in status.facets}
        wanted = {"resources": 3, "journal": 2, "state": 2}
        assert {name: items.get(name) for name in wanted} == wanted
        assert items["threads"] in (1, 2)  # threads, or their messages
        assert int(status.resource_version) >= 3
        assert int(status.oldest_version) <= int(status.resource_version)
        assert status.size_bytes > 0
        assert status.engine

    async def test_status_names_the_workers_that_use_the_store(
        self, admin: StoreAdmin, reopen: Reopen, clock: ManualClock
    ) -> None:
        store = await reopen()
        await store.leases.acquire("worker/w-1", "w-1", 15)
        await store.leases.acquire("something else", "x", 15)
        await store.aclose()
        assert len((await admin.status()).workers) == 1
        assert "w-1" in (await admin.status()).workers[0]
        clock.advance(16)
        assert (await admin.status()).workers == ()

    async def test_a_sound_store_has_no_problem(self, admin: StoreAdmin, reopen: Reopen) -> None:
        await _fill(reopen)
        report = await admin.check()
        assert report.problems == ()
        assert any(report.checked.values())

    # ------------------------------------------------------------------------------------------------- copies

    async def test_a_backup_is_put_back(self, admin: StoreAdmin, reopen: Reopen, tmp_path: Path) -> None:
        kept = await _fill(reopen)
        target = tmp_path / "copy"
        info = await admin.backup(target)
        assert (info.path, info.size_bytes) == (target, target.stat().st_size)
        assert info.resource_version == (await admin.status()).resource_version
        await _spoil(reopen)
        report = await admin.restore(target)
        assert report.source == target
        assert report.items["resources"] == 3
        assert await _content(reopen) == kept
        assert (await admin.check()).problems == ()

    async def test_after_a_restore_versions_go_on_and_watches_of_before_are_expired(
        self, admin: StoreAdmin, reopen: Reopen, tmp_path: Path
    ) -> None:
        await _fill(reopen)
        await admin.backup(tmp_path / "copy")
        await _spoil(reopen)
        last = int((await admin.status()).resource_version)
        await admin.restore(tmp_path / "copy")
        store = await reopen()
        try:
            page = await store.resources.list(GROUP, KIND)
            for version in ("1", str(last)):
                with pytest.raises(ExpiredError):
                    await take(store.resources.watch(GROUP, KIND, since=version), 1)
            watch = store.resources.watch(GROUP, KIND, since=page.resource_version)
            [made] = await store.commit([CreateResource(make("new"))])
            assert int(made.metadata.resource_version) > last
            assert [event.resource for event in await take(watch, 1)] == [made]
            old = next(resource for resource in page.items if resource.metadata.name == "a")
            with pytest.raises(ConflictError):
                await store.commit([UpdateResource(old, expected=str(last))])
            # A worker of before must not write into a journal that was put back.
            with pytest.raises(FencedError):
                await store.commit([AppendRecord("r", "late", {}, 1)])
        finally:
            await store.aclose()

    async def test_a_backup_does_not_replace_a_file(self, admin: StoreAdmin, reopen: Reopen, tmp_path: Path) -> None:
        await _fill(reopen)
        target = tmp_path / "copy"
        target.write_bytes(b"mine")
        with pytest.raises(UserError):
            await admin.backup(target)
        assert target.read_bytes() == b"mine"

    async def test_a_backup_in_the_middle_of_writes_holds_whole_commits(
        self, admin: StoreAdmin, reopen: Reopen, tmp_path: Path
    ) -> None:
        store = await reopen()
        acknowledged = 0
        some, over = asyncio.Event(), asyncio.Event()

        async def write() -> None:
            nonlocal acknowledged
            while not over.is_set():
                await store.commit([CreateResource(make(f"{half}{acknowledged}")) for half in "ab"])
                acknowledged += 1
                if acknowledged == 20:
                    some.set()

        writer = asyncio.ensure_future(write())
        await some.wait()
        before = acknowledged
        await admin.backup(tmp_path / "copy")
        over.set()
        await writer
        await store.aclose()
        await admin.restore(tmp_path / "copy")
        store = await reopen()
        names = {resource.metadata.name for resource in (await store.resources.list(GROUP, KIND)).items}
        await store.aclose()
        count = len(names) // 2
        assert names == {f"{half}{number}" for half in "ab" for number in range(count)}
        assert before <= count <= acknowledged

    async def test_what_is_no_backup_is_refused_and_nothing_changes(
        self, admin: StoreAdmin, reopen: Reopen, tmp_path: Path
    ) -> None:
        kept = await _fill(reopen)
        await admin.backup(tmp_path / "copy")
        whole = (tmp_path / "copy").read_bytes()
        (tmp_path / "garbage").write_bytes(b"no backup" * 1000)
        (tmp_path / "half").write_bytes(whole[: len(whole) // 2])
        (tmp_path / "empty").write_bytes(b"")
        for name in ("garbage", "half", "empty", "missing"):
            with pytest.raises(UserError):
                await admin.restore(tmp_path / name)
        assert await _content(reopen) == kept

    async def test_a_store_that_workers_use_is_not_replaced_unless_forced(
        self, admin: StoreAdmin, reopen: Reopen, tmp_path: Path
    ) -> None:
        kept = await _fill(reopen)
        await admin.backup(tmp_path / "copy")
        store = await reopen()
        await store.leases.acquire("worker/w-1", "w-1", 15)
        await store.state.set_value("s", "later", 1)
        await store.aclose()
        with pytest.raises(UserError, match="w-1"):
            await admin.restore(tmp_path / "copy")
        assert (await _content(reopen))["state"]["later"] == 1
        await admin.restore(tmp_path / "copy", force=True)
        assert await _content(reopen) == kept

    # ------------------------------------------------------------------------------------------------- schemas

    async def test_the_newest_schema_is_as_it_should_be(self, admin: StoreAdmin, reopen: Reopen) -> None:
        kept = await _fill(reopen)
        report = await admin.migrate()
        assert (report.before, report.after, report.steps, report.backup) == (report.after, report.before, (), None)
        for unknown in (-1, 0, report.after + 1):
            with pytest.raises(UserError):
                await admin.migrate(unknown)
        assert await _content(reopen) == kept

    async def test_a_store_goes_down_and_up_with_what_it_holds(self, admin: StoreAdmin, reopen: Reopen) -> None:
        kept = await _fill(reopen)
        latest = (await admin.status()).latest_schema
        for older in range(latest - 1, 0, -1):
            trial = await admin.migrate(older, dry_run=True)
            assert (trial.dry_run, trial.backup, trial.after) == (True, None, older)
            assert {step.direction for step in trial.steps} == {"down"}
            assert (await admin.status()).schema == latest
            report = await admin.migrate(older)
            assert report.steps == trial.steps
            assert report.backup is not None
            assert report.backup.path.is_file()
            assert (await admin.status()).schema == older
            up = await admin.migrate()
            assert [step.direction for step in up.steps] == ["up"] * (latest - older)
            assert (await admin.check()).problems == ()
            found = await _content(reopen)
            lost = () if not any(step.loses for step in trial.steps) else ("blobs",)
            assert {name: found[name] for name in found if name not in lost} == {
                name: kept[name] for name in kept if name not in lost
            }

    # ------------------------------------------------------------------------------------------------- compacting

    async def test_compacting_removes_only_what_is_not_needed(
        self, admin: StoreAdmin, reopen: Reopen, clock: ManualClock
    ) -> None:
        kept = await _fill(reopen)
        store = await reopen()
        await store.state.set_value("s", "short", "x" * 50_000, ttl_s=10)
        made = await store.commit([CreateResource(make(f"n{n}", text="x" * 5_000)) for n in range(200)])
        await store.commit([DeleteResource(resource.key) for resource in made])
        await store.aclose()
        clock.advance(40 * 86_400)
        report = await admin.compact()
        assert report.after_bytes < report.before_bytes
        assert any(report.removed.values())
        assert await _content(reopen) == kept
        assert (await admin.check()).problems == ()


async def _fill(reopen: Reopen) -> dict[str, Any]:
    store = await reopen()
    try:
        await store.commit(
            [
                CreateResource(make("a", owners=("u",), labels={"x": "1"}, n=1)),
                CreateResource(make("b", "other")),
                CreateResource(make("c", text="x" * 200_000)),
                ClaimRun("r", _RUN, "w"),
                AppendRecord("r", "p", {"n": 1}, 1),
                AppendRecord("r", "large", {"text": "y" * 200_000}, 1),
                SetState("s", {"k": [1], "large": "z" * 200_000}),
                AppendMessages("default", "t", [{"n": 1}, {"n": 2}], run="r"),
                PutBlob(_BLOB, "r"),
            ]
        )
        return await _read(store)
    finally:
        await store.aclose()


async def _spoil(reopen: Reopen) -> None:
    store = await reopen()
    [more, _] = await store.commit([CreateResource(make("late")), SetState("s", {"k": "other"})])
    await store.commit([DeleteResource(key_of("a")), UpdateResource(more), AppendRecord("r", "late", {}, 1)])
    await store.aclose()


async def _content(reopen: Reopen) -> dict[str, Any]:
    store = await reopen()
    try:
        return await _read(store)
    finally:
        await store.aclose()


async def _read(store: Store) -> dict[str, Any]:
    """What the store gives, without the numbers that a restore changes."""
    page = await store.resources.list("", "")
    return {
        "resources": [resource.evolve(resource_version="") for resource in page.items],
        "journal": [(line.path, line.record) for line in await store.journal.records("r")],
        "claims": [(claim.run, claim.key) for claim in await store.journal.claims()],
        "state": await store.state.get_state("s"),
        "threads": [line.message for line in await store.threads.messages("default", "t")],
        "blobs": await store.blobs.has(f"sha256:{hashlib.sha256(_BLOB).hexdigest()}"),
    }
