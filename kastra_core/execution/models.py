"""Which plugin answers for a model provider, with which settings, and how often it is tried."""

from __future__ import annotations

import contextlib
import math
import random
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from kastra_core.api.lazy import load
from kastra_core.api.meta import JsonObject
from kastra_core.errors import (
    ConfigError,
    KastraError,
    ModelError,
    ProviderUnavailableError,
    RateLimitError,
    UnknownProviderError,
    UserError,
)
from kastra_core.protocols.model import (
    ChatCompleted,
    ChatEvent,
    ChatRequest,
    ChatResponse,
    EmbeddingRequest,
    EmbeddingResponse,
    ModelCheck,
    ModelProvider,
    ModelSettings,
)

if TYPE_CHECKING:
    from kastra_core.config import Config
    from kastra_core.plugins import PluginManager
    from kastra_core.registrations import ModelProviderRegistration

__all__ = ["ModelChoice", "Models", "RetryPolicy", "split_model"]

T = TypeVar("T")

CHECK_KEPT_S = 0.2
"""How long what a provider said of a model holds for other resources: thousands are reconciled at once."""


def split_model(text: str) -> tuple[str, str]:
    """Return (provider, name) of ``provider/name``; the name may hold further slashes.

    Raises: UserError.

    >>> split_model("openrouter/meta-llama/llama-3")
    ('openrouter', 'meta-llama/llama-3')
    """
    provider, slash, name = text.partition("/")
    if not slash or not provider or not name:
        raise UserError(f"{text!r} names no model; write PROVIDER/NAME, for example openai/gpt-4o or local/auto")
    return provider, name


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """How often a retryable ModelError is tried again.

    The wait before try n + 1 is random between half and all of ``base_s * 2**(n - 1)``, at most ``cap_s``; a
    Retry-After of the provider replaces it, and one above ``retry_after_cap_s`` ends the tries.
    """

    attempts: int = 4
    base_s: float = 0.5
    cap_s: float = 20.0
    retry_after_cap_s: float = 60.0

    def wait_s(self, attempt: int, error: ModelError) -> float | None:
        """Seconds to wait after the ``attempt``-th try (from 1) failed, None = give up."""
        if not error.retryable or attempt >= self.attempts:
            return None
        asked = error.retry_after_s if isinstance(error, (RateLimitError, ProviderUnavailableError)) else None
        if asked is not None:
            return asked if asked <= self.retry_after_cap_s else None
        full = min(self.base_s * 2.0 ** (attempt - 1), self.cap_s)
        return full * (0.5 + random.random() / 2)  # noqa: S311 - jitter needs no secret


@attrs.frozen(kw_only=True)
class ModelChoice:
    """Which plugin serves a provider, and why."""

    provider: str
    plugin: str
    registration: ModelProviderRegistration
    why: str
    others: tuple[str, ...] = ()
    """Plugins that could serve it too."""


