"""Models, providers and keys."""

from __future__ import annotations

from typing import Any

import pytest

from kastra_core.errors import ManifestError
from kastra_core.migration import MemorySource, read_text
from kastra_core.protocols.migrator import MigrationResult
from kastra_plugin_docker_agent.migrator import DockerAgentMigrator


def migrated(text: str) -> MigrationResult:
    return DockerAgentMigrator().migrate(MemorySource(read_text(text, "team.yaml")))


def model_of(models: str, model: str = "m", more: str = "") -> Any:
    result = migrated(f"models: {models}\nagents: {{root: {{model: '{model}', instruction: x}}}}\n{more}")
    return next(one for one in result.resources if one["kind"] == "Agent")["spec"].get("model")


def outcomes(result: MigrationResult) -> dict[str, str]:
    return {row.key: row.outcome for row in result.rows}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("openai/gpt-x", {"provider": "openai", "name": "gpt-x"}),
        ("google/gemini-x", {"provider": "gemini", "name": "gemini-x"}),
        ("amazon-bedrock/global.x-v1:0", {"provider": "bedrock", "name": "global.x-v1:0"}),
        ("mistral/mistral-x", {"provider": "mistral", "name": "mistral-x"}),
        (
            "dmr/ai/qwen3:4B",
            {"provider": "openai-compatible", "name": "ai/qwen3:4B", "apiBase": "http://localhost:12434/engines/v1"},
        ),
        (
            "nebius/org/large",
            {
                "provider": "openai-compatible",
                "name": "org/large",
                "apiBase": "https://api.studio.nebius.com/v1",
                "apiKey": {"valueFrom": {"env": "NEBIUS_API_KEY"}},
            },
        ),
    ],
)
def test_a_model_in_line_keeps_its_provider(text: str, expected: dict[str, Any]) -> None:
    assert model_of("{}", text) == expected


def test_a_named_model_brings_its_parameters_address_and_key() -> None:
    made = model_of(
        "{m: {provider: openai, model: gpt-x, temperature: 0.1, max_tokens: 5, top_p: 0.5, frequency_penalty: 0.2,"
        " presence_penalty: 0.3, base_url: 'https://x.example.com/v1', token_key: MY_KEY}}"
    )
    assert made == {
        "provider": "openai",
        "name": "gpt-x",
        "apiBase": "https://x.example.com/v1",
        "apiKey": {"valueFrom": {"env": "MY_KEY"}},
        "parameters": {
            "temperature": 0.1,
            "maxTokens": 5,
            "topP": 0.5,
            "frequency_penalty": 0.2,
            "presence_penalty": 0.3,
        },
    }


def test_a_provider_of_the_file_gives_address_and_key_unless_the_model_has_its_own() -> None:
    more = "providers: {gate: {base_url: 'https://gate.example.com', token_key: GATE}}\n"
    assert model_of("{}", "gate/large", more) == {
        "provider": "openai-compatible",
        "name": "large",
        "apiBase": "https://gate.example.com",
        "apiKey": {"valueFrom": {"env": "GATE"}},
    }
    own = model_of(
        "{m: {provider: gate, model: large, base_url: 'https://own.example.com', token_key: OWN}}", "m", more
    )
    assert (own["apiBase"], own["apiKey"]) == ("https://own.example.com", {"valueFrom": {"env": "OWN"}})


@pytest.mark.parametrize(
    ("model", "key", "value"),
    [
        ("{provider: openai, model: x, thinking_budget: low}", "reasoning_effort", "low"),
        (
            "{provider: anthropic, model: x, thinking_budget: 1024}",
            "thinking",
            {"type": "enabled", "budget_tokens": 1024},
        ),
        (
            "{provider: google, model: gemini-2.5-flash, thinking_budget: 0}",
            "thinking",
            {"type": "enabled", "budget_tokens": 0},
        ),
        ("{provider: google, model: gemini-3-pro, thinking_budget: none}", "reasoning_effort", "low"),
    ],
)
def test_a_budget_for_thinking_becomes_the_parameter_of_its_provider(model: str, key: str, value: object) -> None:
    assert model_of(f"{{m: {model}}}")["parameters"] == {key: value}


@pytest.mark.parametrize("budget", ["none", "0", "-1", "adaptive"])
def test_a_budget_without_counterpart_sets_nothing(budget: str) -> None:
    assert "parameters" not in model_of(f"{{m: {{provider: anthropic, model: x, thinking_budget: {budget}}}}}")


def test_of_models_that_take_turns_the_first_answers_and_somebody_has_to_choose() -> None:
    text = (
        "models:\n  a: {provider: openai, model: x}\n  b: {provider: openai, model: y}\n"
        "  mix: {model: 'a,b'}\nagents: {root: {model: mix, instruction: x}}\n"
    )
    result = migrated(text)
    assert result.resources[0]["spec"]["model"] == {"provider": "openai", "name": "x"}
    told = outcomes(result)
    assert told["agents.root.model"] == told["models.mix.model"] == "manual"
    assert told["models.b"] == "dropped"


@pytest.mark.parametrize("model", ["model: auto, ", ""])
def test_no_model_of_its_own_leaves_the_choice_to_the_configuration(model: str) -> None:
    result = migrated(f"agents: {{root: {{{model}instruction: x}}}}\n")
    assert "model" not in result.resources[0]["spec"]
    assert outcomes(result)["agents.root.model"] == "defaulted"


def test_a_model_that_no_agent_uses_is_told_of() -> None:
    result = migrated(
        "models:\n  a: {provider: openai, model: x}\n  b: {provider: openai, model: y}\n"
        "agents: {root: {model: a, instruction: x, fallback: {models: [b]}}}\n"
    )
    reasons = {row.key: row.reason for row in result.rows}
    assert reasons["models.b"] == "it is only a model for when another one fails"


def test_a_model_that_is_not_there_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ManifestError) as caught:
        migrated("models: {claude: {provider: anthropic, model: x}}\nagents: {root: {model: claud, instruction: x}}\n")
    (problem,) = caught.value.problems
    assert (problem.path, problem.line) == ("agents.root.model", 2)
    assert problem.hint == "did you mean 'claude'?"


def test_models_that_name_each_other_end() -> None:
    text = "models: {a: {model: 'b,b'}, b: {model: 'a,openai/x'}}\nagents: {root: {model: a, instruction: x}}\n"
    assert migrated(text).resources[0]["spec"]["model"] == {"provider": "openai", "name": "x"}


def test_an_address_with_a_variable_has_to_be_written_by_hand() -> None:
    models = "models: {m: {provider: openai, model: x, base_url: '${env.BASE}/v1'}}\n"
    result = migrated(f"{models}agents: {{root: {{model: m, instruction: x}}}}\n")
    assert "apiBase" not in result.resources[0]["spec"]["model"]
    assert outcomes(result)["models.m.base_url"] == "manual"


def test_a_key_in_the_open_where_its_variable_belongs_is_left_out() -> None:
    more = "providers: {gate: {base_url: 'https://gate.example.com/v1', token_key: correct-Zq9-horse}}\n"
    text = f"models: {{m: {{provider: gate, model: big}}}}\nagents: {{root: {{model: m, instruction: x}}}}\n{more}"
    result = migrated(text)
    assert "correct-Zq9" not in str(result)
    assert outcomes(result)["providers.gate.token_key"] == "manual"
