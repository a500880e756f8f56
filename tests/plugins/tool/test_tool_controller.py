from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kastra_core.api.meta import Resource, condition_of, is_true
from kastra_core.api.references import Reference
from kastra_core.errors import OperationError
from kastra_core.protocols.controller import Request
from kastra_plugin_tool.controller import ToolController
from kastra_plugin_tool.handle import ToolHandle
from kastra_plugin_tool.runner import ToolRunner


class OneTool:
    """What a controller needs of a runtime, with one resource in it."""

    def __init__(self, project: Any, tool: Resource) -> None:
        self.tool = tool
        runtime = project.runtime
        self.config, self.plugins = runtime.config, runtime.plugins
        self.client, self.events = self, None
        self.topics: list[str] = []
        self.bus = SimpleNamespace(publish=lambda topic, message: self.topics.append(topic))

    async def get(self, key: Any) -> Resource:
        return self.tool

    async def update_status(self, resource: Resource, status: dict[str, Any]) -> Resource:
        self.tool = resource.evolve(status=status)
        return self.tool


async def reconcile(project: Any, tool: Resource) -> tuple[Resource, float | None]:
    runtime = OneTool(project, tool)
    result = await ToolController(runtime).reconcile(Request("default", "t"))  # type: ignore[arg-type]
    return runtime.tool, result.requeue_after_s


def ready(tool: Resource) -> dict[str, Any]:
    condition = condition_of(tool, "Ready")
    assert condition is not None
    return condition


async def test_a_python_tool_that_can_be_called_is_ready(project: Any, tool_of: Any) -> None:
    name = project.module('def count(text: str) -> int:\n    """Count words."""')
    spec = {"type": "python", "python": {"function": f"{name}:count"}, "outputSchema": {"type": "integer"}}
    tool, again = await reconcile(project, tool_of(spec))
    assert is_true(tool)
    assert again is None
    assert tool.status["observedGeneration"] == 1
    assert tool.status["phase"] == "Ready"
    assert tool.status["description"] == "Count words."
    assert tool.status["outputSchema"] == {"type": "integer"}
    assert tool.status["target"] == f"{name}:count"
    assert tool.status["inputSchema"]["properties"] == {"text": {"type": "string"}}


async def test_the_spec_wins_over_the_docstring(project: Any, tool_of: Any) -> None:
    name = project.module('def count(text): "doc"')
    schema = {"type": "object", "properties": {"text": {"type": "string", "maxLength": 9}}}
    spec = {
        "type": "python",
        "description": "mine",
        "inputSchema": schema,
        "python": {"function": f"{name}:count"},
    }
    tool, _ = await reconcile(project, tool_of(spec))
    assert (tool.status["description"], tool.status["inputSchema"]) == ("mine", schema)


async def test_a_module_that_is_not_allowed_is_looked_at_again(project: Any, tool_of: Any) -> None:
    name = project.module("def run(): ...", allow=False)
    tool, again = await reconcile(project, tool_of({"type": "python", "python": {"function": f"{name}:run"}}))
    assert ready(tool)["reason"] == "ModuleNotAllowed"
    assert f"kastra config set tools.python.allow {name}" in ready(tool)["message"]
    assert tool.status["phase"] == "Pending"
    assert again
    project.allow.append(name)
    tool, again = await reconcile(project, tool)
    assert is_true(tool)
    assert again is None


async def test_a_missing_module_heals_when_it_appears(project: Any, tool_of: Any) -> None:
    project.allow.append("toolmod_soon")
    tool, again = await reconcile(project, tool_of({"type": "python", "python": {"function": "toolmod_soon:run"}}))
    assert ready(tool)["reason"] == "ModuleNotFound"
    assert again
    (project.path / "toolmod_soon.py").write_text("def run(): ...", encoding="utf-8")
    tool, _ = await reconcile(project, tool)
    assert is_true(tool)


async def test_a_missing_function_waits_for_a_change_of_the_resource(project: Any, tool_of: Any) -> None:
    name = project.module("def run(): ...")
    tool, again = await reconcile(project, tool_of({"type": "python", "python": {"function": f"{name}:rum"}}))
    assert ready(tool)["reason"] == "FunctionNotFound"
    assert "did you mean 'run'?" in ready(tool)["message"]
    assert tool.status["phase"] == "Failed"
    assert again is None


async def test_a_schema_that_the_function_cannot_take_is_told(project: Any, tool_of: Any) -> None:
    name = project.module("def run(a): ...")
    spec = {"type": "python", "inputSchema": {"properties": {"b": {}}}, "python": {"function": f"{name}:run"}}
    tool, _ = await reconcile(project, tool_of(spec))
    assert ready(tool)["reason"] == "SignatureMismatch"


