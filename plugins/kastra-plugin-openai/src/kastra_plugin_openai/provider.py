"""The provider object. Light: the HTTP client comes with the first request."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import cache
from typing import TYPE_CHECKING

from kastra_core.errors import ModelConnectionError, UnknownProviderError
from kastra_core.protocols.model import (
    ChatEvent,
    ChatRequest,
    ChatResponse,
    EmbeddingRequest,
    EmbeddingResponse,
    ModelCheck,
    ModelSettings,
)
from kastra_plugin_openai._settings import api_base_of, key_of, options_of, shown_base
from kastra_plugin_openai.endpoints import ENDPOINTS

if TYPE_CHECKING:
    from kastra_plugin_openai._http import Client

__all__ = ["OpenAIProvider"]


class OpenAIProvider:
    """Chat, streams and embeddings of one OpenAI-compatible endpoint; a ModelProvider.

    Args:
        provider: one of ``ENDPOINTS``.
    Raises:
        UnknownProviderError: it is none.
    """

    def __init__(self, provider: str = "openai") -> None:
        if provider not in ENDPOINTS:
            raise UnknownProviderError(provider, sorted(ENDPOINTS))
        self._endpoint = ENDPOINTS[provider]
        self._client: Client | None = None
        self._closed = False

    def check(self, model: str, settings: ModelSettings) -> ModelCheck:
        """Say whether base, key and options are there. Whether the endpoint knows the model only a call can tell."""
        endpoint, name = self._endpoint, self._endpoint.name
        if not _has_aiohttp():
            return ModelCheck(
                ok=False,
                reason="MissingDependency",
                message="the library 'aiohttp' is not installed",
                remedy="pip install aiohttp",
            )
        base, base_from = api_base_of(endpoint, settings)
        if base is None:
            return ModelCheck(
                ok=False,
                reason="MissingApiBase",
                message=f"the provider {name!r} has no default address",
                remedy=f"`kastra config set providers.{name}.apiBase https://HOST/v1`, or set {endpoint.base_env}",
            )
        key, key_from = key_of(endpoint, settings)
        details = {"api base": f"{shown_base(base)} ({base_from})", "key": f"from {key_from}" if key else "none"}
        try:
            options_of(settings.options)
        except ValueError as err:
            return ModelCheck(
                ok=False,
                reason="InvalidOptions",
                message=str(err),
                remedy=f"mend providers.{name}.options in the configuration",
                details=details,
            )
        # Another server than the provider's own may want no key; if it does, it says so.
        if key is None and endpoint.needs_key and base_from == "default":
            command = f"kastra config set providers.{name}.apiKey '{{valueFrom: {{file: PATH}}}}'"
            return ModelCheck(
                ok=False,
                reason="MissingKey",
                message=f"{endpoint.title} needs an API key and none is set",
                remedy=f"set {endpoint.key_env[0]}, or `{command}`",
                details=details,
            )
        return ModelCheck(
            ok=True,
            message=f"{endpoint.title} at {shown_base(base)}; whether it knows {model!r} shows at the first call",
            details=details,
        )

    async def chat(self, request: ChatRequest) -> ChatResponse:
        return await self._connected(request.model).chat(request)

    def stream(self, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        return self._connected(request.model).stream(request)

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        return await self._connected(request.model).embed(request)

    async def aclose(self) -> None:
        self._closed = True
        if self._client is not None:
            client, self._client = self._client, None
            await client.aclose()

    def _connected(self, model: str) -> Client:
        if self._client is None:
            if self._closed:
                closed = ModelConnectionError("the provider is closed", provider=self._endpoint.name, model=model)
                closed.retryable = False
                raise closed
            from kastra_plugin_openai._http import Client

            self._client = Client(self._endpoint)
        return self._client


@cache
def _has_aiohttp() -> bool:
    from importlib.util import find_spec

    return find_spec("aiohttp") is not None
