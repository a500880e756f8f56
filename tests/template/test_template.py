"""What the template renders is whole and clean, and answers of which nothing good comes are refused."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import kastra_core
from kastra_core.cli.plugins_new import Template, template_directory
from kastra_core.errors import UserError
from rendered_plugins import COMBINATIONS, FEATURES, Rendered, quickly, render

ROOT = Path(__file__).resolve().parents[2]
RUFF = Path(sys.executable).with_name("ruff")
LEFT_OVER = re.compile(r"\{%|%\}|\{#|cookiecutter|TODO|FIXME|XXX|lorem", re.IGNORECASE)
# Braces of the CI file's own expressions are the only ones that may be doubled.
JINJA = re.compile(r"(?<!\$)\{\{(?! )|\{\{ cookiecutter")
LICENSES = {
    "Apache-2.0": ("Apache License", "END OF TERMS AND CONDITIONS", 200),
    "MIT": ("MIT License", "OTHER DEALINGS IN THE\nSOFTWARE.", 20),
    "BSD-3-Clause": ("BSD 3-Clause License", "POSSIBILITY OF SUCH DAMAGE.", 25),
}
ANSWERS: dict[str, Any] = {
    "plugin_name": "acme",
    "group": "acme.example",
    "kind": "Greeting",
    "author": "Ada Lovelace",
    "description": "Says hello.",
    "license": "MIT",
    "typed_kind": True,
}
BAD = [
    ({"plugin_name": ""}, "plugin_name ''"),
    ({"plugin_name": "my plugin"}, "plugin_name 'my plugin'"),
    ({"plugin_name": "Acme"}, "plugin_name 'Acme'"),
    ({"plugin_name": "acme_notes"}, "plugin_name 'acme_notes'"),
    ({"plugin_name": "acme--notes"}, "plugin_name 'acme--notes'"),
    ({"plugin_name": "1acme"}, "plugin_name '1acme'"),
    ({"plugin_name": "../acme"}, "plugin_name '../acme'"),
    ({"plugin_name": "acme\n"}, "plugin_name 'acme"),
    ({"plugin_name": "a" * 31}, "at most 30 characters"),
    ({"plugin_name": "core"}, "plugin_name 'core' is the core's"),
    ({"group": "acme"}, "group 'acme'"),
    ({"group": "Acme.example"}, "group 'Acme.example'"),
    ({"group": "acme..example"}, "group 'acme..example'"),
    ({"group": f"{'a' * 60}.b"}, "at most 60 characters"),
    ({"kind": "greeting"}, "kind 'greeting'"),
    ({"kind": "Good Bye"}, "kind 'Good Bye'"),
    ({"kind": "Good-Bye"}, "kind 'Good-Bye'"),
    ({"kind": "K" * 31}, "at most 30"),
    ({"author": " "}, "author ' '"),
    ({"author": "Ada\nLovelace"}, "author 'Ada"),
    ({"description": "{{ 1 + 1 }}"}, "description '{{ 1 + 1 }}'"),
    ({"description": "d" * 121}, "at most 120 characters"),
    ({"typed_kind": False}, "the plugin adds nothing; choose at least one of typed_kind, crd_kind, store"),
]


def _ruff(directory: Path, *arguments: str) -> str:
    """What ruff finds, each project by its own configuration; "" when all is well."""
    command: list[str | Path] = [RUFF, *arguments, "--no-cache", "."]
    done = subprocess.run(command, cwd=directory, capture_output=True, encoding="utf-8", check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def _faults(plugin: Rendered) -> list[str]:
    """What is wrong with the rendered texts."""
    found = []
    for path in plugin.files:
        name = str(path.relative_to(plugin.directory.parent))
        text = path.read_text(encoding="utf-8")
        if LEFT_OVER.search(name) or "{" in name:
            found.append(f"{name}: the name is not rendered")
        if path.name != "LICENSE" and (LEFT_OVER.search(text) or JINJA.search(text)):
            found.append(f"{name}: something of the template is left")
        if text and (
            not text.endswith("\n") or text.endswith("\n\n") or (text.startswith("\n") and path.name != "LICENSE")
        ):
            found.append(f"{name}: blank lines at an end, or none")
        if "\n\n\n" in text and path.suffix != ".py":
            found.append(f"{name}: two blank lines in a row")
        if any(line != line.rstrip() for line in text.splitlines()):
            found.append(f"{name}: blanks at the end of a line")
        if path.suffix == ".py":
            compile(text, name, "exec")
        elif path.suffix in (".yml", ".yaml"):
            list(yaml.safe_load_all(text))
    return found


def _dead_links(plugin: Rendered) -> list[str]:
    pages = [path for path in plugin.files if path.suffix == ".md"]
    links = [
        (page, link) for page in pages for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
    ]
    return [f"{page}: {link}" for page, link in links if not (page.parent / link).is_file()]


def test_every_combination_is_rendered_clean_and_passes_lint(tmp_path: Path) -> None:
    licenses = list(LICENSES)
    with quickly():
        plugins = [
            render(tmp_path, f"p{at:02}", features, license=licenses[at % 3], author='Ada "Countess" \\ Lovelace')
            for at, features in enumerate(COMBINATIONS)
        ]
    assert len(plugins) == 63
    for features, plugin in zip(COMBINATIONS, plugins, strict=True):
        assert _faults(plugin) == []
        assert _dead_links(plugin) == []
        assert plugin.project["project"]["authors"] == [{"name": 'Ada "Countess" \\ Lovelace'}]
        pages = {path.stem for path in plugin.files if path.parent.name == "docs"}
        of = {"crd": "definition"}
        assert pages == {of.get(feature, feature) for feature in features}
        tests = {path.stem for path in plugin.files if path.parent.name == "tests"} - {"conftest", "test_conformance"}
        assert tests == {f"test_{page}" for page in pages}
    assert _ruff(tmp_path, "check") == ""
    assert _ruff(tmp_path, "format", "--check") == ""


@pytest.mark.parametrize("size", ["shortest", "longest"])
def test_short_and_long_names_are_rendered_as_cleanly(tmp_path: Path, size: str) -> None:
    answers = {"group": "a.b", "kind": "K", "author": "A", "description": "D"}
    if size == "longest":
        answers = {"group": f"{'g' * 29}.{'h' * 30}", "kind": "K" * 30, "author": "A" * 120, "description": "D" * 120}
    name = "a" if size == "shortest" else f"{'a' * 14}-{'b' * 15}"
    plugin = render(tmp_path, name, FEATURES, **answers)
    assert _faults(plugin) == []
    assert _ruff(tmp_path, "check") == ""
    assert _ruff(tmp_path, "format", "--check") == ""


@pytest.mark.parametrize(
    ("kind", "plural"),
    [("Note", "notes"), ("Box", "boxes"), ("Policy", "policies"), ("Key", "keys"), ("Dish", "dishes")],
)
def test_plurals_are_those_of_english_nouns(tmp_path: Path, kind: str, plural: str) -> None:
    hooks = (render(tmp_path, "acme", ["kind"], kind=kind).directory / "src/kastra_plugin_acme/hooks.py").read_text()
    assert f'plural="{plural}"' in hooks


@pytest.mark.parametrize("license", LICENSES)
def test_licence_is_there_in_full(tmp_path: Path, license: str) -> None:
    plugin = render(tmp_path, "acme", ["command"], license=license, author="Ada Lovelace")
    text = (plugin.directory / "LICENSE").read_text(encoding="utf-8")
    title, end, lines = LICENSES[license]
    assert title in text
    assert end in text
    assert len(text.splitlines()) >= lines
    assert license == "Apache-2.0" or re.search(r"Copyright \(c\) 20\d\d,? Ada Lovelace\n", text)
    assert plugin.project["project"]["license"] == license


def test_a_plugin_wants_the_core_that_it_was_rendered_by(tmp_path: Path) -> None:
    required = render(tmp_path, "acme", ["command"]).project["project"]["dependencies"]
    major, minor, _ = kastra_core.__version__.split(".")
    assert f"kastra-core>={kastra_core.__version__},<{major}.{int(minor) + 1}" in required


def test_a_plugin_uses_public_names_only(tmp_path: Path) -> None:
    public = set(re.findall(r"^python ([\w.]+):", (ROOT / "docs/api.txt").read_text(encoding="utf-8"), re.MULTILINE))
    used = set()
    for path in render(tmp_path, "acme", FEATURES).files:
        if path.suffix == ".py":
            imports = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
            used |= {f"{one.module}.{alias.name}" for one in imports for alias in one.names}
    ours = {name for name in used if name.startswith("kastra_core.")}
    assert len(ours) > 50
    assert ours - public == set()


def test_every_question_has_its_words_and_is_told_in_the_readme() -> None:
    directory = template_directory()
    questions = json.loads((directory / "cookiecutter.json").read_text(encoding="utf-8"))
    asked = [key for key in questions if not key.startswith("_")]
    assert list(questions["__prompts__"]) == asked
    readme = (directory / "README.md").read_text(encoding="utf-8")
    assert [key for key in asked if f"`{key}`" not in readme] == []
    assert list(Template().features.values()) == list(FEATURES)


@pytest.mark.parametrize(("changed", "told"), BAD)
def test_bad_answers_are_refused_before_anything_is_written(tmp_path: Path, changed: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError) as caught:
        Template().render({**ANSWERS, **changed}, tmp_path)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value).replace("\\n", "")
    assert list(tmp_path.iterdir()) == []


def test_all_that_is_wrong_is_told_at_once() -> None:
    answers = {**ANSWERS, "group": "acme", "kind": "greeting", "author": ""}
    assert [line.split()[0] for line in Template().problems(answers)] == ["group", "kind", "author"]


def _cookiecutter(directory: Path, **answers: str) -> subprocess.CompletedProcess[str]:
    """Render with cookiecutter's own command, as somebody does who has no Kastra yet; its hook runs."""
    home = directory / "home"
    home.mkdir()
    environment = {**os.environ, "HOME": str(home), "TMPDIR": str(home)}
    command = [
        sys.executable,
        "-m",
        "cookiecutter",
        "--no-input",
        "-o",
        str(directory / "out"),
        str(template_directory()),
    ]
    command += [f"{key}={value}" for key, value in answers.items()]
    return subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", check=False)


