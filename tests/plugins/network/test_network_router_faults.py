"""What is no choice of a router is found out."""

from __future__ import annotations

from typing import Any

import pytest

from kastra_plugin_network.testing import router_faults


@pytest.mark.parametrize(
    ("result", "fault"),
    [
        (5, "it is no object: 5"),
        ({"reason": "", "done": True}, "agent is missing"),
        ({"agent": "z", "reason": "", "done": True}, "agent 'z' is no candidate"),
        ({"agent": "a", "reason": 1, "done": True}, "reason is no text"),
        ({"agent": "a", "reason": "", "done": "yes"}, "done is neither true nor false"),
        ({"agent": "a", "reason": "", "done": True, "scores": {"z": 1}}, "scores.z: no such candidate"),
        ({"agent": "a", "reason": "", "done": True, "scores": {"a": True}}, "scores.a is no number"),
        ({"agent": "a", "reason": "", "done": True, "usage": {"input_tokens": -1}}, "usage is no object of numbers"),
    ],
)
def test_a_result_that_is_no_choice_is_found_out(result: Any, fault: str) -> None:
    assert router_faults(result, ["a"]) == [fault]
