from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kastra_core.api.lazy import load
from kastra_core.protocols.model import ModelSettings
from kastra_plugin_litellm import hooks, providers
from kastra_plugin_litellm.provider import LiteLLMProvider


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for names in providers.KEY_VARIABLES.values():
        for name in names:
            monkeypatch.delenv(name, raising=False)


def test_missing_key_is_named_with_both_ways_to_set_it() -> None:
    check = LiteLLMProvider("anthropic").check("claude", ModelSettings())
    assert (check.ok, check.reason) == (False, "MissingKey")
    assert "ANTHROPIC_API_KEY" in check.remedy
    assert "kastra config set providers.anthropic.apiKey" in check.remedy


def test_details_say_where_the_key_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_API_KEY", "very-secret")
    check = LiteLLMProvider("gemini").check("flash", ModelSettings())
    assert check.ok
    assert check.details["key"] == "from environment variable GOOGLE_API_KEY"
    assert "very-secret" not in repr(check)


@pytest.mark.parametrize("name", ["bedrock", "vertex_ai", "langgraph"])
def test_what_cannot_be_known_is_called_unverified(name: str) -> None:
    check = LiteLLMProvider(name).check("m", ModelSettings())
    assert (check.ok, check.reason) == (True, "Unverified")


def test_local_server_needs_no_key() -> None:
    assert LiteLLMProvider("ollama").check("m", ModelSettings()).reason == "Available"


def test_unknown_provider_is_not_ok() -> None:
    check = LiteLLMProvider("opnai").check("m", ModelSettings())
    assert (check.ok, check.reason) == (False, "UnknownProvider")
    assert check.remedy == "did you mean 'openai'?"
    assert LiteLLMProvider("q8").check("m", ModelSettings()).remedy


def test_missing_library_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kastra_plugin_litellm.provider.litellm_installed", lambda: False)
    check = LiteLLMProvider("anthropic").check("m", ModelSettings())
    assert (check.ok, check.reason, check.remedy) == (False, "MissingDependency", "pip install litellm")


def test_hook_offers_a_fallback_for_every_name() -> None:
    (registration,) = hooks.kastra_model_providers()
    assert registration.fallback
    assert registration.providers == ("*",)
    assert load(registration.factory)("ollama").check("m", ModelSettings()).ok


@pytest.fixture(scope="module")
def litellm() -> Any:
    from kastra_plugin_litellm import _sdk

    return asyncio.run(_sdk.load())


def test_every_provider_of_the_installed_litellm_is_known(litellm: Any) -> None:
    names = {getattr(provider, "value", provider) for provider in litellm.provider_list}
    assert {name for name in names if not providers.is_known(name)} == set()
    assert providers.KEY_VARIABLES.keys() | providers.AMBIENT | providers.LOCAL <= providers.KNOWN


def test_names_in_the_installed_release_are_read_as_text() -> None:
    found = providers._installed_names()
    assert {"openai", "anthropic", "bedrock"} <= found
    assert not {"string", "chat", "completion"} & found


def test_key_variables_are_those_that_litellm_asks_for(litellm: Any) -> None:
    wrong = {}
    for name, variables in providers.KEY_VARIABLES.items():
        missing = litellm.validate_environment(model=f"{name}/x")["missing_keys"]
        if missing and not set(missing) & set(variables):
            wrong[name] = missing
    assert wrong == {}


SILENT_CALL = """
import asyncio, os, sys
before = dict(os.environ)
import kastra_plugin_litellm.hooks
assert 'kastra_plugin_litellm.provider' not in sys.modules
from kastra_plugin_litellm.provider import LiteLLMProvider
from kastra_core.errors import ModelError
from kastra_core.protocols.model import ChatRequest, Message, ModelSettings, ToolDefinition
provider = LiteLLMProvider('openai')
settings = ModelSettings(api_base=sys.argv[1], api_key='sk-test')
assert provider.check('m', settings).ok
loaded = [name for name in ('litellm', 'openai', 'httpx', 'pydantic', 'aiohttp') if name in sys.modules]
assert not loaded, loaded

async def main():
    for text in ('hi', 'CALL(add:{"a":1})', 'FAIL(500)', 'HANGUP()'):
        request = ChatRequest(model='m', messages=[Message.user(text)], settings=settings,
                              tools=[ToolDefinition(name='add')])
        try:
            await provider.chat(request)
            async for _ in provider.stream(request):
                pass
        except ModelError:
            pass
    await provider.aclose()

asyncio.run(main())
changed = {name for name in before.keys() | os.environ.keys() if before.get(name) != os.environ.get(name)}
assert changed <= {'TIKTOKEN_CACHE_DIR'}, changed
assert 'mcp' not in sys.modules
"""


def test_calls_print_nothing_and_leave_the_environment_alone(mock_openai: Any, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("LEAKED_FROM_DOTENV=1\n", encoding="utf-8")
    script = tmp_path / "call.py"
    script.write_text(SILENT_CALL, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script), mock_openai.base_url],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        timeout=120,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert mock_openai.stats()["tool_calls"] == 2
