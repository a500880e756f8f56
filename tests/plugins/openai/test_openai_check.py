from __future__ import annotations

import subprocess
import sys

import pytest

from kastra_core.api.lazy import load
from kastra_core.protocols.model import ModelSettings
from kastra_plugin_openai import hooks
from kastra_plugin_openai.provider import OpenAIProvider


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_COMPATIBLE_BASE_URL", "GROQ_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def test_missing_key_is_named_with_both_ways_to_set_it() -> None:
    check = OpenAIProvider("openai").check("gpt-5", ModelSettings())
    assert (check.ok, check.reason) == (False, "MissingKey")
    assert "OPENAI_API_KEY" in check.remedy
    assert "kastra config set providers.openai.apiKey" in check.remedy
    assert check.details["api base"] == "https://api.openai.com/v1 (default)"


def test_details_say_where_the_key_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROQ_API_KEY", "gsk-very-secret")
    check = OpenAIProvider("groq").check("llama", ModelSettings())
    assert check.ok
    assert check.details["key"] == "from environment variable GROQ_API_KEY"
    assert "gsk" not in repr(check)


def test_local_servers_need_no_key() -> None:
    assert OpenAIProvider("ollama").check("qwen3", ModelSettings()).ok


def test_other_server_than_the_providers_own_may_want_no_key() -> None:
    assert OpenAIProvider("openai").check("m", ModelSettings(api_base="http://127.0.0.1:1/v1")).ok


def test_compatible_server_needs_an_address() -> None:
    check = OpenAIProvider("openai-compatible").check("m", ModelSettings())
    assert check.reason == "MissingApiBase"
    assert "providers.openai-compatible.apiBase" in check.remedy


def test_secrets_in_the_address_are_not_shown() -> None:
    settings = ModelSettings(api_base="https://me:pass-word@host.example/v1?key=hidden")
    shown = repr(OpenAIProvider("openai-compatible").check("m", settings))
    assert "pass-word" not in shown
    assert "hidden" not in shown


def test_wrong_options_are_told_before_a_call() -> None:
    settings = ModelSettings(api_key="k", options={"prices": {"inputPerMillion": "2"}})
    check = OpenAIProvider("openai").check("m", settings)
    assert (check.ok, check.reason) == (False, "InvalidOptions")


def test_hook_offers_every_endpoint() -> None:
    (registration,) = hooks.kastra_model_providers()
    assert {"openai", "openai-compatible", "ollama", "openrouter"} <= set(registration.providers)
    assert not registration.fallback
    assert load(registration.factory)("ollama").check("m", ModelSettings()).ok


def test_hooks_and_check_load_no_http_client() -> None:
    code = (
        "import sys\n"
        "import kastra_plugin_openai.hooks\n"
        "assert 'kastra_plugin_openai.provider' not in sys.modules\n"
        "from kastra_plugin_openai.provider import OpenAIProvider\n"
        "from kastra_core.protocols.model import ModelSettings\n"
        "OpenAIProvider('openai').check('m', ModelSettings())\n"
        "print([name for name in ('aiohttp', 'asyncio', 'ssl', 'yarl') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
