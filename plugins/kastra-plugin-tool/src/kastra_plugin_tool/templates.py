"""Places for arguments in texts and JSON: ``{city}``. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson

from kastra_core.api.meta import JsonValue

__all__ = ["has_double_braces", "parameters_in", "render_json", "render_text", "text_of"]

_PARAMETER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_-]*)\}")
_MISSING = object()


def parameters_in(template: JsonValue) -> tuple[str, ...]:
    """Names of the parameters in all texts of ``template``, each once, in order.

    >>> parameters_in({"q": "{city} in {year}", "n": 1})
    ('city', 'year')
    """
    return tuple(dict.fromkeys(name for text in _texts(template) for name in _PARAMETER.findall(text)))


def has_double_braces(template: JsonValue) -> bool:
    """True when a text holds ``{{...}}``, the spelling of workflow templates."""
    return any("}}" in line.partition("{{")[2] for text in _texts(template) for line in text.split("\n"))


def text_of(value: JsonValue) -> str:
    """Return a value as part of a text: strings as they are, null as nothing, all else as JSON."""
    if isinstance(value, str):
        return value
    return "" if value is None else orjson.dumps(value).decode()


def render_text(
    template: str,
    values: Mapping[str, JsonValue],
    *,
    encode: Callable[[str], str] = str,
    literal: Callable[[str], str] = str,
) -> str:
    """Put values in place of parameters; ``encode`` is applied to each value's text, ``literal`` to what is between.

    Raises:
        KeyError: a parameter has no value.
    """
    out, end = [], 0
    for match in _PARAMETER.finditer(template):
        out.append(literal(template[end : match.start()]))
        out.append(encode(text_of(values[match[1]])))
        end = match.end()
    out.append(literal(template[end:]))
    return "".join(out)


def render_json(template: JsonValue, values: Mapping[str, JsonValue]) -> JsonValue:
    """Put values into a JSON template; a text that is one parameter and nothing else takes the value with its type.

    A field or item whose whole text is a parameter without value is left out.

    >>> render_json({"n": "{n}", "t": "n is {n}", "x": "{x}"}, {"n": 3})
    {'n': 3, 't': 'n is 3'}
    """
    found = _render(template, values)
    return None if found is _MISSING else found


def _render(template: JsonValue, values: Mapping[str, JsonValue]) -> Any:
    if isinstance(template, str):
        whole = _PARAMETER.fullmatch(template)
        return values.get(whole[1], _MISSING) if whole else render_text(template, values)
    if isinstance(template, dict):
        items = {key: _render(value, values) for key, value in template.items()}
        return {key: value for key, value in items.items() if value is not _MISSING}
    if isinstance(template, list):
        return [value for value in (_render(item, values) for item in template) if value is not _MISSING]
    return template


def _texts(template: JsonValue) -> Iterator[str]:
    if isinstance(template, str):
        yield template
    elif isinstance(template, dict):
        for value in template.values():
            yield from _texts(value)
    elif isinstance(template, list):
        for value in template:
            yield from _texts(value)
