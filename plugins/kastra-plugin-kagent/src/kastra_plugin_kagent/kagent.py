"""The migrator for kagent."""

from __future__ import annotations

from kastra_core.migration import Report
from kastra_core.protocols.migrator import MigrationResult, MigrationSource, SourceDocument
from kastra_plugin_kagent.context import Context
from kastra_plugin_kagent.kagent_agents import AGENT_KINDS, Agents
from kastra_plugin_kagent.kagent_models import model_config, provider_config
from kastra_plugin_kagent.kagent_servers import SERVER_KINDS, migrate_server
from kastra_plugin_kagent.model_parts import ModelParts, keep_unused
from kastra_plugin_kagent.things import Thing, Things, group_of, objects_of, text_at
from kastra_plugin_kagent.tools import ToolMaker

__all__ = ["KagentMigrator"]

GROUP = "kagent.dev"
_ASIDE = {
    "AgentHarness": "a machine for agents of other makers, with its channels: keep it where it is",
    "Harness": "where and as what agents run: Kastra runs them itself",
    "Memory": "a memory outside of Kastra: agents remember their threads, see spec.memory of an Agent",
}


class KagentMigrator:
    """Reads manifests of ``kagent.dev``, and what of Kubernetes stands beside them."""

    def detect(self, document: SourceDocument) -> float:
        found = [data for _, data in objects_of(document.data) if group_of(data) == GROUP]
        return 0.98 if found else 0.0

    def migrate(self, source: MigrationSource) -> MigrationResult:
        report = Report(source)
        things = Things(report, (GROUP,))
        ctx = Context(report, things)
        things.gather(source)
        maker = ToolMaker(ctx)
        models = _Models(ctx)
        agents = Agents(ctx, maker, models.find)
        agents.begin()
        for thing in things.own(*AGENT_KINDS):
            agents.migrate(thing)
        for thing in things.own(*SERVER_KINDS):
            migrate_server(ctx, maker, thing)
        for thing in things.own("ModelConfig"):
            models.close(thing)
        for thing in things.own("ModelProviderConfig"):
            provider_config(ctx, thing)
        handled = {*AGENT_KINDS, *SERVER_KINDS, "ModelConfig", "ModelProviderConfig"}
        for thing in things.own():
            if thing.kind not in handled:
                _aside(ctx, thing)
        ctx.finish(_why)
        return report.result()


def _why(document: SourceDocument) -> str:
    kinds = [text_at(data, "kind") for _, data in objects_of(document.data) if group_of(data) == GROUP]
    told = [f"{kind}: {_ASIDE.get(kind, 'a kind that this migrator does not know')}" for kind in dict.fromkeys(kinds)]
    return "; ".join(told) or "it holds objects of Kubernetes only"


class _Models:
    """ModelConfigs, read when an agent first asks for them."""

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx
        self._parts: dict[int, ModelParts] = {}

    def find(self, name: str, namespace: str, near: Thing) -> ModelParts | None:
        thing = self.ctx.things.find(("ModelConfig",), name, namespace, near)
        return self._of(thing) if thing is not None else None

    def _of(self, thing: Thing) -> ModelParts:
        if id(thing) not in self._parts:
            self._parts[id(thing)] = model_config(self.ctx, thing)
        return self._parts[id(thing)]

    def close(self, thing: Thing) -> None:
        """What is left to say of a ModelConfig when all agents are made."""
        parts = self._of(thing)
        draft = parts.users[0] if parts.users else None
        if draft is None and thing.users:
            _only_embeddings(self.ctx, thing, parts)
            return
        draft = draft or keep_unused(self.ctx, parts)
        thing.node["kind"].mapped(draft.target("spec.model"))
        self.ctx.envelope(thing, draft, whole=False)


def _only_embeddings(ctx: Context, thing: Thing, parts: ModelParts) -> None:
    """A model that only makes embeddings: provider and name are used, the rest belongs into the configuration."""
    for part in parts.parts:
        for node in part.nodes:
            if part.path in (("provider",), ("name",)):
                node.mapped(thing.users[0], part.reason)
            elif part.path == ("apiKey",) and not part.manual:
                node.dropped("the row of the Secret says what to do")
            elif part.path[0] in ("apiBase", "apiKey", "options"):
                node.manual(f"set it for the provider: kastra config set providers.{parts.provider}.{part.path[0]} ...")
            else:
                node.dropped("embeddings have no such parameter")
    ctx.envelope(thing, None, why="an agent uses what it says; a model has no resource of its own")


def _aside(ctx: Context, thing: Thing) -> None:
    if not thing.kind:
        thing.node.problem("expected kind, found none", "name the kind of the object: kind: Agent")
        return
    why = _ASIDE.get(thing.kind, f"kind {thing.kind} is not known to this migrator; keep it aside")
    ctx.aside(thing.node, why)
