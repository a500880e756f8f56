"""``kastra migrate`` and ``export --to`` with a migrator of a plugin; ``store migrate`` of old objects."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from kastra_core.api.meta import ObjectMeta, Resource
from kastra_core.manifests import parse
from kastra_core.protocols.store import CreateResource

Kastra = Callable[..., Any]

HERE = Path(__file__).parent
WORKSHOP = """\
workshop: smithy
machines:
  Big Anvil: {size: 7, color: green, oil: 10W}
  bolt:
    size: 2
    needs: big-anvil
    key: hunter2-hunter2
    weird: {a: 1}
  press: {code: "() => 5"}
"""


@pytest.fixture
def shop(kastra: Kastra, plugins: Any, project: Path) -> Kastra:
    """``kastra``, with the migrators of ``acme_workshop.py`` and a workshop.yaml."""
    plugins.install("workshop", (HERE / "acme_workshop.py").read_text(encoding="utf-8"), module="acme_workshop")
    (project / "workshop.yaml").write_text(WORKSHOP, encoding="utf-8")
    return kastra


def test_each_resource_gets_a_file_and_the_directory_is_a_project_that_applies(shop: Kastra, project: Path) -> None:
    done = shop("migrate", "workshop.yaml", "-o", "out")
    assert (done.code, done.err) == (0, "")
    out = project / "out"
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()) == [
        ".kastra/config.yaml", "MIGRATION.md", "migrated_tools.py", "widget-big-anvil.yaml", "widget-bolt.yaml",
        "widget-press.yaml",
    ]  # fmt: skip
    text = (project / "out" / "widget-press.yaml").read_text(encoding="utf-8")
    assert text.startswith("# Migrated from workshop.yaml.\n# To do: write the function [workshop.yaml:9]\n")
    assert (project / "out" / ".kastra" / "config.yaml").read_text(encoding="utf-8") == (
        "tools:\n  python:\n    allow:\n    - migrated_tools\n"
    )
    assert shop("apply", "-f", "out", "--wait=false").code == 0
    assert shop("get", "widget", "big-anvil", "-o", "jsonpath={.spec.color}").out.strip() == "green"
    for path in (project / "out").rglob("*"):
        assert not path.is_file() or "hunter2" not in path.read_text(encoding="utf-8"), path


def test_the_summary_says_what_became_of_each_file_and_what_to_do(shop: Kastra) -> None:
    out = shop("migrate", "workshop.yaml", "-o", "out").out
    lines = out.splitlines()
    assert lines[0].split() == ["FILE", "FORMAT", "MAPPED", "CHOSEN", "DROPPED", "BY", "HAND"]
    assert lines[1].split() == ["workshop.yaml", "workshop", "5", "1", "2", "2"]
    assert lines[lines.index("To do by hand:") + 1] == "  workshop.yaml"
    assert "    9: machines.press.code: write the function" in lines
    assert "    8: machines.bolt.weird: not known to this format; nothing is made of it" in lines
    assert "  Widget/Big Anvil   big-anvil" in lines
    assert "3 resources (3 Widget)" in lines
    assert "Next: cd out && kastra apply -f ." in lines
    assert "hunter2" not in out


def test_the_json_report_has_every_row(shop: Kastra) -> None:
    done = shop("migrate", "workshop.yaml", "--dry-run", "--report", "json")
    report = orjson.loads(done.out)
    assert (done.code, report["written"], report["refused"]) == (0, [], [])
    assert report["summary"] == {"mapped": 5, "defaulted": 1, "dropped": 2, "manual": 2}
    assert report["files"] == [{"file": "workshop.yaml", "migrator": "workshop", "confidence": 0.9, "documents": 1}]
    assert {"apiVersion", "kind", "namespace", "name", "path"} == set(report["resources"][0])
    assert {
        "file": "workshop.yaml", "document": 0, "line": 3, "key": "machines.Big Anvil.size", "outcome": "mapped",
        "reason": "", "target": "Widget default/big-anvil spec.size",
    } in report["rows"]  # fmt: skip
    assert report["names"] == {"Widget/Big Anvil": "big-anvil"}


def test_the_markdown_report_is_the_one_that_is_written(shop: Kastra, project: Path) -> None:
    done = shop("migrate", "workshop.yaml", "--report", "markdown")
    assert done.out == (project / "migrated" / "MIGRATION.md").read_text(encoding="utf-8")
    assert "## To do by hand" in done.out
    assert "| workshop.yaml:4 " in done.out or "| workshop.yaml:9 " in done.out


def test_a_dry_run_writes_nothing(shop: Kastra, project: Path) -> None:
    assert "Nothing was written (dry run)." in shop("migrate", "workshop.yaml", "--dry-run").out
    assert not (project / "migrated").exists()


def test_a_dash_prints_the_manifests_and_the_report_goes_to_stderr(shop: Kastra) -> None:
    done = shop("migrate", "workshop.yaml", "-o", "-")
    assert [document.data["metadata"]["name"] for document in parse(done.out)] == ["big-anvil", "bolt", "press"]
    assert "To do by hand:" in done.err


def test_strict_ends_with_2_only_when_something_is_lost(shop: Kastra, project: Path) -> None:
    assert shop("migrate", "workshop.yaml", "-o", "a", "--strict").code == 2
    (project / "plain.yaml").write_text("workshop: w\nmachines: {a: {size: 1}}\n", encoding="utf-8")
    assert shop("migrate", "plain.yaml", "-o", "b", "--strict").code == 0


def test_the_same_migration_twice_changes_nothing_and_another_one_is_not_written_over_it(
    shop: Kastra, project: Path
) -> None:
    assert shop("migrate", "workshop.yaml").code == 0
    assert shop("migrate", "workshop.yaml").code == 0
    (project / "workshop.yaml").write_text("workshop: w\nmachines: {bolt: {size: 9}}\n", encoding="utf-8")
    before = {path: path.read_bytes() for path in (project / "migrated").rglob("*") if path.is_file()}
    done = shop("migrate", "workshop.yaml")
    assert done.code == 1
    assert "the file is there and says something else" in done.err
    assert {path: path.read_bytes() for path in (project / "migrated").rglob("*") if path.is_file()} == before
    assert shop("migrate", "workshop.yaml", "--force").code == 0
    assert "size: 9" in (project / "migrated" / "widget-bolt.yaml").read_text(encoding="utf-8")


def test_a_second_migration_goes_into_the_same_directory_and_keeps_what_somebody_wrote(
    shop: Kastra, project: Path
) -> None:
    assert shop("migrate", "workshop.yaml").code == 0
    module = project / "migrated" / "migrated_tools.py"
    written = module.read_text(encoding="utf-8")
    line = next(one for one in written.splitlines() if "raise NotImplementedError" in one)
    module.write_text(written.replace(line, "    return 5"), encoding="utf-8")
    (project / "more.yaml").write_text("workshop: w\nmachines: {saw: {code: x}, press: {size: 1}}\n", encoding="utf-8")
    refused = shop("migrate", "more.yaml")
    assert (refused.code, "widget-press.yaml" in refused.err) == (1, True)
    (project / "more.yaml").write_text("workshop: w\nmachines: {saw: {code: x}}\n", encoding="utf-8")
    done = shop("migrate", "more.yaml")
    assert done.code == 0, done.err
    space: dict[str, Any] = {}
    exec(module.read_text(encoding="utf-8"), space)
    assert space["press"]() == 5
    with pytest.raises(NotImplementedError):
        space["saw"]()
    assert (project / "migrated" / "MIGRATION.md").exists()
    assert "saw" in (project / "migrated" / "MIGRATION-2.md").read_text(encoding="utf-8")
    assert shop("migrate", "more.yaml").code == 0
    assert not (project / "migrated" / "MIGRATION-3.md").exists()
    assert shop("apply", "-f", "migrated", "--wait=false").code == 0


# ------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("workshop: w\nmachines: {a: {size: wide}}\n", "mixed.yaml:2: Widget default/a: spec.size: what it would be"),
        ("workshop: w\ninclude: [gone.yaml]\n", "there is no file 'gone.yaml'"),
        ("workshop: w\ninclude: [../../x.yaml]\n", "leads out of"),
        ("workshop: w\nfault: true\n", "the migrator 'workshop' failed at it: RuntimeError: the gears jam"),
        ("workshop: [\n", "mixed.yaml:"),
        ("other: 1\n", "no installed migrator knows this format; installed: "),
        ("", "the file is empty"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_migrated_is_refused_with_why(shop: Kastra, project: Path, text: str, told: str) -> None:
    (project / "mixed.yaml").write_text(text, encoding="utf-8")
    done = shop("migrate", "mixed.yaml", "workshop.yaml", "-o", "out")
    assert done.code == 1
    assert told in done.out
    assert "Traceback" not in done.out + done.err
    assert "Nothing was written; --keep-going writes the rest." in done.out
    assert not (project / "out").exists()
    kept = shop("migrate", "mixed.yaml", "workshop.yaml", "-o", "out", "--keep-going")
    assert kept.code == 1
    assert (project / "out" / "widget-bolt.yaml").exists()


def test_two_files_that_make_different_resources_of_one_name_are_told(shop: Kastra, project: Path) -> None:
    for name, size in (("a", 1), ("b", 2)):
        (project / f"{name}.yaml").write_text(
            f"apiVersion: acme/v0\nkind: Widget\nmetadata: {{name: x}}\nspec: {{length: {size}}}\n", encoding="utf-8"
        )
    (project / "c.yaml").write_text("workshop: w\nmachines: {x: {size: 1}}\n", encoding="utf-8")
    done = shop("migrate", "a.yaml", "c.yaml", "-o", "same")
    assert done.code == 0, done.out
    done = shop("migrate", "b.yaml", "c.yaml", "-o", "other")
    assert done.code == 1
    assert "c.yaml: Widget default/x is made of b.yaml too, and is another one there" in done.out


def test_files_of_a_directory_that_nobody_knows_are_listed_and_no_error(shop: Kastra, project: Path) -> None:
    (project / "compose.yaml").write_text("services: {}\n", encoding="utf-8")
    (project / "setup.py").write_text("x = (\n", encoding="utf-8")
    done = shop("migrate", ".", "-o", "out")
    assert done.code == 0
    assert "Files of no known format:\n  ./compose.yaml\n" in done.out


def test_a_given_file_that_a_migrator_reads_along_is_not_unknown(shop: Kastra, project: Path) -> None:
    (project / "main.yaml").write_text("workshop: w\ninclude: [more.yaml]\n", encoding="utf-8")
    (project / "more.yaml").write_text("machines: {saw: {size: 3}}\n", encoding="utf-8")
    done = shop("migrate", "main.yaml", "more.yaml", "--dry-run")
    assert (done.code, "1 resource (1 Widget)" in done.out) == (0, True), done.out
    assert shop("migrate", "more.yaml", "--dry-run").code == 1


def test_a_format_may_be_chosen_and_an_unknown_one_is_told(shop: Kastra) -> None:
    done = shop("migrate", "workshop.yaml", "--from", "workshp")
    assert (done.code, done.err) == (1, "error: there is no migrator 'workshp'; did you mean 'workshop'?\n")
    assert shop("migrate", "workshop.yaml", "--from", "workshop", "--dry-run").code == 0
    listed = shop("migrate", "--list").out
    assert ["workshop", "Acme", "workshops", "(workshop.yaml)", "yes", "workshop"] in [
        line.split() for line in listed.splitlines()
    ]


def test_a_missing_file_and_no_file_are_told(shop: Kastra) -> None:
    assert "no such file or directory; did you mean 'workshop.yaml'?" in shop("migrate", "workshops.yaml").err
    assert shop("migrate").code == 2


# ------------------------------------------------------------------------------------------ export


def test_resources_of_files_and_of_the_store_are_exported_to_a_format(shop: Kastra, project: Path) -> None:
    shop("migrate", "workshop.yaml", "-o", "out")
    done = shop("export", "-f", "out", "--to", "workshop")
    assert parse(f"kind: x\n{done.out}")[0].data["machines"]["bolt"] == {"size": 2}
    assert "Widget bolt spec.note, Widget press spec.note: dropped: no notes there" in done.err
    shop("apply", "-f", "out", "--wait=false")
    assert shop("export", "widgets", "--to", "workshop", "--output-dir", "ws").code == 0
    assert "bolt" in (project / "ws" / "workshop.yaml").read_text(encoding="utf-8")
    done = shop("export", "--to", "old-widgets")
    assert done.code == 1
    assert "reads its format and does not write it; those that can be written: " in done.err


def test_manifests_of_files_come_out_as_they_would_be_stored(shop: Kastra, widgets: str) -> None:
    done = shop("export", "-f", widgets)
    assert [document.data["metadata"]["name"] for document in parse(done.out)] == ["anvil", "bolt"]
    assert shop("export", "widgets", "-f", widgets).code == 2


# ------------------------------------------------------------------------------------------ objects of a store


def put_old(project: Path, *objects: tuple[str, str, Any]) -> None:
    """Write objects of old apiVersions into the project's store: (apiVersion, name, length)."""
    from kastra_core.plugins import PluginManager
    from kastra_core.runtime import open_store

    async def work() -> None:
        (project / ".kastra").mkdir(exist_ok=True)
        store = await open_store(f"file:{project}/.kastra/kastra.db", PluginManager(), {})
        for version, name, length in objects:
            meta = ObjectMeta(name=name, namespace="default", uid=f"uid-{name}", generation=3,
                              creation_timestamp="2020-01-01T00:00:00Z", finalizers=("acme.example/keep",))  # fmt: skip
            await store.commit(
                [CreateResource(Resource(api_version=version, kind="Widget", metadata=meta, spec={"length": length},
                                         status={"phase": "Ready"}))]
            )  # fmt: skip
        await store.aclose()

    asyncio.run(work())


