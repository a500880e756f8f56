"""kagent's ModelConfig and ModelProviderConfig."""

from __future__ import annotations

from typing import Any

from kastra_core.migration import Node, env_reference, is_secret_key, provider_name
from kastra_plugin_kagent.context import Context, plain_text
from kastra_plugin_kagent.model_parts import ModelParts
from kastra_plugin_kagent.things import Thing

__all__ = ["model_config", "provider_config"]

_PROVIDERS = {"foundry": "azure", "sapaicore": "sap"}
"""kagent's word, in lower case -> name of the provider here, where the toolkit has none."""
_BLOCKS = (
    "anthropic",
    "anthropicVertexAI",
    "azureOpenAI",
    "bedrock",
    "foundry",
    "gemini",
    "geminiVertexAI",
    "ollama",
    "openAI",
    "sapAICore",
)
_PARAMETERS = {
    "candidateCount": "n",
    "frequencyPenalty": "frequency_penalty",
    "maxCompletionTokens": "maxTokens",
    "maxOutputTokens": "maxTokens",
    "maxTokens": "maxTokens",
    "n": "n",
    "presencePenalty": "presence_penalty",
    "reasoningEffort": "reasoning_effort",
    "responseMimeType": "response_mime_type",
    "seed": "seed",
    "stopSequences": "stop",
    "temperature": "temperature",
    "topK": "top_k",
    "topP": "topP",
}
_OPTIONS = {
    "apiVersion": "apiVersion",
    "location": "vertexLocation",
    "organization": "organization",
    "projectID": "vertexProject",
    "region": "awsRegionName",
}
_ADDRESSES = ("azureEndpoint", "baseURL", "baseUrl", "endpoint", "host")
_NAMES = ("azureDeployment", "deployment", "deploymentId")
_CREDENTIALS = {
    "bedrock": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, if there is one, AWS_SESSION_TOKEN",
    "sap": "the variables that the provider reads for its client id and client secret",
    "vertex_ai": "a file that GOOGLE_APPLICATION_CREDENTIALS names",
}
"""Provider -> where its credentials go, which are no single key."""
_MANUAL = {
    "apiFormat": "only chat completions are spoken here: take a model that answers to them",
    "azureAdToken": "put a token into the environment variable AZURE_AD_TOKEN, or use a key: spec.model.apiKey",
    "endpointFrom": "write the address into spec.model.apiBase",
    "guardrail": "the guardrail is not applied: give it to the provider (spec.model.parameters) and try it out",
    "resourceGroup": "set the resource group as the provider asks for it",
    "authUrl": "set the address of the provider's sign-in as it asks for it",
    "tokenExchange": "tokens are not exchanged here: put a lasting one into the variable of spec.model.apiKey",
}
_DROPPED = {
    "cacheTTL": "caches of prompts are the provider's affair here",
    "connectTimeout": "there is one time-out for the whole answer: spec.model.timeoutS",
    "promptCaching": "caches of prompts are the provider's affair here",
}


def model_config(ctx: Context, thing: Thing) -> ModelParts:
    """The parts of a ModelConfig; rows for what has no place in ``spec.model``."""
    spec = thing.node["spec"]
    spec.mapping()
    parts = ModelParts(thing)
    parts.provider = _provider(parts, spec)
    _name(parts, spec)
    _key(ctx, parts, thing, spec)
    for place in (spec, spec["providerConfig"]):  # the oldest ones have the blocks there
        for block in _BLOCKS:
            if place[block].present:
                _block(ctx, parts, thing, place[block], block)
    _headers(ctx, parts, spec["defaultHeaders"])
    _tls(ctx, thing, spec["tls"])
    spec["modelInfo"].dropped("what a model can do is asked of its provider")
    return parts


def _provider(parts: ModelParts, spec: Node) -> str:
    node = spec["provider"]
    word = node.text("OpenAI")
    name = _PROVIDERS.get(word.lower(), provider_name(word))
    if node:
        parts.add("provider", name, node, reason="" if name == word else f"{name} is its name here")
    else:
        parts.add("provider", name)
        spec["provider"].defaulted("kagent takes OpenAI where nobody says otherwise")
    return name


