"""``kastra plugins check``: what it runs, what it tells of it, and what becomes of suites that break."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest

from kastra_core.cli.plugins_check_report import in_words
from kastra_core.plugins import BUILTIN, PluginManager, entry_points
from kastra_core.runtime import registry_of
from kastra_core.testing._check_derived import smallest_manifest
from kastra_core.testing._smallest import smallest

Kastra = Callable[..., Any]

HOOKS = '''
import attrs
from kastra_core import hookimpl
from kastra_core.api.kind import PrinterColumn, ResourceKind
from kastra_core.registrations import {imports}CommandRegistration, ControllerRegistration

KASTRA_API_VERSION = 1


@attrs.frozen(kw_only=True)
class Spec:
    text: str
    """What is said."""


KIND = ResourceKind(
    kind="{kind}", plural="{kind}s".lower(), group="acme.example", description="Says.", spec_type=Spec{more}
)


@hookimpl
def kastra_resource_kinds():
    yield KIND

{hooks}
'''
CONTROLLER = """
@hookimpl
def kastra_controllers():
    yield ControllerRegistration(name="{name}", kind="{kind}", group="acme.example", factory="json:loads")
"""
COMMAND = """
@hookimpl
def kastra_commands():
    yield CommandRegistration(name="{name}-say", command="{module}_cli:say", short_help="Say it.")
"""
OPERATION = """
@hookimpl
def kastra_operations():
    yield OperationRegistration(name="{name}.say", handler=say)

async def say(ctx, arguments):
    return {{"said": arguments["text"]}}
"""
SAY = '''
import click

@click.command()
def say():
    """Say it."""
    click.echo("it")
'''
SUITES = '''
import os, time
import pytest
from {module} import KIND
from kastra_core.testing.kind import KindConformance
{imports}

class TestKind(KindConformance):
    """What is said."""

    @pytest.fixture
    def kind(self):
        return KIND

    @pytest.fixture
    def valid(self):
        head = {{"apiVersion": "acme.example/v1", "kind": KIND.kind, "metadata": {{"name": "a"}}}}
        return [{{**head, "spec": {{"text": "x"}}}}]

    def test_of_its_own(self):
        {body}
'''


class Site:
    """A directory of installed plugins; each has a kind, and what is asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()

    def install(
        self, name: str, hooks: str = "", *, suites: str | None = None, more: str = "", imports: str = ""
    ) -> None:
        module = f"{name}_hooks"
        words = {"name": name, "kind": name.capitalize(), "module": module}
        text = HOOKS.format(**words, hooks=hooks.format(**words), more=more, imports=imports)
        (self.path / f"{module}.py").write_text(text, encoding="utf-8")
        points = f"[kastra]\n{name} = {module}\n"
        if suites is not None:
            (self.path / f"{name}_suites.py").write_text(suites, encoding="utf-8")
            points += f"[kastra.conformance]\n{name} = {name}_suites\n"
        info = self.path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
        (info / "entry_points.txt").write_text(points, encoding="utf-8")


def suites(name: str, body: str = "assert True", imports: str = "") -> str:
    return SUITES.format(module=f"{name}_hooks", body=body, imports=imports)


class Checked(NamedTuple):
    """One call for all plugins of the site."""

    code: int
    out: str
    err: str
    project: Path

    @property
    def plugins(self) -> Mapping[str, Any]:
        return {plugin["name"]: plugin for plugin in orjson.loads(self.out)["plugins"]}


