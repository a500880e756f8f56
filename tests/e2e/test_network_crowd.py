"""A hundred networks at once in two processes on one store: no state is seen by anybody but its own."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest

from crash_nursery import Nursery, Place, nursery_of, places
from kastra_core.api.kind import MAIN_GROUP
from kastra_core.origins import SCOPE
from kastra_core.protocols.store import Store
from kastra_plugin_libsql.store import open_store
from network_worker import TTL_S, crowd

MANY = 100
FEW = 10
INNER = "network/default/inner"

Call = tuple[str, str, str | None]
"""(network, what it is asked, thread)"""


class Square(Place):
    """A place where a crowd of networks runs in two processes."""

    async def at_once(self, name: str, calls: Sequence[Call]) -> None:
        """Make calls, all at once, every other one in the one process and the others in the other."""
        workers = []
        for half in range(2):
            self.runs = {f"{name}-{half}": ("crowds/crowd", calls[half::2])}
            workers.append(self.begin("run", within_s=60.0))
        assert [await worker.end() for worker in workers] == [0, 0]

    def scopes(self) -> set[str]:
        """All scopes of the state facet in which anything was ever written."""
        with closing(sqlite3.connect(self.directory / "kastra.db")) as connection:
            return {scope for (scope,) in connection.execute("SELECT DISTINCT scope FROM state")}

    async def states(self, *, after_s: float = 0.0) -> dict[str, Any]:
        """Values by scope, those that are left after a time."""
        store = await open_store(self.url, {"clock": lambda: time.time() + after_s})
        try:
            return {scope: await store.state.get_state(scope) for scope in self.scopes() if scope != SCOPE}
        finally:
            await store.aclose()

    async def answers(self) -> dict[str, list[Any]]:
        """By scope: the states that members read back, in any order. Asserts that all runs succeeded."""

        async def read(store: Store) -> dict[str, list[Any]]:
            found: dict[str, list[Any]] = {}
            for run in (await store.resources.list(MAIN_GROUP, "Run")).items:
                assert run.status["phase"] == "Succeeded", run.status
                if run.spec["target"]["kind"] == "Agent":
                    seen = re.sub(r"^<\w+-done> ", "", run.status["output"])
                    found.setdefault(run.spec["shared"]["scope"], []).append(orjson.loads(seen))
            return found

        answers: dict[str, list[Any]] = await self.look(read)
        return answers


@pytest.fixture
async def nursery() -> AsyncIterator[Nursery]:
    async with nursery_of("network_worker.py") as made:
        yield made


@pytest.fixture
async def place(nursery: Nursery, tmp_path: Path) -> Callable[[], Square]:
    return await places(nursery, tmp_path, Square)


def kept(*numbers: int) -> dict[str, Any]:
    """A state in which these were written, the last one last."""
    return {"mine": f"number-{numbers[-1]}", **{f"number-{number}": True for number in numbers}}


async def test_states_of_a_hundred_networks_at_once_never_mix(place: Callable[[], Square]) -> None:
    here = place()
    assert await here.begin("apply", manifests=[crowd(number) for number in range(MANY)]).end() == 0
    await here.at_once("round", [(f"crowd{number}", f"number-{number}", None) for number in range(MANY)])

    states, answers = await here.states(), await here.answers()
    shared = states.pop(INNER)
    assert states == {f"network/default/crowd{number}": kept(number) for number in range(MANY)}
    assert {scope: answers[scope] for scope in states} == {scope: [state] for scope, state in states.items()}
    # The network within them is one and the same for all: what they wrote at the same time is all there.
    assert shared.pop("mine") in shared
    assert shared == {f"number-{number}": True for number in range(MANY)}
    assert all({"mine"} < seen.keys() <= {"mine", *shared} for seen in answers[INNER])
    assert len(answers[INNER]) == MANY

    late = await here.states(after_s=TTL_S + 1)
    assert late.pop(INNER) == {}
    assert late == {f"network/default/crowd{number}": {} if number % 2 else kept(number) for number in range(MANY)}


async def test_states_of_a_hundred_threads_of_ten_networks_never_mix(place: Callable[[], Square]) -> None:
    """Each thread has two turns; another process carries out the second."""
    here = place()
    assert await here.begin("apply", manifests=[crowd(number) for number in range(FEW)]).end() == 0
    first = [(f"crowd{number % FEW}", f"number-{number}", f"t{number}") for number in range(MANY)]
    second = [(network, f"number-{MANY + number}", thread) for number, (network, _, thread) in enumerate(first)]
    await here.at_once("first", first)
    swapped = [call for pair in zip(second[1::2], second[::2], strict=True) for call in pair]
    await here.at_once("second", swapped)

    expected: dict[str, Any] = {}
    for number, (network, _, thread) in enumerate(first):
        for name in (network, "inner"):
            expected[f"thread/default/{thread}/network/default/{name}"] = kept(number, MANY + number)
    assert await here.states() == expected
    read: dict[str, list[Any]] = {
        scope: [kept(int(state["mine"].partition("-")[2]) - MANY), state] for scope, state in expected.items()
    }
    answers = await here.answers()
    assert {scope: sorted(seen, key=len) for scope, seen in answers.items()} == read

    async def said(store: Store) -> list[list[str]]:
        return [
            [stored.message["parts"][0]["content"] for stored in await store.threads.messages("default", f"t{number}")]
            for number in range(MANY)
        ]

    for number, texts in enumerate(await here.look(said)):
        asked, answered = texts[::2], [orjson.loads(text.partition(" ")[2]) for text in texts[1::2]]
        assert asked == [f"number-{number}", f"number-{MANY + number}"]
        assert answered == [kept(number), kept(number, MANY + number)]

    late = await here.states(after_s=TTL_S + 1)
    for scope, state in late.items():
        name = scope.rpartition("/")[2]
        lives = name != "inner" and int(name.removeprefix("crowd")) % 2 == 0
        assert state == (expected[scope] if lives else {})
