"""The history of runs that have steps: describe, explain, logs, retry --from, resume --data."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from kastra_core.cli.common import CliState
from kastra_core.cli.run_history import History
from kastra_core.cli.run_target import find_run
from kastra_core.cli.run_view import steps_of
from kastra_core.execution.replay import replay
from kastra_core.protocols.store import Record
from kastra_core.runtime import RuntimeManager

HERE = Path(__file__).parent
APPROVED = {"type": "object", "properties": {"approved": {"type": "boolean"}}, "required": ["approved"]}


class Lines:
    """A project with kind Pipeline, whose runs are looked at from the command line."""

    def __init__(self, kastra: Callable[..., Any], project: Path, environment: dict[str, str], forks: Any) -> None:
        self.kastra, self.project, self.environment, self.forks = kastra, project, environment, forks

    def __call__(self, *args: str, code: int = 0) -> str:
        """stdout of ``kastra ARGS``, or stderr when it is to fail."""
        done = self.kastra(*args)
        assert done.code == code, done.err
        return str(done.err if code else done.out)

    def apply(self, *steps: Any, name: str = "line", kind: str = "Pipeline") -> None:
        manifest = {"apiVersion": "acme.example/v1", "kind": kind, "metadata": {"name": name}, "spec": {"steps": steps}}
        (self.project / "line.json").write_bytes(orjson.dumps(manifest))
        self("apply", "-f", "line.json")

    def run(self, *steps: Any, name: str = "one", code: int = 0, input: Any = "go") -> str:
        self.apply(*steps)
        return self("run", "pipeline/line", "--input", orjson.dumps(input).decode(), "--name", name, code=code)

    def steps(self, name: str = "one") -> list[str]:
        """The lines of the table of steps, its header first."""
        out = self("describe", f"run/{name}")
        return out[out.index("\nSteps:\n") + 8 : out.index("\nEvents:")].splitlines()

    @property
    def work(self) -> list[str]:
        """What was carried out."""
        path = self.project / "work.txt"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def get(self, name: str) -> Any:
        return orjson.loads(self("get", f"run/{name}", "-o", "json"))

    def start(self, *args: str) -> Any:
        return self.forks.begin(
            args,
            cwd=self.project,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )


@pytest.fixture
def line(kastra: Callable[..., Any], project: Path, plugins: Any, environment: dict[str, str], forks: Any) -> Lines:
    plugins.install("pipeline", (HERE / "acme_pipeline.py").read_text(encoding="utf-8"), module="acme_pipeline")
    return Lines(kastra, project, environment, forks)


WORK = [{"id": "a", "work": "a"}, {"id": "b", "work": "b"}, {"id": "c", "work": "c"}]


# ------------------------------------------------------------------------------------------------ describe


def test_a_run_with_steps_is_described_by_a_table_of_them(line: Lines) -> None:
    line.run(
        {"id": "extract", "think": "extract"},
        {"id": "both", "both": {"x": [{"id": "load", "work": "load"}], "y": [{"id": "note", "value": "n" * 200}]}},
    )
    header, *rows = line.steps()
    names = ["STEP", "BODY", "PHASE", "ATTEMPTS", "START", "DURATION", "TOKENS", "COST", "INPUT", "OUTPUT"]
    assert header.split() == names
    assert [row.split()[:4] for row in rows] == [
        ["extract", "think", "Succeeded", "1"],
        ["both", "both", "Succeeded", "1"],
        ["both[x]/load", "work", "Succeeded", "1"],
        ["both[y]/note", "value", "Succeeded", "1"],
    ]
    assert rows[2].startswith("    both[x]/load ")  # below the step that it lies in
    assert re.search(r" \d\d:\d\d:\d\d +\d+ms +7\+5 +\$0\.2500 +go +{\"did\":\"extract\"", rows[0])
    assert rows[3].endswith("n…")
    assert len(max(rows, key=len)) < 250


def test_tries_and_errors_are_in_the_table(line: Lines) -> None:
    (line.project / "fail-b").touch()
    line.run({"id": "b", "work": "b", "tries": 3}, code=5)
    _, row = line.steps()
    assert row.split()[:4] == ["b", "work", "Failed", "3"]
    assert row.endswith("Broken: b broke")


def test_a_suspended_run_is_described_with_what_it_awaits(line: Lines) -> None:
    line.run({"id": "a", "work": "a"}, {"id": "ask", "ask": {"message": "Pay 30 EUR?", "schema": APPROVED}})
    out = line("describe", "run/one")
    awaiting = out[out.index("\nAwaiting:\n") : out.index("\nSteps:\n")]
    assert "Pay 30 EUR?" in awaiting
    assert "kastra run resume run/one" in awaiting
    assert """--data '{"approved":true}'""" in awaiting
    rows = [row.split()[:3] for row in line.steps()[1:]]
    assert rows == [["a", "work", "Succeeded"], ["ask", "ask", "Waiting"]]


def test_a_step_around_waits_only_when_all_in_it_waits(line: Lines) -> None:
    branches = {"x": [{"id": "ask", "ask": {}}], "y": [{"id": "more", "ask": {}}]}
    line.run({"id": "both", "both": branches})
    assert [row.split()[2] for row in line.steps()[1:]] == ["Waiting"] * 3


def test_the_step_under_way_of_an_interrupted_run_is_running(line: Lines) -> None:
    (line.project / "hang-b").touch()
    line.apply(*WORK)
    process = line.start("run", "pipeline/line", "--input", "1", "--name", "one")
    try:
        deadline = time.monotonic() + 60
        while "b" not in line.work:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        process.kill()
        process.communicate()
    assert [row.split()[:3] for row in line.steps()[1:]] == [["a", "work", "Succeeded"], ["b", "work", "Running"]]
    ended = "\n  its process ended; `kastra run resume run/one` goes on with it\n"
    assert f"\n  it is at b{ended}" in line("explain", "run/one")
    assert f"\nRunning{ended}" in line("logs", "run/one")
    assert "\nNote:        its process ended; `kastra run resume run/one` goes on" in line("describe", "run/one")
    assert "(gone; `kastra run resume` goes on)\n" in line("status")


def test_what_something_else_ended_is_cancelled(line: Lines) -> None:
    (line.project / "fail-b").touch()
    (line.project / "hang-a").touch()
    line.run({"id": "both", "both": {"x": [WORK[0]], "y": [WORK[1]]}}, code=5)
    rows = {row.split()[0]: row.split()[2] for row in line.steps()[1:]}
    assert rows == {"both": "Failed", "both[y]/b": "Failed", "both[x]/a": "Cancelled"}


def test_what_is_too_long_to_be_read_is_cut_in_describe(line: Lines) -> None:
    given = {"text": "x" * 100_000, "items": list(range(5000)), "much": [["y" * 1500] * 100] * 100}
    line.run(WORK[0], input=given)
    out = line("describe", "run/one")
    assert len(out) < 100_000
    assert "x… and 98,000 more characters\n" in out
    assert '- "… and 4,800 more"\n' in out
    assert '- "… and 99 more"\n' in out
    assert "  phase: Succeeded\n" in out
    assert "long values are cut; `kastra get run/one -n default -o yaml` shows all\n" in out
    line.run(WORK[0], name="two")
    assert "long values are cut" not in line("describe", "run/two")


def test_a_run_without_steps_is_described_by_its_records(line: Lines) -> None:
    line.apply(kind="Plain", name="p")
    line("run", "plain/p", "--input", "1", "--name", "one")
    assert line.steps()[0].split() == ["PATH", "KIND", "OK", "MS", "TOKENS", "RESULT"]


def test_without_the_plugin_records_are_described_and_the_reason_is_told(line: Lines) -> None:
    line.run(*WORK)
    out = line("--no-plugin", "pipeline", "describe", "run/one")
    assert "PATH " in out
    assert "(as records only: Run default/one: no installed plugin offers the kind Pipeline" in out


# ------------------------------------------------------------------------------------------------ explain


def test_explain_tells_why_each_step_was_chosen_in_order(line: Lines) -> None:
    (line.project / "fail-b").touch()
    line.run(
        {"id": "classify", "value": "refund"},
        {
            "id": "route",
            "choose": {
                "faq": {"when": "faq", "steps": []},
                "refund": {"when": "refund", "steps": [{"id": "pay", "work": "pay"}]},
            },
        },
        {"id": "b", "work": "b", "tries": 2, "rescue": [{"id": "clean", "value": 1}]},
    )
    head, *lines, end, why = line("explain", "run/one").splitlines()
    assert head.startswith("run/one of pipeline/default/line, started 20")
    assert lines == [
        "classify [value]: it is the first",
        "route [choose]: it comes after classify",
        "  branch `input == 'refund'` is true -> refund",
        "    faq: `input == 'faq'` is false",
        "  route[refund]/pay [work]: it is the first",
        "b [work]: it comes after route",
        "  try 2, 10ms after Broken: b broke",
        "  failed after 2 tries: Broken: b broke",
        "  onFailure, because of Broken",
        "  b.onFailure/clean [value]: b failed",
    ]
    assert end.startswith("Succeeded")
    assert why == "  b was the last step"


def test_explain_tells_why_a_run_failed_and_what_was_under_way(line: Lines) -> None:
    (line.project / "fail-b").touch()
    (line.project / "hang-a").touch()
    line.run({"id": "both", "both": {"x": [WORK[0]], "y": [WORK[1]]}}, code=5)
    *_, end, culprit, others = line("explain", "run/one").splitlines()
    assert end == "Failed (Broken): b broke"
    assert culprit == "  both[y]/b failed and nothing handled it"
    assert others == "  under way then: both[x]/a"


def test_explain_of_a_suspended_run_says_how_to_answer(line: Lines) -> None:
    line.run({"id": "ask", "ask": {"message": "Pay?", "schema": APPROVED}})
    out = line("explain", "pipeline/line")
    assert "  waits for the signal ask\n" in out
    assert "\n  it is at ask\n" in out
    assert "kastra run resume run/one" in out


def test_explain_as_data_is_the_trace(line: Lines) -> None:
    line.run(*WORK[:1])
    trace = orjson.loads(line("explain", "run/one", "-o", "json"))
    assert (trace["run"], trace["phase"], trace["end"]) == ("one", "Succeeded", "finished")
    assert [entry["event"]["type"] for entry in trace["entries"]] == ["step_started", "operation", "step_finished"]
    assert "step_started" in line("explain", "run/one", "-o", "yaml")


def test_explain_tells_a_run_without_steps_by_what_it_did(line: Lines) -> None:
    line.apply(kind="Plain", name="p")
    line("run", "plain/p", "--input", "1", "--name", "one")
    out = line("explain", "run/one").splitlines()
    assert out[1].startswith("slept until 20")
    assert out[2] == "think#0 [acme.think]: done"


def test_explain_without_the_plugin_is_an_error_that_says_so(line: Lines) -> None:
    line.run(*WORK)
    err = line("--no-plugin", "pipeline", "explain", "run/one", code=1)
    assert err.startswith("error: Run default/one: no installed plugin offers the kind Pipeline of group acme.example")
    assert "Run default/none not found" in line("explain", "run/none", code=1)
    assert "run/NAME" in line("explain", "run/one", "more", code=1)


def test_a_runner_that_has_changed_is_told(line: Lines, plugins: Any) -> None:
    line.run(*WORK[:1])
    path = plugins.path / "acme_pipeline.py"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('name=step["id"])', 'name="other")'), encoding="utf-8")
    _, out, _ = line.forks.run(["explain", "run/one"], cwd=line.project, env=line.environment)
    assert "replayed over its journal this run does not end as it did" in out


# ------------------------------------------------------------------------------------------------ logs


def test_logs_of_a_run_with_steps_are_lines_of_steps(line: Lines) -> None:
    (line.project / "fail-b").touch()
    line.run(WORK[0], {"id": "b", "work": "b", "tries": 2}, code=5)
    head, *lines, end = line("logs", "run/one").splitlines()
    assert head.startswith("run/one of ")
    assert all(re.match(r"\d\d:\d\d:\d\d\.\d{3}  ", text) for text in lines)
    assert [text.split()[1:3] for text in lines] == [
        ["a", "started"],
        ["a", "ok"],
        ["b", "started"],
        ["b", "retry"],
        ["b", "started"],
        ["b", "failed"],
    ]
    assert lines[-1].endswith("Broken: b broke")
    assert re.search(r"a +ok +\d+ms  {\"did\":\"a\"", lines[1])
    assert end.startswith("Failed (Broken)")
    records = [orjson.loads(text)["path"] for text in line("logs", "run/one", "-o", "json").splitlines()]
    assert records == ["/a#0", "/b#0", "/b-wait#0", "/b#1"]


def test_logs_tell_a_wait_when_it_begins(line: Lines) -> None:
    line.run(WORK[0], {"id": "ask", "ask": {"message": "Pay?"}}, WORK[1])
    _, *before, _ = line("logs", "run/one").splitlines()
    assert before[-1].split()[1:3] == ["ask", "waits"]
    line("run", "resume", "run/one", "--data", '{"approved": true}')
    _, *after, _ = line("logs", "run/one").splitlines()
    assert after[: len(before)] == before
    assert after[len(before)].split()[1:3] == ["ask", "ok"]


def test_logs_of_branches_are_in_the_order_of_time(line: Lines) -> None:
    branches = {"x": [{"id": "nap", "sleep": 0.2}, WORK[0]], "y": [WORK[1]]}
    line.run({"id": "both", "both": branches})
    lines = [text.split()[1:3] for text in line("logs", "run/one").splitlines()[1:-1]]
    assert lines.index(["both[y]/b", "ok"]) < lines.index(["both[x]/a", "started"])


def test_follow_shows_steps_of_another_process_once_each(line: Lines) -> None:
    line.run({"id": "a", "work": "a"}, {"id": "ask", "ask": {"message": "Go on?", "schema": APPROVED}}, WORK[1])
    follower = line.start("logs", "run/one", "-f")
    try:
        assert follower.stdout is not None
        seen = [follower.stdout.readline() for _ in range(5)]
        assert "waits" in seen[-1]
        assert "for the signal ask: Go on?" in seen[-1]
        line("run", "resume", "run/one", "--data", '{"approved": true}')
        rest, _ = follower.communicate(timeout=60)
    finally:
        follower.kill()
        follower.communicate()
    words = [text.split()[1:3] for text in [*seen[1:], *rest.splitlines()[:-1]]]
    assert words == [
        ["a", "started"],
        ["a", "ok"],
        ["ask", "started"],
        ["ask", "waits"],
        ["ask", "ok"],
        ["b", "started"],
        ["b", "ok"],
    ]
    assert rest.splitlines()[-1].startswith("Succeeded")


def test_a_follower_replays_only_when_there_is_news_and_time_for_it(
    line: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    line.run(*WORK)
    replays: list[int] = []

    async def follow(runtime: RuntimeManager) -> None:
        run = await find_run(runtime, "one", None)
        records = await runtime.store.journal.records(run.metadata.uid)

        async def counting(*args: Any, **options: Any) -> Any:
            replays.append(len(options["records"]))
            return await replay(*args, **options)

        monkeypatch.setattr("kastra_core.cli.run_history.replay", counting)
        clock = [100.0]
        monkeypatch.setattr("kastra_core.cli.run_history.time.monotonic", lambda: clock[0])
        history = History(runtime, run)
        assert len(await history.lines(records[:1], over=False)) == 3
        for _ in range(3):
            assert await history.lines(records[:1], over=False) == []
        assert replays == [1]
        history._again = 101.0  # as after a replay that took a quarter of a second
        assert await history.lines(records[:2], over=False) == []
        clock[0] = 101.0
        assert len(await history.lines(records[:2], over=False)) == 2
        assert len(await history.lines(records, over=True)) == 1
        assert replays == [1, 2, 3]

    CliState().run(follow)


def test_a_damaged_record_is_shown_as_such() -> None:
    damaged = [{"e": "x"}, {"until": "soon"}, {"u": 5, "r": 1}, 7, {"c": "model", "r": [1]}, {"by": "x"}]
    steps = steps_of([Record(f"/a#{number}", record, number, 0.0) for number, record in enumerate(damaged)])
    assert [step.kind for step in steps] == ["damaged", "damaged", "damaged", "step", "model", "ended"]
    assert steps[0].detail == '{"e":"x"}'


# ------------------------------------------------------------------------------------------------ retry --from


def test_retry_from_a_step_does_not_repeat_what_came_before(line: Lines) -> None:
    (line.project / "fail-c").touch()
    line.run(*WORK, code=5)
    (line.project / "fail-c").unlink()
    out = line("run", "retry", "run/one", "--from", "c", "-o", "json")
    assert line.work == ["a", "b", "c", "c"]
    new = orjson.loads(out)
    assert (new["phase"], new["output"]["did"]) == ("Succeeded", "c")
    assert line.get(new["run"])["metadata"]["annotations"]["mastra.ai/retry-of"] == "one"
    assert [row.split()[2] for row in line.steps(new["run"])[1:]] == ["Succeeded"] * 3


def test_retry_from_a_step_that_succeeded_repeats_it_and_what_follows(line: Lines) -> None:
    line.run(*WORK)
    line("run", "retry", "run/one", "--from", "b")
    assert line.work == ["a", "b", "c", "b", "c"]


def test_retry_from_a_step_inside_a_branch_keeps_the_others(line: Lines) -> None:
    line.run({"id": "both", "both": {"x": WORK[:2], "y": [WORK[2]]}}, {"id": "d", "work": "d"})
    before = len(line.work)
    line("run", "retry", "run/one", "--from", "both[x]/b")
    assert line.work[before:] == ["b", "d"]


def test_retry_from_a_step_of_a_loop_takes_the_last_time_or_the_one_that_is_named(line: Lines) -> None:
    line.run({"id": "loop", "again": {"times": 3, "steps": [WORK[0]]}})
    assert line.work == ["a"] * 3
    line("run", "retry", "run/one", "--from", "a")
    assert line.work == ["a"] * 4
    line("run", "retry", "run/one", "--from", "loop[1]/a")
    assert line.work == ["a"] * 6


def test_retry_from_a_step_whose_time_was_over_does_not_keep_its_deadline(line: Lines) -> None:
    (line.project / "hang-b").touch()
    line.run(WORK[0], {"id": "slow", "within": 0.3, "both": {"x": [WORK[2], WORK[1]]}}, code=5)
    assert line.work == ["a", "c", "b"]
    (line.project / "hang-b").unlink()
    line("run", "retry", "run/one", "--from", "b")
    assert line.work == ["a", "c", "b", "b"]


def test_retry_from_an_unknown_step_names_the_nearest(line: Lines) -> None:
    line.run({"id": "extract", "work": "a"}, WORK[1])
    err = line("run", "retry", "run/one", "--from", "extrakt", code=1)
    assert "step 'extrakt' did not run in run/one; did you mean 'extract'? steps that ran: extract, b" in err
    line.apply(kind="Plain", name="p")
    line("run", "plain/p", "--input", "1", "--name", "plain")
    assert "run/plain has no steps" in line("run", "retry", "run/plain", "--from", "a", code=1)
    assert "--as-started goes with --from" in line("run", "retry", "run/one", "--as-started", code=1)


def test_retry_from_a_step_uses_what_stands_after_it_now(line: Lines) -> None:
    line.run(*WORK)
    line.apply(*WORK[:2], {"id": "c", "work": "new"})
    line("run", "retry", "run/one", "--from", "c")
    assert line.work == ["a", "b", "c", "new"]
    line("run", "retry", "run/one", "--from", "c", "--as-started")
    assert line.work == ["a", "b", "c", "new", "c"]


def test_retry_refuses_when_what_stands_before_the_step_has_changed(line: Lines) -> None:
    line.run(*WORK)
    line.apply(WORK[0], {"id": "fresh", "work": "fresh"}, *WORK[1:])
    err = line("run", "retry", "run/one", "--from", "c", code=1)
    assert "Pipeline line has changed before step c: step fresh comes before it now and has no result" in err
    assert "`kastra run retry run/one --from c --as-started`" in err
    assert line.work == ["a", "b", "c"]
    line.apply(WORK[0])
    err = line("run", "retry", "run/one", "--from", "c", code=1)
    assert "it does not come to that step any more" in err
    line("run", "retry", "run/one", "--from", "c", "--as-started")
    assert line.work == ["a", "b", "c", "c"]
    line("delete", "pipeline/line")
    err = line("run", "retry", "run/one", "--from", "c", code=1)
    assert "is not there any more" in err
    assert "`kastra run retry run/one --from c --as-started`" in err
    line("run", "retry", "run/one", "--from", "c", "--as-started")
    assert line.work == ["a", "b", "c", "c", "c"]


# ------------------------------------------------------------------------------------------------ resume --data


def test_resume_with_data_answers_what_the_run_awaits(line: Lines) -> None:
    line.run({"id": "ask", "ask": {"schema": APPROVED}})
    err = line("run", "resume", "run/one", "--data", '{"approved": 5}', code=1)
    assert "approved: expected a boolean, found {'approved': 5}" in err
    assert err.endswith("1 problem; nothing was sent\n")
    assert line.get("one")["status"]["phase"] == "Suspended"
    assert orjson.loads(line("run", "resume", "run/one", "--data", '{"approved": true}')) == {"approved": True}


def test_resume_with_data_needs_exactly_one_awaited_signal(line: Lines) -> None:
    line.run({"id": "both", "both": {"x": [{"id": "ask", "ask": {}}], "y": [{"id": "ask", "ask": {}}]}})
    err = line("run", "resume", "run/one", "--data", '{"approved": true}', code=1)
    assert "both[x]/ask" in err
    assert "both[y]/ask" in err
    line("run", "resume", "run/one", "--data", '{"approved": true}', "--signal", "both[x]/ask")
    out = orjson.loads(line("run", "resume", "run/one", "--data", '{"approved": false}'))
    assert out == {"x": {"approved": True}, "y": {"approved": False}}
    assert "over already" in line("run", "resume", "run/one", "--data", "1", code=1)
    assert "need the name of a run" in line("run", "resume", "--data", "1", code=1)


def test_what_had_finished_is_named_and_not_told_again(line: Lines) -> None:
    line.run(WORK[0], {"id": "both", "both": {"x": [WORK[1]]}}, {"id": "ask", "ask": {}}, WORK[2])
    done = line.kastra("run", "resume", "run/one", "--data", '{"approved": true}')
    told = [text for text in done.err.splitlines() if "step" in text]
    assert told[0] == "3 steps done before: a, both"
    assert not any("step a " in text or "step both" in text for text in told[1:])
    assert "step c started (work)" in told
    again = line.kastra("run", "retry", "run/one", "--from", "c").err.splitlines()
    assert again[0] == "4 steps done before: a, both, ask"
    assert again[1] == "step c started (work)"


def test_a_signal_that_the_run_does_not_await_is_told(line: Lines) -> None:
    line.run({"id": "ask", "ask": {"schema": APPROVED}})
    done = line.kastra("run", "resume", "run/one", "--signal", "aks", "--data", '{"approved": true}')
    assert "signal aks sent\nit is kept: the run does not await 'aks' now, but ask\n" in done.err


def test_without_data_it_is_told_what_the_run_awaits(line: Lines) -> None:
    line.run({"id": "ask", "ask": {"message": "Pay 30 EUR?", "schema": APPROVED}})
    done = line.kastra("run", "resume", "run/one")
    assert (done.code, done.out) == (0, "")
    assert "Pay 30 EUR?" in done.err
    assert "kastra run resume run/one" in done.err


def test_a_person_at_the_terminal_is_asked_for_a_plain_yes_or_no(line: Lines, kitchen: Any) -> None:
    line.run({"id": "ask", "ask": {"message": "Pay 30 EUR?", "schema": APPROVED}})
    process, terminal = kitchen.start_on_terminal("run", "resume", "run/one")
    try:
        shown = b""
        while b"approved? [y/N]" not in shown:
            shown += os.read(terminal, 4096)
        assert b"Pay 30 EUR?" in shown
        os.write(terminal, b"y\n")
        kitchen.until(lambda: line.get("one")["status"]["phase"] == "Succeeded")
        while b'"approved": true' not in shown:
            shown += os.read(terminal, 4096)
        assert process.wait(30) == 0
    finally:
        os.close(terminal)


# ------------------------------------------------------------------------------------------------ workflows

REFUND = """\
apiVersion: mastra.ai/v1
kind: Workflow
metadata: {name: refund}
spec:
  steps:
  - id: classify
    set: {label: "{{ workflow.input.label }}", total: 30}
  - id: route
    branch:
      cases:
      - {name: refund, when: "steps.classify.output.label == 'refund'", steps: [{id: pay, set: {paid: true}}]}
      - {name: faq, when: "steps.classify.output.label == 'faq'", steps: [{id: answer, set: see the FAQ}]}
  - id: fan
    foreach:
      items: [1, 2, 3]
      concurrency: 2
      steps:
      - {id: nap, sleep: 20ms}
      - {id: double, set: "{{ item * 2 }}"}
  - id: slow
    timeout: 100ms
    parallel: [{id: wait, sleep: 10m}, {id: quick, set: 1}]
    retry: {maxAttempts: 2, delay: 10ms}
    onFailure: {steps: [{id: cleanup, set: cleaned}]}
  - id: review
    suspend:
      message: "Is {{ steps.classify.output.total }} fine?"
      schema: {type: object, properties: {approved: {type: boolean}}, required: [approved]}
  - id: done
    set: "{{ steps.review.output.approved }}"
