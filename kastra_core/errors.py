"""The exception tree. Everything that Kastra raises on purpose is a :class:`KastraError`.

``UserError``: mend the manifest, the reference or the configuration. ``PluginError``: mend the installation.
``StoreError``: mend or wait for the database. ``ModelError``: the model's provider said no. ``RunError``: a run
ended without an answer. ``TerminalError`` marks what a controller must not try again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

__all__ = [
    "AlreadyExistsError",
    "AmbiguousKindError",
    "AuthenticationError",
    "BadResponseError",
    "ConfigError",
    "ConflictError",
    "ContentFilterError",
    "ContextLengthError",
    "ExpiredError",
    "FencedError",
    "InvalidReferenceError",
    "InvalidRequestError",
    "KastraError",
    "LimitExceededError",
    "ManifestError",
    "MissingDependencyError",
    "ModelConnectionError",
    "ModelError",
    "ModelNotFoundError",
    "ModelTimeoutError",
    "NotFoundError",
    "NotReadyError",
    "OperationError",
    "PluginConflictError",
    "PluginError",
    "PluginLoadError",
    "Problem",
    "ProviderUnavailableError",
    "RateLimitError",
    "RunCancelledError",
    "RunError",
    "RunFailedError",
    "SamePluginNameError",
    "SchemaVersionError",
    "SelectorError",
    "StoreError",
    "StoreUnavailableError",
    "TerminalError",
    "UnknownKindError",
    "UnknownProviderError",
    "UserError",
    "ValidationError",
    "VectorLengthError",
    "nearest",
    "shortened",
]


_LONGEST_NAME = 200
_SHOWN_CHARACTERS = 600


def shortened(text: str, most: int = _SHOWN_CHARACTERS) -> str:
    """Return ``text``, or its beginning with "…": what was read from outside may be megabytes long."""
    return text if len(text) <= most else text[: most - 1] + "…"


def nearest(name: str, known: Sequence[str]) -> str | None:
    """Return the entry of ``known`` that is most like ``name``, or None when none is near."""
    if len(name) > _LONGEST_NAME:  # nobody's typing error, and the comparison takes quadratic time
        return None
    found = get_close_matches(name, known, n=1, cutoff=0.6)
    return found[0] if found else None


class KastraError(Exception):
    """Root of all errors that Kastra raises on purpose.

    ``exit_code`` is what the CLI ends with, ``reason`` a CamelCase word fit for a condition.
    """

    exit_code = 1

    @property
    def reason(self) -> str:
        return type(self).__name__.removesuffix("Error")

    @property
    def remedy(self) -> str | None:
        """What the reader can do about it, one sentence, or None."""
        return None


class TerminalError(KastraError):
    """Trying again cannot help; a controller turns it into a condition and waits for a change.

    Args:
        message: what is wrong.
        reason: CamelCase word for the condition.
        remedy: what to do, one sentence.
    """

    def __init__(self, message: str, *, reason: str = "Terminal", remedy: str | None = None) -> None:
        super().__init__(message)
        self._reason, self._remedy = reason, remedy

    @property
    def reason(self) -> str:
        return self._reason

    @property
    def remedy(self) -> str | None:
        return self._remedy


# ---------------------------------------------------------------------------------------------- the user's input


class UserError(KastraError):
    """The input is wrong: a manifest, a reference, a flag or a setting."""


class Problem:
    """One thing wrong with one field: where it is, what was found, what is allowed.

    Args:
        message: the fact, without place ("expected a string, found integer 5").
        path: field path from the resource's root ("spec.tools[0].name"), "" for the whole.
        hint: how to mend it ("did you mean 'model'?").
        file, line, column: the place in the source; line and column count from 1, 0 when unknown.
        resource: "Agent cooking/recipe-assistant", "" when it could not be read.
        reason: the same for programs, in Kubernetes' words: FieldValueRequired, FieldValueInvalid,
            FieldValueTypeInvalid, FieldValueNotSupported, FieldValueDuplicate, FieldValueForbidden, FieldValueTooLong,
            FieldValueTooMany; "" where nobody said.
    """

    __slots__ = ("column", "file", "hint", "line", "message", "path", "reason", "resource")

    def __init__(
        self,
        message: str,
        path: str = "",
        *,
        hint: str = "",
        file: str = "",
        line: int = 0,
        column: int = 0,
        resource: str = "",
        reason: str = "",
    ) -> None:
        self.message, self.path, self.hint, self.reason = message, path, hint, reason
        self.file, self.line, self.column, self.resource = file, line, column, resource

    def at(self, **place: Any) -> Problem:
        """Return a copy with some of file, line, column, resource, path replaced."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        fields.update(place)
        return Problem(fields.pop("message"), fields.pop("path"), **fields)

    def __str__(self) -> str:
        place = self.file
        if self.line:
            place += f":{self.line}" + (f":{self.column}" if self.column else "")
        head = ": ".join(part for part in (place, shortened(self.resource), shortened(self.path)) if part)
        message = shortened(self.message)
        text = f"{head}: {message}" if head else message
        return f"{text}; {shortened(self.hint)}" if self.hint else text

    def __repr__(self) -> str:
        return f"Problem({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Problem) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


