"""URLs read as Go's ``net/url`` reads them (Go 1.26), which is stricter than Python's parser and looser in places."""

from __future__ import annotations

import re
from functools import cache
from typing import ClassVar

import attrs

from kastra_core.cel.kubernetes.addresses import is_ipv6
from kastra_core.cel.types import CelType, opaque
from kastra_core.cel.values import EvaluationError
from kastra_core.errors import shortened

__all__ = ["URL", "URL_TYPE", "check_url", "parse_url"]

URL_TYPE = opaque("kubernetes.URL")

_MOST_QUERY_PARAMETERS = 10_000
"""Of a URL with more, getQuery() is empty."""


def _others(allowed: str) -> re.Pattern[bytes]:
    """Return what finds a character that is neither a letter nor a digit nor in ``allowed``."""
    return re.compile(b"[^A-Za-z0-9" + re.escape(allowed.encode()) + b"]")


# What no part may hold as it is.
_NOT_HOST = _others("-_.~!$&'()*+,;=:[]<>\"")
_NOT_PATH = _others("-_.~$&+,/:;=@")
_NOT_WRITTEN_PATH = _others("-_.~$&+,/:;=@!'()*[]%")
_NOT_FRAGMENT = _others("-_.~$&+,/:;=?@!()*")
_NOT_WRITTEN_FRAGMENT = _others("-_.~$&+,/:;=?@!()*'[]%")
_NOT_USER = _others("-_.~$&+,;=")
_NOT_WRITTEN_USER = _others("-._:~!$&'()*+,;=%@")
_SCHEME = re.compile(b"[A-Za-z][A-Za-z0-9+.-]*")
_CONTROL = re.compile(b"[\x00-\x1f\x7f]")
_CODE = re.compile(b"[0-9A-Fa-f]{2}")


class _Fault(Exception):
    """What is wrong with a URL."""


@attrs.frozen(slots=True, eq=False)
class URL:
    """A URL in parts, decoded; two are equal when they are written the same."""

    cel_type: ClassVar[CelType] = URL_TYPE

    scheme: str
    opaque_part: bytes
    """All that follows a scheme without a slash: of ``mailto:a@b``."""
    user: bytes | None
    """As it is written again, with its "@"; None: there is none."""
    host: bytes
    """With its port, and with brackets around an IPv6 address."""
    path: bytes
    raw_path: bytes
    """The path as it was written, if that differs from how this class would write it."""
    query: bytes
    has_query: bool
    """Whether there is a "?", maybe with nothing after it."""
    fragment: bytes
    raw_fragment: bytes
    omits_host: bool
    """Whether it was written without "//"."""

    @property
    def escaped_path(self) -> str:
        if self.raw_path and not _NOT_WRITTEN_PATH.search(self.raw_path):
            return _text(self.raw_path)
        return "*" if self.path == b"*" else _text(_escaped(self.path, _NOT_PATH))

    @property
    def hostname(self) -> str:
        return self._host_and_port()[0]

    @property
    def port(self) -> str:
        return self._host_and_port()[1]

    def _host_and_port(self) -> tuple[str, str]:
        host, port = self.host, b""
        colon = host.rfind(b":")
        if colon >= 0 and _is_port(host[colon:]):
            host, port = host[:colon], host[colon + 1 :]
        if host.startswith(b"[") and host.endswith(b"]"):
            host = host[1:-1]
        return _text(host), _text(port)

    def parameters(self) -> dict[str, list[str]]:
        """Names and values of the query, decoded; what cannot be decoded is left out."""
        out: dict[str, list[str]] = {}
        if self.query.count(b"&") + 1 > _MOST_QUERY_PARAMETERS:
            return out
        for part in self.query.split(b"&"):
            if not part or b";" in part:
                continue
            name, _, value = part.partition(b"=")
            try:
                key, content = _unescaped(name.replace(b"+", b" ")), _unescaped(value.replace(b"+", b" "))
            except _Fault:
                continue
            out.setdefault(_text(key), []).append(_text(content))
        return out

    def __str__(self) -> str:
        out = f"{self.scheme}:" if self.scheme else ""
        if self.opaque_part:
            out += _text(self.opaque_part)
        else:
            if (self.scheme or self.host or self.user is not None) and not (
                self.omits_host and not self.host and self.user is None
            ):
                if self.host or self.path or self.user is not None:
                    out += "//"
                out += _text(self.user or b"") + _text(_escaped(self.host, _NOT_HOST))
            path = self.escaped_path
            out += path if not path or path.startswith("/") or not self.host else f"/{path}"
        if self.has_query:
            out += f"?{_text(self.query)}"
        if self.fragment:
            raw = self.raw_fragment
            is_raw = raw and not _NOT_WRITTEN_FRAGMENT.search(raw)
            out += f"#{_text(raw if is_raw else _escaped(self.fragment, _NOT_FRAGMENT))}"
        return out

    def __repr__(self) -> str:
        return f"URL({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, URL) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


def check_url(text: str) -> None:
    """Take ``text`` if it is an absolute URL or an absolute path, with or without a query.

    Raises:
        EvaluationError: it is not.
    """
    try:
        _parsed(_bytes(text), b"", in_request=True)
    except _Fault as fault:
        raise EvaluationError(f"{shortened(text, 80)!r} is no URL: {fault}") from None


def parse_url(text: str) -> URL:
    """Return the parts of an absolute URL or an absolute path.

    Raises:
        EvaluationError: ``text`` is neither.
    """
    data = _bytes(text)
    head, mark, fragment = data.partition(b"#")
    try:
        # The whole must be right even with a fragment taken for a part of what is before it, as in Kubernetes.
        url = _parsed(data, b"", in_request=True)
        if not mark and not data.startswith(b"//"):
            return url
        return _parsed(head, fragment, in_request=False)
    except _Fault as fault:
        raise EvaluationError(f"{shortened(text, 80)!r} is no URL: {fault}") from None


