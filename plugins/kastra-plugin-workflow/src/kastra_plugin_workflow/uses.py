"""Every expression of a workflow, compiled, with its place and what is in sight there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from kastra_core.errors import Problem
from kastra_plugin_workflow.expressions import (
    Expression,
    ExpressionSyntaxError,
    compile_expression,
    compile_parts,
)
from kastra_plugin_workflow.outline import Block, Outline, Site
from kastra_plugin_workflow.spec import UNSET
from kastra_plugin_workflow.syntax import dollar_faults
from kastra_plugin_workflow.values import USER_INPUT, input_form, output_form

__all__ = ["Use", "Uses", "names_in", "uses_of"]

_TOP = frozenset({"workflow", "steps", "data", "state"})


@attrs.frozen(eq=False)
class Use:
    """One expression, or one name of published data."""

    path: str
    """Of the text that holds it."""
    site: Site | None
    """None: ``spec.output``."""
    moment: str
    """When it is evaluated: input (before the step), body, test (of a loop), output, failure (after its onFailure)."""
    expression: Expression | None
    whole: bool
    """The text is this expression and nothing else: its value keeps its type."""
    data: str = ""
    """The published name of ``{from: NAME}``."""
    condition: bool = False


@attrs.define
class Uses:
    """What was found in a workflow."""

    uses: list[Use] = attrs.field(factory=list)
    problems: list[Problem] = attrs.field(factory=list)
    """Expressions that cannot be read."""
    published: dict[str, list[Site]] = attrs.field(factory=dict)
    """Name -> steps that publish it."""


def names_in(block: Block, known: dict[int, frozenset[str]]) -> frozenset[str]:
    """Names that any expression in a block may use; ``known`` keeps what was found, outer blocks first."""
    found = known.get(id(block))
    if found is None:
        owner = block.owner
        base = _TOP if owner is None else known[id(owner.block)]
        extra: set[str] = set()
        if block.kind in ("onFailure", "handler"):
            extra = {"error"}
        elif block.kind == "loop":
            extra = {"iteration"}
        elif block.kind == "foreach" and owner is not None and owner.step.foreach is not None:
            name = owner.step.foreach.as_
            extra = {name, "index" if name == "item" else f"{name}_index"}
        found = known[id(block)] = base | extra
    return found


def uses_of(outline: Outline) -> Uses:
    """Return all expressions in the order of the steps."""
    found = Uses()
    for site in outline.sites:
        form = output_form(site.step.output)
        if form is not None and isinstance(form.get("type"), str) and form["type"]:
            found.published.setdefault(form["type"], []).append(site)
    names: dict[int, frozenset[str]] = {}
    for block in outline.blocks:
        names_in(block, names)
    for site in outline.sites:
        _Reader(found, site, names[id(site.block)]).read()
    if outline.spec.output is not UNSET:
        reader = _Reader(found, None, _TOP)
        reader.template(outline.spec.output, "spec.output", _TOP, "output")
    return found


class _Reader:
    """Reads the expressions of one step."""

    def __init__(self, found: Uses, site: Site | None, names: frozenset[str]) -> None:
        self.found, self.site, self.names = found, site, names

    def read(self) -> None:
        site, names = self.site, self.names
        assert site is not None
        step, path, own = site.step, site.path, names | {"input"}
        if step.input is not UNSET:
            form = input_form(step.input, self.found.published)
            if form is None:
                self.template(step.input, f"{path}.input", names, "input")
            elif form and form != USER_INPUT:
                field = "from" if "from" in step.input else "type"
                self.found.uses.append(Use(f"{path}.input.{field}", site, "input", None, True, data=form))
        if step.arguments is not UNSET:
            self.template(step.arguments, f"{path}.arguments", names, "input")
        self._body(site, own)
        if step.output is not UNSET:
            form_of_output = output_form(step.output)
            if form_of_output is None:
                self.template(step.output, f"{path}.output", own | {"result"}, "output")
            elif "value" in form_of_output:
                self.template(form_of_output["value"], f"{path}.output.value", own | {"result"}, "output")
        if step.on_failure is not None and step.on_failure.output is not UNSET:
            place = site.at("onFailure", "output")
            self.template(step.on_failure.output, place, own | {"error"}, "failure")

    def _body(self, site: Site, own: frozenset[str]) -> None:
        step = site.step
        for name in ("set", "succeed"):
            if getattr(step, name) is not UNSET:
                self.template(getattr(step, name), f"{site.path}.{name}", own, "body")
        if step.branch is not None:
            at = site.at("branch", "cases")
            for index, case in enumerate(step.branch.cases):
                self.condition(case.when, f"{at}[{index}].when", own, "body")
        if step.foreach is not None:
            self.template(step.foreach.items, site.at("foreach", "items"), own, "body")
        if step.loop is not None:
            tested = own | {"iteration", "output"}
            self.condition(step.loop.while_, site.at("loop", "while"), tested, "test")
            self.condition(step.loop.until, site.at("loop", "until"), tested, "test")
        if step.sleep is not None:
            for name in ("duration", "until"):
                if getattr(step.sleep, name) is not UNSET:
                    self.template(getattr(step.sleep, name), site.at("sleep", name), own, "body")
        if step.suspend is not None:
            self.template(step.suspend.message, site.at("suspend", "message"), own, "body")
        if step.fail is not None:
            self.template(step.fail.message, site.at("fail", "message"), own, "body")

    def condition(self, source: str, path: str, names: frozenset[str], moment: str) -> None:
        if not source.strip():
            return
        try:
            expression = compile_expression(source, names)
        except ExpressionSyntaxError as error:
            self.found.problems.append(_problem(error, path))
            return
        self.found.uses.append(Use(path, self.site, moment, expression, True, condition=True))

    def template(self, value: Any, path: str, names: frozenset[str], moment: str) -> None:
        for place, text in _texts(value, path):
            written = text if isinstance(text, str) else next(iter(text))
            self.found.problems += [_problem(error, place) for error in dollar_faults(written, names)]
            if "{{" not in written:
                continue
            for part in compile_parts(text, names):
                if isinstance(part, ExpressionSyntaxError):
                    self.found.problems.append(_problem(part, place))
                else:
                    whole = text.startswith("{{") and text[2:-2].strip() == part.source
                    self.found.uses.append(Use(place, self.site, moment, part, whole))


def _texts(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """(path, text) of each text that holds or seems to hold an expression, and (path, {key: None}) of each such key."""
    todo: list[tuple[str, Any]] = [(path, value)]
    while todo:
        place, item = todo.pop()
        if isinstance(item, str):
            if "{{" in item or "${" in item:
                yield place, item
        elif isinstance(item, Mapping):
            yield from ((place, {key: None}) for key in item if isinstance(key, str) and ("{{" in key or "${" in key))
            todo.extend((f"{place}.{key}", inner) for key, inner in reversed(list(item.items())))
        elif isinstance(item, (list, tuple)):
            todo.extend((f"{place}[{index}]", item[index]) for index in range(len(item) - 1, -1, -1))


def _problem(error: ExpressionSyntaxError, path: str) -> Problem:
    return Problem(str(error), path)
