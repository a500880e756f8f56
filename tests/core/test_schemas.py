"""JSON schemas of kinds: what the converter reads a schema accepts, what it refuses a schema refuses."""

from __future__ import annotations

import ast
import copy
import enum
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import attrs
import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from kastra_core.api.kind import PrinterColumn, ResourceKind, Scale
from kastra_core.api.registry import KindRegistry
from kastra_core.decoding import decode
from kastra_core.durations import Duration
from kastra_core.errors import UserError, ValidationError
from kastra_core.openapi import to_structural
from kastra_core.plugins import PluginManager
from kastra_core.runtime import registry_of
from kastra_core.schemas import bundle, crd_of, json_schema
from kastra_core.secrets import SecretRef, SecretValue
from kastra_core.serde import FieldError, converter, register_schema, structure

ROOT = Path(__file__).parents[2]


@lru_cache
def installed() -> KindRegistry:
    return registry_of(PluginManager())


@lru_cache
def structural_only() -> KindRegistry:
    """The installed typed kinds without the rules that no schema can say."""
    found = KindRegistry()
    for kind in installed():
        if kind.spec_type is not None:
            found.register(attrs.evolve(kind, validate=None, references=None, embedded=None, resolve=None))
    return found


@lru_cache
def validator_of(kind: str) -> jsonschema.Draft202012Validator:
    [found] = [one for one in installed() if one.kind == kind]
    schema = json_schema(found)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def texts() -> Iterator[str]:
    """YAML of the examples, of the guide and of tests."""
    for path in sorted((ROOT / "docs").rglob("*.yaml")):
        yield path.read_text(encoding="utf-8")
    for path in sorted((ROOT / "docs" / "guide").glob("*.md")):
        yield from (part.partition("```")[0] for part in path.read_text(encoding="utf-8").split("```yaml\n")[1:])
    for path in sorted([*(ROOT / "tests" / "e2e").iterdir(), *(ROOT / "tests" / "plugins").glob("*/*.py")]):
        if path.suffix == ".yaml":
            yield path.read_text(encoding="utf-8")
        elif path.suffix == ".py" and "apiVersion: mastra" in (source := path.read_text(encoding="utf-8")):
            for node in ast.walk(ast.parse(source)):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and "apiVersion: m" in node.value:
                    yield node.value


@lru_cache
def manifests() -> Sequence[dict[str, Any]]:
    """Those of them that are structurally right."""
    out: list[dict[str, Any]] = []
    for text in texts():
        try:
            found = list(yaml.load_all(text, Loader=yaml.CSafeLoader))
        except yaml.YAMLError:
            continue
        out.extend(manifest for manifest in found if isinstance(manifest, dict) and decodes(manifest))
    return out


def decodes(manifest: Mapping[str, Any]) -> bool:
    try:
        decode(structural_only(), manifest)
    except ValidationError:
        return False
    return True


def test_every_valid_manifest_of_the_repository_fits_the_schema_of_its_kind_and_that_of_all_kinds() -> None:
    every = jsonschema.Draft202012Validator(bundle(installed()))
    kinds = set()
    for manifest in manifests():
        kinds.add(manifest["kind"])
        found = [*validator_of(manifest["kind"]).iter_errors(manifest), *every.iter_errors(manifest)]
        assert not found, (manifest, [error.message for error in found])
    assert {"Agent", "Tool", "Workflow", "Network", "System"} <= kinds
    assert len(manifests()) > 60


def test_the_schema_of_every_kind_is_a_schema() -> None:
    for kind in installed():
        jsonschema.Draft202012Validator.check_schema(json_schema(kind))
    jsonschema.Draft202012Validator.check_schema(bundle(installed()))


places = st.lists(st.integers(0, 30), min_size=1, max_size=8)
values: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, 0, -1, 1.5, "", "x", "a/b", [], {}, ["x"], {"x": 1}, [{}], {"name": "x"}]
)


def mutated(manifest: dict[str, Any], steps: list[int], value: Any, how: str) -> dict[str, Any]:
    """A copy in which something that the steps lead to is replaced, taken away, or has an unknown field."""
    made = copy.deepcopy(manifest)
    at: Any = made
    for step in steps[:-1]:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        key = keys[step % len(keys)]
        if not isinstance(at[key], (dict, list)) or not at[key]:
            break
        at = at[key]
    if how == "add" and isinstance(at, dict):
        at["unheardOf"] = value
    else:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        key = keys[steps[-1] % len(keys)]
        if how == "drop":
            del at[key]
        else:
            at[key] = value
    return made


