"""Commands that a sentence or a table names, `kastra get crds`, are there, with the options that they are named with.

Whole lines in consoles are run (``test_stories.py``); what stands within a text is compared with the command line.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from kastra_core.api.lazy import load
from kastra_core.cli.app import app
from kastra_core.cli.common import CliState
from kastra_core.cli.run import SUBCOMMANDS

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [
        ROOT / "README.md",
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("plugins/*/README.md"),
        ROOT / "cookiecutter-plugin" / "README.md",
    ]
)


def _named(page: Path) -> Iterator[tuple[int, str]]:
    """The commands that a page names outside of blocks, with their lines."""
    fence = ""
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        if mark := re.match(r" *(`{3,})", line):
            fence = "" if line.strip() == fence else fence or mark[1]
        elif not fence:
            yield from ((number, text) for text in re.findall(r"(?<!`)`(kastra [^`]+)`(?!`)", line))


def _problem(text: str) -> str:
    """What of a command is not there, "" for nothing."""
    try:
        words = shlex.split(re.split(r" (?:[|&>]+|\.\.\.) ?", text)[0])
    except ValueError as error:
        return str(error)
    command: click.Command = app
    context = click.Context(app, info_name="kastra", obj=CliState())
    rest = iter(words[1:])
    for word in rest:
        if word.startswith("-") and not word.strip("-").isdigit() and word != "-":
            name, has_value, _ = word.partition("=")
            option = _option(command, context, name)
            if option is None:
                return f"{context.command_path} has no {name}"
            if not option.is_flag and not option.count and not has_value and len(name) > 1:
                next(rest, None)
        elif isinstance(command, click.Group) and not word.isupper():
            if re.search(r"[|,]", word):  # several of them: list, show, new
                several = re.split(r"[|,\\ ]+", " ".join([word, *rest]))
                missing = [one for one in several if command.get_command(context, one) is None]
                return f"{context.command_path} has no command {missing[0]}" if missing else ""
            found = command.get_command(context, word)
            if found is None:
                return f"{context.command_path} has no command {word}"
            command, context = found, click.Context(found, info_name=word, parent=context)
        elif command.name == "run" and word in SUBCOMMANDS:
            command = load(SUBCOMMANDS[word])
            context = click.Context(command, info_name=word, parent=context)
    return ""


def _option(command: click.Command, context: click.Context, name: str) -> click.Option | None:
    params = [one for one in command.get_params(context) if isinstance(one, click.Option)]
    return next((one for one in params if name in (*one.opts, *one.secondary_opts)), None)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_within_a_text_are_there(page: Path) -> None:
    # A page about plugins has commands that only its plugin brings.
    own = re.findall(r"CommandRegistration\(\s*name=\"(\w+)\"", page.read_text(encoding="utf-8"))
    found = [(line, text, _problem(text)) for line, text in _named(page) if text.split()[1] not in own]
    wrong = [f"{page.relative_to(ROOT)}:{line}: `{text}`: {problem}" for line, text, problem in found if problem]
    assert not wrong, "\n" + "\n".join(wrong)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("kastra get agents -n cooking -o json", ""),
        ("kastra -C /srv/kitchen -q store backup", ""),
        ("kastra COMMAND --help", ""),
        ("kastra run retry run/NAME --from STEP", ""),
        ("kastra run ... --model local/auto", ""),
        ("kastra store backup > a.txt", ""),
        ("kastra store status, check, backup", ""),
        (r"kastra config get\|set|unset", ""),
        (r"kastra config get\|sett|unset", "kastra config has no command sett"),
        ("kastra gte agents", "kastra has no command gte"),
        ("kastra store mend", "kastra store has no command mend"),
        ("kastra get agents --colour", "kastra get has no --colour"),
        ("kastra store status --colour=red", "kastra store status has no --colour"),
        ("kastra get 'agents", "No closing quotation"),
    ],
)
def test_what_is_not_there_is_told(text: str, problem: str) -> None:
    assert _problem(text) == problem
