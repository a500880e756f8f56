"""The configuration: what is built in < the user's file < the project's file < the environment.

``$XDG_CONFIG_HOME/kastra/config.yaml`` (``~/.config``; ``$KASTRA_CONFIG_HOME/config.yaml`` if set) is the user's file,
``.kastra/config.yaml`` the project's. Mappings are merged field by field; lists and scalars are replaced. Without a
file nothing heavy is imported.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from kastra_core.api.meta import JsonObject
from kastra_core.errors import ConfigError
from kastra_core.secrets import MissingSecretError, SecretRef, SecretValue, resolve_secret
from kastra_core.settings import (
    NOTHING,
    PROJECT_DIRECTORY,
    HttpToolSettings,
    PluginSettings,
    ProviderSettings,
    PythonToolSettings,
    Settings,
    ToolSettings,
    check_literal,
    literals_of,
    look_up,
    read_document,
    read_settings,
    refuse_secret_in_url,
    shown_text,
    sparse,
)

__all__ = [
    "Config",
    "HttpToolSettings",
    "MissingSecretError",
    "PluginSettings",
    "ProviderSettings",
    "PythonToolSettings",
    "SecretRef",
    "SecretValue",
    "Settings",
    "ToolSettings",
    "find_project",
    "get_value",
    "project_file",
    "resolve_secret",
    "set_value",
    "unset_value",
    "user_file",
]

FILE_NAME = "config.yaml"


_ENVIRONMENT = {
    "KASTRA_STORE": "store",
    "KASTRA_NAMESPACE": "namespace",
    "KASTRA_MODEL": "model",
    "KASTRA_PLUGINS_BLOCK": "plugins.block",
    "KASTRA_MAX_CONCURRENCY": "maxConcurrency",
}


def find_project(start: Path | None = None) -> Path:
    """Return the nearest directory from ``start`` upwards that has a ``.kastra``, else ``start``.

    ``start`` is the current directory by default.
    """
    first = (start or Path.cwd()).absolute()
    for directory in (first, *first.parents):
        if (directory / PROJECT_DIRECTORY).is_dir():
            return directory
    return first


def user_file(env: Mapping[str, str] | None = None) -> Path:
    """The user's configuration file; it need not exist."""
    env = os.environ if env is None else env
    if own := env.get("KASTRA_CONFIG_HOME"):
        return Path(own).expanduser() / FILE_NAME
    # A relative XDG directory is to be ignored, says the XDG Base Directory Specification.
    base = Path(env.get("XDG_CONFIG_HOME", ""))
    if not base.is_absolute():
        base = Path(env["HOME"]) / ".config" if env.get("HOME") else Path("~/.config").expanduser()
    return base / "kastra" / FILE_NAME


def project_file(project: Path) -> Path:
    """The project's configuration file; it need not exist."""
    return project / PROJECT_DIRECTORY / FILE_NAME


@attrs.frozen(kw_only=True)
class Config:
    """The configuration in force, as :meth:`load` merged it. Fields are those of :class:`Settings`."""

    project: Path
    store: str
    store_options: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    namespace: str = "default"
    model: str | None = None
    default_model: str | None = None
    default_embeddings: str | None = None
    providers: Mapping[str, ProviderSettings] = attrs.field(factory=dict)
    plugins: PluginSettings = attrs.field(factory=PluginSettings)
    tools: ToolSettings = attrs.field(factory=ToolSettings)
    limits: Mapping[str, Any] = attrs.field(factory=dict)
    max_concurrency: int = 256
    warnings: tuple[str, ...] = ()
    """What the user should know, such as a secret in a file that others may read."""
    _data: JsonObject = attrs.field(factory=dict, repr=False)
    _layers: tuple[tuple[Any, JsonObject], ...] = attrs.field(default=(), repr=False, eq=False)
    """Lowest first: (Document or name of the variable, data)."""

    @property
    def chosen_plugins(self) -> dict[str, str]:
        """Model provider -> the plugin that is to serve it, where the configuration names one."""
        return {name: settings.plugin for name, settings in self.providers.items() if settings.plugin}

    @classmethod
    def load(cls, project: Path | None = None, env: Mapping[str, str] | None = None) -> Config:
        """Return the configuration of a project.

        Args:
            project: its directory; default: that of :func:`find_project`.
            env: default: the process's environment.

        Raises:
            ConfigError: with file, line and remedy of each thing that is wrong.
        """
        env = os.environ if env is None else env
        project = find_project() if project is None else Path(project).absolute()
        layers: list[tuple[Any, JsonObject]] = []
        warnings: list[str] = []
        data: JsonObject = {}
        for path in (user_file(env), project_file(project)):
            document = read_document(path)
            if document is None:
                continue
            refuse_secret_in_url(document.data, document)
            read_settings(document.data, document)
            if (literal := next(literals_of(document.data), None)) is not None:
                warnings.extend(check_literal(path, literal, document))
            found = sparse(document.data)
            layer = _absolute(found, project, path.parent)
            layers.append((document, found))
            data = _merge(data, layer)
        for variable, key in _ENVIRONMENT.items():
            if text := env.get(variable):
                layer = _of_variable(variable, key, text)
                read_settings(layer, variable)
                layers.append((variable, layer))
                data = _merge(data, layer)
        settings = read_settings(data, None)
        return cls(
            project=project,
            store=settings.store or _file_url(project / PROJECT_DIRECTORY / "kastra.db"),
            warnings=tuple(warnings),
            data=data,
            layers=tuple(layers),
            **{name: getattr(settings, name) for name in _SHARED},
        )

    def options_of_store(self, url: str) -> dict[str, Any]:
        """Return the options for opening the store ``url``: ``storeOptions`` when it is the configured one, else none.

        Names are Python's (``auth_token``), secrets are resolved.

        Raises: MissingSecretError, ConfigError.
        """
        if url != self.store:
            return {}
        return {
            re.sub("[A-Z]", lambda found: f"_{found[0].lower()}", name): resolve_secret(value)
            if isinstance(value, Mapping) and set(value) == {"valueFrom"}
            else value
            for name, value in self.store_options.items()
        }

    def origin(self, key: str) -> str:
        """Return where the value of ``key`` ("providers.openai.apiBase") comes from.

        "FILE:LINE", the name of an environment variable, or "default"; of an object, all places, the strongest first.
        """
        found: list[str] = []
        for source, data in reversed(self._layers):
            value = look_up(data, key)
            if value is NOTHING:
                continue
            place = source if isinstance(source, str) else f"{source.file}:{source.locate(key)[0]}"
            found.append(place)
            if not isinstance(value, dict):
                break
        return ", ".join(found) or "default"

    def to_manifest(self, *, redact: bool = True) -> JsonObject:
        """Return the configuration in force as JSON, for people; secrets are shown as ``***``."""
        out: JsonObject = {"store": self.store, "namespace": self.namespace, "maxConcurrency": self.max_concurrency}
        out = _merge(out, {**self._data, "store": self.store})
        if not redact:
            return out
        shown: JsonObject = _redacted(out)
        return shown