def test_objects_of_old_versions_are_rewritten_and_stay_who_they_are(shop: Kastra, project: Path) -> None:
    put_old(project, ("acme.example/v0", "same-group", 4), ("acme/v0", "other-group", 5))
    done = shop("store", "migrate", "--dry-run")
    assert done.code == 0, done.err
    assert "Widget default/same-group (acme.example/v0 -> acme.example/v1)" in done.out
    assert "nothing was changed (dry run)" in done.out
    assert not list((project / ".kastra").glob("*.backup"))
    done = shop("store", "migrate", "-o", "json")
    report = orjson.loads(done.out)
    assert (report["objects"]["found"], len(report["objects"]["rewritten"])) == (2, 2)
    assert Path(report["backup"]).exists()
    for name, size in (("same-group", 4), ("other-group", 5)):
        found = orjson.loads(shop("get", "widget", name, "-o", "json").out)
        assert (found["apiVersion"], found["spec"]["size"]) == ("acme.example/v1", size)
        meta = found["metadata"]
        assert (meta["uid"], meta["generation"], meta["finalizers"]) == (f"uid-{name}", 4, ["acme.example/keep"])
        assert meta["creationTimestamp"] == "2020-01-01T00:00:00Z"
        assert found["status"]["phase"] == "Ready"
    assert "already" in shop("store", "migrate").out
    assert shop("store", "check").code == 0


