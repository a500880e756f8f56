"""What stories need while a test session lasts."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from story_models import StoryModels
from story_page import Story
from story_run import Outcome, Place, run_story
from story_shell import Door


@pytest.fixture(scope="session")
def door(forks: Any) -> Iterator[Door]:
    """Runs the ``kastra`` of stories."""
    with Door(forks, Path(sys.executable).with_name("kastra")) as door:
        yield door


@pytest.fixture(scope="session")
def story_models(mock_module: Any) -> Iterator[StoryModels]:
    """The server that says what pages wrote down."""
    with StoryModels(mock_module) as server:
        yield server


@pytest.fixture
def tell(door: Door, story_models: StoryModels, tmp_path: Path) -> Callable[[Story], Outcome]:
    """Runs a story in a directory of its own."""

    def told(story: Story) -> Outcome:
        if story.model:
            _fetch_weights()
        models, script = story_models.open()
        directory = tmp_path / f"story-{story.line}"
        directory.mkdir()
        return run_story(story, Place(directory, door.address, models), script)

    return told


def _fetch_weights() -> None:
    """Have the weights of the small model that calls tools in the ordinary cache, where stories find them."""
    from kastra_plugin_local.catalogue import lookup
    from kastra_plugin_local.pull import PullError, pull

    try:
        pull(lookup("qwen2.5-coder-0.5b"))
    except PullError as error:
        if os.environ.get("KASTRA_REQUIRE_MODELS") == "1":
            pytest.fail(str(error))
        pytest.skip(str(error))
