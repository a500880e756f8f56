"""The migrator for KAOS."""

from __future__ import annotations

import attrs

from kastra_core.migration import Draft, Node, Report, env_reference, model_name, provider_name
from kastra_core.protocols.migrator import MigrationResult, MigrationSource, SourceDocument
from kastra_plugin_kagent.context import Context, plain_text, text_to
from kastra_plugin_kagent.inline_python import functions_of
from kastra_plugin_kagent.model_parts import ModelParts, keep_unused
from kastra_plugin_kagent.pods import env_rows
from kastra_plugin_kagent.things import Thing, Things, group_of, objects_of, text_at
from kastra_plugin_kagent.tools import Server, ToolMaker, add_reference, add_tool, function_of

__all__ = ["KaosMigrator"]

GROUP = "kaos.tools"
_STEPS = 5
"""What KAOS takes for ``config.reasoningLoopMaxSteps``."""
_POD = "about a pod; Kastra starts no pods"
_DROPPED = {
    "container": _POD,
    "gatewayRoute": "about the way into the cluster",
    "podSpec": _POD,
    "serviceAccountName": "about rights in the cluster",
    "telemetry": "traces are set up for Kastra as a whole",
    "waitForDependencies": "an agent becomes ready by itself when what it names is there",
}


class KaosMigrator:
    """Reads manifests of ``kaos.tools``, and what of Kubernetes stands beside them."""

    def detect(self, document: SourceDocument) -> float:
        return 0.98 if any(group_of(data) == GROUP for _, data in objects_of(document.data)) else 0.0

    def migrate(self, source: MigrationSource) -> MigrationResult:
        report = Report(source)
        things = Things(report, (GROUP,))
        ctx = Context(report, things)
        things.gather(source)
        work = _Work(ctx, ToolMaker(ctx))
        for thing in things.own("Agent"):
            work.drafts[id(thing)] = ctx.draft("Agent", thing)
        for thing in things.own("MCPServer"):
            work.server(thing)
        for thing in things.own("Agent"):
            work.agent(thing)
        for thing in things.own("ModelAPI"):
            work.model_api(thing)
        for thing in things.own():
            if thing.kind not in ("Agent", "MCPServer", "ModelAPI"):
                _unknown(ctx, thing)
        ctx.finish(_why)
        return report.result()


def _why(document: SourceDocument) -> str:
    kinds = [text_at(data, "kind") for _, data in objects_of(document.data) if group_of(data) == GROUP]
    if "ModelAPI" in kinds:
        return "a ModelAPI that answers to any name says no model; migrate it together with the agents that use it"
    return "it holds objects of Kubernetes only" if not kinds else f"kinds that this migrator does not know: {kinds}"


def _unknown(ctx: Context, thing: Thing) -> None:
    if not thing.kind:
        thing.node.problem("expected kind, found none", "name the kind of the object: kind: Agent")
        return
    why = f"kind {thing.kind} is not known to this migrator; keep it aside"
    ctx.aside(thing.node, why)


