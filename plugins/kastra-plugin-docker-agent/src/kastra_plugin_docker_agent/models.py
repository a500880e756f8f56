"""Models: what an agent's ``model`` names, as ``spec.model``."""

from __future__ import annotations

import re
from collections.abc import Mapping

from kastra_core.errors import nearest
from kastra_core.migration import Draft, Node, Report, model_name, model_parameters, provider_name
from kastra_plugin_docker_agent.rows import dropped, manual, mapped

__all__ = ["Models"]

_NAMES: Mapping[str, str] = {"amazon-bedrock": "bedrock", "github-copilot": "github_copilot"}
"""docker-agent's provider -> ours, where the toolkit does not know it."""
_ENDPOINTS: Mapping[str, tuple[str, str]] = {
    "dmr": ("http://localhost:12434/engines/v1", ""),
    "minimax": ("https://api.minimax.io/v1", "MINIMAX_API_KEY"),
    "nebius": ("https://api.studio.nebius.com/v1", "NEBIUS_API_KEY"),
    "requesty": ("https://router.requesty.ai/v1", "REQUESTY_API_KEY"),
}
"""Providers that are an OpenAI-compatible endpoint: address, environment variable of the key.

Source: docker/docker-agent pkg/model/provider/provider.go and dmr/client.go (0d76412).
"""
_COMPATIBLE = "openai-compatible"
_ORDER = ("provider", "name", "parameters", "apiBase", "apiKey")
_PLAIN = ("temperature", "max_tokens", "top_p", "frequency_penalty", "presence_penalty")
_BUDGETS = ("anthropic", "bedrock", "gemini", "vertex_ai")
"""Providers that take a number of tokens for thinking."""
_EFFORTS = ("minimal", "low", "medium", "high", "xhigh", "max")
_OPTIONS = ("top_k", "seed", "repetition_penalty", "min_p")
"""Entries of provider_opts that are parameters of the request."""
_DROPPED: Mapping[str, str] = {
    "track_usage": "tokens are always counted here",
    "description": "said to people only, and nothing here shows a model to people",
    "bypass_models_gateway": "there is no gateway that has to be passed by; spec.model.apiBase would name one",
    "title_model": "runs and threads have no generated titles",
    "compaction_model": "memory here keeps the last messages; see spec.memory.summary.model for summaries",
    "compaction_threshold": "memory here is bounded by spec.memory.maxMessages and maxTokens",
    "capabilities": "what a model can take is asked of its provider",
    "unload_api": "models are not unloaded between agents",
}

