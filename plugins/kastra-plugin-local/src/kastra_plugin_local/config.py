"""The plugin's own settings, from ``settings.options``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from kastra_core.errors import nearest

__all__ = ["LocalOptions"]


def _at_least_one(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{_CAMEL[attribute.name]}: expected an integer of at least 1, found {value!r}")


def _count(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{_CAMEL[attribute.name]}: expected an integer of at least 0, found {value!r}")


def _text(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, str):
        raise ValueError(f"{_CAMEL[attribute.name]}: expected a string, found {value!r}")


def _input(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value not in ("query", "passage"):
        raise ValueError(f"{_CAMEL[attribute.name]}: expected query or passage, found {value!r}")


def _boolean(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, bool):
        raise ValueError(f"{_CAMEL[attribute.name]}: expected true or false, found {value!r}")


def _boolean_or_none(self: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is not None:
        _boolean(self, attribute, value)


@attrs.frozen(kw_only=True)
class LocalOptions:
    """What can be set under the provider ``local``; manifest names are camelCase."""

    path: str = attrs.field(default="", validator=_text)
    """A .gguf file to be used instead of what the model's name means."""
    context_tokens: int = attrs.field(default=4096, validator=_at_least_one)
    """Context of one conversation; memory is set aside for it."""
    slots: int = attrs.field(default=1, validator=_at_least_one)
    """Answers generated at once. On few cores more slots gain nothing."""
    threads: int = attrs.field(default=0, validator=_count)
    """Threads that compute; 0: one less than the machine has cores, at least one."""
    max_tokens: int = attrs.field(default=1024, validator=_at_least_one)
    """Bound of an answer when the request has none."""
    supports_tools: bool | None = attrs.field(default=None, validator=_boolean_or_none)
    """Whether the model's chat template knows tools; None: the catalogue says, a file of one's own is taken to."""
    tools_after_result: bool = attrs.field(default=False, validator=_boolean)
    """Offer tools again after a tool's result; small models then tend to repeat the call."""
    input: str = attrs.field(default="query", validator=_input)
    """What texts to be embedded are: questions, or what is searched."""

    @classmethod
    def read(cls, options: Mapping[str, Any]) -> LocalOptions:
        """Return the options, checked.

        Raises:
            ValueError: an unknown name or a wrong value; says what is allowed.
        """
        known = {camel: name for name, camel in _CAMEL.items()}
        fields: dict[str, Any] = {}
        for key, value in options.items():
            if key not in known:
                near = nearest(key, list(known))
                hint = f"did you mean {near!r}?" if near else f"allowed are {', '.join(known)}"
                raise ValueError(f"unknown option {key!r}; {hint}")
            fields[known[key]] = value
        return cls(**fields)


_CAMEL = {
    "path": "path",
    "context_tokens": "contextTokens",
    "slots": "slots",
    "threads": "threads",
    "max_tokens": "maxTokens",
    "supports_tools": "supportsTools",
    "tools_after_result": "toolsAfterResult",
    "input": "input",
}
