"""Fixtures: weights for tests with real models, and a small hub on the loopback device."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import attrs
import pytest

from kastra_plugin_local.catalogue import CatalogueModel, HubSource, Source, lookup
from kastra_plugin_local.engine import EngineKey, acquire, release
from kastra_plugin_local.pull import PullError, pull


def _weights(name: str) -> Path:
    try:
        return pull(lookup(name))
    except PullError as err:
        if os.environ.get("KASTRA_REQUIRE_MODELS") == "1":
            pytest.fail(str(err))
        pytest.skip(str(err))


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The path of the weights of SmolLM2, pulled into the ordinary cache when they are not there."""
    return _weights("smollm2-135m")


@pytest.fixture(scope="session")
def qwen() -> Path:
    """The path of the weights of the 0.5 B model that calls tools."""
    return _weights("qwen2.5-coder-0.5b")


@pytest.fixture(scope="session")
def loaded_smollm2(smollm2: Path) -> Iterator[Path]:
    """Keeps the model in memory over the providers of single tests."""
    engine = acquire(EngineKey(path=smollm2))
    yield smollm2
    release(engine)


@pytest.fixture(scope="session")
def loaded_qwen(qwen: Path) -> Iterator[Path]:
    engine = acquire(EngineKey(path=qwen))
    yield qwen
    release(engine)


@attrs.define
class Hub:
    """A loopback server that gives one file under any path."""

    content: bytes = b""
    ranges: bool = True
    """Whether it can continue a download."""
    status: int = 200
    cut_after: list[int] = attrs.field(factory=list)
    """For the next requests: bytes after which the connection breaks."""
    gate: threading.Event = attrs.field(factory=threading.Event)
    """Answers wait for it."""
    asked: threading.Event = attrs.field(factory=threading.Event)
    requests: list[str] = attrs.field(factory=list)
    """The Range header of each request, "" without one."""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        wanted = handler.headers.get("Range", "")
        self.requests.append(wanted)
        self.asked.set()
        self.gate.wait(20)
        if self.status != 200:
            handler.send_error(self.status)
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.ranges else 0
        body = self.content[start:]
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if self.cut_after:
            body = body[: self.cut_after.pop(0)]
        handler.wfile.write(body)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that ``$HF_ENDPOINT`` names; pip finds no package."""
    served = Hub()
    served.gate.set()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.answer(self)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield served
    served.gate.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def model_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty weights directory that ``$KASTRA_MODEL_DIR`` names."""
    directory = tmp_path / "models"
    monkeypatch.setenv("KASTRA_MODEL_DIR", str(directory))
    return directory


@pytest.fixture
def make_entry() -> Callable[..., CatalogueModel]:
    """Make a catalogue entry for some bytes; from the hub unless sources are given."""

    def make(content: bytes, *sources: Source, **fields: Any) -> CatalogueModel:
        values: dict[str, Any] = {
            "name": "tiny",
            "title": "Tiny",
            "parameters": "0 B",
            "quantization": "none",
            "size_bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "licence": "Apache-2.0",
            "origin": "https://example.org/tiny",
            "good_for": "tests",
            "context_tokens": 1,
            "ram_bytes": 1,
            "rank": 1,
            "supports_tools": False,
            "sources": sources or (HubSource("acme/tiny", "tiny.gguf"),),
        }
        return CatalogueModel(**{**values, **fields})

    return make
