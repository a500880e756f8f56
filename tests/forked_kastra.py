"""``kastra`` in processes of its own that begin with everything imported: one server imports, and forks each of them.

What a command does is the same as in a process that starts from nothing, but for what happens before ``main``: the
interpreter's start and imports. Tests of those use ``subprocess``.

This file is also the server's program. Requests come over a socket, each with the file descriptors that become the
process's stdin, stdout, stderr, and one for news of it: a line with its pid, then one with its exit code.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import gc
import importlib
import io
import json
import os
import pkgutil
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn

__all__ = ["ForkServer", "Forked"]

COLD = (sys.executable, "-c", "import sys; from kastra_core.cli import main; sys.exit(main())")
"""``kastra`` in a process that starts from nothing."""
COLD_ON_TERMINAL = (
    sys.executable,
    "-c",
    # Ctrl-C reaches those whose controlling terminal it is typed on.
    "import fcntl, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
    "from kastra_core.cli import main; sys.exit(main())",
)
WARM = (
    "kastra_core",
    "kastra_plugin_adk",
    "kastra_plugin_agent",
    "kastra_plugin_agent_framework",
    "kastra_plugin_agentspec",
    "kastra_plugin_crd",
    "kastra_plugin_crewai",
    "kastra_plugin_docker_agent",
    "kastra_plugin_kagent",
    "kastra_plugin_legacy",
    "kastra_plugin_libsql",
    "kastra_plugin_network",
    "kastra_plugin_openai",
    "kastra_plugin_retention",
    "kastra_plugin_system",
    "kastra_plugin_tool",
    "kastra_plugin_workflow",
)
"""Packages all of whose modules the server imports."""
LEFT = (".testing", ".conformance")
"""Those of them that are left to those who need them, with all below them."""
FURTHER = ("asyncio", "rich.console", "rich.live", "rich.table", "rich.text")
LENGTH = struct.Struct("!I")
FDS = 4

Stream = int | IO[Any] | None


class Forked:
    """A process of ``kastra``, used as one uses ``subprocess.Popen``."""

    def __init__(self, args: Sequence[str], news: socket.socket, ends: Mapping[int, int], encoding: str | None) -> None:
        self.args, self._news, self._told = args, news, b""
        self.returncode: int | None = None
        self.stdin = _opened(ends.get(0), "w", encoding)
        self.stdout = _opened(ends.get(1), "r", encoding)
        self.stderr = _opened(ends.get(2), "r", encoding)
        self._readers: list[_Reader] | None = None
        self._none: str | bytes = "" if encoding else b""
        while self._told.count(b"\n") < 1:
            self._hear(None)
        self.pid = int(self._told.split(b"\n")[0])

    def _hear(self, timeout_s: float | None) -> bool:
        """Take in news, if there is any within that time."""
        if not select.select([self._news], [], [], timeout_s)[0]:
            return False
        found = self._news.recv(64)
        if not found:
            raise RuntimeError("the server of forked processes ended")
        self._told += found
        return True

    def poll(self) -> int | None:
        """The exit code, None while the process lives; negative: the signal that ended it."""
        return self._ended(0)

    def _ended(self, timeout_s: float | None) -> int | None:
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while self.returncode is None:
            lines = self._told.split(b"\n")
            if len(lines) > 2:  # it may have come with the pid
                self.returncode = int(lines[1])
                self._news.close()
            elif not self._hear(None if until is None else max(0.0, until - time.monotonic())):
                return None
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; raises ``subprocess.TimeoutExpired``."""
        code = self._ended(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(list(self.args), timeout or 0.0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal to the process if it lives."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, input: Any = None, timeout: float | None = None) -> tuple[Any, Any]:
        """Write ``input``, read stdout and stderr to their ends, and wait.

        Raises:
            subprocess.TimeoutExpired: it may be called again then; nothing is lost.
        """
        until = None if timeout is None else time.monotonic() + timeout
        if self._readers is None:
            self._readers = [_Reader(stream) for stream in (self.stdout, self.stderr)]
            if self.stdin is not None and not self.stdin.closed:
                with contextlib.suppress(BrokenPipeError):
                    if input:
                        self.stdin.write(input)
                    self.stdin.close()
        for reader in self._readers:
            reader.join(None if until is None else max(0.0, until - time.monotonic()))
            if reader.is_alive():
                raise subprocess.TimeoutExpired(list(self.args), timeout or 0.0)
        self.wait(None if until is None else max(0.0, until - time.monotonic()))
        out, err = (self._none.__class__().join(reader.found) for reader in self._readers)
        return out, err


class _Reader(threading.Thread):
    """Reads a stream to its end, and closes it."""

    def __init__(self, stream: IO[Any] | None) -> None:
        super().__init__(daemon=True)
        self._stream, self.found = stream, list[Any]()
        self.start()

    def run(self) -> None:
        if self._stream is not None and not self._stream.closed:
            with self._stream:
                self.found.append(self._stream.read())


def _opened(descriptor: int | None, mode: str, encoding: str | None) -> IO[Any] | None:
    if descriptor is None:
        return None
    if encoding is None:
        return os.fdopen(descriptor, f"{mode}b", buffering=0 if mode == "w" else -1)
    return os.fdopen(descriptor, mode, encoding=encoding)


class ForkServer:
    """Begins processes of ``kastra``; a context manager."""

    def __init__(self) -> None:
        self._environment = {**os.environ, "PYTHONUTF8": "1"}
        ours, theirs = socket.socketpair()
        self._socket = ours
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env=self._environment,
            )

    def __enter__(self) -> ForkServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self._process.wait()

    def begin(
        self,
        args: Sequence[str],
        *,
        cwd: Path | str,
        env: Mapping[str, str],
        stdin: Stream = None,
        stdout: Stream = None,
        stderr: Stream = None,
        encoding: str | None = None,
        terminal: bool = False,
        script: Path | None = None,
    ) -> Forked | subprocess.Popen[Any]:
        """Begin ``kastra ARGS``; the streams are as those of ``subprocess.Popen``.

        Where the environment is one in which an interpreter begins differently, the process starts from nothing.

        Args:
            encoding: of the streams that are pipes; default: they carry bytes.
            terminal: make stdin the process's controlling terminal, in a session of its own.
            script: the program's file, as if it were that which is started; default: as if it were ``python -c``.
        """
        if _early(env) != _early(self._environment):
            cold = COLD_ON_TERMINAL if terminal else (str(script),) if script else COLD
            return subprocess.Popen(
                [*cold, *args],
                cwd=cwd,
                env=env,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                encoding=encoding,
                start_new_session=terminal,
            )
        ends: dict[int, int] = {}
        given: list[int] = []
        passed: list[int] = []
        try:
            for number, stream in enumerate((stdin, stdout, stderr)):
                if stream == subprocess.PIPE:
                    read, write = os.pipe()
                    ends[number], other = (write, read) if number == 0 else (read, write)
                    given.append(other)
                elif stream == subprocess.DEVNULL:
                    given.append(other := os.open(os.devnull, os.O_RDWR))
                else:
                    other = number if stream is None else stream if isinstance(stream, int) else stream.fileno()
                passed.append(other)
            news, theirs = socket.socketpair()
            given.append(theirs.detach())
            passed.append(given[-1])
            request = {
                "args": list(args),
                "cwd": str(cwd),
                "env": dict(env),
                "terminal": terminal,
                "script": script and str(script),
            }
            body = json.dumps(request).encode()
            socket.send_fds(self._socket, [LENGTH.pack(len(body))], passed)
            self._socket.sendall(body)
        finally:
            for descriptor in given:
                os.close(descriptor)
        return Forked(("kastra", *args), news, ends, encoding)

    def run(
        self,
        args: Sequence[str],
        *,
        cwd: Path | str,
        env: Mapping[str, str],
        input: str | None = None,
        script: Path | None = None,
    ) -> tuple[int, str, str]:
        """Run ``kastra ARGS`` to its end.

        Args:
            input: what it reads from stdin; default: this process's stdin.

        Returns:
            Exit code, stdout, stderr.
        """
        process = self.begin(
            args,
            cwd=cwd,
            env=env,
            stdin=None if input is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            script=script,
        )
        try:
            out, err = process.communicate(input, timeout=120)
        except BaseException:
            process.kill()
            process.communicate()
            raise
        return process.wait(), out, err


def _early(environment: Mapping[str, str]) -> dict[str, str]:
    """What an interpreter looks at before any code of ours."""
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(("PYTHON", "LC_", "LANG")) and name not in ("PYTHONPATH", "PYTHONUNBUFFERED")
    }


