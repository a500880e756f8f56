"""Models as foreign configurations name them, as ``spec.model`` of a resource."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from kastra_core.api.meta import JsonObject

__all__ = ["PROVIDERS", "model_name", "model_parameters", "provider_name"]

PROVIDERS: Mapping[str, str] = {
    "amazon": "bedrock",
    "amazonbedrock": "bedrock",
    "anthropicvertexai": "vertex_ai",
    "aws": "bedrock",
    "awsbedrock": "bedrock",
    "azureopenai": "azure",
    "chatgpt": "openai",
    "claude": "anthropic",
    "gemini": "gemini",
    "geminivertexai": "vertex_ai",
    "githubmodels": "github",
    "google": "gemini",
    "googleai": "gemini",
    "googlegenai": "gemini",
    "googlevertex": "vertex_ai",
    "grok": "xai",
    "huggingface": "huggingface",
    "mistralai": "mistral",
    "openaichat": "openai",
    "openairesponses": "openai",
    "togetherai": "together_ai",
    "vertex": "vertex_ai",
    "vertexai": "vertex_ai",
    "watsonx": "watsonx",
}
"""Foreign name of a provider, in lower case without separators -> name of it here (those of LiteLLM)."""

_FAMILIES = (
    (r"(gpt-|chatgpt|o[134](-|$)|text-embedding-|davinci)", "openai"),
    (r"claude", "anthropic"),
    (r"gemini|gemma-.*-it$", "gemini"),
    (r"(open-)?(mistral|mixtral|codestral|ministral|magistral)", "mistral"),
    (r"deepseek-(chat|reasoner)", "deepseek"),
    (r"grok-", "xai"),
    (r"command-", "cohere"),
    (r"(qwen-|qwq-)(max|plus|turbo|long)", "dashscope"),
)
_PARAMETERS = {
    "max_completion_tokens": "maxTokens",
    "max_output_tokens": "maxTokens",
    "max_tokens": "maxTokens",
    "maxCompletionTokens": "maxTokens",
    "maxOutputTokens": "maxTokens",
    "max_new_tokens": "maxTokens",
    "num_predict": "maxTokens",
    "stop_sequences": "stop",
    "stopSequences": "stop",
    "top_p": "topP",
}


def provider_name(text: str) -> str:
    """Return the name of a provider here; one that is not known stays as it is.

    >>> provider_name("AzureOpenAI"), provider_name("google"), provider_name("acme")
    ('azure', 'gemini', 'acme')
    """
    return PROVIDERS.get(re.sub(r"[^a-z0-9]", "", text.lower()), text.strip().lower() or "openai")


def model_name(text: str) -> tuple[str, str, bool]:
    """Return provider and name of a model that is written as one text, and whether the provider was guessed.

    >>> model_name("openai/gpt-4o"), model_name("claude-sonnet-4-0"), model_name("my-model")
    (('openai', 'gpt-4o', False), ('anthropic', 'claude-sonnet-4-0', True), ('openai', 'my-model', True))
    """
    provider, slash, name = text.strip().partition("/")
    if slash and provider and name:
        return provider_name(provider), name, False
    for pattern, family in _FAMILIES:
        if re.match(pattern, text.strip(), re.IGNORECASE):
            return family, text.strip(), True
    return "openai", text.strip(), True


def model_parameters(given: Mapping[str, Any]) -> JsonObject:
    """Return ``spec.model.parameters``: the names that all providers share, the rest as it is.

    >>> model_parameters({"max_tokens": 10, "top_p": 0.9, "top_k": 5})
    {'maxTokens': 10, 'topP': 0.9, 'top_k': 5}
    """
    return {_PARAMETERS.get(key, key): value for key, value in given.items()}
