"""The simple bodies of the generated workflows' steps, and what the steps are written from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from workflow_program_values import Ref, Scope, ValueWriter

__all__ = ["At", "BodyWriter", "Json", "Made", "Place"]

Json = dict[str, Any]

REASONS = ("Broken", "Busy", "BrokenPipe", "NotFound")
PATTERNS = ("Broken", "Bro*", "*", "Busy", "*sy")


@attrs.define
class Place:
    """Where a step stands in its block."""

    index: int
    ids: list[str]
    head: int
    """Where jumps back go to; -1: nowhere."""
    jumps: list[tuple[int, int]]
    """Jumps forward so far; len(ids) is END."""
    last: bool


@attrs.define
class At:
    """What a body is written from."""

    inside: Scope
    """With the step's input, for what is computed after it."""
    scope: Scope
    step: Json
    previous: str
    """Type of the step's input."""
    depth: int
    place: Place


@attrs.define
class Made:
    step: Json
    type: str
    refs: list[Ref] = attrs.field(factory=list)
    """What its output holds, beside the whole."""
    within: list[Ref] = attrs.field(factory=list)
    """The same as ``output`` sees it."""
    data: dict[str, bool] = attrs.field(factory=dict)
    certain: bool = True
    ends: bool = False


class BodyWriter(ValueWriter):
    """Writes the bodies that hold no blocks. ``size``: about so many steps has the program at most."""

    def __init__(self, choose: Callable[[int, int], int], size: int) -> None:
        super().__init__(choose)
        self.left = size
        self.ids = 0

    def fresh(self) -> str:
        self.ids += 1
        self.left -= 1
        return f"s-{self.ids}" if self.chance(15) else f"s{self.ids}"

    def key(self, scope: Scope, id: str) -> str:
        return id + "".join(f"/{{{{ {name} }}}}" for name in scope.indexes)

    def retry(self) -> Json:
        out: Json = {"maxAttempts": self.upto(4, 1), "delay": self.pick((0, 0, "1ms"))}
        if self.chance(30):
            out["on"] = [self.pick(PATTERNS) for _ in range(self.upto(2, 1))]
        if self.chance(20):
            out["except"] = [self.pick(PATTERNS)]
        if self.chance(20):
            out |= {"jitter": 0, "multiplier": 1, "maxDelay": "2ms"}
        return out

    def operation(self, name: str, at: At, arguments: Json, type: str) -> Made:
        at.step["operation"] = f"test.{name}"
        at.step[self.pick(("arguments", "arguments", "input"))] = {
            "key": self.key(at.scope, at.step["id"]),
            **arguments,
        }
        return Made(at.step, type)

    def make_echo(self, at: At) -> Made:
        if at.previous == "obj" and self.chance(15):
            at.step["operation"] = "test.echo"  # the output before is its arguments
            return Made(at.step, "null")
        kind = self.kind()
        return self.operation("echo", at, {"value": self.value(at.scope, kind)}, kind)

    def make_add(self, at: At) -> Made:
        given = {"a": self.value(at.scope, "int"), "b": self.value(at.scope, "int" if self.chance(95) else "str")}
        return self.operation("add", at, given, "int")

    def make_count(self, at: At) -> Made:
        return self.operation("count", at, {}, "int")

    def make_flaky(self, at: At) -> Made:
        kind = str(self.pick(("int", "obj")))
        given = {"times": self.upto(3), "reason": self.pick(REASONS), "value": self.value(at.scope, kind)}
        return self.operation("flaky", at, given, kind)

    def make_failing(self, at: At) -> Made:
        return self.operation("fail", at, {"reason": self.pick(REASONS)}, "int")

    def make_set(self, at: At) -> Made:
        kind = self.kind()
        at.step["set"] = self.value(at.inside, kind)
        return Made(at.step, kind)

    def make_sleep(self, at: At) -> Made:
        at.step["sleep"] = self.pick((0, "1ms", {"duration": 0}, {"until": "2020-01-01T00:00:00Z"}))
        return Made(at.step, at.previous)

    def make_succeed(self, at: At) -> Made:
        at.step["succeed"] = self.value(at.inside, "any")
        return Made(at.step, "any", ends=True)

    def make_fail(self, at: At) -> Made:
        given = {"reason": self.pick(("Broken", "Refused")), "message": self.text(at.inside)}
        if not at.place.last:
            # Alone it would leave the following steps out of reach.
            at.step["branch"] = {
                "cases": [{"when": self.condition(at.inside), "steps": [{"id": self.fresh(), "fail": given}]}]
            }
            return Made(at.step, at.previous)
        at.step["fail"] = given if self.chance(70) else given["message"]
        return Made(at.step, "int")
