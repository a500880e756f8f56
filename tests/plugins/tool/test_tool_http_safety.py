from __future__ import annotations

import socket
from base64 import b64encode
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from kastra_core.errors import ConfigError, OperationError
from kastra_core.serde import structure
from kastra_plugin_tool.addresses import AddressPolicy
from kastra_plugin_tool.http_client import send
from kastra_plugin_tool.http_request import Redactor, build_request
from kastra_plugin_tool.spec import HttpSpec

SECRET = "s3cret/with?odd&chars"
LOOPBACK = AddressPolicy.of(["127.0.0.1"])


def http(url: str, retry: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    out: dict[str, Any] = {"type": "http", "http": {"url": url, **fields}}
    return {**out, "retry": retry} if retry else out


ONCE = {"attempts": 1}


# ------------------------------------------------------------------------------------------ where it may connect


async def test_loopback_is_refused_unless_the_operator_allows_it(server: Any, project: Any, call: Any) -> None:
    server.say({"secret": 1})
    project.allow_private.clear()
    with pytest.raises(OperationError, match=r"127\.0\.0\.1 is loopback.*tools\.http\.allowPrivate") as caught:
        await call(http(server.url))
    assert caught.value.reason == "NotAllowed"
    assert not caught.value.retryable
    assert server.requests == []


@pytest.mark.parametrize(
    "host", ["localhost", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "[::ffff:127.0.0.1]", "１２７.0.0.1"]
)
async def test_no_spelling_of_loopback_passes(server: Any, project: Any, call: Any, host: str) -> None:
    server.say({"secret": 1})
    project.allow_private.clear()
    with pytest.raises(OperationError):
        await call(http(f"http://{host}:{server.port}/", retry=ONCE))
    assert server.requests == []


class Resolver(aiohttp.abc.AbstractResolver):
    """Answers the same name with one address after the other, as an attacker's name server does."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = list(addresses)
        self.asked = 0

    async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_INET) -> list[Any]:
        address = self.addresses[min(self.asked, len(self.addresses) - 1)]
        self.asked += 1
        return [{"hostname": host, "host": address, "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}]

    async def close(self) -> None:
        return None


async def through(server: Any, resolver: Resolver, policy: AddressPolicy, host: str = "evil.example") -> Any:
    spec = structure({"url": f"http://{host}:{server.port}/start"}, HttpSpec)
    request = build_request(spec, {}, resolve=lambda _: "", idempotency_key="k")
    return await send(request, policy, resolver=resolver)


async def test_a_public_name_with_a_private_address_is_refused(server: Any) -> None:
    server.say({"secret": 1})
    with pytest.raises(OperationError, match=r"evil\.example: 127\.0\.0\.1 is loopback") as caught:
        await through(server, Resolver("127.0.0.1"), AddressPolicy())
    assert caught.value.reason == "NotAllowed"
    assert server.requests == []


async def test_a_name_that_turns_private_between_two_requests_is_refused(server: Any) -> None:
    # The first connection is allowed, the redirect to the same name asks again and gets another address.
    server.say({}, status=302, headers={"Location": f"http://EVIL.example:{server.port}/next", "Connection": "close"})
    resolver = Resolver("127.0.0.1", "127.0.0.2")
    with pytest.raises(OperationError, match=r"127\.0\.0\.2 is loopback"):
        await through(server, resolver, LOOPBACK)
    assert resolver.asked == 2
    assert len(server.requests) == 1


async def test_a_host_that_is_allowed_by_name_may_be_private_but_no_metadata_service(server: Any) -> None:
    server.say({"ok": 1})
    policy = AddressPolicy.of(["Intranet.Example"])
    assert (await through(server, Resolver("127.0.0.1"), policy, "intranet.example")).status == 200
    with pytest.raises(OperationError, match=r"169\.254\.169\.254 is link-local"):
        await through(server, Resolver("169.254.169.254"), policy, "intranet.example")


@pytest.mark.parametrize(
    ("address", "word"),
    [
        ("10.1.2.3", "private"),
        ("172.16.0.1", "private"),
        ("192.168.1.1", "private"),
        ("100.64.0.1", "private"),
        ("0.0.0.0", "unspecified"),
        ("127.8.8.8", "loopback"),
        ("169.254.1.1", "link-local"),
        ("224.0.0.1", "multicast"),
        ("255.255.255.255", "private"),
        ("168.63.129.16", "metadata"),
        ("100.100.100.200", "metadata"),
        ("::1", "loopback"),
        ("::", "unspecified"),
        ("fe80::1%eth0", "link-local"),
        ("fd00:ec2::254", "metadata"),
        ("fc00::1", "private"),
        ("::ffff:10.0.0.1", "private"),
        ("64:ff9b::a00:1", "private"),
        ("2002:7f00:1::", "loopback"),
        ("::7f00:1", "loopback"),
        ("127.1", "no address"),
        ("2130706433", "no address"),
        ("x", "no address"),
    ],
)
def test_addresses_that_are_not_public_are_refused(address: str, word: str) -> None:
    assert word in str(AddressPolicy().refusal(address, "h"))


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.215.14", "2606:4700::1111", "64:ff9b::808:808"])
def test_public_addresses_are_open(address: str) -> None:
    assert AddressPolicy().refusal(address, "h") is None


def test_an_entry_opens_its_network_and_nothing_else() -> None:
    policy = AddressPolicy.of(["10.0.0.0/8", "fd00::1", "::ffff:0:0/96"])
    assert policy.refusal("10.9.9.9", "h") is None
    assert policy.refusal("::ffff:10.9.9.9", "h") is None
    assert policy.refusal("fd00::1", "h") is None
    assert policy.refusal("fd00::2", "h")
    assert policy.refusal("192.168.0.1", "h")
    assert policy.refusal("::ffff:192.168.0.1", "h")
    with pytest.raises(ConfigError, match=r"10\.0\.0\.0/99"):
        AddressPolicy.of(["10.0.0.0/99"])


# ------------------------------------------------------------------------------------------ redirects


async def test_a_redirect_to_a_private_address_is_refused(server: Any, call: Any) -> None:
    server.say({}, status=302, headers={"Location": "http://169.254.169.254/latest/meta-data/"})
    with pytest.raises(OperationError, match=r"169\.254\.169\.254 is link-local") as caught:
        await call(http(server.url))
    assert caught.value.reason == "NotAllowed"


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://example.com/", "javascript:1", "//[::1"])
async def test_a_redirect_to_another_kind_of_address_is_refused(server: Any, call: Any, location: str) -> None:
    server.say({}, status=302, headers={"Location": location})
    with pytest.raises(OperationError) as caught:
        await call(http(server.url))
    assert caught.value.reason == "NotAllowed"


async def test_five_redirects_are_followed_and_no_sixth(server: Any, call: Any) -> None:
    for step in range(5):
        server.say({}, status=307, headers={"Location": f"/step{step}"})
    server.say({"end": True})
    assert await call(http(f"{server.url}/a")) == {"end": True}
    server.answers[:] = []
    server.say({}, status=307, headers={"Location": "/again"})
    server.requests.clear()
    with pytest.raises(OperationError, match="redirected more than 5 times") as caught:
        await call(http(f"{server.url}/a"))
    assert caught.value.reason == "TooManyRedirects"
    assert len(server.requests) == 6


def test_https_is_not_left_for_http() -> None:
    from kastra_plugin_tool.http_client import _follow

    request = build_request(
        structure({"url": "https://x.org"}, HttpSpec), {}, resolve=lambda _: "", idempotency_key="k"
    )
    assert _follow(request, "http://x.org/", "https://x.org/a") == "https://x.org/a"
    with pytest.raises(OperationError, match="from https to http"):
        _follow(request, "https://x.org/", "http://x.org/")


@pytest.mark.parametrize(
    ("status", "method", "body"), [(307, "POST", b'{"a":1}'), (302, "GET", b""), (303, "GET", b"")]
)
async def test_a_redirected_post_keeps_its_body_or_becomes_a_get(
    server: Any, call: Any, status: int, method: str, body: bytes
) -> None:
    server.say({}, status=status, headers={"Location": "/next"})
    server.say({"ok": 1})
    spec = {**http(server.url, method="POST"), "inputSchema": {"properties": {"a": {}}}}
    assert await call(spec, {"a": 1}) == {"ok": 1}
    assert (server.requests[1]["method"], server.requests[1]["body"]) == (method, body)


async def test_another_server_gets_no_secret_by_redirect(
    server: Any, other: Any, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KASTRA_TEST_KEY", SECRET)
    server.say({}, status=307, headers={"Location": f"{other.url}/there"})
    other.say({"ok": 1})
    ref = {"valueFrom": {"env": "KASTRA_TEST_KEY"}}
    spec = http(f"{server.url}/", headers={"X-Key": ref, "X-Plain": "p"}, auth={"bearer": ref})
    assert await call(spec) == {"ok": 1}
    assert server.requests[0]["headers"]["Authorization"] == f"Bearer {SECRET}"
    assert server.requests[0]["headers"]["X-Key"] == SECRET
    assert other.requests[0]["headers"]["X-Plain"] == "p"
    assert SECRET not in str(other.requests[0])


# ------------------------------------------------------------------------------------------ secrets


def secret_spec(url: str, **fields: Any) -> dict[str, Any]:
    ref = {"valueFrom": {"env": "KASTRA_TEST_KEY"}}
    auth = {"basic": {"username": "me", "password": ref}}
    return http(url, headers={"X-Key": ref}, query={"key": ref}, auth=auth, retry=ONCE, **fields)


async def echo(request: web.Request) -> web.Response:
    """What careless servers do: send back what they got."""
    seen = {"url": request.raw_path, "headers": dict(request.headers), "list": [SECRET, {SECRET: 1}]}
    return web.json_response(seen, status=int(request.headers.get("X-Status", "200")), reason=f"was {SECRET}")


async def test_a_secret_that_the_server_sends_back_is_hidden(
    server: Any, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KASTRA_TEST_KEY", SECRET)
    server.answers.append(echo)
    output = await call(secret_spec(server.url))
    assert server.requests[0]["query"] == [("key", SECRET)]
    text = str(output)
    for spelling in (SECRET, "s3cret%2F", "s3cret/", b64encode(f"me:{SECRET}".encode()).decode()):
        assert spelling not in text
    assert output["list"] == ["***", {"***": 1}]
    assert SECRET not in await call(secret_spec(server.url, response="text"))


@pytest.mark.parametrize("status", ["404", "500"])
async def test_an_error_holds_no_secret(server: Any, call: Any, monkeypatch: pytest.MonkeyPatch, status: str) -> None:
    monkeypatch.setenv("KASTRA_TEST_KEY", SECRET)
    server.answers.append(echo)
    spec = secret_spec(server.url)
    spec["http"]["headers"]["X-Status"] = status
    with pytest.raises(OperationError) as caught:
        await call(spec)
    shown = f"{caught.value} {caught.value.details} {caught.value.args}"
    assert f"answered {status} was ***" in shown
    assert "s3cret" not in shown


async def test_a_connection_failure_and_broken_json_hold_no_secret(
    server: Any, project: Any, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KASTRA_TEST_KEY", SECRET)
    server.say(f"<p>{SECRET}")
    with pytest.raises(OperationError, match=r"<p>\*\*\*"):
        await call(secret_spec(server.url))

    async def cut(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    server.answers[:] = [cut]
    with pytest.raises(OperationError) as caught:
        await call(secret_spec(server.url))
    assert caught.value.reason == "ConnectionFailed"
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is not None
    assert "s3cret" not in repr(caught.value.__cause__)


async def test_a_secret_with_a_line_break_is_refused_without_showing_it(
    server: Any, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KASTRA_TEST_KEY", "s3cret\r\nX-Admin: 1")
    server.say({})
    with pytest.raises(OperationError, match="the secret for the header X-Key holds a line break") as caught:
        await call(secret_spec(server.url))
    assert "s3cret" not in str(caught.value)
    assert server.requests == []


async def test_a_secret_that_is_not_set_is_named(server: Any, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KASTRA_TEST_KEY", raising=False)
    server.say({})
    with pytest.raises(OperationError, match="KASTRA_TEST_KEY") as caught:
        await call(secret_spec(server.url))
    assert caught.value.reason == "MissingSecret"
    assert server.requests == []


@given(st.lists(st.text(min_size=4, max_size=12), min_size=1, max_size=3), st.text(max_size=20))
def test_no_secret_survives_redaction(secrets: list[str], around: str) -> None:
    redactor = Redactor(secrets)
    hidden = redactor.text(around + around.join(secrets) + around)
    # What is left may only form a secret anew across a mark.
    assert all(secret not in part for secret in secrets for part in hidden.split("***"))


async def test_proxies_of_the_environment_are_not_used(server: Any, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    server.say({"ok": 1})
    assert await call(http(server.url)) == {"ok": 1}


async def test_a_request_shows_no_secret_when_it_is_printed() -> None:
    spec = structure({"url": "https://x.org", "headers": {"X": {"valueFrom": {"env": "K"}}}}, HttpSpec)
    request = build_request(spec, {}, resolve=lambda _: SECRET, idempotency_key="k")
    assert request.headers["X"] == SECRET
    assert SECRET not in repr(request)
