"""The contract of watches: order, no gap, no repetition, expiry, end."""

from __future__ import annotations

import asyncio

import pytest

from kastra_core.errors import ExpiredError, NotFoundError
from kastra_core.protocols.store import (
    CreateResource,
    DeleteResource,
    SendSignal,
    SetState,
    Store,
    UpdateResource,
    WatchEvent,
)
from kastra_core.testing._store_tools import GROUP, KIND, Cases, Reopen, key_of, make, take

__all__ = ["WatchCases"]


def brief(events: list[WatchEvent]) -> list[tuple[str, str]]:
    return [(event.type, event.resource.metadata.name) for event in events]


class WatchCases(Cases):
    async def test_a_watch_shows_each_change_with_its_version(self, store: Store) -> None:
        watch = store.resources.watch(GROUP, KIND)
        [a] = await store.commit([CreateResource(make("a", n=1))])
        [b] = await store.commit([UpdateResource(a.evolve(spec={"n": 2}))])
        [c] = await store.commit([DeleteResource(a.key)])
        assert await take(watch, 3) == [WatchEvent("ADDED", a), WatchEvent("MODIFIED", b), WatchEvent("DELETED", c)]

    async def test_from_now_is_the_moment_of_the_call(self, store: Store) -> None:
        await store.commit([CreateResource(make("before"))])
        watch = store.resources.watch(GROUP, KIND)
        await store.commit([CreateResource(make("after"))])
        later = store.resources.watch(GROUP, KIND)
        await store.commit([CreateResource(make("last"))])
        assert brief(await take(watch, 2)) == [("ADDED", "after"), ("ADDED", "last")]
        assert brief(await take(later, 1)) == [("ADDED", "last")]

    async def test_since_continues_after_a_version(self, store: Store) -> None:
        results = [(await store.commit([CreateResource(make(f"n{n}"))]))[0] for n in range(5)]
        since = results[1].metadata.resource_version
        open_watch = store.resources.watch(GROUP, KIND)  # others being open must make no difference
        watch = store.resources.watch(GROUP, KIND, since=since)
        [last] = await store.commit([CreateResource(make("last"))])
        assert [e.resource for e in await take(watch, 4)] == [*results[2:], last]
        assert [e.resource for e in await take(open_watch, 1)] == [last]

    async def test_a_watch_from_the_version_of_a_list_continues_it(self, store: Store) -> None:
        await store.commit([CreateResource(make("a"))])
        page = await store.resources.list(GROUP, KIND)
        [b] = await store.commit([CreateResource(make("b"))])
        watch = store.resources.watch(GROUP, KIND, since=page.resource_version)
        assert await take(watch, 1) == [WatchEvent("ADDED", b)]

    async def test_an_empty_store_can_be_watched_from_its_list(self, store: Store) -> None:
        page = await store.resources.list(GROUP, KIND)
        watch = store.resources.watch(GROUP, KIND, since=page.resource_version)
        await store.commit([CreateResource(make("a"))])
        assert brief(await take(watch, 1)) == [("ADDED", "a")]

    async def test_kind_group_and_namespace_filter(self, store: Store) -> None:
        watches = {
            "a e": store.resources.watch(GROUP, KIND),
            "a": store.resources.watch(GROUP, KIND, namespace="default"),
            "b": store.resources.watch(GROUP, "Other"),
            "a b e": store.resources.watch(GROUP, ""),
            "a b c d": store.resources.watch("", "", namespace="default"),
            "a b c d e": store.resources.watch("", ""),
            "d": store.resources.watch("", KIND),
        }
        await store.commit([CreateResource(make("a")), CreateResource(make("b", kind="Other"))])
        await store.commit([CreateResource(make("c", group="x.org")), CreateResource(make("d", group=""))])
        await store.commit([CreateResource(make("e", "other"))])
        end = [CreateResource(make("end", kind=kind, group=group)) for kind in (KIND, "Other") for group in (GROUP, "")]
        await store.commit(end)
        for expected, watch in watches.items():
            seen = []
            while (name := (await take(watch, 1))[0].resource.metadata.name) != "end":
                seen.append(name)
            assert " ".join(seen) == expected

    async def test_a_commit_that_fails_shows_nothing(self, store: Store) -> None:
        watch = store.resources.watch("", "")
        with pytest.raises(NotFoundError):
            await store.commit([CreateResource(make("a")), DeleteResource(key_of("missing"))])
        await store.commit([CreateResource(make("b"))])
        assert brief(await take(watch, 1)) == [("ADDED", "b")]

    async def test_a_waiting_watch_is_woken(self, store: Store) -> None:
        watch = store.resources.watch(GROUP, KIND)
        waiting = asyncio.ensure_future(take(watch, 1))
        await asyncio.sleep(0)
        await store.commit([CreateResource(make("a"))])
        assert brief(await waiting) == [("ADDED", "a")]

    async def test_a_watch_goes_on_after_its_reader_was_cancelled(self, store: Store) -> None:
        watch = store.resources.watch(GROUP, KIND)
        waiting = asyncio.ensure_future(anext(watch))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await store.commit([CreateResource(make("a"))])
        assert brief(await take(watch, 1)) == [("ADDED", "a")]

    async def test_under_concurrent_writers_all_watchers_see_the_same_order_without_gap(self, store: Store) -> None:
        start = (await store.resources.list(GROUP, KIND)).resource_version
        watches = [store.resources.watch(GROUP, KIND) for _ in range(3)]
        collecting = [asyncio.ensure_future(take(watch, 90)) for watch in watches[:2]]

        async def write(task: int) -> None:
            [old] = await store.commit([CreateResource(make(f"t{task}"))])
            for n in range(7):
                [old] = await store.commit([UpdateResource(old.evolve(spec={"n": n}), old.metadata.resource_version)])
            await store.commit([DeleteResource(old.key)])

        await asyncio.gather(*(write(task) for task in range(10)))
        first, second = await asyncio.gather(*collecting)
        third, again = await take(watches[2], 90), await take(store.resources.watch(GROUP, KIND, since=start), 90)
        assert first == second == third == again
        versions = [int(event.resource.metadata.resource_version) for event in first]
        assert versions == sorted(set(versions))
        for task in range(10):
            own = [event for event in first if event.resource.metadata.name == f"t{task}"]
            assert [event.type for event in own] == ["ADDED", *["MODIFIED"] * 7, "DELETED"]
            assert [event.resource.spec.get("n") for event in own] == [None, *range(7), 6]

    async def test_history_that_is_gone_is_expired(self, store: Store) -> None:
        if self.history is None:
            pytest.skip("this store keeps all history")
        [old] = await store.commit([CreateResource(make("a"))])
        [quiet] = await store.commit([CreateResource(make("quiet", n=1))])
        slow = store.resources.watch(GROUP, KIND, since=old.metadata.resource_version)
        for _ in range(self.history):
            await store.commit([UpdateResource(old)] * 5)
        with pytest.raises(ExpiredError):
            await take(store.resources.watch(GROUP, KIND, since=old.metadata.resource_version), 1)
        # One that was open all the time has what it has seen, then the same error or all of it; never a gap.
        seen = 0
        try:
            while seen < 5 * self.history:
                [event] = await take(slow, 1)
                seen += 1
                assert int(event.resource.metadata.resource_version) == int(old.metadata.resource_version) + seen
        except ExpiredError:
            pass
        assert await store.resources.get(quiet.key) == quiet
        page = await store.resources.list(GROUP, KIND)
        recent = store.resources.watch(GROUP, KIND, since=page.resource_version)
        await store.commit([DeleteResource(quiet.key)])
        assert brief(await take(recent, 1)) == [("DELETED", "quiet")]

    async def test_at_least_the_promised_history_is_kept(self, store: Store) -> None:
        count = self.history or 100
        [old] = await store.commit([CreateResource(make("a"))])
        versions = [(await store.commit([UpdateResource(old)]))[0].metadata.resource_version for _ in range(5 * count)]
        watch = store.resources.watch(GROUP, KIND, since=versions[-count])
        events = await take(watch, count - 1)
        assert [event.resource.metadata.resource_version for event in events] == versions[1 - count :]

    async def test_a_version_of_the_future_or_of_another_store_is_expired(self, store: Store) -> None:
        await store.commit([CreateResource(make("a"))])
        for since in ("999999999", "not-a-number"):
            with pytest.raises(ExpiredError):
                await take(store.resources.watch(GROUP, KIND, since=since), 1)

    async def test_closing_the_store_ends_watches(self, store: Store) -> None:
        watches = [store.resources.watch(GROUP, KIND), store.journal.watch_signals(), store.state.watch_state("s")]

        async def drain(watch: object) -> list[object]:
            return [item async for item in watch]  # type: ignore[attr-defined]

        waiting = [asyncio.ensure_future(drain(watch)) for watch in watches]
        await asyncio.sleep(0)
        await store.aclose()
        assert await asyncio.wait_for(asyncio.gather(*waiting), 10) == [[], [], []]

    # ------------------------------------------------------------------------------------- signals and state

    async def test_signals_are_seen_from_the_moment_of_the_call(self, store: Store) -> None:
        await store.commit([SendSignal("r1", "early")])
        watch = store.journal.watch_signals()
        await store.commit([SendSignal("r1", "go", {"n": 1}, "id1"), SendSignal("r2", "go", signal_id="id1")])
        await store.commit([SendSignal("r1", "go", {"n": 2}, "id1")])
        await store.commit([SendSignal("r1", "last")])
        seen = await take(watch, 3)
        assert [(s.run, s.name, s.payload, s.signal_id) for s in seen] == [
            ("r1", "go", {"n": 1}, "id1"),
            ("r2", "go", None, "id1"),
            ("r1", "last", None, ""),
        ]
        assert [s.seq for s in seen] == sorted({s.seq for s in seen})

    async def test_a_state_watch_shows_the_whole_state_after_changes(self, store: Store) -> None:
        await store.state.set_value("s", "a", 1)
        watch = store.state.watch_state("s")
        await store.state.set_value("other", "x", 1)
        await store.state.set_value("s", "b", 2)
        assert await take(watch, 1) == [{"a": 1, "b": 2}]
        await store.commit([SetState("s", {"a": None, "b": None})])
        assert await take(watch, 1) == [{}]
        await store.state.set_value("s", "c", 3)
        assert await take(watch, 1) == [{"c": 3}]

    async def test_changes_of_state_in_quick_succession_may_be_one_but_the_last_is_seen(self, store: Store) -> None:
        watch = store.state.watch_state("s")
        for n in range(20):
            await store.state.set_value("s", "n", n)
        [state] = await take(watch, 1)
        while state != {"n": 19}:
            [state] = await take(watch, 1)

    # ------------------------------------------------------------------------------------- two stores, one data

    async def test_a_second_store_on_the_same_data_sees_writes_and_events_in_order(
        self, store: Store, request: pytest.FixtureRequest
    ) -> None:
        if not self.shared:
            pytest.skip("this store is not shared")
        reopen: Reopen = request.getfixturevalue("reopen")
        other = await reopen()
        try:
            here, there = store.resources.watch(GROUP, KIND), other.resources.watch(GROUP, KIND)
            signals, state = other.journal.watch_signals(), other.state.watch_state("s")
            collecting = asyncio.gather(take(here, 60), take(there, 60), take(signals, 1), take(state, 1))

            async def write(target: Store, prefix: str) -> None:
                for n in range(10):
                    [made] = await target.commit([CreateResource(make(f"{prefix}{n}"))])
                    [made] = await target.commit([UpdateResource(made)])
                    await target.commit([DeleteResource(made.key)])

            await asyncio.gather(write(store, "a"), write(other, "b"))
            await store.commit([SendSignal("r", "go"), SetState("s", {"k": 1})])
            seen_here, seen_there, [signal], [values] = await collecting
            assert seen_here == seen_there
            versions = [int(event.resource.metadata.resource_version) for event in seen_here]
            assert versions == sorted(set(versions))
            assert signal.name == "go"
            assert values == {"k": 1}
            [made] = await other.commit([CreateResource(make("read"))])
            assert await store.resources.get(made.key) == made
        finally:
            await other.aclose()
