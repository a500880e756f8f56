"""Models as agents and networks name them, LLM resources, and the providers of a pod or a root file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from kastra_core.migration import (
    Draft,
    Node,
    env_name,
    env_reference,
    is_secret_key,
    model_name,
    model_parameters,
    provider_name,
)
from kastra_plugin_legacy.book import Book
from kastra_plugin_legacy.items import Item
from kastra_plugin_legacy.secret_refs import secret_reference

__all__ = ["fill_model", "migrate_llms", "migrate_providers", "note_providers", "target_provider"]

_OWN_NAMES: Mapping[str, str] = {"qwen": "dashscope", "tongyi": "dashscope"}
"""Providers of the older runtime that are known by another name today."""
_STAND_INS = ("mock", "mock-model")
_NAMES = ("name", "model", "modelName", "modelId", "id")
_BASES = ("apiBase", "baseURL", "baseUrl", "base_url", "endpoint", "url")
_KEYS = ("apiKey", "api_key")
_REFERENCES = ("$ref", "ref", "refName", "llm", "llmRef")
_PARAMETERS: Mapping[str, str] = {
    "frequencyPenalty": "frequency_penalty",
    "frequency_penalty": "frequency_penalty",
    "maxTokens": "maxTokens",
    "max_tokens": "maxTokens",
    "presencePenalty": "presence_penalty",
    "presence_penalty": "presence_penalty",
    "seed": "seed",
    "stop": "stop",
    "stopSequences": "stop",
    "temperature": "temperature",
    "topK": "top_k",
    "topP": "topP",
    "top_k": "top_k",
    "top_p": "topP",
}
"""Fields of a model in the source -> name in ``parameters``."""
_DEFAULT_ANSWERS = "the configuration's defaultModel answers, else a provider that needs no account"


def target_provider(book: Book, name: str) -> str:
    """Return what a provider of the source is called here."""
    return book.providers.get(name) or _OWN_NAMES.get(name.lower()) or provider_name(name)


def fill_model(book: Book, item: Item, draft: Draft, node: Node, path: str = "spec.model") -> None:
    """Put a model into a draft at ``path``; ``systemPrompt`` in it is left to the caller."""
    if not node:
        node.defaulted(f"the source names no model: {_DEFAULT_ANSWERS}", draft)
        return
    if node.is_text:
        _named(book, item, draft, node, path)
        return
    if not node.is_map:
        node.problem("expected a model: an object with provider and name, or a text")
        return
    for key in _REFERENCES:
        reference = node[key]
        if reference:
            _referred(book, item, draft, reference, path)
    provider, name = node["provider"], node.first(*_NAMES)
    if provider.text().lower() in _STAND_INS or name.text().lower() in _STAND_INS:
        told = f"a stand-in that is no model: left out; {_DEFAULT_ANSWERS}"
        for part in (provider, name):
            if part:
                part.dropped(told)
        for key, part in node.fields():
            if key not in ("provider", "systemPrompt") and part.path != name.path:
                part.dropped("it belongs to a stand-in that was left out")
        return
    if not _place(book, draft, provider, name, path):
        for key, part in node.fields():
            if key not in ("provider", "systemPrompt", *_REFERENCES) and part.path != name.path:
                part.manual("belongs to a model that could not be named: set it with the model", draft)
        return
    _settings(book, draft, node, path)


def _named(book: Book, item: Item, draft: Draft, node: Node, path: str) -> None:
    text = node.text().strip()
    llm = _llm(book, item, text)
    if llm is not None:
        _referred(book, item, draft, node, path)
    elif "$" in text or not text:
        node.manual(f"write the model here: PROVIDER/NAME instead of {text!r}; until then {_DEFAULT_ANSWERS}", draft)
    elif text.lower() in _STAND_INS:
        node.dropped(f"a stand-in that is no model: left out; {_DEFAULT_ANSWERS}")
    else:
        provider, name, guessed = model_name(text)
        if "/" in text:
            provider = target_provider(book, text.partition("/")[0])
        reason = "the provider was guessed by the model's name" if guessed else ""
        node.to(draft, path, {"provider": provider, "name": name}, reason=reason)


def _llm(book: Book, item: Item, reference: object) -> Item | None:
    target = book.parse(reference, "LLM")
    return book.resolve(target, item)[0] if target is not None and target[0] == "LLM" else None


def _referred(book: Book, item: Item, draft: Draft, node: Node, path: str) -> None:
    llm = _llm(book, item, node.value)
    if llm is None:
        node.manual("no LLM of this name is migrated here: write provider and name of the model", draft)
        return
    spec = llm.spec
    if not _place(book, draft, spec["provider"], spec.first(*_NAMES), path):
        node.manual(f"the LLM at {llm.place} names no model: write provider and name", draft)
        return
    _settings(book, draft, spec, path)
    llm.draft = draft
    node.mapped(draft.target(path), f"the LLM {llm.source_name} stands here now")


def _place(book: Book, draft: Draft, provider: Node, name: Node, path: str) -> bool:
    """Put provider and name; False when the source does not say them."""
    given, words = provider.text().strip(), name.text().strip()
    if not given and not words:
        return False
    unclear = [one for one in (provider, name) if "$" in one.text()]
    if unclear:
        for one in (provider, name):
            if one:
                told = "write the model by hand: the manifest cannot take it from the environment"
                one.manual(f"{told} ({one.text()}); until then {_DEFAULT_ANSWERS}", draft)
        return False
    if not words:
        words = book.default_models.get(given, "")
        if not words:
            provider.manual(f"write the name of the model too; until then {_DEFAULT_ANSWERS}", draft)
            return False
        name.defaulted(f"the provider's usual model is {words}", draft.target(f"{path}.name"))
    if not given:
        target, words, guessed = model_name(words)
        told = "the provider was guessed by the model's name" if guessed else "provider and name are two fields"
        provider.defaulted(told, draft.target(f"{path}.provider"))
    else:
        target = target_provider(book, given)
    draft.set(f"{path}.provider", target)
    draft.set(f"{path}.name", words)
    if provider:
        reason = "" if target == given else f"the provider is called {target} here"
        provider.mapped(draft.target(f"{path}.provider"), reason)
    if name:
        name.mapped(draft.target(f"{path}.name"))
    return True


def _settings(book: Book, draft: Draft, node: Node, path: str) -> None:
    for key, part in node.fields():
        if key in ("parameters", "options", "settings", "config") and part.is_map:
            for inner, value in part.fields():
                _setting(book, draft, value, inner, path, known=key != "parameters")
        elif key not in ("provider", "systemPrompt", *_NAMES, *_REFERENCES):
            _setting(book, draft, part, key, path)


def _setting(book: Book, draft: Draft, node: Node, key: str, path: str, *, known: bool = True) -> None:
    if not node:
        return
    if key in ("temperature", "maxTokens") and known and isinstance(node.value, (int, float)):
        node.to(draft, f"{path}.{key}")
    elif key in _PARAMETERS:
        node.to(draft, f"{path}.parameters.{_PARAMETERS[key]}")
    elif not known:
        node.to(draft, (*path.split("."), "parameters", next(iter(model_parameters({key: 0})))))
    elif key in _BASES and node.is_text:
        _base(draft, node, f"{path}.apiBase")
    elif key in _KEYS and node.is_text:
        env = env_name(str(draft.get(f"{path}.provider")), "API_KEY")
        name, outcome, reason = secret_reference(book.report, node, env)
        draft.set(f"{path}.apiKey", {"valueFrom": {"env": name}})
        book.report.cover(node, outcome, reason, draft.target(f"{path}.apiKey"))
    elif key in _KEYS or key == "timeoutS":
        node.to(draft, f"{path}.{key}")
    else:
        node.manual("no setting of a model here: write it into the model's parameters if the provider takes it", draft)


def _base(draft: Draft, node: Node, path: str) -> None:
    if "$" in node.text():
        node.manual(f"write the address by hand: a manifest cannot take it from {node.text()}", draft.target(path))
    else:
        node.to(draft, path)


# -------------------------------------------------------------------------------------------------- configuration


def migrate_providers(book: Book, node: Node) -> None:
    """Put the providers of a pod or a root file into the project's configuration."""
    if not node:
        return
    if not node.is_map:
        node.problem("expected an object: name of a provider to its settings")
        return
    for name, body in node.fields():
        if not body.is_map:
            body.dropped("no settings of a provider")
            continue
        _provider(book, name, body)


