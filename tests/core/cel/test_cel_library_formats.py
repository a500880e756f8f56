"""Named formats, and regular expressions."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kastra_core.cel import DYN, BudgetError, Environment, EvaluationError, Meter
from kastra_core.cel.kubernetes.formats import FORMATS

_ENVIRONMENT = Environment({})


def value(source: str) -> Any:
    return _ENVIRONMENT.compile(source).evaluate({}, Meter(1_000_000))


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("dns1123Label", ["a", "0-a", "a" * 63], ["", "A", "a.b", "-a", "a-", "ü", "a" * 64, "a\n"]),
        ("dns1123Subdomain", ["a", "a.b-c.0", "a" * 253], ["", "a..b", ".a", "A.b", "a" * 254, "a_b"]),
        ("dns1035Label", ["a", "a-0"], ["0a", "", "a.b", "a-", "a" * 64]),
        (
            "qualifiedName",
            ["A", "a.b_C-0", "example.com/My.name"],
            ["", "/a", "a/", "a/b/c", "A.com/x", "_a", "a" * 64],
        ),
        ("dns1123LabelPrefix", ["a-", "a", "ab-"], ["-", "Ab-", "a.bc-"]),
        ("dns1123SubdomainPrefix", ["a.b-", "a.-"], ["Ab-", "-"]),
        ("dns1035LabelPrefix", ["a-"], ["0-a-", "-"]),
        ("labelValue", ["", "a", "A_b.c-0"], ["-a", "a-", "a" * 64, "a b"]),
        ("uri", ["http://example.com", "/a", "mailto:x"], ["", "a", "http://a b"]),
        ("uuid", ["123e4567-e89b-12d3-a456-426614174000", "123E4567E89B12D3A456426614174000"], ["", "123", "x" * 32]),
        ("byte", ["aGVsbG8=", "YQ==", "YWJj"], ["", "a", "YQ=", "YQ===", "Y===", "Y Q=", "YW-j"]),
        (
            "date",
            ["2021-01-01", "2020-02-29", "0000-02-29"],
            ["2021-02-29", "2021-1-1", "1900-02-29", "2021-13-01", "x"],
        ),
        (
            "datetime",
            ["2021-01-01T00:00:00Z", "2021-01-01t23:59:59.123+01:00", "2021-01-01T00:00:00Ztrailing"],
            [
                "2021-01-01",
                "2021-01-01T24:00:00Z",
                "2021-01-01T00:60:00Z",
                "2021-01-01T00:00:60Z",
                "2021-01-01T00:00:00",
                "",
            ],
        ),
    ],
)
def test_formats(name: str, right: list[str], wrong: list[str]) -> None:
    assert [text for text in right if FORMATS[name].problems(text)] == []
    assert [text for text in wrong if not FORMATS[name].problems(text)] == []


@pytest.mark.parametrize(
    "source",
    [
        "!format.dns1123Label().validate('my-name').hasValue()",
        "format.dns1123Label().validate('a.b').value() == ['it must have no dots']",
        "format.dns1123Label().validate('A' + '" + "a" * 63 + "').value().size() == 2",
        "format.qualifiedName().validate('/').value().size() == 3",
        "format.named('labelValue').value().validate('-').hasValue()",
        "!format.named('labelvalue').hasValue() && format.named('uri').value() == format.uri()",
        "format.uri() != format.uuid() && type(format.uri()) == kubernetes.NamedFormat",
        "format.dns1035Label().validate('0').value().join('; ').contains(\"as in 'my-name'\")",
    ],
)
def test_formats_in_expressions(source: str) -> None:
    assert value(source) is True


def test_every_format_has_a_function_and_a_name() -> None:
    for name in FORMATS:
        assert value(f"format.{name}() == format.named('{name}').value()")


_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


@given(st.text("aZ0-.", max_size=6))
def test_names_are_those_of_the_regular_expressions(text: str) -> None:
    parts = text.split(".")
    assert (not FORMATS["dns1123Subdomain"].problems(text)) == all(map(_LABEL.fullmatch, parts))
    assert (not FORMATS["dns1123Label"].problems(text)) == bool(_LABEL.fullmatch(text))


@pytest.mark.parametrize(
    "source",
    [
        "'abc 123'.find('[0-9]+') == '123'",
        "'abc'.find('x') == '' && 'abc'.find('') == ''",
        "'123 abc 456'.findAll('[0-9]+') == ['123', '456']",
        "'1 2 3'.findAll('[0-9]', 2) == ['1', '2'] && '1'.findAll('1', 0) == [] && '11'.findAll('1', -1).size() == 2",
        "'baac'.findAll('a*') == ['', 'aa', '']",
        "'äöü'.findAll('') == ['', '', '', '']",
        "'äöü'.findAll('[^ö]') == ['ä', 'ü']",
        "'foo barfoo'.findAll('\\\\bfoo') == ['foo']",
        "'ab\\ncd'.findAll('(?m)^.') == ['a', 'c']",
        "'K'.find('(?i)k') == 'K' && 'x\\\\Cy'.find('\\\\Q\\\\C\\\\E') == '\\\\C'",
    ],
)
def test_regular_expressions(source: str) -> None:
    assert value(source) is True


@pytest.mark.parametrize("pattern", ["(", "a{1001}", "((a{999}){999}){999}", "(?=a)", "\\C", "a\\C", "\\Z", "*"])
def test_a_pattern_that_go_refuses_is_refused(pattern: str) -> None:
    program = Environment({"p": DYN}).compile("'a'.find(p) + 'a'.findAll(p)[0]")
    with pytest.raises(EvaluationError, match="is no regular expression"):
        program.evaluate({"p": pattern}, Meter(1_000_000))


def test_a_search_is_charged_by_text_and_pattern() -> None:
    program = Environment({"x": DYN}).compile("x.find('(a|aa)+$')")
    meter = Meter(1_000_000)
    assert program.evaluate({"x": "a" * 1000 + "b"}, meter) == ""
    assert 200 < 1_000_000 - meter.left < 1000
    with pytest.raises(BudgetError):
        program.evaluate({"x": "a" * 100_000 + "b"}, Meter(10_000))


def test_a_pattern_is_charged_when_it_is_compiled_and_free_when_it_is_kept() -> None:
    program = Environment({"p": DYN}).compile("'a'.find(p)")
    spent = []
    for _ in range(2):
        meter = Meter(1_000_000)
        program.evaluate({"p": "(b{100}){10}"}, meter)
        spent.append(1_000_000 - meter.left)
    assert spent[0] > spent[1] + 200


def test_every_try_of_a_pattern_that_is_too_big_is_charged() -> None:
    program = Environment({"p": DYN}).compile("[0, 1].map(i, 'a'.find(p) == '' || true)")
    meter = Meter(1_000_000)
    program.evaluate({"p": "((\\pL|\\pN){100}){10}"}, meter)
    assert 1_000_000 - meter.left > 100_000


@given(st.text("ab\n", max_size=8), st.sampled_from(["a", "a|b", "ab", "[^a]", "(?s).", "^a", "b$", "a{2}"]))
def test_matches_are_those_of_python(text: str, pattern: str) -> None:
    # Where the two agree: "$" is the end of the text in RE2.
    found = Environment({"x": DYN}).compile(f"x.findAll('{pattern}')").evaluate({"x": text}, Meter(10_000))
    assert found == [match[0] for match in re.finditer(pattern.replace("$", r"\Z"), text)]