def _name(parts: ModelParts, spec: Node) -> None:
    node = spec["model"]
    deployment = next(
        (spec[block][key] for block in ("azureOpenAI", "foundry") for key in _NAMES if spec[block][key]), None
    )
    parts.name = deployment.text() if deployment is not None else node.text()
    if not parts.name:
        spec.problem("expected model, the name of the model", "write model: NAME")
    elif deployment is None:
        parts.add("name", parts.name, node)
    else:
        parts.add("name", parts.name, deployment, reason="requests go to this deployment")
        node.dropped("the deployment says which model answers")


def _key(ctx: Context, parts: ModelParts, thing: Thing, spec: Node) -> None:
    secret, key = spec.first("apiKeySecret", "apiKeySecretRef", "apiKeySecretName"), spec["apiKeySecretKey"]
    passes = spec["apiKeyPassthrough"]
    if passes.value is True:
        passes.manual("no token of a caller is passed on: give the model a key, spec.model.apiKey")
    else:
        passes.dropped("the usual here")
    if not secret:
        key.dropped("it names no Secret")
        return
    name = secret.text().rpartition("/")[2]
    if parts.provider in _CREDENTIALS:
        ctx.secret(thing, name, "")
        secret.manual(f"put what the Secret {name} holds into {_CREDENTIALS[parts.provider]}")
        key.dropped("they are no single key; the row of the Secret says what to do")
        return
    if parts.provider == "ollama" and not key:
        secret.dropped("Ollama asks for no key")
        return
    variable = ctx.secret(thing, name, key.text())
    told = ctx.told_secret(thing, name, key.text(), variable)
    parts.add("apiKey", {"valueFrom": {"env": variable}}, secret, reason=told, manual=True)
    if key:
        parts.add("apiKey", {"valueFrom": {"env": variable}}, key, reason=f"a part of the variable's name, {variable}")
    else:
        key.dropped("null: as if it were not there")


def _block(ctx: Context, parts: ModelParts, thing: Thing, block: Node, name: str) -> None:
    block.mapping()
    for key, node in block.fields():
        if key in _PARAMETERS:
            parts.parameter(_PARAMETERS[key], node)
        elif key in _OPTIONS:
            _option(parts, node, _OPTIONS[key])
        elif key in _ADDRESSES:
            _address(parts, node, key)
        elif key in ("timeout", "readTimeout"):
            parts.seconds(node)
        elif key in ("options", "additionalModelRequestFields"):
            for inner, one in node.fields():
                parts.parameter({"num_predict": "maxTokens", "top_p": "topP"}.get(inner, inner), one)
        elif key == "endpointFrom":
            _endpoint_from(ctx, parts, thing, node)
        elif key == "azureAdToken" and node:
            if not env_reference(node.text()):
                ctx.report.hide(node.text())
            node.manual(_MANUAL[key])
        elif key == "apiFormat" and node.value == "chatCompletions":
            node.dropped("the usual here")
        elif key in _MANUAL:
            node.manual(_MANUAL[key])
        elif key in _DROPPED:
            node.dropped(_DROPPED[key])
        elif key not in _NAMES:
            node.dropped(f"not known to kagent's settings of {name}")
    if not block.value:
        block.dropped("it is empty")


def _option(parts: ModelParts, node: Node, option: str) -> None:
    if not node:
        return
    if option == "organization" and parts.provider == "openai":
        node.manual("set it for the provider: kastra config set providers.openai.headers.OpenAI-Organization ID")
    else:
        parts.add(("options", option), node.text(), node)


def _address(parts: ModelParts, node: Node, key: str) -> None:
    text = node.text()
    if not text:
        node.dropped("it is empty")
        return
    if not plain_text(text):
        node.manual("write the address into spec.model.apiBase")
        return
    address, reason = text, ""
    if key == "host":
        address = text if text.startswith(("http://", "https://")) else f"http://{text}"
        address = address if address.rstrip("/").endswith("/v1") else f"{address.rstrip('/')}/v1"
        reason = "Ollama is asked by its OpenAI-compatible interface"
    parts.add("apiBase", address, node, reason=reason if address != text else "")


