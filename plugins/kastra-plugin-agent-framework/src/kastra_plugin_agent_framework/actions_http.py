"""HttpRequestAction: a Tool of type http, and a step that calls it."""

from __future__ import annotations

import re
from typing import Any

from kastra_core.migration import Draft, Node, env_name, identifier, is_secret_key, looks_like_token
from kastra_plugin_agent_framework.actions_state import path_of
from kastra_plugin_agent_framework.actions_talk import conversation_key, extend, message
from kastra_plugin_agent_framework.cel import ANY, BLANK, TEXT, Cel
from kastra_plugin_agent_framework.compiler import Compiler
from kastra_plugin_agent_framework.scope import conversation, variable_name

__all__ = ["fixed", "http_request"]

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_HOST = re.compile(r"https?://[^/{}\s?#]+([/?#].*)?$", re.DOTALL)


def fixed(self: Compiler, node: Node) -> str:
    """A text that has to be known now: what is written, or what a formula always gives; "" when it is not known."""
    text = node.text()
    if not text.lstrip().startswith("="):
        return text
    tree = self.formula(node, text)
    if tree is None:
        return ""
    self.variables.folding = True
    steps = len(self.layout.steps)
    try:
        found = self.translator(node).join(self.translator(node).text_parts(tree))
    except ValueError:
        return ""
    finally:
        self.variables.folding = False
        self.drop_from(steps)
    return str(found.value) if found.constant else ""


def http_request(self: Compiler, action: Node) -> None:
    """Lay out a request."""
    url = action["url"]
    if not url.present:
        action.problem("HttpRequestAction needs url", hint="url: https://example.com/items")
        return
    name = self.name_of(action)
    request = _Request(self, action, name)
    address = request.text(url, "url")
    method = (fixed(self, action["method"]) or "GET").upper() if action["method"] else "GET"
    if method not in _METHODS or not _HOST.match(address):
        _by_hand(self, action, name, request)
        return
    draft = self.context.report.draft("Tool", f"{self.draft.name}-{self.base(action)}", scope=action.document.file)
    draft.spec["type"] = "http"
    url.to(draft, "spec.http.url", address, reason=request.reason)
    draft.set("spec.http.method", method)
    if action["method"]:
        action["method"].mapped(draft.target("spec.http.method"))
    _headers(self, action, draft, request)
    for key, node in action["queryParameters"].fields():
        node.to(draft, ["spec", "http", "query", key], request.text(node, key))
    action["queryParameters"].mapped(draft.target("spec.http.query"), whole=False)
    _body(self, action["body"], draft, request)
    timeout = action["requestTimeoutInMilliseconds"].value
    if isinstance(timeout, (int, float)) and not isinstance(timeout, bool) and timeout > 0:
        action["requestTimeoutInMilliseconds"].to(draft, "spec.timeout", f"{timeout:g}ms")
    else:
        action["requestTimeoutInMilliseconds"].dropped("the tool's own limit of 30 s holds", draft.target())
    if action["connection"]:
        action["connection"].manual("a connection of the project: write its credentials as http.auth", draft)
    if request.schema:
        draft.spec["inputSchema"] = {"type": "object", "properties": request.schema, "required": list(request.schema)}
    _results(self, action, name, draft.name, request.arguments)


class _Request:
    """Texts of the tool, in which parameters stand for what formulas give."""

    def __init__(self, compiler: Compiler, action: Node, name: str) -> None:
        self.compiler, self.action, self.name = compiler, action, name
        self.arguments: dict[str, Any] = {}
        self.schema: dict[str, Any] = {}
        self.reason = ""

    def text(self, node: Node, wanted: str) -> str:
        """A text of the source with ``{parameter}`` for each value that is not known yet."""
        compiler = self.compiler
        compiler.variables.folding = True
        try:
            parts = compiler.message_parts(node)
        finally:
            compiler.variables.folding = False
        out = ""
        for part in parts:
            if isinstance(part, str):
                out += part
                continue
            parameter = self.parameter(wanted, f"{{{{ {part.text} }}}}", "string" if part.only(TEXT) else "")
            out += f"{{{parameter}}}"
            self.reason = "what a formula gives is an argument of the tool; in an address it is percent-encoded"
        return out

    def parameter(self, wanted: str, template: Any, kind: str = "") -> str:
        name = plain = identifier(wanted)
        number = 1
        while name in self.arguments:
            number += 1
            name = f"{plain}{number}"
        self.arguments[name] = template
        self.schema[name] = {"type": kind} if kind else {}
        return name