def test_stubs_of_rewritten_objects_are_put_into_the_project_and_never_over_something(
    shop: Kastra, project: Path
) -> None:
    put_old(project, ("acme.example/v0", "coded", 77))
    assert "migrated_tools.py" not in shop("store", "migrate", "--dry-run").err
    done = shop("store", "migrate")
    assert "then: kastra config set tools.python.allow migrated_tools" in done.err
    assert "def coded(" in (project / "migrated_tools.py").read_text(encoding="utf-8")
    (project / "migrated_tools.py").write_text("# mine\n", encoding="utf-8")
    put_old(project, ("acme/v0", "again", 77))
    assert "is there and stays as it is; its functions: again" in shop("store", "migrate").err
    assert (project / "migrated_tools.py").read_text(encoding="utf-8") == "# mine\n"


def test_nothing_is_rewritten_when_one_object_cannot_be(shop: Kastra, project: Path) -> None:
    put_old(project, ("acme.example/v0", "good", 4), ("acme.example/v0", "bad", "wide"))
    done = shop("store", "migrate")
    assert done.code == 1
    assert "Widget default/bad (acme.example/v0):" in done.err
    assert "expected a number of millimetres" in done.err
    assert "good" in shop("store", "migrate", "--dry-run").out


def test_an_object_that_is_there_in_both_versions_is_told(shop: Kastra, project: Path) -> None:
    put_old(project, ("acme/v0", "anvil", 4))
    (project / "w.yaml").write_text(
        "apiVersion: acme.example/v1\nkind: Widget\nmetadata: {name: anvil}\nspec: {size: 1}\n", encoding="utf-8"
    )
    assert shop("apply", "-f", "w.yaml", "--wait=false").code == 0
    done = shop("store", "migrate")
    assert done.code == 1
    assert "there is a Widget default/anvil of acme.example/v1 too; delete the one that is not wanted" in done.err