SUITE_OF_OPERATIONS = """
from kastra_core.testing.operation import OperationConformance
from kastra_core.registrations import OperationRegistration
import good_hooks

class TestSay(OperationConformance):
    @pytest.fixture
    def operation(self):
        return OperationRegistration(name="good.say", handler=good_hooks.say)

    @pytest.fixture
    def arguments(self):
        return {"text": "x"}

    test_arguments_that_it_cannot_use_are_refused_and_are_no_bug = None  # it has a bug there
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    made = Site(tmp_path_factory.mktemp("check") / "site")
    operation = "OperationRegistration, "
    made.install("good", CONTROLLER + OPERATION, suites=suites("good", imports=SUITE_OF_OPERATIONS), imports=operation)
    made.install("bare", CONTROLLER + COMMAND)
    (made.path / "bare_hooks_cli.py").write_text(SAY, encoding="utf-8")
    column = ', printer_columns=(PrinterColumn(name="TEXT", json_path="spec.text"),)'
    made.install("bad", suites=suites("bad", "pytest.skip('it needs a key')"), more=column)
    made.install("unimportable", suites="import no_such_library\n")
    made.install("dying", suites=suites("dying", "os._exit(7)"))
    made.install("broken", "1 / 0")
    return made


@pytest.fixture(scope="module")
def environment_of(site: Site, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KASTRA_")}
    home = str(tmp_path_factory.mktemp("home"))
    return {**kept, "KASTRA_CONFIG_HOME": home, "PYTHONPATH": str(site.path), "NO_COLOR": "1"}


@pytest.fixture(scope="module")
def checked(site: Site, environment_of: dict[str, str], forks: Any) -> Checked:
    """All plugins of the site, in a project whose own configuration of pytest would have everything fail."""
    project = site.path.parent / "project"
    project.mkdir()
    (project / "conftest.py").write_text("raise SystemExit('conftest of the project')", encoding="utf-8")
    (project / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n", encoding="utf-8")
    # Without NAME all that are loaded are checked, and the others are told.
    ours = {"good", "bare", "bad", "unimportable", "dying", "broken"}
    blocked = [word for point in entry_points() if point.name not in ours for word in ("--no-plugin", point.name)]
    env = {**environment_of, "PYTEST_ADDOPTS": "--no-such-option"}
    done = forks.run((*blocked, "plugins", "check", "-o", "json", "-v"), cwd=project, env=env)
    return Checked(done[0], done[1], done[2], project)


def suite(plugin: Mapping[str, Any], point: str) -> Mapping[str, Any]:
    [found] = [one for one in plugin["suites"] if one["point"] == point]
    return found  # type: ignore[no-any-return]


def test_without_a_name_all_but_the_core_are_checked_and_one_that_fails_gives_3(checked: Checked) -> None:
    assert list(checked.plugins) == ["bad", "bare", "broken", "dying", "good", "unimportable"]
    assert checked.code == 3
    assert [name for name, plugin in checked.plugins.items() if plugin["passed"]] == ["bare", "good"]
    assert orjson.loads(checked.out)["passed"] is False


def test_suites_are_told_with_the_part_that_they_test(checked: Checked) -> None:
    good = checked.plugins["good"]
    assert (good["distribution"], good["version"], good["problems"]) == ("good", "1.0", [])
    told = {(one["point"], one["record"], one["suite"], one["class"], one["derived"]) for one in good["suites"]}
    assert told == {
        ("plugin", "good", "PluginConformance", "TestPlugin", False),
        ("kind", "Good.acme.example", "KindConformance", "TestKind", False),
        ("operation", "good.say", "OperationConformance", "TestSay", False),
    }
    assert suite(good, "kind")["doc"] == "What is said."
    assert suite(good, "operation")["passed"] == 11


def test_a_part_without_a_suite_is_told_with_where_to_add_one(checked: Checked) -> None:
    [controller] = checked.plugins["good"]["notTested"]
    assert controller == {
        "point": "controller",
        "record": "good",
        "suite": "kastra_core.testing.controller.ControllerConformance",
        "module": "good_suites",
    }
    assert checked.plugins["bare"]["notTested"][0]["module"] == "bare_hooks.conformance"


def test_kinds_and_commands_of_a_plugin_without_suites_are_tested_all_the_same(checked: Checked) -> None:
    bare = checked.plugins["bare"]
    derived = {(one["point"], one["record"], one["failed"]) for one in bare["suites"] if one["derived"]}
    assert derived == {("kind", "Bare.acme.example", 0), ("command", "bare-say", 0)}
    assert suite(bare, "command")["passed"] == 7


def test_a_failure_is_told_in_the_words_of_the_suite(checked: Checked) -> None:
    bad = checked.plugins["bad"]
    [failure] = suite(bad, "kind")["failures"]
    assert failure == {
        "test": "test_printer_columns_have_paths_and_types_that_can_be_shown",
        "message": "column TEXT: 'spec.text' is no path",
    }
    [skip] = suite(bad, "kind")["skips"]
    assert skip == {"test": "test_of_its_own", "message": "it needs a key"}


def test_a_module_of_suites_that_cannot_be_imported_is_told_with_the_cause(checked: Checked) -> None:
    plugin = checked.plugins["unimportable"]
    assert plugin["problems"] == [
        "unimportable_suites cannot be imported: ModuleNotFoundError: No module named 'no_such_library'"
    ]
    assert suite(plugin, "plugin")["passed"] == 7
    assert suite(plugin, "kind")["derived"]


def test_a_test_that_ends_the_process_is_named(checked: Checked) -> None:
    plugin = checked.plugins["dying"]
    assert plugin["problems"] == ["its process ended with exit code 7, in the test test_of_its_own of TestKind"]


def test_a_quarantined_plugin_is_told_with_the_cause(checked: Checked) -> None:
    [problem] = checked.plugins["broken"]["problems"]
    assert "ZeroDivisionError" in problem
    assert checked.plugins["broken"]["suites"] == []


def test_verbose_shows_what_pytest_tells_on_stderr(checked: Checked) -> None:
    assert "TestKind::test_of_its_own SKIPPED" in checked.err
    assert "No module named 'no_such_library'" in checked.err


def test_nothing_of_the_current_directory_is_read_or_written(checked: Checked) -> None:
    assert "conftest of the project" not in checked.err
    assert sorted(path.name for path in checked.project.iterdir()) == ["conftest.py", "pytest.ini"]


def test_the_report_for_people(site: Site, environment_of: dict[str, str], forks: Any, tmp_path: Path) -> None:
    code, out, _ = forks.run(("plugins", "check", "bad", "good"), cwd=tmp_path, env=environment_of)
    assert code == 3
    bad, good, overall = out.split("\n\n")
    assert bad.splitlines()[0] == "bad (bad 1.0)"
    assert [" ".join(line.split()) for line in bad.splitlines()[1:4]] == [
        "POINT RECORD SUITE RESULT",
        "kind Bad.acme.example KindConformance 16 passed, 1 failed, 1 skipped",
        "plugin bad PluginConformance 7 passed",
    ]
    assert bad.splitlines()[4:8] == [
        "failed: kind Bad.acme.example: printer columns have paths and types that can be shown",
        "  column TEXT: 'spec.text' is no path",
        "  (TestKind.test_printer_columns_have_paths_and_types_that_can_be_shown)",
        "skipped: kind Bad.acme.example: 1 test: it needs a key",
    ]
    assert bad.splitlines()[8].startswith("bad: 23 passed, 1 failed, 1 skipped in ")
    assert (
        "not tested: controller good has no suite; add one, a subclass of "
        "kastra_core.testing.controller.ControllerConformance, to good_suites" in good
    )
    assert overall.startswith("2 plugins: 59 passed, 1 failed, 1 skipped; 1 part is not tested; failed: bad")


def test_suites_that_do_not_end_are_ended(plugins: Any, environment: dict[str, str], forks: Any, project: Path) -> None:
    plugins.install(
        "slow",
        "KASTRA_API_VERSION = 1",
        points="[kastra]\nslow = slow_plugin\n[kastra.conformance]\nslow = slow_suites\n",
    )
    (plugins.path / "slow_suites.py").write_text("import time\ntime.sleep(600)\n", encoding="utf-8")
    code, out, _ = forks.run(("plugins", "check", "slow", "--timeout", "1s"), cwd=project, env=environment)
    assert code == 3
    assert "failed: it was not over after 1 s" in out


@pytest.mark.parametrize(
    ("name", "code", "told"),
    [
        ("acne", 1, "plugin acne not found; did you mean 'plugin acme'?"),
        (BUILTIN, 1, "is the core itself, which has no suites to run; name a plugin"),
    ],
)
def test_a_name_that_is_no_plugin_is_told(kastra: Kastra, name: str, code: int, told: str) -> None:
    done = kastra("plugins", "check", name)
    assert done.code == code
    assert told in done.err


def test_what_is_needed_and_missing_is_told_with_what_to_install(
    kastra: Kastra, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pytest_asyncio" else really(name))
    done = kastra("plugins", "check", "acme")
    assert done.code == 3
    assert "the library 'pytest_asyncio' is not installed; pip install 'kastra-core[develop]'" in done.err


def test_plugins_of_the_project_pass(environment: dict[str, str], forks: Any, project: Path) -> None:
    # A sample; tests/conformance/test_first_party.py runs the suites of all.
    code, out, err = forks.run(("plugins", "check", "network", "tool", "-o", "json"), cwd=project, env=environment)
    assert code == 0, err
    for plugin in orjson.loads(out)["plugins"]:
        assert plugin["notTested"] == []
        assert all(one["passed"] and not one["skipped"] for one in plugin["suites"])


# ------------------------------------------------------------------------------------------------ parts


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("AssertionError: it has no name\nassert ''\n +  where '' = kind.name", "it has no name"),
        ("AssertionError: two\nlines\nassert []", "two\nlines"),
        ("assert 1 == 2", "assert 1 == 2"),
        ("ZeroDivisionError: division by zero", "ZeroDivisionError: division by zero"),
    ],
)
def test_a_message_is_shown_without_the_assertion_when_it_says_enough(message: str, words: str) -> None:
    assert in_words(message) == words


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer", "exclusiveMinimum": 3}, "b": {}}},
        {"type": "array", "minItems": 2, "items": {"enum": ["x", "y"]}},
        {"type": "string", "minLength": 9, "maxLength": 10},
        {"type": ["null", "integer"], "multipleOf": 7, "minimum": 8},
        {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/size"}], "$defs": {"size": {"type": "number", "minimum": 0.5}}},
        {"allOf": [{"type": "object", "required": ["a"]}, {"properties": {"a": {"const": 5}}}]},
        {"type": "object", "minProperties": 2, "additionalProperties": {"type": "boolean"}},
        {"type": "string", "format": "date-time"},
        {"minimum": 3, "maximum": 3},
    ],
)
def test_the_smallest_value_fits_its_schema(schema: dict[str, Any]) -> None:
    import jsonschema

    jsonschema.validate(smallest(schema), schema)


def test_a_kind_whose_schema_says_enough_has_a_smallest_manifest() -> None:
    registry = registry_of(PluginManager())
    made = {kind.kind: smallest_manifest(kind, registry) for kind in registry}
    assert made["Agent"] == {
        "apiVersion": "mastra.ai/v1",
        "kind": "Agent",
        "metadata": {"name": "sample", "namespace": "default"},
    }
    # The rules of these look at several fields.
    assert made["Tool"] is None
