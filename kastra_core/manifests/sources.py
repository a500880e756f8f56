"""Manifests from what the user names: files, directories, globs, standard input."""

from __future__ import annotations

import glob
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kastra_core.errors import ManifestError, Problem, nearest
from kastra_core.manifests.documents import DEFAULT_LIMITS, Document, Limits, parse_into

__all__ = ["Below", "read_below", "read_sources"]

_SUFFIXES = (".json", ".yaml", ".yml")
_SUFFIX_WORDS = ".yaml, .yml or .json"
_MOST_TOLD = 6
"""Names that a hint lists."""


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


class Below(NamedTuple):
    """What :func:`read_below` found."""

    documents: Sequence[Document]
    problems: Sequence[Problem]
    """What is wrong with files."""
    own: Sequence[Problem]
    """What is wrong with the path itself, without a place."""
    files: int
    """How many were read."""
    is_full: bool
    """Whether there are more than may be included, which is one of ``own``."""


def read_below(directory: str, source: str, *, omit: str = "", limits: Limits = DEFAULT_LIMITS, used: int = 0) -> Below:
    """Read what another manifest names: a file, a directory or a glob below the directory of its file.

    Args:
        directory: which nothing may lead out of: no absolute path, no "..", no link.
        source: relative to it.
        omit: a file that a directory or a glob does not stand for: the one that names them.
        used: files that were included before; they count for ``limits.included_files``.
    """
    reading = _Below(directory, omit, limits, used)
    reading.read_below(source)
    return Below(reading.documents, reading.problems, reading.own, len(reading.seen), reading.is_full)


class _Sources:
    deeper_hint = "subdirectories do: use --recursive"
    pipes = True
    """Whether a pipe that is named is read."""
    omitted = ""
    """Real path of the file that names them, if one does."""

    def __init__(self, recursive: bool, stdin: Any, limits: Limits) -> None:
        self.recursive, self.stdin, self.limits = recursive, stdin, limits
        self.problems: list[Problem] = []
        self.documents: list[Document] = []
        self.seen: set[str] = set()

    def problem(self, source: str, message: str, hint: str = "") -> None:
        self.problems.append(Problem(message, hint=hint, file=source))

    @property
    def told(self) -> int:
        """How many problems were found so far."""
        return len(self.problems)

    def shown(self, source: str) -> str:
        """A path as the user would write it."""
        return source

    def read(self, source: str) -> None:
        if source == "-":
            self.read_stdin()
        elif source.startswith(("http://", "https://")):
            self.problem(source, "addresses are not fetched", "download the file, look at it, and name it here")
        elif not source or "\0" in source:
            what = "holds a NUL character" if source else "is empty"
            self.problem("", f"the name of a source {what}", "name a file, a directory, a glob, or - for input")
        elif _is_directory(source):
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
        before = self.told
        found = list(_files_below(source, self.recursive, self))
        for file in found:
            self.read_file(file)
        if not found and self.told == before:
            deeper = not self.recursive and any(_files_below(source, True, self))
            hint = self.deeper_hint if deeper else ""
            self.problem(source, f"the directory holds no {_SUFFIX_WORDS} file", hint)

    def read_glob(self, pattern: str) -> None:
        any_suffix = Path(pattern).suffix not in ("", ".*") and "*" not in Path(pattern).suffix
        found = [
            match
            for match in sorted(self.matches(pattern))
            if os.path.isfile(match)  # noqa: PTH113 - see _is_directory
            and (any_suffix or match.endswith(_SUFFIXES))
        ]
        for file in found:
            self.read_file(file)
        if not found:
            what = "file" if any_suffix else f"{_SUFFIX_WORDS} file"
            self.problem(pattern, f"the pattern matches no {what}", self.there(pattern))

    def there(self, pattern: str) -> str:
        """What is in the directory where a pattern begins, "" when nothing is, or it may not be told."""
        folder = Path(pattern)
        while glob.has_magic(str(folder)):
            folder = folder.parent
        if not self.is_inside(str(folder)):
            return ""
        names = [f"{one.name}/" if _is_directory(str(one)) else one.name for one in self.entries(folder)]
        more = f" and {len(names) - _MOST_TOLD} more" if len(names) > _MOST_TOLD else ""
        shown = self.shown(str(folder))
        where = "the directory" if shown == os.curdir else shown
        return f"{where} holds {', '.join(names[:_MOST_TOLD])}{more}" if names else ""

    def entries(self, folder: Path) -> Sequence[Path]:
        """What may be named of a directory, sorted; nothing when it cannot be read."""
        try:
            found = sorted(folder.iterdir())
        except OSError:
            return ()
        return [one for one in found if not one.name.startswith(".") and os.path.realpath(one) != self.omitted]

    def is_inside(self, path: str) -> bool:
        """Whether a path may be looked at."""
        return True

    def matches(self, pattern: str) -> Iterable[str]:
        return glob.glob(pattern, recursive=True)  # noqa: PTH207 - keeps the names as the user gave them

    def read_file(self, file: str, *, named: bool = False) -> None:
        real = os.path.realpath(file)
        if real in self.seen:
            return
        self.seen.add(real)
        try:
            status = Path(file).stat()
            mode = status.st_mode
            # A pipe is what a shell's <(command) gives.
            if not (stat.S_ISREG(mode) or (named and self.pipes and stat.S_ISFIFO(mode))):
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
        # What a pipe says names no files: it lies in no directory that anybody knows.
        self.take(raw, file, named=named, directory=os.path.dirname(file) if stat.S_ISREG(mode) else None)  # noqa: PTH120

    def take(self, raw: str | bytes, file: str, *, named: bool, directory: str | None = None) -> None:
        # An empty file among others is no reason to stop; one that was named is.
        self.documents.extend(
            parse_into(self.problems, raw, file, self.limits, may_be_empty=not named, directory=directory)
        )

    def missing(self, source: str) -> None:
        path = Path(source)
        if os.path.lexists(source):
            self.problem(source, "the link leads nowhere", f"it points to {os.readlink(source)}")  # noqa: PTH115
            return
        parent = path.parent
        for ancestor in path.parents:
            if _is_directory(str(ancestor)):
                break
            if _exists(str(ancestor)):
                self.problem(source, f"{ancestor} is a file, not a directory")
                return
            parent, path = ancestor.parent, ancestor
        near = nearest(path.name, [entry.name for entry in self.entries(parent)])
        missing = "" if str(path) == str(Path(source)) else self.shown(str(path))
        what = f"there is no directory {missing}" if missing else "no such file or directory"
        self.problem(source, what, f"did you mean {self.shown(str(parent / near))!r}?" if near else "")