# ------------------------------------------------------------------------------------------------ the server


def _import_all() -> None:
    for name in WARM:
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            if not any(f"{left}." in f"{module.name}." for left in LEFT):
                importlib.import_module(module.name)
    for name in FURTHER:
        importlib.import_module(name)


def _serve(control: socket.socket) -> dict[str, Any] | None:
    """Fork a process for each request until there are no more.

    Returns:
        In a forked process its request; in the server None.
    """
    ended_r, ended_w = os.pipe()
    os.set_blocking(ended_r, False)
    os.set_blocking(ended_w, False)
    before = signal.set_wakeup_fd(ended_w)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    living: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([control.fileno(), ended_r], [], [])
        if ended_r in ready:
            os.read(ended_r, 4096)
        while living:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            news = living.pop(pid)
            with contextlib.suppress(BrokenPipeError):  # nobody wants to know
                os.write(news, f"{os.waitstatus_to_exitcode(status)}\n".encode())
            os.close(news)
        if control.fileno() not in ready:
            continue
        head, fds, _, _ = socket.recv_fds(control, LENGTH.size, FDS)
        if not head:
            return None
        body = bytearray()
        (length,) = LENGTH.unpack(head)
        while len(body) < length:
            body += control.recv(length - len(body))
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(before)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for number, descriptor in enumerate(fds[:3]):
                os.dup2(descriptor, number)
            for descriptor in (*fds, *living.values(), ended_r, ended_w):
                os.close(descriptor)
            control.close()
            return dict(json.loads(bytes(body)))
        for descriptor in fds[:3]:
            os.close(descriptor)
        living[pid] = fds[3]
        with contextlib.suppress(BrokenPipeError):
            os.write(fds[3], f"{pid}\n".encode())


