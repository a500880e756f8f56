"""ARK's Tool and MCPServer, and the tools that agents name."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import attrs

from kastra_core.api.meta import JsonObject
from kastra_core.migration import Draft, Node, env_reference, is_secret_key
from kastra_plugin_kagent.ark_values import parameters_of, value_of
from kastra_plugin_kagent.context import Context, text_to
from kastra_plugin_kagent.go_text import render
from kastra_plugin_kagent.model_parts import timeout_of
from kastra_plugin_kagent.things import Thing
from kastra_plugin_kagent.tools import ToolMaker, function_of

__all__ = ["TERMINATE", "TOOL_TYPES", "ArkTools"]

TERMINATE = "terminate"
TOOL_TYPES = ("http", "mcp", "agent", "team", "builtin", "built-in")
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_TYPES = ("array", "boolean", "integer", "null", "number", "object", "string")
_OWN_HEADERS = ("connection", "content-length", "host", "te", "trailer", "transfer-encoding", "upgrade")
"""Set by the client itself."""
_PARAMETER = re.compile(r"\{([^{}]+)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_HINTS = {
    "destructiveHint": "for people; Kastra asks nobody before a call",
    "openWorldHint": "for people",
    "title": "for people",
}


@attrs.define(eq=False)
class ArkTools:
    """Migrates tools and the servers of tools."""

    ctx: Context
    maker: ToolMaker
    drafts: dict[int, Draft] = attrs.field(factory=dict)
    """Id of a Tool's object -> Tool."""

    def begin(self) -> None:
        for thing in self.ctx.things.own("Tool"):
            if thing.node["spec"]["type"].value not in ("agent", "team"):
                self.drafts[id(thing)] = self.ctx.draft("Tool", thing)

    def called(self, thing: Thing) -> tuple[str, str] | None:
        """(kind, name) of the agent or team that a Tool of that type calls."""
        word = thing.node["spec"]["type"].value
        if word not in ("agent", "team"):
            return None
        return word, thing.node["spec"][word]["name"].text()

    def migrate(self, thing: Thing) -> None:
        spec = thing.node["spec"]
        spec.mapping()
        word = spec["type"].text()
        draft = self.drafts.get(id(thing))
        schema = self._schema(spec["inputSchema"])
        if word not in TOOL_TYPES:
            spec.first("type").problem(f"expected one of {', '.join(TOOL_TYPES)}, found string {word!r}")
            return
        if draft is None:
            self._caller(thing, spec, word)
            return
        self.ctx.envelope(thing, draft)
        text_to(spec["description"], draft, "spec.description")
        if word == "http":
            self._http(thing, draft, spec, schema)
        elif word == "mcp":
            self._mcp(thing, draft, spec, schema)
        else:
            spec["type"].manual("a tool that ARK has built in", draft)
            self.maker.stub(
                draft,
                thing,
                description=spec["description"].text(f"{thing.name}, a tool of ARK."),
                schema=schema,
                origin=word,
            )
            self._keep_schema(draft, spec["inputSchema"], schema)
        for key, node in spec["annotations"].fields():
            repeatable = key in ("idempotentHint", "readOnlyHint") and node.value is True
            if repeatable:
                node.to(draft, "spec.idempotent", True)
            else:
                node.dropped(_HINTS.get(key, "the usual here"))
        for key, node in spec.fields():
            if key not in ("annotations", "description", "http", "inputSchema", "mcp", "type"):
                node.dropped("not known to ARK's tools")
            elif key in ("http", "mcp") and key != word:
                node.dropped(f"of a tool of type {word} only {word} is read")

    def _caller(self, thing: Thing, spec: Node, word: str) -> None:
        why = f"a {word} needs no tool of its own: agents name it as one"
        self.ctx.envelope(thing, None, why=why)
        for _, node in spec.fields():
            node.dropped(why)

    # ------------------------------------------------------------------------------------------------ schemas

    def _schema(self, node: Node) -> JsonObject | None:
        if not node:
            return None
        value: Any = node.value
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except ValueError:
                value = None
        if not isinstance(value, Mapping):
            node.problem("expected a JSON schema, an object")
            return None
        self._check(node, value)
        return json.loads(json.dumps(value))  # type: ignore[no-any-return]

    def _check(self, node: Node, schema: Mapping[str, Any]) -> None:
        word = schema.get("type")
        if isinstance(word, str) and word not in _TYPES:
            node["type"].problem(f"expected one of {', '.join(_TYPES)}, found string {word!r}")
        properties = schema.get("properties")
        for name, inner in properties.items() if isinstance(properties, Mapping) else ():
            if isinstance(inner, Mapping):
                self._check(node["properties"][name], inner)

    def _keep_schema(self, draft: Draft, node: Node, schema: JsonObject | None, reason: str = "") -> None:
        if schema is not None and schema.get("type", "object") == "object":
            node.to(draft, "spec.inputSchema", schema, reason=reason)
        elif schema is not None:
            node.dropped("arguments are always an object")

    # ------------------------------------------------------------------------------------------------ http

    def _http(self, thing: Thing, draft: Draft, spec: Node, schema: JsonObject | None) -> None:
        http, url = spec["http"], spec["http"]["url"]
        if not http.is_map or not url:
            spec.problem("expected http.url, the address that is called", "write http: {url: https://...}")
            return
        method = http["method"].text("GET").upper()
        address = url.text()
        if method not in (*_METHODS, "OPTIONS"):
            http["method"].problem(f"expected one of {', '.join(_METHODS)}, found string {method!r}")
        parts = urlsplit(address.partition("{")[0])
        if parts.scheme not in ("http", "https"):
            url.problem(f"expected an http or https URL, found {address!r}")
            return
        names = list(dict.fromkeys(_PARAMETER.findall(address)))
        fixed = parts.hostname and ("{" not in address or re.match(r"https?://[^/?{]+[/?]", address))
        if method == "OPTIONS" or not fixed or any(not _NAME.fullmatch(name) for name in names) or "#" in address:
            self._no_http(thing, draft, spec, schema)
            return
        draft.set("spec.type", "http")
        spec["type"].mapped(draft.target("spec.type"))
        url.to(draft, "spec.http.url")
        http["method"].to(draft, "spec.http.method", method)
        self._headers(thing, draft, http["headers"])
        body = self._body(thing, draft, http, method)
        self._arguments(draft, spec["inputSchema"], schema, names, body)
        timeout_of(draft, http["timeout"])
        for key, node in http.fields():
            if key not in ("body", "bodyParameters", "headers", "method", "timeout", "url"):
                node.dropped("not known to ARK's tools")

    def _no_http(self, thing: Thing, draft: Draft, spec: Node, schema: JsonObject | None) -> None:
        description = spec["description"].text(f"Calls {thing.name}.")
        self.maker.stub(draft, thing, description=description, schema=schema, origin="tool of type http")
        self._keep_schema(draft, spec["inputSchema"], schema)
        told = "no request that a Tool of type http can make (its method, host or parameters): "
        for _, node in spec["http"].fields():
            node.manual(f"{told}write {function_of(draft)}", draft)
        spec["type"].manual(f"{told}write {function_of(draft)}", draft)

    def _headers(self, thing: Thing, draft: Draft, headers: Node) -> None:
        for item in headers.items():
            name, value = item["name"].text(), value_of(self.ctx, thing, item["value"])
            path = ("spec", "http", "headers", name)
            shown = draft.target(f"spec.http.headers.{name}")
            if not name or name.lower() in _OWN_HEADERS:
                item.dropped("the client sets it itself" if name else "it has no name")
                continue
            item["name"].mapped(shown)
            secret = is_secret_key(name) and value.text is not None and not env_reference(value.text)
            if value.env or (secret and value.text):
                variable = value.env or f"{draft.name}_{name}".upper().replace("-", "_")
                if value.text:
                    self.ctx.report.hide(value.text)
                draft.set(path, {"valueFrom": {"env": variable}})
                told = (
                    value.told or f"a secret in the open was left out: put it into the environment variable {variable}"
                )
                value.manual(shown, told)
            elif value.text is None or _PARAMETER.search(value.text):
                value.manual(shown, f"write the header {name}. {value.told}".strip())
            else:
                for node in value.nodes:
                    node.to(draft, path, value.text)
        if headers.present and not headers.value:
            headers.dropped("there are none")

    def _body(self, thing: Thing, draft: Draft, http: Node, method: str) -> list[str]:
        """Put the body in. Return the arguments that it names."""
        node, parameters = http["body"], parameters_of(self.ctx, thing, http["bodyParameters"])
        if method not in ("POST", "PUT", "PATCH"):
            node.dropped(f"{method} has no body")
            http["bodyParameters"].dropped(f"{method} has no body")
            return []
        if not node.text():
            draft.set("spec.http.body", "none")
            node.dropped("it is empty")
            http["bodyParameters"].dropped("there is no body")
            return []
        used: list[str] = []
        data: dict[str, Any] = {"input": _Arguments(used)}
        for parameter in parameters:
            if parameter.value.text is not None and "{" not in parameter.value.text:
                data[parameter.name] = parameter.value.text
        rendered = render(node.text(), data)
        template = _as_json(rendered.text) if not rendered.left else None
        if template is None:
            draft.set("spec.http.body", "json")
            told = (
                "the body is no JSON, or its template asks for more than values: the arguments are sent as JSON; write "
                "spec.http.body if that is not what the server wants"
            )
            node.manual(told, draft.target("spec.http.body"))
            if http["bodyParameters"].present:
                http["bodyParameters"].manual(told, draft.target("spec.http.body"))
            return []
        node.to(draft, "spec.http.body", template, reason="a template of JSON")
        for parameter in parameters:
            _told_parameter(parameter.name, parameter.node, node.text(), draft.target("spec.http.body"))
            if parameter.value.text is None:
                parameter.value.manual(draft.target("spec.http.body"))
            else:
                for one in parameter.value.nodes:
                    if f".{parameter.name}" in node.text():
                        one.mapped(draft.target("spec.http.body"))
                    else:
                        one.dropped("the body does not name it")
        return used

    def _arguments(
        self, draft: Draft, node: Node, schema: JsonObject | None, in_url: list[str], in_body: list[str]
    ) -> None:
        """The input schema: whatever the request names is declared, and what the address names is needed."""
        if schema is None or schema.get("type", "object") != "object":
            if schema is not None:
                node.dropped("arguments are always an object")
            schema = {"type": "object"}
            if in_url or in_body:
                draft.set("spec.inputSchema", schema)
        else:
            node.to(draft, "spec.inputSchema", schema)
        properties = schema.get("properties")
        if not isinstance(properties, dict) and (in_url or in_body):
            properties = schema["properties"] = {}
        added, needed = [], []
        for name in dict.fromkeys((*in_url, *in_body)):
            if isinstance(properties, dict) and name not in properties:
                properties[name] = {"type": "string"} if name in in_url else {}
                added.append(name)
        required = schema.get("required")
        required = list(required) if isinstance(required, list) else []
        for name in in_url:
            has_default = (
                isinstance(properties, dict)
                and isinstance(properties.get(name), dict)
                and "default" in properties[name]
            )
            if name not in required and not has_default:
                required.append(name)
                needed.append(name)
        if needed:
            schema["required"] = required
        if "required" in schema and not isinstance(schema["required"], list):
            del schema["required"]
        if added or needed:
            draft.set("spec.inputSchema", schema)
            told = ", ".join(dict.fromkeys((*added, *needed)))
            node.defaulted(f"declared or required, as the request names them: {told}", draft.target("spec.inputSchema"))

    # ------------------------------------------------------------------------------------------------ mcp

    def _mcp(self, thing: Thing, draft: Draft, spec: Node, schema: JsonObject | None) -> None:
        mcp, ref = spec["mcp"], spec["mcp"]["mcpServerRef"]
        tool = mcp["toolName"].text()
        if not ref["name"] or not tool:
            spec.problem("expected mcp.mcpServerRef.name and mcp.toolName", "they say which tool of which server it is")
            return
        name, namespace = ref["name"].text(), ref["namespace"].text() or thing.namespace
        found = self.ctx.things.find(("MCPServer",), name, namespace, thing)
        server = self.maker.server(name, "MCP server", found, thing, namespace)
        about = spec["description"].text() or f"{tool} of the MCP server {name}. {server.description}".strip()
        function = self.ctx.report.stubs.add(
            f"{name} {tool}",
            schema=schema,
            description=about,
            origin=f"{thing.place}, tool {tool} of the MCP server {name}",
        )
        draft.set("spec.type", "python")
        draft.set("spec.description", about)
        draft.set("spec.python", {"function": function})
        text_to(spec["description"], draft, "spec.description")
        self._keep_schema(draft, spec["inputSchema"], schema)
        server.tools.setdefault(tool, draft)
        told = f"write {function_of(draft)}: it stands for the tool {tool} of the MCP server {name}"
        mcp["toolName"].manual(told, draft)
        spec["type"].manual(told, draft)
        ref["name"].mapped(draft.target("spec.python.function"), "part of the function's name")
        ref["namespace"].dropped("it only says where the server is")
        for key, node in mcp.fields():
            if key not in ("mcpServerRef", "toolName"):
                node.dropped("not known to ARK's tools")

    def server(self, thing: Thing) -> None:
        """MCPServer."""
        server = self.maker.server(thing.name, "MCP server", thing, thing)
        spec = thing.node["spec"]
        spec.mapping()
        if spec["transport"] and spec["transport"].value not in ("http", "sse", "streamable-http", "stdio"):
            spec["transport"].problem(f"expected one of http, sse, found string {spec['transport'].text()!r}")
        if not spec["address"]:
            spec.problem("expected address, where the server is", "write address: {value: https://...}")
            return
        if not server.tools:
            self.maker.of_server(server, "", spec)
        first = next(iter(server.tools.values()))
        thing.node["kind"].dropped("it only says which kind of server it is")
        self.ctx.envelope(thing, first, whole=False)
        told = f"let {function_of(first)} call it"
        address = value_of(self.ctx, thing, spec["address"])
        where = address.text if address.text is not None else address.told
        address.manual(server.target, f"the server is at {where}: {told}")
        for node in (item for item in spec["headers"].items()):
            value = value_of(self.ctx, thing, node["value"])
            name = node["name"].text()
            if value.text is not None and is_secret_key(name) and not env_reference(value.text):
                self.ctx.report.hide(value.text)
            node.manual(f"send {name} with each call. {value.told}".strip(), server.target)
        for key, node in spec.fields():
            if key == "timeout":
                for draft in server.tools.values():
                    timeout_of(draft, node)
            elif key == "description":
                for draft in server.tools.values():
                    node.mapped(draft.target("spec.description"), "beside the name of the tool")
            elif key == "headers" and node.value:
                continue
            elif key != "address":
                node.dropped("how the server is spoken to is the affair of the functions that stand for its tools")


class _Arguments(dict[str, Any]):
    """Stands for the arguments of a call: each becomes a parameter of a template."""

    def __init__(self, used: list[str]) -> None:
        super().__init__()
        self.used = used

    def get(self, name: str, default: Any = None) -> Any:
        if not _NAME.fullmatch(name):
            return default
        if name not in self.used:
            self.used.append(name)
        return f"{{{name}}}"


def _as_json(text: str) -> Any:
    """A template of JSON; None for what is none. A parameter that is a whole value has no quotes around it."""
    quoted = re.sub(r"(?<=[:\[,])(\s*)(\{[A-Za-z_][A-Za-z0-9_-]*\})(?=\s*[,\]}])", r'\1"\2"', text)
    for candidate in (text, quoted):
        try:
            value = json.loads(candidate)
        except ValueError:
            continue
        return value if isinstance(value, (dict, list)) else None
    return None


def _told_parameter(name: str, item: Node, text: str, target: str) -> None:
    if f".{name}" in text:
        item["name"].mapped(target)
    else:
        item["name"].dropped("the text does not name it")
