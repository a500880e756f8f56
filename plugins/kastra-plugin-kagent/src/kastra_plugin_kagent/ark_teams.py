"""ARK's Team: a Workflow where the order is fixed, a Network where a model chooses who is next."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import attrs

from kastra_core.api.meta import JsonObject
from kastra_core.migration import Draft, Node, escape_braces
from kastra_plugin_kagent.ark_agents import ArkAgents
from kastra_plugin_kagent.ark_models import ArkModels
from kastra_plugin_kagent.ark_tools import TERMINATE
from kastra_plugin_kagent.context import Context, text_to
from kastra_plugin_kagent.go_text import render
from kastra_plugin_kagent.things import Thing

__all__ = ["ArkTeams", "StepIds", "reference_body"]

STRATEGIES = ("sequential", "round-robin", "graph", "selector")
_ASK = (
    'There is no tool terminate here. To end the conversation answer {"terminate": true, "answer": your final '
    'response}, else {"terminate": false, "answer": what you have to say}.'
)


class StepIds:
    """Gives steps ids that are valid and one of a kind."""

    def __init__(self, taken: Sequence[str] = ()) -> None:
        self._taken = set(taken)

    def give(self, name: str) -> str:
        plain = re.sub(r"[^A-Za-z0-9_-]", "-", name).strip("-") or "step"
        plain = plain if plain[0].isalpha() else f"s-{plain}"
        out, number = plain, 1
        while out in self._taken:
            number += 1
            out = f"{plain}-{number}"
        self._taken.add(out)
        return out


def reference_body(ctx: Context, kind: str, name: str, draft: Draft | None, namespace: str) -> JsonObject:
    """The body of a step that calls a resource; one that is not here is called by its name."""
    reference = ctx.reference("", draft, namespace) if draft is not None else name
    reference = f"{kind}s/{reference}" if draft is None and "." in reference else reference
    return {kind: reference}


@attrs.frozen
class _Member:
    name: str
    kind: str
    """agent, workflow or network."""
    draft: Draft | None
    node: Node
    ends: bool = False
    """It may end the conversation."""
    description: str = ""


@attrs.define(eq=False)
class ArkTeams:
    """Migrates teams."""

    ctx: Context
    models: ArkModels
    agents: ArkAgents
    drafts: dict[int, Draft] = attrs.field(factory=dict)

    def begin(self) -> None:
        for thing in self.ctx.things.own("Team"):
            kind = "Network" if thing.node["spec"]["strategy"].value == "selector" else "Workflow"
            self.drafts[id(thing)] = self.ctx.draft(kind, thing)

    def find(self, name: str, near: Thing) -> tuple[Thing, Draft] | None:
        thing = self.ctx.things.find(("Team",), name, near.namespace, near)
        return (thing, self.drafts[id(thing)]) if thing is not None else None

    def migrate(self, thing: Thing) -> None:
        draft, spec = self.drafts[id(thing)], thing.node["spec"]
        if not spec.is_map:
            thing.node.problem("expected spec, an object")
            return
        self.ctx.envelope(thing, draft)
        text_to(spec["description"], draft, "spec.description")
        strategy = spec["strategy"].text()
        if strategy not in STRATEGIES:
            place = spec["strategy"] if spec["strategy"] else spec
            place.problem(f"expected strategy, one of {', '.join(STRATEGIES)}, found {strategy or 'none'!r}")
            return
        members = self._members(thing, spec)
        if not members:
            if not spec["members"].items():
                spec.problem("expected members, the agents of the team", "write members: [{name: NAME, type: agent}]")
            return
        spec["strategy"].mapped(draft, "that of the workflow" if draft.kind == "Workflow" else "a model routes")
        turns = spec["maxTurns"]
        count = turns.value if isinstance(turns.value, int) and not isinstance(turns.value, bool) else 0
        if turns.present and count < 1:
            turns.dropped("it bounds nothing")
        if strategy == "selector":
            self._network(thing, draft, spec, members, turns if count else None)
        else:
            self._workflow(thing, draft, spec, members, strategy, turns if count else None)
        for key, node in spec.fields():
            if key in ("graph", "selector") and key != strategy:
                self._idle(node, key, strategy, draft)
            elif key not in ("description", "graph", "maxTurns", "members", "selector", "strategy"):
                node.dropped("not known to ARK's teams")

    def _idle(self, node: Node, key: str, strategy: str, draft: Draft) -> None:
        if strategy == "selector" and key == "graph":
            node.manual("the router is free to choose: say in spec.router.instructions who may follow whom", draft)
        else:
            node.dropped(f"of the strategy {key}; the team has {strategy}")

    def _members(self, thing: Thing, spec: Node) -> list[_Member]:
        out = []
        for item in spec["members"].list() and spec["members"].items():
            name, word = item["name"].text(), item["type"].text()
            if not name:
                item.problem("expected name, the agent or team")
            elif word not in ("agent", "team"):
                item["type"].problem(f"expected one of agent, team, found string {word!r}")
            elif name == thing.name and word == "team":
                item["name"].problem("a team may not be a member of itself")
            else:
                found = self.agents.find(name, thing) if word == "agent" else self.find(name, thing)
                kind = found[1].kind.lower() if found is not None else "agent" if word == "agent" else "workflow"
                ends = found is not None and word == "agent" and self.agents.terminates(found[0])
                if found is not None and ends and spec["strategy"].value != "selector":
                    ends = not found[0].node["spec"]["outputSchema"]
                    self.agents.in_teams |= {id(found[0])} if ends else set()
                elif found is not None and ends:
                    self.agents.in_networks.add(id(found[0]))
                told = found[0].node["spec"]["description"].text() if found is not None else ""
                out.append(_Member(name, kind, found[1] if found is not None else None, item, ends, told))
            for key, node in item.fields():
                if key not in ("name", "type"):
                    node.dropped("not known to ARK's teams")
        return out

    # ------------------------------------------------------------------------------------------------ workflows

    def _workflow(
        self, thing: Thing, draft: Draft, spec: Node, members: list[_Member], strategy: str, turns: Node | None
    ) -> None:
        first, again = self._order(spec, members, strategy, draft)
        if not (first or again):
            return
        ids = StepIds(("talk", "turn", "rounds"))
        names = [ids.give(member.name) for member in (*first, *again)]
        self._tell_members(draft, members, (*first, *again))
        draft.set("spec.inputSchema", {"type": "string"})
        steps, said = self._calls(
            draft, list(zip(first, names, strict=False)), "{{ workflow.input }}", ids, bool(again)
        )
        if not again:
            draft.set("spec.steps", steps)
            if turns is not None:
                self._bound_path(draft, turns, [step for _, step in said], steps)
            return
        talk = _talk("{{ workflow.input }}", said)
        loop = self._loop(draft, list(zip(again, names[len(first) :], strict=True)), ids)
        most = None
        if turns is not None:
            most = turns.value if strategy == "round-robin" else -(-(turns.value - len(first)) // len(again))
            most = max(1, most)
            loop["maxIterations"] = most
            loop["onLimit"] = "stop"
            turns.mapped(draft.target("spec.steps"), "passes of the loop, which then ends with the last answer")
        else:
            spec["maxTurns"].defaulted("the loop fails after 100 passes if nobody ends it", draft.target("spec.steps"))
        last = f"{{{{ steps.{said[-1][1]}.output }}}}" if said else ""
        rounds = {"id": "rounds", "input": {"talk": talk, "last": last, "done": False}, "loop": loop}
        answer = "{{ steps.rounds.output.last }}"
        if any(member.ends for member in first):  # then the rounds may never begin, and the last step is the answer
            draft.set("spec.steps", [*steps, rounds, {"id": ids.give("answer"), "set": answer}])
        else:
            draft.set("spec.steps", [*steps, rounds])
            draft.set("spec.output", answer)

    def _order(
        self, spec: Node, members: list[_Member], strategy: str, draft: Draft
    ) -> tuple[list[_Member], list[_Member]]:
        """Members that are called once, in order, and those that are called again and again after them."""
        if strategy == "sequential":
            return members, []
        if strategy == "round-robin":
            return [], members
        follows = self._edges(spec, [member.name for member in members], draft)
        if not follows:
            return [], []
        by_name = {member.name: member for member in reversed(members)}
        path: list[str] = []
        at: str | None = members[0].name
        while at is not None and at not in path:
            path.append(at)
            at = follows.get(at)
        start = path.index(at) if at is not None else len(path)
        return [by_name[name] for name in path[:start]], [by_name[name] for name in path[start:]]

    def _edges(self, spec: Node, names: list[str], draft: Draft) -> dict[str, str]:
        follows: dict[str, str] = {}
        edges = spec["graph"]["edges"]
        if not edges.items():
            (edges if edges.present else spec).problem("the strategy graph needs graph.edges, at least one edge")
        for edge in edges.items():
            for key in ("from", "to"):
                if edge[key].text() not in names:
                    edge[key].problem(f"expected a member of the team, found {edge[key].text()!r}")
            if edge["from"].text() in follows:
                edge["from"].problem(f"the member {edge['from'].text()!r} has more than one edge that leads on")
            follows[edge["from"].text()] = edge["to"].text()
        if not all(name in names for pair in follows.items() for name in pair):
            return {}
        at, seen = names[0], {names[0]}
        while at in follows and follows[at] not in seen:
            at = follows[at]
            seen.add(at)
        for edge in edges.items():
            for key, node in edge.fields():
                if key not in ("from", "to"):
                    node.dropped("not known to ARK's teams")
                elif edge["from"].text() in seen:
                    node.mapped(draft.target("spec.steps"), "the order of the steps")
                else:
                    node.dropped(f"nothing leads from {names[0]} to it")
        return follows

    def _tell_members(self, draft: Draft, members: list[_Member], called: Sequence[_Member]) -> None:
        reached = {id(member) for member in called}
        for member in members:
            if id(member) not in reached:
                member.node["name"].dropped("no edge leads to it, so it is never called")
                member.node["type"].dropped("no edge leads to it, so it is never called")
            else:
                self._tell_member(draft, member, "spec.steps")

    def _tell_member(self, draft: Draft, member: _Member, at: str) -> None:
        if member.draft is not None:
            member.node["name"].mapped(draft.target(at))
        else:
            word = member.node["type"].text()
            told = f"there is no {word} {member.name} here: migrate its file too; until then the team is not ready"
            member.node["name"].manual(told, draft.target(at))
        member.node["type"].mapped(draft.target(at))

    def _calls(
        self, draft: Draft, members: list[tuple[_Member, str]], before: str, ids: StepIds, more: bool
    ) -> tuple[list[JsonObject], list[tuple[str, str]]]:
        """Calls one after the other; each member is told what was said before.

        Args:
            more: something comes after them.

        Returns:
            The steps, and for each member its name and the step with what it said.
        """
        steps: list[JsonObject] = []
        said: list[tuple[str, str]] = []
        for at, (member, name) in enumerate(members, 1):
            steps += self._call(draft, member, name, _talk(before, said), ids)
            said.append((member.name, str(steps[-1]["id"])))
            if member.ends and (more or at < len(members)):
                steps.append({"id": ids.give(f"{name}-end"), "branch": [{"when": _ends(name), "next": "END"}]})
        return steps, said

    def _call(self, draft: Draft, member: _Member, name: str, text: str, ids: StepIds) -> list[JsonObject]:
        """A member's step; after one that may end the talk another one, with nothing but what it said."""
        step = {"id": name, **reference_body(self.ctx, member.kind, member.name, member.draft, draft.namespace)}
        if not member.ends:
            return [{**step, "input": text}]
        return [
            {**step, "input": f"{text}\n\n{escape_braces(_ASK)}"},
            {"id": ids.give(f"{name}-said"), "set": _answer(name)},
        ]

    def _loop(self, draft: Draft, members: list[tuple[_Member, str]], ids: StepIds) -> JsonObject:
        """Passes over all members; ``talk`` is what was said so far, ``last`` the last answer."""
        steps: list[JsonObject] = [{"id": "talk", "set": "{{ input.talk }}"}]
        ends: list[JsonObject] = []
        said: list[tuple[str, str]] = []
        before = "{{ steps.talk.output }}"
        for member, name in members:
            steps += self._call(draft, member, name, _talk(before, said), ids)
            spoken = str(steps[-1]["id"])
            said.append((member.name, spoken))
            if member.ends:
                end = ids.give(f"{name}-last")
                steps.append({"id": ids.give(f"{name}-end"), "branch": [{"when": _ends(name), "next": end}]})
                value = {"talk": _talk(before, said), "last": f"{{{{ steps.{spoken}.output }}}}", "done": True}
                ends.append({"id": end, "set": value, "next": "END"})
        last = f"{{{{ steps.{said[-1][1]}.output }}}}"
        steps.append({"id": "turn", "set": {"talk": _talk(before, said), "last": last, "done": False}, "next": "END"})
        return {"until": "output.done", "steps": [*steps, *ends]}

    def _bound_path(self, draft: Draft, turns: Node, said: list[str], steps: list[JsonObject]) -> None:
        if turns.value < len(said):
            last = [step["id"] for step in steps].index(said[turns.value - 1])
            draft.set("spec.steps", [*steps[:last], {**steps[last], "next": "END"}])
            turns.mapped(draft.target("spec.steps"), "members that are called; the others are not reached")
        else:
            turns.dropped("the team has no more members than that")

    # ------------------------------------------------------------------------------------------------ networks

    def _network(self, thing: Thing, draft: Draft, spec: Node, members: list[_Member], turns: Node | None) -> None:
        names: list[str] = []
        for member in members:
            key = f"{member.kind}s"
            if member.name in names:
                member.node["name"].dropped("listed twice")
                member.node["type"].dropped("listed twice")
                continue
            names.append(member.name)
            entry: Any = self.ctx.reference("", member.draft, draft.namespace) if member.draft else member.name
            if entry != member.name:
                entry = {"name": member.name, "ref": entry if "/" in entry else f"{key}/{entry}"}
            draft.spec.setdefault(key, []).append(entry)
            self._tell_member(draft, member, f"spec.{key}")
        selector = spec["selector"]
        ref = selector["model"] if selector["model"].present else selector["modelRef"]
        named = ref["name"] if ref.is_map else ref
        self.models.put(draft, "spec.router.model", ref, named, thing, thing.namespace)
        self._router_prompt(draft, selector.first("selectorPrompt", "prompt"), members)
        draft.set("spec.router.fallback", names[0])
        members[0].node["name"].defaulted(
            f"{names[0]}, the first member, gets what fits nobody, as in ARK", draft.target("spec.router.fallback")
        )
        if turns is not None:
            turns.to(draft, "spec.router.maxSteps")
        else:
            spec["maxTurns"].defaulted(
                "ARK sets no limit; here a network fails after 10 members unless spec.router.maxSteps says more",
                draft.target("spec.router.maxSteps"),
            )
        for key, node in selector.fields():
            if key == "agent":
                node.manual("a model routes here: say in spec.router.instructions how to choose", draft)
            elif key not in ("model", "modelRef", "prompt", "selectorPrompt"):
                node.dropped("not known to ARK's teams")
        if selector.present and not selector.value:
            selector.dropped("it is empty")

    def _router_prompt(self, draft: Draft, prompt: Node, members: list[_Member]) -> None:
        if not prompt:
            return
        roles = [f"{one.name}: {one.description}" if one.description else one.name for one in members]
        data = {
            "Roles": ", ".join(roles),
            "Participants": ", ".join(member.name for member in members),
            "History": "(the conversation so far)",
        }
        result = render(prompt.text(), data)
        if result.left:
            told = f"what could not be filled in is left in the text: {', '.join(result.left)}"
            draft.set("spec.router.instructions", result.text)
            prompt.manual(told, draft.target("spec.router.instructions"))
        else:
            prompt.to(
                draft,
                "spec.router.instructions",
                result.text,
                reason="members are filled in; the router sees the conversation, and answers in a form of its own",
            )


def _talk(before: str, said: Sequence[tuple[str, str]]) -> str:
    """What was said so far, as a template."""
    return before + "".join(f"\n\n{escape_braces(name)}:\n{{{{ steps.{step}.output }}}}" for name, step in said)


def _ends(step: str) -> str:
    return f'steps["{step}"].output.{TERMINATE}'


def _answer(step: str) -> str:
    return f'{{{{ steps["{step}"].output.answer }}}}'
