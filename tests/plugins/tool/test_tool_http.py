from __future__ import annotations

import asyncio
import gzip
import socket
from email.utils import formatdate
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from kastra_core.errors import OperationError
from kastra_core.serde import structure
from kastra_plugin_tool.addresses import AddressPolicy
from kastra_plugin_tool.http_client import MAX_RESPONSE_BYTES
from kastra_plugin_tool.http_request import build_request
from kastra_plugin_tool.http_tool import call_http, retry_after_s
from kastra_plugin_tool.policy import ToolPolicy
from kastra_plugin_tool.spec import HttpSpec, RetrySpec

SECRET = "s3cret/with?odd&chars"
LOOPBACK = AddressPolicy.of(["127.0.0.1"])


def http(url: str, retry: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    out: dict[str, Any] = {"type": "http", "http": {"url": url, **fields}}
    return {**out, "retry": retry} if retry else out


ONCE = {"attempts": 1}


# ------------------------------------------------------------------------------------------ the request


async def test_arguments_go_where_the_templates_say(server: Any, call: Any) -> None:
    server.say({"ok": True})
    spec = http(
        f"{server.url}/cities/{{city}}/x?fixed=1&lang={{lang}}",
        query={"units": "metric", "days": 3, "on": True, "gone": "{gone}", "tags": "{tags}"},
        headers={"X-Who": "{who}"},
    )
    spec["inputSchema"] = {
        "properties": {n: {} for n in ("city", "lang", "gone", "tags", "who")},
        "required": ["city", "lang"],
    }
    arguments = {"city": "São Paulo/ü", "lang": "a&b=c", "tags": ["x", "y z"], "who": "me"}
    assert await call(spec, arguments) == {"ok": True}
    (seen,) = server.requests
    assert seen["target"].startswith("/cities/S%C3%A3o%20Paulo%2F%C3%BC/x?")
    assert seen["query"] == [
        ("fixed", "1"),
        ("lang", "a&b=c"),
        ("units", "metric"),
        ("days", "3"),
        ("on", "true"),
        ("tags", "x"),
        ("tags", "y z"),
    ]
    assert seen["headers"]["X-Who"] == "me"
    assert "Idempotency-Key" not in seen["headers"]


async def test_what_no_template_names_is_the_query_of_a_get(server: Any, call: Any) -> None:
    server.say({})
    spec = http(f"{server.url}/{{a}}")
    spec["inputSchema"] = {"properties": {"a": {}, "b": {}, "c": {}}, "required": ["a"]}
    await call(spec, {"a": 1, "b": "x y", "c": None})
    assert server.requests[0]["target"] == "/1?b=x%20y"


@pytest.mark.parametrize(
    ("body", "sent", "kind"),
    [
        (None, b'{"n":1,"t":"x"}', "application/json"),
        ("form", b"n=1&t=x", "application/x-www-form-urlencoded"),
        ({"wrap": {"t": "{t}", "text": "n={n}"}}, b'{"wrap":{"t":"x","text":"n=1"}}', "application/json"),
        ("none", b"", None),
    ],
)
async def test_the_body_is_json_form_or_template(server: Any, call: Any, body: Any, sent: bytes, kind: Any) -> None:
    server.say({"id": 1}, status=201)
    spec = http(f"{server.url}/things", method="POST", **({} if body is None else {"body": body}))
    spec["inputSchema"] = {"properties": {"n": {"type": "integer"}, "t": {"type": "string"}}}
    assert await call(spec, {"n": 1, "t": "x"}) == {"id": 1}
    assert server.requests[0]["body"] == sent
    if kind:
        assert server.requests[0]["headers"]["Content-Type"] == kind
    assert server.requests[0]["headers"]["Idempotency-Key"] == "key-1"


@pytest.mark.parametrize("value", ["..", ".", ""])
async def test_a_value_cannot_climb_out_of_its_path(server: Any, call: Any, value: str) -> None:
    server.say({})
    with pytest.raises(OperationError, match="cannot be a part of the path") as caught:
        await call(http(f"{server.url}/files/{{name}}/meta"), {"name": value})
    assert caught.value.reason == "InvalidArguments"
    assert server.requests == []


@given(st.text(min_size=1).filter(lambda text: text not in (".", "..")))
def test_any_text_stays_one_segment_and_one_query_value(text: str) -> None:
    from urllib.parse import parse_qsl, unquote, urlsplit

    spec = structure({"url": "https://x.org/a/{v}/b?q={v}"}, HttpSpec)
    url = build_request(spec, {"v": text, "w": text}, resolve=lambda _: "", idempotency_key="k").url
    parts = urlsplit(url)
    assert parts.netloc == "x.org"
    assert url.isascii()
    assert [unquote(part) for part in parts.path.split("/")] == ["", "a", text, "b"]
    assert parse_qsl(parts.query, keep_blank_values=True) == [("q", text), ("w", text)]


async def test_a_header_value_cannot_start_another_header(server: Any, call: Any) -> None:
    server.say({})
    spec = http(f"{server.url}/", headers={"X-Who": "{who}"})
    with pytest.raises(OperationError, match="who: a value for the header X-Who may hold no line break") as caught:
        await call(spec, {"who": "me\r\nX-Admin: 1"})
    assert caught.value.reason == "InvalidArguments"
    assert server.requests == []


async def test_arguments_are_checked_before_anything_is_sent(server: Any, call: Any) -> None:
    server.say({})
    with pytest.raises(OperationError, match=r"(?=.*city: is required)(?=.*unknown: 'town')"):
        await call(http(f"{server.url}/{{city}}"), {"town": "x"})
    assert server.requests == []


# ------------------------------------------------------------------------------------------ the answer


async def test_text_is_decoded_by_its_charset(server: Any, call: Any) -> None:
    server.say("grüße".encode("latin-1"), headers={"Content-Type": "text/plain; charset=latin-1"})
    assert await call(http(server.url, response="text")) == "grüße"


async def test_an_empty_answer_is_null(server: Any, call: Any) -> None:
    server.say(b"", status=204)
    assert await call(http(server.url, method="DELETE")) is None


async def test_what_is_not_json_is_told_with_its_beginning(server: Any, call: Any) -> None:
    server.say("<html>hello", content_type="text/html")
    with pytest.raises(OperationError) as caught:
        await call(http(server.url))
    assert caught.value.reason == "BadResponse"
    for words in ("answered 200 (text/html), which is not JSON", "'<html>hello'", "http.response: text"):
        assert words in str(caught.value)


async def test_another_status_than_2xx_is_an_error_with_the_body_cut_to_size(server: Any, call: Any) -> None:
    server.say("no such city " + "x" * 5000, status=404)
    with pytest.raises(
        OperationError, match=r"GET http://127.0.0.1:\d+/\{city\} answered 404 Not Found: no such"
    ) as caught:
        await call(http(f"{server.url}/{{city}}"), {"city": "Atlantis"})
    assert caught.value.reason == "HttpError"
    assert not caught.value.retryable
    assert caught.value.details["status"] == 404
    assert len(str(caught.value)) < 1300
    assert len(server.requests) == 1


@pytest.mark.parametrize("packed", [False, True])
async def test_an_answer_that_is_too_long_is_refused(server: Any, call: Any, packed: bool) -> None:
    body = b" " * (MAX_RESPONSE_BYTES + 1)
    if packed:
        server.say(gzip.compress(body), headers={"Content-Encoding": "gzip"})
    else:
        server.say(body)
    with pytest.raises(OperationError, match=f"more than {MAX_RESPONSE_BYTES} bytes") as caught:
        await call(http(server.url))
    assert caught.value.reason == "ResponseTooLarge"


async def test_a_server_that_does_not_answer_is_a_timeout(server: Any, call: Any) -> None:
    release = asyncio.Event()

    async def wait(_: web.Request) -> web.Response:
        await release.wait()
        return web.Response()

    server.answers.append(wait)
    with pytest.raises(OperationError, match=r"did not answer within 0\.1 s") as caught:
        await call({**http(server.url), "timeout": "100ms"})
    release.set()
    assert caught.value.reason == "Timeout"
    assert caught.value.retryable


async def test_a_server_that_is_not_there_is_a_connection_failure(project: Any, call: Any) -> None:
    project.allow_private.append("127.0.0.1")
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets the port
        with pytest.raises(OperationError, match=r"127\.0\.0\.1 could not be reached or broke off") as caught:
            await call(http(f"http://127.0.0.1:{held.getsockname()[1]}/", retry={"attempts": 2, "delay": "1ms"}))
    assert caught.value.reason == "ConnectionFailed"
    assert caught.value.retryable


# ------------------------------------------------------------------------------------------ retries


async def retried(server: Any, spec: dict[str, Any], **tries: Any) -> tuple[Any, list[float]]:
    """The output of a call, and the waits between its tries."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    loop = asyncio.get_running_loop()
    output = await call_http(
        structure(spec["http"], HttpSpec),
        {},
        ToolPolicy(addresses=LOOPBACK),
        RetrySpec(**tries),
        idempotency_key="k",
        deadline_s=loop.time() + 30,
        sleep=sleep,
    )
    return output, waits


async def test_the_wait_that_the_server_asks_for_is_kept(server: Any) -> None:
    server.say({}, status=429, headers={"Retry-After": "7"})
    server.say({}, status=503, headers={"Retry-After": formatdate(0, usegmt=True)})
    server.say({"ok": 1})
    assert await retried(server, http(server.url)) == ({"ok": 1}, [7.0, 0.0])


async def test_waits_double_up_to_their_limit(server: Any) -> None:
    for _ in range(4):
        server.say({}, status=500)
    server.say({"ok": 1})
    _, waits = await retried(server, http(server.url), attempts=5)
    for wait, ceiling in zip(waits, (0.5, 1, 2, 4)):
        assert ceiling / 2 <= wait <= ceiling


async def test_a_wait_that_goes_past_the_timeout_is_not_begun(server: Any, call: Any) -> None:
    server.say({}, status=429, headers={"Retry-After": "3600"})
    with pytest.raises(OperationError, match="answered 429") as caught:
        await call(http(server.url))
    assert caught.value.retryable
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("fields", "idempotent", "tries"),
    [
        ({}, None, 3),
        ({"method": "PUT"}, None, 3),
        ({"method": "POST"}, None, 1),
        ({"method": "POST"}, True, 3),
        ({}, False, 1),
    ],
)
async def test_only_what_may_be_repeated_is_tried_again(
    server: Any, call: Any, monkeypatch: pytest.MonkeyPatch, fields: Any, idempotent: Any, tries: int
) -> None:
    server.say({}, status=503, headers={"Retry-After": "0"})
    spec = http(server.url, **fields)
    if idempotent is not None:
        spec["idempotent"] = idempotent
    with pytest.raises(OperationError, match="answered 503"):
        await call(spec)
    assert len(server.requests) == tries
    assert len({request["headers"].get("Idempotency-Key") for request in server.requests}) == 1


@pytest.mark.parametrize(("header", "seconds"), [("12", 12.0), ("", None), ("soon", None), ("-3", None), ("1.5", None)])
def test_retry_after_is_seconds_or_a_date(header: str, seconds: float | None) -> None:
    assert retry_after_s(header) == seconds
    assert retry_after_s("Thu, 01 Jan 1970 00:01:00 GMT", now_s=lambda: 20.0) == 40.0
