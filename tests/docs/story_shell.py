"""The shell in which a story is run: one bash from its first command to its last, so that state carries over.

``kastra`` on its PATH is ``kastra_shim.py``, which has the command run by the server of forked processes: the same
command in a fourth of the time, in pipelines and scripts too. ``pip`` is ``pip_shim.py``.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs

__all__ = ["Door", "Shell", "ShellError", "Shown"]

IN, OUT = 198, 199
"""Descriptors of the shell that are far from those that commands use."""

# Each request is input, output, errors, kind, text, with a NUL after each; the answer is an exit code or a pid.
DRIVER = f"""
story_next() {{ IFS= read -r -d '' -u {IN} "$1"; }}
while story_next STORY_IN && story_next STORY_OUT && story_next STORY_ERR \\
  && story_next STORY_KIND && story_next STORY_TEXT; do
  case $STORY_KIND in
  run) eval "$STORY_TEXT" <"$STORY_IN" >"$STORY_OUT" 2>"$STORY_ERR" {IN}<&- {OUT}>&-; printf '%s\\n' "$?" >&{OUT};;
  begin)
    set -m
    {{ eval "$STORY_TEXT"; }} <"$STORY_IN" >"$STORY_OUT" 2>"$STORY_ERR" {IN}<&- {OUT}>&- &
    set +m
    printf '%s\\n' "$!" >&{OUT};;
  wait) wait "$STORY_TEXT"; printf '%s\\n' "$?" >&{OUT};;
  esac
