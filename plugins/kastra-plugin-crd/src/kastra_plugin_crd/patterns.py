"""Patterns: regular expressions with the meaning that they have in Kubernetes, Go's, in linear time.

google-re2 is Go's dialect and decides what a pattern means. Calling it from Python costs a hundred times as much as
the regex engine inside jsonschema-rs, which is linear, too, but reads some patterns otherwise. :func:`rust_pattern`
writes a pattern anew so that both mean the same, and declines where it cannot be sure; nearly all patterns of real
definitions are written with what it knows.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

__all__ = ["is_pattern", "matcher", "pattern_size", "rust_pattern"]

_MAX_MEMORY: Final = 8 << 20
"""Bytes that a compiled pattern may take; RE2's usual limit."""
_MOST_WORK: Final = 5_000_000_000
"""Size of a program times length of a text: some seconds in the worst case."""
_MOST_FOR_RUST: Final = 5_000
"""Size of the largest program that is left to the other engine, which knows no such limit."""


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> tuple[Callable[[str], Any], int] | None:
    """The search of a pattern and the size of its program, None when it is no pattern."""
    import re2

    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MAX_MEMORY
    try:
        compiled = re2.compile(pattern, options)
        return compiled.search, compiled.programsize
    except (re2.error, UnicodeEncodeError):
        return None


@lru_cache(maxsize=1024)
def matcher(pattern: str) -> Callable[[str], bool] | None:
    """Return a function that finds a pattern anywhere in a text, None when it is no regular expression of Go's.

    The time is linear in the length of the text. Nothing is found in a text that is so long that a pattern of this
    size could take minutes (megabytes, for a pattern that repeats something a thousand times).
    """
    compiled = _compiled(pattern)
    if compiled is None:
        return None
    search, size = compiled
    longest = _MOST_WORK // max(size, 1)

    def found(text: str) -> bool:
        try:
            return len(text) <= longest and search(text) is not None
        except UnicodeEncodeError:  # half of a surrogate pair is no text
            return False

    return found


def pattern_size(pattern: str) -> int:
    """Return the size of a pattern's program in instructions of some 20 bytes; 0 when it is no pattern.

    Usual patterns have 20 to 200, ``^.{0,1000}$`` has thousands. Making them takes about a second for each million.
    """
    compiled = _compiled(pattern)
    return compiled[1] if compiled is not None else 0


def is_pattern(pattern: str) -> bool:
    """Whether a text is a regular expression of Go's."""
    return _compiled(pattern) is not None


class _Declined(Exception):
    """Something that the two engines may read differently."""


_CLASSES: Final = {"d": "0-9", "w": "0-9A-Za-z_", "s": r"\t\n\x0C\r "}
_TOGETHER: Final = {"t": r"\t", "n": r"\n", "r": r"\r", "f": r"\x0C"}
_NAMED: Final = {
    "[:alnum:]": "0-9A-Za-z",
    "[:alpha:]": "A-Za-z",
    "[:digit:]": "0-9",
    "[:lower:]": "a-z",
    "[:space:]": r"\t\n\x0B\x0C\r ",
    "[:upper:]": "A-Z",
    "[:word:]": "0-9A-Za-z_",
    "[:xdigit:]": "0-9A-Fa-f",
}
_HEX: Final = re.compile(r"\\x([0-7][0-9A-Fa-f])")
_REPEAT: Final = re.compile(r"\{[0-9]+(,[0-9]*)?\}")
_PUNCTUATION: Final = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
_SETS: Final = frozenset((*_CLASSES.values(), *_NAMED.values()))
_SPECIAL: Final = frozenset(".+*?()|[]{}^$\\")
_SPECIAL_IN_CLASS: Final = frozenset("[]\\^-&~")


