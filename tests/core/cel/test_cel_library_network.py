"""IP addresses, prefixes and URLs."""

from __future__ import annotations

import ipaddress
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kastra_core.cel import Environment, EvaluationError, Meter
from kastra_core.cel.kubernetes.addresses import parse_cidr, parse_ip
from kastra_core.cel.kubernetes.url import parse_url

_ENVIRONMENT = Environment({})


def value(source: str) -> Any:
    return _ENVIRONMENT.compile(source).evaluate({}, Meter(1_000_000))


@pytest.mark.parametrize(
    "source",
    [
        "isIP('127.0.0.1') && isIP('::1') && isIP('2001:DB8::1.2.3.4')",
        "!isIP('01.2.3.4') && !isIP('1.2.3') && !isIP('1.2.3.256') && !isIP('')",
        "!isIP('::ffff:1.2.3.4') && !isIP('fe80::1%eth0') && !isIP('１.2.3.4')",
        "ip('0:0::1') == ip('::1') && ip('127.0.0.1') != ip('127.0.0.2')",
        "string(ip('2001:DB8:0:0::1')) == '2001:db8::1'",
        "ip.isCanonical('2001:db8::1') && !ip.isCanonical('2001:DB8::1') && ip.isCanonical('10.0.0.1')",
        "ip('1.2.3.4').family() == 4 && ip('::').family() == 6",
        "ip('0.0.0.0').isUnspecified() && ip('::').isUnspecified() && !ip('::1').isUnspecified()",
        "ip('127.9.9.9').isLoopback() && ip('::1').isLoopback() && !ip('128.0.0.1').isLoopback()",
        "ip('224.0.0.9').isLinkLocalMulticast() && !ip('224.0.1.1').isLinkLocalMulticast()",
        "ip('ff12::1').isLinkLocalMulticast() && !ip('ff01::1').isLinkLocalMulticast()",
        "ip('169.254.1.1').isLinkLocalUnicast() && ip('febf::1').isLinkLocalUnicast()",
        "ip('192.168.0.1').isGlobalUnicast() && ip('fd00::1').isGlobalUnicast()",
        "!ip('255.255.255.255').isGlobalUnicast() && !ip('239.0.0.1').isGlobalUnicast()",
        "!ip('fe80::1').isGlobalUnicast() && !ip('::').isGlobalUnicast()",
        "type(ip('::1')) == net.IP && type(cidr('::/0')) == net.CIDR",
        "isCIDR('10.0.0.0/8') && isCIDR('10.1.2.3/8') && isCIDR('::1/128') && isCIDR('0.0.0.0/0')",
        "!isCIDR('10.0.0.0') && !isCIDR('10.0.0.0/33') && !isCIDR('10.0.0.0/08') && !isCIDR('10.0.0.0/-1')",
        "!isCIDR('::ffff:1.2.3.4/120') && !isCIDR('fe80::1%a/64') && !isCIDR('10.0.0.0/') && !isCIDR('::/129')",
        "cidr('192.168.0.0/24').containsIP('192.168.0.1')",
        "cidr('192.168.0.0/24').containsIP(ip('192.168.0.1'))",
        "!cidr('0.0.0.0/0').containsIP('::1')",
        "cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16') && !cidr('10.1.0.0/16').containsCIDR('10.0.0.0/8')",
        "cidr('::/0').containsCIDR(cidr('2001:db8::/32')) && !cidr('::/0').containsCIDR(cidr('10.0.0.0/8'))",
        "cidr('192.168.0.1/24').masked() == cidr('192.168.0.0/24') && cidr('10.0.0.1/8') != cidr('10.0.0.0/8')",
        "cidr('192.168.0.1/24').ip() == ip('192.168.0.1') && cidr('::1/64').prefixLength() == 64",
        "string(cidr('2001:DB8:0::/32')) == '2001:db8::/32'",
    ],
)
def test_addresses(source: str) -> None:
    assert value(source) is True


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("ip('1.2.3')", "'1.2.3' is no IP address"),
        ("ip('fe80::1%eth0')", "a zone is not allowed"),
        ("ip('::ffff:1.2.3.4')", "within IPv6 is not allowed; write 1.2.3.4"),
        ("ip.isCanonical('x')", "'x' is no IP address"),
        ("cidr('10.0.0.0')", "write it as in 10.0.0.0/8"),
        ("cidr('10.0.0.0/64')", "the length must be 0 to 32"),
        ("cidr('10.0.0.0/8').containsIP('x')", "'x' is no IP address"),
        ("cidr('10.0.0.0/8').containsCIDR('x')", "'x' is no address with a prefix length"),
        ("url('../x')", "it must begin with a scheme"),
        ("url('')", "it is empty"),
        ("url('http://h/%zz')", "percent-encoded"),
        ("url('http://a:b/')", "':b' after the host is no port"),
        ("url('http://[1.2.3.4]/')", "no IPv6 address"),
        ("url('http://h/\\n')", "control character"),
    ],
)
def test_what_cannot_be_read_says_why(source: str, words: str) -> None:
    with pytest.raises(EvaluationError, match=words):
        value(source)


