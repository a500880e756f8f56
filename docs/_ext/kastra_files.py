"""Links of a page to a file of the repository that is no page: the site shows the file."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from docutils import nodes
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import TextLexer, get_lexer_for_filename
from pygments.util import ClassNotFound
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.transforms import SphinxTransform
from sphinx.util.osutil import relative_uri

__all__ = ["FileLinks", "setup"]

WHERE = "_files"
"""Directory of the site for shown files; below it they have their paths of the repository."""


def _shown(env: BuildEnvironment) -> dict[str, set[str]]:
    """Which files are shown, by the page that links to them; kept with the environment, which readers send back."""
    shown: dict[str, set[str]] = env.__dict__.setdefault("kastra_files", {})
    return shown


def _page_name(path: str) -> str:
    return f"{WHERE}/{path}"


class FileLinks(SphinxTransform):
    """Links to files become links to a page that shows the file, links to directories to their README or a list."""

    default_priority = 5  # before what collects downloads and resolves links

    def apply(self, **kwargs: Any) -> None:
        """Replace MyST's nodes for what exists; what does not is left, and is a warning later."""
        for file in list(self.document.findall(addnodes.download_reference)):
            self._show(file, file["reftarget"])
        for node in list(self.document.findall(addnodes.pending_xref)):
            if node.get("reftype") != "myst" or node.get("refdomain"):
                continue
            directory = self._path(node["reftarget"].partition("#")[0])
            if directory is None or not directory.is_dir():
                continue
            readme = self.env.path2doc(directory / "README.md")
            if readme in self.env.found_docs:
                node["refdomain"], node["reftarget"], node["reftargetid"] = "doc", readme, None
            else:
                self._show(node, node["reftarget"])

    def _path(self, target: str) -> Path | None:
        """The file of the repository that a link leads to, None for one that leads out of it."""
        path = Path(self.env.relfn2path(target, self.env.docname)[1]).resolve() if target else None
        return path if path is not None and path.is_relative_to(self.env.srcdir) else None

    def _show(self, node: nodes.Element, target: str) -> None:
        path = self._path(target)
        if path is None or not path.exists():
            return
        name = path.relative_to(self.env.srcdir).as_posix()
        _shown(self.env).setdefault(self.env.docname, set()).add(name)
        uri = relative_uri(f"{self.env.docname}.html", f"{_page_name(name)}.html")
        node.replace_self(nodes.reference("", "", *node.children, refuri=uri, internal=True, classes=["file"]))


def _purge(app: Sphinx, env: BuildEnvironment, docname: str) -> None:
    _shown(env).pop(docname, None)


def _merge(app: Sphinx, env: BuildEnvironment, docnames: Iterable[str], other: BuildEnvironment) -> None:
    theirs = _shown(other)
    _shown(env).update({name: theirs[name] for name in docnames if name in theirs})


def _pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """The pages of all files that are shown, and of what lies in the directories among them."""
    root = Path(app.srcdir)
    names = {name for shown in _shown(app.env).values() for name in shown}
    inside = {name: _entries(root, root / name) for name in names if (root / name).is_dir()}
    names |= {f"{name}/{entry}" for name, entries in inside.items() for entry in entries}
    for name in sorted(names):
        body = _list(inside[name], name) if name in inside else _text(root / name)
        title = html.escape(PurePosixPath(name).name)
        context = {"title": title, "body": f"<h1>{title}</h1><p><code>{html.escape(name)}</code></p>{body}"}
        yield _page_name(name), context, "page.html"


def _entries(root: Path, directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if path.is_file() and not path.name.startswith((".", "_")))


def _list(entries: list[str], name: str) -> str:
    base = PurePosixPath(name).name
    items = "".join(
        f'<li><a href="{base}/{html.escape(entry)}.html">{html.escape(entry)}</a></li>' for entry in entries
    )
    return f"<ul>{items}</ul>"


def _text(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return f"<p>{path.stat().st_size} bytes, no text.</p>"
    try:
        lexer = get_lexer_for_filename(path.name)
    except ClassNotFound:
        lexer = TextLexer()
    return str(highlight(text, lexer, HtmlFormatter(cssclass="highlight")))


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_transform(FileLinks)
    app.connect("env-purge-doc", _purge)
    app.connect("env-merge-info", _merge)
    app.connect("html-collect-pages", _pages)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
