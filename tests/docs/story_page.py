"""Reads a page of the documentation as stories: what is run, in which order, and what it should show.

The syntax is the table "Stories in pages" of ``docs/design/plugins.md``. What a page has that is not in that table, or
that would have no effect, is a fault: so nothing can be added to a page without being run.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import attrs
import yaml

from story_blocks import DATA, SILENT, Block, Note, commands_of, faults_of, is_run, manifests_in, parts_of

__all__ = ["Answers", "File", "Page", "Story", "read_page", "read_text"]


@attrs.frozen
class File:
    """A file that readers do not see being written."""

    line: int
    name: str
    text: str


@attrs.frozen
class Answers:
    """What the model says, one per request."""

    line: int
    answers: tuple[object, ...]


GENERATED = "docs/reference/"
SIGNATURES = ("py", "pycon")
"""Languages of generated pages: signatures, and examples that are tests of the code that they come from."""

Step = Block | File | Answers
"""One after the other; a block of language ``setup`` has commands that readers do not see."""


@attrs.define
class Story:
    """Steps in one directory of their own."""

    page: str
    """Path of the page in the repository."""
    line: int
    source: str = ""
    """Directory of the repository that the story begins with a copy of, "" for an empty one."""
    steps: list[Step] = attrs.field(factory=list)
    model: bool = False
    """``local/auto`` is the real model."""

    @property
    def blocks(self) -> list[Block]:
        return [step for step in self.steps if isinstance(step, Block)]

    @property
    def is_run(self) -> bool:
        """Whether anything in it is run."""
        return any(is_run(block) for block in self.blocks)


@attrs.define
class Page:
    """A page with its stories and what is wrong with it."""

    path: str
    stories: list[Story] = attrs.field(factory=list)
    faults: list[str] = attrs.field(factory=list)

    def fault(self, line: int, text: str) -> None:
        self.faults.append(f"{self.path}:{line}: {text}")


def read_page(path: Path, root: Path) -> Page:
    """Read a page.

    Args:
        root: of the repository; paths in notes begin there.
    """
    return read_text(path.read_text(encoding="utf-8"), path.relative_to(root).as_posix(), root)


def read_text(text: str, name: str, root: Path) -> Page:
    """Read the text of a page called ``name``."""
    page = Page(name)
    reader = _Reader(page, root)
    for part in parts_of(text, page.fault):
        if isinstance(part, Note):
            reader.note(part)
        else:
            reader.block(part)
    reader.end()
    page.stories = [story for story in reader.stories if story.steps]
    for story in page.stories:
        _check_files(story, page)
    return page


# ------------------------------------------------------------------------------------------------ stories


class _Reader:
    """Puts parts of a page together to stories."""

    def __init__(self, page: Page, root: Path) -> None:
        self._page, self._root = page, root
        example = re.match(r"docs/examples/[^/]+(?=/)", page.path)
        self._source = example[0] if example else ""
        self.stories = [Story(page.path, 1, self._source)]
        self._waiting: dict[str, Note] = {}
        """Notes about the next block."""

    def note(self, note: Note) -> None:
        known = getattr(self, f"_note_{note.word}", None)
        if known is None:
            words = sorted(name.removeprefix("_note_") for name in dir(self) if name.startswith("_note_"))
            self._page.fault(note.line, f"unknown note 'story: {note.word}'; known are {', '.join(words)}")
            return
        known(note)

    def _add(self, step: Step) -> None:
        self.stories[-1].steps.append(step)

    def _bare(self, note: Note) -> bool:
        """Whether the note has no lines, as it should."""
        if note.body.strip():
            self._page.fault(note.line, f"'story: {note.word}' has no lines")
        return not note.body.strip()

    def _wait(self, note: Note) -> None:
        if note.word in self._waiting:
            self._page.fault(note.line, f"'story: {note.word}' is said twice of one block")
        self._waiting[note.word] = note

    def _note_new(self, note: Note) -> None:
        if self._bare(note):
            if note.argument and not (self._root / note.argument).is_dir():
                self._page.fault(note.line, f"there is no directory {note.argument}")
            if self._waiting:
                self._page.fault(note.line, "'story: new' stands before the other notes of its block")
            self.stories.append(Story(self._page.path, note.line, note.argument or self._source))

    def _note_model(self, note: Note) -> None:
        if note.argument or not self._bare(note):
            self._page.fault(note.line, "'story: model' says nothing else")
        self.stories[-1].model = True

    def _note_setup(self, note: Note) -> None:
        text = "\n".join([note.argument, note.body]) if note.argument else note.body
        commands = commands_of(text, note.line + (not note.argument), self._page.fault)
        if any(command.shown for command in commands):
            self._page.fault(note.line, "a setup has commands, each after '$ ', and nothing that they show")
        self._add(Block(note.line, "setup", text, commands=commands))

    def _note_file(self, note: Note) -> None:
        if not note.argument or not note.body.strip():
            self._page.fault(note.line, "write `<!-- story: file NAME`, then the lines of the file")
        self._add(File(note.line, note.argument, note.body.rstrip(" ")))

    def _note_answers(self, note: Note) -> None:
        try:
            answers = yaml.safe_load(note.body)
        except yaml.YAMLError as error:
            self._page.fault(note.line, f"answers are a YAML list: {error}")
            return
        if note.argument or not isinstance(answers, list):
            self._page.fault(note.line, "answers are a YAML list in the lines below 'story: answers'")
            return
        for answer in answers:
            if problem := _problem_of(answer):
                self._page.fault(note.line, f"answer {answer!r}: {problem}")
        self._add(Answers(note.line, tuple(answers)))

    def _note_exit(self, note: Note) -> None:
        if self._bare(note):
            if not re.fullmatch(r"[1-9]\d{0,2}", note.argument):
                self._page.fault(note.line, "write the exit code, from 1: `<!-- story: exit 2 -->`")
            else:
                self._wait(note)

    def _note_input(self, note: Note) -> None:
        if not note.body:
            self._page.fault(note.line, "what a command reads stands in the lines below 'story: input'")
        else:
            self._wait(note)

    def _note_background(self, note: Note) -> None:
        if note.argument or not self._bare(note):
            self._page.fault(note.line, "'story: background' says nothing else")
        self._wait(note)

    def _note_by(self, note: Note) -> None:
        if self._bare(note):
            self._wait(note)

    def _note_not(self, note: Note) -> None:
        if self._bare(note):
            if not note.argument:
                self._page.fault(note.line, "say why: `<!-- story: not REASON -->`")
            else:
                self._wait(note)

    def block(self, block: Block) -> None:
        page, waiting = self._page, self._waiting
        if page.path.startswith(GENERATED) and block.language in SIGNATURES:
            return
        self._waiting = {}
        if block.language == "console":
            block.commands = commands_of(block.text, block.line + 1, page.fault)
        if "exit" in waiting:
            block.exit_code = int(waiting["exit"].argument)
        if "input" in waiting:
            block.input, block.reads = waiting["input"].body, waiting["input"].argument
            if not any(command.text.startswith(block.reads) for command in block.commands):
                page.fault(waiting["input"].line, f"no command of the block begins with {block.reads!r}")
        block.background = "background" in waiting
        if "by" in waiting:
            block.by = waiting["by"].argument
        if "not" in waiting:
            block.left_out = waiting["not"].argument
        for word in ("exit", "input", "background"):
            if word in waiting and (block.language != "console" or block.by or block.left_out):
                page.fault(waiting[word].line, f"'story: {word}' is said of a console that is run")
        if block.by and block.left_out:
            page.fault(block.line, "a block is run by a test or it is not run")
        if block.by:
            self._check_by(block)
        elif not block.left_out:
            for fault in faults_of(block):
                page.fault(block.line, fault)
        elif block.language in SILENT:
            page.fault(block.line, f"nothing of a block of {block.language} is run anyway: leave out the note")
        self._add(block)

    def _check_by(self, block: Block) -> None:
        """A block that a test runs: the test names the page, and has the words of each command."""
        page, test = self._page, self._root / block.by
        if not block.by.startswith("tests/") or not test.is_file():
            page.fault(block.line, f"there is no test {block.by}")
            return
        text = test.read_text(encoding="utf-8")
        if page.path not in text:
            page.fault(block.line, f"{block.by} does not name {page.path}")
        for command in block.commands:
            missing = [word for word in _words(command.text) if word not in text]
            if missing:
                page.fault(command.line, f"{block.by} runs no `{command.text}`: it has no {', '.join(missing)}")
        title = block.title
        if title and title.rpartition("/")[2] not in text:
            page.fault(block.line, f"{block.by} does not name {title}")

    def end(self) -> None:
        for note in self._waiting.values():
            self._page.fault(note.line, f"'story: {note.word}' is about the next block, and there is none")
        if len(self.stories) > 1:
            for story in self.stories[1:]:
                if not story.is_run:
                    self._page.fault(story.line, "a new story in which nothing is run")
        for story in self.stories:
            if story.model and not story.is_run:
                self._page.fault(story.line, "'story: model' in a story in which nothing is run")
            for at, step in enumerate(story.steps):
                if not isinstance(step, Block) and not any(
                    isinstance(later, Block) and is_run(later) for later in story.steps[at:]
                ):
                    self._page.fault(step.line, "nothing is run after this in its story")


def _words(command: str) -> list[str]:
    """What tells a command from others: its words but the program and the options; of a path the last part."""
    words = shlex.split(command, comments=True)
    return [word.rstrip("/").rpartition("/")[2] for word in words[1:] if not word.startswith("-")] or words


def _problem_of(answer: object) -> str:
    if isinstance(answer, str):
        return ""
    if not isinstance(answer, dict):
        return "an answer is a text or an object"
    said = {"say", "tool", "error"} & set(answer)
    if len(said) != 1:
        return "an answer says one of say, tool, error"
    allowed = {"to", *said, *(["arguments"] if "tool" in said else [])}
    if unknown := set(answer) - allowed:
        return f"unknown: {', '.join(sorted(map(str, unknown)))}"
    return ""


# ------------------------------------------------------------------------------------------------ files


def _check_files(story: Story, page: Page) -> None:
    """Files of the page are for something: it is run afterwards, and manifests are named by what is run."""
    for at, step in enumerate(story.steps):
        if not isinstance(step, Block) or not step.title or step.by or step.left_out:
            continue
        later = [one for one in story.steps[at:] if isinstance(one, Block) and is_run(one)]
        if not later:
            page.fault(step.line, f"nothing is run after {step.title} was written")
        elif step.language in DATA and manifests_in(step.text):
            others = [one.text for one in story.steps if not isinstance(one, Answers) and one is not step]
            if not any(_names(text, step.title) for text in others):
                page.fault(step.line, f"nothing that is run names {step.title}, or the directory that it is in")


def _names(text: str, path: str) -> bool:
    """Whether commands or another file name the file, a pattern of it, or its directory."""
    directories = [str(parent) for parent in Path(path).parents if str(parent) != "."]
    names = [path, path.rpartition("/")[2], *directories]
    if any(re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text) for name in names):
        return True
    return bool(re.search(r"-f *(\.|\*\.\w+)/?(?=\s|$)", text) or re.search(r"apply\(\"\.\"\)", text))
