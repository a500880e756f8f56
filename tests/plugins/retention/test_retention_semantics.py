"""What a pass removes and what it leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kastra_core.api.meta import ResourceKey, condition_of
from kastra_core.memory_store import MemoryStore
from kastra_core.protocols.store import (
    AppendMessages,
    ClaimRun,
    Operation,
    PutBlob,
    SetState,
    UpdateResource,
    UpsertVectors,
    thread_holder,
)
from kastra_plugin_retention.enforcement import Pass

DAY_S = 86400.0


async def test_a_finished_run_goes_when_it_is_old(world: Any) -> None:
    await world.run("old", age_s=8 * DAY_S)
    await world.run("young", age_s=6 * DAY_S)
    status = await world.enforce(runs=[{"ttl": "7d"}])
    assert await world.names() == ["young"]
    assert status["lastRun"]["removed"] == {"runs": 1}
    assert status["remaining"] == {"runs": 1}


async def test_a_run_goes_with_its_journal_its_signals_and_its_blobs(world: Any) -> None:
    run = await world.run("old", age_s=8 * DAY_S, blob=b"big")
    digest = (await world.store.commit([PutBlob(b"big", run.metadata.uid)]))[0]
    await world.enforce(runs=[{"ttl": "7d"}])
    journal = world.store.journal
    assert not await journal.records(run.metadata.uid)
    assert not await journal.signals(run.metadata.uid)
    assert not await world.store.blobs.has(digest)


async def test_runs_that_are_not_over_stay_whatever_their_age(world: Any) -> None:
    for phase in ("Pending", "Running", "Suspended"):
        await world.run(phase.lower(), phase, age_s=999 * DAY_S)
    await world.enforce(runs=[{"ttl": "1s", "maxCount": 1}])
    assert await world.names() == ["pending", "running", "suspended"]


async def test_the_newest_runs_are_kept_in_each_namespace(world: Any) -> None:
    for number in range(5):
        await world.run(f"r{number}", age_s=100 * number)
        await world.run(f"r{number}", age_s=100 * number, namespace="other")
    status = await world.enforce(runs=[{"maxCount": 2}])
    assert await world.names(namespace="default") == ["r0", "r1"]
    assert await world.names(namespace="other") == ["r0", "r1"]
    assert status["remaining"] == {"runs": 4}


async def test_a_rule_is_about_its_phases_labels_and_namespaces_only(world: Any) -> None:
    old = 9 * DAY_S
    await world.run("a", age_s=old, labels={"app": "x"})
    await world.run("b", age_s=old, labels={"app": "y"})
    await world.run("c", "Failed", age_s=old, labels={"app": "x"})
    await world.run("d", age_s=old, labels={"app": "x"}, namespace="other")
    rule = {"phases": ["Succeeded"], "selector": {"matchLabels": {"app": "x"}}, "ttl": "7d"}
    await world.enforce(namespaces=["default"], runs=[rule])
    assert await world.names() == ["b", "c", "d"]


async def test_a_run_goes_when_any_of_several_policies_says_so(world: Any) -> None:
    await world.run("old", age_s=5 * DAY_S)
    await world.run("young", age_s=DAY_S)
    await world.enforce("long", runs=[{"ttl": "30d"}])
    assert await world.names() == ["old", "young"]
    await world.enforce("short", runs=[{"ttl": "2d"}])
    assert await world.names() == ["young"]


async def test_children_stay_while_the_run_that_called_them_is_not_over(world: Any) -> None:
    parent = await world.run("parent", "Suspended", age_s=9 * DAY_S)
    child = await world.run("parent-child", age_s=9 * DAY_S, parent=parent)
    await world.run("parent-child-child", age_s=9 * DAY_S, parent=child)
    status = await world.enforce(runs=[{"ttl": "1d"}])
    assert len(await world.names()) == 3
    assert status["lastRun"]["inUse"] == 2


async def test_a_run_stays_while_one_that_it_called_is_not_over(world: Any) -> None:
    parent = await world.run("parent", "Cancelled", age_s=9 * DAY_S)
    await world.run("parent-child", "Running", parent=parent)
    await world.enforce(runs=[{"ttl": "1d"}])
    assert await world.names() == ["parent", "parent-child"]


async def test_a_run_takes_along_what_it_called(world: Any) -> None:
    parent = await world.run("parent", age_s=9 * DAY_S)
    await world.run("a-child", "Failed", age_s=9 * DAY_S, parent=parent)
    await world.run("z-child", "Failed", age_s=9 * DAY_S, parent=parent)
    status = await world.enforce(runs=[{"phases": ["Succeeded"], "ttl": "1d"}])
    assert await world.names() == []
    assert status["lastRun"]["removed"] == {"runs": 3}
    assert status["remaining"] == {"runs": 0}


async def test_a_run_with_a_claim_stays_although_its_phase_says_that_it_is_over(world: Any) -> None:
    run = await world.run("claimed", age_s=9 * DAY_S)
    await world.store.commit([ClaimRun(run.metadata.uid, run.key, "worker/2")])
    await world.enforce(runs=[{"ttl": "1d"}])
    assert await world.names() == ["claimed"]


async def test_a_run_whose_end_cannot_be_read_stays(world: Any) -> None:
    run = await world.run("odd", age_s=9 * DAY_S)
    odd = run.evolve(creation_timestamp="yesterday", status={"phase": "Succeeded", "finishedAt": "soon"})
    await world.store.commit([UpdateResource(odd)])
    status = await world.enforce(runs=[{"ttl": "1d", "maxCount": 1}])
    assert await world.names() == ["odd"]
    assert status["remaining"] == {"runs": 1}


async def test_a_finalizer_is_honoured_told_and_does_not_stop_the_rest(world: Any) -> None:
    await world.run("held", age_s=9 * DAY_S, finalizers=("acme.example/archive",))
    await world.run("old", age_s=9 * DAY_S)
    status = await world.enforce(runs=[{"ttl": "1d"}])
    assert await world.names() == ["held"]
    held = await world.client.require(ResourceKey("mastra.ai", "Run", "default", "held"))
    assert held.metadata.deletion_timestamp
    policy = await world.client.require(ResourceKey("mastra.ai", "RetentionPolicy", "", "default"))
    enforced = condition_of(policy, "Enforced")
    assert enforced is not None
    assert (enforced["status"], enforced["reason"]) == ("False", "NotRemoved")
    assert "Run default/held is held by the finalizer acme.example/archive" in enforced["message"]
    assert status["lastRun"]["failed"] == 1
    assert [item[2] for item in world.runtime.events.items] == ["NotRemoved", "Removed"]


async def test_the_failure_of_one_removal_does_not_stop_the_rest(world: Any, monkeypatch: Any) -> None:
    for name in ("a", "b", "c"):
        await world.run(name, age_s=9 * DAY_S)
    delete = world.client.delete

    async def fails_for_b(key: ResourceKey, **options: Any) -> Any:
        if key.name == "b":
            raise ValueError("out of luck")
        return await delete(key, **options)

    monkeypatch.setattr(world.client, "delete", fails_for_b)
    status = await world.enforce(runs=[{"ttl": "1d"}])
    assert await world.names() == ["b"]
    assert status["lastRun"]["failed"] == 1
    monkeypatch.undo()
    world.clock.advance(601)
    await world.reconcile()
    assert await world.names() == []
    assert (await world.status())["conditions"][1]["status"] == "True"


async def test_a_run_that_was_written_since_it_was_looked_at_stays_until_the_next_pass(
    world: Any, monkeypatch: Any
) -> None:
    run = await world.run("old", age_s=9 * DAY_S)
    delete = world.client.delete

    async def somebody_is_quicker(key: ResourceKey, **options: Any) -> Any:
        await world.client.update(run.evolve(labels={"keep": "me"}, resource_version=""))
        return await delete(key, **options)

    monkeypatch.setattr(world.client, "delete", somebody_is_quicker)
    status = await world.enforce(runs=[{"ttl": "1d"}])
    assert await world.names() == ["old"]
    assert status["lastRun"]["failed"] == 0


async def test_events_go_when_they_are_old_or_too_many(world: Any) -> None:
    for number in range(6):
        await world.event(f"e{number}", age_s=number * 600)
    await world.event("x", age_s=3000, namespace="other")
    status = await world.enforce(events={"ttl": "2000s", "maxCount": 2})
    assert await world.names("Event") == ["e0", "e1"]
    assert (status["lastRun"]["removed"], status["remaining"]) == ({"events": 5}, {"events": 2})


async def test_threads_go_with_their_messages_when_they_are_old_or_too_many(world: Any) -> None:
    for number in range(5):
        await world.thread(f"t{number}", age_s=number * DAY_S, messages=3)
    await world.thread("old", age_s=99 * DAY_S, namespace="other")
    status = await world.enforce(threads={"ttl": "90d", "maxCount": 2})
    assert await world.threads() == ["t0", "t1"]
    assert list(await world.store.threads.messages("default", "t4")) == []
    assert status["remaining"] == {"threads": 2}


async def test_a_thread_goes_with_its_state_vectors_and_blobs_and_leaves_those_of_others(world: Any) -> None:
    store, digests = world.store, {}
    for name, age_s in (("old", 99 * DAY_S), ("new", 0.0)):
        await world.thread(name, age_s=age_s)
        holder = thread_holder("default", name)
        digests[name] = (
            await store.commit(
                [
                    PutBlob(name.encode(), holder),
                    SetState(f"{holder}/network/default/n", {"k": name}),
                    UpsertVectors("memory/p/m", ((name, (1.0, 0.0), {"thread": name}),), holder),
                ]
            )
        )[0]
    await world.enforce(threads={"ttl": "90d"})
    assert [match.id for match in await store.vectors.query("memory/p/m", (1.0, 0.0))] == ["new"]
    assert [await store.blobs.has(digests[name]) for name in ("old", "new")] == [False, True]
    states = [await store.state.get_state(f"{thread_holder('default', n)}/network/default/n") for n in ("old", "new")]
    assert states == [{}, {"k": "new"}]


async def test_a_run_goes_with_the_state_that_it_shared(world: Any) -> None:
    run = await world.run("a", age_s=99 * DAY_S)
    scope = f"run/{run.metadata.uid}"
    await world.store.state.set_value(scope, "k", 1)
    await world.enforce(runs=[{"ttl": "90d"}])
    assert await world.store.state.get_state(scope) == {}


async def test_a_thread_that_an_unfinished_run_names_stays(world: Any) -> None:
    for name in ("running", "suspended", "over"):
        await world.thread(name, age_s=99 * DAY_S)
    await world.run("a", "Running", thread="running")
    await world.run("b", "Suspended", thread="suspended")
    await world.run("c", "Succeeded", thread="over")
    status = await world.enforce(threads={"ttl": "90d"})
    assert await world.threads() == ["running", "suspended"]
    assert status["lastRun"]["inUse"] == 2


async def test_a_thread_of_the_same_name_in_another_namespace_is_another_thread(world: Any) -> None:
    await world.thread("dinner", age_s=99 * DAY_S)
    await world.run("a", "Running", thread="dinner", namespace="other")
    await world.enforce(threads={"ttl": "90d"})
    assert await world.threads() == []


async def test_a_thread_that_is_written_to_at_the_last_moment_stays_whole(world: Any, monkeypatch: Any) -> None:
    await world.thread("t", age_s=99 * DAY_S)
    kind: Any = type(world.store)
    commit = kind.commit

    async def a_message_comes_first(store: Any, operations: list[Operation]) -> Any:
        if any(isinstance(operation, AppendMessages) and not operation.messages for operation in operations):
            await commit(store, [AppendMessages("default", "t", ({"role": "user"},))])
        return await commit(store, operations)

    monkeypatch.setattr(kind, "commit", a_message_comes_first)
    status = await world.enforce(threads={"ttl": "90d"})
    assert len(await world.store.threads.messages("default", "t")) == 2
    assert status["remaining"] == {"threads": 1}


async def test_a_run_that_begins_while_threads_go_keeps_its_thread(world: Any, monkeypatch: Any) -> None:
    for number in range(100):
        await world.thread(f"t{number:03}", age_s=99 * DAY_S)
    original = Pass._remove_thread
    begun: list[Any] = []

    async def first_a_run_begins(self: Pass, info: Any) -> int:
        if not begun:
            begun.append("late")  # others come here while it is made
            await world.run("late", "Running", thread="t099")
        return await original(self, info)

    monkeypatch.setattr(Pass, "_remove_thread", first_a_run_begins)
    await world.enforce(threads={"ttl": "90d"})
    assert await world.threads() == ["t099"]


async def test_a_dry_run_says_what_would_go_and_removes_nothing(world: Any) -> None:
    parent = await world.run("parent", age_s=9 * DAY_S)
    await world.run("a-child", age_s=9 * DAY_S, parent=parent)
    await world.run("z-child", "Failed", age_s=0, parent=parent)
    await world.run("busy", "Running")
    await world.event("e", age_s=9999)
    await world.thread("t", age_s=99 * DAY_S)
    before = (await world.names(), await world.names("Event"), await world.threads())
    policy = {"runs": [{"ttl": "1d"}, {"maxCount": 1}], "events": {"ttl": "1h"}, "threads": {"ttl": "90d"}}
    status = await world.enforce(dryRun=True, **policy)
    assert (await world.names(), await world.names("Event"), await world.threads()) == before
    assert status["lastRun"]["wouldRemove"] == {"runs": 3, "threads": 1, "events": 1}
    assert status["removed"]["total"] == 0
    status = await world.enforce(**policy)
    assert status["lastRun"]["removed"] == {"runs": 3, "threads": 1, "events": 1}


async def test_more_than_the_store_remembers_goes_in_one_pass(new_world: Callable[[], Any]) -> None:
    empty = new_world()
    world = type(empty)(MemoryStore(clock=empty.clock, history=50), empty.clock)
    for number in range(700):
        await world.run(f"r{number:04}", age_s=number)
    status = await world.enforce(runs=[{"maxCount": 200}])
    assert await world.names() == [f"r{number:04}" for number in range(200)]
    assert (status["lastRun"]["removed"], status["remaining"]) == ({"runs": 500}, {"runs": 200})


# ------------------------------------------------------------------------------------------------- any set of things

_RULES = st.fixed_dictionaries(
    {},
    optional={
        "ttl": st.integers(1, 60),
        "maxCount": st.integers(1, 4),
        "phases": st.lists(st.sampled_from(["Succeeded", "Failed", "Cancelled"]), min_size=1, unique=True),
        "selector": st.just({"matchLabels": {"app": "x"}}),
    },
).filter(lambda rule: "ttl" in rule or "maxCount" in rule)
_RUNS = st.lists(
    st.tuples(
        st.sampled_from(["Succeeded", "Failed", "Cancelled", "Running", "Suspended"]),
        st.integers(0, 80),  # seconds since its end
        st.sampled_from(["default", "other"]),
        st.booleans(),  # app=x
        st.integers(0, 12),  # the run that called it, when that is an earlier one of its namespace
        st.sampled_from(["", "t0", "t1"]),
    ),
    max_size=12,
)
_KEEP = st.one_of(
    st.none(),
    st.fixed_dictionaries({}, optional={"ttl": st.integers(1, 60), "maxCount": st.integers(1, 3)}).filter(bool),
)
_THINGS = st.lists(st.tuples(st.integers(0, 80), st.sampled_from(["default", "other"])), max_size=8)
_OVER = ("Succeeded", "Failed", "Cancelled")


def _chosen(rules: list[dict[str, Any]], things: list[dict[str, Any]], where: list[str] | None) -> set[str]:
    """By the words of the documentation: older than ttl, or not among the newest maxCount of its namespace."""
    out = set()
    for rule in rules:
        about = [
            thing
            for thing in things
            if (where is None or thing["namespace"] in where)
            and thing["phase"] in rule.get("phases", _OVER)
            and ("selector" not in rule or thing["x"])
        ]
        for thing in about:
            newer = [
                other
                for other in about
                if other["namespace"] == thing["namespace"]
                and (-other["age"], other["order"]) > (-thing["age"], thing["order"])
            ]
            if thing["age"] >= rule.get("ttl", 1e9) or len(newer) >= rule.get("maxCount", 1e9):
                out.add(thing["id"])
    return out


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rules=st.lists(_RULES, max_size=3),
    runs=_RUNS,
    events=_THINGS,
    threads=_THINGS,
    keep_events=_KEEP,
    keep_threads=_KEEP,
    where=st.sampled_from([None, ["default"], ["other", "default"]]),
)
def test_what_remains_is_what_the_rules_say(
    new_world: Callable[[], Any],
    rules: list[dict[str, Any]],
    runs: list[Any],
    events: list[Any],
    threads: list[Any],
    keep_events: Any,
    keep_threads: Any,
    where: list[str] | None,
) -> None:
    spec: dict[str, Any] = {"runs": rules, "events": keep_events, "threads": keep_threads, "namespaces": where}
    spec = {name: value for name, value in spec.items() if value not in (None, [])}
    if not {"runs", "events", "threads"} & spec.keys():
        return

    async def check() -> None:
        world = new_world()
        made: list[dict[str, Any]] = []
        for order, (phase, age, namespace, x, caller, thread) in enumerate(runs):
            above = made[caller] if caller < len(made) and made[caller]["namespace"] == namespace else None
            resource = await world.run(
                f"r{order:02}",
                phase,
                age_s=age,
                namespace=namespace,
                parent=above["resource"] if above else None,
                labels={"app": "x"} if x else None,
                thread=thread,
            )
            made.append(
                {"id": f"r{order:02}", "phase": phase, "age": age, "namespace": namespace, "x": x, "order": order,
                 "above": above["id"] if above else None, "resource": resource, "thread": thread}
            )  # fmt: skip
        for order, (age, namespace) in enumerate(events):
            await world.event(f"e{order}", age_s=age, namespace=namespace)
        # No two threads of one moment: which of them is the older one, a store does not tell.
        ages = sorted({age for age, _ in threads})
        aged = [(age, threads[[a for a, _ in threads].index(age)][1]) for age in ages]
        for order, (age, namespace) in enumerate(aged):
            await world.thread(f"t{order}", age_s=age, namespace=namespace)

        would_go = (await world.enforce(dryRun=True, **spec))["lastRun"]["wouldRemove"]
        assert len(await world.names()) == len(made)
        removed = (await world.enforce(**spec))["lastRun"]["removed"]
        if any(run["above"] for run in made):
            assert would_go.get("runs", 0) >= removed.get("runs", 0)
        else:
            assert would_go == removed

        by_id = {run["id"]: run for run in made}

        def above_of(run: dict[str, Any]) -> list[dict[str, Any]]:
            out = []
            while run["above"]:
                run = by_id[run["above"]]
                out.append(run)
            return out

        busy = {run["id"] for run in made if run["phase"] not in _OVER}
        needed = busy | {run["id"] for run in made if any(a["id"] in busy for a in above_of(run))}
        needed |= {a["id"] for run in made if run["id"] in busy for a in above_of(run)}
        chosen = _chosen(rules, made, where) - needed
        allowed = chosen | {run["id"] for run in made if any(a["id"] in chosen for a in above_of(run))}
        left = set(await world.names())
        gone = {run["id"] for run in made} - left
        assert gone <= allowed
        assert not gone & needed
        if not any(run["above"] for run in made):
            assert gone == chosen
        # A run that went along with another one makes room for an older one; nothing else that should go is left.
        still = [run for run in made if run["id"] in left]
        assert not _chosen(rules, still, where) - needed

        things = [
            {"id": f"e{o}", "age": age, "namespace": ns, "order": o, "phase": "Succeeded", "x": False}
            for o, (age, ns) in enumerate(events)
        ]
        out = _chosen([keep_events], things, where) if keep_events else set()
        assert set(await world.names("Event")) == {thing["id"] for thing in things} - out

        things = [
            {"id": f"t{o}", "age": age, "namespace": ns, "order": o, "phase": "Succeeded", "x": False}
            for o, (age, ns) in enumerate(aged)
        ]
        out = _chosen([keep_threads], things, where) if keep_threads else set()
        named = {(run["namespace"], run["thread"]) for run in made if run["id"] in busy}
        stay = {thing["id"] for thing in things if (thing["namespace"], thing["id"]) in named}
        assert set(await world.threads()) == {thing["id"] for thing in things} - (out - stay)

        status = await world.status()
        counted = {"runs": len([r for r in still if where is None or r["namespace"] in where])}
        if rules:
            assert status["remaining"]["runs"] == counted["runs"]
            assert status["removed"]["runs"] == len(gone)

    asyncio.run(check())
