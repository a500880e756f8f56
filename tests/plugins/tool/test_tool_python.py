from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from kastra_core.errors import NotFoundError, OperationError, TerminalError
from kastra_plugin_tool.importing import find_function
from kastra_plugin_tool.policy import ToolPolicy


def python(module: str, function: str = "run", **more: Any) -> dict[str, Any]:
    return {"type": "python", "python": {"function": f"{module}:{function}"}, **more}


async def test_a_plain_function_runs_in_a_thread_of_its_own(project: Any, call: Any) -> None:
    name = project.module("import threading\ndef run(): return threading.current_thread().name")
    assert await call(python(name)) == "kastra-tool"


async def test_a_coroutine_is_awaited_in_the_loop(project: Any, call: Any) -> None:
    name = project.module(
        "import asyncio, threading\nasync def run(a: int, b: int = 2):\n"
        "    await asyncio.sleep(0)\n    return [a + b, threading.current_thread().name]"
    )
    assert await call(python(name), {"a": 1}) == [3, threading.current_thread().name]


async def test_a_callable_object_and_a_static_method_are_functions(project: Any, call: Any) -> None:
    name = project.module(
        "class Adder:\n    def __call__(self, a: int) -> int: return a + 1\n"
        "    @staticmethod\n    def twice(a: int) -> int: return 2 * a\nadd = Adder()"
    )
    assert await call(python(name, "add"), {"a": 1}) == 2
    assert await call(python(name, "Adder.twice"), {"a": 4}) == 8


async def test_the_context_is_passed_to_the_parameter_that_asks_for_it(project: Any, call: Any) -> None:
    name = project.module(
        "from kastra_plugin_tool import ToolContext\n"
        "def run(x: int, context: ToolContext | None = None):\n    return [x, context]"
    )
    assert await call(python(name), {"x": 1}) == [
        1,
        {"tool": "t", "namespace": "default", "run_id": "run-1", "idempotency_key": "key-1"},
    ]


async def test_wrong_arguments_are_all_named_and_the_function_is_not_called(project: Any, call: Any) -> None:
    name = project.module("def run(city: str, days: int, unit: str = 'c'): raise SystemError")
    with pytest.raises(OperationError) as caught:
        await call(python(name), {"days": "x", "town": "Oslo"})
    assert caught.value.reason == "InvalidArguments"
    assert not caught.value.retryable
    for words in ("Tool default/t", "city: is required", 'days: "x" is not of type "integer"', "unknown: 'town'"):
        assert words in str(caught.value)


async def test_arguments_that_are_no_object_are_refused(project: Any, call: Any) -> None:
    name = project.module("def run(): return 1")
    with pytest.raises(OperationError, match=r"expected a JSON object, found '\{broken'") as caught:
        await call(python(name), "{broken")
    assert caught.value.reason == "InvalidArguments"


async def test_defaults_of_a_written_schema_are_filled_in(project: Any, call: Any) -> None:
    name = project.module("def run(a, b): return [a, b]")
    schema = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"default": 7}}, "required": ["a"]}
    assert await call(python(name, inputSchema=schema), {"a": 1}) == [1, 7]


async def test_a_written_schema_lets_a_type_without_schema_pass(project: Any, call: Any) -> None:
    name = project.module("def run(data: bytes): return data")
    schema = {"type": "object", "properties": {"data": {"type": "string"}}}
    assert await call(python(name, inputSchema=schema), {"data": "raw"}) == "raw"


@pytest.mark.parametrize("body", ["raise ValueError('no city')", "import sys; sys.exit('no city')"])
@pytest.mark.parametrize("prefix", ["", "async "])
async def test_what_a_function_raises_becomes_tool_failed(project: Any, call: Any, prefix: str, body: str) -> None:
    name = project.module(f"{prefix}def run(): {body}")
    with pytest.raises(OperationError, match="no city") as caught:
        await call(python(name))
    assert caught.value.reason == "ToolFailed"
    assert not caught.value.retryable


