"""ARK's Model."""

from __future__ import annotations

from kastra_core.migration import Draft, Node, is_secret_key, provider_name
from kastra_plugin_kagent.ark_values import Value, value_of
from kastra_plugin_kagent.context import Context, plain_text
from kastra_plugin_kagent.model_parts import ModelParts, keep_unused
from kastra_plugin_kagent.things import Thing

__all__ = ["DEFAULT_MODEL", "ArkModels"]

DEFAULT_MODEL = "default"
"""The Model that ARK takes where nobody names one."""
_PROVIDERS = ("anthropic", "azure", "bedrock", "gemini", "ollama", "openai")
_PARAMETERS = {"max_tokens": "maxTokens", "maxTokens": "maxTokens", "top_p": "topP"}
_OPTIONS = {"apiVersion": "apiVersion", "region": "awsRegionName"}
_AWS = {
    "accessKeyId": "AWS_ACCESS_KEY_ID",
    "secretAccessKey": "AWS_SECRET_ACCESS_KEY",
    "sessionToken": "AWS_SESSION_TOKEN",
}


class ArkModels:
    """All models, read when somebody first asks for one."""

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx
        self._parts: dict[int, ModelParts] = {}
        self._agents: dict[int, Draft] = {}

    def find(self, name: str, namespace: str, near: Thing) -> ModelParts | None:
        thing = self.ctx.things.find(("Model",), name, namespace, near)
        return self.of(thing) if thing is not None else None

    def of(self, thing: Thing) -> ModelParts:
        if id(thing) not in self._parts:
            self._parts[id(thing)] = self._read(thing)
        return self._parts[id(thing)]

    def agent(self, thing: Thing) -> Draft:
        """An agent without instructions that answers with the model."""
        if id(thing) not in self._agents:
            self._agents[id(thing)] = keep_unused(self.ctx, self.of(thing))
        return self._agents[id(thing)]

    def close(self, thing: Thing) -> None:
        """What is left to say of a model when all that could use it is made."""
        parts = self.of(thing)
        draft = parts.users[0] if parts.users else self.agent(thing)
        thing.node["kind"].mapped(draft)
        self.ctx.envelope(thing, draft, whole=False)

    def put(self, draft: Draft, at: str, ref: Node, named: Node, near: Thing, where: str) -> None:
        """Give a resource its model.

        Args:
            ref: the key that refers to it; it may not be there.
            named: the model's name below it.
            near: who refers to it.
            where: its namespace.
        """
        name = named.text(DEFAULT_MODEL)
        parts = self.find(name, where, near)
        if parts is not None:
            parts.put(draft, at)
            if ref.present:
                named.mapped(draft.target(at), f"that of {parts.thing.shown}")
                ref["namespace"].mapped(draft.target(at))
        elif ref.present and name != DEFAULT_MODEL:
            told = (
                f"there is no Model {name} here: migrate its file together with this one, or write {at}; until then "
                "the configuration's defaultModel answers"
            )
            named.manual(told, draft.target(at))
            if ref["namespace"]:
                ref["namespace"].manual(told, draft.target(at))
        else:
            told = "ARK's default; here the configuration's defaultModel answers"
            (named if ref.present else ref).defaulted(told, draft.target(at))
            if ref["namespace"]:
                ref["namespace"].dropped("there is no such model here")

    # ------------------------------------------------------------------------------------------------ reading

    def _read(self, thing: Thing) -> ModelParts:
        spec, parts = thing.node["spec"], ModelParts(thing)
        spec.mapping()
        config = spec["config"]
        blocks = [key for key in _PROVIDERS if config[key].is_map]
        word = spec.first("provider", "type").text()
        if not config.is_map:
            spec.problem("expected config, an object with the provider's settings", "write config: {openai: {...}}")
        elif word in _PROVIDERS and word not in blocks:
            config.problem(f"expected {word}, an object with its settings", f"write config: {{{word}: {{...}}}}")
        elif word not in _PROVIDERS and (plain_text(word) or not blocks) and word:
            spec.first("provider", "type").problem(f"expected one of openai, azure, bedrock, found string {word!r}")
        block = word if word in _PROVIDERS else blocks[0] if blocks else word
        parts.provider = provider_name(block)
        self._name(parts, spec, block, word)
        for key, node in config.fields():
            if key == block and node.is_map:
                self._block(parts, thing, node)
            else:
                node.dropped(f"settings of another provider than {block}")
        for key, node in spec.fields():
            if key not in ("config", "model", "provider", "type"):
                node.dropped("not known to ARK's models")
        return parts

    def _name(self, parts: ModelParts, spec: Node, block: str, word: str) -> None:
        node = spec.first("provider", "type")
        if not word:
            spec.problem("expected type, the provider", "write type: openai")
        elif word == block:
            parts.add("provider", parts.provider, node)
            if spec["provider"] and spec["type"]:
                spec["type"].dropped("chat completions, as always")
        else:
            parts.add(
                "provider", parts.provider, node, reason=f"a placeholder; {block} is what has settings", manual=True
            )
        value = value_of(self.ctx, parts.thing, spec["model"])
        if value.text is not None and plain_text(value.text):
            parts.name = value.text
            parts.add("name", value.text, *value.nodes)
        elif value.nodes:
            parts.name = value.text or "auto"
            parts.add("name", parts.name, *value.nodes, reason=f"write the model's name. {value.told}", manual=True)

    def _block(self, parts: ModelParts, thing: Thing, block: Node) -> None:
        for key, node in block.fields():
            if key == "properties":
                for name, one in node.fields():
                    self._property(parts, thing, _PARAMETERS.get(name, name), one)
            elif key == "headers":
                node.manual(
                    f"set them for the provider: kastra config set providers.{parts.provider}.headers.NAME TEXT"
                )
            elif key in ("temperature", "maxTokens"):
                parts.parameter(_PARAMETERS.get(key, key), node)
            elif key == "baseUrl":
                self._address(parts, value_of(self.ctx, thing, node))
            elif key == "apiKey":
                self._key(parts, value_of(self.ctx, thing, node), "apiKey")
            elif key in _OPTIONS:
                self._option(parts, value_of(self.ctx, thing, node), _OPTIONS[key])
            elif key in _AWS:
                self._aws(value_of(self.ctx, thing, node), _AWS[key])
            elif key == "modelArn":
                value_of(self.ctx, thing, node).manual(told="write it as the model's name, if the provider asks for it")
            else:
                node.dropped("not known to ARK's models")

    def _property(self, parts: ModelParts, thing: Thing, name: str, node: Node) -> None:
        value = value_of(self.ctx, thing, node)
        if value.text is None or is_secret_key(name):
            if value.text is not None:
                self.ctx.report.hide(value.text)
            value.manual(told=f"write it into spec.model.parameters.{name}. {value.told}".strip())
        else:
            for one in value.nodes:
                parts.parameter(name, one)

    def _address(self, parts: ModelParts, value: Value) -> None:
        if value.text is not None and plain_text(value.text):
            for node in value.nodes:
                parts.add("apiBase", value.text, node, reason=value.told, manual=bool(value.told))
        else:
            value.manual(told=f"write the address of the model into spec.model.apiBase. {value.told}".strip())

    def _key(self, parts: ModelParts, value: Value, name: str) -> None:
        if value.env:
            parts.add(name, {"valueFrom": {"env": value.env}}, *value.nodes, reason=value.told, manual=True)
        elif value.text is not None:
            variable = f"{parts.provider.upper().replace('-', '_')}_API_KEY"
            if plain_text(value.text):
                self.ctx.report.hide(value.text)
            told = f"a secret in the open was left out: put it into the environment variable {variable}"
            parts.add(name, {"valueFrom": {"env": variable}}, *value.nodes, reason=told, manual=True)
        else:
            value.manual(told=f"give the model its key: spec.model.apiKey. {value.told}")

    def _option(self, parts: ModelParts, value: Value, option: str) -> None:
        if value.text is not None and plain_text(value.text):
            parts.add(("options", option), value.text, *value.nodes)
        else:
            value.manual(told=f"write it into spec.model.options.{option}. {value.told}".strip())

    def _aws(self, value: Value, variable: str) -> None:
        if value.text is not None:
            self.ctx.report.hide(value.text)
        value.manual(told=f"put it into the environment variable {variable}")
