"""``spec.model`` of an Agent, and every other place where its manifest names a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from kastra_core.config import SecretRef
from kastra_core.serde import FieldError, converter, type_word

__all__ = ["ModelSpec"]


@attrs.frozen(kw_only=True)
class ModelSpec:
    """Which model answers. In a manifest also the text ``provider/name``."""

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
        out = dict(self.parameters)
        if self.temperature is not None:
            out["temperature"] = self.temperature
        if self.max_tokens is not None:
            out["maxTokens"] = self.max_tokens
        return out


def _model(value: Any, _: Any) -> ModelSpec:
    if isinstance(value, str):
        provider, slash, name = value.partition("/")
        if not (slash and provider and name):
            raise FieldError(f"expected PROVIDER/NAME or an object, found {type_word(value)}")
        return ModelSpec(provider=provider, name=name)
    return _structure_model(value, ModelSpec)  # type: ignore[no-any-return]


_structure_model = converter().get_structure_hook(ModelSpec)
converter().register_structure_hook(ModelSpec, _model)
