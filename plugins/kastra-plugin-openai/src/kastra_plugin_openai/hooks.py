"""Hook implementations of kastra-plugin-openai."""

from __future__ import annotations

from collections.abc import Iterable

from kastra_core.hookspecs import hookimpl
from kastra_core.registrations import ModelProviderRegistration
from kastra_plugin_openai.endpoints import ENDPOINTS

__all__ = ["KASTRA_API_VERSION", "kastra_model_providers"]

KASTRA_API_VERSION = 1


@hookimpl
def kastra_model_providers() -> Iterable[ModelProviderRegistration]:
    yield ModelProviderRegistration(
        name="openai",
        providers=tuple(ENDPOINTS),
        factory="kastra_plugin_openai.provider:OpenAIProvider",
        description="OpenAI and every endpoint that speaks its chat-completions protocol",
        preload=("kastra_plugin_openai._http",),
    )
