"""What a router chose: read from what a model or an operation gave, and checked against the members."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import attrs
import orjson

from kastra_core.api.meta import JsonObject, JsonValue
from kastra_core.errors import nearest
from kastra_core.serde import type_word
from kastra_plugin_network.members import Member, MisfitError

__all__ = ["ASKED_CHARS", "REASON_CHARS", "Choice", "ChoiceError", "choice_schema", "read_choice", "read_object"]

REASON_CHARS = 200
"""Of the reason that a small model gives; one sentence."""
ASKED_CHARS = 600
"""Of the input that it writes; with the reason well within 1,024 tokens."""
_NOBODY = ("", "null", "none", "nobody")
"""What models write in place of null."""
_MOST_TRIES = 20
"""Braces at which an object may begin: each try may read all the rest."""
_DECODER = json.JSONDecoder()
_THOUGHT = "</think>"
"""What comes before it is no answer: some models show what they think."""


class ChoiceError(Exception):
    """A choice cannot be carried out; ``message`` says why, to the router."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@attrs.frozen(kw_only=True)
class Choice:
    """What is to be done next."""

    member: Member | None
    """None: nobody is called."""
    input: JsonValue
    """As the member takes it; without a member what the router gave."""
    asked: str
    """The input in text, for events and for the router's next choice."""
    reason: str = ""
    done: bool = False
    """The request is answered, with this member's answer when there is a member."""
    router: str = ""
    """What decided: model, embedding or a plugin's word."""
    scores: Mapping[str, float] = attrs.field(factory=dict)
    repaired: int = 0
    """How often the router was shown what was wrong."""
    fallback: bool = False
    final: bool = False
    """The router cannot react to a failure of the member."""


def choice_schema(names: Iterable[str], *, nobody: bool = True, bounded: bool = False) -> JsonObject:
    """JSON schema of a model's answer; strict modes of the model APIs take it, unless it is ``bounded``.

    Args:
        bounded: texts have a ``maxLength``, which strict modes refuse; it keeps small models from never ending.
    The reason comes first: a model that writes it before it decides decides better.
    """
    agent: JsonObject = {"type": "string", "enum": list(names)}
    reason: JsonObject = {"type": "string", "maxLength": REASON_CHARS} if bounded else {"type": "string"}
    asked: JsonObject = {"type": "string", "maxLength": ASKED_CHARS} if bounded else {"type": "string"}
    return {
        "type": "object",
        "properties": {
            "reason": reason,
            "agent": {"anyOf": [agent, {"type": "null"}]} if nobody else agent,
            "input": asked,
            "done": {"type": "boolean"},
        },
        "required": ["reason", "agent", "input", "done"],
        "additionalProperties": False,
    }


def read_object(text: str) -> JsonObject:
    """The JSON object of a model's answer, bare, in a fence or with prose around it.

    Raises: ChoiceError.

    >>> read_object('Sure: ```json\\n{"agent": "a"}\\n```')
    {'agent': 'a'}
    """
    text = text.rpartition(_THOUGHT)[2]
    if not text.strip():
        raise ChoiceError("it is empty")
    try:
        return _object(orjson.loads(text))
    except orjson.JSONDecodeError as error:
        found = _within(text)
        if found is None:
            raise ChoiceError(f"it is not JSON ({error})") from error
        return found


def _within(text: str) -> JsonObject | None:
    """The first object in a text that names an agent, else the first one."""
    first: JsonObject | None = None
    at = text.find("{")
    for _ in range(_MOST_TRIES):
        if at < 0:
            break
        try:
            # Only to find its end: what else this decoder takes (NaN, numbers of any length) is no JSON.
            _, end = _DECODER.raw_decode(text, at)
            found = _object(orjson.loads(text[at:end]))
        except (ValueError, RecursionError):
            end = at + 1
        else:
            if "agent" in found:
                return found
            first = first or found
        at = text.find("{", end)
    return first


def _object(value: Any) -> JsonObject:
    if isinstance(value, dict):
        return value
    raise ChoiceError(f"expected a JSON object, found {type_word(value)}")


def read_choice(given: Mapping[str, Any], members: Mapping[str, Member], request: str, **more: Any) -> Choice:
    """The choice that an object ``{agent, input, reason, done}`` stands for.

    Args:
        request: the user's words, for a choice that gives no input.
        more: fields of :class:`Choice` that the object does not say.
    Raises: ChoiceError: it names no member, or the input does not fit.
    """
    if "agent" not in given:
        raise ChoiceError(f"agent is missing; it is the name of a member ({_names(members)}) or null")
    done = given.get("done") or False
    if isinstance(done, str) and done.lower() in ("true", "false"):
        done = done.lower() == "true"
    if not isinstance(done, bool):
        raise ChoiceError(f"done is true or false, found {type_word(done)}")
    reason = given.get("reason")
    reason = reason if isinstance(reason, str) else ""
    member = _member(given["agent"], members)
    asked = given.get("input")
    if member is None:
        return Choice(member=None, input=asked, asked=_text(asked), reason=reason, done=done, **more)
    if asked is None or asked == "":
        asked = request
    try:
        fitting = member.fit(asked)
    except MisfitError as error:
        raise ChoiceError(error.message) from error
    return Choice(member=member, input=fitting, asked=_text(asked), reason=reason, done=done, **more)


def _member(name: Any, members: Mapping[str, Member]) -> Member | None:
    if name is None:
        return None
    if not isinstance(name, str):
        raise ChoiceError(f"agent is the name of a member or null, found {type_word(name)}")
    found = members.get(name)
    if found is not None:
        return found
    plain = name.strip().casefold()
    for other, member in members.items():
        if other.casefold() == plain:
            return member
    if plain in _NOBODY:
        return None
    near = nearest(name, list(members))
    hint = f"; did you mean {near!r}?" if near else ""
    raise ChoiceError(f"there is no member {name[:80]!r}; members are {_names(members)}{hint}")


def _names(members: Mapping[str, Member]) -> str:
    return ", ".join(members)


def _text(value: JsonValue) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else orjson.dumps(value).decode()
