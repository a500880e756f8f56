"""Payloads of signals and values against JSON schemas."""

from __future__ import annotations

from typing import Any

import pytest

from kastra_core.api.meta import ObjectMeta, Resource
from kastra_plugin_workflow.signals import check_signal, misfits, schema_fault

APPROVAL = {
    "type": "object",
    "properties": {"approved": {"type": "boolean"}, "notes": {"type": "array", "items": {"type": "string"}}},
    "required": ["approved"],
    "additionalProperties": False,
}


def run_that_awaits(*entries: Any) -> Resource:
    return Resource(
        api_version="mastra.ai/v1",
        kind="Run",
        metadata=ObjectMeta(name="r", namespace="default"),
        status={"phase": "Suspended", "awaiting": list(entries)},
    )


def told(run: Resource, name: str, payload: Any) -> list[str]:
    return [str(problem) for problem in check_signal(run, name, payload)]


class TestCheckSignal:
    def test_a_payload_that_fits_is_let_through(self) -> None:
        run = run_that_awaits({"signal": "review", "schema": APPROVAL})
        assert told(run, "review", {"approved": True, "notes": ["fine"]}) == []

    def test_each_misfit_is_told_with_its_place(self) -> None:
        run = run_that_awaits({"signal": "review", "schema": APPROVAL})
        assert sorted(told(run, "review", {"notes": [1], "why": "x"})) == [
            "approved: is required",
            'notes[0]: 1 is not of type "string"',
            "unknown: 'why'",
        ]

    def test_a_wait_without_schema_takes_anything(self) -> None:
        assert told(run_that_awaits({"signal": "review", "message": "?"}), "review", [1, None]) == []

    def test_a_signal_that_is_not_awaited_now_is_let_through(self) -> None:
        run = run_that_awaits({"signal": "review", "schema": APPROVAL})
        assert told(run, "later", 1) == []

    def test_a_name_in_the_wrong_case_is_told(self) -> None:
        run = run_that_awaits({"signal": "fan[a]/review", "schema": APPROVAL})
        assert told(run, "fan[a]/Review", 1) == [
            "the run does not wait for 'fan[a]/Review'; did you mean 'fan[a]/review'?"
        ]

    def test_of_several_waits_for_one_name_each_schema_counts_and_no_line_comes_twice(self) -> None:
        entry = {"signal": "go", "schema": {"type": "integer"}}
        run = run_that_awaits(entry, entry, {"signal": "go", "schema": {"minimum": 3}})
        assert told(run, "go", "x") == ['"x" is not of type "integer"']
        assert told(run, "go", 1) == ["1 is less than the minimum of 3"]

    def test_very_many_misfits_are_cut(self) -> None:
        run = run_that_awaits({"signal": "go", "schema": {"type": "array", "items": {"type": "string"}}})
        lines = told(run, "go", list(range(10_000)))
        assert len(lines) == 21
        assert lines[-1] == "more does not fit"

    @pytest.mark.parametrize(
        "awaiting", [None, {}, "review", [None, 1, {}, {"signal": 1}, {"signal": "go", "schema": 3}]]
    )
    def test_a_status_that_is_none_is_taken_as_no_wait(self, awaiting: Any) -> None:
        run = run_that_awaits().evolve(status={"awaiting": awaiting})
        assert told(run, "go", 1) == []

    def test_a_run_that_never_waited_is_let_through(self) -> None:
        assert told(run_that_awaits().evolve(status={}), "go", 1) == []


class TestMisfits:
    def test_a_value_that_fits_has_none(self) -> None:
        assert misfits({"type": "integer"}, 3) == []

    def test_nothing_is_fetched_for_a_reference_to_another_document(self) -> None:
        (line,) = misfits({"$ref": "https://example.com/schema.json"}, 1)
        assert line.startswith("the schema is not valid")
        assert "may refer to itself only" in line

    def test_a_reference_within_the_schema_is_followed(self) -> None:
        schema = {"$defs": {"n": {"type": "integer"}}, "properties": {"a": {"$ref": "#/$defs/n"}}}
        assert misfits(schema, {"a": 1}) == []
        assert misfits(schema, {"a": "x"}) == ['a: "x" is not of type "integer"']

    @pytest.mark.parametrize("schema", [{"type": "foo"}, {"properties": 3}, {"pattern": "("}, {"$ref": "#/nowhere"}])
    def test_a_schema_that_is_none_fits_nothing(self, schema: Any) -> None:
        assert misfits(schema, {}) != []
        assert schema_fault(schema) is not None

    def test_long_values_are_cut_in_the_words(self) -> None:
        (line,) = misfits({"type": "integer"}, "x" * 100_000)
        assert len(line) < 400

    def test_integers_beyond_64_bits_are_integers(self) -> None:
        assert misfits({"type": "integer"}, 2**80) == []

    def test_values_nested_very_deeply_do_not_crash(self) -> None:
        deep: Any = []
        for _ in range(900):
            deep = [deep]
        assert isinstance(misfits({"type": "array"}, deep), list)

    def test_more_than_twenty_lines_are_cut(self) -> None:
        lines = misfits({"items": {"type": "string"}}, [1] * 100)
        assert len(lines) == 21
        assert lines[-1] == "and more"


class TestSchemaFault:
    def test_a_valid_schema_has_none(self) -> None:
        assert schema_fault(APPROVAL) is None
        assert schema_fault({}) is None

    def test_the_place_in_the_schema_is_told(self) -> None:
        fault = schema_fault({"properties": {"a": {"type": "strin"}}})
        assert fault is not None
        assert fault[0] == "properties.a.type"

    def test_what_is_no_object_is_none(self) -> None:
        assert schema_fault([1]) == ("", "a schema is an object")
