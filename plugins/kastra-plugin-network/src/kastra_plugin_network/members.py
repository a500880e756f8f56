"""The members of a pinned network, ready to be called, and the forms that their input takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import orjson

from kastra_core.api.meta import JsonObject, JsonValue, Resource
from kastra_core.api.references import Reference
from kastra_core.errors import OperationError, RunFailedError, shortened
from kastra_core.protocols.runner import RunContext, SharedState
from kastra_plugin_network.rules import uses_of

__all__ = ["Member", "MisfitError", "call_member", "description_of", "members_of"]

_CONVERSING = ("Agent", "Network")
"""Kinds that take messages."""
_LONGEST_DESCRIPTION = 600
"""Characters of a description, and of instructions in its place."""
_MOST_MISFITS = 5
_UNCHECKED: Any = object()


class MisfitError(Exception):
    """An input does not fit a member; ``message`` says why, to whoever made it."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@attrs.define(eq=False)
class Member:
    """A member of a network."""

    name: str
    """What the router calls it."""
    reference: Reference
    description: str
    schema: Mapping[str, Any] | None
    """JSON schema of its input; None: text."""
    at_most_once: bool = False
    """Its resource says ``idempotent: false``: after a crash it is not called again unless it had ended."""
    examples: tuple[str, ...] = ()
    """Requests that are meant for it."""
    _validator: Any = _UNCHECKED

    @property
    def kind(self) -> str:
        return self.reference.kind

    @property
    def converses(self) -> bool:
        """It takes messages."""
        return self.kind in _CONVERSING

    @property
    def takes_object(self) -> bool:
        """Its input is an object whose fields a schema names."""
        schema = self.schema
        return schema is not None and (schema.get("type") == "object" or "properties" in schema)

    def candidate(self) -> JsonObject:
        """What the operation of a router type gets of it."""
        return {
            "name": self.name,
            "kind": self.kind,
            "description": self.description,
            "inputSchema": dict(self.schema) if self.schema is not None else None,
            "examples": list(self.examples),
        }

    def fit(self, given: JsonValue) -> JsonValue:
        """Return the input that the member takes, made of what a router (or the user) gave: a text, or JSON.

        For an object schema a text is read as JSON, or becomes the value of the one field that takes a text.

        Raises: MisfitError.
        """
        schema = self.schema
        if schema is None:
            if self.kind == "Tool" and isinstance(given, str):
                read = _read(given)
                return read if isinstance(read, dict) else given
            return given if isinstance(given, str) or not self.converses else _text(given)
        if not self.takes_object:
            if isinstance(given, str) and self._faults(given):
                read = _read(given)
                if read is not _NOT_JSON and not self._faults(read):
                    return read
            self._check(given)
            return given
        if isinstance(given, str):
            read = _read(given)
            if isinstance(read, dict):
                given = read
            else:
                field = _text_field(schema)
                if field is None:
                    raise MisfitError(f"the input of {self.name} must be a JSON object that fits {_shown(schema)}")
                given = {field: given}
        if isinstance(given, dict):
            given = _with_defaults(schema, given)
        self._check(given)
        return given

    def _check(self, value: JsonValue) -> None:
        faults = self._faults(value)
        if faults:
            raise MisfitError(f"the input does not fit {self.name}: {'; '.join(faults)}")

    def _faults(self, value: JsonValue) -> list[str]:
        if self._validator is _UNCHECKED:
            self._validator = _compiled(self.schema)
        if self._validator is None or self._validator.is_valid(value):
            return []
        out = []
        for error in self._validator.iter_errors(value):
            place = ".".join(str(part) for part in error.instance_path) or "the whole"
            out.append(f"{place}: {shortened(error.message, 300)}")
            if len(out) == _MOST_MISFITS:
                break
        return out


