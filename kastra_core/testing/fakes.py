"""Stand-ins for what needs an account, a network or a large download. Real objects of the public contracts."""

from __future__ import annotations

import hashlib
import inspect
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeAlias

import attrs
import orjson

from kastra_core.errors import InvalidRequestError
from kastra_core.hookspecs import hookimpl
from kastra_core.protocols.model import (
    ChatCompleted,
    ChatEvent,
    ChatRequest,
    ChatResponse,
    EmbeddingRequest,
    EmbeddingResponse,
    Message,
    ModelCheck,
    ModelSettings,
    Part,
    TextDelta,
    TextPart,
    ToolCallDelta,
    ToolCallPart,
    ToolResultPart,
    Usage,
)
from kastra_core.registrations import ModelProviderRegistration

__all__ = ["Answer", "FakeModelProvider"]

Answer: TypeAlias = (
    str
    | Part
    | Sequence[Part]
    | ChatResponse
    | BaseException
    | Callable[[ChatRequest], "str | Part | Sequence[Part] | ChatResponse | Awaitable[Any]"]
)
"""A text, tool calls, a whole response, an error to raise, or a function (async or not) of the request that returns
one of them."""


class FakeModelProvider:
    """Answers from a script, one entry a request, and keeps the requests.

    Args:
        answers: what the requests get, in the order in which they come.
        default: what they get when ``answers`` is used up; None makes that an InvalidRequestError.
        check: what ``check`` says.
        dimensions: length of the embedding vectors.

    Usage counts words: of the messages' texts for input, of the answer for output.

    >>> import asyncio
    >>> provider = FakeModelProvider(["Hello."])
    >>> asyncio.run(provider.chat(ChatRequest(model="m", messages=[Message.user("Hi")]))).message.text
    'Hello.'
    >>> provider.requests[0].messages[0].text
    'Hi'
    """

    def __init__(
        self,
        answers: Iterable[Answer] = (),
        *,
        default: Answer | None = None,
        check: ModelCheck | None = None,
        dimensions: int = 8,
    ) -> None:
        self.answers: list[Answer] = list(answers)
        self.default = default
        self.requests: list[ChatRequest] = []
        """Every chat request, streamed or not, in the order of arrival."""
        self.embedding_requests: list[EmbeddingRequest] = []
        self.closed = False
        self._check = check or ModelCheck(ok=True, message="scripted answers")
        self._dimensions = dimensions
        self._used = 0

    def registration(self, *providers: str, name: str = "fake", keyless: bool = True) -> ModelProviderRegistration:
        """Return a hook record that serves ``providers`` (default: "fake") with this object."""
        return ModelProviderRegistration(
            name=name, providers=providers or ("fake",), factory=lambda _: self, keyless=keyless
        )

    def plugin(
        self, *providers: str, name: str = "fake", keyless: bool = True, embeddings: str = ""
    ) -> tuple[str, Any]:
        """Return a plugin that offers this object: for ``PluginManager(extra=[...])``, or ``plugins`` of a suite.

        Args:
            providers: as of :meth:`registration`.
            embeddings: its model that makes embeddings, where it is to be the default for them.
        """
        record = attrs.evolve(self.registration(*providers, name=name, keyless=keyless), embeddings=embeddings)
        module = types.ModuleType(f"{name}_plugin")

        @hookimpl
        def kastra_model_providers() -> Iterable[ModelProviderRegistration]:
            return (record,)

        setattr(module, kastra_model_providers.__name__, kastra_model_providers)
        return name, module

    def check(self, model: str, settings: ModelSettings) -> ModelCheck:
        return self._check

    async def chat(self, request: ChatRequest) -> ChatResponse:
        self.requests.append(request)
        used, self._used = self._used, self._used + 1
        answer: Any = self.answers[used] if used < len(self.answers) else self.default
        if callable(answer) and not isinstance(answer, BaseException):
            answer = answer(request)
            if inspect.isawaitable(answer):
                answer = await answer
        if isinstance(answer, BaseException):
            raise answer
        if answer is None:
            raise InvalidRequestError(
                f"request {used + 1}, but the script of this FakeModelProvider has {len(self.answers)} answers",
                provider="fake",
                model=request.model,
            )
        if isinstance(answer, ChatResponse):
            return answer
        return _response(answer, request, used)

    async def stream(self, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        """The answer of ``chat`` in pieces: a text word by word, the arguments of a tool call in two halves."""
        response = await self.chat(request)
        calls = 0
        for part in response.message.parts:
            if isinstance(part, TextPart):
                words = part.content.split(" ")
                for at, word in enumerate(words):
                    yield TextDelta(word if at == len(words) - 1 else word + " ")
            elif isinstance(part, ToolCallPart):
                text = part.arguments if isinstance(part.arguments, str) else orjson.dumps(part.arguments).decode()
                yield ToolCallDelta(calls, part.id, part.name, text[: len(text) // 2])
                yield ToolCallDelta(calls, arguments=text[len(text) // 2 :])
                calls += 1
        yield ChatCompleted(response)

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        """Vectors made from a digest of each text: equal texts get equal vectors, others unrelated ones."""
        self.embedding_requests.append(request)
        size = request.dimensions or self._dimensions
        words = sum(len(text.split()) for text in request.texts)
        return EmbeddingResponse(
            vectors=[_vector(text, size) for text in request.texts],
            usage=Usage(input_tokens=words),
            model=request.model,
        )

    async def aclose(self) -> None:
        self.closed = True


def _response(answer: str | Part | Sequence[Part], request: ChatRequest, used: int) -> ChatResponse:
    parts: tuple[Part, ...]
    if isinstance(answer, str):
        parts = (TextPart(answer),)
    elif isinstance(answer, TextPart | ToolCallPart | ToolResultPart):
        parts = (answer,)
    else:
        parts = tuple(answer)
    message = Message("assistant", parts)
    return ChatResponse(
        message=message,
        finish_reason="tool_calls" if message.tool_calls else "stop",
        usage=Usage(
            input_tokens=sum(len(past.text.split()) for past in request.messages),
            output_tokens=len(message.text.split()) + len(message.tool_calls),
        ),
        model=request.model,
        id=f"fake-{used}",
    )


def _vector(text: str, size: int) -> list[float]:
    """Return ``size`` numbers in [-1, 1)."""
    raw = hashlib.shake_128(text.encode()).digest(size)
    return [byte / 128.0 - 1.0 for byte in raw]
