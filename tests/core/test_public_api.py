"""The public API is what the last release had, or a fragment in docs/changes tells the difference.

``docs/changes/README.md`` says how; ``docs/stability.md`` what is public.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from api_lab import BASE, RETIRED, ROOT, Read, part, reader

changes, python_api, release, surface = map(part, ("changes", "python_api", "release", "surface"))
PLACES = release.Places(root=ROOT)


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Public names of a module ``acme.boxes`` with this text."""
    return reader(tmp_path)


@pytest.fixture(scope="module")
def entries() -> Sequence[Any]:
    """The public names of the code."""
    found: Sequence[Any] = surface.api_entries()
    return found


# ------------------------------------------------------------------------------------------------ of this repository


def test_every_change_since_the_last_release_is_told(entries: Sequence[Any]) -> None:
    wrong = changes.untold(release.read_api(PLACES.api), entries, changes.read_fragments(PLACES.fragments))
    assert not wrong, (
        f"{len(wrong)} changes of the public API are not told as docs/changes/README.md says:\n"
        + "\n".join(f"- {one}" for one in wrong)
    )


def test_names_are_written_once_and_read_back(entries: Sequence[Any]) -> None:
    lines = surface.render(list(entries), "1.2.3").splitlines()
    names = [entry.name for entry in entries]
    assert len(names) == len(set(names))
    assert [surface.parse_line(line) for line in lines if not line.startswith("#")] == sorted(entries)
    assert lines[0].startswith("# The public API of kastra-core 1.2.3")


def test_what_is_read_from_the_sources_is_what_python_finds() -> None:
    for path, module in python_api.kastra().modules.items():
        imported = importlib.import_module(path)
        assert sorted(imported.__all__) == python_api.kastra().exports(module), path
        for name in imported.__all__:
            assert hasattr(imported, name), f"{path}.{name}"


def test_every_area_is_there(entries: Sequence[Any]) -> None:
    told = {entry.name: entry.what for entry in entries}
    assert told["cli kastra apply --filename"] == "text PATH, also -f, repeatable, required"
    assert told["config maxConcurrency"] == "integer, default 256"
    assert told["env KASTRA_STORE"] == "sets store"
    assert told["hook kastra_stores"] == "def() -> Iterable[StoreRegistration]"
    assert told["kind Agent.mastra.ai/v1 spec.model.provider"] == "string, required"
    assert told["kind Agent.mastra.ai/v1 spec.memory.type"] == 'one of buffer | summary | vector, default "buffer"'
    assert told["offer operation tool.invoke"] == "counts as tool"
    assert told["python kastra_core.Store"] == "as kastra_core.protocols.store.Store"
    assert told["python kastra_core.api.kind.GroupVersionKind.kind"] == "field str, argument 3, required"
    assert told["python kastra_core.errors.RunError"] == "class of kastra_core.errors.KastraError"
    assert not [name for name in told if "._" in name.replace(".__", "")]


# ------------------------------------------------------------------------------------------------ release

CHANGELOG = """# Changes

What users notice.

## Unreleased

- The first of all.

## 0.1.0 (2029-01-01)

- It began.
"""


@pytest.fixture
def copy(tmp_path: Path, read: Read) -> Any:
    """A repository whose last release had the names of BASE."""
    places = release.Places(root=tmp_path / "repository")
    places.fragments.mkdir(parents=True)
    (places.fragments / "README.md").write_text("How it works.", encoding="utf-8")
    places.changelog.write_text(CHANGELOG, encoding="utf-8")
    release.record(places, read(BASE), "0.1.0")
    return places


def _release(places: Any, entries: list[Any], version: str = "0.2.0") -> list[str]:
    found: list[str] = release.release(places, entries, version, current="0.2.0", today=date(2030, 2, 3))
    return found


def test_a_release_folds_fragments_and_records_the_api(copy: Any, read: Read) -> None:
    new = read(
        BASE.replace("def open(self, force", "def open(self, hard").replace('"Box", "Lid"', '"Box", "Lid", "wrap"')
        + "\ndef wrap(): ...\n"
    )
    (copy.fragments / "wrap.added.md").write_text("`wrap` does it.\nIt is quick.\n", encoding="utf-8")
    (copy.fragments / "open.changed.md").write_text("- `Box.open` takes `hard`.\n", encoding="utf-8")
    assert _release(copy, new) == []
    assert copy.changelog.read_text(encoding="utf-8") == CHANGELOG.replace(
        "## Unreleased\n\n- The first of all.\n",
        "## 0.2.0 (2030-02-03)\n\n- The first of all.\n\n### Added\n\n- `wrap` does it.\n  It is quick.\n\n"
        "### Changed\n\n- `Box.open` takes `hard`.\n",
    )
    assert [path.name for path in copy.fragments.iterdir()] == ["README.md"]
    assert release.read_api(copy.api) == sorted(new)
    assert copy.api.read_text(encoding="utf-8").startswith("# The public API of kastra-core 0.2.0 ")
    [again] = _release(copy, new)
    assert again == "the changelog has 0.2.0 already"


