"""The parts of a page: fenced blocks, the commands in them, and notes; what is wrong with a block by itself."""

from __future__ import annotations

import ast
import json
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator

import attrs
import yaml

__all__ = [
    "DATA",
    "SILENT",
    "Block",
    "Command",
    "Note",
    "commands_of",
    "faults_of",
    "is_run",
    "manifests_in",
    "parts_of",
]

SETTINGS = {"title", "in"}
FLAGS = {"run", "shown"}
SILENT = ("text", "mermaid")
"""Languages of blocks that say nothing that could be run."""
DATA = ("yaml", "json")
"""Languages of manifests and parts of them."""
READERS: dict[str, Callable[[str], object]] = {
    "json": json.loads,
    "toml": tomllib.loads,
    "yaml": lambda text: list(yaml.load_all(text, yaml.BaseLoader)),
}
OTHERS = {"bash": "console", "sh": "console", "shell": "console", "": "console or text", "py": "python", "yml": "yaml"}
"""Languages that have another name here."""


Fault = Callable[[int, str], None]
"""Told of a line and what is wrong there."""


@attrs.frozen
class Command:
    """A line that a reader types."""

    line: int
    text: str
    shown: tuple[str, ...] = ()
    """Lines that it shows, () where the page gives none."""


@attrs.define
class Block:
    """A fenced block, with what the notes before it say of it."""

    line: int
    language: str
    text: str
    settings: dict[str, str] = attrs.field(factory=dict)
    flags: set[str] = attrs.field(factory=set)
    commands: tuple[Command, ...] = ()
    exit_code: int = 0
    input: str | None = None
    reads: str = ""
    """How the command begins that reads the input, "" for the first one."""
    background: bool = False
    by: str = ""
    left_out: str = ""
    """Why it is not run."""

    @property
    def title(self) -> str:
        return self.settings.get("title", "")


@attrs.frozen
class Note:
    """``<!-- story: WORD ARGUMENT`` with further lines up to ``-->``."""

    line: int
    word: str
    argument: str
    body: str


def parts_of(text: str, fault: Fault) -> Iterator[Note | Block]:
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        line, number = lines[at], at + 1
        at += 1
        if fence := re.match(r"( *)(`{3,}|~{3,})(.*)$", line):
            indent, mark, info = fence.groups()
            body = []
            while at < len(lines) and not re.fullmatch(rf" *{re.escape(mark[0])}{{{len(mark)},}} *", lines[at]):
                body.append(lines[at].removeprefix(indent))
                at += 1
            if at == len(lines):
                fault(number, "the block has no end")
            at += 1
            yield _block(number, info.strip(), "".join(f"{one}\n" for one in body), fault)
        elif line.lstrip().startswith("<!--") and re.match(r"\s*<!-- *stor", line):
            found = [line]
            while "-->" not in found[-1] and at < len(lines):
                found.append(lines[at])
                at += 1
            head, _, rest = "\n".join(found).partition("-->")
            said = re.match(r"\s*<!-- story: *([\w-]+) *([^\n]*)\n?", head)
            if said is None or rest.strip():
                fault(number, "a note is `<!-- story: WORD ... -->` and has its lines for itself")
            else:
                yield Note(number, said[1], said[2].strip(), head[said.end() :])


def _block(line: int, info: str, text: str, fault: Fault) -> Block:
    language, _, rest = info.partition(" ")
    block = Block(line, language, text)
    for name, given, quoted, bare in re.findall(r"([\w-]+)(=(?:\"([^\"]*)\"|(\S+)))?", rest):
        if given and name in SETTINGS:
            block.settings[name] = quoted or bare
        elif not given and name in FLAGS:
            block.flags.add(name)
        else:
            fault(line, f"unknown attribute {name!r} of a block; known are {', '.join(sorted(SETTINGS | FLAGS))}")
    return block


def commands_of(text: str, first: int, fault: Fault) -> tuple[Command, ...]:
    """The commands of a ``console`` block whose first line has the number ``first``."""
    found: list[tuple[int, list[str], list[str]]] = []
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        line, number = lines[at], first + at
        at += 1
        if line.startswith("$ "):
            whole = [line[2:]]
            while at < len(lines) and _goes_on(whole):
                whole.append(lines[at].removeprefix("> "))
                at += 1
            found.append((number, whole, []))
        elif found:
            found[-1][2].append(line)
        elif line.strip():
            fault(number, "what a console shows stands below a line that begins with '$ '")
    if not found:
        fault(first, "a console without a command (a line that begins with '$ ')")
    return tuple(Command(number, "\n".join(whole), _trimmed(shown)) for number, whole, shown in found)


def _goes_on(lines: list[str]) -> bool:
    """Whether a shell would want another line."""
    text = "\n".join(lines)
    if document := re.search(r"<<-?\s*(['\"]?)(\w+)\1", lines[0]):
        return len(lines) == 1 or lines[-1].strip() != document[2]
    if re.search(r"(?<!\\)(\\\\)*\\$", text):
        return True
    try:
        shlex.split(text, comments=True)
    except ValueError:
        return True
    return False


def _trimmed(lines: list[str]) -> tuple[str, ...]:
    while lines and not lines[-1].strip():
        lines = lines[:-1]
    return tuple(lines)


def is_run(block: Block) -> bool:
    if block.by or block.left_out:
        return False
    return bool(
        block.commands
        or block.flags & {"run", "shown"}
        or "in" in block.settings
        or (block.language in DATA and not block.title)
    )


def faults_of(block: Block) -> Iterator[str]:
    """What is wrong with a block that no note excuses."""
    language, settings, flags = block.language, block.settings, block.flags
    if "title" in settings and "in" in settings:
        yield "a block is a file (title) or a part of one (in)"
    if "in" in settings and language not in DATA:
        yield f"in=... is said of YAML and JSON, not of {language}"
    if "run" in flags and language != "python":
        yield "run is said of python; commands stand in a console"
    if "shown" in flags and language != "text":
        yield "shown is said of text"
    if settings.get("title", "").startswith(("/", "..")):
        yield "the path of a file begins in the story's directory"
    if language == "python":
        try:
            compile(block.text, "page", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        except SyntaxError as error:
            yield f"the Python does not compile: {error}"
    if "title" in settings:
        if language == "console":
            yield "a console is no file"
        try:
            READERS.get(language, len)(block.text)
        except (ValueError, yaml.YAMLError) as error:
            yield f"no {language}: {error}"
        return
    if language in OTHERS:
        yield f"a block of {language or 'no language'}: write {OTHERS[language]}"
    elif language == "text":
        if re.search(r"^\$ ", block.text, re.MULTILINE):
            yield "commands stand in a console, not in a text"
    elif language in DATA:
        if "in" not in settings and not manifests_in(block.text):
            yield f"{language} that is no manifest: say what it is, title=... or in=..."
    elif language not in (*SILENT, "console", "python"):
        yield f"nobody knows how to run {language}: give it a title, or a note 'story: by' or 'story: not'"


def manifests_in(text: str) -> bool:
    """Whether a YAML or JSON text has manifests."""
    return bool(re.search(r"^(\s*\"apiVersion\"|apiVersion) *:", text, re.MULTILINE))