class _Below(_Sources):
    """Files below a directory, for a manifest of a file there."""

    deeper_hint = "subdirectories do: write for example dir/**/*.yaml"
    pipes = False

    def __init__(self, directory: str, omit: str, limits: Limits, used: int) -> None:
        super().__init__(False, None, limits)
        self.directory, self.used, self.is_full = directory, used, False
        self.root = os.path.realpath(directory or os.curdir)
        self.omitted = os.path.realpath(omit) if omit else ""
        self.own: list[Problem] = []
        """What is wrong with the path, not with a file."""

    def problem(self, source: str, message: str, hint: str = "") -> None:
        self.own.append(Problem(f"{self.shown(source)!r}: {message}", hint=hint))

    @property
    def told(self) -> int:
        return len(self.problems) + len(self.own)

    def shown(self, source: str) -> str:
        return os.path.relpath(source, self.directory or os.curdir)

    def read_below(self, source: str) -> None:
        hint = "files lie below the directory of the manifest that names them; name them relative to it"
        parts = source.replace("\\", "/").split("/")
        if not source.strip() or "\0" in source or source == "-":
            self.own.append(Problem(f"{source!r} is no path", hint="name a file, a directory or a glob"))
        elif "://" in source:
            self.own.append(Problem(f"{source!r}: addresses are not fetched", hint=hint))
        elif Path(source).is_absolute() or parts[0].endswith(":"):
            self.own.append(Problem(f"{source!r} is an absolute path", hint=hint))
        elif ".." in parts:
            self.own.append(Problem(f"{source!r} leads out of the directory", hint=hint))
        else:
            self.read_path(source, os.path.join(self.directory, source))  # noqa: PTH118 - as the user gave it

    def read_path(self, source: str, full: str) -> None:
        if not _exists(full) and glob.has_magic(source):
            if any("**" in part and part != "**" for part in source.split("/")):
                self.problem(full, "** stands for directories, by itself", "write for example dir/**/*.yaml")
            else:
                self.read_glob(full)
        elif not self.is_inside(full):
            # What is elsewhere is not even listed.
            self.leads_out(full)
        elif _is_directory(full):
            self.read_directory(full)
        elif _exists(full):
            self.read_file(full, named=True)
        elif "\\" in source:
            self.problem(full, "no such file or directory", "write / between directories, on every system")
        else:
            self.missing(full)

    def read_file(self, file: str, *, named: bool = False) -> None:
        if not named and os.path.realpath(file) == self.omitted:
            return
        if not self.is_inside(file):
            self.leads_out(file)
        elif self.used + len(self.seen) < self.limits.included_files:
            super().read_file(file, named=named)
        elif not self.is_full:
            self.is_full = True
            self.own.append(
                Problem(
                    f"more than {self.limits.included_files} files would be included",
                    hint="include less, or raise Limits.included_files",
                )
            )

    def matches(self, pattern: str) -> Iterable[str]:
        # Unlike glob.glob it follows no link for "**": that could lead through the whole disk.
        wanted = os.path.relpath(pattern, self.directory or os.curdir)
        if wanted.endswith("**"):
            wanted += "/*"
        root = Path(self.directory)
        return [str(path) for path in root.glob(wanted) if not _is_hidden(path.relative_to(root))]

    def is_inside(self, path: str) -> bool:
        real = os.path.realpath(path)
        return real == self.root or real.startswith(self.root.rstrip(os.sep) + os.sep)

    def leads_out(self, path: str) -> None:
        first = Path(path)
        # What is behind the link is not named.
        for ancestor in reversed((first, *first.parents)):
            if ancestor.is_symlink() and not self.is_inside(str(ancestor)):
                first = ancestor
                break
        self.problem(str(first), "this link leads out of the directory", "copy what is wanted into the directory")


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


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
        if _is_directory(name):
            # Links to directories could lead round in a circle.
            if recursive and not entry.is_symlink():
                below.append(name)
        elif name.endswith(_SUFFIXES):
            yield name
    for name in below:
        yield from _files_below(name, recursive, sources)


def _is_directory(path: str) -> bool:
    # Unlike this Path.is_dir raises where a directory above may not be entered; reading the file says so in words.
    return os.path.isdir(path)  # noqa: PTH112 - for the reason above


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
