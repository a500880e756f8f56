"""Hook implementations of kastra-plugin-local."""

from __future__ import annotations

from collections.abc import Iterable

from kastra_core.hookspecs import hookimpl
from kastra_core.registrations import CommandRegistration, ModelProviderRegistration

KASTRA_API_VERSION = 1


@hookimpl
def kastra_model_providers() -> Iterable[ModelProviderRegistration]:
    yield ModelProviderRegistration(
        name="local",
        providers=("local",),
        keyless=True,
        embeddings="multilingual-e5-small",
        factory="kastra_plugin_local.provider:LocalProvider",
        description="small models in this process (llama.cpp); needs weights: kastra model pull",
    )


@hookimpl
def kastra_commands() -> Iterable[CommandRegistration]:
    yield CommandRegistration(
        name="model",
        command="kastra_plugin_local.commands:model",
        short_help="List, pull and remove the weights of local models.",
    )
