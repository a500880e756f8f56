"""The input of a run that asks a model: its forms as the messages that begin a turn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from kastra_core.api.meta import JsonObject, JsonValue
from kastra_core.errors import RunFailedError
from kastra_core.protocols.model import Message

__all__ = ["input_messages", "text_of", "user_message"]

_ROLES = ("system", "user", "assistant", "tool")


def user_message(text: str) -> JsonObject:
    """A message of the user as threads keep it.

    >>> user_message("Hi")
    {'role': 'user', 'parts': [{'type': 'text', 'content': 'Hi'}]}
    """
    return {"role": "user", "parts": [{"type": "text", "content": text}]}


def text_of(message: JsonObject) -> str:
    """The texts of a message as threads keep it, one after another."""
    return "".join(part["content"] for part in message["parts"] if part["type"] == "text")


def input_messages(input: JsonValue, *, what: str) -> list[JsonObject]:
    """The messages that begin a turn, as threads keep them.

    Args:
        input: a text, ``{"input": text}``, ``{"messages": [...]}`` (each with ``role`` and ``parts``, or with
            ``content`` as the model APIs write it), or any JSON, taken as text.
        what: needs it ("an agent").
    Raises: RunFailedError with reason InvalidInput.
    """
    if isinstance(input, str):
        return [user_message(input)]
    if isinstance(input, Mapping):
        messages = input.get("messages")
        if isinstance(messages, list) and messages:
            return [_message(message, at) for at, message in enumerate(messages)]
        if isinstance(input.get("input"), str) and len(input) == 1:
            return [user_message(input["input"])]
    if input is None:
        raise RunFailedError(f"{what} needs input: a text, or an object with messages", reason="InvalidInput")
    return [user_message(orjson.dumps(input).decode())]


def _message(message: Any, at: int) -> JsonObject:
    if not isinstance(message, Mapping) or message.get("role") not in _ROLES:
        raise _invalid(at, f"needs a role: one of {', '.join(_ROLES)}")
    role, parts = message["role"], message.get("parts")
    if isinstance(message.get("content"), str):
        return {"role": role, "parts": [_content(message)]}
    if not isinstance(parts, list) or not all(isinstance(part, Mapping) for part in parts):
        raise _invalid(at, "needs content (a text) or parts (a list of objects)")
    if any(part.get("type") == "text" and not isinstance(part.get("content"), str) for part in parts):
        raise _invalid(at, "has a part of type text without a text as content")
    try:
        return Message.from_json({"role": role, "parts": parts}).to_json()
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _invalid(at, f"has parts that are none ({type(error).__name__}: {error})") from error


def _content(message: Mapping[str, Any]) -> JsonObject:
    if message["role"] == "tool":
        return {"type": "tool_call_response", "id": message.get("tool_call_id", ""), "response": message["content"]}
    return {"type": "text", "content": message["content"]}


def _invalid(at: int, why: str) -> RunFailedError:
    return RunFailedError(f"input.messages[{at}] {why}", reason="InvalidInput")
