"""The documentation is true: links lead somewhere, examples are valid, generated pages are what the code says."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import attrs
import pytest

from kastra_core import MemoryStore, PluginManager, ResourceClient, hookspecs, manifests
from kastra_core.includes import decode_documents, decode_manifests
from kastra_core.manifests import Document
from kastra_core.runtime import registry_of

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("plugins/*/README.md"),
        *ROOT.glob("cookiecutter-plugin/*.md"),
    ]
)
EXAMPLES = sorted(path for path in ROOT.glob("docs/examples/**/*.yaml") if ".kastra" not in path.parts)


@attrs.frozen
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def _blocks() -> Iterator[Block]:
    for page in PAGES:
        fence, start, language = "", 0, ""
        lines: list[str] = []
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
            marker = re.match(r" *(`{3,})(\w*)", line)
            if not fence and marker:
                fence, language, start, lines = marker[1], marker[2], number, []
            elif fence and line.strip() == fence:
                yield Block(page, start, language, "\n".join(lines) + "\n")
                fence = ""
            elif fence:
                lines.append(line)
        assert not fence, f"{page}:{start}: the block has no end"


BLOCKS = list(_blocks())
MANIFEST = re.compile(r"^apiVersion:|^\s*\"apiVersion\":", re.MULTILINE)
YAML = [block for block in BLOCKS if block.language in ("yaml", "json") and MANIFEST.search(block.text)]
PYTHON = [block for block in BLOCKS if block.language == "python"]
RUNNABLE = [block for block in PYTHON if block.text.startswith("# runnable")]


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("kastra_docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def client() -> ResourceClient:
    """A client of an empty store that knows the kinds of the installed plugins."""
    return ResourceClient(MemoryStore(), registry_of(PluginManager()))


def _anchors(page: Path) -> set[str]:
    """The anchors that a forge makes of the headings of a page."""
    headings = re.findall(r"^#+ +(.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_to_what_is_there(page: Path) -> None:
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), f"{page}: {target}"
        assert found.is_relative_to(ROOT), f"{page}: {target} leaves the repository"
        if anchor:
            assert anchor in _anchors(found), f"{page}: {target}"


@pytest.mark.parametrize("block", YAML, ids=str)
def test_manifests_in_pages_are_valid(block: Block, client: ResourceClient) -> None:
    decode_manifests(client.registry, [document.data for document in manifests.parse(block.text)], namespace="default")


def _is_definition(document: Document) -> bool:
    return bool(document.data["kind"] == "CustomResourceDefinition")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_examples_are_valid(path: Path, client: ResourceClient) -> None:
    documents = manifests.read_sources([str(path)])
    assert documents
    # A directory is applied as one: its definitions are known to all of it.
    beside = [str(other) for other in EXAMPLES if other.parent == path.parent and other != path]
    defined = [one for one in manifests.read_sources(beside) if _is_definition(one)] if beside else []
    decode_documents(client.registry, [*defined, *documents], namespace="default")


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_python_in_pages_compiles(block: Block) -> None:
    compile(block.text, str(block), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize("block", RUNNABLE, ids=str)
def test_runnable_python_in_pages_runs(block: Block, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", block.text], cwd=tmp_path, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["cli.md", "hooks.md", "python.md"])
def test_generated_pages_are_up_to_date(name: str) -> None:
    generated = {path.name: (path, text) for path, text in _generator().pages().items()}
    path, text = generated[name]
    assert path.read_text(encoding="utf-8") == text, "run: python docs/generate.py"


@pytest.mark.parametrize("page", [*PAGES, *EXAMPLES], ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_name_no_machine_and_leave_nothing_open(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    found = re.search(
        r"(?<![\w.])/(?:work|tmp|root|home)/|\bTODO\b|\bFIXME\b|\bTBD\b|pypi\.org|files\.pythonhosted", text
    )
    assert found is None, f"{page}: {found}"


def test_the_plugin_of_the_guide_does_what_the_page_says(tmp_path: Path) -> None:
    page = ROOT / "docs" / "guide" / "plugins.md"
    package = tmp_path / "site" / "kastra_plugin_acme"
    package.mkdir(parents=True)
    for block in BLOCKS:
        named = re.match(r"# kastra_plugin_acme/(\w+\.py)", block.text)
        if block.page == page and named:
            with (package / named[1]).open("a", encoding="utf-8") as file:
                file.write(block.text)
    info = tmp_path / "site" / "kastra_plugin_acme-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: kastra-plugin-acme\nVersion: 0.1.0\n", encoding="utf-8"
    )
    (info / "entry_points.txt").write_text("[kastra]\nacme = kastra_plugin_acme.hooks\n", encoding="utf-8")
    [manifests] = [block.text for block in YAML if block.page == page and "kind: Note\n" in block.text]
    (tmp_path / "notes.yaml").write_text(manifests, encoding="utf-8")
    program = """
from kastra_core.cli import main
assert main(["apply", "-f", "notes.yaml"]) == 0
assert main(["get", "notes"]) == 0
assert open("notes/default.milk.txt").read() == "Buy milk."
assert main(["delete", "crd/notes.acme.example"]) == 0
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(package.parent), "KASTRA_CONFIG_HOME": str(tmp_path / "home")},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    shown = "NAME   READY   BYTES\nmilk   True    9\n"
    assert shown in done.stdout
    assert shown in page.read_text(encoding="utf-8")
    assert not any((tmp_path / "notes").iterdir())


def test_every_hook_is_documented_with_an_example() -> None:
    hooks = {name: item for name, item in vars(hookspecs).items() if hasattr(item, "kastra_spec")}
    assert hooks
    for name, item in hooks.items():
        text = inspect.getdoc(item) or ""
        assert "Clash:" in text, name
        _, found, example = text.partition("Example:\n")
        assert found, name
        assert f"def {name}(" in example, name
        ast.parse(inspect.cleandoc(example))


def test_every_plugin_page_names_its_distribution() -> None:
    for page in ROOT.glob("plugins/*/README.md"):
        assert f"# {page.parent.name}" in page.read_text(encoding="utf-8")


def test_readme_names_every_first_party_plugin() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for project in ROOT.glob("plugins/*/pyproject.toml"):
        assert project.parent.name in text