def _endpoint_from(ctx: Context, parts: ModelParts, thing: Thing, node: Node) -> None:
    text = ctx.config_text(thing, node["name"].text(), node["key"].text())
    if text is None or not isinstance(text.value, str):
        node.manual(_MANUAL["endpointFrom"])
        return
    parts.add("apiBase", text.value.strip(), node["name"], node["key"], text, reason="from the ConfigMap")
    node["optional"].dropped("it is there")


def _headers(ctx: Context, parts: ModelParts, headers: Node) -> None:
    own_address = any(part.path == ("apiBase",) for part in parts.parts)
    if headers.present and not headers.value:
        headers.dropped("it is empty")
    for name, node in headers.fields():
        if is_secret_key(name) and node.is_text and not env_reference(node.text()):
            ctx.report.hide(node.text())
            node.manual(f"a secret: kastra config set providers.{parts.provider}.headers.{name} ... in your own file")
        elif own_address:
            node.manual(
                "headers of the configuration go to no address that an agent brings along: set "
                f"providers.{parts.provider}.apiBase and providers.{parts.provider}.headers.{name} instead"
            )
        else:
            have = ctx.provider(parts.provider).setdefault("headers", {})
            _set_once(have, name, node.text(), node, f"config providers.{parts.provider}.headers")


def _tls(ctx: Context, thing: Thing, tls: Node) -> None:
    authority = tls["caCertSecretRef"]
    for key, node in tls.fields():
        if key == "disableVerify" and node.value is True:
            node.manual("certificates are always checked here: name the authority to trust by SSL_CERT_FILE")
        elif key == "disableSystemCAs" and node.value is True:
            node.manual("let SSL_CERT_FILE name a file with nothing but the authority to trust")
        elif key == "caCertSecretRef" and authority:
            name, which = authority.text().rpartition("/")[2], tls["caCertSecretKey"].text()
            ctx.secret(thing, name, which)
            where = ctx.shown_secret(thing, name, which or "the certificate")
            node.manual(f"write {where} into a file and let the environment variable SSL_CERT_FILE name it")
        elif key == "caCertSecretRef":
            node.dropped("it is empty")
        elif key == "caCertSecretKey":
            node.dropped("the row of caCertSecretRef says what to do" if authority else "it names no Secret")
        elif key in ("disableVerify", "disableSystemCAs"):
            node.dropped("the usual here")
        else:
            node.dropped("not known to kagent's TLS settings")


def provider_config(ctx: Context, thing: Thing) -> None:
    """ModelProviderConfig: settings of a provider for all models."""
    spec = thing.node["spec"]
    word = spec["type"].text()
    name = _PROVIDERS.get(word.lower(), provider_name(word)) if word else ""
    if not name:
        spec.problem("expected type, the name of the provider", "write type: OpenAI")
        return
    settings = ctx.provider(name)
    at = f"config providers.{name}"
    spec["type"].mapped(at)
    endpoint, secret = spec["endpoint"], spec["secretRef"]["name"]
    if endpoint:
        _set_once(settings, "apiBase", endpoint.text(), endpoint, at)
    if secret:
        variable = ctx.secret(thing, secret.text(), "")
        if settings.setdefault("apiKey", {"valueFrom": {"env": variable}}) == {"valueFrom": {"env": variable}}:
            secret.manual(ctx.told_secret(thing, secret.text(), "", variable), at)
        else:
            secret.manual("another object names another key for this provider", at)
    ctx.envelope(thing, None, why="settings of a provider have no name in the configuration")


def _set_once(settings: dict[str, Any], key: str, value: Any, node: Node, at: str) -> None:
    """A setting of the configuration, which is one for all agents."""
    if key not in settings:
        settings[key] = value
        node.mapped(f"{at}.{key}", "for all agents with this provider")
    elif settings[key] == value:
        node.dropped("another object has set the same")
    else:
        node.manual(f"another object says otherwise: {at}.{key} is one for all agents")
