"""A chat: its thread, its turns and its slash commands."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kastra_core.api.meta import JsonObject, Resource, is_true
from kastra_core.cli.chat_loop import LoopThread
from kastra_core.cli.chat_prompt import Prompt
from kastra_core.cli.common import CliState
from kastra_core.cli.run_screen import ErrorLines, Screen, in_one_line, plural, printable, usage_words
from kastra_core.cli.run_session import INTERRUPTED, failure_of
from kastra_core.cli.run_target import choose_plugins, find_target, models_of, require_model, tell_notes
from kastra_core.errors import KastraError, UserError

if TYPE_CHECKING:
    from kastra_core.execution.handle import RunHandle
    from kastra_core.protocols.store import ThreadInfo
    from kastra_core.runtime import RuntimeManager

__all__ = ["COMMANDS", "ChatSession"]

COMMANDS: dict[str, str] = {
    "/help": "this list",
    "/thread [NAME]": "the threads here, or go on with another one",
    "/history [N]": "the last N exchanges of the thread (5)",
    "/model [PROVIDER/NAME]": "which model answers, or another; default: the target's own",
    "/retry": "ask the last question again",
    "/usage": "what this chat has used",
    "/save FILE": "write the thread to a file, Markdown or .json",
    "/exit": "leave, as Ctrl-D",
}
_HISTORY = 5
_LIVES_S = 0.05
_THREADS = 20
"""Threads that /thread names."""
_LOOK_BACK = 8
"""Messages that an exchange is guessed to have."""


class ChatSession:
    """One invocation of ``kastra chat``. ``begin`` runs in the loop, ``talk`` in the main thread.

    Args:
        loop: where the runtime lives.
        limits: of each turn.
    """

    def __init__(self, state: CliState, loop: LoopThread, runtime: RuntimeManager, *, limits: JsonObject) -> None:
        self.state, self.loop, self.runtime, self._limits = state, loop, runtime, limits
        self.lines = ErrorLines(quiet=state.quiet)
        self.thread = ""
        self.model: str | None = None
        self._target: Resource
        self._refers = False
        """The target calls others: what is said before its answer must not stand in a pipe."""
        self._last: str | None = None
        self._kept: bool | None = None
        """Whether the target keeps what is said; None until it has answered."""
        self._usage: dict[str, float] = {}
        self._turns = 0
        self._failed = False
        self._interactive = False
        self._running: RunHandle | None = None
        self._stopping = False

    # ------------------------------------------------------------------------------------ beginning

    async def begin(
        self, target: str, namespace: str | None, *, thread: str | None, model: str | None, plugins: Sequence[str]
    ) -> None:
        """Find the target and make sure that it can answer. Raises: KastraError."""
        runtime = self.runtime
        choose_plugins(runtime, plugins)
        self._target = await find_target(runtime, target, namespace)
        if model:
            require_model(runtime, model, self._target)
        self.model = model
        # A chat serves its own turns; interrupted runs are left to `kastra run`.
        await runtime.runs.start(recover=False)
        runtime.tend()
        if not is_true(self._target):
            await runtime.controllers.reconcile_closure(self._target.key)
            self._target = await runtime.client.require(self._target.key)
        tell_notes(self.state, runtime, self._target, model)
        kind = runtime.registry.of_key(self._target.key)
        self._refers = kind.references is not None and any(True for _ in kind.references_of(self._target))
        self.thread = thread or f"chat-{time.strftime('%Y%m%d')}-{secrets.token_hex(3)}"

    @property
    def _namespace(self) -> str:
        return self._target.metadata.namespace or "default"

    @property
    def _shown_target(self) -> str:
        return f"{self._target.kind.lower()}/{self._target.metadata.name}"

    def talk(self, *, interactive: bool) -> int:
        """Take turns until the person leaves; return the exit code."""
        self._interactive = interactive
        again = f"kastra chat {self._shown_target} -n {self._namespace}"
        self.lines.say(f"thread {self.thread} (`{again} --thread {self.thread}` goes on with it)", cut=False)
        if interactive:
            self.lines.say("/help shows the commands; Ctrl-C stops an answer, Ctrl-D leaves")
            self._show_history(1)
        history = self.runtime.config.project / ".kastra" / "chat_history"
        prompt = Prompt(interactive=interactive, history=history, commands=[c.split()[0] for c in COMMANDS])
        try:
            while True:
                try:
                    text = prompt.turn()
                except EOFError:
                    if interactive:
                        self.lines.say("")
                    break
                except KeyboardInterrupt:
                    if not interactive:
                        return INTERRUPTED
                    self.lines.say("\n(Ctrl-D or /exit leaves)", cut=False)
                    continue
                if text.strip() and self._take(text) == "leave":
                    break
        finally:
            prompt.close()
        return 5 if self._failed and not interactive else 0

    def _take(self, text: str) -> str:
        try:
            word = text.split(maxsplit=1)[0]
            if text.startswith("//"):
                text = text[1:]
            elif word in _ACTIONS:
                return _ACTIONS[word](self, text[len(word) :].strip()) or ""
            elif word.startswith("/") and self._interactive:
                self.lines.must_say(f"there is no command {word}; /help lists them (//... is sent as /...)")
                return ""
            self._ask(text)
        except KastraError as error:
            self._failed = True
            self.lines.must_say(f"error: {error}")
        return ""

    # ------------------------------------------------------------------------------------ a turn

    def _ask(self, text: str) -> None:
        """One turn: Ctrl-C cancels its run, a second one leaves the process."""
        self._last = text
        screen = Screen(self.lines, stream=sys.stdout.isatty() or not self._refers)
        hits = 0
        done = threading.Event()
        future = asyncio.run_coroutine_threadsafe(self._turn(text, screen), self.loop.loop)
        future.add_done_callback(lambda _: done.set())
        while not done.is_set():
            try:
                done.wait()
            except KeyboardInterrupt:
                hits += 1
                if hits > 1:
                    self.lines.must_say("\ninterrupted again: left at once")
                    os._exit(INTERRUPTED)
                self.lines.must_say("\nstopping the answer (Ctrl-C again leaves the chat at once)")
                self.loop.loop.call_soon_threadsafe(self._stop)
        status, handle = future.result()
        if screen.broken:
            raise BrokenPipeError
        self._count(status)
        if status.get("phase") == "Succeeded":
            screen.finish(status.get("output"))
            self._say_if_unkept()
            if self.lines.is_tty and self._interactive:
                self.lines.say(f"({usage_words(status.get('usage') or {}, status.get('durationS'))})", cut=False)
            return
        screen.stop()
        if status.get("phase") == "Cancelled":
            self.lines.must_say("stopped; the thread is as it was before this turn")
            return
        self._failed = True
        if status.get("phase") == "Suspended":
            self.lines.must_say(f"run/{handle.name} is suspended; `kastra run resume run/{handle.name}` goes on")
        else:
            self.lines.must_say(failure_of(self.runtime, handle.key, status))

    def _say_if_unkept(self) -> None:
        """Say once that a target keeps no conversation: what it answered is not in the thread."""
        if self._kept is None:
            stored = self._call(self.runtime.store.threads.messages(self._namespace, self.thread, last=1))
            self._kept = bool(stored)
            if not self._kept:
                self.lines.say(f"note: {self._shown_target} keeps no conversation; each turn stands alone", cut=False)

    async def _turn(self, text: str, screen: Screen) -> tuple[JsonObject, RunHandle]:
        target, runtime = self._target, self.runtime
        where = {"kind": target.kind, "name": target.metadata.name, "namespace": target.metadata.namespace}
        handle = await runtime.start_run(
            runtime.reference(where), text, listener=screen.event, thread=self.thread, model=self.model,
            limits=self._limits,
        )  # fmt: skip
        self._running = handle
        if self._stopping:
            self._stop()
        end = asyncio.create_task(handle.status())
        try:
            while True:
                await runtime.runs.drain([handle.key])
                done, _ = await asyncio.wait({end}, timeout=_LIVES_S)
                if done:
                    return end.result(), handle
                run = await runtime.client.require(handle.key)
                if run.status.get("phase") == "Suspended" and run.status.get("wakeAtS") is None:
                    return run.status, handle
        finally:
            end.cancel()
            self._running, self._stopping = None, False

    def _stop(self) -> None:
        """Cancel the run of the turn, or have it cancelled as soon as it begins."""
        self._stopping = True
        if self._running is not None:
            self.runtime.runs.cancel_local(self._running.uid)

    def _count(self, status: Mapping[str, Any]) -> None:
        self._turns += 1
        for name, value in (status.get("usage") or {}).items():
            if isinstance(value, (int, float)):
                self._usage[name] = self._usage.get(name, 0) + value
        self._usage["durationS"] = self._usage.get("durationS", 0.0) + (status.get("durationS") or 0.0)

    # ------------------------------------------------------------------------------------ slash commands

    def _help(self, rest: str) -> None:
        for command, what in COMMANDS.items():
            self.lines.must_say(f"  {command:<24}{what}")
        self.lines.must_say('  a line that ends with \\ goes on; """ begins and ends a text of several lines')

    def _threads(self, rest: str) -> None:
        if rest:
            self.thread = rest.split()[0]
            self._last = None
            self.lines.must_say(f"thread {self.thread}")
            self._show_history(1)
            return
        self.lines.must_say(f"thread {self.thread}")
        found, count = self._call(self._latest_threads())
        for info in found[::-1]:
            mark = "*" if info.thread == self.thread else " "
            when = time.strftime("%Y-%m-%d %H:%M", time.localtime(info.updated_s))
            self.lines.must_say(f"{mark} {info.thread}  {plural(info.messages, 'message')}, {when}")
        if count > len(found):
            self.lines.must_say(f"{count - len(found)} older ones; `kastra threads list` shows more")

    async def _latest_threads(self) -> tuple[list[ThreadInfo], int]:
        """The threads used last, and how many there are."""
        import heapq

        from kastra_core.cli.threads_read import infos

        every = [info async for info in infos(self.runtime.store, self._namespace)]
        return heapq.nlargest(_THREADS, every, key=lambda info: info.updated_s), len(every)

    def _history(self, rest: str) -> None:
        if rest and not (rest.isdecimal() and int(rest)):
            raise UserError(f"/history takes a number of exchanges, not {rest!r}")
        if not self._show_history(int(rest or _HISTORY)):
            self.lines.must_say(f"thread {self.thread} is empty")

    def _show_model(self, rest: str) -> None:
        if rest == "default":
            self.model = None
        elif rest:
            self._call(self._require(rest))
            self.model = rest
        shown = models_of(self.runtime, self._target, self.model)
        if shown:
            self.lines.must_say(f"model {shown}")
        elif self.model:
            self.lines.must_say(f"model {self.model}, for what {self._shown_target} calls")
        else:
            self.lines.must_say(f"{self._shown_target} has no model of its own; what it calls answers with its own")

    async def _require(self, model: str) -> None:
        require_model(self.runtime, model, self._target)
        tell_notes(self.state, self.runtime, self._target, model)

    def _retry(self, rest: str) -> None:
        if self._last is None:
            raise UserError("there is nothing to ask again yet")
        self._ask(self._last)

    def _show_usage(self, rest: str) -> None:
        words = usage_words({k: v if k == "cost" else int(v) for k, v in self._usage.items()}, None)
        spent = f"{self._usage.get('durationS', 0.0):.1f}s of answers"
        self.lines.must_say(", ".join(filter(None, [plural(self._turns, "turn"), words, spent])))

    def _save(self, rest: str) -> None:
        if not rest:
            raise UserError("/save needs the name of a file")
        path = Path(rest).expanduser()
        messages = self._messages()
        try:
            path.write_text(_as_text(messages, self.thread, json=path.suffix == ".json"), encoding="utf-8")
        except OSError as err:
            raise UserError(f"{path} cannot be written: {err.strerror}") from err
        self.lines.must_say(f"{plural(len(messages), 'message')} in {path}")

    def _exit(self, rest: str) -> str:
        return "leave"

    # ------------------------------------------------------------------------------------ the thread

    def _call(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.call(coroutine)

    def _messages(self) -> list[JsonObject]:
        stored = self._call(self.runtime.store.threads.messages(self._namespace, self.thread))
        return [item.message for item in stored]

    def _show_history(self, exchanges: int) -> bool:
        """Show the last exchanges; False when there are none."""
        messages = self._last_exchanges(exchanges)
        for message in messages:
            for line in _shown(message):
                self.lines.must_say(line)
        return bool(messages)

    def _last_exchanges(self, exchanges: int) -> list[JsonObject]:
        """The messages of the last exchanges, read from the end of the thread."""
        last = _LOOK_BACK * exchanges
        while True:
            stored = self._call(self.runtime.store.threads.messages(self._namespace, self.thread, last=last))
            messages = [item.message for item in stored]
            begins = [at for at, message in enumerate(messages) if message.get("role") == "user"]
            if len(begins) >= exchanges or len(stored) < last:
                return messages[begins[-exchanges:][0] :] if begins else []
            last *= 4


def _shown(message: JsonObject) -> list[str]:
    """Lines that show a message of a thread."""
    out = []
    for part in message.get("parts") or ():
        if part.get("type") == "text" and part.get("content"):
            mark = "> " if message.get("role") == "user" else ""
            out.append(mark + printable(str(part["content"])))
        elif part.get("type") == "tool_call":
            out.append(f"-> {part.get('name')} {in_one_line(part.get('arguments'))}")
        elif part.get("type") == "tool_call_response":
            out.append(f"<- {in_one_line(part.get('response'))[:200]}")
    return out


def _as_text(messages: Sequence[JsonObject], thread: str, *, json: bool) -> str:
    if json:
        import orjson

        return orjson.dumps({"thread": thread, "messages": list(messages)}, option=orjson.OPT_INDENT_2).decode() + "\n"
    out = [f"# {thread}\n"]
    for message in messages:
        out.append(f"\n## {message.get('role')}\n")
        for part in message.get("parts") or ():
            if part.get("type") == "text":
                out.append(f"\n{part.get('content')}\n")
            elif part.get("type") == "tool_call":
                out.append(f"\n`{part.get('name')}` {in_one_line(part.get('arguments'))}\n")
            else:
                out.append(f"\n{in_one_line(part.get('response'))}\n")
    return "".join(out)


_ACTIONS: Mapping[str, Callable[[ChatSession, str], str | None]] = {
    "/help": ChatSession._help,
    "/thread": ChatSession._threads,
    "/history": ChatSession._history,
    "/model": ChatSession._show_model,
    "/retry": ChatSession._retry,
    "/usage": ChatSession._show_usage,
    "/save": ChatSession._save,
    "/exit": ChatSession._exit,
    "/quit": ChatSession._exit,
}
