"""The documentation site builds strictly, shows every page, leads nowhere into the void, and needs no network."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import sys
from collections import defaultdict
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import attrs
import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = ("-m", "sphinx", "-c", "docs", "-W", "--keep-going", "-n", "-E", "-j", "2", "-b", "html")
LOADS = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
    "object": "data",
}
"""Which attribute of which element makes a browser fetch something."""


@attrs.define
class Html(HTMLParser):
    """What a page of the site refers to."""

    ids: set[str] = attrs.field(factory=set)
    links: list[str] = attrs.field(factory=list)
    loaded: list[str] = attrs.field(factory=list)
    comments: list[str] = attrs.field(factory=list)

    def __attrs_pre_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attributes}
        if "id" in values:
            self.ids.add(values["id"])
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag in LOADS and values.get(LOADS[tag]):
            self.loaded.append(values[LOADS[tag]])
        if tag == "link" and values.get("rel") not in ("next", "prev", "index", "search", "canonical"):
            self.loaded.append(values["href"])

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)


@attrs.frozen
class Site:
    """The built site."""

    output: str
    code: int
    root: Path
    pages: dict[Path, Html]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The site, built by the first of the test run's workers that wants it."""
    place = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = place.parent
    out, log = place / "site", place / "site.log"
    with (place / "site.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not log.exists():
            command = [sys.executable, *BUILD, "-d", str(place / "doctrees"), ".", str(out)]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=150)
            log.write_text(f"{done.returncode}\n{done.stdout}{done.stderr}", encoding="utf-8")
    code, _, output = log.read_text(encoding="utf-8").partition("\n")
    pages: dict[Path, Html] = {}
    for path in sorted(out.rglob("*.html")):
        pages[path] = Html()
        pages[path].feed(path.read_text(encoding="utf-8"))
    return Site(output, int(code), out, pages)


def _is_external(address: str) -> bool:
    return bool(urlsplit(address).scheme or address.startswith("//"))


def _documents() -> list[Path]:
    """Pages that readers are meant to find, as paths of the repository without their suffix."""
    patterns = ("README.md", "CHANGELOG.md", "docs/**/*.md", "plugins/*/README.md", "cookiecutter-plugin/README.md")
    found = (path.relative_to(ROOT) for pattern in patterns for path in ROOT.glob(pattern))
    built = (path for path in found if not any(part.startswith(("_", ".")) for part in path.parts))
    return sorted(
        path.with_suffix("") for path in built if not re.fullmatch(r"docs/changes/.+\..+\.md", path.as_posix())
    )


def test_the_build_has_neither_errors_nor_warnings(site: Site) -> None:
    assert (site.code, re.findall(r".*(?:WARNING|ERROR).*", site.output)) == (0, []), site.output[-3000:]


def test_each_page_is_in_the_navigation(site: Site) -> None:
    hub = site.root / "docs" / "index.html"
    tree = hub.read_text(encoding="utf-8").partition('class="sidebar-tree"')[2].partition('class="main"')[0]
    listed = {(hub.parent / unquote(urldefrag(href)[0])).resolve() for href in re.findall(r'href="([^"]+)"', tree)}
    missing = [page for page in _documents() if site.root / f"{page}.html" not in listed | {hub}]
    assert not missing


def test_links_lead_to_pages_and_anchors_that_exist(site: Site) -> None:
    broken = defaultdict(list)
    for path, page in site.pages.items():
        for link in page.links:
            address, anchor = urldefrag(link)
            if _is_external(link):
                continue
            target = (path.parent / unquote(address)).resolve() if address else path
            ids = site.pages[target].ids if target in site.pages else {unquote(anchor)}
            if not target.is_file() or (anchor and unquote(anchor) not in ids):
                broken[path.relative_to(site.root)].append(link)
    assert not broken


def test_nothing_is_loaded_from_elsewhere(site: Site) -> None:
    loaded = {(path.relative_to(site.root), one) for path, page in site.pages.items() for one in page.loaded}
    missing = [(path, one) for path, one in loaded if not (site.root / path.parent / urlsplit(one).path).is_file()]
    assert not missing
    for sheet in site.root.rglob("*.css"):
        text = re.sub(r"/\*.*?\*/", "", sheet.read_text(encoding="utf-8"), flags=re.DOTALL)
        assert not re.findall(r"@import|url\(\s*[\"']?(?:https?:)?//", text), sheet
    for picture in (*site.root.rglob("*.svg"), *ROOT.glob("docs/pictures/*.svg")):
        text = picture.read_text(encoding="utf-8")
        assert not re.findall(r"(?:href|src)\s*=\s*[\"'](?:https?:)?//|@import|<script", text), picture


