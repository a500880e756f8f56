"""Runs a story, and tells of each thing that is not as the page says."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import attrs

from kastra_plugin_local.weights import model_dir
from story_blocks import Block, Command, manifests_in
from story_models import SITE, Script
from story_output import holds, is_shown
from story_page import Answers, File, Story
from story_parts import problem_of_part
from story_shell import Begun, Shell, ShellError, Shown

__all__ = ["ENDED", "Outcome", "Place", "run_story"]

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

ENDED = (0, 130)
"""Exit codes of what is ended by Ctrl-C."""

MOST = 5
"""Failures after which a story is not gone on with."""

LONGEST_S = 60.0
"""How long a command may take, six times as long with the real model."""

MADE = (".kastra", ".venv", "__pycache__", "*.egg-info", "*.db", "new", "spec", "again", "everything.yaml")
"""What following the pages of examples in the repository leaves there."""

KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY")


@attrs.frozen
class Place:
    """Where a story is run.

    Args:
        directory: an empty directory that is the story's alone.
        door: address of the socket for ``kastra``.
        models: URL of the model server.
    """

    directory: Path
    door: str
    models: str

    @property
    def project(self) -> Path:
        return self.directory / "project"

    def prepare(self, story: Story) -> dict[str, str]:
        """Make the directories; returns the environment of commands."""
        shims, site, home = (self.directory / name for name in ("bin", "site", "home"))
        for directory in (shims, site, home, self.directory / "shown"):
            directory.mkdir()
        python = Path(sys.executable)
        for name in ("pip", "pip3"):
            _program(shims / name, f"{python} -I {HERE / 'pip_shim.py'}")
        _program(shims / "kastra", f"{python} -IS {HERE / 'kastra_shim.py'}")
        if story.source:
            shutil.copytree(ROOT / story.source, self.project, ignore=shutil.ignore_patterns(*MADE))
        else:
            self.project.mkdir()
        environment = {
            name: value for name, value in os.environ.items() if name.startswith(("LC_", "LANG", "PYTHONHASHSEED"))
        }
        environment |= {
            "PATH": os.pathsep.join([str(shims), str(python.parent), os.environ.get("PATH", os.defpath)]),
            "HOME": str(home),
            "USER": "ada",
            "TMPDIR": str(self.directory),
            "KASTRA_CONFIG_HOME": str(home / "kastra"),
            "PYTHONPATH": str(site),
            "PYTHONUTF8": "1",
            "PYTHONUNBUFFERED": "1",
            "NO_COLOR": "1",
            "STORY_CLONE": str(ROOT),
            "STORY_DOOR": self.door,
            "STORY_SITE": str(site),
            # Whoever calls another pip gets nothing from outside, and nothing into our environment.
            "PIP_NO_INDEX": "1",
            "PIP_PREFIX": str(home / "pip"),
            "HF_ENDPOINT": "http://127.0.0.1:9",
        }
        # As in a process that the server of forked processes serves, else each begins from nothing.
        for name in ("PYTHONDONTWRITEBYTECODE", "PYTHONWARNINGS"):
            if name in os.environ:
                environment[name] = os.environ[name]
        if story.model:
            environment["KASTRA_MODEL_DIR"] = str(model_dir())
        else:
            (site / "sitecustomize.py").write_text(SITE, encoding="utf-8")
            environment |= dict.fromkeys(KEYS, "sk-story")
            environment |= {"OPENAI_BASE_URL": self.models, "KASTRA_MODEL_DIR": str(home / "models")}
        return environment


def _program(path: Path, command: str) -> None:
    path.write_text(f'#!/bin/sh\nexec {command} "$@"\n', encoding="utf-8")
    path.chmod(0o755)


@attrs.define
class Outcome:
    """What came of a story."""

    failures: list[str] = attrs.field(factory=list)
    commands: int = 0
    blocks: int = 0
    """Manifests, parts of them, and programs."""
    transcript: list[str] = attrs.field(factory=list)
    """What came of each command."""


def run_story(story: Story, place: Place, script: Script) -> Outcome:
    """Run a story from its first step to its last."""
    for parent in place.directory.parents:
        if (parent / ".kastra").exists():
            raise RuntimeError(f"{parent / '.kastra'} would be the project of every story: remove it")
    environment = place.prepare(story)
    with Shell(place.project, environment, place.directory / "shown") as shell:
        run = _Run(story, place, script, shell)
        try:
            for step in story.steps:
                run.step(step)
            run.end()
        except _Enough:
            pass
        except ShellError as error:
            run.outcome.failures.append(f"{run.at}\n{_indented(str(error))}")
    return run.outcome


class _Enough(Exception):
    """There are failures enough."""


class _Run:
    def __init__(self, story: Story, place: Place, script: Script, shell: Shell) -> None:
        self._story, self._place, self._script, self._shell = story, place, script, shell
        self._slow = 6.0 if story.model else 1.0
        self._begun: list[tuple[Command, Begun]] = []
        self._last = Shown(0, "", "")
        self._manifests: list[str] = []
        self.at = story.page
        self.outcome = Outcome()

    def step(self, step: Block | File | Answers) -> None:
        match step:
            case Answers():
                self._script.say(step.answers)
            case File():
                self._write(step.name, step.text)
            case Block(by="", left_out=""):
                self._block(step)

    def end(self) -> None:
        """Interrupt what is in the background; see that nothing of the page was for nobody."""
        for command, begun in reversed(self._begun):
            self._name(command.line, command.text)
            shown = self._shell.interrupt(begun)
            if shown.code not in ENDED:
                self._fail(f"Ctrl-C ended it with exit code {shown.code}", shown)
        if self._script.left:
            self._name(self._story.line, "")
            asked = f"{len(self._script.asked)} requests came"
            self._fail(f"answers of the model that nobody asked for ({asked}): {self._script.left!r}")

    def _name(self, line: int, text: str) -> None:
        self.at = f"{self._story.page}:{line}: {f'$ {text}' if text else ''}".rstrip()

    def _fail(self, what: str, shown: Shown | None = None) -> None:
        came = f"\nstdout:\n{_indented(shown.out)}\nstderr:\n{_indented(shown.err)}" if shown else ""
        self.outcome.failures.append(f"{self.at}\n{what}{came}")
        if len(self.outcome.failures) >= MOST:
            raise _Enough

    def _tell(self, shown: Shown) -> None:
        self.outcome.transcript.append(f"{self.at}\n{shown.err}{shown.out}[{shown.code}]")

    def _write(self, name: str, text: str) -> None:
        path = self._place.project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def _block(self, block: Block) -> None:
        self._name(block.line, "")
        if block.title:
            self._write(block.title, block.text)
            if manifests_in(block.text):
                self._manifests.append(block.text)
        if block.language in ("console", "setup"):
            reader = next((one for one in block.commands if one.text.startswith(block.reads)), None)
            for command in block.commands:
                given = block.input if command is reader else None
                self._command(command, block, given, last=command is block.commands[-1])
        elif "run" in block.flags:
            self._python(block)
        elif "shown" in block.flags:
            if not holds(block.text.splitlines(), self._last.out, self._last.err):
                self._fail(f"the page shows:\n{_indented(block.text)}", self._last)
        elif "in" in block.settings:
            self.outcome.blocks += 1
            if problem := problem_of_part(block.settings["in"], block.text, self._manifests):
                self._fail(problem)
        elif block.language in ("yaml", "json") and not block.title:
            self._apply(block)

    def _command(self, command: Command, block: Block, given: str | None, *, last: bool) -> None:
        self._name(command.line, command.text)
        self.outcome.commands += 1
        if last and block.background:
            begun = self._shell.begin(command.text, given=given)
            self._begun.append((command, begun))
            if command.shown and not self._shell.until(begun, _shows(command), 30.0 * self._slow):
                self._fail(f"in the background, it did not show:\n{_indented(_text(command))}", begun.shown())
            return
        self._last = shown = self._shell.run(command.text, given=given, timeout_s=LONGEST_S * self._slow)
        self._tell(shown)
        wanted = block.exit_code if last else 0
        if shown.code != wanted:
            self._fail(f"exit code {shown.code}, expected {wanted}", shown)
        elif command.shown and not is_shown(command.shown, shown.out, shown.err):
            self._fail(f"the page shows:\n{_indented(_text(command))}", shown)
        elif "Traceback (most recent call last)" in shown.err:
            self._fail("a traceback", shown)

    def _python(self, block: Block) -> None:
        self.outcome.blocks += 1
        name = block.title
        if not name:
            file = self._place.directory / "shown" / f"page_{block.line}.py"
            file.write_text(block.text, encoding="utf-8")
            name = str(file)
        # As a text given to the interpreter: modules beside it are found in the current directory.
        command = f'PYTHONPATH="$PWD:$PYTHONPATH" python {shlex.quote(name)}'
        self._last = shown = self._shell.run(command, timeout_s=LONGEST_S * self._slow)
        self._tell(shown)
        if shown.code != 0:
            self._fail(f"the Python ends with exit code {shown.code}", shown)

    def _apply(self, block: Block) -> None:
        self.outcome.blocks += 1
        self._manifests.append(block.text)
        name = f"line-{block.line}.{block.language}"
        file = self._place.directory / "shown" / name
        file.write_text(block.text, encoding="utf-8")
        shown = self._shell.run(f"kastra apply --validate=strict -f {shlex.quote(str(file))}")
        self._tell(shown)
        if shown.code != 0:
            self._fail(f"the manifest cannot be applied: exit code {shown.code}", shown)


def _shows(command: Command) -> Callable[[Shown], bool]:
    """Whether a command in the background has come as far as the page shows; ``...`` alone is anything but nothing."""
    if {line.strip() for line in command.shown} == {"..."}:
        return lambda shown: bool(shown.out or shown.err)
    return lambda shown: holds(command.shown, shown.out, shown.err)


def _text(command: Command) -> str:
    return "\n".join(command.shown)


def _indented(text: str) -> str:
    lines = text.rstrip().splitlines()
    return "\n".join(f"    {line}" for line in lines) or "    (nothing)"
