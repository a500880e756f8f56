"""Secrets by reference: where a secret is, instead of the secret itself."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs

from kastra_core.errors import ConfigError

__all__ = ["MissingSecretError", "SecretRef", "SecretValue", "resolve_secret"]

_FORM = "{valueFrom: {env: NAME}} or {valueFrom: {file: PATH}}"
_LARGEST = 65536


class MissingSecretError(ConfigError):
    """A secret that is referred to is not there."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message, remedy)
        self.message, self._remedy = message, remedy

    @property
    def reason(self) -> str:
        return "MissingSecret"

    @property
    def remedy(self) -> str:
        return self._remedy

    def __str__(self) -> str:
        return f"{self.message}; {self._remedy}"


@attrs.frozen
class SecretRef:
    """``{valueFrom: {env: NAME}}`` or ``{valueFrom: {file: PATH}}``; for attrs specs of plugins.

    A literal text in its place is refused, and not repeated in the error.
    """

    env: str | None = None
    """Name of an environment variable."""
    file: str | None = None
    """A file that holds the secret and nothing else; ``~`` is the home directory."""

    @classmethod
    def structure_value(cls, value: Any) -> SecretRef:
        """Read the JSON. Raises: FieldError."""
        inner = value.get("valueFrom") if isinstance(value, Mapping) and len(value) == 1 else None
        if isinstance(inner, Mapping) and len(inner) == 1:
            ((kind, name),) = inner.items()
            if kind in ("env", "file") and isinstance(name, str) and name:
                return cls(**{kind: name})
        raise _misfit(value)

    @classmethod
    def value_schema(cls, own: dict[str, Any], schema_of: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """The JSON schema of what is read."""
        names = {
            "env": {"type": "string", "minLength": 1, "description": "Name of an environment variable."},
            "file": {"type": "string", "minLength": 1, "description": "Path of a file that holds the secret."},
        }
        inner = {"type": "object", "properties": names, "minProperties": 1, "maxProperties": 1}
        return {
            "type": "object",
            "description": "A secret, by reference.",
            "required": ["valueFrom"],
            "properties": {"valueFrom": {**inner, "additionalProperties": False}},
            "additionalProperties": False,
        }

    def unstructure_value(self) -> dict[str, Any]:
        """The JSON."""
        return {"valueFrom": {"env": self.env} if self.env is not None else {"file": self.file}}

    def __str__(self) -> str:
        return f"environment variable {self.env}" if self.env is not None else f"file {self.file}"


@attrs.frozen
class SecretValue:
    """A setting that is a :class:`SecretRef` or, in the user's own configuration, the text itself (never printed)."""

    ref: SecretRef | None = None
    """The reference, None for a text."""
    literal: str | None = attrs.field(default=None, repr=False)

    @classmethod
    def structure_value(cls, value: Any) -> SecretValue:
        """Read the JSON. Raises: FieldError."""
        if isinstance(value, str):
            return cls(literal=value)
        return cls(ref=SecretRef.structure_value(value))

    @classmethod
    def value_schema(cls, own: dict[str, Any], schema_of: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """The JSON schema of what is read."""
        return {"anyOf": [{"type": "string"}, schema_of(SecretRef)]}

    def unstructure_value(self) -> Any:
        """The JSON; a text stays as it is."""
        return self.ref.unstructure_value() if self.ref is not None else self.literal


def _misfit(value: Any) -> Exception:
    from kastra_core.serde import FieldError  # costs 60 ms, and nearly no reference is wrong

    if not isinstance(value, Mapping):
        word = "a literal text" if isinstance(value, str) else "something else"
        hint = "a secret has no place in a manifest: set an environment variable and name it"
        return FieldError(f"expected {_FORM}, found {word}", hint=hint)
    inner = value.get("valueFrom")
    if set(value) != {"valueFrom"} or not isinstance(inner, Mapping):
        return FieldError(f"expected {_FORM}, found the fields {_names(value)}")
    if len(inner) != 1 or next(iter(inner)) not in ("env", "file"):
        return FieldError(f"expected {_FORM}, found valueFrom with the fields {_names(inner)}")
    kind = next(iter(inner))
    word = "the name of an environment variable" if kind == "env" else "the path of a file"
    return FieldError(f"expected {word}", path=f"valueFrom.{kind}")


def _names(value: Mapping[str, Any]) -> str:
    return ", ".join(sorted(str(name) for name in value)) or "none"


def resolve_secret(
    value: SecretRef | SecretValue | Mapping[str, Any] | str,
    *,
    env: Mapping[str, str] | None = None,
    base: Path | None = None,
) -> str:
    """Return the secret itself.

    Args:
        value: a reference, its JSON, or the secret.
        env: default: the process's environment.
        base: directory that relative file names count from; default: the current one.

    Raises:
        MissingSecretError: the variable is not set or empty, or the file cannot be read or is empty.
        FieldError: a mapping that is no reference.
    """
    if isinstance(value, Mapping):
        value = SecretRef.structure_value(value)
    if isinstance(value, SecretValue):
        if value.ref is None:
            return value.literal or ""
        value = value.ref
    if isinstance(value, str):
        return value
    if value.env is not None:
        found = (os.environ if env is None else env).get(value.env, "")
        if not found:
            state = "empty" if value.env in (os.environ if env is None else env) else "not set"
            raise MissingSecretError(f"the environment variable {value.env} is {state}", f"export {value.env}=...")
        return found
    return _read(value.file or "", base)


def _read(name: str, base: Path | None) -> str:
    path = Path(name).expanduser()
    if base is not None:
        path = base / path
    try:
        with path.open(encoding="utf-8") as stream:
            text = stream.read(_LARGEST + 1)
    except OSError as err:
        raise MissingSecretError(f"the secret's file {path} cannot be read: {err.strerror}", "create the file") from err
    except ValueError:
        # The error of the decoder would show a part of the secret.
        raise MissingSecretError(f"the secret's file {path} is no UTF-8 text", "save it as UTF-8") from None
    text = text.rstrip("\r\n")
    if not text:
        raise MissingSecretError(f"the secret's file {path} is empty", "write the secret into it")
    if len(text) > _LARGEST:
        raise MissingSecretError(f"the secret's file {path} has more than {_LARGEST} characters", "name another file")
    return text