def members_of(ctx: RunContext, target: Resource) -> dict[str, Member]:
    """The members of a pinned network by name, in order.

    Raises: RunFailedError (MemberNotFound).
    """
    out: dict[str, Member] = {}
    for use, reference in uses_of(target):
        pinned = ctx.pinned(reference)
        if pinned is None:
            raise RunFailedError(f"{reference.path}: {reference.key} is not there", reason="MemberNotFound")
        schema = None
        if reference.kind not in _CONVERSING:
            schema = pinned.status.get("inputSchema") or pinned.spec.get("inputSchema")
        out[use.name] = Member(
            use.name,
            reference,
            use.description or description_of(pinned),
            schema if isinstance(schema, Mapping) and schema else None,
            pinned.spec.get("idempotent") is False,
            use.examples,
        )
    return out


def description_of(resource: Resource) -> str:
    """What a resource says that it is good for: its description, else the beginning of its instructions."""
    for text in (
        resource.spec.get("description"),
        resource.status.get("description"),
        resource.spec.get("instructions"),
    ):
        if isinstance(text, str) and text.strip():
            return shortened(" ".join(text.split()), _LONGEST_DESCRIPTION)
    return ""


async def call_member(
    ctx: RunContext,
    member: Member,
    given: JsonValue,
    conversation: Sequence[JsonObject],
    shared: SharedState | None,
) -> JsonValue:
    """Call a member and return its output.

    Args:
        given: as :meth:`Member.fit` returned it.
        conversation: messages before its input, for members that take messages.
        shared: the state that it shares; None: that of this run.
    Raises: OperationError: it failed; recorded.
    """
    reference, name = member.reference, f"member:{member.name}"
    if reference.kind == "Tool":
        where = {"namespace": reference.namespace, "name": reference.name}
        arguments: JsonObject = {"tool": where, "arguments" if isinstance(given, dict) else "input": given}
        result = await ctx.perform("tool.invoke", arguments, name=name, at_most_once=member.at_most_once)
        if not isinstance(result, dict):
            raise OperationError(f"{reference}: tool.invoke gave no object", reason="BadResult")
        return result.get("output")
    if conversation and member.converses:
        message = {"role": "user", "parts": [{"type": "text", "content": _text(given)}]}
        given = {"messages": [*conversation, message]}
    return await ctx.call(reference, given, name=name, shared=shared)


_NOT_JSON: Any = object()


def _read(text: str) -> Any:
    """The JSON that a text is, ``_NOT_JSON`` when it is none."""
    stripped = text.strip()
    if stripped.startswith("```"):
        stripped = stripped.strip("`").removeprefix("json").strip()
    try:
        return orjson.loads(stripped)
    except orjson.JSONDecodeError:
        return _NOT_JSON


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _text_field(schema: Mapping[str, Any]) -> str | None:
    """The field that a bare text is meant for: the one that is required, or the only one; it must take a text."""
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return None
    required = schema.get("required")
    for names in (list(required) if isinstance(required, list) else [], list(properties)):
        if len(names) == 1 and isinstance(part := properties.get(names[0]), Mapping):
            kind = part.get("type")
            if kind == "string" or (isinstance(kind, list) and "string" in kind):
                return str(names[0])
            return None
    return None


def _with_defaults(schema: Mapping[str, Any], given: JsonObject) -> JsonObject:
    """``given`` with the defaults that the schema's fields state."""
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return given
    missing = {
        name: part["default"]
        for name, part in properties.items()
        if name not in given and isinstance(part, Mapping) and "default" in part
    }
    return {**given, **missing} if missing else given


def _compiled(schema: Mapping[str, Any] | None) -> Any:
    """A validator; None where the schema is none that can be checked: the member itself will say so."""
    import jsonschema_rs

    if schema is None:
        return None
    try:
        return jsonschema_rs.validator_for(dict(schema), retriever=_refuse)
    except (ValueError, jsonschema_rs.ValidationError):
        return None


def _refuse(uri: str) -> Any:
    raise ValueError("a schema may refer to itself only ('#/...')")


def _shown(schema: Mapping[str, Any]) -> str:
    return shortened(orjson.dumps(schema).decode(), 1000)
