"""``kastra plugins`` and ``kastra plugins list``: the group, the table, and where distributions come from."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import click
import orjson
import pytest

from kastra_core.cli.app import app
from kastra_core.cli.plugins import complete_plugins
from kastra_core.cli.plugins_installed import Installed, Place, place_of
from kastra_core.cli.plugins_requirements import holds, meets, parse_requirement, text_of

Kastra = Callable[..., Any]


def rows(out: str) -> dict[str, list[str]]:
    return {line.split()[0]: line.split() for line in out.splitlines()}


# ------------------------------------------------------------------------------------------------ the group


def test_without_a_command_it_is_list(kastra: Kastra) -> None:
    for args in ((), ("-o", "wide"), ("-o", "json"), ("-o", "yaml"), ("-o", "name")):
        assert kastra("plugins", *args) == kastra("plugins", "list", *args)


def test_the_help_names_every_command(kastra: Kastra) -> None:
    out = kastra("plugins", "--help").out
    told = rows(out.partition("Commands:\n")[2])
    assert list(told) == ["list", "show", "doctor", "lock", "check", "new"]


@pytest.mark.parametrize("name", ["list", "show", "doctor", "lock", "check", "new"])
def test_each_command_has_help_and_is_imported_only_then(kastra: Kastra, name: str) -> None:
    done = kastra("plugins", name, "--help")
    assert done.code == 0, done.err
    assert f"Usage: kastra plugins {name}" in done.out


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("acme",), "it is a plugin's name: kastra plugins show acme"),
        (("kastra-core",), "kastra plugins show kastra-core"),
        (("shwo", "acme"), "did you mean 'show'?"),
        (("zzz",), "commands are list, show, doctor, lock, check, new"),
        (("-o", "json", "show", "acme"), "write -o json after the command: kastra plugins show -o json"),
        (("-o", "xml"), "allowed are wide, yaml, json, name"),
    ],
)
def test_a_wrong_command_line_is_told_with_what_to_write(kastra: Kastra, args: tuple[str, ...], told: str) -> None:
    done = kastra("plugins", *args)
    assert done.code == 2
    assert told in done.err


def test_names_of_plugins_are_completed_and_no_plugin_is_imported(
    plugins: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugins.install("acne", "raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(plugins.path))
    context = click.Context(app)

    def completed(text: str) -> list[str]:
        return [item.value for item in complete_plugins(context, click.Argument(["name"]), text)]

    assert completed("ac") == ["acme", "acne"]
    assert "kastra-core" in completed("ka")
    assert "acne_plugin" not in sys.modules


def test_show_and_check_complete_them(shell: Kastra) -> None:
    for name in ("show", "check"):
        words = {"COMP_WORDS": f"kastra plugins {name} acm", "COMP_CWORD": "3"}
        assert shell(_KASTRA_COMPLETE="bash_complete", **words).out == "plain,acme\n"


# ------------------------------------------------------------------------------------------------ the table


def test_a_plugin_is_listed_with_where_it_comes_from_and_what_it_offers(shell: Kastra, plugins: Any) -> None:
    found = rows(shell("plugins").out)
    assert found["NAME"] == ["NAME", "DISTRIBUTION", "VERSION", "STATE", "FROM", "OFFERS"]
    assert " ".join(found["acme"]) == "acme acme 1.0 loaded PYTHONPATH 1 kind, 1 controller, 1 command"
    assert found["kastra-core"][4] in ("editable", "wheel")
    wide = rows(shell("plugins", "-o", "wide").out)["acme"]
    assert wide[4:7] == ["PYTHONPATH", str(plugins.path), "acme_widgets"]


def test_names_are_one_to_a_line(kastra: Kastra) -> None:
    names = kastra("plugins", "-o", "name").out.split()
    assert names == sorted(names)
    assert {"acme", "kastra-core"} <= set(names)


def test_json_says_where_and_how(kastra: Kastra, plugins: Any) -> None:
    every = orjson.loads(kastra("plugins", "-o", "json").out)["plugins"]
    (acme,) = [plugin for plugin in every if plugin["name"] == "acme"]
    assert acme["installed"] == {"how": "path", "path": str(plugins.path), "editable": False}


# ------------------------------------------------------------------------------------------------ places

GIT = '{"url": "https://me:pass@git.example/acme.git", "vcs_info": {"vcs": "git", "commit_id": "c0ffee"}}'


@pytest.mark.parametrize(
    ("direct", "place"),
    [
        ('{"url": "file:///src/ac%20me", "dir_info": {"editable": true}}', Place(how="editable", path="/src/ac me")),
        ('{"url": "file:///src/acme", "dir_info": {}}', Place(how="directory", path="/src/acme")),
        (
            '{"url": "file:///tmp/acme-1.0.whl", "archive_info": {}}',
            Place(how="archive", path="", url="/tmp/acme-1.0.whl"),
        ),
        (
            '{"url": "https://a:b@files.example/acme.whl?key=k", "archive_info": {}}',
            Place(how="archive", path="", url="https://***@files.example/acme.whl?key=***"),
        ),
        (GIT, Place(how="vcs", path="", url="git+https://***@git.example/acme.git@c0ffee")),
        ("[]", Place(how="path", path="")),
        ("{", Place(how="path", path="")),
    ],
)
def test_where_a_distribution_comes_from(tmp_path: Path, direct: str, place: Place) -> None:
    info = tmp_path / "acme-1.0.dist-info"
    info.mkdir()
    (info / "direct_url.json").write_text(direct, encoding="utf-8")
    found = place_of(str(info))
    assert (found.how, found.url) == (place.how, place.url)
    assert found.path == (place.path or str(tmp_path))


def test_what_an_index_gave_is_a_wheel() -> None:
    found = Installed().get("Click")
    assert found is not None
    assert found.version == distribution("click").version
    assert found.place.how == "wheel"


def test_metadata_are_read_as_they_are(tmp_path: Path) -> None:
    info = tmp_path / "acme_x-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: Acme.X\nVersion: 1.0.post1\nLicense: UNKNOWN\n"
        "Classifier: Development Status :: 3 - Alpha\nClassifier: License :: OSI Approved :: MIT License\n"
        "Project-URL: Changelog, https://acme.example/news\nProject-URL: Homepage, https://acme.example\n",
        encoding="utf-8",
    )
    found = Installed([str(tmp_path)]).get("acme-x")
    assert found is not None
    assert (found.name, found.version, found.licence) == ("Acme.X", "1.0.post1", "MIT License")
    assert found.home == "https://acme.example"


# ------------------------------------------------------------------------------------------------ versions


@pytest.mark.parametrize(
    ("version", "specifiers", "fits"),
    [
        ("1.4", ">=1.2,<2", True),
        ("1.1", ">=1.2", False),
        ("2.0rc1", ">=1", True),
        ("1.0+local", "==1.0", True),
        ("latest", ">=1", None),
        ("1.0", ">= one", None),
        ("1.0", "", True),
    ],
)
def test_an_installed_version_is_within_specifiers_or_not(version: str, specifiers: str, fits: bool | None) -> None:
    assert meets(version, specifiers) is fits


@pytest.mark.parametrize("line", ["", "-x", "a b", "a >= ", "a [x", "a>=1 ~ 2", "a; os_name = 'nt'"])
def test_what_is_no_requirement_is_none(line: str) -> None:
    assert parse_requirement(line) is None


@pytest.mark.parametrize(
    ("line", "text", "now", "with_extra"),
    [
        ("kastra_core [x, cel] >= 0.1", "kastra_core[cel,x]>=0.1", True, True),
        ("a @ https://acme.example/a-1.whl ; extra == 'remote'", "a @ https://acme.example/a-1.whl", False, True),
        ("a>=1; python_version < '3'", "a>=1", False, False),
    ],
)
def test_a_requirement_holds_here_or_not(line: str, text: str, now: bool, with_extra: bool) -> None:
    requirement = parse_requirement(line)
    assert requirement is not None
    assert (text_of(requirement), holds(requirement), holds(requirement, "remote")) == (text, now, with_extra)


def test_what_a_plugin_prints_does_not_get_into_the_data(shell: Kastra, plugins: Any) -> None:
    plugins.install("loud", "print('hello')\n")
    done = shell("plugins", "-o", "json")
    assert "loud" in {plugin["name"] for plugin in orjson.loads(done.out)["plugins"]}
    assert done.err == "hello\n"


def test_who_stops_reading_does_not_change_the_exit_code(
    kastra: Kastra, plugins: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(text: str) -> None:
        raise BrokenPipeError

    plugins.install("sick", "1 / 0")
    monkeypatch.setattr("kastra_core.cli.plugins.emit", broken)
    for words in (["plugins"], ["plugins", "doctor"], ["plugins", "show", "sick"]):
        assert kastra(*words).code == 3
