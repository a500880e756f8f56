"""``kastra`` with definitions and what is of their kinds: one file is applied, compared, exported and deleted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from kastra_core.cli import main

Kastra = Callable[..., Any]

FILE = """\
apiVersion: acme.example/v1
kind: Gadget
metadata: {name: g1}
spec:
  size: 1
  odd: 3
  parts: [{name: a}]
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gadgets.acme.example}
spec:
  group: acme.example
  scope: Namespaced
  names: {kind: Gadget, plural: gadgets}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [size]
            properties:
              size: {type: integer, minimum: 1}
              colour: {type: string, default: grey}
              parts:
                type: array
                x-kubernetes-list-type: map
                x-kubernetes-list-map-keys: [name]
                items:
                  type: object
                  required: [name]
                  properties: {name: {type: string}, count: {type: integer, default: 1}}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: zones.acme.example}
spec:
  group: acme.example
  scope: Cluster
  names: {kind: Zone, plural: zones}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
---
apiVersion: acme.example/v1
kind: Zone
metadata: {name: z1}
data: {a: 1}
"""
NAMES = {
    "gadget.acme.example/g1",
    "zone.acme.example/z1",
    "customresourcedefinition.apiextensions.k8s.io/gadgets.acme.example",
    "customresourcedefinition.apiextensions.k8s.io/zones.acme.example",
}
"""What the file makes, as it is named."""


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def kastra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Kastra:
    """Run ``kastra ARGS`` in this process, in a project that has the file ``all.yaml``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KASTRA_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NO_COLOR", "1")
    (tmp_path / "all.yaml").write_text(FILE, encoding="utf-8")

    def call(*args: str) -> Outcome:
        capsys.readouterr()
        code = main(args)
        return Outcome(code, *capsys.readouterr())

    return call


def test_one_file_is_compared_tried_applied_and_then_unchanged(kastra: Kastra) -> None:
    assert kastra("validate", "-f", "all.yaml").code == 0
    new = kastra("diff", "-f", "all.yaml")
    assert (new.code, new.err) == (1, "")
    assert {
        line.partition("/")[2].removeprefix("default/") for line in new.out.splitlines() if line[:3] == "+++"
    } == NAMES
    assert kastra("apply", "--dry-run", "-f", "all.yaml").code == 0
    assert "No resources found" in kastra("get", "crd").err
    made = kastra("apply", "-f", "all.yaml")
    assert set(made.out.splitlines()) == {f"{name} created" for name in NAMES}
    assert "all.yaml:6:8: spec.odd: unknown field 'odd'" in made.err
    assert kastra("diff", "-f", "all.yaml") == (0, "", "")
    again = kastra("apply", "-f", "all.yaml")
    assert set(again.out.splitlines()) == {f"{name} unchanged" for name in NAMES}


def test_a_definition_that_is_wrong_is_told_alone(kastra: Kastra, tmp_path: Path) -> None:
    wrong = FILE.replace("size: {type: integer", "size: {type: intger")
    (tmp_path / "all.yaml").write_text(wrong, encoding="utf-8")
    refused = kastra("validate", "-f", "all.yaml")
    assert refused.code != 0
    assert "all.yaml:28:28" in refused.err
    assert "offers the kind" not in refused.err
    assert "1 problem" in refused.err


def test_what_is_exported_makes_the_same_elsewhere(kastra: Kastra, tmp_path: Path) -> None:
    kastra("apply", "-f", "all.yaml")
    whole = kastra("export").out
    assert "finalizers" not in whole, "those of controllers are theirs"
    assert whole.startswith("apiVersion: apiextensions.k8s.io/v1\n"), "what defines kinds comes first"
    (tmp_path / "export.yaml").write_text(whole, encoding="utf-8")
    assert kastra("--store", "file:other.db", "apply", "-f", "export.yaml").code == 0
    assert kastra("--store", "file:other.db", "export").out == whole
    assert set(kastra("apply", "-f", "export.yaml").out.splitlines()) <= {
        f"{name} {outcome}" for name in NAMES for outcome in ("unchanged", "configured")
    }
    assert kastra("export").out == whole
    assert kastra("export", "--output-dir", "out").code == 0
    assert kastra("--store", "file:third.db", "apply", "-R", "-f", "out").code == 0
    assert kastra("--store", "file:third.db", "export").out == whole


def test_a_finalizer_that_a_manifest_asks_for_is_exported(kastra: Kastra, tmp_path: Path) -> None:
    held = FILE.replace("{name: g1}", "{name: g1, finalizers: [acme.example/held]}")
    (tmp_path / "held.yaml").write_text(held, encoding="utf-8")
    kastra("apply", "-f", "held.yaml")
    assert kastra("export").out.count("acme.example/held") == 1


def test_kinds_of_one_name_are_exported_to_files_of_their_own(kastra: Kastra, tmp_path: Path) -> None:
    other = FILE.replace("acme.example", "other.example")
    (tmp_path / "other.yaml").write_text(other, encoding="utf-8")
    kastra("apply", "-f", "all.yaml", "-f", "other.yaml")
    kastra("export", "--output-dir", "out")
    assert len(list((tmp_path / "out").rglob("*.yaml"))) == 8


