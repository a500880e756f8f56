"""A project whose tools misbehave on demand, and shorter ways to write and run its workflow."""

from __future__ import annotations

import subprocess
import time
from typing import Any

import orjson

__all__ = ["Shop", "agent", "echo", "workflow"]

MODULE = '''\
"""Tools that misbehave on demand; each call leaves a line in calls.txt."""

import asyncio
from pathlib import Path

CALLS = Path("calls.txt")


def note(line):
    with CALLS.open("a", encoding="utf-8") as file:
        file.write(line + "\\n")


def echo(text: str) -> str:
    """Give the text back."""
    note(f"echo {text}")
    return text


def broken(text: str = "") -> str:
    """Fail."""
    note("broken")
    raise RuntimeError("the disk is on fire")


def flaky(fails: int) -> str:
    """Fail so many times, then answer."""
    note("flaky")
    if CALLS.read_text(encoding="utf-8").split().count("flaky") <= fails:
        raise RuntimeError("not yet")
    return "at last"


async def slow(seconds: float) -> str:
    """Answer late."""
    note("slow")
    await asyncio.sleep(seconds)
    note("slow ended")
    return "done"
'''
TOOLS = [
    {
        "apiVersion": "mastra.ai/v1",
        "kind": "Tool",
        "metadata": {"name": name},
        "spec": {"type": "python", "python": {"function": f"shaky:{name}"}},
    }
    for name in ("echo", "broken", "flaky", "slow")
]


def workflow(*steps: dict[str, Any], name: str = "w", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "mastra.ai/v1",
        "kind": "Workflow",
        "metadata": {"name": name},
        "spec": {"steps": list(steps), **spec},
    }


def agent(name: str) -> dict[str, Any]:
    spec = {"instructions": "Be brief.", "model": "openai/gpt-4o-mini"}
    return {"apiVersion": "mastra.ai/v1", "kind": "Agent", "metadata": {"name": name}, "spec": spec}


def echo(step: str, text: str, **more: Any) -> dict[str, Any]:
    return {"id": step, "tool": "echo", "input": {"text": text}, **more}


class Shop:
    """The kitchen's project with tools that misbehave, and shorter ways to use it."""

    def __init__(self, kitchen: Any) -> None:
        self.kitchen, self.path = kitchen, kitchen.path
        for name in ("agent.yaml", "tool.yaml", "pantry_recipes.py"):
            (self.path / name).unlink()
        (self.path / "shaky.py").write_text(MODULE, encoding="utf-8")
        self.configure()
        self.write("tools.json", *TOOLS)

    def configure(self, **settings: Any) -> None:
        self.kitchen.configure(tools={"python": {"allow": ["shaky"]}}, **settings)

    def __call__(self, *arguments: str) -> Any:
        return self.kitchen(*arguments)

    def write(self, file: str, *documents: dict[str, Any]) -> None:
        (self.path / file).write_bytes(b"\n".join(map(orjson.dumps, documents)))

    def apply(self, *documents: dict[str, Any]) -> Any:
        self.write("given.json", *documents)
        done = self("apply", "-f", "tools.json", "-f", "given.json")
        assert done.code == 0, done.err
        return done

    def run(self, *arguments: str, code: int = 0, name: str = "x") -> Any:
        """Run the workflow ``w`` as ``run/x``."""
        done = self("run", "workflow/w", "--name", name, *arguments)
        assert done.code == code, done.all
        return done

    def status(self, name: str = "x") -> dict[str, Any]:
        done = self("get", f"run/{name}", "-o", "json")
        assert done.code == 0, done.err
        status: dict[str, Any] = orjson.loads(done.out)["status"]
        return status

    @property
    def calls(self) -> list[str]:
        found: list[str] = self.kitchen.calls
        return found

    def wait_for_call(self, line: str, process: subprocess.Popen[str]) -> None:
        """Until a tool has left that line."""
        deadline = time.monotonic() + 30
        while line not in self.calls:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline, f"{line} was not called"
            time.sleep(0.02)
