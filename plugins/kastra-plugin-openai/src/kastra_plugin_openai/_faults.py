"""An endpoint's refusals as Kastra's model errors."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from kastra_core.errors import (
    AuthenticationError,
    ContentFilterError,
    ContextLengthError,
    InvalidRequestError,
    ModelError,
    ModelNotFoundError,
    ModelTimeoutError,
    ProviderUnavailableError,
    RateLimitError,
    shortened,
)

__all__ = ["error_of_body", "error_of_status", "excerpt", "retry_after_s", "scrubbed"]

_LONGEST_TEXT = 600
_LONGEST_MESSAGE = 4000
_LONGEST_READ = 65536
_CONTEXT = re.compile(r"context[ _](length|window|size)|too many tokens|(prompt|input) is too long", re.IGNORECASE)
_CONTEXT_CODES = frozenset({"context_length_exceeded", "exceed_context_size_error", "string_above_max_length"})
_FILTER_CODES = frozenset({"content_filter", "content_policy_violation", "moderation_blocked"})
_KEY_CODES = frozenset({"invalid_api_key", "authentication_error"})
_KEY = re.compile(r"(incorrect|invalid|missing) api[ _-]?key|api key not valid", re.IGNORECASE)
_QUOTA_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
_UNKNOWN_MODEL_CODES = frozenset({"model_not_found", "model_not_available"})


def scrubbed(text: str, secrets: Iterable[str]) -> str:
    """Return ``text`` with each of ``secrets`` replaced by ``***``."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return text


def excerpt(raw: bytes, secrets: Iterable[str]) -> str:
    """Return the beginning of a body as one line, without ``secrets``, for an error message.

    They are taken out before the text is cut: half a key is too much.
    """
    text = " ".join(scrubbed(raw[:_LONGEST_READ].decode("utf-8", "replace"), secrets)[: 4 * _LONGEST_TEXT].split())
    return text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + "..."


def retry_after_s(headers: Mapping[str, str], *, now_s: float | None = None) -> float | None:
    """Return the wait that the answer's headers ask for, in seconds, or None.

    Source: RFC 9110, 10.2.3 (seconds or an HTTP date); ``retry-after-ms`` is OpenAI's own.
    """
    for name, scale in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        value = headers.get(name)
        if not value:
            continue
        try:
            wait = float(value) * scale
        except ValueError:
            from email.utils import parsedate_to_datetime

            try:
                wait = parsedate_to_datetime(value).timestamp() - (time.time() if now_s is None else now_s)
            except ValueError:
                continue
            return max(wait, 0.0)
        if math.isfinite(wait) and wait >= 0:
            return wait
    return None


def error_of_status(
    status: int, raw: bytes, headers: Mapping[str, str], *, url: str, secrets: Iterable[str], who: Mapping[str, str]
) -> ModelError:
    """Return the error for an answer whose HTTP status is not 2xx; ``who`` is provider and model."""
    kind, code, message = _read(raw)
    message = _told(message, secrets) or excerpt(raw, secrets) or "no explanation"
    if 300 <= status < 400:
        # Without query: it may repeat ours, and with it a key.
        target = excerpt(headers.get("location", "nowhere").partition("?")[0].encode(), secrets)
        return InvalidRequestError(
            f"POST {url} is redirected to {target} (HTTP {status}); set the api base to where the endpoint is",
            status=status,
            **who,
        )
    return _error(status, kind, code, message, retry_after_s(headers), url, who)


def error_of_body(error: Any, status: int, *, url: str, secrets: Iterable[str], who: Mapping[str, str]) -> ModelError:
    """Return the error for an ``error`` field in an answer, or an event of a stream, that began with a 2xx status."""
    kind, code, message = _read(orjson.dumps({"error": error}))
    if code.isdecimal() and 400 <= int(code) < 600:
        status = int(code)
    elif "rate_limit" in kind + code:
        status = 429
    elif status < 400:
        # The request was taken, so whatever failed is on the provider's side unless its code says otherwise.
        status = 400 if kind == "invalid_request_error" else 500
    return _error(status, kind, code, _told(message, secrets) or "no explanation", None, url, who)


def _told(message: str, secrets: Iterable[str]) -> str:
    return shortened(scrubbed(message, secrets), _LONGEST_MESSAGE)


def _read(raw: bytes) -> tuple[str, str, str]:
    """Return type, code and message of an error body; empty where it does not say."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return "", "", ""
    if isinstance(body, list) and body:
        body = body[0]
    if not isinstance(body, dict):
        return "", "", ""
    error = body.get("error", body)
    if not isinstance(error, dict):
        error = {"message": error if isinstance(error, str) else body.get("message")}
    message = error.get("message") or error.get("detail") or body.get("detail") or ""
    if not isinstance(message, str):
        message = orjson.dumps(message).decode()
    param = error.get("param")
    if isinstance(param, str) and param and param not in message:
        message = f"{message} (field {param})"
    return str(error.get("type") or ""), str(error.get("code") or ""), message


def _error(
    status: int, kind: str, code: str, message: str, wait_s: float | None, url: str, who: Mapping[str, str]
) -> ModelError:
    words = {kind, code}
    given: dict[str, Any] = {"status": status, **who}
    if words & _QUOTA_CODES or status == 402:
        # Waiting does not help: somebody has to pay.
        spent = RateLimitError(f"the account's quota or credit is used up: {message}", **given)
        spent.retryable = False
        return spent
    if status == 429:
        return RateLimitError(message, retry_after_s=wait_s, **given)
    if status >= 500:
        return ProviderUnavailableError(f"{message} (HTTP {status})", retry_after_s=wait_s, **given)
    if words & _FILTER_CODES or (status == 403 and "flagged" in message):
        return ContentFilterError(message, **given)
    if status in (401, 403) or words & _KEY_CODES or _KEY.search(message):
        return AuthenticationError(message, **given)
    if words & _UNKNOWN_MODEL_CODES:
        return ModelNotFoundError(message, **given)
    if status == 404:
        return ModelNotFoundError(f"{message} (POST {url} gave 404: no such model, or a wrong api base)", **given)
    if status == 408:
        return ModelTimeoutError(message, **given)
    if words & _CONTEXT_CODES or _CONTEXT.search(message):
        return ContextLengthError(message, **given)
    return InvalidRequestError(message, **given)