done
"""


class ShellError(Exception):
    """The shell did not come back from a command."""


@attrs.frozen
class Shown:
    """What a command did."""

    code: int
    out: str
    err: str


@attrs.frozen
class Begun:
    """A command in the background."""

    pid: int
    out: Path
    err: Path

    def shown(self, code: int = 0) -> Shown:
        return Shown(code, self.out.read_text("utf-8", "replace"), self.err.read_text("utf-8", "replace"))


class Shell:
    """A bash; a context manager.

    Args:
        directory: in which it begins.
        environment: of all that it runs.
        scratch: a directory for what commands write.
    """

    def __init__(self, directory: Path, environment: Mapping[str, str], scratch: Path) -> None:
        self._scratch, self._count = scratch, 0
        self._begun: list[Begun] = []
        ask_r, ask_w = os.pipe()
        answer_r, answer_w = os.pipe()
        try:
            bash = shutil.which("bash")
            if bash is None:
                raise ShellError("there is no bash on the PATH")
            self._process = subprocess.Popen(
                [bash, "--norc", "--noprofile", "-c", f"exec {IN}<&{ask_r} {OUT}>&{answer_w}; {DRIVER}"],
                cwd=directory,
                env=dict(environment),
                pass_fds=(ask_r, answer_w),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        finally:
            os.close(ask_r)
            os.close(answer_w)
        self._ask, self._answer = ask_w, answer_r

    def __enter__(self) -> Shell:
        return self

    def __exit__(self, *_: object) -> None:
        for begun in self._begun:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(begun.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._ask)
        os.close(self._answer)

    def run(self, text: str, *, given: str | None = None, timeout_s: float = 60.0) -> Shown:
        """Run a command line to its end.

        Args:
            given: what it reads from stdin; default: nothing.

        Raises:
            ShellError: it took longer, or it ended the shell.
        """
        files = self._files(given)
        code = self._asked("run", text, files, timeout_s)
        return Begun(0, files[1], files[2]).shown(code)

    def begin(self, text: str, *, given: str | None = None) -> Begun:
        """Run a command line in the background, in a process group of its own."""
        files = self._files(given)
        begun = Begun(self._asked("begin", text, files, 10.0), files[1], files[2])
        self._begun.append(begun)
        return begun

    def until(self, begun: Begun, test: Callable[[Shown], bool], timeout_s: float = 30.0) -> bool:
        """Wait until what the command wrote passes the test, or it is over."""
        until = time.monotonic() + timeout_s
        while not test(begun.shown()):
            if time.monotonic() > until or not _lives(begun.pid):
                return test(begun.shown())
            time.sleep(0.02)  # a file tells nobody that it grew
        return True

    def interrupt(self, begun: Begun, timeout_s: float = 30.0) -> Shown:
        """Type Ctrl-C at a command in the background, and wait for its end."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(begun.pid, signal.SIGINT)
        code = self._asked("wait", str(begun.pid), self._files(None), timeout_s)
        self._begun.remove(begun)
        return begun.shown(code)

    def _files(self, given: str | None) -> tuple[Path, Path, Path]:
        self._count += 1
        source = Path(os.devnull)
        if given is not None:
            source = self._scratch / f"{self._count}.in"
            source.write_text(given, encoding="utf-8")
        out, err = (self._scratch / f"{self._count}.{name}" for name in ("out", "err"))
        out.touch()
        err.touch()
        return source, out, err

    def _asked(self, kind: str, text: str, files: tuple[Path, Path, Path], timeout_s: float) -> int:
        request = "".join(f"{part}\0" for part in (*files, kind, text)).encode()
        while request:
            request = request[os.write(self._ask, request) :]
        until, found = time.monotonic() + timeout_s, b""
        while not found.endswith(b"\n"):
            if select.select([self._answer], [], [], 0.2)[0]:
                piece = os.read(self._answer, 64)
                found += piece
                if piece:
                    continue
            if self._process.poll() is not None:
                raise ShellError(f"the command ended the shell, with exit code {self._process.returncode}")
            if time.monotonic() > until:
                said = Begun(0, files[1], files[2]).shown()
                raise ShellError(f"no end after {timeout_s:g} s; so far it wrote:\n{said.out}{said.err}")
        return int(found)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class Door:
    """Where ``kastra_shim.py`` has its command run; a context manager.

    Args:
        forks: the server of forked processes.
        kastra: the program's file, as it is installed.

    Attributes:
        address: of the socket, for the environment variable ``STORY_DOOR``.
    """

    def __init__(self, forks: Any, kastra: Path) -> None:
        self._forks, self._kastra, self._lock = forks, kastra, threading.Lock()

    def __enter__(self) -> Door:
        self._directory = tempfile.TemporaryDirectory(prefix="story-")
        self.address = f"{self._directory.name}/door"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(self.address)
        self._socket.listen(16)
        self._thread = threading.Thread(target=self._open, name="story-door", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()
        self._directory.cleanup()

    def _open(self) -> None:
        while True:
            try:
                caller, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(caller,), name="story-command", daemon=True).start()

    def _serve(self, caller: socket.socket) -> None:
        with caller:
            head, fds, _, _ = socket.recv_fds(caller, 4, 3)
            try:
                body, length = b"", int.from_bytes(head, "big")
                while len(body) < length:
                    body += caller.recv(length - len(body))
                count, *words = os.fsdecode(body).split("\0")
                args, cwd, rest = words[: int(count)], words[int(count)], words[int(count) + 1 :]
                with self._lock:
                    process = self._forks.begin(
                        args,
                        cwd=cwd,
                        env=dict(zip(rest[::2], rest[1::2], strict=True)),
                        stdin=fds[0],
                        stdout=fds[1],
                        stderr=fds[2],
                        script=self._kastra,
                    )
            finally:
                for descriptor in fds:
                    os.close(descriptor)
            gone = threading.Event()
            watcher = threading.Thread(target=_watch, args=(caller, process.pid, gone), daemon=True)
            watcher.start()
            with contextlib.suppress(OSError):
                caller.sendall(f"{process.pid}\n".encode())
            code = process.wait()
            gone.set()
            with contextlib.suppress(OSError):
                caller.sendall(f"{code}\n".encode())
            watcher.join()


def _watch(caller: socket.socket, pid: int, gone: threading.Event) -> None:
    """End a process whose caller was killed."""
    with contextlib.suppress(OSError):
        caller.recv(1)
    if not gone.is_set():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
