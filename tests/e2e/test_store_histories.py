"""All watchers of all processes see one history: that of the writes that were acknowledged.

The plan of who writes and who watches is hypothesis'; the processes are real, so how they meet is not. A failure shows
the plan. ``KASTRA_HISTORY_EXAMPLES=N``: so many plans (default 12), and one that fails is made smaller.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from kastra_core.api.meta import ObjectMeta, Resource
from kastra_core.protocols.store import CreateResource, SendSignal, SetState
from kastra_plugin_libsql.store import LibsqlStore, open_store
from store_history import END, SCOPE
from store_load import GROUP, KIND, named
from store_nursery import Nursery, Worker, nursery
from store_soundness import check_soundness

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks processes")

EXAMPLES = int(os.environ.get("KASTRA_HISTORY_EXAMPLES", "0"))
_files = itertools.count()

_name = st.integers(0, 3)
_STEP = st.one_of(
    st.tuples(st.sampled_from(["create", "update", "delete", "cas", "cas", "many"]), _name),
    st.tuples(st.just("signal"), st.integers(0, 1)),
    st.tuples(st.just("state")),
    st.tuples(st.just("pause"), st.integers(0, 5)),
)
_WATCHER = st.fixed_dictionaries(
    {
        "join_ms": st.sampled_from([0, 0, 3, 30]),
        "slow_ms": st.sampled_from([0, 0, 1, 10]),
        "namespace": st.sampled_from([None, None, "x"]),
    }
)
_PROCESS = st.fixed_dictionaries(
    {
        # Each task repeats its steps: short plans, long histories.
        "tasks": st.lists(
            st.tuples(st.lists(_STEP, min_size=2, max_size=8), st.sampled_from([20, 5, 40])), min_size=1, max_size=4
        ),
        "watchers": st.lists(_WATCHER, min_size=1, max_size=3),
    }
)
_PLAN = st.fixed_dictionaries(
    {
        "processes": st.lists(_PROCESS, min_size=2, max_size=3),
        "history_events": st.sampled_from([8, 40, 100_000]),
        "durability": st.sampled_from(["full", "relaxed"]),
    }
)

_EAGER, _SLOW = {"join_ms": 0, "slow_ms": 0, "namespace": None}, {"join_ms": 0, "slow_ms": 10, "namespace": None}
_LATE = {"join_ms": 30, "slow_ms": 1, "namespace": "x"}
_CONTENDING = [([["create", 0], ["cas", 0], ["cas", 1], ["update", 1], ["cas", 0], ["signal", 0], ["state"]], 30)] * 3
_CHANGING = [([["create", 0], ["delete", 0], ["many", 0], ["create", 1], ["update", 0], ["delete", 1]], 30)] * 3
_CROWD = {
    "processes": [
        {"tasks": tasks, "watchers": [_EAGER, _SLOW, _LATE]} for tasks in (_CONTENDING, _CONTENDING, _CHANGING)
    ],
    "durability": "full",
}


@pytest.fixture
async def workers(tmp_path: Path) -> AsyncIterator[Nursery]:
    async with nursery(tmp_path / "logs") as found:
        yield found


@settings(
    max_examples=EXAMPLES or 8,
    # Each try takes a second: plans are made smaller only where there is time for it.
    phases=(Phase.explicit, Phase.generate, *((Phase.shrink,) if EXAMPLES else ())),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
    database=None,
    print_blob=True,
)
@given(plan=_PLAN)
@example(plan={**_CROWD, "history_events": 8})
@example(plan={**_CROWD, "history_events": 100_000})
async def test_all_watchers_of_all_processes_see_the_one_history_of_acknowledged_writes(
    plan: dict[str, Any], workers: Nursery, tmp_path: Path
) -> None:
    try:
        history = await play(plan, workers, tmp_path / f"{next(_files)}")
        check_writes(history)
        check_watchers(history, plan)
        check_signals_and_state(history)
    except BaseException as error:
        error.add_note(f"plan: {json.dumps(plan)}")
        raise


class History:
    """What all processes wrote and saw."""

    def __init__(self) -> None:
        self.notes: list[dict[str, Any]] = []
        self.events: dict[int, list[Any]] = {}
        """By resourceVersion: type, namespace, name, resourceVersion, who."""
        self.seen: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []
        """Watchers and their parts."""
        self.signals: list[list[list[Any]]] = []
        self.states: list[list[dict[str, Any]]] = []
        self.final: list[list[Any]] = []
        self.final_state: dict[str, Any] = {}

    def add(self, events: list[list[Any]]) -> None:
        for event in events:
            assert event[3] not in self.events, f"two writes got one version: {event} and {self.events[event[3]]}"
            self.events[event[3]] = event

    def at(self, version: int, namespace: str | None) -> dict[tuple[str, str], list[Any]]:
        """The resources after the writes up to ``version``."""
        found: dict[tuple[str, str], list[Any]] = {}
        for number in range(1, version + 1):
            kind, *noted = self.events[number]
            if kind == "DELETED":
                del found[noted[0], noted[1]]
            else:
                found[noted[0], noted[1]] = noted
        return {place: noted for place, noted in found.items() if namespace in (None, place[0])}


async def play(plan: dict[str, Any], workers: Nursery, directory: Path) -> History:
    directory.mkdir()
    path, ready = directory / "k.db", directory / "ready"
    url = f"file:{path}"
    options = {"history_events": plan["history_events"], "durability": plan["durability"]}
    started = [
        workers.begin(
            "history",
            url=url,
            options=options,
            name=f"p{at}",
            ready=str(ready),
            plan={
                "watchers": process["watchers"],
                "tasks": [steps * times for steps, times in process["tasks"]],
            },
        )
        for at, process in enumerate(plan["processes"])
    ]
    for worker in started:
        await worker.says(1)
    ready.touch()
    for worker, process in zip(started, plan["processes"]):
        await worker.says(2 + len(process["tasks"]))
    store = await open_store(url, options)
    [last, _, _] = await store.commit(
        [CreateResource(named("x", END, by="end")), SendSignal("run", END, "end"), SetState(SCOPE, {END: 1})]
    )
    history = History()
    assert [await worker.end() for worker in started] == [0] * len(started)
    for worker in started:
        read(worker, history)
    history.add([["ADDED", "x", END, int(last.metadata.resource_version), "end"]])
    page = await store.resources.list(GROUP, KIND)
    history.final = [
        [r.metadata.namespace, r.metadata.name, int(r.metadata.resource_version), r.spec["by"]] for r in page.items
    ]
    history.final_state = await store.state.get_state(SCOPE)
    await store.aclose()
    check_soundness(path)
    return history


def read(worker: Worker, history: History) -> None:
    for line in worker.said():
        said = json.loads(line)
        if "log" in said:
            history.notes += said["log"]
            for note in said["log"]:
                history.add(note["events"])
        elif "saw" in said:
            history.seen.append((said["watcher"], said["saw"]))
        elif "signals" in said:
            history.signals.append(said["signals"])
            history.states.append(said["state"])


def check_writes(history: History) -> None:
    """The acknowledged writes make one line: numbered without gap, each possible where it stands."""
    assert sorted(history.events) == list(range(1, len(history.events) + 1))
    present: dict[tuple[str, str], int] = {}
    versions: dict[int, int] = {}
    """Of each version that was replaced: the one that replaced it."""
    for number in range(1, len(history.events) + 1):
        kind, namespace, name, *_ = history.events[number]
        before = present.pop((namespace, name), None)
        assert (kind == "ADDED") == (before is None), history.events[number]
        if before is not None:
            versions[before] = number
        if kind != "DELETED":
            present[namespace, name] = number
    winners = Counter[int]()
    for note in history.notes:
        expected = note.get("expected")
        if expected is None:
            continue
        if note["events"]:
            assert versions[expected] == note["events"][0][3], f"{note}: it was not the next after what it expected"
            winners[expected] += 1
        else:
            assert expected in versions, f"{note}: refused although nobody had replaced what it expected"
    assert all(count == 1 for count in winners.values())
    assert {(n, m): noted for n, m, *noted in history.final} == {
        place: noted[2:] for place, noted in history.at(len(history.events), None).items()
    }


def check_watchers(history: History, plan: dict[str, Any]) -> None:
    for watcher, parts in history.seen:
        namespace = watcher["namespace"]
        last = len(history.events)
        for part in parts:
            assert {(n[0], n[1]): n for n in part["list"]} == history.at(part["version"], namespace), watcher
            wanted = [
                history.events[number]
                for number in range(part["version"] + 1, last + 1)
                if namespace in (None, history.events[number][1])
            ]
            if part["expired"]:
                assert part["events"] == wanted[: len(part["events"])], watcher
                assert plan["history_events"] < 100_000
            else:
                assert part["events"] == wanted, watcher


def check_signals_and_state(history: History) -> None:
    sent = {note["by"] for note in history.notes if note["doing"] == "signal"} | {"end"}
    for seen in history.signals:
        assert seen == history.signals[0]
        assert [signal[0] for signal in seen] == list(range(1, len(seen) + 1))
        assert len(seen) == len(sent)
        assert {signal[2] for signal in seen} == sent
    for states in history.states:
        assert states[-1] == history.final_state
        # A value that was seen is never seen older again.
        for before, after in itertools.pairwise(states):
            assert all(after[name] >= value for name, value in before.items())


@pytest.mark.parametrize("kind", [KIND, ""])
async def test_a_list_is_of_the_version_that_it_names_although_its_kind_is_made_meanwhile(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"file:{tmp_path}/k.db"
    store = await open_store(url, {})
    other = Resource(api_version="other/v1", kind="Other", metadata=ObjectMeta(name="o", uid="o"))
    await store.commit([CreateResource(other)])
    assert isinstance(store, LibsqlStore)
    snapshot = store._db.snapshot

    async def create() -> None:
        another = await open_store(url, {})
        await another.commit([CreateResource(named("x", "a", by="another"))])
        await another.aclose()

    def late(*, own: bool = False) -> Any:
        """Another process writes at the last moment before the list begins to read."""
        writer = threading.Thread(target=lambda: asyncio.run(create()))
        writer.start()
        writer.join()
        return snapshot(own=own)

    with monkeypatch.context() as patched:
        patched.setattr(store._db, "snapshot", late)
        page = await store.resources.list(GROUP if kind else "", kind)
    assert page.resource_version == "2"
    assert "a" in {item.metadata.name for item in page.items}
    await store.aclose()
