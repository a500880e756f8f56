"""``docs/mission.md`` leaves out no heading of the mission, and every path and name in it exists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "mission.md"
MISSION = ROOT.parent / "shared" / "spec" / "mission.zh.md"
TEXT = PAGE.read_text(encoding="utf-8")

HEADINGS = (
    *("1", "2", "2.1", "2.2", "3", "3.1", "3.2", "4", "4.1", "4.2", "5", "5.1", "5.2"),
    *("6", "6", "6", "6", "6", "7", "7.1", "7.2", "8", "8.1", "9", "10", "10.1", "10.2"),
    *("11", "11.1", "11.2", "11.3", "11.4", "11.5", "12", "13", "13.1", "13.2", "14", "14.1", "14.2", "14.3"),
)
"""Numbers of all headings of the mission; its phases have the number of the section that they are in."""


def _rows() -> list[list[str]]:
    """The cells of the table of sections."""
    table = TEXT.partition("\n## Sections\n")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in table.splitlines() if line.startswith("|")]
    return rows[2:]


def _headings_of_the_mission() -> Iterator[tuple[str, str]]:
    """Number and words of each heading, marks of completion left out."""
    section = ""
    for line in MISSION.read_text(encoding="utf-8").splitlines():
        if found := re.match(r"##+ +(?:(\d+(?:\.\d+)?)\.? +)?(.*?)[ ✅]*$", line):
            section = found[1] or section
            yield section, found[2]


def _names() -> list[str]:
    return sorted({name for name in re.findall(r"`([\w.]+)`", TEXT) if re.match(r"kastra_(core|plugin_\w+)\.", name)})


def test_the_table_has_each_heading_in_order() -> None:
    assert tuple(row[0] for row in _rows()) == HEADINGS


@pytest.mark.skipif(not MISSION.is_file(), reason="the mission's text is not beside this clone")
def test_the_headings_are_those_of_the_mission() -> None:
    assert [(row[0], row[1]) for row in _rows()] == list(_headings_of_the_mission())


def test_each_section_says_where_it_lives_and_what_tests_it() -> None:
    for number, heading, code, page, test in _rows():
        links = re.findall(r"\]\(([^)#]+)", test)
        assert code, f"{number} {heading}: no code"
        assert page or "below" in code, f"{number} {heading}: no page"
        assert all(link.startswith("../tests/") for link in links), f"{number} {heading}: {links}"


@pytest.mark.parametrize("name", _names())
def test_each_name_of_the_page_can_be_imported(name: str) -> None:
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            value = import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[length:]:
            value = getattr(value, attribute)
        return
    raise AssertionError(f"{name}: no such module")


def test_each_path_of_the_page_exists() -> None:
    paths = re.findall(r"\]\(([^)#\s]+)", TEXT)
    assert paths
    assert not [path for path in paths if not (PAGE.parent / path).exists()]
