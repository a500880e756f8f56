"""Runs that exist: taken over after kill -9, resumed, signalled, cancelled, retried, attached to."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import orjson
import pytest

from kastra_core.api.meta import ObjectMeta, Resource
from kastra_core.runtime import RuntimeManager

FIND = 'CALL(recipe-finder:{"ingredients":["egg"]}) SLEEP(700) SAY(Egg soup.)'
ASSISTANT = ("agent/recipe-assistant", "-n", "cooking")

GATE_PLUGIN = """
from kastra_core import ResourceKind, hookimpl


class GateRunner:
    async def run(self, ctx, target, input):
        if target.metadata.name == "nap":
            await ctx.sleep(2.5)
            return "rested"
        first = await ctx.wait_signal("open")
        await ctx.emit({"type": "note", "message": "the gate is open"})
        return {"asked": input, "opened": first}


@hookimpl
def kastra_resource_kinds():
    yield ResourceKind(kind="Gate", plural="gates", group="acme.example", runner="gate_plugin:GateRunner")
"""


@pytest.fixture
def gates(kitchen: Any, plugins: Any) -> Any:
    """The kitchen with gates: executable resources that wait for the signal ``open``; ``nap`` sleeps."""
    plugins.install("gate", GATE_PLUGIN)
    (kitchen.path / "gates.yaml").write_text(
        "apiVersion: acme.example/v1\nkind: Gate\nmetadata: {name: front}\n---\n"
        "apiVersion: acme.example/v1\nkind: Gate\nmetadata: {name: nap}\n",
        encoding="utf-8",
    )
    assert kitchen("apply", "-f", "gates.yaml").code == 0
    return kitchen


def kill_in_second_call(kitchen: Any) -> str:
    """Start a run and kill its process while the model answers for the second time; return the run's name."""
    process = kitchen.start("run", *ASSISTANT, FIND)
    kitchen.asked(2)
    process.kill()
    process.wait()
    run = kitchen.run("cooking")
    assert run["status"]["phase"] == "Running"
    return str(run["metadata"]["name"])


# ------------------------------------------------------------------------------------------------ resume


def test_after_kill_9_resume_ends_the_run_without_repeating_what_had_finished(kitchen: Any) -> None:
    name = kill_in_second_call(kitchen)
    done = kitchen("run", "resume")
    assert done.code == 0, done.err
    assert done.out == f"run/{name} Succeeded\n"
    assert f"resuming run/{name} (its process ended)" in done.err
    run = kitchen.run("cooking")
    assert (run["status"]["phase"], run["status"]["output"]) == ("Succeeded", "Egg soup.")
    assert kitchen.server.stats()["chat"] == 3  # the first answer is not asked for again, the one under way is
    assert kitchen.lines_of("calls.txt") == 1


def test_resume_by_name_prints_the_answer(kitchen: Any) -> None:
    name = kill_in_second_call(kitchen)
    done = kitchen("run", "resume", f"run/{name}", "-n", "cooking")
    assert (done.code, done.out) == (0, "Egg soup.\n")
    again = kitchen("run", "resume", f"run/{name}", "-n", "cooking")
    assert (again.code, again.out) == (0, "Egg soup.\n")
    assert "is over already" in again.err
    assert kitchen.server.stats()["chat"] == 3


def test_the_next_run_takes_over_what_was_interrupted(kitchen: Any) -> None:
    name = kill_in_second_call(kitchen)
    done = kitchen("run", "agent/plain", "SAY(mine)")
    assert (done.code, done.out) == (0, "mine\n")
    assert f"resuming run/{name} (its process ended)" in done.err
    assert kitchen.run("cooking")["status"]["phase"] == "Succeeded"
    assert kitchen.lines_of("calls.txt") == 1


