"""The migrator for ARK (Agents at Scale)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kastra_core.migration import Node, Report
from kastra_core.protocols.migrator import MigrationResult, MigrationSource, SourceDocument
from kastra_plugin_kagent.ark_agents import ArkAgents
from kastra_plugin_kagent.ark_models import ArkModels
from kastra_plugin_kagent.ark_queries import ArkQueries
from kastra_plugin_kagent.ark_teams import ArkTeams
from kastra_plugin_kagent.ark_tools import ArkTools
from kastra_plugin_kagent.context import Context
from kastra_plugin_kagent.things import Thing, Things, group_of, objects_of, text_at
from kastra_plugin_kagent.tools import ToolMaker

__all__ = ["ArkMigrator"]

GROUP = "ark.mckinsey.com"
_TEST_GROUP = "chainsaw.kyverno.io"
_TEST = "a test of Chainsaw, which says what to apply and to expect, and no configuration"
_ASIDE = {
    "A2AServer": "ARK asks it for its agents; here each agent is called by a Tool of type http that names its address",
    "Evaluation": "nobody judges answers by itself here: a workflow may ask an agent to",
    "Evaluator": "nobody judges answers by itself here: a workflow may ask an agent to",
    "ExecutionEngine": "Kastra carries agents out itself",
    "Memory": "conversations are kept in threads, in Kastra's own store",
}


class ArkMigrator:
    """Reads manifests of ``ark.mckinsey.com``, and what of Kubernetes stands beside them."""

    def detect(self, document: SourceDocument) -> float:
        if any(group_of(data) == GROUP for _, data in objects_of(document.data)):
            return 0.98
        return 0.7 if group_of(document.data) == _TEST_GROUP and GROUP in document.text else 0.0

    def migrate(self, source: MigrationSource) -> MigrationResult:
        report = Report(source)
        things = Things(report, (GROUP,), _in_test, _TEST_GROUP)
        ctx = Context(report, things)
        things.gather(source)
        models, tools = ArkModels(ctx), ArkTools(ctx, ToolMaker(ctx))
        agents = ArkAgents(ctx, models, tools)
        teams = ArkTeams(ctx, models, agents)
        queries = ArkQueries(ctx, models, agents, teams, tools)
        for part in (agents, tools, teams):
            part.begin()
        for thing in things.own("Team"):
            teams.migrate(thing)
        for thing in things.own("Agent"):
            agents.migrate(thing, teams)
        for thing in things.own("Tool"):
            tools.migrate(thing)
        for thing in things.own("Query"):
            queries.migrate(thing)
        for thing in things.own("MCPServer"):
            tools.server(thing)
        for thing in things.own("Model"):
            models.close(thing)
        handled = {"Agent", "MCPServer", "Model", "Query", "Team", "Tool"}
        for thing in things.own():
            if thing.kind not in handled:
                _aside(ctx, thing)
        for document in source.documents:
            if group_of(document.data) == _TEST_GROUP:
                _test(report.read(document))
        ctx.finish(_why)
        return report.result()


def _why(document: SourceDocument) -> str:
    if group_of(document.data) == _TEST_GROUP:
        return f"it is {_TEST}"
    kinds = [text_at(data, "kind") for _, data in objects_of(document.data) if group_of(data) == GROUP]
    told = [f"{kind}: {_ASIDE.get(kind, 'a kind that this migrator does not know')}" for kind in dict.fromkeys(kinds)]
    return "; ".join(told) or "it holds objects of Kubernetes only"


def _in_test(data: Any) -> list[tuple[tuple[str | int, ...], Any]]:
    """Objects of ARK that a test of Chainsaw applies by itself."""
    out: list[tuple[tuple[str | int, ...], Any]] = []
    if group_of(data) != _TEST_GROUP:
        return out
    steps = data.get("spec", {}).get("steps") if isinstance(data.get("spec"), Mapping) else None
    for at, step in enumerate(steps) if isinstance(steps, list) else ():
        tries = step.get("try") if isinstance(step, Mapping) else None
        for number, operation in enumerate(tries) if isinstance(tries, list) else ():
            for verb in ("apply", "create"):
                held = operation.get(verb) if isinstance(operation, Mapping) else None
                resource = held.get("resource") if isinstance(held, Mapping) else None
                if isinstance(resource, Mapping):
                    out.append((("spec", "steps", at, "try", number, verb, "resource"), resource))
    return out


def _test(root: Node) -> None:
    why = _TEST
    for key, node in root.fields():
        if key != "spec":
            node.dropped(why)
    for key, node in root["spec"].fields():
        if key != "steps":
            node.dropped(why)
        for step in node.items() if key == "steps" else ():
            for name, part in step.fields():
                if name != "try":
                    part.dropped(why)
                for operation in part.items() if name == "try" else ():
                    held = next((operation[verb]["resource"] for verb in ("apply", "create")), None)
                    if held is None or not any(operation[verb]["resource"].is_map for verb in ("apply", "create")):
                        operation.dropped(why)


def _aside(ctx: Context, thing: Thing) -> None:
    if not thing.kind:
        thing.node.problem("expected kind, found none", "name the kind of the object: kind: Agent")
        return
    why = _ASIDE.get(thing.kind, f"kind {thing.kind} is not known to this migrator; keep it aside")
    ctx.hide_headers(thing.node["spec"]["headers"])
    ctx.aside(thing.node, why)