def test_annotations_of_stories_leave_nothing_and_titles_are_shown(site: Site) -> None:
    for path, page in site.pages.items():
        assert not [comment for comment in page.comments if "story" in comment], path
    shown = (site.root / "docs" / "operations.html").read_text(encoding="utf-8")
    shown = shown.replace("<wbr>", "")  # where a long name may break
    assert re.search(r'class="code-block-caption".{0,200}kastra-kitchen\.service', shown, re.DOTALL)


def test_chinese_words_are_found(site: Site) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "doctest", "docs/_ext/kastra_search.py"], cwd=ROOT, capture_output=True
    )
    assert (done.returncode, done.stdout) == (0, b"")
    index = (site.root / "searchindex.js").read_text(encoding="utf-8")
    assert '"\\u83dc\\u8c31"' in index  # 菜谱, as a pair of signs
    tools = (site.root / "_static" / "language_data.js").read_text(encoding="utf-8")
    assert "splitQuery" in tools


@pytest.mark.parametrize("picture", sorted(path.name for path in ROOT.glob("docs/pictures/*.svg")))
def test_pictures_say_what_they_show(picture: str) -> None:
    text = (ROOT / "docs" / "pictures" / picture).read_text(encoding="utf-8")
    assert re.search(r"<title id=\"title\">[^<]{10,}</title>", text)
    assert re.search(r"<desc id=\"desc\">[^<]{80,}</desc>", text)
    assert "prefers-color-scheme:dark" in text


ONE = """\
# One

<!-- story: setup
$ echo hidden-by-the-story
-->

```yaml title="app.yaml" in="Agent.spec"
kind: Agent
```

[itself](#one) [the root](../README.md#root) [code](../tool.py) [a directory](../things/)

[1](gone.md) [2](../README.md#no-anchor) [3](#no-anchor-here) [4](../gone.py) ![5](gone.svg)
"""
SMALL = {
    "README.md": "# Root\n",
    "docs/index.md": "# Hub\n\n## Pages\n\n- [One](one.md): first.\n- [Root](../README.md)\n",
    "docs/one.md": ONE,
    "docs/guide/lost.md": "# Lost\n",
    "tool.py": "def tool(): ...\n",
    "things/a.yaml": "a: 1\n",
    "pyproject.toml": '[project]\nversion = "1"\n',
}
FAULTS = ("gone.md", "no-anchor'", "no-anchor-here", "gone.py", "gone.svg", "lost.md")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A small site that our configuration makes, with every fault that must not go unseen."""
    place = tmp_path_factory.mktemp("small")
    files = dict(SMALL)
    for source in (*ROOT.glob("docs/_[ets]*/*.*"), ROOT / "docs" / "conf.py"):
        files[source.relative_to(ROOT).as_posix()] = source.read_text(encoding="utf-8")
    for name, text in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text, encoding="utf-8")
    command = [sys.executable, *BUILD, "-q", ".", "out"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=60)
    return Site(done.stderr, done.returncode, place / "out", {})


def test_what_leads_nowhere_and_what_no_hub_lists_fails_the_build(small: Site) -> None:
    assert small.code == 1
    warnings = small.output.splitlines()
    assert [fault for fault in FAULTS if not any(fault in line for line in warnings)] == []
    assert len([line for line in warnings if "WARNING" in line]) == len(FAULTS), small.output


def test_files_and_directories_are_shown_and_annotations_are_not(small: Site) -> None:
    page = (small.root / "docs" / "one.html").read_text(encoding="utf-8")
    assert "hidden-by-the-story" not in page
    assert 'href="../_files/tool.py.html"' in page
    assert re.search(r'class="code-block-caption".{0,200}app\.yaml', page, re.DOTALL)
    assert 'class="nf">tool' in (small.root / "_files" / "tool.py.html").read_text(encoding="utf-8")
    assert 'href="things/a.yaml.html"' in (small.root / "_files" / "things.html").read_text(encoding="utf-8")
    assert (small.root / "_files" / "things" / "a.yaml.html").is_file()
