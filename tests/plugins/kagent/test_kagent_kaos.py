"""What KAOS's objects become, and how inline Python is read."""

from __future__ import annotations

from typing import Any

import pytest

from kastra_core.errors import ManifestError
from kastra_plugin_kagent.inline_python import functions_of


def _kaos(kind: str, name: str, spec: str) -> str:
    return (
        f"---\napiVersion: kaos.tools/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}, namespace: n}}\nspec: {spec}\n"
    )


AGENT = _kaos(
    "Agent",
    "lead",
    "{modelAPI: api, model: ollama/small, mcpServers: [code], "
    "config: {description: D, instructions: I}, agentNetwork: {access: [crew]}}",
) + _kaos(
    "Agent",
    "crew",
    "{modelAPI: api, model: ollama/small, config: {reasoningLoopMaxSteps: 3, memory: {enabled: false}}}",
)
API = _kaos("ModelAPI", "api", "{mode: Proxy, proxyConfig: {models: ['*'], apiBase: 'http://h:11434'}}")


def test_agents_call_their_peers_and_the_functions_of_their_servers(migrate: Any) -> None:
    server = _kaos(
        "MCPServer", "code", "{runtime: python-string, params: \"def shout(text: str) -> str:\\n  'Loud.'\"}"
    )
    moved = migrate(AGENT + API + server, "kaos")
    assert moved.spec("Agent", "lead") == {
        "description": "D",
        "instructions": "I",
        "model": {"provider": "ollama", "name": "small", "apiBase": "http://h:11434/v1"},
        "tools": ["shout", "agents/crew"],
    }
    assert moved.spec("Agent", "crew")["limits"] == {"maxSteps": 3}
    assert moved.spec("Agent", "crew")["memory"] == {"enabled": False}
    assert moved.spec("Tool", "shout")["inputSchema"]["required"] == ["text"]
    assert "def shout(*, text: str)" in moved.result.files["migrated_tools.py"]


def test_a_provider_and_a_key_of_a_proxy_go_into_the_model(migrate: Any) -> None:
    api = _kaos(
        "ModelAPI", "api", "{mode: Proxy, proxyConfig: {models: [m], provider: nebius, apiKey: {value: abcd1234efgh}}}"
    )
    moved = migrate(_kaos("Agent", "a", "{modelAPI: api, model: org/m}") + api, "kaos")
    assert moved.spec("Agent")["model"] == {
        "provider": "nebius",
        "name": "org/m",
        "apiKey": {"valueFrom": {"env": "NEBIUS_API_KEY"}},
    }
    assert moved.spec("Agent")["limits"] == {"maxSteps": 5}
    assert moved.row("config.reasoningLoopMaxSteps").outcome == "defaulted"
    assert "abcd1234efgh" not in moved.text


def test_a_hosted_model_is_one_of_ollama(migrate: Any) -> None:
    moved = migrate(_kaos("ModelAPI", "api", "{mode: Hosted, hostedConfig: {model: 'tiny:1b'}}"), "kaos")
    assert moved.spec("Agent", "api-model")["model"] == {"provider": "ollama", "name": "tiny:1b"}
    assert any("ollama pull tiny:1b" in row.reason for row in moved.rows("hostedConfig.model"))


def test_a_proxy_for_any_model_says_none_by_itself(migrate: Any) -> None:
    with pytest.raises(ManifestError, match="answers to any name"):
        migrate(API, "kaos")


def test_other_runtimes_become_one_tool(migrate: Any) -> None:
    moved = migrate(_kaos("MCPServer", "slack", "{runtime: slack, params: 'a: b', serviceAccountName: s}"), "kaos")
    assert moved.spec("Tool", "slack")["inputSchema"]["required"] == ["tool"]
    assert moved.row("spec.runtime").outcome == "manual"


def test_what_is_not_there_is_told(migrate: Any) -> None:
    moved = migrate(AGENT, "kaos")
    assert moved.row("mcpServers[0]").outcome == "manual"
    assert moved.row("modelAPI").outcome == "manual"
    assert moved.spec("Agent", "lead")["model"] == {"provider": "ollama", "name": "small"}


def test_functions_are_read_and_not_run() -> None:
    code = (
        "raise SystemExit\nasync def f(a, /, b: int = 1, *, c: list[str], d: 'x' = None, **more): pass\ndef _g(): pass"
    )
    [found] = functions_of(code)
    assert found.schema == {
        "type": "object",
        "properties": {"a": {}, "b": {"type": "integer"}, "c": {"type": "array"}, "d": {}},
        "required": ["a", "c"],
    }
    assert functions_of("def (") == []
