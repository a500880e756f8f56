"""What names mean in the expressions of an older workflow, from where they stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import attrs

from kastra_core.migration import Draft
from kastra_plugin_legacy.workflow_cel import Code, Path, literal, member, probe_of
from kastra_plugin_legacy.workflow_js import UNDEFINED, UntranslatableError
from kastra_plugin_legacy.workflow_model import Block, Step, every_step

__all__ = ["Moment", "Plan", "Scope"]

Moment = Literal["input", "exit", "output", "end"]
"""Before a step, between it and the next one, on its result, after the last step."""
_STEPS = ("steps", "step")
_OUTPUT = ("output", "outputs", "result", "results")
_INPUT = ("input", "inputs")
_CONTEXT = ("context", "ctx", "variables", "vars", "state")
_FOREIGN = frozenset(
    (
        *("Array", "Boolean", "Date", "Error", "JSON", "Math", "Number", "Object", "Promise", "RegExp", "String"),
        *("console", "globalThis", "module", "parseFloat", "parseInt", "require", "window", "NaN", "Infinity"),
        *("arguments", "this", "memory"),
    )
)
_TYPES = frozenset({"string", "number", "integer", "boolean", "array", "object", "null"})


@attrs.define(eq=False)
class Plan:
    """A workflow in the making."""

    draft: Draft
    block: Block
    schema: dict[str, Any] | None
    """JSON schema of its input as the source says it; None where it says nothing."""
    used: dict[str, bool] = attrs.field(factory=dict)
    """Fields of the input that expressions use -> whether one cannot do without."""
    published: dict[str, Step] = attrs.field(factory=dict)
    asked: set[tuple[Step, str]] = attrs.field(factory=set)
    """Variables of steps that something asks for."""
    steps: list[Step] = attrs.field(factory=list)
    known: dict[str, Step] = attrs.field(factory=dict)
    setters: dict[str, list[Step]] = attrs.field(factory=dict)
    """Variable -> the steps that set it."""

    def __attrs_post_init__(self) -> None:
        self.steps = list(every_step(self.block))
        own = [step for step in self.steps if not step.added]
        for step in own:
            self.known.setdefault(step.key, step)
        for step in own:
            for name in (step.id, *step.names):
                self.known.setdefault(name, step)
            for name in step.variables:
                self.setters.setdefault(name, []).append(step)
        for step in own:
            if step.publishes:
                self.published.setdefault(step.publishes, step)
        several = {name for name, setters in self.setters.items() if len(setters) > 1}
        for step in own:
            shared = [name for name in step.variables if name in several]
            if len(shared) == 1 and shared[0] != "user-input":
                step.shared = shared[0]

    @property
    def long_names(self) -> list[str]:
        """Names with hyphens."""
        inputs = list(self.properties)
        return [name for name in (*self.known, *self.setters, *inputs) if "-" in name]

    @property
    def properties(self) -> Mapping[str, Any]:
        given = (self.schema or {}).get("properties")
        return given if isinstance(given, Mapping) else {}

    def publish(self, step: Step) -> str:
        """The name under which the output of a step is published from now on."""
        if not step.publishes:
            name = step.shared or step.id
            while not step.shared and (name in self.published or name == "user-input"):
                name += "-output"
            step.publishes = name
            self.published.setdefault(name, step)
        return step.publishes


@attrs.frozen
class _Sight:
    """How a step is seen from another place."""

    base: str
    """Path of its output."""
    guard: str
    """Condition that it was carried out; "" where it always was."""
    step: Step


class Scope:
    """Answers what a path means at one place.

    Args:
        step: where it stands; None: after the last step.
        parameters: names of a function's parameters, which are the step's input and the variables.
        own_input: fields that the step's own input has, where ``input`` means that.
    """

    def __init__(
        self,
        plan: Plan,
        step: Step | None,
        moment: Moment,
        parameters: tuple[str, ...] = (),
        own_input: frozenset[str] = frozenset(),
        agent: str = "",
    ) -> None:
        self.plan, self.step, self.moment = plan, step, moment
        self.parameters, self.own_input, self.agent = parameters, own_input, agent
        self.opaque = moment == "output" or (step is not None and step.kind == "output")
        """What is written here is what other steps see: of an expression's type they know nothing."""
        self.carried = step is None or self._always_carried(step)

    def resolve(self, path: Path) -> Code:
        """What a path of the source means.

        Raises:
            UntranslatableError: nothing here.
        """
        root, rest = str(path[0]), path[1:]
        if root in self.parameters:
            at = self.parameters.index(root)
            if at > 1:
                raise UntranslatableError(f"a function of a step has two parameters, {root!r} is one more")
            return self._input(rest) if at == 0 else self._context(rest)
        if root in ("workflow", "$workflow") and rest:
            return self._workflow(rest)
        if root in _INPUT and root not in self.plan.known:
            return self._input(rest)
        if root in _STEPS and root not in self.plan.known:
            return self._of_steps(rest)
        if root == "trigger" and root not in self.plan.known:
            return self._input(rest)
        if self.moment == "output" and root in ("result", "output"):
            return _below("result", rest, (), None)
        if root in _CONTEXT and root not in self.plan.known and root not in self.plan.setters:
            return self._context(rest)
        return self._named(path)

    def _workflow(self, rest: Path) -> Code:
        name = rest[0]
        if name in _INPUT:
            return self._workflow_input(rest[1:])
        if name in _STEPS:
            return self._of_steps(rest[1:])
        if name in _OUTPUT or name in ("variables", "state", "context"):
            return self._context(rest[1:])
        if name in ("name", "namespace", "run", "runId", "id"):
            text = {"runId": "run", "id": "name"}.get(str(name), str(name))
            return Code(text=f"workflow.{text}", types=frozenset({"string"}))
        raise UntranslatableError(f"a workflow has no {name!r} here")

    def _context(self, rest: Path) -> Code:
        if not rest:
            raise UntranslatableError("there is no object of all variables")
        name = rest[0]
        if name in _STEPS and name not in self.plan.known:
            return self._of_steps(rest[1:])
        if name in _INPUT and name not in self.plan.known:
            return self._input(rest[1:])
        return self._named(rest)

    def _named(self, path: Path) -> Code:
        root, rest = str(path[0]), path[1:]
        if root in ("env", "process", "ENV"):
            name = rest[-1] if rest else "environment"
            raise UntranslatableError(f"{name}: an environment variable is not in sight of a workflow")
        if root in self.plan.setters:
            found = self._variable(root, rest)
            if found is not None:
                return found
        if root in self.plan.known and root not in self.plan.properties:
            return self._of_steps(path)
        if root == "agent" and rest == ("name",) and self.agent:
            return literal(self.agent)
        if root in _FOREIGN or (root == "agent" and root not in self.plan.properties):
            raise UntranslatableError(f"{root!r} is nothing here")
        return self._workflow_input(path)

    # ------------------------------------------------------------------------------------------ input

    def _input(self, rest: Path) -> Code:
        if rest and rest[0] in self.own_input:
            return _below(member("input", rest[0]), rest[1:], (), None)
        if rest and rest[0] in self.plan.known and rest[0] not in self.plan.properties:
            return self._of_steps(rest)
        return self._workflow_input(rest)

    def _workflow_input(self, rest: Path) -> Code:
        schema = self.plan.schema
        if not rest:
            return Code(text="workflow.input", types=_types_of(schema))
        name = rest[0]
        if isinstance(name, int):
            return _below("workflow.input", rest, (), schema)
        self.plan.used.setdefault(name, False)
        base = member("workflow.input", name)
        inner = self.plan.properties.get(name)
        inner = inner if isinstance(inner, Mapping) else None
        required = (schema or {}).get("required")
        has_default = inner is not None and "default" in inner
        is_required = isinstance(required, (list, tuple)) and name in required
        if has_default or is_required:
            return _below(base, rest[1:], (), inner)
        probe = probe_of("workflow.input", name)
        if inner is None and self.carried:
            # Nothing is said of it: where it is used without asking, it becomes one that must be given.
            found = _below(base, rest[1:], (), None)
            return attrs.evolve(found, probe=probe) if len(rest) == 1 else found
        return _below(base, rest[1:], (probe,), inner)

    def need(self, path: Path | None) -> None:
        """Note that a value is used without asking whether it is there."""
        if path is None or not self.carried:
            return
        rest = (
            path[1:]
            if path[0] in _INPUT
            else path[2:]
            if path[:2] in (("workflow", "input"), ("workflow", "inputs"))
            else path
        )
        if rest and isinstance(rest[0], str) and rest[0] in self.plan.used and rest[0] not in self.plan.properties:
            self.plan.used[rest[0]] = True

    # ------------------------------------------------------------------------------------------ steps

    def precedes(self, step: Step) -> bool:
        """Whether a step can be over here."""
        try:
            self._sight(step)
        except UntranslatableError:
            return False
        return True

    def _of_steps(self, rest: Path) -> Code:
        if not rest:
            raise UntranslatableError("it names no step")
        name, after = rest[0], rest[1:]
        target = self.plan.known.get(str(name))
        if target is None:
            raise UntranslatableError(f"there is no step {name!r}")
        return self.output_of(target, after)

    def output_of(self, target: Step, after: Path) -> Code:
        """What a step gave, or a part of it."""
        plural = bool(after) and after[0] == "outputs"
        named = bool(after) and after[0] in _OUTPUT
        inner = after[1:] if named else after
        if after and after[0] in ("error", "status"):
            raise UntranslatableError(f"a step has no {after[0]} here while the workflow goes on")
        sight = self._sight(target)
        guards = (sight.guard,) if sight.guard else ()
        if target.kind == "parallel":
            return self._of_parallel(target, sight, inner, guards)
        if inner and inner[0] in target.variables and not target.outputs:
            value = self._extracted(sight, target, str(inner[0]))
            return _below(value, inner[1:], guards, {"type": "boolean"} if target.kind == "condition" else None)
        if target.outputs:
            if inner and inner[0] not in target.outputs:
                if plural or len(target.outputs) != 1:
                    raise UntranslatableError(f"step {target.key!r} lists no output {inner[0]!r}")
                inner = (target.outputs[0], *inner)
            return _below(sight.base, inner, guards, target.shape, probed=len(inner) > 1)
        if target.kind == "condition":
            if inner and inner[0] in ("value", "condition") and len(inner) == 1:
                inner = ()
            if inner:
                return literal(UNDEFINED)
            return Code(text=sight.base, guards=guards, types=frozenset({"boolean"}))
        return _below(sight.base, inner, guards, target.shape)

    def _of_parallel(self, target: Step, sight: _Sight, inner: Path, guards: tuple[str, ...]) -> Code:
        if not inner:
            return Code(text=sight.base, guards=guards, types=frozenset({"object"}))
        names = [branch.name for branch in target.branches]
        first = inner[0]
        if isinstance(first, int):
            if first >= len(names):
                return literal(UNDEFINED)
            first = names[first]
        for branch in target.branches:
            words = {branch.name}
            if len(branch.steps) == 1:
                words |= {branch.steps[0].key, *branch.steps[0].names}
            if first in words:
                return _below(member(sight.base, branch.name), inner[1:], guards, None)
        return literal(UNDEFINED)

    def _variable(self, name: str, rest: Path) -> Code | None:
        """The variable as the last step that set it left it; None where no step before this sets it."""
        seen: list[_Sight] = []
        for setter in self.plan.setters[name]:
            try:
                seen.append(self._sight(setter))
            except UntranslatableError:
                continue
        if not seen:
            return None
        if len(seen) == 1:
            (only,) = seen
            schema = {"type": "boolean"} if only.step.kind == "condition" else None
            return _below(self._extracted(only, only.step, name), rest, (only.guard,) if only.guard else (), schema)
        if all(sight.step.shared == name and not _reshapes(sight.step, name) for sight in seen):
            for sight in seen:
                self.plan.asked.add((sight.step, name))
                self.plan.publish(sight.step)
            guard = () if self._one_ran(seen) else (probe_of("data", name),)
            return _below(member("data", name), rest, guard, None)
        # The last one that was carried out; what comes before one that always was does not matter.
        always = max((at for at, sight in enumerate(seen) if not sight.guard), default=0)
        text = "null"
        for sight in seen[always:]:
            schema = {"type": "boolean"} if sight.step.kind == "condition" else None
            value = _below(self._extracted(sight, sight.step, name), rest, (), schema).text
            text = f"{sight.guard} ? {value} : ({text})" if sight.guard else value
        return Code(text=f"({text})")

    def _one_ran(self, seen: Sequence[_Sight]) -> bool:
        """Whether at least one of these steps was always carried out before this."""
        if any(not sight.guard for sight in seen):
            return True
        block = self.step.block if self.step is not None else self.plan.block
        assert block is not None
        near = [sight.step for sight in seen if sight.step.block is block]
        return self.moment in ("input", "end") and block.one_always_before(near, self.step)

    def _extracted(self, sight: _Sight, step: Step, name: str) -> str:
        """The part of a step's output that a variable stands for."""
        self.plan.asked.add((step, name))
        if not _reshapes(step, name):
            return sight.base
        part = step.variables[name]
        has = f"type({sight.base}) == map && {probe_of(sight.base, part)}"
        return f"({has} ? {member(sight.base, part)} : {sight.base})"

    def _sight(self, target: Step) -> _Sight:
        """How the output of a step is had here.

        Raises:
            UntranslatableError: the step is never over before this.
        """
        assert target.block is not None
        target.value_wanted = True
        theirs = [*target.block.chain()][::-1]
        theirs_steps = [inner for _, inner in theirs[:-1]] + [target]
        if self.step is None:
            ours_blocks: list[Block] = [self.plan.block]
            ours_steps: list[Step | None] = [None]
        else:
            assert self.step.block is not None
            ours = [*self.step.block.chain()][::-1]
            ours_blocks = [block for block, _ in ours]
            ours_steps = [inner for _, inner in ours[:-1]] + [self.step]
        level = 0
        while (
            level + 1 < len(theirs) and level + 1 < len(ours_blocks) and theirs[level + 1][0] is ours_blocks[level + 1]
        ):
            level += 1
        block, one, here = theirs[level][0], theirs_steps[level], ours_steps[level]
        assert one is not None
        inner_blocks = list(zip([blk for blk, _ in theirs[level + 1 :]], theirs_steps[level + 1 :], strict=True))
        if here is None:
            always = block.always_before(one, None)
        elif one is here and self.step is here and self.moment == "exit":
            always = True
        elif block.may_precede(one, here):
            always = block.always_before(one, here)
        else:
            raise UntranslatableError(f"step {target.key!r} is never over before this")
        for below, step in inner_blocks:
            assert step is not None
            always = always and below.always_before(step, None)
        if not inner_blocks:
            base = f"{member('steps', target.id)}.output"
            return _Sight(base, "" if always else probe_of("steps", target.id), target)
        holder = inner_blocks[0][0]
        if len(inner_blocks) == 1 and len(holder.steps) == 1:
            outer = f"{member('steps', one.id)}.output"
            return _Sight(member(outer, holder.name), "" if always else probe_of("steps", one.id), target)
        if not target.publishes:
            target.shared = ""  # what others publish, too, would not tell whose it is
        name = self.plan.publish(target)
        return _Sight(member("data", name), "" if always else probe_of("data", name), target)

    def _always_carried(self, step: Step) -> bool:
        assert step.block is not None
        return all(
            block.always_before(within if within is not None else step, None) for block, within in step.block.chain()
        )


