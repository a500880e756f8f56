"""What every command of a plugin must keep to: subclass :class:`CommandConformance` in the plugin's test suite."""

from __future__ import annotations

import os
import re
import site
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import attrs
import orjson
import pytest

from kastra_core.registrations import CommandRegistration
from kastra_core.testing._imports import HEAVY_MODULES

__all__ = ["CommandConformance"]

_NAME = re.compile(r"[a-z][a-z0-9-]*")
_SHORT = 80
"""Characters of a short help, at most: it stands beside the command's name on one line of ``kastra --help``."""
_PATIENCE_S = 120
_UNKNOWN = ("--no-such-option-at-all",)
_OF_THE_CORE = frozenset(
    {"attr", "attrs", "cattr", "cattrs", "click", "kastra_core", "orjson", "pluggy", "rich", "yaml"}
)
"""Packages that an import of a command costs nothing more: the core and what it requires."""
_PROBE = r"""
import json, os, sys, tempfile

name, target, short_help, runs = json.loads(sys.argv[1])
from kastra_core.api.lazy import load
from kastra_core.cli.app import run
from kastra_core.plugins import PluginManager
from kastra_core.registrations import CommandRegistration

record = CommandRegistration(name=name, command=target, short_help=short_help)
offered = PluginManager.records


def records(self, hook):
    found = offered(self, hook)
    if hook == "kastra_commands":
        found = [item for item in found if item[1].name != name] + [("conformance", record)]
    return found


PluginManager.records = records
PluginManager().load()
import attrs, cattrs, orjson, rich, yaml, yaml.cyaml  # with what they import, which the core needs too
before = set(sys.modules)
command = load(target)
loaded = sorted(set(sys.modules) - before)
import click


def texts(command, path):
    yield path, bool((command.help or "").strip())
    for param in command.params:
        if isinstance(param, click.Option) and not param.hidden:
            yield f"{path} {param.opts[0]}", bool(param.help)
    for word, inner in getattr(command, "commands", {}).items():
        if not inner.hidden:
            yield from texts(inner, f"{path} {word}")


def told(args):
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        sys.stdout.flush(), sys.stderr.flush()
        kept = os.dup(1), os.dup(2)
        os.dup2(out.fileno(), 1), os.dup2(err.fileno(), 2)
        try:
            code = run(args)
        finally:
            sys.stdout.flush(), sys.stderr.flush()
            for number, descriptor in zip((1, 2), kept):
                os.dup2(descriptor, number)
                os.close(descriptor)
        read = []
        for file in (out, err):
            file.seek(0)
            read.append(file.read().decode(errors="replace"))
        return [code, *read]


is_command = isinstance(command, click.Command)
json.dump(
    {
        "command": is_command,
        "loaded": loaded,
        "texts": dict(texts(command, name)) if is_command else {},
        "runs": [told(args) for args in (runs if is_command else runs[:1])],
    },
    sys.stdout,
)
"""


@attrs.frozen
class _Told:
    """How a command line ended."""

    line: str
    code: int
    stdout: str
    stderr: str

    @property
    def traceback(self) -> bool:
        return "Traceback (most recent call last)" in self.stdout + self.stderr


