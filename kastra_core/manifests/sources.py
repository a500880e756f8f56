"""Manifests from what the user names: files, directories, globs, standard input."""

from __future__ import annotations

import glob
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kastra_core.errors import ManifestError, Problem, nearest
from kastra_core.manifests.documents import DEFAULT_LIMITS, Document, Limits, parse_into

__all__ = ["read_sources"]

_SUFFIXES = (".json", ".yaml", ".yml")
_SUFFIX_WORDS = ".yaml, .yml or .json"


def read_sources(
    sources: Sequence[str], *, recursive: bool = False, stdin: Any = None, limits: Limits = DEFAULT_LIMITS
) -> list[Document]:
    """Return the manifests of all sources, in the order given; files of a directory or a glob are sorted.

    Args:
        sources: files, directories, globs (``agents/*.yaml``, ``**``), and "-" for standard input. A file that is
            named twice is read once. Hidden files and directories are passed over in directories and globs.
        recursive: take subdirectories too.
        stdin: object with ``read`` for "-"; default: the process's standard input.

    Raises:
        ManifestError: with every problem of every source.
    """
    reading = _Sources(recursive, stdin, limits)
    for source in sources:
        reading.read(source)
    if reading.problems:
        raise ManifestError(reading.problems)
    if sources and not reading.documents:
        raise ManifestError([Problem("the files hold no manifest, only comments or empty documents", file=sources[0])])
    return reading.documents


class _Sources:
    def __init__(self, recursive: bool, stdin: Any, limits: Limits) -> None:
        self.recursive, self.stdin, self.limits = recursive, stdin, limits
        self.problems: list[Problem] = []
        self.documents: list[Document] = []
        self.seen: set[str] = set()

    def problem(self, source: str, message: str, hint: str = "") -> None:
        self.problems.append(Problem(message, hint=hint, file=source))

    def read(self, source: str) -> None:
        if source == "-":
            self.read_stdin()
        elif source.startswith(("http://", "https://")):
            self.problem(source, "addresses are not fetched", "download the file, look at it, and name it here")
        elif not source or "\0" in source:
            what = "holds a NUL character" if source else "is empty"
            self.problem("", f"the name of a source {what}", "name a file, a directory, a glob, or - for input")
        elif Path(source).is_dir():
            self.read_directory(source)
        elif _exists(source):
            self.read_file(source, named=True)
        elif glob.has_magic(source):
            self.read_glob(source)
        else:
            self.missing(source)

    def read_stdin(self) -> None:
        if "-" in self.seen:
            return
        self.seen.add("-")
        stream = self.stdin if self.stdin is not None else getattr(sys.stdin, "buffer", sys.stdin)
        if stream is None:
            self.problem("<stdin>", "there is no standard input")
            return
        self.take(stream.read(self.limits.file_bytes + 1), "<stdin>", named=True)

    def read_directory(self, source: str) -> None:
        found = list(_files_below(source, self.recursive, self))
        for file in found:
            self.read_file(file)
        if not found and not self.problems:
            deeper = not self.recursive and any(_files_below(source, True, self))
            hint = "subdirectories do: use --recursive" if deeper else ""
            self.problem(source, f"the directory holds no {_SUFFIX_WORDS} file", hint)

    def read_glob(self, pattern: str) -> None:
        any_suffix = Path(pattern).suffix not in ("", ".*") and "*" not in Path(pattern).suffix
        found = [
            match
            for match in sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - keeps the names as the user gave them
            if Path(match).is_file() and (any_suffix or match.endswith(_SUFFIXES))
        ]
        for file in found:
            self.read_file(file)
        if not found:
            what = "file" if any_suffix else f"{_SUFFIX_WORDS} file"
            self.problem(pattern, f"the pattern matches no {what}", "look at the directory with ls")

    def read_file(self, file: str, *, named: bool = False) -> None:
        real = os.path.realpath(file)
        if real in self.seen:
            return
        self.seen.add(real)
        try:
            status = Path(file).stat()
            mode = status.st_mode
            # A pipe is what a shell's <(command) gives.
            if not (stat.S_ISREG(mode) or (named and stat.S_ISFIFO(mode))):
                self.problem(file, f"this is {_kind(mode)}, not a file", "name a file")
                return
            if stat.S_ISREG(mode) and status.st_size > self.limits.file_bytes:
                size, most = status.st_size / 1048576, self.limits.file_bytes / 1048576
                hint = "split it, or raise Limits.file_bytes"
                self.problem(file, f"the file has {size:.1f} MiB, more than the {most:.1f} MiB allowed", hint)
                return
            with Path(file).open("rb") as stream:
                raw = stream.read(self.limits.file_bytes + 1)
        except OSError as err:
            self.problem(file, f"the file cannot be read: {err.strerror or err}", "check its permissions")
            return
        self.take(raw, file, named=named)

    def take(self, raw: str | bytes, file: str, *, named: bool) -> None:
        # An empty file among others is no reason to stop; one that was named is.
        self.documents.extend(parse_into(self.problems, raw, file, self.limits, may_be_empty=not named))

    def missing(self, source: str) -> None:
        path = Path(source)
        if os.path.lexists(source):
            self.problem(source, "the link leads nowhere", f"it points to {os.readlink(source)}")  # noqa: PTH115
            return
        parent = path.parent
        for ancestor in path.parents:
            if ancestor.is_dir():
                break
            if ancestor.exists():
                self.problem(source, f"{ancestor} is a file, not a directory")
                return
            parent, path = ancestor.parent, ancestor
        try:
            names = sorted(entry.name for entry in parent.iterdir())
        except OSError:
            names = []
        near = nearest(path.name, names)
        what = "no such file or directory" if str(path) == str(Path(source)) else f"there is no directory {path}"
        self.problem(source, what, f"did you mean {str(parent / near)!r}?" if near else "")


def _files_below(directory: str, recursive: bool, sources: _Sources) -> Iterator[str]:
    try:
        entries = sorted(Path(directory).iterdir(), key=lambda entry: entry.name)
    except OSError as err:
        sources.problem(directory, f"the directory cannot be read: {err.strerror or err}", "check its permissions")
        return
    below = []
    for entry in entries:
        name = os.path.join(directory, entry.name)  # noqa: PTH118 - keeps "./" as the user gave it
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            # Links to directories could lead round in a circle.
            if recursive and not entry.is_symlink():
                below.append(name)
        elif name.endswith(_SUFFIXES):
            yield name
    for name in below:
        yield from _files_below(name, recursive, sources)


def _exists(source: str) -> bool:
    try:
        Path(source).stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _kind(mode: int) -> str:
    if stat.S_ISSOCK(mode):
        return "a socket"
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        return "a device"
    return "a pipe" if stat.S_ISFIFO(mode) else "a directory"
