"""What an expression names: is it there, is it in sight, can it have happened before."""

from __future__ import annotations

from collections.abc import Iterator

from kastra_core.cel.hints import suggestion
from kastra_core.errors import Problem, nearest, shortened
from kastra_plugin_workflow.expressions import Path, path_text
from kastra_plugin_workflow.flow import Flow
from kastra_plugin_workflow.outline import Block, Outline, Site
from kastra_plugin_workflow.uses import Use, Uses

__all__ = ["sight_problems"]

_FIELDS = {
    "workflow": ("input", "name", "namespace", "run"),
    "error": ("step", "reason", "message", "attempts"),
}
_OF_STEPS = ("output", "error", "errors")
_SHOWN = 12


def sight_problems(outline: Outline, flow: Flow, uses: Uses) -> Iterator[Problem]:
    """Names of steps and data that are unknown, out of sight, or cannot be there yet."""
    looker = _Looker(outline, flow, uses)
    for use in uses.uses:
        if use.data:
            problem = looker.data(use, use.data, f"{use.data!r}")
            if problem is not None:
                yield problem
        if use.expression is None:
            continue
        for path in use.expression.references:
            problem = looker.reference(use, path)
            if problem is not None:
                yield problem


class _Looker:
    def __init__(self, outline: Outline, flow: Flow, uses: Uses) -> None:
        self.outline, self.flow, self.uses = outline, flow, uses
        self.ids = list(outline.by_id)

    def reference(self, use: Use, path: Path) -> Problem | None:
        root = path[0]
        if root == "steps" and len(path) > 1:
            return self._step(use, path)
        if root == "data" and len(path) > 1 and isinstance(path[1], str):
            return self.data(use, path[1], path_text(path[:2]))
        known = _FIELDS.get(str(root))
        if known is not None and len(path) > 1 and path[1] not in known and self._is_ours(use, str(root)):
            return Problem(
                f"{root} has no field {_shown(path[1])}",
                use.path,
                hint=suggestion(str(path[1]), known, f"it has: {', '.join(known)}"),
            )
        return None

    def _is_ours(self, use: Use, root: str) -> bool:
        """False where a name of the user's (``as: error``) hides ours; the rules refuse such names."""
        return root == "workflow" or use.site is not None

    # --------------------------------------------------------------------------------- steps

    def _step(self, use: Use, path: Path) -> Problem | None:
        name = path[1]
        target = self.outline.by_id.get(name) if isinstance(name, str) else None
        if target is None:
            hint = suggestion(str(name), self.ids, f"steps: {', '.join(self.ids[:_SHOWN])}")
            return Problem(f"{path_text(path)}: there is no step {_shown(name)}", use.path, hint=hint)
        if len(path) > 2 and path[2] not in _OF_STEPS:
            what = f"{path_text(path)}: a step has output and error, not {_shown(path[2])}"
            # `result` is what `output` is called in the older spelling, step.ID.result.
            near = "output" if path[2] == "result" else nearest(str(path[2]), _OF_STEPS)
            meant = (near, *path[3:]) if near else ("output", *path[2:])
            return Problem(what, use.path, hint=f"write {path_text((*path[:2], *meant))}")
        hidden = self._hidden(use, target)
        if hidden is not None:
            return Problem(f"{path_text(path)}: {hidden[0]}", use.path, hint=hidden[1])
        if len(path) > 2 and path[2] == "error" and target.step.on_failure is None:
            what = f"{path_text(path)}: step {name!r} has no onFailure, so the flow never goes on with an error of it"
            return Problem(what, use.path, hint="give it an onFailure")
        if (
            len(path) > 2
            and path[2] == "errors"
            and (target.step.foreach is None or target.step.foreach.on_error != "skip")
        ):
            what = f"{path_text(path)}: only a foreach with onError: skip has errors"
            return Problem(what, use.path)
        if not self._can_be(use, target, private=False):
            return Problem(f"{path_text(path)}: {self._too_early(use, target)}", use.path)
        return None

    def _too_early(self, use: Use, target: Site) -> str:
        name = target.step.id
        if use.site is target:
            return f"step {name!r} cannot use its own output; `result` in `output` is that of its body"
        if target.body in ("succeed", "fail") and target.step.on_failure is None:
            return f"step {name!r} is a {target.body}, it has no output"
        return f"step {name!r} is never carried out before this"

    def _hidden(self, use: Use, target: Site) -> tuple[str, str] | None:
        """Why a step is out of sight, and what to write instead; None when it is in sight."""
        around = self._around(use)
        block: Block | None = target.block
        outermost: Site | None = None
        while block is not None and id(block) not in around:
            if block.private:
                outermost = block.owner
            if block.owner is None:
                return f"step {target.step.id!r} runs in {block.path}, out of sight here", ""
            block = block.around
        if outermost is None:
            return None
        name = outermost.step.id
        return (
            f"step {target.step.id!r} runs in a body of step {name!r} and is out of sight here",
            f"use {path_text(('steps', name, 'output'))}",
        )

    def _around(self, use: Use) -> dict[int, int]:
        """Blocks whose steps are in sight -> where in them the expression stands."""
        top, found = self.outline.top, dict[int, int]()
        if use.site is None:
            return {id(top): len(top.steps)}
        if use.moment == "test":
            body = next(block for block in use.site.blocks if block.kind == "loop")
            found[id(body)] = len(body.steps)
        site: Site | None = use.site
        while site is not None:
            found[id(site.block)] = site.index
            if site.block.kind == "onFailure":
                found[id(top)] = -1
            site = site.block.owner
        return found

    def _can_be(self, use: Use, target: Site, *, private: bool) -> bool:
        """Whether ``target`` can be over when the expression is evaluated."""
        around = self._around(use)
        block, site = target.block, target
        while id(block) not in around:
            if block.owner is None:
                return False
            site = block.owner
            block = site.block
        here = around[id(block)]
        if here == -1:
            return True  # spec.onFailure comes after any step
        if not self.flow.reaches(block, here):
            return True  # nor is it ever evaluated, and that is told
        if site.index != here:
            return self.flow.comes_after(block, site.index, here) or self.flow.again(block, private=private)
        # Both lie in one step, or are it.
        inside = target is not site
        if inside and use.site is site and use.moment in ("output", "failure"):
            return True
        if inside and use.site is not site and self._in_handler(use, site) and not self._under_handler(target, site):
            return True
        return self.flow.comes_after(block, here, here) or self.flow.again(block, private=private)

    def _in_handler(self, use: Use, site: Site) -> bool:
        return use.site is not None and self._under_handler(use.site, site)

    @staticmethod
    def _under_handler(inner: Site, site: Site) -> bool:
        block: Block | None = inner.block
        while block is not None and block.owner is not site:
            block = block.around
        return block is not None and block.kind == "handler"

    # --------------------------------------------------------------------------------- data

    def data(self, use: Use, name: str, written: str) -> Problem | None:
        publishers = self.uses.published.get(name)
        if not publishers:
            known = list(self.uses.published)
            names = f"published are: {', '.join(known[:_SHOWN])}" if known else ""
            hint = suggestion(name, known, names or "a step publishes with output: {type: NAME}")
            return Problem(f"{written}: no step publishes {shortened(name, 80)!r}", use.path, hint=hint)
        for publisher in publishers:
            if self._can_be(use, publisher, private=True):
                return None
        ids = ", ".join(repr(site.step.id) for site in publishers[:_SHOWN])
        who = f"step {ids} publishes it, and is" if len(publishers) == 1 else f"the steps {ids} publish it, and are"
        return Problem(f"{written} cannot be there yet: {who} never carried out before this", use.path)


def _shown(part: str | int) -> str:
    return repr(shortened(part, 80)) if isinstance(part, str) else f"[{part}]"
