"""Random workflows that are valid and mostly work: manifests and inputs, drawn by hypothesis.

What an expression refers to is tracked with its type, so that most programs get somewhere; some refer to what may not
be there, and fail as they should. What operations do is written at :class:`OperationWorld`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
from hypothesis import strategies as st

from workflow_oracle import OperationFailure

__all__ = ["OperationWorld", "Program", "programs"]

Json = dict[str, Any]
Path = tuple[str | int, ...]

REASONS = ("Broken", "Busy", "BrokenPipe", "NotFound")
PATTERNS = ("Broken", "Bro*", "*", "Busy", "B?sy")
DATA = {"num": "int", "text-x": "str", "rows": "list", "thing": "obj"}
"""Names of published data, and what is published under them."""
FIELDS = {"n": "int", "t": "str", "l": "list"}
"""Fields of an ``obj``; a ``list`` is one of integers."""
MAX_STEPS = 150


class OperationWorld:
    """What the operations do; ``key`` in the arguments says whose count is meant.

    ``test.echo`` returns ``value``; ``test.add`` a + b modulo 97; ``test.count`` how often this key was counted;
    ``test.flaky`` fails ``times`` times for ``reason`` and then returns ``value``; ``test.fail`` always fails.
    """

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def __call__(self, name: str, arguments: Json) -> Any:
        if name == "test.echo":
            return arguments.get("value")
        if name == "test.add":
            a, b = arguments.get("a"), arguments.get("b")
            if not all(isinstance(number, int) and not isinstance(number, bool) for number in (a, b)):
                raise OperationFailure("BadOperands", f"cannot add {a!r} and {b!r}")
            return (a + b) % 97
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


@attrs.frozen(kw_only=True)
class Program:
    """A workflow's manifest and the input of its run."""

    manifest: Json
    input: Json


@attrs.frozen
class _Ref:
    path: Path
    type: str
    certain: bool = True


@attrs.define
class _Scope:
    """What expressions may refer to where they stand."""

    refs: list[_Ref]
    indexes: tuple[str, ...] = ()
    """Names of the indexes of the foreach around: what makes the key of an operation unique."""
    in_handler: bool = False

    def inner(self, *refs: _Ref, index: str = "") -> _Scope:
        return _Scope([*self.refs, *refs], (*self.indexes, index) if index else self.indexes, self.in_handler)


def _refs_of(path: Path, type: str, certain: bool = True) -> list[_Ref]:
    out = [_Ref(path, type, certain)]
    if type == "obj":
        out += [_Ref((*path, name), kind, certain) for name, kind in FIELDS.items()]
    if type == "list":
        out.append(_Ref((*path, 0), "int", False))
    return out


@attrs.define
class _Block:
    steps: list[Json]
    type: str
    data: dict[str, bool]
    """Published here -> certainly."""


