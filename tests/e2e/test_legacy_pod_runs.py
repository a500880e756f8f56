"""A pod of an older Kastra: migrated by the command, applied, and run against a loopback server of models."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from scripted_openai import Call, ScriptedServer, text_of

Command = Callable[..., Any]

POD = """\
apiVersion: mastra/v1
kind: MastraPod
metadata: {{name: travel, namespace: trips}}
spec:
  providers:
    openai: {{apiKey: "${{env.OPENAI_API_KEY}}", baseURL: "{url}"}}
  resources:
    - apiVersion: mastra/v1
      kind: Agent
      metadata: {{name: scout, namespace: trips}}
      spec:
        name: Scout
        systemPrompt: "#scout# You find sights."
        model: {{provider: openai, name: gpt-x, temperature: 0.3}}
        tools: {{clock: clock}}
    - file: ./agents/writer.yaml
    - apiVersion: mastra/v1
      kind: Tool
      metadata: {{name: clock, namespace: trips}}
      spec:
        description: Tells the time of a city.
        inputSchema: {{type: object, properties: {{city: {{type: string}}}}, required: [city]}}
        execute: |
          async (input) => new Date().toISOString()
    - apiVersion: mastra/v1
      kind: Workflow
      metadata: {{name: tour, namespace: trips}}
      spec:
        name: Tour
        initialStep: find
        steps:
          - {{id: find, name: Find, agent: scout, input: {{city: $city}}, next: write}}
          - {{id: write, name: Write, agent: writer, input: {{sights: $find}}, next: END}}
"""
WRITER = """\
apiVersion: mastra/v1
kind: Agent
metadata: {name: writer, namespace: trips}
spec:
  instructions: "#writer# You write tours."
  model: {provider: openai, name: gpt-x}
"""


@pytest.fixture
def command(tmp_path: Path, environment: dict[str, str], forks: Any) -> Command:
    """``kastra ARGS`` in a directory below the test's, with a key of the provider."""

    def call(folder: str, *args: str) -> tuple[int, str, str]:
        where = tmp_path / folder
        where.mkdir(exist_ok=True)
        code, out, err = forks.run(args, cwd=where, env={**environment, "OPENAI_API_KEY": "k"}, input="")
        assert "Traceback" not in err, err
        return code, out, err

    return call


async def test_a_migrated_pod_runs_and_its_stub_works_when_it_is_written(command: Command, tmp_path: Path) -> None:
    parts: dict[str, Any] = {
        "scout": [Call("clock", {"city": "Ulm"}), lambda body: f"Minster, {tool_answer(body)}"] * 2,
        "writer": [lambda body: f"Tour: {text_of(body).rpartition('Minster')[2]}"] * 2,
    }
    async with ScriptedServer(parts) as server:
        old = tmp_path / "old"
        (old / "agents").mkdir(parents=True)
        (old / "pod.yaml").write_text(POD.format(url=server.base_url), encoding="utf-8")
        (old / "agents" / "writer.yaml").write_text(WRITER, encoding="utf-8")

        code, out, err = await asyncio.to_thread(command, ".", "migrate", "old", "-o", "new", "--strict")
        assert code == 2, out + err  # the clock is to be written
        assert "clock" in out
        new = tmp_path / "new"
        assert "def clock(*, city: str) -> Any:" in (new / "migrated_tools.py").read_text(encoding="utf-8")

        code, out, err = await asyncio.to_thread(command, "new", "apply", "-f", ".")
        assert code == 0, out + err
        assert "not ready" not in out

        async def run() -> tuple[int, str]:
            args = ("run", "workflow/tour", "-n", "trips", "--input", '{"city": "Ulm"}', "-o", "json")
            code, out, err = await asyncio.to_thread(command, "new", *args)
            return code, out + err

        code, text = await run()
        assert code == 0, text
        assert "clock is not written yet" in text_of(server.asked("scout")[1])
        assert "Ulm" in text_of(server.asked("scout")[0])

        module = new / "migrated_tools.py"
        source = module.read_text(encoding="utf-8")
        line = next(one for one in source.splitlines() if "raise NotImplementedError" in one)
        module.write_text(source.replace(line, '    return f"noon in {city}"'), encoding="utf-8")
        code, text = await run()
        assert code == 0, text
        found = orjson.loads(text[text.index("{") : text.rindex("}") + 1])
        assert "noon in Ulm" in str(found)
        assert server.order[-3:] == ["scout", "scout", "writer"]


def tool_answer(body: dict[str, Any]) -> str:
    return " ".join(str(one["content"]) for one in body["messages"] if one["role"] == "tool")
