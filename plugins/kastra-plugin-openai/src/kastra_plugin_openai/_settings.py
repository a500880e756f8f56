"""What the settings say: where the endpoint is, which key goes there, the plugin's own options. No I/O."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

import attrs

from kastra_core.protocols.model import ModelSettings
from kastra_plugin_openai._wire import Prices
from kastra_plugin_openai.endpoints import Endpoint

__all__ = ["Options", "api_base_of", "key_of", "options_of", "shown_base"]

_NAMES = ("maxTokensField", "prices", "requireDone")


@attrs.frozen
class Options:
    """``providers.NAME.options`` of the configuration."""

    prices: Mapping[str, Prices] = attrs.field(factory=dict)
    """By model; "" stands for every other model."""
    max_tokens_field: str = ""
    require_done: bool = True
    """A stream without its end mark [DONE] is a broken connection."""

    def prices_of(self, model: str) -> Prices | None:
        return (self.prices.get(model) or self.prices.get("")) if self.prices else None


_NO_OPTIONS = Options()


def options_of(options: Mapping[str, Any]) -> Options:
    """Return the options in their types.

    Raises:
        ValueError: one is unknown or of a wrong type.
    """
    if not options:
        return _NO_OPTIONS
    for name in options:
        if name not in _NAMES:
            raise ValueError(f"unknown option {name!r}; allowed are {', '.join(_NAMES)}")
    field, done = options.get("maxTokensField", ""), options.get("requireDone", True)
    if not isinstance(field, str):
        raise ValueError(f"maxTokensField: expected a string, found {field!r}")
    if not isinstance(done, bool):
        raise ValueError(f"requireDone: expected true or false, found {done!r}")
    return Options(_prices(options.get("prices") or {}), field, done)


def _prices(prices: Any) -> dict[str, Prices]:
    shape = "{inputPerMillion, outputPerMillion} in USD, or such an object per model"
    if not isinstance(prices, Mapping):
        raise ValueError(f"prices: expected {shape}, found {prices!r}")
    per_model = {"": prices} if "inputPerMillion" in prices or "outputPerMillion" in prices else prices
    found = {}
    for model, price in per_model.items():
        numbers = (
            [price.get(f"{way}PerMillion", 0) for way in ("input", "output")] if isinstance(price, Mapping) else []
        )
        if not numbers or not all(isinstance(n, int | float) and not isinstance(n, bool) and n >= 0 for n in numbers):
            raise ValueError(f"prices: expected {shape}, found {price!r}")
        found[model] = Prices(*map(float, numbers))
    return found


def api_base_of(endpoint: Endpoint, settings: ModelSettings) -> tuple[str | None, str]:
    """Return the URL before ``/chat/completions``, and where it comes from."""
    if settings.api_base:
        return settings.api_base, "settings"
    if endpoint.base_env and (base := os.environ.get(endpoint.base_env)):
        return base, f"environment variable {endpoint.base_env}"
    return endpoint.api_base, "default"


def key_of(endpoint: Endpoint, settings: ModelSettings) -> tuple[str | None, str]:
    """Return the key, and where it comes from. Blanks around it (a file's last line end) are not part of it."""
    if settings.api_key is not None:
        return settings.api_key.strip() or None, "settings"
    for name in endpoint.key_env:
        if key := os.environ.get(name, "").strip():
            return key, f"environment variable {name}"
    return None, "none"


def shown_base(base: str) -> str:
    """Return the URL without user, password and query, which may be secret.

    >>> shown_base("https://me:secret@host/v1?key=secret")
    'https://host/v1'
    """
    return re.sub(r"//[^/@]*@", "//", base).partition("?")[0]
