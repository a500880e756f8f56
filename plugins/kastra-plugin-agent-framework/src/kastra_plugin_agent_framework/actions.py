"""Which action is which, and those that steer: conditions, loops, jumps, ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from kastra_core.migration import Node
from kastra_core.serde import type_word
from kastra_plugin_agent_framework import actions_calls, actions_state, actions_talk
from kastra_plugin_agent_framework.cel import ANY, NUMBER, TABLE
from kastra_plugin_agent_framework.compiler import Compiler
from kastra_plugin_agent_framework.layout import END
from kastra_plugin_agent_framework.scope import data

__all__ = ["KINDS", "OUT_OF_REACH", "visit"]

OUT_OF_REACH = (
    *("ActivateExternalTrigger", "AdaptiveCardPrompt", "AnswerQuestionWithAI", "BeginDialog", "CSATQuestion"),
    *("CreateSearchQuery", "DeleteActivity", "DisableTrigger", "DisconnectedNodeContainer", "EmitEvent"),
    *("GetActivityMembers", "GetConversationMembers", "InvokeAIBuilderModelAction", "InvokeAzureResponse"),
    *("InvokeConnectorAction", "InvokeCustomModelAction", "InvokeFlowAction", "InvokeSkillAction"),
    *("LogCustomTelemetryEvent", "OAuthInput", "RecognizeIntent", "RepeatDialog", "ReplaceDialog"),
    *("SearchAndSummarizeContent", "SearchAndSummarizeWithCustomModel", "SearchKnowledgeSources", "SignOutUser"),
    *("TransferConversation", "TransferConversationV2", "UpdateActivity", "WaitForConnectorTrigger"),
)
"""Kinds that the format has and no engine of it carries out."""


def visit(self: Compiler, action: Node) -> None:
    """Lay out one action."""
    if not action.is_map:
        action.problem(f"expected an action (an object with kind), found {type_word(action.value)}")
        return
    kind = action["kind"]
    if not kind:
        action.problem("an action needs a kind", hint="SendActivity, SetVariable, InvokeAzureAgent ...")
        return
    handler = _BY_KIND.get(kind.text().lower())
    if handler is None:
        kind.problem(f"there is no action {kind.text()!r}", hint=f"there are: {', '.join(sorted(KINDS))}")
        return
    label = action["id"].text()
    if label:
        if label.lower() in self.labels:
            action["id"].problem(f"two actions have the id {label!r}", hint="ids are unique in a workflow")
        self.labels[label.lower()] = f"id:{label.lower()}"
        self.layout.mark(f"id:{label.lower()}")
    self.variables.site, self.variables.site_name = action.key, self.base(action)
    if action.key in self.knowledge.dead:
        action.dropped("no way leads to it: what stands before it goes on elsewhere, or ends the workflow")
        for node in _jumps(action):
            self.goal(node)
        return
    kind.mapped(self.draft, "what the step does")
    action["displayName"].mapped(self.draft, "name of the step")
    for key in ("comment", "description", "disabled"):
        action[key].dropped("a note for people")
    handler(self, action)


def _jumps(action: Node) -> list[Node]:
    """Targets that are named in an action: they have to exist though it is never reached."""
    out = [action[key] for key in ("actionId", "target") if action["kind"].text().lower() == "gotoaction"]
    return [node for node in out if node]


def _required(action: Node, *keys: str) -> Node:
    """The first of these keys that is there; a problem when none is."""
    found = action.first(*keys)
    if not found.present:
        action.problem(f"{action['kind'].text()} needs {keys[0]}", hint=f"write {keys[0]}: ...")
    return found


def _if(self: Compiler, action: Node) -> None:
    then = action.first("then", "actions")
    _branches(self, action, [(action, then, "then")], action.first("else", "elseActions"))


def _condition_group(self: Compiler, action: Node) -> None:
    conditions = _required(action, "conditions")
    conditions.list()
    for word in ("else", "default"):
        if action[word].present:
            action[word].problem("a ConditionGroup has no such key", hint="write elseActions")
    _branches(self, action, [(one, one["actions"], "") for one in conditions.items()], action["elseActions"])


def _branches(self: Compiler, action: Node, cases: list[tuple[Node, Node, str]], otherwise: Node) -> None:
    if not cases:
        action["id"].dropped("without conditions there is nothing to choose")
        self.block(otherwise, visit)
        otherwise.mapped(self.draft, "steps that are always carried out", whole=False)
        return
    name = self.name_of(action)
    made = []
    for owner, block, word in cases:
        condition = owner["condition"]
        if not condition.present:
            owner.problem("a condition is missing", hint="condition: =Local.Count > 3")
        when = self.condition(condition)
        condition.mapped(self.target(name, "branch"))
        if owner is not action:
            owner["id"].mapped(self.target(name, "branch"), "name of the case")
            owner["displayName"].dropped("cases are told apart by their id", self.target(name))
        made.append((owner["id"].text() if owner is not action else word, when, self.label("case"), block))
    other, after = self.label("else"), self.label("after")
    self.branch(action, name, [(word, when, label) for word, when, label, _ in made], other)
    for at, (_, _, label, block) in enumerate(made):
        self.layout.mark(label)
        owner = cases[at][0]
        if owner is not action and owner["id"]:
            self.labels[owner["id"].text().lower()] = f"id:{owner['id'].text().lower()}"
            self.layout.mark(f"id:{owner['id'].text().lower()}")
        self.block(block, visit)
        block.mapped(self.draft, "steps of the case", whole=False)
        self.layout.jump(after, self.layout.steps[-1])
    self.layout.mark(other)
    self.block(otherwise, visit)
    otherwise.mapped(self.draft, "steps for when no case is true", whole=False)
    self.layout.mark(after)


def _foreach(self: Compiler, action: Node) -> None:
    items = _required(action, "items", "source", "itemsSource")
    name = self.name_of(action)
    base = self.base(action)
    list_name, at_name = f"{name}.items", f"{name}.next"
    value, types = self.value(items)
    whole = value if types == {TABLE} else _as_list(value)
    self.set_data(action, list_name, whole, frozenset({TABLE}), name=name)
    items.mapped(self.target(name), "the list that is gone through")
    self.set_data(action, at_name, 0, frozenset({NUMBER}), name=self.step_id(f"{base}-start"))
    test, body, step_on, done = (self.label(word) for word in ("test", "body", "next", "done"))
    self.layout.mark(test)
    at, rows = data(at_name), data(list_name)
    self.branch(action, self.step_id(f"{base}-test"), [("", f"{at} < size({rows})", body)], done)
    self.layout.mark(body)
    for node, target in ((_variable(action, "value", "itemName", "item"), f"{{{{ {rows}[{at}] }}}}"),):
        if node[0]:
            self.assign(action, node[0], target, frozenset({ANY}), name=self.step_id(f"{base}-item"))
            node[1].mapped(self.draft, "variable of the item")
    index, index_node = _variable(action, "index", "indexName", "")
    if index:
        self.assign(action, index, f"{{{{ {at} }}}}", frozenset({NUMBER}), name=self.step_id(f"{base}-index"))
        index_node.mapped(self.draft, "variable of the index")
    self.loops.append((step_on, done))
    self.block(action["actions"], visit)
    self.loops.pop()
    action["actions"].mapped(self.draft, "steps of the loop", whole=False)
    self.variables.site, self.variables.site_name = action.key, base
    self.layout.mark(step_on)
    self.set_data(action, at_name, f"{{{{ {at} + 1 }}}}", frozenset({NUMBER}), name=self.step_id(f"{base}-next"))
    self.layout.jump(test, self.layout.steps[-1])
    self.layout.mark(done)


def _as_list(value: object) -> object:
    if isinstance(value, str) and value.startswith("{{") and value.endswith("}}") and value.count("{{") == 1:
        inner = value[2:-2].strip()
        return f"{{{{ [dyn({inner})].map(v, v == null ? dyn([]) : type(v) == list ? v : dyn([v]))[0] }}}}"
    return value if isinstance(value, list) else [value]


def _variable(action: Node, key: str, name_key: str, default: str) -> tuple[str, Node]:
    """Path of a loop's variable: a path in the one form, a bare name in the other."""
    if action[key]:
        return (action[key]["path"].text() if action[key].is_map else action[key].text()), action[key]
    if action[name_key]:
        return f"Local.{action[name_key].text()}", action[name_key]
    return (f"Local.{default}" if default else ""), action[name_key]


