"""ARK's Query: a Workflow that asks its targets what the query asks."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from kastra_core.api.meta import JsonObject
from kastra_core.migration import Draft, Node, escape_braces, rewrite
from kastra_plugin_kagent.ark_agents import ArkAgents, names_parameter
from kastra_plugin_kagent.ark_models import ArkModels
from kastra_plugin_kagent.ark_teams import ArkTeams, StepIds, reference_body
from kastra_plugin_kagent.ark_tools import ArkTools
from kastra_plugin_kagent.ark_values import parameters_of
from kastra_plugin_kagent.context import Context, duration
from kastra_plugin_kagent.go_text import render
from kastra_plugin_kagent.model_parts import timeout_of
from kastra_plugin_kagent.things import Thing

__all__ = ["ArkQueries"]

TARGETS = {"agent": "Agent", "team": "Team", "model": "Model", "tool": "Tool"}
_FIELD = re.compile(r"\{\{-?\s*\.([A-Za-z_]\w*)\s*-?\}\}")
_DROPPED = {
    "cancel": "a run is cancelled by itself: kastra run cancel",
    "serviceAccount": "about rights in the cluster",
    "overrides": "headers of calls are those of the models and tools",
}


@attrs.frozen
class _Target:
    kind: str
    """agent, workflow, network or tool."""
    name: str
    draft: Draft | None


@attrs.define(eq=False)
class ArkQueries:
    """Migrates queries."""

    ctx: Context
    models: ArkModels
    agents: ArkAgents
    teams: ArkTeams
    tools: ArkTools

    def migrate(self, thing: Thing) -> None:
        draft, spec = self.ctx.draft("Workflow", thing, word="query"), thing.node["spec"]
        if not spec.is_map:
            thing.node.problem("expected spec, an object")
            return
        self.ctx.envelope(thing, draft)
        text, schema = self._input(thing, draft, spec)
        if schema:
            draft.set("spec.inputSchema", schema)
        targets = self._targets(thing, draft, spec)
        self._steps(draft, targets, text, spec["input"])
        timeout_of(draft, spec["timeout"])
        self._rest(thing, draft, spec)

    # ------------------------------------------------------------------------------------------------ input

    def _input(self, thing: Thing, draft: Draft, spec: Node) -> tuple[str, JsonObject]:
        """The input as a template, and the schema of what it asks of a run."""
        node = spec["input"]
        if node.is_list or node.is_map:
            text = "\n\n".join(_message(item) for item in node.items()) if node.is_list else json.dumps(node.value)
        else:
            text = node.text()
        if not text:
            (node if node.present else spec).problem("expected input, what is asked", "write input: TEXT")
        parameters = parameters_of(self.ctx, thing, spec["parameters"])
        target = draft.target("spec.steps")
        if not parameters:
            node.mapped(target)
            return escape_braces(text), {}
        properties: JsonObject = {}
        required: list[str] = []
        for one in parameters:
            at = draft.target(f"spec.inputSchema.properties.{one.name}")
            if not names_parameter(text, one.name):
                one.node["name"].dropped("the input does not name it")
                one.value.dropped("the input does not name it")
                continue
            one.node["name"].mapped(at, "an input of the workflow")
            properties[one.name] = {"type": "string"}
            if one.value.text is not None:
                properties[one.name]["default"] = one.value.text
                for part in one.value.nodes:
                    part.mapped(at, "what it is where a run does not say otherwise")
            else:
                required = [*(name for name in required if name != one.name), one.name]
                one.value.manual(at, f"give it to each run: --set {one.name}=... ({one.value.told})")
        schema: JsonObject = {"type": "object", "properties": properties}
        if required:
            schema["required"] = required
        return self._template(node, text, properties, target), schema if properties else {}

    def _template(self, node: Node, text: str, properties: Mapping[str, Any], target: str) -> str:
        plain = _FIELD.sub("", text)
        if "{{" in plain:  # conditions and the like: what is known is filled in once and for all
            known = {name: one["default"] for name, one in properties.items() if "default" in one}
            result = render(text, known)
            if result.left:
                left = [one for one in result.left if not _FIELD.fullmatch(one)]
                if left:
                    node.manual(f"what could not be filled in is left in the text: {', '.join(left)}", target)
            text = result.text

        def translate(found: re.Match[str]) -> str | None:
            return f"workflow.input.{found[1]}" if found[1] in properties else None

        node.mapped(target, "with the inputs of the workflow in place of the parameters")
        return rewrite(text, _FIELD, translate)

    # ------------------------------------------------------------------------------------------------ targets

    def _targets(self, thing: Thing, draft: Draft, spec: Node) -> list[_Target]:
        out: list[_Target] = []
        listed = spec["targets"].items() if spec["targets"].list() else []
        if spec["target"].is_map:
            listed = [spec["target"], *listed]
        for item in listed:
            self._listed(thing, draft, item, out)
        selectors = [(spec["selector"], "")] if spec["selector"].is_map else []
        selectors += [(one["labelSelector"], one["type"].text()) for one in spec["selectors"].items()]
        for selector, word in selectors:
            self._selected(thing, draft, selector, word, out)
        for one in spec["selectors"].items():
            for key, node in one.fields():
                if key == "type":
                    node.manual("it narrows the choice, which was made once: see the selector", draft)
                elif key != "labelSelector":
                    node.dropped("not known to ARK's queries")
        if not listed and not selectors:
            spec.problem("expected targets or selector, whom to ask", "write targets: [{type: agent, name: NAME}]")
        return out

    def _listed(self, thing: Thing, draft: Draft, item: Node, out: list[_Target]) -> None:
        word, name = item["type"].text(), item["name"].text()
        if word not in TARGETS:
            item["type"].problem(f"expected one of {', '.join(TARGETS)}, found string {word!r}")
            return
        if not name:
            item.problem("expected name, whom to ask")
            return
        target = self._target(thing, word, name)
        at = draft.target("spec.steps")
        item["type"].mapped(at)
        if target.draft is None:
            told = f"there is no {word} {name} here: migrate its file too; until then the workflow is not ready"
            item["name"].manual(told, at)
        else:
            item["name"].mapped(at)
        out.append(target)
        for key, node in item.fields():
            if key not in ("name", "type"):
                node.dropped("not known to ARK's queries")

    def _target(self, thing: Thing, word: str, name: str) -> _Target:
        if word == "model":
            found = self.ctx.things.find(("Model",), name, thing.namespace, thing)
            if found is not None:
                return _Target("agent", name, self.models.agent(found))
            return _Target("agent", name if name.endswith("model") else f"{name}-model", None)
        if word == "tool":
            found = self.ctx.things.find(("Tool",), name, thing.namespace, thing)
            caller = self.tools.called(found) if found is not None else None
            if caller is not None:
                return self._target(thing, *caller)
            return _Target("tool", name, self.tools.drafts.get(id(found)) if found is not None else None)
        pair = self.agents.find(name, thing) if word == "agent" else self.teams.find(name, thing)
        if pair is not None:
            return _Target(pair[1].kind.lower(), name, pair[1])
        return _Target("agent" if word == "agent" else "workflow", name, None)

    def _selected(self, thing: Thing, draft: Draft, selector: Node, word: str, out: list[_Target]) -> None:
        kinds = (TARGETS[word],) if word in TARGETS else tuple(TARGETS.values())
        chosen = [
            one
            for one in self.ctx.things.own(*kinds)
            if one.namespace == thing.namespace and _matches(selector, one.labels)
        ]
        words = {kind: key for key, kind in TARGETS.items()}
        for one in chosen:
            target = self._target(one, words[one.kind], one.name)
            if all((target.kind, target.name) != (have.kind, have.name) for have in out):
                out.append(target)
        names = ", ".join(one.shown for one in chosen) or "nobody"
        told = (
            f"labels choose whom to ask when the query runs; here it was done once, and the choice is {names}: add a "
            "step for whoever comes later"
        )
        for part in [node for _, node in selector.fields()] or [selector]:
            part.manual(told, draft.target("spec.steps"))

    # ------------------------------------------------------------------------------------------------ steps

    def _steps(self, draft: Draft, targets: Sequence[_Target], text: str, said: Node) -> None:
        ids = StepIds(("all",))
        steps = [self._step(draft, target, text, ids, said) for target in targets]
        if not steps:
            told = "the labels of the query choose nobody: name the agents to ask in steps of this workflow"
            fail = {"id": "nobody", "fail": {"reason": "NoTarget", "message": told}}
            draft.set("spec.steps", [{"id": "question", "set": text}, fail])
        elif len(steps) == 1:
            draft.set("spec.steps", steps)
        else:
            draft.set("spec.steps", [{"id": "all", "parallel": steps}])

    def _step(self, draft: Draft, target: _Target, text: str, ids: StepIds, said: Node) -> JsonObject:
        body = reference_body(self.ctx, target.kind, target.name, target.draft, draft.namespace)
        step: JsonObject = {"id": ids.give(target.name), **body}
        if target.kind != "tool":
            step["input"] = text
            if target.draft is not None and self.agents.ends_teams(target.draft):
                step["output"] = "{{ result.answer }}"
            return step
        try:
            arguments = json.loads(text)
        except ValueError:
            arguments = None
        if isinstance(arguments, dict):
            return {**step, "arguments": arguments}
        schema = target.draft.get("spec.inputSchema", {}) if target.draft is not None else {}
        known, required = schema.get("properties") or {}, schema.get("required") or []
        name = "input" if "input" in known or len(required) != 1 else str(required[0])
        if name != "input":
            said.defaulted(
                f"ARK hands a text over as `input`, which the tool does not take: it is its {name} here", draft
            )
        return {**step, "arguments": {name: text}}

    def _rest(self, thing: Thing, draft: Draft, spec: Node) -> None:
        for key, node in spec.fields():
            if key == "sessionId":
                node.manual(
                    f"a thread keeps a conversation: give it to runs of the agent or network, --thread {node.text()}",
                    draft,
                )
            elif key == "memory":
                node.dropped("conversations are kept in threads: a run of the agent or network takes one by --thread")
            elif key in ("evaluators", "evaluatorSelector"):
                node.manual("nobody judges an answer by itself: add a step with an agent that judges it", draft)
            elif key == "ttl":
                hint = f", for example ttl: {duration(node.value)}" if duration(node.value) else ""
                node.dropped(f"how long runs are kept is said by a RetentionPolicy{hint}")
            elif key == "type":
                node.dropped("what is asked is a text here")
            elif key in _DROPPED:
                node.dropped(_DROPPED[key])
            elif key not in ("input", "parameters", "selector", "selectors", "target", "targets", "timeout"):
                node.dropped("not known to ARK's queries")
            elif key in ("targets", "selectors", "parameters") and not node.value:
                node.dropped("it is empty")


def _message(item: Node) -> str:
    content = item["content"].value if item.is_map else item.value
    return content if isinstance(content, str) else json.dumps(content)


def _matches(selector: Node, labels: Mapping[str, str]) -> bool:
    """Whether labels fit a selector of Kubernetes."""
    wanted = selector["matchLabels"]
    if any(labels.get(key) != node.text() for key, node in wanted.fields()):
        return False
    for one in selector["matchExpressions"].items():
        key, operator = one["key"].text(), one["operator"].text()
        values = [str(value) for value in one["values"].list()]
        fits = {
            "In": key in labels and labels[key] in values,
            "NotIn": labels.get(key) not in values,
            "Exists": key in labels,
            "DoesNotExist": key not in labels,
        }
        if not fits.get(operator, False):
            return False
    return bool(wanted.value or selector["matchExpressions"].value)
