"""Toolsets of type api, as Tools of type http."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from kastra_core.migration import Draft, Node, env_name, env_reference, is_secret_key, looks_like_token
from kastra_plugin_docker_agent.kit import Kit
from kastra_plugin_docker_agent.rows import dropped, manual, mapped
from kastra_plugin_docker_agent.schemas import arguments_schema, mended

__all__ = ["fill_http", "why_not_http"]

_EXPRESSION = re.compile(r"\$\{([^}]*)\}")
_ANYWHERE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_-]*)\}")
_ONE = re.compile(r"\{[A-Za-z_][A-Za-z0-9_-]*\}")
_PARAMETER = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_OWN_HEADERS = ("connection", "content-length", "host", "te", "transfer-encoding", "upgrade")


def why_not_http(config: Node) -> str:
    """Why a Tool of type http cannot do what an api toolset does; "" when it can."""
    endpoint, method = config["endpoint"].text(), config["method"].text().upper()
    try:
        parts = urlsplit(endpoint)
        known = parts.port != 0
    except ValueError as error:
        return f"{endpoint!r} is no address: {error}"
    if parts.scheme not in ("http", "https") or not parts.hostname or not known:
        return f"{endpoint!r} is no http or https address"
    if "$" in parts.netloc or "{" in parts.netloc or "@" in parts.netloc:
        return "scheme, host and port of an http Tool are fixed and hold no password"
    if re.search(r"(?<!\$)\{", endpoint):
        return "braces in an address stand for arguments in an http Tool"
    if method and method not in _METHODS:
        return f"the method {method} is not one of {', '.join(_METHODS)}"
    arguments = config["args"].mapping()
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    for expression in _EXPRESSION.findall(endpoint):
        if expression.strip() in arguments and _PARAMETER.fullmatch(expression.strip()):
            if method not in ("", "GET"):
                return f"docker-agent puts no arguments into the address of a {method}"
        elif not env_reference(f"${{{expression}}}") or f"${{{expression}}}" not in [value for _, value in pairs]:
            return f"the expression ${{{expression}}} in the address has no counterpart"
        elif len({name for name, _ in pairs}) < len(pairs):
            return "a query with a variable has a name twice"
    return ""


def fill_http(kit: Kit, draft: Draft, config: Node, timeout: Node) -> None:
    """Write the Tool and the rows of ``api_config``."""
    method = config["method"].text().upper() or "GET"
    config["instruction"].to(draft, "spec.description")
    arguments = config["args"].mapping()
    schema = draft.spec["inputSchema"] = arguments_schema(arguments, config["required"].list())
    needed = _address(draft, config["endpoint"], arguments)
    config["method"].to(draft, "spec.http.method", method)
    inside = _words(config["endpoint"].text())
    for name, argument in config["args"].fields():
        told = ""
        if name in needed:
            told = "required, as it is part of the address"
        elif name not in inside and method not in ("POST", "PUT", "PATCH"):
            told = "not part of the address: docker-agent sends it nowhere, an http Tool as a query parameter"
        mapped(argument, draft.target(f"spec.inputSchema.properties.{name}"), told)
    required = list(dict.fromkeys([*schema.get("required", []), *(name for name in arguments if name in needed)]))
    if required:
        schema["required"] = required
    for item in config["required"].items():
        if item.text() in needed:
            dropped(item, "part of the address, so it is required anyway")
        elif item.text() in arguments:
            mapped(item, draft.target("spec.inputSchema.required"))
        else:
            dropped(item, "there is no such argument")
    for name, header in config["headers"].fields():
        _header(kit, draft, name, header)
    output = config["output_schema"]
    if output.mapping():
        output.to(draft, "spec.outputSchema", mended(output.mapping()), reason="every answer is checked against it")
    else:
        draft.set("spec.http.response", "text")
    if timeout:
        timeout.to(draft, "spec.timeout", f"{int(timeout.number() or 0)}s")


def _address(draft: Draft, endpoint: Node, arguments: Mapping[str, Any]) -> set[str]:
    """Write the address, and its query where that holds variables or arguments. Return what must have a value."""
    parts = urlsplit(endpoint.text())
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    single = len({name for name, _ in pairs}) == len(pairs)
    query: dict[str, Any] = {}
    rest = parts.query
    if single and "${" in rest:
        rest = ""
        for name, value in pairs:
            variable = "" if _words(value) & arguments.keys() else env_reference(value)
            query[name] = {"valueFrom": {"env": variable}} if variable else _with_parameters(value)
    url = _with_parameters(urlunsplit((parts.scheme, parts.netloc, parts.path, rest, "")))
    endpoint.to(draft, "spec.http.url", url)
    if query:
        draft.set("spec.http.query", query)
        mapped(endpoint, draft.target("spec.http.query"))
    # What is a value of the query and nothing else is left out when the argument is not given.
    inside = [text for text in query.values() if isinstance(text, str) and not _ONE.fullmatch(text)]
    return {name for text in (url, *inside) for name in _ANYWHERE.findall(text)}


def _words(text: str) -> set[str]:
    """What stands between braces."""
    return {word.strip() for word in _EXPRESSION.findall(text)}


def _with_parameters(text: str) -> str:
    return _EXPRESSION.sub(lambda found: f"{{{found[1].strip()}}}", text)


def _header(kit: Kit, draft: Draft, name: str, node: Node) -> None:
    value = node.text()
    if name.lower() in _OWN_HEADERS or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
        dropped(node, "a header that the client sets itself, or whose name is none")
        return
    bearer = re.fullmatch(r"(?i:bearer)\s+(.*)", value)
    path = ["spec", "http", "headers", name]
    if name.lower() == "authorization" and bearer and env_reference(bearer[1]):
        variable = env_reference(bearer[1])
        node.to(draft, "spec.http.auth.bearer", {"valueFrom": {"env": variable}}, reason=f"variable {variable}")
    elif env_reference(value):
        node.to(draft, path, {"valueFrom": {"env": env_reference(value)}}, reason=f"variable {env_reference(value)}")
    elif "${" in value or is_secret_key(name) or looks_like_token(value):
        variable = env_name(draft.name, name)
        draft.set(path, {"valueFrom": {"env": variable}})
        if "${" in value:
            told = f"text around a variable: put the whole header ({value}) into the environment variable {variable}"
        else:
            kit.hide(name, value)
            told = f"a secret in the open was left out: put the header into the environment variable {variable}"
        manual(node, told, draft.target(f"spec.http.headers.{name}"))
    elif re.search(r"\{[A-Za-z_]|[\x00-\x08\x0a-\x1f\x7f]", value):
        manual(node, "braces or control characters: write the header by hand", draft.target("spec.http.headers"))
    else:
        node.to(draft, path)
