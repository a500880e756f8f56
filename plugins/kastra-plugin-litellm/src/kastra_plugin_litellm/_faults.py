"""litellm's exceptions as Kastra's model errors.

litellm wraps most of what goes wrong, connection faults included, in classes named after HTTP statuses; what happened
is often only in the chain of causes. So status, class name and chain are looked at together.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from kastra_core.errors import (
    AuthenticationError,
    BadResponseError,
    ContentFilterError,
    ContextLengthError,
    InvalidRequestError,
    ModelConnectionError,
    ModelError,
    ModelNotFoundError,
    ModelTimeoutError,
    ProviderUnavailableError,
    RateLimitError,
)

__all__ = ["error_of"]

_LONGEST_TEXT = 600
_PREFIX = re.compile(r"^(?:\s*(?:litellm\.)?\w*(?:Error|Exception|Timeout)(?:\s+Error)?\s*[:-]\s*)+")
# aiohttp prints the address of a Python object.
_SSL = re.compile(r" ssl:(<[^>]*>|\w+)")
_CONNECTION = re.compile(
    r"connection error|server disconnected|cannot connect|payload is not completed|connection (reset|refused|closed)",
    re.IGNORECASE,
)
_NO_JSON = re.compile(r"expecting value|unable to get json|invalid response from llm|json ?decode", re.IGNORECASE)
_CONTEXT = re.compile(r"context[ _](length|window|size)|(prompt|input) is too long", re.IGNORECASE)
_KEY = re.compile(
    r"api[ _]key.{0,40}(not valid|invalid|must be set|missing)|(invalid|incorrect|missing) api[ _]key", re.I
)
_QUOTA = re.compile(r"insufficient_quota|exceeded your current quota|credit balance is too low|billing", re.IGNORECASE)


def error_of(err: BaseException, *, provider: str, model: str, secrets: Iterable[str]) -> ModelError:
    """Return the model error that stands for ``err``."""
    status = _status(err)
    who: dict[str, Any] = {"provider": provider, "model": model, "status": status}
    kinds = {cls.__name__ for cls in type(err).__mro__}
    chain = {type(link).__name__ for link in _chain(err)}
    codes = {code for link in _chain(err) for code in _codes(link)}
    text = str(err)
    secrets = tuple(secrets)
    message = _words(text, secrets)

    if isinstance(err, TimeoutError) or any(name.endswith(("Timeout", "TimeoutError")) for name in chain):
        return ModelTimeoutError(message or "no answer in time", **{**who, "status": None})
    if codes & {"content_filter", "content_policy_violation"}:
        return ContentFilterError(message, **who)
    if (
        "PaymentRequiredError" in kinds
        or status == 402
        or ("RateLimitError" in kinds and ("insufficient_quota" in codes or _QUOTA.search(text)))
    ):
        spent = RateLimitError(f"the account's quota or credit is used up: {message}", **who)
        spent.retryable = False
        return spent
    if "RateLimitError" in kinds or status == 429:
        return RateLimitError(message, retry_after_s=_retry_after_s(err), **who)
    if "ContextWindowExceededError" in kinds or (
        status in (400, 413) and ("context_length_exceeded" in codes or _CONTEXT.search(text))
    ):
        return ContextLengthError(message, **who)
    if "ContentPolicyViolationError" in kinds:
        return ContentFilterError(message, **who)
    if kinds & {"AuthenticationError", "PermissionDeniedError"} or status in (401, 403) or _KEY.search(text):
        return AuthenticationError(message, **who)
    if "NotFoundError" in kinds or status == 404:
        return ModelNotFoundError(message, **who)
    if chain & {"ImportError", "ModuleNotFoundError"} or "No module named" in text:
        return ModelError(f"litellm needs a library that is not installed: {message}", **{**who, "status": None})
    if chain & {"JSONDecodeError"} or _NO_JSON.search(text):
        if message.startswith("Expecting "):  # the words of Python's JSON reader, which does not say what it read
            message = f"the answer is not JSON ({message})"
        return BadResponseError(message, **{**who, "status": None})
    if "MidStreamFallbackError" in kinds or _CONNECTION.search(text):
        return ModelConnectionError(_connection_words(err, message, secrets), **{**who, "status": None})
    if status is not None and 400 <= status < 500:
        return InvalidRequestError(message, **who)
    if "APIConnectionError" in kinds:
        # Also litellm's name for any fault of its own.
        return ModelConnectionError(message, **{**who, "status": None})
    if status is not None and status >= 500:
        return ProviderUnavailableError(f"{message} (HTTP {status})", retry_after_s=_retry_after_s(err), **who)
    if status is not None and 200 <= status < 300:
        return BadResponseError(message, **who)
    return ModelError(f"{type(err).__name__}: {message}", **who)


def _status(err: BaseException) -> int | None:
    status = getattr(err, "status_code", None)
    try:
        return int(status) if status is not None else None
    except (TypeError, ValueError):
        return None


def _chain(err: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    queue: list[Any] = [err]
    while queue:
        link = queue.pop()
        if isinstance(link, BaseException) and id(link) not in seen:
            seen.add(id(link))
            yield link
            queue += [link.__cause__, link.__context__, getattr(link, "original_exception", None)]


def _codes(err: BaseException) -> Iterator[str]:
    """Yield the codes and types that a provider's SDK kept of the error body."""
    body = getattr(err, "body", None)
    if isinstance(body, dict):
        inner = body.get("error")
        body = inner if isinstance(inner, dict) else body
        yield from (str(body.get(name)) for name in ("code", "type"))
    if isinstance(code := getattr(err, "code", None), str):
        yield code


