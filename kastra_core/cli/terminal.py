"""What may reach a terminal: text and our own colours. Models, tools and manifests must not steer it."""

from __future__ import annotations

import re
import sys
from typing import Any, TextIO

__all__ = ["TerminalText", "guard_terminals", "harmless"]

_STEERING = re.compile(
    # Our own colours and weights (click.style) pass; every other control character does not, nor do those that turn
    # the direction of text, with which a line can be made to read as another.
    "(\x1b\\[(?:0|1|2|3[0-7]|9[0-7])m)|[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]"
)


def harmless(text: str) -> str:
    r"""The text with control characters spelled as in JSON; line ends, tabs and plain colours stay.

    >>> harmless("\x1b]0;title\x07 \x1b[31mred\x1b[0m")
    '\\u001b]0;title\\u0007 \x1b[31mred\x1b[0m'
    """
    return _STEERING.sub(lambda found: found[1] or f"\\u{ord(found[0]):04x}", text)


class TerminalText:
    """A text stream to a terminal that writes only what is :func:`harmless`; all else is the stream's own.

    What draws by control characters, as a progress bar does, takes ``sys.__stderr__`` and shows no text of others.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(harmless(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def guard_terminals() -> None:
    """Make stdout and stderr write harmless text where they are terminals. Safe to call twice."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if not isinstance(stream, TerminalText) and stream is not None and stream.isatty():
            setattr(sys, name, TerminalText(stream))
