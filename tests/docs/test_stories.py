"""Every page is a story that is true: each command runs, each manifest is applied, what is shown is what comes."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from story_blocks import Block
from story_page import Page, Story, read_page
from story_run import Outcome

pytest_plugins = ("story_fixtures",)
ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    read_page(path, ROOT)
    for path in sorted(
        [
            ROOT / "README.md",
            *ROOT.glob("docs/**/*.md"),
            *ROOT.glob("plugins/*/README.md"),
            *ROOT.glob("cookiecutter-plugin/README.md"),
        ]
    )
]

REASONS = {
    "it installs": 10,
    "it clones": 5,
    "it downloads": 10,
    "it needs an account": 5,
    "it is for another program": 5,
    "it asks questions on a terminal": 3,
}
"""Why a block is not run, and of how many blocks that may be said."""


def _stories() -> list[Any]:
    found = []
    for page in PAGES:
        run = [story for story in page.stories if story.is_run]
        for number, story in enumerate(run, start=1):
            marks = [pytest.mark.model_slow, pytest.mark.timeout(900)] if story.model else []
            found.append(pytest.param(story, id=f"{page.path}#{number}" if len(run) > 1 else page.path, marks=marks))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path)
def test_page_says_nothing_that_is_not_run(page: Page) -> None:
    if page.faults:
        pytest.fail("\n".join(page.faults), pytrace=False)


@pytest.mark.parametrize("story", _stories())
def test_story(story: Story, tell: Callable[[Story], Outcome]) -> None:
    outcome = tell(story)
    # Shown by `pytest -s`, and with a failure.
    sys.stdout.write("\n" + "\n".join(outcome.transcript) + "\n")
    if outcome.failures:
        pytest.fail("\n\n".join(outcome.failures), pytrace=False)


def test_little_is_left_out() -> None:
    left_out: list[tuple[str, Block]] = [
        (f"{page.path}:{block.line}", block)
        for page in PAGES
        for story in page.stories
        for block in story.blocks
        if block.left_out
    ]
    unknown = [f"{place}: {block.left_out}" for place, block in left_out if block.left_out not in REASONS]
    assert not unknown, f"known reasons are {', '.join(REASONS)}"
    counts = Counter(block.left_out for _, block in left_out)
    assert all(counts[reason] <= REASONS[reason] for reason in counts), sorted(left_out, key=str)