_OWN = "the models that use the provider say it themselves"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Models:
    """The models and providers of a document, and what became of them."""

    def __init__(self, report: Report, root: Node) -> None:
        self.report, self.models, self.providers = report, root["models"], root["providers"]
        self.used: set[str] = set()
        """Named models that are in the result."""
        self.named: dict[str, str] = {}
        """Named models that something else names -> what."""
        self._providers_used: set[str] = set()
        self._said: set[str] = set()

    # -------------------------------------------------------------------------------------------- references

    def expand(self, text: str, _above: tuple[str, ...] = ()) -> list[str]:
        """The models of a reference, which may be a list with commas or name an entry that is one."""
        out: list[str] = []
        for part in (part.strip() for part in text.split(",")):
            if not part or part in _above:
                continue
            model = self.models[part]
            if "," in model["model"].text() and not self._provider_of(model).text():
                self.used.add(part)
                out += self.expand(model["model"].text(), (*_above, part))
            else:
                out.append(part)
        return out

    def check(self, node: Node) -> None:
        """Write a problem when a reference names no model."""
        if not node or not node.is_text:
            return
        for name in self.expand(node.text()):
            provider, slash, model = name.partition("/")
            entry = self.models[name]
            if entry.present and not entry["model"].text() and not entry["first_available"].list():
                entry.problem(f"the model {name!r} names no model", "write model: NAME, as its provider calls it")
            if name == "auto" or entry.present or (slash and provider and model):
                continue
            known = [known for known, _ in self.models.fields()]
            near = nearest(name, known)
            hint = f"did you mean {near!r}?" if near else "write PROVIDER/MODEL, or the name of an entry of models"
            node.problem(f"there is no model {name!r}", hint)

    def also(self, node: Node, what: str) -> None:
        """Remember that something that has no place here names models, for their rows."""
        for name in self.expand(node.text()) if node.is_text else ():
            self.named.setdefault(name, what)

    # -------------------------------------------------------------------------------------------- into a draft

    def put(self, draft: Draft, path: str, node: Node, *, tools: bool) -> None:
        """Write the model that a reference names to ``path`` of a draft ("spec.model").

        Args:
            tools: the model is offered tools, so that settings for their calls make sense.
        """
        names = self.expand(node.text())
        if not names or names[0] == "auto":
            said = "docker-agent would choose by the keys that it finds" if names else "the file names no model"
            node.defaulted(f"{said}: the configuration's defaultModel answers", draft.target(path))
            return
        for name in names[1:]:
            self.named.setdefault(name, "another model of the same list")
        entry = self.models[names[0]]
        if entry.present:
            self.used.add(names[0])
            self._entry(draft, path, entry, tools=tools)
        else:
            self._inline(draft, path, names[0])
        made = draft.get(path)
        draft.set(path, {key: made[key] for key in sorted(made, key=_ORDER.index)})
        if len(names) > 1:
            told = f"these models take turns in docker-agent ({', '.join(names)}); here {names[0]} answers alone: "
            manual(node, told + "make an agent for each, or choose one", draft.target(path))
        elif entry.present:
            mapped(node, draft.target(path), f"the entry {names[0]!r} of models")
        else:
            mapped(node, draft.target(path))

    def _inline(self, draft: Draft, path: str, text: str) -> None:
        provider, _, model = text.partition("/")
        self._provider(draft, path, provider, None)
        draft.set(f"{path}.name", model)

    def _entry(self, draft: Draft, path: str, entry: Node, *, tools: bool) -> None:
        candidates = entry["first_available"]
        if candidates.list():
            said = "the first one whose key is there answers in docker-agent; here the first one of the list: "
            manual(candidates, said + "change spec.model where its key is missing", draft.target(path))
            first = candidates[0].text()
            inner = self.models[first]
            if inner.present and not inner["first_available"]:
                self.used.add(first)
                self._entry(draft, path, inner, tools=tools)
            elif "/" in first:
                self._inline(draft, path, first)
            return
        given = self._provider_of(entry)
        if given.text():
            provider = self._provider(draft, path, given.text(), given, entry)
            entry["model"].to(draft, f"{path}.name", entry["model"].text())
        else:
            provider, name, guessed = model_name(entry["model"].text())
            draft.set(f"{path}.provider", provider)
            entry["model"].to(draft, f"{path}.name", name, reason="the provider was guessed" if guessed else "")
            given.defaulted(f"{provider}: the provider was guessed by the model's name", draft.target(path))
        defaults = self.providers[given.text()]
        for key in _PLAIN:
            node = self._own_or_default(entry, defaults, key)
            name = next(iter(model_parameters({key: 0})))
            if node:
                node.to(draft, f"{path}.parameters.{name}", _number(node))
        self._address(draft, path, entry)
        self._thinking(draft, path, self._own_or_default(entry, defaults, "thinking_budget"), provider)
        for name, option in defaults["provider_opts"].fields():
            if entry["provider_opts"][name].present:
                self._once(option, "dropped", _OWN)
            else:
                self._option(draft, path, name, option)
        for name, option in entry["provider_opts"].fields():
            self._option(draft, path, name, option)
        self._parallel(draft, path, self._own_or_default(entry, defaults, "parallel_tool_calls"), tools)
        for source in (entry, defaults):
            self._rest(source, draft.target(path))

    def _own_or_default(self, entry: Node, defaults: Node, key: str) -> Node:
        """What a model says, else what its provider says for all models."""
        if not entry[key]:
            return defaults[key]
        self._once(defaults[key], "dropped", _OWN)
        return entry[key]

    @staticmethod
    def _provider_of(entry: Node) -> Node:
        """``provider``, in version 0 ``type``."""
        return entry["type"] if entry["type"] else entry["provider"]

    def _provider(self, draft: Draft, path: str, name: str, node: Node | None, entry: Node | None = None) -> str:
        """Write provider, address and key, except what the entry of a model says. Return its name here."""
        own = self.providers[name]
        if own.present:
            provider = self._own_provider(draft, path, name, own, entry)
            if node is not None:
                mapped(node, draft.target(f"{path}.provider"), f"the entry {name!r} of providers")
            return provider
        base, key = _ENDPOINTS.get(name, ("", ""))
        provider = _COMPATIBLE if base else _NAMES.get(name, provider_name(name))
        draft.set(f"{path}.provider", provider)
        if base:
            draft.set(f"{path}.apiBase", base)
        if key:
            draft.set(f"{path}.apiKey", {"valueFrom": {"env": key}})
        if node is not None:
            told = (
                f"{name} is served at {base}"
                if base
                else ""
                if provider == name
                else f"{name} is called {provider} here"
            )
            mapped(node, draft.target(f"{path}.provider"), told)
        return provider

    def _own_provider(self, draft: Draft, path: str, name: str, own: Node, entry: Node | None) -> str:
        self._providers_used.add(name)
        kind = own["provider"].text()
        provider = _COMPATIBLE if kind in ("", "openai") else _NAMES.get(kind, provider_name(kind))
        draft.set(f"{path}.provider", provider)
        if kind:
            mapped(own["provider"], draft.target(f"{path}.provider"))
        self._address(draft, path, own, entry)
        if own["api_type"].text() == "openai_responses":
            told = "the Responses API is not spoken here: see whether the server has /chat/completions too"
            self._once(own["api_type"], "manual", told, draft.target(f"{path}.apiBase"))
        else:
            self._once(own["api_type"], "dropped", "chat completions is what is spoken anyway")
        return provider

    def _address(self, draft: Draft, path: str, node: Node, entry: Node | None = None) -> None:
        """Write address and key of a provider or a model; of a provider only what the model does not have itself."""
        base, key = node["base_url"], node["token_key"]
        if entry is not None and entry["base_url"].text():
            self._once(base, "dropped", _OWN)
        elif "$" in base.text():
            told = f"the address holds a variable: write what it stands for into {path}.apiBase"
            manual(base, told, draft.target(f"{path}.apiBase"))
        elif base.text():
            base.to(draft, f"{path}.apiBase")
        if entry is not None and entry["token_key"].text():
            self._once(key, "dropped", _OWN)
        elif _VARIABLE.fullmatch(key.text()):
            key.to(draft, f"{path}.apiKey", {"valueFrom": {"env": key.text()}}, reason="environment variable")
        elif key.text():  # the key itself, where the name of its variable belongs
            key.secret(draft, f"{path}.apiKey", str(draft.get(f"{path}.provider") or draft.name), "API_KEY")

    def _thinking(self, draft: Draft, path: str, node: Node, provider: str) -> None:
        if not node:
            return
        value = node.value
        if isinstance(value, str) and value.lstrip("-").isdigit():
            value = int(value)
        place = f"{path}.parameters"
        if value in (0, "none") and provider == "gemini":
            if "gemini-3" in str(draft.get(f"{path}.name")):
                node.to(
                    draft, f"{place}.reasoning_effort", "low", reason="this model always thinks: as little as it may"
                )
            else:
                node.to(draft, f"{place}.thinking", {"type": "enabled", "budget_tokens": 0}, reason="no thinking")
        elif value in (0, "none", ""):
            dropped(node, "thinking stays off unless it is asked for")
        elif isinstance(value, str) and value in _EFFORTS:
            node.to(draft, f"{place}.reasoning_effort", reason="passed on to the provider as it is")
        elif isinstance(value, int) and value > 0 and provider in _BUDGETS:
            node.to(draft, f"{place}.thinking", {"type": "enabled", "budget_tokens": value})
        elif value == -1:
            dropped(node, "the model thinks as long as it likes unless it is told otherwise")
        else:
            told = f"{provider} has no such setting here: see which of its parameters to put into {place}"
            manual(node, told, draft.target(place))

    def _option(self, draft: Draft, path: str, name: str, node: Node) -> None:
        if name in _OPTIONS:
            node.to(draft, f"{path}.parameters.{name}")
        elif name == "api_type":
            self._once(node, "dropped", "chat completions is what is spoken")
        elif name == "http_headers":
            self._once(node, "manual", "headers of a model's requests have no place in spec.model: use a gateway")
        else:
            told = "an option of docker-agent or of the server that runs the model: set it there, or put it into "
            self._once(node, "manual", f"{told}spec.model.parameters if the provider takes it in the request")

    def _parallel(self, draft: Draft, path: str, node: Node, tools: bool) -> None:
        if not node:
            return
        if node.value is False and tools:
            node.to(draft, f"{path}.parameters.parallel_tool_calls", reason="passed on to the provider as it is")
        elif node.value:
            self._once(node, "dropped", "models may call several tools at once unless they are told otherwise")
        else:
            self._once(node, "dropped", "a model without tools has no use for it")

    def _rest(self, node: Node, target: str) -> None:
        for key, told in _DROPPED.items():
            self._once(node[key], "dropped", told)
        self._once(
            node["task_budget"], "manual", "write spec.limits.maxTokens, which bounds a run, if that is meant", target
        )
        self._once(node["auth"], "manual", "only keys are known here: give the provider one in its variable", target)
        self._once(node["cost"], "manual", "prices are settings of the project, not of a resource", target)
        for rule in node["routing"].items():
            self.also(rule["model"], "a model that requests are routed to")
        told = (
            "requests are not routed between models here: make an agent for each model, and a Network with router.type "
        )
        self._once(node["routing"], "manual", f"{told}embedding whose members have these examples", target)

    def _once(self, node: Node, outcome: str, reason: str, target: str = "") -> None:
        """One row for an entry that several agents use."""
        if not node.present or node.key in self._said:
            return
        self._said.add(node.key)
        if outcome == "manual":
            manual(node, reason, target)
        else:
            dropped(node, reason)

    # -------------------------------------------------------------------------------------------- at the end

    def close(self) -> None:
        """Write the rows of entries that are in no resource."""
        for name, entry in self.models.fields():
            if name in self.used:
                if "," in entry["model"].text():
                    manual(entry["model"], "models that take turns: the first of them answers; choose one of them")
                continue
            what = self.named.get(name)
            dropped(entry, f"it is only {what}" if what else "no agent uses this model")
        for name, entry in self.providers.fields():
            if name not in self._providers_used:
                dropped(entry, "no agent uses a model of this provider")


def _number(node: Node) -> object:
    """The value; a text that is a number as a number."""
    if not isinstance(node.value, str):
        return node.value
    number = float(node.value)
    return int(number) if number.is_integer() else number
