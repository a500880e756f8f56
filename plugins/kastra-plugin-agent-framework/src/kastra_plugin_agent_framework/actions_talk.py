"""Actions that speak to the user, ask the user, and keep conversations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kastra_core.migration import Node, cel_literal
from kastra_plugin_agent_framework.actions_state import path_of
from kastra_plugin_agent_framework.cel import ANY, BLANK, BOOLEAN, NUMBER, TABLE, TEXT, Cel
from kastra_plugin_agent_framework.compiler import Compiler
from kastra_plugin_agent_framework.powerfx import Member as MemberTree
from kastra_plugin_agent_framework.powerfx import Name, PowerFxError, parse
from kastra_plugin_agent_framework.scope import LAST_MESSAGE, SENT, conversation, data, variable_name

__all__ = ["KINDS", "ask", "conversation_key", "extend", "history", "message", "say"]


def message(role: str, text: Cel) -> str:
    """A message as an expression."""
    return f'{{"role": {cel_literal(role)}, "content": {text.text}}}'


def conversation_key(self: Compiler, node: Node) -> str:
    """Which conversation a ``conversationId`` means: "System" is the workflow's own, "" none."""
    text = node.text().strip().removeprefix("=").strip()
    if not text:
        return ""
    try:
        tree, _ = parse(text)
    except PowerFxError:
        return text
    names: list[str] = []
    while isinstance(tree, MemberTree):
        names.insert(0, tree.name)
        tree = tree.of
    if not isinstance(tree, Name):
        return text
    path = variable_name(".".join([tree.name, *names]))
    if path[0] == "System":
        field = ".".join(path[1:]).lower()
        return "System" if field in ("conversationid", "conversation", "conversation.id") else ".".join(path)
    return ".".join(path)


def history(self: Compiler, action: Node, key: str) -> str:
    """The messages of a conversation so far, as an expression."""
    name = conversation(key)
    if (action.key, name) in self.knowledge.untouched:
        if key != "System":
            return "[]"
        return f"[{message('user', self.variables.input_text())}]"
    return data(name)


def extend(self: Compiler, action: Node, key: str, messages: Sequence[str]) -> None:
    """Add messages to a conversation, unless nobody reads them."""
    name = conversation(key)
    if not messages or (action.key, name) in self.knowledge.useless:
        return
    before = history(self, action, key)
    added = f"[{', '.join(messages)}]"
    whole = added if before == "[]" else f"{before} + {added}"
    self.set_data(action, name, f"{{{{ {whole} }}}}", frozenset({TABLE}), pure=True)


def say(self: Compiler, action: Node, template: Any) -> None:
    """What was said last, where it is the workflow's output."""
    self.set_data(action, SENT, template, frozenset({ANY}), pure=True)


def _send(self: Compiler, action: Node) -> None:
    activity = action.first("activity", "message")
    if not activity.present:
        action.problem(f"{action['kind'].text()} needs activity", hint="activity: Hello!")
    text = activity["text"] if activity.is_map and "text" in activity.value else activity
    if text.is_list:
        text = text[0]
    template = self.text_template(text)
    name = self.name_of(action)
    body: dict[str, Any] = {"set": template}
    if (action.key, SENT) not in self.knowledge.useless:
        body["output"] = self.publish(SENT, frozenset({TEXT}))
    self.add(action, name, body)
    text.mapped(self.target(name, "set"), "said to the user: it is the step's output, and the last one the workflow's")
    if activity.is_map:
        for key, node in activity.fields():
            if key not in ("text",):
                node.dropped("a text is sent, and nothing else", self.target(name))


_ENTITIES: Mapping[str, tuple[dict[str, Any], frozenset[str]]] = {
    "number": ({"type": "number"}, frozenset({NUMBER})),
    "age": ({"type": "number"}, frozenset({NUMBER})),
    "money": ({"type": "number"}, frozenset({NUMBER})),
    "percentage": ({"type": "number"}, frozenset({NUMBER})),
    "boolean": ({"type": "boolean"}, frozenset({BOOLEAN})),
}


def _schema(action: Node) -> tuple[dict[str, Any], frozenset[str]]:
    """JSON schema of the answer, and what it can be."""
    entity = action["entity"]
    word = (entity["kind"].text() if entity.is_map else entity.text()).lower().removesuffix("prebuiltentity")
    schema, types = _ENTITIES.get(word, ({"type": "string"}, frozenset({TEXT})))
    schema = dict(schema)
    choices = action["choices"].items() or entity["items"].items() or entity["options"].items()
    values = [(one.first("value", "id", "name") if one.is_map else one).value for one in choices]
    if values and action["allowFreeText"].boolean(False) is False and "type" in schema:
        schema = {"enum": values}
        types = frozenset({ANY}) if any(not isinstance(value, str) for value in values) else frozenset({TEXT})
    default = action.first("default", "defaultValue")
    if default and not (isinstance(default.value, str) and default.value.startswith("=")):
        schema["default"] = default.value
    return schema, types


