"""What a RetentionPolicy may say, and what is told of one that is wrong."""

from __future__ import annotations

import pytest

from kastra_core.api.kind import ResourceKind
from kastra_core.api.registry import KindRegistry
from kastra_core.decoding import decode
from kastra_core.errors import ValidationError
from kastra_core.plugins import PluginManager
from kastra_core.serde import structure
from kastra_plugin_retention.conformance import FULL, manifest
from kastra_plugin_retention.spec import RetentionPolicySpec

DAY_S = 86400.0


def kind_of_policies() -> ResourceKind:
    kinds: list[ResourceKind] = [record for _, record in PluginManager().records("kastra_resource_kinds")]
    return next(kind for kind in kinds if kind.kind == "RetentionPolicy")


@pytest.mark.parametrize(
    ("word", "who"), [("runs", "waits for it"), ("events", "looks for it"), ("threads", "writes to it")]
)
@pytest.mark.parametrize("rule", [{"ttl": 0}, {"maxCount": 0}], ids=["ttl", "maxCount"])
def test_a_rule_that_keeps_nothing_is_refused_with_the_reason(word: str, who: str, rule: dict[str, int]) -> None:
    registry = KindRegistry()
    registry.register(kind_of_policies())
    with pytest.raises(ValidationError, match=rf"just .* may still be read by whoever {who}"):
        decode(registry, manifest({word: [rule] if word == "runs" else rule}))


def test_durations_of_a_spec_are_seconds() -> None:
    spec = structure(FULL, RetentionPolicySpec)
    assert (spec.interval_s, spec.runs[1].ttl_s) == (600.0, 30 * DAY_S)


def test_an_empty_policy_is_told_what_to_write() -> None:
    registry = KindRegistry()
    registry.register(kind_of_policies())
    with pytest.raises(ValidationError, match=r"says nothing about what goes; write runs, events or threads"):
        decode(registry, manifest({}))


def test_a_misspelt_field_is_told_its_name() -> None:
    registry = KindRegistry()
    registry.register(kind_of_policies())
    with pytest.raises(ValidationError, match=r"spec\.runs\[0\]\.maxCuont.*did you mean 'maxCount'"):
        decode(registry, manifest({"runs": [{"maxCuont": 5}]}))
