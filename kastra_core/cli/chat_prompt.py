"""Reading turns: a prompt with history and completion on a terminal, lines from a pipe."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

__all__ = ["Prompt", "assemble"]

_QUOTES = '"""'
_HISTORY_LINES = 1000


def assemble(read: Callable[[bool], str]) -> str:
    """One turn from lines.

    Args:
        read: returns the next line, given whether it continues a turn. Raises: EOFError.
    Raises: EOFError when there is no line at all.
    """
    line = read(False)
    if line.lstrip().startswith(_QUOTES):
        rest = line.lstrip()[len(_QUOTES) :]
        lines = []
        while not rest.rstrip().endswith(_QUOTES):
            lines.append(rest)
            try:
                rest = read(True)
            except EOFError:
                return "\n".join(lines).strip("\n")
        return "\n".join([*lines, rest.rstrip()[: -len(_QUOTES)]]).strip("\n")
    lines = []
    while line.endswith("\\"):
        lines.append(line[:-1])
        try:
            line = read(True)
        except EOFError:
            line = ""
    return "\n".join([*lines, line])


class Prompt:
    """Turns of a person, or of a pipe.

    Args:
        interactive: stdin is a terminal.
        history: file of the lines of earlier chats; it is made when its directory is there.
        commands: what Tab completes.
    """

    def __init__(self, *, interactive: bool, history: Path, commands: Sequence[str]) -> None:
        self._interactive = interactive
        self._history = history
        self._commands = tuple(commands)
        self._readline: Any = None
        # GNU readline writes to stdout and steers the terminal; a dumb one shows such codes as text.
        if interactive and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb":
            self._set_up()

    def _set_up(self) -> None:
        try:
            import readline
        except ImportError:
            return
        self._readline = readline
        with contextlib.suppress(OSError):
            readline.read_history_file(str(self._history))
        readline.set_history_length(_HISTORY_LINES)
        readline.set_completer_delims(" \t\n")
        readline.set_completer(self._complete)
        libedit = "libedit" in (readline.__doc__ or "")
        readline.parse_and_bind("bind ^I rl_complete" if libedit else "tab: complete")

    def _complete(self, text: str, state: int) -> str | None:
        if not text.startswith("/") or self._readline.get_line_buffer().lstrip() != text:
            return None
        found = [f"{command} " for command in self._commands if command.startswith(text)]
        return found[state] if state < len(found) else None

    def turn(self) -> str:
        """The next turn. Raises: EOFError at the end, KeyboardInterrupt."""
        return assemble(self._line)

    def _line(self, continued: bool) -> str:
        if not self._interactive:
            line = sys.stdin.readline()
            if not line:
                raise EOFError
            return line.removesuffix("\n").removesuffix("\r")
        mark = ". " if continued else "> "
        if sys.stdout.isatty():
            return input(mark)
        sys.stderr.write(mark)  # stdout is for the answers
        sys.stderr.flush()
        return input()

    def close(self) -> None:
        """Keep the history."""
        if self._readline is None:
            return
        with contextlib.suppress(OSError):
            self._history.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._history.touch(mode=0o600)
            self._readline.write_history_file(str(self._history))
