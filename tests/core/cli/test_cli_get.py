"""get, describe, explain, wait, events: what is shown, and how."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from kastra_core import RunError, Runtime
from kastra_core.cli.status import SLEEPS, unfinished_runs
from kastra_core.cli.tables import age, display_width

Kastra = Callable[..., Any]


@pytest.fixture
def applied(kastra: Kastra, widgets: str) -> Kastra:
    """``kastra`` with the widgets anvil and bolt applied."""
    assert kastra("apply", "-f", widgets).code == 0
    return kastra


def test_a_project_without_store_has_no_resources_and_gets_no_store(kastra: Kastra, project: Path) -> None:
    done = kastra("get", "widgets")
    assert (done.code, done.out) == (0, "")
    assert "No resources found in namespace default; there is no store file:" in done.err
    assert list(project.iterdir()) == []


def test_what_is_in_another_namespace_is_said_to_be_there(applied: Kastra) -> None:
    assert applied("get", "widgets", "-n", "none").err == (
        "No resources found in namespace none; there are some in others (-A shows them)\n"
    )
    assert applied("get", "widgets", "-n", "none", "-l", "line=heavy").err == ("No resources found in namespace none\n")
    for command in ("get", "describe", "delete"):
        done = applied(command, "widget", "anvil", "-n", "none")
        assert done.code == 1
        assert "Widget none/anvil not found; there is one in namespace default: add -n default" in done.err


GALAXIES = """
from kastra_core import ResourceKind, hookimpl


@hookimpl
def kastra_resource_kinds():
    yield ResourceKind(kind="Galaxy", plural="galaxies", group="stars.example", version="v1", namespaced=False)
