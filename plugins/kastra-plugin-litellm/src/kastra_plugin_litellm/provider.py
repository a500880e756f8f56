"""The provider object. Light: litellm comes with the first request."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any

from kastra_core.errors import (
    BadResponseError,
    InvalidRequestError,
    KastraError,
    ModelConnectionError,
    ModelError,
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
from kastra_plugin_litellm.providers import AMBIENT, KEY_VARIABLES, KNOWN, LOCAL, is_known, litellm_installed

__all__ = ["LiteLLMProvider"]


class LiteLLMProvider:
    """Chat, streams and embeddings of one provider through litellm; a ModelProvider.

    Args:
        provider: the part before the slash in litellm's model names ("anthropic", "gemini", "bedrock").
    """

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._holds = self._closed = False

    # ------------------------------------------------------------------------------------------ check

    def check(self, model: str, settings: ModelSettings) -> ModelCheck:
        """Say what can be told without importing litellm: is it installed, does it know the provider, is a key set."""
        name = self._provider
        if not litellm_installed():
            return ModelCheck(
                ok=False,
                reason="MissingDependency",
                message="the library 'litellm' is not installed",
                remedy="pip install litellm",
            )
        if not is_known(name):
            near = nearest(name, sorted(KNOWN))
            return ModelCheck(
                ok=False,
                reason="UnknownProvider",
                message=f"no plugin serves the provider {name!r}, and litellm does not know it",
                remedy=f"did you mean {near!r}?" if near else "see docs.litellm.ai/docs/providers for the names",
            )
        base = "settings" if settings.api_base else "litellm's default"
        variables = KEY_VARIABLES.get(name, ())
        variable = next((variable for variable in variables if os.environ.get(variable)), None)
        if settings.api_key:
            key = "from settings"
        elif variable:
            key = f"from environment variable {variable}"
        else:
            key = "none"
        details = {"library": "litellm", "api base": base, "key": key}
        if key != "none" or name in LOCAL:
            return ModelCheck(
                ok=True,
                message=f"{name} through litellm; whether it knows {model!r} shows at the first call",
                details=details,
            )
        if variables and not settings.api_base:
            command = f"kastra config set providers.{name}.apiKey '{{valueFrom: {{file: PATH}}}}'"
            return ModelCheck(
                ok=False,
                reason="MissingKey",
                message=f"the provider {name!r} needs an API key and none is set",
                remedy=f"set {variables[0]}, or `{command}`",
                details=details,
            )
        why = "signs in by the cloud's own means" if name in AMBIENT else "may want a key or none"
        return ModelCheck(
            ok=True,
            reason="Unverified",
            message=f"the provider {name!r} {why}; whether it can be reached shows at the first call",
            details=details,
        )

    # ------------------------------------------------------------------------------------------ requests

    async def chat(self, request: ChatRequest) -> ChatResponse:
        from kastra_plugin_litellm._wire import OptionError, WireError, chat_arguments, chat_response

        litellm = await self._litellm(request.model)
        try:
            arguments = chat_arguments(request, self._provider, _owned_by(litellm), stream=False)
            answer = await _within(request.settings.timeout_s, litellm.acompletion(**arguments))
            return chat_response(answer, self._cost_of(litellm, request.model))
        except OptionError as err:
            raise InvalidRequestError(str(err), **self._who(request.model)) from err
        except WireError as err:
            raise BadResponseError(str(err), **self._who(request.model)) from err
        except Exception as err:
            raise self._error(err, request) from err

    async def stream(self, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        from kastra_plugin_litellm._wire import OptionError, StreamedAnswer, WireError, chat_arguments

        litellm = await self._litellm(request.model)
        answer = StreamedAnswer()
        chunks: Any = None
        try:
            try:
                arguments = chat_arguments(request, self._provider, _owned_by(litellm), stream=True)
                chunks = await _within(request.settings.timeout_s, litellm.acompletion(**arguments))
                source = chunks.__aiter__()
                while True:
                    try:
                        chunk = await _within(request.settings.timeout_s, source.__anext__())
                    except StopAsyncIteration:
                        break
                    for event in answer.add(chunk):
                        yield event
                response = answer.response(self._cost_of(litellm, request.model))
            except OptionError as err:
                raise InvalidRequestError(str(err), **self._who(request.model)) from err
            except WireError as err:
                raise BadResponseError(str(err), **self._who(request.model)) from err
            except Exception as err:
                raise self._error(err, request) from err
        finally:
            if hasattr(chunks, "aclose"):
                await chunks.aclose()
        yield ChatCompleted(response)

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        from kastra_plugin_litellm._wire import OptionError, embedding_arguments

        if not request.texts:
            return EmbeddingResponse(vectors=[], model=request.model)
        litellm = await self._litellm(request.model)
        try:
            arguments = embedding_arguments(request, self._provider)
            answer = await _within(request.settings.timeout_s, litellm.aembedding(**arguments))
            items = sorted(answer.data, key=lambda item: item["index"])
            vectors = [[float(value) for value in item["embedding"]] for item in items]
            tokens = getattr(answer.usage, "prompt_tokens", 0) or 0
        except OptionError as err:
            raise InvalidRequestError(str(err), **self._who(request.model)) from err
        except (LookupError, AttributeError) as err:
            raise BadResponseError(f"no embeddings: {type(err).__name__}: {err}", **self._who(request.model)) from err
        except Exception as err:
            raise self._error(err, request) from err
        if len(vectors) != len(request.texts):
            raise BadResponseError(
                f"{len(vectors)} embeddings for {len(request.texts)} texts", **self._who(request.model)
            )
        cost = self._cost_of(litellm, request.model)(tokens, 0)
        return EmbeddingResponse(vectors=vectors, usage=Usage(input_tokens=tokens, cost=cost), model=answer.model or "")

    async def aclose(self) -> None:
        self._closed = True
        if self._holds:
            from kastra_plugin_litellm._sdk import release

            self._holds = False
            await release()

    # ------------------------------------------------------------------------------------------ helpers

    def _who(self, model: str) -> dict[str, Any]:
        return {"provider": self._provider, "model": model}

    async def _litellm(self, model: str) -> Any:
        """Return the library.

        Raises:
            InvalidRequestError: it does not know the provider.
            ModelError: it is not installed.
        """
        if self._closed:
            closed = ModelConnectionError("the provider is closed", **self._who(model))
            closed.retryable = False
            raise closed
        if not is_known(self._provider):
            check = self.check(model, ModelSettings())
            raise InvalidRequestError(f"{check.message}; {check.remedy}", **self._who(model))
        from kastra_plugin_litellm import _sdk

        try:
            litellm = await _sdk.load()
        except KastraError as err:
            raise ModelError(str(err), **self._who(model)) from err
        except Exception as err:
            raise ModelError(f"litellm cannot be imported: {type(err).__name__}: {err}", **self._who(model)) from err
        if not self._holds and not self._closed:
            self._holds = True
            _sdk.hold()
        return litellm

    def _cost_of(self, litellm: Any, model: str) -> Any:
        """Return the price function of a model, from litellm's own list."""

        def cost(read: int, written: int) -> float | None:
            try:
                prices = litellm.cost_per_token(
                    model=model, custom_llm_provider=self._provider, prompt_tokens=read, completion_tokens=written
                )
            except Exception:  # it raises many kinds for "not in the list"
                return None
            return float(sum(prices))

        return cost

    def _error(self, err: Exception, request: ChatRequest | EmbeddingRequest) -> ModelError:
        if isinstance(err, ModelError):
            return err
        from kastra_plugin_litellm._faults import error_of

        settings = request.settings
        values = [settings.api_key, *settings.headers.values()]
        values += [os.environ.get(variable) for variable in KEY_VARIABLES.get(self._provider, ())]
        secrets = [value for value in values if value and len(value) >= 6]
        return error_of(err, provider=self._provider, model=request.model, secrets=secrets)


def _owned_by(litellm: Any) -> Any:
    """Return the test for names that litellm takes for itself; older releases have only the list."""
    names = set(litellm.all_litellm_params)
    return names.__contains__


async def _within(timeout_s: float, awaitable: Any) -> Any:
    """Return what ``awaitable`` gives. Not every provider of litellm heeds its own timeout."""
    import asyncio

    try:
        async with asyncio.timeout(timeout_s):
            return await awaitable
    except TimeoutError as err:
        raise TimeoutError(f"no answer within {timeout_s:g} s") from err
