"""Which model answers, and what is asked of it."""

from __future__ import annotations

from typing import Any

import pytest

from kastra_core import ModelSpec, chosen_model
from kastra_core.serde import FieldError, structure

OWN = {
    "provider": "openai",
    "name": "gpt-4o",
    "temperature": 0,
    "parameters": {"seed": 1},
    "apiBase": "https://models.example",
    "apiKey": {"valueFrom": {"env": "KEY"}},
    "timeoutS": 5,
}


def test_a_text_and_an_object_name_a_model() -> None:
    assert structure("ollama/qwen3:4b", ModelSpec) == ModelSpec(provider="ollama", name="qwen3:4b")
    own = structure(OWN, ModelSpec)
    assert own.request() == {
        "provider": "openai",
        "model": "gpt-4o",
        "parameters": {"seed": 1, "temperature": 0},
        "settings": {"apiBase": "https://models.example", "apiKey": {"valueFrom": {"env": "KEY"}}, "timeoutS": 5},
    }


@pytest.mark.parametrize("text", ["gpt-4o", "/x", "openai/", ""])
def test_a_text_without_provider_or_name_is_refused(text: str) -> None:
    with pytest.raises(FieldError, match="expected PROVIDER/NAME or an object"):
        structure(text, ModelSpec)


@pytest.mark.parametrize(
    ("own", "override", "default", "answers", "why"),
    [
        (OWN, None, "local/auto", "openai/gpt-4o", ""),
        (OWN, "openai/gpt-4o", None, "openai/gpt-4o", ""),
        (OWN, "local/auto", None, "local/auto", "local/auto routes in place of openai/gpt-4o, as the configuration or"),
        (None, "local/auto", None, "local/auto", "local/auto routes, as the configuration or --model says"),
        (None, None, "local/auto", "local/auto", "spec.router.model is missing; the default local/auto routes"),
        (None, None, None, "None", ""),
    ],
)
def test_an_override_goes_before_the_own_model_and_that_before_the_default(
    own: Any, override: str | None, default: str | None, answers: str, why: str
) -> None:
    spec = structure(own, ModelSpec) if own else None
    model, told = chosen_model(spec, override, default, field="spec.router.model", does="routes")
    assert str(model) == answers
    assert told.startswith(why)
    assert bool(told) == bool(why)


def test_an_override_keeps_parameters_and_leaves_address_and_key() -> None:
    model, _ = chosen_model(structure(OWN, ModelSpec), "local/auto", None)
    assert model is not None
    assert model.request() == {"provider": "local", "model": "auto", "parameters": {"seed": 1, "temperature": 0}}
