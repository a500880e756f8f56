"""Random workflows that are valid and mostly work: manifests and inputs, drawn by hypothesis.

What an expression refers to is tracked with its type, so that most programs get somewhere; some refer to what may not
be there, and fail as they should. What the operations do stands in ``workflow_operations``.
"""

from __future__ import annotations

import random
from typing import Any

import attrs
from hypothesis import strategies as st

from workflow_program_bodies import At, BodyWriter, Json, Made, Place
from workflow_program_values import Path, Ref, Scope, refs_of

__all__ = ["Program", "program_of", "programs"]

DATA = {"num": "int", "text-x": "str", "rows": "list", "thing": "obj"}
"""Names of published data, and what is published under them."""
OPERATED = ("echo", "add", "flaky", "failing", "count")
AROUND = ("cases", "all", "parallel", "foreach", "loop")
MAX_STEPS = 150


@attrs.frozen(kw_only=True)
class Program:
    """A workflow's manifest and the input of its run."""

    manifest: Json
    input: Json


@attrs.define
class _Block:
    steps: list[Json]
    type: str
    data: dict[str, bool]
    """Published here -> certainly."""
    refs: list[Ref]
    """Its steps, as expressions after it see them where they are in sight."""


class _Writer(BodyWriter):
    """Writes one program."""

    # ------------------------------------------------------------------------------------------ blocks

    def block(self, scope: Scope, input_type: str, depth: int, most: int, *, body: bool = True) -> _Block:
        """Steps that run one after another, with jumps. ``depth``: so many levels may stand below."""
        count = 1 + min(self.upto(most - 1, 1 if most > 3 else 0), max(0, self.left // 2))
        ids = [self.fresh() for _ in range(count)]
        head = self.upto(count - 1) if count > 1 and self.chance(25) else -1
        jumps: list[tuple[int, int]] = []
        steps: list[Json] = []
        refs: list[tuple[int, Ref]] = []
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
            place = Place(at, ids, head, jumps, at == count - 1)
            if head >= 0 and at > head and at < count - 1 and self.chance(50):
                # A loop by hand: count, and go back while the count is small.
                steps += self.back(inner, ids[at], ids[at + 1], ids[head])
                refs.append((at, Ref(("steps", ids[at], "output"), "int")))
                at, out_type, head = at + 2, "int", -1
                continue
            made = self.step(inner, previous, depth, place)
            steps.append(made.step)
            refs += [(at, ref) for ref in made.refs]
            for name, sure in made.data.items():
                data[name] = (at, sure)
                refs += [(at, ref) for ref in refs_of(("data", name), DATA[name], sure)]
            out_type = made.type
            if made.ends:
                ends.append(made.type)
            at += 1
        self.explicit(steps, shuffle=not body)
        sure_data = {name: sure and not any(a < made < b for a, b in jumps) for name, (made, sure) in data.items()}
        early = any(b >= count for _, b in jumps) or ends
        seen = [
            attrs.evolve(ref, certain=ref.certain and not any(a < made < b for a, b in jumps))
            for made, ref in refs
            if ref.path[0] == "steps"
        ]
        return _Block(steps, "any" if early else out_type, sure_data, seen)

    def back(self, scope: Scope, counter: str, test: str, target: str) -> list[Json]:
        most = self.upto(3, 1)
        if self.chance(50) and "-" not in counter:
            step: Json = {"id": counter, "set": f"{{{{ has(steps.{counter}) ? steps.{counter}.output + 1 : 1 }}}}"}
        else:
            step = {"id": counter, "operation": "test.count", "arguments": {"key": self.key(scope, counter)}}
        when = f"input {self.pick(('<', '<='))} {most}"
        return [step, {"id": test, "branch": {"cases": [{"when": when, "next": target}]}}]

    def explicit(self, steps: list[Json], *, shuffle: bool) -> None:
        """Say what follows anyway; then the order of the list means nothing."""
        order = [step["id"] for step in steps]
        shuffle = shuffle and self.chance(25)
        for step, after in zip(steps, [*order[1:], "END"]):
            goes_on = "succeed" not in step and ("fail" not in step or "onFailure" in step)
            if goes_on and "next" not in step and (shuffle or self.chance(12)):
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

    def step(self, scope: Scope, previous: str, depth: int, place: Place) -> Made:
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
                "jump": 10 * (place.index + 2 <= len(place.ids)),
                "cases": 9 * deep,
                "all": 6 * deep,
                "parallel": 10 * deep,
                "foreach": 13 * deep,
                "loop": 9 * deep,
                "succeed": 2 * place.last,
                "fail": 3,
            }
        )
        step: Json = {"id": place.ids[place.index]}
        input_type = previous
        if kind not in OPERATED and self.chance(30):
            input_type = self.given_input(scope, step, previous)
        # The input of an operation is its arguments.
        inside = scope.inner(*(() if kind in OPERATED else refs_of(("input",), input_type)))
        made: Made = getattr(self, f"make_{kind}")(At(inside, scope, step, input_type, depth, place))
        if kind not in ("jump", "succeed", "fail") and self.chance(35):
            self.shaped_output(inside, made)
        self.failure(At(inside, scope, step, input_type, depth, place), made, kind)
        if kind in (*OPERATED, *AROUND) and self.chance(8):
            step["timeout"] = "1h"
        made.refs += refs_of(("steps", step["id"], "output"), made.type, made.certain)
        return made

    def given_input(self, scope: Scope, step: Json, previous: str) -> str:
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
        kind = self.kind()
        step["input"] = self.value(scope, kind)
        return kind

    def shaped_output(self, scope: Scope, made: Made) -> None:
        inside = scope.inner(*refs_of(("result",), made.type), *made.within)
        form = self.weighted({"publish": 4, "value": 2, "both": 3})
        if form != "publish":
            made.type = self.kind()
            made.refs = [ref for ref in made.refs if ref.path[1] != made.step["id"]]
            value = self.value(inside, made.type)
            if form == "value":
                made.step["output"] = value
                return
        fitting = [name for name, kind in DATA.items() if kind == made.type]
        if not fitting:
            return
        made.step["output"] = {"type": fitting[0]}
        if form == "both":
            made.step["output"]["value"] = value
        made.data = {**made.data, fitting[0]: True}

    def failure(self, at: At, made: Made, kind: str) -> None:
        step, place = at.step, at.place
        often = kind in ("flaky", "failing")
        if kind in (*OPERATED, *AROUND) and self.chance(45 if often else 8):
            step["retry"] = self.retry()
        if kind == "succeed" or not self.chance(65 if often or kind == "fail" else 30 if kind in AROUND else 10):
            if kind == "fail":
                made.certain = False
            return
        error = [Ref(("error", name), "str") for name in ("reason", "step")] + [Ref(("error", "attempts"), "int")]
        inside = at.inside.inner(*error)
        handler: Json = {}
        # The output of a step that went on after a failure should fit what follows.
        fallback = made.type if made.type in ("int", "str", "list", "obj") else "int"
        handler_type = "null"
        if at.depth > 0 and self.left > 0 and self.chance(30):
            block = self.block(at.scope.inner(*error), "any", at.depth - 1, 2)
            handler["steps"], handler_type = block.steps, "any"
            made.data = {**dict.fromkeys(block.data, False), **made.data}
            made.refs += [attrs.evolve(ref, certain=False) for ref in block.refs]
        if self.chance(70):
            handler["output"], handler_type = self.value(inside, fallback), fallback
        forward = range(place.index + 1, len(place.ids) + 1)
        if self.chance(25) and kind != "jump":
            to = self.pick(forward)
            handler["next"] = place.ids[to] if to < len(place.ids) else "END"
            if to > place.index + 1:
                place.jumps.append((place.index, to))
        elif kind == "flaky" and 0 <= place.head <= place.index and self.chance(50):
            handler["next"] = place.ids[place.head]
        if not handler:
            handler["output"], handler_type = self.value(inside, fallback), fallback
        made.data = dict.fromkeys(made.data, False)
        step["onFailure"] = handler["next"] if set(handler) == {"next"} and self.chance(60) else handler
        if handler_type != made.type:
            made.type = "any"
            made.refs = [attrs.evolve(ref, certain=False) for ref in made.refs]
        elif made.refs:
            made.refs = [attrs.evolve(ref, certain=False) for ref in made.refs]
        made.refs += [
            Ref(("steps", step["id"], "error"), "error", False),
            Ref(("steps", step["id"], "error", "reason"), "str", False),
            Ref(("steps", step["id"], "error", "attempts"), "int", False),
        ]

    # ------------------------------------------------------------------------------------------ control flow

    def make_jump(self, at: At) -> Made:
        """A branch whose cases name a later step of the block, or END."""

        def target() -> str:
            to = self.upto(len(at.place.ids), at.place.index + 1)
            if to > at.place.index + 1:
                at.place.jumps.append((at.place.index, to))
            return at.place.ids[to] if to < len(at.place.ids) else "END"

        cases = [{"when": self.condition(at.inside), "next": target()} for _ in range(self.upto(2, 1))]
        at.step["branch"] = {"cases": cases} if self.chance(80) else cases
        if self.chance(25) and isinstance(at.step["branch"], dict):
            # The following step is still reached: by a case that comes first.
            cases.insert(0, {"when": self.condition(at.inside), "next": at.place.ids[at.place.index + 1]})
            to = target()
            at.step["branch"]["default"] = to if self.chance(50) else {"next": to}
        return Made(at.step, at.previous)

    def make_cases(self, at: At) -> Made:
        blocks = [self.block(at.scope, at.previous, at.depth - 1, 2) for _ in range(self.upto(2, 1))]
        cases: list[Json] = [{"when": self.condition(at.inside), "steps": block.steps} for block in blocks]
        if self.chance(40):
            cases[0]["name"] = "first-one"
        at.step["branch"] = {"cases": cases}
        if self.chance(20):
            at.step["branch"]["mode"] = "first"
        if self.chance(40) and self.left > 0:
            blocks.append(self.block(at.scope, at.previous, at.depth - 1, 2))
            at.step["branch"]["default"] = {"steps": blocks[-1].steps}
            types = {block.type for block in blocks}
        else:
            types = {at.previous, *(block.type for block in blocks)}
        data = {name: False for block in blocks for name in block.data}
        refs = [attrs.evolve(ref, certain=False) for block in blocks for ref in block.refs]
        return Made(at.step, types.pop() if len(types) == 1 else "any", refs=refs, data=data)

    def make_all(self, at: At) -> Made:
        cases: list[Json] = []
        refs: list[Ref] = []
        data: dict[str, bool] = {}
        for index in range(self.upto(3, 1)):
            block = self.block(at.scope, at.previous, at.depth - 1, 2)
            case: Json = {"when": self.condition(at.inside), "steps": block.steps}
            name = str(index)
            if self.chance(50):
                name = case["name"] = f"c{index}"
            cases.append(case)
            refs += refs_of(("steps", at.step["id"], "output", name), block.type, False)
            data |= dict.fromkeys(block.data, False)
        at.step["branch"] = {"mode": "all", "cases": cases}
        if self.chance(40) and self.left > 0:
            block = self.block(at.scope, at.previous, at.depth - 1, 1)
            at.step["branch"]["default"] = {"steps": block.steps}
            data |= dict.fromkeys(block.data, False)
        return Made(at.step, "any", refs=[ref for ref in refs if self.chance(30)], data=data)

    def make_parallel(self, at: At) -> Made:
        branches: list[Json] = []
        refs: list[Ref] = []
        within: list[Ref] = []
        data: dict[str, bool] = {}
        for index in range(self.upto(3, 1)):
            block = self.block(at.scope, at.previous, at.depth - 1, 2)
            if len(block.steps) == 1 and self.chance(60):
                branches.append(block.steps[0])
                name = str(block.steps[0]["id"])
            else:
                name = f"b{index}"
                branches.append({"name": name, "steps": block.steps})
            refs += refs_of(("steps", at.step["id"], "output", name), block.type)
            within += refs_of(("result", name), block.type)
            data |= {known: sure or data.get(known, False) for known, sure in block.data.items()}
        at.step["parallel"] = branches
        if self.chance(60):
            at.step["parallel"] = {"branches": branches}
            if self.chance(30):
                at.step["parallel"]["onFailure"] = self.pick(("wait", "cancel"))
            if self.chance(30):
                at.step["parallel"]["concurrency"] = self.upto(3, 1)
        return Made(at.step, "any", refs=refs, within=within, data=data)

    def make_foreach(self, at: At) -> Made:
        given: Json = {}
        item_type = str(self.pick(("int", "int", "obj")))
        if item_type == "int":
            given["items"] = self.value(at.inside, "list" if self.chance(97) else "any")
        else:
            given["items"] = [self.value(at.inside, "obj") for _ in range(self.upto(3))]
        name, index = "item", "index"
        # A name of its own keeps the index of the foreach around in sight.
        if at.scope.indexes or self.chance(25):
            name = given["as"] = f"row{len(at.scope.indexes)}"
            index = f"{name}_index"
        below = at.scope.inner(*refs_of((name,), item_type), Ref((index,), "int"), index=index)
        block = self.block(below, item_type, at.depth - 1, 3)
        given["steps"] = block.steps
        if self.chance(40):
            given["onError"] = self.pick(("skip", "skip", "stop"))
        if self.chance(50):
            given["concurrency"] = self.upto(4, 1)
        at.step["foreach"] = given
        made = Made(at.step, "list" if block.type == "int" else "any", data=dict.fromkeys(block.data, False))
        if given.get("onError") == "skip" and "-" not in at.step["id"]:
            path: Path = ("steps", at.step["id"], "errors")
            made.refs = [
                Ref(path, "list"),
                Ref((*path, 0, "reason"), "str", False),
                Ref((*path, 0, "index"), "int", False),
            ]
        return made

    def make_loop(self, at: At) -> Made:
        below = at.scope.inner(Ref(("iteration",), "int"))
        input_type = at.previous
        block = self.block(below, "any", at.depth - 1, 3)
        if self.chance(25):
            self.accumulate(block)
        given: Json = {"steps": block.steps}
        kind = self.pick(("while", "until"))
        seen = block.refs if kind == "until" else [attrs.evolve(ref, certain=False) for ref in block.refs]
        output = refs_of(("output",), block.type, kind == "until")
        test = at.inside.inner(*seen, Ref(("iteration",), "int"), *output)
        condition = f"iteration {self.pick(('<', '>=', '<'))} {self.upto(3)}" if self.chance(60) else ""
        given[kind] = condition or self.condition(test, 1)
        if not condition or self.chance(50):
            given["maxIterations"] = self.upto(4, 1)
        else:
            given["maxIterations"] = 6
        if self.chance(50):
            given["onLimit"] = self.pick(("stop", "stop", "fail"))
        at.step["loop"] = given
        same = block.type == input_type or kind == "until"
        return Made(at.step, block.type if same else "any", data=dict.fromkeys(block.data, False))

    def accumulate(self, block: _Block) -> None:
        """A last step that goes on from what it left in the pass before."""
        last = block.steps[-1]
        if "succeed" in last or ("fail" in last and "onFailure" not in last):
            return
        self.ids += 1
        step: Json = {"id": f"s{self.ids}"}
        known, before = f"steps.{step['id']}", f"steps.{step['id']}.output"
        if self.chance(50):
            known = before = "data.num"
            step["output"] = {"type": "num"}
            block.data["num"] = False
        step["set"] = f"{{{{ has({known}) ? {before} + 1 : 1 }}}}"
        if last.get("next") == "END":
            last["next"] = step["id"]
        block.steps.append(step)
        block.type = "any"

    # ------------------------------------------------------------------------------------------ the whole

    def program(self) -> Program:
        given = {"n": self.upto(9), "t": self.word(), "l": [self.upto(5) for _ in range(self.upto(3))]}
        scope = Scope(refs_of(("workflow", "input"), "obj"))
        block = self.block(scope, "obj", self.upto(4, 1), 6, body=False)
        first = self.first_of(block)
        spec: Json = {"steps": block.steps}
        if block.steps[0]["id"] != first or self.chance(10):
            spec["initialStep"] = first
        if self.chance(25):
            spec["retry"] = {**self.retry(), "delay": 0}
        after = scope.inner(
            *[ref for name, sure in block.data.items() for ref in refs_of(("data", name), DATA[name], sure)]
        )
        if self.chance(35):
            after.refs += block.refs
            spec["output"] = {"all": self.value(after, self.kind()), "n": "{{ workflow.input.n }}"}
        if self.chance(15):
            uncertain = [attrs.evolve(ref, certain=False) for ref in block.refs]
            handler = self.block(scope.inner(*uncertain, Ref(("error", "reason"), "str")), "obj", 1, 2)
            spec["onFailure"] = handler.steps
        if self.chance(10):
            spec["timeout"] = "1h"
        spec["limits"] = {"maxSteps": self.upto(25, 1) if self.chance(12) else MAX_STEPS}
        manifest = {"apiVersion": "mastra.ai/v1", "kind": "Workflow", "metadata": {"name": "program"}, "spec": spec}
        return Program(manifest=manifest, input=given)

    def first_of(self, block: _Block) -> str:
        """The step written first has the lowest number, wherever it was moved to."""
        return str(min((step["id"] for step in block.steps), key=lambda name: int(name.lstrip("s-"))))


def program_of(seed: int, *, size: int = 24) -> Program:
    """Return the program that this number stands for."""
    return _Writer(random.Random(seed).randint, size).program()


@st.composite
def _drawn(draw: Any, size: int) -> Program:
    return _Writer(lambda least, most: int(draw(st.integers(least, most))), size).program()


def programs(*, size: int = 24) -> st.SearchStrategy[Program]:
    """Return a strategy of workflows of about ``size`` steps at most.

    Half of them are drawn piece by piece, so that hypothesis can make a failing one small; as it likes to vary what it
    has drawn before, the others are written from one number, each unlike the one before.
    """
    written = st.integers(0, 2**64).map(lambda seed: program_of(seed, size=size))
    return st.one_of(_drawn(size), written)
