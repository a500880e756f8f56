"""Functions that could not be migrated, written: what was JavaScript and a tool of CrewAI is Python now."""

from __future__ import annotations

from typing import Any

STOCK = {"sencha": 4, "assam": 55, "rooibos": 21}
NOTES = {"sencha": "grass, sea, sweet", "assam": "malt, honey, strong"}


def tasting_notes(*, tea: str) -> str:
    """Gives the tasting notes of a tea."""
    return NOTES.get(tea.lower(), "no notes")


def stock_lookup(*, item: str) -> dict[str, Any]:
    """Says how many packs of an item are in stock."""
    return {"item": item, "packs": STOCK.get(item.lower(), 0)}


def count_packs(*, item: str) -> dict[str, Any]:
    """Counts for the workflow what the tool looks up for the agent."""
    return stock_lookup(item=item)


def note_enough(*, item: str) -> str:
    """Says that nothing has to be ordered."""
    return f"There is enough of {item}."
