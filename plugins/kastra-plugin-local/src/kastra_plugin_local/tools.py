"""Find tool calls in the text that a small model writes.

Such models know one way to call a tool and use others: ``<tool_call>`` tags, a fenced code block, bare JSON, several
calls in a list. A ToolTextScanner reads the text as it comes and gives back at once what cannot be part of a call, so
that an answer streams and a call is never shown as an answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any

import attrs
import orjson

from kastra_core.api.meta import JsonObject

__all__ = ["FoundCall", "ToolTextScanner", "found_calls"]

_TAGS = ("<tool_call>", "<function_call>", "<|tool_call|>", "<functioncall>", "<tools>")
_CLOSING = re.compile(r"\s*\}?\s*(?:</tool_call>|</function_call>|<\|/tool_call\|>|</functioncall>|</tools>)")
_MARKERS = re.compile(r"[<`{\[]")
_FENCE = re.compile(r"```([^\n`]*)\n")
_CALL_FENCES = frozenset({"", "json", "json5", "jsonc", "tool_call", "tool_calls", "tool", "xml", "text"})
_NAME_KEYS = ("name", "tool", "tool_name", "function_name", "function")
_ARGUMENT_KEYS = ("arguments", "parameters", "args", "input", "tool_input")
_FENCE_HEAD_CHARS = 40


@attrs.frozen
class FoundCall:
    """A call as the model wrote it. ``arguments`` is a str when it is no JSON object."""

    name: str
    arguments: JsonObject | str


@attrs.frozen
class _Verdict:
    """What the scanner does with the first ``length`` characters: a call, broken JSON of a call, or text (neither)."""

    length: int
    calls: tuple[FoundCall, ...] = ()
    broken: bool = False


class ToolTextScanner:
    """Splits a text into what is shown and the calls in it; feed pieces, then finish.

    Text after the first call is dropped: it is the model's own guess of what the tool will answer.
    """

    def __init__(self, names: Collection[str]) -> None:
        """``names``: the tools that are offered; JSON without tags counts as a call only when it looks like one."""
        self.calls: list[FoundCall] = []
        self.broken = False
        """A call was begun (tags) and its JSON cannot be read."""
        self._names = frozenset(names)
        self._rest = ""
        self._blank = ""
        self._shown = False
        self._in_code = False

    def feed(self, text: str) -> str:
        """Take the next piece; return what can be shown now."""
        self._rest += text
        return self._scan(final=False)

    def finish(self) -> str:
        """Return what is left to be shown."""
        out = self._scan(final=True)
        if not self.calls and not self.broken and not self._shown:
            out = self._blank + out
        return out

    def _scan(self, *, final: bool) -> str:
        out: list[str] = []
        while self._rest:
            if self._in_code:
                taken = self._code(final)
                if taken == 0:
                    break
                self._show(taken, out)
                continue
            found = _MARKERS.search(self._rest)
            if found is None:
                self._show(len(self._rest), out)
                break
            self._show(found.start(), out)
            verdict = self._judge(self._rest, final)
            if verdict is None:
                break
            if verdict.calls or verdict.broken:
                self.calls.extend(verdict.calls)
                self.broken = self.broken or verdict.broken
                self._rest = self._rest[verdict.length :]
            else:
                self._show(verdict.length, out)
        return "".join(out)

    def _show(self, length: int, out: list[str]) -> None:
        text, self._rest = self._rest[:length], self._rest[length:]
        if self.calls or self.broken:
            return
        if not self._shown:
            # Blanks before the first word wait: when a call follows they are nothing.
            stripped = text.lstrip()
            self._blank += text[: len(text) - len(stripped)]
            if not stripped:
                return
            text, self._blank, self._shown = self._blank + stripped, "", True
        out.append(text)

    def _code(self, final: bool) -> int:
        """Return how much of a fenced block of code (not JSON) can be shown."""
        end = self._rest.find("```")
        if end >= 0:
            self._in_code = False
            return end + 3
        if final:
            return len(self._rest)
        return len(self._rest.rstrip("`"))

    def _judge(self, text: str, final: bool) -> _Verdict | None:
        """Decide about a text that begins with a marker; None: more of it must be seen."""
        if text[0] == "<":
            return self._tag(text, final)
        if text[0] == "`":
            return self._fence(text, final)
        return self._bare(text, final)

    def _tag(self, text: str, final: bool) -> _Verdict | None:
        tag = next((tag for tag in _TAGS if text.startswith(tag)), "")
        if not tag:
            possible = not final and any(tag.startswith(text) for tag in _TAGS)
            return None if possible else _Verdict(1)
        start = _skip_blanks(text, len(tag))
        if start == len(text):
            return _Verdict(len(text), broken=True) if final else None
        if text[start] not in "{[":
            return _Verdict(len(tag))
        start = _second_brace(text, start) or start
        end = _json_end(text, start)
        if end < 0:
            return _Verdict(len(text), broken=True) if final else None
        values = [_loads(text[start:end])]
        while (start := _skip_blanks(text, end)) < len(text) and text[start] in "{[":  # several calls in one tag
            following = _json_end(text, start)
            if following < 0:
                if not final:
                    return None
                break
            values.append(_loads(text[start:following]))
            end = following
        closing = _CLOSING.match(text, end)
        if closing is None and not final and len(text) - end < 24 and text[end:].strip()[:1] in ("", "}", "<"):
            return None
        end = closing.end() if closing else end
        calls = found_calls(values, self._names, tagged=True)
        return _Verdict(end, calls) if calls else _Verdict(end, broken=True)

    def _fence(self, text: str, final: bool) -> _Verdict | None:
        if not text.startswith("```"):
            ticks = len(text) - len(text.lstrip("`"))
            return None if ticks == len(text) and not final else _Verdict(ticks)
        head = _FENCE.match(text)
        if head is None:
            open_ended = not final and "\n" not in text and len(text) < _FENCE_HEAD_CHARS
            return None if open_ended else _Verdict(3)
        if head[1].strip().lower() not in _CALL_FENCES:
            self._in_code = True
            return _Verdict(head.end())
        start = _skip_blanks(text, head.end())
        if start == len(text):
            return _Verdict(len(text)) if final else None
        inner = text[start:]
        if inner[0] == "<":
            verdict = self._tag(inner, final)
        elif inner[0] in "{[":
            verdict = self._bare(inner, final)
        else:
            self._in_code = True
            return _Verdict(head.end())
        if verdict is None:
            return None
        end = start + verdict.length
        if not (verdict.calls or verdict.broken):
            self._in_code = True
            return _Verdict(end)
        after = _skip_blanks(text, end)
        if not final and "```".startswith(text[after : after + 3]) and len(text) - after < 3:
            return None
        if text.startswith("```", after):
            end = after + 3
        return attrs.evolve(verdict, length=end)

    def _bare(self, text: str, final: bool) -> _Verdict | None:
        first = _skip_blanks(text, 1)
        if first == len(text):
            return _Verdict(len(text)) if final else None
        if second := _second_brace(text, 0):
            verdict = self._bare(text[second:], final)
            if verdict is None:
                return None
            found = verdict.calls or verdict.broken
            return attrs.evolve(verdict, length=second + verdict.length) if found else _Verdict(second)
        if text[first] not in ('"}' if text[0] == "{" else "{]"):
            return _Verdict(1)
        end = _json_end(text, 0)
        if end < 0:
            return _Verdict(len(text)) if final else None
        return _Verdict(end, found_calls([_loads(text[:end])], self._names, tagged=False))


def found_calls(values: Collection[Any], names: Collection[str], *, tagged: bool) -> tuple[FoundCall, ...]:
    """Return the calls that parsed JSON values stand for; () when any of them is something else.

    Args:
        tagged: the model said that this is a call, so that a name that is not offered counts too, without arguments.
    """
    calls: list[FoundCall] = []
    for value in values:
        if isinstance(value, list):
            inner = found_calls(value, names, tagged=tagged) if value else ()
            if not inner:
                return ()
            calls.extend(inner)
            continue
        if not isinstance(value, dict):
            return ()
        if isinstance(value.get("tool_calls"), list):
            calls.extend(found_calls(value["tool_calls"], names, tagged=tagged))
            continue
        call = _call(value, names, tagged)
        if call is None:
            return ()
        calls.append(call)
    return tuple(calls)


def _call(value: dict[str, Any], names: Collection[str], tagged: bool) -> FoundCall | None:
    if isinstance(value.get("function"), dict):
        value = value["function"]
    name = next((value[key] for key in _NAME_KEYS if isinstance(value.get(key), str)), None)
    if name is None:
        return None
    for key in _ARGUMENT_KEYS:
        if key in value:
            arguments = value[key]
            if isinstance(arguments, str):
                parsed = _loads(arguments)
                arguments = parsed if isinstance(parsed, dict) else arguments
            elif arguments is None:
                arguments = {}
            elif not isinstance(arguments, dict):
                arguments = orjson.dumps(arguments).decode()
            return FoundCall(name, arguments)
    if tagged or (name in names and len(value) == 1):
        return FoundCall(name, {})
    return None


def _skip_blanks(text: str, start: int) -> int:
    while start < len(text) and text[start].isspace():
        start += 1
    return start


def _second_brace(text: str, start: int) -> int:
    """Return where the JSON begins when its opening brace is doubled, else 0.

    Chat templates that show the form of a call with doubled braces teach models to write them.
    """
    second = _skip_blanks(text, start + 1)
    return second if text[start] == "{" and text[second : second + 1] == "{" else 0


def _json_end(text: str, start: int) -> int:
    """Return the index after the JSON object or array that begins at ``start``, or -1 when it does not end."""
    depth, index, in_string = 0, start, False
    while index < len(text):
        char = text[index]
        if in_string:
            if char == "\\":
                index += 1
            elif char == '"':
                in_string = False
        elif char == '"':
            in_string = True
        elif char in "{[":
            depth += 1
        elif char in "}]":
            depth -= 1
            if depth == 0:
                return index + 1
        index += 1
    return -1


def _loads(text: str) -> Any:
    """Return the JSON value of a text, or None; raw line breaks in strings, which small models write, are allowed."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    try:
        value = json.loads(text, strict=False)
        orjson.dumps(value)  # lone surrogates and the like could not be stored
    except (ValueError, TypeError, RecursionError):
        return None
    return value