@settings(max_examples=400)
@given(st.integers(0, 10_000), places, values, st.sampled_from(["replace", "replace", "drop", "add"]))
def test_a_schema_refuses_what_cannot_be_decoded_and_nothing_else(
    which: int, steps: list[int], value: Any, how: str
) -> None:
    every = manifests()
    manifest = every[which % len(every)]
    changed = mutated(manifest, steps, value, how)
    errors = [error.message for error in validator_of(manifest["kind"]).iter_errors(changed)]
    assert (not errors) == decodes(changed), (changed, errors)


# ------------------------------------------------------------------------------------------------ classes


@attrs.frozen(kw_only=True)
class Branch:
    """A part of a tree."""

    label: str
    """What stands on it."""
    below: tuple[Branch, ...] = ()
    twin: Branch | None = None


@attrs.frozen(kw_only=True)
class Leaf:
    """Falls."""

    size_mm: int = 3


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@attrs.frozen
class Pair:
    """Two numbers, ``3x4``."""

    width: int
    height: int

    @classmethod
    def structure_value(cls, value: Any) -> Pair:
        if not isinstance(value, str) or value.count("x") != 1:
            raise FieldError("expected WIDTHxHEIGHT")
        width, height = value.split("x")
        return cls(int(width), int(height))


@attrs.frozen(kw_only=True)
class Pause:
    seconds: int


converter().register_structure_hook(Pause, lambda value, _: Pause(seconds=value))
register_schema(Pause, lambda own, _: {"anyOf": [own["properties"]["seconds"], own]})


@attrs.frozen(kw_only=True)
class TreeSpec:
    """What a tree is."""

    root: Branch
    """Where it begins."""
    leaves: dict[str, Leaf] = attrs.field(factory=dict)
    height: float | None = None
    """Metres.

    From the ground.
    """
    mode: Literal["a", "b"] = "a"
    level: Literal[1, "all"] = 1
    colour: Colour = Colour.RED
    pair: Pair | None = None
    pause: Pause | None = None
    wait: Duration = attrs.field(default=Duration(90))
    key: SecretRef | None = None
    token: SecretValue | None = None
    corner: tuple[int, str] = (0, "")
    tags: frozenset[str] = frozenset()
    anything: Any = None
    loose: Mapping[str, Any] = attrs.field(factory=dict)
    renamed_: bool = attrs.field(default=True, metadata={"name": "isOld"})


TREE = ResourceKind(kind="Tree", plural="trees", group="tree.example", description="A tree.", spec_type=TreeSpec)
GOOD: dict[str, Any] = {
    "apiVersion": "tree.example/v1",
    "kind": "Tree",
    "metadata": {"name": "oak"},
    "spec": {"root": {"label": "x"}},
}
TREES = KindRegistry()
TREES.register(TREE)


def tree(**spec: Any) -> dict[str, Any]:
    return {**GOOD, "spec": {**GOOD["spec"], **spec}}


FIELDS: list[tuple[str, Any, bool]] = [
    ("root", {"label": "a", "below": [{"label": "b", "twin": {"label": "c", "twin": None}}]}, True),
    ("root", {"label": "a", "below": [{"label": 1}]}, False),
    ("root", {"label": "a", "below": [{"label": "b", "twin": {}}]}, False),
    ("leaves", {"x": {"sizeMm": 1}, "y": {}}, True),
    ("leaves", {"x": {"size_mm": 1}}, False),
    ("leaves", [], False),
    ("height", None, True),
    ("height", 1, True),
    ("height", "1", False),
    ("mode", "b", True),
    ("mode", "c", False),
    ("mode", None, False),
    ("level", "all", True),
    ("level", 1, True),
    ("level", 2, False),
    ("colour", "blue", True),
    ("colour", "green", False),
    ("pause", 3, True),
    ("pause", {"seconds": 3}, True),
    ("wait", "1h30m", True),
    ("wait", 0.5, True),
    ("wait", "soon", False),
    ("wait", -1, False),
    ("key", {"valueFrom": {"env": "X"}}, True),
    ("key", {"valueFrom": {"env": "X", "file": "y"}}, False),
    ("key", {"valueFrom": {"env": ""}}, False),
    ("key", "secret", False),
    ("token", "secret", True),
    ("token", {"valueFrom": {"file": "y"}}, True),
    ("corner", [1, "a"], True),
    ("corner", [1], False),
    ("corner", [1, "a", 2], False),
    ("corner", ["a", 1], False),
    ("tags", ["a"], True),
    ("tags", [1], False),
    ("anything", [{"x": None}], True),
    ("loose", {"x": [1]}, True),
    ("loose", 1, False),
    ("isOld", False, True),
    ("renamed", False, False),
]