@pytest.mark.parametrize(
    "source",
    [
        "url('https://User:pass@Example.com:80/p?q=v#f').getScheme() == 'https'",
        "url('HTTPS://Example.com').getScheme() == 'https' && url('/path').getScheme() == ''",
        "url('https://u:p@Example.com:80/p').getHost() == 'Example.com:80'",
        "url('https://[::1]:80/').getHost() == '[::1]:80' && url('https://[::1]:80/').getHostname() == '::1'",
        "url('https://h:80/').getHostname() == 'h' && url('https://h:80/').getPort() == '80'",
        "url('https://h/').getPort() == '' && url('mailto:a@b').getHost() == '' && url('https://h:/').getPort() == ''",
        "url('http://h/with space/ü').getEscapedPath() == '/with%20space/%C3%BC'",
        "url('http://h/a%2fb').getEscapedPath() == '/a%2fb' && url('http://h').getEscapedPath() == ''",
        "url('http://h/?a=1&b=2&b=3').getQuery() == {'a': ['1'], 'b': ['2', '3']}",
        "url('http://h/?a+b=c%20d&e').getQuery() == {'a b': ['c d'], 'e': ['']}",
        "url('http://h/?a=%zz&b;c=1&&d=4').getQuery() == {'d': ['4']}",
        "url('http://h/?').getQuery() == {} && url('http://h/#a?b=c').getQuery() == {}",
        "url('HTTP://h/a%41') == url('http://h/a%41') && url('http://h/a') != url('http://h/b')",
        "url('http://h/a#%66') == url('http://h/a#%66') && url('//h/a').getHost() == 'h'",
        "isURL('/absolute') && isURL('mailto:a@b') && isURL('http:/p') && isURL('*') && isURL('x:?q')",
        "isURL('postgres://h1:1,h2:2/db') && !isURL('http://h1:1,h2:2/db')",
        "isURL('http://[fe80::1%25en0]:8/') && !isURL('http://[fe80::1%en0]/') && !isURL('http://x[::1]/')",
        "!isURL('relative') && !isURL('http://h:8x/') && !isURL(':x') && !isURL('http://[::1/')",
        "!isURL('http://h%41/') && isURL('http://h%C3%BC/') && !isURL('http://a b/') && !isURL('http://u[@h/')",
    ],
)
def test_urls(source: str) -> None:
    assert value(source) is True


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("http://h", "http://h"),
        ("http:/p?", "http:/p?"),
        ("file:///etc", "file:///etc"),
        ("mailto:a@b?x", "mailto:a@b?x"),
        ("//u:p%40@h/a b?q#f r", "//u:p%40@h/a%20b?q#f%20r"),
        ("http://@h/#", "http://@h/"),
        ("*", "*"),
    ],
)
def test_a_url_is_written_again(text: str, written: str) -> None:
    assert str(parse_url(text)) == written


@given(st.one_of(st.ip_addresses(), st.text("0123456789abF:./%", max_size=12)))
def test_addresses_are_those_of_python_without_zones_and_mapped_ones(given_: Any) -> None:
    text = str(given_)
    try:
        expected = ipaddress.ip_address(text)
    except ValueError:
        expected = None
    if expected is not None and (getattr(expected, "ipv4_mapped", None) or getattr(expected, "scope_id", None)):
        expected = None
    if expected is None:
        with pytest.raises(EvaluationError):
            parse_ip(text)
    else:
        assert parse_ip(text).address == expected
        assert parse_ip(str(parse_ip(text))) == parse_ip(text)


@given(st.ip_addresses(), st.integers(0, 128), st.ip_addresses())
def test_prefixes_contain_what_python_says(address: Any, bits: int, other: Any) -> None:
    bits = min(bits, address.max_prefixlen)
    network = ipaddress.ip_network(f"{address}/{bits}", strict=False)
    cidr = parse_cidr(f"{address}/{bits}") if not getattr(address, "ipv4_mapped", None) else None
    if cidr is not None:
        assert str(cidr.masked()) == str(network)
        assert cidr.contains(other) == (other in network)


_PATHS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="?#%"), max_size=10)


@given(st.from_regex(r"[a-z][a-z0-9.]{0,8}", fullmatch=True), st.integers(0, 65535), _PATHS)
def test_parts_of_a_url_are_those_of_python(host: str, port: int, path: str) -> None:
    text = f"https://{host}:{port}/{path}"
    ours, theirs = parse_url(text), urlsplit(text)
    assert (ours.hostname, ours.port) == (theirs.hostname, str(port))
    assert unquote(ours.escaped_path) == f"/{path}"
    assert parse_url(str(ours)) == ours


@given(st.dictionaries(st.text(st.characters(codec="utf-8"), min_size=1, max_size=4), st.text(max_size=4), max_size=3))
def test_a_query_is_decoded(entries: dict[str, str]) -> None:
    entries = {key: item for key, item in entries.items() if item.isprintable()}
    query = "&".join(f"{quote(key, safe='')}={quote(item, safe='')}" for key, item in entries.items())
    assert parse_url(f"/p?{query}").parameters() == {key: [item] for key, item in entries.items()}


def test_megabytes_are_refused_at_once() -> None:
    for parse in (parse_ip, parse_cidr, parse_url):
        with pytest.raises(EvaluationError) as error:
            parse("x" * 1_000_000)
        assert len(str(error.value)) < 300