_SHARED = tuple(a.name for a in attrs.fields(Settings) if a.name != "store")


# ---------------------------------------------------------------------------------------------- layers


def _merge(low: JsonObject, high: JsonObject) -> JsonObject:
    out = dict(low)
    for key, value in high.items():
        below = out.get(key)
        # A reference replaces a literal or another reference as a whole.
        if isinstance(value, dict) and isinstance(below, dict) and "valueFrom" not in value:
            value = _merge(below, value)
        out[key] = value
    return out


def _of_variable(variable: str, key: str, text: str) -> JsonObject:
    value: Any = text
    if key == "maxConcurrency":
        try:
            value = int(text)
        except ValueError:
            raise ConfigError(f"{variable}: expected an integer, found {text[:40]!r}") from None
    elif key == "plugins.block":
        value = [name.strip() for name in text.split(",") if name.strip()]
    return _nest(key.split("."), value)


def _nest(parts: list[str], value: Any) -> JsonObject:
    *outer, last = parts
    out: JsonObject = {last: value}
    for part in reversed(outer):
        out = {part: out}
    return out


def _file_url(path: Path) -> str:
    from urllib.parse import quote

    return f"file:{quote(str(path))}"


def _absolute(data: JsonObject, project: Path, directory: Path) -> JsonObject:
    """Paths of a file count from the project (the store) or from the file (secrets), not from the current directory."""
    out = data
    store = data.get("store")
    if isinstance(store, str) and (found := re.match(r"file:(?:\./)?(?!/)(?=.)", store)):
        from urllib.parse import quote

        out = {**out, "store": f"file:{quote(str(project))}/{store[found.end() :]}"}
    return {
        key: _rebased(value, directory) if key in ("providers", "storeOptions") else value for key, value in out.items()
    }


def _rebased(value: Any, directory: Path) -> Any:
    if not isinstance(value, dict):
        return value
    source = value.get("valueFrom")
    if isinstance(source, dict) and isinstance(source.get("file"), str):
        return {"valueFrom": {"file": str(directory / Path(source["file"]).expanduser())}}
    return {key: _rebased(item, directory) for key, item in value.items()}


def _redacted(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        if set(value) == {"valueFrom"}:
            return value
        inside = "secret" if name == "headers" else ""
        return {key: _redacted(item, inside or key) for key, item in value.items()}
    if isinstance(value, list):
        return [_redacted(item, name) for item in value]
    return shown_text(name, value) if isinstance(value, str) else value


# ---------------------------------------------------------------------------------------------- reading and changing


def get_value(path: Path, dotted: str) -> Any:
    """Return the value that a file has at a key, None when it has none; secrets as they are written.

    Raises: ConfigError: the file cannot be read, or no setting is called so.
    """
    from kastra_core.config_edit import get

    return get(path, dotted)


def set_value(path: Path, dotted: str, value: str) -> Any:
    """Set one key of a configuration file and return its new value; the rest of the file, with its comments, stays.

    Args:
        path: of the file; it and its directory are made when they are not there.
        dotted: the key, "providers.openai.apiBase"; a part that holds dots is in double quotes.
        value: as in YAML. Text where a text is wanted needs no quotes, and a list may be written a,b,c.

    Raises: ConfigError: the key or the value is wrong; nothing is written then.
    """
    from kastra_core.config_edit import change

    return change(path, dotted, value)


def unset_value(path: Path, dotted: str) -> bool:
    """Remove one key of a configuration file; False when it was not there. Objects that are empty then go too.

    Raises: ConfigError: the file cannot be read, or no setting is called so.
    """
    from kastra_core.config_edit import remove

    return remove(path, dotted)
