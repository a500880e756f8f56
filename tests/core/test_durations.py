"""Durations as manifests write them."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kastra_core.durations import Duration
from kastra_core.serde import FieldError, structure, unstructure

DAY_S = 86400.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("1.5s", 1.5),
        ("30s", 30),
        ("90s", 90),
        ("2m", 120),
        ("10m", 600),
        ("1h30m", 5400),
        ("12h", 43200),
        ("1d12h", 1.5 * DAY_S),
        ("7d", 7 * DAY_S),
        ("2w", 14 * DAY_S),
        (7, 7),
        (0.25, 0.25),
        (0, 0),
    ],
)
def test_a_duration_is_seconds_or_text_with_units(text: Any, seconds: float) -> None:
    assert Duration.read(text) == seconds


@pytest.mark.parametrize(
    "value", ["", "s", "30", "30 sec", "1x", "-3s", "1 m", "soon", -1, True, None, float("nan"), [1]]
)
def test_what_is_no_duration_is_told_how_one_is_written(value: Any) -> None:
    with pytest.raises(FieldError, match=r"expected seconds \(3600\) or a duration \(500ms, 90s, .*\), found "):
        Duration.read(value)


@given(st.one_of(st.text(max_size=80), st.floats(), st.integers(), st.none(), st.booleans(), st.binary()))
def test_a_duration_is_finite_and_not_negative_or_refused(value: Any) -> None:
    try:
        seconds = Duration.read(value)
    except FieldError:
        return
    assert 0 <= seconds < float("inf")


@given(st.one_of(st.integers(0, 36525 * 86400), st.floats(0, 36525 * DAY_S)))
def test_a_duration_is_read_as_it_is_written(seconds: float) -> None:
    assert Duration.read(Duration(seconds).plain) == seconds


@pytest.mark.parametrize(
    ("seconds", "text"), [(600, "10m"), (90, "1m30s"), (604800, "7d"), (129600, "1d12h"), (0.5, 0.5), (0, 0.0)]
)
def test_a_duration_is_written_as_people_write_it(seconds: float, text: object) -> None:
    assert Duration(seconds).plain == text


@pytest.mark.parametrize("value", ["99999999999999999999d", "9" * 60 + "w", "36526d", 1e300, 10**400, float("inf")])
def test_a_duration_of_more_than_100_years_is_refused(value: Any) -> None:
    with pytest.raises(FieldError, match=r"must be at most 36525d \(100 years\)"):
        Duration.read(value)
    assert Duration.read("36525d") == 36525 * DAY_S


@attrs.frozen(kw_only=True)
class Nap:
    """What a plugin may declare."""

    length: Duration = attrs.field(default=Duration(60))
    pause: Duration | None = None


def test_any_attrs_class_may_have_durations() -> None:
    nap = structure({"length": "1h30m", "pause": 0.5}, Nap)
    assert nap == Nap(length=Duration(5400), pause=Duration(0.5))
    assert isinstance(nap.length, Duration)
    assert unstructure(nap) == {"length": "1h30m", "pause": 0.5}
