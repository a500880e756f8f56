"""Tools of the network ``research-network``: an archive of three entries."""

from __future__ import annotations

from typing import Any

__all__ = ["ENTRIES", "compare", "search"]

ENTRIES: dict[str, dict[str, Any]] = {
    "tea": {
        "topic": "tea",
        "names": ("tea", "茶"),
        "caffeine": 30,
        "text": "Leaves of Camellia sinensis.",
    },
    "coffee": {"topic": "coffee", "names": ("coffee", "咖啡"), "caffeine": 80, "text": "Roasted seeds of Coffea."},
    "cocoa": {"topic": "cocoa", "names": ("cocoa", "可可"), "caffeine": 10, "text": "Seeds of Theobroma cacao."},
}


def search(request: str) -> list[dict[str, Any]]:
    """Find the entries that a request speaks of.

    Args:
        request: in English or Chinese
    """
    words = request.lower()
    return [
        {"topic": entry["topic"], "text": entry["text"], "caffeine": entry["caffeine"]}
        for entry in ENTRIES.values()
        if any(name in words for name in entry["names"])
    ]


def compare(notes: list[dict[str, Any]]) -> str:
    """Rank notes by caffeine.

    Args:
        notes: entries of the archive
    """
    ranked = sorted({note["topic"]: note["caffeine"] for note in notes}.items(), key=lambda pair: -pair[1])
    return ", ".join(f"{topic} {caffeine} mg" for topic, caffeine in ranked) or "there is nothing to compare yet"
