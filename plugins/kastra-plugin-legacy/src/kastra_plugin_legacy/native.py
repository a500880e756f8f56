"""Tells a manifest of today from an older one: such a manifest comes out as it is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

__all__ = ["is_native"]

_AGENT = {"description", "instructions", "limits", "memory", "model", "output", "scaling", "toolChoice", "tools"}
_MODEL = {"apiBase", "apiKey", "maxTokens", "name", "options", "parameters", "provider", "temperature", "timeoutS"}
_MEMORY = {"enabled", "maxMessages", "maxTokens", "recall", "summary", "type", "workingMemory"}
_USE = {"description", "examples", "kind", "name", "namespace", "ref", "refName"}
_TOOL = {"description", "http", "idempotent", "inputSchema", "outputSchema", "python", "retry", "timeout", "type"}
_NETWORK = {
    *("agents", "description", "instructions", "limits", "memory", "networks", "router", "scaling", "state", "tools"),
    "workflows",
}
_ROUTER = {
    *("answer", "embeddings", "fallback", "instructions", "margin", "maxRepairs", "maxSteps", "model", "options"),
    *("timeout", "type"),
}
_STATE = {"persistence", "tools", "ttl"}
_WORKFLOW = {
    *("description", "initialStep", "inputSchema", "limits", "name", "onFailure", "output", "outputSchema", "retry"),
    *("scaling", "schedule", "steps", "timeout"),
}
_BODIES = {
    *("agent", "branch", "fail", "foreach", "loop", "network", "operation", "parallel", "set", "sleep", "succeed"),
    *("suspend", "tool", "waitForEvent", "workflow"),
}
_STEP = {"arguments", "description", "id", "input", "name", "next", "onFailure", "output", "retry", "timeout", *_BODIES}
_ENTRY = {"annotations", "labels", "name", "spec"}
_SYSTEM = {"agents": "Agent", "networks": "Network", "tools": "Tool", "workflows": "Workflow"}
_OLDER_TEXT = re.compile(
    r"\$\{[A-Za-z]|\{\{[#/]|\{\{\s*step\.|^\s*\$[A-Za-z_]\w*(\.\w+)*\s*$|\{\{[^}\"]{0,200}\|\s*json"
)
"""Spellings of expressions that are not those of today."""
_MILLISECONDS = 1000
"""A time-out of so much was never meant in seconds: older steps counted milliseconds."""


def is_native(kind: str, spec: Any) -> bool:
    """Whether a spec is one of today, by its fields; of the group mastra.ai, version v1."""
    check = _CHECKS.get(kind)
    return isinstance(spec, Mapping) and check is not None and check(spec)


def _within(value: Any, known: set[str]) -> bool:
    return isinstance(value, Mapping) and set(value) <= known


def _is_text(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _model(value: Any) -> bool:
    if isinstance(value, str):
        return re.fullmatch(r"[^/$\s]+/[^$]+", value) is not None
    if value is None:
        return True
    words = (value.get("provider"), value.get("name")) if isinstance(value, Mapping) else (None, None)
    if not (_within(value, _MODEL) and all(isinstance(word, str) and word and "$" not in word for word in words)):
        return False
    base = value.get("apiBase")
    stand_in = "mock" in words or "mock-model" in words
    return not stand_in and not isinstance(value.get("apiKey"), str) and not (isinstance(base, str) and "$" in base)


def _uses(value: Any) -> bool:
    if isinstance(value, Mapping):
        items = list(value.values())
    elif isinstance(value, list):
        items = value
    else:
        return value is None
    return all(
        (isinstance(one, str) and not one.startswith((".", "/")) and bool(one)) or (_within(one, _USE) and bool(one))
        for one in items
    )


def _agent(spec: Mapping[str, Any]) -> bool:
    memory, output = spec.get("memory"), spec.get("output")
    return (
        bool(spec)
        and set(spec) <= _AGENT
        and _is_text(spec.get("instructions"))
        and _is_text(spec.get("description"))
        and _model(spec.get("model"))
        and _uses(spec.get("tools"))
        and (
            memory is None
            or (_within(memory, _MEMORY) and str(memory.get("type", "buffer")) in ("buffer", "summary", "vector"))
        )
        and (output is None or (isinstance(output, Mapping) and isinstance(output.get("schema"), Mapping)))
    )


def _tool(spec: Mapping[str, Any]) -> bool:
    kind = spec.get("type")
    return set(spec) <= _TOOL and kind in ("python", "http") and isinstance(spec.get(str(kind)), Mapping)


def _network(spec: Mapping[str, Any]) -> bool:
    router, state = spec.get("router"), spec.get("state")
    lists = [spec[name] for name in ("agents", "workflows", "tools", "networks") if spec.get(name)]
    return (
        set(spec) <= _NETWORK
        and bool(lists)
        and all(isinstance(one, list) and _uses(one) for one in lists)
        and (router is None or (_within(router, _ROUTER) and _model(router.get("model"))))
        and (state is None or state is True or _within(state, _STATE))
    )


def _workflow(spec: Mapping[str, Any]) -> bool:
    steps = spec.get("steps")
    if not (set(spec) <= _WORKFLOW and isinstance(steps, list) and steps):
        return False
    blocks = [steps, *([spec["onFailure"]] if isinstance(spec.get("onFailure"), list) else [])]
    return all(_block(one) for one in blocks) and not any(_OLDER_TEXT.search(text) for text in _texts(spec))


def _block(steps: Any) -> bool:
    if not isinstance(steps, list):
        return False
    ids = {step["id"] for step in steps if isinstance(step, Mapping) and isinstance(step.get("id"), str)}
    for step in steps:
        if not (_within(step, _STEP) and isinstance(step.get("id"), str) and len(_BODIES & set(step)) == 1):
            return False
        following, timeout = step.get("next"), step.get("timeout")
        if following is not None and (not isinstance(following, str) or following not in {"END", *ids}):
            return False
        if isinstance(timeout, (int, float)) and timeout >= _MILLISECONDS:
            return False
        if isinstance(step.get("agent"), Mapping) and not _within(step["agent"], _USE):
            return False
        if not all(_block(block) for block in _blocks(step)):
            return False
    return True


def _blocks(step: Mapping[str, Any]) -> Iterator[Any]:
    for name in ("foreach", "loop", "onFailure"):
        body = step.get(name)
        if isinstance(body, Mapping) and "steps" in body:
            yield body["steps"]
    branch = step.get("branch")
    cases = branch.get("cases") if isinstance(branch, Mapping) else branch
    default = branch.get("default") if isinstance(branch, Mapping) else None
    parallel = step.get("parallel")
    branches = parallel.get("branches") if isinstance(parallel, Mapping) else parallel
    for one in (
        *(cases if isinstance(cases, list) else ()),
        default,
        *(branches if isinstance(branches, list) else ()),
    ):
        if isinstance(one, Mapping) and "steps" in one:
            yield one["steps"]
        elif isinstance(one, Mapping) and "id" in one:
            yield [one]


def _texts(value: Any) -> Iterator[str]:
    todo = [value]
    while todo:
        one = todo.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, Mapping):
            todo.extend(one.values())
        elif isinstance(one, list):
            todo.extend(one)


def _system(spec: Mapping[str, Any]) -> bool:
    if not spec or set(spec) - {*_SYSTEM, "resources", "include"}:
        return False
    for name, kind in _SYSTEM.items():
        entries = spec.get(name) or []
        if not isinstance(entries, list):
            return False
        for entry in entries:
            if not (_within(entry, {"file"}) or (_within(entry, _ENTRY) and is_native(kind, entry.get("spec")))):
                return False
    resources = spec.get("resources") or []
    return isinstance(resources, list) and all(
        isinstance(one, Mapping)
        and (
            one.get("kind") not in _CHECKS
            or (one.get("apiVersion") == "mastra.ai/v1" and is_native(one["kind"], one.get("spec")))
        )
        for one in resources
    )


_CHECKS: Mapping[str, Callable[[Mapping[str, Any]], bool]] = {
    "Agent": _agent,
    "Network": _network,
    "RetentionPolicy": bool,
    "System": _system,
    "Tool": _tool,
    "Workflow": _workflow,
}
