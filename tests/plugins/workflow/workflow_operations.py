"""The operations of the generated workflows."""

from __future__ import annotations

from typing import Any

from workflow_oracle import OperationFailure

__all__ = ["OPERATIONS", "OperationWorld"]

OPERATIONS = ("test.echo", "test.add", "test.count", "test.flaky", "test.fail")


class OperationWorld:
    """What the operations do; ``key`` in the arguments says whose count is meant.

    ``test.echo`` returns ``value``; ``test.add`` a + b modulo 97; ``test.count`` how often this key was counted;
    ``test.flaky`` fails ``times`` times for ``reason`` and then returns ``value``; ``test.fail`` always fails.
    """

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def __call__(self, name: str, arguments: dict[str, Any]) -> Any:
        if name == "test.echo":
            return arguments.get("value")
        if name == "test.add":
            a, b = arguments["a"], arguments["b"]
            if not all(isinstance(number, int) and not isinstance(number, bool) for number in (a, b)):
                raise OperationFailure("BadOperands", f"cannot add {a!r} and {b!r}")
            return (int(a) + int(b)) % 97
        key = f"{name}:{arguments.get('key')}"
        count = self.counts[key] = self.counts.get(key, 0) + 1
        if name == "test.count":
            return count
        if name == "test.flaky":
            if count <= arguments.get("times", 1):
                raise OperationFailure(arguments.get("reason", "Broken"), f"failure {count}")
            self.counts[key] = 0
            return arguments.get("value")
        raise OperationFailure(arguments.get("reason", "Broken"), "it always fails")
