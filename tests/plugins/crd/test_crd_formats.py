"""Formats of strings: what they take, and that they take no time."""

from __future__ import annotations

import time

import pytest

from kastra_plugin_crd.formats import FORMAT_WORDS, FORMATS, normal_name

RIGHT = {
    "bsonobjectid": ["0123456789abcdefABCDEF01"],
    "uri": [
        "http://example.com/a?b=c#d",
        "mailto:a@b",
        "/a/b",
        "http://u:p@[::1]:80/",
        "http://例え.jp",
        "*",
        "x:?%zz",
    ],
    "email": ["a@b", "A B. <a.b@c.d>", '"x y"@z', "<a@[127.0.0.1]>", " a@b "],
    "hostname": ["a", "example.com", "1a.example.com", "bücher.example"],
    "ipv4": ["192.0.2.1", "010.000.2.1", "::ffff:192.0.2.1"],
    "ipv6": ["::", "2001:db8::1", "::ffff:192.0.2.1"],
    "cidr": ["192.0.2.0/24", "::/0", "192.0.2.1/032"],
    "mac": ["00:00:5e:00:53:01", "00-00-5E-00-53-01-ab-cd", "0000.5e00.5301"],
    "uuid": ["123e4567-e89b-12d3-a456-426614174000", "123E4567E89B12D3A456426614174000"],
    "uuid3": ["123e4567-e89b-32d3-a456-426614174000"],
    "uuid4": ["123e4567-e89b-42d3-a456-426614174000"],
    "uuid5": ["123e4567-e89b-52d3-b456-426614174000"],
    "isbn": ["0-306-40615-2", "978-0-306-40615-7"],
    "isbn10": ["0306406152", "0 8044 2957 X"],
    "isbn13": ["9780306406157"],
    "creditcard": ["4111 1111 1111 1111", "378282246310005"],
    "ssn": ["123-45-6789", "123 45 6789"],
    "hexcolor": ["#fff", "FF8800"],
    "rgbcolor": ["rgb(0,136, 255)"],
    "byte": ["aGFsbG8=", "YWJj"],
    "password": ["", "x"],
    "date": ["2024-02-29", "0000-01-01"],
    "datetime": ["2006-01-02T15:04:05Z", "2006-01-02t15:04:05.5+09:30"],
    "duration": ["1h30m", "-1.5s", "0", "22 ns", "3 weeks", "1.s", "1µs", "about 2 days or so"],
    "k8sshortname": ["a-1", "a" * 63],
    "k8slongname": ["a.b-c.d", "a" * 253],
}
WRONG = {
    "bsonobjectid": ["0123456789abcdefABCDEF0", "g" * 24],
    "uri": ["", "example.com", "./a", ":a", "http://a b/", "http://a:b/", "/a%zz", "http://[::1/", "a\nb:c"],
    "email": ["", "a", "a@", "@b", "a b@c", "<a@b"],
    "hostname": ["", "a_b", "-a.com", "a.1", "a." + "b" * 64 + ".com", "a." * 200 + "com"],
    "ipv4": ["", "192.0.2", "192.0.2.256", "::1", "1.2.3.4.5", "٤.1.1.1"],
    "ipv6": ["", "192.0.2.1", "fe80::1%eth0", ":::"],
    "cidr": ["192.0.2.1", "192.0.2.0/33", "::/129", "192.0.2.0/-1", "/8"],
    "mac": ["00:00:5e:00:53", "00:00:5e:00:53-01", "x"],
    "uuid": ["123e4567-e89b-12d3-a456-42661417400", ""],
    "uuid3": ["123e4567-e89b-42d3-a456-426614174000"],
    "uuid4": ["123e4567-e89b-42d3-c456-426614174000"],
    "uuid5": ["123e4567-e89b-42d3-a456-426614174000"],
    "isbn": ["0306406153", "", "x"],
    "isbn10": ["0306406153", "9780306406157"],
    "isbn13": ["9780306406158", "0306406152"],
    "creditcard": ["4111111111111112", "", "1234"],
    "ssn": ["123456789", "12-345-6789"],
    "hexcolor": ["#ff", "#ggg", ""],
    "rgbcolor": ["rgb(0,136)", "rgb(256,0,0)", "rgb(01,0,0)"],
    "byte": ["", "a", "aGFsbG8", "a-b_"],
    "date": ["2023-02-29", "2023-13-01", "2023-00-01", "2023-1-1", "2023-04-31", ""],
    "datetime": ["2006-01-02", "2006-01-02T24:00:00Z", "2006-01-02T15:04:60Z", "2006-01-02T15:04:05", "t"],
    "duration": ["", "1", "h", "1 parsec", "99999999999999999999s 1x"],
    "k8sshortname": ["", "A", "a.b", "-a", "a" * 64],
    "k8slongname": ["", "A", "a..b", "a_b", "a" * 254],
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in RIGHT.items() for text in texts])
def test_text_has_the_format(name: str, text: str) -> None:
    assert FORMATS[name](text)


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in WRONG.items() for text in texts])
def test_text_has_not_the_format(name: str, text: str) -> None:
    assert not FORMATS[name](text)


def test_every_format_is_tried_and_has_words() -> None:
    assert FORMATS.keys() == RIGHT.keys() == WRONG.keys() | {"password"} == FORMAT_WORDS.keys() | {"password"}


def test_dashes_do_not_matter_in_names() -> None:
    assert normal_name("k8s-short-name") in FORMATS


@pytest.mark.parametrize(
    "text", ["1" * 10**6, "a." * 500_000, "1 " * 500_000, "A" * 10**6 + "!", "t:" * 500_000, "\ud800"]
)
def test_hostile_text_takes_no_time(text: str) -> None:
    started = time.perf_counter()
    for check in FORMATS.values():
        check(text)
    assert time.perf_counter() - started < 5
