"""Runs that called others which suspend: who answers one of those lets all above it go on, too."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from kastra_core.api.meta import ResourceKey
from kastra_core.cli import run_view
from kastra_core.cli.run_session import RunSession
from kastra_core.execution.recovery import Recovery
from kastra_core.runtime import RuntimeManager

HERE = Path(__file__).parent
YES = '{"approved": true}'
ASK = {"id": "ask", "ask": {"message": "Pay 30 EUR?"}}


class Desk:
    """A project in which pipeline ``top`` calls ``middle``, and that ``bottom``."""

    def __init__(self, kastra: Callable[..., Any], project: Path) -> None:
        self.kastra, self.project = kastra, project

    def apply(self, **pipelines: Any) -> None:
        items = [
            {"apiVersion": "acme.example/v1", "kind": "Pipeline", "metadata": {"name": name}, "spec": {"steps": steps}}
            for name, steps in pipelines.items()
        ]
        (self.project / "desk.json").write_bytes(orjson.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
        done = self.kastra("apply", "-f", "desk.json")
        assert done.code == 0, done.err

    def start(self) -> None:
        """Let run/one suspend."""
        done = self.kastra("run", "pipeline/top", "--input", "1", "--name", "one")
        assert done.code == 0, done.err
        assert self.phases["top"] == "Suspended"

    @property
    def runs(self) -> dict[str, Any]:
        """The run of each pipeline; the last one."""
        found = orjson.loads(self.kastra("get", "runs", "--children", "-o", "json").out)
        return {run["spec"]["target"]["name"]: run for run in found.get("items", [found])}

    @property
    def phases(self) -> dict[str, str]:
        return {name: run["status"]["phase"] for name, run in self.runs.items()}

    def name(self, pipeline: str) -> str:
        return f"run/{self.runs[pipeline]['metadata']['name']}"

    @property
    def work(self) -> list[str]:
        path = self.project / "work.txt"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def answer(self, pipeline: str, *, follow: bool = False) -> None:
        """Answer the run of a pipeline; no process goes on with it, or with ``follow`` only until it is over."""
        key = ResourceKey("mastra.ai", "Run", "default", self.runs[pipeline]["metadata"]["name"])
        url = f"file:{self.project / '.kastra' / 'kastra.db'}"

        async def go() -> None:
            async with await RuntimeManager.open(url, controllers=False) as runtime:
                await runtime.runs.resume(key, {"approved": True})
                if follow:
                    await runtime.runs.start()
                    await runtime.runs.wait(key)

        asyncio.run(go())


@pytest.fixture
def desk(kastra: Callable[..., Any], project: Path, plugins: Any) -> Desk:
    plugins.install("pipeline", (HERE / "acme_pipeline.py").read_text(encoding="utf-8"), module="acme_pipeline")
    desk = Desk(kastra, project)
    desk.apply(
        top=[{"id": "down", "call": "middle"}, {"id": "paid", "work": "top"}],
        middle=[{"id": "down", "call": "bottom"}, {"id": "noted", "work": "middle"}],
        bottom=[ASK, {"id": "done", "work": "bottom"}],
    )
    return desk


@pytest.fixture
def deaf(monkeypatch: pytest.MonkeyPatch) -> None:
    """The watch of signals does not come to those of called runs that end."""
    hear = Recovery._hear

    async def listen(self: Recovery, signal: Any) -> None:
        if not signal.name.startswith("kastra.child/"):
            await hear(self, signal)

    monkeypatch.setattr(Recovery, "_hear", listen)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """run/one goes on and stops again before the command looks at what is above the run that it follows."""
    begin, wait_above = RunSession.begin, RunSession.wait_above
    stopped = asyncio.Event()

    def hear(message: Any) -> None:
        if message["resource"].metadata.name == "one":
            stopped.set()

    async def begin_listening(self: RunSession, **options: Any) -> None:
        for topic in ("run.suspended", "run.finished"):
            self.runtime.bus.subscribe(topic, hear)
        await begin(self, **options)

    async def wait_late(self: RunSession, key: ResourceKey) -> None:
        await stopped.wait()
        await wait_above(self, key)

    monkeypatch.setattr(RunSession, "begin", begin_listening)
    monkeypatch.setattr(RunSession, "wait_above", wait_late)


OVER = {"top": "Succeeded", "middle": "Succeeded", "bottom": "Succeeded"}


@pytest.mark.parametrize("watch", ["deaf", "quick"])
def test_all_runs_above_an_answered_one_go_on(desk: Desk, watch: str, request: pytest.FixtureRequest) -> None:
    desk.start()
    request.getfixturevalue(watch)
    done = desk.kastra("run", "resume", desk.name("bottom"), "--data", YES)
    assert done.code == 0, done.err
    assert orjson.loads(done.out)["did"] == "bottom"
    assert desk.phases == OVER
    assert desk.work == ["bottom", "middle", "top"]
    assert "run/one: Succeeded" in done.err


@pytest.mark.usefixtures("deaf")
def test_bare_resume_leaves_no_run_above_without_a_process(desk: Desk) -> None:
    desk.start()
    desk.answer("bottom")
    done = desk.kastra("run", "resume")
    assert done.code == 0, done.err
    assert desk.phases == OVER


@pytest.mark.usefixtures("deaf")
def test_another_command_leaves_no_run_above_what_it_took_over_without_a_process(desk: Desk) -> None:
    desk.start()
    desk.answer("bottom")
    desk.apply(other=[{"id": "done", "work": "other"}])
    done = desk.kastra("run", "pipeline/other", "--input", "1")
    assert done.code == 0, done.err
    assert desk.phases == {**OVER, "other": "Succeeded"}


@pytest.mark.parametrize("watch", ["deaf", "quick"])
def test_a_run_above_that_asks_then_is_told_of(desk: Desk, watch: str, request: pytest.FixtureRequest) -> None:
    desk.apply(top=[{"id": "down", "call": "middle"}, {"id": "again", "ask": {"message": "Really?"}}])
    desk.start()
    request.getfixturevalue(watch)
    done = desk.kastra("run", "resume", desk.name("bottom"), "--data", YES)
    assert done.code == 0, done.err
    assert "Really?" in done.err
    assert "kastra run resume run/one --signal again" in done.err
    assert desk.phases == {**OVER, "top": "Suspended"}


def test_a_run_above_that_waits_for_others_too_is_not_waited_for(desk: Desk) -> None:
    desk.apply(top=[{"id": "both", "both": {"a": [{"id": "down", "call": "middle"}], "b": [{**ASK, "id": "own"}]}}])
    desk.start()
    done = desk.kastra("run", "resume", desk.name("bottom"), "--data", YES)
    assert done.code == 0, done.err
    assert desk.phases == {**OVER, "top": "Suspended"}


# ------------------------------------------------------------------------------------------------ answers to the top


@pytest.mark.usefixtures("deaf")
def test_an_answer_is_handed_on_to_the_one_called_run_that_awaits_it(desk: Desk) -> None:
    desk.start()
    below = desk.name("bottom")
    done = desk.kastra("run", "resume", "run/one", "--data", YES)
    assert done.code == 0, done.err
    assert f"run/one waits for {below}, which gets the answer" in done.err
    assert orjson.loads(done.out)["did"] == "top"
    assert desk.phases == OVER


def test_a_wrong_answer_is_refused_below_too(desk: Desk) -> None:
    desk.start()
    done = desk.kastra("run", "resume", "run/one", "--data", '{"approved": "perhaps"}')
    assert done.code == 1
    assert "nothing was sent" in done.err
    assert desk.phases["bottom"] == "Suspended"


def test_several_called_runs_that_await_answers_are_named(desk: Desk) -> None:
    branches = {"a": [{"id": "down", "call": "middle"}], "b": [{"id": "other", "call": "bottom"}]}
    desk.apply(top=[{"id": "both", "both": branches}])
    desk.start()
    done = desk.kastra("run", "resume", "run/one", "--data", YES)
    assert done.code == 1
    asks = ("get", "runs", "--children", "-o", "name", "--field-selector", "spec.target.name=bottom")
    waiting = desk.kastra(*asks).out.split()
    assert len(waiting) == 2
    for name in waiting:
        assert f"kastra run resume run/{name.rpartition('/')[2]} --signal ask" in done.err
    assert desk.phases["bottom"] == "Suspended"


def test_the_own_question_of_a_run_comes_first(desk: Desk) -> None:
    branches = {"a": [{"id": "down", "call": "middle"}], "b": [{**ASK, "id": "own"}]}
    desk.apply(top=[{"id": "both", "both": branches}])
    desk.start()
    done = desk.kastra("run", "resume", "run/one", "--data", YES)
    assert done.code == 0, done.err
    assert desk.phases == {"top": "Suspended", "middle": "Suspended", "bottom": "Suspended"}
    assert [item["signal"] for item in desk.runs["bottom"]["status"]["awaiting"]] == ["ask"]
    assert "both[b]/own" not in done.err.split("run/one is suspended")[1]


# ------------------------------------------------------------------------------------------------ followed to its end


@pytest.mark.usefixtures("deaf")
def test_resume_follows_a_run_over_the_end_of_what_it_called(desk: Desk) -> None:
    desk.start()
    desk.answer("bottom")
    done = desk.kastra("run", "resume", "run/one")
    assert done.code == 0, done.err
    assert "until a signal comes" not in done.err
    assert orjson.loads(done.out)["did"] == "top"
    assert desk.phases == OVER


@pytest.mark.usefixtures("deaf")
def test_attach_says_that_no_process_goes_on_with_a_suspended_run(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.start()
    desk.answer("bottom", follow=True)
    assert desk.phases == {"top": "Suspended", "middle": "Suspended", "bottom": "Succeeded"}
    monkeypatch.setattr(run_view, "_ORPHAN_CHECK_S", 0.0)
    for pipeline in ("middle", "top"):
        name = desk.name(pipeline)
        done = desk.kastra("run", "attach", name)
        assert done.code == 5
        assert f"`kastra run resume {name}` goes on with it" in done.err
    assert "its process ended" in desk.kastra("describe", "run/one").out
    assert desk.kastra("run", "resume", "run/one").code == 0
    assert desk.phases == OVER


def test_cancelling_the_run_above_ends_all_that_it_called(desk: Desk) -> None:
    desk.apply(
        top=[{"id": "t", "call": "middle"}],
        middle=[{"id": "m", "call": "bottom"}],
        bottom=[ASK],
    )
    desk.start()
    done = desk.kastra("run", "cancel", "run/one")
    assert (done.code, done.out) == (0, "run/one cancelled\n")
    assert desk.phases == dict.fromkeys(("top", "middle", "bottom"), "Cancelled")
