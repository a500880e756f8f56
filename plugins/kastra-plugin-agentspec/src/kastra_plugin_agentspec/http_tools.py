"""RemoteTool and ApiNode as Tools of type http, where those can make the request; else as functions to be written."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import orjson

from kastra_core.api.meta import JsonObject
from kastra_core.migration import Draft, Node, env_name, is_secret_key
from kastra_plugin_agentspec.components import Component, reference_in
from kastra_plugin_agentspec.maker import Maker, nothing
from kastra_plugin_agentspec.models import secret
from kastra_plugin_agentspec.ports import PLACEHOLDER, Port, object_schema, placeholders

__all__ = ["fill_http"]

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_PARAMETER = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_SINGLE = re.compile(r"\{[A-Za-z_][A-Za-z0-9_-]*\}")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OURS = frozenset(
    {"connection", "content-length", "host", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade"}
)
_FORM = "application/x-www-form-urlencoded"
_REQUEST = ("url", "http_method", "data", "query_params", "headers", "sensitive_headers")
_ANSWER = "what the endpoint answers is passed on as it is"
_FIXED_HOST = "scheme, host and port of a Tool are fixed, so no argument leads elsewhere"


def fill_http(maker: Maker, component: Component, draft: Draft, inputs: Sequence[Port]) -> None:
    """Put a request into a draft of kind Tool."""
    node = component.node
    hindrance = _hindrance(component)
    if hindrance:
        _as_function(maker, component, draft, inputs, hindrance)
    else:
        _as_request(component, draft, inputs)
    outputs = component.field("outputs")
    if not nothing(outputs):
        outputs.dropped(_ANSWER)
    maker.quiet(component, "api_spec_uri", reason="the request is described here in full")
    maker.quiet(component, "url_allow_list", reason=_FIXED_HOST)
    _retries(node["retry_policy"], draft, http=not hindrance)


def _hindrance(component: Component) -> str:
    """Why no http Tool can make the request; "" when one can."""
    node = component.node
    url, method = node["url"].value, node["http_method"].value
    if not isinstance(url, str) or not isinstance(method, str):
        return "url and http_method are no texts"
    if method.upper() not in _METHODS:
        return f"the method {method!r} is none of {', '.join(_METHODS)}"
    try:
        parts = urlsplit(url)
        port_ok = parts.port != 0
    except ValueError:
        return f"{url!r} is no address"
    bad_host = "{" in parts.netloc or "@" in parts.netloc or " " in parts.netloc or not port_ok
    if parts.scheme not in ("http", "https") or not parts.hostname or bad_host:
        return f"the scheme and host of {url!r} are not fixed"
    names = placeholders(url, *(node[part].value for part in _REQUEST[2:]))
    if odd := [name for name in names if not _PARAMETER.fullmatch(name)]:
        return f"the parameter {odd[0]!r} is not of ASCII letters, digits, '_' and '-'"
    for part in ("headers", "query_params", "sensitive_headers"):
        value = node[part].value
        if isinstance(value, Mapping) and placeholders(*value):
            return f"names in {part} hold placeholders"
    headers = node["headers"].value or {}
    if isinstance(headers, Mapping):
        for name in headers:
            if not _TOKEN.fullmatch(name) or name.lower() in _OURS:
                return f"the header {name!r} cannot be set"
    if any(_SINGLE.search(PLACEHOLDER.sub("", text)) for text in _texts([node[part].value for part in _REQUEST])):
        return "its texts hold single braces, which stand for arguments here"
    return _body_hindrance(node["data"].value, method.upper(), headers)


def _body_hindrance(data: Any, method: str, headers: Any) -> str:
    if data in (None, {}, "", []):
        return ""
    if method in ("GET", "HEAD"):
        return f"{method} has no body here"
    if _is_form(headers):
        return "" if _form_of_arguments(data) else "its form has other fields than its arguments"
    if isinstance(data, str) and not isinstance(_parsed(data), (dict, list)):
        return "its body is a text that is no JSON"
    if not isinstance(data, (str, Mapping, list)):
        return "its body is neither an object nor a list"
    return ""


def _is_form(headers: Any) -> bool:
    held = headers if isinstance(headers, Mapping) else {}
    return any(name.lower() == "content-type" and _FORM in str(value) for name, value in held.items())


def _form_of_arguments(data: Any) -> bool:
    """Whether each field is the argument of its own name."""
    if not isinstance(data, Mapping):
        return False
    return all(isinstance(value, str) and PLACEHOLDER.sub(r"\1", value) == key for key, value in data.items())


def _parsed(text: str) -> Any:
    try:
        return orjson.loads(PLACEHOLDER.sub("0", text))
    except orjson.JSONDecodeError:
        return None


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for key, item in value.items() for text in (str(key), *_texts(item))]
    return [text for item in value for text in _texts(item)] if isinstance(value, (list, tuple)) else []


def _single(value: Any) -> Any:
    """A template with ``{name}`` in place of ``{{name}}``."""
    if isinstance(value, str):
        return PLACEHOLDER.sub(r"{\1}", value)
    if isinstance(value, Mapping):
        return {key: _single(item) for key, item in value.items()}
    return [_single(item) for item in value] if isinstance(value, list) else value


def _as_request(component: Component, draft: Draft, inputs: Sequence[Port]) -> None:
    node = component.node
    draft.set("spec.type", "http")
    node["url"].to(draft, "spec.http.url", _single(node["url"].text()).partition("#")[0])
    method = node["http_method"].text().upper()
    node["http_method"].to(draft, "spec.http.method", method)
    query = node["query_params"]
    if not nothing(query):
        for name, item in query.fields():
            if item.value is None:
                item.dropped("null: not sent")
            else:
                scalar = item.value if isinstance(item.value, (str, int, float, bool)) else _compact(item.value)
                item.to(draft, ["spec", "http", "query", name], _single(scalar))
    _headers(component, draft)
    data = node["data"]
    if not nothing(data):
        if _is_form(node["headers"].value):
            data.to(draft, "spec.http.body", "form", reason="the arguments are the fields of the form")
        else:
            body = orjson.loads(_quoted(data.text())) if data.is_text else data.value
            data.to(draft, "spec.http.body", _single(body))
    _schema(component, draft, inputs)


def _quoted(text: str) -> str:
    """JSON with placeholders between its texts, as JSON: what stands outside of quotes becomes a text."""
    return re.sub(r'("(?:[^"\\]|\\.)*")|\{\{\s*(\w+)\s*\}\}', lambda m: m[1] or f'"{{{{{m[2]}}}}}"', text)


def _compact(value: Any) -> str:
    return orjson.dumps(value).decode()


def _headers(component: Component, draft: Draft) -> None:
    node = component.node
    form = _is_form(node["headers"].value)
    if not nothing(node["headers"]):
        for name, item in node["headers"].fields():
            text = item.text() if not (item.is_map or item.is_list) else _compact(item.value)
            path = ["spec", "http", "headers", name]
            if item.value is None:
                item.dropped("null: not sent")
            elif form and name.lower() == "content-type":
                item.to(draft, "spec.http.body", "form")
            elif is_secret_key(name) and not placeholders(text):
                secret(item, draft, path, component.name, name)
            else:
                item.to(draft, path, _single(text))
    sensitive = node["sensitive_headers"]
    if nothing(sensitive):
        return
    wanted = reference_in(sensitive.value)
    if wanted is not None:
        name = env_name(wanted)
        told = f"headers that are not in the file: add each to spec.http.headers as {{valueFrom: {{env: {name}_...}}}}"
        sensitive.manual(told, draft.target("spec.http.headers"))
        return
    for name, item in sensitive.fields():
        secret(item, draft, ["spec", "http", "headers", name], component.name, name)


def _schema(component: Component, draft: Draft, inputs: Sequence[Port]) -> None:
    listed = component.field("inputs")
    if not inputs:
        nothing(listed)
        draft.set("spec.inputSchema", {"type": "object", "properties": {}})
        return
    draft.set("spec.inputSchema", object_schema(inputs))
    if not nothing(listed):
        listed.mapped(draft.target("spec.inputSchema"))


def _as_function(maker: Maker, component: Component, draft: Draft, inputs: Sequence[Port], hindrance: str) -> None:
    node = component.node
    schema: JsonObject = object_schema(inputs)
    draft.set("spec.type", "python")
    draft.set("spec.inputSchema", schema)
    listed = component.field("inputs")
    if not nothing(listed):
        listed.mapped(draft.target("spec.inputSchema"))
    kept = component.kept.get("function")
    if isinstance(kept, str):
        draft.set("spec.python.function", kept)
        return
    method = node["http_method"].value
    stub = maker.report.stubs.add(
        component.name,
        schema=schema,
        description=draft.get("spec.description", ""),
        origin=f"{node.document.file}:{node.line}, a request {method if isinstance(method, str) else ''}".rstrip(),
    )
    draft.set("spec.python.function", stub)
    told = f"{hindrance}: write {stub} in Python, or make it a Tool of type http"
    for part in _REQUEST:
        item = node[part]
        if part == "sensitive_headers":
            for _, one in item.fields():
                maker.report.hide(one.text()) if one.is_text else None
        if not nothing(item):
            item.manual(told, draft.target("spec.python.function"))


def _retries(policy: Node, draft: Draft, *, http: bool) -> None:
    if nothing(policy):
        return
    repeated = http and draft.get("spec.http.method") in ("GET", "HEAD", "PUT", "DELETE")
    names = {"initial_retry_delay": "delay", "max_retry_delay": "maxDelay"}
    for name, item in policy.fields():
        value = item.value
        if name == "max_attempts" and repeated and isinstance(value, int):
            item.to(draft, "spec.retry.attempts", value + 1, reason="the first try counts here")
        elif name in names and repeated and isinstance(value, (int, float)) and not isinstance(value, bool):
            item.to(draft, f"spec.retry.{names[name]}", value)
        elif not repeated:
            item.dropped("a call that may have had an effect is not tried again")
        else:
            item.dropped("a Tool is tried again after failures of the connection and status 408, 425, 429 and 5xx")
