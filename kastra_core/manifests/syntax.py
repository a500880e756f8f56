"""A parser's error in people's words."""

from __future__ import annotations

import re
from typing import Any

from kastra_core.manifests.composer import Finding, TooDeepError

__all__ = ["explain", "explain_json", "find_bad_characters"]

_BAD_CHARACTER = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NO_SPACE = re.compile(r"\s*(?:- +)*(?P<key>[A-Za-z_][\w./-]*):(?P<value>[^\s:/][^\s]*)\s*$")
_COLONS = re.compile(r":(?= |$)")


def find_bad_characters(text: str, limit: int = 20) -> list[Finding]:
    """Return the characters that no YAML text may have, at most ``limit``."""
    if text[1:2] == "\0" or text[:1] == "\0":
        return [Finding(0, "this is no UTF-8 text; it looks like UTF-16", hint="save the file as UTF-8")]
    out = []
    for found in _BAD_CHARACTER.finditer(text):
        char = ord(found[0])
        kind = "lone surrogate" if 0xD800 <= char <= 0xDFFF else "control character"
        hint = "remove it; in double quotes it can be written as an escape such as \\x07"
        if kind == "lone surrogate":
            hint = "the text was decoded wrongly; save it as UTF-8"
        out.append(Finding(found.start(), f"{kind} U+{char:04X} is not allowed", hint=hint))
        if len(out) == limit:
            break
    return out


def explain(error: Any, text: str) -> Finding:
    """Return what a ``yaml.YAMLError`` of parsing ``text`` means."""
    problem = str(getattr(error, "problem", None) or error)
    context = str(getattr(error, "context", None) or "")
    mark, opened = getattr(error, "problem_mark", None), getattr(error, "context_mark", None)
    offset = min(mark.index if mark is not None else 0, len(text))
    start = opened.index if opened is not None else offset
    if isinstance(error, TooDeepError):
        return Finding(offset, problem, hint="simplify the document")
    return (
        _tab(problem, text, offset)
        or _quote(problem, context, start, text)
        or _bracket(problem, context, start, offset, text)
        or _anchor(problem, context, offset, start, text)
        or _escape(problem, context, offset, start)
        or _missing_space(text, start, offset)
        or _structure(problem, context, start, offset, text)
    )


def _line(text: str, offset: int) -> tuple[int, str]:
    begin = text.rfind("\n", 0, offset) + 1
    end = text.find("\n", offset)
    return begin, text[begin : end if end >= 0 else len(text)].rstrip("\r")


def _tab(problem: str, text: str, offset: int) -> Finding | None:
    begin, line = _line(text, offset)
    indent = line[: len(line) - len(line.lstrip())]
    here = text[offset : offset + 1] == "\t"
    if "\t" in indent and (here or "tab" in problem or offset >= begin):
        return Finding(begin + indent.index("\t"), "YAML does not allow tabs for indentation", hint="use spaces")
    if here:
        return Finding(offset, "a tab is not allowed here", hint="use spaces")
    return None


def _quote(problem: str, context: str, start: int, text: str) -> Finding | None:
    if "quoted scalar" in context and ("end of stream" in problem or "document indicator" in problem):
        mark = text[start : start + 1]
        return Finding(start, f"the quote {mark} that is opened here is not closed", hint=f"add {mark} at the end")
    return None


def _bracket(problem: str, context: str, start: int, offset: int, text: str) -> Finding | None:
    if "flow" not in context:
        return None
    opener = text[start : start + 1]
    at_end = offset >= len(text.rstrip())
    if opener not in ("[", "{") and at_end:
        start = _unclosed(text)
        opener = text[start : start + 1]
    closer = {"[": "]", "{": "}"}.get(opener)
    if closer is None:
        hint = "put text that holds brackets in quotes"
        return Finding(offset, f"{_short(_line(text, offset)[1].strip())} is no list or mapping in brackets", hint=hint)
    if text.startswith("{{", start) or text.startswith("{%", start):
        return Finding(start, "text that begins with { is read as a mapping", hint="put a template in quotes")
    word = "list" if opener == "[" else "mapping"
    if at_end:
        return Finding(start, f"the {opener} that is opened here is not closed", hint=f"add {closer}")
    return Finding(
        offset,
        f"expected ',' or '{closer}' in the {word} that is opened with {opener} in line ",
        hint=f"separate the items by commas and close the {word} with {closer}",
        first=start,
    )


def _unclosed(text: str) -> int:
    """Return the offset of the last bracket without partner (brackets in quotes are not told apart)."""
    depth = 0
    for offset in range(len(text) - 1, -1, -1):
        if text[offset] in "]}":
            depth += 1
        elif text[offset] in "[{":
            if not depth:
                return offset
            depth -= 1
    return len(text)


