"""What can go wrong while a Hrana server answers."""

from __future__ import annotations

__all__ = ["INVALID_PAYLOAD", "POLICY", "BadMessageError", "CutError", "ProtocolError", "SqlError"]

INVALID_PAYLOAD = 1007
"""WebSocket close code for a payload that is not what its type says (RFC 6455, 7.4.1)."""
POLICY = 1008
"""WebSocket close code for a message that breaks the rules of the protocol."""


class ProtocolError(Exception):
    """The client broke the protocol: a WebSocket is closed with ``close_code``, an HTTP request gets 400."""

    def __init__(self, message: str, close_code: int = POLICY) -> None:
        super().__init__(message)
        self.close_code = close_code


class BadMessageError(ProtocolError):
    """A message that is no JSON, or JSON of another shape than the specification gives it."""

    def __init__(self, message: str) -> None:
        super().__init__(f"Cannot deserialize client message from JSON: {message}", INVALID_PAYLOAD)


class SqlError(Exception):
    """A request failed and the stream goes on: it is answered with an ``Error`` structure."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message, code)
        self.message, self.code = message, code

    def structure(self) -> dict[str, str]:
        """Return the ``Error`` structure."""
        return {"message": self.message, "code": self.code}


class CutError(Exception):
    """A fault asked for the connection to be cut here, without an answer."""
