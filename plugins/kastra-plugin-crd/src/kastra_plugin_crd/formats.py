"""Formats of strings that Kubernetes checks in objects; a schema may name others, they mean nothing.

Which there are: apiextensions-apiserver, pkg/apiserver/validation/formats.go (1.36). What they take: kube-openapi,
pkg/validation/strfmt, which is generous in places (a duration may be "3 weeks") and strict in others (no empty byte).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from kastra_plugin_crd.patterns import matcher

__all__ = ["FORMATS", "FORMAT_WORDS", "NUMBER_RANGES", "normal_name"]

_MAX_TEXT: Final = 4096
"""Characters of the longest text that an address, a date or a name can be."""


def normal_name(name: str) -> str:
    """The name of a format as Kubernetes looks it up: without dashes.

    >>> normal_name("date-time")
    'datetime'
    """
    return name.replace("-", "")


def _of_pattern(pattern: str, most: int | None = None) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        if most is not None and len(text) > most:
            return False
        found = matcher(pattern)
        assert found is not None
        return found(text)

    return check


_HEX: Final = "[0-9a-fA-F]"
_HOSTNAME: Final = _of_pattern(
    r"^([a-zA-Z0-9\p{S}\p{L}]((-?[a-zA-Z0-9\p{S}\p{L}]{0,62})?)"
    r"|([a-zA-Z0-9\p{S}\p{L}](([a-zA-Z0-9-\p{S}\p{L}]{0,61}[a-zA-Z0-9\p{S}\p{L}])?)(\.)){1,}([a-zA-Z\p{L}]){2,63})$"
)


def _is_hostname(text: str) -> bool:
    size = len(text.encode("utf-8", "replace"))
    return (
        size <= 255 and all(len(part.encode("utf-8", "replace")) <= 63 for part in text.split(".")) and _HOSTNAME(text)
    )


# ----------------------------------------------------------------------------------------------------- addresses


def _is_ipv6_text(text: str) -> bool:
    if "%" in text or not text.isascii():
        return False
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


_OCTETS: Final = _of_pattern(r"^[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+$", _MAX_TEXT)


def _is_dotted(text: str) -> bool:
    """Four numbers up to 255; leading zeros do not matter."""
    return _OCTETS(text) and all(len(octet.lstrip("0")) <= 3 and int(octet) <= 255 for octet in text.split("."))


def _is_ipv4(text: str) -> bool:
    return len(text) <= _MAX_TEXT and (_is_dotted(text) or ("." in text and _is_ipv6_text(text)))


def _is_ipv6(text: str) -> bool:
    return len(text) <= _MAX_TEXT and _is_ipv6_text(text)


def _is_cidr(text: str) -> bool:
    address, slash, bits = text.partition("/")
    if len(text) > _MAX_TEXT or not slash or not (bits.isascii() and bits.isdigit()):
        return False
    most = 32 if _is_dotted(address) else 128 if _is_ipv6_text(address) else -1
    return int(bits) <= most


_MAC: Final = _of_pattern(
    "|".join(
        f"^{_HEX}{{{digits}}}({separator}{_HEX}{{{digits}}}){{{count - 1}}}$"
        for separator, digits in ((":", 2), ("-", 2), (r"\.", 4))
        for count in (6 * 2 // digits, 8 * 2 // digits, 20 * 2 // digits)
    ),
    _MAX_TEXT,
)

# ----------------------------------------------------------------------------------------------- URIs and e-mail

_URI: Final = _of_pattern(
    # An absolute URI or an absolute path, as Go's url.ParseRequestURI reads it.
    r"^[^\x00-\x1f\x7f]+$"
)
_SCHEME: Final = _of_pattern(r"^[a-zA-Z][a-zA-Z0-9+.\-]*:")
_ESCAPES: Final = _of_pattern(rf"^([^%]|%{_HEX}{_HEX})*$")
_USER: Final = _of_pattern(rf"^([A-Za-z0-9\-._:~!$&'()*+,;=@]|%{_HEX}{_HEX})*$")
_HOST: Final = _of_pattern(rf"""^([A-Za-z0-9\-_.~!$&'()*+,;=:\[\]<>"]|[^\x00-\x7f]|%25|%[89a-fA-F]{_HEX})*$""")
_PORT: Final = _of_pattern(r"^(:[0-9]*)?$")


def _is_uri(text: str) -> bool:
    if not _URI(text):
        return False
    if text == "*":
        return True
    rest, has_scheme = text, _SCHEME(text)
    if has_scheme:
        rest = text.partition(":")[2]
    elif text.startswith(":"):
        return False
    rest = rest.partition("?")[0]
    if not rest.startswith("/"):
        return has_scheme
    if has_scheme and rest.startswith("//"):
        authority, slash, path = rest[2:].partition("/")
        return _is_authority(authority) and _ESCAPES(slash + path)
    return _ESCAPES(rest)


def _is_authority(text: str) -> bool:
    user, at, host = text.rpartition("@")
    if at and not _USER(user):
        return False
    if host.startswith("["):
        address, bracket, port = host.rpartition("]")
        address, _, zone = address[1:].partition("%25")
        return bool(bracket) and _PORT(port) and _HOST(address) and _ESCAPES(zone)
    return _HOST(host) and _PORT(host[host.rindex(":") :] if ":" in host else "")


_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\-\x{80}-\x{10FFFF}]+"
_QUOTED: Final = r'"([^"\\\x00-\x08\x0a-\x1f\x7f]|\\[^\x00-\x08\x0a-\x1f\x7f])*"'
_ADDRESS: Final = rf"({_ATOM}(\.{_ATOM})*|{_QUOTED})@({_ATOM}(\.{_ATOM})*|\[[^\[\]\\ ]+\])"
_EMAIL: Final = _of_pattern(
    # One address of RFC 5322, with or without a name in front, as Go's mail.ParseAddress reads it.
    rf"^[ \t]*({_ADDRESS}|((({_ATOM}|\.)+|{_QUOTED})[ \t]*)*<[ \t]*{_ADDRESS}[ \t]*>)[ \t]*$",
    _MAX_TEXT,
)

# -------------------------------------------------------------------------------------------------------- numbers


def _is_isbn10(text: str) -> bool:
    digits = _without_gaps(text)
    if len(digits) != 10 or not _ISBN10(digits):
        return False
    return sum((at + 1) * (10 if digit == "X" else int(digit)) for at, digit in enumerate(digits)) % 11 == 0


def _is_isbn13(text: str) -> bool:
    digits = _without_gaps(text)
    if len(digits) != 13 or not _ISBN13(digits):
        return False
    total = sum((1, 3)[at % 2] * int(digit) for at, digit in enumerate(digits[:12]))
    return int(digits[12]) == (10 - total % 10) % 10


_ISBN10: Final = _of_pattern("^([0-9]{9}X|[0-9]{10})$")
_ISBN13: Final = _of_pattern("^[0-9]{13}$")


def _without_gaps(text: str) -> str:
    return text.translate({ord(char): None for char in "\t\n\f\r -"}) if len(text) <= _MAX_TEXT else ""


_CARD: Final = _of_pattern(
    r"^(?:4[0-9]{12}(?:[0-9]{3})?|5[1-5][0-9]{14}|6(?:011|5[0-9][0-9])[0-9]{12}|3[47][0-9]{13}"
    r"|3(?:0[0-5]|[68][0-9])[0-9]{11}|(?:2131|1800|35[0-9]{3})[0-9]{11})$"
)


def _is_credit_card(text: str) -> bool:
    digits = "".join(char for char in text if char in "0123456789")
    if not _CARD(digits):
        return False
    doubled = (int(digit) * (1 + at % 2) for at, digit in enumerate(reversed(digits)))
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


# ---------------------------------------------------------------------------------------------------------- times

_DATE: Final = _of_pattern("^[0-9]{4}-[0-9]{2}-[0-9]{2}$", 10)
_TIME: Final = _of_pattern(r"^([0-9]{2}):([0-9]{2}):([0-9]{2})(.[0-9]+)?(z|([+-][0-9]{2}:[0-9]{2}))$", _MAX_TEXT)
_DAYS: Final = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def _is_date(text: str) -> bool:
    if not _DATE(text):
        return False
    year, month, day = int(text[:4]), int(text[5:7]), int(text[8:])
    if not 1 <= month <= 12:
        return False
    leap = month == 2 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return 1 <= day <= _DAYS[month - 1] + leap


def _is_date_time(text: str) -> bool:
    if len(text) > _MAX_TEXT:
        return False
    date, *rest = text.lower().split("t")
    return (
        bool(rest)
        and _is_date(date)
        and _TIME(rest[0])
        and rest[0][:2] <= "23"
        and rest[0][3:5] <= "59"
        and rest[0][6:8] <= "59"
    )


_GO_DURATION: Final = _of_pattern(r"^[-+]?(0|(([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|\x{b5}s|\x{3bc}s|ms|s|m|h))+)$")
_AMOUNT: Final = r"([0-9]+)[\t\n\f\r ]*([A-Za-z\x{b5}]+)"
_UNITS: Final = (
    ("ns", "nano"), ("us", "\xb5s", "micro"), ("ms", "milli"), ("s", "sec"), ("m", "min"), ("h", "hr", "hour"),
    ("d", "day"), ("w", "wk", "week"),
)  # fmt: skip
_INT64_DIGITS: Final = 18


def _is_duration(text: str) -> bool:
    """As Go writes them ("1h30m"), or with an amount in words somewhere in it ("3 weeks")."""
    import re2

    try:
        if _GO_DURATION(text):
            return True
        amounts = re2.findall(_AMOUNT, text)
    except UnicodeEncodeError:
        return False
    found = False
    for amount, unit in amounts:
        if len(amount.lstrip("0")) > _INT64_DIGITS:
            return False
        word = unit.lower()
        found = found or any(word in words or word.startswith(words[-1]) for words in _UNITS)
    return found


# ----------------------------------------------------------------------------------------------------------- all

_UUID: Final = "^{0}{{8}}-?{0}{{4}}-?{1}-?{2}-?{0}{{12}}$"
_LABEL: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_UP_TO_255: Final = r"(0|[1-9][0-9]?|1[0-9][0-9]?|2[0-4][0-9]|25[0-5])"
_GAP: Final = r"[\t\n\f\r ]*"


def _uuid(third: str, fourth: str) -> Callable[[str], bool]:
    return _of_pattern(_UUID.format(_HEX, third, fourth), 36)


_ANY: Final = _HEX + "{4}"

FORMATS: Final[Mapping[str, Callable[[str], bool]]] = MappingProxyType(
    {
        "bsonobjectid": _of_pattern(f"^{_HEX}{{24}}$", 24),
        "uri": _is_uri,
        "email": _EMAIL,
        "hostname": _is_hostname,
        "ipv4": _is_ipv4,
        "ipv6": _is_ipv6,
        "cidr": _is_cidr,
        "mac": _MAC,
        "uuid": _uuid(_ANY, _ANY),
        "uuid3": _uuid(f"3{_HEX}{{3}}", _ANY),
        "uuid4": _uuid(f"4{_HEX}{{3}}", f"[89abAB]{_HEX}{{3}}"),
        "uuid5": _uuid(f"5{_HEX}{{3}}", f"[89abAB]{_HEX}{{3}}"),
        "isbn": lambda text: _is_isbn10(text) or _is_isbn13(text),
        "isbn10": _is_isbn10,
        "isbn13": _is_isbn13,
        "creditcard": _is_credit_card,
        "ssn": _of_pattern("^[0-9]{3}[- ][0-9]{2}[- ][0-9]{4}$", 11),
        "hexcolor": _of_pattern(f"^#?({_HEX}{{3}}|{_HEX}{{6}})$", 7),
        "rgbcolor": _of_pattern(
            rf"^rgb\({_GAP}{_UP_TO_255}{_GAP},{_GAP}{_UP_TO_255}{_GAP},{_GAP}{_UP_TO_255}{_GAP}\)$"
        ),
        "byte": _of_pattern("^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{4})$"),
        "password": lambda text: True,
        "date": _is_date,
        "datetime": _is_date_time,
        "duration": _is_duration,
        "k8sshortname": _of_pattern(f"^{_LABEL}$", 63),
        "k8slongname": _of_pattern(rf"^{_LABEL}(\.{_LABEL})*$", 253),
    }
)
"""Normal name of each format -> whether a text has it. The time is linear in the text's length."""

FORMAT_WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "bsonobjectid": "a BSON object ID of 24 hexadecimal digits",
        "uri": 'a URI such as "https://example.com/a" or an absolute path',
        "email": 'an e-mail address such as "a@example.com"',
        "hostname": 'a host name such as "example.com"',
        "ipv4": 'an IPv4 address such as "192.0.2.1"',
        "ipv6": 'an IPv6 address such as "2001:db8::1"',
        "cidr": 'a range of addresses such as "192.0.2.0/24"',
        "mac": 'a MAC address such as "00:00:5e:00:53:01"',
        "uuid": "a UUID",
        "uuid3": "a UUID of version 3",
        "uuid4": "a UUID of version 4",
        "uuid5": "a UUID of version 5",
        "isbn": "an ISBN",
        "isbn10": "an ISBN of ten digits",
        "isbn13": "an ISBN of 13 digits",
        "creditcard": "the number of a credit card",
        "ssn": 'a social security number such as "123-45-6789"',
        "hexcolor": 'a colour such as "#ff8800"',
        "rgbcolor": 'a colour such as "rgb(255,136,0)"',
        "byte": "data in base64",
        "date": 'a date such as "2006-01-02"',
        "datetime": 'a time such as "2006-01-02T15:04:05Z"',
        "duration": 'a duration such as "1h30m"',
        "k8sshortname": "a name of at most 63 lower-case letters, digits and dashes, no dash at its ends",
        "k8slongname": "a name of at most 253 lower-case letters, digits, dashes and dots",
    }
)
"""What a text should have been, for people."""

NUMBER_RANGES: Final[Mapping[tuple[str, str], tuple[float, float]]] = MappingProxyType(
    {
        ("integer", "int32"): (-(2**31), 2**31 - 1),
        ("number", "float"): (-3.4028235677973362e38, 3.4028235677973362e38),
    }
)
"""(type, format) -> the least and the greatest number of it; of float, what still rounds to one of 32 bits."""
