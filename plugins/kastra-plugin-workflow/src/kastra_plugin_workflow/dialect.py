"""CEL as workflows write it: expressions on JSON, with words for steps, published data and tools."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from kastra_core.cel.dialect import JSON_DIALECT
from kastra_core.cel.words import names_text, near_text
from kastra_core.errors import shortened

__all__ = ["ADVICE", "BUDGET", "WORKFLOW", "words"]

BUDGET = 5_000_000
"""Operations of one evaluation; each takes 0.1 to 1 us."""
ADVICE = "do a part of it in a tool, or loop over the items with foreach"


def words(where: str, value: Any, part: str | int) -> str | None:
    """What is said of a step that has not been carried out, or a name that nobody has published; None: all else."""
    if not isinstance(value, Mapping) or not isinstance(part, str):
        return None
    if where == "steps":
        have = f"; carried out are: {names_text(value)}" if value else "; no step has been so far"
        step = shortened(part, 80)
        return f"step {step!r} has not been carried out in sight of here{near_text(part, value)}{have}"
    if where == "data":
        have = f"; published are: {names_text(value)}" if value else "; nothing is published yet"
        return f"no step has published {shortened(part, 80)!r} so far{near_text(part, value)}{have}"
    return None


WORKFLOW = attrs.evolve(
    JSON_DIALECT,
    name="workflow",
    deep_hint="; use parentheses to make groups, or compute a part in a step with `set`",
    function_hint=(
        "; for texts there are x + y, size, contains, startsWith, endsWith, matches and string, "
        "for lists size, in, all, exists, filter and map; all else is a tool's work"
    ),
    missing=words,
)
