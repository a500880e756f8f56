"""The documentation is true: links lead somewhere, examples are valid, generated pages are what the code says."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
from pathlib import Path
from types import ModuleType

import pytest

from kastra_core import MemoryStore, PluginManager, ResourceClient, hookspecs, manifests
from kastra_core.includes import decode_documents
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
OLD = ROOT / "docs" / "examples" / "migration" / "old"
"""Files of other systems, for `kastra migrate`."""
EXAMPLES = sorted(
    path
    for path in ROOT.glob("docs/examples/**/*.yaml")
    if ".kastra" not in path.parts and not path.is_relative_to(OLD)
)


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
    text = re.sub(r"`[^`\n]*`", "", text)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), f"{page}: {target}"
        assert found.is_relative_to(ROOT), f"{page}: {target} leaves the repository"
        if anchor:
            assert anchor in _anchors(found), f"{page}: {target}"


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


def test_generated_pages_are_up_to_date() -> None:
    generator = _generator()
    pages: dict[Path, str] = generator.pages()
    stale = [path for path, text in pages.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    stale += generator.superfluous(pages)
    assert not [str(path.relative_to(ROOT)) for path in stale], "run: python docs/generate.py"


@pytest.mark.parametrize("page", [*PAGES, *EXAMPLES], ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_name_no_machine_and_leave_nothing_open(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    found = re.search(
        # What commands show is shown as if ada had typed them.
        r"(?<![\w.])/(?:(?:work|tmp|root)/|home/(?!ada/))|\bTODO\b|\bFIXME\b|\bTBD\b|pypi\.org|files\.pythonhosted",
        text,
    )
    assert found is None, f"{page}: {found}"


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
