"""What a configuration file may hold, and reading one; errors have file and line."""

from __future__ import annotations

import re
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import attrs

from kastra_core.api.meta import JsonObject
from kastra_core.errors import ConfigError, ManifestError, Problem
from kastra_core.secrets import SecretValue

__all__ = [
    "HIDDEN",
    "NOTHING",
    "PROJECT_DIRECTORY",
    "SENSITIVE",
    "HttpToolSettings",
    "PluginSettings",
    "ProviderSettings",
    "PythonToolSettings",
    "Settings",
    "ToolSettings",
    "camel",
    "check_literal",
    "literals_of",
    "look_up",
    "read_document",
    "read_settings",
    "refuse_secret_in_url",
    "shown_text",
    "sparse",
    "split_key",
]

PROJECT_DIRECTORY = ".kastra"
"""What makes a directory a project: it holds the configuration and, by default, the store."""
SENSITIVE = re.compile(r"key|secret|token|jwt|password|credential|authorization|cookie", re.IGNORECASE)
"""Names of fields and headers whose text is a secret."""
HIDDEN = "***"
"""Stands for a secret where a configuration is shown."""
NOTHING: Any = object()
"""What :func:`look_up` returns for a key that is not there."""
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@attrs.frozen(kw_only=True)
class ProviderSettings:
    """How to reach a model provider: ``providers.NAME``."""

    plugin: str | None = None
    """The plugin to use when several serve the provider."""
    api_base: str | None = None
    """Address of the endpoint, when it is not the provider's usual one."""
    api_key: SecretValue | None = None
    """The key: ``{valueFrom: {env: NAME}}``, in your own file also the text itself."""
    headers: Mapping[str, SecretValue] = attrs.field(factory=dict)
    """Sent with each request."""
    timeout_s: float | None = None
    """Seconds for one answer, more than 0."""
    options: Mapping[str, Any] = attrs.field(factory=dict)
    """The plugin's own settings."""


@attrs.frozen(kw_only=True)
class PluginSettings:
    """Which plugins are used: ``plugins``."""

    block: tuple[str, ...] = ()
    """Plugins not to load."""


@attrs.frozen(kw_only=True)
class PythonToolSettings:
    """Of tools that are Python functions: ``tools.python``."""

    allow: tuple[str, ...] = ()
    """Module prefixes whose functions may be tools."""


@attrs.frozen(kw_only=True)
class HttpToolSettings:
    """Of tools that are HTTP endpoints: ``tools.http``."""

    allow_private: tuple[str, ...] = ()
    """Hosts and networks (10.0.0.0/8) that HTTP tools may reach though they are private."""


@attrs.frozen(kw_only=True)
class ToolSettings:
    """What tools may reach: ``tools``."""

    python: PythonToolSettings = attrs.field(factory=PythonToolSettings)
    http: HttpToolSettings = attrs.field(factory=HttpToolSettings)


@attrs.frozen(kw_only=True)
class Settings:
    """What a configuration file may hold."""

    store: str | None = None
    """URL; default ``file:`` of ``.kastra/kastra.db``. In a file a relative one counts from the project."""
    store_options: Mapping[str, Any] = attrs.field(factory=dict)
    """The store's own settings (``durability``, ``authToken``); ``{valueFrom: ...}`` stands for a secret."""
    namespace: str = "default"
    """Where names without a namespace are."""
    model: str | None = None
    """``provider/name``; overrides the model of every Agent."""
    default_model: str | None = None
    """``provider/name`` for Agents that name none."""
    default_embeddings: str | None = None
    """``provider/name`` that makes embeddings where nobody names one."""
    providers: Mapping[str, ProviderSettings] = attrs.field(factory=dict)
    """How to reach model providers, by name."""
    plugins: PluginSettings = attrs.field(factory=PluginSettings)
    tools: ToolSettings = attrs.field(factory=ToolSettings)
    limits: Mapping[str, Any] = attrs.field(factory=dict)
    """Of runs whose target says nothing (``maxSteps``, ``timeoutS``)."""
    max_concurrency: int = 256
    """Runs at once."""