def test_everything_is_deleted_with_its_definitions_and_once_more(kastra: Kastra) -> None:
    kastra("apply", "-f", "all.yaml")
    gone = kastra("delete", "-f", "all.yaml")
    assert (gone.code, set(gone.out.splitlines())) == (0, {f"{name} deleted" for name in NAMES})
    again = kastra("delete", "-f", "all.yaml")
    assert (again.code, again.err.count("not found")) == (1, 4)
    assert kastra("delete", "-f", "all.yaml", "--ignore-not-found").code == 0
    assert kastra("apply", "-f", "all.yaml").code == 0


def test_a_kind_that_nobody_knows_is_no_missing_resource(kastra: Kastra, tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(FILE.partition("---")[0], encoding="utf-8")
    outcome = kastra("delete", "-f", "one.yaml", "--ignore-not-found")
    assert outcome.code != 0
    assert "no plugin or definition offers the kind 'Gadget'" in outcome.err


def test_a_definition_that_ends_says_how_to_wait_for_that(kastra: Kastra) -> None:
    kastra("apply", "--no-wait", "-f", "all.yaml")
    kastra("delete", "crd", "gadgets.acme.example", "--no-wait")
    refused = kastra("apply", "-f", "all.yaml")
    assert refused.code != 0
    assert "all.yaml:2:7" in refused.err
    assert "`kastra delete crd gadgets.acme.example` waits for that" in refused.err
    assert kastra("delete", "crd", "gadgets.acme.example").code == 0
    assert kastra("apply", "-f", "all.yaml").code == 0


def test_a_finalizer_can_be_taken_off_while_the_definition_ends(kastra: Kastra, tmp_path: Path) -> None:
    meta = "metadata: {name: held, finalizers: [acme.example/hold]}"
    held = f"apiVersion: acme.example/v1\nkind: Gadget\n{meta}\nspec: {{size: 1}}\n"
    (tmp_path / "held.yaml").write_text(held, encoding="utf-8")
    kastra("apply", "-f", "all.yaml", "-f", "held.yaml")
    late = kastra("delete", "crd", "gadgets.acme.example", "--timeout=0.3s")
    assert late.code == 1
    assert "1 Gadget resource is left, held by finalizers: default/held by acme.example/hold" in late.err
    described = kastra("describe", "crd", "gadgets.acme.example").out
    assert [line.split()[:3] for line in described.splitlines() if line.split()[:1] == ["Ready"]] == [
        ["Ready", "False", "Terminating"]
    ]
    assert "can be made now" in kastra("apply", "-f", "all.yaml").err
    (tmp_path / "held.yaml").write_text(held.replace("acme.example/hold", ""), encoding="utf-8")
    assert kastra("apply", "-f", "held.yaml").code == 0
    assert kastra("get", "crd", "gadgets.acme.example", "--ignore-not-found").out == ""


def test_finalizers_of_controllers_that_are_gone_can_be_dropped(kastra: Kastra, tmp_path: Path) -> None:
    held = FILE.replace("{name: g1}", "{name: g1, finalizers: [acme.example/hold]}")
    (tmp_path / "held.yaml").write_text(held, encoding="utf-8")
    kastra("apply", "-f", "held.yaml")
    late = kastra("delete", "gadget/g1", "--timeout=0.3s")
    assert late.code == 1
    assert "`kastra delete KIND/NAME --drop-finalizers`" in late.err
    whole = kastra("delete", "crd", "gadgets.acme.example", "--drop-finalizers", "--timeout=0.3s")
    assert whole.code == 1, "what is left of the kind is not left behind"
    assert kastra("delete", "gadget/g1", "--drop-finalizers").code == 0
    assert kastra("delete", "crd", "gadgets.acme.example", "--ignore-not-found").code == 0
    assert kastra("get", "crd", "gadgets.acme.example", "--ignore-not-found").out == ""


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("{sise: 1}", "spec.size: required field is missing; beside it is the unknown field 'sise'"),
        ("{a: 1, b: 2}", "spec.size: required field is missing; beside it are the unknown fields 'a', 'b'"),
        ("{}", "spec.size: required field is missing\n"),
    ],
)
def test_a_missing_field_is_told_with_what_may_be_meant(kastra: Kastra, tmp_path: Path, spec: str, told: str) -> None:
    kastra("apply", "-f", "all.yaml", "--no-wait")
    manifest = f"apiVersion: acme.example/v1\nkind: Gadget\nmetadata: {{name: x}}\nspec: {spec}\n"
    (tmp_path / "x.yaml").write_text(manifest, encoding="utf-8")
    assert told in kastra("validate", "-f", "x.yaml").err


def test_without_the_plugin_all_is_shown_and_nothing_is_lost(kastra: Kastra) -> None:
    kastra("apply", "-f", "all.yaml")
    before = kastra("export").out
    off = ("--no-plugin", "crd")
    for words in ("get gadgets,zones", "get customresourcedefinitions", "get all", "export"):
        shown = kastra(*off, *words.split())
        assert shown.code == 0
        assert "g1" in shown.out or "gadgets.acme.example" in shown.out
    for what in ("zone/z1", "gadget/g1", "customresourcedefinition/zones.acme.example"):
        assert kastra(*off, "describe", what).code == 0
    assert "orphaned: kastra-plugin-crd" in kastra(*off, "status").out
    refused = kastra(*off, "apply", "-f", "all.yaml")
    assert refused.code != 0
    assert "no plugin or definition offers the kind 'Gadget'" in refused.err
    assert kastra("export").out == before
    assert "unchanged" in kastra("apply", "-f", "all.yaml").out
