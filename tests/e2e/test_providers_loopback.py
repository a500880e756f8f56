"""The Agent of the mission against an OpenAI-compatible server, unchanged, through either plugin that can reach it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import attrs
import orjson
import pytest

from kastra_core.api.meta import Resource, condition_of
from kastra_core.errors import RunFailedError
from kastra_core.execution.models import RetryPolicy
from kastra_core.protocols.model import ChatRequest, Message

AGENT = "cooking.recipe-assistant"
MODEL = "openai/gpt-4-turbo"
KEY = "sk-loopback-0123456789"
CALL = 'CALL(recipe-finder:{"ingredients":["鸡蛋","番茄"]})'
SOON = RetryPolicy(base_s=0.01)

# Warnings that litellm raises, mostly at its import; pytest sets the filters anew for each test.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*using the `ReadOnly` qualifier:UserWarning"),
    pytest.mark.filterwarnings("ignore:Accessing the 'model_:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*was never awaited:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:.*coroutine object:pytest.PytestUnraisableExceptionWarning"),
]


def settings(server: Any, plugin: str, **provider: Any) -> dict[str, Any]:
    """Configuration that leads the provider ``openai`` to the server; what stands in the manifest is not touched."""
    key = {"valueFrom": {"env": "LOOPBACK_KEY"}}
    return {"providers": {"openai": {"apiBase": server.base_url, "apiKey": key, "plugin": plugin, **provider}}}


async def warm(runtime: Any) -> None:
    """Let litellm make what it makes at its first calls, which may take longer than a time limit of a test."""
    provider = runtime.models.provider("openai")
    settings = attrs.evolve(runtime.models.settings("openai"), timeout_s=60.0)
    request = ChatRequest(model="warm", messages=[Message.user("SAY(warm)")], settings=settings)
    await provider.chat(request)
    assert [event async for event in provider.stream(request)]


class Table:
    """The agent, applied and Ready, and the server that answers for its model."""

    def __init__(self, runtime: Any, server: Any) -> None:
        self.runtime, self.server = runtime, server
        self.agent = runtime.get_agent(AGENT)

    async def ask(self, text: str, *, stream: bool, **options: Any) -> tuple[str, list[dict[str, Any]]]:
        """Return the answer and the events before it."""
        if not stream:
            return (await self.agent.generate(text, **options)).text, []
        events = [event async for event in self.agent.stream(text, **options)]
        return events[-1]["output"], events[:-1]

    async def fails(self, text: str, *, stream: bool) -> Resource:
        """Ask what cannot be answered, in a conversation; return the run, of which only its failure is kept."""
        await self.agent.generate("SAY(早)", thread="dinner")
        threads = self.runtime.store.threads
        before = await threads.messages("cooking", "dinner")
        assert len(before) == 2
        self.server.reset()
        with pytest.raises(RunFailedError) as caught:
            await self.ask(text, stream=stream, thread="dinner")
        assert await threads.messages("cooking", "dinner") == before
        runs = (await self.runtime.client.list(self.runtime.registry.resolve("run"))).items
        (run,) = [run for run in runs if run.spec["input"] == text]
        complete = condition_of(run, "Complete")
        assert run.status["phase"] == "Failed"
        assert "output" not in run.status
        assert complete is not None
        assert (complete["status"], complete["reason"]) == ("False", caught.value.reason)
        assert complete["message"] == run.status["message"]
        assert MODEL in complete["message"]
        assert KEY not in orjson.dumps(run.to_manifest()).decode()
        assert not await self.runtime.store.journal.claims()
        return run  # type: ignore[no-any-return]

    @property
    def chats(self) -> int:
        """How often the server was asked."""
        return int(self.server.stats()["chat"])


@pytest.fixture(params=["openai", "litellm"])
def plugin(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[False, True], ids=["whole", "stream"])
def stream(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def timeout_s() -> float:
    return 30.0


@pytest.fixture
async def table(
    kitchen: Any,
    open_runtime: Callable[..., Any],
    mock_openai: Any,
    monkeypatch: pytest.MonkeyPatch,
    plugin: str,
    timeout_s: float,
) -> AsyncIterator[Table]:
    monkeypatch.setenv("LOOPBACK_KEY", KEY)
    kitchen.configure(**settings(mock_openai, plugin, timeoutS=timeout_s))
    async with open_runtime() as runtime:
        report = await runtime.apply([kitchen.path])
        assert not report.not_ready
        assert runtime.models.choose("openai").plugin == plugin
        runtime.models.retry = SOON
        if plugin == "litellm":
            await warm(runtime)
            mock_openai.reset()
        yield Table(runtime, mock_openai)


# ------------------------------------------------------------------------------------------------ answers


async def test_agent_answers(table: Table, stream: bool) -> None:
    output, events = await table.ask("SAY(番茄炒蛋)", stream=stream)
    assert output == "番茄炒蛋"
    assert "".join(event["text"] for event in events) == ("番茄炒蛋" if stream else "")
    asked = table.server.last()
    assert asked["model"] == "gpt-4-turbo"
    assert asked["messages"][0] == {"role": "system", "content": "你是一个厨师助手，帮助用户根据食材推荐菜谱。"}
    assert [tool["function"]["name"] for tool in asked["tools"]] == ["recipe-finder"]
    assert bool(asked.get("stream")) is stream


async def test_answer_is_streamed_piece_by_piece(table: Table) -> None:
    _, events = await table.ask("TOKENS(5)", stream=True)
    assert [event["text"].strip() for event in events if event["text"]] == [f"word{at}" for at in range(5)]


async def test_tool_call_reaches_the_module_and_its_result_the_model(table: Table, stream: bool, kitchen: Any) -> None:
    output, events = await table.ask(f"{CALL} SAY(番茄炒蛋)", stream=stream)
    assert output == "番茄炒蛋"
    assert kitchen.calls == ["鸡蛋 番茄"]
    shown = [message for message in table.server.last()["messages"] if message["role"] == "tool"]
    assert [orjson.loads(message["content"]) for message in shown] == [["番茄炒蛋"]]
    if stream:
        (call,) = [event for event in events if event["type"] == "tool_call"]
        (result,) = [event for event in events if event["type"] == "tool_result"]
        assert (call["name"], call["arguments"]) == ("recipe-finder", {"ingredients": ["鸡蛋", "番茄"]})
        assert (result["response"], result["is_error"]) == (["番茄炒蛋"], False)


async def test_usage_counts_calls_and_tokens(table: Table, stream: bool) -> None:
    await table.ask(f"{CALL} SAY(番茄炒蛋)", stream=stream)
    (run,) = (await table.runtime.client.list(table.runtime.registry.resolve("run"))).items
    usage = run.status["usage"]
    assert (usage["modelCalls"], usage["toolCalls"], usage["steps"]) == (2, 1, 2)
    assert usage["inputTokens"] > 0
    assert usage["outputTokens"] > 0


async def test_conversation_keeps_a_turn_that_succeeded(table: Table) -> None:
    await table.ask(f"{CALL} SAY(番茄炒蛋)", stream=False, thread="dinner")
    await table.ask("SAY(好)", stream=True, thread="dinner")
    roles = [message["role"] for message in table.server.last()["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "assistant", "user"]


# ------------------------------------------------------------------------------------------------ tried again


@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_429_is_tried_again_when_the_server_says_so(table: Table, form: str) -> None:
    # A date has whole seconds, so one that is 2 s ahead is between 1 and 2 s away.
    at = datetime.now(UTC) + timedelta(seconds=2)
    wait = "1" if form == "seconds" else format_datetime(at, usegmt=True)
    started = time.monotonic()
    output, events = await table.ask(f"FAILN(1,429,{wait}) SAY(好)", stream=True)
    assert output == "好"
    (retry,) = [event for event in events if event["type"] == "model_retry"]
    assert retry["reason"] == "RateLimit"
    assert 0.5 < retry["wait_s"] <= 2
    assert time.monotonic() - started >= retry["wait_s"]
    assert table.chats == 2


@pytest.mark.parametrize(("fault", "times"), [("500", 2), ("503", 1)])
async def test_failure_of_the_server_that_passes_is_not_seen(
    table: Table, stream: bool, fault: str, times: int
) -> None:
    output, _ = await table.ask(f"FAILN({times},{fault}) SAY(好)", stream=stream)
    assert output == "好"
    assert table.chats == times + 1


async def test_tool_is_not_called_again_when_the_model_is(table: Table, kitchen: Any) -> None:
    # The first request of the turn fails and so does the second try; the tool comes after both.
    output, _ = await table.ask(f"FAILN(2,500) {CALL} SAY(好)", stream=False)
    assert (output, kitchen.calls) == ("好", ["鸡蛋 番茄"])


# ------------------------------------------------------------------------------------------------ given up


async def test_429_without_end_fails_the_run(table: Table, stream: bool) -> None:
    run = await table.fails("FAIL(429)", stream=stream)
    assert run.status["reason"] == "RateLimit"
    assert table.chats == SOON.attempts


async def test_429_that_asks_for_too_long_a_wait_fails_at_once(table: Table) -> None:
    run = await table.fails("FAIL(429,3600)", stream=False)
    assert run.status["reason"] == "RateLimit"
    assert "a wait of 3600 s" in run.status["message"]
    assert table.chats == 1


async def test_500_without_end_fails_the_run(table: Table, stream: bool) -> None:
    run = await table.fails("FAIL(500)", stream=stream)
    assert run.status["reason"] == "ProviderUnavailable"
    assert "mock error 500" in run.status["message"]
    assert table.chats == SOON.attempts


@pytest.mark.parametrize(
    ("status", "reason"), [(401, "Authentication"), (400, "InvalidRequest"), (404, "ModelNotFound")]
)
async def test_refusal_is_not_tried_again(table: Table, status: int, reason: str) -> None:
    run = await table.fails(f"FAIL({status})", stream=False)
    assert run.status["reason"] == reason
    assert f"mock error {status}" in run.status["message"]
    assert table.chats == 1


@pytest.mark.parametrize("timeout_s", [0.3])
async def test_server_that_does_not_answer_in_time_fails_the_run(table: Table, stream: bool) -> None:
    run = await table.fails("SLEEP(20000)", stream=stream)
    assert run.status["reason"] == "ModelTimeout"
    assert "0.3 s" in run.status["message"]
    assert table.chats == SOON.attempts


@pytest.mark.parametrize("timeout_s", [0.3])
async def test_stream_that_stalls_fails_the_run(table: Table) -> None:
    run = await table.fails("STALL(2) TOKENS(5)", stream=True)
    assert run.status["reason"] == "ModelTimeout"
    assert table.chats == SOON.attempts


@pytest.mark.parametrize(
    ("directive", "stream"),
    [("HANGUP()", False), ("HANGUP()", True), ("CUT()", False), ("DROP(2) TOKENS(5)", True)],
    ids=["before the answer", "before the stream", "within the answer", "within the stream"],
)
async def test_cut_connection_is_tried_again_and_then_fails_the_run(table: Table, directive: str, stream: bool) -> None:
    run = await table.fails(directive, stream=stream)
    assert run.status["reason"] == "ModelConnection"
    said = "disconnected" if directive == "HANGUP()" else "broke in the middle of the answer"
    assert said in run.status["message"]
    assert table.chats == SOON.attempts


@pytest.mark.parametrize(
    ("directive", "stream"),
    [('BODY({"choices": [)', False), ("HTML()", False), ("EMPTY()", False), ("BADEVENT()", True)],
    ids=["not JSON", "a web page", "no choices", "bad event"],
)
async def test_malformed_answer_is_tried_again_and_then_fails_the_run(
    table: Table, directive: str, stream: bool
) -> None:
    run = await table.fails(directive, stream=stream)
    assert run.status["reason"] == "BadResponse"
    assert table.chats == SOON.attempts


async def test_conversation_goes_on_after_a_failure(table: Table) -> None:
    await table.fails("FAIL(400)", stream=False)
    assert (await table.ask("SAY(好)", stream=False, thread="dinner"))[0] == "好"
    assert [message["role"] for message in table.server.last()["messages"]] == ["system", "user", "assistant", "user"]


# ------------------------------------------------------------------------------------------------ on the command line


def test_command_answers_and_says_why_it_cannot(kitchen: Any, mock_openai: Any, plugin: str) -> None:
    kitchen.configure(**settings(mock_openai, plugin))
    environment = {"LOOPBACK_KEY": KEY}
    assert kitchen("apply", "-f", ".", **environment).code == 0
    run = ("run", "agent/recipe-assistant", "-n", "cooking", "--thread", "dinner")

    answered = kitchen(*run, f"{CALL} SAY(番茄炒蛋)", **environment)
    assert (answered.code, answered.out) == (0, "番茄炒蛋\n")
    assert "recipe-finder" in answered.err

    refused = kitchen(*run, "FAIL(401)", **environment)
    assert (refused.code, refused.out) == (5, "")
    assert "(Authentication)" in refused.err
    assert f"kastra explain model {MODEL}" in refused.err
    assert KEY not in refused.err

    cut = kitchen(*run, "-o", "json", "BODY({)", **environment)
    assert cut.code == 5
    told = orjson.loads(cut.out)
    assert (told["phase"], told["reason"]) == ("Failed", "BadResponse")
    assert told["message"].startswith(f"{MODEL}: ")

    conditions = [run["status"]["conditions"][0] for run in kitchen.items("runs")]
    assert sorted((c["status"], c["reason"]) for c in conditions) == [
        ("False", "Authentication"),
        ("False", "BadResponse"),
        ("True", "Succeeded"),
    ]


def test_explain_says_which_plugin_answers_and_why(kitchen: Any, mock_openai: Any) -> None:
    own = kitchen("explain", "model", "openai/gpt-4o")
    assert own.code == 0
    assert _field(own.out, "Plugin") == "openai"
    assert "offers the provider 'openai'" in _field(own.out, "Why")
    assert "litellm" in _field(own.out, "Others")
    assert "MissingKey" in _field(own.out, "Ready")
    assert "OPENAI_API_KEY" in _field(own.out, "Remedy")

    kitchen.configure(**settings(mock_openai, "litellm"))
    chosen = kitchen("explain", "model", "openai/gpt-4o", LOOPBACK_KEY=KEY)
    assert _field(chosen.out, "Plugin") == "litellm"
    assert "providers.openai.plugin: litellm" in _field(chosen.out, "Why")
    assert _field(chosen.out, "Others").startswith("openai ")
    assert _field(chosen.out, "Ready").startswith("yes")
    assert KEY not in chosen.all


def test_explain_tells_a_plugin_that_cannot_serve_the_provider(kitchen: Any) -> None:
    kitchen.configure(providers={"openai": {"plugin": "local"}})
    done = kitchen("explain", "model", "openai/gpt-4o")
    assert "does not serve 'openai'; plugins that do: openai, litellm" in done.out


def _field(text: str, name: str) -> str:
    (line,) = [line for line in text.splitlines() if line.startswith(f"{name}:")]
    return line.partition(":")[2].strip()