def shown_text(name: str, text: str) -> str:
    """Return the text of the field ``name`` for people: without secrets, also those within a URL.

    >>> shown_text("apiBase", "https://me:pass@host/v1?key=abc")
    'https://***@host/v1?key=***'
    """
    if SENSITIVE.search(name):
        return HIDDEN
    if "://" not in text:
        return text
    return re.sub(r"([?&][^=&]*=)[^&]*", rf"\1{HIDDEN}", re.sub(r"//[^/?]*@", f"//{HIDDEN}@", text))


def read_settings(data: JsonObject, source: Any) -> Settings:
    """Return the settings of one layer.

    Args:
        source: the Document, the name of a variable or None; for places in errors.

    Raises: ConfigError.
    """
    data = sparse(data)
    problems: list[Problem] = []
    settings: Settings | None = None
    try:
        settings = _read(Settings, data)
    except Exception:
        from kastra_core.serde import problems_of, structure

        try:
            settings = structure(data, Settings)
        except Exception as error:
            problems = [*problems_of(error)]
    if settings is not None:
        problems = list(_rules(settings))
    if problems or settings is None:
        raise ConfigError("\n".join(str(_placed(problem, source)) for problem in problems))
    return settings


def refuse_secret_in_url(data: JsonObject, source: Any) -> None:
    """Raise ConfigError, without the secret, when a file's ``store`` has a password or a token in it.

    Args:
        source: as for :func:`read_settings`.
    """
    store = data.get("store")
    if not isinstance(store, str):
        return
    address, _, query = store.partition("?")
    names = [part.partition("=")[0] for part in re.split("[&;]", query)]
    if re.match(r"[A-Za-z][\w+.-]*://[^/]*:[^/]*@", address):
        found = "a password"
    elif name := next(filter(SENSITIVE.search, names), ""):
        found = f"a secret ({name})"
    else:
        return
    hint = "leave it out and write storeOptions.authToken: {valueFrom: {env: NAME}}"
    raise ConfigError(str(_placed(Problem(f"the URL has {found} in it", "store", hint=hint), source)))


def _placed(problem: Problem, source: Any) -> Problem:
    if isinstance(source, str):
        return problem.at(file=source)
    return problem if source is None else source.place(problem)


def _rules(settings: Settings) -> Iterator[Problem]:
    if not _NAMESPACE.fullmatch(settings.namespace):
        hint = "use lower case letters, digits and '-', at most 63, beginning and ending with a letter or digit"
        yield Problem(f"{settings.namespace!r} is no name of a namespace", "namespace", hint=hint)
    named = (
        ("model", settings.model),
        ("defaultModel", settings.default_model),
        ("defaultEmbeddings", settings.default_embeddings),
    )
    for path, model in named:
        provider, slash, name = (model or "").partition("/")
        if model is not None and not (provider and slash and name):
            yield Problem(f"{model!r} names no model", path, hint="write provider/name, for example openai/gpt-4o")
    if settings.max_concurrency < 1:
        yield Problem(f"expected at least 1, found {settings.max_concurrency}", "maxConcurrency")
    if settings.store is not None and not re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", settings.store):
        yield Problem(f"{settings.store!r} is no store URL", "store", hint=f"write for example file:{settings.store}")
    for name, section in settings.providers.items():
        if section.timeout_s is not None and section.timeout_s <= 0:
            yield Problem("expected more than 0 seconds", f"providers.{name}.timeoutS")