@pytest.mark.parametrize(("field", "value", "fits"), FIELDS)
def test_a_schema_says_of_a_field_what_the_converter_says(field: str, value: Any, fits: bool) -> None:
    manifest = tree(**{field: value})
    assert jsonschema.Draft202012Validator(json_schema(TREE)).is_valid(manifest) is fits
    if field != "pause":  # its reader takes whatever it is given
        try:
            structure(manifest["spec"], TreeSpec)
        except Exception:
            assert not fits
        else:
            assert fits


def test_what_a_class_reads_by_itself_and_does_not_tell_is_anything() -> None:
    validator = jsonschema.Draft202012Validator(json_schema(TREE))
    assert validator.is_valid(tree(pair="3x4"))
    assert validator.is_valid(tree(pair=7))


def test_texts_and_defaults_are_in_the_schema() -> None:
    schema = json_schema(TREE)
    spec = schema["$defs"]["TreeSpec"]
    assert schema["description"] == "A tree."
    assert spec["description"] == "What a tree is."
    assert spec["properties"]["root"] == {"$ref": "#/$defs/Branch", "description": "Where it begins."}
    assert spec["properties"]["height"] == {"type": ["number", "null"], "description": "Metres. From the ground."}
    assert spec["properties"]["wait"]["default"] == "1m30s"
    assert spec["properties"]["mode"] == {"type": "string", "enum": ["a", "b"], "default": "a"}
    assert spec["required"] == ["root"]
    assert schema["$defs"]["Branch"]["properties"]["label"]["description"] == "What stands on it."


def test_two_classes_of_one_name_have_schemas_of_their_own() -> None:
    one = attrs.make_class("Part", {"a": attrs.field(type=int)}, kw_only=True)
    other = attrs.make_class("Part", {"b": attrs.field(type=str)}, kw_only=True)
    both = attrs.make_class("Both", {"x": attrs.field(type=one), "y": attrs.field(type=other)}, kw_only=True)
    schema = json_schema(ResourceKind(kind="Both", plural="boths", spec_type=both))
    properties = schema["$defs"]["Both"]["properties"]
    assert properties == {"x": {"$ref": "#/$defs/Part"}, "y": {"$ref": "#/$defs/Part2"}}
    assert set(schema["$defs"]["Part2"]["properties"]) == {"b"}


METADATA: list[tuple[dict[str, Any], bool]] = [
    ({"name": "a.b-c"}, True),
    ({"name": "A"}, False),
    ({"name": ""}, False),
    ({}, False),
    ({"name": "a", "namespace": "b"}, True),
    ({"name": "a", "namespace": "b.c"}, False),
    ({"name": "a", "namespace": None, "labels": None, "annotations": None, "finalizers": None}, True),
    ({"name": "a", "labels": {"app.example/x": "y", "z": ""}}, True),
    ({"name": "a", "labels": {"-": "y"}}, False),
    ({"name": "a", "labels": {"x": "y z"}}, False),
    ({"name": "a", "labels": {"x": 1}}, False),
    ({"name": "a", "annotations": {"x": "any text"}}, True),
    ({"name": "a", "annotations": {"x": True}}, False),
    ({"name": "a", "finalizers": ["x"]}, True),
    ({"name": "a", "finalizers": [""]}, False),
    ({"name": "a", "ownerReferences": [{"apiVersion": "v1", "kind": "K", "name": "n", "uid": "u"}]}, True),
    ({"name": "a", "ownerReferences": [{"apiVersion": "v1", "kind": "K", "name": "n"}]}, False),
    ({"name": "a", "resourceVersion": "7", "uid": "u", "generation": 1}, True),
    ({"name": "a", "lables": {}}, False),
]


