"""Rules of a Tool beyond its structure. Pure: nothing is imported by name, nothing is fetched."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

from kastra_core.api.meta import JsonObject, Resource
from kastra_core.errors import Problem
from kastra_core.serde import typed
from kastra_plugin_tool.spec import HttpSpec, ToolSpec
from kastra_plugin_tool.templates import has_double_braces, parameters_in

__all__ = ["declared_schema", "http_parameters", "validate"]

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A header's name, RFC 9110 section 5.1."""
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_OWN_HEADERS = frozenset(
    {"connection", "content-length", "host", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade"}
)
_BODIES = ("json", "form", "none")


def validate(resource: Resource) -> Iterable[Problem]:
    """Yield everything that is wrong with a Tool whose structure is right."""
    spec = typed(resource.spec, ToolSpec)
    for kind, part in (("python", spec.python), ("http", spec.http)):
        if spec.type == kind and part is None:
            need = "python.function ('module:function')" if kind == "python" else "http.url"
            yield Problem(f"type {kind} needs {need}", f"spec.{kind}")
        elif spec.type != kind and part is not None:
            yield Problem(
                f"does not go with type {spec.type}", f"spec.{kind}", hint=f"write type: {kind}, or remove it"
            )
    if spec.timeout_s <= 0:
        yield Problem("must be more than 0", "spec.timeout")
    yield from _retry(spec)
    if spec.python is not None:
        yield from _function(spec.python.function)
    for name, schema in (("inputSchema", spec.input_schema), ("outputSchema", spec.output_schema)):
        if schema is not None:
            yield from _schema(schema, f"spec.{name}")
    if spec.input_schema is not None and spec.input_schema.get("type", "object") != "object":
        yield Problem("arguments are always an object", "spec.inputSchema.type", hint="write type: object")
    if spec.http is not None:
        yield from _http(spec.http, spec.input_schema)


def _retry(spec: ToolSpec) -> Iterator[Problem]:
    if spec.retry is None:
        return
    if spec.retry.attempts < 1:
        yield Problem("must be at least 1 (the first try counts)", "spec.retry.attempts")
    if spec.retry.attempts > 1 and not spec.repeatable:
        yield Problem(
            "a call that may have had an effect is not tried again",
            "spec.retry",
            hint="write idempotent: true if calling it twice is like calling it once",
        )


def _function(text: str) -> Iterator[Problem]:
    path = "spec.python.function"
    module, colon, attribute = text.partition(":")
    if text.endswith((".py", ".js", ".ts")) or "/" in text:
        yield Problem(f"expected module:function, found {text!r}", path, hint="name a module with dots, not a file")
    elif not colon:
        before, dot, last = text.rpartition(".")
        hint = f"did you mean '{before}:{last}'?" if dot else f"write 'my_module:{text}'"
        yield Problem(f"expected module:function, found {text!r}", path, hint=hint)
    elif not all(part.isidentifier() for part in (*module.split("."), *attribute.split("."))):
        yield Problem(f"expected module:function, found {text!r}", path, hint="for example 'my_tools.text:count_words'")
    elif any(part.startswith("_") for part in attribute.split(".")):
        yield Problem(f"{attribute!r} is private to its module", path, hint="name a function without a leading '_'")
    elif len(attribute.split(".")) > 2:
        yield Problem(
            f"{attribute!r} is nested too deeply", path, hint="write 'module:function' or 'module:Class.method'"
        )


def _schema(schema: JsonObject, path: str) -> Iterator[Problem]:
    from kastra_plugin_tool.schemas import schema_fault

    fault = schema_fault(schema)
    if fault is not None:
        below, message = fault
        yield Problem(f"is no valid JSON Schema: {message}", f"{path}.{below}" if below else path)


def http_parameters(http: HttpSpec) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names that the templates of an http tool hold: (those that must have a value, those that may lack one).

    A query value, header or body field that is nothing but its parameter is left out when it has no value.
    """
    must = list(parameters_in(http.url))
    may: list[str] = []
    for value in (*http.query.values(), *http.headers.values()):
        found = parameters_in(value) if isinstance(value, str) else ()
        (may if isinstance(value, str) and found and value == f"{{{found[0]}}}" else must).extend(found)
    if http.body_mode == "template":
        may.extend(parameters_in(http.body))
    needed = tuple(dict.fromkeys(must))
    return needed, tuple(name for name in dict.fromkeys(may) if name not in needed)


def declared_schema(http: HttpSpec) -> JsonObject:
    """The input schema of an http tool that has none: its templates' parameters, as texts."""
    must, may = http_parameters(http)
    schema: JsonObject = {"type": "object", "properties": {name: {"type": "string"} for name in (*must, *may)}}
    if must:
        schema["required"] = list(must)
    schema["additionalProperties"] = False
    return schema


def _http(http: HttpSpec, schema: JsonObject | None) -> Iterator[Problem]:
    yield from _url(http.url)
    yield from _headers(http)
    yield from _body(http)
    templates: dict[str, Any] = {"url": http.url, "headers": dict(http.headers), "query": dict(http.query)}
    if http.body_mode == "template":
        templates["body"] = http.body
    for name, template in templates.items():
        if has_double_braces(template):
            yield Problem("a tool's parameters are written {name}", f"spec.http.{name}", hint="use single braces")
    if schema is None:
        return
    properties = schema.get("properties")
    known = properties if isinstance(properties, dict) else {}
    required = schema.get("required")
    always = set(required) if isinstance(required, list) else set()
    must, may = http_parameters(http)
    for name in (*must, *may):
        if name not in known:
            where = next(part for part, template in templates.items() if name in parameters_in(template))
            yield Problem(f"parameter {name!r} is not declared", f"spec.http.{where}", hint="add it to inputSchema")
    for name in must:
        if name in known and name not in always and not _has_default(known[name]):
            yield Problem(
                f"{name!r} is part of the request, so it must be required or have a default",
                f"spec.inputSchema.properties.{name}",
            )


def _has_default(schema: Any) -> bool:
    return isinstance(schema, dict) and "default" in schema


def _url(url: str) -> Iterator[Problem]:
    path = "spec.http.url"
    try:
        parts = urlsplit(url)
        port_ok = parts.port != 0
    except ValueError as error:
        yield Problem(f"{url!r} is no URL: {error}", path)
        return
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_ok:
        yield Problem(f"expected an http or https URL, found {url!r}", path)
    elif parameters_in(parts.netloc) or "{" in parts.netloc:
        yield Problem("scheme, host and port must be fixed; parameters go into path and query", path)
    elif "@" in parts.netloc:
        yield Problem("a URL in a manifest may hold no password", path, hint="write http.auth.basic")
    elif parts.fragment:
        yield Problem("a fragment ('#') is never sent", path, hint="remove it")
    elif _CONTROL.search(url) or " " in parts.netloc:
        yield Problem("holds a character that no URL may have", path)


def _headers(http: HttpSpec) -> Iterator[Problem]:
    for name, value in http.headers.items():
        path = f"spec.http.headers.{name}"
        if not _TOKEN.fullmatch(name):
            yield Problem(f"{name!r} is no header name", path)
        elif name.lower() in _OWN_HEADERS:
            yield Problem("this header is set by the client", path, hint="remove it")
        if isinstance(value, str) and _CONTROL.search(value):
            yield Problem("a header may hold no line break or control character", path)
    if http.auth is not None:
        if (http.auth.bearer is None) == (http.auth.basic is None):
            yield Problem("needs exactly one of bearer and basic", "spec.http.auth")
        if any(name.lower() == "authorization" for name in http.headers):
            yield Problem("Authorization comes from auth", "spec.http.headers", hint="remove one of the two")


def _body(http: HttpSpec) -> Iterator[Problem]:
    path = "spec.http.body"
    if isinstance(http.body, str) and http.body not in _BODIES:
        hint = "a template is an object or a list: body: {text: '{text}'}"
        yield Problem(f"expected json, form, none or a JSON template, found {http.body!r}", path, hint=hint)
    elif http.method in ("GET", "HEAD") and http.body not in (None, "none"):
        yield Problem(f"{http.method} has no body", path, hint="use method: POST, or query")
