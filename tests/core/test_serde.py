"""The strict converter: no coercion, every problem at once with its path."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kastra_core import serde
from kastra_core.errors import KastraError, OperationError, Problem, RateLimitError, TerminalError, ValidationError
from kastra_core.serde import FieldError, field_name, problems_of, structure, type_word, typed, unstructure


@attrs.frozen(kw_only=True)
class Part:
    name: str
    weight_kg: float = 0.0


@attrs.frozen(kw_only=True)
class Whole:
    title: str
    count: int = 1
    ratio: float | None = None
    enabled: bool = False
    mode: Literal["fast", "slow"] = "fast"
    level: Literal[1, 2] = 1
    part: Part | None = None
    parts: tuple[Part, ...] = ()
    by_name: Mapping[str, Part] = attrs.field(factory=dict)
    words: list[str] = attrs.field(factory=list)
    numbers: Sequence[int] = ()
    tags: frozenset[str] = frozenset()
    pair: tuple[str, int] = ("", 0)
    free: Any = None
    open_map: dict[str, Any] = attrs.field(factory=dict)
    timeout_s: float = attrs.field(default=1.0, metadata={"name": "timeout"})
    from_: str = ""


@attrs.frozen
class Node:
    name: str
    children: tuple[Node, ...] = ()


def problems(value: Any, cls: Any = Whole, path: str = "spec") -> list[tuple[str, str, str]]:
    with pytest.raises(Exception) as caught:
        structure(value, cls)
    return [(p.path, p.message, p.hint) for p in problems_of(caught.value, path)]


# ------------------------------------------------------------------------------------------ strictness

STRICT: list[tuple[str, Any, str]] = [
    ("count", "5", "expected an integer, found string '5'"),
    ("count", 5.0, "expected an integer, found number 5.0"),
    ("count", True, "expected an integer, found boolean true"),
    ("count", None, "expected an integer, found null"),
    ("ratio", "1.5", "expected a number, found string '1.5'"),
    ("ratio", True, "expected a number, found boolean true"),
    ("enabled", 1, "expected a boolean (true or false), found integer 1"),
    ("enabled", "yes", "expected a boolean (true or false), found string 'yes'"),
    ("mode", "fats", "expected one of fast, slow, found string 'fats'"),
    ("mode", ["fast"], "expected one of fast, slow, found a list"),
    ("mode", None, "expected one of fast, slow, found null"),
    ("level", True, "expected one of 1, 2, found boolean true"),
    ("level", 1.0, "expected one of 1, 2, found number 1.0"),
    ("part", [], "expected an object, found a list"),
    ("part", "x", "expected an object, found string 'x'"),
    ("parts", {}, "expected a list, found an object"),
    ("parts", "ab", "expected a list, found string 'ab'"),
    ("byName", [], "expected an object, found a list"),
    ("words", "ab", "expected a list, found string 'ab'"),
    ("words", {"a": 1}, "expected a list, found an object"),
    ("numbers", "12", "expected a list, found string '12'"),
    ("tags", "ab", "expected a list, found string 'ab'"),
    ("pair", "ab", "expected a list, found string 'ab'"),
    ("pair", ["a"], "expected a list of 2 items, found 1"),
    ("openMap", [], "expected an object, found a list"),
    ("timeout", "1", "expected a number, found string '1'"),
]


@pytest.mark.parametrize(("field", "value", "message"), STRICT)
def test_nothing_is_coerced(field: str, value: Any, message: str) -> None:
    assert [(path, text) for path, text, _ in problems({"title": "t", field: value})] == [(f"spec.{field}", message)]


@pytest.mark.parametrize("value", [5, 5.5, True])
def test_a_scalar_where_text_is_meant_should_be_put_in_quotes(value: Any) -> None:
    ((path, message, hint),) = problems({"title": value})
    assert (path, hint) == ("spec.title", "put it in quotes")
    assert message.startswith("expected a string, found ")


def test_items_of_lists_and_maps_are_checked_each() -> None:
    found = problems(
        {
            "title": "t",
            "words": ["a", 1],
            "numbers": [1, "2", True],
            "tags": ["a", None],
            "pair": [1, "x"],
            "parts": [{"name": "a"}, {"name": 5}, 7],
            "byName": {"x": {"name": "a", "weightKg": "1"}},
        }
    )
    assert [path for path, _, _ in found] == [
        "spec.parts[1].name", "spec.parts[2]", "spec.byName.x.weightKg", "spec.words[1]", "spec.numbers[1]",
        "spec.numbers[2]", "spec.tags[1]", "spec.pair[0]", "spec.pair[1]",
    ]  # fmt: skip


def test_all_problems_come_at_once() -> None:
    found = problems({"count": "x", "part": {"name": 1, "wieght": 2}, "titel": "t", "parts": [{}]})
    assert found == [
        ("spec.title", "required field is missing", ""),
        ("spec.count", "expected an integer, found string 'x'", ""),
        ("spec.part.name", "expected a string, found integer 1", "put it in quotes"),
        ("spec.part.wieght", "unknown field 'wieght'", "did you mean 'weightKg'?"),
        ("spec.parts[0].name", "required field is missing", ""),
        ("spec.titel", "unknown field 'titel'", "did you mean 'title'?"),
    ]


def test_an_unknown_field_names_the_nearest_by_its_manifest_name() -> None:
    assert problems({"title": "t", "timeoutS": 1})[0][2] == "did you mean 'timeout'?"
    assert problems({"title": "t", "by_name": {}})[0][2] == "did you mean 'byName'?"


def test_a_wrong_word_names_the_nearest() -> None:
    assert problems({"title": "t", "mode": "fats"})[0][2] == "did you mean 'fast'?"


@pytest.mark.parametrize("value", [None, [], "x", 5])
def test_the_whole_must_be_an_object(value: Any) -> None:
    ((path, message, _),) = problems(value)
    assert path == "spec"
    assert message.startswith("expected an object")


# ------------------------------------------------------------------------------------------ what is read


def test_json_becomes_typed_objects() -> None:
    found = structure(
        {
            "title": "t", "ratio": 1, "part": {"name": "p"}, "parts": [{"name": "q", "weightKg": 2}],
            "byName": {"r": {"name": "r"}}, "words": ["a"], "numbers": [1], "tags": ["x", "x"], "pair": ["a", 1],
            "free": {"any": [1]}, "openMap": {"k": None}, "timeout": 3, "from": "here", "level": 2,
        },
        Whole,
    )  # fmt: skip
    assert found == Whole(
        title="t", ratio=1, part=Part(name="p"), parts=(Part(name="q", weight_kg=2),), by_name={"r": Part(name="r")},
        words=["a"], numbers=(1,), tags=frozenset({"x"}), pair=("a", 1), free={"any": [1]}, open_map={"k": None},
        timeout_s=3, from_="here", level=2,
    )  # fmt: skip


def test_null_is_allowed_where_a_field_is_optional() -> None:
    assert structure({"title": "t", "ratio": None, "part": None}, Whole) == Whole(title="t")


def test_a_class_may_contain_itself() -> None:
    assert structure({"name": "a", "children": [{"name": "b"}]}, Node) == Node("a", (Node("b"),))
    assert problems({"name": "a", "children": [{"name": "b", "children": [{"nam": 1}]}]}, Node) == [
        ("spec.children[0].children[0].name", "required field is missing", ""),
        ("spec.children[0].children[0].nam", "unknown field 'nam'", "did you mean 'name'?"),
    ]


def test_a_validators_error_is_a_problem_of_its_object() -> None:
    @attrs.frozen
    class Even:
        number: int = attrs.field()

        @number.validator
        def _even(self, _: Any, value: int) -> None:
            if value % 2:
                raise ValueError(f"{value} is odd")

    assert problems({"number": 3}, Even) == [("spec", "3 is odd", "")]


def test_a_hooks_field_error_carries_its_own_path() -> None:
    error = FieldError("no good", path="inner[0]", hint="mend it")
    assert problems_of(error, "spec.x") == [Problem("no good", "spec.x.inner[0]", hint="mend it")]
    assert problems_of(FieldError("no good", path="[0]"), "spec.x")[0].path == "spec.x[0]"


# ------------------------------------------------------------------------------------------ writing


def test_defaults_are_left_out() -> None:
    assert unstructure(Whole(title="t")) == {"title": "t"}
    assert unstructure(Whole(title="t", part=Part(name="p"), timeout_s=2.0, from_="x")) == {
        "title": "t", "part": {"name": "p"}, "timeout": 2.0, "from": "x",
    }  # fmt: skip


@pytest.mark.parametrize(("name", "expected"), [("by_name", "byName"), ("timeout_s", "timeout"), ("from_", "from")])
def test_field_name_is_camel_case_or_what_metadata_says(name: str, expected: str) -> None:
    assert field_name(getattr(attrs.fields(Whole), name)) == expected


texts = st.text(max_size=4)
parts = st.builds(Part, name=texts, weight_kg=st.floats(allow_nan=False, allow_infinity=False))
wholes = st.builds(
    Whole,
    title=texts, count=st.integers(), ratio=st.none() | st.floats(allow_nan=False), enabled=st.booleans(),
    mode=st.sampled_from(("fast", "slow")), level=st.sampled_from((1, 2)), part=st.none() | parts,
    parts=st.lists(parts, max_size=3).map(tuple), by_name=st.dictionaries(texts, parts, max_size=3),
    words=st.lists(texts), open_map=st.dictionaries(texts, st.integers()), timeout_s=st.floats(1, 2), from_=texts,
)  # fmt: skip


@given(wholes)
def test_what_is_written_is_read_back(whole: Whole) -> None:
    def listed(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: listed(item) for key, item in value.items()}
        return [listed(item) for item in value] if isinstance(value, (list, tuple)) else value

    assert structure(listed(unstructure(whole)), Whole) == whole


jsons = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([field_name(a) for a in attrs.fields(Whole)] + ["name", "x"]), inner, max_size=4
        )
    ),
)


@given(jsons)
def test_any_json_is_read_or_has_problems_with_paths(value: Any) -> None:
    try:
        structure(value, Whole)
    except Exception as error:
        found = problems_of(error, "spec")
    else:
        return
    assert found
    assert all(problem.message and problem.path.startswith("spec") for problem in found)


# ------------------------------------------------------------------------------------------ the cache


def test_typed_is_structured_once_per_object_and_class() -> None:
    spec = {"name": "p"}
    assert typed(spec, Part) is typed(spec, Part)
    assert typed(spec, Node) == Node("p")
    assert typed(dict(spec), Part) is not typed(spec, Part)


def test_typed_gives_no_stale_object_when_memory_is_used_again() -> None:
    for number in range(10_000):
        assert typed({"name": str(number)}, Part).name == str(number)
    assert len(serde._typed) <= serde._TYPED_MAX


def test_typed_does_not_remember_errors() -> None:
    spec: dict[str, Any] = {"name": 5}
    for _ in range(2):
        with pytest.raises(Exception, match=r"\w"):
            typed(spec, Part)


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (None, "null"), (True, "boolean true"), (5, "integer 5"), (1.5, "number 1.5"), ("x", "string 'x'"),
        ("y" * 41, "a string (41 characters)"), ({}, "an object"), ([], "a list"), ((), "a list"), (object, "type"),
    ],
)  # fmt: skip
def test_type_word_speaks_of_yaml(value: Any, word: str) -> None:
    assert type_word(value) == word


# ------------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    "error",
    [
        ValidationError([Problem("m", "spec.x", hint="h", file="f.yaml", line=3, column=4, resource="Agent a")]),
        TerminalError("m", reason="R", remedy="r"), RateLimitError("m", retry_after_s=2.0, provider="p", status=429),
        OperationError("m", reason="R", retryable=True, details={"a": 1}),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_errors_survive_pickling(error: KastraError) -> None:
    back = pickle.loads(pickle.dumps(error))
    assert (type(back), str(back), back.reason, back.remedy) == (type(error), str(error), error.reason, error.remedy)


def test_a_problem_says_place_resource_path_message_and_hint() -> None:
    problem = Problem("is wrong", "spec.x", hint="mend it", file="f.yaml", line=3, column=4, resource="Agent a/b")
    assert str(problem) == "f.yaml:3:4: Agent a/b: spec.x: is wrong; mend it"
    assert str(problem.at(line=0, resource="")) == "f.yaml: spec.x: is wrong; mend it"
    assert str(Problem("is wrong")) == "is wrong"