def ask(self: Compiler, action: Node, name: str, prompt: str, schema: dict[str, Any], output: dict[str, Any]) -> None:
    """A step that waits for the user's answer."""
    body: dict[str, Any] = {"suspend": {"message": prompt, "schema": schema} if prompt else {"schema": schema}}
    self.add(action, name, {**body, **({"output": output} if output else {})})


def _question(self: Compiler, action: Node) -> None:
    prompt = action.first("prompt", "question", "message", "text")
    text = prompt["text"] if prompt.is_map else prompt
    parts = [self.text_template(one) for one in (text.items() or ([text] if text else []))]
    name = self.name_of(action)
    schema, types = _schema(action)
    target = action.first("variable", "property")
    path = path_of(target) if target else path_of(action["output"]["property"])
    output = self.publish(".".join(variable_name(path)), types) if path else {}
    ask(self, action, name, "\n".join(parts), schema, output)
    auto = action["autoSend"].value is not False
    answer = Cel(f"steps.{name}.output", types, True)
    if auto:
        spoken = self.translator(action).as_text(answer)
        self.set_data(action, LAST_MESSAGE, f"{{{{ {spoken.text} }}}}", frozenset({TEXT}), pure=True)
        extend(self, action, "System", [message("user", spoken)])
    text.mapped(self.target(name, "suspend.message"))
    prompt.mapped(self.target(name, "suspend.message"), whole=False)
    if prompt.is_map:
        for key, node in prompt.fields():
            if key != "text":
                node.dropped("a text is asked, and nothing else", self.target(name))
    target.mapped(self.draft, "data that the step publishes")
    action["output"].mapped(self.draft, "data that the step publishes")
    entity = action["entity"]
    told = "what an answer has to be"
    if schema.get("type") in ("number", "boolean") or "enum" in schema:
        entity.mapped(self.target(name, "suspend.schema"), told)
    else:
        entity.dropped("an answer is a text here anyway", self.target(name, "suspend.schema"))
    if "enum" in schema:
        action["choices"].mapped(self.target(name, "suspend.schema.enum"), told)
    else:
        action["choices"].dropped("any text is an answer; name the choices in the question", self.target(name))
    action["allowFreeText"].mapped(self.draft, told) if action["choices"] else action["allowFreeText"].dropped(
        "there are no choices to keep to"
    )
    for key in ("default", "defaultValue"):
        if "default" in schema:
            action[key].mapped(self.target(name, "suspend.schema.default"), "shown with the question")
        else:
            action[key].dropped("an answer that does not fit is refused, and the question stays open")
    for key in ("alwaysPrompt", "skipQuestionMode"):
        action[key].dropped("the question is always asked")
    action["autoSend"].dropped("whether the answer is seen by agents: it is said to those that read the conversation")
    for key in ("repeatCount", "unrecognizedPrompt", "invalidPrompt", "defaultValueResponse", "interruptionPolicy"):
        action[key].dropped("an answer that does not fit is refused, and the question stays open")
    seconds = action["timeout"].number()
    if seconds:
        self.layout.steps[-1].body.setdefault("suspend", {})
        _set_timeout(self, name, f"{seconds:g}s")
    action["timeout"].mapped(self.target(name, "suspend.timeout"))
    for key in ("requestType", "requiredFields", "metadata"):
        action[key].dropped("for the program that asks; here the message and the schema say it", self.target(name))


def _set_timeout(self: Compiler, name: str, timeout: str) -> None:
    for step in self.layout.steps:
        if step.id == name:
            step.body["suspend"] = {**step.body["suspend"], "timeout": timeout}


def _create_conversation(self: Compiler, action: Node) -> None:
    node = action["conversationId"]
    path = path_of(node) if node else ""
    action["id"].dropped("a conversation is a list of messages, which needs no step to begin")
    action["metadata"].dropped("a conversation is a list of messages here")
    before = len(self.layout.steps)
    if path:
        name = ".".join(variable_name(path))
        self.set_data(action, conversation(name), [], frozenset({TABLE}), pure=True)
        self.set_data(action, name, f"{{{{ workflow.run }}}}-{self.base(action)}", frozenset({TEXT}), pure=True)
    if len(self.layout.steps) > before:
        node.mapped(self.draft, "data that a step publishes")
    else:
        node.dropped("nothing reads the conversation a second time, so no step has to begin it")