def test_a_release_without_unreleased_text_goes_above_the_last(copy: Any, read: Read) -> None:
    copy.changelog.write_text(CHANGELOG.replace("## Unreleased\n\n- The first of all.\n\n", ""), encoding="utf-8")
    (copy.fragments / "speed.fixed.md").write_text("It is quick.", encoding="utf-8")
    assert _release(copy, read(BASE)) == []
    text = copy.changelog.read_text(encoding="utf-8")
    assert (
        "What users notice.\n\n## 0.2.0 (2030-02-03)\n\n### Fixed\n\n- It is quick.\n\n## 0.1.0 (2029-01-01)\n" in text
    )


def test_a_release_waits_until_all_is_told(copy: Any, read: Read) -> None:
    before = {path: path.read_text(encoding="utf-8") for path in (copy.api, copy.changelog)}
    new = read(BASE.replace("def open(self, force", "def open(self, hard"))
    [version, untold] = _release(copy, new, "0.3.0")
    assert version == "the code has the version 0.2.0; set it to 0.3.0 first"
    assert "write docs/changes/TOPIC.changed.md" in untold
    assert before == {path: path.read_text(encoding="utf-8") for path in before}


def test_nothing_goes_before_it_was_said_to_go(copy: Any, read: Read) -> None:
    release.record(copy, read(RETIRED.replace("@deprecated", "#")), "0.1.0")
    (copy.fragments / "lid.removed.md").write_text("`Lid` is gone.", encoding="utf-8")
    gone = read(BASE.replace('"Lid", "pack"', '"pack"'))
    assert _release(copy, gone) == ["python acme.boxes.Lid is gone, and was promised until 0.4"]


def test_what_the_code_cannot_mark_is_deprecated_by_its_fragment(copy: Any, read: Read) -> None:
    scheme = surface.Entry("offer store acme", "of acme")
    release.record(copy, [*read(BASE), scheme], "0.1.0")
    (copy.fragments / "scheme.deprecated.md").write_text(
        "The scheme `acme:` goes with 0.4; use `box:`.", encoding="utf-8"
    )
    assert _release(copy, [*read(BASE), scheme]) == []
    assert "\noffer store acme: of acme [deprecated in 0.2.0]\n" in copy.api.read_text(encoding="utf-8")
    assert changes.untold(release.read_api(copy.api), [*read(BASE), scheme], []) == []
    release.record(copy, [*read(BASE), scheme], "0.2.0")
    assert "[deprecated in 0.2.0]" in copy.api.read_text(encoding="utf-8")
    (copy.fragments / "scheme.removed.md").write_text("The scheme `acme:` is gone; use `box:`.", encoding="utf-8")
    assert release.release(copy, read(BASE), "0.4.0", current="0.4.0", today=date(2031, 1, 1)) == []


@pytest.mark.parametrize(
    ("version", "change", "refusal"),
    [
        ("0.2.1", ("priority: int = 0", "priority: int = 0, later: bool = False"), "a patch changes no public name"),
        (
            "1.2.0",
            ("def open(self, force", "def open(self, hard"),
            "only a major version breaks something; release 2.0.0",
        ),
        ("1.2.0", ("priority: int = 0", "priority: int = 0, later: bool = False"), ""),
        ("2.0.0", ("def open(self, force", "def open(self, hard"), ""),
        ("0.3.0", ("def open(self, force", "def open(self, hard"), ""),
    ],
)
def test_a_version_allows_what_it_promises(
    copy: Any, read: Read, version: str, change: tuple[str, str], refusal: str
) -> None:
    (copy.fragments / "boxes.changed.md").write_text("`Box.open` and `send` changed.", encoding="utf-8")
    wrong = release.release(copy, read(BASE.replace(*change)), version, current=version, today=date(2030, 2, 3))
    assert bool(wrong) == bool(refusal)
    assert refusal in "\n".join(wrong)


def test_the_command_shows_what_is_not_told(
    copy: Any, read: Read, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    generate = part("generate")
    monkeypatch.setattr(generate, "PLACES", copy)
    new = read(BASE.replace("def open(self, force", "def open(self, hard"))
    monkeypatch.setattr(generate, "api_entries", lambda: new)
    assert generate.main(["--changes"]) == 1
    assert "[changed] python acme.boxes.Box.open changed\n" in capsys.readouterr().out
    (copy.fragments / "open.changed.md").write_text("`Box.open` takes `hard`.\n", encoding="utf-8")
    assert generate.main(["--changes"]) == 0
    assert capsys.readouterr().out.endswith("\n0 not told\n")
    assert generate.main(["--api"]) == 0
    assert release.read_api(copy.api) == sorted(new)
