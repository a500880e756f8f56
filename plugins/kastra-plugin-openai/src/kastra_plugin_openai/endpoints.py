"""The endpoints that are known by name: where they are, where their key is, and in what they differ from OpenAI."""

from __future__ import annotations

import attrs

__all__ = ["ENDPOINTS", "Endpoint"]


@attrs.frozen(kw_only=True)
class Endpoint:
    """One provider name.

    Source: each provider's own API reference, page "OpenAI compatibility" or "chat completions".
    """

    name: str
    title: str
    api_base: str | None
    """URL up to, without, ``/chat/completions``; None: the user must name it."""
    key_env: tuple[str, ...] = ()
    """Environment variables that may hold the key, the first set one counts."""
    base_env: str | None = None
    """Environment variable that replaces ``api_base``."""
    needs_key: bool = True
    """Refuses every call without a key (at its own ``api_base``)."""
    max_tokens_field: str = "max_tokens"
    seed_field: str = "seed"
    stream_usage: bool = True
    """Takes ``stream_options``; others report usage unasked or never."""
    base64_embeddings: bool = False


def _hosted(name: str, title: str, api_base: str, *key_env: str) -> Endpoint:
    return Endpoint(name=name, title=title, api_base=api_base, key_env=key_env)


def _local(name: str, title: str, api_base: str, *key_env: str, base_env: str | None = None) -> Endpoint:
    return Endpoint(name=name, title=title, api_base=api_base, key_env=key_env, base_env=base_env, needs_key=False)


ENDPOINTS: dict[str, Endpoint] = {
    endpoint.name: endpoint
    for endpoint in (
        Endpoint(
            name="openai",
            title="OpenAI",
            api_base="https://api.openai.com/v1",
            key_env=("OPENAI_API_KEY",),
            base_env="OPENAI_BASE_URL",
            # Its reasoning models refuse max_tokens; all its chat models take this one.
            max_tokens_field="max_completion_tokens",
            base64_embeddings=True,
        ),
        Endpoint(
            name="openai-compatible",
            title="any OpenAI-compatible server",
            api_base=None,
            key_env=("OPENAI_COMPATIBLE_API_KEY",),
            base_env="OPENAI_COMPATIBLE_BASE_URL",
            needs_key=False,
        ),
        _local("ollama", "Ollama", "http://127.0.0.1:11434/v1", "OLLAMA_API_KEY"),
        _local("vllm", "vLLM", "http://127.0.0.1:8000/v1", "VLLM_API_KEY"),
        _local("llamacpp", "llama.cpp server", "http://127.0.0.1:8080/v1", "LLAMA_API_KEY"),
        _local("lmstudio", "LM Studio", "http://127.0.0.1:1234/v1", "LM_STUDIO_API_KEY"),
        _local("localai", "LocalAI", "http://127.0.0.1:8080/v1", "LOCALAI_API_KEY"),
        _hosted("openrouter", "OpenRouter", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
        _hosted("deepseek", "DeepSeek", "https://api.deepseek.com/v1", "DEEPSEEK_API_KEY"),
        _hosted("groq", "Groq", "https://api.groq.com/openai/v1", "GROQ_API_KEY"),
        _hosted("together", "Together AI", "https://api.together.xyz/v1", "TOGETHER_API_KEY"),
        _hosted("fireworks", "Fireworks AI", "https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY"),
        _hosted("xai", "xAI", "https://api.x.ai/v1", "XAI_API_KEY"),
        _hosted("cerebras", "Cerebras", "https://api.cerebras.ai/v1", "CEREBRAS_API_KEY"),
        _hosted("deepinfra", "DeepInfra", "https://api.deepinfra.com/v1/openai", "DEEPINFRA_API_KEY"),
        _hosted("perplexity", "Perplexity", "https://api.perplexity.ai", "PERPLEXITY_API_KEY"),
        _hosted("nvidia", "NVIDIA NIM", "https://integrate.api.nvidia.com/v1", "NVIDIA_API_KEY"),
        _hosted("moonshot", "Moonshot AI", "https://api.moonshot.ai/v1", "MOONSHOT_API_KEY"),
        _hosted(
            "dashscope",
            "Alibaba Model Studio",
            "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
            "DASHSCOPE_API_KEY",
        ),
        _hosted("zhipu", "Zhipu AI", "https://open.bigmodel.cn/api/paas/v4", "ZHIPUAI_API_KEY"),
        _hosted("siliconflow", "SiliconFlow", "https://api.siliconflow.cn/v1", "SILICONFLOW_API_KEY"),
        Endpoint(
            name="mistral",
            title="Mistral AI",
            api_base="https://api.mistral.ai/v1",
            key_env=("MISTRAL_API_KEY",),
            # Refuses fields that it does not know; reports usage of a stream unasked.
            seed_field="random_seed",
            stream_usage=False,
        ),
    )
}