"""


@pytest.fixture
def refund(line: Lines) -> Lines:
    """``run/one`` of a workflow with a branch, a loop over items, a step that is late, and an approval."""
    (line.project / "refund.yaml").write_text(REFUND, encoding="utf-8")
    line("apply", "-f", "refund.yaml")
    line("run", "workflow/refund", "--set", "label=refund", "--name", "one")
    return line


def test_a_workflow_is_described_explained_and_logged(refund: Lines) -> None:
    rows = {row.split()[0]: row.split()[1:4] for row in refund.steps()[1:]}
    assert rows["route[refund]/pay"] == ["set", "Succeeded", "1"]
    assert rows["fan[2]/double"] == ["set", "Succeeded", "1"]
    assert rows["slow"] == ["parallel", "Failed", "2"]
    assert rows["slow[wait]/wait"] == ["sleep", "Cancelled", "1"]
    assert rows["slow@2[wait]/wait"] == ["sleep", "Cancelled", "1"]
    assert rows["slow.onFailure/cleanup"] == ["set", "Succeeded", "1"]
    assert rows["review"] == ["suspend", "Waiting", "1"]
    assert "Is 30 fine?" in refund("describe", "run/one")

    told = refund("explain", "run/one").splitlines()
    assert told[1] == "classify [set]: the workflow begins with it"
    assert "  branch `steps.classify.output.label == 'refund'` is true -> refund" in told
    assert "    faq: `steps.classify.output.label == 'faq'` was not looked at" in told
    assert "  route[refund]/pay [set]: case refund of route is true and begins with it" in told
    assert any(re.fullmatch(r"  try 2, \d+ms after Timeout: it was not done within 0.1 s", text) for text in told)
    assert "  failed after 2 tries: Timeout: it was not done within 0.1 s" in told
    assert "  onFailure, because of Timeout" in told
    assert "  it is at review" in told

    lines = [text.split()[1:3] for text in refund("logs", "run/one").splitlines()[1:-1]]
    first = min(lines.index([f"fan[{number}]/double", "ok"]) for number in (0, 1))
    assert first < lines.index(["fan[2]/nap", "started"])  # it waited for a place
    assert ["slow", "retry"] in lines
    assert lines[-1] == ["review", "waits"]


def test_a_workflow_goes_on_when_it_is_answered_and_from_a_step(refund: Lines) -> None:
    err = refund("run", "resume", "run/one", "--data", '{"approved": 5}', code=1)
    assert "approved: 5 is not of type" in err
    assert refund("run", "resume", "run/one", "--data", '{"approved": true}') == "true\n"
    assert refund("explain", "run/one").endswith("\n  done was the last step\n")
    new = orjson.loads(refund("run", "retry", "run/one", "--from", "done", "-o", "json"))
    assert (new["phase"], new["output"]) == ("Succeeded", True)
    again = orjson.loads(refund("run", "retry", "run/one", "--from", "review", "-o", "json"))
    assert again["phase"] == "Suspended"
    # What comes before the step has changed so that it waits.
    changed = REFUND.replace("  - id: slow\n", "  - {id: pause, waitForEvent: go}\n  - id: slow\n")
    (refund.project / "refund.yaml").write_text(changed, encoding="utf-8")
    refund("apply", "-f", "refund.yaml")
    err = refund("run", "retry", "run/one", "--from", "done", code=1)
    assert "Workflow refund has changed before step done: step pause comes before it now" in err
    assert refund("run", "retry", "run/one", "--from", "done", "--as-started") == "true\n"


def test_the_trace_of_a_workflow_is_what_a_listener_saw(line: Lines) -> None:
    # A run that never waits long is executed once, so its listener sees nothing twice.
    text = REFUND.replace("  - id: review\n", "  - id: review\n    set: {approved: true}\n")
    text = re.sub(r"    suspend:\n(      .*\n)+", "", text).replace("sleep: 10m", "sleep: 1s")
    (line.project / "refund.yaml").write_text(text, encoding="utf-8")
    line("apply", "-f", "refund.yaml")
    out = line("run", "workflow/refund", "--set", "label=faq", "--name", "one", "-o", "events")
    own = {"step_started", "step_finished", "step_retry", "decision"}
    live = [event for event in map(orjson.loads, out.splitlines()) if event["type"] in own]
    entries = orjson.loads(line("explain", "run/one", "-o", "json"))["entries"]
    told = [entry["event"] for entry in entries if entry["event"]["type"] in own]
    assert len(live) > 30
    for path in {event["path"] for event in live} | {event["path"] for event in told}:
        assert [event for event in told if event["path"] == path] == [event for event in live if event["path"] == path]