class Models:
    """The model providers of the installed plugins.

    Args:
        plugins: who offers what.
        config: ``providers.NAME`` settings; ``providers.NAME.plugin`` chooses among plugins.
    """

    def __init__(self, plugins: PluginManager, config: Config, *, retry: RetryPolicy | None = None) -> None:
        self._plugins, self._config = plugins, config
        self.retry = retry or RetryPolicy()
        self._instances: dict[str, ModelProvider] = {}
        self._choices: dict[str, ModelChoice] = {}
        self._settings: dict[str, ModelSettings] = {}
        self._checks: dict[tuple[str, str], tuple[float, ModelCheck]] = {}

    def choose(self, provider: str) -> ModelChoice:
        """Return who serves a provider.

        The plugin that the configuration names, else the one that offers this very name, else a fallback.

        Raises: UnknownProviderError; ConfigError when the configured plugin does not serve it.
        """
        known = self._choices.get(provider)
        if known is not None:
            return known
        names: set[str] = set()
        exact: list[tuple[str, ModelProviderRegistration]] = []
        fallback: list[tuple[str, ModelProviderRegistration]] = []
        for plugin, record in self._plugins.records("kastra_model_providers"):
            names.update(name for name in record.providers if name != "*")
            if provider in record.providers and not record.fallback:
                exact.append((plugin, record))
            elif provider in record.providers or "*" in record.providers:
                fallback.append((plugin, record))
        candidates = [*exact, *fallback]
        section = self._config.providers.get(provider)
        wanted = section.plugin if section is not None else None
        if wanted:
            hits = [pair for pair in candidates if wanted in (pair[0], pair[1].name)]
            if not hits:
                offered = ", ".join(plugin for plugin, _ in candidates) or "none"
                raise ConfigError(
                    f"providers.{provider}.plugin is {wanted!r}, which does not serve {provider!r}; "
                    f"plugins that do: {offered}"
                )
            (plugin, record), why = hits[0], f"the configuration says providers.{provider}.plugin: {wanted}"
        elif exact:
            (plugin, record), why = exact[0], f"it offers the provider {provider!r}"
        elif fallback:
            (plugin, record), why = fallback[0], f"no plugin offers {provider!r} itself and it serves all others"
        else:
            raise UnknownProviderError(provider, sorted(names))
        others = tuple(name for name, other in candidates if other is not record)
        choice = ModelChoice(provider=provider, plugin=plugin, registration=record, why=why, others=others)
        self._choices[provider] = choice
        return choice

    def keyless(self) -> str | None:
        """A provider that needs no account, or None."""
        for _, record in self._plugins.records("kastra_model_providers"):
            if record.keyless and record.providers:
                return str(record.providers[0])
        return None

    def embeddings(self) -> str | None:
        """``provider/name`` that makes embeddings where nobody says: the configured one, else one without account."""
        if self._config.default_embeddings:
            return self._config.default_embeddings
        for _, record in self._plugins.records("kastra_model_providers"):
            if record.keyless and record.embeddings and record.providers:
                return f"{record.providers[0]}/{record.embeddings}"
        return None

    @cached_property
    def keyless_model(self) -> str | None:
        """``provider/name`` that needs no account, for whoever names no model, or None."""
        provider = self.keyless()
        return f"{provider}/auto" if provider else None

    def is_keyless(self, model: str) -> bool:
        """Whether ``provider/name`` is of a provider that needs no account; one that nobody serves is not."""
        try:
            return self.choose(model.partition("/")[0]).registration.keyless
        except KastraError:
            return False

    def preload(self, provider: str) -> None:
        """Import what the first request of a provider needs, in a thread, while other things are done.

        A failure is left to that request, which says what is missing.
        """
        modules = [name for name in self.choose(provider).registration.preload if name not in sys.modules]
        if modules:
            from threading import Thread

            Thread(target=_import_all, args=(modules,), name="kastra-preload").start()

    def provider(self, name: str) -> ModelProvider:
        """The provider object, made at the first call.

        Raises: UnknownProviderError, PluginError, ConfigError.
        """
        found = self._instances.get(name)
        if found is None:
            found = self._instances[name] = load(self.choose(name).registration.factory)(name)
        return found

    def settings(self, provider: str, spec: Mapping[str, Any] | None = None) -> ModelSettings:
        """Settings of a provider: the configuration's, with those of an Agent's ``spec.model`` over them.

        ``spec`` may have ``apiBase``, ``apiKey`` ({valueFrom}), ``headers``, ``timeoutS`` and ``options``. An
        ``apiBase`` of its own is used without the configured key, headers and options.

        Raises: KastraError with reason MissingSecret when a referenced secret is not there.
        """
        if not spec:
            cached = self._settings.get(provider)
            if cached is not None:
                return cached
        from kastra_core.config import resolve_secret

        section = self._config.providers.get(provider)
        values: dict[str, Any] = {}
        if section is not None:
            values = {
                "api_base": section.api_base,
                "api_key": resolve_secret(section.api_key) if section.api_key is not None else None,
                "headers": {name: resolve_secret(value) for name, value in section.headers.items()},
                "options": dict(section.options),
            }
            if section.timeout_s is not None:
                values["timeout_s"] = section.timeout_s
        if spec:
            if spec.get("apiBase") and spec["apiBase"] != values.get("api_base"):
                # A manifest must not send the operator's key to an address of its own: a foreign base gets only what
                # the manifest itself refers to. "" means: no key, and none from the environment.
                values |= {
                    "api_base": spec["apiBase"],
                    "api_key": "",
                    "headers": {},
                    "options": {},
                    "foreign_base": True,
                }
            if spec.get("apiKey") is not None:
                values["api_key"] = resolve_secret(spec["apiKey"])
            if spec.get("headers"):
                resolved = {name: resolve_secret(value) for name, value in spec["headers"].items()}
                values["headers"] = {**values.get("headers", {}), **resolved}
            if spec.get("timeoutS") is not None:
                values["timeout_s"] = float(spec["timeoutS"])
            if spec.get("options"):
                values["options"] = {**values.get("options", {}), **spec["options"]}
        settings = ModelSettings(**values)
        if not spec and (section is None or section.api_key is None):
            # A secret by reference is read anew each time, so that a changed key is seen without a restart.
            self._settings[provider] = settings
        return settings

    def check(self, provider: str, model: str, spec: Mapping[str, Any] | None = None) -> ModelCheck:
        """Whether a model could answer now; every failure is an answer, none is raised."""
        try:
            settings = self.settings(provider, spec)
            return self.provider(provider).check(model, settings)
        except KastraError as error:
            return ModelCheck(ok=False, reason=error.reason, message=_without_remedy(error), remedy=error.remedy or "")
        except ImportError as error:
            choice = self.choose(provider)
            return ModelCheck(
                ok=False,
                reason="MissingDependency",
                message=f"plugin {choice.plugin!r} could not be imported: {error}",
                remedy=f"reinstall it: pip install --force-reinstall kastra-plugin-{choice.plugin}",
            )

    def recent_check(self, provider: str, model: str, spec: Mapping[str, Any] | None = None) -> ModelCheck:
        """As :meth:`check`, for controllers: without a ``spec`` an answer is shared for ``CHECK_KEPT_S``."""
        if spec:
            return self.check(provider, model, spec)
        now = time.monotonic()
        at, kept = self._checks.get((provider, model), (-math.inf, None))
        if kept is None or now - at >= CHECK_KEPT_S:
            kept = self.check(provider, model)
            self._checks[(provider, model)] = (now, kept)
        return kept

    async def chat(
        self, provider: str, request: ChatRequest, *, on_retry: Callable[[int, float, ModelError], Awaitable[None]]
    ) -> ChatResponse:
        """One answer, with retries. Raises: ModelError of the last try."""
        instance = self.provider(provider)
        return await self._tried(lambda: instance.chat(request), on_retry)

    async def stream(
        self,
        provider: str,
        request: ChatRequest,
        *,
        on_event: Callable[[ChatEvent], Awaitable[None]],
        on_retry: Callable[[int, float, ModelError], Awaitable[None]],
    ) -> ChatResponse:
        """One answer, its deltas handed to ``on_event`` as they come; ``on_retry`` says that it starts over."""
        instance = self.provider(provider)

        async def once() -> ChatResponse:
            events: AsyncIterator[ChatEvent] = instance.stream(request)
            try:
                async for event in events:
                    if isinstance(event, ChatCompleted):
                        return event.response
                    await on_event(event)
            finally:
                # Not left to the garbage collector: closing ends the request.
                close = getattr(events, "aclose", None)
                if close is not None:
                    await close()
            raise ModelError("the stream ended without an answer", provider=provider, model=request.model)

        return await self._tried(once, on_retry)

    async def embed(
        self,
        provider: str,
        request: EmbeddingRequest,
        *,
        on_retry: Callable[[int, float, ModelError], Awaitable[None]],
    ) -> EmbeddingResponse:
        """Vectors for texts, with retries."""
        instance = self.provider(provider)
        return await self._tried(lambda: instance.embed(request), on_retry)

    async def _tried(
        self, call: Callable[[], Awaitable[T]], on_retry: Callable[[int, float, ModelError], Awaitable[None]]
    ) -> T:
        attempt = 1
        while True:
            try:
                return await call()
            except ModelError as error:
                wait_s = self.retry.wait_s(attempt, error)
                if wait_s is None:
                    raise
                await on_retry(attempt, wait_s, error)
            import asyncio

            await asyncio.sleep(wait_s)
            attempt += 1

    def explain(self, model: str) -> JsonObject:
        """What ``kastra explain model PROVIDER/NAME`` shows; never raises for a provider that cannot answer."""
        provider, name = split_model(model)
        out: JsonObject = {"model": model, "provider": provider, "name": name}
        try:
            choice = self.choose(provider)
        except KastraError as error:
            return out | {"plugin": None, "ok": False, "reason": error.reason, "message": str(error)}
        check = self.check(provider, name)
        out |= {
            "plugin": choice.plugin,
            "why": choice.why,
            "others": list(choice.others),
            "ok": check.ok,
            "reason": check.reason,
            "message": check.message,
            "remedy": check.remedy,
            "details": dict(check.details),
        }
        return out

    async def aclose(self) -> None:
        """Close all providers."""
        instances = list(self._instances.values())
        self._instances.clear()
        for instance in instances:
            await instance.aclose()


def _import_all(modules: Sequence[str]) -> None:
    with contextlib.suppress(Exception):
        for name in modules:
            import_module(name)


def _without_remedy(error: KastraError) -> str:
    text = str(error)
    return text.removesuffix(f"; {error.remedy}") if error.remedy else text