"""


def galaxy(name: str) -> str:
    return f"apiVersion: stars.example/v1\nkind: Galaxy\nmetadata: {{name: {name}}}\nspec: {{}}\n"


def test_what_has_no_namespace_is_not_missed_in_one(applied: Kastra, plugins: Any) -> None:
    plugins.install("stars", GALAXIES)
    assert applied("get", "galaxies").err == "No resources found\n"
    assert applied("get", "galaxies,widgets", "-n", "none").err.startswith("No resources found in namespace none; ")


def test_a_watch_shows_changes_of_what_has_no_namespace(
    applied: Kastra, plugins: Any, project: Path, environment: dict[str, str]
) -> None:
    plugins.install("stars", GALAXIES)
    (project / "a.yaml").write_text(galaxy("andromeda"), encoding="utf-8")
    (project / "b.yaml").write_text(galaxy("whirlpool"), encoding="utf-8")
    assert applied("apply", "-f", "a.yaml").code == 0
    process = subprocess.Popen(
        [sys.executable, "-c", "import sys; from kastra_core.cli import main; main()", "get", "galaxies", "-w"],
        cwd=project,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    try:
        assert process.stdout is not None
        assert [process.stdout.readline().split()[0] for _ in range(2)] == ["NAME", "andromeda"]
        assert applied("apply", "-f", "b.yaml").code == 0
        assert process.stdout.readline().split()[0] == "whirlpool"
    finally:
        process.kill()
        process.communicate()


def test_get_shows_the_columns_of_the_kind(applied: Kastra) -> None:
    header, anvil, bolt = applied("get", "widgets").out.splitlines()
    assert header.split() == ["NAME", "SIZE", "READY", "AGE"]
    assert anvil.split()[:3] == ["anvil", "7", "True"]
    assert bolt.split()[:3] == ["bolt", "2", "True"]


def test_wide_columns_line_up_also_under_chinese_text(applied: Kastra) -> None:
    rows = applied("get", "widgets", "-o", "wide").out.splitlines()
    at = display_width(rows[0][: rows[0].index("AGE")])
    assert [display_width(row[: row.rindex("  ") + 2]) for row in rows[1:]] == [at, at]
    assert "铁砧" in rows[1]
    assert "<none>" in rows[2]


@pytest.mark.parametrize("kind", ["widgets", "widget", "Widget", "wi", "widgets.acme.example"])
def test_a_kind_is_known_by_all_its_names(applied: Kastra, kind: str) -> None:
    assert applied("get", kind, "-o", "name").out.splitlines() == [
        "widget.acme.example/anvil",
        "widget.acme.example/bolt",
    ]


def test_an_unknown_kind_gets_the_nearest_name(applied: Kastra) -> None:
    done = applied("get", "widgts")
    assert done.code == 1
    assert "did you mean 'widgets'?" in done.err


@pytest.mark.parametrize("args", [("widget", "bolt"), ("widget/bolt",), ("widget/default/bolt", "-n", "other")])
def test_one_resource_by_name_is_one_object(applied: Kastra, args: tuple[str, ...]) -> None:
    found = orjson.loads(applied("get", *args, "-o", "json").out)
    assert found["metadata"]["name"] == "bolt"
    assert "managedFields" not in found["metadata"]


def test_several_resources_are_a_list(applied: Kastra) -> None:
    found = yaml.safe_load(applied("get", "widgets", "-o", "yaml").out)
    assert found["kind"] == "List"
    assert [item["metadata"]["name"] for item in found["items"]] == ["anvil", "bolt"]


def test_managed_fields_are_shown_on_request(applied: Kastra) -> None:
    text = applied("get", "widget", "anvil", "-o", "yaml", "--show-managed-fields").out
    assert yaml.safe_load(text)["metadata"]["managedFields"][0]["manager"] == "kastra"


def test_a_missing_name_fails_and_the_others_are_shown(applied: Kastra) -> None:
    done = applied("get", "widget", "anvil", "bolts")
    assert done.code == 1
    assert "anvil" in done.out
    assert "Widget default/bolts not found; did you mean 'Widget default/bolt'?" in done.err
    assert applied("get", "widget", "bolts", "--ignore-not-found").code == 0


@pytest.mark.parametrize(
    ("args", "names"),
    [
        (("-l", "line=heavy"), ["anvil"]),
        (("-l", "!line"), ["bolt"]),
        (("-l", "line in (heavy, light)"), ["anvil"]),
        (("--field-selector", "spec.size=2"), ["bolt"]),
        (("--field-selector", "metadata.name!=bolt"), ["anvil"]),
        (("-n", "elsewhere"), []),
        (("--sort-by", ".spec.size"), ["bolt", "anvil"]),
    ],
)
def test_selectors_and_order(applied: Kastra, args: tuple[str, ...], names: list[str]) -> None:
    found = applied("get", "widgets", *args, "-o", "jsonpath={range .items[*]}{.metadata.name}{'\\n'}{end}")
    assert found.out.split() == names


def test_a_selector_that_cannot_be_read_is_told(applied: Kastra) -> None:
    done = applied("get", "widgets", "-l", "a=b=c")
    assert done.code == 1
    assert "key in (a,b)" in done.err


def test_all_namespaces_have_a_column(applied: Kastra) -> None:
    out = applied("get", "widgets", "-A", "--show-labels").out
    assert out.splitlines()[0].split() == ["NAMESPACE", "NAME", "SIZE", "READY", "AGE", "LABELS"]
    assert "line=heavy" in out


def test_all_and_lists_of_kinds_print_a_table_each(applied: Kastra) -> None:
    assert "widget.acme.example/anvil" in applied("get", "all").out
    # Two kinds: the names tell which. Events are there for what was not ready, runs are not.
    assert "widget.acme.example/anvil" in applied("get", "widgets,runs").out


def test_resources_whose_plugin_is_gone_can_still_be_listed(applied: Kastra) -> None:
    done = applied("--no-plugin", "acme", "get", "Widget.acme.example")
    assert "anvil" in done.out
    assert "Widget.acme.example is of acme 1.0, which is blocked" in done.err
    assert "anvil" in applied("--no-plugin", "acme", "get", "all").out
    described = applied("--no-plugin", "acme", "describe", "widget/anvil").out
    assert "Orphaned:    Widget.acme.example is of acme 1.0" in described


@pytest.mark.parametrize(
    ("path", "printed"),
    [
        ("{.spec.size}", "7\n"),
        (".spec.size", "7\n"),
        ('{.status.conditions[?(@.type=="Ready")].status}', "True\n"),
        ("{.metadata.name}: {.spec}", 'anvil: {"size":7,"note":"铁砧"}\n'),
        ("{.nowhere}", ""),
    ],
)
def test_jsonpath(applied: Kastra, path: str, printed: str) -> None:
    assert applied("get", "widget", "anvil", "-o", f"jsonpath={path}").out == printed


@pytest.mark.parametrize("path", ["{.a", "{.a..}", "{.a[?(@.b=c]}", "{range .a}"])
def test_jsonpath_that_cannot_be_read_is_told(applied: Kastra, path: str) -> None:
    done = applied("get", "widget", "anvil", "-o", f"jsonpath={path}")
    assert done.code == 1
    assert "JSONPath" in done.err


def test_an_unknown_output_format_is_a_wrong_command_line(applied: Kastra) -> None:
    done = applied("get", "widgets", "-o", "xml")
    assert done.code == 2
    assert "allowed are wide, yaml, json, name, jsonpath=EXPR" in done.err


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0s"), (5, "5s"), (119, "119s"), (200, "3m20s"), (3000, "50m"), (7200, "120m"), (18600, "5h10m"),
     (72000, "20h"), (345600, "4d"), (86400 * 30, "30d"), (86400 * 400, "400d"), (86400 * 800, "2y70d")],
)  # fmt: skip
def test_ages_are_those_of_kubectl(seconds: int, shown: str) -> None:
    assert age("2026-01-01T00:00:00Z", 1767225600 + seconds) == shown


def test_watch_prints_changes_of_other_processes(
    applied: Kastra, project: Path, environment: dict[str, str], widgets: str
) -> None:
    command = [sys.executable, "-c", "import sys; from kastra_core.cli import main; sys.exit(main())"]
    process = subprocess.Popen(
        [*command, "get", "widgets", "-w"],
        cwd=project,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    try:
        assert process.stdout is not None
        first = [process.stdout.readline().split()[0] for _ in range(3)]
        assert first == ["NAME", "anvil", "bolt"]
        text = (project / widgets).read_text(encoding="utf-8").replace("size: 2", "size: 3")
        (project / widgets).write_text(text, encoding="utf-8")
        assert applied("apply", "-f", widgets).code == 0
        assert process.stdout.readline().split()[:2] == ["bolt", "3"]
        assert applied("delete", "widget", "anvil").code == 0
        line = process.stdout.readline()
        while line and not line.endswith(" (deleted)\n"):  # it is marked first
            line = process.stdout.readline()
        assert line.split()[0] == "anvil"
    finally:
        process.kill()
        process.communicate()


# ------------------------------------------------------------------------------------------------ describe


def test_describe_shows_spec_conditions_references_and_events(kastra: Kastra, project: Path, widgets: str) -> None:
    (project / "w.yaml").write_text(
        "apiVersion: acme.example/v1\nkind: Widget\nmetadata: {name: c}\nspec: {size: 1, needs: lost}\n",
        encoding="utf-8",
    )
    kastra("apply", "-f", "w.yaml")
    out = kastra("describe", "widget", "c").out
    assert "Name:        c\n" in out
    assert "  needs: lost\n" in out
    assert "MissingWidget" in out.split("Conditions:")[1]
    references = out.split("References:")[1]
    assert ["spec.needs", "Widget", "default/lost", "missing"] in [line.split() for line in references.splitlines()]
    assert "Warning" in out.split("Events:")[1]


def test_events_of_one_resource_latest_last(kastra: Kastra, project: Path, widgets: str) -> None:
    text = "apiVersion: acme.example/v1\nkind: Widget\nmetadata: {name: %s}\nspec: {size: 1, needs: anvil}\n"
    (project / "w.yaml").write_text(text % "c" + "---\n" + text % "d", encoding="utf-8")
    kastra("apply", "-f", "w.yaml")
    assert kastra("events").out.count("MissingWidget") == 2
    assert kastra("events", "--for", "widget/c").out.count("MissingWidget") == 1
    assert "No events found" in kastra("events", "--types", "Normal").err


# ------------------------------------------------------------------------------------------------ explain


def test_explain_lists_kinds(kastra: Kastra) -> None:
    assert "widgets" in kastra("explain").out


def test_explain_tells_types_defaults_texts_and_what_is_required(kastra: Kastra) -> None:
    out = kastra("explain", "widget.spec").out
    assert "size <integer> (required)\n      Millimetres, at least 1.\n" in out
    assert 'color <one of red, green> (default: "red")' in out
    assert "parts <list of objects>" in out
    assert "notes <map of strings>" in out
    below = kastra("explain", "widgets.acme.example.spec.parts").out
    assert "weightG <number> (default: 1.5)\n      Grams.\n" in below


def test_explain_recursive_shows_the_tree(kastra: Kastra) -> None:
    assert (
        "  parts <list of objects>\n    name <string> (required)\n" in kastra("explain", "wi.spec", "--recursive").out
    )


def test_explain_of_an_unknown_field_names_the_nearest(kastra: Kastra) -> None:
    done = kastra("explain", "widget.spec.sise")
    assert done.code == 1
    assert "Widget has no field spec.sise; did you mean 'size'?" in done.err


def test_explain_model_says_which_plugin_answers_and_what_is_missing(
    kastra: Kastra, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    out = kastra("explain", "model", "openai/gpt-4o").out
    assert "Plugin:" in out
    assert "openai" in out
    assert "OPENAI_API_KEY" in out
    assert orjson.loads(kastra("explain", "model", "openai/gpt-4o", "-o", "json").out)["ok"] is False


SCHEMA = """
from kastra_core import PrinterColumn, ResourceKind, hookimpl
RULE = [{"rule": "self.size > 0", "message": "a gear has a size"}]
SPEC = {"type": "object", "required": ["size"], "x-kubernetes-validations": RULE, "properties": {
    "size": {"type": "integer", "description": "How big.", "format": "int32", "minimum": 1, "maximum": 9,
             "exclusiveMaximum": True},
    "tags": {"type": "array", "items": {"type": "string", "minLength": 1}, "x-kubernetes-list-type": "set"},
    "mode": {"type": "string", "enum": ["a", "b"], "default": "a", "nullable": True},
    "port": {"x-kubernetes-int-or-string": True},
    "labels": {"type": "object", "additionalProperties": {"type": "string"}},
    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    "any": {"x-kubernetes-preserve-unknown-fields": True},
    "grid": {"type": "array", "items": {"type": "array", "items": {
        "type": "object", "properties": {"x": {"type": "number"}}}}},
    "zones": {"type": "object", "additionalProperties": {"type": "array", "items": {
        "type": "object", "properties": {"y": {"type": "number"}}}}},
    "part": {"type": "object", "x-kubernetes-embedded-resource": True},
    "maker": {"type": "string", "x-kastra-reference": {"kind": "Agent", "group": "mastra.ai"}},
    "source": {"type": "object", "oneOf": [{"required": ["url"]}, {"required": ["host", "port"]}]},
    "either": {"type": "object", "anyOf": [{"required": ["a"]}, {"required": ["b"], "properties": {"b": {}}}]},
    "parts": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
              "items": {"type": "object", "x-kubernetes-validations": RULE,
                        "properties": {"name": {"type": "string"}}}}}}
