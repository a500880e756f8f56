"""What ``kastra run`` shows of runs that consist of steps: lines in a pipe, a list on a terminal, what is awaited."""

from __future__ import annotations

import itertools
import os
import re
import shlex
import signal
import time
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from kastra_core.cli.run_awaiting import awaiting_lines, example_of
from kastra_core.cli.run_progress import Progress, StepTree, StepWords
from kastra_core.cli.run_screen import ErrorLines, Screen

SCRIPT_PLUGIN = '''
import asyncio
from kastra_core import ResourceKind, hookimpl
from kastra_core.api.references import parse_reference


class Runner:
    """Does what its target's script says."""

    async def run(self, ctx, target, input):
        for act in target.spec["script"]:
            [(what, how)] = act.items()
            if what == "emit":
                await ctx.emit(how)
            elif what == "nap":
                await asyncio.sleep(how)
            elif what == "sleep":
                await ctx.sleep(how)
            elif what == "print":
                print(how)
            elif what == "say":
                import sys
                print(how, file=sys.stderr)
            elif what == "await":
                await ctx.wait_signal(**how)
            elif what == "call":
                await ctx.call(parse_reference(how, kind="Script", namespace=ctx.namespace), input, name=how)
        return target.spec.get("output")


def references(resource):
    return [
        parse_reference(act["call"], kind="Script", namespace=resource.metadata.namespace, group="acme.example")
        for act in resource.spec["script"]
        if "call" in act
    ]


@hookimpl
def kastra_resource_kinds():
    yield ResourceKind(
        kind="Script", plural="scripts", group="acme.example", runner="script_plugin:Runner", references=references
    )
'''.replace('kind="Script", namespace=ctx.namespace)', 'kind="Script", namespace=ctx.namespace, group="acme.example")')


def started(path: str, body: str = "tool", attempt: int = 1, **more: Any) -> dict[str, Any]:
    step = re.split(r"[#@]", path.rpartition("/")[2])[0]
    return {"type": "step_started", "step": step, "path": path, "body": body, "attempt": attempt, **more}


def ended(path: str, *, error: dict[str, Any] | None = None, attempts: int = 1) -> dict[str, Any]:
    event = {"type": "step_finished", "step": path.rpartition("/")[2], "path": path, "attempts": attempts}
    return {**event, "phase": "Failed", "error": error} if error else {**event, "phase": "Succeeded", "output": 1}


def retry(path: str, attempt: int) -> dict[str, Any]:
    why = {"reason": "Timeout", "message": "too slow"}
    return {"type": "step_retry", "step": path, "path": path, "attempt": attempt, "wait_s": 0.5, **why}


STEPS = [
    {"emit": started("load", name="数据加载")},
    {"emit": retry("load", 1)},
    {"emit": started("load", attempt=2)},
    {"emit": ended("load", attempts=2)},
    {"emit": started("each", "foreach")},
    {"emit": {"type": "decision", "step": "each", "path": "each", "kind": "foreach", "chosen": "2 items"}},
    {"emit": started("each[0]/rate")},
    {"emit": started("each[1]/rate")},
    {"emit": ended("each[0]/rate")},
    {"emit": ended("each[1]/rate", error={"reason": "Bad", "message": "three"})},
    {"emit": ended("each")},
]
CHANGED = r"in \d+\.\ds"


@pytest.fixture
def stage(kitchen: Any, plugins: Any) -> Any:
    """The kitchen with kind Script; ``stage(script, ...)`` applies ``script/s`` and runs it."""
    plugins.install("script", SCRIPT_PLUGIN)

    def write(script: list[Any], name: str = "s", **spec: Any) -> None:
        manifest = {
            "apiVersion": "acme.example/v1",
            "kind": "Script",
            "metadata": {"name": name},
            "spec": {"script": script, "output": "the output", **spec},
        }
        (kitchen.path / "script.json").write_bytes(orjson.dumps(manifest))
        done = kitchen("apply", "-f", "script.json")
        assert done.code == 0, done.err

    kitchen.write = write
    return kitchen


