"""One request from the first question to the engine to the response: re-asks, tool calls, checks, errors."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import attrs
import orjson

from kastra_core.errors import (
    BadResponseError,
    ContextLengthError,
    InvalidRequestError,
    ModelError,
    ModelTimeoutError,
    ProviderUnavailableError,
)
from kastra_core.protocols.model import (
    ChatCompleted,
    ChatEvent,
    ChatRequest,
    ChatResponse,
    FinishReason,
    Message,
    Part,
    TextDelta,
    TextPart,
    ToolCallDelta,
    ToolCallPart,
    ToolDefinition,
    Usage,
)
from kastra_plugin_local.config import LocalOptions
from kastra_plugin_local.engine import Engine, EngineClosedError, EngineError
from kastra_plugin_local.grammar import problem_with
from kastra_plugin_local.tools import FoundCall, ToolTextScanner
from kastra_plugin_local.turns import (
    Turn,
    Way,
    first_turn,
    json_or_answer_turn,
    offered_tools,
    plain_turn,
    required_turn,
)
from kastra_plugin_local.weights import Weights

__all__ = ["Conversation"]


@attrs.define
class _Heard:
    """What one turn gave so far."""

    text: str = ""
    finish: str = ""
    id: str = ""


class Conversation:
    """Answers one ChatRequest with one engine."""

    def __init__(
        self, request: ChatRequest, engine: Engine, weights: Weights, options: LocalOptions, provider: str
    ) -> None:
        self._request, self._engine, self._weights, self._options = request, engine, weights, options
        self._provider = provider
        self._text = ""
        self._calls: list[ToolCallPart] = []
        self._input_tokens = self._output_tokens = 0

    async def events(self) -> AsyncGenerator[ChatEvent, None]:
        """Yield deltas, then the response. Raises ModelError alone."""
        request, bound = self._request, self._options.max_tokens
        supports = self._options.supports_tools
        if supports is None:
            supports = self._weights.entry.supports_tools if self._weights.entry else True
        tools = offered_tools(request, after_result=self._options.tools_after_result)
        self._check_schemas(tools)
        turn: Turn | None = first_turn(request, tools, max_tokens=bound, supports_tools=supports)
        heard = _Heard()
        while turn is not None:
            heard = _Heard()
            following: Turn | None = None
            if turn.way is Way.FREE:
                scanner = ToolTextScanner([tool.name for tool in tools])
                async with aclosing(self._pieces(turn, heard)) as pieces:
                    async for piece in pieces:
                        if shown := scanner.feed(piece):
                            self._text += shown
                            yield TextDelta(shown)
                if shown := scanner.finish():
                    self._text += shown
                    yield TextDelta(shown)
                following = self._read_free(scanner, turn)
            elif turn.way in (Way.TEXT, Way.JSON):
                async with aclosing(self._pieces(turn, heard)) as pieces:
                    async for piece in pieces:
                        self._text += piece
                        yield TextDelta(piece)
                if turn.way is Way.JSON:
                    self._value(turn, heard)
            else:
                async with aclosing(self._pieces(turn, heard)) as pieces:
                    async for _ in pieces:
                        pass
                if answer := self._read_constrained(turn, heard):
                    self._text += answer
                    yield TextDelta(answer)
            turn = following
        for index, call in enumerate(self._calls):
            yield ToolCallDelta(index, call.id, call.name, orjson.dumps(call.arguments).decode())
        yield ChatCompleted(self._response(heard))

    # ------------------------------------------------------------------------------------- reading an answer

    def _read_free(self, scanner: ToolTextScanner, turn: Turn) -> Turn | None:
        """Take the calls over, or say what to ask next: a call that does not fit is asked for again, by a grammar."""
        bound = self._options.max_tokens
        if scanner.broken and not scanner.calls:
            return json_or_answer_turn(self._request, turn.tools, bound)
        known = {tool.name: tool for tool in turn.tools}
        fitting = [call for call in scanner.calls if call.name in known]
        if scanner.calls and not fitting:
            # A tool that does not exist: the model wants to say something, and took the form for it.
            return plain_turn(self._request, bound)
        for call in fitting:
            if problem_with(call.arguments, known[call.name].parameters) is not None:
                return required_turn(self._request, (known[call.name],), bound)
        self._take(fitting)
        return None

    def _read_constrained(self, turn: Turn, heard: _Heard) -> str:
        """Take a call over or return the answer's text."""
        value = self._value(turn, heard)
        if "answer" in value:
            answer = value["answer"]
            if self._request.response_schema is None:
                return str(answer)
            return orjson.dumps(answer).decode()
        self._take([FoundCall(value["name"], value["arguments"])])
        return ""

    def _value(self, turn: Turn, heard: _Heard) -> Any:
        if heard.finish == "length":
            cut = self._error(BadResponseError, "the JSON was cut at the token limit; raise max_tokens")
            cut.retryable = False  # another try is cut, too
            raise cut
        try:
            value = orjson.loads(heard.text)
        except orjson.JSONDecodeError as err:
            raise self._error(BadResponseError, f"expected JSON, found {heard.text[:80]!r}") from err
        if (problem := problem_with(value, turn.schema or {})) is not None:
            raise self._error(BadResponseError, f"the JSON does not fit the schema: {problem}")
        return value

    def _take(self, calls: list[FoundCall]) -> None:
        for call in calls:
            same = any(call.name == other.name and call.arguments == other.arguments for other in self._calls)
            if not same:  # small models say a call twice
                self._calls.append(ToolCallPart(f"call_{secrets.token_hex(8)}", call.name, call.arguments))

    def _check_schemas(self, tools: tuple[ToolDefinition, ...]) -> None:
        """Refuse schemas that are none: the engine would drop the grammar without a word."""
        schemas = [(f"the parameters of tool {tool.name!r}", tool.parameters) for tool in tools]
        if self._request.response_schema is not None:
            schemas.append(("response_schema", self._request.response_schema))
        for what, schema in schemas:
            try:
                problem_with(None, schema)
            except ValueError as err:
                raise self._error(InvalidRequestError, f"{what}: no JSON schema: {err}") from err

    def _response(self, heard: _Heard) -> ChatResponse:
        parts: list[Part] = [TextPart(self._text)] if self._text or not self._calls else []
        parts.extend(self._calls)
        finish: FinishReason = "tool_calls" if self._calls else "length" if heard.finish == "length" else "stop"
        return ChatResponse(
            message=Message("assistant", tuple(parts)),
            finish_reason=finish,
            usage=Usage(input_tokens=self._input_tokens, output_tokens=self._output_tokens, cost=0.0),
            model=self._weights.name,
            id=heard.id,
        )

    # --------------------------------------------------------------------------------- talking to the engine

    async def _pieces(self, turn: Turn, heard: _Heard) -> AsyncGenerator[str, None]:
        """Yield the text of one turn; its end, tokens and errors go to ``heard``, to the usage and up."""
        silence_s = self._request.settings.timeout_s
        try:
            async with aclosing(self._engine.stream(turn.body, silence_s=silence_s)) as chunks:
                async for chunk in chunks:
                    if piece := self._hear(chunk, heard):
                        yield piece
        except TimeoutError as err:
            raise self._error(ModelTimeoutError, f"nothing came for {silence_s:g} s") from err
        except EngineClosedError as err:
            raise self._error(ProviderUnavailableError, str(err)) from err
        except EngineError as err:
            raise self._error(ModelError, str(err)) from err
        except (ValueError, TypeError) as err:
            raise self._error(InvalidRequestError, str(err)) from err
        except RuntimeError as err:
            raise self._error(ProviderUnavailableError, str(err)) from err
        if not heard.finish:
            raise self._error(BadResponseError, "the answer ended without a finish reason")

    def _hear(self, chunk: dict[str, Any], heard: _Heard) -> str:
        if "error" in chunk:
            raise self._reported(chunk["error"])
        heard.id = chunk.get("id") or heard.id
        if usage := chunk.get("usage"):
            self._input_tokens += usage.get("prompt_tokens", 0)
            self._output_tokens += usage.get("completion_tokens", 0)
        piece = ""
        for choice in chunk.get("choices") or ():
            piece += (choice.get("delta") or {}).get("content") or ""
            heard.finish = choice.get("finish_reason") or heard.finish
        heard.text += piece
        return piece

    def _reported(self, error: Any) -> ModelError:
        if not isinstance(error, dict):
            return self._error(ProviderUnavailableError, str(error))
        message, code = str(error.get("message", error)), error.get("code")
        if error.get("type") == "exceed_context_size_error":
            has, needs = error.get("n_ctx"), error.get("n_prompt_tokens")
            return self._error(
                ContextLengthError,
                f"the conversation has {needs} tokens, the context {has}; shorten it or raise the option contextTokens",
            )
        if isinstance(code, int) and 400 <= code < 500:
            return self._error(InvalidRequestError, message)
        return self._error(ProviderUnavailableError, message)

    def _error(self, kind: type[ModelError], message: str) -> ModelError:
        return kind(message, provider=self._provider, model=self._request.model)