def _words(text: str, secrets: Iterable[str]) -> str:
    """Return the provider's own words: without litellm's prefixes, traces and the JSON around them."""
    text = text.partition("\nTraceback")[0].partition(" Original exception: ")[0]
    text = _PREFIX.sub("", text).strip()
    if (start := text.find('{"error"')) >= 0:
        try:
            error = orjson.loads(text[start : text.rindex("}") + 1])["error"]
            text = error["message"] if isinstance(error, dict) else str(error)
        except (ValueError, LookupError, TypeError):
            pass
    if (at := text.find(" To drop these")) > 0:
        text = text[:at] + " Leave them out, or set dropParams: true in the provider's options."
    text = _SSL.sub("", text)
    for secret in secrets:
        text = text.replace(secret, "***")
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + "..."


def _connection_words(err: BaseException, message: str, secrets: Iterable[str]) -> str:
    """Return what happened to the connection; litellm often says no more than ``Connection error.``"""
    if message.rstrip(".").lower() == "connection error":
        causes = (_words(str(link), secrets) for link in _chain(err))
        message = next((text for text in causes if text and text.rstrip(".").lower() != "connection error"), message)
    if "payload is not completed" in message:
        return "the connection broke in the middle of the answer"
    return message


def _retry_after_s(err: BaseException) -> float | None:
    """Return the wait in the answer's headers, which litellm keeps in several places, or None."""
    for link in _chain(err):
        places = (
            getattr(link, "litellm_response_headers", None),
            getattr(getattr(link, "response", None), "headers", None),
        )
        for headers in (*places, getattr(link, "headers", None)):
            if headers is None or not hasattr(headers, "items"):
                continue
            found = {str(name).lower().removeprefix("llm_provider-"): value for name, value in headers.items()}
            for name, scale in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
                if (wait := _seconds(found.get(name))) is not None:
                    return wait * scale
    return None


def _seconds(value: Any) -> float | None:
    if value is None:
        return None
    try:
        wait = float(value)
    except ValueError:
        import time
        from email.utils import parsedate_to_datetime

        try:
            return max(parsedate_to_datetime(str(value)).timestamp() - time.time(), 0.0)
        except ValueError:
            return None
    return wait if math.isfinite(wait) and wait >= 0 else None
