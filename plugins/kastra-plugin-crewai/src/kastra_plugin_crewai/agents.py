"""Agents of a crew as resources; one that has other tools or another form of answer for a task becomes a second one."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from kastra_core.api.meta import JsonObject
from kastra_core.migration.report import Draft
from kastra_plugin_crewai import outcomes
from kastra_plugin_crewai.llms import NO_MODEL, put_model
from kastra_plugin_crewai.model import AgentPart, Code, CrewReport, Field, ToolPart
from kastra_plugin_crewai.texts import plain
from kastra_plugin_crewai.tools import SET_SCHEMA, build_tool

__all__ = ["PLAIN", "Variant", "agent_texts", "build_agent", "build_variants", "instructions_of", "put_number"]

_TEXTS = ("role", "goal", "backstory")
_SERVERS = ("mcps", "apps")


@attrs.frozen(kw_only=True)
class Variant:
    """What an agent has of its own for some of its tasks; also the key by which the resource is found again."""

    tools: tuple[str, ...] | None = None
    """Names of Tools in place of the agent's; None: the agent's."""
    schema: JsonObject | None = attrs.field(default=None, eq=False)
    shape: str = ""
    """The schema as text: what makes it another one."""
    crew: int = 0
    """id of the crew whose other agents it may ask; 0: it asks nobody."""


PLAIN = Variant()


def build_agent(report: CrewReport, agent: AgentPart, *, scope: str = "") -> Draft:
    """Make the Agent of a part, once; for an agent that is used without a crew. Return it."""
    return build_variants(report, agent, [(PLAIN, "")], scope=scope)[0]


def build_variants(
    report: CrewReport,
    agent: AgentPart,
    wanted: Sequence[tuple[Variant, str]],
    *,
    scope: str = "",
    in_crew: bool = False,
) -> list[Draft]:
    """Make the Agents of a part and all rows of its fields. Return them in the order of ``wanted``.

    Args:
        wanted: variants, and what is put behind the agent's name in the name of the second and further ones.
        scope: what the agent's name is unique in.
        in_crew: delegation and retries get their rows from who builds the crew.
    """
    label = str(id(agent))
    out = []
    for variant, suffix in wanted:
        found = report.made_agents.get((label, variant))
        if found is None:
            found = report.made_agents[label, variant] = _made(report, agent, variant, suffix, scope, in_crew)
        out.append(found)
    return out


def _made(report: CrewReport, agent: AgentPart, variant: Variant, suffix: str, scope: str, in_crew: bool) -> Draft:
    base = report.agent_bases.get(id(agent))
    if base is None:
        report.kept.append(agent)
        draft = report.draft("Agent", _free(report, agent.name, scope), scope=scope)
        _put_all(report, agent, draft, in_crew)
        report.agent_bases[id(agent)] = copy.deepcopy(draft.spec)
    else:
        draft = report.draft("Agent", _free(report, f"{agent.name}-{suffix or 'other'}", scope), scope=scope)
        draft.manifest["spec"] = copy.deepcopy(base)
    if variant.tools is not None:
        draft.set("spec.tools", list(variant.tools))
    if variant.schema is not None:
        draft.set("spec.output.schema", copy.deepcopy(variant.schema))
    return draft


def _free(report: CrewReport, name: str, scope: str) -> str:
    """A name that no other agent of the scope has."""
    out, number = name, 1
    while (scope, out) in report.agent_names:
        number += 1
        out = f"{name}-{number}"
    report.agent_names.add((scope, out))
    return out


def _put_all(report: CrewReport, agent: AgentPart, draft: Draft, in_crew: bool) -> None:
    for node in agent.fields["config"].nodes if "config" in agent.fields else ():
        node.mapped(draft, "its fields are there", whole=False)
    if agent.node.path:
        notes = "; ".join(agent.notes)
        agent.node.mapped(draft, notes, whole=False)
    done = {*_TEXTS, "config", "llm", "tools", *_SERVERS}
    draft.spec["instructions"] = instructions_of(agent, draft.target("spec.instructions"))
    draft.spec["description"] = _description(agent)
    model = agent.fields.get("llm")
    if model is not None:
        named = put_model(report, model, draft)
    else:
        named = False
        agent.node["llm"].defaulted(NO_MODEL, draft)
    _put_limits(agent, draft, done)
    most = agent.fields.get("max_tokens")
    if named and most is not None and put_number(most, draft, "spec.model.parameters.maxTokens"):
        done.add("max_tokens")
    if not in_crew:
        _without_crew(agent, draft, done)
    else:
        done |= {"allow_delegation", "max_retry_limit"}
    tools = [build_tool(report, tool).name for tool in (*agent.tools, *_servers(agent))]
    if tools:
        draft.spec["tools"] = list(dict.fromkeys(tools))
    if agent.schema is not None:
        draft.set("spec.output.schema", copy.deepcopy(agent.schema))
        _put_schema_rows(agent, draft, done)
    outcomes.rest(agent.fields, done, outcomes.AGENT, draft.target())


def instructions_of(agent: AgentPart, target: str) -> str:
    """Role, goal and backstory as one text, and their rows."""
    parts = {name: _text(agent.fields.get(name), name, target) for name in _TEXTS}
    if not parts["role"] and "role" not in agent.fields:
        agent.node["role"].defaulted("no role: the agent's name", target)
    lines = [f"You are {parts['role'] or agent.name}."]
    if parts["goal"]:
        lines.append(f"Your goal: {parts['goal']}")
    if parts["backstory"]:
        lines.append(f"Background: {parts['backstory']}")
    return "\n\n".join(lines)


def _text(field: Field | None, name: str, target: str) -> str:
    if field is None:
        return ""
    if field.is_code:
        field.node.manual(f"only running {str(field.value)!r} would tell the {name}: write it there", target)
        return ""
    if isinstance(field.value, (Mapping, list)):
        field.node.text()
        return ""
    text = plain(field.value) if isinstance(field.value, str) else field.node.text()
    if not text:
        field.node.dropped("empty")
        return ""
    for node in field.nodes:
        node.mapped(target)
    return text


def _description(agent: AgentPart) -> str:
    said = [plain(agent.fields[name].value) for name in ("role", "goal") if name in agent.fields]
    return " ".join(": ".join(filter(None, said)).split()) or agent.name


def agent_texts(agent: AgentPart) -> list[str]:
    """The texts in which placeholders may stand."""
    return [plain(agent.fields[name].value) for name in _TEXTS if name in agent.fields]


def _put_limits(agent: AgentPart, draft: Draft, done: set[str]) -> None:
    for name, path in (("max_iter", "spec.limits.maxSteps"), ("max_execution_time", "spec.limits.timeoutS")):
        if name in agent.fields:
            done.add(name)
            put_number(agent.fields[name], draft, path)


def put_number(field: Field, draft: Draft, path: str) -> bool:
    """Put a number above 0, or say why not. Return whether it was put."""
    value = field.value
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0:
        draft.set(path, value)
        for node in field.nodes:
            node.mapped(draft.target(path))
        return True
    for node in field.nodes:
        if value is None:
            node.dropped("null: as if it were not there")
        elif isinstance(value, Code):
            node.manual(f"only running {str(value)!r} would tell it: write it there", draft.target(path))
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            node.dropped("not above 0: as if it were not there")
        else:
            node.number()
    return True


def _without_crew(agent: AgentPart, draft: Draft, done: set[str]) -> None:
    done |= {"allow_delegation", "max_retry_limit"}
    delegates = agent.fields.get("allow_delegation")
    for node in delegates.nodes if delegates is not None else ():
        if delegates is not None and (delegates.value is True or delegates.is_code):
            node.manual("no crew is there: name whom it may ask in its tools (agents/NAME)", draft.target("spec.tools"))
        else:
            node.dropped("an agent asks only those that its tools name")
    if "max_retry_limit" in agent.fields:
        agent.fields["max_retry_limit"].node.dropped("a step of a workflow has `retry`; this agent is in none")


def _servers(agent: AgentPart) -> Iterable[ToolPart]:
    """A tool for each MCP server or app: its functions are not in the source."""
    for name in _SERVERS:
        field = agent.fields.get(name)
        if field is None:
            continue
        place = field.at or field.node
        if not isinstance(field.value, list) or field.is_code:
            field.node.manual("write a tool for each of these and name it in the agent's tools", "")
            continue
        if not field.value:
            field.node.dropped("empty")
        for at, item in enumerate(field.value):
            node = place[at] if place.is_list else place
            yield ToolPart(
                name=_server_name(item, name, at),
                node=node,
                description=f"Calls the tools of {_server_name(item, name, at)}.",
                schema=SET_SCHEMA,
                why="its functions are not in the source: one tool stands for all of them",
            )


def _server_name(item: Any, name: str, at: int) -> str:
    word = "app" if name == "apps" else "mcp"
    if isinstance(item, Mapping):
        item = item.get("name") or item.get("url") or item.get("command")
    if not isinstance(item, str) or isinstance(item, Code):
        return f"{word}-{at + 1}"
    bare = item.partition("://")[2] or item
    return f"{word}-{bare.partition('?')[0].partition('#')[0].strip('/')}"


def _put_schema_rows(agent: AgentPart, draft: Draft, done: set[str]) -> None:
    for name in ("response_format", "output_pydantic", "output_json", "response_model"):
        if name in agent.fields:
            done.add(name)
            for node in agent.fields[name].nodes:
                node.mapped(draft.target("spec.output.schema"))