async def test_stop_iteration_ends_the_call_too(project: Any, call: Any) -> None:
    name = project.module("def run(): return next(iter(()))")
    with pytest.raises(OperationError, match="StopIteration"):
        await call(python(name))


async def test_errors_of_kastra_pass_with_their_own_reason(project: Any, call: Any) -> None:
    name = project.module("from kastra_core.errors import *\ndef run(): raise NotFoundError('the city')")
    with pytest.raises(NotFoundError, match="the city not found"):
        await call(python(name))


async def test_an_idempotent_function_is_tried_again_as_often_as_the_spec_says(project: Any, call: Any) -> None:
    name = project.module(
        "calls = []\ndef run(good: int):\n    calls.append(1)\n"
        "    if len(calls) < good: raise OSError('busy')\n    return len(calls)"
    )
    spec = python(name, idempotent=True, retry={"attempts": 3, "delay": "1ms"})
    assert await call(spec, {"good": 3}) == 3
    sys.modules[name].calls.clear()
    with pytest.raises(OperationError, match="OSError: busy") as caught:
        await call(spec, {"good": 9})
    assert len(sys.modules[name].calls) == 3
    assert caught.value.retryable


async def test_a_function_that_takes_too_long_is_left_behind(project: Any, call: Any) -> None:
    name = project.module("import threading\ngo = threading.Event()\ndef run(): go.wait()")
    begun = time.monotonic()
    with pytest.raises(OperationError, match=r"did not answer within 0.05 s \(spec.timeout\)") as caught:
        await call(python(name, timeout="50ms"))
    assert caught.value.reason == "Timeout"
    assert not caught.value.retryable
    assert time.monotonic() - begun < 5
    sys.modules[name].go.set()


async def test_a_timeout_error_of_the_function_is_its_own_failure(project: Any, call: Any) -> None:
    name = project.module("async def run(): raise TimeoutError('upstream')")
    with pytest.raises(OperationError, match="TimeoutError: upstream") as caught:
        await call(python(name))
    assert caught.value.reason == "ToolFailed"


async def test_a_cancelled_call_cancels_the_coroutine(project: Any, call: Any) -> None:
    name = project.module(
        "import asyncio\ndef ready(): ...\nstarted = asyncio.Event()\nended = []\nasync def run():\n    started.set()\n"
        "    try: await asyncio.sleep(60)\n    except asyncio.CancelledError: ended.append(1); raise"
    )
    assert await call(python(name, "ready")) is None  # imported now
    task = asyncio.ensure_future(call(python(name)))
    await sys.modules[name].started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sys.modules[name].ended == [1]


def test_a_function_that_never_returns_does_not_keep_the_process_from_ending() -> None:
    probe = (
        "import asyncio, threading\nfrom kastra_plugin_tool import python_tool\n"
        "async def main():\n"
        "    try: await asyncio.wait_for(python_tool._in_thread(threading.Event().wait), 0.05)\n"
        "    except TimeoutError: print('left')\n"
        "asyncio.run(main())"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "left"


async def test_a_result_without_json_form_is_invalid_output(project: Any, call: Any) -> None:
    name = project.module("def run(): return {'a': object()}")
    with pytest.raises(OperationError, match=r"result\.a: object has no JSON form") as caught:
        await call(python(name))
    assert caught.value.reason == "InvalidOutput"


async def test_the_output_schema_is_checked(project: Any, call: Any) -> None:
    name = project.module("def run(n: int): return {'n': n}")
    spec = python(name, outputSchema={"type": "object", "properties": {"n": {"maximum": 5}}})
    assert await call(spec, {"n": 5}) == {"n": 5}
    with pytest.raises(
        OperationError, match="does not fit outputSchema: n: 6 is greater than the maximum of 5"
    ) as caught:
        await call(spec, {"n": 6})
    assert caught.value.reason == "InvalidOutput"


async def test_a_tool_that_is_not_pinned_is_not_found(project: Any, context_of: Any) -> None:
    from kastra_plugin_tool.operation import invoke

    with pytest.raises(OperationError, match="Tool default/other is not among") as caught:
        await invoke(context_of(project.runtime, None), {"tool": {"namespace": "default", "name": "other"}})
    assert caught.value.reason == "NotFound"


# ------------------------------------------------------------------------------------------ what may be imported


async def test_a_module_that_is_not_allowed_is_never_imported(project: Any, call: Any) -> None:
    name = project.module("raise AssertionError('imported')", allow=False)
    with pytest.raises(OperationError, match=f"kastra config set tools.python.allow {name}") as caught:
        await call(python(name))
    assert caught.value.reason == "NotAllowed"
    assert name not in sys.modules
    assert str(project.path) not in sys.path


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("acme", False),
        ("acme.tools", True),
        ("acme.tools.text", True),
        ("acme.toolsmith", False),
        ("plug.tools", True),
        ("plug.tools.text", True),
        ("plug", False),
        ("plug.x", False),
        ("plug.toolsmith", False),
        ("plugin", False),
        ("os", False),
        ("", False),
    ],
)
def test_a_prefix_allows_whole_names_only(module: str, allowed: bool) -> None:
    policy = ToolPolicy(python_allow=("acme.tools",), plugin_packages=frozenset({"plug"}))
    assert policy.allows_module(module) is allowed


