"""Teams as Networks."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from kastra_core.api.registry import KindRegistry
from kastra_core.migration import MemorySource, read_text
from kastra_core.migration.engine import problems_of_result
from kastra_core.plugins import PluginManager
from kastra_core.protocols.migrator import MigrationResult, SourceDocument
from kastra_core.runtime import registry_of
from kastra_plugin_docker_agent.migrator import DockerAgentMigrator

_REGISTRY: list[KindRegistry] = []


def registry() -> KindRegistry:
    if not _REGISTRY:
        _REGISTRY.append(registry_of(PluginManager()))
    return _REGISTRY[0]


def migrated(text: str) -> MigrationResult:
    return DockerAgentMigrator().migrate(MemorySource(read_text(text, "team.yaml")))


def networks(result: MigrationResult) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one["spec"] for one in result.resources if one["kind"] == "Network"}


def test_an_agent_with_sub_agents_routes_with_its_model_and_instructions() -> None:
    result = migrated(
        "agents:\n  root: {model: openai/x, description: Leads, instruction: Lead., sub_agents: [web_search]}\n"
        "  web_search: {model: openai/y, instruction: Search.}\n"
    )
    assert networks(result) == {
        "root": {
            "description": "Leads",
            "agents": ["root", {"name": "web_search", "ref": "web-search"}],
            "router": {
                "model": {"provider": "openai", "name": "x"},
                "instructions": "Lead.\n\nThe member root is you, with your tools. It has the last word: when other "
                "members have answered, choose root with done true, to answer the user from what they found.\n",
                "fallback": "root",
            },
        }
    }


def chosen(text: str) -> dict[str, str]:
    return {row.key: row.target for row in migrated(text).rows if row.outcome == "defaulted"}


def test_it_is_told_that_turns_have_a_limit_here_where_an_agent_may_need_many() -> None:
    tools = "toolsets: [{type: think}]"
    assert "agents.root.max_iterations" not in chosen("agents: {root: {model: openai/x, instruction: x}}\n")
    assert "agents.root.max_iterations" not in chosen(
        f"agents: {{root: {{model: openai/x, instruction: x, max_iterations: 50, {tools}}}}}\n"
    )
    alone = chosen(f"agents: {{root: {{model: openai/x, instruction: x, {tools}}}}}\n")
    assert alone["agents.root.max_iterations"] == "Agent default/root spec.limits"
    team = "agents: {root: {model: openai/x, instruction: x, sub_agents: [a]}, a: {model: openai/x}}\n"
    (reason,) = [row.reason for row in migrated(team).rows if row.key == "agents.root.max_iterations"]
    assert "spec.router.maxSteps" in reason


def test_a_sub_agent_with_a_team_is_a_network_in_the_network() -> None:
    agent = "model: openai/x, instruction: x"
    result = migrated(
        f"agents: {{root: {{{agent}, sub_agents: [a]}}, a: {{{agent}, sub_agents: [b]}}, b: {{{agent}}}}}\n"
    )
    made = networks(result)
    assert (made["root"]["agents"], made["root"]["networks"]) == (["root"], ["a"])
    assert made["a"]["agents"] == ["a", "b"]


def test_teams_that_lead_back_to_each_other_make_no_circle() -> None:
    agent = "model: openai/x, instruction: x"
    result = migrated(f"agents: {{root: {{{agent}, sub_agents: [a]}}, a: {{{agent}, sub_agents: [root]}}}}\n")
    assert problems_of_result(result.resources, registry()) == ()
    assert networks(result)["root"]["agents"] == ["root", "a"]
    reasons = [row.reason for row in result.rows if row.key == "agents.root.sub_agents[0]"]
    assert reasons == [
        "a member; the router is told that root has the last word; without its own team, which leads back here"
    ]


def test_handoffs_make_one_network_whose_router_knows_the_ways() -> None:
    agent = "model: openai/x, instruction: Go., handoffs"
    result = migrated(f"agents: {{root: {{{agent}: [a]}}, a: {{{agent}: [b]}}, b: {{{agent}: [root]}}}}\n")
    (spec,) = networks(result).values()
    assert spec["agents"] == ["root", "a", "b"]
    assert spec["router"]["instructions"] == "Go.\n\nWho may go on after whom:\n- root: a\n- a: b\n- b: root\n"


def test_the_first_agent_is_the_entry_where_none_is_called_root() -> None:
    result = migrated("metadata: {author: Ada}\nagents: {b: {model: openai/x}, a: {model: openai/x}}\n")
    annotations = {one["metadata"]["name"]: one["metadata"].get("annotations") for one in result.resources}
    assert annotations == {"b": {"docker-agent/author": "Ada"}, "a": None}


def test_an_agent_from_elsewhere_has_to_be_fetched_by_hand() -> None:
    agent = "model: openai/x, instruction: x"
    result = migrated(f"agents: {{root: {{{agent}, sub_agents: [agentcatalog/pirate, a]}}, a: {{{agent}}}}}\n")
    assert networks(result)["root"]["agents"] == ["root", "a"]
    (row,) = [row for row in result.rows if row.key == "agents.root.sub_agents[0]"]
    assert row.outcome == "manual"
    assert "Network root" in row.reason


def test_agents_of_several_files_are_named_after_their_files() -> None:
    text = "agents: {root: {model: openai/x, instruction: x, sub_agents: [b]}, b: {model: openai/x}}\n"
    files = ["one/team.yaml", "two/team.yaml", "three.yaml"]
    documents = [document for file in files for document in read_text(text, file)]
    result = DockerAgentMigrator().migrate(MemorySource(documents))
    agents = [one["metadata"]["name"] for one in result.resources if one["kind"] == "Agent"]
    assert agents == ["root", "b", "two-team-root", "two-team-b", "three-root", "three-b"]
    assert list(networks(result)) == ["root", "two-team-root", "three-root"]
    assert networks(result)["three-root"]["agents"] == [
        {"name": "root", "ref": "three-root"},
        {"name": "b", "ref": "three-b"},
    ]


_NAMES = ["root", "a", "b", "c", "d"]


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(_NAMES), st.tuples(*[st.lists(st.sampled_from(_NAMES), max_size=3)] * 2), min_size=1
    )
)
def test_any_team_becomes_networks_that_apply(team: dict[str, tuple[list[str], list[str]]]) -> None:
    agents = {
        name: {
            "model": "openai/x",
            "instruction": name,
            "sub_agents": [one for one in subs if one in team],
            "handoffs": [one for one in handoffs if one in team],
        }
        for name, (subs, handoffs) in team.items()
    }
    document = SourceDocument(file="t.yaml", text="", data={"agents": agents})
    result = DockerAgentMigrator().migrate(MemorySource([document]))
    assert problems_of_result(result.resources, registry()) == ()
    members = {name for spec in networks(result).values() for name in _members(spec)}
    linked = {one for body in agents.values() for key in ("sub_agents", "handoffs") for one in body[key]}
    assert linked <= members | {name for name in agents if linked == {name}} | _only_themselves(agents)


def _members(spec: dict[str, Any]) -> list[str]:
    entries = [*spec["agents"], *spec.get("networks", [])]
    return [entry if isinstance(entry, str) else entry["name"] for entry in entries]


def _only_themselves(agents: dict[str, Any]) -> set[str]:
    """Agents that nobody but they themselves refers to."""
    others = {
        one for name, body in agents.items() for key in ("sub_agents", "handoffs") for one in body[key] if one != name
    }
    return agents.keys() - others
