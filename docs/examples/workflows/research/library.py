"""Tools of the workflow ``research``: a library of three entries, a glossary in pages, and a report."""

from __future__ import annotations

from typing import Any

__all__ = ["ENTRIES", "WORDS", "glossary", "report", "search"]

ENTRIES = {
    "tea": "Leaves of Camellia sinensis in hot water; green, oolong and black differ by oxidation.",
    "coffee": "Roasted and ground seeds of Coffea; an espresso takes about 25 seconds under 9 bar.",
    "cocoa": "Fermented, dried and roasted seeds of Theobroma cacao; half of their weight is fat.",
}
WORDS = ("brew", "grind", "infuse", "roast", "steep")
_PAGE = 2


def search(topic: str) -> dict[str, str]:
    """Look a topic up in the library.

    Args:
        topic: one word
    """
    if topic not in ENTRIES:
        raise LookupError(f"the library has nothing about {topic!r}")
    return {"topic": topic, "text": ENTRIES[topic]}


def glossary(words: list[str], next: int) -> dict[str, Any]:
    """Add a page of the glossary to the words that are known.

    Args:
        words: of the pages before
        next: number of the page, from 0
    """
    end = (next + 1) * _PAGE
    return {"words": [*words, *WORDS[next * _PAGE : end]], "next": next + 1 if end < len(WORDS) else None}


def report(notes: list[dict[str, str]], missing: list[str], words: list[str]) -> str:
    """Write what was found as a text.

    Args:
        notes: entries of the library
        missing: topics that it has nothing about
        words: of the glossary
    """
    lines = [f"{note['topic']}: {note['text']}" for note in notes]
    if missing:
        lines.append(f"Nothing is known about {', '.join(missing)}.")
    return "\n".join([*lines, f"Words: {', '.join(words)}."])
