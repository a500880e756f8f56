"""Rows of a flow's keys that are not those of an action: order, routes, questions to people, settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kastra_core.migration import Draft, Node
from kastra_plugin_crewai.flow_graph import Events
from kastra_plugin_crewai.flow_model import Action, Flow, Method

__all__ = ["flow_rows", "method_rows"]

_LOGS = "Kastra tells what happens by its own means: `kastra logs`, `kastra explain`"
_CONFIG = {
    "tracing": _LOGS,
    "suppress_flow_events": _LOGS,
    "defer_trace_finalization": _LOGS,
    "stream": "answers are streamed where the command asks for it",
    "checkpoint": "every run is durable and goes on after a crash",
}
_PERSIST = "every run is durable and goes on after a crash; a further run begins anew, with the input that it is given"
_LEARN = "nothing is learnt of answers: put what they say into the instructions"
_TOGETHER = "so many runs of each of the steps with the turns of their agents, taken together"
_MOST_CALLS = 100
_TURNS = 25
"""Of an agent, in CrewAI and here, unless its limits say otherwise."""
_TASKS, _ITEMS = 10, 100
"""Allowed for a crew in another file, and for the items of a loop, whose numbers nobody knows beforehand."""


def flow_rows(flow: Flow, draft: Draft, *, events: Events, why: str, made: Sequence[Mapping[str, Any]]) -> None:
    """Write the rows of a flow's own keys.

    Args:
        why: the reason why it has no form as blocks; "" when it has.
        made: the steps of the workflow.
    """
    steps = sum(map(_weight, made)) + sum(_crew_turns(method.action) for method in flow.methods.values())
    root = flow.node
    if root["schema"].present:
        root["schema"].mapped(draft)
    root["name"].mapped(draft.target("metadata.name"))
    _description(root["description"], draft, "spec.description")
    if why:
        told = f"the methods run one after the other, by a list of those that are due: {why}"
        root["methods"].mapped(draft.target("spec.steps"), told, whole=False)
    if root["methods"].present and not root["methods"].value:
        root["methods"].dropped("empty")
    config = root["config"]
    if config.present and not config.value:
        config.dropped("empty")
    for key, child in config.fields():
        if key in _CONFIG:
            child.dropped(_CONFIG[key])
        elif key == "max_method_calls" and isinstance(child.value, int) and not isinstance(child.value, bool):
            most = max(1, child.value) * max(1, steps)
            child.to(draft, "spec.limits.maxSteps", most, reason=_TOGETHER)
        elif not child:
            child.dropped("null: as if it were not there")
        elif key == "memory":
            child.manual("what is remembered belongs to a thread: run with --thread, and see Agent spec.memory", draft)
        elif key == "input_provider":
            child.manual(f"hand over with each run what {child.value} gave", draft.target("spec.inputSchema"))
    _persist(root["persist"])
    if not config["max_method_calls"] and any(name in events.reach(events.following(name)) for name in flow.methods):
        most = _MOST_CALLS * max(1, steps)
        draft.set("spec.limits.maxSteps", most)
        config["max_method_calls"].defaulted(
            f"CrewAI stops after 100 runs of a method; {_TOGETHER}", draft.target("spec.limits.maxSteps")
        )


def _weight(step: Mapping[str, Any]) -> int:
    """What one run of a step may add to spec.limits.maxSteps, which counts the turns of its agents as well."""
    inner = 0
    for form in ("foreach", "loop", "branch", "parallel"):
        block = step.get(form)
        if not isinstance(block, Mapping):
            continue
        default = block.get("default")
        parts = [block, *block.get("branches", ()), *block.get("cases", ())]
        parts += [default] if isinstance(default, Mapping) else []
        found = sum(_weight(one) for part in parts for one in part.get("steps", ()))
        inner += found * (_ITEMS if form == "foreach" else 1)
    return 1 + inner + (_TURNS if "agent" in step else 0)


def _crew_turns(action: Action) -> int:
    """Of a crew, which is a workflow of its own: a step for each task and the turns of its agent."""
    if action.call == "each":
        return _ITEMS * sum(_crew_turns(step.action) for step in action.steps)
    if action.call != "crew":
        return 0
    return (1 + _TURNS) * (len(action.node["with"]["tasks"].items()) or _TASKS)


def _description(node: Node, draft: Draft, path: str) -> None:
    if node.present and (node.value is None or not str(node.value).strip()):
        node.dropped("empty")
    elif node:
        node.to(draft, path, node.text().strip())


def _persist(node: Node) -> None:
    if node.present:
        node.dropped(_PERSIST)


def method_rows(method: Method, events: Events, draft: Draft, step: str, asked: str) -> None:
    """Write the rows of a method's keys beside its action.

    Args:
        step: id of its step; "" when nothing ever starts it.
        asked: id of the step that asks a person.
    """
    node = method.node
    if not step:
        node.dropped(
            "nothing ever starts it: no method that can run, and no answer of a router, bears what it listens to"
        )
        return
    target = draft.target(f"step {step}")
    if node["description"].present:
        if str(node["description"].value or "").strip():
            node["description"].mapped(f"{target} description")
        else:
            node["description"].dropped("empty")
    _order_rows(method, events, target)
    _persist(node["persist"])
    if method.feedback is not None:
        _feedback_rows(method, events, draft.target(f"step {asked}"))
    elif node["human_feedback"].present:
        node["human_feedback"].dropped("null: as if it were not there")


def _order_rows(method: Method, events: Events, target: str) -> None:
    node = method.node
    if node["start"].present and not method.start:
        node["start"].dropped("it is no start method")
    elif method.start_when is not None and method.name in events.starts:
        _events_rows(node["start"], events, target, "the flow begins with it, and comes back to it", labels=True)
    elif method.start_when is not None:
        _events_rows(node["start"], events, target, "a router's answer leads to it", labels=True)
    elif node["start"].present:
        node["start"].mapped(target, "the flow begins with it")
    listen = node["listen"]
    if listen.present and method.start:
        listen.dropped("a start method does not listen; CrewAI passes it over, too")
    elif listen.present and not listen:
        listen.dropped("null: as if it were not there")
    elif listen:
        _events_rows(listen, events, target, "its place in the order")
    router = node["router"]
    if router.present:
        if method.router and method.feedback is not None and method.feedback.emit and router.value is not True:
            router.dropped("the answer of the person routes")
        elif method.router:
            router.mapped(target, "its answer chooses what follows")
        else:
            router.dropped("off, as it is without a word")
    emit = node["emit"]
    if not emit.present:
        return
    if method.feedback is not None and method.feedback.emit:
        emit.dropped("the outcomes of human_feedback are those that count")
    elif method.emit is None:
        emit.dropped("only a router emits" if emit else "null: as if it were not there")
    else:
        _labels_rows(emit, method, events, target)


def _labels_rows(emit: Node, method: Method, events: Events, target: str) -> None:
    if not emit.value:
        emit.dropped("empty")
    heard = events.labels(method.name)
    seen: set[str] = set()
    for item in emit.items():
        if item.value in seen:
            item.dropped("said before")
        elif item.value in heard:
            item.mapped(target, "a case of the branch")
        else:
            item.dropped("nothing listens to it: the flow ends there")
        seen.add(str(item.value))


def _events_rows(node: Node, events: Events, target: str, reason: str, *, labels: bool = False) -> None:
    """Rows of a condition: of each event one, as some of them never happen."""
    reachable = events.reachable()
    happening = {label for name in reachable for label in events.labels(name)}
    if not labels:
        happening |= set(reachable)

    def visit(place: Node) -> None:
        if isinstance(place.value, str):
            if place.value in happening:
                place.mapped(target, reason)
            else:
                place.dropped("this never happens: no method that can run has the name, and no router answers with it")
        for _, child in place.fields():
            for item in child.items():
                visit(item)

    visit(node)


def _feedback_rows(method: Method, events: Events, target: str) -> None:
    assert method.feedback is not None
    node = method.feedback.node
    for key, child in node.fields():
        if key == "message":
            child.mapped(f"{target} suspend.message", "with the output of the method")
        elif key == "emit":
            _outcomes(child, method, target)
        elif key == "default_outcome" and method.feedback.emit and child:
            child.mapped(f"{target} suspend.schema", "when the person names none")
        elif key == "default_outcome":
            child.dropped("there are no outcomes to choose from")
        elif key == "llm":
            child.dropped("the person chooses the outcome; no model reads it out of a text")
        elif key == "metadata":
            child.dropped("a question has no further data" if child.value else "empty")
        elif key == "provider" and child:
            child.manual("the answer comes by `kastra run resume`: let who asks the people call that", target)
        elif key in ("learn", "learn_source", "learn_strict", "provider"):
            child.dropped(_LEARN if child.value else "off, as it is without a word")


def _outcomes(emit: Node, method: Method, target: str) -> None:
    if not emit.value:
        emit.dropped("empty")
    seen: set[str] = set()
    for item in emit.items():
        if item.value in seen:
            item.dropped("said before")
        else:
            item.mapped(f"{target} suspend.schema", "an outcome to choose")
        seen.add(str(item.value))
