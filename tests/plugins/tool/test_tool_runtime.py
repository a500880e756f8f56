"""The plugin in a real runtime: applied, reconciled, run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kastra_core.api.meta import condition_of
from kastra_core.config import Config
from kastra_core.errors import NotReadyError, RunFailedError, ValidationError
from kastra_core.plugins import PluginManager
from kastra_core.runtime import RuntimeManager

TOOLS = """
apiVersion: mastra.ai/v1
kind: Tool
metadata: {name: count}
spec:
  type: python
  python: {function: "%(module)s:count"}
---
apiVersion: mastra.ai/v1
kind: Tool
metadata: {name: city, namespace: web}
spec:
  type: http
  http: {url: "%(url)s/cities/{name}"}
---
apiVersion: mastra.ai/v1
kind: Tool
metadata: {name: lost}
spec:
  type: python
  python: {function: "%(module)s:lost"}
"""


@pytest.fixture
async def runtime(project: Any, server: Any, tmp_path: Path) -> AsyncIterator[RuntimeManager]:
    module = project.module(
        'def count(text: str, least: int = 1) -> int:\n    """Count words."""\n'
        "    return sum(len(word) >= least for word in text.split())"
    )
    settings = f"tools: {{python: {{allow: [{module}]}}, http: {{allowPrivate: [127.0.0.1]}}}}"
    (tmp_path / ".kastra").mkdir()
    (tmp_path / ".kastra" / "config.yaml").write_text(settings, encoding="utf-8")
    config = Config.load(tmp_path, env={"KASTRA_CONFIG_HOME": str(tmp_path / "home")})
    from kastra_plugin_tool import hooks

    plugins = PluginManager(discover=False, extra=[("tool", hooks)])
    async with await RuntimeManager.open("memory:", config=config, plugins=plugins) as runtime:
        await runtime.apply_string(TOOLS % {"module": module, "url": server.url})
        yield runtime


async def test_a_python_tool_is_called_by_its_handle(runtime: RuntimeManager) -> None:
    tool = runtime.get_tool("count")
    assert await tool.call(text="to be or not", least=3) == 1
    assert await tool.call("to be or not") == 4
    status = (await tool.resource()).status
    assert status["phase"] == "Ready"
    assert status["description"] == "Count words."


async def test_an_http_tool_is_called_by_its_handle(runtime: RuntimeManager, server: Any) -> None:
    server.say({"people": 700000})
    assert await runtime.get_tool("web.city").call(name="Oslo") == {"people": 700000}
    assert server.requests[0]["target"] == "/cities/Oslo"


async def test_wrong_arguments_fail_the_run_with_their_reason(runtime: RuntimeManager) -> None:
    with pytest.raises(RunFailedError, match="text: is required") as caught:
        await runtime.get_tool("count").call(words="x")
    assert caught.value.reason == "InvalidArguments"


async def test_a_tool_that_is_not_ready_says_why(runtime: RuntimeManager) -> None:
    with pytest.raises((NotReadyError, RunFailedError), match="has no function 'lost'"):
        await runtime.get_tool("lost").call()
    condition = condition_of(await runtime.get_tool("lost").resource(), "Ready")
    assert condition is not None
    assert condition["reason"] == "FunctionNotFound"


async def test_code_in_a_manifest_is_refused_with_a_way_out(runtime: RuntimeManager) -> None:
    text = "{apiVersion: mastra.ai/v1, kind: Tool, metadata: {name: x}, spec: {type: function, execute: 'x => 1'}}"
    with pytest.raises(ValidationError, match=r"spec\.execute: code in a manifest is never run"):
        await runtime.apply_string(text)