class ValidationError(UserError):
    """One or more fields of one or more resources are wrong; all of them are in ``problems``.

    ``dropped`` are fields that a schema does not know: no errors, but one may have been meant for what is missing.
    """

    def __init__(self, problems: Sequence[Problem], dropped: Sequence[Problem] = ()) -> None:
        super().__init__(tuple(problems))
        self.problems, self.dropped = tuple(problems), tuple(dropped)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class ManifestError(ValidationError):
    """A source could not be read as manifests (syntax, encoding, size, not a resource)."""


class InvalidReferenceError(UserError):
    """A text is no reference in any of the allowed forms."""

    def __init__(self, value: object, why: str) -> None:
        super().__init__(value, why)
        self.value, self.why = value, why

    def __str__(self) -> str:
        return (
            f"{self.value!r} is not a reference: {self.why}; allowed are name, namespace.name, namespace/name, "
            "plural/name, {name, namespace}, {name, refName} and {ref}"
        )


class SelectorError(UserError):
    """A label or field selector cannot be read."""


class ConfigError(UserError):
    """A configuration file or setting is wrong."""


class UnknownKindError(UserError):
    """No installed plugin offers the kind, and nothing in the store defines it."""

    def __init__(self, kind: str, known: Sequence[str] = ()) -> None:
        super().__init__(kind, tuple(known))
        self.kind, self.known = kind, tuple(known)

    @property
    def remedy(self) -> str:
        near = nearest(self.kind, self.known)
        return f"did you mean {near!r}?" if near else "`kastra explain` lists the kinds that are known"

    def __str__(self) -> str:
        return f"no plugin or definition offers the kind {self.kind!r}; {self.remedy}"


class AmbiguousKindError(UserError):
    """A short spelling names kinds of several groups."""

    def __init__(self, kind: str, candidates: Sequence[str]) -> None:
        super().__init__(kind, tuple(candidates))
        self.kind, self.candidates = kind, tuple(candidates)

    def __str__(self) -> str:
        return f"{self.kind!r} is ambiguous; write one of {', '.join(self.candidates)}"


class NotFoundError(UserError):
    """The resource (or thread, blob, run) does not exist."""

    def __init__(self, what: str, known: Sequence[str] = ()) -> None:
        super().__init__(what, tuple(known))
        self.what, self.known = what, tuple(known)

    def __str__(self) -> str:
        # All have kind and namespace in common: only the names tell how near they are.
        at = max(self.what.rfind("/"), self.what.rfind(" ")) + 1
        place, name = self.what[:at], self.what[at:]
        near = nearest(name, [known[at:] for known in self.known if known.startswith(place)])
        return f"{self.what} not found" + (f"; did you mean {place + near!r}?" if near else "")


