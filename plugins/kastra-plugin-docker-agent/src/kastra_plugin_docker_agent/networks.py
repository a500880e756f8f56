"""Teams: an agent that delegates or hands over, and whom it reaches, as a Network."""

from __future__ import annotations

from collections.abc import Mapping

from kastra_core.migration import Draft, Node
from kastra_plugin_docker_agent.kit import Kit
from kastra_plugin_docker_agent.rows import dropped, manual, mapped
from kastra_plugin_docker_agent.seat import Seat

__all__ = ["Teams"]


class Teams:
    """Makes the Networks of a document.

    An agent with sub-agents is a Network: its model routes with its instructions; its members are the agent itself, for
    what it does alone, and the sub-agents, each as a Network if it has a team itself. Handoffs lead from agent to agent
    and back, so all that an agent reaches by them are members of one Network.
    """

    def __init__(self, kit: Kit, seats: Mapping[str, Seat]) -> None:
        self.kit, self.seats = kit, seats
        self._reached: dict[str, list[str]] = {}
        self.heads = self._heads()
        """Names of the agents that get a Network."""

    def make(self) -> dict[str, Draft]:
        """Make the Networks. Return them by the names of their agents."""
        out = {name: self._network(self.seats[name]) for name in self.heads}
        for name, seat in self.seats.items():
            if name not in self.heads:
                self._without(seat)
        return out

    # -------------------------------------------------------------------------------------------- who has a team

    def _subs(self, name: str) -> list[str]:
        """Names of its sub-agents that are in the document."""
        seat = self.seats[name]
        names = [item.text() for item in seat.node["sub_agents"].items()]
        return [one for one in dict.fromkeys(names) if one in self.seats and one != name]

    def _handoffs(self, name: str) -> list[str]:
        seat = self.seats[name]
        names = [item.text() for item in seat.node["handoffs"].items()]
        names.append(seat.node["force_handoff"].text())
        return [one for one in dict.fromkeys(names) if one in self.seats and one != name]

    def _peers(self, name: str) -> list[str]:
        """All that an agent reaches by handoffs, without itself."""
        if name not in self._reached:
            out: dict[str, None] = {}
            todo = [name]
            while todo:
                new = [one for one in self._handoffs(todo.pop(0)) if one != name and one not in out]
                out.update(dict.fromkeys(new))
                todo += new
            self._reached[name] = list(out)
        return self._reached[name]

    def _heads(self) -> list[str]:
        """The entry first; an agent with handoffs only, that another one's handoffs reach, needs no Network."""
        names = list(self.seats)
        entry = "root" if "root" in self.seats else next(iter(names), "")
        order = [entry, *(name for name in names if name != entry)] if names else []
        delegated = {sub for name in names for sub in self._subs(name)}
        out: list[str] = []
        reached: set[str] = set()
        for name in order:
            if self._subs(name) or (self._handoffs(name) and (name in delegated or name not in reached)):
                out.append(name)
                reached.update(self._peers(name))
        return out

    def _reaches(self, name: str, goal: str) -> bool:
        """Whether the Network of an agent leads to that of another one."""
        seen: set[str] = set()
        todo = [name]
        while todo:
            one = todo.pop()
            if one == goal:
                return True
            if one in seen or one not in self.heads:
                continue
            seen.add(one)
            todo += [*self._subs(one), *self._peers(one)]
        return False

    # -------------------------------------------------------------------------------------------- one Network

    def _network(self, seat: Seat) -> Draft:
        node = seat.node
        draft = self.kit.report.draft("Network", seat.draft.name, scope=self.kit.scope)
        if node["description"].text():
            node["description"].to(draft, "spec.description", node["description"].text())
        agents, networks = [_entry(seat.name, seat.draft.name)], []
        subs, peers = self._subs(seat.name), self._peers(seat.name)
        circular: list[str] = []
        for name in dict.fromkeys([*subs, *peers]):
            member = self.seats[name]
            has_team = name in self.heads and (name in subs or bool(self._subs(name)))
            if has_team and self._reaches(name, seat.name):
                circular.append(name)
                has_team = False
            if has_team:
                networks.append(_entry(name, self._network_name(member)))
            else:
                agents.append(_entry(name, member.draft.name))
        draft.spec["agents"] = agents
        if networks:
            draft.spec["networks"] = networks
        self.kit.models.put(draft, "spec.router.model", node["model"], tools=False)
        instructions = node["instruction"].text().rstrip("\n")
        if subs:
            instructions = f"{instructions}\n\n{_last_word(seat.name)}".strip()
        if peers:
            instructions = f"{instructions}\n\n{self._ways(seat.name, peers)}".strip()
        if instructions:
            draft.set("spec.router.instructions", instructions + "\n")
            mapped(node["instruction"], draft.target("spec.router.instructions"))
        draft.set("spec.router.fallback", _shown(seat.name))
        self._rows(seat, draft.target("spec.agents"), circular)
        for peer in peers:
            if peer not in self.heads:
                self._rows(self.seats[peer], draft.target("spec.router.instructions"), [])
        return draft

    def _ways(self, name: str, peers: list[str]) -> str:
        """Who hands over to whom, in words for the router."""
        lines = ["Who may go on after whom:"]
        for one in [name, *peers]:
            targets = self._handoffs(one)
            forced = self.seats[one].node["force_handoff"].text()
            if forced in targets:
                lines.append(f"- {_shown(one)}: always {_shown(forced)}")
            elif targets:
                lines.append(f"- {_shown(one)}: {', '.join(_shown(target) for target in targets)}")
        return "\n".join(lines)

    def _rows(self, seat: Seat, target: str, circular: list[str]) -> None:
        for item in seat.node["sub_agents"].items():
            told = f"a member; the router is told that {_shown(seat.name)} has the last word"
            if item.text() in circular:
                told += "; without its own team, which leads back here"
            self._member_row(seat, item, target, told)
        for item in seat.node["handoffs"].items():
            self._member_row(seat, item, target, "a member; the router hands over")
        force = seat.node["force_handoff"]
        if force.text():
            self._member_row(seat, force, target, "the router is told to; it is not forced")

    def _member_row(self, seat: Seat, item: Node, target: str, told: str) -> None:
        name = item.text()
        if name == seat.name:
            dropped(item, "the agent itself")
        elif name in self.seats:
            earlier = [one for one in _siblings(seat.node, item) if one.text() == name]
            if earlier:
                dropped(item, "it is in the list already")
            else:
                mapped(item, target, told)
        else:
            where = f"list it under spec.agents of Network {self._network_name(seat)}"
            manual(item, f"an agent elsewhere: get its file, migrate it too, and {where}", seat.draft)

    def _network_name(self, seat: Seat) -> str:
        """That of the Agent, which no other Network bears."""
        if seat.name not in self.heads:
            return "of its team"
        return self.kit.report.names.give("Network", seat.draft.name, scope=self.kit.scope)

    def _without(self, seat: Seat) -> None:
        """The rows of an agent whose team is elsewhere, or none."""
        if any(seat.name in self._peers(head) for head in self.heads):
            return
        for key in ("sub_agents", "handoffs"):
            for item in seat.node[key].items():
                if item.text() == seat.name:
                    dropped(item, "the agent itself")
                else:
                    manual(
                        item, "an agent elsewhere: get its file, migrate it too, and make a Network of both", seat.draft
                    )
        force = seat.node["force_handoff"]
        if force.text() == seat.name:
            dropped(force, "the agent itself")
        else:
            manual(force, "an agent elsewhere: get its file, migrate it too, and make a workflow of both", seat.draft)


def _last_word(name: str) -> str:
    """A team in docker-agent answers through the agent that delegates."""
    own = _shown(name)
    return (
        f"The member {own} is you, with your tools. It has the last word: when other members have answered, "
        f"choose {own} with done true, to answer the user from what they found."
    )


def _siblings(node: Node, item: Node) -> list[Node]:
    """The items before one of a list."""
    key, at = item.path[-2:] if isinstance(item.path[-1], int) else ("", 0)
    return node[str(key)].items()[: int(at)] if key else []


def _shown(name: str) -> str:
    """A name that a router can repeat."""
    return name.replace("/", "-").replace("#", "-").strip()[:100] or "member"


def _entry(name: str, resource: str) -> object:
    shown = _shown(name)
    return resource if shown == resource else {"name": shown, "ref": resource}