def note_providers(book: Book, node: Node) -> None:
    """First pass: what the providers are called here, so that models can name them."""
    for name, body in node.fields():
        kind = body["type"].value if body.is_map else None
        if isinstance(kind, str) and kind and kind.lower() != name.lower():
            book.providers.setdefault(name, _OWN_NAMES.get(kind.lower()) or provider_name(kind))
        usual = body["defaultModel"].value if body.is_map else None
        if isinstance(usual, str) and usual:
            book.default_models.setdefault(name, usual)


def _provider(book: Book, name: str, body: Node) -> None:
    target = target_provider(book, name)
    where = f"configuration providers.{target}"
    put = _Config(book, target)
    if not body.value:
        body.dropped(f"no settings; the provider {name} is called {target} here")
    for key, part in body.fields():
        if not part:
            part.dropped("null: as if it were not there")
        elif key in _KEYS or key in ("accessToken", "token"):
            put.secret(part, "apiKey", env_name(target, "API_KEY"))
        elif key in _BASES and part.is_text:
            if "$" in part.text():
                told = "the configuration takes no address from the environment: set it with `kastra config set"
                part.manual(f"{told} providers.{target}.apiBase URL` (it was {part.text()})", f"{where}.apiBase")
            else:
                put.value(part, "apiBase", part.text())
        elif key == "headers" and part.is_map:
            for header, value in part.fields():
                if env_reference(value.text()) or is_secret_key(header):
                    put.secret(value, f"headers.{header}", env_name(target, header), ("headers", header))
                else:
                    put.value(value, f"headers.{header}", value.text(), ("headers", header))
        elif key in ("defaultModel", "model"):
            _default_model(book, part, target)
        elif key == "type":
            part.dropped(f"models of the provider {name} are those of {target} here")
        elif key == "timeoutS":
            put.value(part, "timeoutS", part.value)
        else:
            part.manual(f"no setting of a provider here: see `kastra config set providers.{target}.options`", where)


