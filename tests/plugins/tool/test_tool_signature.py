from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, Optional, TypedDict
from uuid import UUID

import attrs
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kastra_core.errors import TerminalError
from kastra_plugin_tool import ToolContext
from kastra_plugin_tool.binding import BindingError, ResultError, bind, to_json
from kastra_plugin_tool.schemas import misfits, schema_fault
from kastra_plugin_tool.signature import read_docstring, read_signature


class Unit(enum.Enum):
    METRIC = "metric"
    IMPERIAL = "imperial"


@attrs.frozen
class Place:
    city: str
    tags: tuple[str, ...] = ()
    zoom: int = 3


@dataclasses.dataclass
class Node:
    name: str
    children: list[Node] = dataclasses.field(default_factory=list)


class Window(TypedDict):
    start: date
    end: NotRequired[date]


def find(
    city: Annotated[str, "Where to look"],
    days: Annotated[int, {"minimum": 1, "maximum": 7}] = 3,
    unit: Literal["c", "f"] = "c",
    near: Optional[Place] = None,  # noqa: UP045 - the old spelling is read too
    tags: list[str] | None = None,
    extra: Mapping[str, float] | None = None,
    context: ToolContext | None = None,
) -> dict[str, Any]:
    """Find the weather
    in a city.

    More words that the model does not need.

    Args:
        city: ignored, the annotation says it
        days (int): how many days
            to look ahead
        tags: words
    """
    return {"city": city}


def schema_of(function: Any) -> dict[str, Any]:
    return read_signature(function, "m:f").schema("m:f")


def test_a_signature_becomes_a_schema() -> None:
    signature = read_signature(find, "m:find")
    assert signature.description == "Find the weather in a city."
    assert signature.context == "context"
    schema = signature.schema("m:find")
    assert schema["required"] == ["city"]
    assert schema["additionalProperties"] is False
    properties = schema["properties"]
    assert properties["city"] == {"type": "string", "description": "Where to look"}
    assert properties["days"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 7,
        "description": "how many days to look ahead",
        "default": 3,
    }
    assert properties["unit"] == {"type": "string", "enum": ["c", "f"], "default": "c"}
    assert properties["tags"]["anyOf"] == [{"type": "array", "items": {"type": "string"}}, {"type": "null"}]
    assert properties["near"]["anyOf"][0]["properties"]["zoom"] == {"type": "integer", "default": 3}
    assert "context" not in properties
    assert schema_fault(schema) is None


def test_a_class_that_contains_itself_becomes_a_definition() -> None:
    def walk(root: Node) -> int: ...

    schema = schema_of(walk)
    assert schema["properties"]["root"] == {"$ref": "#/$defs/Node"}
    assert misfits(schema, {"root": {"name": "a", "children": [{"name": "b"}]}}) == []
    assert set(misfits(schema, {"root": {"name": "a", "children": [{"nam": "b"}]}})) == {
        "root.children[0].name: is required",
        "root.children[0]: unknown: 'nam'",
    }


def test_records_dates_enums_and_tuples_are_made_from_json() -> None:
    def book(
        place: Place,
        tree: Node,
        window: Window,
        unit: Unit,
        when: datetime,
        ids: set[UUID],
        pair: tuple[int, str],
        p: Path,
    ) -> None: ...

    signature = read_signature(book, "m:book")
    uid = "6f1c2f57-5f0e-4c1e-9e0b-3f2f7a1f4a11"
    arguments = {
        "place": {"city": "Oslo", "tags": ["a"]},
        "tree": {"name": "r", "children": [{"name": "c"}]},
        "window": {"start": "2024-01-02"},
        "unit": "metric",
        "when": "2024-01-02T03:04:05Z",
        "ids": [uid],
        "pair": [1, "x"],
        "p": "a/b",
    }
    assert misfits(signature.schema("m:book"), arguments) == []
    _, named = bind(signature, arguments)
    assert named == {
        "place": Place("Oslo", ("a",)),
        "tree": Node("r", [Node("c")]),
        "window": {"start": date(2024, 1, 2)},
        "unit": Unit.METRIC,
        "when": datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC),
        "ids": {UUID(uid)},
        "pair": (1, "x"),
        "p": Path("a/b"),
    }


def test_positional_only_parameters_are_passed_by_place() -> None:
    def add(a: int, b: int = 2, /, *, c: int = 3) -> int:
        return a + b + c

    signature = read_signature(add, "m:add")
    positional, named = bind(signature, {"a": 1, "c": 5})
    assert add(*positional, **named) == 8


def test_more_keywords_are_passed_when_the_function_takes_them() -> None:
    def log(message: str, **fields: Any) -> None: ...

    signature = read_signature(log, "m:log")
    assert signature.schema("m:log")["additionalProperties"] is True
    assert bind(signature, {"message": "m", "level": 3}) == ([], {"message": "m", "level": 3})


