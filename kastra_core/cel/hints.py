"""What to write in CEL for what other languages write, and in place of unknown names; asked only after an error."""

from __future__ import annotations

import re
from collections.abc import Sequence

from kastra_core.errors import nearest

__all__ = [
    "SIZE_FIELDS",
    "TEXT_LITERAL",
    "hint_for_function",
    "hint_for_name",
    "hint_for_syntax",
    "suggestion",
    "without_texts",
]

SIZE_FIELDS = frozenset({"length", "size", "count"})
"""Fields of lists and texts in other languages; in CEL there is ``size(x)``."""

_MOST = 2000
"""Names that are compared."""
_RAW = r"""[bB]?[rR](?:\"{3}.*?\"{3}|'{3}.*?'{3}|"[^"\n\r]*"|'[^'\n\r]*')"""
_ESCAPED = r"""[bB]?(?:\"{3}(?:[^\\]|\\.)*?\"{3}|'{3}(?:[^\\]|\\.)*?'{3}|"(?:[^"\\\n\r]|\\.)*"|'(?:[^'\\\n\r]|\\.)*')"""
TEXT_LITERAL = rf"(?<!\w)(?:{_RAW})|{_ESCAPED}"
"""Pattern of a text literal of CEL. A prefix is one only where no name ends with it."""
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
    "forEach": "x.all(item, CONDITION)",
    "coalesce": "has(x.y) ? x.y : OTHER",
    "default": "has(x.y) ? x.y : OTHER",
}
_ITEM = "x.{}(item, CONDITION)"
_FORMS = {
    **{name: _ITEM.format(name) for name in ("all", "exists", "exists_one", "existsOne", "filter")},
    "map": "x.map(item, RESULT)",
    "has": "has(x.y), and 'key' in x for a map",
    **{name: f"{name}(x)" for name in ("size", "string", "int", "double", "bool", "timestamp", "duration")},
    **{name: f"x.{name}(y)" for name in ("contains", "startsWith", "endsWith", "matches")},
}
"""How what there is, though not with such arguments, is written."""
_SYNTAX = (
    (r"\{\s*\{", "an expression stands without braces"),
    (r"=>", "a macro is written x.all(item, CONDITION)"),
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
    (r"(?<![=!<>])=(?![=>])", "equality is =="),
    (r"(?<!&)&(?!&)", "'&' is &&"),
    (r"\?\?|\?\.", "a field that may be missing is asked for by has(x.y) ? x.y : OTHER"),
    (r"(?<!\|)\|(?!\|)", "there are no filters; functions are called, as in size(x) and x.contains(y)"),
)


def without_texts(source: str) -> str:
    """CEL with its text literals and comments blanked out, each character by a space."""
    return re.sub(rf"(?:{TEXT_LITERAL})|//[^\n]*", lambda found: " " * len(found[0]), source, flags=re.DOTALL)


def suggestion(name: str, known: Sequence[str], otherwise: str = "") -> str:
    """``did you mean 'x'?``, or ``otherwise`` when no known name is near. Case alone makes no difference.

    >>> suggestion("end", ["load", "END"])
    "did you mean 'END'?"
    """
    compared = known[:_MOST]
    folded = name.casefold()
    near = next((other for other in compared if other.casefold() == folded), None) or nearest(name, compared)
    return f"did you mean {near!r}?" if near else otherwise


def hint_for_syntax(source: str) -> str:
    """What to write instead, "" where nothing of another language is found."""
    plain = without_texts(source)
    found = [text for pattern, text in _SYNTAX if re.search(pattern, plain, re.DOTALL)]
    return "; in CEL: " + ", ".join(found) if found else ""


def hint_for_name(name: str) -> str:
    """For a name that nothing has."""
    other = _NAMES.get(name)
    return f"CEL writes {other}" if other else ""


def hint_for_function(name: str, otherwise: str = "") -> str:
    """For a function that is not there."""
    if name in _SIZES:
        return "; CEL writes size(x)"
    if name in _FORMS:
        return f" with such arguments; it is written {_FORMS[name]}"
    if name in _CONVERSIONS:
        return f"; CEL writes {_CONVERSIONS[name]}"
    return otherwise