def _reshapes(step: Step, name: str) -> bool:
    """Whether a variable is a part of the step's output, and not all of it."""
    return step.variables[name] not in ("text", "content", "result", "output", "", "$", ".")


def _below(
    base: str, rest: Path, guards: tuple[str, ...], schema: Mapping[str, Any] | None, *, probed: bool = True
) -> Code:
    """The member of a value at a path; undefined where its schema leaves no room for one."""
    text, probe = base, ""
    for part in rest:
        types = _types_of(schema)
        if types is not None and not types & ({"object"} if isinstance(part, str) else {"array", "object"}):
            return literal(UNDEFINED)
        if schema is not None and isinstance(part, str):
            properties = schema.get("properties")
            known = properties if isinstance(properties, Mapping) else {}
            if part not in known and schema.get("additionalProperties") is False:
                return literal(UNDEFINED)
            inner = known.get(part)
        elif schema is not None and isinstance(schema.get("prefixItems"), list):
            if int(part) >= len(schema["prefixItems"]):
                return literal(UNDEFINED)
            inner = schema["prefixItems"][int(part)]
        else:
            inner = schema.get("items") if schema is not None else None
        schema = inner if isinstance(inner, Mapping) else None
        probe = probe_of(text, part) if probed else ""
        text = member(text, part)
    return Code(text=text, guards=guards, probe=probe, types=_types_of(schema))


def _types_of(schema: Mapping[str, Any] | None) -> frozenset[str] | None:
    given = schema.get("type") if schema is not None else None
    words = [given] if isinstance(given, str) else given if isinstance(given, (list, tuple)) else []
    found = frozenset(word for word in words if isinstance(word, str))
    return found if found and found <= _TYPES else None
