"""For tests of plugins: fakes, and a conformance suite for each thing that a plugin can implement.

Nothing is imported here, so that a test pays only for what it takes: ``from kastra_core.testing.fakes import
FakeModelProvider``, ``from kastra_core.testing.model import ModelProviderConformance``.
"""

from __future__ import annotations

import sys

__all__ = []

_STORE_CASES = ("data", "effects", "model", "resources", "runs", "threads", "tools", "watch")
_SUITES = (
    *("command", "controller", "exporter", "kind", "migrator", "model", "operation", "plugin", "runner", "store"),
    *("store_admin", *(f"_store_{cases}" for cases in _STORE_CASES)),
)

if "pytest" in sys.modules:  # the fakes are of use without it
    # So that an assertion of a suite that fails shows the values that it compares, as one of a test file does.
    sys.modules["pytest"].register_assert_rewrite(*(f"{__name__}.{name}" for name in _SUITES))
