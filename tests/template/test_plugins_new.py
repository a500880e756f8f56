"""``kastra plugins new``: what it asks, makes, says and refuses."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import pytest


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


class Desk:
    """An empty directory, and ``kastra plugins new`` in it, for somebody who has no terminal."""

    def __init__(self, path: Path, forks: Any) -> None:
        self.path, self._forks = path / "desk", forks
        self.home = path / "home"
        self.path.mkdir()
        self.home.mkdir()
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("KASTRA_")},
            "HOME": str(self.home),
            "KASTRA_CONFIG_HOME": str(path / "config"),
        }

    def __call__(self, *arguments: str, **environment: str) -> Outcome:
        found = Outcome(
            *self._forks.run(
                ["plugins", "new", *arguments], cwd=self.path, env={**self.environment, **environment}, input=""
            )
        )
        assert "Traceback" not in found.err, found.err
        return found

    def type(self, *lines: str) -> tuple[int, str]:
        """Run it on a terminal on which somebody types; return the exit code and what the terminal showed."""
        ours, theirs = os.openpty()
        environment = {**self.environment, "TERM": "dumb"}
        process = self._forks.begin(
            ["plugins", "new"],
            cwd=self.path,
            env=environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            terminal=True,
        )
        os.close(theirs)
        os.write(ours, "".join(f"{line}\n" for line in lines).encode())
        shown = b""
        try:
            while piece := os.read(ours, 65536):
                shown += piece
        except OSError:  # Linux says so when the last one closed the other end
            pass
        code = process.wait(60)
        os.close(ours)
        return code, shown.decode()

    @property
    def made(self) -> list[str]:
        return sorted(path.name for path in self.path.iterdir())


@pytest.fixture
def desk(tmp_path: Path, forks: Any) -> Desk:
    return Desk(tmp_path, forks)


def _project(directory: Path) -> Any:
    return tomllib.loads((directory / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_a_name_is_enough_and_the_next_steps_are_told(desk: Desk) -> None:
    done = desk("acme")
    assert (done.code, done.err) == (0, "")
    assert done.out == (
        "kastra-plugin-acme is made, with: kind\n\nNext:\n  cd kastra-plugin-acme\n"
        '  pip install -e ".[dev]"\n  pytest\n  kastra plugins show acme\n'
    )
    assert desk.made == ["kastra-plugin-acme"]
    project = _project(desk.path / "kastra-plugin-acme")
    assert (project["license"], project["authors"]) == ("Apache-2.0", [{"name": "The acme authors"}])
    assert "class AcmeSpec" in (desk.path / "kastra-plugin-acme/src/kastra_plugin_acme/spec.py").read_text()


def test_options_are_the_answers(desk: Desk) -> None:
    options = {"group": "notes.example", "kind": "Note", "author": "Ada", "license": "MIT", "description": "Notes."}
    given = [word for name, value in options.items() for word in (f"--{name}", value)]
    done = desk("acme-notes", "--with", "kind,store", "--with", "command", *given, "--output-dir", "made here")
    assert done.code == 0, done.err
    assert "cd 'made here/kastra-plugin-acme-notes'" in done.out
    directory = desk.path / "made here/kastra-plugin-acme-notes"
    project = _project(directory)
    assert (project["license"], project["description"]) == ("MIT", "Notes.")
    package = directory / "src/kastra_plugin_acme_notes"
    assert {path.stem for path in package.glob("*.py")} >= {"spec", "controller", "runner", "store", "command"}
    assert 'GROUP = "notes.example"' in (package / "hooks.py").read_text()


def test_nothing_is_left_in_the_home_or_in_the_temporary_directory(desk: Desk, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    (desk.home / ".cookiecutterrc").write_text("default_context: {author: Somebody else}\n")
    assert desk("acme", TMPDIR=str(scratch)).code == 0
    assert [path.name for path in desk.home.iterdir()] == [".cookiecutterrc"]
    assert list(scratch.iterdir()) == []
    assert _project(desk.path / "kastra-plugin-acme")["authors"] == [{"name": "The acme authors"}]


def test_a_terminal_is_asked_and_wrong_answers_are_asked_again(desk: Desk) -> None:
    code, shown = desk.type("Bad Name", "notes", "kind,stroe", "kind,store", "", "note", "Note", "", "Ada", "MIT")
    assert code == 0, shown
    assert "Error: plugin_name 'Bad Name': expected lower case letters" in shown
    assert "did you mean 'store'?" in shown
    assert "Error: kind 'note': expected letters and digits" in shown
    assert "notes.example" in shown
    directory = desk.path / "kastra-plugin-notes"
    assert _project(directory)["authors"] == [{"name": "Ada"}]
    assert "MIT License" in (directory / "LICENSE").read_text()
    assert "class NoteSpec" in (directory / "src/kastra_plugin_notes/spec.py").read_text()


def test_a_plugin_without_a_kind_is_not_asked_for_one(desk: Desk) -> None:
    code, shown = desk.type("notes", "store", "Keeps notes.", "Ada", "")
    assert code == 0, shown
    assert "CamelCase" not in shown
    assert _project(desk.path / "kastra-plugin-notes")["description"] == "Keeps notes."


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["Bad Name"], 1, "error: plugin_name 'Bad Name': expected lower case letters"),
        (["acme", "--kind", "greeting"], 1, "error: kind 'greeting': expected letters and digits"),
        (["acme", "--group", "acme"], 1, "error: group 'acme': expected a DNS name"),
        (["a_b", "--kind", "c"], 1, "or acme-notes\nkind 'c': expected letters and digits"),
        (["get", "--with", "command"], 1, "error: `kastra get` is a command of Kastra itself"),
        (["acme", "--with", "kinds"], 2, "--with 'kinds': there is no such feature; did you mean 'kind'?"),
        (["acme", "--license", "GPL-3.0"], 2, "--license 'GPL-3.0': allowed are Apache-2.0, MIT, BSD-3-Clause"),
    ],
)
def test_wrong_answers_are_refused_and_nothing_is_written(
    desk: Desk, arguments: list[str], code: int, told: str
) -> None:
    done = desk(*arguments)
    assert (done.code, done.out) == (code, "")
    assert told in done.err
    assert desk.made == []


def test_an_existing_directory_is_left_as_it_is(desk: Desk) -> None:
    (desk.path / "kastra-plugin-acme").mkdir()
    done = desk("acme")
    assert done.code == 1
    assert done.err == "error: kastra-plugin-acme exists; remove it, or choose another name or another --output-dir\n"
    assert list((desk.path / "kastra-plugin-acme").iterdir()) == []


def test_a_name_that_an_installed_plugin_has_is_told(desk: Desk, tmp_path: Path) -> None:
    info = tmp_path / "site/somebodys_plugin-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "entry_points.txt").write_text("[kastra]\nacme = kastra_core.builtin\n")
    done = desk("acme", PYTHONPATH=str(tmp_path / "site"))
    assert done.code == 0
    assert "warning: somebodys-plugin is installed and has this name, too" in done.err


def test_without_cookiecutter_it_says_what_to_install(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site/cookiecutter.py").write_text("raise ModuleNotFoundError('No module named cookiecutter')\n")
    done = desk("acme", PYTHONPATH=str(tmp_path / "site"))
    assert done.code == 3
    assert "error: the library 'cookiecutter' is not installed; pip install 'kastra-core[develop]'" in done.err
    assert desk.made == []
