"""The documentation site: ``sphinx-build -c docs -W --keep-going -n -b html . docs/_site``.

The source directory is the root of the repository, so that links from a page to any file of it are links of the site,
too. Pages are plain Markdown that reads well on a forge; what the site adds to them is in ``docs/_ext``.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "docs" / "_ext"))

project = "Kastra"
author = "The Kastra authors"
copyright = author  # noqa: A001 - Sphinx asks for this name
release = version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]

extensions = ["myst_parser", "kastra_pages", "kastra_files", "kastra_navigation", "kastra_search"]

root_doc = "docs/index"
source_suffix = {".md": "markdown"}
include_patterns = [
    "README.md",
    "CHANGELOG.md",
    "docs/**.md",
    "plugins/*/README.md",
    "cookiecutter-plugin/README.md",
]
exclude_patterns = [
    ".*",  # environments and caches; a directory that is excluded is not walked
    "tests",
    "kastra_core",
    "plugins/*/src",
    "cookiecutter-plugin/*cookiecutter*",
    "docs/_*",
    "docs/changes/*.*.md",  # fragments of the next release; its README tells what they are
    "**/.*",
    "**/build",
    "**/dist",
    "**/node_modules",
]

language = "en"
nitpicky = True
# Templates and shortened output are no valid YAML, JSON or Python; they are shown without colours.
suppress_warnings = ["misc.highlighting_failure"]

myst_heading_anchors = 6
myst_enable_extensions: set[str] = set()

navigation_hubs = ["docs/index", "docs/plugins/index", "docs/reference/kinds", "docs/reference/python"]
"""Pages whose lists of links are the navigation."""

html_theme = "furo"
html_title = f"Kastra {release}"
html_copy_source = False
html_show_sourcelink = False
html_use_index = False
html_domain_indices = False
html_search_language = "en"
templates_path = ["_templates"]
html_static_path = ["_static"]
html_css_files = ["kastra.css"]
html_additional_pages = {"index": "to_docs.html"}
