"""The buffer: the newest messages of a thread that fit, turn by turn. Pure functions over stored messages."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from kastra_core.api.meta import JsonObject
from kastra_core.protocols.model_input import text_of
from kastra_core.protocols.store import StoredMessage
from kastra_plugin_agent.tokens import MESSAGE_TOKENS, cut_text, estimate_text, estimate_tokens

__all__ = ["Buffer", "asks", "buffered"]


@attrs.frozen
class Buffer:
    """What of a thread is put before a question."""

    messages: tuple[JsonObject, ...] = ()
    """They begin with the user, and every tool result follows its call."""
    start: int = 0
    """Index of the first kept one among the messages that were given; their number when none was kept."""
    shortened: bool = False
    """The last turn alone was too long and lost its tool calls, or text."""


def asks(messages: Sequence[StoredMessage]) -> bool:
    """A turn begins among them."""
    return any(stored.message["role"] == "user" for stored in messages)


def buffered(messages: Sequence[StoredMessage], *, max_messages: int, max_tokens: int | None = None) -> Buffer:
    """Return the newest whole turns within both bounds.

    A turn begins with a message of the user. What comes before the first such message is left out: it is the rest of a
    turn. Is the newest turn too long by itself, its question and its last answer stay, cut with a mark where they must.

    Args:
        messages: oldest first.
        max_messages: >= 0.
        max_tokens: by :func:`~kastra_plugin_agent.tokens.estimate_tokens`; None = any number.
    """
    count = len(messages)
    least = max(0, count - max_messages)
    if max_tokens is not None:
        tokens, at = 0, count
        while at > least and (tokens := tokens + estimate_tokens(messages[at - 1].message)) <= max_tokens:
            at -= 1
        least = at
    start = next((at for at in range(least, count) if messages[at].message["role"] == "user"), count)
    if start < count:
        return Buffer(tuple([stored.message for stored in messages[start:]]), start)
    newest = next((at for at in range(least - 1, -1, -1) if messages[at].message["role"] == "user"), None)
    if newest is None:
        return Buffer(start=count)
    short = _shortened([stored.message for stored in messages[newest:]], max_messages, max_tokens)
    return Buffer(tuple(short), newest, True) if short else Buffer(start=count)


def _shortened(turn: Sequence[JsonObject], max_messages: int, max_tokens: int | None) -> list[JsonObject]:
    """Question and answer of a turn, within the bounds; nothing when there is no room for them."""
    question = text_of(turn[0])
    answer = next((text for m in reversed(turn) if m["role"] == "assistant" and (text := text_of(m))), "")
    texts = [question, answer] if answer else [question]
    if len(texts) > max_messages:
        return []
    if max_tokens is not None:
        room = max_tokens - MESSAGE_TOKENS * len(texts)
        # The shorter one leaves the other what it does not need.
        share = room // len(texts)
        needs = [estimate_text(text) for text in texts]
        spare = sum(max(0, share - need) for need in needs)
        texts = [cut_text(text, need if need <= share else share + spare) for text, need in zip(texts, needs)]
    if not all(texts):
        return []
    roles = ("user", "assistant")
    return [{"role": role, "parts": [{"type": "text", "content": text}]} for role, text in zip(roles, texts)]
