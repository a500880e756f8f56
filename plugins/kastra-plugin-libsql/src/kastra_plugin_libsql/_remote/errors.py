"""What a server's answers mean."""

from __future__ import annotations

import re

import attrs
from aiohttp import ClientConnectorCertificateError, ClientConnectorSSLError, WSServerHandshakeError
from libsql_client import LibsqlError  # type: ignore[import-untyped]  # it has no py.typed

from kastra_core.errors import KastraError, StoreError, StoreUnavailableError
from kastra_plugin_libsql._remote.settings import RemoteSettings

__all__ = ["Busy", "Guarded", "Lost", "SqlFailed", "classify"]

_GUARD = re.compile(r"kastra:(\d+):(\d+):(\w+):?([^']*)")
_STATUS = re.compile(r"HTTP status (\d{3})")
_AUTH = re.compile(r"(?i)\bjwt\b|authenticat|authoriz|authoris|\btoken\b|forbidden")
_RETRIED_STATUS = frozenset((408, 425, 429, 500, 502, 503, 504))
_BUSY = ("SQLITE_BUSY", "SQLITE_LOCKED", "TRANSACTION_TIMEOUT")
_BROKEN = ("HRANA_WEBSOCKET_ERROR", "HRANA_PROTO_ERROR", "CLIENT_CLOSED", "STREAM_CLOSED")


class Answer(Exception):
    """Why a request has no result; inside this package only."""


class Lost(Answer):
    """No answer came: the server may or may not have done what was asked."""


class Busy(Answer):
    """The server had no time for it; nothing was done."""


@attrs.define(eq=False)
class Guarded(Answer):
    """A guard of a commit said no, so all of the batch was rolled back."""

    commit: int
    step: int
    code: str
    detail: str


class SqlFailed(Answer):
    """A statement failed for another reason; the batch was rolled back."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


def classify(settings: RemoteSettings, err: BaseException) -> BaseException:
    """Return an :class:`Answer`, or the error to raise where trying again cannot help."""
    if isinstance(err, (KastraError, Answer)):
        return err
    if isinstance(err, LibsqlError):
        return _of_library(settings, err)
    if isinstance(err, WSServerHandshakeError):
        return _of_status(settings, err.status, settings.scrubbed(err.message))
    if isinstance(err, (ClientConnectorCertificateError, ClientConnectorSSLError)):
        return StoreUnavailableError(
            f"store {settings.shown}: no secure connection: {settings.scrubbed(str(err))}; check the certificate or tls"
        )
    if isinstance(err, Exception):  # what aiohttp and the system say of connections, and what the library stumbles over
        return Lost(settings.scrubbed(f"{type(err).__name__}: {err}".rstrip(": ")))
    return err


def _of_library(settings: RemoteSettings, err: LibsqlError) -> BaseException:
    text, code = settings.scrubbed(str(err.explanation)), err.code
    if guard := _GUARD.search(text):
        commit, step, word, detail = guard.groups()
        return Guarded(int(commit), int(step), word, detail)
    if code.startswith(_BUSY):
        return Busy(text)
    if code.startswith(("SQLITE", "SQL_")):
        return SqlFailed(text, code)
    if code in _BROKEN or (code == "UNKNOWN" and not _STATUS.search(text) and not _AUTH.search(text)):
        return Lost(text)
    if status := _STATUS.search(text):
        return _of_status(settings, int(status[1]), text)
    if code.startswith("AUTH") or _AUTH.search(text):
        return _refused(settings)
    return SqlFailed(text, code)


def _of_status(settings: RemoteSettings, status: int, text: str) -> BaseException:
    if status in (401, 403):
        return _refused(settings)
    if status in _RETRIED_STATUS:
        return Lost(f"HTTP status {status}")
    return StoreError(
        f"store {settings.shown}: the server answered with HTTP status {status} ({text}); is it a LibSQL server?"
    )


def _refused(settings: RemoteSettings) -> StoreUnavailableError:
    word = "refused the token" if settings.auth_token else "wants a token"
    return StoreUnavailableError(f"store {settings.shown}: the server {word}; {settings.token_hint}")
