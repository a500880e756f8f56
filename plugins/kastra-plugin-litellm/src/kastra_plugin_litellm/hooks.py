"""Hook implementations of kastra-plugin-litellm."""

from __future__ import annotations

from collections.abc import Iterable

from kastra_core.hookspecs import hookimpl
from kastra_core.registrations import ModelProviderRegistration

__all__ = ["KASTRA_API_VERSION", "kastra_model_providers"]

KASTRA_API_VERSION = 1


@hookimpl
def kastra_model_providers() -> Iterable[ModelProviderRegistration]:
    yield ModelProviderRegistration(
        name="litellm",
        providers=("*",),
        factory="kastra_plugin_litellm.provider:LiteLLMProvider",
        fallback=True,
        description="every provider that litellm knows and no other plugin serves",
    )
