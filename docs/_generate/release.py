"""A release: the fragments go into the changelog, and the public API is recorded anew."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path

import attrs

from _generate.changes import (
    BY_FRAGMENT,
    TYPES,
    Change,
    Fragment,
    changes,
    read_fragments,
    tells,
    untold,
    version_of,
)
from _generate.surface import Entry, parse_line, render

__all__ = ["Places", "read_api", "record", "release", "section"]

_UNRELEASED = "## Unreleased"


@attrs.frozen(kw_only=True)
class Places:
    """The files of a release, below the root of the repository."""

    root: Path

    @property
    def api(self) -> Path:
        return self.root / "docs" / "api.txt"

    @property
    def fragments(self) -> Path:
        return self.root / "docs" / "changes"

    @property
    def changelog(self) -> Path:
        return self.root / "CHANGELOG.md"


def read_api(path: Path) -> list[Entry]:
    """The public names as the last release recorded them."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [parse_line(line) for line in lines if line and not line.startswith("#")]


def record(places: Places, entries: Sequence[Entry], version: str, fragments: Sequence[Fragment] = ()) -> None:
    """Write the public names of a release.

    What a fragment deprecates is marked, also where the code has no place for a mark (a store scheme, an operation);
    it stays marked as long as it is there.
    """
    before = {entry.name: entry for entry in read_api(places.api)} if places.api.exists() else {}
    names = {entry.name for entry in entries}
    marked = []
    for entry in entries:
        if not entry.deprecated:
            was = before.get(entry.name)
            if any(one.type == "deprecated" and tells(one, entry.name, names) for one in fragments):
                entry = attrs.evolve(entry, deprecated=f"{BY_FRAGMENT} {version}]")
            elif was is not None and was.deprecated.startswith(BY_FRAGMENT):
                entry = attrs.evolve(entry, deprecated=was.deprecated)
        marked.append(entry)
    places.api.write_text(render(marked, version), encoding="utf-8")


def release(places: Places, entries: Sequence[Entry], version: str, *, current: str, today: date) -> list[str]:
    """Fold the fragments into the changelog under a version and record the public API.

    Args:
        entries: the public names as the code has them.
        version: to be released.
        current: what the code calls itself.
        today: for the heading.
    Returns:
        what keeps the release back, nothing was written then; else nothing.
    """
    wrong = [] if version == current else [f"the code has the version {current}; set it to {version} first"]
    try:
        fragments = read_fragments(places.fragments)
    except ValueError as error:
        return [*wrong, str(error)]
    old = read_api(places.api)
    wrong += untold(old, entries, fragments)
    wrong += [text for change in changes(old, entries) for text in _too_early(change, version)]
    text = places.changelog.read_text(encoding="utf-8")
    if re.search(rf"^## {re.escape(version)}\b", text, re.MULTILINE):
        wrong.append(f"the changelog has {version} already")
    if wrong:
        return wrong
    places.changelog.write_text(_folded(text, section(fragments), version, today), encoding="utf-8")
    for fragment in fragments:
        fragment.path.unlink()
    record(places, entries, version, fragments)
    return []


def _too_early(change: Change, version: str) -> Iterator[str]:
    """What docs/stability.md allows in no release of this version."""
    major, minor, patch = version_of(version)[:3]
    breaks = change.types in (("changed",), ("removed",))
    if patch:
        yield f"{change}\n    a patch changes no public name; release {major}.{minor + 1}.0"
    elif breaks and major and minor:
        yield f"{change}\n    from 1.0 on only a major version breaks something; release {major + 1}.0.0"
    if change.new is None and change.old is not None:
        for until in re.findall(r" until ([\w.]+)", change.old.deprecated):
            if version_of(until) > version_of(version):
                yield f"{change.name} is gone, and was promised until {until}"


def section(fragments: Sequence[Fragment]) -> str:
    """The fragments as Markdown: a heading for each type, an item for each fragment."""
    parts = []
    for kind, heading in TYPES.items():
        items = [_item(one.text) for one in fragments if one.type == kind]
        if items:
            parts.append(f"### {heading}\n\n" + "\n".join(items))
    return "\n\n".join(parts)


def _item(text: str) -> str:
    if text.startswith("- "):
        return text
    first, *rest = text.splitlines()
    return "\n".join([f"- {first}", *(f"  {line}".rstrip() for line in rest)])


def _folded(text: str, news: str, version: str, today: date) -> str:
    """The changelog with a section for the version, above all others; what stood under Unreleased begins it."""
    heading = f"## {version} ({today.isoformat()})"
    if _UNRELEASED in text:
        head, _, rest = text.partition(_UNRELEASED)
        collected, mark, older = rest.partition("\n## ")
    else:
        head, mark, older = text.partition("\n## ")
        head, collected = f"{head.rstrip()}\n\n", ""
    body = "\n\n".join(filter(None, [heading, collected.strip(), news]))
    return f"{head}{body}\n" + (f"\n## {older}" if mark else "")
