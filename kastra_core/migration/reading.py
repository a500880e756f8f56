"""Foreign files as documents with the line of every key; a bounded look at the files around them.

More is read than a manifest may hold: keys that are no text, comments in JSON. Nothing runs, whatever a tag says.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from yaml.nodes import MappingNode, ScalarNode, SequenceNode

from kastra_core.errors import ManifestError, Problem, nearest
from kastra_core.manifests import DEFAULT_LIMITS, Limits
from kastra_core.manifests.composer import Builder, compose_one, new_parser
from kastra_core.manifests.documents import depth_of
from kastra_core.manifests.json_values import JsonTroubleError, lone_surrogate, read_values, without_pairs
from kastra_core.manifests.source import Source, decode
from kastra_core.manifests.syntax import explain, explain_json
from kastra_core.protocols.migrator import SourceDocument

__all__ = ["FileSource", "MemorySource", "key_path", "read_text"]

_SUFFIXES = (".yaml", ".yml", ".json", ".jsonc", ".py")
_PASSED_OVER = frozenset(
    {".git", ".hg", ".svn", ".venv", "venv", "node_modules", "__pycache__", ".tox", ".nox", ".mypy_cache", ".kastra"}
)
"""Directories that hold no configuration of anybody's own."""
_MOST_FILES = 10_000
_HELM = re.compile(
    r"\{\{-?\s*(?:\.(?:Values|Release|Chart|Capabilities)|/\*|(?:include|if|range|with|toYaml|define|template|end)\b)"
)
HELM = "this is a template of Helm, which is no YAML"
"""What is said of a chart's templates."""
_COMMENT = re.compile(r'"(?:[^"\\\n]|\\.)*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
_TRAILING = re.compile(r'"(?:[^"\\\n]|\\.)*"|,(?=\s*[}\]])', re.DOTALL)


def key_path(parts: Iterable[str | int]) -> str:
    """Write a path as rows and problems do.

    >>> key_path(["agents", "chef", "tools", 0])
    'agents.chef.tools[0]'
    """
    out = ""
    for part in parts:
        name = part or '""'
        out += f"[{part}]" if isinstance(part, int) else f".{name}" if out else str(name)
    return out


class _Lenient(Builder):
    """Takes numbers and booleans as keys by how they are written."""

    def _key(self, node: Any, path: str) -> str | None:
        if node.__class__ is ScalarNode and isinstance(node.tag, tuple):
            return str(node.value)
        return super()._key(node, path)


def read_text(raw: str | bytes, file: str, limits: Limits = DEFAULT_LIMITS) -> list[SourceDocument]:
    """Return the documents of a text; what is Python by its name is one without data.

    Raises:
        ManifestError: it can be read neither as YAML nor as JSON; with every problem and its place.
    """
    if len(raw) > limits.document_bytes:
        told = f"the file has {len(raw) / 1048576:.1f} MiB, more than {limits.document_bytes / 1048576:.1f} MiB"
        raise ManifestError([Problem(told, file=file, hint="split it")])
    text = decode(raw, file)
    if isinstance(text, Problem):
        raise ManifestError([text])
    if file.endswith(".py"):
        return [SourceDocument(file=file, text=text)]
    source = Source(text, file, limits.depth)
    is_json = text.lstrip()[:1] in ("{", "[") or file.endswith((".json", ".jsonc"))
    plain = _without_comments(text) if is_json else text
    if is_json:
        lone = lone_surrogate(plain)
        if lone is not None:
            line, column = source.place(lone)
            told, hint = "a lone surrogate (\\ud800 to \\udfff) is no character", "write the character itself"
            raise ManifestError([Problem(told, hint=hint, file=file, line=line, column=column)])
        try:
            values = read_values(plain)
        except (json.JSONDecodeError, JsonTroubleError, RecursionError):
            values = []  # YAML takes more, and knows the place of what is wrong
        if values and all(depth_of(value, limits.depth) <= limits.depth for value, _, _ in values):
            return [
                _document(source, value, _root(plain[start:end], limits), start, index)
                for index, (value, start, end) in enumerate(values)
            ]
    out: list[SourceDocument] = []
    problems: list[Problem] = []
    builder = _Lenient(limits.depth, limits.nodes)
    try:
        parser = new_parser(plain, limits.depth)
        while parser.check_node():
            node = parser.get_node()
            builder.findings.clear()
            data = builder.document(node)
            problems.extend(source.problem(found) for found in builder.findings)
            if data is not None and not builder.findings:
                out.append(_document(source, data, node, 0, len(out)))
    except (yaml.YAMLError, UnicodeEncodeError, RecursionError) as error:
        problems.append(_syntax(error, plain, source, is_json))
    if problems and (helm := _HELM.search(text)):
        line, column = source.place(helm.start())
        problems = [Problem(HELM, hint="render it first: helm template", file=file, line=line, column=column)]
    if problems:
        raise ManifestError(problems)
    return out


def _root(text: str, limits: Limits) -> Any:
    """The nodes of a JSON value, for places only; YAML takes no tabs there."""
    return compose_one(without_pairs(text).replace("\t", " "), limits.depth)


def _document(source: Source, data: Any, node: Any, offset: int, index: int) -> SourceDocument:
    base = source.place(offset)[0]
    lines: dict[str, int] = {}
    if node is not None:
        _lines(node, base, lines)
        base += node.start_mark.line
    return SourceDocument(file=source.file, text=source.text, data=data, lines=lines, index=index, line=base)


def _without_comments(text: str) -> str:
    """The text with blanks in place of comments and trailing commas, so that offsets stay."""

    def blank(found: re.Match[str]) -> str:
        return found[0] if found[0].startswith('"') else re.sub(r"[^\n]", " ", found[0])

    return _TRAILING.sub(blank, _COMMENT.sub(blank, text))


def _syntax(error: Exception, text: str, source: Source, is_json: bool) -> Problem:
    found = explain(error, text)
    if is_json:
        try:
            json.loads(text)
        except json.JSONDecodeError as trouble:
            found = explain_json(trouble)
        except (ValueError, RecursionError):
            pass
    return source.problem(found)


def _lines(node: Any, base: int, out: dict[str, int]) -> None:
    """Note the line of every key. Iterative, as aliases may repeat what is below them."""
    path: tuple[str | int, ...] = ()
    todo: list[tuple[Any, tuple[str | int, ...]]] = [(node, path)]
    while todo:
        node, path = todo.pop()
        below: list[tuple[tuple[str | int, ...], int, Any]] = []
        if isinstance(node, MappingNode):
            for key, value in node.value:
                if key.value == "<<" and isinstance(value, (MappingNode, SequenceNode)):
                    merged = value.value if isinstance(value, SequenceNode) else [value]
                    todo.extend((one, path) for one in merged)
                elif isinstance(key.value, str):
                    below.append(((*path, key.value), key.start_mark.line + base, value))
        elif isinstance(node, SequenceNode):
            below = [((*path, at), item.start_mark.line + base, item) for at, item in enumerate(node.value)]
        for inner, line, value in below:
            out.setdefault(key_path(inner), line)
            if len(out) < 200_000 and not isinstance(value, ScalarNode):
                todo.append((value, inner))


class MemorySource:
    """Documents that are in no file, or in files that exist only here. Paths are relative to ``file``'s directory.

    >>> a, b = read_text("x: 1", "d/a.yaml") + read_text("y: 2", "d/b.yaml")
    >>> MemorySource([a], others=[b]).read("b.yaml", a)[0].data
    {'y': 2}
    """

    def __init__(self, documents: Sequence[SourceDocument], others: Sequence[SourceDocument] = ()) -> None:
        self._documents = tuple(documents)
        self._files: dict[str, list[SourceDocument]] = {}
        for document in (*documents, *others):
            self._files.setdefault(os.path.normpath(document.file), []).append(document)

    @property
    def documents(self) -> Sequence[SourceDocument]:
        return self._documents

    def read(self, path: str, of: SourceDocument, *, beside: bool = False) -> Sequence[SourceDocument]:
        file = os.path.normpath(os.path.join(os.path.dirname(of.file), path))  # noqa: PTH118, PTH120 - no real paths
        if file not in self._files:
            raise ManifestError([Problem(f"there is no file {path!r}", file=of.file)])
        return self._files[file]

    def find(self, pattern: str, of: SourceDocument, *, beside: bool = False) -> Sequence[str]:
        folder = os.path.dirname(of.file)  # noqa: PTH120
        below = {os.path.relpath(file, folder or "."): file for file in self._files}
        return sorted(name for name in below if PurePosixPath(name).match(pattern.removeprefix("./")))


class FileSource:
    """Files and directories that the user gave, read when they are asked for; each file once.

    Args:
        paths: files and directories; a directory with all below it.
    Raises:
        ManifestError: a path does not exist.
    """

    def __init__(self, paths: Sequence[str], limits: Limits = DEFAULT_LIMITS) -> None:
        self.limits = limits
        self.problems: dict[str, tuple[Problem, ...]] = {}
        """File -> why it cannot be read."""
        self.files: list[str] = []
        """All that were given or found, in order."""
        self.given: set[str] = set()
        """Those that were given by name."""
        self.left_out: list[str] = []
        """Links below directories that were not followed, as they lead out or nowhere."""
        self._read: dict[str, tuple[SourceDocument, ...]] = {}
        self._real: dict[str, str] = {}
        self._roots: dict[str, str] = {}
        """File -> real path of the directory that nothing it names may lead out of."""
        missing = []
        for path in paths:
            if os.path.isdir(path):  # noqa: PTH112 - keeps the path as the user gave it
                for file in self._walk(path):
                    self._add(file, os.path.realpath(path))
            elif os.path.exists(path):  # noqa: PTH110
                self.given.add(self._add(path, _project_of(path)))
            else:
                near = nearest(Path(path).name, _names_in(Path(path).parent))
                hint = f"did you mean {near!r}?" if near else ""
                missing.append(Problem("no such file or directory", file=path, hint=hint))
        if missing:
            raise ManifestError(missing)

    def _walk(self, directory: str) -> Iterator[str]:
        root, count = os.path.realpath(directory), 0
        for folder, below, files in os.walk(directory):
            below[:] = sorted(name for name in below if name not in _PASSED_OVER)
            wanted = sorted(name for name in files if name.endswith(_SUFFIXES))
            for name in (*below, *wanted):
                path = os.path.join(folder, name)  # noqa: PTH118
                if os.path.islink(path):  # noqa: PTH114
                    real = os.path.realpath(path)
                    if not (os.path.exists(real) and _is_below(real, root)):  # noqa: PTH110
                        self.left_out.append(path)
                        continue
                if name in below:
                    continue
                count += 1
                if count > _MOST_FILES:
                    told = f"the directory holds more than {_MOST_FILES} files"
                    raise ManifestError([Problem(told, file=directory, hint="give the part that is to be migrated")])
                yield path

    def _add(self, file: str, root: str) -> str:
        known = self._real.setdefault(os.path.realpath(file), file)
        if known is file:
            self.files.append(file)
        self._roots.setdefault(known, root)
        return known

    def __iter__(self) -> Iterator[SourceDocument]:
        for file in self.files:
            yield from self.documents_of(file)

    def documents_of(self, file: str) -> Sequence[SourceDocument]:
        """The documents of one of ``files``; none where it cannot be read (see ``problems``)."""
        if file not in self._read:
            try:
                raw = _bytes_of(file, self.limits.document_bytes, pipes=file in self.given)
                self._read[file] = tuple(read_text(raw, file, self.limits))
            except ManifestError as error:
                self._read[file], self.problems[file] = (), error.problems
            except OSError as error:
                told = Problem(f"the file cannot be read: {error.strerror or error}", file=file)
                self._read[file], self.problems[file] = (), (told,)
        return self._read[file]

    def of(self, documents: Sequence[SourceDocument]) -> _Part:
        """What a migrator is given: some of the documents, and the look at files around them."""
        return _Part(self, tuple(documents))

    def inside(self, path: str, of: SourceDocument, beside: bool) -> str:
        """The path of a file as rows name it. Raises: ManifestError when it leads out or is not there."""
        if "\0" in path:
            raise ManifestError([Problem(f"{path!r} is no path", file=of.file, line=of.line)])
        here = os.path.dirname(of.file)  # noqa: PTH120
        full = os.path.normpath(os.path.join(here, path))  # noqa: PTH118
        real, root = os.path.realpath(full), self._roots.get(of.file, os.path.realpath(here or "."))
        bound = os.path.dirname(root) if beside else root  # noqa: PTH120
        if os.path.isabs(path) or not _is_below(real, bound):  # noqa: PTH117
            told = f"{path!r} leads out of what was given"
            hint = "give `kastra migrate` the directory that holds all of it"
            raise ManifestError([Problem(told, file=of.file, line=of.line, hint=hint)])
        known = self._real.get(real)
        if known is not None:
            return known
        if not os.path.isfile(real):  # noqa: PTH113
            near = nearest(Path(full).name, _names_in(Path(full).parent))
            hint = f"did you mean {near!r}?" if near else ""
            raise ManifestError([Problem(f"there is no file {path!r}", file=of.file, line=of.line, hint=hint)])
        self._real[real] = full
        self._roots[full] = root
        return full


class _Part:
    def __init__(self, files: FileSource, documents: tuple[SourceDocument, ...]) -> None:
        self._files, self._documents = files, documents

    @property
    def documents(self) -> Sequence[SourceDocument]:
        return self._documents

    def read(self, path: str, of: SourceDocument, *, beside: bool = False) -> Sequence[SourceDocument]:
        file = self._files.inside(path, of, beside)
        documents = self._files.documents_of(file)
        if file in self._files.problems:
            raise ManifestError(self._files.problems[file])
        return documents

    def find(self, pattern: str, of: SourceDocument, *, beside: bool = False) -> Sequence[str]:
        here = Path(os.path.dirname(of.file) or ".")  # noqa: PTH120
        out = []
        for path in _matches(here, pattern):
            found = str(path.relative_to(here))
            try:
                self._files.inside(found, of, beside)
            except ManifestError:
                continue
            out.append(found)
            if len(out) > _MOST_FILES:
                raise ManifestError([Problem(f"{pattern!r} finds more than {_MOST_FILES} files", file=of.file)])
        return sorted(out)


def _matches(here: Path, pattern: str) -> Iterator[Path]:
    """Files; unlike ``glob.glob`` it follows no link for ``**``, which could lead through the whole disk."""
    parts = pattern.split("/")
    may_be_hidden = any(part.startswith(".") and part not in (".", "..") for part in parts)
    try:
        for path in here.glob(f"{pattern}/*" if parts[-1] == "**" else pattern):
            hidden = any(part.startswith(".") and part != ".." for part in path.relative_to(here).parts)
            if path.is_file() and (may_be_hidden or not hidden):
                yield path
    except (ValueError, NotImplementedError):
        return  # no pattern, or one that leads elsewhere


def _bytes_of(file: str, limit: int, *, pipes: bool) -> bytes:
    """What a file holds; of a pipe only when it was given by name, as a shell's <(command) is.

    Raises:
        ManifestError: it is no file, or too large.
    """
    status = Path(file).stat()
    if stat.S_ISREG(status.st_mode):
        size = status.st_size
    elif pipes and stat.S_ISFIFO(status.st_mode):
        size = 0
    else:
        raise ManifestError([Problem("this is no file (a device, a pipe or a socket)", file=file, hint="name a file")])
    raw = b""
    if size <= limit:
        with Path(file).open("rb") as stream:
            raw = stream.read(limit + 1)
    if max(size, len(raw)) > limit:
        shown = f"{size / 1048576:.1f} MiB, " if size else ""
        told = f"the file has {shown}more than {limit / 1048576:.1f} MiB"
        raise ManifestError([Problem(told, file=file, hint="split it")])
    return raw


def _project_of(file: str) -> str:
    """The working directory when the file is below it, else the file's directory."""
    real, here = os.path.realpath(file), os.path.realpath(".")
    return here if _is_below(real, here) else os.path.dirname(real)  # noqa: PTH120


def _is_below(path: str, above: str) -> bool:
    return path == above or path.startswith(above.rstrip(os.sep) + os.sep)


def _names_in(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir()]
    except OSError:
        return []
