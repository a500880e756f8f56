"""``kastra chat``: on a terminal (a pseudo-terminal and a real process) and from a pipe."""

from __future__ import annotations

import contextlib
import os
import re
import select
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from kastra_core.cli.chat_prompt import assemble

ASSISTANT = ("agent/recipe-assistant", "-n", "cooking")
_STEERING = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A person in front of a chat: types, and reads what appears after what was read before."""

    def __init__(self, process: subprocess.Popen[bytes], descriptor: int) -> None:
        self.process, self._descriptor = process, descriptor
        self.seen = ""
        self._unread = ""

    def type(self, text: str) -> None:
        os.write(self._descriptor, text.encode())

    def enter(self, text: str) -> None:
        """Type a line and see its echo."""
        self.type(f"{text}\n")

    def read_until(self, text: str, timeout_s: float = 60) -> str:
        """What appears up to and with ``text``."""
        deadline = time.monotonic() + timeout_s
        while text not in self._unread:
            left = deadline - time.monotonic()
            ready = select.select([self._descriptor], [], [], max(left, 0))[0]
            assert ready, f"{text!r} did not appear; there was {self._unread!r}"
            try:
                chunk = os.read(self._descriptor, 4096).decode(errors="replace")
            except OSError:
                chunk = ""
            assert chunk, f"{text!r} did not appear before the end; there was {self._unread!r}"
            self._unread += _STEERING.sub("", chunk)
        found, _, self._unread = self._unread.partition(text)
        self.seen += found + text
        return found + text

    def leave(self) -> int:
        """Type Ctrl-D and wait for the end."""
        self.type("\x04")
        return self.ended()

    def ended(self) -> int:
        while select.select([self._descriptor], [], [], 30)[0]:
            try:
                if not os.read(self._descriptor, 4096):
                    break
            except OSError:
                break  # Linux says EIO when nobody has the terminal open any more
        return self.process.wait(30)

    def close(self) -> None:
        os.close(self._descriptor)


@pytest.fixture
def chat(kitchen: Any) -> Iterator[Any]:
    """Start ``kastra chat ARGS`` on a terminal."""
    open_ones: list[Terminal] = []

    def start(*args: str, **environment: str) -> Terminal:
        terminal = Terminal(*kitchen.start_on_terminal("chat", *args, **environment))
        open_ones.append(terminal)
        return terminal

    yield start
    kitchen.stop()
    for terminal in open_ones:
        terminal.close()


def test_a_conversation_is_kept_and_can_be_gone_on_with(chat: Any, kitchen: Any) -> None:
    first = chat("agent/plain")
    begin = first.read_until("> ")
    [thread] = re.findall(r"thread (chat-\d{8}-[0-9a-f]{6}) ", begin)
    first.enter("SAY(one)")
    assert "one\r\n" in first.read_until("tokens")
    first.read_until("> ")
    assert first.leave() == 0

    second = chat("agent/plain", "--thread", thread)
    second.read_until("> SAY(one)\r\none\r\n> ")  # the last exchange, then the prompt
    second.enter("SAY(two)")
    second.read_until("tokens")
    second.read_until("> ")
    assert second.leave() == 0
    told = [message["content"] for message in kitchen.server.last()["messages"]]
    assert told == ["Talk.", "SAY(one)", "one", "SAY(two)"]


def test_tool_calls_are_shown_and_answers_stream(chat: Any, kitchen: Any) -> None:
    kitchen.server.mock.chunk_latency = 0.1
    person = chat(*ASSISTANT)
    person.read_until("> ")
    person.enter('CALL(recipe-finder:{"ingredients":["egg"]}) TOKENS(9)')
    shown = person.read_until("word2")
    assert '-> recipe-finder {"ingredients":["egg"]}' in shown
    assert '<- recipe-finder ["egg soup"]' in shown
    assert "word8" not in shown
    person.read_until("word8")
    person.read_until("> ")
    assert person.leave() == 0


def test_ctrl_c_stops_the_answer_and_not_the_chat(chat: Any, kitchen: Any) -> None:
    person = chat("agent/plain")
    person.read_until("> ")
    person.enter("SLEEP(60000)")
    kitchen.asked(1)
    person.type("\x03")
    person.read_until("stopped; the thread is as it was")
    person.read_until("> ")
    person.enter("SAY(still here)")
    person.read_until("still here\r\n")
    person.read_until("> ")
    person.type("half a line")
    person.read_until("half a line")
    for timeout_s in (2, 2, 2, 60):
        person.type("\x03")
        # Python's readline sleeps over a signal that comes while it handles a key, until there is another.
        with contextlib.suppress(AssertionError) if timeout_s == 2 else contextlib.nullcontext():
            person.read_until("\r\n(Ctrl-D or /exit leaves)", timeout_s)
            break
    person.read_until("> ")
    assert person.leave() == 0
    assert sorted(run["status"]["phase"] for run in kitchen.runs()) == ["Cancelled", "Succeeded"]


def test_a_second_ctrl_c_leaves_at_once(chat: Any, mule: Any) -> None:
    person = chat("mule/m")
    person.read_until("> ")
    person.enter("go")
    person.read_until("it stands")
    person.type("\x03")
    person.read_until("Ctrl-C again leaves the chat at once")
    person.read_until("it stands still")
    person.type("\x03")
    person.read_until("left at once")
    assert person.ended() == 130


def test_a_turn_may_have_several_lines(chat: Any, kitchen: Any) -> None:
    person = chat("agent/plain")
    person.read_until("> ")
    person.enter("first \\")
    person.read_until(". ")
    person.enter("second")
    person.read_until("Hello from the mock.")
    assert kitchen.server.last()["messages"][-1]["content"] == "first \nsecond"
    person.read_until("> ")
    person.enter('"""one')
    person.read_until(". ")
    person.enter("two")
    person.read_until(". ")
    person.enter('three"""')
    person.read_until("Hello from the mock.")
    assert kitchen.server.last()["messages"][-1]["content"] == "one\ntwo\nthree"
    person.read_until("> ")
    assert person.leave() == 0


