"""``spec.model`` as LLM configurations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kastra_core.api.meta import JsonObject

__all__ = ["llm_of"]

_SERVERS = {
    "ollama": ("OllamaConfig", "http://127.0.0.1:11434/v1"),
    "openai-compatible": ("OpenAiCompatibleConfig", ""),
    "vllm": ("VllmConfig", "http://127.0.0.1:8000/v1"),
}
_SHARED = {"maxTokens": "max_tokens", "topP": "top_p"}


def llm_of(model: Any, owner: str, part: str = "model") -> JsonObject:
    """The LLM configuration that says what a model says. Keys are not written: they are no part of a file."""
    out: JsonObject = {"component_type": "LlmConfig", "id": f"{owner}/{part}", "name": "default", "metadata": {}}
    provider, name, fields = _parts(model)
    if not provider or not name:
        return {**out, "model_id": "default", "metadata": {"kastra": {"default": True}}}
    out["name"] = f"{provider}/{name}"
    out["model_id"] = name
    base = fields.get("apiBase")
    url = base if isinstance(base, str) and base else ""
    if provider == "openai" and not url:
        out["component_type"] = "OpenAiConfig"
    elif provider == "openai":
        out |= {"component_type": "OpenAiCompatibleConfig", "url": url}
    elif provider in _SERVERS and (url or _SERVERS[provider][1]):
        kind, usual = _SERVERS[provider]
        out |= {"component_type": kind, "url": url or usual}
    elif provider == "gemini" and not url:
        auth = {"component_type": "GeminiAIStudioAuthConfig", "id": f"{owner}/{part}/auth", "name": "auth"}
        out |= {"component_type": "GeminiConfig", "auth": auth}
    else:
        out |= {"provider": provider, "api_provider": provider}
        if url:
            out["url"] = url
    if parameters := _parameters(fields):
        out["default_generation_parameters"] = parameters
    timeout = fields.get("timeoutS")
    if isinstance(timeout, (int, float)) and not isinstance(timeout, bool) and timeout > 0:
        out["retry_policy"] = {"request_timeout": timeout}
    return out


def _parts(model: Any) -> tuple[str, str, Mapping[str, Any]]:
    if isinstance(model, str):
        provider, _, name = model.partition("/")
        return provider, name, {}
    if not isinstance(model, Mapping):
        return "", "", {}
    given, named = model.get("provider"), model.get("name")
    known = isinstance(given, str) and isinstance(named, str)
    return (str(given), str(named), model) if known else ("", "", {})


def _parameters(fields: Mapping[str, Any]) -> JsonObject:
    given = fields.get("parameters")
    found = dict(given) if isinstance(given, Mapping) else {}
    for key in ("temperature", "maxTokens"):
        if fields.get(key) is not None:
            found[key] = fields[key]
    out: JsonObject = {}
    for key, value in found.items():
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if value is None or (key in ("temperature", "topP") and not number):
            continue
        if key == "maxTokens" and not (number and isinstance(value, int)):
            continue
        if key not in ("max_tokens", "top_p"):
            out[_SHARED.get(key, key)] = value
    return out
