"""Label and field selectors, in kubectl's syntax."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kastra_core.api.meta import ObjectMeta, Resource
from kastra_core.api.selectors import FieldSelector, LabelSelector, field_value
from kastra_core.errors import SelectorError

LABELS = {"app": "kitchen", "tier": "front", "empty": "", "acme.example/team": "a-1"}

TABLE: list[tuple[str, bool]] = [
    ("", True), ("  ", True),
    ("app=kitchen", True), ("app==kitchen", True), ("app = kitchen", True), ("app=hall", False), ("app=", False),
    ("app!=kitchen", False), ("app!=hall", True), ("missing!=x", True), ("missing=x", False), ("missing=", False),
    ("empty=", True), ("empty!=", False), ("app", True), ("missing", False), ("!missing", True), ("! app", False),
    ("empty", True), ("!empty", False),
    ("app in (kitchen,hall)", True), ("app in (hall)", False), ("app in(kitchen)", True), ("app in ( kitchen )", True),
    ("app notin (kitchen)", False), ("app notin (hall, x)", True), ("missing notin (x)", True),
    ("missing in (x)", False), ("empty in (,x)", True), ("empty in ()", True), ("missing in ()", False),
    ("app=kitchen,tier=front", True), ("app=kitchen,tier=back", False), ("app=kitchen , !missing", True),
    ("app in (a,kitchen),tier notin (back),acme.example/team=a-1,!x", True), ("acme.example/team", True),
]  # fmt: skip


@pytest.mark.parametrize(("text", "matches"), TABLE)
def test_a_label_selector_matches_as_kubectls(text: str, matches: bool) -> None:
    assert LabelSelector.parse(text).matches(LABELS) is matches


@pytest.mark.parametrize(
    "text",
    [
        ",", "app=kitchen,", ",app", "a,,b", "=x", "!=x", "!", "a=b=c", "a!b", "a = b c", "a in", "a in x", "a in (x",
        "a in x)", "a in (x) y", "a of (x)", "in (x)", "!a=b", "-a", "a-", "a b", "(a)", "a in ((x))", "a=(b)=c",
    ],
)  # fmt: skip
def test_what_is_no_label_selector_is_an_error(text: str) -> None:
    with pytest.raises(SelectorError) as caught:
        LabelSelector.parse(text)
    assert repr(text) in str(caught.value)


RESOURCE = Resource(
    api_version="mastra.ai/v1",
    kind="Agent",
    metadata=ObjectMeta(name="a", namespace="n", uid="u-1", labels={"app": "k"}),
    spec={"model": {"name": "gpt-4o", "temperature": 1.5}, "enabled": True, "steps": 3, "none": None},
    status={"phase": "Ready"},
    extra={"data": {"k": "v"}},
)

FIELDS: list[tuple[str, bool]] = [
    ("", True), ("metadata.name=a", True), ("metadata.name==a", True), ("metadata.name!=a", False),
    ("metadata.namespace=n", True), ("metadata.uid=u-1", True), ("metadata.labels.app=k", True),
    ("status.phase=Ready", True), ("status.phase!=Ready", False), ("status.phase=Running,metadata.name=a", False),
    ("spec.model.name=gpt-4o", True), ("spec.model.temperature=1.5", True), ("spec.enabled=true", True),
    ("spec.steps=3", True), ("spec.none=", True), ("status.absent=", True), ("status.absent!=x", True),
    ("status.phase.deeper=", True), ("absent.at.all=", True), ("kind=Agent", True), ("apiVersion=mastra.ai/v1", True),
    ("data.k=v", True),
]  # fmt: skip


@pytest.mark.parametrize(("text", "matches"), FIELDS)
def test_a_field_selector_matches_as_kubectls(text: str, matches: bool) -> None:
    assert FieldSelector.parse(text).matches(RESOURCE) is matches


@pytest.mark.parametrize("text", ["status.phase", "!status.phase", "a in (b)", ",", "a=b,", "a=b c", "=b"])
def test_what_is_no_field_selector_is_an_error(text: str) -> None:
    with pytest.raises(SelectorError):
        FieldSelector.parse(text)


@pytest.mark.parametrize(
    ("path", "value"), [("spec", RESOURCE.spec), ("status.phase", "Ready"), ("metadata.generation", None), ("x", None)]
)
def test_field_value_is_the_value_at_a_path(path: str, value: Any) -> None:
    assert field_value(RESOURCE, path) == value


keys = st.sampled_from(["a", "b", "x.y/c", "in", "notin"])
words = st.sampled_from(["", "1", "two", "t-3", "in"])
terms = st.tuples(keys, st.sampled_from(["in", "notin", "exists", "!exists", "=", "!="]), st.lists(words, min_size=1))


def written(term: tuple[str, str, list[str]]) -> str:
    key, op, values = term
    if op in ("in", "notin"):
        return f"{key} {op} ({', '.join(values)})"
    return {"exists": key, "!exists": f"!{key}"}.get(op, f"{key}{op}{values[0]}")


def holds(term: tuple[str, str, list[str]], labels: dict[str, str]) -> bool:
    key, op, values = term
    match op:
        case "in":
            return key in labels and labels[key] in values
        case "notin":
            return key not in labels or labels[key] not in values
        case "exists":
            return key in labels
        case "!exists":
            return key not in labels
        case "=":
            return key in labels and labels[key] == values[0]
    return key not in labels or labels[key] != values[0]


@given(st.lists(terms, max_size=4), st.dictionaries(keys, words))
def test_a_selector_holds_when_all_its_terms_do(
    selected: list[tuple[str, str, list[str]]], labels: dict[str, str]
) -> None:
    text = ",".join(written(term) for term in selected)
    assert LabelSelector.parse(text).matches(labels) is all(holds(term, labels) for term in selected)


@given(st.text(alphabet="ab=!,() in\tnot-./é", max_size=14))
def test_any_text_is_a_selector_or_a_selector_error(text: str) -> None:
    for selector in (LabelSelector, FieldSelector):
        with contextlib.suppress(SelectorError):
            selector.parse(text)
