"""Workflow documents: what they declare, and their actions compiled until nothing new is known of them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from kastra_core.migration import Draft, Node
from kastra_core.serde import type_word
from kastra_plugin_agent_framework.actions import visit
from kastra_plugin_agent_framework.compiler import Compiler
from kastra_plugin_agent_framework.context import Context
from kastra_plugin_agent_framework.layout import Step
from kastra_plugin_agent_framework.schemas import inputs_schema
from kastra_plugin_agent_framework.scope import (
    LAST_MESSAGE,
    SENT,
    Knowledge,
    conversation,
    data,
    variable_name,
)

__all__ = ["is_workflow", "migrate_workflow", "workflow_actions"]

_MOST_PASSES = 40
_PATH_KEYS = ("variable", "path", "property", "itemsVariable", "resultVariable", "table", "response", "responseHeaders")
_OUTPUT_KEYS = ("messages", "response", "responseObject", "result", "property")
_OF_MESSAGES = ("addconversationmessage", "retrieveconversationmessage", "retrieveconversationmessages")


def is_workflow(data: Any) -> bool:
    """Whether a document is a workflow, broken or not."""
    if not isinstance(data, dict):
        return False
    if str(data.get("kind", "")).lower() == "workflow":
        return True
    return "kind" not in data and isinstance(data.get("actions"), list)


def workflow_actions(root: Node) -> Node:
    """The list of actions: at the top, or of the trigger."""
    return root["actions"] if root["actions"].present else root["trigger"]["actions"]


def _check(root: Node) -> None:
    """Problems of the document as a whole."""
    trigger, actions = root["trigger"], workflow_actions(root)
    if trigger.present and not root["actions"].present:
        if not trigger.is_map:
            trigger.problem(f"expected an object, found {type_word(trigger.value)}")
        elif not trigger["id"]:
            trigger.problem("a trigger needs an id", hint="id: my_workflow")
        elif trigger["kind"] and not trigger["kind"].text().lower().startswith("on"):
            trigger["kind"].problem(f"{trigger['kind'].text()!r} is no trigger", hint="OnConversationStart")
    if not actions.present or actions.value is None:
        root.problem("a workflow needs actions", hint="trigger: {kind: OnConversationStart, id: ..., actions: [...]}")
    elif not actions.is_list:
        actions.problem(f"expected a list of actions, found {type_word(actions.value)}")
    elif not actions.value:
        actions.problem("a workflow needs one action at least")
    turns = root["maxTurns"]
    if turns.present and (not isinstance(turns.value, int) or isinstance(turns.value, bool) or turns.value < 1):
        turns.problem(f"expected a positive integer, found {type_word(turns.value)} {turns.value!r}")


def migrate_workflow(context: Context, root: Node, name: str, rehearse: Callable[[], tuple[Context, Node]]) -> None:
    """Make a Workflow of a document.

    Args:
        name: of the source, for one that has none.
        rehearse: gives a context and the document for a pass whose results are thrown away.
    """
    _check(root)
    if context.report.problems:
        return
    knowledge = Knowledge(inputs=set(root["inputs"].value or {}) if root["inputs"].is_map else set())
    for _ in range(_MOST_PASSES):
        trial, again = rehearse()
        if not _learn(_compile(trial, again, name, knowledge, final=False), knowledge):
            break
        if trial.report.problems:
            break
    _compile(context, root, name, knowledge, final=True)


def _compile(context: Context, root: Node, name: str, knowledge: Knowledge, *, final: bool) -> Compiler:
    source = root["name"].text() or root["trigger"]["id"].text() or root["id"].text() or name
    generic = not root["name"] and source in ("workflow_demo", "workflow_test", "my_workflow", "main", "workflow")
    draft = context.report.draft("Workflow", name if generic and name else source, scope=root.document.file)
    actions = workflow_actions(root)
    declared = set(_declared(actions.value))
    compiler = Compiler(context, draft, knowledge, declared)
    compiler.generic = bool(generic and name)
    compiler.block(actions, visit)
    for wanted, node in compiler.goals.items():
        if wanted.lower() not in compiler.labels:
            known = ", ".join(sorted(compiler.labels)[:12]) or "none"
            node.problem(f"there is no action with the id {wanted!r}", hint=f"ids: {known}")
    _begin(compiler)
    if not compiler.layout.steps:
        compiler.layout.add(Step("end", {"set": None}, ""))
    if final:
        _finish(compiler, root, draft)
    return compiler


def _declared(value: Any) -> Iterator[str]:
    """Names of the variables that actions set."""
    if isinstance(value, list):
        for item in value:
            yield from _declared(item)
    if not isinstance(value, dict):
        return
    kind = str(value.get("kind", "")).lower()
    for key, item in value.items():
        paths: list[Any] = []
        if key in _PATH_KEYS or (key in ("value", "index") and kind == "foreach"):
            paths = [item]
        elif key == "output" and isinstance(item, dict):
            paths = [item.get(one) for one in _OUTPUT_KEYS]
        elif (key in ("message", "messages") and kind in _OF_MESSAGES) or (
            key == "conversationId" and kind == "createconversation"
        ):
            paths = [item]
        elif key in ("itemName", "indexName"):
            paths = [f"Local.{item}"]
        for path in paths:
            path = path.get("path") if isinstance(path, dict) else path
            if isinstance(path, str) and path and not path.startswith("="):
                yield ".".join(variable_name(path))
        if isinstance(item, (dict, list)):
            yield from _declared(item)
    if kind == "foreach" and "value" not in value and "itemName" not in value:
        yield "Local.item"


def _begin(compiler: Compiler) -> None:
    """First values, before all else: of what may be used before it is set."""
    steps = []
    knowledge = compiler.knowledge
    needed = {name for step in compiler.layout.steps for name in step.reads} | set(_outputs(compiler) or [SENT])
    wanted = sorted(knowledge.unset & needed)
    published = {compiler.layout.steps[at].writes for at in compiler.layout.reached()}
    for variable in compiler.variables.env:
        name = f"Env.{variable}"
        if name not in wanted:
            wanted.append(name)
    for name in wanted:
        step = compiler.step_id(f"init-{name.replace('.', '-')}")
        value: Any = None
        if name == conversation("System"):
            text = compiler.variables.input_text()
            value = [{"role": "user", "content": f"{{{{ {text.text} }}}}"}]
        elif name.startswith("Conversation."):
            value = []
        elif name == LAST_MESSAGE:
            value = f"{{{{ {compiler.variables.input_text().text} }}}}"
        elif name.startswith("Env."):
            value = ""
        elif name not in published:
            value = "{{ dyn(null) }}"  # nobody sets it, but who reads it may expect anything
        steps.append(Step(step, {"set": value, "output": {"type": name}}, "", pure=True, first=True))
    compiler.layout.put_first(steps)


def _learn(compiler: Compiler, knowledge: Knowledge) -> bool:
    """Add what a pass has shown. Return whether that was new."""
    layout = compiler.layout
    before = repr(knowledge)
    outputs = _outputs(compiler)
    at_end = outputs or [SENT]
    reached = layout.reached()
    knowledge.inputs |= set(compiler.variables.inputs)
    for name, types in compiler.types.items():
        knowledge.types[name] = knowledge.types.get(name, frozenset()) | types
    sites: dict[str, bool] = {}
    for at, step in enumerate(layout.steps):
        sites[step.site] = sites.get(step.site, False) or at in reached
    for site in sites:
        inside = [
            alive for other, alive in sites.items() if other == site or other.startswith((f"{site}.", f"{site}["))
        ]
        if site and not any(inside):
            knowledge.dead.add(site)
    unset = layout.unset(at_end)
    published = {step.writes for step in layout.steps}
    if SENT in unset and SENT not in published:
        unset.discard(SENT)
    knowledge.unset |= unset
    used = layout.used_after(at_end)
    written = layout.written_before()
    for at, step in enumerate(layout.steps):
        name = step.writes
        if (step.pure or name == SENT) and name and name not in used[at] and not step.first:
            others = [
                other
                for number, other in enumerate(layout.steps)
                if other.site == step.site and other.writes == name and name in used[number]
            ]
            if not others:
                knowledge.useless.add((step.site, name))
    _untouched(compiler, written)
    stuck = layout.without_exit()
    begun = sum(step.first for step in layout.steps)
    for label, site, steps in compiler.jumps:
        if layout.index(label) in stuck and layout.index(label) - begun <= steps:
            knowledge.endless.add(site)
    writers: dict[str, list[Step]] = {}
    for step in layout.steps:
        if step.writes:
            writers.setdefault(step.writes, []).append(step)
    used_parts = json.dumps([step.body for step in layout.steps] + [step.cases for step in layout.steps])
    for name, own in writers.items():
        value = own[0].body.get("set")
        plain = isinstance(value, (dict, list)) or ("set" in own[0].body and value is None)
        if len(own) == 1 and plain and re.search(_part_of(name), used_parts):
            # A second publication: what is known of one value would be taken for all that there can be.
            knowledge.unset.add(name)
        if len(own) == 1 and isinstance(value, str) and "{{" not in value and name not in knowledge.unset:
            knowledge.constants[name] = value
        else:
            knowledge.constants.pop(name, None)
    return repr(knowledge) != before


def _part_of(name: str) -> str:
    """A pattern for uses of a part of something published, in JSON."""
    return re.escape(json.dumps(data(name))[1:-1]) + r"[.\[]"


def _untouched(compiler: Compiler, written: list[set[str]]) -> None:
    """Where a name has its first value whatever way was taken."""
    touched: dict[str, set[str]] = {}
    for at, step in enumerate(compiler.layout.steps):
        touched.setdefault(step.site, set()).update(written[at])
    for name in _watched(compiler):
        for site in touched:
            if name not in touched[site]:
                compiler.knowledge.untouched.add((site, name))


def _watched(compiler: Compiler) -> list[str]:
    names = {LAST_MESSAGE, conversation("System")}
    for step in compiler.layout.steps:
        names |= {name for name in (step.writes, *step.reads) if name.startswith("Conversation.")}
    return sorted(names)


def _outputs(compiler: Compiler) -> list[str]:
    return sorted(name for name in compiler.variables.declared if name.startswith("Workflow.Outputs."))


def _finish(compiler: Compiler, root: Node, draft: Draft) -> None:
    """All of the Workflow but what its actions have told."""
    root["kind"].mapped(draft, "what the document is")
    root["name"].mapped(draft.target("metadata.name"))
    root["id"].mapped(draft.target("metadata.name")) if not root["name"] else root["id"].dropped("the name says it")
    trigger = root["trigger"]
    trigger["kind"].dropped("a run begins when somebody starts it", draft.target())
    if trigger["id"] and not root["name"] and not compiler.generic:
        trigger["id"].mapped(draft.target("metadata.name"))
    else:
        trigger["id"].dropped("the workflow has another name", draft.target())
    for key in ("type", "condition", "displayName", "priority"):
        trigger[key].dropped("a run begins when somebody starts it", draft.target())
    trigger.mapped(draft, whole=False)
    root["description"].to(draft, "spec.description")
    root["displayName"].to(draft, "spec.name")
    properties = dict.fromkeys([*(root["inputs"].value or {}), *compiler.variables.inputs])
    if root["inputs"] or compiler.variables.inputs:
        schema = inputs_schema(root["inputs"], draft)
        for name in properties:
            schema["properties"].setdefault(name, {})
        draft.spec["inputSchema"] = schema
    elif compiler.variables.uses_input:
        root["inputs"].defaulted("the input is a text: the user's message", draft.target())
    outputs = _outputs(compiler)
    steps = compiler.layout.manifest()
    draft.spec["steps"] = steps
    published = {step.get("output", {}).get("type") for step in steps if isinstance(step.get("output"), dict)}
    if outputs:
        shown: dict[str, Any] = {}
        for name in outputs:
            place, parts = shown, name.split(".")[2:]
            for part in parts[:-1]:
                place = place.setdefault(part, {}) if isinstance(place.get(part, {}), dict) else place
            if name in published:
                place[parts[-1]] = f"{{{{ {data(name)} }}}}"
        draft.spec["output"] = shown
    elif SENT in published:
        draft.spec["output"] = f"{{{{ {data(SENT)} }}}}"
    _turns(compiler, root, draft, len(steps))
    for variable in compiler.variables.env:
        context_row = (
            f"expressions do not see the environment: write the value of {variable} into step init-Env-{variable}"
        )
        root["actions" if root["actions"] else "trigger"].manual(context_row, draft)
    for name in compiler.variables.unknown:
        root["actions" if root["actions"] else "trigger"].manual(f"{name} has no counterpart here: it is blank", draft)
    root["outputs"].dropped("the workflow's output is what its actions set", draft.target())


def _turns(compiler: Compiler, root: Node, draft: Draft, steps: int) -> None:
    turns = root["maxTurns"]
    if not turns:
        return
    actions = max(1, len({step.site for step in compiler.layout.steps}))
    factor = -(-steps // actions)
    turns.to(
        draft,
        "spec.limits.maxSteps",
        int(turns.value) * factor,
        reason=f"turns are actions, of which one is up to {factor} steps here" if factor > 1 else "",
    )