@pytest.mark.parametrize(("metadata", "fits"), METADATA)
def test_metadata_is_checked_as_it_is_decoded(metadata: dict[str, Any], fits: bool) -> None:
    manifest = {**GOOD, "metadata": metadata}
    assert jsonschema.Draft202012Validator(json_schema(TREE)).is_valid(manifest) is fits
    try:
        decode(TREES, manifest)
    except ValidationError:
        assert not fits
    else:
        assert fits


def test_a_cluster_scoped_kind_has_no_namespace() -> None:
    validator = jsonschema.Draft202012Validator(json_schema(attrs.evolve(TREE, namespaced=False)))
    assert validator.is_valid(GOOD)
    assert not validator.is_valid({**GOOD, "metadata": {"name": "oak", "namespace": "wood"}})


def test_a_kind_whose_defaults_fill_in_the_spec_wants_none() -> None:
    validator = jsonschema.Draft202012Validator(json_schema(attrs.evolve(TREE, default=dict)))
    assert validator.is_valid({key: value for key, value in GOOD.items() if key != "spec"})


def test_old_spellings_of_the_main_group_are_known() -> None:
    [agent] = [kind for kind in installed() if kind.kind == "Agent"]
    assert json_schema(agent)["properties"]["apiVersion"]["enum"] == [
        "mastra.ai/v1",
        "mastra/v1",
        "mastra.ai/v1alpha1",
    ]
    assert json_schema(TREE)["properties"]["apiVersion"] == {"const": "tree.example/v1"}


def test_a_bundle_tells_manifests_by_apiversion_and_kind() -> None:
    other = attrs.evolve(TREE, kind="Bush", plural="bushes", singular="bush", spec_type=Leaf)
    validator = jsonschema.Draft202012Validator(bundle([TREE, other]))
    assert validator.is_valid(GOOD)
    assert validator.is_valid({**GOOD, "kind": "Bush", "spec": {"sizeMm": 1}})
    assert not validator.is_valid({**GOOD, "kind": "Bush"})
    assert not validator.is_valid({**GOOD, "kind": "Shrub"})
    assert not validator.is_valid({**GOOD, "apiVersion": "tree.example/v2"})


# ------------------------------------------------------------------------------------------------ schemas


@attrs.frozen
class Described:
    """A structure that only has its schema."""

    schema: Mapping[str, Any]

    def prune(self, manifest: dict[str, Any]) -> tuple[dict[str, Any], Sequence[Any]]:
        raise AssertionError("a schema is made of the schema alone")

    def default(self, manifest: dict[str, Any]) -> dict[str, Any]:
        raise AssertionError("a schema is made of the schema alone")

    def validate(self, manifest: dict[str, Any], old: dict[str, Any] | None = None) -> Sequence[Any]:
        raise AssertionError("a schema is made of the schema alone")


def by_schema(spec: dict[str, Any], **more: Any) -> ResourceKind:
    schema = {"type": "object", "properties": {"spec": spec, "status": {"type": "object"}}, **more}
    return attrs.evolve(TREE, spec_type=None, structure=Described(schema))


