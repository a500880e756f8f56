"""One llama.cpp server in this process, and asynchronous streams from it.

The only module that imports ``xllamacpp``. Never fork a process in which an engine has been loaded: the child's first
computation would wait for threads that it does not have. An Engine notices that it came through a fork and refuses.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs

__all__ = ["Engine", "EngineClosedError", "EngineError", "EngineKey", "acquire", "release"]

PROMPT_BATCH_TOKENS = 128
"""Prompt tokens between two chances to cancel: about 2 s on one busy core. With 512 reading takes as much processor
time, and the wait is four times as long."""


class EngineError(Exception):
    """The engine cannot be loaded or used; the text says why."""


class EngineClosedError(EngineError):
    """The model was unloaded, before or during an answer."""

    def __init__(self) -> None:
        super().__init__("the model was unloaded")


@attrs.frozen(kw_only=True)
class EngineKey:
    """What makes two engines the same one."""

    path: Path
    context_tokens: int = 4096
    slots: int = 1
    threads: int = 0


class Engine:
    """A loaded model. Calls beyond its slots wait in order; all of it is safe to use from several event loops."""

    def __init__(self, key: EngineKey) -> None:
        self.key = key
        self._pid = os.getpid()
        self._pool = ThreadPoolExecutor(key.slots, thread_name_prefix="kastra-local")
        self._lock = threading.Lock()
        self._server: Any = None
        self._running: set[threading.Event] = set()
        self._closed = False

    async def stream(
        self, body: dict[str, Any], *, silence_s: float | None = None
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the chunks of a chat completion as llama.cpp gives them, those about prompt progress included.

        Closing the iterator stops the generation at the next token (or batch of the prompt).

        Raises:
            EngineError: the weights cannot be loaded; EngineClosedError: they were unloaded.
            ValueError: llama.cpp refuses the request.
            TimeoutError: nothing came for ``silence_s`` seconds, the wait for a slot included.
        """
        if os.getpid() != self._pid:
            raise EngineError("the model was loaded before this process was forked; start workers with 'spawn'")
        if self._closed:
            raise EngineClosedError
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[dict[str, Any] | Exception | None] = asyncio.Queue()
        stop = threading.Event()

        def put(item: dict[str, Any] | Exception | None) -> bool:
            try:
                loop.call_soon_threadsafe(queue.put_nowait, item)
            except RuntimeError:  # the loop is closed: nobody listens any more
                return False
            return True

        def on_chunk(chunk: dict[str, Any]) -> bool:
            return stop.is_set() or not put(chunk) or stop.is_set()

        def work() -> None:
            try:
                server = self._load()
                if not stop.is_set():
                    server.handle_chat_completions({**body, "stream": True, "return_progress": True}, on_chunk)
                put(None)
            except Exception as err:  # handed to the waiting coroutine, whatever it is
                put(err)
            finally:
                self._running.discard(stop)

        self._running.add(stop)
        try:
            task = self._pool.submit(work)
        except RuntimeError as err:
            raise EngineClosedError from err
        try:
            while True:
                async with asyncio.timeout(silence_s):
                    item = await queue.get()
                if item is None:
                    break
                if isinstance(item, Exception):
                    raise item
                yield item
            if self._closed:
                raise EngineClosedError
        finally:
            stop.set()
            if task.cancel():  # it was still waiting for a slot
                self._running.discard(stop)

    def _load(self) -> Any:
        with self._lock:
            if self._closed:
                raise EngineClosedError
            if self._server is None:
                self._server = _server(self.key)
            return self._server

    def close(self) -> None:
        """Stop what is being generated, unload the weights, wait until the threads are gone."""
        self._closed = True
        for stop in tuple(self._running):
            stop.set()
        # Calls that wait for a slot are not cancelled: each must tell its coroutine that the engine is closed.
        self._pool.shutdown(wait=True)
        self._server = None


def _server(key: EngineKey) -> Any:
    # Before the library is loaded: threads that wait by spinning make generation fifty times slower on busy cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        import xllamacpp
    except ImportError as err:
        raise EngineError(f"the library 'xllamacpp' cannot be imported ({err}); pip install xllamacpp") from err
    params = xllamacpp.CommonParams()
    params.model.path = str(key.path)
    threads = key.threads or max(1, (os.cpu_count() or 1) - 1)
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.n_ctx = key.context_tokens * key.slots
    params.n_parallel = key.slots
    params.n_batch = PROMPT_BATCH_TOKENS
    params.n_predict = key.context_tokens  # a bound for all; each request has its own
    params.cache_ram_mib = 0
    params.warmup = False
    params.verbosity = 0
    # The library opens an HTTP port whether one wants it or not: loopback only, and nobody has the key.
    params.hostnames = ["127.0.0.1"]
    params.api_keys = [secrets.token_hex(32)]
    params.ui = False
    params.endpoint_slots = False
    _read_through(key.path)
    try:
        return xllamacpp.Server(params)
    except (RuntimeError, ValueError) as err:
        raise EngineError(f"{key.path} cannot be loaded: {err}") from err


def _read_through(path: Path) -> None:
    """Bring the file into the system's cache: the library loads it with the interpreter's lock held, a disk's wait is
    better spent here, where the event loop goes on."""
    try:
        with path.open("rb", buffering=0) as file:
            buffer = bytearray(1 << 22)
            while file.readinto(buffer):
                pass
    except OSError as err:
        raise EngineError(f"{path} cannot be read: {err.strerror or err}") from err


_engines: dict[EngineKey, tuple[Engine, int]] = {}
_engines_lock = threading.Lock()


def acquire(key: EngineKey) -> Engine:
    """Return the engine of this process for ``key``; it is loaded by its first stream. Give it back with release."""
    with _engines_lock:
        engine, users = _engines.get(key) or (Engine(key), 0)
        _engines[key] = (engine, users + 1)
        return engine


def release(engine: Engine) -> None:
    """Give an engine back; the last user's unloads it. Blocks until its threads are gone."""
    with _engines_lock:
        held, users = _engines.get(engine.key, (engine, 0))
        if held is engine and users > 1:
            _engines[engine.key] = (engine, users - 1)
            return
        if held is engine:
            _engines.pop(engine.key, None)
    engine.close()
