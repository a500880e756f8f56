"""The plugin keeps to what is asked of all plugins: ``kastra plugins check litellm`` runs what is here."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator

import pytest

from kastra_core.protocols.model import ModelSettings
from kastra_core.testing.model import ModelProviderConformance
from kastra_core.testing.openai_server import OpenAIServer
from kastra_core.testing.plugin import PluginConformance
from kastra_plugin_litellm.provider import LiteLLMProvider

__all__ = ["TestLiteLLMPlugin", "TestLiteLLMProvider"]


class TestLiteLLMPlugin(PluginConformance):
    entry_point = "litellm"


# Of the library and what it uses, and of the plugin, at their import.
@pytest.mark.filterwarnings(
    "ignore:.*using the `ReadOnly` qualifier:UserWarning",
    "ignore:Accessing the 'model_:DeprecationWarning",
    "ignore:.*was never awaited:RuntimeWarning",
    "ignore:.*coroutine object:pytest.PytestUnraisableExceptionWarning",
)
class TestLiteLLMProvider(ModelProviderConformance):
    @classmethod
    def teardown_class(cls) -> None:
        """What calls that were cut off leave is collected here, where its warnings are expected."""
        gc.collect()

    @pytest.fixture(params=["openai", "hosted_vllm"])
    async def provider(self, request: pytest.FixtureRequest) -> AsyncIterator[LiteLLMProvider]:
        provider = LiteLLMProvider(request.param)
        yield provider
        await provider.aclose()

    @pytest.fixture
    async def settings(self) -> AsyncIterator[ModelSettings]:
        async with OpenAIServer() as server:
            yield ModelSettings(api_base=server.base_url, api_key="sk-test-key", timeout_s=10)
