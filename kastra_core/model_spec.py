"""How a manifest names a model, and which one answers: an override, the resource's own, or a default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from kastra_core.api.meta import JsonObject
from kastra_core.secrets import SecretRef
from kastra_core.serde import FieldError, converter, register_schema, structure_object, type_word

__all__ = ["ModelSpec", "chosen_model"]


@attrs.frozen(kw_only=True)
class ModelSpec:
    """Which model answers. In a manifest also the text ``provider/name``.

    >>> ModelSpec.named("ollama/qwen3:4b").request()
    {'provider': 'ollama', 'model': 'qwen3:4b'}
    """

    provider: str
    """Name of a provider that a plugin serves: openai, anthropic, ollama, local ..."""
    name: str
    """The provider's name of the model; ``auto`` where the provider can choose."""
    parameters: Mapping[str, Any] = attrs.field(factory=dict)
    """temperature, topP, maxTokens, seed, stop; all others go to the provider as they are."""
    temperature: float | None = None
    """Short for parameters.temperature."""
    max_tokens: int | None = None
    """Short for parameters.maxTokens."""
    api_base: str | None = None
    """Address of the endpoint, when it is not the provider's usual one."""
    api_key: SecretRef | None = None
    """The key, by reference: {valueFrom: {env: NAME}} or {valueFrom: {file: path}}."""
    timeout_s: float | None = None
    """Seconds for one answer."""
    options: Mapping[str, Any] = attrs.field(factory=dict)
    """Settings of the plugin that serves the provider."""

    def __str__(self) -> str:
        return f"{self.provider}/{self.name}"

    @classmethod
    def named(cls, text: str) -> ModelSpec:
        """The model that ``provider/name`` names; what is no such text leaves provider or name empty."""
        provider, _, name = text.partition("/")
        return cls(provider=provider, name=name)

    def request(self) -> JsonObject:
        """What the operation ``model.chat`` takes to reach this model: all but the messages and what goes with them."""
        out: JsonObject = {"provider": self.provider, "model": self.name}
        parameters, settings = self.all_parameters(), self.settings()
        if parameters:
            out["parameters"] = parameters
        if settings:
            out["settings"] = settings
        return out

    def settings(self) -> dict[str, Any]:
        """What ``model.chat`` takes as ``settings``: JSON, the key still by reference."""
        out: dict[str, Any] = {}
        if self.api_base:
            out["apiBase"] = self.api_base
        if self.api_key is not None:
            out["apiKey"] = converter().unstructure(self.api_key)
        if self.timeout_s is not None:
            out["timeoutS"] = self.timeout_s
        if self.options:
            out["options"] = dict(self.options)
        return out

    def all_parameters(self) -> dict[str, Any]:
        """``parameters`` with those that have a short form."""
        out = dict(self.parameters)
        if self.temperature is not None:
            out["temperature"] = self.temperature
        if self.max_tokens is not None:
            out["maxTokens"] = self.max_tokens
        return out


def chosen_model(
    own: ModelSpec | None,
    override: str | None,
    default: str | None,
    *,
    field: str = "spec.model",
    does: str = "answers",
) -> tuple[ModelSpec | None, str]:
    """Return (model that answers, why it is not the resource's own or ""); None when there is none at all.

    An override keeps the parameters of ``own`` but not its address and key, which belong to its own provider.

    Args:
        own: what the resource names.
        override: ``provider/name`` of the caller or the configuration.
        default: ``provider/name`` for a resource that names none.
        field: where the manifest would name it, for the reason.
        does: what it does, for the reason.
    """
    if override:
        given = ModelSpec.named(override)
        if own is not None and str(own) == str(given):
            return own, ""
        place = f" in place of {own}" if own is not None else ""
        why = f"{override} {does}{place}, as the configuration or --model says"
        return (attrs.evolve(given, parameters=own.all_parameters()) if own is not None else given), why
    if own is None and default:
        return ModelSpec.named(default), f"{field} is missing; the default {default} {does}"
    return own, ""


def _model(value: Any, _: Any) -> ModelSpec:
    if not isinstance(value, str):
        return structure_object(value, ModelSpec)
    model = ModelSpec.named(value)
    if not (model.provider and model.name):
        raise FieldError(f"expected PROVIDER/NAME or an object, found {type_word(value)}")
    return model


converter().register_structure_hook(ModelSpec, _model)
register_schema(
    ModelSpec,
    lambda own, _: {
        "anyOf": [{"type": "string", "pattern": "^[^/]+/(.|\\n)+$", "description": "PROVIDER/NAME"}, own],
    },
)