def test_ctrl_c_hands_back_what_was_taken_over(kitchen: Any) -> None:
    name = kill_in_second_call(kitchen)
    process = kitchen.start("run", "resume")
    kitchen.asked(3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert f"handed back run/{name}" in err.decode()
    assert kitchen.run("cooking")["status"]["phase"] == "Running"
    assert kitchen("run", "resume").out == f"run/{name} Succeeded\n"


@pytest.mark.parametrize("command", ["resume", "attach"])
def test_a_run_that_was_never_started_is_not_waited_for(kastra: Any, project: Path, command: str) -> None:
    async def make() -> None:
        async with await RuntimeManager.open(f"file:{project / '.kastra' / 'kastra.db'}", controllers=False) as runtime:
            meta = ObjectMeta(name="never", namespace="default")
            await runtime.client.create(Resource(api_version="mastra.ai/v1", kind="Run", metadata=meta))

    (project / ".kastra").mkdir()
    asyncio.run(make())
    done = kastra("run", command, "run/never")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("error: run/never was never started")
    assert "`kastra delete run/never` removes this one" in done.err


def test_there_may_be_nothing_to_resume(kitchen: Any) -> None:
    done = kitchen("run", "resume")
    assert (done.code, done.out, done.err) == (0, "", "no interrupted runs\n")


# ------------------------------------------------------------------------------------------------ suspension


def test_a_run_that_waits_for_a_signal_is_left_and_gone_on_with(gates: Any) -> None:
    done = gates("run", "gate/front", "hello")
    name = gates.run()["metadata"]["name"]
    assert (done.code, done.out) == (0, "")
    assert f"kastra run resume run/{name} --signal open" in done.err
    assert gates.run()["status"]["phase"] == "Suspended"

    wrong = gates("run", "resume", f"run/{name}", "--signal", "shut")
    assert wrong.code == 0
    assert f"run/{name} is suspended\n" in wrong.err

    done = gates("run", "resume", f"run/{name}", "--signal", "open", "--data", '{"by": "Ann"}')
    assert done.code == 0
    assert orjson.loads(done.out) == {"asked": "hello", "opened": {"by": "Ann"}}
    assert "note: the gate is open" in done.err


def test_a_run_that_sleeps_is_waited_for(gates: Any) -> None:
    done = gates("run", "gate/nap", "hello")
    assert (done.code, done.out) == (0, "rested\n")
    assert "is suspended until 20" in done.err


def test_a_signal_needs_a_run(gates: Any) -> None:
    assert "need the name of a run" in gates("run", "resume", "--signal", "open").err
    assert "not found" in gates("run", "resume", "run/none").err
    assert "is no run" in gates("run", "resume", "gate/front").err


# ------------------------------------------------------------------------------------------------ cancel


def test_a_run_of_another_process_is_cancelled(kitchen: Any) -> None:
    process = kitchen.start("run", "agent/plain", "SLEEP(60000)")
    kitchen.asked(1)
    name = kitchen.run()["metadata"]["name"]
    done = kitchen("run", "cancel", f"run/{name}")
    assert (done.code, done.out) == (0, f"run/{name} cancelled\n")
    _, err = process.communicate(timeout=30)
    assert process.returncode == 5
    assert f"run/{name} was cancelled" in err.decode()
    again = kitchen("run", "cancel", name)
    assert again.code == 1
    assert "is over already (Cancelled)" in again.err


def test_a_run_whose_process_ended_is_cancelled_and_makes_no_more_calls(kitchen: Any) -> None:
    name = kill_in_second_call(kitchen)
    done = kitchen("run", "cancel", f"run/{name}", "-n", "cooking")
    assert (done.code, done.out) == (0, f"run/{name} cancelled\n")
    assert kitchen.server.stats()["chat"] == 2


def test_a_suspended_run_is_cancelled(gates: Any) -> None:
    gates("run", "gate/front", "hello")
    name = gates.run()["metadata"]["name"]
    assert gates("run", "cancel", f"run/{name}").out == f"run/{name} cancelled\n"


# ------------------------------------------------------------------------------------------------ retry


def test_retry_starts_the_same_as_a_new_run(kitchen: Any) -> None:
    kitchen("run", "agent/plain", "--name", "first", "--thread", "t", "--model", "openai/other", "FAILN(9,400) SAY(x)")
    kitchen.server.reset()
    done = kitchen("run", "retry", "run/first", "-o", "json")
    data = orjson.loads(done.out)
    assert data["run"] != "first"
    assert data["thread"] == "t"
    asked = kitchen.server.last()
    assert asked["model"] == "other"
    assert asked["messages"][-1]["content"] == "FAILN(9,400) SAY(x)"
    assert kitchen("run", "retry", "run/first", "--model", "openai/third").code == 5
    assert kitchen.server.last()["model"] == "third"


# ------------------------------------------------------------------------------------------------ attach


def test_attach_follows_a_run_of_another_process(kitchen: Any) -> None:
    process = kitchen.start("run", *ASSISTANT, FIND.replace("700", "2500"))
    kitchen.asked(1)
    name = kitchen.run("cooking")["metadata"]["name"]
    done = kitchen("run", "attach", f"run/{name}", "-n", "cooking")
    assert (done.code, done.out) == (0, "Egg soup.\n")
    assert "recipe-finder#0" in done.err
    assert process.communicate(timeout=30)[0] == b"Egg soup.\n"
    assert kitchen.server.stats()["chat"] == 2


def test_attach_says_when_the_process_has_ended(kitchen: Any) -> None:
    name = kill_in_second_call(kitchen)
    done = kitchen("run", "attach", f"run/{name}", "-n", "cooking")
    assert done.code == 5
    assert f"`kastra run resume run/{name} -n cooking` goes on with it" in done.err


def test_help_names_the_commands(kitchen: Any) -> None:
    assert "kastra run resume [run/NAME]" in kitchen("run", "--help").out
    assert kitchen("run", "cancel").code == 2
    assert "Usage: kastra run cancel" in kitchen("run", "cancel", "--help").out
