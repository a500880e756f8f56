"""One document of docker-agent as resources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kastra_core.migration import Draft, Node, Report
from kastra_core.serde import type_word
from kastra_plugin_docker_agent.agents import fill_agent, tell_turns, write_budget
from kastra_plugin_docker_agent.kit import Kit
from kastra_plugin_docker_agent.models import Models
from kastra_plugin_docker_agent.networks import Teams
from kastra_plugin_docker_agent.permissions import Permissions
from kastra_plugin_docker_agent.rows import dropped, manual, nulls
from kastra_plugin_docker_agent.rules import check_rules
from kastra_plugin_docker_agent.seat import Seat
from kastra_plugin_docker_agent.shapes import NEW, check, version_of
from kastra_plugin_docker_agent.toolbox import Toolbox

__all__ = ["migrate_document"]

_TOP: Mapping[str, tuple[str, str]] = {
    "commands": ("dropped", "prompts for people at the terminal"),
    "skills": ("manual", "there are no skills here: put their text into spec.instructions of those who use them"),
    "runtime": ("dropped", "how docker-agent itself runs; see the configuration of the project for what runs here"),
    "flavors": (
        "manual",
        "variants of the file: apply one to it with docker-agent's rules, and migrate the outcome too",
    ),
}


def migrate_document(report: Report, toolbox: Toolbox, root: Node, scope: str) -> None:
    """Make the resources of a document, or write its problems."""
    before = len(report.problems)
    if not root.is_map:
        hint = "HCL and Markdown files of docker-agent are not read: write the team as YAML"
        root.problem(f"expected an object with agents, found {type_word(root.value)}", hint)
        return
    version = version_of(root)
    check(root, "Config", NEW if version is None else version)
    models = Models(report, root)
    if len(report.problems) == before:
        check_rules(root, NEW if version is None else version, models)
    if len(report.problems) > before:
        return
    if root["version"].present:
        said = "the newest version" if version == NEW else f"read as version {version}"
        root["version"].dropped(f"{said}; resources have an apiVersion of their own")
    permissions = Permissions(root["permissions"])
    kit = Kit(report, toolbox, root, models, scope)
    seats: dict[str, Seat] = {}
    for name, node in root["agents"].fields():
        draft = report.draft("Agent", name, scope=scope)
        seats[name] = Seat(name, node, draft, permissions.allows)
    for seat in seats.values():
        fill_agent(kit, seat)
        if seat.node and not seat.node.value:
            seat.node.mapped(seat.draft, "an agent that says nothing")
    networks = Teams(kit, seats).make()
    entry = seats.get("root") or next(iter(seats.values()))
    tools = any(seat.tools for seat in seats.values())
    permissions.close(entry.draft.target("spec.tools"), tools=tools)
    tell_turns(root, entry, networks.get(entry.name, entry.draft), tools=tools)
    models.close()
    _close(root, networks.get(entry.name, entry.draft))
    nulls(root)


def _close(root: Node, head: Draft) -> None:
    """Rows of what belongs to the document as a whole.

    Args:
        head: what people run: the entry's Network, else the Agent.
    """
    for key, child in root["metadata"].fields():
        if child:
            words = [item.text() for item in child.items()]
            text = ", ".join(words) if child.is_list else child.text()
            child.to(head, ["metadata", "annotations", f"docker-agent/{key}"], text)
    for key, (outcome, told) in _TOP.items():
        if outcome == "manual":
            manual(root[key], told)
        else:
            dropped(root[key], told)
    if root["budget"]:
        write_budget(root["budget"], head)
    used = _used(root)
    for key in ("mcps", "rag", "toolsets", "budgets"):
        for name, child in root[key].fields():
            if (key, name) not in used:
                dropped(child, "no agent refers to it")
    for name, child in root["mcps"].fields():
        if ("mcps", name) in used and all(user["tools"].list() for user in _users(root, name)):
            dropped(child["tools"], "all that refer to it list their own")


def _used(root: Node) -> set[tuple[str, str]]:
    """(block, name) of the entries that agents refer to."""
    out: set[tuple[str, str]] = set()
    for _, agent in root["agents"].fields():
        for key, field in (("toolsets", "use_toolsets"), ("rag", "rag"), ("budgets", "budgets")):
            out.update((key, item.text()) for item in agent[field].items())
    for toolset in _toolsets(root):
        out.add(("rag" if toolset["type"].text() == "rag" else "mcps", toolset["ref"].text()))
    return out


def _toolsets(root: Node) -> Iterator[Node]:
    """The toolsets of all agents."""
    for _, agent in root["agents"].fields():
        yield from agent["toolsets"].items()
        for item in agent["use_toolsets"].items():
            yield root["toolsets"][item.text()]


def _users(root: Node, definition: str) -> list[Node]:
    """The toolsets that refer to an entry of mcps."""
    found = [toolset for toolset in _toolsets(root) if toolset["type"].text() == "mcp"]
    return [toolset for toolset in found if toolset["ref"].text() == definition]