def _goto(self: Compiler, action: Node) -> None:
    target = _required(action, "actionId", "target")
    if target.text() and target.text() == action["id"].text():
        target.problem("it jumps to itself, for ever", hint="name another action")
    label = self.goal(target)
    _end(self, action, label)
    target.mapped(self.draft, "the step that comes next")


def _break(self: Compiler, action: Node) -> None:
    _leave(self, action, 1)


def _continue(self: Compiler, action: Node) -> None:
    _leave(self, action, 0)


def _leave(self: Compiler, action: Node, which: int) -> None:
    if not self.loops:
        action["kind"].problem(f"{action['kind'].text()} stands in no Foreach")
        return
    _end(self, action, self.loops[-1][which])


def _finish(self: Compiler, action: Node) -> None:
    _end(self, action, END)


def _end(self: Compiler, action: Node, label: str) -> None:
    before = len(self.layout.steps)
    self.jump(action, label)
    if len(self.layout.steps) == before:
        action["id"].dropped("a jump is no step here; the step before it says where it goes")
        action["displayName"].dropped("a jump is no step here")
    else:
        action["id"].mapped(self.draft, "id of the step that jumps")


def _not_carried_out(self: Compiler, action: Node) -> None:
    kind = action["kind"].text()
    name = self.name_of(action)
    fields = {}
    for key, node in action.fields():
        if key not in ("kind", "id", "displayName"):
            fields[key] = self.value(node)[0]
            node.mapped(self.target(name, "arguments"))
    draft = self.context.stub(
        action["kind"],
        kind,
        what=f"action {kind}",
        todo="no engine of the format carries it out, so a tool stands for it; write what it does",
        schema={"type": "object", "properties": {key: {} for key in fields}},
        key=f"action:{kind.lower()}:{','.join(fields)}",
    )
    self.add(action, name, {"tool": draft.name, "arguments": fields})


KINDS: Mapping[str, Callable[[Compiler, Node], None]] = {
    "If": _if,
    "ConditionGroup": _condition_group,
    "Foreach": _foreach,
    "GotoAction": _goto,
    "BreakLoop": _break,
    "ContinueLoop": _continue,
    **dict.fromkeys(
        ("EndWorkflow", "EndConversation", "EndDialog", "CancelWorkflow", "CancelDialog", "CancelAllDialogs"), _finish
    ),
    **actions_state.KINDS,
    **actions_talk.KINDS,
    **actions_calls.KINDS,
    **dict.fromkeys(OUT_OF_REACH, _not_carried_out),
}
"""What actions there are."""
_BY_KIND = {kind.lower(): handler for kind, handler in KINDS.items()}