@lru_cache(maxsize=1024)
def rust_pattern(pattern: str) -> str | None:
    r"""Return a pattern for Rust's regex crate that matches the same texts as ``pattern`` does in Go.

    None when that is not sure. ``pattern`` is one that :func:`matcher` takes.

    >>> rust_pattern(r"^\d+\/[a-z]$")
    '^[0-9]+/[a-z]$'
    >>> rust_pattern(r"\bword\b") is None  # a word's end is Unicode's in one, ASCII's in the other
    True
    """
    if pattern_size(pattern) > _MOST_FOR_RUST:
        return None
    try:
        return _Writer(pattern).write()
    except _Declined:
        return None


class _Writer:
    def __init__(self, pattern: str) -> None:
        self.pattern, self.at, self.out = pattern, 0, list[str]()

    def write(self) -> str:
        if not self.pattern.isascii():
            raise _Declined
        while self.at < len(self.pattern):
            self.token()
        return "".join(self.out)

    def token(self) -> None:
        char = self.pattern[self.at]
        if char == "\\":
            self.escape()
        elif char == "[":
            self.char_class()
        elif char == "(":
            if self.pattern.startswith("(?", self.at) and not self.pattern.startswith("(?:", self.at):
                raise _Declined
            width = 3 if self.pattern.startswith("(?:", self.at) else 1
            self.put("(?:", width)
        elif char == "{":
            repeat = _REPEAT.match(self.pattern, self.at)
            if repeat is None:
                raise _Declined
            self.put(repeat.group(), len(repeat.group()))
        elif char in "])}":
            # A bracket that closes nothing is a literal in Go.
            self.put(")" if char == ")" else f"\\{char}")
        elif char in "&~#-" or char in _SPECIAL or char.isprintable():
            self.put(char)
        else:
            raise _Declined

    def put(self, text: str, width: int = 1) -> None:
        self.out.append(text)
        self.at += width

    def escaped(self) -> str:
        """The character after a backslash."""
        if self.at + 1 >= len(self.pattern):
            raise _Declined
        return self.pattern[self.at + 1]

    def escape(self) -> None:
        given = _HEX.match(self.pattern, self.at)
        if given is not None:
            self.put(rf"\x{given[1]}", 4)
            return
        char = self.escaped()
        if char.lower() in _CLASSES:
            self.put(f"[{'^' if char.isupper() else ''}{_CLASSES[char.lower()]}]", 2)
        elif char in _TOGETHER:
            self.put(_TOGETHER[char], 2)
        elif char in _PUNCTUATION:
            self.put(f"\\{char}" if char in _SPECIAL else char, 2)
        else:
            raise _Declined

    def char_class(self) -> None:
        out = ["["]
        self.at += 1
        if self.pattern.startswith("^", self.at):
            out.append("^")
            self.at += 1
        first = True
        while True:
            if self.at >= len(self.pattern):
                raise _Declined
            if self.pattern[self.at] == "]" and not first:
                break
            first = False
            low = self.class_item()
            after = self.pattern[self.at : self.at + 2]
            if len(after) == 2 and after[0] == "-" and after[1] != "]":
                self.at += 1
                high = self.class_item()
                if low in _SETS or high in _SETS:
                    raise _Declined
                out.append(f"{low}-{high}")
            else:
                out.append(low)
        self.at += 1
        self.out.append("".join(out) + "]")

    def class_item(self) -> str:
        char = self.pattern[self.at] if self.at < len(self.pattern) else ""
        if self.pattern.startswith("[:", self.at):
            name = self.pattern[self.at : self.pattern.find(":]", self.at) + 2]
            if name not in _NAMED:
                raise _Declined
            self.at += len(name)
            return _NAMED[name]
        given = _HEX.match(self.pattern, self.at)
        if given is not None:
            self.at += 4
            return rf"\x{given[1]}"
        if char == "\\":
            char = self.escaped()
            self.at += 2
            if char in _CLASSES:
                return _CLASSES[char]
            if char in _TOGETHER:
                return _TOGETHER[char]
            if char not in _PUNCTUATION:
                raise _Declined
        elif not char or not char.isprintable():
            raise _Declined
        else:
            self.at += 1
        return f"\\{char}" if char in _SPECIAL_IN_CLASS else char
