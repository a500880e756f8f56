"""What a person sees of networks: members speak in turn in run and chat; explain, describe, logs and get afterwards."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import click
import orjson
import pytest

from kastra_core.api.meta import JsonObject
from kastra_core.cli.run_progress import Progress
from kastra_core.cli.run_routing import Routing, ranked
from kastra_core.cli.run_screen import ErrorLines, Screen

ROUTER_PLUGIN = '''
from kastra_core import hookimpl
from kastra_core.registrations import OperationRegistration


async def script(ctx, arguments):
    """The choice that the network's options name for this step."""
    choices = arguments["options"]["choices"]
    return choices[min(arguments["step"], len(choices)) - 1]


@hookimpl
def kastra_operations():
    yield OperationRegistration(name="router.script", handler="router_plugin:script")
'''

TECH = {
    "agent": "tech",
    "input": "SAY(No fault found.)",
    "reason": "先看是不是技术问题",
    "done": False,
    "scores": {"tech": 0.81, "billing": 0.7912, "desk": -0.1},
}
BILLING = {"agent": "billing", "input": "SAY(You were charged twice.)", "reason": "an invoice", "done": True}
DONE = {"agent": None, "reason": "all was said", "done": True}


def member(name: str, output: str | None = None) -> JsonObject:
    spec = {"description": f"Does {name}.", "instructions": name, "model": {"provider": "openai", "name": "mock"}}
    if output is not None:
        spec["output"] = {"schema": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}}
    return {"apiVersion": "mastra.ai/v1", "kind": "Agent", "metadata": {"name": name}, "spec": spec}


class Office:
    """A project with the agents billing, tech and form; ``route`` makes a network whose choices are given."""

    def __init__(self, kastra: Callable[..., Any], project: Path) -> None:
        self.kastra, self.project = kastra, project
        self.apply(member("billing"), member("tech"), member("form", "json"))

    def __call__(self, *args: str, code: int = 0) -> str:
        done = self.kastra(*args)
        assert done.code == code, done.err
        return str(done.err if code else done.out)

    def apply(self, *manifests: JsonObject) -> None:
        (self.project / "m.yaml").write_text(
            "\n---\n".join(orjson.dumps(manifest).decode() for manifest in manifests), encoding="utf-8"
        )
        self("apply", "-f", "m.yaml")

    def route(self, *choices: JsonObject, name: str = "desk", **spec: Any) -> None:
        router = {"type": "script", "options": {"choices": choices}, "model": "openai/mock", **spec.pop("router", {})}
        full = {"agents": [{"ref": "billing"}, {"ref": "tech"}, {"ref": "form"}], "router": router, **spec}
        self.apply({"apiVersion": "mastra.ai/v1", "kind": "Network", "metadata": {"name": name}, "spec": full})

    def run(self, *args: str, name: str = "one", code: int = 0) -> Any:
        done = self.kastra("run", *args, "--name", name)
        assert done.code == code, done.err
        return done

    def explain(self, name: str = "one") -> list[str]:
        """The lines between head and end."""
        return self("explain", f"run/{name}").splitlines()


@pytest.fixture
def office(
    kastra: Callable[..., Any], project: Path, plugins: Any, mock_openai: Any, monkeypatch: pytest.MonkeyPatch
) -> Office:
    plugins.install("router", ROUTER_PLUGIN)
    monkeypatch.setenv("OFFICE_KEY", "k")
    (project / ".kastra").mkdir()
    (project / ".kastra" / "config.yaml").write_text(
        f"providers:\n  openai:\n    apiBase: {mock_openai.base_url}\n    apiKey: {{valueFrom: {{env: OFFICE_KEY}}}}\n",
        encoding="utf-8",
    )
    return Office(kastra, project)


# ------------------------------------------------------------------------------------------------ in a pipe


def test_a_pipe_gets_the_answer_only_and_stderr_who_said_what(office: Office) -> None:
    office.route(TECH, BILLING)
    done = office.run("network/desk", "My bill is wrong")
    assert done.out == "You were charged twice.\n"
    assert done.err.splitlines() == [
        "-> tech: 先看是不是技术问题",
        "<- tech No fault found.",
        "-> billing: an invoice",
    ]
    assert orjson.loads(office("run", "network/desk", "x", "-o", "json"))["reason"] == "Completed"


def test_asked_to_stream_into_a_pipe_only_the_last_member_speaks_there(office: Office) -> None:
    office.route(TECH, BILLING)
    assert office.run("network/desk", "x", "--stream").out == "You were charged twice.\n"
    office.route(TECH, {**BILLING, "done": False}, DONE)
    assert office.run("network/desk", "x", "--stream", name="two").out == "You were charged twice.\n"


def test_a_failed_member_is_told_and_the_run_goes_on(office: Office) -> None:
    office.route({**TECH, "input": "FAIL(400)"}, BILLING)
    told = office.run("network/desk", "x").err.splitlines()
    assert told[1].startswith("<- tech failed: InvalidRequest: ")
    assert told[2] == "-> billing: an invoice"
    lines = office.explain()
    assert re.fullmatch(r" {4}failed in \d+ms \(run/one-[0-9a-f]{12}\): InvalidRequest: .*mock error 400", lines[4])


def test_a_run_that_ends_without_an_answer_tells_how_far_it_came(office: Office) -> None:
    office.route(TECH, router={"maxSteps": 2})
    done = office.run("network/desk", "x", code=5)
    assert done.out == ""
    assert "<- tech No fault found." in done.err
    assert "run/one ended without an answer (MaxSteps)" in done.err
    command = "kastra get run/one -o jsonpath={.status.output}"
    assert f"`{command}` prints how far it came" in done.err
    assert office(*command.split()[1:]).strip() == "No fault found."


def test_a_chat_with_a_network_keeps_the_thread_and_nothing_but_answers_goes_into_a_pipe(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.route(TECH, BILLING)
    monkeypatch.setattr(sys, "stdin", io.StringIO("你好\nMy bill?\n"))
    assert office("chat", "network/desk", "--thread", "t") == "You were charged twice.\n" * 2
    shown = office("threads", "show", "t")
    assert [line for line in shown.splitlines() if line.startswith("  ")] == [
        "  你好",
        "  You were charged twice.",
        "  My bill?",
        "  You were charged twice.",
    ]
    rows = office("get", "runs", "-o", "wide").splitlines()
    assert [row.split()[1:5] for row in rows[1:]] == [["Network", "desk", "Succeeded", "Completed"]] * 2
    assert [row.split()[8] for row in rows[1:]] == ["t", "t"]


def test_a_chat_says_whose_model_another_one_replaces(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    office.route(router={"type": "embedding", "model": None, "options": {}})
    monkeypatch.setattr(sys, "stdin", io.StringIO("/model\n/model openai/other\n/model default\n"))
    done = office.kastra("chat", "network/desk", "--thread", "t")
    own = "network/desk has no model of its own; what it calls answers with its own"
    assert done.err.splitlines()[1:] == [own, "model openai/other, for what network/desk calls", own]


def test_a_chat_with_what_keeps_no_conversation_says_so_once(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    office.route(BILLING, memory={"enabled": False})
    monkeypatch.setattr(sys, "stdin", io.StringIO("One\nTwo\n"))
    done = office.kastra("chat", "network/desk", "--thread", "t")
    note = "note: network/desk keeps no conversation; each turn stands alone"
    assert done.err.splitlines().count(note) == 1
    office.route(BILLING)
    monkeypatch.setattr(sys, "stdin", io.StringIO("One\n"))
    assert "keeps no conversation" not in office.kastra("chat", "network/desk", "--thread", "t").err


def test_a_network_without_input_says_how_to_give_some(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    office.route(DONE)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    assert "network/desk needs input" in office("run", "network/desk", code=1)


# ------------------------------------------------------------------------------------------------ on a terminal


class Glass(io.StringIO):
    """A terminal: stdout and stderr in one, as a person sees them."""

    def isatty(self) -> bool:
        return True


def decision(step: int, chosen: str, *, done: bool = False, **more: Any) -> JsonObject:
    event = {"type": "decision", "kind": "route", "step": step, "router": "model", "chosen": chosen, "done": done}
    return {**event, "reason": f"why {chosen or 'done'}", "input": "ask", "candidates": [], **more}


def began(step: int, name: str, body: str = "agent") -> JsonObject:
    place = {"step": str(step), "path": str(step), "name": name, "body": f"{body} {name}"}
    return {"type": "step_started", **place, "input": "ask", "attempt": 1}


def over(step: int, output: Any = None, error: JsonObject | None = None) -> JsonObject:
    event = {"type": "step_finished", "step": str(step), "path": str(step), "attempts": 1}
    return {**event, "phase": "Failed", "error": error} if error else {**event, "phase": "Succeeded", "output": output}


def of(run: str, *events: JsonObject, path: str = "/member:x#0") -> list[JsonObject]:
    return [{"type": "child", "path": path, "run": run, "event": event} for event in events]


def text(*parts: str) -> list[JsonObject]:
    return [{"type": "text", "text": part} for part in parts]


def shown(events: Iterable[JsonObject], output: Any, *, quiet: bool = False, before: Sequence[JsonObject] = ()) -> str:
    """What stands on the terminal after these events of a run."""
    glass = Glass()
    with contextlib.redirect_stdout(glass), contextlib.redirect_stderr(glass):
        screen = Screen(ErrorLines(quiet=quiet), stream=True)
        screen.take_over(before)
        for event in events:
            screen.event(event)
        screen.finish(output)
    return click.unstyle(glass.getvalue())


ASK_TWO = [
    decision(1, "tech"),
    began(1, "tech"),
    *of("r-a", *text("No ", "fault.")),
    over(1, "No fault."),
    decision(2, "billing"),
    began(2, "billing"),
    *of("r-b", {"type": "tool_call", "name": "find", "arguments": {"q": "鸡"}}),
    *of("r-b", {"type": "tool_result", "name": "find", "response": ["one"]}),
    *of("r-b", *text("Charged", " twice.")),
    over(2, "Charged twice."),
    decision(3, "", done=True),
]


def test_members_speak_in_turn_and_the_last_answer_is_not_written_again() -> None:
    assert shown(ASK_TWO, "Charged twice.") == (
        "-> tech: why tech\n"
        "No fault.\n"
        "-> billing: why billing\n"
        '  -> find {"q":"鸡"}\n'
        '  <- find ["one"]\n'
        "Charged twice.\n"
    )


def test_an_answer_that_is_written_as_data_is_not_told_again_beside_it() -> None:
    glass = Glass()
    with contextlib.redirect_stdout(glass), contextlib.redirect_stderr(glass):
        screen = Screen(ErrorLines(), stream=True, answer=False)
        for event in (decision(1, "refund", done=True), began(1, "refund", "tool"), over(1, ["鸡"])):
            screen.event(event)
        screen.finish(["鸡"])
        screen.stop()
    assert click.unstyle(glass.getvalue()) == "-> refund: why refund\n"


def test_quiet_leaves_the_words_only() -> None:
    assert shown(ASK_TWO, "Charged twice.", quiet=True) == "No fault.\nCharged twice.\n"


def test_an_output_that_nobody_said_is_written() -> None:
    assert (
        shown([decision(1, "find", done=True), began(1, "find", "tool"), over(1, ["鸡"])], ["鸡"])
        == '-> find: why find\n[\n  "鸡"\n]\n'
    )


def test_json_that_a_member_said_is_the_output() -> None:
    events = [decision(1, "form", done=True), began(1, "form"), *of("r", *text('{"n":', " 4}")), over(1, {"n": 4})]
    assert shown(events, {"n": 4}) == '-> form: why form\n{"n": 4}\n'


def test_an_answer_in_the_router_s_words_is_told_from_the_member_s() -> None:
    assert (
        shown([*ASK_TWO[:4], decision(2, "", done=True), *text("All is well.")], "All is well.")
        == "-> tech: why tech\nNo fault.\nin the router's words:\nAll is well.\n"
    )


def test_a_network_in_a_network_speaks_one_level_deeper() -> None:
    inner = [decision(1, "tech", done=True), began(1, "tech"), *of("r-i", *text("Fine.")), over(1, "Fine.")]
    assert (
        shown(
            [decision(1, "desk", done=True), began(1, "desk", "network"), *of("r-n", *inner), over(1, "Fine.")], "Fine."
        )
        == "-> desk: why desk\n  -> tech: why tech\nFine.\n"
    )


def test_the_words_of_agents_in_a_member_workflow_are_its_own_affair() -> None:
    steps = [began(1, "tech"), *of("r-i", *text("secret draft"), path="/a#0"), over(1, "draft")]
    events = [decision(1, "flow", done=True), began(1, "flow", "workflow"), *of("r-w", *steps), over(1, "done")]
    told = shown(events, "done")
    lines = told.splitlines()
    assert lines[:2] == ["-> flow: why flow", "  step 1 started (agent tech)"]
    assert lines[-1] == "done"
    assert "secret" not in told


def test_a_member_that_fails_in_mid_sentence_does_not_stand_before_the_next() -> None:
    failed = over(1, error={"reason": "Timeout", "message": "too slow\x1b[2J"})
    events = [decision(1, "tech"), began(1, "tech"), *of("r-a", *text("No fa")), failed]
    fallback = decision(2, "billing", done=True, fallback=True, repaired=2)
    assert shown([*events, fallback, began(2, "billing"), *of("r-b", *text("Yes."))], "Yes.") == (
        "-> tech: why tech\nNo fa\n<- tech failed: Timeout: too slow[2J\n"
        "-> billing (fallback, after 2 repairs): why billing\nYes.\n"
    )


def test_an_answer_that_a_member_begins_again_is_written_once() -> None:
    again = {"type": "model_retry", "wait_s": 0.5, "message": "busy"}
    assert (
        shown([*ASK_TWO[:2], *of("r-a", *text("No "), again, *text("No ", "fault."))], "No fault.")
        == "-> tech: why tech\nNo \n  trying again in 0.5 s: busy\nfault.\n"
    )


def test_what_was_done_before_a_resume_is_one_line_and_comes_but_once() -> None:
    # A member that has answered says nothing again.
    events = [event for event in ASK_TWO if event["type"] != "child" or event["run"] == "r-b"]
    told = shown(events, "Charged twice.", before=ASK_TWO[:6])
    lines = told.splitlines()
    assert lines[:2] == ["1 member answered before: tech", "-> billing: why billing"]
    assert lines[-1] == "Charged twice."
    assert told.count("tech") == 1


def test_a_network_that_an_agent_calls_tells_its_choices_and_keeps_its_words() -> None:
    inner = [decision(1, "tech"), began(1, "tech"), *of("r-i", *text("to the network")), over(1, "hi")]
    assert (
        shown([{"type": "tool_call", "name": "desk", "arguments": {}}, *of("r-n", *inner), *text("Done.")], "Done.")
        == "-> desk {}\n  -> tech: why tech\nDone.\n"
    )


def test_a_network_as_a_step_of_a_workflow_shows_its_members_as_steps(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(ErrorLines())
    progress.event({**began(1, "ask"), "step": "ask", "path": "ask", "body": "network"})
    inside = [
        decision(1, "tech"),
        began(1, "tech"),
        *of("r-i", {"type": "model_retry", "wait_s": 1, "message": "busy"}, path="/member:tech#0"),
        over(1, "hi"),
    ]
    for event in of("r-n", *inside, path="/ask#0"):
        progress.child(event)
    told = [re.sub(r"\d+\.\ds$", "0s", line) for line in capsys.readouterr().err.splitlines()]
    assert told == [
        "step ask started (network)",
        "step ask/1 started (agent tech)",
        "step ask/1: trying again in 1.0 s: busy",
        "step ask/1 succeeded in 0s",
    ]


def test_candidates_stand_best_first_and_those_without_a_score_last() -> None:
    found = ranked({"candidates": [{"name": "a"}, {"name": "b", "score": 0.1}, 7, {"name": "c", "score": 0.9}]})
    assert [item["name"] for item in found] == ["c", "b", "a"]


def test_lines_about_choices_are_safe_whatever_events_hold() -> None:
    routing = Routing()
    assert list(routing.lines(decision(1, "", reason="nobody\nfits"))) == ["no member fits: nobody fits"]
    assert list(routing.lines({"type": "step_started", "step": "9", "why": None})) == ["-> 9"]
    assert list(routing.lines({"type": "step_finished", "step": "9", "phase": "Failed"})) == [
        "<- 9 failed: it gave no answer"
    ]


# ------------------------------------------------------------------------------------------------ afterwards


def test_explain_tells_each_choice_with_its_candidates_and_what_came_of_it(office: Office) -> None:
    office.route(TECH, {**BILLING, "done": False}, DONE)
    office.run("network/desk", "x")
    head, *lines = office.explain()
    assert head.startswith("run/one of network/default/desk, started ")
    told = [re.sub(r"\d+ms|run/one-[0-9a-f]{12}", "*", line) for line in lines]
    assert told[:8] == [
        "1 -> tech: 先看是不是技术问题",
        "    by script, of tech 0.810, billing 0.791, form",
        "    asked: SAY(No fault found.)",
        "    ok in * (*): No fault found.",
        "2 -> billing: an invoice",
        "    by script, of billing, tech, form",
        "    asked: SAY(You were charged twice.)",
        "    ok in * (*): You were charged twice.",
    ]
    assert told[8:10] == ["3 done: all was said", "    by script"]
    assert told[10].startswith("Succeeded: 2 model calls, ")
    assert told[11] == "  Completed: the router was done; 2 members were called"


def test_explain_as_data_keeps_all(office: Office) -> None:
    office.route(TECH, BILLING)
    office.run("network/desk", "x")
    data = orjson.loads(office("explain", "run/one", "-o", "json"))
    assert (data["reason"], data["end"]) == ("Completed", "finished")
    [first, second] = [e["event"] for e in data["entries"] if e["event"]["type"] == "decision"]
    assert {item["name"]: item.get("score") for item in first["candidates"]} == {
        "billing": 0.7912,
        "tech": 0.81,
        "form": None,
    }
    assert (second["input"], second["done"]) == ("SAY(You were charged twice.)", True)
    assert sorted(child["target"]["name"] for child in data["children"]) == ["billing", "tech"]


def test_explain_tells_why_a_network_gave_up(office: Office) -> None:
    office.route(TECH, router={"maxSteps": 2})
    office.run("network/desk", "x", code=5)
    lines = office.explain()
    assert lines[-2] == "Failed (MaxSteps): 2 members were called (spec.router.maxSteps) and the router was not done"
    assert lines[-1] == "  2 members were called, and status.output keeps the last answer"
    office.run("network/desk", "x", "--limit", "maxModelCalls=1", name="two", code=5)
    lines = office.explain("two")
    assert lines[-3].startswith("Failed (LimitExceeded): ")
    assert lines[-2:] == ["  under way then: agent tech", "  2 members were called"]


def test_explain_points_to_the_runs_of_networks_within(office: Office) -> None:
    office.route(BILLING)
    outer = {**BILLING, "agent": "desk", "input": "help"}
    office.route(outer, name="outer", networks=[{"ref": "desk"}])
    office.run("network/outer", "x")
    [pointer] = [line for line in office.explain() if "tells more" in line]
    found = re.fullmatch(r" {4}`kastra explain run/(one-[0-9a-f]{12})` tells more", pointer)
    assert found is not None
    assert "1 -> billing: an invoice" in office.explain(found[1])

    steps = [{"id": "ask", "network": "desk", "input": "help"}]
    flow = {"apiVersion": "mastra.ai/v1", "kind": "Workflow", "metadata": {"name": "flow"}, "spec": {"steps": steps}}
    office.apply(flow)
    office.run("workflow/flow", "--input", "{}", name="two")
    lines = office.explain("two")
    assert re.fullmatch(r"  `kastra explain run/two-[0-9a-f]{12}` tells more", lines[2])


def test_a_network_run_is_described_and_logged_by_its_steps(office: Office) -> None:
    office.route(TECH, BILLING)
    office.run("network/desk", "x")
    page = office("describe", "run/one")
    header, *rows = page[page.index("\nSteps:\n") + 8 : page.index("\nEvents:")].splitlines()
    assert header.split()[-2:] == ["INPUT", "OUTPUT"]
    assert [row.split()[:4] for row in rows] == [
        ["1", "agent", "tech", "Succeeded"],
        ["2", "agent", "billing", "Succeeded"],
    ]
    assert rows[1].endswith("SAY(You were charged twice.)   You were charged twice.")
    log = office("logs", "run/one").splitlines()
    assert [line.split()[2] for line in log[1:-1]] == ["decided", "started", "ok"] * 2
    assert log[1].endswith("route -> tech: 先看是不是技术问题")


def test_a_network_is_described_with_its_members(office: Office) -> None:
    office.route(DONE)
    page = office("describe", "network/desk")
    assert re.search(r"spec\.agents\[0\] +Agent default/billing +Ready", page)
    assert re.search(r"Ready +True +Ready", page)


def test_a_network_that_waits_for_a_person_says_which_run_does(office: Office) -> None:
    office.apply(
        {
            "apiVersion": "mastra.ai/v1",
            "kind": "Workflow",
            "metadata": {"name": "approve"},
            "spec": {"steps": [{"id": "ask", "suspend": {"message": "Pay 30 EUR?"}}]},
        }
    )
    office.route(TECH, {**BILLING, "agent": "approve", "input": "{}"}, workflows=[{"ref": "approve"}])
    done = office.run("network/desk", "x")
    assert "Pay 30 EUR?" in done.err
    lines = [re.sub(r"run/one-[0-9a-f]{12}", "*", line) for line in office.explain()]
    assert lines[-4:] == [
        "    it has not answered yet (*: Suspended)",
        "    `kastra explain *` tells more",
        "Suspended",
        "  it is at workflow approve",
    ]
    [child] = set(re.findall(r"run/one-[0-9a-f]{12}", done.err))
    assert office("run", "resume", child, "--data", '{"paid": true}')
    resumed = office.kastra("run", "resume", "run/one")
    assert orjson.loads(resumed.out) == {"paid": True}


def test_another_model_routes_and_answers_when_it_is_asked_for(office: Office, mock_openai: Any) -> None:
    choice = orjson.dumps({**BILLING, "scores": None}).decode()
    office.route(router={"type": "model", "model": "openai/mock", "options": {}})
    assert office.run("network/desk", f"JSON({choice})", "--model", "openai/other").out == "You were charged twice.\n"
    assert mock_openai.last()["model"] == "other"
    assert "nope" in office("run", "network/desk", "x", "--model", "nope/x", code=1)
