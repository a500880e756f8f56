"""The contract of resources: writes, conditions, atomicity, reads, lists."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import pytest

from kastra_core.api.meta import ManagedFields
from kastra_core.api.selectors import FieldSelector, LabelSelector
from kastra_core.errors import AlreadyExistsError, ConflictError, ExpiredError, NotFoundError, UserError
from kastra_core.protocols.store import (
    AppendMessages,
    CreateResource,
    DeleteResource,
    DeleteThread,
    PutBlob,
    SetState,
    Store,
    UpdateResource,
)
from kastra_core.testing._store_tools import GROUP, KIND, Cases, key_of, make

__all__ = ["ResourceCases"]


async def names(store: Store, group: str = GROUP, kind: str = KIND, **arguments: Any) -> list[str]:
    return [item.metadata.name for item in (await store.resources.list(group, kind, **arguments)).items]


class ResourceCases(Cases):
    # ------------------------------------------------------------------------------------------------- writes

    async def test_what_is_created_is_read_back_whole(self, store: Store) -> None:
        new = make("a", owners=("o1",), labels={"app": "kitchen"}, text="Grüße 你好 \u0000\U0001f600", n=[1, 2.5, None])
        new = new.evolve(
            annotations={"note": "x"},
            finalizers=("f/1",),
            creation_timestamp="2026-01-01T00:00:00Z",
            deletion_timestamp="2026-01-02T00:00:00Z",
            managed_fields=(ManagedFields(manager="m", fields={"spec": {}}),),
            status={"phase": "Running"},
            extra={"data": {"k": "v"}},
        )
        [created] = await store.commit([CreateResource(new)])
        read = await store.resources.get(new.key)
        assert read == created == new.evolve(resource_version=created.metadata.resource_version)

    async def test_versions_are_decimal_and_grow_with_every_write_of_the_store(self, store: Store) -> None:
        [a, b] = await store.commit([CreateResource(make("a")), CreateResource(make("b", kind="Other"))])
        [c] = await store.commit([UpdateResource(a.evolve(spec={"n": 1}))])
        [d] = await store.commit([DeleteResource(b.key)])
        versions = [int(r.metadata.resource_version) for r in (a, b, c, d)]
        assert versions == sorted(set(versions))

    async def test_creating_twice_is_refused(self, store: Store) -> None:
        await store.commit([CreateResource(make("a", n=1))])
        with pytest.raises(AlreadyExistsError):
            await store.commit([CreateResource(make("a", n=2))])
        found = await store.resources.get(key_of("a"))
        assert found is not None
        assert found.spec == {"n": 1}

    async def test_versions_of_a_kind_share_a_name_but_groups_and_namespaces_do_not(self, store: Store) -> None:
        first = make("a")
        await store.commit([CreateResource(first), CreateResource(make("a", "other")), CreateResource(make("a", ""))])
        await store.commit([CreateResource(make("a", group="")), CreateResource(make("a", kind="Other"))])
        with pytest.raises(AlreadyExistsError):
            await store.commit([CreateResource(make("a").evolve(api_version=f"{GROUP}/v2"))])
        assert await store.resources.get(first.key) is not None

    async def test_an_update_replaces_the_resource_whole(self, store: Store) -> None:
        [old] = await store.commit([CreateResource(make("a", labels={"x": "1"}, status={"s": 1}, n=1))])
        new = old.evolve(labels={}, spec={"m": 2}, status={})
        [updated] = await store.commit([UpdateResource(new, old.metadata.resource_version)])
        assert updated == new.evolve(resource_version=updated.metadata.resource_version)
        assert await store.resources.get(old.key) == updated

    async def test_an_update_without_condition_needs_no_version(self, store: Store) -> None:
        [old] = await store.commit([CreateResource(make("a"))])
        await store.commit([UpdateResource(old.evolve(spec={"n": 1}))])
        [last] = await store.commit([UpdateResource(old.evolve(spec={"n": 2}))])
        assert last.spec == {"n": 2}

    async def test_an_update_of_an_older_state_is_a_conflict(self, store: Store) -> None:
        [old] = await store.commit([CreateResource(make("a"))])
        await store.commit([UpdateResource(old.evolve(spec={"n": 1}))])
        with pytest.raises(ConflictError):
            await store.commit([UpdateResource(old.evolve(spec={"n": 2}), old.metadata.resource_version)])

    async def test_an_update_of_another_incarnation_is_a_conflict(self, store: Store) -> None:
        [old] = await store.commit([CreateResource(make("a"))])
        await store.commit([DeleteResource(old.key), CreateResource(make("a"))])
        with pytest.raises(ConflictError):
            await store.commit([UpdateResource(old)])

    async def test_updating_or_deleting_what_is_not_there_is_not_found(self, store: Store) -> None:
        for operation in (UpdateResource(make("a")), DeleteResource(key_of("a")), UpdateResource(make("a"), "1")):
            with pytest.raises(NotFoundError):
                await store.commit([operation])

    async def test_a_delete_gives_the_last_state_and_its_own_version(self, store: Store) -> None:
        [old] = await store.commit([CreateResource(make("a", n=1))])
        [gone] = await store.commit([DeleteResource(old.key, old.metadata.uid, old.metadata.resource_version)])
        assert gone == old.evolve(resource_version=gone.metadata.resource_version)
        assert int(gone.metadata.resource_version) > int(old.metadata.resource_version)
        assert await store.resources.get(old.key) is None

    async def test_a_delete_whose_condition_fails_is_a_conflict(self, store: Store) -> None:
        [old] = await store.commit([CreateResource(make("a"))])
        for operation in (DeleteResource(old.key, uid="another"), DeleteResource(old.key, expected="999999")):
            with pytest.raises(ConflictError):
                await store.commit([operation])
        assert await store.resources.get(old.key) == old

    async def test_what_cannot_be_json_is_a_type_error_and_nothing_is_done(self, store: Store) -> None:
        with pytest.raises(TypeError):
            await store.commit([CreateResource(make("a")), CreateResource(make("b", n=object()))])
        with pytest.raises(TypeError):
            await store.commit([CreateResource(make("a")), "no operation"])  # type: ignore[list-item]
        assert await names(store) == []

    async def test_a_later_change_of_the_callers_data_does_not_reach_the_store(self, store: Store) -> None:
        spec = {"list": [1]}
        await store.commit([CreateResource(make("a").evolve(spec=spec))])
        spec["list"].append(2)
        found = await store.resources.get(key_of("a"))
        assert found is not None
        assert found.spec == {"list": [1]}

    # ------------------------------------------------------------------------------------------------- atomicity

    async def test_an_empty_commit_does_nothing(self, store: Store) -> None:
        assert await store.commit([]) == []

    async def test_results_come_in_the_order_of_the_operations(self, store: Store) -> None:
        results = await store.commit(
            [
                CreateResource(make("a")),
                SetState("s", {"k": 1}),
                AppendMessages("default", "t", [{"n": 1}, {"n": 2}]),
                PutBlob(b"x"),
                DeleteThread("default", "missing"),
            ]
        )
        assert results[0].metadata.name == "a"
        assert results[1:3] == [None, 2]
        assert results[3].startswith("sha256:")
        assert results[4] is False

    async def test_operations_of_a_commit_see_those_before_them(self, store: Store) -> None:
        new = make("a")
        [_, updated, gone, again] = await store.commit(
            [
                CreateResource(new),
                UpdateResource(new.evolve(spec={"n": 1})),
                DeleteResource(new.key),
                CreateResource(make("a", n=2)),
            ]
        )
        assert updated.spec == gone.spec == {"n": 1}
        assert await store.resources.get(new.key) == again

    async def test_a_commit_that_fails_leaves_nothing(self, store: Store) -> None:
        [kept, owned] = await store.commit([CreateResource(make("kept")), CreateResource(make("owned", owners=("u",)))])
        before = (await store.resources.list(GROUP, KIND)).resource_version
        with pytest.raises(NotFoundError):
            await store.commit(
                [
                    CreateResource(make("new", owners=("u",))),
                    CreateResource(make("first", kind="NewKind")),
                    UpdateResource(kept.evolve(spec={"n": 1})),
                    DeleteResource(owned.key),
                    SetState("s", {"k": 1}),
                    AppendMessages("default", "t", [{"n": 1}]),
                    PutBlob(b"lost"),
                    DeleteResource(key_of("missing")),
                ]
            )
        page = await store.resources.list(GROUP, KIND)
        assert page.items == (kept, owned)
        assert page.resource_version == before
        assert await names(store, owner_uid="u") == ["owned"]
        assert await store.resources.counts() == {(GROUP, KIND): 2}
        assert await store.state.get_state("s") == {}
        assert await store.threads.last_seq("default", "t") == 0
        assert not await store.blobs.has(f"sha256:{hashlib.sha256(b'lost').hexdigest()}")

    async def test_concurrent_commits_do_not_share_their_failures(self, store: Store) -> None:
        async def one(n: int) -> Any:
            operations: list[Any] = [CreateResource(make(f"n{n:02}")), SetState("s", {f"k{n:02}": n})]
            if n % 3 == 0:
                operations.append(DeleteResource(key_of("missing")))
            if n % 5 == 0:
                operations.insert(0, DeleteResource(key_of("missing")))
            return await store.commit(operations)

        results = await asyncio.gather(*(one(n) for n in range(40)), return_exceptions=True)
        good = [n for n in range(40) if n % 3 and n % 5]
        assert [n for n, result in enumerate(results) if isinstance(result, list)] == good
        assert all(isinstance(result, (list, NotFoundError)) for result in results)
        assert await names(store) == [f"n{n:02}" for n in good]
        assert await store.state.get_state("s") == {f"k{n:02}": n for n in good}

    async def test_of_writers_with_the_same_condition_one_wins(self, store: Store) -> None:
        [old] = await store.commit([CreateResource(make("a"))])

        async def one(n: int) -> Any:
            return await store.commit([UpdateResource(old.evolve(spec={"n": n}), old.metadata.resource_version)])

        results = await asyncio.gather(*(one(n) for n in range(20)), return_exceptions=True)
        won = [result for result in results if isinstance(result, list)]
        assert len(won) == 1
        assert sum(isinstance(result, ConflictError) for result in results) == 19
        assert await store.resources.get(old.key) == won[0][0]

    async def test_no_increment_is_lost_among_tasks_that_retry(self, store: Store) -> None:
        await store.commit([CreateResource(make("a", n=0))])

        async def increment() -> None:
            done = 0
            while done < 5:
                old = await store.resources.get(key_of("a"))
                assert old is not None
                try:
                    await store.commit(
                        [UpdateResource(old.evolve(spec={"n": old.spec["n"] + 1}), old.metadata.resource_version)]
                    )
                except ConflictError:
                    continue
                done += 1

        await asyncio.gather(*(increment() for _ in range(8)))
        found = await store.resources.get(key_of("a"))
        assert found is not None
        assert found.spec == {"n": 40}

    async def test_a_commit_whose_task_is_cancelled_is_whole_or_absent(self, store: Store) -> None:
        tasks = [
            asyncio.ensure_future(store.commit([CreateResource(make(f"{part}{n}")) for part in "ab"]))
            for n in range(10)
        ]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        found = await names(store)
        assert {f"{part}{n}" for n in range(1, 10, 2) for part in "ab"} <= set(found)
        assert all((f"a{n}" in found) == (f"b{n}" in found) for n in range(10))

    # ------------------------------------------------------------------------------------------------- reads

    async def test_reads_find_what_is_there(self, store: Store) -> None:
        [a, b] = await store.commit([CreateResource(make("a")), CreateResource(make("b", kind="Other"))])
        assert await store.resources.get(key_of("missing")) is None
        assert await store.resources.get(key_of("a", kind="Never")) is None
        assert await store.resources.get_many([a.key, b.key, key_of("missing")]) == {a.key: a, b.key: b}
        assert await store.resources.counts() == {(GROUP, KIND): 1, (GROUP, "Other"): 1}
        await store.commit([DeleteResource(b.key)])
        assert await store.resources.counts() == {(GROUP, KIND): 1}

    async def test_a_list_is_ordered_by_namespace_and_name(self, store: Store) -> None:
        places = [("b", "1"), ("a", "2"), ("a", "10"), ("", "z"), ("a", "Ä"), ("a", "~")]
        await store.commit([CreateResource(make(name, namespace)) for namespace, name in places])
        await store.commit([CreateResource(make("x", "a", kind="Other"))])
        page = await store.resources.list(GROUP, KIND)
        assert [(r.metadata.namespace, r.metadata.name) for r in page.items] == sorted(places)
        assert page.continue_token == ""
        assert await names(store, namespace="b") == ["1"]
        assert await names(store, namespace="nowhere") == []
        assert await names(store, kind="Never") == []

    async def test_an_empty_kind_lists_all_kinds(self, store: Store) -> None:
        await store.commit([CreateResource(make("b")), CreateResource(make("a", kind="Other"))])
        await store.commit([CreateResource(make("c", group="x.org")), CreateResource(make("d", group=""))])
        assert await names(store, "", "") == ["a", "b", "c", "d"]
        assert await names(store, GROUP, "") == ["a", "b"]
        assert await names(store, "", KIND) == ["d"]

    async def test_label_selectors_choose(self, store: Store) -> None:
        labels: dict[str, dict[str, str] | None] = {
            "a": {"app": "x", "tier": "web"},
            "b": {"app": "y", 'q"k': "1"},
            "c": None,
            "d": {"example.org/app": "x", "app": ""},
        }
        await store.commit([CreateResource(make(name, labels=value)) for name, value in labels.items()])
        for text, expected in {
            "app=x": "a",
            "app!=x": "bcd",
            "app in (x,y)": "ab",
            "app notin (x,y)": "cd",
            "app": "abd",
            "!app": "c",
            "example.org/app=x": "d",
            "app=x,tier=web": "a",
            "app=x,!tier": "",
            "app=": "d",
        }.items():
            assert "".join(await names(store, labels=LabelSelector.parse(text))) == expected, text

    async def test_field_selectors_choose(self, store: Store) -> None:
        statuses: dict[str, dict[str, Any]] = {
            "a": {"phase": "Running", "ready": True, "n": 5},
            "b": {"phase": "Done", "ready": False},
            "c": {},
        }
        await store.commit([CreateResource(make(name, status=value)) for name, value in statuses.items()])
        for text, expected in {
            "status.phase=Running": "a",
            "status.phase!=Running": "bc",
            "status.ready=true": "a",
            "status.n=5": "a",
            "status.phase=": "c",
            "metadata.name=b": "b",
            "metadata.namespace=default,metadata.name!=b": "ac",
            "status.phase=Gone": "",
        }.items():
            assert "".join(await names(store, fields=FieldSelector.parse(text))) == expected, text

    async def test_dependents_are_found_by_the_uid_of_their_owner(self, store: Store) -> None:
        [a, b, _] = await store.commit(
            [
                CreateResource(make("a", owners=("u1",))),
                CreateResource(make("b", owners=("u1", "u2"), kind="Other")),
                CreateResource(make("c")),
            ]
        )
        assert await names(store, "", "", owner_uid="u1") == ["a", "b"]
        assert await names(store, owner_uid="u1") == ["a"]
        assert await names(store, "", "", owner_uid="u2", namespace="default") == ["b"]
        await store.commit([UpdateResource(a.evolve(owner_references=())), DeleteResource(b.key)])
        assert await names(store, "", "", owner_uid="u1") == []

    async def test_pages_show_everything_once(self, store: Store) -> None:
        keys = [(f"ns{n % 3}", f"n{n:02}") for n in range(25)]
        await store.commit(
            [CreateResource(make(name, ns, labels={"odd": str(int(name[1:]) % 2)})) for ns, name in keys]
        )
        for arguments, expected in (
            ({}, sorted(keys)),
            ({"namespace": "ns1"}, sorted(key for key in keys if key[0] == "ns1")),
            ({"labels": LabelSelector.parse("odd=1")}, sorted(key for key in keys if int(key[1][1:]) % 2)),
        ):
            for group, kind in ((GROUP, KIND), ("", "")):
                seen, token, pages = [], "", 0
                while True:
                    page = await store.resources.list(group, kind, limit=4, continue_token=token, **arguments)
                    seen += [(r.metadata.namespace, r.metadata.name) for r in page.items]
                    pages, token = pages + 1, page.continue_token
                    if not token:
                        break
                    assert len(page.items) == 4
                assert seen == expected
                assert pages == -(-len(expected) // 4)

    async def test_later_pages_keep_the_first_ones_version_so_a_watch_from_it_misses_nothing(
        self, store: Store
    ) -> None:
        await store.commit([CreateResource(make(f"n{n}")) for n in range(6)])
        first = await store.resources.list(GROUP, KIND, limit=3)
        [gone] = await store.commit([DeleteResource(key_of("n4"))])
        rest = await store.resources.list(GROUP, KIND, limit=3, continue_token=first.continue_token)
        assert [r.metadata.name for r in rest.items if r.metadata.name != "n4"] == ["n3", "n5"]
        assert rest.resource_version == first.resource_version
        event = await anext(store.resources.watch(GROUP, KIND, since=first.resource_version))
        assert event.resource == gone

    async def test_a_page_that_is_too_old_to_go_on_is_expired(self, store: Store) -> None:
        if self.history is None:
            pytest.skip("this store keeps all history")
        [a, *_] = await store.commit([CreateResource(make(f"n{n}")) for n in range(6)])
        first = await store.resources.list(GROUP, KIND, limit=3)
        for _ in range(10):
            for _ in range(self.history // 10 + 1):
                await store.commit([UpdateResource(a)] * 5)
        with pytest.raises(ExpiredError):
            await store.resources.list(GROUP, KIND, limit=3, continue_token=first.continue_token)

    async def test_a_garbled_continue_token_is_the_users_error(self, store: Store) -> None:
        for token in ("x", "W10=", "bm8="):
            with pytest.raises(UserError):
                await store.resources.list(GROUP, KIND, continue_token=token)

    async def test_a_long_list_is_of_one_moment(self, store: Store) -> None:
        await store.commit([CreateResource(make(f"n{n:04}", v=0)) for n in range(1500)])
        old = {r.metadata.name: r for r in (await store.resources.list(GROUP, KIND)).items}

        async def write() -> None:
            for v in range(1, 6):
                await store.commit([UpdateResource(r.evolve(spec={"v": v})) for r in old.values()])

        writing = asyncio.ensure_future(write())
        seen = set()
        while not writing.done():
            page = await store.resources.list(GROUP, KIND)
            assert len(page.items) == 1500
            assert len({r.spec["v"] for r in page.items}) == 1
            assert max(int(r.metadata.resource_version) for r in page.items) <= int(page.resource_version)
            seen.add(page.items[0].spec["v"])
            await asyncio.sleep(0)
        await writing
        assert seen <= set(range(6))