def _read(kind: Any, value: Any) -> Any:
    """What serde does, for these types only, without its words and its import (60 ms); raises when it does not fit."""
    if kind is Any:
        return value
    if kind in (str, int, bool):
        if type(value) is kind:
            return value
        raise TypeError
    if kind is float:
        if type(value) in (int, float):
            return value
        raise TypeError
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return None if value is None else _read(next(arg for arg in args if arg is not type(None)), value)
    if origin is tuple and isinstance(value, list):
        return tuple(_read(args[0], item) for item in value)
    if not isinstance(value, dict):
        if hasattr(kind, "structure_value"):
            return kind.structure_value(value)
        raise TypeError
    if origin is not None:
        return {key: _read(args[1], item) for key, item in value.items()}
    if hasattr(kind, "structure_value"):
        return kind.structure_value(value)
    names = {camel(attribute.name): attribute.name for attribute in attrs.fields(kind)}
    hints = get_type_hints(kind)
    return kind(**{names[key]: _read(hints[names[key]], item) for key, item in value.items()})


def camel(name: str) -> str:
    """Return a field's name as files write it.

    >>> camel("default_model")
    'defaultModel'
    """
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def read_document(path: Path) -> Any:
    """Return the Document of a configuration file, or None when there is none. Raises: ConfigError."""
    try:
        raw = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as err:
        raise ConfigError(f"{path}: the file cannot be read: {err.strerror}; check its permissions") from err
    return _parse(raw, path)


def _parse(raw: bytes | str, path: Path) -> Any:
    from kastra_core.manifests.documents import parse_into

    problems: list[Problem] = []
    documents = parse_into(problems, raw, str(path), may_be_empty=True)
    if len(documents) > 1:
        problems.append(Problem("a configuration file has one document", file=str(path), line=documents[1].line))
    if problems:
        raise ConfigError("\n".join(str(problem) for problem in problems)) from ManifestError(problems)
    return documents[0] if documents else None


def sparse(data: JsonObject) -> JsonObject:
    """Return ``data`` without keys that have no value, which count as not written; a plugin's options stay."""
    return {
        key: sparse(value) if isinstance(value, dict) and key != "options" else value
        for key, value in data.items()
        if value is not None
    }


def literals_of(data: JsonObject) -> Iterator[str]:
    """Paths of keys that are written out."""
    for name, value in sparse(data).get("storeOptions", {}).items():
        if isinstance(value, str) and SENSITIVE.search(name):
            yield f"storeOptions.{name}"
    for name, section in sparse(data).get("providers", {}).items():
        if isinstance(section.get("apiKey"), str):
            yield f"providers.{name}.apiKey"
        for header, value in section.get("headers", {}).items():
            if isinstance(value, str) and SENSITIVE.search(header):
                yield f"providers.{name}.headers.{header}"


def check_literal(path: Path, literal: str, document: Any) -> list[str]:
    """Return what the user should know of a secret that is written out at the key ``literal`` of a file.

    Raises: ConfigError when it is a project's file, which others may see.
    """
    place = f"{path}:{document.locate(literal)[0] if document is not None else 0}".removesuffix(":0")
    if path.parent.name == PROJECT_DIRECTORY:
        # The options of a store hold for every project when they stand in the user's file, also where they do not fit.
        own = "" if literal.startswith("storeOptions.") else ", or put it into the user's file"
        raise ConfigError(
            f"{place}: {literal}: a secret has no place in a project's file, which others may see; "
            f"write {{valueFrom: {{env: NAME}}}}{own}"
        )
    return [f"{place}: {literal} is written out; {{valueFrom: {{env: NAME}}}} keeps it out of files"]


def split_key(dotted: str) -> list[str]:
    """Split at dots; a part that holds dots is in double quotes."""
    parts = [found[1] if found[1] is not None else found[2] for found in _PART.finditer(dotted)]
    if not dotted or _PART.sub("", dotted) or "" in parts:
        raise ConfigError(f"{dotted!r} is no key; write for example providers.openai.apiBase")
    return parts


_PART = re.compile(r'(?:^|(?<=[\w"-])\.)(?:"([^"]*)"|([^."]+))')


def look_up(data: Any, dotted: str) -> Any:
    """Return the value at a dotted key, ``NOTHING`` when it is not there. Raises: ConfigError: it is no key."""
    for part in split_key(dotted):
        if not isinstance(data, dict) or part not in data:
            return NOTHING
        data = data[part]
    return data
