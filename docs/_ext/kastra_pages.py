"""What the fences and comments of our pages mean on the site."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

__all__ = ["Captions", "Comments", "setup"]

TITLE = re.compile(r"^[\s>]*(?:[-*+]\s+|\d+[.)]\s+)*`{3,}\S+.*?\btitle=\"([^\"]+)\"")

NAME = re.compile(r'(?<=<span class="pre">)[^<>&]{18,}(?=</span>)')
"""Code within a text that is long for a column."""


@lru_cache(maxsize=8)
def _lines(path: str) -> tuple[str, ...]:
    return tuple(Path(path).read_text(encoding="utf-8").splitlines())


class Captions(SphinxTransform):
    """A fence with ``title="app.yaml"`` gets that name as its caption."""

    default_priority = 210

    def apply(self, **kwargs: Any) -> None:
        """Look at the line that opened each block: its attributes are not in the document."""
        lines = _lines(str(self.env.doc2path(self.env.docname)))
        for block in list(self.document.findall(nodes.literal_block)):
            if not block.line or block.line > len(lines):
                continue
            found = TITLE.match(lines[block.line - 1])
            if found and block.parent is not None:
                wrapper = nodes.container("", literal_block=True, classes=["literal-block-wrapper"])
                caption = nodes.caption(found[1], "", nodes.literal(found[1], found[1]))
                caption.source, caption.line = block.source, block.line
                block.replace_self(wrapper)
                wrapper += [caption, block]
                self.document.note_implicit_target(wrapper)


class Comments(SphinxTransform):
    """HTML comments, the annotations of stories among them, leave nothing in the page."""

    default_priority = 211

    def apply(self, **kwargs: Any) -> None:
        """Take out raw nodes that are a comment and nothing else."""
        for raw in list(self.document.findall(nodes.raw)):
            text = raw.astext().strip()
            if raw.parent is not None and text.startswith("<!--") and text.endswith("-->"):
                raw.parent.remove(raw)


def _break_names(app: Sphinx, page: str, template: str, context: dict[str, Any], document: Any) -> None:
    """Let the browser break long names after their dots and underscores, so that tables fit the page."""
    if "body" in context:
        context["body"] = NAME.sub(lambda found: re.sub(r"([._/,])(?=\w)", r"\1<wbr>", found[0]), context["body"])


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_transform(Captions)
    app.add_transform(Comments)
    app.connect("html-page-context", _break_names)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
