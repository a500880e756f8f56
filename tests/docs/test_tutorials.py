"""The tutorial has the same steps in both languages."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from story_page import Page, Story, read_page

ROOT = Path(__file__).resolve().parents[2]
ENGLISH, CHINESE = (read_page(ROOT / "docs" / name, ROOT) for name in ("tutorial.md", "tutorial.zh.md"))
TEAS = {"matcha": "TEA", "普洱": "TEA"}


def _story(page: Page) -> Story:
    [story] = page.stories
    return story


def _command(text: str) -> str:
    """The command without what is said to the model."""
    for tea, word in TEAS.items():
        text = text.replace(f" {tea}", f" {word}")
    return re.sub(r'"[^"]*"', "TEXT", text)


def _commands(page: Page) -> list[str]:
    return [_command(command.text) for block in _story(page).blocks for command in block.commands]


def _shape(value: Any) -> Any:
    """A manifest without its texts for people and models."""
    if isinstance(value, dict):
        return {
            key: "TEXT" if key in ("instructions", "description", "message", "succeed") else _shape(one)
            for key, one in value.items()
        }
    return [_shape(one) for one in value] if isinstance(value, list) else value


def _files(page: Page) -> dict[str, Any]:
    return {
        block.title: list(map(_shape, yaml.safe_load_all(block.text))) if block.language == "yaml" else "code"
        for block in _story(page).blocks
        if block.title
    }


def test_both_have_the_same_headings() -> None:
    levels = [
        re.findall(r"^(#+) (\d*)", (ROOT / page.path).read_text(encoding="utf-8"), re.MULTILINE)
        for page in (ENGLISH, CHINESE)
    ]
    assert levels[0] == levels[1]
    assert len(levels[0]) > 10


def test_both_have_the_same_commands() -> None:
    assert _commands(ENGLISH) == _commands(CHINESE)
    assert len(_commands(ENGLISH)) > 20


def test_both_have_the_same_files() -> None:
    assert _files(ENGLISH) == _files(CHINESE)
    assert "restock.yaml" in _files(ENGLISH)


def test_both_lead_to_the_same_pages() -> None:
    links = [
        set(re.findall(r"\]\(([^)]+)\)", (ROOT / page.path).read_text(encoding="utf-8")))
        - {"tutorial.md", "tutorial.zh.md"}
        for page in (ENGLISH, CHINESE)
    ]
    assert links[0] == links[1]


def test_each_names_the_other() -> None:
    for page, other in ((ENGLISH, "tutorial.zh.md"), (CHINESE, "tutorial.md")):
        assert f"]({other})" in (ROOT / page.path).read_text(encoding="utf-8")