@pytest.mark.parametrize("function", ["os.system", "system", "subprocess.run", "getenv"])
def test_an_allowed_module_does_not_lead_to_others(project: Any, function: str) -> None:
    name = project.module("import os, subprocess\nfrom os import system, getenv\ndef mine(): ...")
    with pytest.raises(TerminalError) as caught:
        find_function(f"{name}:{function}", ToolPolicy(python_allow=(name,), project=project.path))
    assert caught.value.reason in ("FunctionNotFound", "ModuleNotAllowed")


@pytest.mark.parametrize(
    ("source", "function", "reason", "words"),
    [
        ("def count(): ...", "cuont", "FunctionNotFound", "did you mean 'count'?"),
        ("count = 3", "count", "NotCallable", "is no function but int"),
        ("class Count: ...", "Count", "NotCallable", "is a class"),
        ("def count(): yield 1", "count", "NotCallable", "is a generator"),
        ("import no_such_library_xyz", "count", "ModuleNotFound", "needs the module 'no_such_library_xyz'"),
        ("1 / 0", "count", "ModuleFailed", "ZeroDivisionError"),
        ("import sys; sys.exit(3)", "count", "ModuleFailed", "SystemExit: 3"),
        ("def (", "count", "ModuleFailed", "SyntaxError"),
    ],
)
def test_each_way_not_to_find_a_function_has_its_reason(
    project: Any, source: str, function: str, reason: str, words: str
) -> None:
    name = project.module(source)
    with pytest.raises(TerminalError) as caught:
        find_function(f"{name}:{function}", ToolPolicy(python_allow=(name,), project=project.path))
    assert caught.value.reason == reason
    assert words in f"{caught.value} {caught.value.remedy}"


def test_a_missing_module_is_found_once_it_is_there(project: Any) -> None:
    policy = ToolPolicy(python_allow=("toolmod_later",), project=project.path)
    with pytest.raises(TerminalError) as caught:
        find_function("toolmod_later:run", policy)
    assert caught.value.reason == "ModuleNotFound"
    assert str(project.path) in str(caught.value.remedy)
    (project.path / "toolmod_later.py").write_text("def run(): return 1", encoding="utf-8")
    assert find_function("toolmod_later:run", policy)() == 1


def test_the_project_replaces_no_installed_module(project: Any) -> None:
    (project.path / "colorsys.py").write_text("def rgb_to_hsv(): return 'replaced'", encoding="utf-8")
    sys.modules.pop("colorsys", None)
    found = find_function("colorsys:rgb_to_hsv", ToolPolicy(python_allow=("colorsys",), project=project.path))
    assert Path(sys.modules["colorsys"].__file__ or "").parent != project.path
    assert found.__module__ == "colorsys"