def _headers(self: Compiler, action: Node, draft: Draft, request: _Request) -> None:
    for key, node in action["headers"].fields():
        text = node.text()
        secret = is_secret_key(key) or looks_like_token(text)
        if secret and (not text.startswith("=") or text.lower().startswith("=env.")):
            variable = text[5:] if text.lower().startswith("=env.") else env_name(draft.name, key)
            draft.set(["spec", "http", "headers", key], {"valueFrom": {"env": variable}})
            if text.startswith("="):
                node.mapped(draft.target(f"spec.http.headers.{key}"), f"environment variable {variable}")
            else:
                self.context.report.hide(text)
                node.manual(
                    f"a secret in the open was left out: put the whole header into the environment variable {variable}",
                    draft.target(f"spec.http.headers.{key}"),
                )
            continue
        node.to(draft, ["spec", "http", "headers", key], request.text(node, key))
    action["headers"].mapped(draft.target("spec.http.headers"), whole=False)


def _body(self: Compiler, body: Node, draft: Draft, request: _Request) -> None:
    if not body:
        return
    kind = (body["kind"].text() or body["$kind"].text()).lower().removesuffix("requestcontent")
    content = body["content"]
    for key in ("kind", "$kind"):
        body[key].mapped(draft.target("spec.http.body"))
    body.mapped(draft.target("spec.http.body"), whole=False)
    if kind in ("", "none", "no"):
        draft.set("spec.http.body", "none")
        content.dropped("a request without a body", draft.target())
        return
    template, _ = self.value(content)
    content.mapped(draft.target("spec.http.body"), "the arguments that no address names are the body")
    if kind == "json" and isinstance(template, dict) and not set(template) & set(request.arguments):
        for key, value in template.items():
            request.arguments[key] = value
            request.schema[key] = {}
        draft.set("spec.http.body", "json")
    else:
        request.arguments["body"] = template
        request.schema["body"] = {}
        draft.set("spec.http.body", "json")
        content.manual("the body is sent as {body: ...}: write http.body of the tool as it has to be", draft)
    body["contentType"].manual("the body is sent as JSON: set the header Content-Type, and http.body", draft)


def _by_hand(self: Compiler, action: Node, name: str, request: _Request) -> None:
    """An address that is not known before the run cannot be an http tool's."""
    request.arguments.clear()
    request.schema.clear()
    arguments: dict[str, Any] = {}
    for key in ("url", "method", "headers", "queryParameters", "body"):
        if action[key]:
            arguments[identifier(key)] = self.value(action[key])[0]
            action[key].mapped(self.target(name, f"arguments.{identifier(key)}"))
    draft = self.context.stub(
        action["kind"],
        "http-request",
        what="request",
        todo="its address or method is known only when it runs, so no http tool can be made of it; send the request",
        description="Sends an HTTP request and returns its answer.",
        schema={"type": "object", "properties": {key: {} for key in arguments}},
        key=f"http:{','.join(arguments)}",
    )
    action["connection"].manual("take the connection into account in the function", draft) if action[
        "connection"
    ] else None
    action["requestTimeoutInMilliseconds"].dropped("the tool's own limit holds", draft.target())
    _results(self, action, name, draft.name, arguments)


def _results(self: Compiler, action: Node, name: str, tool: str, arguments: dict[str, Any]) -> None:
    response, headers = action["response"], action["responseHeaders"]
    body: dict[str, Any] = {"tool": tool, "arguments": arguments}
    if response:
        body["output"] = self.publish(".".join(variable_name(path_of(response))), frozenset({ANY, BLANK}))
    self.add(action, name, body)
    response.mapped(self.target(name), "data that the step publishes")
    if headers:
        self.assign(action, path_of(headers), None, frozenset({BLANK}))
        headers.manual("a tool gives the body of an answer, not its headers: this stays blank", self.draft)
    key = conversation_key(self, action["conversationId"])
    if key and (action.key, conversation(key)) not in self.knowledge.useless:
        text = self.step_id(f"{name}-text")
        self.add(action, text, {"set": f'{{{{ steps.{name}.output }}}}{{{{ "" }}}}'})
        extend(self, action, key, [message("assistant", Cel(f"steps.{text}.output", frozenset({TEXT}), True))])
        action["conversationId"].mapped(self.target(name), "the answer is added to the messages of the conversation")
    else:
        action["conversationId"].dropped("no agent reads the answer from the conversation", self.target(name))
