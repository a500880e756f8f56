"""Actions that call agents, functions, MCP tools and addresses."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kastra_core.migration import Node
from kastra_plugin_agent_framework.actions_http import fixed, http_request
from kastra_plugin_agent_framework.actions_state import path_of
from kastra_plugin_agent_framework.actions_talk import ask, conversation_key, extend, history, message, say
from kastra_plugin_agent_framework.cel import ANY, BLANK, RECORD, TEXT, Cel
from kastra_plugin_agent_framework.compiler import Compiler
from kastra_plugin_agent_framework.context import Agent
from kastra_plugin_agent_framework.scope import LAST_MESSAGE, conversation, data, variable_name

__all__ = ["KINDS"]


def _agent(self: Compiler, action: Node) -> None:
    node = action.first("agent", "agentName", "agentId")
    if not node.present:
        action.problem("InvokeAzureAgent needs agent", hint="agent: {name: Helper}")
        return
    named = node.first("name", "id") if node.is_map else node
    if not named:
        node.problem("the agent's name is missing", hint="agent: {name: Helper}")
        return
    agent, body = _who(self, action, named)
    inputs, outputs = action["input"], action["output"]
    if not inputs.is_map and inputs:
        messages, arguments = inputs, inputs["arguments"]
    else:
        messages, arguments = inputs["messages"], inputs["arguments"]
    parts = _prompt(self, messages, arguments)
    loop = inputs["externalLoop"]["when"]
    key = conversation_key(self, action["conversationId"])
    if re.fullmatch(r"=\s*Conversation\.(messages|history)\s*", messages.text() if messages.is_text else ""):
        key, parts, messages_are_known = "System", _prompt(self, action["no messages"], arguments), True
    else:
        messages_are_known = False
    if loop and not key:
        key = f"{self.draft.name}.{self.base(action)}"
        if (action.key, conversation(key)) not in self.knowledge.useless:
            self.set_data(action, conversation(key), [], frozenset({"table"}), pure=True)
    name = self.name_of(action)
    own = [message("user", self.joined_cel(action, parts))] if parts else []
    given = _input(self, action, key, parts if (messages and not messages_are_known) or arguments else None, own)
    if "tool" in body:
        body["arguments"] = {**body.get("arguments", {}), "input": given}
    else:
        body["input"] = given
    results = _Results(self, action, agent, name)
    if not agent.tool:
        results.publish_in(body)
    self.add(action, name, body)
    results.steps(key, own)
    if loop:
        if not results.messages:
            self.set_data(action, f"{name}.answer", f"{{{{ steps.{name}.output }}}}", frozenset({ANY}), pure=True)
        _external_loop(self, action, loop, name, key, body, results)
    self.variables.site = action.key
    named.mapped(self.target(name))
    node.mapped(self.target(name), whole=False)
    messages.mapped(self.target(name, "input"))
    for argument, one in arguments.fields():
        one.mapped(self.target(name, "input"), f"handed over in the prompt, as a line '{argument}: ...'")
    arguments.mapped(self.target(name, "input"), whole=False)
    _conversation_row(self, action, key, bool(own), name)
    outputs.mapped(self.target(name), whole=False)
    loop_node = inputs["externalLoop"]
    loop_node["maxIterations"].dropped("spec.limits.maxSteps bounds the loop", self.target(name))
    loop_node.mapped(self.target(name), whole=False)
    inputs.mapped(self.target(name), whole=False)


def _who(self: Compiler, action: Node, named: Node) -> tuple[Agent, dict[str, Any]]:
    """The agent, and the body that calls it."""
    text = fixed(self, named)
    written = named.text().strip()
    if not text and written.lower().startswith("=env."):
        variable = written[5:]
        agent = self.context.agent(variable)
        named.manual(
            f"an agent is named as it is: write Agent {agent.name}, or the name that the environment variable "
            f"{variable} holds",
            self.draft,
        )
        return agent, {"agent": agent.name}
    if not text:
        draft = self.context.stub(
            named,
            "call-agent",
            what="agent that is chosen by a formula",
            todo="a step names its agent; write a call of the agent of that name, or make a Network of the agents",
            description="Calls an agent by its name.",
            schema={"type": "object", "properties": {"name": {"type": "string"}, "input": {}}, "required": ["name"]},
            key="call-agent",
        )
        template, _ = self.value(named)
        return Agent(draft.name, None), {"tool": draft.name, "arguments": {"name": template}}
    known = text in self.context.agents
    agent = self.context.agent(text)
    if (agent.structured is None and not known) or agent.structured is None:
        named.manual(f"agent {text!r} is defined elsewhere: make Agent {agent.name}", self.draft)
    return agent, {"tool" if agent.tool else "agent": agent.name}


def _prompt(self: Compiler, messages: Node, arguments: Node) -> list[str | Cel]:
    """What the agent is told, in parts."""
    parts: list[str | Cel] = []
    if messages:
        parts += self.message_parts(messages)
    for key, node in arguments.fields():
        parts.append(f"{chr(10) if parts else ''}{key}: ")
        parts += self.message_parts(node)
    return parts


def _input(self: Compiler, action: Node, key: str, parts: Sequence[str | Cel] | None, own: Sequence[str]) -> Any:
    if not key:
        last = f"{{{{ {self.variables.last_message().text} }}}}"
        return last if parts is None else self.joined(action, parts)
    before = history(self, action, key)
    untouched = (action.key, conversation(key)) in self.knowledge.untouched
    if not own and untouched:
        return f"{{{{ {self.variables.last_message().text} }}}}"
    if before == "[]":
        return self.joined(action, parts or [])
    messages = f"{before} + [{', '.join(own)}]" if own else before
    if not own and key != "System":
        last = message("user", self.variables.last_message())
        messages = f"size({before}) > 0 ? {before} : [{last}]"
    return {"messages": f"{{{{ {messages} }}}}"}


def _conversation_row(self: Compiler, action: Node, key: str, own: bool, name: str) -> None:
    node = action["conversationId"]
    untouched = (action.key, conversation(key)) in self.knowledge.untouched
    if (key == "System" and (own or not untouched)) or (key and not untouched):
        node.mapped(self.target(name, "input"), "the messages of the conversation so far are handed on")
    else:
        node.dropped("the conversation has no other messages here than those of this step", self.target(name))


class _Results:
    """What becomes of an agent's answer."""

    def __init__(self, compiler: Compiler, action: Node, agent: Agent, name: str) -> None:
        self.compiler, self.action, self.agent, self.name = compiler, action, agent, name
        outputs = action["output"]
        self.messages = outputs.first("messages", "response", "result", "property")
        if not self.messages:
            self.messages = action["resultProperty"]
        self.object = outputs["responseObject"]
        self.sends = outputs["autoSend"].value is not False
        for key in ("messages", "response", "result", "property"):
            if outputs[key] and outputs[key].path != self.messages.path:
                outputs[key].manual("the answer is published once: set this variable in a step of its own")
        self.messages.mapped(compiler.draft, "data that the step publishes: the text of the answer")
        self.object.mapped(compiler.draft, "data that a step publishes: the answer as an object")
        if outputs["autoSend"]:
            outputs["autoSend"].dropped(
                "the answer is the step's output in any case; the last one that is sent is the workflow's output"
                if self.sends
                else "the answer is the step's output; it is not the workflow's",
                compiler.draft.target(),
            )

    @property
    def is_object(self) -> bool:
        return self.agent.structured is True or (self.agent.structured is None and bool(self.object))

    def publish_in(self, body: dict[str, Any]) -> None:
        """Let the agent's step publish what it can."""
        compiler = self.compiler
        if self.messages:
            name = ".".join(variable_name(path_of(self.messages)))
            body["output"] = compiler.publish(name, frozenset({TEXT}))
            if self.is_object:
                body["output"] = {**body["output"], "value": '{{ result }}{{ "" }}'}
        elif self.object and self.agent.structured:
            name = ".".join(variable_name(path_of(self.object)))
            body["output"] = compiler.publish(name, frozenset({ANY}))

    def steps(self, key: str, own: Sequence[str], suffix: str = "") -> None:
        """Steps after that of the agent."""
        compiler, action = self.compiler, self.action
        step = f"{self.name}{suffix}"
        answer = Cel(f"steps.{step}.output", frozenset({TEXT}), True)
        if self.object and (self.messages or not self.agent.structured or self.agent.tool):
            target = ".".join(variable_name(path_of(self.object)))
            if self.agent.structured and not self.messages:
                pass
            else:
                body = {
                    "tool": compiler.context.function("parse_json"),
                    "arguments": {"text": f"{{{{ {answer.text} }}}}"},
                    "output": compiler.publish(target, frozenset({ANY, BLANK, RECORD})),
                }
                compiler.add(action, compiler.step_id(f"{step}-object"), body)
        wanted = [key] if key else []
        if self.sends and key != "System":
            wanted.append("System")
        wanted = [one for one in wanted if (action.key, conversation(one)) not in compiler.knowledge.useless]
        if wanted and self.is_object and not (self.messages and not suffix):
            text = compiler.step_id(f"{step}-text")
            compiler.add(action, text, {"set": f'{{{{ {answer.text} }}}}{{{{ "" }}}}'})
            answer = Cel(f"steps.{text}.output", frozenset({TEXT}), True)
        for one in wanted:
            extend(compiler, action, one, [*(own if one == key else ()), message("assistant", answer)])
        if self.sends or key == "System":
            say(compiler, action, f"{{{{ steps.{step}.output }}}}")
        spoken = "Agent.response"
        compiler.set_data(action, spoken, f"{{{{ steps.{step}.output }}}}", frozenset({ANY}), pure=True)


