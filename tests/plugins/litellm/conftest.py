from __future__ import annotations

from pathlib import Path

import pytest

# Filters that litellm, or the plugin, sets at the import; pytest sets the filters anew for each test.
_IGNORED = (
    "ignore:.*using the `ReadOnly` qualifier:UserWarning",
    "ignore:Accessing the 'model_:DeprecationWarning",
    "ignore:.*was never awaited:RuntimeWarning",
    "ignore:.*coroutine object:pytest.PytestUnraisableExceptionWarning",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent:
            for text in _IGNORED:
                item.add_marker(pytest.mark.filterwarnings(text))
