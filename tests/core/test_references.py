"""Every form in which a manifest may name another resource."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kastra_core.api.kind import ResourceKind
from kastra_core.api.references import Reference, parse_reference
from kastra_core.api.registry import KindRegistry
from kastra_core.errors import InvalidReferenceError


def registry() -> KindRegistry:
    found = KindRegistry()
    found.register(ResourceKind(kind="Agent", plural="agents", short_names=("ag",)))
    found.register(ResourceKind(kind="Tool", plural="tools", short_names=("to",)))
    found.register(ResourceKind(kind="Source", plural="sources", group="acme.example"))
    return found


LOOKUP = registry().lookup

FORMS: list[tuple[Any, str]] = [
    ("finder", "mastra.ai Tool home finder"),
    (" finder ", "mastra.ai Tool home finder"),
    ("cooking.finder", "mastra.ai Tool cooking finder"),
    ("cooking.finder.v2", "mastra.ai Tool cooking finder.v2"),
    ("cooking/finder", "mastra.ai Tool cooking finder"),
    ("cooking/finder.v2", "mastra.ai Tool cooking finder.v2"),
    ("tools/finder", "mastra.ai Tool home finder"),
    ("tool/finder", "mastra.ai Tool home finder"),
    ("Tool/finder.v2", "mastra.ai Tool home finder.v2"),
    ("to/finder", "mastra.ai Tool home finder"),
    ("agents/greeter", "mastra.ai Agent home greeter"),
    ("ag/greeter", "mastra.ai Agent home greeter"),
    ("sources/s", "acme.example Source home s"),
    ("sources.acme.example/s", "acme.example Source home s"),
    ("agents/sales/greeter", "mastra.ai Agent sales greeter"),
    ("tools/cooking/finder", "mastra.ai Tool cooking finder"),
    ({"name": "finder"}, "mastra.ai Tool home finder"),
    ({"name": "finder.v2"}, "mastra.ai Tool home finder.v2"),
    ({"name": "finder", "namespace": "cooking"}, "mastra.ai Tool cooking finder"),
    ({"name": "finder", "namespace": ""}, "mastra.ai Tool home finder"),
    ({"name": "alias", "refName": "cooking.finder"}, "mastra.ai Tool cooking finder"),
    ({"name": "alias", "refName": "finder"}, "mastra.ai Tool home finder"),
    ({"name": "alias", "namespace": "far", "refName": "finder"}, "mastra.ai Tool far finder"),
    ({"name": "alias", "namespace": "far", "refName": "cooking.finder"}, "mastra.ai Tool cooking finder"),
    ({"ref": "cooking.finder"}, "mastra.ai Tool cooking finder"),
    ({"ref": "agents/greeter", "name": "alias"}, "mastra.ai Agent home greeter"),
    ({"ref": "a.first", "refName": "b.second", "name": "third"}, "mastra.ai Tool a first"),
    ({"refName": "b.second", "name": "third"}, "mastra.ai Tool b second"),
    ({"ref": "", "refName": "", "name": "third"}, "mastra.ai Tool home third"),
    ({"kind": "Agent", "name": "greeter"}, "mastra.ai Agent home greeter"),
    ({"kind": "agents", "name": "greeter"}, "mastra.ai Agent home greeter"),
    ({"kind": "source", "ref": "far.s"}, "acme.example Source far s"),
    ({"kind": "", "name": "finder"}, "mastra.ai Tool home finder"),
    ({"kind": "Unheard", "name": "x"}, "mastra.ai Unheard home x"),
]


@pytest.mark.parametrize(("value", "expected"), FORMS, ids=[str(value) for value, _ in FORMS])
def test_a_form_names_a_resource(value: Any, expected: str) -> None:
    found = parse_reference(value, kind="Tool", namespace="home", lookup=LOOKUP)
    assert " ".join(found.key) == expected


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("", "empty"), ("  ", "empty"), ("/", "empty"), ("a/", "empty"), ("/a", "empty"), ("a//b", "empty"),
        (".", "empty"), ("a.", "empty"), (".a", "empty"), ("nokind/ns/name", "'nokind' is no kind"),
        ("tools/a/b/c", "more than two slashes"), (None, "NoneType"), (5, "int"), (["a"], "list"),
        ({}, "neither name nor ref nor refName"), ({"namespace": "x"}, "neither"), ({"name": ""}, "neither"),
        ({"name": 5}, "name is not a string"), ({"ref": None}, "ref is not a string"),
        ({"refName": ["a"]}, "refName is not a string"), ({"name": "a", "namespace": 1}, "namespace is not a string"),
        ({"name": "a", "kind": {}}, "kind is not a string"),
    ],
)  # fmt: skip
def test_what_is_no_reference_says_why_and_what_is_allowed(value: Any, why: str) -> None:
    with pytest.raises(InvalidReferenceError) as caught:
        parse_reference(value, kind="Tool", namespace="home", lookup=LOOKUP)
    assert why in str(caught.value)
    assert "allowed are name, namespace.name, namespace/name, plural/name" in str(caught.value)


@pytest.mark.parametrize(
    ("value", "alias"),
    [
        ("cooking.finder", "finder"), ({"name": "a", "refName": "x.b"}, "a"), ({"ref": "x.b"}, "b"),
        ({"name": "a"}, "a"), ({"name": "a", "alias": "c"}, "c"), ({"ref": "x.b", "alias": "c", "name": "a"}, "c"),
    ],
)  # fmt: skip
def test_alias_is_what_the_manifest_calls_it(value: Any, alias: str) -> None:
    assert parse_reference(value, kind="Tool", namespace="home").alias == alias


def test_without_a_lookup_the_kind_that_is_meant_is_known_by_its_name_and_plain_plural() -> None:
    def of(value: Any) -> str:
        return str(parse_reference(value, kind="Agent", namespace="home"))

    assert of("agents/x") == of("Agent/x") == of({"kind": "agents", "name": "x"}) == "Agent home/x"
    assert of("tools/x") == "Agent tools/x"


def test_alias_and_path_do_not_count_for_equality() -> None:
    one = parse_reference({"name": "alias", "ref": "a.b"}, kind="Tool", namespace="x", path="spec.tools[0]")
    assert one == parse_reference("b", kind="Tool", namespace="a")
    assert one.path == "spec.tools[0]"
    assert len({one, Reference(kind="Tool", namespace="a", name="b")}) == 1


labels = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,5}[a-z0-9])?", fullmatch=True)
names = st.lists(labels, min_size=1, max_size=3).map(".".join)
kinds = st.sampled_from([("tools", "Tool"), ("agents", "Agent"), ("sources", "Source")])


@given(labels, names, kinds)
def test_every_form_that_spells_all_parts_gives_the_same_resource(
    namespace: str, name: str, kind: tuple[str, str]
) -> None:
    plural, word = kind
    group = "acme.example" if word == "Source" else "mastra.ai"
    expected = Reference(kind=word, group=group, namespace=namespace, name=name)

    def of(value: Any, meant: str = "Tool", home: str = "elsewhere", in_group: str = "mastra.ai") -> Reference:
        return parse_reference(value, kind=meant, group=in_group, namespace=home, lookup=LOOKUP)

    assert of(f"{plural}/{namespace}/{name}") == expected
    assert of(f"{word}/{namespace}/{name}") == expected
    assert of({"ref": f"{plural}/{namespace}/{name}", "name": "alias"}) == expected
    assert of({"kind": word, "namespace": namespace, "name": name}) == expected
    assert of(f"{plural}/{name}", home=namespace) == expected
    assert of(f"{namespace}.{name}", meant=word, in_group=group) == expected
    assert of({"refName": f"{namespace}.{name}"}, meant=word, in_group=group) == expected
    if "." not in name:
        assert of(name, meant=word, home=namespace, in_group=group) == expected
    if LOOKUP(namespace) is None:
        assert of(f"{namespace}/{name}", meant=word, in_group=group) == expected


@given(st.recursive(st.one_of(st.none(), st.integers(), st.text()), lambda i: st.lists(i) | st.dictionaries(
    st.sampled_from(("name", "namespace", "ref", "refName", "kind", "alias", "x")), i)))  # fmt: skip
def test_any_json_is_a_reference_or_an_invalid_reference(value: Any) -> None:
    try:
        found = parse_reference(value, kind="Tool", namespace="home", lookup=LOOKUP)
    except InvalidReferenceError:
        return
    assert found.kind
    assert found.namespace
    assert found.name
