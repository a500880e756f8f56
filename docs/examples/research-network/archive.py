"""Tools of the research network: a search over the documents of ``archive/``, and a comparison of their figures."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["compare", "search"]

ARCHIVE = Path(__file__).resolve().parent / "archive"
TITLE_WEIGHT = 3
"""A word of the title or of the other names counts as so many in the text."""
EXCERPT = 160
"""Characters of a document that a search shows at most; small models have little room."""
COMMON = frozenset(
    re.findall(
        r"\w+",
        """a an and about are at by can do does find for from has have how i in is it its me more of on or that the
        their them there these they this to was we what when which who with you""",
    )
)


@dataclass(frozen=True)
class Document:
    """A file of the archive."""

    id: str
    title: str
    figures: dict[str, float]
    text: str
    words: Counter[str]


def search(question: str, limit: int = 5) -> dict[str, Any]:
    """Find the documents of the archive that a question is about, best first. 在资料库中搜索。

    Args:
        question: in English or Chinese
        limit: documents at most
    """
    documents = _documents()
    asked = set(_words(question))
    scored = [(score, one) for one in documents if (score := _score(asked, one, documents)) > 0]
    scored.sort(key=lambda pair: (-pair[0], pair[1].id))
    sources = [
        {"id": one.id, "title": one.title, "figures": one.figures, "excerpt": _beginning(one.text)}
        for _, one in scored[:limit]
    ]
    answer = " ".join(f"{source['title']}: {source['excerpt']}" for source in sources)
    return {"sources": sources, "answer": answer or "The archive has nothing about that. 资料库中没有相关资料。"}


def compare(sources: list[dict[str, Any]]) -> dict[str, Any]:
    """Rank sources by each figure that at least two of them have. 比较资料中的数字。

    Args:
        sources: what a search found
    """
    by_field: dict[str, list[tuple[float, str]]] = {}
    for source in sources:
        for field, value in source["figures"].items():
            by_field.setdefault(field, []).append((value, source["title"]))
    rankings = {
        field: sorted(pairs, key=lambda pair: (-pair[0], pair[1]))
        for field, pairs in by_field.items()
        if len(pairs) > 1
    }
    answer = " ".join(
        f"Most {field.replace('_', ' ')}: {', '.join(f'{title} ({value:g})' for value, title in pairs)}."
        for field, pairs in rankings.items()
    )
    return {
        "rankings": {field: [title for _, title in pairs] for field, pairs in rankings.items()},
        "answer": answer or "There is nothing to compare: no two sources have the same figure.",
    }


def _beginning(text: str) -> str:
    """Whole sentences as far as there is room, else the first words."""
    start = text[:EXCERPT]
    return start if start == text else start[: start.rfind(". ") + 1] or f"{start.rpartition(' ')[0]} ..."


def _documents() -> list[Document]:
    return [_read(path) for path in sorted(ARCHIVE.glob("*.txt"))]


def _read(path: Path) -> Document:
    head, _, text = path.read_text(encoding="utf-8").partition("\n\n")
    fields = {name: value.strip() for name, _, value in (line.partition(":") for line in head.splitlines())}
    title, names = fields.pop("title"), fields.pop("names", "")
    words = Counter(_words(text))
    for word in _words(f"{title} {names}"):
        words[word] += TITLE_WEIGHT
    return Document(path.stem, title, {name: float(value) for name, value in fields.items()}, text.strip(), words)


def _words(text: str) -> list[str]:
    """Words of English, singular and plural alike; signs of Chinese and pairs of neighbouring ones."""
    found = [word.removesuffix("s") for word in re.findall(r"[a-z0-9]+", text.lower()) if word not in COMMON]
    for signs in re.findall(r"[\u4e00-\u9fff]+", text):
        found += [*signs, *(signs[at : at + 2] for at in range(len(signs) - 1))]
    return found


def _score(asked: set[str], document: Document, documents: list[Document]) -> float:
    """BM25 (Robertson and Zaragoza, The Probabilistic Relevance Framework, 2009) with k1 = 1.2 and b = 0.75."""
    mean = sum(one.words.total() for one in documents) / len(documents)
    score = 0.0
    for word in asked & document.words.keys():
        holders = sum(word in one.words for one in documents)
        rarity = math.log(1 + (len(documents) - holders + 0.5) / (holders + 0.5))
        count, length = document.words[word], document.words.total() / mean
        score += rarity * count * 2.2 / (count + 1.2 * (0.25 + 0.75 * length))
    return score
