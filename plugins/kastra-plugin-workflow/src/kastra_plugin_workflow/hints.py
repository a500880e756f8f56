"""What a message suggests in place of a name that is not known."""

from __future__ import annotations

from collections.abc import Sequence

from kastra_core.errors import nearest

__all__ = ["SIZE_FIELDS", "suggestion"]

SIZE_FIELDS = frozenset({"length", "size", "count"})
"""Fields of lists and texts in other languages; in CEL there is ``size(x)``."""

_MOST = 2000
"""Names that are compared."""


def suggestion(name: str, known: Sequence[str], otherwise: str = "") -> str:
    """``did you mean 'x'?``, or ``otherwise`` when no known name is near. Case alone makes no difference.

    >>> suggestion("end", ["load", "END"])
    "did you mean 'END'?"
    """
    compared = known[:_MOST]
    folded = name.casefold()
    near = next((other for other in compared if other.casefold() == folded), None) or nearest(name, compared)
    return f"did you mean {near!r}?" if near else otherwise