def _add_message(self: Compiler, action: Node) -> None:
    key = conversation_key(self, action["conversationId"]) or "System"
    content = action["content"]
    nodes = [
        one["value"]
        if one.is_map and "value" in one.value
        else one["text"]
        if one.is_map and "text" in one.value
        else one
        for one in (content.items() or [content])
    ]
    parts: list[str | Cel] = []
    for node in nodes:
        parts += self.text_parts(node)
    text = self.joined_cel(action, parts)
    role = action["role"].text("user").lower()
    role = {"agent": "assistant"}.get(role, role)
    target = action["message"]
    if target:
        name = self.name_of(action)
        self.assign(action, path_of(target), self.joined(action, parts), frozenset({TEXT}), name=name)
    else:
        action["id"].dropped("a message is added to a list, which has a step of its own where an agent reads it")
    extend(self, action, key, [message(role if role in ("user", "assistant", "system") else "user", text)])
    target.mapped(self.draft, "data that the step publishes: the text of the message")
    used = (action.key, conversation(key)) not in self.knowledge.useless
    _told(self, action, used, ("role", "conversationId"))
    if used or target:
        content.mapped(self.draft, "the text of the message")
    else:
        content.dropped("nothing reads the conversation afterwards")
    action["metadata"].dropped("messages have a role and a text here")


def _copy_messages(self: Compiler, action: Node) -> None:
    key = conversation_key(self, action["conversationId"]) or "System"
    text = self.joined_cel(action, self.message_parts(action["messages"]))
    extend(self, action, key, [message("user", text)])
    used = (action.key, conversation(key)) not in self.knowledge.useless
    _told(self, action, used, ("messages", "conversationId"))
    action["id"].dropped("messages are added to a list, which has a step of its own where an agent reads it")


def _told(self: Compiler, action: Node, used: bool, keys: Sequence[str]) -> None:
    for key in keys:
        if used:
            action[key].mapped(self.draft, "the conversation is a list of messages that agents are handed")
        else:
            action[key].dropped("nothing reads the conversation afterwards")


def _retrieve_one(self: Compiler, action: Node) -> None:
    target = action["message"]
    source = action["messageId"].text().strip().removeprefix("=").strip()
    path = source.rpartition(".")[0] if source.lower().endswith(".id") else ""
    if not target:
        action.dropped("nothing is made of the message")
        return
    name = self.name_of(action)
    if path and self.variables.resolve(tuple(path.split("."))) is not None:
        found = self.variables.resolve(tuple(path.split(".")))
        assert found is not None
        self.assign(action, path_of(target), f"{{{{ {found.text} }}}}", found.types, name=name)
        action["messageId"].mapped(self.target(name, "set"), "the message itself: messages have no ids here")
    else:
        self.assign(action, path_of(target), None, frozenset({BLANK}), name=name)
        action["messageId"].manual("messages have no ids here: set the text in this step", self.target(name, "set"))
    target.mapped(self.draft, "data that the step publishes")
    action["conversationId"].dropped("the message is known without it", self.target(name))


def _retrieve_all(self: Compiler, action: Node) -> None:
    key = conversation_key(self, action["conversationId"]) or "System"
    target = action["messages"]
    if not target:
        action.dropped("nothing is made of the messages")
        return
    name = self.name_of(action)
    texts = f"dyn({history(self, action, key)}).map(v, v.content)"
    self.assign(action, path_of(target), f"{{{{ {texts} }}}}", frozenset({TABLE}), name=name)
    target.mapped(self.draft, "data that the step publishes: the texts of the messages")
    action["conversationId"].mapped(self.target(name, "set"))
    for node in (action["limit"], action["messageAfter"], action["messageBefore"], action["sortOrder"]):
        node.dropped("all messages are taken, the oldest first", self.target(name))


KINDS: Mapping[str, Callable[[Compiler, Node], None]] = {
    "SendActivity": _send,
    "SendMessage": _send,
    **dict.fromkeys(("Question", "Confirm", "Confirmation", "RequestExternalInput", "RequestHumanInput"), _question),
    "WaitForHumanInput": _question,
    "WaitForInput": _question,
    "CreateConversation": _create_conversation,
    "AddConversationMessage": _add_message,
    "CopyConversationMessages": _copy_messages,
    "RetrieveConversationMessage": _retrieve_one,
    "RetrieveConversationMessages": _retrieve_all,
}
