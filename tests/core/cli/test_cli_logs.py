"""``kastra logs``: the steps of runs, also while another process executes them."""

from __future__ import annotations

import re
from typing import Any

import orjson

from kastra_core.api.meta import ObjectMeta, Resource, ResourceKey
from kastra_core.cli.run_view import describe_run, steps_of
from kastra_core.memory_store import MemoryStore
from kastra_core.protocols.store import AppendRecord, ClaimRun, Record

FIND = 'CALL(recipe-finder:{"ingredients":["egg"]}) SAY(Egg soup.)'
ASSISTANT = ("agent/recipe-assistant", "-n", "cooking")


def test_logs_show_calls_arguments_results_and_tokens(kitchen: Any) -> None:
    kitchen("run", *ASSISTANT, FIND, "--name", "one")
    done = kitchen("logs", "run/one", "-n", "cooking")
    assert done.code == 0
    head, first, tool, last, end = done.out.splitlines()
    assert head.startswith("run/one of agent/cooking/recipe-assistant, started 20")
    assert re.match(
        r'\d\d:\d\d:\d\d\.\d{3}  chat#0 +ok +\d+ms  \d+\+\d+ tokens, tool_calls -> recipe-finder {"ingr', first
    )
    assert re.search(r'all#0\[0\]/recipe-finder#0 +ok +\d+ms  \["egg soup"\]$', tool)
    assert last.endswith("tokens, stop Egg soup.")
    assert end.startswith("Succeeded: 2 model calls, 1 tool call, ")


def test_logs_of_a_failed_run_show_the_error(kitchen: Any) -> None:
    kitchen("run", "agent/plain", "FAIL(400)", "--name", "one")
    out = kitchen("logs", "one").out
    assert re.search(r"chat#0 +error +\d+ms  InvalidRequest: openai/mock: mock error 400", out)
    assert out.splitlines()[-1].startswith("Failed (InvalidRequest): ")


def test_logs_of_an_agent_are_those_of_its_last_run(kitchen: Any) -> None:
    assert "has no runs yet" in kitchen("logs", "agent/plain").err
    kitchen("run", "agent/plain", "--name", "one", "hi")
    kitchen("run", "agent/plain", "--name", "two", "hi")
    assert kitchen("logs", "agent/plain").out.startswith("run/two of ")


def test_describe_shows_the_steps_of_a_run_before_its_events(kitchen: Any) -> None:
    kitchen("run", *ASSISTANT, FIND, "--name", "one")
    out = kitchen("describe", "run/one", "-n", "cooking").out
    steps = out[out.index("\nSteps:\n") : out.index("\nEvents:")].splitlines()
    assert steps[2].split() == ["PATH", "KIND", "OK", "MS", "TOKENS", "RESULT"]
    assert [line.split()[:3] for line in steps[3:]] == [
        ["chat#0", "model", "ok"],
        ["all#0[0]/recipe-finder#0", "tool", "ok"],
        ["chat#1", "model", "ok"],
    ]
    assert "Steps" not in kitchen("describe", *ASSISTANT).out


def test_logs_as_json_are_the_records(kitchen: Any) -> None:
    kitchen("run", *ASSISTANT, FIND, "--name", "one")
    lines = [orjson.loads(line) for line in kitchen("logs", "run/one", "-n", "cooking", "-o", "json").out.splitlines()]
    assert [line["path"] for line in lines] == ["/chat#0", "/all#0[0]/recipe-finder#0", "/chat#1"]
    assert lines[1]["record"]["r"] == {"output": ["egg soup"]}


def test_follow_shows_steps_of_another_process_until_the_run_ends(kitchen: Any) -> None:
    running = kitchen.start("run", *ASSISTANT, FIND + " SLEEP(3000)", "--name", "one")
    kitchen.asked(1)
    follower = kitchen.start("logs", "run/one", "-n", "cooking", "-f")
    assert follower.stdout.readline().startswith(b"run/one of ")
    assert b"chat#0" in follower.stdout.readline()
    assert b"recipe-finder#0" in follower.stdout.readline()
    assert running.poll() is None  # the second answer takes its time
    rest = follower.stdout.read().decode()
    assert follower.wait(30) == 0
    assert "Egg soup." in rest
    assert "\nSucceeded: " in rest


def test_follow_says_when_the_process_of_the_run_has_ended(kitchen: Any) -> None:
    running = kitchen.start("run", "agent/plain", "SLEEP(60000)", "--name", "one")
    kitchen.asked(1)
    running.kill()
    running.wait()
    follower = kitchen.start("logs", "run/one", "-f")
    assert b"its process ended; `kastra run resume run/one` goes on" in follower.stderr.readline()
    assert kitchen("run", "cancel", "run/one").code == 0
    assert follower.wait(30) == 0


def test_what_has_no_logs_is_told(kitchen: Any) -> None:
    assert "Run default/none not found" in kitchen("logs", "run/none").err
    kitchen("run", *ASSISTANT, FIND, "--name", "one")
    assert "add -n cooking" in kitchen("logs", "run/one").err


def record(path: str, value: dict[str, Any]) -> Record:
    return Record(path, value, 1, 0.0)


def test_steps_tell_what_kind_they_are() -> None:
    answer = {"message": {"role": "assistant", "parts": []}, "finish_reason": "stop", "usage": {"input_tokens": 3}}
    steps = steps_of(
        [
            record("/chat#0", {"r": answer, "ms": 7}),
            record("/all#0[0]/find#0", {"e": {"reason": "ToolFailed", "message": "no\nluck"}, "ms": 1}),
            record("/ask#0", {"r": "x", "u": {"inputTokens": 1, "outputTokens": 2}}),
            record("/sleep#0", {"until": 5.0}),
            record("/signal:open#0", {"r": None, "sig": 4}),
            record("/now#0", {"r": 5.0}),
            record("/pay#0!", {}),
            record("/pay#0", {"r": {"paid": True}, "ms": 3}),
        ]
    )
    assert [step.kind for step in steps] == ["model", "tool", "run", "sleep", "signal", "now", "start", "step"]
    assert [step.ok for step in steps] == [True, False] + [True] * 6
    assert (steps[0].tokens, steps[2].tokens) == ((3, 0), (1, 2))
    assert steps[1].detail == "ToolFailed: no luck"


async def test_a_run_is_described_by_a_table_of_its_steps() -> None:

    class Runtime:
        store = MemoryStore()

    meta = ObjectMeta(name="r", namespace="default", uid="u")
    run = Resource(api_version="mastra.ai/v1", kind="Run", metadata=meta)
    assert await describe_run(Runtime(), run) == ""  # type: ignore[arg-type]
    key = ResourceKey("mastra.ai", "Run", "default", "r")
    await Runtime.store.commit(
        [ClaimRun("u", key, "w"), AppendRecord("u", "/find#0", {"r": {"output": 1}, "ms": 4}, 1)]
    )
    lines = (await describe_run(Runtime(), run)).splitlines()  # type: ignore[arg-type]
    assert lines[0] == "Steps:"
    assert lines[1].split() == ["PATH", "KIND", "OK", "MS", "TOKENS", "RESULT"]
    assert lines[2].split() == ["find#0", "tool", "ok", "4", "1"]