def _external_loop(
    self: Compiler, action: Node, when: Node, name: str, key: str, body: Mapping[str, Any], results: _Results
) -> None:
    """While the condition holds, the user is asked for more, and the agent goes on with it."""
    test, asked, replied, done = (self.label(word) for word in ("test", "ask", "reply", "done"))
    self.layout.mark(test)
    condition = self.condition(when)
    self.branch(action, self.step_id(f"{name}-more"), [("", condition, asked)], done)
    self.layout.mark(asked)
    question = self.step_id(f"{name}-ask")
    shown = ".".join(variable_name(path_of(results.messages))) if results.messages else f"{name}.answer"
    ask(self, action, question, f"{{{{ {data(shown)} }}}}", {"type": "string"}, {})
    text = Cel(f"steps.{question}.output", frozenset({TEXT}), True)
    self.set_data(action, LAST_MESSAGE, f"{{{{ {text.text} }}}}", frozenset({TEXT}), pure=True)
    if "lastmessage" in when.text().lower():
        again = self.condition(when)
        self.branch(action, self.step_id(f"{name}-goes-on"), [("", again, replied)], done)
    self.layout.mark(replied)
    reply = self.step_id(f"{name}-reply")
    own = [message("user", text)]
    messages = f"{{{{ {data(conversation(key))} + [{', '.join(own)}] }}}}"
    again_body = (
        {**body, "input": {"messages": messages}}
        if "agent" in body
        else {**body, "arguments": {**body.get("arguments", {}), "input": {"messages": messages}}}
    )
    self.add(action, reply, again_body)
    results.steps(key, own, suffix="-reply")
    if not results.messages:
        self.set_data(action, f"{name}.answer", f"{{{{ steps.{reply}.output }}}}", frozenset({ANY}), pure=True)
    self.layout.jump(test, self.layout.steps[-1])
    self.layout.mark(done)
    when.mapped(self.target(name), "a branch; while it is true the run waits for the user's text")


