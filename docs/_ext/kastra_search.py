"""Search for English and Chinese words: Chinese text is found by its pairs of signs, so no dictionary is needed."""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx
from sphinx.search.en import SearchEnglish

__all__ = ["Search", "setup"]

CJK = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"


class Search(SearchEnglish):
    """English with its stems; of a run of Chinese signs each two that stand together.

    >>> Search({}).split("创建 agent_x 工作流")
    ['创建', 'agent_x', '工作', '作流']
    """

    js_splitter_code = f"""
var splitQuery = (query) => {{
  const words = query.match(/[{CJK}]+|[^\\W{CJK}]+|(?:(?![{CJK}])[\\p{{L}}\\p{{N}}_])+/gu) || [];
  return words.flatMap((word) =>
    /[{CJK}]/.test(word) && word.length > 2
      ? Array.from({{ length: word.length - 1 }}, (_, i) => word.slice(i, i + 2))
      : [word]
  );
}};
"""
    _runs = re.compile(rf"[{CJK}]+|[^\W{CJK}]+")

    def __init__(self, options: dict[str, str]) -> None:
        super().__init__(options)
        self._stems: dict[str, str] = {}

    def stem(self, word: str) -> str:
        """The stem of an English word; words come again and again."""
        if word not in self._stems:
            self._stems[word] = super().stem(word)
        return self._stems[word]

    def split(self, input: str) -> list[str]:
        """Words as they stand, pairs of Chinese signs; a lone sign stays."""
        words: list[str] = []
        for run in self._runs.findall(input):
            if len(run) > 2 and re.match(f"[{CJK}]", run):
                words += [run[at : at + 2] for at in range(len(run) - 1)]
            else:
                words.append(run)
        return words


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_search_language(Search)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
