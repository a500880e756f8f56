"""``kastra plugins new``: a plugin of one's own, rendered from the template that comes with the core."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import click
import orjson

import kastra_core
from kastra_core.cli.app import COMMANDS
from kastra_core.cli.common import KubectlCommand, current, emit
from kastra_core.errors import MissingDependencyError, PluginError, UserError, nearest

__all__ = ["Template", "command", "template_directory"]


def template_directory() -> Path:
    """Return where the template is: inside of the package when it was installed, beside it in a clone.

    Raises: PluginError: it is at neither place.
    """
    package = Path(kastra_core.__file__).parent
    for place in (package / "_template", package.parent / "cookiecutter-plugin"):
        if (place / "cookiecutter.json").is_file():
            return place
    raise PluginError("this installation of kastra-core is without the template of plugins; install it again")


class Template:
    """The template: its questions, the rules for their answers, and its rendering.

    Args:
        directory: default: :func:`template_directory`.
    Raises:
        MissingDependencyError: cookiecutter is not installed.
    """

    def __init__(self, directory: Path | None = None) -> None:
        try:
            import cookiecutter  # noqa: F401 - who renders must have it; that is told before anything is asked
        except ImportError as error:
            raise MissingDependencyError("cookiecutter", "'kastra-core[develop]'") from error
        self.directory = directory or template_directory()
        self._questions: dict[str, Any] = orjson.loads((self.directory / "cookiecutter.json").read_bytes())
        self.prompts: Mapping[str, str] = self._questions["__prompts__"]
        self.licenses: Sequence[str] = self._questions["license"]

    @cached_property
    def _rules(self) -> Mapping[str, Any]:
        import runpy

        return runpy.run_path(str(self.directory / "hooks" / "pre_gen_project.py"))

    @property
    def features(self) -> Mapping[str, str]:
        """Answer -> word of ``--with``."""
        found: Mapping[str, str] = self._rules["FEATURES"]
        return found

    def problems(self, answers: Mapping[str, Any]) -> Iterator[str]:
        """What is wrong with the answers; the rules are those of the template's own hook."""
        found: Iterator[str] = self._rules["problems"](answers)
        return found

    def default(self, question: str, answers: Mapping[str, Any]) -> str:
        """The answer to a question that nobody gave, which may hang on earlier ones."""
        from cookiecutter.environment import StrictEnvironment
        from cookiecutter.prompt import render_variable

        environment = StrictEnvironment(context={"cookiecutter": dict(self._questions)})
        return str(render_variable(environment, self._questions[question], dict(answers)))

    def render(self, answers: Mapping[str, Any], into: Path) -> Path:
        """Render the plugin into a directory of its own below ``into``; return that directory.

        Raises: UserError: the answers are wrong, or the directory exists.
        """
        wrong = list(self.problems(answers))
        if wrong:
            raise UserError("\n".join(wrong))
        directory = into / f"kastra-plugin-{answers['plugin_name']}"
        if directory.exists():
            raise UserError(f"{directory} exists; remove it, or choose another name or another --output-dir")
        from cookiecutter.exceptions import CookiecutterException
        from cookiecutter.main import cookiecutter

        with tempfile.TemporaryDirectory() as scratch:
            # Else it reads the user's ~/.cookiecutterrc and writes the answers to ~/.cookiecutter_replay.
            config = Path(scratch, "config.yaml")
            config.write_bytes(orjson.dumps({"cookiecutters_dir": scratch, "replay_dir": scratch}))  # JSON is YAML
            try:
                cookiecutter(
                    str(self.directory),
                    no_input=True,
                    extra_context=dict(answers),
                    output_dir=str(into),
                    config_file=str(config),
                    accept_hooks=False,  # its only hook was asked above
                )
            except CookiecutterException as error:
                raise PluginError(f"the template cannot be rendered: {error}") from error
        return directory


