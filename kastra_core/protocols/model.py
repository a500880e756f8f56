"""Models: what is asked, what comes back, and what a provider implements.

Names follow OpenTelemetry's GenAI conventions (``input_tokens``, ``finish_reason``, message ``parts``) and the
chat-completion APIs where OpenTelemetry has none.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import attrs

from kastra_core.api.meta import JsonObject, JsonValue

__all__ = [
    "ChatCompleted",
    "ChatEvent",
    "ChatRequest",
    "ChatResponse",
    "EmbeddingRequest",
    "EmbeddingResponse",
    "FinishReason",
    "Message",
    "ModelCheck",
    "ModelProvider",
    "ModelSettings",
    "Part",
    "TextDelta",
    "TextPart",
    "ToolCallDelta",
    "ToolCallPart",
    "ToolDefinition",
    "ToolResultPart",
    "Usage",
]


@attrs.frozen
class TextPart:
    """Words."""

    content: str

    def to_json(self) -> JsonObject:
        """As journals and threads keep it."""
        return {"type": "text", "content": self.content}


@attrs.frozen
class ToolCallPart:
    """The model asks for a tool. ``arguments`` is the parsed object; text that is no JSON object stays a str."""

    id: str
    name: str
    arguments: JsonObject | str

    def to_json(self) -> JsonObject:
        """As journals and threads keep it."""
        return {"type": "tool_call", "id": self.id, "name": self.name, "arguments": self.arguments}


@attrs.frozen
class ToolResultPart:
    """What a tool answered: text or JSON. ``is_error``: the tool failed and ``response`` says why."""

    id: str
    response: JsonValue
    is_error: bool = False

    def to_json(self) -> JsonObject:
        """As journals and threads keep it."""
        out: JsonObject = {"type": "tool_call_response", "id": self.id, "response": self.response}
        if self.is_error:
            out["is_error"] = True
        return out


Part: TypeAlias = TextPart | ToolCallPart | ToolResultPart
"""What a message is made of."""


@attrs.frozen
class Message:
    """One message of a conversation; ``role`` is system, user, assistant or tool.

    A tool message holds one ToolResultPart. ``to_json`` is what journals and threads keep.
    """

    role: str
    parts: tuple[Part, ...]

    @classmethod
    def system(cls, text: str) -> Message:
        """What the model is told before the conversation."""
        return cls("system", (TextPart(text),))

    @classmethod
    def user(cls, text: str) -> Message:
        """What somebody asks."""
        return cls("user", (TextPart(text),))

    @classmethod
    def assistant(cls, text: str) -> Message:
        """What a model answered."""
        return cls("assistant", (TextPart(text),))

    @classmethod
    def tool(cls, id: str, response: JsonValue, *, is_error: bool = False) -> Message:
        """What a tool answered; ``id`` is that of the model's call."""
        return cls("tool", (ToolResultPart(id, response, is_error),))

    @property
    def text(self) -> str:
        """The text parts, joined."""
        return "".join(part.content for part in self.parts if isinstance(part, TextPart))

    @property
    def tool_calls(self) -> tuple[ToolCallPart, ...]:
        """The tools that the model asks for, in order."""
        return tuple(part for part in self.parts if isinstance(part, ToolCallPart))

    def to_json(self) -> JsonObject:
        """``{role, parts}``, as journals and threads keep it."""
        return {"role": self.role, "parts": [part.to_json() for part in self.parts]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Message:
        """Read what :meth:`to_json` gave. Raises: ValueError for a part of a type that nobody knows; KeyError."""
        return cls(data["role"], tuple(_part(part) for part in data["parts"]))


def _part(data: Mapping[str, Any]) -> Part:
    kind = data["type"]
    if kind == "text":
        return TextPart(data["content"])
    if kind == "tool_call":
        return ToolCallPart(data["id"], data["name"], data["arguments"])
    if kind == "tool_call_response":
        return ToolResultPart(data["id"], data["response"], bool(data.get("is_error", False)))
    raise ValueError(f"unknown message part {kind!r}; known are text, tool_call, tool_call_response")


@attrs.frozen(kw_only=True)
class ToolDefinition:
    """A tool as the model sees it; ``parameters`` is a JSON schema of type object."""

    name: str
    description: str = ""
    parameters: JsonObject = attrs.field(factory=lambda: {"type": "object", "properties": {}})


@attrs.frozen(kw_only=True)
class ModelSettings:
    """How to reach one provider; from the configuration and an Agent's ``spec.model``.

    ``api_key`` is the resolved secret (never printed: ``repr=False``); None lets the plugin look at its own
    environment variable.
    """

    api_base: str | None = None
    api_key: str | None = attrs.field(default=None, repr=False)
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    timeout_s: float = 600.0
    """For the whole answer; a stream may take longer as long as something comes within it.
    How long such a stream may last at most is the plugin's to say."""
    connect_timeout_s: float = 10.0
    options: Mapping[str, Any] = attrs.field(factory=dict)
    """The plugin's own settings, as written."""
    foreign_base: bool = False
    """``api_base`` comes from a manifest and is not the configured one: nothing of the operator's may be sent there,
    neither what the configuration holds nor what lies in the environment. ``api_key`` is the manifest's own, or ""."""


@attrs.frozen(kw_only=True)
class ChatRequest:
    """One chat completion. None means: the provider's default."""

    model: str
    """The provider's name of it, without provider prefix."""
    messages: Sequence[Message]
    tools: Sequence[ToolDefinition] = ()
    tool_choice: str = "auto"
    """auto, none, required, or the name of one of ``tools``."""
    response_schema: JsonObject | None = None
    """The answer must be JSON text that fits this JSON schema."""
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: Sequence[str] = ()
    seed: int | None = None
    parameters: Mapping[str, Any] = attrs.field(factory=dict)
    """Further parameters, passed to the provider as they are."""
    settings: ModelSettings = attrs.field(factory=ModelSettings)
    idempotency_key: str = ""


@attrs.frozen(kw_only=True)
class Usage:
    """Tokens; ``cost`` in USD when the provider or the plugin knows it, else None."""

    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None

    def to_json(self) -> JsonObject:
        """As journals keep it; without ``cost`` when it is not known."""
        out: JsonObject = {"input_tokens": self.input_tokens, "output_tokens": self.output_tokens}
        if self.cost is not None:
            out["cost"] = self.cost
        return out

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Usage:
        """Read what :meth:`to_json` gave."""
        return cls(
            input_tokens=data.get("input_tokens", 0), output_tokens=data.get("output_tokens", 0), cost=data.get("cost")
        )


FinishReason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter", "error"]
"""Why an answer ended: complete, ``max_tokens`` reached, tools asked for, the provider's filter, a fault."""


@attrs.frozen(kw_only=True)
class ChatResponse:
    """A whole answer."""

    message: Message
    finish_reason: FinishReason = "stop"
    usage: Usage = attrs.field(factory=Usage)
    model: str = ""
    """Which model answered, as the provider says."""
    id: str = ""
    """The provider's name of the answer."""

    def to_json(self) -> JsonObject:
        """As journals keep it."""
        return {
            "message": self.message.to_json(),
            "finish_reason": self.finish_reason,
            "usage": self.usage.to_json(),
            "model": self.model,
            "id": self.id,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ChatResponse:
        """Read what :meth:`to_json` gave. Raises: KeyError, ValueError."""
        return cls(
            message=Message.from_json(data["message"]),
            finish_reason=data["finish_reason"],
            usage=Usage.from_json(data["usage"]),
            model=data.get("model", ""),
            id=data.get("id", ""),
        )


@attrs.frozen
class TextDelta:
    """The next piece of the answer's text."""

    text: str


@attrs.frozen
class ToolCallDelta:
    """The next piece of a tool call: ``id`` and ``name`` with the first, then pieces of the arguments' JSON text."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


@attrs.frozen
class ChatCompleted:
    """The last event of a stream: the same response that ``chat`` would have returned."""

    response: ChatResponse


ChatEvent: TypeAlias = TextDelta | ToolCallDelta | ChatCompleted
"""What :meth:`ModelProvider.stream` yields."""


@attrs.frozen(kw_only=True)
class EmbeddingRequest:
    """Texts to be turned into vectors."""

    model: str
    """The provider's name of it, without provider prefix."""
    texts: Sequence[str]
    dimensions: int | None = None
    """Length of each vector; None: the model's own."""
    input_type: Literal["", "query", "passage"] = ""
    """For models that tell what is searched for from what is searched; "" = the provider's default."""
    settings: ModelSettings = attrs.field(factory=ModelSettings)


@attrs.frozen(kw_only=True)
class EmbeddingResponse:
    """The vectors of a request."""

    vectors: Sequence[Sequence[float]]
    """One per text, in order: float[n_texts][dim]."""
    usage: Usage = attrs.field(factory=Usage)
    model: str = ""


@attrs.frozen(kw_only=True)
class ModelCheck:
    """Whether a model could answer now, as far as can be told without calling it.

    ``reason`` is a CamelCase word (``Available``, ``MissingKey``, ``WeightsMissing``, ``MissingDependency``,
    ``UnknownModel``), ``message`` the fact, ``remedy`` what to do. ``details`` are lines for ``kastra explain model``
    ("api base" -> "https://...", "key" -> "from environment variable OPENAI_API_KEY"); never the key itself.
    """

    ok: bool
    reason: str = "Available"
    message: str = ""
    remedy: str = ""
    details: Mapping[str, str] = attrs.field(factory=dict)

    @property
    def told(self) -> str:
        """The fact, and what to do about it.

        >>> ModelCheck(ok=False, message="there is no key", remedy="set KEY").told
        'there is no key; set KEY'
        """
        return f"{self.message}; {self.remedy}" if self.remedy else self.message


@runtime_checkable
class ModelProvider(Protocol):
    """Answers chat and embedding requests. One object per process and provider name, used by one event loop.

    Retries are the caller's (``execution.models``): a provider raises the matching ModelError at once.
    """

    def check(self, model: str, settings: ModelSettings) -> ModelCheck:
        """Say whether ``model`` could answer, without network, in under a millisecond after the first call."""
        ...

    async def chat(self, request: ChatRequest) -> ChatResponse:
        """Return the whole answer.

        Raises: ModelError and its subclasses, nothing else.
        """
        ...

    def stream(self, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        """Deltas, then one ChatCompleted. Closing the iterator early ends the request.

        Raises: as ``chat``; after the first delta a broken connection is a ModelConnectionError.
        """
        ...

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        """Return a vector for each text, in order.

        Raises: ModelError and its subclasses; InvalidRequestError when the provider has no embeddings.
        """
        ...

    async def aclose(self) -> None:
        """Close connections. Safe to call twice."""
        ...