def _anchor(problem: str, context: str, offset: int, start: int, text: str) -> Finding | None:
    if context in ("while scanning an alias", "while scanning an anchor"):
        return Finding(start, f"a value cannot begin with {text[start : start + 1]}", hint="put it in quotes")
    if "undefined alias" in problem:
        found = re.match(r"\*([^\s,\[\]{}]+)", text[offset : offset + 200])
        name = found[1] if found else text[offset : offset + 20]
        hint = f"define it earlier with &{name}, or put the value in quotes if it is text that begins with *"
        return Finding(offset, f"the alias *{name} is not defined", hint=hint)
    if "second occurrence" in problem or "duplicate anchor" in problem:
        return Finding(offset, "an anchor is defined twice", hint="give each anchor its own name")
    if "tag handle" in problem:
        return Finding(start, "the tag is not known", hint="remove it; a manifest needs no tags")
    return None


def _escape(problem: str, context: str, offset: int, start: int) -> Finding | None:
    if "quoted scalar" in context and ("escape" in problem or "hexdecimal" in problem or "expected escape" in problem):
        return Finding(
            offset,
            "a backslash in double quotes begins an escape that YAML does not have",
            hint="write \\\\ for a backslash, or use single quotes",
        )
    return None


def _missing_space(text: str, start: int, offset: int) -> Finding | None:
    """``key:value``: the error appears in its line or, the text going on, in the next."""
    begin, _ = _line(text, offset)
    for place in dict.fromkeys((start, offset, max(begin - 1, 0))):
        line_begin, line = _line(text, place)
        if found := _NO_SPACE.match(line):
            key, value = found["key"], found["value"]
            shown = value if len(value) <= 30 else f"{value[:27]}..."
            return Finding(
                line_begin + found.end("key"), f"a space is missing after '{key}:'", hint=f"write '{key}: {shown}'"
            )
    return None


def _structure(problem: str, context: str, start: int, offset: int, text: str) -> Finding:
    begin, line = _line(text, offset)
    char = text[offset : offset + 1]
    if "directive" in context:
        return Finding(start, "a line cannot begin with %", hint="put the key in quotes")
    if "incompatible YAML document" in problem:
        return Finding(offset, "this version of YAML is not known", hint="write %YAML 1.2, or leave the line out")
    if "cannot start any token" in problem:
        return Finding(offset, f"a value cannot begin with {char}", hint="put it in quotes")
    if "mapping values are not allowed" in problem:
        if _COLONS.search(line[: offset - begin]):
            return Finding(
                offset, "a second ': ' in one line", hint="put the value in quotes if the colon belongs to it"
            )
        return Finding(
            begin + len(line) - len(line.lstrip()),
            "wrong indentation: this key is deeper than the keys above, but the line above already has a value",
            hint="indent keys of one mapping alike",
        )
    if "could not find expected ':'" in problem:
        key = _line(text, start)[1].strip()
        return Finding(
            start, f"expected 'key: value', found {_short(key)}", hint="add a colon and a space after the key"
        )
    if "block scalar" in context:
        return Finding(offset, "the header of a block text (| or >) is wrong", hint="end the line after |, |- or >")
    if "document start>" in problem:
        return Finding(
            offset,
            "wrong indentation: this line is less indented than the first key of the document",
            hint="indent the keys of one mapping alike, and separate documents by a line '---'",
        )
    if "block collection" in context or "block sequence" in context:
        return Finding(
            offset,
            "expected an item that begins with '- ', as in the list in line ",
            hint="check the indentation of this line",
            first=start,
        )
    rest = _short(line[offset - begin :].strip())
    if "block mapping" in context:
        if not line[: offset - begin].strip():
            return Finding(
                offset,
                f"wrong indentation: {rest} does not fit into the mapping that begins in line ",
                hint="indent the keys of one mapping alike",
                first=start,
            )
        return Finding(offset, f"the value ends before {rest}", hint="put the whole value in quotes")
    if "not allowed in this context" in problem or "not allowed here" in problem:
        return Finding(offset, f"{rest} cannot stand here", hint="begin a new line, or put the value in quotes")
    return Finding(offset, f"this is no YAML: {problem}", hint=f"the parser was {context}" if context else "")


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...") if text else "the end of the text"


_JSON_WORDS = (
    ("Expecting ',' delimiter", "expected ',' or a closing bracket", "separate the items by commas"),
    ("Expecting ':' delimiter", "expected ':' after the key", ""),
    (
        "Expecting property name",
        "expected a key in double quotes",
        'write "key": value, without a comma after the last',
    ),
    ("Expecting value", "expected a value", "text needs double quotes; there is no comma after the last item"),
    ("Unterminated string", "the string that begins here is not closed", 'add "'),
    ("Invalid control character", "a line break or control character inside a string", "write \\n for a line break"),
    ("Invalid \\", "a backslash begins an escape that JSON does not have", "write \\\\ for a backslash"),
)


def explain_json(error: Any) -> Finding:
    """Return what a ``json.JSONDecodeError`` means."""
    for start, message, hint in _JSON_WORDS:
        if error.msg.startswith(start):
            return Finding(error.pos, message, hint=hint)
    return Finding(error.pos, f"this is no JSON: {error.msg}")
