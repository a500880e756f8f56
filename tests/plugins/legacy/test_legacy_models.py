"""Models, LLM resources, providers, and the secrets among them."""

from __future__ import annotations

from typing import Any

import pytest

AGENT = "apiVersion: mastra/v1\nkind: Agent\nmetadata: {name: a}\nspec:\n  instructions: x\n  model: %s\n"
LLM = """---
apiVersion: mastra.ai/v1
kind: LLM
metadata: {name: big, namespace: default}
spec: {provider: openai, model: gpt-x, apiKey: "${OPENAI_API_KEY}", options: {temperature: 0.7, maxTokens: 20}}
"""


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("{provider: openai, name: gpt-x}", {"provider": "openai", "name": "gpt-x"}),
        (
            "{provider: openai, model: gpt-x, temperature: 0.2}",
            {"provider": "openai", "name": "gpt-x", "temperature": 0.2},
        ),
        (
            "{provider: openai, name: m, parameters: {temperature: 1, max_tokens: 5, top_p: 0.5, logit_bias: 2}}",
            {
                "provider": "openai",
                "name": "m",
                "parameters": {"temperature": 1, "maxTokens": 5, "topP": 0.5, "logit_bias": 2},
            },
        ),
        ("{provider: google, name: gemini-pro}", {"provider": "gemini", "name": "gemini-pro"}),
        ("{provider: qwen, name: qwen-max}", {"provider": "dashscope", "name": "qwen-max"}),
        ("{name: claude-x}", {"provider": "anthropic", "name": "claude-x"}),
        ("anthropic/claude-x", {"provider": "anthropic", "name": "claude-x"}),
        (
            "{provider: openai, name: m, baseURL: 'https://gw.example', apiKey: '${env.K}', topP: 0.1}",
            {
                "provider": "openai",
                "name": "m",
                "apiBase": "https://gw.example",
                "apiKey": {"valueFrom": {"env": "K"}},
                "parameters": {"topP": 0.1},
            },
        ),
        ("{provider: default, name: mock}", None),
        ("{provider: mock, name: any}", None),
        ("{provider: '${env.P}', name: '${env.M}'}", None),
    ],
)
def test_models(migrate: Any, model: str, expected: Any) -> None:
    assert migrate(AGENT % model).spec("Agent").get("model") == expected


def test_a_model_from_the_environment_is_manual(migrate: Any) -> None:
    migrated = migrate(AGENT % "{provider: openai, name: '${env.M}'}")
    assert migrated.row("spec.model.name").outcome == "manual"


@pytest.mark.parametrize("model", ["{ref: default.big}", "{ref: big}", "{$ref: LLM/big}", "big"])
def test_an_llm_stands_at_the_agents_that_use_it(migrate: Any, model: str) -> None:
    migrated = migrate(AGENT % model + LLM)
    assert migrated.names() == ["Agent/a"]
    assert migrated.spec("Agent")["model"] == {
        "provider": "openai",
        "name": "gpt-x",
        "apiKey": {"valueFrom": {"env": "OPENAI_API_KEY"}},
        "temperature": 0.7,
        "maxTokens": 20,
    }
    assert migrated.result.config == {}


def test_an_llm_that_nobody_uses_goes_to_the_configuration(migrate: Any) -> None:
    migrated = migrate(LLM.removeprefix("---\n"))
    assert migrated.names() == []
    assert migrated.result.config == {
        "defaultModel": "openai/gpt-x",
        "providers": {"openai": {"apiKey": {"valueFrom": {"env": "OPENAI_API_KEY"}}}},
    }
    assert migrated.row("spec.options.temperature").outcome == "manual"


def test_an_unknown_llm_is_manual(migrate: Any) -> None:
    migrated = migrate(AGENT % "{ref: small}" + LLM)
    assert "model" not in migrated.spec("Agent")
    assert migrated.row("spec.model.ref").outcome == "manual"


PROVIDERS = """
apiVersion: mastra/v1
kind: MastraPod
metadata: {name: p}
providers:
  openai:
    {apiKey: sesame-open-9, baseURL: "https://gw.example", defaultModel: gpt-x, headers: {Authorization: "${env.H}"}}
  qwen: {apiKey: "${env.QWEN_API_KEY}", baseURL: "${env.QWEN_BASE}"}
  house: {type: anthropic}
agents:
  one: {instructions: x, model: {provider: openai}}
  two: {instructions: x, model: {provider: house, name: claude-x}}
"""


def test_providers_become_configuration(migrate: Any) -> None:
    migrated = migrate(PROVIDERS)
    assert migrated.result.config == {
        "defaultModel": "openai/gpt-x",
        "providers": {
            "openai": {
                "apiKey": {"valueFrom": {"env": "OPENAI_API_KEY"}},
                "apiBase": "https://gw.example",
                "headers": {"Authorization": {"valueFrom": {"env": "H"}}},
            },
            "dashscope": {"apiKey": {"valueFrom": {"env": "QWEN_API_KEY"}}},
        },
    }
    assert migrated.spec("Agent", "one")["model"] == {"provider": "openai", "name": "gpt-x"}
    assert migrated.spec("Agent", "two")["model"] == {"provider": "anthropic", "name": "claude-x"}
    assert migrated.row("providers.qwen.baseURL").outcome == "manual"


def test_a_secret_in_the_open_is_in_no_result_and_no_row(migrate: Any) -> None:
    migrated = migrate(PROVIDERS)
    assert "sesame-open-9" not in repr(migrated.result)
    assert "OPENAI_API_KEY" in migrated.row("providers.openai.apiKey").reason


def test_a_key_that_is_only_in_part_a_reference_gets_a_variable_of_its_own(migrate: Any) -> None:
    migrated = migrate(AGENT % "{provider: openai, name: m, apiKey: 'x-${OPENAI_API_KEY}'}")
    assert migrated.spec("Agent")["model"]["apiKey"] == {"valueFrom": {"env": "OPENAI_API_KEY_TEXT"}}


def test_settings_that_two_pods_make_are_the_first_ones(migrate: Any) -> None:
    second = PROVIDERS.replace("gw.example", "other.example").replace("one:", "three:").replace("two:", "four:")
    migrated = migrate(f"{PROVIDERS}---{second}")
    assert migrated.result.config["providers"]["openai"]["apiBase"] == "https://gw.example"
    row = migrated.row("providers.openai.baseURL", document=1)
    assert (row.outcome, row.reason) == ("dropped", "providers.openai.apiBase is set already, to another value")