def test_what_annotated_adds_is_no_part_of_the_type() -> None:
    def ask(
        text: Annotated[str, "What to ask.", {"maxLength": 9}],
        more: list[Annotated[int, {"minimum": 1}]] | None = None,
    ) -> str:
        return text

    signature = read_signature(ask, "m:ask")
    assert bind(signature, {"text": "a", "more": [1]}) == ([], {"text": "a", "more": [1]})
    with pytest.raises(BindingError, match="more"):
        bind(signature, {"text": "a", "more": ["x"]})


def test_all_values_that_do_not_fit_are_named() -> None:
    def at(when: datetime, where: Place) -> None: ...

    with pytest.raises(BindingError) as caught:
        bind(read_signature(at, "m:at"), {"when": "soon", "more": 1})
    assert "when" in str(caught.value)
    assert "where: is required" in str(caught.value)
    assert "more: is unknown" in str(caught.value)


def test_a_type_without_json_form_is_refused_with_a_way_out() -> None:
    def run(data: bytes, fine: int, handle: object, ok: complex) -> None: ...

    with pytest.raises(TerminalError) as caught:
        schema_of(run)
    assert caught.value.reason == "UnsupportedSignature"
    assert "data: bytes has no JSON Schema; ok: complex has no JSON Schema" in str(caught.value)
    assert "spec.inputSchema" in str(caught.value.remedy)


def test_star_arguments_are_refused() -> None:
    def total(*numbers: int) -> int: ...

    with pytest.raises(TerminalError, match=r"\*numbers has no names"):
        read_signature(total, "m:total")


def test_annotations_that_cannot_be_read_are_refused() -> None:
    def broken(x: NoSuchName) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(TerminalError, match="NoSuchName"):
        read_signature(broken, "m:broken")


def test_a_schema_that_the_function_cannot_take_is_a_mismatch() -> None:
    signature = read_signature(find, "m:find")
    assert signature.mismatch({"properties": {"city": {}}}) is None
    assert signature.mismatch({"type": "object"}) is None
    assert "lacks city" in str(signature.mismatch({"properties": {"days": {}}}))
    assert "has town" in str(signature.mismatch({"properties": {"city": {}, "town": {}}}))


def test_sphinx_fields_describe_parameters() -> None:
    doc = read_docstring("Do it.\n\n:param str city: where\n    to look\n:param n: how many\n:returns: nothing")
    assert doc.parameters == {"city": "where to look", "n": "how many"}


def test_sections_after_args_end_it() -> None:
    doc = read_docstring("Do.\n\nArgs:\n    a, b: both\n    c: one\n\n        more\n\nReturns:\n    d: no parameter")
    assert doc.parameters == {"a": "both", "b": "both", "c": "one more"}


@given(st.text())
def test_any_text_is_a_docstring(text: str) -> None:
    doc = read_docstring(text)
    assert "\n" not in doc.summary


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_json_stays_as_it_is(value: Any) -> None:
    assert to_json(value) == value


@given(
    st.recursive(
        st.none() | st.integers(-(2**63), 2**63) | st.dates() | st.datetimes() | st.uuids() | st.decimals(),
        lambda inner: (
            st.tuples(inner, inner) | st.frozensets(st.integers(0, 99)) | st.dictionaries(st.integers(0, 9), inner)
        ),
    )
)
def test_what_python_has_more_becomes_json(value: Any) -> None:
    try:
        orjson.dumps(to_json(value))
    except orjson.JSONEncodeError:  # pragma: no cover - the fact to refute
        pytest.fail("not JSON")


def test_records_and_sets_become_objects_and_lists() -> None:
    value = {
        "p": Place("x"),
        "n": Node("n"),
        "s": {3, 1, 2},
        "e": Unit.METRIC,
        "d": Decimal("1.10"),
        "u": {1: Unit.METRIC},
    }
    assert to_json(value) == {
        "p": {"city": "x", "tags": [], "zoom": 3},
        "n": {"name": "n", "children": []},
        "s": [1, 2, 3],
        "e": "metric",
        "d": "1.10",
        "u": {"1": "metric"},
    }


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"a": [1, object()]}, r"result\.a\[1\]: object has no JSON form"),
        (b"x", "result: bytes has no JSON form"),
        (math.nan, "JSON has no nan"),
        ({(1, 2): 3}, "keys are texts, found tuple"),
        (2**70, "too large"),
        (iter([1]), "list_iterator has no JSON form"),
        (Place, "type has no JSON form"),
    ],
)
def test_what_is_no_json_is_named_with_its_place(value: Any, words: str) -> None:
    with pytest.raises(ResultError, match=words):
        to_json(value)


def test_a_result_that_contains_itself_is_an_error() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(ResultError, match="contains itself"):
        to_json(loop)


def test_sequences_of_any_kind_are_lists() -> None:
    def join(words: Sequence[str], numbers: tuple[int, ...] = ()) -> None: ...

    assert schema_of(join)["properties"]["words"] == {"type": "array", "items": {"type": "string"}}