STRING = {"type": "string"}
OPENAPI: list[tuple[dict[str, Any], Any, bool]] = [
    ({"type": "object", "properties": {"a": STRING}}, {"a": "x"}, True),
    ({"type": "object", "properties": {"a": STRING}}, {"b": "x"}, False),
    (
        {"type": "object", "properties": {"a": STRING}, "x-kubernetes-preserve-unknown-fields": True},
        {"b": "x", "a": "y"},
        True,
    ),
    ({"type": "object", "additionalProperties": STRING}, {"b": "x"}, True),
    ({"type": "object", "additionalProperties": STRING}, {"b": 1}, False),
    ({"x-kubernetes-preserve-unknown-fields": True}, [1], True),
    ({"type": "string", "nullable": True}, None, True),
    (STRING, None, False),
    ({"type": "string", "nullable": True, "enum": ["a"]}, None, False),
    ({"type": "string", "default": "x"}, None, True),
    ({"x-kubernetes-int-or-string": True}, 1, True),
    ({"x-kubernetes-int-or-string": True}, "80%", True),
    ({"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, STRING]}, 1.5, False),
    ({"type": "integer", "minimum": 1, "exclusiveMinimum": True}, 1, False),
    ({"type": "integer", "minimum": 1, "exclusiveMinimum": False}, 1, True),
    ({"type": "integer", "maximum": 3, "exclusiveMaximum": True}, 2, True),
    ({"type": "array", "items": STRING, "x-kubernetes-list-type": "set"}, ["a", "a"], False),
    ({"type": "object", "required": ["a"], "properties": {"a": {"type": "string", "default": "x"}}}, {}, True),
    ({"type": "object", "required": ["a"], "properties": {"a": STRING}}, {}, False),
    (
        {
            "type": "object",
            "properties": {"a": STRING, "b": STRING},
            "oneOf": [{"required": ["a"]}, {"required": ["b"]}],
        },
        {"a": "x", "b": "y"},
        False,
    ),
    (
        {
            "type": "object",
            "properties": {"a": STRING, "b": STRING},
            "nullable": True,
            "oneOf": [{"required": ["a"]}, {"required": ["b"]}],
        },
        None,
        True,
    ),
    (
        {
            "type": "object",
            "properties": {"a": {"type": "string", "default": "x"}, "b": STRING},
            "anyOf": [{"required": ["a"]}, {"required": ["b"]}],
        },
        {},
        True,
    ),
    ({"type": "object", "properties": {"a": STRING}, "not": {"required": ["a"]}}, {"a": "x"}, False),
    ({"type": "string", "pattern": r"^(?i)[a-z]+\z"}, "a", True),
    ({"type": "string", "pattern": "^[a-z]+$"}, "A", False),
    (
        {"type": "object", "x-kubernetes-embedded-resource": True, "properties": {"spec": {"type": "object"}}},
        {"apiVersion": "v1", "kind": "K", "metadata": {"name": "x"}, "spec": {}},
        True,
    ),
    ({"type": "object", "x-kubernetes-embedded-resource": True}, {"kind": "K"}, False),
]


@pytest.mark.parametrize(("schema", "value", "fits"), OPENAPI)
def test_the_schema_of_a_definition_becomes_a_json_schema(schema: dict[str, Any], value: Any, fits: bool) -> None:
    made = json_schema(by_schema(schema))
    jsonschema.Draft202012Validator.check_schema(made)
    assert jsonschema.Draft202012Validator(made).is_valid({**GOOD, "spec": value}) is fits


def test_metadata_of_a_definition_holds_beside_that_of_all_kinds() -> None:
    kind = by_schema({"type": "object"}, required=["spec", "status"])
    schema = dict(kind.structure.schema)  # type: ignore[union-attr]
    schema["properties"] = {
        **schema["properties"],
        "metadata": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 4}}},
    }
    made = json_schema(attrs.evolve(kind, structure=Described(schema)))
    validator = jsonschema.Draft202012Validator(made)
    manifest = {**GOOD, "spec": {}}
    assert validator.is_valid(manifest)
    assert not validator.is_valid({**manifest, "metadata": {"name": "beech"}})
    assert not validator.is_valid({**manifest, "other": 1})
    assert made["required"] == ["apiVersion", "kind", "metadata", "spec"]


def test_other_versions_have_schemas_of_their_own() -> None:
    old = Described({"type": "object", "properties": {"spec": {"type": "object", "properties": {"size": STRING}}}})
    kind = attrs.evolve(by_schema({"type": "object"}), structures={"v1beta1": old})
    manifest = {**GOOD, "apiVersion": "tree.example/v1beta1", "spec": {"size": "x"}}
    assert jsonschema.Draft202012Validator(json_schema(kind, version="v1beta1")).is_valid(manifest)
    validator = jsonschema.Draft202012Validator(bundle([kind]))
    assert validator.is_valid(manifest)
    assert not validator.is_valid({**manifest, "apiVersion": "tree.example/v1"})
    with pytest.raises(UserError, match="no schema for the version 'v2'; it has those of v1, v1beta1"):
        json_schema(kind, version="v2")


def test_messages_of_rules_stand_in_the_description() -> None:
    rule = {"rule": "self > 0", "message": "must be more than 0"}
    kind = by_schema({"type": "integer", "description": "How many.", "x-kubernetes-validations": [rule]})
    assert json_schema(kind)["properties"]["spec"]["description"] == "How many.\n\nmust be more than 0"