class Structure:
    def __init__(self, schema):
        self.schema = schema
    def prune(self, manifest):
        return manifest, []
    def default(self, manifest):
        return manifest
    def validate(self, manifest, old=None):
        return []
NEW = Structure({"type": "object", "description": "Turns.", "properties": {"spec": SPEC, "status": {"type": "object"}},
                 "x-kubernetes-validations": [{"rule": "self.metadata.name != 'x'"}]})
OLD = Structure({"type": "object", "properties": {"spec": {"type": "object", "properties": {
    "teeth": {"type": "integer"}}}}})
FREE = Structure({"type": "object", "x-kubernetes-preserve-unknown-fields": True})
@hookimpl
def kastra_resource_kinds():
    columns = [("TAGS", ".spec.tags", "string"), ("TAG", ".spec.tags[*]", "string"), ("SIZE", ".spec.size", "integer"),
               ("FREE", ".spec.free", "string"), ("MODE", ".spec.mode", "integer"), ("ON", ".spec.any.on", "boolean"),
               ("SHARE", ".spec.any.share", "number"), ("SINCE", ".spec.any.since", "date"),
               ("APP", r".metadata.labels.app\\.example/name", "string"), ("WRONG", ".spec[", "string"),
               ("MAIN", ".spec.parts[?(@.name == 'main')].port", "string")]
    yield ResourceKind(kind="Gear", plural="gears", group="schema.example", structure="schema_plugin:NEW",
                       structures={"v1beta1": "schema_plugin:OLD", "v0": "schema_plugin:FREE"},
                       warnings={"v0": "deprecated; use v1"}, short_names=("ge",), categories=("all", "machines"),
                       printer_columns=tuple(PrinterColumn(name=n, json_path=p, type=t) for n, p, t in columns))
