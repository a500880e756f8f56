"""Which plugin answers for a provider, with which settings, and how often it is tried."""

from __future__ import annotations

import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

from kastra_core import PluginManager, hookimpl
from kastra_core.config import Config, ProviderSettings, SecretValue
from kastra_core.errors import (
    AuthenticationError,
    ConfigError,
    ModelConnectionError,
    ModelError,
    ProviderUnavailableError,
    RateLimitError,
    UnknownProviderError,
    UserError,
)
from kastra_core.execution.models import Models, RetryPolicy, split_model
from kastra_core.protocols.model import ChatRequest, Message, TextDelta
from kastra_core.registrations import ModelProviderRegistration
from kastra_core.testing.fakes import FakeModelProvider


def plugin(*records: ModelProviderRegistration) -> types.ModuleType:
    module = types.ModuleType("providers")

    @hookimpl
    def kastra_model_providers() -> tuple[ModelProviderRegistration, ...]:
        return records

    module.kastra_model_providers = kastra_model_providers  # type: ignore[attr-defined]
    return module


def models(
    tmp_path: Path,
    plugins: Mapping[str, types.ModuleType],
    retry: RetryPolicy | None = None,
    **providers: ProviderSettings,
) -> Models:
    config = attrs.evolve(Config.load(tmp_path, env={}), providers=providers)
    return Models(PluginManager(discover=False, extra=list(plugins.items())), config, retry=retry)


def both() -> dict[str, types.ModuleType]:
    exact, rest = FakeModelProvider(default="exact"), FakeModelProvider(default="rest")
    return {
        "direct": plugin(exact.registration("openai", name="direct")),
        "all": plugin(attrs.evolve(rest.registration("*", name="all", keyless=False), fallback=True)),
    }


def test_the_plugin_that_offers_the_very_name_comes_before_a_fallback(tmp_path: Path) -> None:
    choice = models(tmp_path, both()).choose("openai")
    assert (choice.plugin, choice.others) == ("direct", ("all",))
    assert "openai" in choice.why


def test_a_fallback_serves_every_other_name(tmp_path: Path) -> None:
    assert models(tmp_path, both()).choose("anthropic").plugin == "all"


def test_the_configuration_chooses_the_plugin(tmp_path: Path) -> None:
    found = models(tmp_path, both(), openai=ProviderSettings(plugin="all"))
    choice = found.choose("openai")
    assert choice.plugin == "all"
    assert "configuration" in choice.why


def test_a_configured_plugin_that_does_not_serve_the_provider_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"providers\.openai\.plugin is 'nobody'.*direct, all"):
        models(tmp_path, both(), openai=ProviderSettings(plugin="nobody")).choose("openai")


def test_an_unknown_provider_names_the_nearest(tmp_path: Path) -> None:
    found = models(tmp_path, {"direct": both()["direct"]})
    with pytest.raises(UnknownProviderError, match="did you mean 'openai'"):
        found.choose("opnai")
    check = found.check("opnai", "m")
    assert (check.ok, check.reason) == (False, "UnknownProvider")


def test_a_keyless_provider_is_the_default_of_last_resort(tmp_path: Path) -> None:
    assert models(tmp_path, both()).keyless() == "openai"
    assert models(tmp_path, {}).keyless() is None


def test_an_agents_settings_go_over_the_configurations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_KEY", "sk-1")
    section = ProviderSettings(api_base="http://one/v1", timeout_s=5.0, options={"a": 1})
    found = models(tmp_path, both(), openai=section)
    settings = found.settings("openai", {"apiKey": {"valueFrom": {"env": "THE_KEY"}}, "options": {"b": 2}})
    assert (settings.api_base, settings.api_key, settings.timeout_s) == ("http://one/v1", "sk-1", 5.0)
    assert dict(settings.options) == {"a": 1, "b": 2}
    assert "sk-1" not in repr(settings)


def test_a_base_of_the_manifests_own_never_gets_the_operators_key(tmp_path: Path) -> None:
    section = ProviderSettings(
        api_base="http://mine/v1",
        api_key=SecretValue(literal="sk-mine"),
        headers={"x-org": SecretValue(literal="secret")},
        options={"clientSecret": "secret"},
    )
    found = models(tmp_path, both(), openai=section)
    settings = found.settings("openai", {"apiBase": "http://theirs/v1", "options": {"project": "p"}})
    assert (settings.api_base, settings.api_key, dict(settings.headers)) == ("http://theirs/v1", "", {})
    assert settings.foreign_base
    assert dict(settings.options) == {"project": "p"}
    own = found.settings("openai", {"apiBase": "http://mine/v1"})
    assert own.api_key == "sk-mine"
    assert not own.foreign_base


