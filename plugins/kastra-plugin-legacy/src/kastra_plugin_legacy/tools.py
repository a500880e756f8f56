"""Tools: what they run becomes a Python function to write or an HTTP request, each of several functions a Tool."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from kastra_core.migration import Draft, Node, env_name, env_reference, is_secret_key
from kastra_plugin_legacy.book import Book, fill_stub
from kastra_plugin_legacy.items import Item
from kastra_plugin_legacy.javascript import arguments_schema, is_code
from kastra_plugin_legacy.schemas import object_schema
from kastra_plugin_legacy.secret_refs import secret_reference

__all__ = ["function_name", "migrate_tool", "note_tool"]

_CODE = ("execute", "function", "implementation", "source", "code", "handler")
_ADDRESSES = ("endpoint", "url", "baseUrl", "baseURL")
_INPUTS = ("inputSchema", "parameters", "input", "schema")
_OUTPUTS = ("outputSchema", "output", "returns")
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_NATIVE = ("http", "python", "idempotent", "retry", "timeout")
_PLACEHOLDER = re.compile(r"\$\{(?!env\.)(?:params\.|input\.)?(\w+)\}|\{\{\s*(?:params\.|input\.)?(\w+)\s*\}\}")
_SINGLE = re.compile(r"\{(\w+)\}")


def function_name(tool: str, function: str) -> str:
    """What the Tool of one function of a tool is called, before it is made a valid name.

    >>> function_name("tasks", "createTask")
    'tasks-createTask'
    """
    return f"{tool}-{function}"


def note_tool(book: Book, item: Item) -> None:
    """First pass: the schema, and the names of the Tools that its functions become."""
    item.schema = object_schema(item.spec.first(*_INPUTS))[0]
    functions = [one["name"].value for one in item.spec["functions"].items()]
    words = [one for one in functions if isinstance(one, str) and one]
    if len(words) > 1:
        for word in words:
            if word not in item.functions:
                source = function_name(item.source_name, word)
                item.functions[word] = book.name_for("Tool", source, item.effective_namespace)
    elif words:
        item.functions[words[0]] = item.name
        item.schema = item.schema or object_schema(item.spec["functions"][0].first(*_INPUTS))[0]


def migrate_tool(book: Book, item: Item, draft: Draft) -> None:
    """Fill the draft of a Tool, and make one more for each function where it has several."""
    spec = item.spec
    if not spec.is_map:
        return
    _common(item, draft)
    described = spec["description"]
    described.to(draft, "spec.description", described.text())
    code = next((spec[key] for key in _CODE if spec[key]), None)
    address = spec.first(*_ADDRESSES)
    functions = [one for one in spec["functions"].items() if one.is_map and one["name"].is_text]
    schemas = _schemas(item, draft) if len(functions) < 2 else None
    if spec["python"].is_map or spec["http"].is_map:
        for key in ("type", *_NATIVE):
            spec[key].to(draft, f"spec.{key}")
    elif functions:
        _functions(book, item, draft, functions)
        _code_rows(spec, draft, "of each function")
    elif code is not None:
        _stub(book, item, draft, code, schemas)
    elif address.is_text:
        _http(book, item, draft, address)
    else:
        kind = spec["type"].text()
        hint = "execute names its code, endpoint its address" if kind == "api" else "execute names its code"
        spec.problem("a tool needs something to run: expected execute, found none", hint)


def _common(item: Item, draft: Draft) -> None:
    spec = item.spec
    if spec["id"].present:
        spec["id"].dropped("a tool is named by metadata.name")
    name = spec["name"]
    if name.present and name.path != (item.name_node.path if item.name_node is not None else None):
        if name.is_text and not spec["description"]:
            name.to(draft, "spec.description", reason="it has no other description")
        else:
            name.dropped("a tool is named by metadata.name")
    for key in ("security", "rateLimit", "permissions"):
        if spec[key].present:
            spec[key].manual("limit the tool where its function is written: Kastra has no such setting", draft)
    for key, told in (
        ("monitoring", "Kastra traces and logs every call"),
        ("logging", "Kastra logs by its own settings"),
        ("version", "Kastra counts the generations of a resource itself"),
        ("cache", "Kastra does not keep results of tools"),
        ("namespace", "the namespace stands in metadata"),
    ):
        if spec[key].present:
            spec[key].dropped(told)
    kind = spec["type"]
    if kind.present and not (spec["python"].is_map or spec["http"].is_map):
        kind.dropped("what a tool runs says of which type it is")


def _schemas(item: Item, draft: Draft) -> Mapping[str, Any] | None:
    """Put both schemas; return that of the arguments."""
    spec = item.spec
    for keys, field in ((_INPUTS, "inputSchema"), (_OUTPUTS, "outputSchema")):
        node = spec.first(*keys)
        if not node:
            continue
        if field == "outputSchema" and node.is_map and isinstance(node.value.get("type"), str):
            node.to(draft, f"spec.{field}")
            continue
        schema, reason = object_schema(node)
        if schema is None:
            node.manual(f"no JSON schema: write spec.{field} by hand", draft)
        else:
            node.to(draft, f"spec.{field}", schema, reason=reason)
    given = draft.spec.get("inputSchema")
    return given if isinstance(given, Mapping) else None


# --------------------------------------------------------------------------------------------- functions to write


def _stub(book: Book, item: Item, draft: Draft, code: Node, schema: Mapping[str, Any] | None) -> None:
    what = _what(code)
    if schema is None:
        schema = _read_from(code)
        if schema is not None:
            draft.spec["inputSchema"] = dict(schema)
            told = "the names of the arguments were read from the code: add their types and descriptions"
            item.spec["inputSchema"].defaulted(told, draft.target("spec.inputSchema"))
    origin = f"{PurePosixPath(code.document.file).name}:{code.line}, {what}"
    description = str(draft.spec.get("description") or "")
    function = fill_stub(book, draft, item.source_name, schema=schema, description=description, origin=origin)
    _code_rows(item.spec, draft, function)
    for key in (*_ADDRESSES, "auth", "method", "headers", "query", "body", "config", "options"):
        part = item.spec[key]
        if part.present:
            _hide_secrets(book, part)
            part.manual(f"the function {function} has to know this by itself (secrets from the environment)", draft)


def _hide_secrets(book: Book, node: Node) -> None:
    for key, part in node.fields():
        if part.is_text and is_secret_key(key) and not env_reference(part.text()):
            book.report.hide(part.text())
        _hide_secrets(book, part)


def _code_rows(spec: Node, draft: Draft, function: str) -> None:
    said: list[object] = []
    for key in _CODE:
        part = spec[key]
        if part and part.value in said:
            part.dropped("another key of the tool says the same")
        elif part:
            said.append(part.value)
            part.manual(f"write the Python function {function} in place of {_what(part)}", draft)


def _what(code: Node) -> str:
    """What stands there, for people."""
    value = code.value
    inner = value.get("code") if isinstance(value, Mapping) else None
    if isinstance(value, Mapping):
        language = value.get("language")
        if inner:
            word = language if isinstance(language, str) else "JavaScript"
            return "inline JavaScript" if word.lower() in ("javascript", "js") else f"inline {word}"
        return "the code that it names"
    text = str(value)
    return "inline JavaScript" if is_code(text) else " ".join(text.split())[:80]


def _read_from(code: Node) -> dict[str, Any] | None:
    """The schema of the arguments of inline code, as far as it says."""
    text = code["code"].value if code.is_map else code.value
    return arguments_schema(text) if isinstance(text, str) and is_code(text) else None


def _functions(book: Book, item: Item, draft: Draft, functions: list[Node]) -> None:
    """A Tool for each function; where there are several, the Tool of the old name takes function and arguments."""
    made: list[str] = []
    for node in functions:
        name = node["name"].text()
        if not name:
            node["name"].problem("expected the name of a function, found none")
            continue
        if name in made:
            node.problem(f"the function {name!r} is there twice")
            continue
        made.append(name)
        one = draft if len(functions) == 1 else book.draft("Tool", item.functions[name], item.namespace)
        described = node["description"].text()
        schema, reason = object_schema(node.first(*_INPUTS))
        origin = f"{PurePosixPath(node.document.file).name}:{node.line}, function {name} of {item.source_name}"
        if described:
            node["description"].to(one, "spec.description")
        for key in _INPUTS:
            if node[key] and schema is not None:
                node[key].to(one, "spec.inputSchema", schema, reason=reason)
                break
        output = node.first(*_OUTPUTS)
        if output.is_map:
            output.to(one, "spec.outputSchema")
        function = fill_stub(book, one, name, schema=schema, description=described, origin=origin)
        node["name"].manual(f"write the Python function {function}, which the Tool {one.name} calls", one)
    if len(functions) > 1:
        schema = {
            "type": "object",
            "properties": {
                "function": {"type": "string", "enum": list(made)},
                "arguments": {"type": "object"},
            },
            "required": ["function"],
        }
        origin = f"{PurePosixPath(item.file).name}:{item.spec.line}, all functions of {item.source_name}"
        described = str(draft.spec.get("description") or "")
        fill_stub(book, draft, item.source_name, schema=schema, description=described, origin=origin)


# --------------------------------------------------------------------------------------------- HTTP


def _http(book: Book, item: Item, draft: Draft, address: Node) -> None:
    spec = item.spec
    url = _PLACEHOLDER.sub(lambda found: f"{{{found[1] or found[2]}}}", address.text())
    if "$" in url or not re.match(r"https?://[^/{}]+", url):
        _stub(book, item, draft, address, draft.spec.get("inputSchema"))
        return
    draft.spec["type"] = "http"
    address.to(draft, "spec.http.url", url, reason="" if url == address.value else "parameters are written {name}")
    method = spec["method"]
    if method:
        word = method.text().upper()
        if word not in _METHODS:
            method.problem(f"expected one of {', '.join(_METHODS)}, found {method.text()!r}")
        method.to(draft, "spec.http.method", word)
    else:
        method.defaulted("the source names no method: GET", draft.target("spec.http.method"))
    for key in ("headers", "query"):
        for name, value in spec[key].fields():
            place = ("spec", "http", key, name)
            if env_reference(value.text()) or is_secret_key(name):
                _secret(book, value, draft, place, env_name(draft.name, name))
            else:
                value.to(draft, place, _PLACEHOLDER.sub(lambda found: f"{{{found[1] or found[2]}}}", value.text()))
    _declare(draft, url)
    _auth(book, draft, spec["auth"])


def _declare(draft: Draft, url: str) -> None:
    """Parameters of the address must be declared and required."""
    names = _SINGLE.findall(url)
    schema = draft.spec.get("inputSchema")
    if not names or not isinstance(schema, dict):
        return
    schema = copy.deepcopy(schema)
    properties = schema.setdefault("properties", {})
    required = schema.setdefault("required", [])
    for name in names:
        properties.setdefault(name, {"type": "string"})
        if name not in required and "default" not in properties[name]:
            required.append(name)
    draft.spec["inputSchema"] = schema


def _auth(book: Book, draft: Draft, auth: Node) -> None:
    if not auth:
        return
    kind = auth["type"].text().lower()
    value = auth.first("token", "apiKey", "key", "value")
    if kind in ("", "none"):
        auth.dropped("no authentication")
        return
    if kind in ("apikey", "api_key", "api-key"):
        header = auth["header"].text() or "X-API-Key"
        place: tuple[str, ...] = ("spec", "http", "headers", header)
        if auth["header"]:
            auth["header"].mapped(draft.target(f"spec.http.headers.{header}"))
        auth["type"].mapped(draft.target(f"spec.http.headers.{header}"))
    elif kind in ("bearer", "oauth2"):
        place = ("spec", "http", "auth", "bearer")
        told = "put a token into the variable; Kastra does not fetch one" if kind == "oauth2" else ""
        auth["type"].mapped(draft.target("spec.http.auth.bearer"), told)
    elif kind == "basic":
        name = auth["username"]
        draft.set("spec.http.auth.basic.username", name.text() or "user")
        if name:
            name.mapped(draft.target("spec.http.auth.basic.username"))
        auth["type"].mapped(draft.target("spec.http.auth.basic"))
        place, value = ("spec", "http", "auth", "basic", "password"), auth["password"]
    else:
        auth.manual("write spec.http.auth or spec.http.headers by hand", draft)
        return
    if value:
        _secret(book, value, draft, place, env_name(draft.name, "API_KEY" if value.name == "value" else value.name))
    else:
        env = env_name(draft.name, value.name if value.name != "value" else "API_KEY")
        draft.set(place, {"valueFrom": {"env": env}})
        value.manual(f"put the secret into the environment variable {env}", draft.target(".".join(place[:3])))


def _secret(book: Book, node: Node, draft: Draft, place: tuple[str, ...], env: str) -> None:
    name, outcome, reason = secret_reference(book.report, node, env)
    draft.set(place, {"valueFrom": {"env": name}})
    book.report.cover(node, outcome, reason, draft.target(".".join(place)))