"""


@pytest.fixture
def gears(kastra: Kastra, plugins: Any) -> Kastra:
    """``kastra`` with a kind that a schema describes."""
    plugins.install("schema", SCHEMA)
    return kastra


def test_explain_reads_schemas_too(gears: Kastra) -> None:
    out = gears("explain", "gear.spec").out
    assert "size <integer> (required) (format: int32)\n      How big.\n" in out
    assert "tags <list of strings>" in out
    assert 'mode <one of a, b> (default: "a")' in out
    assert "port <integer or string>" in out
    assert "labels <map of strings>" in out
    assert "any <anything>" in out
    assert "grid <list of lists of objects>" in out
    assert "zones <map of lists of objects>" in out
    assert "RULES:\n  a gear has a size\n" in out
    assert "      Rule: a gear has a size" in out
    assert "name <string>" in gears("explain", "gear.spec.parts").out
    assert "x <number>" in gears("explain", "gear.spec.grid").out
    assert "y <number>" in gears("explain", "gear.spec.zones").out
    assert "kind <string> (required)" in gears("explain", "gear.spec.part").out


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ("size", "FORMAT:     int32\nLIMITS:     minimum: 1, maximum: 9 (itself excluded)\n"),
        ("tags", "LIMITS:     each item: minLength: 1\nNOTE:       no item twice\n"),
        ("mode", 'DEFAULT:    "a"\nNOTE:       may be null\n'),
        ("free", "NOTE:       unknown fields are kept\n"),
        ("part", "NOTE:       a whole resource with apiVersion, kind and metadata\n"),
        ("parts", "NOTE:       one item for each name\n"),
        ("maker", "NOTE:       refers to a resource of kind Agent\n"),
        ("source", "NOTE:       exactly one of url, host and port\n"),
        ("either", "FIELD:      spec.either <object>\n"),
    ],
)
def test_explain_tells_what_else_a_schema_says_of_a_field(gears: Kastra, field: str, told: str) -> None:
    assert told in gears("explain", f"gear.spec.{field}").out


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("free.a.b", "spec.free may have any fields, none of them is described"),
        ("size.a", "known here: none"),
        ("sise", "did you mean 'size'?"),
    ],
)
def test_explain_tells_where_a_path_leads_nowhere(gears: Kastra, path: str, told: str) -> None:
    done = gears("explain", f"gear.spec.{path}")
    assert (done.code, done.err) == (1, f"error: Gear has no field spec.{path}; {told}\n")


def test_explain_data_has_all_that_is_known_of_a_field(gears: Kastra) -> None:
    data = orjson.loads(gears("explain", "gear.spec.size", "-o", "json").out)
    assert data["path"] == "spec.size"
    assert data["type"] == "integer"
    assert data["required"] is True
    assert data["limits"] == ["minimum: 1", "maximum: 9 (itself excluded)"]
    assert data["alsoServed"] == ["schema.example/v1beta1", "schema.example/v0"]
    listed = orjson.loads(gears("explain", "-o", "json").out)
    assert {"kind": "Gear", "plugin": "schema"}.items() <= next(
        one for one in listed if one["plural"] == "gears"
    ).items()


def test_explain_shows_the_version_that_is_asked_for(gears: Kastra) -> None:
    out = gears("explain", "gear").out
    assert "VERSION:    schema.example/v1 (also schema.example/v1beta1, schema.example/v0)\n" in out
    assert "DESCRIPTION:\n  Turns.\n\nRULES:\n  self.metadata.name != 'x'\n" in out
    old = gears("explain", "gear.spec", "--api-version=schema.example/v1beta1").out
    assert "VERSION:    schema.example/v1beta1 (also schema.example/v1, schema.example/v0)\n" in old
    assert "teeth <integer>" in old
    assert gears("explain", "gear.spec", "--api-version=v1beta1").out == old
    wrong = gears("explain", "gear", "--api-version", "schema.example/v2")
    assert wrong.code == 1
    assert "Gear is not served as 'schema.example/v2'; did you mean 'schema.example/v1'?" in wrong.err


def test_explain_shows_what_a_schema_leaves_open_and_to_controllers(gears: Kastra) -> None:
    out = gears("explain", "gear", "--api-version=v0").out
    assert "NOTE:       deprecated; use v1; unknown fields are kept\n" in out
    assert "  spec <object>\n      Any fields.\n" in out
    assert "status" not in out
    assert gears("explain", "gear").out.endswith(
        "  status <object>\n      Written by controllers, ignored in a manifest.\n"
    )
    data = orjson.loads(gears("explain", "gear", "--api-version=v0", "-o", "json").out)
    assert (data["warning"], data["notes"]) == ("deprecated; use v1", ["unknown fields are kept"])


def test_explain_names_the_controllers_of_a_kind(kastra: Kastra) -> None:
    assert "CONTROLLER: widget (plugin acme)\n" in kastra("explain", "widget").out
    assert "CONTROLLER" not in kastra("explain", "event").out
    assert orjson.loads(kastra("explain", "widget", "-o", "json").out)["controllers"] == ["widget (plugin acme)"]


def test_a_narrow_terminal_gets_fewer_columns_of_the_kinds(kastra: Kastra, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = kastra("explain").out.splitlines()
    assert wide[0].split() == ["NAME", "SHORT", "APIVERSION", "NAMESPACED", "KIND", "RUNS", "DESCRIPTION"]
    for width in (150, 120, 80):
        monkeypatch.setattr("kastra_core.cli.api_resources.terminal_width", lambda width=width: width)
        lines = kastra("explain").out.splitlines()
        assert all(len(line) <= width for line in lines), width
        assert all("mastra.ai/v1" in line for line in lines if line.startswith(("agents", "runs"))), width


def test_api_resources_lists_kinds_as_kubectl_does(gears: Kastra) -> None:
    lines = [line.split() for line in gears("api-resources").out.splitlines()]
    assert lines[0] == ["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"]
    assert ["gears", "ge", "schema.example/v1", "true", "Gear"] in lines
    assert gears("api-resources", "--api-group=schema.example", "-o", "name").out == "gears.schema.example\n"
    wide = gears("api-resources", "--api-group=schema.example", "-o", "wide", "--no-headers").out
    assert wide.split() == ["gears", "ge", "schema.example/v1", "true", "Gear", "all,machines", "schema"]
    assert gears("api-resources", "--api-group=schema.example", "--namespaced=false").out.count("\n") == 1
    listed = orjson.loads(gears("api-resources", "-o", "json").out)
    assert listed == orjson.loads(gears("explain", "-o", "json").out)


@pytest.mark.parametrize(("word", "told"), [("edit", "kastra apply -f FILE"), ("version", "kastra --version")])
def test_a_command_of_kubectl_is_told_what_does_it_here(kastra: Kastra, word: str, told: str) -> None:
    done = kastra(word, "x")
    assert done.code == 2
    assert f"there is no command {word!r}" in done.err
    assert told in done.err


GEAR = """
apiVersion: schema.example/v1
kind: Gear
metadata: {name: a, labels: {app.example/name: shop}}
spec:
  size: 3
  tags: [p, q]
  mode: a
  free: {z: 1, y: null}
  any: {on: true, share: 1234567.25, since: never}
  parts: [{name: main, port: 80}, {name: other, port: 81}]
