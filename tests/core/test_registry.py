"""Finding kinds by any spelling."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kastra_core.api.kind import GroupVersionKind, ResourceKind
from kastra_core.api.meta import ResourceKey
from kastra_core.api.registry import KindRegistry
from kastra_core.errors import AmbiguousKindError, PluginConflictError, UnknownKindError

AGENT = ResourceKind(kind="Agent", plural="agents", short_names=("ag",))
TOOL = ResourceKind(kind="Tool", plural="tools", categories=("all", "parts"))
THEIR_AGENT = ResourceKind(kind="Agent", plural="agents", group="acme.example", short_names=("aa",))
NEWS = ResourceKind(kind="News", plural="news", group="acme.example", version="v2", ephemeral=True)


def registry(*kinds: ResourceKind) -> KindRegistry:
    found = KindRegistry()
    for kind in kinds:
        found.register(kind, provider=f"plugin-{kind.kind.lower()}")
    return found


@pytest.mark.parametrize(
    ("spelling", "kind"),
    [
        ("agents", AGENT), ("agent", AGENT), ("Agent", AGENT), ("AGENTS", AGENT), ("ag", AGENT), ("AG", AGENT),
        ("agents.mastra.ai", AGENT), ("agent.mastra.ai", AGENT), ("Agent.mastra.ai", AGENT), ("ag.mastra.ai", AGENT),
        ("agents.acme.example", THEIR_AGENT), ("aa", THEIR_AGENT), ("news", NEWS), ("tools", TOOL),
    ],
)  # fmt: skip
def test_a_kind_is_found_by_every_spelling(spelling: str, kind: ResourceKind) -> None:
    found = registry(THEIR_AGENT, NEWS, TOOL, AGENT)
    assert found.resolve(spelling) is kind
    assert found.lookup(spelling) == kind.group_kind


@pytest.mark.parametrize("spelling", ["", "agentz", "agents.other.example", "ag.acme.example", ".mastra.ai", "agents."])
def test_an_unknown_spelling_is_an_error(spelling: str) -> None:
    found = registry(AGENT, THEIR_AGENT)
    with pytest.raises(UnknownKindError):
        found.resolve(spelling)
    assert found.lookup(spelling) is None


def test_an_unknown_spelling_names_the_nearest() -> None:
    with pytest.raises(UnknownKindError, match="did you mean 'agents'"):
        registry(AGENT, TOOL).resolve("agens")


def test_a_spelling_of_two_foreign_groups_is_ambiguous() -> None:
    other = ResourceKind(kind="Agent", plural="agents", group="other.example")
    found = registry(THEIR_AGENT, other)
    with pytest.raises(AmbiguousKindError, match=r"write one of agents\.acme\.example, agents\.other\.example"):
        found.resolve("agents")
    assert found.lookup("agents") is None
    found.unregister("other.example", "Agent")
    assert found.resolve("agents") is THEIR_AGENT


@pytest.mark.parametrize(
    "twin", [ResourceKind(kind="Agent", plural="others"), ResourceKind(kind="Other", plural="agents")]
)
def test_a_taken_kind_or_plural_is_a_conflict_and_the_first_stays(twin: ResourceKind) -> None:
    found = registry(AGENT)
    with pytest.raises(PluginConflictError) as caught:
        found.register(twin, provider="late")
    assert (caught.value.first, caught.value.second) == ("plugin-agent", "late")
    assert list(found) == [AGENT]
    assert found.lookup("others") is None


@pytest.mark.parametrize(
    ("api_version", "version"),
    [("mastra.ai/v1", None), ("mastra/v1", "v1"), ("mastra.ai/v1alpha1", "v1alpha1")],
)
def test_old_api_versions_of_the_main_group_are_read(api_version: str, version: str | None) -> None:
    assert registry(AGENT).for_manifest(api_version, "Agent") == (AGENT, version)


def test_a_kind_that_serves_an_old_version_itself_keeps_it() -> None:
    kind = ResourceKind(kind="Agent", plural="agents", version="v1alpha1")
    assert registry(kind).for_manifest("mastra.ai/v1alpha1", "Agent") == (kind, None)


def test_a_version_with_a_conversion_is_read() -> None:
    kind = ResourceKind(kind="Agent", plural="agents", version="v2", conversions={"v1": dict})
    found = registry(kind)
    assert found.for_manifest("mastra.ai/v1", "Agent") == (kind, "v1")
    assert found.for_manifest("mastra/v1", "Agent") == (kind, "v1")
    assert found.for_manifest("mastra.ai/v1alpha1", "Agent") == (kind, "v1")


@pytest.mark.parametrize(
    ("api_version", "kind", "words"),
    [
        ("mastra.ai/v9", "Agent", "served: mastra.ai/v1"), ("acme.example/v1", "Agent", "'Agent'"), ("v1", "Agent", ""),
        ("mastra.ai/v1", "Agnt", "did you mean 'Agent'"), ("mastra/v1", "Agnt", "did you mean 'Agent'"), ("", "", ""),
    ],
)  # fmt: skip
def test_a_manifest_of_an_unknown_kind_or_version_is_an_error(api_version: str, kind: str, words: str) -> None:
    with pytest.raises(UnknownKindError) as caught:
        registry(AGENT).for_manifest(api_version, kind)
    assert words in str(caught.value)


def test_listeners_hear_of_changes_until_they_end() -> None:
    found, heard = registry(AGENT), list[tuple[str, bool]]()
    end = found.subscribe(lambda kind, there: heard.append((kind.kind, there)))
    found.register(TOOL)
    found.unregister("mastra.ai", "Tool")
    found.unregister("mastra.ai", "Tool")
    end()
    end()
    found.register(TOOL)
    assert heard == [("Tool", True), ("Tool", False)]


def test_iteration_is_in_order_with_the_main_group_first() -> None:
    found = registry(NEWS, THEIR_AGENT, TOOL, AGENT)
    assert list(found) == [AGENT, TOOL, THEIR_AGENT, NEWS]
    assert len(found) == 4
    assert found.gvks()[0] == GroupVersionKind("mastra.ai", "v1", "Agent")


def test_a_category_has_its_kinds_without_bookkeeping() -> None:
    found = registry(NEWS, TOOL, AGENT)
    assert found.in_category("all") == [AGENT, TOOL]
    assert found.in_category("parts") == [TOOL]


def test_a_kind_is_found_by_key_and_by_group() -> None:
    found = registry(AGENT)
    assert found.of_key(ResourceKey("mastra.ai", "Agent", "x", "y")) is AGENT
    assert found.get("mastra.ai", "Tool") is None
    assert found.provider_of(AGENT) == "plugin-agent"
    with pytest.raises(UnknownKindError):
        found.of_key(ResourceKey("mastra.ai", "Agen", "x", "y"))


words = st.sampled_from(["ant", "ants", "bee", "bees", "cow"])
kinds = st.builds(
    lambda kind, plural, group, short: ResourceKind(
        kind=kind.capitalize(), plural=plural, group=group, short_names=short
    ),
    words,
    words,
    st.sampled_from(["mastra.ai", "acme.example", ""]),
    st.lists(words, max_size=2).map(tuple),
)


@given(st.lists(st.tuples(st.booleans(), kinds), max_size=12))
def test_spellings_fit_the_registered_kinds_whatever_came_and_went(steps: list[tuple[bool, Any]]) -> None:
    found = KindRegistry()
    there: dict[tuple[str, str], ResourceKind] = {}
    for add, kind in steps:
        if not add:
            found.unregister(*kind.group_kind)
            there.pop(kind.group_kind, None)
            continue
        taken = any(
            k.group_kind == kind.group_kind or k.qualified_plural == kind.qualified_plural for k in there.values()
        )
        try:
            found.register(kind)
        except PluginConflictError:
            assert taken
        else:
            assert not taken
            there[kind.group_kind] = kind
    assert {kind.group_kind for kind in found} == set(there)
    for word in ("ant", "ants", "bee", "bees", "cow"):
        hits = [kind for kind in there.values() if word in kind.names]
        main = [kind for kind in hits if kind.group == "mastra.ai"]
        expected = hits[0] if len(hits) == 1 else main[0] if len(main) == 1 else None
        assert found.lookup(word) == (expected.group_kind if expected else None)