def _parsed(url: bytes, fragment: bytes, *, in_request: bool) -> URL:
    """``in_request``: without a scheme, all is a path, even what follows "//"."""
    if _CONTROL.search(url):
        raise _Fault("it has a control character")
    if not url:
        raise _Fault("it is empty")
    scheme, rest = ("", url) if url == b"*" else _split_scheme(url)
    rest, mark, query = rest.partition(b"?")
    user: bytes | None = None
    host, opaque_part, omits_host = b"", b"", False
    if url == b"*":
        pass
    elif not rest.startswith(b"/"):
        if not scheme:
            raise _Fault("it must begin with a scheme, as in https://, or with a slash")
        opaque_part, rest = rest, b""
    elif rest.startswith(b"//") and (scheme or not (in_request or rest.startswith(b"///"))):
        authority, slash, path = rest[2:].partition(b"/")
        rest = slash + path
        user, host = _split_authority(scheme, authority)
    elif scheme:
        omits_host = True
    path = _unescaped(rest)
    content = _unescaped(fragment)
    return URL(
        scheme=scheme,
        opaque_part=opaque_part,
        user=user,
        host=host,
        path=path,
        raw_path=b"" if _escaped(path, _NOT_PATH) == rest else rest,
        query=query,
        has_query=bool(query) or bool(mark),
        fragment=content,
        raw_fragment=b"" if _escaped(content, _NOT_FRAGMENT) == fragment else fragment,
        omits_host=omits_host,
    )


def _split_scheme(url: bytes) -> tuple[str, bytes]:
    head, colon, rest = url.partition(b":")
    if colon and not head:
        raise _Fault("there is no scheme before the colon")
    if not colon or not _SCHEME.fullmatch(head):
        return "", url
    return head.decode().lower(), rest


def _split_authority(scheme: str, authority: bytes) -> tuple[bytes | None, bytes]:
    user, at, host = authority.rpartition(b"@")
    parsed = _parsed_host(scheme, host)
    if not at:
        return None, parsed
    if _NOT_WRITTEN_USER.search(user):
        raise _Fault("the user information before @ has a character that must be percent-encoded")
    name, colon, password = user.partition(b":")
    written = _escaped(_unescaped(name), _NOT_USER) + colon + _escaped(_unescaped(password), _NOT_USER)
    return written + b"@", parsed


def _parsed_host(scheme: str, host: bytes) -> bytes:
    bracket = host.rfind(b"[")
    if bracket > 0:
        raise _Fault("an IPv6 address in brackets must be the whole host")
    if bracket == 0:
        return _parsed_literal(host)
    first, last = host.find(b":"), host.rfind(b":")
    if first >= 0:
        # Lists of hosts with ports, as databases have them, may hold more colons than one.
        port = host[first if scheme in ("http", "https") else last :]
        if not _is_port(port):
            raise _Fault(f"{_text(port)!r} after the host is no port")
    return _unescaped_host(host)


def _parsed_literal(host: bytes) -> bytes:
    close = host.rfind(b"]")
    if close < 0:
        raise _Fault("a ']' is missing after the host")
    port = host[close + 1 :]
    if not _is_port(port):
        raise _Fault(f"{_text(port)!r} after the host is no port")
    name = host[1:close]
    zone = name.find(b"%25")
    if zone >= 0:
        address = _unescaped_host(name[:zone]) + _unescaped_host(name[zone:], in_zone=True)
    else:
        address = _unescaped_host(name)
    if not is_ipv6(_text(address)):
        raise _Fault(f"{_text(address)!r} in brackets is no IPv6 address")
    return b"[" + address + b"]" + port


def _is_port(text: bytes) -> bool:
    return not text or (text[:1] == b":" and (len(text) == 1 or text[1:].isdigit()))


# ------------------------------------------------------------------------------------------------ percent-encoding


def _unescaped_host(text: bytes, *, in_zone: bool = False) -> bytes:
    """Decode a host, in which only what is not ASCII may be encoded, or a zone, which may encode what a host allows."""
    for found in _NOT_HOST.finditer(text):
        if found[0] != b"%":
            if found[0] < b"\x80":
                raise _Fault(f"{_text(found[0])!r} must not be in a host")
            continue
        encoded = text[found.start() : found.start() + 3]
        if not _CODE.fullmatch(encoded, 1):
            raise _bad_escape(encoded)
        value = bytes((int(encoded[1:], 16),))
        allowed = value == b" " or not _NOT_HOST.search(value) if in_zone else value >= b"\x80"
        if encoded != b"%25" and not allowed:
            raise _bad_escape(encoded)
    return _unescaped(text)


def _unescaped(text: bytes) -> bytes:
    head, *parts = text.split(b"%")
    out = [head]
    for part in parts:
        if not _CODE.match(part):
            raise _bad_escape(b"%" + part[:2])
        out += (bytes((int(part[:2], 16),)), part[2:])
    return b"".join(out)


def _bad_escape(text: bytes) -> _Fault:
    return _Fault(f"{_text(text)!r} is no percent-encoded character that may be here")


def _escaped(text: bytes, others: re.Pattern[bytes]) -> bytes:
    return b"".join(map(_codes(others).__getitem__, text)) if others.search(text) else text


@cache  # there are three
def _codes(others: re.Pattern[bytes]) -> list[bytes]:
    """What stands for each byte where ``others`` are percent-encoded."""
    return [others.sub(b"%%%02X" % code, bytes((code,))) for code in range(256)]


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