"""


def test_columns_show_values_as_kubectl_does(gears: Kastra, project: Path) -> None:
    (project / "g.yaml").write_text(GEAR, encoding="utf-8")
    assert gears("apply", "-f", "g.yaml").code == 0
    header, row = (line.split() for line in gears("get", "gears").out.splitlines())
    assert dict(zip(header, row)) == {
        "NAME": "a",
        "TAGS": '["p","q"]',
        "TAG": "p,q",
        "SIZE": "3",
        "FREE": '{"y":null,"z":1}',
        "MODE": "<none>",
        "ON": "true",
        "SHARE": "1234567.25",
        "SINCE": "<invalid>",
        "APP": "shop",
        "WRONG": "<none>",
        "MAIN": "80",
    }


@pytest.mark.parametrize("word", ["ge", "machines", "gears.schema.example", "gears.v1beta1.schema.example", "GEAR"])
def test_kinds_are_found_by_every_spelling_and_category(gears: Kastra, project: Path, word: str) -> None:
    (project / "g.yaml").write_text(GEAR, encoding="utf-8")
    gears("apply", "-f", "g.yaml")
    assert gears("get", word, "-o", "name").out == "gear.schema.example/a\n"


def completed(line: str, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The words that bash is offered at the end of a line."""
    words = line.split(" ")
    monkeypatch.setenv("_KASTRA_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    from click.shell_completion import get_completion_class

    from kastra_core.cli.app import app

    shell = get_completion_class("bash")
    assert shell is not None
    return {item.rpartition(",")[2] for item in shell(app, {}, "kastra", "_KASTRA_COMPLETE").complete().splitlines()}


def test_kinds_and_names_are_completed(gears: Kastra, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "g.yaml").write_text(GEAR, encoding="utf-8")
    gears("apply", "-f", "g.yaml")
    assert completed("kastra get ge", monkeypatch) == {"gears"}
    assert completed("kastra get gears.", monkeypatch) == {"gears.schema.example"}
    assert completed("kastra get gears ", monkeypatch) == {"a"}
    assert completed("kastra get gear/", monkeypatch) == {"gear/a"}
    assert completed("kastra scale lost/", monkeypatch) == set()
    for command in ("describe", "delete", "export"):
        assert completed(f"kastra {command} gears ", monkeypatch) == {"a"}


TREE = """
from __future__ import annotations
from typing import Any
import attrs
from kastra_core import ResourceKind, hookimpl
UNSET = object()
@attrs.frozen(kw_only=True)
class Node:
    label: str
    value: Any = UNSET
    below: tuple[Node, ...] = ()
    other: Link | None = None
@attrs.frozen(kw_only=True)
class Link:
    to: Node
    back: Node
@attrs.frozen(kw_only=True)
class TreeSpec:
    roots: tuple[Node, ...]
    spare: Node | None = None
@hookimpl
def kastra_resource_kinds():
    yield ResourceKind(kind="Tree", plural="trees", group="tree.example", spec_type="tree_plugin:TreeSpec")
"""


def test_explain_tells_the_fields_of_a_form_that_contains_itself_once(kastra: Kastra, plugins: Any) -> None:
    plugins.install("tree", TREE)
    out = kastra("explain", "tree.spec", "--recursive").out
    assert "    below <list of objects> (fields: as spec.roots)\n" in out
    assert "      back <object> (required) (fields: as spec.roots)\n" in out
    assert "      back <object> (required) (fields: as spec.spare)\n" in out
    assert len(out.splitlines()) < 30
    assert "below <list of objects> (fields: as spec.roots)" in kastra("explain", "tree.spec.roots", "--recursive").out
    data = orjson.loads(kastra("explain", "tree.spec.roots", "-o", "json").out)
    assert {"name": "below", "type": "list of objects", "required": False, "fieldsOf": "spec.roots"} in data["fields"]


def test_explain_leaves_out_a_default_that_is_no_json(kastra: Kastra, plugins: Any) -> None:
    plugins.install("tree", TREE)
    done = kastra("explain", "tree.spec.roots")
    assert done.code == 0
    assert "  value <anything>\n" in done.out
    assert "(default" not in done.out


@pytest.mark.parametrize("what", ["workflow", "workflow.spec", "workflow.spec.steps", "workflow.spec.steps.onFailure"])
def test_explain_documents_workflows(kastra: Kastra, what: str) -> None:
    assert kastra("explain", what).code == 0
    assert len(kastra("explain", what, "--recursive").out.splitlines()) < 250
    assert kastra("explain", what, "-o", "json").code == 0


# ------------------------------------------------------------------------------------------------ wait


def test_wait_ends_when_the_condition_holds_and_reconciles_meanwhile(kastra: Kastra, widgets: str) -> None:
    kastra("apply", "-f", widgets, "--no-wait")
    done = kastra("wait", "widget/anvil", "widget/bolt", "--for", "condition=ready", "--timeout=20s")
    assert done.code == 0
    assert sorted(done.out.splitlines()) == [
        "widget.acme.example/anvil condition met",
        "widget.acme.example/bolt condition met",
    ]


def test_wait_gives_up_with_the_reason(kastra: Kastra, project: Path) -> None:
    (project / "w.yaml").write_text(
        "apiVersion: acme.example/v1\nkind: Widget\nmetadata: {name: c}\nspec: {size: 1, needs: lost}\n",
        encoding="utf-8",
    )
    kastra("apply", "-f", "w.yaml")
    done = kastra("wait", "widget/c", "--timeout", "100ms")
    assert done.code == 1
    assert "MissingWidget" in done.err
    assert kastra("wait", "widget/c", "--for=condition=Ready=false", "--timeout", "20").code == 0


@pytest.mark.parametrize("wanted", ["jsonpath={.spec.size}=7", "jsonpath=.spec.size=7", "create"])
def test_wait_for_a_value(applied: Kastra, wanted: str) -> None:
    assert applied("wait", "widget", "anvil", f"--for={wanted}", "--timeout", "5s").code == 0


def test_wait_for_a_deletion(applied: Kastra) -> None:
    assert applied("delete", "widget/bolt", "--wait=false").code == 0
    done = applied("wait", "widget/bolt", "--for=delete", "--timeout=20s")
    assert (done.code, done.out) == (0, "widget.acme.example/bolt deleted\n")


def test_wait_for_something_that_is_not_there_fails_at_once(applied: Kastra) -> None:
    assert applied("wait", "widget/ghost", "--timeout=60s").code == 1


def start_run(project: Path, input: str) -> str:
    """Start a run of the widget anvil, leave it as it is after its first steps, and return ``run/NAME``."""

    async def start() -> str:
        async with await Runtime.open(project=project) as runtime:
            run = await runtime.start_run("widget/anvil", input)
            if input == "wait":
                while (await runtime.client.require(run.key)).status["phase"] != "Suspended":
                    await asyncio.sleep(0.01)
            else:
                with contextlib.suppress(RunError):
                    await run.result()
            return f"run/{run.name}"

    return asyncio.run(start())


def test_wait_for_a_run_ends_with_its_end(applied: Kastra, project: Path) -> None:
    done = applied("wait", start_run(project, "hello"))
    assert done.code == 0
    assert done.out.endswith(" condition met\n")


def test_wait_for_a_run_that_failed_tells_why_with_exit_code_5(applied: Kastra, project: Path) -> None:
    done = applied("wait", start_run(project, "fail"), "--timeout", "60s")
    assert done.code == 5
    assert "Failed: Asked: " in done.err
    assert "as asked" in done.err


def test_status_and_get_show_runs(applied: Kastra, project: Path) -> None:
    start_run(project, "hello")
    name = start_run(project, "wait").removeprefix("run/")
    found = orjson.loads(applied("status", "-o", "json").out)["runs"]
    assert found["phases"] == {"Succeeded": 1, "Suspended": 1}
    assert found["unfinished"] == [{"run": f"default/{name}", "worker": "nobody: it awaits go", "awaiting": ["go"]}]
    assert "Succeeded" in applied("get", "runs", "-o", "wide").out
    [waits] = [line for line in applied("get", "runs", "--no-headers").out.splitlines() if line.startswith(name)]
    assert waits.split()[2:4] == ["Suspended", "go"]
    assert "run.mastra.ai" not in applied("get", "all").out


def test_status_names_a_few_runs_that_await_an_answer_and_counts_the_sleeping() -> None:
    rows = [{"run": f"default/r{n}", "worker": "nobody: it awaits go", "awaiting": ["go"]} for n in range(30)]
    rows += [{"run": f"default/s{n}", "worker": SLEEPS} for n in range(4000)]
    rows += [{"run": "default/gone", "worker": "w-1 (gone; `kastra run resume` goes on)"}]
    header, *lines = unfinished_runs(rows).splitlines()
    assert header.split() == ["UNFINISHED", "RUN", "WORKER"]
    assert [line.split()[0] for line in lines[:20]] == ["default/gone", *(f"default/r{n}" for n in range(19))]
    assert lines[20:] == [
        "and 11 more (`kastra get runs -A --children`)",
        "4000 runs sleep or wait for another run",
    ]
    assert unfinished_runs(rows[30:31]) == "1 run sleeps or waits for another run\n"


def test_ctrl_c_ends_a_watch_without_traceback(project: Path, environment: dict[str, str], applied: Kastra) -> None:
    command = [sys.executable, "-c", "import sys; from kastra_core.cli import main; sys.exit(main())"]
    process = subprocess.Popen(
        [*command, "get", "widgets", "-w"],
        cwd=project,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(2)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in err


def test_output_that_nobody_reads_is_no_error(applied: Kastra, project: Path, environment: dict[str, str]) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-c", "import sys; from kastra_core.cli import main; sys.exit(main())"]
    done = subprocess.run(
        [*command, "get", "widgets"], cwd=project, env=environment, stdout=write, stderr=subprocess.PIPE, text=True
    )
    os.close(write)
    assert done.stderr == ""
    assert done.returncode == 0
