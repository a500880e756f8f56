"""``kastra run``: answers, what goes where, exit codes, Ctrl-C. Real processes, a real store, a server on loopback."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import Any

import orjson
import pytest

from kastra_core.cli.run_input import read_input, read_value
from kastra_core.cli.run_screen import ErrorLines, Screen, usage_words
from kastra_core.errors import UserError

FIND = 'CALL(recipe-finder:{"ingredients":["egg","rice"]}) SAY(Egg soup.)'
ASSISTANT = ("agent/recipe-assistant", "-n", "cooking")


# ------------------------------------------------------------------------------------------------ the answer


def test_only_the_answer_goes_to_stdout(kitchen: Any) -> None:
    done = kitchen("run", "agent/plain", "Say", "hello")
    assert (done.code, done.out, done.err) == (0, "Hello from the mock.\n", "")


def test_words_are_joined_to_the_input(kitchen: Any) -> None:
    kitchen("run", "agent/plain", "Say", "hello", "now")
    assert kitchen.server.last()["messages"][-1] == {"role": "user", "content": "Say hello now"}


def test_text_arrives_in_a_pipe_before_the_answer_is_complete(kitchen: Any) -> None:
    kitchen.server.mock.chunk_latency = 0.2
    process = kitchen.start("run", "agent/plain", "TOKENS(12)")
    first = os.read(process.stdout.fileno(), 100)
    assert first
    assert b"word11" not in first
    assert process.poll() is None
    rest = process.stdout.read()
    assert first + rest == b" ".join(b"word%d" % n for n in range(12)) + b"\n"
    assert process.wait() == 0


def test_no_stream_asks_the_model_for_the_whole_answer(kitchen: Any) -> None:
    assert kitchen("run", "agent/plain", "--no-stream", "SAY(all at once)").out == "all at once\n"
    assert not kitchen.server.last().get("stream")


def test_tool_calls_and_results_are_told_on_stderr(kitchen: Any) -> None:
    done = kitchen("run", *ASSISTANT, FIND)
    assert (done.code, done.out) == (0, "Egg soup.\n")
    assert done.err.splitlines() == [
        '-> recipe-finder {"ingredients":["egg","rice"]}',
        '<- recipe-finder 2 results ["egg soup","rice soup"]',
    ]
    assert kitchen.lines_of("calls.txt") == 1


def test_quiet_tells_nothing_on_stderr(kitchen: Any) -> None:
    done = kitchen("-q", "run", *ASSISTANT, FIND)
    assert (done.out, done.err) == ("Egg soup.\n", "")


def test_a_tool_is_run_with_typed_values(kitchen: Any) -> None:
    done = kitchen("run", "tool/season", "--set", "spice=no", "--set", "grams=3", "--set", "fresh=yes")
    assert done.code == 5  # `no` is false in YAML, and a spice is a text
    done = kitchen("run", "tool/season", "--set", 'spice="no"', "--set", "grams=3", "--set", "fresh=yes")
    assert orjson.loads(done.out) == {"spice": "no", "grams": 3, "fresh": True}


def test_input_comes_from_a_pipe_a_file_and_a_dash(kitchen: Any) -> None:
    kitchen("run", "agent/plain", stdin="from the pipe\n")
    assert kitchen.server.last()["messages"][-1]["content"] == "from the pipe"
    kitchen("run", "agent/plain", "Summarize:", "-", stdin="a text")
    assert kitchen.server.last()["messages"][-1]["content"] == "Summarize: a text"
    (kitchen.path / "in.json").write_text('{"ingredients": ["q"]}', encoding="utf-8")
    done = kitchen("run", "tool/recipe-finder", "-n", "cooking", "--input", "@in.json")
    assert orjson.loads(done.out) == ["q soup"]


def test_an_agent_without_input_is_an_error_and_makes_no_run(kitchen: Any) -> None:
    done = kitchen("run", "agent/plain")
    assert done.code == 1
    assert "needs input" in done.err
    assert kitchen.runs() == []


def test_a_thread_is_gone_on_with(kitchen: Any) -> None:
    kitchen("run", "agent/plain", "--thread", "dinner", "SAY(one)")
    kitchen("run", "agent/plain", "--thread", "dinner", "SAY(two)")
    told = [message["content"] for message in kitchen.server.last()["messages"]]
    assert told == ["Talk.", "SAY(one)", "one", "SAY(two)"]


def test_another_model_answers_on_demand(kitchen: Any) -> None:
    assert kitchen("run", "agent/plain", "--model", "openai/other", "hi").code == 0
    assert kitchen.server.last()["model"] == "other"
    assert kitchen("run", "agent/plain", "--model", "other", "hi").code == 1


def test_the_plugin_of_a_provider_is_chosen_for_one_run(kitchen: Any) -> None:
    done = kitchen("run", "agent/plain", "--provider", "openai=nosuch", "hi")
    assert done.code == 1
    assert "plugins that do: openai" in done.err
    assert kitchen("run", "agent/plain", "--provider", "openai=openai", "hi").out == "Hello from the mock.\n"


def test_name_and_priority_are_the_runs(kitchen: Any) -> None:
    kitchen("run", "agent/plain", "--name", "first", "--priority", "7", "hi")
    run = kitchen.run()
    assert (run["metadata"]["name"], run["spec"]["priority"]) == ("first", 7)
    again = kitchen("run", "agent/plain", "--name", "first", "hi")
    assert again.code == 1
    assert "already exists" in again.err


# ------------------------------------------------------------------------------------------------ formats


def test_json_tells_run_phase_output_and_usage(kitchen: Any) -> None:
    data = orjson.loads(kitchen("run", *ASSISTANT, FIND, "-o", "json", "--thread", "t").out)
    assert data["phase"] == "Succeeded"
    assert data["output"] == "Egg soup."
    assert data["run"].startswith("recipe-assistant-")
    assert (data["usage"]["modelCalls"], data["usage"]["toolCalls"]) == (2, 1)
    assert data["thread"] == "t"


def test_name_prints_the_runs_name(kitchen: Any) -> None:
    out = kitchen("run", "agent/plain", "hi", "-o", "name").out
    assert out == f"run.mastra.ai/{kitchen.run()['metadata']['name']}\n"


def test_events_are_lines_of_json(kitchen: Any) -> None:
    done = kitchen("run", *ASSISTANT, FIND, "-o", "events")
    events = [orjson.loads(line) for line in done.out.splitlines()]
    types = [event["type"] for event in events]
    assert types[:3] == ["started", "tool_call", "tool_result"]
    assert "".join(event["text"] for event in events if event["type"] == "text") == "Egg soup."
    assert events[-1]["type"] == "completed"
    assert events[-1]["output"] == "Egg soup."


def test_a_failed_run_has_its_json_too(kitchen: Any) -> None:
    done = kitchen("run", "agent/plain", "FAIL(400)", "-o", "json")
    data = orjson.loads(done.out)
    assert (done.code, data["phase"], data["reason"]) == (5, "Failed", "InvalidRequest")


# ------------------------------------------------------------------------------------------------ failures


def test_a_run_that_fails_ends_with_5_and_says_what_to_do(kitchen: Any) -> None:
    done = kitchen("run", "agent/plain", "FAIL(401)")
    assert (done.code, done.out) == (5, "")
    name = kitchen.run()["metadata"]["name"]
    assert "(Authentication)" in done.err
    assert "check the API key" in done.err
    assert f"`kastra logs run/{name}` shows what happened" in done.err


def test_a_limit_ends_a_run(kitchen: Any) -> None:
    done = kitchen("run", *ASSISTANT, FIND, "--limit", "maxModelCalls=1")
    assert done.code == 5
    assert "maxModelCalls=1 is reached" in done.err
    assert "--limit NAME=VALUE" in done.err
    assert kitchen("run", "agent/plain", "hi", "--limit", "maxModelCall=1").code == 1


def test_a_timeout_ends_a_run(kitchen: Any) -> None:
    done = kitchen("run", "agent/plain", "SLEEP(60000)", "--timeout", "500ms")
    assert done.code == 5
    assert "timeoutS=0.5" in done.err


def test_what_is_not_ready_is_not_run(kitchen: Any) -> None:
    (kitchen.path / "bad.yaml").write_text(
        "apiVersion: mastra.ai/v1\nkind: Agent\nmetadata: {name: bad}\n"
        "spec: {model: openai/mock, tools: [no-such-tool]}\n",
        encoding="utf-8",
    )
    assert kitchen("apply", "-f", "bad.yaml").code == 0
    done = kitchen("run", "agent/bad", "hi")
    assert done.code == 1
    assert "ToolNotFound" in done.err
    assert "apply the missing one" in done.err
    assert kitchen.runs() == []


def test_a_condition_that_is_amiss_is_told_on_stderr(kitchen: Any) -> None:
    (kitchen.path / "vec.yaml").write_text(
        "apiVersion: mastra.ai/v1\nkind: Agent\nmetadata: {name: vec}\n"
        "spec: {model: openai/mock, memory: {type: vector, recall: {embeddings: nowhere/m}}}\n",
        encoding="utf-8",
    )
    assert kitchen("apply", "-f", "vec.yaml").code == 0
    done = kitchen("run", "agent/vec", "SAY(yes)")
    assert (done.code, done.out) == (0, "yes\n")
    assert "note: MemoryReady is False (EmbeddingsUnknownProvider): " in done.err


def test_what_is_not_there_is_said_where_it_is(kitchen: Any) -> None:
    elsewhere = kitchen("run", "agent/recipe-assistant", "hi")
    assert elsewhere.code == 1
    assert "add -n cooking" in elsewhere.err
    assert "did you mean 'Agent default/plain'" in kitchen("run", "agent/plian", "hi").err
    assert "write KIND/NAME, here is agent/plain" in kitchen("run", "plain", "hi").err
    assert "did you mean 'agent'" in kitchen("run", "agnt/plain", "hi").err
    assert "cannot be run; kinds that can: agents, networks, tools" in kitchen("run", "event/x", "hi").err


def test_a_kind_without_a_name_is_told_apart_from_a_name_without_a_kind(kitchen: Any) -> None:
    assert "'agent' is a kind; write agent/NAME (`kastra get agent -A` lists them)" in kitchen("run", "agent").err
    assert "write KIND/NAME, here is agent/plain" in kitchen("run", "plain").err
    assert "write KIND/NAME, for example agent/plane" in kitchen("run", "plane").err


def test_runs_are_listed_with_the_unit_of_their_duration(kitchen: Any) -> None:
    kitchen("run", "agent/plain", "hi", "--name", "one")
    header, row = kitchen("get", "runs").out.splitlines()
    at = header.index("DURATION")
    assert re.fullmatch(r"[0-9.]+s", row[at : header.index("AGE")].strip())


def test_a_namespace_may_stand_in_the_target(kitchen: Any) -> None:
    assert kitchen("run", "agent/cooking/recipe-assistant", "SAY(a)").out == "a\n"
    assert kitchen("run", "agent/cooking.recipe-assistant", "SAY(b)").out == "b\n"


def test_a_retry_is_told_and_the_answer_comes(kitchen: Any) -> None:
    done = kitchen("run", "agent/plain", "FAILN(1,503) SAY(at last)")
    assert (done.code, done.out) == (0, "at last\n")
    assert "trying again in" in done.err


def test_an_answer_that_breaks_off_is_not_written_twice(kitchen: Any) -> None:
    # The first try ends after a few words, and so do the others: what is in the pipe is no answer, and it fails.
    done = kitchen("run", "agent/plain", "DROP(2) SAY(one two three)")
    assert done.code == 5
    assert done.out == "one two"


def test_a_reader_that_has_enough_does_not_stop_the_run(kitchen: Any) -> None:
    kitchen.server.mock.chunk_latency = 0.05
    process = kitchen.start("run", "agent/plain", "TOKENS(20)")
    assert os.read(process.stdout.fileno(), 1) == b"w"
    process.stdout.close()
    assert process.wait(60) == 0
    assert process.stderr.read() == b""
    assert kitchen.run()["status"]["phase"] == "Succeeded"


# ------------------------------------------------------------------------------------------------ Ctrl-C


def test_the_first_ctrl_c_cancels_the_run(kitchen: Any) -> None:
    process = kitchen.start("run", "agent/plain", "SLEEP(60000)")
    kitchen.asked(1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, b"")
    name = kitchen.run()["metadata"]["name"]
    assert f"run/{name} was cancelled" in err.decode()
    assert kitchen.run()["status"]["phase"] == "Cancelled"


def test_a_tool_that_cannot_be_stopped_does_not_hold_up_ctrl_c(kitchen: Any) -> None:
    process = kitchen.start("run", "tool/nap", "--set", "seconds=60")
    kitchen.until(lambda: kitchen.lines_of("naps.txt") == 1)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    assert kitchen.run()["status"]["phase"] == "Cancelled"


def test_the_second_ctrl_c_leaves_at_once(mule: Any) -> None:
    process = mule.start("run", "mule/m", "go")
    assert b"it stands" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    while b"it stands still" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 130
    assert b"left at once" in process.stderr.read()


# ------------------------------------------------------------------------------------------------ a terminal


def test_a_terminal_gets_a_summary_and_dim_lines(kitchen: Any) -> None:
    process, terminal = kitchen.start_on_terminal("run", *ASSISTANT, FIND, NO_COLOR="")
    text = read_all(terminal)
    assert process.wait(30) == 0
    name = kitchen.run("cooking")["metadata"]["name"]
    assert '\x1b[2m-> recipe-finder {"ingredients":["egg","rice"]}\x1b[0m' in text
    assert "\nEgg soup.\r\n" in text
    assert f"run {name}: 2 model calls, 1 tool call, " in text


def test_a_model_cannot_steer_the_terminal(kitchen: Any) -> None:
    _, terminal = kitchen.start_on_terminal("run", "agent/plain", "SAY(a\x1b]0;owned\x07b)")
    assert "a]0;ownedb" in read_all(terminal)


def read_all(terminal: int) -> str:
    """What a process writes to its terminal until it ends."""
    out = b""
    try:
        while chunk := os.read(terminal, 4096):
            out += chunk
    except OSError:
        pass  # Linux says EIO when the last process has closed the terminal
    os.close(terminal)
    return out.decode()


# ------------------------------------------------------------------------------------------------ parts


def test_a_run_imports_no_plugin_that_it_does_not_need(kitchen: Any) -> None:
    import subprocess
    import sys

    program = (
        "import sys; from kastra_core.cli import main; code = main(['run', 'agent/plain', 'hi'])\n"
        "found = {'litellm', 'rich', 'xllamacpp', 'cattrs', 'jsonschema_rs', 'yaml'} & set(sys.modules)\n"
        "sys.stderr.write(' '.join(sorted(found))); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=kitchen.path, env=kitchen.environment, capture_output=True, text=True
    )
    assert done.returncode == 0
    assert not {"litellm", "rich", "xllamacpp"} & set(done.stderr.split())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("4", 4),
        ("4.5", 4.5),
        ("true", True),
        ("null", None),
        ("", None),
        ("egg", "egg"),
        ("2024-05-01", "2024-05-01"),
        ("[a, 1]", ["a", 1]),
        ("{a: {b: no}}", {"a": {"b": False}}),
        ('"4"', "4"),
    ],
)
def test_a_value_means_what_it_means_in_yaml(text: str, value: object) -> None:
    assert read_value(text, "x") == value


def test_set_goes_over_input_and_into_objects() -> None:
    assert read_input((), '{"a": {"b": 1}, "c": 2}', ["a.d=3", "c=4"]) == {"a": {"b": 1, "d": 3}, "c": 4}


@pytest.mark.parametrize(
    ("words", "document", "assignments", "said"),
    [
        (("hi",), "{}", (), "not both"),
        ((), "{", (), "it is not JSON"),
        ((), "[]", ("a=1",), "JSON object"),
        ((), "@nosuch.json", (), "cannot be read"),
        ((), None, ("a",), "write key=value"),
        ((), None, ("a=1", "a.b=2"), "a is not an object"),
        ((), None, ("a=[1",), "no YAML value"),
        ((), None, ("a=.inf",), "finite numbers"),
    ],
)
def test_input_that_is_wrong_is_told(
    words: tuple[str, ...], document: str | None, assignments: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said):
        read_input(words, document, assignments)


def test_an_answer_that_starts_over_with_the_same_words_is_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(ErrorLines(), stream=True)
    for event in ("one ", "two", None, "one ", "two", " three"):
        screen.event({"type": "text", "text": event} if event else {"type": "model_retry", "wait_s": 0, "message": "x"})
    screen.finish("one two three")
    assert capsys.readouterr().out == "one two three\n"


def test_an_answer_that_starts_over_with_other_words_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(ErrorLines(), stream=True)
    for event in ("one ", None, "uno ", "due"):
        screen.event({"type": "text", "text": event} if event else {"type": "model_retry", "wait_s": 0, "message": "x"})
    screen.finish("uno due")
    out, err = capsys.readouterr()
    assert out == "one \nuno due\n"
    assert "the answer starts over" in err


def test_text_before_a_tool_call_is_kept_out_of_an_answer_that_is_not_streamed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    screen = Screen(ErrorLines(), stream=False)
    screen.event({"type": "text", "text": "Let me look."})
    screen.event({"type": "tool_call", "name": "t", "arguments": {}})
    screen.event({"type": "text", "text": "Found."})
    screen.finish("Found.")
    assert capsys.readouterr().out == "Found.\n"


def test_usage_in_words() -> None:
    usage = {"modelCalls": 2, "toolCalls": 1, "inputTokens": 500, "outputTokens": 12, "cost": 0.00213}
    assert usage_words(usage, 3.14) == "2 model calls, 1 tool call, 512 tokens, 3.1s, $0.0021"