def _approval(self: Compiler, action: Node, name: str, what: str) -> str:
    """Ask whether a tool may be called. Return the label where the call is left out, "" when nobody is asked."""
    node = action["requireApproval"]
    if not node or node.value is False:
        node.dropped("the tool is called without asking")
        return ""
    call, asked, after = self.label("call"), self.label("ask"), self.label("after")
    if node.value is not True:
        condition = self.condition(node)
        self.branch(action, self.step_id(f"{name}-guarded"), [("", condition, asked)], call)
    self.layout.mark(asked)
    question = self.step_id(f"{name}-approval")
    schema = {"type": "object", "properties": {"approved": {"type": "boolean"}}, "required": ["approved"]}
    ask(self, action, question, f"Call {what}?", schema, {})
    self.branch(action, self.step_id(f"{name}-approved"), [("", f"steps.{question}.output.approved", call)], after)
    self.layout.mark(call)
    node.mapped(self.target(name), "a step before waits for {approved: true}; refused, the call is left out")
    return after


def _arguments(self: Compiler, action: Node, name: str) -> dict[str, Any]:
    node = action["arguments"]
    out = {}
    for key, one in node.fields():
        out[key] = self.value(one)[0]
        one.mapped(self.target(name, "arguments"))
    if node.is_map:
        node.mapped(self.target(name, "arguments"), whole=False)
    else:
        node.dropped("arguments are an object: {name: value}", self.target(name))
    return out


