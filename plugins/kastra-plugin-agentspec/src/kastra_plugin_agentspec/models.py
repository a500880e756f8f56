"""LLM configurations as ``spec.model``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from kastra_core.migration import Draft, Node, env_reference, model_parameters, provider_name
from kastra_plugin_agentspec.components import Component, reference_in
from kastra_plugin_agentspec.maker import Maker, nothing

__all__ = ["put_model", "secret"]

_PROVIDERS = {
    "GeminiConfig": "gemini",
    "OciGenAiConfig": "oci",
    "OllamaConfig": "ollama",
    "OpenAiCompatibleConfig": "openai-compatible",
    "OpenAiConfig": "openai",
    "VllmConfig": "vllm",
}
_CERTIFICATES = "certificates are not set for one model; give the client certificate to the proxy in front of the model"
_NO_MODEL = "the configuration's defaultModel answers"
_PLACEHOLDER = re.compile(r"\[\[.*\]\]|<.*>|.*PLACEHOLDER.*|\.*", re.DOTALL)


def put_model(maker: Maker, node: Node, draft: Draft, path: str = "spec.model", *, named: bool = False) -> None:
    """Put the LLM configuration that stands at a node, or that it refers to, into a draft.

    Args:
        named: its name became that of the draft.
    """
    if not node:
        node.defaulted(f"no LLM configuration: {_NO_MODEL}", draft.target(path))
        return
    component = maker.library.component(node, "LLM configuration")
    if component is None:
        return
    if component.missing:
        told = f"the LLM configuration {component.id!r} is not in these files: write {path}, or {_NO_MODEL}"
        node.manual(told, draft.target(path))
        return
    if component.node.path != node.path:
        maker.refer(node, draft)
    if component.kept.get("default"):
        component.node.mapped(draft.target(path), f"stands for no model: {_NO_MODEL}")
        return
    _Model(maker, component, draft, path).put(named)


class _Model:
    def __init__(self, maker: Maker, component: Component, draft: Draft, path: str) -> None:
        self.maker, self.component, self.draft, self.path = maker, component, draft, path
        self.node = component.node

    def put(self, named: bool) -> None:
        node, draft, path = self.node, self.draft, self.path
        self.maker.marks(self.component, draft)
        if named:
            node["name"].mapped(draft.target("metadata.name"))
        elif not nothing(node["name"]):
            node["name"].dropped("a model is written where it is used")
        self.maker.quiet(self.component, "description", reason="a model has no description")
        known = self.component.type in _PROVIDERS or self.component.type == "LlmConfig"
        draft.set(f"{path}.provider", self._provider())
        if not node["model_id"]:
            node.problem(f"{self.component} lacks model_id")
        node["model_id"].to(draft, f"{path}.name", node["model_id"].text())
        if not known:
            told = f"{self.component.type} is of a plug-in: check {path}"
            for field in ("component_type", "type"):
                node[field].manual(told, draft.target(path))
        self._parameters()
        self._address()
        self._key()
        self._api()
        self._retries()
        if not nothing(node["client_config"]):
            self._oci()
        if not nothing(node["auth"]):
            self._google()
        for field in ("key_file", "cert_file", "ca_file"):
            if not nothing(node[field]):
                node[field].manual(_CERTIFICATES, draft.target(path))

    def _provider(self) -> str:
        kind, node = self.component.type, self.node
        fixed = _PROVIDERS.get(kind, "")
        for field in ("api_provider", "provider"):
            if not node[field] or not node[field].is_text:
                nothing(node[field])
            elif not fixed:
                fixed = provider_name(node[field].text())
                node[field].mapped(self.draft.target(f"{self.path}.provider"))
            else:
                node[field].dropped(f"{fixed} serves the model; who made it does not matter")
        if not fixed and kind not in _PROVIDERS and kind != "LlmConfig":
            fixed = re.sub(r"(Llm|LLM)?(Config|Configuration)?$", "", kind).lower() or "openai-compatible"
        if not fixed:
            fixed = "openai-compatible" if node["url"] else "openai"
            told = f"neither api_provider nor provider: taken for {fixed}"
            node["provider"].defaulted(told, self.draft.target(f"{self.path}.provider"))
        return fixed

    def _parameters(self) -> None:
        given = self.node["default_generation_parameters"]
        if nothing(given):
            return
        target = f"{self.path}.parameters"
        found = {key: value for key, value in given.mapping().items() if value is not None}
        for key, item in given.fields():
            shared, _ = next(iter(model_parameters({key: item.value}).items()))
            if item.value is None:
                item.dropped("null: the provider's default holds")
            else:
                item.mapped(self.draft.target(f"{target}.{shared}"))
        if found:
            self.draft.set(target, model_parameters(found))

    def _address(self) -> None:
        url, target = self.node["url"], f"{self.path}.apiBase"
        if nothing(url):
            return
        text = url.value if isinstance(url.value, str) else ""
        if _PLACEHOLDER.fullmatch(text):
            url.manual(f"no address but a placeholder: write {target}", self.draft.target(target))
            return
        if self.component.type in ("OllamaConfig", "OpenAiCompatibleConfig", "VllmConfig"):
            url.to(self.draft, target, api_base(text), reason="" if api_base(text) == text else "up to /v1")
        else:
            url.to(self.draft, target, text)

    def _key(self) -> None:
        key = self.node["api_key"]
        if not nothing(key):
            secret(key, self.draft, f"{self.path}.apiKey", self.component.name, "api key")

    def _api(self) -> None:
        kind = self.node["api_type"]
        if nothing(kind):
            return
        if kind.value in ("chat_completions", "oci", "openai_chat_completions"):
            kind.dropped("the usual API of the provider is used")
        else:
            kind.manual(f"the model is asked by chat completions, not by {kind.text()}", self.draft.target(self.path))

    def _retries(self) -> None:
        policy = self.node["retry_policy"]
        if nothing(policy):
            return
        for name, item in policy.fields():
            if name == "request_timeout" and item:
                item.to(self.draft, f"{self.path}.timeoutS", item.number())
            else:
                item.dropped("models are tried again up to four times with growing waits")

    def _oci(self) -> None:
        node, target = self.node, f"{self.path}.options"
        client = self.maker.library.component(node["client_config"], "OCI client configuration", "OciClientConfig")
        told = "how the plugin that serves oci signs its requests: give it the account, see its guide"
        node["client_config"].manual(told, self.draft.target(self.path))
        if client is not None and not client.missing and client.node.path != node["client_config"].path:
            client.node.manual(told, self.draft.target(self.path))
        if node["compartment_id"]:
            node["compartment_id"].to(self.draft, f"{target}.oci_compartment_id")
        for field in ("serving_mode", "conversation_store_id"):
            if not nothing(node[field]):
                node[field].manual("a setting of OCI that has no field here", self.draft.target(target))

    def _google(self) -> None:
        node = self.node
        auth = self.maker.library.component(node["auth"], "Gemini authentication", "GeminiAIStudioAuthConfig")
        if auth is None or auth.missing:
            node["auth"].manual("the authentication is not in these files", self.draft.target(f"{self.path}.apiKey"))
            return
        if auth.node.path != node["auth"].path:
            node["auth"].mapped(self.draft.target(self.path))
        self.maker.marks(auth, self.draft)
        self.maker.quiet(auth, "name", "description", reason="only what it says is needed")
        if auth.type == "GeminiVertexAIAuthConfig":
            self.draft.set(f"{self.path}.provider", "vertex_ai")
            for field, name in (("project_id", "vertex_project"), ("location", "vertex_location")):
                if not nothing(auth.node[field]):
                    auth.node[field].to(self.draft, f"{self.path}.options.{name}")
            held = auth.node["credentials"]
            if not nothing(held):
                _hide(self.maker, held)
                told = "put the file of the service account into the variable GOOGLE_APPLICATION_CREDENTIALS"
                held.manual(told, self.draft.target(self.path))
        elif not nothing(auth.node["api_key"]):
            secret(auth.node["api_key"], self.draft, f"{self.path}.apiKey", "GEMINI_API_KEY")


def _hide(maker: Maker, node: Node) -> None:
    """Have every text below a node kept out of what is made."""
    for _, item in node.fields():
        _hide(maker, item)
    if node.is_text and reference_in(node.value) is None:
        maker.report.hide(node.text())


def api_base(url: str) -> str:
    """The address of an OpenAI-compatible server as ``apiBase``.

    >>> api_base("localhost:11434"), api_base("http://x/v1/chat/completions"), api_base("https://x.org/llm")
    ('http://localhost:11434/v1', 'http://x/v1', 'https://x.org/llm/v1')
    """
    out = url.strip().rstrip("/")
    out = re.sub(r"/(chat/completions|completions|responses)$", "", out)
    if "://" not in out:
        out = f"http://{out}"
    return out if re.search(r"/v\d+\w*(/|$)", out) else f"{out}/v1"


def secret(node: Node, draft: Draft, path: str | Sequence[str | int], *env: str) -> None:
    """Put a sensitive field into a draft: by environment variable, whether it is in the open or was left out."""
    wanted = reference_in(node.value)
    if wanted is None:
        if node.is_text and env_reference(node.text()) == "" and not node.text():
            return
        node.secret(draft, path, *env)
        return
    from kastra_core.migration import env_name

    name = env_name(*(env if len(env) == 1 and env[0].isupper() else (wanted,)))
    place: Any = path
    draft.set(place, {"valueFrom": {"env": name}})
    node.manual(f"a secret that is not in the file: put it into the environment variable {name}", draft)