def test_a_missing_secret_is_an_answer_of_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    check = models(tmp_path, both()).check("openai", "m", {"apiKey": {"valueFrom": {"env": "NO_SUCH_KEY"}}})
    assert (check.ok, check.reason) == (False, "MissingSecret")
    assert "NO_SUCH_KEY" in check.message + check.remedy


def test_explain_says_who_answers_and_why(tmp_path: Path) -> None:
    found = models(tmp_path, both()).explain("openai/gpt-4o")
    assert (found["plugin"], found["ok"], found["others"]) == ("direct", True, ["all"])
    assert models(tmp_path, {}).explain("openai/gpt-4o")["reason"] == "UnknownProvider"


@pytest.mark.parametrize("text", ["gpt-4o", "/x", "openai/", ""])
def test_what_names_no_model_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="PROVIDER/NAME"):
        split_model(text)


FAST = RetryPolicy(attempts=3, base_s=0.0)
REQUEST = ChatRequest(model="m", messages=[Message.user("hi")])


async def answered(
    tmp_path: Path, *answers: Any, stream: bool = False
) -> tuple[str | ModelError, list[tuple[int, float]], list[str], int]:
    fake = FakeModelProvider(answers)
    found = models(tmp_path, {"p": plugin(fake.registration("openai"))}, FAST)
    waits: list[tuple[int, float]] = []
    texts: list[str] = []

    async def on_retry(attempt: int, wait_s: float, error: ModelError) -> None:
        waits.append((attempt, wait_s))

    async def on_event(event: Any) -> None:
        if isinstance(event, TextDelta):
            texts.append(event.text)

    try:
        if stream:
            response = await found.stream("openai", REQUEST, on_event=on_event, on_retry=on_retry)
        else:
            response = await found.chat("openai", REQUEST, on_retry=on_retry)
        return response.message.text, waits, texts, len(fake.requests)
    except ModelError as error:
        return error, waits, texts, len(fake.requests)


async def test_a_retryable_failure_is_tried_again(tmp_path: Path) -> None:
    out, waits, _, calls = await answered(tmp_path, ModelConnectionError("cut"), "there")
    assert (out, calls) == ("there", 2)
    assert [attempt for attempt, _ in waits] == [1]


async def test_tries_end_with_the_last_error(tmp_path: Path) -> None:
    out, _, _, calls = await answered(tmp_path, *[ProviderUnavailableError("down")] * 9)
    assert isinstance(out, ProviderUnavailableError)
    assert calls == 3


async def test_a_failure_that_cannot_pass_is_not_tried_again(tmp_path: Path) -> None:
    out, waits, _, calls = await answered(tmp_path, AuthenticationError("no"), "there")
    assert isinstance(out, AuthenticationError)
    assert (waits, calls) == ([], 1)


async def test_retry_after_is_kept(tmp_path: Path) -> None:
    _, waits, _, _ = await answered(tmp_path, RateLimitError("slow", retry_after_s=0.01), "there")
    assert waits == [(1, 0.01)]


async def test_a_retry_after_beyond_patience_ends_the_tries(tmp_path: Path) -> None:
    out, _, _, calls = await answered(tmp_path, RateLimitError("slow", retry_after_s=3600), "there")
    assert isinstance(out, RateLimitError)
    assert calls == 1


async def test_a_stream_hands_on_its_deltas_and_returns_the_response(tmp_path: Path) -> None:
    out, _, texts, _ = await answered(tmp_path, "one two", stream=True)
    assert (out, texts) == ("one two", ["one ", "two"])


def test_waits_double_up_to_a_cap_with_jitter() -> None:
    policy = RetryPolicy(attempts=10, base_s=1.0, cap_s=4.0)
    for attempt, full in ((1, 1.0), (2, 2.0), (3, 4.0), (6, 4.0)):
        waits = [policy.wait_s(attempt, ModelConnectionError("x")) for _ in range(50)]
        assert all(wait is not None and full / 2 <= wait <= full for wait in waits)
    assert policy.wait_s(10, ModelConnectionError("x")) is None