class _Writer:
    """Writes one program; ``draw`` is hypothesis'."""

    def __init__(self, draw: Any, size: int) -> None:
        self.draw, self.left = draw, size
        self.ids = 0

    # ------------------------------------------------------------------------------------------ chance

    def upto(self, most: int, least: int = 0) -> int:
        return int(self.draw(st.integers(least, most)))

    def chance(self, percent: int) -> bool:
        # What shrinks away is the rare thing.
        return self.upto(99) >= 100 - percent

    def pick(self, options: Sequence[Any]) -> Any:
        return options[self.upto(len(options) - 1)]

    def weighted(self, weights: dict[str, int]) -> str:
        at = self.upto(sum(weights.values()) - 1)
        for name, weight in weights.items():
            at -= weight
            if at < 0:
                return name
        raise AssertionError

    # ------------------------------------------------------------------------------------------ expressions

    def ref(self, scope: _Scope, type: str) -> _Ref | None:
        certain = not self.chance(8)
        found = [ref for ref in scope.refs if ref.type == type and ref.certain >= certain]
        # The latest are the most telling ones.
        return found[-1 - self.upto(min(len(found), 6) - 1)] if found else None

    def path(self, path: Path, *, plain: bool = False) -> str:
        """An expression of a path; in a larger one a hyphen would be a minus."""
        out = str(path[0])
        if out == "steps" and len(path) > 2 and path[2] == "output" and self.chance(10):
            out, path = "step", (*path[:2], "result", *path[3:])
        for part in path[1:]:
            if isinstance(part, int):
                out += f"[{part}]"
            elif (plain or "-" not in part) and not self.chance(10):
                out += f".{part}"
            else:
                out += f'["{part}"]'
        return out

    def reading(self, ref: _Ref, otherwise: str) -> str:
        """An expression that reads it; mostly a guarded one where it may not be there."""
        text = self.path(ref.path)
        if ref.certain or self.chance(25):
            return text
        root, name = ref.path[0], str(ref.path[1]) if len(ref.path) > 1 else ""
        if root not in ("steps", "data") or "-" in name or isinstance(ref.path[-1], int):
            return text
        return f"(has({root}.{name}) ? {text} : {otherwise})"

    def int_expression(self, scope: _Scope, depth: int = 2) -> str:
        what = self.weighted({"literal": 2, "ref": 6, "sum": 3 * (depth > 0), "size": 1, "if": depth > 0})
        if what == "ref" and (ref := self.ref(scope, "int")):
            return self.reading(ref, "0")
        if what == "size" and (ref := self.ref(scope, "list")):
            return f"size({self.reading(ref, '[]')})"
        if what == "sum":
            operator = self.pick(("+", "-", "*"))
            left, right = self.int_expression(scope, depth - 1), self.int_expression(scope, depth - 1)
            return f"({left} {operator} {right}) % {self.pick((97, 7, 10))}"
        if what == "if":
            yes, no = self.int_expression(scope, depth - 1), self.int_expression(scope, depth - 1)
            return f"({self.condition(scope, depth - 1)} ? {yes} : {no})"
        return str(self.upto(5))

    def condition(self, scope: _Scope, depth: int = 2) -> str:
        what = self.weighted(
            {"compare": 8, "text": 2, "and": 2 * (depth > 0), "not": depth > 0, "has": 1, "in": 1, "constant": 2}
        )
        if what == "text" and (ref := self.ref(scope, "str")):
            return f'{self.reading(ref, self.quoted())} {self.pick(("==", "!="))} {self.quoted()}'
        if what == "and":
            left, right = self.condition(scope, depth - 1), self.condition(scope, depth - 1)
            return f"({left} {self.pick(('&&', '||'))} {right})"
        if what == "not":
            return f"!({self.condition(scope, depth - 1)})"
        if what == "has" and (path := self.guardable(scope)):
            return f"has({path})"
        if what == "in" and (ref := self.ref(scope, "list")):
            return f"{self.int_expression(scope, 0)} in {self.reading(ref, '[]')}"
        if what == "constant":
            return self.pick(("true", "false"))
        operator = self.pick(("<", "==", ">", "<=", ">=", "!="))
        return f"{self.int_expression(scope, depth - 1)} {operator} {self.int_expression(scope, 0)}"

    def guardable(self, scope: _Scope) -> str:
        found = [ref.path for ref in scope.refs if ref.path[0] in ("steps", "data") and "-" not in str(ref.path[1])]
        if not found:
            return ""
        path = found[-1 - self.upto(min(len(found), 6) - 1)]
        if path[0] == "steps" and self.chance(30):
            return f"steps.{path[1]}.{self.pick(('error', 'errors', 'output'))}"
        return f"{path[0]}.{path[1]}"

    def quoted(self) -> str:
        return f'"{self.word()}"'

    def word(self) -> str:
        return str(self.pick(("a", "b", "", "ä b")))

    # ------------------------------------------------------------------------------------------ templates

    def value(self, scope: _Scope, type: str, depth: int = 1) -> Any:
        """A template that gives a value of this type."""
        if self.chance(55) and (ref := self.ref(scope, type)):
            certain_or_bare = ref.certain or self.chance(15)
            return "{{ " + self.path(ref.path, plain=True) + " }}" if certain_or_bare else self.constant(type)
        if type == "int":
            return self.upto(9) if self.chance(30) else "{{" + self.int_expression(scope) + "}}"
        if type == "str":
            return self.text(scope)
        if type == "list":
            return [self.value(scope, "int", 0) for _ in range(self.upto(3))]
        if type == "obj":
            return {name: self.value(scope, kind, depth - 1) for name, kind in FIELDS.items()}
        return self.value(scope, self.pick(("int", "str", "list", "obj") if depth > 0 else ("int", "str")), depth)

    def constant(self, type: str) -> Any:
        return {"int": 3, "str": "c", "list": [1, 2], "obj": {"n": 1, "t": "o", "l": []}}.get(type)

    def text(self, scope: _Scope) -> str:
        if self.chance(40):
            return self.word()
        out = self.word() + "-"
        for _ in range(self.upto(2, 1)):
            ref = self.ref(scope, self.pick(("int", "list", "any", "int")))
            out += "{{" + (self.path(ref.path, plain=True) if ref and ref.certain else "1 + 1") + "}}" + self.word()
        return out

    # ------------------------------------------------------------------------------------------ blocks

    def fresh(self) -> str:
        self.ids += 1
        self.left -= 1
        return f"s-{self.ids}" if self.chance(15) else f"s{self.ids}"

    def block(self, scope: _Scope, input_type: str, depth: int, most: int, *, body: bool = True) -> _Block:
        """Steps that run one after another, with jumps. ``depth``: so many levels may stand below."""
        count = 1 + min(self.upto(most - 1), max(0, self.left // 2))
        ids = [self.fresh() for _ in range(count)]
        head = self.upto(count - 1) if count > 1 and self.chance(25) else -1
        jumps: list[tuple[int, int]] = []
        steps: list[Json] = []
        refs: list[tuple[int, _Ref]] = []
        data: dict[str, tuple[int, bool]] = {}
        out_type, ends = input_type, []
        at = 0
        while at < count:
            certain = [
                attrs.evolve(ref, certain=ref.certain and not any(a < made < b <= at for a, b in jumps))
                for made, ref in refs
            ]
            targeted = at == head or any(b == at for _, b in jumps)
            previous = "any" if targeted else out_type
            inner = scope.inner(*certain)
            place = _Place(at, ids, head, jumps, at == count - 1)
            if head >= 0 and at > head and at < count - 1 and self.chance(50):
                # A loop by hand: count, and go back while the count is small.
                steps += self.back(inner, ids[at], ids[at + 1], ids[head])
                refs.append((at, _Ref(("steps", ids[at], "output"), "int")))
                at, out_type, head = at + 2, "int", -1
                continue
            made = self.step(inner, previous, depth, place)
            steps.append(made.step)
            refs += [(at, ref) for ref in made.refs]
            for name, sure in made.data.items():
                data[name] = (at, sure)
                refs += [(at, ref) for ref in _refs_of(("data", name), DATA[name], sure)]
            out_type = made.type
            if made.ends:
                ends.append(made.type)
            at += 1
        self.explicit(steps, shuffle=not body)
        sure_data = {
            name: sure and not any(a < made < b for a, b in jumps) for name, (made, sure) in data.items()
        }
        early = any(b >= count for _, b in jumps) or ends
        return _Block(steps, "any" if early else out_type, sure_data)

    def back(self, scope: _Scope, counter: str, test: str, target: str) -> list[Json]:
        most = self.upto(3, 1)
        if self.chance(50) and "-" not in counter:
            step: Json = {"id": counter, "set": f"{{{{ has(steps.{counter}) ? steps.{counter}.output + 1 : 1 }}}}"}
        else:
            step = {"id": counter, "operation": "test.count", "arguments": {"key": self.key(scope, counter)}}
        when = f"input {self.pick(('<', '<='))} {most}"
        return [step, {"id": test, "branch": {"cases": [{"when": when, "next": target}]}}]

    def key(self, scope: _Scope, id: str) -> str:
        return id + "".join(f"/{{{{ {name} }}}}" for name in scope.indexes)

    def explicit(self, steps: list[Json], *, shuffle: bool) -> None:
        """Say what follows anyway; then the order of the list means nothing."""
        order = [step["id"] for step in steps]
        shuffle = shuffle and self.chance(25)
        for step, after in zip(steps, [*order[1:], "END"]):
            if "next" not in step and (shuffle or self.chance(12)) and "succeed" not in step:
                if "fail" not in step or "onFailure" in step:
                    step["next"] = after
        if shuffle:
            first, *rest = steps
            # initialStep tells the first of the top block; it is added there.
            for at in range(len(rest) - 1, 0, -1):
                other = self.upto(at)
                rest[at], rest[other] = rest[other], rest[at]
            place = self.upto(len(rest))
            steps[:] = [*rest[:place], first, *rest[place:]]

    # ------------------------------------------------------------------------------------------ steps

    def step(self, scope: _Scope, previous: str, depth: int, place: _Place) -> _Made:
        deep = depth > 0 and self.left > 0
        kind = self.weighted(
            {
                "echo": 16,
                "add": 8,
                "set": 14,
                "flaky": 14,
                "failing": 5,
                "count": 3,
                "sleep": 2,
                "jump": 10 * (place.at + 2 <= len(place.ids)),
                "cases": 9 * deep,
                "all": 6 * deep,
                "parallel": 10 * deep,
                "foreach": 13 * deep,
                "loop": 9 * deep,
                "succeed": 2 * place.last,
                "fail": 3,
            }
        )
        id = place.ids[place.at]
        step: Json = {"id": id}
        input_type = previous
        if kind not in ("echo", "add", "flaky", "failing", "count") and self.chance(30):
            input_type = self.given_input(scope, step, previous)
        inside = scope.inner(*_refs_of(("input",), input_type))
        made: _Made = getattr(self, f"make_{kind}")(inside, scope, step, input_type, depth, place)
        if kind not in ("jump", "succeed", "fail") and self.chance(25):
            self.shaped_output(inside, made)
        self.failure(inside, made, kind, depth, place)
        if kind != "succeed" and self.chance(6):
            step["timeout"] = "1h"
        made.refs += _refs_of(("steps", id, "output"), made.type, made.certain)
        return made

    def given_input(self, scope: _Scope, step: Json, previous: str) -> str:
        form = self.weighted({"template": 6, "user": 1, "from": 2, "type": 1})
        if form == "user":
            step["input"] = {self.pick(("type", "from")): "user-input"}
            return "obj"
        known = [ref for ref in scope.refs if ref.path[0] == "data" and len(ref.path) == 2]
        if form in ("from", "type") and known:
            ref = self.pick(known)
            step["input"] = {"from": ref.path[1]} if form == "from" else {"type": ref.path[1]}
            if form == "from" and self.chance(30):
                step["input"]["type"] = "list-of-things"
            return ref.type if ref.certain else "any"
        if form == "type":
            step["input"] = {"type": "described-only"}
            return previous
        type = str(self.pick(("int", "str", "list", "obj")))
        step["input"] = self.value(scope, type)
        return type

    def shaped_output(self, scope: _Scope, made: _Made) -> None:
        inside = scope.inner(*_refs_of(("result",), made.type), *made.within)
        form = self.weighted({"publish": 4, "value": 2, "both": 3})
        if form != "publish":
            type = str(self.pick(("int", "str", "list", "obj")))
            value = self.value(inside, type)
            made.type, made.refs = type, []
            if form == "value":
                made.step["output"] = value
                return
        fitting = [name for name, type in DATA.items() if type == made.type]
        if not fitting:
            return
        made.step["output"] = {"type": fitting[0]}
        if form == "both":
            made.step["output"]["value"] = value
        made.data = {**made.data, fitting[0]: True}

    def failure(self, scope: _Scope, made: _Made, kind: str, depth: int, place: _Place) -> None:
        step = made.step
        often = kind in ("flaky", "failing")
        if kind != "succeed" and self.chance(45 if often else 8):
            step["retry"] = self.retry()
        if kind == "succeed" or not self.chance(65 if often or kind == "fail" else 12):
            if kind == "fail":
                made.certain = False
            return
        error = [_Ref(("error", "reason"), "str")]
        if kind in ("flaky", "failing"):
            error += [_Ref(("error", "step"), "str"), _Ref(("error", "attempts"), "int")]
        inside = scope.inner(*error)
        inside.in_handler = True
        handler: Json = {}
        # The output of a step that went on after a failure should fit what follows.
        fallback = made.type if made.type in ("int", "str", "list", "obj") else "int"
        handler_type = "null"
        if depth > 0 and self.left > 0 and self.chance(30):
            block = self.block(inside, "any", depth - 1, 2)
            handler["steps"], handler_type = block.steps, "any"
            made.data = {**{name: False for name in block.data}, **made.data}
        if self.chance(70):
            handler["output"], handler_type = self.value(inside, fallback), fallback
        forward = range(place.at + 1, len(place.ids) + 1)
        if self.chance(25) and kind != "jump":
            to = self.pick(forward)
            handler["next"] = place.ids[to] if to < len(place.ids) else "END"
            if to > place.at + 1:
                place.jumps.append((place.at, to))
        elif kind == "flaky" and 0 <= place.head <= place.at and self.chance(50):
            handler["next"] = place.ids[place.head]
        if not handler:
            handler["output"], handler_type = self.value(inside, fallback), fallback
        made.data = {name: False for name in made.data}
        step["onFailure"] = handler["next"] if set(handler) == {"next"} and self.chance(60) else handler
        if handler_type != made.type:
            made.type = "any"
            made.refs = [attrs.evolve(ref, certain=False) for ref in made.refs]
        elif made.refs:
            made.refs = [attrs.evolve(ref, certain=False) for ref in made.refs]
        id = str(step["id"])
        made.refs.append(_Ref(("steps", id, "error", "reason"), "str", False))

    def retry(self) -> Json:
        out: Json = {"maxAttempts": self.upto(4, 1), "delay": self.pick((0, 0, "1ms"))}
        if self.chance(30):
            out["on"] = [self.pick(PATTERNS) for _ in range(self.upto(2, 1))]
        if self.chance(20):
            out["except"] = [self.pick(PATTERNS)]
        if self.chance(20):
            out |= {"jitter": 0, "multiplier": 1, "maxDelay": "2ms"}
        return out

    # ------------------------------------------------------------------------------------------ simple bodies

    def operation(self, name: str, scope: _Scope, step: Json, arguments: Json, type: str) -> _Made:
        step["operation"] = f"test.{name}"
        step[self.pick(("arguments", "arguments", "input"))] = {"key": self.key(scope, step["id"]), **arguments}
        return _Made(step, type)

    def make_echo(
        self, inside: _Scope, scope: _Scope, step: Json, previous: str, depth: int, place: _Place
    ) -> _Made:
        if previous == "obj" and self.chance(15):
            step["operation"] = "test.echo"  # the output before is its arguments
            return _Made(step, "null")
        type = str(self.pick(("int", "str", "list", "obj")))
        return self.operation("echo", scope, step, {"value": self.value(scope, type)}, type)

    def make_add(self, inside: _Scope, scope: _Scope, step: Json, previous: str, depth: int, place: _Place) -> _Made:
        given = {"a": self.value(scope, "int"), "b": self.value(scope, "int" if self.chance(95) else "str")}
        return self.operation("add", scope, step, given, "int")

    def make_count(self, inside: _Scope, scope: _Scope, step: Json, previous: str, depth: int, place: _Place) -> _Made:
        return self.operation("count", scope, step, {}, "int")

    def make_flaky(self, inside: _Scope, scope: _Scope, step: Json, previous: str, depth: int, place: _Place) -> _Made:
        type = str(self.pick(("int", "obj")))
        given = {"times": self.upto(3), "reason": self.pick(REASONS), "value": self.value(scope, type)}
        return self.operation("flaky", scope, step, given, type)

    def make_failing(
        self, inside: _Scope, scope: _Scope, step: Json, previous: str, depth: int, place: _Place
    ) -> _Made:
        return self.operation("fail", scope, step, {"reason": self.pick(REASONS)}, "int")

    def make_set(self, inside: _Scope, scope: _Scope, step: Json, previous: str, depth: int, place: _Place) -> _Made:
        type = str(self.pick(("int", "str", "list", "obj")))
        step["set"] = self.value(inside, type)
        return _Made(step, type)

    def make_sleep(self, inside: _Scope, scope: _Scope, step: Json, previous: str, depth: int, place: _Place) -> _Made:
        step["sleep"] = self.pick((0, "1ms", {"duration": 0}, {"until": "2020-01-01T00:00:00Z"}))
        return _Made(step, previous)

    def make_succeed(
        self, inside: _Scope, scope: _Scope, step: Json, previous: str, depth: int, place: _Place
    ) -> _Made:
        step["succeed"] = self.value(inside, "any")
        return _Made(step, "any", ends=True)

    def make_fail(self, inside: _Scope, scope: _Scope, step: Json, previous: str, depth: int, place: _Place) -> _Made:
        given = {"reason": self.pick(("Broken", "Refused")), "message": self.text(inside)}
        if not place.last:
            # Alone it would leave the following steps out of reach.
            step["branch"] = {"cases": [{"when": self.condition(inside), "steps": [{"id": self.fresh(), "fail": given}]}]}
            return _Made(step, previous)
        step["fail"] = given if self.chance(70) else given["message"]
        return _Made(step, "int")

    # ------------------------------------------------------------------------------------------ control flow

    def make_jump(self, inside: _Scope, scope: _Scope, step: Json, previous: str, depth: int, place: _Place) -> _Made:
        """A branch whose cases name a later step of the block, or END."""

        def target() -> str:
            to = self.upto(len(place.ids), place.at + 1)
            if to > place.at + 1:
                place.jumps.append((place.at, to))
            return place.ids[to] if to < len(place.ids) else "END"

        cases = [{"when": self.condition(inside), "next": target()} for _ in range(self.upto(2, 1))]
        step["branch"] = {"cases": cases} if self.chance(80) else cases
        if self.chance(25) and isinstance(step["branch"], dict):
            # The following step is still reached: by a case that comes first.
            cases.insert(0, {"when": self.condition(inside), "next": place.ids[place.at + 1]})
            to = target()
            step["branch"]["default"] = to if self.chance(50) else {"next": to}
        return _Made(step, previous)

    def make_cases(self, inside: _Scope, scope: _Scope, step: Json, previous: str, depth: int, place: _Place) -> _Made:
        blocks = [self.block(scope, previous, depth - 1, 2) for _ in range(self.upto(2, 1))]
        cases: list[Json] = [{"when": self.condition(inside), "steps": block.steps} for block in blocks]
        if self.chance(40):
            cases[0]["name"] = "first-one"
        step["branch"] = {"cases": cases}
        if self.chance(20):
            step["branch"]["mode"] = "first"
        if self.chance(40) and self.left > 0:
            blocks.append(self.block(scope, previous, depth - 1, 2))
            step["branch"]["default"] = {"steps": blocks[-1].steps}
            types = {block.type for block in blocks}
        else:
            types = {previous, *(block.type for block in blocks)}
        data = {name: False for block in blocks for name in block.data}
        return _Made(step, types.pop() if len(types) == 1 else "any", data=data)

    def make_all(self, inside: _Scope, scope: _Scope, step: Json, previous: str, depth: int, place: _Place) -> _Made:
        cases: list[Json] = []
        refs: list[_Ref] = []
        data: dict[str, bool] = {}
        for index in range(self.upto(3, 1)):
            block = self.block(scope, previous, depth - 1, 2)
            case: Json = {"when": self.condition(inside), "steps": block.steps}
            name = str(index)
            if self.chance(50):
                name = case["name"] = f"c{index}"
            cases.append(case)
            refs += _refs_of(("steps", step["id"], "output", name), block.type, False)
            data |= dict.fromkeys(block.data, False)
        step["branch"] = {"mode": "all", "cases": cases}
        if self.chance(40) and self.left > 0:
            block = self.block(scope, previous, depth - 1, 1)
            step["branch"]["default"] = {"steps": block.steps}
            data |= dict.fromkeys(block.data, False)
        return _Made(step, "any", refs=[ref for ref in refs if self.chance(30)], data=data)

    def make_parallel(
        self, inside: _Scope, scope: _Scope, step: Json, previous: str, depth: int, place: _Place
    ) -> _Made:
        branches: list[Json] = []
        refs: list[_Ref] = []
        within: list[_Ref] = []
        data: dict[str, bool] = {}
        for index in range(self.upto(3, 1)):
            block = self.block(scope, previous, depth - 1, 2)
            if len(block.steps) == 1 and self.chance(60):
                branches.append(block.steps[0])
                name = str(block.steps[0]["id"])
            else:
                name = f"b{index}"
                branches.append({"name": name, "steps": block.steps})
            refs += _refs_of(("steps", step["id"], "output", name), block.type)
            within += _refs_of(("result", name), block.type)
            data |= {known: sure or data.get(known, False) for known, sure in block.data.items()}
        step["parallel"] = branches
        if self.chance(60):
            step["parallel"] = {"branches": branches}
            if self.chance(30):
                step["parallel"]["onFailure"] = self.pick(("wait", "cancel"))
            if self.chance(30):
                step["parallel"]["concurrency"] = self.upto(3, 1)
        return _Made(step, "any", refs=refs, within=within, data=data)

    def make_foreach(
        self, inside: _Scope, scope: _Scope, step: Json, previous: str, depth: int, place: _Place
    ) -> _Made:
        given: Json = {}
        item_type = str(self.pick(("int", "int", "obj")))
        if item_type == "int":
            given["items"] = self.value(inside, "list")
        else:
            given["items"] = [self.value(inside, "obj") for _ in range(self.upto(3))]
        name, index = "item", "index"
        # A name of its own keeps the index of the foreach around in sight.
        if scope.indexes or self.chance(25):
            name = given["as"] = f"row{len(scope.indexes)}"
            index = f"{name}_index"
        below = scope.inner(*_refs_of((name,), item_type), _Ref((index,), "int"), index=index)
        block = self.block(below, item_type, depth - 1, 3)
        given["steps"] = block.steps
        if self.chance(40):
            given["onError"] = self.pick(("skip", "skip", "stop"))
        if self.chance(50):
            given["concurrency"] = self.upto(4, 1)
        step["foreach"] = given
        type = "list" if block.type == "int" else "any"
        made = _Made(step, type, data=dict.fromkeys(block.data, False))
        if given.get("onError") == "skip" and "-" not in step["id"]:
            path: Path = ("steps", step["id"], "errors")
            made.refs = [_Ref((*path, 0, "reason"), "str", False), _Ref((*path, 0, "index"), "int", False)]
        return made

    def make_loop(self, inside: _Scope, scope: _Scope, step: Json, previous: str, depth: int, place: _Place) -> _Made:
        below = scope.inner(_Ref(("iteration",), "int"))
        input_type = previous
        block = self.block(below, "any", depth - 1, 3)
        given: Json = {"steps": block.steps}
        kind = self.pick(("while", "until"))
        test = inside.inner(_Ref(("iteration",), "int"), *_refs_of(("output",), block.type, kind == "until"))
        condition = f"iteration {self.pick(('<', '>=', '<'))} {self.upto(3)}" if self.chance(60) else ""
        given[kind] = condition or self.condition(test, 1)
        if not condition or self.chance(50):
            given["maxIterations"] = self.upto(4, 1)
        else:
            given["maxIterations"] = 6
        if self.chance(50):
            given["onLimit"] = self.pick(("stop", "stop", "fail"))
        step["loop"] = given
        same = block.type == input_type or kind == "until"
        return _Made(step, block.type if same else "any", data=dict.fromkeys(block.data, False))

    # ------------------------------------------------------------------------------------------ the whole

    def program(self) -> Program:
        given = {"n": self.upto(9), "t": self.word(), "l": [self.upto(5) for _ in range(self.upto(3))]}
        scope = _Scope(_refs_of(("workflow", "input"), "obj"))
        block = self.block(scope, "obj", self.upto(3), 5, body=False)
        first = self.first_of(block)
        spec: Json = {"steps": block.steps}
        if block.steps[0]["id"] != first or self.chance(10):
            spec["initialStep"] = first
        if self.chance(25):
            spec["retry"] = {**self.retry(), "delay": 0}
        after = scope.inner(*[ref for name, sure in block.data.items() for ref in _refs_of(("data", name), DATA[name], sure)])
        if self.chance(35):
            if not any(sure for sure in block.data.values()) or self.chance(50):
                spec["output"] = {"all": f"{{{{ {self.path(('workflow', 'input', 'n'))} }}}}"}
            else:
                spec["output"] = self.value(after, "obj")
        elif self.chance(25):
            handler = self.block(after.inner(_Ref(("error", "reason"), "str")), "any", 1, 2)
            spec["onFailure"] = handler.steps
        if self.chance(10):
            spec["timeout"] = "1h"
        spec["limits"] = {"maxSteps": self.upto(25, 1) if self.chance(12) else MAX_STEPS}
        manifest = {"apiVersion": "mastra.ai/v1", "kind": "Workflow", "metadata": {"name": "program"}, "spec": spec}
        return Program(manifest=manifest, input=given)

    def first_of(self, block: _Block) -> str:
        """The step written first has the lowest number, wherever it was moved to."""
        return str(min((step["id"] for step in block.steps), key=lambda id: int(id.lstrip("s-"))))


@attrs.define
class _Place:
    """Where a step stands in its block."""

    at: int
    ids: list[str]
    head: int
    """Where jumps back go to; -1: nowhere."""
    jumps: list[tuple[int, int]]
    """Jumps forward so far; len(ids) is END."""
    last: bool


@attrs.define
class _Made:
    step: Json
    type: str
    refs: list[_Ref] = attrs.field(factory=list)
    """What its output holds, beside the whole."""
    within: list[_Ref] = attrs.field(factory=list)
    """The same as ``output`` sees it."""
    data: dict[str, bool] = attrs.field(factory=dict)
    certain: bool = True
    ends: bool = False


@st.composite
def programs(draw: Any, *, size: int = 16) -> Program:
    """Return a strategy of workflows of about ``size`` steps at most."""
    return _Writer(draw, size).program()