def on_terminal(stage: Any, *args: str, **environment: str) -> tuple[Any, str]:
    """The process, which has ended, and everything that it wrote to the terminal."""
    process, ours = stage.start_on_terminal(*args, **environment)
    return process, drain(process, ours)


def drain(process: Any, ours: int) -> str:
    shown = b""
    while True:
        try:
            found = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not found:
            break
        shown += found
    os.close(ours)
    process.wait(timeout=60)
    return shown.decode()


def screen_of(text: str, columns: int = 200) -> list[str]:
    """The lines that are left on a terminal: enough of its control sequences to tell."""
    lines, row, column = [""], 0, 0
    for part in re.findall(r"\x1b\[(\d*)([A-Za-z])|(\r\n|\n)|(\r)|([^\x1b\r\n]+)", text):
        number, code, newline, back, words = part
        if code == "F":
            row, column = row - int(number or 1), 0
            assert row >= 0, "the cursor was moved above the first line"
        elif code == "K":
            lines[row] = lines[row][:column]
        elif code == "J":
            lines[row] = lines[row][:column]
            del lines[row + 1 :]
        elif newline:
            row, column = row + 1, 0
            if row == len(lines):
                lines.append("")
        elif back:
            column = 0
        elif words:
            assert len(words) <= columns
            lines[row] = lines[row][:column].ljust(column) + words + lines[row][column + len(words) :]
            column += len(words)
    return lines


# ------------------------------------------------------------------------------------------------ in a pipe


def test_a_pipe_gets_a_line_for_each_start_end_and_retry(stage: Any) -> None:
    stage.write(STEPS)
    done = stage("run", "script/s")
    assert (done.code, done.out) == (0, "the output\n")
    assert re.sub(CHANGED, "in T", done.err).splitlines() == [
        "step load started (tool)",
        "step load failed, trying again in 0.5 s: Timeout: too slow",
        "step load started (tool, try 2)",
        "step load succeeded in T after 2 tries",
        "step each started (foreach)",
        "step each[0]/rate started (tool)",
        "step each[1]/rate started (tool)",
        "step each[0]/rate succeeded in T",
        "step each[1]/rate failed in T: Bad: three",
        "step each succeeded in T",
    ]


def test_quiet_shows_no_steps(stage: Any) -> None:
    stage.write(STEPS)
    done = stage("-q", "run", "script/s")
    assert (done.out, done.err) == ("the output\n", "")


def test_events_pass_step_events_as_they_are(stage: Any) -> None:
    stage.write(STEPS)
    done = stage("run", "script/s", "-o", "events")
    events = [orjson.loads(line) for line in done.out.splitlines()]
    assert [one for one in events if one["type"] not in ("started", "finished", "completed")] == [
        step["emit"] for step in STEPS
    ]
    assert done.err == ""


def test_steps_of_a_called_run_are_told_under_the_step_that_calls(stage: Any) -> None:
    stage.write([{"emit": started("one")}, {"emit": ended("one")}], "inner")
    stage.write([{"emit": started("inner", "workflow")}, {"call": "inner"}, {"emit": ended("inner")}])
    told = re.sub(CHANGED, "in T", stage("run", "script/s").err).splitlines()
    assert told == [
        "step inner started (workflow)",
        "step inner/one started (tool)",
        "step inner/one succeeded in T",
        "step inner succeeded in T",
    ]