def test_cookiecutter_itself_renders_the_same(tmp_path: Path) -> None:
    done = _cookiecutter(tmp_path, plugin_name="acme", kind="Greeting", store="yes", description='Says "hello".')
    assert done.returncode == 0, done.stderr
    theirs = Rendered(tmp_path / "out/kastra-plugin-acme")
    ours = render(tmp_path, "acme", ["kind", "store"], kind="Greeting", description='Says "hello".')
    names = [path.relative_to(ours.directory) for path in ours.files]
    assert [path.relative_to(theirs.directory) for path in theirs.files] == names
    assert [path.read_bytes() for path in theirs.files] == [path.read_bytes() for path in ours.files]


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ({"plugin_name": "../my plugin"}, "plugin_name '../my plugin'"),
        ({"typed_kind": "no"}, "the plugin adds nothing"),
    ],
)
def test_its_hook_refuses_what_is_wrong(tmp_path: Path, answers: dict[str, str], told: str) -> None:
    done = _cookiecutter(tmp_path, **answers)
    assert done.returncode != 0
    assert told in done.stderr
    assert not any(path.is_file() for path in (tmp_path / "out").rglob("*"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "out"]


def test_what_exists_is_not_overwritten(tmp_path: Path) -> None:
    kept = tmp_path / "kastra-plugin-acme/notes.txt"
    kept.parent.mkdir()
    kept.write_text("mine")
    with pytest.raises(UserError, match=r"kastra-plugin-acme exists; .* another --output-dir"):
        Template().render(ANSWERS, tmp_path)
    assert [path.read_text() for path in tmp_path.rglob("*") if path.is_file()] == ["mine"]