class AlreadyExistsError(UserError):
    """A create met a resource of the same kind, namespace and name."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what

    def __str__(self) -> str:
        return f"{self.what} already exists"


class ConflictError(UserError):
    """A write was based on an older state (resourceVersion), or a field belongs to another manager."""

    def __init__(self, what: str, why: str = "it was changed meanwhile; read it again and repeat the change") -> None:
        super().__init__(what, why)
        self.what, self.why = what, why

    def __str__(self) -> str:
        return f"conflict on {self.what}: {self.why}"


class NotReadyError(UserError):
    """What should be run is not Ready; the message is that of its condition."""

    def __init__(self, what: str, reason: str, message: str) -> None:
        super().__init__(what, reason, message)
        self.what, self._reason, self.message = what, reason, message

    @property
    def reason(self) -> str:
        return self._reason

    def __str__(self) -> str:
        return f"{self.what} is not ready ({self._reason}): {self.message}"


# ---------------------------------------------------------------------------------------------- the installation


class PluginError(KastraError):
    """A plugin is broken, missing or clashes with another."""

    exit_code = 3


class PluginLoadError(PluginError):
    """A plugin failed at import, at registration or in a hook."""

    def __init__(self, plugin: str, stage: str, cause: str) -> None:
        super().__init__(plugin, stage, cause)
        self.plugin, self.stage, self.cause = plugin, stage, cause

    def __str__(self) -> str:
        return f"plugin {self.plugin!r} is quarantined: {self.stage} failed: {self.cause}"


class PluginConflictError(PluginError):
    """Two plugins offer the same name."""

    def __init__(self, what: str, name: str, first: str, second: str) -> None:
        super().__init__(what, name, first, second)
        self.what, self.name, self.first, self.second = what, name, first, second

    def __str__(self) -> str:
        what, name = self.what, self.name
        if what == "kind" and name.startswith("plural "):
            what, name = "plural", name.removeprefix("plural ")
        return (
            f"{what} {name!r} is offered by plugin {self.first!r} and by plugin {self.second!r}; "
            f"the first is used; switch one off with --no-plugin {self.second} or KASTRA_PLUGINS_BLOCK={self.second}"
        )


class SamePluginNameError(PluginConflictError):
    """Two installed distributions announce plugins of one name; ``first`` and ``second`` are the distributions."""

    def __init__(self, name: str, first: str, second: str) -> None:
        super().__init__("plugin", name, first, second)
        self.args = (name, first, second)

    def __str__(self) -> str:
        return (
            f"two distributions have a plugin named {self.name!r}: {self.first} and {self.second}; "
            "the first is used, uninstall one of them"
        )


class MissingDependencyError(PluginError):
    """An optional library is not installed."""

    def __init__(self, module: str, install: str) -> None:
        super().__init__(module, install)
        self.module, self.install = module, install

    @property
    def remedy(self) -> str:
        return f"pip install {self.install}"

    def __str__(self) -> str:
        return f"the library {self.module!r} is not installed; {self.remedy}"


class UnknownProviderError(UserError):
    """No installed plugin serves the model provider that is named."""

    def __init__(self, provider: str, known: Sequence[str] = ()) -> None:
        super().__init__(provider, tuple(known))
        self.provider, self.known = provider, tuple(known)

    @property
    def remedy(self) -> str:
        near = nearest(self.provider, self.known)
        if near:
            return f"did you mean {near!r}?"
        offered = f" (installed: {', '.join(self.known)})" if self.known else ""
        return f"install a plugin that offers it, for example kastra-plugin-openai or kastra-plugin-litellm{offered}"

    def __str__(self) -> str:
        return f"no plugin serves the model provider {self.provider!r}; {self.remedy}"


# ---------------------------------------------------------------------------------------------- the store


class StoreError(KastraError):
    """The database said no."""

    exit_code = 4


class StoreUnavailableError(StoreError):
    """The database cannot be opened, read or written now (permissions, disk full, locked, unreachable)."""


class SchemaVersionError(StoreError):
    """The database was written by another version of the schema than this program can use."""


class ExpiredError(StoreError):
    """The history that a watch asked for was compacted; list again and watch from there."""

    def __init__(self, since: str, oldest: str) -> None:
        super().__init__(since, oldest)
        self.since, self.oldest = since, oldest

    def __str__(self) -> str:
        return f"history since resourceVersion {self.since} is gone (oldest kept: {self.oldest}); list again"


class VectorLengthError(StoreError, ValueError):
    """A vector has another length than those of its collection."""

    def __init__(self, collection: str, found: int, expected: int) -> None:
        super().__init__(collection, found, expected)
        self.collection, self.found, self.expected = collection, found, expected

    def __str__(self) -> str:
        return (
            f"collection {self.collection!r} holds vectors of length {self.expected}, found one of length {self.found}"
        )

    @property
    def remedy(self) -> str | None:
        return "use one embedding model for a collection, or another collection"


class FencedError(StoreError):
    """Another worker claimed the run meanwhile, or the run was deleted; this one must stop."""

    def __init__(self, run: str) -> None:
        super().__init__(run)
        self.run = run

    def __str__(self) -> str:
        return f"run {self.run} belongs to another worker now"


# ---------------------------------------------------------------------------------------------- models


class ModelError(KastraError):
    """A model provider did not answer as asked.

    Args:
        message: the provider's words, without secrets.
        provider, model: who was asked.
        status: HTTP status, or None.
    """

    retryable = False

    def __init__(self, message: str, *, provider: str = "", model: str = "", status: int | None = None) -> None:
        super().__init__(message)
        self.message, self.provider, self.model, self.status = message, provider, model, status

    def __str__(self) -> str:
        who = "/".join(part for part in (self.provider, self.model) if part)
        text = f"{who}: {self.message}" if who else self.message
        return f"{text}; {self.remedy}" if self.remedy else text

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild_model_error, (type(self), self.args, self.__dict__))


def _rebuild_model_error(cls: type[ModelError], args: tuple[Any, ...], state: Mapping[str, Any]) -> ModelError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    return error


class AuthenticationError(ModelError):
    """The key is missing, wrong or not allowed to do this (HTTP 401, 403)."""

    @property
    def remedy(self) -> str:
        model = f"{self.provider or 'PROVIDER'}/{self.model or 'NAME'}"
        return f"check the API key of this provider (`kastra explain model {model}` shows where it is read from)"


class ModelNotFoundError(ModelError):
    """The provider does not know the model (HTTP 404), or its weights are not on this machine."""


class InvalidRequestError(ModelError):
    """The provider refused the request as it stands (HTTP 400, 422)."""


class ContextLengthError(InvalidRequestError):
    """The conversation is longer than the model's context window."""


