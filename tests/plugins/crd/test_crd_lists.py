"""x-kubernetes-list-type: sets and map lists; which lists apply merges by item."""

from __future__ import annotations

from typing import Any

import pytest

from kastra_plugin_crd.lists import list_map_keys, list_problems
from kastra_plugin_crd.schema import Structural, read_schema

TEXT = {"type": "string"}
KEPT = {"x-kubernetes-preserve-unknown-fields": True}


def structural(schema: dict[str, Any]) -> Structural:
    read, problems = read_schema(schema, "schema")
    assert problems == []
    return read


def a_list(kind: str, items: Any = KEPT, *keys: str) -> dict[str, Any]:
    out = {"type": "array", "x-kubernetes-list-type": kind, "items": items}
    return {**out, "x-kubernetes-list-map-keys": list(keys)} if keys else out


def objects(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def paths(schema: dict[str, Any], value: Any) -> list[str]:
    problems = list_problems({"a": value}, structural(objects(a=schema)))
    assert all(problem.reason == "FieldValueDuplicate" for problem in problems)
    return [problem.path for problem in problems]


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([], []),
        (["x", "y"], []),
        (["x", "y", "x"], ["a[2]"]),
        (["x", "x", "x", "y", "y"], ["a[1]", "a[4]"]),
        ([1, True, 1.0, "1"], []),
        ([None, None], ["a[1]"]),
        ([{"a": 1, "b": 2}, {"b": 2, "a": 1}], ["a[1]"]),
        ([[1], [1, 2], [1]], ["a[2]"]),
        ([{}, []], []),
    ],
)
def test_item_of_a_set_may_be_there_once(items: list[Any], expected: list[str]) -> None:
    assert paths(a_list("set"), items) == expected


@pytest.mark.parametrize("kind", ["atomic", ""])
def test_other_lists_hold_anything(kind: str) -> None:
    schema = a_list(kind) if kind else {"type": "array", "items": TEXT}
    assert paths(schema, ["x", "x"]) == []


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([{"k": "x"}, {"k": "y"}], []),
        ([{"k": "x", "v": 1}, {"k": "x", "v": 2}], ["a[1]"]),
        ([{"k": 1}, {"k": "1"}, {"k": 1.0}, {"k": True}], []),
        ([{"v": 1}, {"v": 2}], ["a[1]"]),
        ([{"k": None}, {}], []),
        ([None, {}], ["a[1]"]),
    ],
)
def test_key_of_a_map_list_may_be_there_once(items: list[Any], expected: list[str]) -> None:
    assert paths(a_list("map", objects(k=TEXT), "k"), items) == expected


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([{"k": 1, "l": 1}, {"k": 1, "l": 2}], []),
        ([{"k": 1, "l": 1}, {"l": 1, "k": 1}], ["a[1]"]),
        ([{"k": 1}, {"l": 1}], []),
        ([{"k": 1}, {"k": 1}], ["a[1]"]),
    ],
)
def test_all_keys_of_a_map_list_count(items: list[Any], expected: list[str]) -> None:
    assert paths(a_list("map", objects(k=TEXT, l=TEXT), "k", "l"), items) == expected


def test_item_of_a_map_list_that_is_no_object_is_told_once() -> None:
    (problem,) = list_problems({"a": [{"k": 1}, 5, 6]}, structural(objects(a=a_list("map", objects(k=TEXT), "k"))))
    assert str(problem) == "a[1]: expected an object with k, found 5"
    assert problem.reason == "FieldValueInvalid"


def test_lists_in_lists_and_maps_are_found() -> None:
    inner = {"type": "object", "additionalProperties": a_list("set", TEXT)}
    assert paths({"type": "array", "items": objects(m=inner)}, [{"m": {"k": ["x", "x"]}}]) == ["a[0].m.k[1]"]


def test_what_is_there_twice_is_told() -> None:
    (problem,) = list_problems(
        {"a": [{"k": "x"}, {"k": "x"}]}, structural(objects(a=a_list("map", objects(k=TEXT), "k")))
    )
    assert str(problem) == 'a[1]: an item with k "x" is there twice; take one of them out'


def test_hundred_thousand_items_take_no_time() -> None:
    words = [f"word {n}" for n in range(100_000)]
    assert paths(a_list("set", TEXT), [*words, "word 7"]) == ["a[100000]"]
    assert paths(a_list("map", objects(k=TEXT), "k"), [{"k": word} for word in [*words, "word 7"]]) == ["a[100000]"]


def test_map_lists_that_apply_merges() -> None:
    ports = a_list("map", objects(port=TEXT, protocol=TEXT), "port", "protocol")
    containers = a_list("map", objects(name=TEXT, ports=ports, tags=a_list("set", TEXT)), "name")
    schema = objects(
        spec=objects(
            containers=containers,
            plain={"type": "array", "items": objects(ports=ports)},
            free={"type": "object", "additionalProperties": ports},
        )
    )
    assert list_map_keys(structural(schema)) == {
        "spec.containers": ("name",),
        "spec.containers.ports": ("port", "protocol"),
    }