class _Asked:
    """The answers: given as options, asked for on a terminal, or defaults."""

    def __init__(self, template: Template, given: Mapping[str, Any], *, ask: bool) -> None:
        self._template, self._ask = template, ask
        self.answers: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
        # Told before anything is asked for.
        wrong = [told for question in self.answers for told in self._wrong(question, self.answers[question])]
        if wrong:
            raise UserError("\n".join(wrong))

    def features(self, chosen: Sequence[str]) -> None:
        template = self._template
        if not chosen and self._ask:
            every = ", ".join(template.features.values())
            chosen = click.prompt(
                f"What it adds, of {every}", default="kind", value_proc=lambda text: _words(template, [text]), err=True
            )
        chosen = chosen or ("kind",)
        self.answers |= {feature: word in chosen for feature, word in template.features.items()}

    def text(self, question: str, *, matters: bool = True) -> None:
        if question in self.answers:
            return
        default = self._template.default(question, self.answers)
        if self._ask and matters:
            default = click.prompt(
                self._template.prompts[question], default=default, value_proc=self._checked(question), err=True
            )
        self.answers[question] = default

    def license(self) -> None:
        if "license" not in self.answers:
            known = self._template.licenses
            self.answers["license"] = known[0]
            if self._ask:
                choice = click.Choice(known)
                told = self._template.prompts["license"]
                self.answers["license"] = click.prompt(told, default=known[0], type=choice, err=True)

    def _checked(self, question: str) -> Callable[[str], str]:
        def check(text: str) -> str:
            for told in self._wrong(question, text):
                raise click.UsageError(told)
            return text

        return check

    def _wrong(self, question: str, text: str) -> Iterator[str]:
        for told in self._template.problems({**self.answers, question: text}):
            if told.startswith(f"{question} "):
                yield told


def _words(template: Template, given: Sequence[str]) -> list[str]:
    """The words of ``--with``, which may be given several times and divided by commas. Raises: click.UsageError."""
    known = list(template.features.values())
    words = [word.strip() for text in given for word in text.split(",") if word.strip()]
    for word in words:
        if word not in known:
            near = nearest(word, known)
            hint = f"did you mean {near!r}?" if near else f"allowed are {', '.join(known)}"
            raise click.UsageError(f"--with {word!r}: there is no such feature; {hint}")
    return words


@click.command(cls=KubectlCommand)
@click.argument("name", required=False)
@click.option(
    "--with",
    "features",
    multiple=True,
    metavar="kind,crd,store,model,migrator,command",
    help="What it adds: a typed kind with controller and runner, a kind defined by YAML with a controller, a store, "
    "a model provider, a migrator, a command. [default: kind]",
)
@click.option("--group", metavar="DNS", help="API group of its kind. [default: NAME.example]")
@click.option("--kind", metavar="KIND", help="Name of its kind. [default: NAME in CamelCase]")
@click.option("--description", metavar="TEXT", help="What it is for, in one line.")
@click.option("--author", metavar="NAME", help="Who writes it.")
@click.option("--license", metavar="SPDX", help="Apache-2.0, MIT or BSD-3-Clause. [default: Apache-2.0]")
@click.option(
    "--output-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    metavar="DIR",
    help="Where its directory goes; default: here.",
)
@click.option("--no-input", is_flag=True, help="Ask nothing, take the defaults.")
def command(name: str | None, features: tuple[str, ...], output_dir: Path, no_input: bool, **given: Any) -> None:
    """Make a plugin: a directory kastra-plugin-NAME with code that works, tests, documentation and a CI file.

    On a terminal what is not given is asked for; else it has defaults. Nothing that exists is overwritten.
    """
    state = current()
    template = Template()
    chosen = _words(template, features)
    if given["license"] is not None and given["license"] not in template.licenses:
        raise click.UsageError(f"--license {given['license']!r}: allowed are {', '.join(template.licenses)}")
    ask = not no_input and sys.stdin is not None and sys.stdin.isatty()
    asked = _Asked(template, {"plugin_name": name, **given}, ask=ask)
    asked.text("plugin_name")
    asked.features(chosen)
    answers = asked.answers
    with_kind = answers["typed_kind"] or answers["crd_kind"]
    for question in ("group", "kind"):
        asked.text(question, matters=with_kind)
    for question in ("description", "author"):
        asked.text(question)
    asked.license()
    _refuse_taken(answers)
    directory = template.render(answers, output_dir)
    for one in _installed(answers["plugin_name"]):
        state.warn(f"{one} is installed and has this name, too: one of the two will not be used")
    words = [word for feature, word in template.features.items() if answers[feature]]
    emit(
        f"{directory} is made, with: {', '.join(words)}\n\nNext:\n"
        + "\n".join(f"  {line}" for line in _next(directory, answers))
    )


def _refuse_taken(answers: Mapping[str, Any]) -> None:
    if answers["command"] and answers["plugin_name"] in COMMANDS:
        raise UserError(f"`kastra {answers['plugin_name']}` is a command of Kastra itself; choose another name")


def _installed(name: str) -> list[str]:
    from kastra_core.plugins import entry_points

    ours = f"kastra-plugin-{name}"
    return [point.distribution for point in entry_points() if point.name == name and point.distribution != ours]


def _next(directory: Path, answers: Mapping[str, Any]) -> list[str]:
    import shlex

    return [
        f"cd {shlex.quote(str(directory))}",
        'pip install -e ".[dev]"',
        "pytest",
        f"kastra plugins show {answers['plugin_name']}",
    ]