def _become(request: dict[str, Any]) -> None:
    """Make this process what it would be had it been started as ``kastra``."""
    if request["terminal"]:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    # As the interpreter makes them in its UTF-8 mode.
    streams = {
        "stdin": os.fdopen(0, encoding="utf-8", errors="surrogateescape", closefd=False),
        "stdout": _writer(1, "surrogateescape", unbuffered),
        "stderr": _writer(2, "backslashreplace", unbuffered, line_buffering=True),
    }
    for name, stream in streams.items():
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    script = request["script"]
    sys.argv = [script or "-c", *request["args"]]
    sys.path[0] = os.path.realpath(os.path.dirname(script)) if script else ""  # noqa: PTH120
    early = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[1:1] = early
    importlib.invalidate_caches()
    if any(Path(path, "sitecustomize.py").is_file() for path in early):
        sys.modules.pop("sitecustomize", None)
        importlib.import_module("sitecustomize")


def _writer(descriptor: int, errors: str, unbuffered: bool, line_buffering: bool = False) -> io.TextIOWrapper:
    raw: Any = os.fdopen(descriptor, "wb", buffering=0 if unbuffered else -1, closefd=False)
    return io.TextIOWrapper(
        raw,
        encoding="utf-8",
        errors=errors,
        line_buffering=line_buffering or os.isatty(descriptor),
        write_through=unbuffered,
    )


def _leave(code: int) -> NoReturn:
    """End as the interpreter does, but without taking every object down.

    That writes to all the memory that is shared with the server, so that the system has to copy it: four times the work
    of a small command.
    """
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:  # nobody reads it; the interpreter has its own words for that
        sys.exit(code)
    os._exit(code)


def _main() -> NoReturn:
    control = socket.socket(fileno=int(sys.argv[1]))
    os.set_inheritable(control.fileno(), False)
    # What the caller's PYTHONPATH names is not for the processes; they get their own.
    early = {path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path}
    sys.path[:] = ["", *(path for path in sys.path[1:] if path not in early)]
    _import_all()
    gc.collect()
    gc.freeze()
    server = os.getpid()
    try:
        request = _serve(control)
    except KeyboardInterrupt:
        if os.getpid() != server:
            raise
        request = None
    if request is None:
        sys.exit(0)
    _become(request)
    from kastra_core.cli import main

    _leave(main())


if __name__ == "__main__":
    _main()