def test_slash_commands(chat: Any, kitchen: Any) -> None:
    person = chat("agent/plain", "--thread", "mine")
    person.read_until("> ")
    for line, answer in [
        ("/help", "begins and ends a text of several lines"),
        ("/retry", "nothing to ask again yet"),
        ("SAY(an answer)", "an answer\r\n"),
        ("/retry", "an answer\r\n"),
        ("/model openai/other", "model openai/other"),
        ("SAY(from the other)", "from the other\r\n"),
        ("/model default", "model openai/mock"),
        ("/model nonsense", "names no model"),
        ("/usage", "3 turns, 3 model calls"),
        ("/history 1", "> SAY(from the other)"),
        ("/history x", "takes a number"),
        ("/save talk.json", "6 messages in talk.json"),
        ("/save talk.md", "6 messages in talk.md"),
        ("/thread other", "thread other"),
        ("/thread", "mine  6 messages"),
        ("/nosuch", "there is no command /nosuch"),
        ("//usr/bin", "Hello from the mock."),
    ]:
        person.enter(line)
        person.read_until(answer)
        person.read_until("> ")
    assert kitchen.server.last()["messages"][-1]["content"] == "/usr/bin"
    person.enter("/exit")
    assert person.ended() == 0
    saved = orjson.loads((kitchen.path / "talk.json").read_bytes())
    assert saved["thread"] == "mine"
    assert "an answer" in (kitchen.path / "talk.md").read_text(encoding="utf-8")


def test_tab_completes_commands_and_history_is_kept(chat: Any, kitchen: Any) -> None:
    pytest.importorskip("readline", reason="this Python has no readline")
    person = chat("agent/plain")
    person.read_until("> ")
    person.type("/us\t")
    person.read_until("/usage ")
    person.type("\n")
    person.read_until("0 turns")
    person.read_until("> ")
    assert person.leave() == 0
    history = kitchen.path / ".kastra" / "chat_history"
    assert "/usage" in history.read_text(encoding="utf-8")
    assert history.stat().st_mode & 0o077 == 0
    again = chat("agent/plain")
    again.read_until("> ")
    again.type("\x1b[A")
    again.read_until("/usage")
    again.type("\n")
    again.read_until("0 turns")
    again.read_until("> ")
    assert again.leave() == 0


def test_a_dumb_terminal_gets_no_codes(kitchen: Any) -> None:
    process, descriptor = kitchen.start_on_terminal("chat", "agent/plain", TERM="dumb")
    try:
        os.write(descriptor, b"SAY(plain)\n\x04")
        out = b""
        try:
            while chunk := os.read(descriptor, 4096):
                out += chunk
        except OSError:
            pass
    finally:
        os.close(descriptor)
    assert process.wait(30) == 0
    assert b"> plain\r\n" in out
    assert b"\x1b" not in out


def test_a_turn_that_fails_does_not_end_the_chat(chat: Any) -> None:
    person = chat("agent/plain")
    person.read_until("> ")
    person.enter("FAIL(400)")
    person.read_until("ended without an answer (InvalidRequest)")
    person.read_until("> ")
    person.enter("SAY(well)")
    person.read_until("well\r\n")
    person.read_until("> ")
    assert person.leave() == 0


# ------------------------------------------------------------------------------------------------ a pipe


def test_a_line_of_a_pipe_is_a_turn(kitchen: Any) -> None:
    done = kitchen("chat", "agent/plain", "--thread", "t", stdin="SAY(one)\n\nSAY(two)\n/history 1\n")
    assert (done.code, done.out) == (0, "one\ntwo\n")
    assert "thread t (" in done.err
    assert "> SAY(two)" in done.err
    assert kitchen.server.stats()["chat"] == 2


def test_a_failed_turn_of_a_pipe_is_in_the_exit_code(kitchen: Any) -> None:
    done = kitchen("chat", "agent/plain", stdin="FAIL(400)\nSAY(two)\n")
    assert (done.code, done.out) == (5, "two\n")


def test_a_chat_with_what_cannot_answer_does_not_begin(kitchen: Any) -> None:
    assert "did you mean" in kitchen("chat", "agent/plian").err
    assert kitchen("chat", "agent/plain", "--model", "nonsense").code == 1


@pytest.mark.parametrize(
    ("lines", "turns"),
    [
        (["a", "b"], ["a", "b"]),
        (["a\\", "b"], ["a\nb"]),
        (["a\\"], ["a\n"]),
        (['"""a"""'], ["a"]),
        (['"""', "a", "", "b", '"""', "c"], ["a\n\nb", "c"]),
        (['"""a', "b"], ["a\nb"]),
    ],
)
def test_lines_are_put_together(lines: list[str], turns: list[str]) -> None:
    rest = iter(lines)

    def read(continued: bool) -> str:
        for line in rest:
            return line
        raise EOFError

    assert [assemble(read) for _ in turns] == turns
    with pytest.raises(EOFError):
        assemble(read)
