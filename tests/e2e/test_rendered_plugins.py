"""Rendered plugins in use: two that clash, one that is for other hooks, and one that works as its pages say."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest

import kastra_core
from rendered_plugins import FEATURES, Rendered, announce, render

FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


def rewrite(file: Path, text: str) -> None:
    """Write a module that was imported before: Python looks at size and time, in whole seconds, of what it compiled."""
    before = file.stat().st_mtime
    file.write_text(text, encoding="utf-8")
    os.utime(file, (before + 2, before + 2))


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


class Bench:
    """A project, and plugins that are installed beside the first-party ones while a command runs."""

    def __init__(self, path: Path, environment: dict[str, str], forks: Any) -> None:
        self.path, self.environment, self._forks = path, environment, forks
        self.rendered = path / "rendered"
        self.project = path / "project"
        self.project.mkdir()
        self._sites = 0

    def render(self, name: str, *features: str, **answers: str) -> Rendered:
        return render(self.rendered, name, features, **answers)

    def install(self, *plugins: Rendered) -> None:
        """From now on these are installed, and no other rendered ones."""
        self._sites += 1
        self.environment["PYTHONPATH"] = str(announce(self.path / f"site{self._sites}", *plugins))

    def __call__(self, *arguments: str, input: str = "") -> Outcome:
        found = Outcome(*self._forks.run(arguments, cwd=self.project, env=self.environment, input=input))
        assert "Traceback" not in found.err, found.err
        return found

    def apply(self, **manifest: Any) -> None:
        done = self("apply", "-f", "-", input=orjson.dumps(manifest).decode())
        assert done.code == 0, done.err

    def json(self, *arguments: str) -> Any:
        done = self(*arguments, "-o", "json")
        return orjson.loads(done.out)


@pytest.fixture
def bench(tmp_path: Path, environment: dict[str, str], forks: Any) -> Bench:
    return Bench(tmp_path, environment, forks)


# ------------------------------------------------------------------------------------------------- clashes

GREETING = {"group": "acme.example", "kind": "Greeting"}
HELLO: dict[str, Any] = {
    "apiVersion": "acme.example/v1",
    "kind": "Greeting",
    "metadata": {"name": "hello"},
    "spec": {"text": "Hello"},
}


def test_two_plugins_with_one_kind_are_both_named_and_the_first_keeps_it(bench: Bench) -> None:
    first = bench.render("alpha", "kind", **GREETING)
    second = bench.render("beta", "kind", "migrator", **GREETING)
    bench.install(second)
    bench.apply(**HELLO)
    assert bench("plugins").code == 0
    stored = bench.json("get", "greeting", "hello")
    written = bench.project / ".kastra/beta/default.hello.txt"
    assert written.read_text() == "Hello\n"

    bench.install(first, second)
    listed = bench("plugins")
    assert listed.code == 3
    for what in ("kind 'Greeting.acme.example'", "controller 'greetings.acme.example'"):
        assert f"warning: {what} is offered by plugin 'alpha' and by plugin 'beta'; the first is used" in listed.err
    states = {line.split()[0]: line.split()[3] for line in listed.out.splitlines()[1:]}
    assert (states["alpha"], states["beta"], states["agent"]) == ("conflict", "conflict", "loaded")
    for name in ("alpha", "beta"):
        shown = bench("plugins", "show", name)
        assert shown.code == 3
        assert "--no-plugin beta" in " ".join(shown.out.split())

    # What the second one made stays as it is, in the store and outside; what it alone offers works.
    assert bench.json("get", "greeting", "hello") == stored
    assert written.read_text() == "Hello\n"
    offers = next(one for one in bench.json("plugins")["plugins"] if one["name"] == "beta")["offers"]
    assert offers == {"migrators": ["beta"], "operations": ["beta.say"]}
    (bench.project / "beta.yaml").write_text("beta: 1\nbots: {greeter: {persona: Greet.}}\n")
    assert bench("migrate", "beta.yaml", "-o", "migrated").code == 0
    assert (bench.project / "migrated/agent-greeter.yaml").is_file()

    # Switched off as the message says, the first is whole; switched off the other way round, the second is.
    assert bench("--no-plugin", "beta", "plugins").code == 0
    assert bench("--no-plugin", "alpha", "plugins").code == 0
    assert bench("--no-plugin", "alpha", "delete", "greeting", "hello").code == 0
    assert not written.exists()


@pytest.mark.parametrize(
    ("version", "cause"),
    [
        ("2", "it was made for version 2 of the hooks, kastra-core {} has version 1; upgrade kastra-core"),
        ("0", "it was made for version 0 of the hooks, kastra-core {} has version 1; upgrade the plugin"),
        ('"1"', "KASTRA_API_VERSION is '1', expected a whole number; this core has version 1"),
    ],
)
def test_a_plugin_for_other_hooks_is_quarantined_with_the_cause(bench: Bench, version: str, cause: str) -> None:
    plugin = bench.render("acme", "kind", "command", **GREETING)
    bench.install(plugin)
    bench.apply(**HELLO)
    hooks = plugin.directory / f"src/{plugin.package}/hooks.py"
    text = hooks.read_text()
    rewrite(hooks, text.replace("KASTRA_API_VERSION = 1\n", f"KASTRA_API_VERSION = {version}\n"))
    listed = bench("plugins")
    assert listed.code == 3
    told = cause.format(kastra_core.__version__)
    assert "warning: plugin 'acme' is quarantined: " in listed.err
    assert told in listed.err
    [line] = [line for line in listed.out.splitlines() if line.startswith("acme ")]
    assert line.split()[3] == "quarantined"
    assert told in bench("plugins", "show", "acme").out

    # The rest goes on, each command warns once, and nothing of the plugin is there.
    others = bench("get", "agents")
    assert others.code == 0
    assert others.err.count("is quarantined") == 1
    assert bench("acme").code == 2
    # Mended, all is as it was.
    rewrite(hooks, text)
    assert bench("plugins").code == 0
    assert bench.json("get", "greeting", "hello")["status"]["phase"] == "Ready"


# ------------------------------------------------------------------------------------------------- what authors add


def test_what_an_author_adds_is_named_as_not_tested_and_the_rest_passes_as_before(bench: Bench) -> None:
    plugin = bench.render("acme", "kind", "command", **GREETING)
    hooks = plugin.directory / "src/kastra_plugin_acme/hooks.py"
    text = hooks.read_text(encoding="utf-8")
    for first, added in [
        ("OperationRegistration(", 'name="acme.shout", handler="kastra_plugin_acme.runner:say"'),
        ("ResourceKind(", 'kind="Farewell", plural="farewells", group=GROUP, description="Last words."'),
    ]:
        assert text.count(f"    yield {first}") == 1
        text = text.replace(f"    yield {first}", f"    yield {first}{added})\n    yield {first}")
    hooks.write_text(text, encoding="utf-8")
    bench.install(plugin)

    done = bench("plugins", "check", "acme")
    assert done.code == 0, done.out
    assert "not tested: operation acme.shout has no suite" in done.out
    [derived] = [line for line in done.out.splitlines() if "Farewell.acme.example" in line]
    assert derived.endswith("passed (derived)")


# ------------------------------------------------------------------------------------------------- pages


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[Rendered, Path]:
    """A plugin with everything, and the directory where it is installed."""
    directory = tmp_path_factory.mktemp("sample")
    plugin = render(directory, "acme", FEATURES, **GREETING)
    return plugin, announce(directory / "site", plugin)


class Page:
    """Carries a page out: files with a title are written, commands are run, and show what the page says they show."""

    def __init__(self, text: str, bench: Bench) -> None:
        # A port that nobody else has just now, in place of that of the page.
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = str(free.getsockname()[1])
        self._blocks = FENCE.findall(text.replace("8765", port))
        self._bench = bench
        self._servers: list[subprocess.Popen[str]] = []
        self.commands = 0

    def carry_out(self) -> None:
        try:
            for language, title, text in self._blocks:
                if title:
                    (self._bench.project / title).write_text(text, encoding="utf-8")
                elif language == "console":
                    self._console(text)
        finally:
            for server in self._servers:
                server.terminate()
                server.communicate(timeout=20)

    def _console(self, text: str) -> None:
        for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            line, _, shown = part.partition("\n")
            done = self._run(line)
            assert done.code == 0, f"$ {line}\n{done.err}"
            found = done.out.splitlines()
            assert [one for one in shown.splitlines() if one not in found] == [], f"$ {line}\n{done.out}"
            self.commands += 1

    def _run(self, line: str) -> Outcome:
        first, pipe, second = line.partition(" | ")
        words = shlex.split(first)
        if words[0] == "kastra":
            return self._bench(*words[1:])
        python = [sys.executable, *words[1:]]
        environment = {**self._bench.environment, "PYTHONUNBUFFERED": "1"}
        if not pipe:  # a server
            server = subprocess.Popen(
                python, cwd=self._bench.project, env=environment, stdout=subprocess.PIPE, text=True
            )
            self._servers.append(server)
            assert server.stdout is not None
            return Outcome(0, server.stdout.readline(), "")
        made = subprocess.run(python, env=environment, capture_output=True, text=True, check=True, timeout=60)
        return self._bench(*shlex.split(second)[1:], input=made.stdout)


@pytest.mark.parametrize("page", ["kind", "definition", "store", "model", "migrator", "command"])
def test_pages_of_a_rendered_plugin_are_as_it_works(bench: Bench, sample: tuple[Rendered, Path], page: str) -> None:
    plugin, site = sample
    bench.environment["PYTHONPATH"] = str(site)
    text = (plugin.directory / f"docs/{page}.md").read_text(encoding="utf-8")
    carried = Page(text, bench)
    carried.carry_out()
    assert carried.commands == text.count("\n$ ")