@attrs.define(eq=False)
class _Work:
    ctx: Context
    maker: ToolMaker
    drafts: dict[int, Draft] = attrs.field(factory=dict)
    used: dict[int, Draft] = attrs.field(factory=dict)
    """Id of a ModelAPI -> the first agent that uses it."""

    # ------------------------------------------------------------------------------------------------ agents

    def agent(self, thing: Thing) -> None:
        draft, spec = self.drafts[id(thing)], thing.node["spec"]
        if not spec.is_map:
            thing.node.problem("expected spec, an object")
            return
        self.ctx.envelope(thing, draft)
        config = spec["config"]
        text_to(config["description"], draft, "spec.description")
        text_to(config["instructions"], draft, "spec.instructions")
        self._model(thing, draft, spec)
        for node in spec["mcpServers"].items():
            if node.text():
                self._tools(thing, draft, node)
            else:
                node.dropped("it is empty")
        peers = spec["agentNetwork"]["access"].items()
        for node in peers:
            if node.text():
                self._peer(thing, draft, node)
            else:
                node.dropped("it is empty")
        self._steps(draft, config, bool(peers))
        self._memory(draft, config["memory"])
        for key, node in config.fields():
            if key not in ("description", "instructions", "memory", "reasoningLoopMaxSteps"):
                node.dropped(_DROPPED.get(key, "not known to KAOS's agents"))
        for key, node in spec["agentNetwork"].fields():
            if key == "expose":
                node.dropped("agents have no card here")
            elif key != "access" or not node.value:
                node.dropped("the agent calls no other one" if key == "access" else "not known to KAOS's agents")
        self._rest(spec, ("agentNetwork", "config", "mcpServers", "model", "modelAPI"))

    def _rest(self, spec: Node, known: tuple[str, ...]) -> None:
        for key, node in spec.fields():
            if key == "container" and key in known:
                continue  # told by who knows it
            if key == "container":
                if node["env"].items():
                    env_rows(self.ctx, node["env"], _POD)
                for name, one in node.fields():
                    if name != "env" or not one.value:
                        one.dropped(_POD)
            elif key not in known:
                node.dropped(_DROPPED.get(key, "not known to KAOS"))
            elif not node.value:
                node.dropped("it is empty")

    def _steps(self, draft: Draft, config: Node, peers: bool) -> None:
        node = config["reasoningLoopMaxSteps"]
        count = node.value if isinstance(node.value, int) and not isinstance(node.value, bool) else 0
        if node and count < 1:
            node.problem(f"expected a number of steps, 1 or more, found {node.value!r}")
        elif peers:
            node.dropped("spec.limits.maxSteps would count the steps of the agents that it calls, too")
        elif node:
            node.to(draft, "spec.limits.maxSteps")
        else:
            draft.set("spec.limits.maxSteps", _STEPS)
            node.defaulted(f"KAOS's default, {_STEPS}", draft.target("spec.limits.maxSteps"))

    def _memory(self, draft: Draft, memory: Node) -> None:
        for key, node in memory.fields():
            if key == "enabled" and isinstance(node.value, bool):
                node.to(draft, "spec.memory.enabled")
            elif key == "type":
                node.dropped("memory is always kept in Kastra's own store")
            else:
                node.dropped("threads are kept until somebody, or a RetentionPolicy, removes them")

    def _tools(self, thing: Thing, draft: Draft, node: Node) -> None:
        name = node.text()
        found = self.ctx.things.find(("MCPServer",), name, thing.namespace, thing)
        server = self.maker.server(name, "MCP server", found, thing)
        if found is None and not server.tools:
            self.maker.of_server(server, "", node)
        for tool, made in server.tools.items():
            add_tool(self.ctx, draft, made, name=tool)
        if found is None:
            told = f"there is no MCPServer {name} here: migrate its file too, or write "
            node.manual(told + function_of(next(iter(server.tools.values()))), server.target)
        else:
            node.mapped(draft.target("spec.tools"), "its tools")

    def _peer(self, thing: Thing, draft: Draft, node: Node) -> None:
        name = node.text()
        found = self.ctx.things.find(("Agent",), name, thing.namespace, thing)
        if found is not None:
            add_tool(self.ctx, draft, self.drafts[id(found)], kind="agents", name=name)
            node.mapped(draft.target("spec.tools"), "called as a tool")
        else:
            add_reference(draft, f"agents/{name}", name)
            node.manual(
                f"there is no agent {name} here: migrate its file too; until then the agent is not ready",
                draft.target("spec.tools"),
            )

    # ------------------------------------------------------------------------------------------------ models

    def _model(self, thing: Thing, draft: Draft, spec: Node) -> None:
        named, api = spec["model"], spec["modelAPI"]
        if not named:
            spec.problem("expected model, the name of the model", "write model: PROVIDER/NAME")
            return
        found = self.ctx.things.find(("ModelAPI",), api.text(), thing.namespace, thing) if api else None
        parts = ModelParts(thing)
        if found is None:
            provider, name, guessed = model_name(named.text())
            parts.add("provider", provider)
            parts.add("name", name, named, reason="the provider was guessed" if guessed else "")
            told = (
                f"there is no ModelAPI {api.text()} here: say in spec.model where the model is and which key it needs"
            )
            api.manual(told, draft.target("spec.model"))
        else:
            self._of_api(found, parts, named)
            api.mapped(draft.target("spec.model"), f"that of {found.shown}")
            self.used.setdefault(id(found), draft)
        parts.put(draft)

    def _of_api(self, api: Thing, parts: ModelParts, named: Node) -> None:
        """The model of a name, as a ModelAPI reaches it."""
        spec = api.node["spec"]
        text, proxy = named.text(), spec["proxyConfig"]
        if spec["mode"].value == "Hosted":
            parts.provider, parts.name = "ollama", text.removeprefix("ollama/")
            parts.add("provider", "ollama", spec["mode"], reason="a ModelAPI of mode Hosted is an Ollama")
            parts.add("name", parts.name, named)
            return
        word = proxy["provider"].text()
        if word:
            parts.provider, parts.name, guessed = provider_name(word), text.removeprefix(f"{word}/"), False
            parts.add("provider", parts.provider, proxy["provider"])
        else:
            parts.provider, parts.name, guessed = model_name(text)
            parts.add("provider", parts.provider)
        parts.add("name", parts.name, named, reason="the provider was guessed" if guessed else "")
        self._address(parts, proxy["apiBase"])
        self._key(api, parts, proxy["apiKey"])

    def _address(self, parts: ModelParts, node: Node) -> None:
        text = node.text()
        if not text:
            return
        if not plain_text(text):
            parts.add("apiBase", text, node, reason="write the address", manual=True)
            return
        address = text
        if parts.provider == "ollama" and not text.rstrip("/").endswith("/v1"):
            address = f"{text.rstrip('/')}/v1"
        parts.add("apiBase", address, node, reason="" if address == text else "its OpenAI-compatible interface")

    def _key(self, api: Thing, parts: ModelParts, node: Node) -> None:
        ref = node["valueFrom"]["secretKeyRef"]
        if ref.is_map:
            name, key = ref["name"].text(), ref["key"].text()
            variable = self.ctx.secret(api, name, key)
            told = self.ctx.told_secret(api, name, key, variable)
            parts.add("apiKey", {"valueFrom": {"env": variable}}, ref["name"], ref["key"], reason=told, manual=True)
        elif node["value"]:
            variable = env_reference(node["value"].text()) or f"{parts.provider.upper().replace('-', '_')}_API_KEY"
            if plain_text(node["value"].text()):
                self.ctx.report.hide(node["value"].text())
            told = f"a secret in the open was left out: put it into the environment variable {variable}"
            parts.add("apiKey", {"valueFrom": {"env": variable}}, node["value"], reason=told, manual=True)

    def model_api(self, thing: Thing) -> None:
        """What is left to say of a ModelAPI when all agents are made."""
        spec = thing.node["spec"]
        spec.mapping()
        mode = spec["mode"].text()
        if mode not in ("Proxy", "Hosted"):
            place = spec["mode"] if spec["mode"] else spec
            place.problem(f"expected mode, one of Proxy, Hosted, found {mode or 'none'!r}")
            return
        draft = self.used.get(id(thing)) or self._unused(thing, spec)
        if draft is None:
            told = "no agent here uses it, and it says no model: write spec.model of an agent"
            self.ctx.envelope(thing, None, why=told)
        else:
            thing.node["kind"].mapped(draft.target("spec.model"))
            self.ctx.envelope(thing, draft, whole=False)
        if draft is None:
            spec["mode"].dropped("no agent here uses it")
        else:
            spec["mode"].mapped(draft.target("spec.model"))
        hosted = spec["hostedConfig"]["model"]
        if mode == "Hosted" and hosted:
            hosted.manual(
                f"KAOS runs an Ollama with it in the cluster: run one yourself (ollama pull {hosted.text()}), or write "
                "its address into spec.model.apiBase",
                draft.target("spec.model.apiBase") if draft else "",
            )
        for key, node in spec["proxyConfig"].fields():
            if key == "models":
                node.dropped("which models the proxy lets through; an agent says which one it takes")
            elif key == "configYaml":
                node.manual("settings of a LiteLLM proxy: set the providers up in Kastra's configuration")
            elif key not in ("apiBase", "apiKey", "provider"):
                node.dropped("not known to KAOS's model APIs")
            elif draft is None:
                node.manual("write it into spec.model of the agents that use it")
        for key, node in spec["hostedConfig"].fields():
            if key != "model" or mode != "Hosted":
                node.dropped("not read in this mode")
        self._rest(spec, ("hostedConfig", "mode", "proxyConfig"))

    def _unused(self, thing: Thing, spec: Node) -> Draft | None:
        """A model that no agent uses, when it is just one."""
        hosted = spec["hostedConfig"]["model"]
        listed = [node for node in spec["proxyConfig"]["models"].items() if "*" not in node.text()]
        named = hosted if spec["mode"].value == "Hosted" else listed[0] if len(listed) == 1 else None
        if named is None or not named.text():
            return None
        parts = ModelParts(thing)
        self._of_api(thing, parts, named)
        return keep_unused(self.ctx, parts)

    # ------------------------------------------------------------------------------------------------ tools

    def server(self, thing: Thing) -> None:
        spec = thing.node["spec"]
        spec.mapping()
        runtime, params = spec["runtime"].text(), spec["params"]
        if not runtime:
            spec.problem("expected runtime, what serves the tools", "write runtime: python-string")
            return
        server = self.maker.server(thing.name, "MCP server", thing, thing)
        functions = functions_of(params.text()) if runtime == "python-string" else []
        for one in functions:
            self._function(server, params, one.name, one.description, dict(one.schema))
        if not functions:
            self.maker.of_server(server, "", spec["runtime"])
        first = next(iter(server.tools.values()))
        thing.node["kind"].dropped("it only says which kind of server it is")
        self.ctx.envelope(thing, first, whole=False)
        if functions:
            spec["runtime"].mapped(first, "each function of the code is a tool")
            names = ", ".join(one.name for one in functions)
            params.manual(
                f"code in a manifest is not run: put the bodies of {names} into migrated_tools.py", server.target
            )
        else:
            spec["runtime"].manual(
                f"tools of KAOS's runtime {runtime}: let {function_of(first)} call the server", server.target
            )
            if params.present:
                params.manual("settings of that runtime", server.target)
        if spec["container"]["image"]:
            spec["container"]["image"].manual("the server is in this image: run it yourself", server.target)
        for key, node in spec["container"].fields():
            if key == "env":
                env_rows(self.ctx, node, _POD)
            elif key != "image":
                node.dropped(_POD)
        self._rest(spec, ("container", "params", "runtime"))

    def _function(self, server: Server, node: Node, name: str, description: str, schema: dict[str, object]) -> None:
        if name in server.tools:
            return
        draft = self.ctx.draft("Tool", server.holder, name, word=server.name)
        about = description or f"{name} of the MCP server {server.name}."
        origin = f"{node.document.file}:{node.line}, inline Python of the MCP server {server.name}"
        function = self.ctx.report.stubs.add(name, schema=schema, description=about, origin=origin)
        draft.set("spec.type", "python")
        draft.set("spec.description", about)
        draft.set("spec.inputSchema", schema)
        draft.set("spec.python", {"function": function})
        server.tools[name] = draft
