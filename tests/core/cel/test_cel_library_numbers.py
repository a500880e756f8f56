"""Quantities and semantic versions."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kastra_core.cel import BudgetError, CelSyntaxError, Environment, EvaluationError, Meter
from kastra_core.cel.kubernetes.quantities import Quantity, parse_quantity
from kastra_core.cel.kubernetes.semver import parse_semver

_ENVIRONMENT = Environment({})


def value(source: str) -> Any:
    return _ENVIRONMENT.compile(source).evaluate({}, Meter(1_000_000))


@pytest.mark.parametrize(
    "source",
    [
        "quantity('1.5G') == quantity('1500M') && quantity('1Ki') == quantity('1024')",
        "quantity('1e3') == quantity('1k') && quantity('1E3') == quantity('1k') && quantity('1E') == quantity('1e18')",
        "quantity('+1') == quantity('1.000') && quantity('.5') == quantity('500m') && quantity('5.') == quantity('5')",
        "quantity('2000u') == quantity('2m') && quantity('1000n') == quantity('1u')",
        "quantity('1T') == quantity('1e12')",
        "quantity('1P') == quantity('1000T') && quantity('1Pi') == quantity('1024Ti')",
        "quantity('2Ei').sub(1) != quantity('2Ei')",
        "quantity('0.1n') == quantity('1n') && quantity('-0.1n') == quantity('-1n')",
        "quantity('12e-40') == quantity('1n')",
        "quantity('9Ei') == quantity('9223372036854775807') && quantity('-9Ei') == quantity('-9223372036854775807')",
        "quantity('Mi') == quantity('0') && quantity('+') == quantity('0') && !isQuantity('Ei') && !isQuantity('e-10')",
        "isQuantity('1.3Gi') && isQuantity('10000k') && isQuantity('-1') && isQuantity('1e400')",
        "!isQuantity('') && !isQuantity('200K') && !isQuantity('1,3G') && !isQuantity('Three') && !isQuantity('1 ')",
        "!isQuantity('5e') && !isQuantity('1Kii') && !isQuantity('1.2.3') && !isQuantity('0x1')",
        "!isQuantity('1e1.5')",
        "!isQuantity('1e99999999999999999999') && !isQuantity('١')",
        "quantity('50k').asInteger() == 50000 && quantity('1Mi').asInteger() == 1048576",
        "quantity('50k').isInteger() && !quantity('0.5').isInteger() && !quantity('1e30').isInteger()",
        "!quantity('1.5Gi').isInteger() && !quantity('1Ei').isInteger() && !quantity('1.0').isInteger()",
        "quantity('50.703k').asApproximateFloat() == 50703.0 && quantity('1m').asApproximateFloat() == 0.001",
        "sign(quantity('-3')) == -1 && sign(quantity('0')) == 0 && sign(quantity('1n')) == 1",
        "quantity('50k').add(quantity('20k')) == quantity('70k') && quantity('50k').add(20) == quantity('50020')",
        "quantity('50k').sub(quantity('20k')) == quantity('30k') && quantity('50k').sub(-1).asInteger() == 50001",
        "quantity('9223372036854775807').isInteger() == false && quantity('922337203685477580').add(7).isInteger()",
        "quantity('900000000000000000').add(quantity('9000P')).isInteger() == false",
        "quantity('200M').compareTo(quantity('0.2G')) == 0 && quantity('50M').compareTo(quantity('50Mi')) == -1",
        "quantity('150Mi').isGreaterThan(quantity('100Mi')) && quantity('-1').isLessThan(quantity('1m'))",
        "quantity('1e2000000000').isGreaterThan(quantity('1e1999999999'))",
        "quantity('1e2000000000') != quantity('1e1999999999')",
        "[quantity('1000m'), quantity('1')].distinct().size() == 1",
        "type(quantity('1')) == kubernetes.Quantity",
    ],
)
def test_quantities(source: str) -> None:
    assert value(source) is True


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("quantity('200K')", "'200K' is no quantity; write a number with a suffix"),
        ("quantity('0.5').asInteger()", "no integer of 64 bits"),
        ("quantity('1e10000').add(1)", "too far apart"),
        ("semver('1.2')", "needs three numbers"),
        ("semver('v1.2.3')", "the major number is 'v1'"),
        ("semver('1.02.3')", "the minor number is '02'"),
        ("semver('1.2.3-')", "after '-' come letters"),
        ("semver('1.2.3-01')", "the pre-release number is '01'"),
        ("semver('1.2.3+a..b')", "after '\\+' come letters"),
        ("semver('1.2-rc', true)", "needs all three numbers"),
        ("semver('18446744073709551615.0.0').major()", "too big for an integer"),
    ],
)
def test_what_cannot_be_says_why(source: str, words: str) -> None:
    with pytest.raises(EvaluationError, match=words):
        value(source)


def test_sign_is_no_method_as_in_kubernetes() -> None:
    with pytest.raises(CelSyntaxError):
        value("quantity('1').sign()")


@pytest.mark.parametrize("text", ["9" * 5000, "1" * 19 + "e1000000", "0" * 100_000 + "x", "1." + "0" * 100_000])
def test_long_numbers_are_read_or_refused_at_once(text: str) -> None:
    with pytest.raises(EvaluationError):
        parse_quantity(text)


def test_a_long_number_is_a_quantity_all_the_same() -> None:
    assert value(f"isQuantity('{'9' * 5000}')")
    with pytest.raises(BudgetError):
        parse_quantity("9" * 5000)


_SUFFIXES = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18, "e-2": -2, "E5": 5}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_NUMBERS = st.tuples(
    st.sampled_from(["", "-", "+"]),
    st.one_of(st.integers(0, 10**4), st.integers(0, 10**25)),
    st.one_of(st.none(), st.text("0123456789", max_size=12)),
    st.sampled_from([*_SUFFIXES, *_BINARY]),
)


def exact(sign: str, whole: int, fraction: str | None, suffix: str) -> tuple[str, Fraction]:
    """The text, and the value that Kubernetes' rules give it."""
    text = f"{sign}{whole}{'' if fraction is None else f'.{fraction}'}{suffix}"
    value = (
        Fraction(f"{whole}.{fraction or 0}") * Fraction(10) ** _SUFFIXES.get(suffix, 0) * 2 ** _BINARY.get(suffix, 0)
    )
    nano = Fraction(1, 10**9)
    value = -(-value // nano) * nano
    if suffix in _BINARY:
        value = min(value, Fraction(2**63 - 1))
    return text, -value if sign == "-" else value


@given(_NUMBERS, _NUMBERS)
@example(("", 10**18, None, ""), ("", 9, None, "n"))
def test_arithmetic_is_that_of_fractions(first: Any, second: Any) -> None:
    (a_text, a), (b_text, b) = exact(*first), exact(*second)
    x, y = parse_quantity(a_text), parse_quantity(b_text)

    def fraction(quantity: Quantity) -> Fraction:
        return quantity.digits * Fraction(10) ** quantity.exponent

    assert (fraction(x), fraction(y)) == (a, b)
    assert fraction(x.plus(y)) == a + b
    assert x.compare(y) == (a > b) - (a < b)
    assert (x == y) == (a == b)
    assert x != y or hash(x) == hash(y)
    assert x.as_integer() in (None, a)
    assert x.as_float() == pytest.approx(float(a), rel=1e-12)


@pytest.mark.parametrize(
    "source",
    [
        "semver('1.2.3').major() == 1 && semver('1.2.3').minor() == 2 && semver('1.2.3').patch() == 3",
        "isSemver('0.1.0-alpha.1+b.7') && isSemver('1.0.0-a-b') && isSemver('1.0.0-0a') && isSemver('1.0.0+01')",
        "!isSemver('') && !isSemver('v1.0.0') && !isSemver('1.0') && !isSemver('1.0.0-01') && !isSemver('1.0.0-é')",
        "!isSemver('1.0.0-a+') && !isSemver('1.0.0+a+b') && !isSemver('01.0.0') && !isSemver(' 1.0.0')",
        "!isSemver('18446744073709551616.0.0')",
        "isSemver('v1', true) && isSemver('1.0', true) && isSemver('01.00.01', true) && isSemver('v01.2.3-rc.1', true)",
        "!isSemver('v', true) && !isSemver('vv1', true) && !isSemver('1-rc', true) && !isSemver('1.2+b', true)",
        "semver('v01.1', true) == semver('1.1.0') && semver('1.0.0', false) == semver('1.0.0+build')",
        "semver('1.2.3').compareTo(semver('1.2.3')) == 0 && semver('1.10.0').isGreaterThan(semver('1.9.0'))",
        "semver('1.0.0-rc.1').isLessThan(semver('1.0.0')) && semver('1.0.0-2').isLessThan(semver('1.0.0-10'))",
        "semver('1.0.0-10').isLessThan(semver('1.0.0-a')) && semver('1.0.0-a').isLessThan(semver('1.0.0-a.0'))",
        "semver('2.0.0').compareTo(semver('1.0.0')) == 1 && semver('1.0.0-A').compareTo(semver('1.0.0-a')) == -1",
        "[semver('1.0.0'), semver('1.0.0+x')].distinct().size() == 1",
    ],
)
def test_versions(source: str) -> None:
    assert value(source) is True


_IDENTIFIERS = st.from_regex(r"0|[1-9][0-9]{0,3}|[0-9]{0,2}[a-z-][a-z0-9-]{0,3}", fullmatch=True)


@given(st.tuples(*[st.integers(0, 2**64 - 1)] * 3), st.lists(_IDENTIFIERS, max_size=3))
def test_a_version_is_more_than_its_pre_releases_and_less_than_the_next(numbers: Any, pre: list[str]) -> None:
    text = ".".join(map(str, numbers))
    release = parse_semver(text)
    version = parse_semver(f"{text}-{'.'.join(pre)}") if pre else release
    assert (release.major, release.minor, release.patch) == numbers
    assert version.rank <= release.rank
    assert (version == release) == (not pre)
    if pre:
        assert version.rank < parse_semver(f"{text}-{'.'.join(pre)}.0").rank < release.rank
