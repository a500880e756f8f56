"""Networks of both shapes, and Systems."""

from __future__ import annotations

from typing import Any

import pytest

HEAD = "apiVersion: mastra.ai/v1\nkind: Network\nmetadata: {name: team, namespace: ops}\nspec:\n"


def network(migrate: Any, fields: str) -> tuple[Any, Any]:
    migrated = migrate(HEAD + "".join(f"  {line}\n" for line in fields.strip("\n").splitlines()))
    return migrated.spec("Network"), migrated


def test_a_router_network(migrate: Any) -> None:
    spec, _ = network(
        migrate,
        """
id: team
name: Team
description: Experts
instructions: Answer.
agents:
  - {name: chef, ref: ops.chef-agent, role: Cook, responsibilities: [cook, taste]}
  - {name: host, ref: lobby.host}
  - waiter
router:
  model: {provider: google, name: gemini-pro}
  instructions: Choose.
  maxSteps: 5
  fallbackAgent: host
state: {persistence: true, ttl: 3600}
""",
    )
    assert spec == {
        "description": "Experts",
        "instructions": "Answer.",
        "agents": [
            {"name": "chef", "ref": "ops.chef-agent", "description": "Cook; cook, taste"},
            {"name": "host", "ref": "lobby.host"},
            "waiter",
        ],
        "router": {
            "model": {"provider": "gemini", "name": "gemini-pro"},
            "instructions": "Choose.",
            "maxSteps": 5,
            "fallback": "host",
        },
        "state": {"persistence": True, "ttl": 3600},
    }


COORDINATOR = """
description: Experts
coordinator: {name: lead, model: {provider: openai, name: gpt-x, temperature: 0.4}, systemPrompt: Lead.}
agents:
  - {name: research expert, model: {provider: openai, name: gpt-x}, systemPrompt: Research.}
  - {name: coder, model: openai/gpt-x, systemPrompt: Code., tools: [{name: tasks, functions: [list]}]}
routing: {type: dynamic, strategy: coordinator-decision, defaultAgent: research expert}
memory: {type: shared, config: {vectorStore: pg}}
logging: {level: debug}
maxTokens: 8000
maxTurns: 15
timeout: 300
"""


def test_a_coordinator_becomes_the_router_and_its_agents_become_agents(migrate: Any) -> None:
    spec, migrated = network(migrate, COORDINATOR)
    assert migrated.names() == ["Tool/tasks-list", "Agent/research-expert", "Agent/coder", "Network/team"]
    assert {one["metadata"]["namespace"] for one in migrated.result.resources} == {"ops"}
    assert spec == {
        "description": "Experts",
        "agents": [{"name": "research expert", "ref": "research-expert"}, "coder"],
        "router": {
            "model": {"provider": "openai", "name": "gpt-x", "temperature": 0.4},
            "instructions": "Lead.",
            "answer": "router",
            "type": "model",
            "fallback": "research expert",
            "maxSteps": 15,
        },
        "limits": {"timeoutS": 300},
    }
    assert migrated.spec("Agent", "research-expert") == {
        "instructions": "Research.",
        "model": {"provider": "openai", "name": "gpt-x"},
    }
    assert migrated.row("spec.maxTokens").outcome == "manual"
    assert migrated.row("spec.memory.type").outcome == "dropped"


def test_agents_of_two_networks_are_one_where_they_say_the_same(migrate: Any) -> None:
    first = HEAD + "  coordinator: {name: l}\n  agents: [{name: a, systemPrompt: A.}, {name: b, systemPrompt: B.}]\n"
    second = first.replace("team", "crew").replace("B.", "Other.")
    migrated = migrate(f"{first}---\n{second}")
    assert migrated.names() == ["Agent/a", "Agent/b", "Agent/crew-b", "Network/team", "Network/crew"]
    assert migrated.spec("Network", "crew")["agents"] == ["a", {"name": "b", "ref": "crew-b"}]


@pytest.mark.parametrize(
    ("strategy", "expected", "outcome"),
    [
        ("SemanticMatching", "embedding", "mapped"),
        ("default", "model", "mapped"),
        ("round-robin", None, "manual"),
        ("history-based", None, "manual"),
    ],
)
def test_routing_strategies(migrate: Any, strategy: str, expected: Any, outcome: str) -> None:
    spec, migrated = network(
        migrate, f"agents: [a]\nrouter: {{routingStrategy: {strategy}, model: {{provider: openai, name: m}}}}"
    )
    assert spec["router"].get("type") == expected
    assert migrated.row("spec.router.routingStrategy").outcome == outcome


def test_a_fallback_that_is_no_member_is_manual(migrate: Any) -> None:
    spec, migrated = network(migrate, "agents: [a]\nrouting: {defaultAgent: z}")
    assert "fallback" not in spec.get("router", {})
    assert "no member (a)" in migrated.row("spec.routing.defaultAgent").reason


def test_a_network_without_members_is_refused(problems: Any) -> None:
    (problem,) = problems(HEAD + "  router: {maxSteps: 3}")
    assert problem.message == "a network needs at least one member: expected agents, found none"


def test_a_system_keeps_its_agents_and_workflows_inside(migrate: Any) -> None:
    migrated = migrate(
        """
apiVersion: mastra.ai/v1
kind: System
metadata: {name: desk, namespace: ops}
spec:
  agents:
    - {name: Greeter, spec: {name: G, systemPrompt: Hello., tools: [{name: clock, type: function}]}}
  tools:
    - {name: find, spec: {execute: ./find.js}}
"""
    )
    assert migrated.names() == ["Tool/clock", "System/desk"]
    assert migrated.spec("System") == {
        "agents": [
            {"name": "greeter", "spec": {"instructions": "Hello.", "description": "G", "tools": ["clock"]}},
        ],
        "tools": [{"name": "find", "spec": {"type": "python", "python": {"function": "migrated_tools:find"}}}],
    }