class ContentFilterError(ModelError):
    """The provider's content filter stopped the answer."""


class RateLimitError(ModelError):
    """Too many requests (HTTP 429). ``retry_after_s`` is the wait that the provider asked for, or None."""

    retryable = True

    def __init__(self, message: str, *, retry_after_s: float | None = None, **kwargs: Any) -> None:
        super().__init__(message, **kwargs)
        self.retry_after_s = retry_after_s

    @property
    def remedy(self) -> str | None:
        return None if self.retry_after_s is None else f"it asks for a wait of {round(self.retry_after_s, 1):g} s"


class ProviderUnavailableError(ModelError):
    """The provider failed on its side (HTTP 5xx, overloaded). ``retry_after_s`` as in RateLimitError."""

    retryable = True

    def __init__(self, message: str, *, retry_after_s: float | None = None, **kwargs: Any) -> None:
        super().__init__(message, **kwargs)
        self.retry_after_s = retry_after_s


class ModelConnectionError(ModelError):
    """The provider could not be reached, or the connection broke in the middle of an answer."""

    retryable = True


class ModelTimeoutError(ModelError):
    """The provider did not answer in time."""

    retryable = True


class BadResponseError(ModelError):
    """The answer is not what the protocol says (broken JSON, missing fields, cut text)."""

    retryable = True


# ---------------------------------------------------------------------------------------------- runs


class RunError(KastraError):
    """A run ended without an answer."""

    exit_code = 5


class RunFailedError(RunError):
    """A run failed; ``reason`` is that of its condition."""

    def __init__(self, message: str, *, reason: str = "Failed", run: str = "", output: Any = None) -> None:
        super().__init__(message)
        self.message, self._reason, self.run = message, reason, run
        self.output = output
        """What there was of an output when it failed; shown as ``status.output``."""

    @property
    def reason(self) -> str:
        return self._reason

    def __str__(self) -> str:
        return f"run {self.run}: {self.message}" if self.run else self.message


class OperationError(RunError):
    """A named operation of a run failed; what was journaled of it is in the fields.

    Args:
        message: what went wrong.
        reason: CamelCase word.
        retryable: a retry policy may try it again.
        details: JSON object with more, for programs.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str = "OperationFailed",
        retryable: bool = False,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message, self._reason, self.retryable = message, reason, retryable
        self.details = dict(details or {})

    @property
    def reason(self) -> str:
        return self._reason


class LimitExceededError(RunError):
    """A limit of the run was reached. ``limit`` is its manifest name, ``allowed`` its value."""

    def __init__(self, limit: str, allowed: float, used: float) -> None:
        super().__init__(limit, allowed, used)
        self.limit, self.allowed, self.used = limit, allowed, used

    @property
    def reason(self) -> str:
        return "LimitExceeded"

    @property
    def remedy(self) -> str:
        return f"raise spec.limits.{self.limit} of the run's target, or pass --limit {self.limit}=N"

    def __str__(self) -> str:
        return f"the limit {self.limit}={self.allowed:g} is reached (used {self.used:g})"


class RunCancelledError(RunError):
    """The run was cancelled."""