def _default_model(book: Book, node: Node, target: str) -> None:
    words = node.text()
    if "$" in words or not words:
        node.manual("set it with `kastra config set defaultModel PROVIDER/NAME`", "configuration defaultModel")
        return
    if "defaultModel" in book.report.config:
        held = book.report.config["defaultModel"]
        node.dropped(
            f"the configuration has one default model, {held}; agents name theirs", "configuration defaultModel"
        )
    else:
        book.report.config["defaultModel"] = f"{target}/{words}"
        node.mapped("configuration defaultModel", "answers for agents that name no model")


class _Config:
    """Writes settings of one provider."""

    def __init__(self, book: Book, provider: str) -> None:
        self.book, self.provider = book, provider

    def _set(self, node: Node, shown: str, path: tuple[str, ...], value: Any) -> bool:
        place = self.book.report.config.setdefault("providers", {}).setdefault(self.provider, {})
        for part in path[:-1]:
            place = place.setdefault(part, {})
        if path[-1] not in place:
            place[path[-1]] = value
            return True
        same = place[path[-1]] == value
        node.dropped(f"providers.{self.provider}.{shown} is set already, to {'the same' if same else 'another'} value")
        return False

    def value(self, node: Node, shown: str, value: Any, path: tuple[str, ...] = ()) -> None:
        if self._set(node, shown, path or (shown,), value):
            node.mapped(f"configuration providers.{self.provider}.{shown}")

    def secret(self, node: Node, shown: str, env: str, path: tuple[str, ...] = ()) -> None:
        name, outcome, reason = secret_reference(self.book.report, node, env)
        if self._set(node, shown, path or (shown,), {"valueFrom": {"env": name}}):
            self.book.report.cover(node, outcome, reason, f"configuration providers.{self.provider}.{shown}")


def migrate_llms(book: Book) -> None:
    """Put LLM resources that no agent uses into the configuration, and say what became of the others."""
    for item in book.items:
        if item.kind != "LLM":
            continue
        node, spec = item.node, item.spec
        used = item.draft
        if used is None:
            _unused(book, spec)
        told = "an LLM is no resource of its own: models stand at the agents that use them, keys in the configuration"
        for key, part in node.fields():
            if key != "spec":
                part.dropped(told)


def _unused(book: Book, spec: Node) -> None:
    provider, name = spec["provider"], spec.first(*_NAMES)
    if not provider or not name:
        spec.problem("expected provider and model")
        return
    target = target_provider(book, provider.text())
    put = _Config(book, target)
    if "defaultModel" not in book.report.config:
        book.report.config["defaultModel"] = f"{target}/{name.text()}"
        provider.mapped("configuration defaultModel", "answers for agents that name no model")
        name.mapped("configuration defaultModel", "answers for agents that name no model")
    else:
        for part in (provider, name):
            part.manual("no agent here uses this model: name it at the agents that should (spec.model)")
    parts = [*spec.fields(), *spec["options"].fields()]
    for key, part in parts:
        if key in _KEYS and part:
            put.secret(part, "apiKey", env_name(target, "API_KEY"))
        elif key in _BASES and part.is_text and not re.search(r"\$", part.text()):
            put.value(part, "apiBase", part.text())
        elif key not in ("provider", "options", *_NAMES) and part:
            part.manual("write it into spec.model.parameters of the agents that use the model")
