"""Defaults and nulls."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from kastra_plugin_crd.defaulting import Defaulter, default, has_defaults, prune_nulls
from kastra_plugin_crd.schema import Structural, read_schema

TEXT = {"type": "string"}


def structural(schema: dict[str, Any]) -> Structural:
    read, problems = read_schema(schema, "schema")
    assert problems == []
    return read


def spec_of(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def text(default: str = "d", **more: Any) -> dict[str, Any]:
    return {"type": "string", "default": default, **more}


CASES: list[tuple[str, dict[str, Any], Any, Any]] = [
    ("missing", spec_of(a=text()), {}, {"a": "d"}),
    ("given", spec_of(a=text()), {"a": "x"}, {"a": "x"}),
    ("empty is given", spec_of(a=text()), {"a": ""}, {"a": ""}),
    ("false is a default", spec_of(a={"type": "boolean", "default": False}), {}, {"a": False}),
    ("0 is a default", spec_of(a={"type": "integer", "default": 0}), {}, {"a": 0}),
    ("inside what is there", spec_of(a=spec_of(b=text())), {"a": {}}, {"a": {"b": "d"}}),
    ("not inside what is not there", spec_of(a=spec_of(b=text())), {}, {}),
    (
        "within a default",
        spec_of(a={**spec_of(b=text(), c=TEXT), "default": {"c": "x"}}),
        {},
        {"a": {"c": "x", "b": "d"}},
    ),
    (
        "items",
        spec_of(a={"type": "array", "items": spec_of(b=text())}),
        {"a": [{}, {"b": "x"}]},
        {"a": [{"b": "d"}, {"b": "x"}]},
    ),
    (
        "values of a map",
        spec_of(a={"type": "object", "additionalProperties": spec_of(b=text())}),
        {"a": {"k": {}}},
        {"a": {"k": {"b": "d"}}},
    ),
    ("null that is not allowed is replaced", spec_of(a=text()), {"a": None}, {"a": "d"}),
    ("null that is allowed stays", spec_of(a=text(nullable=True)), {"a": None}, {"a": None}),
    ("null without a default is dropped", spec_of(a=TEXT, b=TEXT), {"a": None, "b": "x"}, {"b": "x"}),
    ("null that is allowed without a default stays", spec_of(a={**TEXT, "nullable": True}), {"a": None}, {"a": None}),
    ("null among items stays", spec_of(a={"type": "array", "items": TEXT}), {"a": [None]}, {"a": [None]}),
    ("null among items with a default", spec_of(a={"type": "array", "items": text()}), {"a": [None]}, {"a": ["d"]}),
    (
        "null in a map",
        spec_of(a={"type": "object", "additionalProperties": TEXT}),
        {"a": {"k": None, "l": "x"}},
        {"a": {"l": "x"}},
    ),
    (
        "null in a map with a default",
        spec_of(a={"type": "object", "additionalProperties": text()}),
        {"a": {"k": None}},
        {"a": {"k": "d"}},
    ),
    (
        "null that nothing is said of stays",
        spec_of(a={"type": "object", "x-kubernetes-preserve-unknown-fields": True}),
        {"a": {"k": None}},
        {"a": {"k": None}},
    ),
    (
        "null inside items is dropped",
        spec_of(a={"type": "array", "items": spec_of(b=TEXT)}),
        {"a": [{"b": None}]},
        {"a": [{}]},
    ),
    ("value of another type", spec_of(a=spec_of(b=text())), {"a": "x"}, {"a": "x"}),
]


@pytest.mark.parametrize(("schema", "value", "filled"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_defaults(schema: dict[str, Any], value: Any, filled: Any) -> None:
    before = copy.deepcopy(value)
    read = structural(schema)
    assert Defaulter(read).default(value) == filled
    assert default(prune_nulls(value, read), read) == filled
    assert value == before


def test_defaults_are_copies() -> None:
    read = structural(spec_of(a={**spec_of(b={"type": "array", "items": TEXT}), "default": {"b": ["x"]}}))
    filler = Defaulter(read)
    first = filler.default({})
    first["a"]["b"].append("y")
    assert filler.default({}) == {"a": {"b": ["x"]}}
    assert read.properties["a"].default == {"b": ["x"]}


def test_value_with_everything_is_not_copied() -> None:
    value = {"a": "x", "b": {"c": ["y"]}}
    assert (
        Defaulter(structural(spec_of(a=text(), b=spec_of(c={"type": "array", "items": TEXT})))).default(value) is value
    )


def test_default_of_the_schema_itself_is_for_others() -> None:
    assert default(None, structural(text())) is None


@pytest.mark.parametrize(
    ("schema", "has"),
    [
        (spec_of(a=TEXT), False),
        (spec_of(a=text()), True),
        (spec_of(a={"type": "array", "items": spec_of(b=text())}), True),
        (spec_of(a={"type": "object", "additionalProperties": text()}), True),
    ],
)
def test_whether_there_are_defaults(schema: dict[str, Any], has: bool) -> None:
    assert has_defaults(structural(schema)) is has
