"""A plugin is uninstalled whose resources are stored: they are kept, told with its name, and work when it is back."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

HERE = Path(__file__).parent
Shell = Callable[..., Any]
WIDGET = "Widget.acme.example is of acme 1.0, which is not installed"


class Shelf:
    """Where what is uninstalled is put meanwhile."""

    def __init__(self, plugins: Any, path: Path) -> None:
        self._site, self._path = plugins.path, path

    def uninstall(self) -> None:
        shutil.move(self._site, self._path)
        self._site.mkdir()

    def install(self) -> None:
        self._site.rmdir()
        shutil.move(self._path, self._site)


@pytest.fixture
def shelf(plugins: Any, tmp_path: Path) -> Shelf:
    return Shelf(plugins, tmp_path / "shelf")


@pytest.fixture
def orphaned(shell: Shell, shelf: Shelf, widgets: str) -> Shell:
    """``kastra`` in a project with two widgets, whose plugin was uninstalled after they were applied."""
    assert shell("apply", "-f", widgets).code == 0
    shelf.uninstall()
    return shell


def test_resources_show_as_orphaned_with_the_name_of_the_missing_plugin(orphaned: Shell) -> None:
    for words in ("widgets", "widget", "Widget.acme.example", "all", "widget/anvil"):
        shown = orphaned("get", words)
        assert shown.code == 0, shown.err
        (line,) = [line for line in shown.out.splitlines() if "anvil" in line]
        assert line.split()[1:4] == ["Orphaned", "acme", "1.0"]
        assert f"{WIDGET}; its resources are kept as they are stored; pip install acme brings it back" in shown.err
    assert "Orphaned:" in orphaned("describe", "widget/anvil").out
    assert "orphaned: acme 1.0 is not installed" in orphaned("status").out
    status = orjson.loads(orphaned("status", "-o", "json").out)
    (row,) = [row for row in status["resources"] if row["kind"] == "Widget"]
    assert row["orphaned"] is True
    assert (row["count"], row["plugin"], row["reason"]) == (2, "acme 1.0", "not installed")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("apply -f widgets.yaml", 1),
        ("diff -f widgets.yaml", 2),
        ("validate -f widgets.yaml", 1),
        ("explain widgets", 1),
        ("run widget/anvil", 1),
    ],
)
def test_what_needs_the_kind_says_whose_it_is(orphaned: Shell, words: str, code: int) -> None:
    done = orphaned(*words.split())
    assert done.code == code
    assert "no plugin or definition offers the kind" in done.err
    assert f"note: {WIDGET}; pip install acme brings it back\n" in done.err


def test_other_unknown_kinds_are_not_told_as_missing(orphaned: Shell) -> None:
    assert "acme 1.0" not in orphaned("get", "gadgets").err


def test_nothing_is_lost_and_all_works_again_after_reinstalling(shell: Shell, shelf: Shelf, widgets: str) -> None:
    assert shell("apply", "-f", widgets).code == 0
    before = shell("get", "widgets", "-o", "yaml").out
    shelf.uninstall()
    assert shell("get", "widgets", "-o", "yaml").out == before
    assert "anvil" in shell("export", "widgets").out
    refused = shell("delete", "widget/bolt")
    assert refused.code == 1
    assert "marked for deletion, but not gone: widget.acme.example/bolt is held by " in refused.err
    assert f"{WIDGET}; pip install acme brings it back, and it goes; or `kastra delete KIND/NAME" in refused.err
    dropped = shell("delete", "widget/bolt", "--drop-finalizers")
    assert dropped.code == 0
    assert "note: what acme 1.0 keeps of widgets elsewhere is not cleaned up without it" in dropped.err
    assert "bolt" not in shell("get", "widgets").out
    shelf.install()
    shown = shell("get", "widgets")
    assert "Orphaned" not in shown.out
    assert shown.err == ""
    assert shown.out.splitlines()[1].split()[:3] == ["anvil", "7", "True"]
    assert "widget.acme.example/bolt created" in shell("apply", "-f", widgets).out


def test_a_suspended_run_waits_for_its_plugin(shell: Shell, shelf: Shelf, plugins: Any, project: Path) -> None:
    plugins.install("lines", (HERE / "acme_pipeline.py").read_text(encoding="utf-8"), module="acme_pipeline")
    (project / "line.yaml").write_text(
        "apiVersion: acme.example/v1\nkind: Pipeline\nmetadata: {name: p}\n"
        "spec: {steps: [{id: first, value: 1}, {id: asked, ask: {}}]}\n",
        encoding="utf-8",
    )
    assert shell("apply", "-f", "line.yaml").code == 0
    assert shell("run", "pipeline/p", "--name", "waits").code == 0
    assert "Suspended" in shell("get", "run/waits").out
    shelf.uninstall()
    answered = shell("run", "resume", "run/waits", "--data", "7")
    assert WIDGET.replace("Widget", "Pipeline").replace("acme 1.0", "lines 1.0") in answered.err
    assert "Suspended" in shell("get", "run/waits").out
    shelf.install()
    assert shell("run", "resume", "run/waits").code == 0
    assert "Succeeded" in shell("get", "run/waits").out


def test_a_kind_that_a_new_version_no_longer_offers_is_told_so(shell: Shell, plugins: Any, widgets: str) -> None:
    assert shell("apply", "-f", widgets).code == 0
    shutil.move(plugins.path / "acme-1.0.dist-info", plugins.path / "acme-2.0.dist-info")
    (plugins.path / "acme_widgets.py").write_text("KASTRA_API_VERSION = 1\n", encoding="utf-8")
    told = shell("get", "widgets").err
    assert "Widget.acme.example is of acme 1.0, which no longer offers it" in told
    assert "2.0 is installed: `kastra plugins show acme`; pip install acme==1.0 brings it back" in told
    shutil.move(plugins.path / "acme-2.0.dist-info", plugins.path / "another-2.0.dist-info")
    # A plugin of that name is there, but it is another distribution's.
    assert "is of acme 1.0, which is not installed; " in shell("get", "widgets").err


def test_of_a_quarantined_plugin_the_cause_is_a_command_away(shell: Shell, plugins: Any, widgets: str) -> None:
    assert shell("apply", "-f", widgets).code == 0
    (plugins.path / "acme_widgets.py").write_text("KASTRA_API_VERSION = 2\n", encoding="utf-8")
    told = shell("get", "widgets").err
    assert "it was made for version 2 of the hooks, kastra-core" in told
    assert "is of acme 1.0, which is quarantined; " in told
    assert "`kastra plugins show acme` says why" in told


def test_a_watch_shows_them_as_orphaned(orphaned: Shell, project: Path, environment: Any, forks: Any) -> None:
    words = ["get", "widgets", "-w"]
    watching = forks.begin(words, cwd=project, env=environment, stdin=-3, stdout=-1, stderr=-1, encoding="utf-8")
    try:
        assert watching.stdout.readline().split() == ["NAME", "STATUS", "PLUGIN", "AGE"]
        assert watching.stdout.readline().split()[:4] == ["anvil", "Orphaned", "acme", "1.0"]
    finally:
        watching.terminate()
    assert WIDGET in watching.communicate(timeout=30)[1]


def test_an_embedded_manifest_of_a_missing_kind_is_told_too(orphaned: Shell, project: Path) -> None:
    (project / "list.yaml").write_text(
        "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: acme.example/v1, kind: Widget, metadata: {name: x}}\n",
        encoding="utf-8",
    )
    assert f"note: {WIDGET}" in orphaned("apply", "-f", "list.yaml").err


def test_serve_says_at_its_start_what_is_orphaned(orphaned: Shell, project: Path, environment: Any, forks: Any) -> None:
    serving = forks.begin(["serve"], cwd=project, env=environment, stdin=-3, stdout=-1, stderr=-1, encoding="utf-8")
    try:
        assert "2 orphaned resources" in serving.stdout.readline()
    finally:
        serving.terminate()
    _, told = serving.communicate(timeout=30)
    assert f"warning: 2 orphaned: {WIDGET}; pip install acme brings it back" in told
