"""apply, diff, validate, delete, export: from files to the store and back."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from kastra_core import manifests

Kastra = Callable[..., Any]


def test_apply_tells_what_became_of_each_resource_and_makes_the_store(
    kastra: Kastra, widgets: str, project: Path
) -> None:
    done = kastra("apply", "-f", widgets)
    assert done.code == 0
    assert done.out == "widget.acme.example/anvil created\nwidget.acme.example/bolt created\n"
    assert "(new)" in done.err
    assert "2 applied (2 created)" in done.err
    assert (project / ".kastra" / "kastra.db").is_file()


def test_apply_again_changes_nothing(kastra: Kastra, widgets: str) -> None:
    kastra("apply", "-f", widgets)
    done = kastra("apply", "-f", widgets)
    assert done.out == "widget.acme.example/anvil unchanged\nwidget.acme.example/bolt unchanged\n"
    assert "(new)" not in done.err


def test_apply_reports_configured_for_an_edit(kastra: Kastra, widgets: str, project: Path) -> None:
    kastra("apply", "-f", widgets)
    text = (project / widgets).read_text(encoding="utf-8").replace("size: 7", "size: 8")
    (project / widgets).write_text(text, encoding="utf-8")
    assert "widget.acme.example/anvil configured" in kastra("apply", "-f", widgets).out


def test_apply_says_what_is_not_ready_and_why_and_still_succeeds(kastra: Kastra, project: Path) -> None:
    (project / "w.yaml").write_text(
        "apiVersion: acme.example/v1\nkind: Widget\nmetadata: {name: a}\nspec: {size: 1, needs: b}\n", encoding="utf-8"
    )
    done = kastra("apply", "-f", "w.yaml")
    assert done.code == 0
    assert "created (not ready: MissingWidget: Widget default/b is missing; apply it)" in done.out
    assert "1 not ready" in done.err


def test_a_status_in_the_input_is_ignored_with_a_note(kastra: Kastra, project: Path) -> None:
    (project / "w.yaml").write_text(
        "apiVersion: acme.example/v1\nkind: Widget\nmetadata: {name: a}\nspec: {size: 1}\nstatus: {phase: Odd}\n",
        encoding="utf-8",
    )
    done = kastra("apply", "-f", "w.yaml")
    assert "note: status is ignored: controllers write it (widget.acme.example/a)" in done.err
    assert kastra("get", "widget", "a", "-o", "jsonpath={.status.phase}").out == "Ready\n"


@pytest.mark.parametrize("flag", ["--wait=false", "--no-wait"])
def test_apply_without_waiting_leaves_reconciling_to_others(kastra: Kastra, widgets: str, flag: str) -> None:
    done = kastra("apply", "-f", widgets, flag)
    assert done.code == 0
    assert "settled" not in done.err
    assert kastra("get", "widget", "anvil", "-o", "jsonpath={.status}").out == ""


def test_a_dry_run_writes_nothing_and_makes_no_store(kastra: Kastra, widgets: str, project: Path) -> None:
    done = kastra("apply", "-f", widgets, "--dry-run=client")
    assert "widget.acme.example/anvil created (dry run)" in done.out
    assert not (project / ".kastra").exists()


def test_apply_prints_objects_as_json(kastra: Kastra, widgets: str) -> None:
    data = orjson.loads(kastra("apply", "-f", widgets, "-o", "json").out)
    assert [item["metadata"]["name"] for item in data["items"]] == ["anvil", "bolt"]


def test_apply_reads_standard_input(shell: Kastra) -> None:
    text = "apiVersion: acme.example/v1\nkind: Widget\nmetadata: {name: piped}\nspec: {size: 1}\n"
    assert shell("apply", "-f", "-", stdin=text).out == "widget.acme.example/piped created\n"


BAD = {
    "syntax": ("kind: [Widget\n", "bad.yaml:"),
    "tab": ("kind: Widget\n\tname: x\n", "bad.yaml:2"),
    "duplicate key": ("kind: Widget\nkind: Widget\n", "bad.yaml:2"),
    "wrong type": (
        "apiVersion: acme.example/v1\nkind: Widget\nmetadata: {name: a}\nspec:\n  size: big\n",
        "bad.yaml:5:9: Widget default/a: spec.size: expected an integer, found string 'big'",
    ),
    "unknown field": (
        "apiVersion: acme.example/v1\nkind: Widget\nmetadata: {name: a}\nspec:\n  size: 1\n  colour: red\n",
        "did you mean 'color'?",
    ),
    "unknown kind": ("apiVersion: acme.example/v1\nkind: Wigdet\nmetadata: {name: a}\n", "did you mean 'Widget'?"),
    "no name": ("apiVersion: acme.example/v1\nkind: Widget\nspec: {size: 1}\n", "bad.yaml:"),
    "a rule of the kind": (
        "apiVersion: acme.example/v1\nkind: Widget\nmetadata: {name: a}\nspec:\n  size: 0\n",
        "bad.yaml:5:9: Widget default/a: spec.size: must be at least 1, found 0",
    ),
    "the same resource twice": (
        "apiVersion: acme.example/v1\nkind: Widget\nmetadata: {name: a}\nspec: {size: 1}\n---\n"
        "apiVersion: acme.example/v1\nkind: Widget\nmetadata: {name: a}\nspec: {size: 2}\n",
        "the first is at bad.yaml:1",
    ),
    "empty file": ("", "bad.yaml"),
    "alias bomb": (
        "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"{n}: &{n} [" + ", ".join([f"*{p}"] * 10) + "]\n" for p, n in zip("abcdefgh", "bcdefghi")),
        "bad.yaml",
    ),
}


@pytest.mark.parametrize("command", ["apply", "validate"])
@pytest.mark.parametrize("case", BAD)
def test_wrong_input_is_told_with_its_place_and_nothing_is_written(
    kastra: Kastra, project: Path, case: str, command: str
) -> None:
    text, told = BAD[case]
    (project / "bad.yaml").write_text(text, encoding="utf-8")
    done = kastra(command, "-f", "bad.yaml")
    assert done.code == 1
    assert told in done.err
    assert done.err.rstrip().endswith("nothing was written") == (command == "apply")
    assert "Traceback" not in done.err
    assert not (project / ".kastra").exists()


def test_bytes_that_are_no_utf_8_are_told(kastra: Kastra, project: Path) -> None:
    (project / "bad.yaml").write_bytes(b"kind: \xff\xfe\xff\n")
    done = kastra("apply", "-f", "bad.yaml")
    assert done.code == 1
    assert "bad.yaml" in done.err


def test_all_problems_of_all_files_come_at_once(kastra: Kastra, project: Path, widgets: str) -> None:
    head = "apiVersion: acme.example/v1\nkind: Widget\nmetadata: {name: %s}\n"
    (project / "one.yaml").write_text(head % "x" + "spec: {size: a, colour: red}\n", encoding="utf-8")
    (project / "two.yaml").write_text(head % "y" + "spec: {}\n", encoding="utf-8")
    done = kastra("apply", "-f", ".")
    assert done.code == 1
    assert "one.yaml:4" in done.err
    assert "two.yaml:4" in done.err
    assert "3 problems in 2 files; nothing was written" in done.err
    assert kastra("get", "widgets").out == ""


def test_a_rejected_change_leaves_an_existing_store_as_it_was(kastra: Kastra, project: Path, widgets: str) -> None:
    kastra("apply", "-f", widgets)
    before = kastra("get", "widgets", "-o", "json").out
    text = (project / widgets).read_text(encoding="utf-8")
    (project / widgets).write_text(text.replace("size: 7", "size: 9").replace("size: 2", "size: two"), encoding="utf-8")
    assert kastra("apply", "-f", widgets).code == 1
    assert kastra("get", "widgets", "-o", "json").out == before


def test_a_directory_without_manifests_is_told(kastra: Kastra, project: Path) -> None:
    (project / "empty").mkdir()
    done = kastra("apply", "-f", "empty")
    assert done.code == 1
    assert "holds no .yaml, .yml or .json file" in done.err


def test_validate_counts_what_is_right_without_a_store(kastra: Kastra, widgets: str, project: Path) -> None:
    done = kastra("validate", "-f", widgets)
    assert (done.code, done.out) == (0, "2 resources are valid\n")
    assert not (project / ".kastra").exists()


def test_a_field_of_another_manager_is_a_conflict_until_it_is_forced(
    kastra: Kastra, widgets: str, project: Path
) -> None:
    kastra("apply", "-f", widgets, "--field-manager", "somebody")
    text = (project / widgets).read_text(encoding="utf-8").replace("size: 7", "size: 8")
    (project / widgets).write_text(text, encoding="utf-8")
    done = kastra("apply", "-f", widgets)
    assert done.code == 1
    assert "spec.size (set by somebody)" in done.err
    assert kastra("apply", "-f", widgets, "--force-conflicts").code == 0


# ------------------------------------------------------------------------------------------------ diff


def test_diff_ends_with_0_when_there_is_none_and_with_1_and_a_diff_when_there_is(
    kastra: Kastra, widgets: str, project: Path
) -> None:
    kastra("apply", "-f", widgets)
    same = kastra("diff", "-f", widgets)
    assert (same.code, same.out) == (0, "")
    text = (project / widgets).read_text(encoding="utf-8").replace("size: 7", "size: 8")
    (project / widgets).write_text(text, encoding="utf-8")
    changed = kastra("diff", "-f", widgets)
    assert changed.code == 1
    assert "-  size: 7\n+  size: 8\n" in changed.out
    assert "bolt" not in changed.out


def test_diff_of_a_new_resource_is_all_additions_and_makes_no_store(
    kastra: Kastra, widgets: str, project: Path
) -> None:
    done = kastra("diff", "-f", widgets)
    assert done.code == 1
    assert "+  size: 7\n" in done.out
    assert "uid" not in done.out
    assert not (project / ".kastra").exists()


def test_diff_ends_with_more_than_1_for_an_error(kastra: Kastra) -> None:
    done = kastra("diff", "-f", "nowhere.yaml")
    assert done.code == 2
    assert "no such file" in done.err


# ------------------------------------------------------------------------------------------------ delete


def test_delete_waits_until_finalizers_are_gone(kastra: Kastra, widgets: str) -> None:
    kastra("apply", "-f", widgets)
    assert kastra("get", "widget", "bolt", "-o", "jsonpath={.metadata.finalizers[0]}").out == "acme.example/widget\n"
    done = kastra("delete", "widget", "bolt")
    assert (done.code, done.out) == (0, "widget.acme.example/bolt deleted\n")
    assert kastra("get", "widgets", "-o", "name").out == "widget.acme.example/anvil\n"


def test_delete_says_who_holds_a_resource_when_time_is_up(kastra: Kastra, widgets: str) -> None:
    kastra("apply", "-f", widgets)
    done = kastra("--no-plugin", "acme", "delete", "Widget.acme.example", "bolt", "--timeout", "0.2s")
    assert done.code == 1
    assert "held by acme.example/widget" in done.err
    assert "--drop-finalizers" in done.err


@pytest.mark.parametrize(
    ("args", "left"),
    [
        (("-f", "widgets.yaml"), ""),
        (("widgets", "--all"), ""),
        (("widgets", "-l", "line=heavy"), "widget.acme.example/bolt\n"),
        (("wi/anvil", "widget/bolt"), ""),
    ],
)
def test_delete_takes_files_selectors_and_slashed_names(
    kastra: Kastra, widgets: str, args: tuple[str, ...], left: str
) -> None:
    kastra("apply", "-f", widgets)
    assert kastra("delete", *args).code == 0
    assert kastra("get", "widgets", "-o", "name").out == left


def test_delete_of_what_a_system_makes_again_says_so(kastra: Kastra, project: Path) -> None:
    (project / "s.yaml").write_text(
        "apiVersion: mastra.ai/v1\nkind: System\nmetadata: {name: shop}\n"
        "spec: {agents: [{name: a, spec: {instructions: x, model: openai/m}}]}\n",
        encoding="utf-8",
    )
    kastra("apply", "-f", "s.yaml")
    done = kastra("delete", "agent/a")
    assert (done.code, done.out) == (0, "agent.mastra.ai/a deleted\n")
    assert done.err == (
        "note: system.mastra.ai/shop owns agent.mastra.ai/a and makes it again; "
        "take it out of system.mastra.ai/shop, or delete that\n"
    )
    assert kastra("delete", "system/shop").err == ""


def test_delete_of_a_whole_kind_must_be_meant(kastra: Kastra, widgets: str) -> None:
    kastra("apply", "-f", widgets)
    done = kastra("delete", "widgets")
    assert done.code == 1
    assert "--all" in done.err
    assert len(kastra("get", "widgets", "--no-headers").out.splitlines()) == 2


def test_delete_of_a_missing_name_fails_unless_that_is_fine(kastra: Kastra, widgets: str) -> None:
    kastra("apply", "-f", widgets)
    done = kastra("delete", "widget", "anvli")
    assert done.code == 1
    assert "did you mean 'Widget default/anvil'?" in done.err
    assert kastra("delete", "widget", "anvli", "--ignore-not-found").code == 0


# ------------------------------------------------------------------------------------------------ export


def test_what_is_exported_can_be_applied_elsewhere(kastra: Kastra, widgets: str, project: Path) -> None:
    kastra("apply", "-f", widgets)
    exported = kastra("export", "-A").out
    for word in ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "status", "Event"):
        assert word not in exported
    assert "铁砧" in exported
    (project / "exported.yaml").write_text(exported, encoding="utf-8")
    assert kastra("diff", "-f", "exported.yaml").code == 0
    other = kastra("--store", "file:other.db", "apply", "-f", "exported.yaml")
    assert other.out == "widget.acme.example/anvil created\nwidget.acme.example/bolt created\n"


def test_export_writes_a_file_per_resource(kastra: Kastra, widgets: str, project: Path) -> None:
    kastra("apply", "-f", widgets)
    assert kastra("export", "widgets", "--output-dir", "out").code == 0
    files = sorted(str(file.relative_to(project)) for file in (project / "out").rglob("*.yaml"))
    assert files == ["out/default/widget-anvil.yaml", "out/default/widget-bolt.yaml"]


def test_export_as_json_is_a_list_that_reads_as_its_items(kastra: Kastra, widgets: str) -> None:
    kastra("apply", "-f", widgets)
    text = kastra("export", "-o", "json", "-l", "line=heavy").out
    assert [document.data["metadata"]["name"] for document in manifests.parse(text)] == ["anvil"]


def test_a_store_that_is_no_database_is_told_with_exit_code_4(kastra: Kastra, project: Path) -> None:
    (project / "junk.db").write_bytes(b"this is no database, though long enough to look like one" * 20)
    done = kastra("--store", "file:junk.db", "get", "widgets")
    assert done.code == 4
    assert "junk.db" in done.err
    assert "Traceback" not in done.err


def test_the_store_is_a_database_that_other_programs_can_read(kastra: Kastra, widgets: str, project: Path) -> None:
    kastra("apply", "-f", widgets)
    connection = sqlite3.connect(f"file:{project / '.kastra' / 'kastra.db'}?mode=ro", uri=True)
    try:
        assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
    finally:
        connection.close()