async def test_an_http_tool_is_ready_without_being_called(project: Any, tool_of: Any) -> None:
    tool, _ = await reconcile(project, tool_of({"type": "http", "http": {"url": "http://127.0.0.1:9/{city}"}}))
    assert is_true(tool)
    assert tool.status["target"] == "GET http://127.0.0.1:9/{city}"
    assert tool.status["inputSchema"]["required"] == ["city"]


async def test_a_secret_that_is_not_there_is_a_condition_that_heals(
    project: Any, tool_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KASTRA_TEST_KEY", raising=False)
    spec = {
        "type": "http",
        "http": {"url": "https://example.com/", "auth": {"bearer": {"valueFrom": {"env": "KASTRA_TEST_KEY"}}}},
    }
    tool, again = await reconcile(project, tool_of(spec))
    assert ready(tool)["reason"] == "MissingSecret"
    assert "KASTRA_TEST_KEY" in ready(tool)["message"]
    assert again
    monkeypatch.setenv("KASTRA_TEST_KEY", "the-secret-value")
    tool, _ = await reconcile(project, tool)
    assert is_true(tool)
    assert "the-secret-value" not in str(tool.to_manifest())


# ------------------------------------------------------------------------------------------ runner and handle


class OneOperation:
    def __init__(self) -> None:
        self.seen: list[Any] = []

    async def perform(self, operation: str, arguments: dict[str, Any], **options: Any) -> Any:
        self.seen.append((operation, arguments, options))
        return {"output": 42}


SCHEMA = {"type": "object", "properties": {"q": {}, "n": {}}, "required": ["q"]}


@pytest.mark.parametrize(
    ("input", "arguments"), [({"a": 1}, {"a": 1}), (None, {}), ("words", {"q": "words"}), ([1, 2], {"q": [1, 2]})]
)
async def test_a_runs_input_becomes_the_arguments(tool_of: Any, input: Any, arguments: Any) -> None:
    ctx = OneOperation()
    tool = tool_of({"type": "python"}, inputSchema=SCHEMA)
    assert await ToolRunner().run(ctx, tool, input) == 42  # type: ignore[arg-type]
    request = {"tool": {"namespace": "default", "name": "t"}, "arguments": arguments}
    assert ctx.seen == [("tool.invoke", request, {"at_most_once": False})]


async def test_a_tool_that_may_not_be_repeated_is_called_at_most_once(tool_of: Any) -> None:
    ctx = OneOperation()
    await ToolRunner().run(ctx, tool_of({"type": "python", "idempotent": False}), {})  # type: ignore[arg-type]
    assert ctx.seen[0][2] == {"at_most_once": True}


async def test_a_bare_value_needs_one_parameter_to_go_to(tool_of: Any) -> None:
    tool = tool_of({"type": "python"}, inputSchema={"properties": {"a": {}, "b": {}}})
    with pytest.raises(OperationError, match="parameters: a, b") as caught:
        await ToolRunner().run(OneOperation(), tool, "x")  # type: ignore[arg-type]
    assert caught.value.reason == "InvalidArguments"


async def test_a_handle_starts_a_run_and_waits_for_its_result() -> None:
    started: list[Any] = []

    async def result() -> int:
        return 7

    async def start_run(reference: Reference, input: Any) -> Any:
        started.append(input)
        return SimpleNamespace(result=result)

    runtime: Any = SimpleNamespace(start_run=start_run)
    handle = ToolHandle(runtime, Reference(kind="Tool", namespace="default", name="t"))
    assert await handle.call(city="Oslo") == 7
    assert await handle.call({"a": 1}, b=2) == 7
    assert await handle.call("text") == 7
    assert await handle.call() == 7
    assert started == [{"city": "Oslo"}, {"a": 1, "b": 2}, "text", None]
    with pytest.raises(TypeError):
        await handle.call("text", city="Oslo")


def test_the_hooks_name_what_exists() -> None:
    from kastra_core.api.lazy import load
    from kastra_plugin_tool import hooks

    (kind,) = hooks.kastra_resource_kinds()
    (controller,) = hooks.kastra_controllers()
    (operation,) = hooks.kastra_operations()
    for lazy in (kind.spec_type, kind.validate, kind.runner, kind.handle, controller.factory, operation.handler):
        assert callable(load(lazy))
    assert (operation.name, operation.counts_as) == ("tool.invoke", "tool")
    assert Path(hooks.__file__).name == "hooks.py"
