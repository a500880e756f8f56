"""The navigation is what the hub pages list: a section's lists of links become its part of the side bar.

So a hub is a plain list of links on a forge, and there is no second list to keep.

The side bar stands on every page and shows pages, not their sections. Sphinx makes it anew for each page out of all
headings of all pages, which took half of the time of a build; here it gets the titles alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.transforms import SphinxTransform

__all__ = ["Navigation", "setup"]


class Navigation(SphinxTransform):
    """Each section of a hub gets a hidden toctree of the pages that its lists link to."""

    default_priority = 220  # after links to directories have become links to pages

    def apply(self, **kwargs: Any) -> None:
        """Add the toctrees; a page that is listed twice belongs to the first section."""
        if self.env.docname not in self.env.config.navigation_hubs:
            return
        seen = {self.env.docname}
        for section in list(self.document.findall(nodes.section)):
            pages = {
                page: text
                for page, text in _listed(section, self.env.docname, self.env.config.root_doc).items()
                if page not in seen
            }
            seen.update(pages)
            if pages:
                section += self._toctree(pages, section[0].astext(), section)

    def _toctree(self, pages: dict[str, str], caption: str, section: nodes.section) -> nodes.compound:
        tree = addnodes.toctree()
        tree["parent"] = self.env.docname
        tree["entries"] = [(text, page) for page, text in pages.items()]
        tree["includefiles"] = list(pages)
        tree["caption"] = tree["rawcaption"] = caption
        tree["hidden"], tree["titlesonly"], tree["glob"] = True, True, False
        tree["maxdepth"], tree["numbered"], tree["includehidden"], tree["reversed"] = -1, 0, False, False
        tree["rawentries"] = []
        tree.source, tree.line = self.document["source"], section.line
        return nodes.compound("", tree, classes=["toctree-wrapper"])


def _listed(section: nodes.section, hub: str, root: str) -> dict[str, str]:
    """Pages that this section of a hub links to, with the words of the link; not those of the sections below it.

    The root lists pages from everywhere, in lists; another hub the pages below it, wherever it names them.
    """
    below = "" if hub == root else f"{hub.removesuffix('/index')}/"
    blocks = (nodes.bullet_list, nodes.enumerated_list) if hub == root else (nodes.Body, nodes.TextElement)
    found: dict[str, str] = {}
    for child in section.children:
        if not isinstance(child, blocks) or isinstance(child, nodes.section):
            continue
        for link in child.findall(addnodes.pending_xref):
            if link.get("refdomain") == "doc" and not link["reftargetid"] and link["reftarget"].startswith(below):
                found.setdefault(link["reftarget"], link.astext())
    return found


def _titles(env: BuildEnvironment) -> dict[str, nodes.bullet_list]:
    """Of each page its title, and the toctrees that it has; made once, when all pages are read."""
    if "kastra_titles" not in env.__dict__:
        env.__dict__["kastra_titles"] = {page: _title(toc) for page, toc in env.tocs.items()}
    titles: dict[str, nodes.bullet_list] = env.__dict__["kastra_titles"]
    return titles


def _title(toc: nodes.bullet_list) -> nodes.bullet_list:
    trees = [tree.copy() for tree in toc.findall(addnodes.toctree)]
    inner = [nodes.bullet_list("", *trees)] if trees else []
    items = [nodes.list_item("", item.children[0].deepcopy(), *inner) for item in toc.children[:1]]
    return nodes.bullet_list("", *items)


def _light(app: Sphinx, page: str, template: str, context: dict[str, Any], document: Any) -> None:
    """Have the side bar of a page made from titles."""
    whole: Callable[..., str] | None = context.get("toctree")
    if whole is None:
        return

    def toctree(**options: Any) -> str:
        full, app.env.tocs = app.env.tocs, _titles(app.env)
        try:
            return whole(**options)
        finally:
            app.env.tocs = full

    context["toctree"] = toctree


def _forget(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Titles of an earlier build may be old."""
    env.__dict__.pop("kastra_titles", None)
    return []


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_config_value("navigation_hubs", [], "env", types=frozenset({list}))
    app.add_transform(Navigation)
    app.connect("env-updated", _forget)
    app.connect("html-page-context", _light, priority=100)  # before the theme makes the side bar
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