def _call(self: Compiler, action: Node, name: str, tool: str, arguments: dict[str, Any], what: str) -> None:
    """The step that calls a tool, with approval before it and its results after it."""
    outputs = action["output"]
    after = _approval(self, action, name, what)
    body: dict[str, Any] = {"tool": tool, "arguments": arguments}
    result = outputs["result"]
    if result:
        body["output"] = self.publish(".".join(variable_name(path_of(result))), frozenset({ANY}))
    self.add(action, name, body)
    result.mapped(self.target(name), "data that the step publishes")
    answer = f"steps.{name}.output"
    texts = outputs["messages"]
    if texts:
        self.assign(action, path_of(texts), f'{{{{ {answer} }}}}{{{{ "" }}}}', frozenset({TEXT}))
        texts.mapped(self.draft, "data that a step publishes: the result as a text")
    sends = outputs["autoSend"].value is not False
    key = conversation_key(self, action["conversationId"])
    if key and (action.key, conversation(key)) not in self.knowledge.useless:
        text = self.step_id(f"{name}-text")
        self.add(action, text, {"set": f'{{{{ {answer} }}}}{{{{ "" }}}}'})
        extend(self, action, key, [message("assistant", Cel(f"steps.{text}.output", frozenset({TEXT}), True))])
        action["conversationId"].mapped(self.target(name), "the result is added to the messages of the conversation")
    else:
        action["conversationId"].dropped("no agent reads the result from the conversation", self.target(name))
    if sends:
        say(self, action, f"{{{{ {answer} }}}}")
    outputs["autoSend"].dropped("the result is the step's output in any case", self.target(name))
    if outputs.is_map:
        outputs.mapped(self.target(name), whole=False)
    else:
        outputs.dropped("no variable is named: {result: Local.Name}", self.target(name))
    if after:
        self.layout.mark(after)


def _function(self: Compiler, action: Node) -> None:
    node = action.first("functionName", "function")
    if not node.present:
        action.problem("InvokeFunctionTool needs functionName", hint="functionName: get_weather")
        return
    function = fixed(self, node) or self.base(action)
    name = self.name_of(action)
    arguments = _arguments(self, action, name)
    schema = {"type": "object", "properties": {key: {} for key in arguments}}
    tool = self.context.stub(
        node,
        function,
        what="function",
        todo="the program that runs the workflow offers it; write it, or call it here",
        schema=schema,
        key=f"function:{function}",
    )
    _call(self, action, name, tool.name, arguments, function)


def _mcp(self: Compiler, action: Node) -> None:
    server, tool = action["serverUrl"], action["toolName"]
    for node, key in ((server, "serverUrl"), (tool, "toolName")):
        if not node.present:
            action.problem(f"InvokeMcpTool needs {key}")
            return
    label = fixed(self, action["serverLabel"]) if action["serverLabel"] else "mcp"
    named = fixed(self, tool) or self.base(action)
    name = self.name_of(action)
    arguments = _arguments(self, action, name)
    address = fixed(self, server) or server.text()
    draft = self.context.stub(
        tool,
        f"{label}-{named}",
        what="MCP tool",
        todo=f"call {tool.text()} of the MCP server {address}",
        description=f"{named} of the MCP server {address}.",
        schema={"type": "object", "properties": {key: {} for key in arguments}},
        key=f"mcp:{address}:{tool.text()}",
    )
    server.mapped(draft.target("spec.description"), "named in the tool's description")
    action["serverLabel"].mapped(draft, "part of the tool's name")
    for key, node in action["headers"].fields():
        node.manual(f"send the header {key} in the function", draft)
    for node in (action["headers"], action["connection"]):
        if node:
            node.manual("take it into account in the function", draft)
    _call(self, action, name, draft.name, arguments, f"{label} {named}")


KINDS: Mapping[str, Callable[[Compiler, Node], None]] = {
    **dict.fromkeys(("InvokeAzureAgent", "InvokeAgent"), _agent),
    "InvokeFunctionTool": _function,
    "InvokeMcpTool": _mcp,
    "HttpRequestAction": http_request,
}
