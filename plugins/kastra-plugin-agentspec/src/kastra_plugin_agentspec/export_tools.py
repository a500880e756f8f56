"""Tools as ServerTool and RemoteTool."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from kastra_core.api.meta import JsonObject
from kastra_plugin_agentspec.export_book import Book, Exported
from kastra_plugin_agentspec.export_schema import RESULT, is_title, portable, properties_of, result_of
from kastra_plugin_agentspec.ports import placeholders

__all__ = ["stand_in_tool", "write_tool"]

_SINGLE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_-]*)\}")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SENT_ALONE = "http:request"
"""In place of a function, where a request has parts that a RemoteTool cannot have."""
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def write_tool(book: Book, one: Exported) -> JsonObject:
    """The component of a Tool."""
    spec = one.spec
    http = spec.get("http")
    if spec.get("type") == "http" and isinstance(http, Mapping):
        found = _request(one, http)
        if found is not None:
            return found
    out = one.base("ServerTool")
    python = spec.get("python")
    function = python.get("function") if isinstance(python, Mapping) else None
    out["metadata"]["kastra"]["function"] = function if isinstance(function, str) else _SENT_ALONE
    out["inputs"] = properties_of(spec.get("inputSchema"))
    out["outputs"] = result_of(spec.get("outputSchema"))
    return out


def stand_in_tool(owner: str, name: str, reference: str, description: str = "") -> JsonObject:
    """A tool in place of another resource, which the host has to supply."""
    out: JsonObject = {"component_type": "ServerTool", "id": f"{owner}/tool/{reference}", "name": name}
    if description:
        out["description"] = description
    out["metadata"] = {"kastra": {"reference": reference}}
    out["inputs"] = [{"title": "input", "type": "string"}]
    out["outputs"] = [{"title": RESULT, "type": "string"}]
    return out


def _request(one: Exported, http: Mapping[str, Any]) -> JsonObject | None:
    """A RemoteTool; None where the request has what it cannot have."""
    spec = one.spec
    url, method = http.get("url"), http.get("method", "GET")
    if not isinstance(url, str) or not isinstance(method, str) or _odd_names(http):
        return None
    query, headers = _double(_texts_of(http.get("query"))), _double(_texts_of(http.get("headers")))
    body = http.get("body")
    data: Any = _double(body) if isinstance(body, (Mapping, list)) else {}
    schema = spec.get("inputSchema")
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    known: Mapping[str, Any] = properties if isinstance(properties, Mapping) else {}
    if not all(isinstance(name, str) and _WORD.fullmatch(name) for name in known):
        return None
    named = placeholders(_double(url), data, query, headers)
    rest = {name: f"{{{{{name}}}}}" for name in known if name not in named}
    mode = body if isinstance(body, str) else "" if body is not None else "json" if method[:1] == "P" else "none"
    if rest and mode in ("json", "form") and method not in ("GET", "HEAD"):
        data = rest
    elif rest:
        query = {**query, **rest}
    if mode == "form":
        headers = {**{key: value for key, value in headers.items() if key.lower() != "content-type"}, **_FORM}
    out = one.base("RemoteTool")
    wanted = placeholders(_double(url), method, data, query, headers)
    if not all(is_title(name) for name in wanted):
        return None
    out["inputs"] = [
        {"title": name, **(portable(known[name]) if name in known else {"type": "string"})} for name in wanted
    ]
    out["outputs"] = result_of(spec.get("outputSchema"))
    return {**out, "url": _double(url), "http_method": method, "data": data, "query_params": query, "headers": headers}


def _odd_names(http: Mapping[str, Any]) -> bool:
    """Whether an argument's name is none that a placeholder may have."""
    parts = (http.get("url"), http.get("query"), http.get("headers"), http.get("body"))
    return any(not _WORD.fullmatch(name) for part in parts for name in _names(part))


def _names(value: Any) -> list[str]:
    if isinstance(value, str):
        return _SINGLE.findall(value)
    if isinstance(value, Mapping):
        return [name for item in value.values() for name in _names(item)]
    return [name for item in value for name in _names(item)] if isinstance(value, list) else []


def _texts_of(value: Any) -> dict[str, Any]:
    """Those of a map's values that are no secrets by reference."""
    held = value if isinstance(value, Mapping) else {}
    return {str(key): item for key, item in held.items() if not isinstance(item, (Mapping, list))}


def _double(value: Any) -> Any:
    """A template with ``{{name}}`` in place of ``{name}``."""
    if isinstance(value, str):
        return _SINGLE.sub(r"{{\1}}", value)
    if isinstance(value, Mapping):
        return {str(key): _double(item) for key, item in value.items()}
    return [_double(item) for item in value] if isinstance(value, list) else value