def test_steps_of_a_called_run_are_told_in_full_where_there_are_no_steps(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(ErrorLines(), stream=True)
    error = {"reason": "Bad", "message": "no"}
    for event in (started("a"), retry("a", 1), started("a", attempt=2), ended("a", attempts=2), started("b", "agent")):
        screen.event({"type": "child", "path": "/y#0", "run": "w", "event": event})
    screen.event({"type": "child", "path": "/z#0", "run": "v", "event": started("a")})
    screen.event({"type": "child", "path": "/y#0", "run": "w", "event": ended("b", error=error)})
    assert re.sub(CHANGED, "in T", capsys.readouterr().err).splitlines() == [
        "  step a started (tool)",
        "  step a failed, trying again in 0.5 s: Timeout: too slow",
        "  step a started (tool, try 2)",
        "  step a succeeded in T after 2 tries",
        "  step b started (agent)",
        "  step a started (tool)",
        "  step b failed in T: Bad: no",
    ]


def test_of_many_items_in_a_pipe_the_first_ones_failures_and_each_tenth_part_are_told() -> None:
    words = StepWords()
    decided = {"type": "decision", "step": "each", "path": "each", "kind": "foreach", "chosen": "9999 items"}
    events = [started("each", "foreach"), decided]
    for item in range(9999):
        error = {"reason": "Bad", "message": "no"} if item == 5000 else None
        events += [started(f"each[{item}]/rate"), ended(f"each[{item}]/rate", error=error)]
    told = [line for event in [*events, ended("each")] for line in words.of_event(event)]
    assert told[:3] == ["step each started (foreach)", "step each[0]/rate started (tool)", told[2]]
    assert told[40].startswith("step each[19]/rate succeeded in")
    assert told[41:46] == [f"step each: {count}/9999" for count in (1000, 2000, 3000, 4000, 5000)]
    assert told[46].startswith("step each[5000]/rate failed in")
    assert told[47] == "step each: 6000/9999, 1 failed"
    assert len(told) == 53


def test_tools_of_a_called_run_are_indented_where_there_are_no_steps(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(ErrorLines(), stream=True)
    call = {"type": "tool_call", "name": "find", "arguments": {"q": 1}}
    deeper = {"type": "child", "path": "/x#0", "run": "b", "event": call}
    screen.event({"type": "child", "path": "/y#0", "run": "a", "event": call})
    screen.event({"type": "child", "path": "/y#0", "run": "a", "event": deeper})
    screen.event({"type": "child", "path": "/y#0", "run": "a", "event": {"type": "text", "text": "not the answer"}})
    screen.finish("the answer")
    seen = capsys.readouterr()
    assert seen.out == "the answer\n"
    assert seen.err == '  -> find {"q":1}\n    -> find {"q":1}\n'


# ------------------------------------------------------------------------------------------------ on a terminal


def test_a_terminal_is_left_with_the_list_its_summary_and_the_output(stage: Any) -> None:
    stage.write([*STEPS[:3], {"nap": 0.4}, *STEPS[3:], {"nap": 0.3}])
    process, shown = on_terminal(stage, "run", "script/s", COLUMNS="100", LINES="30")
    assert process.returncode == 0
    left = [re.sub(r"\d+\.\ds", "T", line.rstrip()) for line in screen_of(shown) if line.strip()]
    assert left[:2] == ["✓ load  数据加载 tool 2 tries T", "✓ each  foreach 2/2, 1 failed T"]
    assert re.fullmatch(r"4 steps, 1 failed, 1 retry, T", left[2])
    assert left[3] == "the output"
    assert "↻ load" in shown or "⠋ load" in shown or "⠙ load" in shown


def test_the_list_is_drawn_at_most_ten_times_a_second(stage: Any) -> None:
    many = [{"emit": one} for n in range(300) for one in (started(f"s{n}"), ended(f"s{n}"))]
    spread = list(itertools.chain(*([act, {"nap": 0.002}] for act in many)))
    stage.write(spread)
    process, shown = on_terminal(stage, "run", "script/s", COLUMNS="80", LINES="24")
    assert process.returncode == 0
    drawn = shown.count("\x1b[J")
    seconds = float(re.findall(r"300 steps, ([\d.]+)s", shown)[-1])
    assert 2 <= drawn <= 11 * seconds + 4
    assert "... 261 earlier steps" in shown  # 39 lines and this one stay


def test_what_others_write_meanwhile_stands_above_the_list(stage: Any) -> None:
    stage.write([
        {"emit": started("a")}, {"nap": 0.3}, {"print": "from a tool"}, {"say": "a warning"}, {"nap": 0.3},
        {"emit": ended("a")},
    ])  # fmt: skip
    _, shown = on_terminal(stage, "run", "script/s", COLUMNS="80", LINES="24")
    left = [line.rstrip() for line in screen_of(shown) if line.strip()]
    assert left[:2] == ["from a tool", "a warning"]
    assert left[2].startswith("✓ a")
    assert left[-2:-1] == ["the output"] or left[-1] == "the output"


def test_text_of_an_agent_is_shown_under_its_step_and_not_on_stdout(stage: Any) -> None:
    stage.write([{"emit": {"type": "text", "text": "word " * 60}}, {"nap": 0.4}], "writer")
    stage.write([{"emit": started("writer", "agent")}, {"call": "writer"}, {"emit": ended("writer")}])
    _, shown = on_terminal(stage, "run", "script/s", COLUMNS="60", LINES="24")
    assert "…" in shown
    assert "word word" in shown
    assert "word" not in "".join(screen_of(shown))
    for line in shown.split("\n"):
        assert len(re.sub(r"\x1b\[[^A-Za-z]*[A-Za-z]|\r", "", line)) <= 60


def test_a_dumb_terminal_gets_lines(stage: Any) -> None:
    stage.write(STEPS)
    _, shown = on_terminal(stage, "run", "script/s", TERM="dumb")
    assert "\x1b" not in shown
    assert "step load started (tool)" in shown


def test_a_terminal_without_unicode_gets_ascii(stage: Any) -> None:
    stage.write([{"emit": started("load")}, {"emit": ended("load")}, {"nap": 0.2}])
    _, shown = on_terminal(stage, "run", "script/s", PYTHONUTF8="0", PYTHONIOENCODING="ascii", LC_ALL="C")
    assert "+ load" in shown
    assert shown.isascii()


def test_control_characters_of_a_step_do_not_reach_the_terminal(stage: Any) -> None:
    bad = "\x1b]0;owned\x07\x1b[2J"
    stage.write([
        {"emit": started("a", name=bad)},
        {"emit": ended("a", error={"reason": "Bad", "message": bad})},
        {"nap": 0.2},
    ])  # fmt: skip
    _, shown = on_terminal(stage, "run", "script/s")
    assert "\x07" not in shown
    assert "\x1b]" not in shown
    assert "\x1b[2J" not in shown


def test_ctrl_c_cancels_and_leaves_the_list(stage: Any) -> None:
    stage.write([{"emit": started("long")}, {"nap": 60}])
    process, ours = stage.start_on_terminal("run", "script/s", COLUMNS="100", LINES="30")
    seen = b""
    while b"long" not in seen:
        seen += os.read(ours, 4096)
    os.kill(process.pid, signal.SIGINT)
    shown = seen.decode() + drain(process, ours)
    assert process.returncode == 130
    assert "\x1b[?25l" not in shown  # the cursor was never hidden
    left = [line.rstrip() for line in screen_of(shown) if line.strip()]
    assert any("given up" in line and "long" in line for line in left)
    assert any(line.endswith("was cancelled") for line in left)


# ------------------------------------------------------------------------------------------------ what is awaited

APPROVAL = {
    "signal": "fan[a]/review",
    "details": {
        "step": "review",
        "message": "Refund 3 EUR?",
        "schema": {
            "type": "object",
            "required": ["approved"],
            "properties": {"approved": {"type": "boolean", "description": "Whether to pay"}, "why": {"type": "string"}},
        },
    },
}


def test_a_suspended_run_says_what_it_awaits_and_the_command_that_answers_it(stage: Any) -> None:
    stage.write([{"emit": started("review", "suspend")}, {"await": APPROVAL}, {"emit": ended("review")}])
    done = stage("run", "script/s", "--name", "r")
    assert done.code == 0
    said = done.err.splitlines()
    assert said[1:-1] == [
        "run/r is suspended",
        "step review of run/r awaits an answer:",
        "  Refund 3 EUR?",
        "  approved (boolean, required): Whether to pay",
        "  why (string)",
    ]
    answer, _, command = said[-1].partition(": ")
    assert answer == "answer"
    words = shlex.split(command)
    assert words[:3] == ["kastra", "run", "resume"]
    went_on = stage(*words[1:])
    assert (went_on.code, went_on.out) == (0, "the output\n")


def test_a_run_that_waits_for_one_that_it_called_says_what_that_awaits(stage: Any) -> None:
    stage.write([{"await": APPROVAL}], "inner")
    stage.write([{"emit": started("inner", "workflow")}, {"call": "inner"}])
    done = stage("run", "script/s", "-o", "json")
    assert done.code == 0
    [item] = orjson.loads(done.out)["awaiting"]
    assert item["run"].startswith("s-")
    assert f"kastra run resume run/{item['run']} --signal" in done.err


def test_a_table_of_runs_leaves_out_those_that_others_called(stage: Any) -> None:
    stage.write([], "inner")
    stage.write([{"call": "inner"}])
    assert stage("run", "script/s", "--name", "own").code == 0

    def names(*args: str) -> list[str]:
        return [line.split()[0] for line in stage("get", *args, "--no-headers").out.splitlines()]

    assert names("runs") == ["own"]
    child, own = sorted(names("runs", "--children"), key=lambda name: name == "own")
    assert own == "own"
    assert stage("get", "runs").err == ""
    assert names("runs", child) == [child]
    assert names("runs", "--field-selector", "spec.target.name=inner") == [child]
    assert len(stage("get", "runs", "-o", "name").out.splitlines()) == 2
    wide = stage("get", "runs", "-o", "wide", "--children").out.splitlines()
    assert "PARENT" in wide[0]
    assert any(line.startswith(child) and "own" in line.split() for line in wide)
    process, shown = on_terminal(stage, "get", "runs")
    assert process.returncode == 0
    assert "1 child run is not shown; --children shows it" in shown


def test_a_suspended_run_that_is_taken_over_had_no_process(stage: Any) -> None:
    stage.write([{"sleep": 5}])
    process = stage.start("run", "script/s", "--name", "r")
    deadline = time.monotonic() + 30
    while "Suspended" not in stage("get", "run/r", "--ignore-not-found").out:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert "Sleeping" in stage("get", "runs").out
    wakes_s = orjson.loads(stage("get", "run/r", "-o", "json").out)["status"]["wakeAtS"]
    time.sleep(max(wakes_s - time.time(), 0) + 0.1)
    done = stage("run", "resume", "run/r")
    assert (done.code, done.out) == (0, "the output\n")
    assert "resuming run/r\n" in done.err
    assert "its process ended" not in done.err


def test_a_run_that_goes_on_where_the_store_failed_is_not_to_be_retried(stage: Any) -> None:
    import asyncio

    from kastra_core import Runtime
    from kastra_core.api.meta import ResourceKey
    from kastra_core.cli.run_session import failure_of

    async def words() -> str:
        async with await Runtime.open(project=stage.path) as runtime:
            message = "disk full; the run is not over, it goes on when the store answers"
            status = {"phase": "Failed", "reason": "StoreUnavailable", "message": message}
            return failure_of(runtime, ResourceKey("mastra.ai", "Run", "default", "x"), status)

    told = asyncio.run(words())
    assert told.startswith("error: lost sight of run/x (StoreUnavailable): disk full")
    assert "`kastra run attach run/x`" in told
    assert "`kastra run resume run/x`" in told
    assert "retry" not in told
    assert "ended" not in told


def test_a_run_that_waits_for_a_called_one_that_sleeps_is_waited_for(stage: Any) -> None:
    stage.write([{"sleep": 3}], "inner")
    stage.write([{"call": "inner"}])
    done = stage("run", "script/s")
    assert (done.code, done.out) == (0, "the output\n")


def test_an_answer_that_is_due_soon_is_waited_for_and_one_that_is_due_late_is_not(stage: Any) -> None:
    stage.write([{"await": {**APPROVAL, "timeout_s": 3}}])
    soon = stage("run", "script/s")
    assert soon.code == 5
    assert "awaits an answer" in soon.err
    assert "(Timeout)" in soon.err
    stage.write([{"await": {**APPROVAL, "timeout_s": 86400}}])
    late = stage("run", "script/s")
    assert late.code == 0
    assert "without an answer it goes on at" in late.err


def test_a_signal_without_details_is_named(stage: Any) -> None:
    stage.write([{"await": {"signal": "go"}}])
    done = stage("run", "script/s", "--name", "r")
    assert done.err.splitlines()[1:] == [
        "run/r awaits the event go",
        "answer: kastra run resume run/r --signal go (and --data JSON, where it should carry something)",
    ]


@pytest.mark.parametrize(
    ("schema", "example"),
    [
        ({"type": "boolean"}, True),
        ({"enum": ["yes", "no"]}, "yes"),
        ({"type": ["integer", "null"], "minimum": 3}, 3),
        ({"type": "array", "items": {"type": "string"}}, []),
        ({"anyOf": [{"type": "object", "properties": {"a": {"const": 1}}}]}, {"a": 1}),
        (True, None),
    ],
)
def test_an_example_has_the_form_of_its_schema(schema: Any, example: Any) -> None:
    assert example_of(schema) == example


def test_a_message_of_several_lines_stays_so() -> None:
    told = list(awaiting_lines("r", {"signal": "s", "step": "s", "message": "one\ntwo"}, " -n x"))
    assert told[1:3] == ["  one", "  two"]
    assert told[-1].startswith("answer: kastra run resume run/r -n x --signal s (")


WORKFLOW = """\
apiVersion: mastra.ai/v1
kind: Workflow
metadata: {name: refund}
spec:
  steps:
    - {id: sum, set: "{{ workflow.input.total }}"}
    - id: review
      suspend:
        message: "Refund {{ workflow.input.total }} EUR?"
        schema: {type: object, required: [approved], properties: {approved: {type: boolean}}}
    - {id: say, set: {paid: "{{ steps.review.output.approved }}"}}
"""


def test_a_workflow_is_drawn_run_to_its_question_and_on_from_the_answer(kitchen: Any) -> None:
    (kitchen.path / "refund.yaml").write_text(WORKFLOW, encoding="utf-8")
    assert "review  suspend" in kitchen("graph", "-f", "refund.yaml").out
    assert kitchen("apply", "-f", "refund.yaml").code == 0
    process, ours = kitchen.start_on_terminal("run", "workflow/refund", "--name", "r", "--set", "total=3", LINES="30")
    left = [line.rstrip() for line in screen_of(drain(process, ours)) if line.strip()]
    assert process.returncode == 0
    assert re.fullmatch(r"✓ sum  set \d\.\ds", left[0])
    assert re.fullmatch(r"◷ review  suspend \d\.\ds waits", left[1])
    assert "step review of run/r awaits an answer:" in left
    assert "  Refund 3 EUR?" in left
    [command] = [line.partition(": ")[2] for line in left if line.startswith("answer: ")]
    done = kitchen(*shlex.split(command)[1:])
    assert done.code == 0, done.err
    assert orjson.loads(done.out) == {"paid": True}


# ------------------------------------------------------------------------------------------------ labels


def test_labels_of_a_run_come_from_the_command_line(stage: Any) -> None:
    stage("run", "agent/plain", "-l", "app=kitchen", "--label", "acme.example/team=a", "hi")
    assert stage.run()["metadata"]["labels"] == {"app": "kitchen", "acme.example/team": "a"}
    found = stage("get", "runs", "-l", "app=kitchen", "-o", "name")
    assert found.out.startswith("run")


@pytest.mark.parametrize("label", ["app", "=x", "app=a b", "-x=1", f"app={'a' * 64}"])
def test_a_label_that_is_none_is_refused_before_anything_runs(stage: Any, label: str) -> None:
    done = stage("run", "agent/plain", f"--label={label}", "hi")
    assert done.code == 1
    assert "KEY=VALUE" in done.err
    assert stage.runs() == []


# ------------------------------------------------------------------------------------------------ the tree


@pytest.fixture
def tree() -> StepTree:
    ticks: Iterator[int] = itertools.count()
    return StepTree(lambda: float(next(ticks)))


def feed(tree: StepTree, *events: dict[str, Any]) -> None:
    for event in events:
        tree.event(event)


def test_events_that_come_again_count_once(tree: StepTree) -> None:
    events = [step["emit"] for step in STEPS]
    feed(tree, *events)
    before = (tree.steps, tree.failed, tree.retries, [entry.state for entry in tree.roots])
    feed(tree, *events)
    assert (tree.steps, tree.failed, tree.retries, [entry.state for entry in tree.roots]) == before
    assert before == (4, 1, 1, ["done", "done"])


def test_what_was_done_before_is_told_once_and_what_was_under_way_is_begun_again(tree: StepTree) -> None:
    events = [
        *(started("a"), ended("a"), started("each", "foreach"), started("each[0]/b"), ended("each[0]/b")),
        *(started("each[1]/b"), retry("each[1]/b", 1)),
    ]
    tree.take_over(events)
    assert tree.before == ["a", "each[0]/b"]
    assert [entry.before for entry in tree.roots] == [True, False]
    assert [event["path"] for event in events if tree.event(event) is not None] == ["each[1]/b", "each[1]/b"]


def test_items_that_are_over_are_only_counted(tree: StepTree) -> None:
    feed(tree, started("each", "foreach"))
    tree.event({"type": "decision", "path": "each", "kind": "foreach", "chosen": "5000 items"})
    for number in range(5000):
        feed(tree, started(f"each[{number}]/a"), started(f"each[{number}]/a.onFailure/b"))
        feed(tree, ended(f"each[{number}]/a.onFailure/b"), ended(f"each[{number}]/a"))
    [each] = tree.roots
    assert each.counter == "5000/5000"
    assert each.children == []
    assert list(tree.entries) == ["each"]


def test_a_failed_item_that_a_handler_mends_is_not_counted_as_failed(tree: StepTree) -> None:
    feed(tree, started("each", "foreach"), started("each[0]/a"))
    feed(tree, ended("each[0]/a", error={"reason": "Bad", "message": ""}))
    assert tree.roots[0].counter == "1/1, 1 failed"
    tree.event({"type": "decision", "path": "each[0]/a", "kind": "onFailure", "chosen": "onFailure"})
    assert tree.roots[0].counter == "1/1"


@pytest.mark.parametrize(
    ("path", "parent", "lane"),
    [
        ("fan[a]/load", "fan", "a"),
        ("fan@2[a]/load", "fan", "a"),
        ("fan[a/b]]/load", "fan", "a/b]"),
        ("fan.onFailure/x", "fan", "onFailure"),
        ("fan[a]/each[3]/load#2", "fan[a]/each", "3"),
        ("fan/one", "fan", ""),
    ],
)
def test_a_step_lies_in_the_step_that_its_path_names(tree: StepTree, path: str, parent: str, lane: str) -> None:
    feed(tree, started("fan", "parallel"), started("fan[a]/each", "parallel"), started(path))
    entry = tree.entries[path]
    assert entry.parent is tree.entries[parent]
    assert entry.lane == lane


def test_what_was_given_up_with_its_step_is_not_at_work_any_more(tree: StepTree) -> None:
    feed(tree, started("fan", "parallel"), started("fan[a]/x"), started("fan[b]/y"))
    feed(tree, ended("fan[a]/x", error={"reason": "Bad", "message": ""}))
    feed(tree, ended("fan", error={"reason": "Bad", "message": ""}))
    assert tree.entries["fan[b]/y"].state == "stopped"


def test_events_of_called_runs_find_the_step_that_calls(tree: StepTree) -> None:
    feed(tree, started("fan", "parallel"), started("fan[a]/ask", "agent"), started("fan[b]/ask", "agent"))
    one = tree.of_child({"type": "child", "path": "/all#0[b]/ask#0", "run": "r1"})
    other = tree.of_child({"type": "child", "path": "/all#0[a]/ask#0", "run": "r2"})
    assert [entry.path for entry in (one, other) if entry] == ["fan[b]/ask", "fan[a]/ask"]
    assert tree.of_child({"type": "child", "path": "/other#0", "run": "r3"}) is None


def test_odd_events_do_no_harm(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(ErrorLines())
    for event in (
        {"type": "step_finished", "path": "x", "phase": "Failed"},
        {"type": "step_retry"},
        {"type": "decision", "path": "nowhere", "kind": "foreach", "chosen": None},
        {"type": "step_started", "path": "[", "attempt": None},
        {"type": "child"},
        {"type": "child", "path": "x", "run": "r", "event": 3},
    ):
        progress.child(event) if event["type"] == "child" else progress.event(event)
    progress.close()
    assert "step x failed" in capsys.readouterr().err