# ------------------------------------------------------------------------------------------------ definitions


def test_a_definition_of_a_class_is_structural() -> None:
    crd = crd_of(TREE)
    [version] = crd["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    spec = schema["properties"]["spec"]["properties"]
    assert schema["required"] == ["spec"]
    below = spec["root"]["properties"]["below"]
    assert below == {"type": "array", "items": {"type": "object", "description": "A part of a tree."} | KEEPS}
    assert spec["leaves"]["additionalProperties"]["properties"] == {"sizeMm": {"type": "integer", "default": 3}}
    assert spec["height"]["nullable"] is True
    assert spec["level"] == KEEPS
    assert spec["mode"] == {"type": "string", "enum": ["a", "b"], "default": "a"}
    assert spec["anything"] == KEEPS
    assert spec["loose"] == {"type": "object"} | KEEPS
    assert spec["corner"] == {"type": "array", "items": KEEPS, "minItems": 2, "maxItems": 2}
    assert "$ref" not in str(crd)


KEEPS = {"x-kubernetes-preserve-unknown-fields": True}


def test_a_definition_has_the_names_columns_and_subresources_of_its_kind() -> None:
    kind = attrs.evolve(
        TREE,
        short_names=("tr",),
        categories=("all", "wood"),
        namespaced=False,
        scale=Scale(spec_replicas_path=".spec.trunks", label_selector_path=".status.selector"),
        printer_columns=(
            PrinterColumn(name="AGED", json_path=".status.ageS", type="seconds", priority=1, description="How old."),
        ),
    )
    crd = crd_of(kind)
    assert crd["metadata"]["name"] == "trees.tree.example"
    assert crd["spec"]["scope"] == "Cluster"
    assert crd["spec"]["names"] == {
        "kind": "Tree",
        "listKind": "TreeList",
        "plural": "trees",
        "singular": "tree",
        "shortNames": ["tr"],
        "categories": ["all", "wood"],
    }
    [version] = crd["spec"]["versions"]
    assert version["subresources"] == {
        "status": {},
        "scale": {"specReplicasPath": ".spec.trunks", "labelSelectorPath": ".status.selector"},
    }
    assert version["additionalPrinterColumns"] == [
        {"name": "AGED", "type": "number", "jsonPath": ".status.ageS", "description": "How old.", "priority": 1}
    ]


@attrs.frozen(kw_only=True)
class Port:
    name: str
    number: int = 1


@attrs.frozen(kw_only=True)
class Ports:
    ports: tuple[Port, ...] = ()
    others: tuple[Port, ...] = ()


def test_lists_that_are_merged_by_a_key_are_said_in_kubernetes_words() -> None:
    kind = attrs.evolve(TREE, spec_type=Ports, list_map_keys={"spec.ports": ("name",), "spec.lost": ("name",)})
    schema = crd_of(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    found = schema["properties"]["ports"]
    assert found["x-kubernetes-list-type"] == "map"
    assert found["x-kubernetes-list-map-keys"] == ["name"]
    assert "x-kubernetes-list-type" not in schema["properties"]["others"]


@pytest.mark.parametrize(
    ("schema", "structural"),
    [
        ({"type": ["integer", "string"]}, {"x-kubernetes-int-or-string": True}),
        ({"type": ["string", "null"], "maxLength": 3}, {"type": "string", "nullable": True, "maxLength": 3}),
        ({"type": ["number", "string"]}, KEEPS),
        ({"anyOf": [{"type": "string"}, {"type": "array"}], "default": "x"}, KEEPS),
        ({"type": "integer", "default": 3}, {"type": "integer", "default": 3}),
        ({"type": "array", "items": {"type": "string"}, "default": ["x"]}, {"type": "array", "items": STRING}),
        ({"const": True}, KEEPS),
        ({}, KEEPS),
    ],
)
def test_what_a_structural_schema_cannot_say_is_left_open(schema: dict[str, Any], structural: dict[str, Any]) -> None:
    assert to_structural(schema, {}) == structural


def test_a_kind_without_group_cannot_be_defined() -> None:
    with pytest.raises(UserError, match="has no group"):
        crd_of(attrs.evolve(TREE, group=""))
