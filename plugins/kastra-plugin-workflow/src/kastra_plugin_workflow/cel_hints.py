"""What to write in CEL for what other languages write; asked only once an expression could not be read."""

from __future__ import annotations

import re

from kastra_plugin_workflow.syntax import without_texts

__all__ = ["hint_for_function", "hint_for_name", "hint_for_syntax"]

_NAMES = {
    "None": "null",
    "nil": "null",
    "undefined": "null",
    "Null": "null",
    "NULL": "null",
    "True": "true",
    "TRUE": "true",
    "False": "false",
    "FALSE": "false",
    "len": "size(x)",
}
_SIZES = frozenset({"len", "length", "count"})
_CONVERSIONS = {
    "str": "string(x)",
    "toString": "string(x)",
    "to_string": "string(x)",
    "float": "double(x)",
    "Number": "double(x)",
    "number": "double(x)",
    "parseInt": "int(x)",
    "parseFloat": "double(x)",
    "includes": "x.contains(y), or `y in x` for a list",
    "startswith": "x.startsWith(y)",
    "endswith": "x.endsWith(y)",
    "match": "x.matches(y)",
    "any": "x.exists(item, CONDITION)",
    "some": "x.exists(item, CONDITION)",
    "every": "x.all(item, CONDITION)",
    "coalesce": "has(x.y) ? x.y : OTHER",
    "default": "has(x.y) ? x.y : OTHER",
}
_SYNTAX: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.DOTALL), text)
    for pattern, text in (
        (r"\$\s*\{|\$(?=[A-Za-z_])", "names stand without $"),
        (r"(?<![\w.])not\s+in\b", "'x not in y' is !(x in y)"),
        (r"(?<![\w.])is\s+not\b", "'is not' is !="),
        (r"(?<![\w.])is\b(?!\s+not\b)", "'is' is =="),
        (r"(?<![\w.])if\b.*(?<![\w.])else\b", "'a if c else b' is c ? a : b"),
        (r"(?<![\w.])not\b(?!\s+in\b)(?<!is not)", "'not' is !"),
        (r"(?<![\w.])and\b", "'and' is &&"),
        (r"(?<![\w.])or\b", "'or' is ||"),
        (r"===", "'===' is =="),
        (r"!==", "'!==' is !="),
        (r"<>", "'<>' is !="),
        (r"(?<![=!<>])=(?!=)", "equality is =="),
        (r"\?\?|\?\.", "a field that may be missing is asked for by has(x.y) ? x.y : OTHER"),
        (r"(?<!\|)\|(?!\|)", "there are no filters; functions are called, as in size(x) and x.contains(y)"),
    )
)


def hint_for_syntax(source: str) -> str:
    """What to write instead, "" where nothing of another language is found."""
    plain = without_texts(source)
    found = [text for pattern, text in _SYNTAX if pattern.search(plain)]
    return "; in CEL: " + ", ".join(found) if found else ""


def hint_for_name(name: str) -> str:
    """For a name that nothing has."""
    other = _NAMES.get(name)
    return f"CEL writes {other}" if other else ""


def hint_for_function(name: str) -> str:
    """For a function that is not there."""
    if name in _SIZES:
        return "; CEL writes size(x)"
    if name in _CONVERSIONS:
        return f"; CEL writes {_CONVERSIONS[name]}"
    return (
        "; for texts there are x + y, size, contains, startsWith, endsWith, matches and string, "
        "for lists size, in, all, exists, filter and map; all else is a tool's work"
    )
