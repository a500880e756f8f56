"""Patterns mean the same in both engines, or are left to RE2."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kastra_plugin_crd.patterns import is_pattern, matcher, pattern_size, rust_pattern

DECLINED = [
    r"\bword\b",
    r"(?i)abc",
    r"\p{L}+",
    r"[[:^alpha:]]",
    r"a{,3}",
    r"\xe4",
    r"[a-[:digit:]]",
    r"\Qa.b\E",
    "ä",
    r"\pN",
    r"[\w-z]",
]
WRITTEN = [
    r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
    r"^(\*\.)?[a-z]+\/[A-Za-z0-9\/\-._~%!$&'()*+,;=:]+$",
    r"^\d{1,3}(\.\d+)?\s*[^\s\d]$",
    r"^[^\]\[&~-]*[]a^]$",
    r"a&&b~~c--#",
    r"]}",
    r"^[^[:space:]@]+[[:alpha:]x-z]\x40[\x00-\x1f]$",
    r"^((b|sp)(,b|,sp)*)?$",
]


@pytest.mark.parametrize("pattern", DECLINED)
def test_what_may_differ_is_left_to_re2(pattern: str) -> None:
    assert rust_pattern(pattern) is None


@pytest.mark.parametrize("pattern", WRITTEN)
def test_what_is_the_same_is_written_for_the_other_engine(pattern: str) -> None:
    assert rust_pattern(pattern) is not None


@pytest.mark.parametrize("pattern", ["(", "a**", "[z-a]", r"\k", "a{2000}", "(?=a)", r"(a)\1"])
def test_what_go_does_not_take_is_no_pattern(pattern: str) -> None:
    assert not is_pattern(pattern)


def test_pattern_is_found_anywhere() -> None:
    found = matcher("b+")
    assert found is not None
    assert found("abc")
    assert not found("ac")


def test_size_of_a_pattern() -> None:
    assert pattern_size("(") == 0
    assert 0 < pattern_size("^a$") < 20
    assert pattern_size("^.{0,1000}$") > 5000


def test_huge_pattern_finds_nothing_in_a_huge_text() -> None:
    """It would take minutes."""
    found = matcher(r"(a|b)*a\w{900}c|.{1000}x")
    assert found is not None
    assert found("a" * 1000 + "c")
    assert not found("a" * 1_000_000 + "c")


PIECES = st.sampled_from(
    [
        *("a", "b", "^", "$", ".", "[a-c]", "[^a]", r"\d", r"\D", r"\w", r"\W", r"\s", r"\S", "(a|b)", "(?:ab)", "[]]"),
        *("[^]a]", "[a-]", "[-a]", r"[\d.]", r"[\s]", "[&&]", "[a~~b]", "[a--b]", "[[]", r"\.", r"\/", r"\-", "-", "&"),
        *("#", "\n", " ", r"\n", r"\t", "]", "}", "{2}", "{1,2}", "{0,}", "*", "+", "?", "*?", "(", ")", "|", "["),
        *(r"\x41", r"[\x20-\x2e]", "[^[:space:]]", "[[:digit:]a]", "[:alpha:]", r"\x", "[[:alpha:"),
        *(r"[\w]", r"[\\]", r"\\", "<", ","),
    ]
)
TEXTS = st.text(st.sampled_from("ab.-/&~[]^\\ \n\t0c}{#<_,Aä٣\u2003K"), max_size=6)


@settings(max_examples=300, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(PIECES, min_size=1, max_size=6), st.lists(TEXTS, min_size=1, max_size=6))
def test_both_engines_agree(pieces: list[str], texts: list[str]) -> None:
    pattern = "".join(pieces)
    found = matcher(pattern)
    written = rust_pattern(pattern)
    if found is None or written is None:
        return
    schema: dict[str, Any] = {"pattern": written}
    other = jsonschema_rs.Draft202012Validator(schema, pattern_options=jsonschema_rs.RegexOptions())
    for text in texts:
        assert other.is_valid(text) == found(text), (pattern, written, text)
