"""``spec`` of a Tool, and how it is read. Reading imports nothing that the manifest names and fetches nothing."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias, Union, get_args, get_origin

import attrs
from cattrs import ClassValidationError

from kastra_core.durations import Duration
from kastra_core.secrets import SecretRef
from kastra_core.serde import FieldError, converter, register_schema, type_word

__all__ = [
    "BasicAuth",
    "HttpAuth",
    "HttpSpec",
    "PythonSpec",
    "QueryValue",
    "RetrySpec",
    "TextOrSecret",
    "ToolSpec",
]

TextOrSecret: TypeAlias = str | SecretRef
QueryValue: TypeAlias = str | int | float | bool | SecretRef


@attrs.frozen(kw_only=True)
class PythonSpec:
    function: str
    """``package.module:function`` or ``package.module:Class.method``."""


@attrs.frozen(kw_only=True)
class BasicAuth:
    username: str
    """User name of HTTP basic authentication."""
    password: SecretRef
    """Password, by reference."""


@attrs.frozen(kw_only=True)
class HttpAuth:
    """The Authorization header; exactly one of the two."""

    bearer: SecretRef | None = None
    """Token, by reference; sent as ``Authorization: Bearer TOKEN``."""
    basic: BasicAuth | None = None
    """User name and password; sent as ``Authorization: Basic``."""


@attrs.frozen(kw_only=True)
class HttpSpec:
    url: str
    """http or https; ``{parameter}`` in path and query stands for an argument, percent-encoded."""
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    """HTTP method."""
    headers: Mapping[str, TextOrSecret] = attrs.field(factory=dict)
    """Sent with each request; a value is a text with templates, or a secret by reference."""
    query: Mapping[str, QueryValue] = attrs.field(factory=dict)
    """Added to the address; templates and secrets as in ``headers``."""
    auth: HttpAuth | None = None
    body: Any = None
    """``json``, ``form``, ``none``, or a JSON template; default ``json`` for POST, PUT and PATCH, else ``none``.

    Arguments that no template names are the body of ``json`` and ``form``, else query parameters.
    """
    response: Literal["json", "text"] = "json"
    """How the answer is read."""

    @property
    def body_mode(self) -> Literal["json", "form", "none", "template"]:
        if self.body is None:
            return "json" if self.method in ("POST", "PUT", "PATCH") else "none"
        return self.body if isinstance(self.body, str) else "template"  # type: ignore[return-value]


@attrs.frozen(kw_only=True)
class RetrySpec:
    attempts: int = 3
    """Tries in all, the first one included."""
    delay_s: Duration = attrs.field(default=Duration(0.5), metadata={"name": "delay"})
    """Before the second try; doubles from there, with jitter."""
    max_delay_s: Duration = attrs.field(default=Duration(10), metadata={"name": "maxDelay"})
    """The longest wait between two tries."""


@attrs.frozen(kw_only=True)
class ToolSpec:
    type: Literal["python", "http"]
    """What is called: a Python function or an HTTP endpoint."""
    description: str = ""
    """Said to the model; default: the first paragraph of the function's docstring."""
    input_schema: dict[str, Any] | None = None
    """JSON schema of the arguments; default: from the function's signature, or from the templates of ``http``."""
    output_schema: dict[str, Any] | None = None
    """JSON schema that each result is checked against."""
    timeout_s: Duration = attrs.field(default=Duration(30), metadata={"name": "timeout"})
    """For the whole call, retries included."""
    python: PythonSpec | None = None
    """The function, for type python."""
    http: HttpSpec | None = None
    """The request, for type http."""
    retry: RetrySpec | None = None
    """How often a failed call is repeated, where a repetition does no harm."""
    idempotent: bool | None = None
    """True: calling twice is like calling once. False: never repeated, not even after a crash. None: by the method
    for http; for python a call that a crash cut off is repeated with the same idempotency key."""

    @property
    def repeatable(self) -> bool:
        """Whether a failed call may be tried again."""
        if self.idempotent is not None:
            return self.idempotent
        return self.http is not None and self.http.method in ("GET", "HEAD", "PUT", "DELETE")

    @property
    def tries(self) -> RetrySpec:
        """The retries that apply: http tools have some by default where a repetition does no harm."""
        if not self.repeatable:
            return RetrySpec(attempts=1)
        return self.retry or RetrySpec(attempts=3 if self.type == "http" else 1)

    @property
    def target(self) -> str:
        """What is called, in one line, without secrets."""
        if self.type == "python":
            return self.python.function if self.python else ""
        return f"{self.http.method} {self.http.url}" if self.http else ""