class CommandConformance:
    """Override the fixture ``command``; ``valid`` and ``invalid`` to have it called.

    The command is called in a process of its own as ``kastra NAME ...``, in an empty project with a store in memory and
    without the user's configuration.

    Example:
        class TestGreetCommand(CommandConformance):
            @pytest.fixture
            def command(self):
                return CommandRegistration(
                    name="greet", command="kastra_plugin_acme.cli:greet", short_help="Say hello."
                )

            @pytest.fixture
            def valid(self):
                return [["Ada"], ["Ada", "--loud"]]

            @pytest.fixture
            def invalid(self):
                return [["--loud=maybe", "Ada"]]
    """

    @pytest.fixture
    def command(self) -> CommandRegistration:
        """The command as its hook yields it."""
        raise NotImplementedError("override the fixture 'command'")

    @pytest.fixture
    def valid(self) -> Sequence[Sequence[str]]:
        """Arguments with which it ends well (exit code 0), each call in the same empty project."""
        return ()

    @pytest.fixture
    def invalid(self) -> Sequence[Sequence[str]]:
        """Arguments that are wrong: it says why on stderr and ends with another code."""
        return ()

    @pytest.fixture
    def probed(
        self, command: CommandRegistration, valid: Sequence[Sequence[str]], invalid: Sequence[Sequence[str]]
    ) -> dict[str, Any]:
        target = command.command
        assert isinstance(target, str), (
            "name the command lazily as 'module:attribute': `kastra --help` must not import it"
        )
        lines = (("--help",), _UNKNOWN, *map(tuple, valid), *map(tuple, invalid))
        return _probe(command.name, target, command.short_help, lines)

    @pytest.fixture
    def told(self, probed: dict[str, Any]) -> dict[tuple[str, ...], _Told]:
        """How each command line ended, by the arguments after the command's name."""
        assert probed["command"], "it is no click.Command"
        ended: dict[tuple[str, ...], _Told] = probed["told"]
        return ended

    def test_its_name_and_short_help_fit_the_list_of_commands(self, command: CommandRegistration) -> None:
        assert _NAME.fullmatch(command.name), f"{command.name!r} is not in lower case letters, digits and dashes"
        assert command.short_help.strip(), "it has no short help"
        assert len(command.short_help.splitlines()) == 1
        assert len(command.short_help) <= _SHORT, f"its short help is longer than {_SHORT} characters"

    def test_it_is_a_click_command_and_listed(self, command: CommandRegistration, probed: dict[str, Any]) -> None:
        assert probed["command"], f"{command.command} is no click.Command"
        listed = probed["overview"]
        assert command.name in listed.split(), f"`kastra --help` does not list {command.name}:\n{listed}"
        assert command.short_help.split()[0] in listed

    def test_its_import_is_light(self, probed: dict[str, Any], command: CommandRegistration) -> None:
        package = str(command.command).partition(":")[0].partition(".")[0]
        roots = {name.partition(".")[0] for name in probed["loaded"]}
        foreign = sorted(roots - _OF_THE_CORE - {package} - sys.stdlib_module_names)
        remedy = "`--help` and completion import the command; import these in the function that needs them"
        assert foreign == [], remedy
        assert sorted(HEAVY_MODULES.intersection(probed["loaded"])) == [], remedy

    def test_help_says_what_it_does_and_what_each_option_means(
        self, probed: dict[str, Any], command: CommandRegistration, told: dict[tuple[str, ...], _Told]
    ) -> None:
        page = told[("--help",)]
        assert page.code == 0, f"{page.line}: exit code {page.code}\n{page.stderr}"
        assert page.stderr == "", f"{page.line} writes to stderr"
        assert page.stdout.startswith(f"Usage: kastra {command.name}"), page.stdout
        missing = [name for name, documented in probed["texts"].items() if not documented]
        assert missing == [], "these have no help"

    def test_an_unknown_option_is_told_and_ends_with_2(self, told: dict[tuple[str, ...], _Told]) -> None:
        ended = told[_UNKNOWN]
        assert ended.code == 2, f"{ended.line}: exit code {ended.code}\n{ended.stderr}"
        assert _UNKNOWN[0] in ended.stderr, f"{ended.line}: the message does not name the option:\n{ended.stderr}"
        assert not ended.traceback, f"{ended.line}:\n{ended.stderr}"

    def test_valid_arguments_end_well(self, valid: Sequence[Sequence[str]], told: dict[tuple[str, ...], _Told]) -> None:
        for args in valid:
            ended = told[tuple(args)]
            assert ended.code == 0, f"{ended.line}: exit code {ended.code}\n{ended.stderr}"
            assert not ended.traceback, f"{ended.line}:\n{ended.stderr}"

    def test_invalid_arguments_are_refused_in_words(
        self, invalid: Sequence[Sequence[str]], told: dict[tuple[str, ...], _Told]
    ) -> None:
        for args in invalid:
            ended = told[tuple(args)]
            assert ended.code not in (0, 70), f"{ended.line}: exit code {ended.code}\n{ended.stderr}"
            assert ended.stderr.strip(), f"{ended.line}: it does not say on stderr what is wrong"
            assert not ended.traceback, f"{ended.line}:\n{ended.stderr}"


@lru_cache(maxsize=64)
def _probe(name: str, target: str, short_help: str, lines: tuple[tuple[str, ...], ...]) -> dict[str, Any]:
    """Call the command in a process of its own; once for all tests of a suite."""
    with tempfile.TemporaryDirectory() as project:
        own = {"HOME": project, "KASTRA_CONFIG_HOME": project, "PYTHONUSERBASE": site.getuserbase() or ""}
        search = os.pathsep.join(str(Path(place).absolute()) for place in sys.path if place)
        env = {key: value for key, value in os.environ.items() if not key.startswith(("KASTRA_", "XDG_", "_KASTRA"))}
        before = ["-q", "-C", project, "--store", "memory:"]  # quiet: other plugins may be broken
        runs = [["--help"], *([*before, name, *args] for args in lines)]
        done = subprocess.run(
            [sys.executable, "-c", _PROBE, orjson.dumps([name, target, short_help, runs]).decode()],
            cwd=project,
            env={**env, **own, "PYTHONPATH": search, "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
            check=False,
        )
    assert done.returncode == 0, f"{target} cannot be called:\n{done.stderr}"
    found: dict[str, Any] = orjson.loads(done.stdout)
    overview, *rest = found["runs"]
    told = {args: _Told(f"kastra {name} {' '.join(args)}", *run) for args, run in zip(lines, rest)}
    return {**found, "overview": overview[1], "told": told}
