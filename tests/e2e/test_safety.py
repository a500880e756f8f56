"""Attempts to misuse Kastra by data: manifests, answers of models and servers, names. Each must come to nothing."""

from __future__ import annotations

import os
import pty
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

KASTRA = Path(sys.executable).with_name("kastra")
SECRET = "sk-must-appear-nowhere-0123456789"
MEMORY_BYTES = 2 * 2**30
SOON_S = 20
"""Far more than any of the commands takes, far less than a search in quadratic time."""


def manifest(kind: str, spec: dict[str, Any], name: str = "x", **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "mastra.ai/v1", "kind": kind, "metadata": {"name": name, **metadata}, "spec": spec}


def http_tool(url: str, **more: Any) -> dict[str, Any]:
    return manifest("Tool", {"type": "http", "http": {"url": url}, **more})


def agent(model: Any = "openai/gpt-4o", **more: Any) -> dict[str, Any]:
    return manifest("Agent", {"instructions": "x", "model": model, **more})


def write(kitchen: Any, *documents: dict[str, Any]) -> str:
    (kitchen.path / "given.json").write_bytes(b"\n".join(map(orjson.dumps, documents)))
    return "given.json"


def bounded(kitchen: Any, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command with little memory and time; it must come to its own end."""
    done = subprocess.run(
        [KASTRA, *arguments],
        cwd=kitchen.path,
        env=kitchen.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=SOON_S,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES)),
    )
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 1, 2), done.stderr[:2000]
    assert len(done.stderr) < 30_000
    return done


class Server:
    """Answers each request with what ``answer`` makes of its head and body; keeps the heads."""

    def __init__(self, answer: Callable[[str, bytes], bytes]) -> None:
        self.heads: list[str] = []
        self._answer = answer
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                data = b""
                while b"\r\n\r\n" not in data and (more := connection.recv(65536)):
                    data += more
                head, _, body = data.partition(b"\r\n\r\n")
                text = head.decode("latin-1")
                length = next((int(x[15:]) for x in text.lower().split("\r\n") if x.startswith("content-length:")), 0)
                while len(body) < length and (more := connection.recv(65536)):
                    body += more
                self.heads.append(text)
                connection.sendall(self._answer(text, body))

    def close(self) -> None:
        self._socket.close()


def reply(body: bytes, status: str = "200 OK", head: str = "", kind: str = "application/json") -> bytes:
    lines = (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n{head}\r\n"
    )
    return lines.encode("latin-1") + body


def said(text: str) -> bytes:
    message = {"role": "assistant", "content": text}
    return reply(orjson.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}))


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[str, bytes], bytes]], Server]]:
    made: list[Server] = []

    def start(answer: Callable[[str, bytes], bytes]) -> Server:
        made.append(Server(answer))
        return made[-1]

    yield start
    for server in made:
        server.close()


# ------------------------------------------------------------------------------------------------ data runs no code


@pytest.mark.parametrize("command", ["validate", "diff", "apply --dry-run"])
def test_reading_a_manifest_imports_no_module_that_it_names(kitchen: Any, command: str) -> None:
    (kitchen.path / "pantry_recipes.py").write_text("open('it-ran', 'w').close()\ndef f(): ...\n", encoding="utf-8")
    tool = manifest("Tool", {"type": "python", "python": {"function": "pantry_recipes:f"}})
    kitchen(*command.split(), "-f", write(kitchen, tool))
    assert not (kitchen.path / "it-ran").exists()


@pytest.mark.parametrize(
    "function",
    [
        "kastra_plugin_openai._settings:key_of",
        "kastra_plugin_tool.http_client:send",
        "kastra_plugin_local.pull:pull",
        "kastra_core.config_edit:set_value",
        "os:system",
        "builtins:eval",
    ],
)
def test_no_tool_is_made_of_what_the_operator_did_not_allow_plugins_insides_included(
    kitchen: Any, function: str
) -> None:
    spec = {"type": "python", "python": {"function": function}, "inputSchema": {"type": "object"}}
    kitchen("apply", "-f", write(kitchen, manifest("Tool", spec)))
    outcome = kitchen("run", "tool/x", "--input", "{}", OPENAI_API_KEY=SECRET)
    assert outcome.code != 0
    assert "ModuleNotAllowed" in outcome.err
    assert SECRET not in outcome.all


@pytest.mark.parametrize("keyword", ["$ref", "$schema"])
@pytest.mark.parametrize("kind", ["Agent", "Tool"])
def test_a_schema_that_refers_elsewhere_is_refused_and_nothing_is_fetched(
    kitchen: Any, serve: Any, kind: str, keyword: str
) -> None:
    server = serve(lambda head, body: reply(b'{"type": "object"}'))
    schema = {keyword: f"{server.url}/schema"}
    given = (
        agent(output={"schema": schema}) if kind == "Agent" else http_tool("http://example.com/", inputSchema=schema)
    )
    for command in (["validate"], ["apply"]):
        assert kitchen(*command, "-f", write(kitchen, given)).code == 1
    assert server.heads == []


# ------------------------------------------------------------------------------------------------ hostile sizes

MANY = 300_000


@pytest.mark.parametrize(
    "given",
    [
        http_tool("http://example.com/" + "{" * MANY),
        http_tool("http://example.com/" + "{{a" * MANY),
        http_tool("http://example.com/", timeout="1" * MANY),
        http_tool("http://" + "@" * MANY),
        manifest("Tool", {"type": "python", "python": {"function": "a:" + "c." * MANY}}),
        agent(**{f"instruction{n}": 1 for n in range(100_000)}),
        manifest("Agent", {}, "x", **{f"name{n}": 1 for n in range(100_000)}),
        manifest("Agent", {}, labels={"a" * MANY + "!": "-" * MANY}),
        manifest("Agent", {}, namespace="n" * MANY),
        agent("a/" * MANY, toolChoice="x" * MANY),
        {**agent(), "kind": "A" * MANY},
        {**agent(), "apiVersion": "a/" * MANY},
    ],
    ids=lambda given: f"{given['kind'][:5]}-{len(orjson.dumps(given))}",
)
def test_a_manifest_made_to_take_long_is_judged_soon_and_in_few_words(kitchen: Any, given: dict[str, Any]) -> None:
    bounded(kitchen, "validate", "-f", write(kitchen, given))


@pytest.mark.parametrize(
    "text",
    [
        "a: " + "[" * 100_000,
        "- " * 100_000,
        "...\n" * 300_000,
        "a: 1e" + "9" * 1_000_000,
        "a: " + "!" * 1_000_000 + " b",
        "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(f"b{n}: &b{n} [{','.join(['*a'] * 9)}]\n" for n in range(50_000)),
    ],
    ids=["brackets", "dashes", "ends", "float", "tag", "aliases"],
)
def test_yaml_made_to_take_long_is_refused_soon_and_in_few_words(kitchen: Any, text: str) -> None:
    (kitchen.path / "given.yaml").write_text(text, encoding="utf-8")
    assert bounded(kitchen, "validate", "-f", "given.yaml").returncode == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["-l", " " * 100_000 + "!"],
        ["-l", "a" + " " * 100_000 + "!"],
        ["-o", "jsonpath=" + ".a" * 50_000],
        ["-o", "jsonpath={.a[" + "9" * 5_000 + "]}"],
    ],
    ids=["blanks", "blanks after a key", "long path", "long index"],
)
def test_selectors_and_paths_made_to_take_long_are_refused_soon(kitchen: Any, arguments: list[str]) -> None:
    assert bounded(kitchen, "get", "agents", *arguments).returncode == 1


# ------------------------------------------------------------------------------------------------ secrets


def echo(status: str) -> Callable[[str, bytes], bytes]:
    return lambda head, body: reply(orjson.dumps({"error": {"message": head}}), status)


def at_the_edge(head: str, body: bytes) -> bytes:
    """The key where an excerpt of the answer ends."""
    return reply(b"y" * (600 - len(SECRET) + 4) + SECRET.encode() + b"tail", "400 Bad", kind="text/plain")


@pytest.mark.parametrize(
    "answer",
    [
        echo("401 Unauthorized"),
        echo("400 Bad"),
        at_the_edge,
        lambda head, body: reply(b"", "302 Found", f"Location: http://127.0.0.2/{SECRET}?key={SECRET}\r\n"),
        lambda head, body: f"HTTP/1.1 200 OK\r\nBad Header {SECRET}\r\n\r\n".encode(),
        lambda head, body: f"{SECRET} is no status line\r\n\r\n".encode(),
    ],
    ids=["401", "400", "edge", "redirect", "bad header", "bad status line"],
)
def test_a_key_that_a_server_sends_back_in_an_error_is_nowhere(kitchen: Any, serve: Any, answer: Any) -> None:
    server = serve(answer)
    provider = {"apiBase": f"{server.url}/v1", "apiKey": {"valueFrom": {"env": "A_KEY"}}}
    kitchen.configure(providers={"openai": provider})
    kitchen("apply", "-f", write(kitchen, agent()), A_KEY=SECRET)
    outcome = kitchen("--debug", "run", "agent/x", "hi", A_KEY=SECRET)
    assert outcome.code != 0
    assert any(SECRET in head for head in server.heads)
    seen = outcome.all + kitchen("describe", "runs").out + kitchen("get", "runs,events", "-o", "json").out
    assert SECRET[:-6] not in seen
    stored = b"".join(file.read_bytes() for file in (kitchen.path / ".kastra").glob("kastra.db*"))
    assert SECRET[:-6].encode() not in stored


def test_the_configuration_is_shown_without_what_is_secret_in_its_urls(kitchen: Any) -> None:
    kitchen.configure(providers={"openai": {"apiBase": f"https://me:{SECRET}@example.com/v1?key={SECRET}"}})
    shown = [
        kitchen("config", "view"),
        kitchen("config", "view", "-o", "json"),
        kitchen("config", "view", "--origin"),
        kitchen("config", "get", "providers.openai.apiBase"),
        kitchen("explain", "model", "openai/x"),
    ]
    assert "example.com/v1" in shown[0].out
    assert not [outcome for outcome in shown if SECRET in outcome.all]


def test_the_store_and_its_directory_are_their_owners_alone(kitchen: Any, tmp_path: Path) -> None:
    place = tmp_path / "new" / "store.db"
    kitchen("--store", f"file:{place}", "apply", "-f", write(kitchen, agent()))
    assert place.stat().st_mode & 0o077 == 0
    assert place.parent.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("model", "environment"),
    [
        ({"provider": "openai", "name": "m"}, {"A_KEY": SECRET}),
        ({"provider": "groq", "name": "m"}, {"GROQ_API_KEY": SECRET}),
    ],
    ids=["configured", "environment"],
)
def test_an_address_in_a_manifest_gets_no_key_of_the_operator(
    kitchen: Any, serve: Any, model: dict[str, Any], environment: dict[str, str]
) -> None:
    server = serve(lambda head, body: said("fine"))
    key = {"valueFrom": {"env": "A_KEY"}}
    kitchen.configure(providers={"openai": {"apiKey": key, "headers": {"X-Gate": key}}})
    kitchen("apply", "-f", write(kitchen, agent({**model, "apiBase": f"{server.url}/v1"})), **environment)
    outcome = kitchen("run", "agent/x", "hi", **environment)
    assert outcome.out == "fine\n", outcome.err
    assert server.heads
    assert not [head for head in server.heads if SECRET in head]


# ------------------------------------------------------------------------------------------------ the terminal

STEERING = "\x1b]0;title\x07\x1b[2J\x9b31m\x08\x7f\u202e"


def on_a_terminal(kitchen: Any, *arguments: str) -> str:
    """What a command writes to a terminal."""
    environment = {**kitchen.environment, "TERM": "xterm"}
    environment.pop("NO_COLOR", None)
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [KASTRA, *arguments],
        cwd=kitchen.path,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        out = b""
        try:
            while more := os.read(ours, 65536):
                out += more
        except OSError:  # the other end is closed
            pass
        process.wait()
    os.close(ours)
    return out.decode()


def test_no_control_characters_of_others_reach_a_terminal(kitchen: Any, serve: Any) -> None:
    server = serve(lambda head, body: said(f"before{STEERING}after"))
    kitchen.configure(providers={"vllm": {"apiBase": f"{server.url}/v1"}})
    given = agent({"provider": "vllm", "name": "m"})
    given["metadata"]["annotations"] = {"note": STEERING}
    assert kitchen("apply", "-f", write(kitchen, given)).code == 0
    wrong = {**given, "spec": {**given["spec"], f"in{STEERING}": 1}}
    texts = [on_a_terminal(kitchen, "run", "agent/x", "hi")]
    assert "before" in texts[0]
    commands = ("describe agents", "describe runs", "get agents -o json", "get runs -o yaml", "logs agent/x")
    texts.extend(on_a_terminal(kitchen, *command.split()) for command in commands)
    texts.append(on_a_terminal(kitchen, "get", "agents", "-o", "jsonpath={.items[*].metadata.annotations.note}"))
    texts.append(on_a_terminal(kitchen, "validate", "-f", write(kitchen, wrong)))
    for text in texts:
        assert text.strip()
        assert not set(text) & {"\x07", "\x08", "\x7f", "\x9b", "\u202e"}, ascii(text)
        assert "\x1b]" not in text
        assert "\x1b[2J" not in text


@pytest.mark.parametrize(
    "arguments",
    [
        ["--name", "../x"],
        ["--name", "a\nb"],
        ["--name", "x'; DROP TABLE resources; --"],
        ["--thread", "a\nb"],
        ["--thread", "x" * 5000],
    ],
)
def test_a_run_gets_no_name_that_a_path_or_a_line_would_be_garbled_by(kitchen: Any, arguments: list[str]) -> None:
    kitchen("apply", "-f", "tool.yaml")
    outcome = kitchen("run", "tool/recipe-finder", "-n", "cooking", "--set", "ingredients=[]", *arguments)
    assert outcome.code == 1
    assert "is no valid name of a" in outcome.err


# ------------------------------------------------------------------------------------------------ exhaustion


def test_an_answer_without_measure_ends_the_run_with_a_reason(kitchen: Any, serve: Any) -> None:
    server = serve(lambda head, body: said("x" * 70_000_000))
    kitchen.configure(providers={"vllm": {"apiBase": f"{server.url}/v1"}})
    kitchen("apply", "-f", write(kitchen, agent({"provider": "vllm", "name": "m"})))
    outcome = kitchen("run", "agent/x", "hi")
    assert outcome.code == 5
    assert "answered with more than 64 MiB" in outcome.err
    assert len(server.heads) == 1


@pytest.mark.parametrize(
    ("body", "reason"),
    [('return "x" * 20_000_000', "ResponseTooLarge"), ('raise ValueError("e" * 20_000_000)', "ToolFailed")],
)
def test_a_tool_without_measure_fails_with_a_short_reason(kitchen: Any, body: str, reason: str) -> None:
    (kitchen.path / "pantry_recipes.py").write_text(f"def f() -> str:\n    {body}\n", encoding="utf-8")
    kitchen(
        "apply", "-f", write(kitchen, manifest("Tool", {"type": "python", "python": {"function": "pantry_recipes:f"}}))
    )
    outcome = kitchen("run", "tool/x")
    assert outcome.code == 5
    assert reason in outcome.err
    assert len(outcome.err) < 10_000


def test_counts_of_tokens_beyond_all_measure_are_not_believed(kitchen: Any, serve: Any) -> None:
    message = b'{"choices":[{"message":{"content":"fine"},"finish_reason":"stop"}],"usage":{"prompt_tokens":'
    server = serve(lambda head, body: reply(message + b"9" * 30 + b',"completion_tokens":-5}}'))
    kitchen.configure(providers={"vllm": {"apiBase": f"{server.url}/v1"}})
    kitchen("apply", "-f", write(kitchen, agent({"provider": "vllm", "name": "m"})))
    assert kitchen("run", "agent/x", "hi").out == "fine\n"