_INLINE = frozenset({"code", "execute", "implementation", "script", "source"})
_WAY_OUT = (
    "put the code into a Python module, name it as `type: python` with `python: {function: 'my_tools:my_function'}`, "
    "and allow the module with `kastra config set tools.python.allow my_tools`"
)
_RENAMED = {
    "api": "write type http and http.url",
    "auth": "write http.auth",
    "endpoint": "write http.url",
    "function": "write python.function ('module:function')",
    "headers": "write http.headers",
    "id": "metadata.name is the tool's name",
    "method": "write http.method",
    "name": "metadata.name is the tool's name",
    "parameters": "write inputSchema",
    "url": "write http.url",
}
_OLD_TYPES = {"api": "http", "function": "python", "rest": "http"}


def _old_spellings(value: Mapping[str, Any]) -> tuple[dict[str, Any], list[FieldError]]:
    """Return the spec without what older tools had, and an error with a way out for each of those."""
    errors, kept = [], dict(value)
    for name in sorted(value.keys() & _INLINE):
        del kept[name]
        errors.append(FieldError("code in a manifest is never run", path=name, hint=_WAY_OUT))
    for name in sorted(kept.keys() & _RENAMED.keys()):
        del kept[name]
        errors.append(FieldError(f"unknown field {name!r}", path=name, hint=_RENAMED[name]))
    python = kept.get("python")
    if isinstance(python, Mapping) and python.keys() & _INLINE:
        errors.extend(
            FieldError("code in a manifest is never run", path=f"python.{name}", hint=_WAY_OUT)
            for name in sorted(python.keys() & _INLINE)
        )
        del kept["python"]
    old = kept.get("type")
    if isinstance(old, str) and old in _OLD_TYPES:
        kept["type"] = _OLD_TYPES[old]
        message = f"expected one of python, http, found string {old!r}"
        errors.append(FieldError(message, path="type", hint=f"write {_OLD_TYPES[old]}"))
    return kept, errors


def _register() -> None:
    conv = converter()

    def is_secret_union(cls: Any) -> bool:
        args = get_args(cls)
        return get_origin(cls) in (Union, types.UnionType) and SecretRef in args and type(None) not in args

    def secret_union(value: Any, cls: Any) -> Any:
        if isinstance(value, Mapping):
            return conv.structure(value, SecretRef)
        allowed = [arg for arg in get_args(cls) if arg is not SecretRef]
        if type(value) in allowed:
            return value
        word = "a string" if allowed == [str] else "a string, a number, true, false"
        hint = "put it in quotes" if isinstance(value, (bool, int, float)) else ""
        raise FieldError(f"expected {word} or {{valueFrom: {{env: NAME}}}}, found {type_word(value)}", hint=hint)

    conv.register_structure_hook_func(is_secret_union, secret_union)
    plain: Callable[[Any, Any], Any] = conv.get_structure_hook(ToolSpec)

    def tool_spec(value: Any, cls: Any) -> Any:
        if not isinstance(value, Mapping):
            return plain(value, cls)
        kept, errors = _old_spellings(value)
        try:
            spec = plain(kept, cls)
        except ClassValidationError as error:
            if errors:
                raise ClassValidationError("tool", [*errors, *error.exceptions], ToolSpec) from None
            raise
        if errors:
            raise ClassValidationError("tool", errors, ToolSpec)
        return spec

    conv.register_structure_hook(ToolSpec, tool_spec)
    register_schema(ToolSpec, lambda own, _: own)


_register()
