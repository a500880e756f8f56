"""``llm`` of CrewAI, a text, an object or a call, as ``spec.model``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from kastra_core.api.meta import JsonObject
from kastra_core.migration.models import model_name, model_parameters, provider_name
from kastra_core.migration.names import env_name
from kastra_core.migration.report import Draft, Node
from kastra_core.migration.secret_texts import env_reference
from kastra_plugin_crewai.model import Code, CrewReport, Field

__all__ = ["MODEL_CLASSES", "NO_MODEL", "put_model"]

NO_MODEL = (
    "no model: CrewAI takes that of $OPENAI_MODEL_NAME, else a small one of OpenAI; here the configuration's "
    "defaultModel answers"
)
"""Reason where an agent names none."""

MODEL_PROVIDERS = {
    "AzureChatOpenAI": "azure",
    "AzureOpenAI": "azure",
    "BedrockChat": "bedrock",
    "ChatAnthropic": "anthropic",
    "ChatBedrock": "bedrock",
    "ChatCohere": "cohere",
    "ChatDeepSeek": "deepseek",
    "ChatFireworks": "fireworks_ai",
    "ChatGoogleGenerativeAI": "gemini",
    "ChatGroq": "groq",
    "ChatMistralAI": "mistral",
    "ChatNVIDIA": "nvidia_nim",
    "ChatOllama": "ollama",
    "ChatOpenAI": "openai",
    "ChatTogether": "together_ai",
    "ChatVertexAI": "vertex_ai",
    "ChatXAI": "xai",
    "GoogleGenerativeAI": "gemini",
    "HuggingFaceEndpoint": "huggingface",
    "HuggingFaceHub": "huggingface",
    "Ollama": "ollama",
    "OllamaLLM": "ollama",
    "OpenAI": "openai",
}
"""Classes of LangChain that crews are given -> provider."""
MODEL_CLASSES = frozenset({"BaseLLM", "ChatLiteLLM", "LLM", *MODEL_PROVIDERS})
"""Classes whose objects are models."""
_NAMES = (
    "model",
    "model_name",
    "deployment_name",
    "azure_deployment",
    "deployment",
    "model_id",
    "repo_id",
    "modelName",
)
_BASES = ("base_url", "api_base", "openai_api_base", "azure_endpoint", "endpoint_url")
_KEYS = (
    "api_key",
    "openai_api_key",
    "anthropic_api_key",
    "google_api_key",
    "groq_api_key",
    "mistral_api_key",
    "nvidia_api_key",
    "huggingfacehub_api_token",
    "azure_ad_token",
)
_PARAMETERS = frozenset(
    {
        "frequency_penalty",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_new_tokens",
        "max_output_tokens",
        "max_tokens",
        "n",
        "num_ctx",
        "num_predict",
        "parallel_tool_calls",
        "presence_penalty",
        "reasoning_effort",
        "response_format",
        "seed",
        "stop",
        "stop_sequences",
        "temperature",
        "thinking",
        "top_k",
        "top_logprobs",
        "top_p",
        "verbosity",
    }
)
_WORD = re.compile(r"[a-z_-]{0,16}|[A-Z_/-]{0,8}")
"""What stands for a key where none is needed (ollama, dummy, NA); it is no secret, and may be in names, too."""
_DROPPED = {
    "additional_params": "parameters of one provider: write those that are needed under model.parameters",
    "callbacks": "Kastra tells what happens by events: `kastra logs`, `kastra explain`",
    "callback_manager": "Kastra tells what happens by events: `kastra logs`, `kastra explain`",
    "context_window_size": "the provider knows it",
    "interceptor": "requests go out as the provider's plugin makes them",
    "is_litellm": "the provider's plugin is chosen by the configuration",
    "prefer_upload": "no files are uploaded",
    "stream": "answers are streamed where the command asks for it",
    "streaming": "answers are streamed where the command asks for it",
    "verbose": "Kastra logs by its own settings",
    "max_retries": "the provider's plugin tries again by itself",
    "num_retries": "the provider's plugin tries again by itself",
}


def put_model(report: CrewReport, field: Field, draft: Draft, path: str = "spec.model") -> bool:
    """Put the model that ``field`` names into a draft and write the rows. Return whether one was named."""
    if field.is_code:
        field.node.manual(
            f"only running {str(field.value)!r} would tell the model: write {path} (provider, name)", draft
        )
        return False
    if field.value is None or field.value == "":
        field.node.defaulted(NO_MODEL, draft)
        return False
    if isinstance(field.value, str):
        return _put_text(field, draft, path)
    if isinstance(field.value, Mapping):
        return _put_object(report, field, draft, path)
    field.node.problem("expected the name of a model or an object with model", "write llm: provider/name")
    return False


def _put_text(field: Field, draft: Draft, path: str) -> bool:
    reference = env_reference(field.value)
    if reference and "/" not in field.value:
        field.node.manual(f"the environment variable {reference} names the model: write {path} (provider, name)", draft)
        return False
    provider, name, guessed = model_name(field.value)
    draft.set(path, {"provider": provider, "name": name})
    reason = f"provider {provider} is guessed by the name" if guessed else ""
    for node in field.nodes:
        node.mapped(draft.target(path), reason)
    return True


def _put_object(report: CrewReport, field: Field, draft: Draft, path: str) -> bool:
    place = field.at or field.node
    values: Mapping[str, Any] = field.value
    key = next((key for key in _NAMES if isinstance(values.get(key), str) and values[key]), "")
    given = values.get(key)
    if not key or isinstance(given, Code):
        told = "only running it would tell the model" if key else "it names no model"
        what = f" ({field.call})" if field.call else ""
        for node in field.nodes:
            node.manual(f"{told}{what}: write {path} (provider, name)", draft)
        return False
    provider, name, guessed = model_name(str(given))
    reason = f"provider {provider} is guessed by the name" if guessed else ""
    said = values.get("provider")
    if isinstance(said, str) and said and not isinstance(said, Code):
        provider = provider_name(said)
        name = str(given).removeprefix(f"{said}/")
        reason = ""
        place["provider"].mapped(draft.target(f"{path}.provider"))
    elif field.call in MODEL_PROVIDERS:
        provider, name, reason = (
            MODEL_PROVIDERS[field.call],
            str(given),
            f"provider {MODEL_PROVIDERS[field.call]}: it is made by {field.call}",
        )
        name = name.removeprefix(f"{provider}/")
    draft.set(path, {"provider": provider, "name": name})
    place[key].mapped(draft.target(f"{path}.name"), reason)
    if field.at is not None:
        field.node.mapped(draft.target(path))
    parameters: JsonObject = {}
    for other, value in values.items():
        if other not in (key, "provider"):
            _put_rest(report, place[other], value, draft, path, provider, parameters)
    if parameters:
        draft.set(f"{path}.parameters", parameters)
    return True


def _put_rest(
    report: CrewReport, node: Node, value: Any, draft: Draft, path: str, provider: str, parameters: JsonObject
) -> None:
    key = node.name
    if value is None:
        node.dropped("null: as if it were not there")
    elif key in _KEYS:
        _put_key(report, node, value, draft, path, provider)
    elif key in _BASES and isinstance(value, str) and not isinstance(value, Code):
        node.mapped(draft.target(f"{path}.apiBase"))
        draft.set(f"{path}.apiBase", value)
    elif key in ("timeout", "request_timeout") and isinstance(value, (int, float)) and not isinstance(value, bool):
        node.mapped(draft.target(f"{path}.timeoutS"))
        draft.set(f"{path}.timeoutS", value)
    elif key in _DROPPED:
        node.dropped(_DROPPED[key])
    elif _has_code(value):
        node.manual(f"only running {str(value)!r} would tell it: write it under {path}", draft)
    elif key in _PARAMETERS:
        (name, put), *_ = model_parameters({key: value}).items()
        parameters[name] = put
        node.mapped(draft.target(f"{path}.parameters.{name}"))
    elif key in _NAMES:
        node.dropped("the model has a name already")
    else:
        node.manual(f"write {key!r} under {path}.parameters or {path}.options if the provider needs it", draft)


def _put_key(report: CrewReport, node: Node, value: Any, draft: Draft, path: str, provider: str) -> None:
    name = env_reference(str(value)) if isinstance(value, str) else ""
    if name:
        node.mapped(draft.target(f"{path}.apiKey"), f"environment variable {name}")
    elif isinstance(value, Code) or not isinstance(value, str):
        name = env_name(provider, "API_KEY")
        node.manual(f"only running it would tell the key: put it into {name}", draft.target(f"{path}.apiKey"))
    else:
        name = env_name(provider, "API_KEY")
        if not _WORD.fullmatch(value):
            report.hide(value)
        told = f"a secret in the open was left out: put it into the environment variable {name}"
        node.manual(told, draft.target(f"{path}.apiKey"))
    draft.set(f"{path}.apiKey", {"valueFrom": {"env": name}})


def _has_code(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(_has_code(item) for item in value.values())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return any(_has_code(item) for item in value)
    return isinstance(value, Code)
