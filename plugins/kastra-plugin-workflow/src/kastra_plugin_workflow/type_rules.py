"""Type mismatches that show before a run: paths into what a schema excludes, values that do not fit one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from kastra_core.api.meta import Resource
from kastra_core.errors import Problem
from kastra_core.serde import typed
from kastra_plugin_workflow.expressions import Comparison, Expression
from kastra_plugin_workflow.flow_types import Schemas, Types
from kastra_plugin_workflow.outline import Outline, Site, outline_of
from kastra_plugin_workflow.shapes import ExcludedError, Shape, word_of_types
from kastra_plugin_workflow.signals import misfits_by_place
from kastra_plugin_workflow.spec import UNSET, WorkflowSpec
from kastra_plugin_workflow.uses import Use, Uses, uses_of
from kastra_plugin_workflow.values import USER_INPUT, input_form, output_form, place_text, with_defaults

__all__ = ["mismatches", "type_problems"]

_MOST_MISFITS = 50
"""Of one value."""
_QUOTED_NUMBER = re.compile(r'"-?[0-9]+(\.[0-9]+)?"')
_OWN = frozenset({"required", "additionalProperties", "type", "minProperties", "maxProperties", "propertyNames"})
"""Keywords of an object that do not depend on the values of its fields."""


def type_problems(resource: Resource, schemas: Schemas) -> list[Problem]:
    """Return the type mismatches of a workflow, with what is known of the resources that it refers to.

    Args:
        resource: a Workflow whose structure is right.
        schemas: of the resources that its steps refer to; what is not in it is not known.
    """
    outline = outline_of(resource.spec, typed(resource.spec, WorkflowSpec))
    uses = uses_of(outline)
    types = Types(outline, uses, resource.metadata.namespace, schemas)
    return list(dict.fromkeys(mismatches(outline, uses, types)))


def mismatches(outline: Outline, uses: Uses, types: Types) -> Iterator[Problem]:
    """Yield the mismatches: those of expressions, then those of values."""
    for use in uses.uses:
        if use.expression is not None:
            yield from _expression(use, use.expression, types)
    for site in outline.sites:
        yield from _Values(types, site).problems(uses)
    spec = outline.spec
    if spec.output is not UNSET and spec.output_schema is not None:
        yield from _Values(types, None).fit(spec.output, spec.output_schema, "spec.output", "spec.outputSchema")


def _expression(use: Use, expression: Expression, types: Types) -> Iterator[Problem]:
    tested = use.moment == "test"
    for path in expression.references:
        try:
            types.follow(path, use.site, tested=tested)
        except ExcludedError as error:
            yield Problem(error.message, use.path, hint=error.hint)
            return
    for comparison in expression.comparisons:
        yield from _comparison(use, comparison, types, tested)
    found = types.of_expression(expression, use.site, tested=tested).types if use.whole else None
    if found is None:
        return
    if use.condition and "boolean" not in found:
        hint = "compare it: x > 0, x != ''" if found & {"integer", "number", "string"} else ""
        yield Problem(f"a condition must be true or false, this is {word_of_types(found)}", use.path, hint=hint)
    site = use.site
    if site is None:
        return
    if site.step.foreach is not None and use.path == site.at("foreach", "items") and "array" not in found:
        yield Problem(f"foreach goes through a list, this is {word_of_types(found)}", use.path)


def _comparison(use: Use, comparison: Comparison, types: Types, tested: bool) -> Iterator[Problem]:
    """CEL finds values of different types unequal, and no order between them."""
    sides = []
    for side in (comparison.left, comparison.right):
        found = frozenset({side}) if isinstance(side, str) else types.follow(side, use.site, tested=tested).types
        if found is None or "null" in found:
            return  # `x == null` asks
        sides.append(_numbers(found))
    if sides[0] & sides[1]:
        return
    words = " and ".join(
        f"{text} is {word_of_types(found - {'integer'} if 'number' in found else found)}"
        for text, found in zip(comparison.texts, sides, strict=True)
    )
    always = {"==": "is always false", "!=": "is always true"}.get(comparison.sign, "fails")
    hint = ""
    if "string" in sides[0] | sides[1] and "number" in sides[0] | sides[1]:
        text, number = comparison.texts if "string" in sides[0] else reversed(comparison.texts)
        hint = f"string({number}) makes a text of a number, int(...) a number of a text"
        if _QUOTED_NUMBER.fullmatch(text):
            hint = f"write {text.strip(chr(34))} without quotes"
    yield Problem(f"the comparison by {comparison.sign!r} {always}: {words}", use.path, hint=hint)


class _Values:
    """Looks at the values of one step."""

    def __init__(self, types: Types, site: Site | None) -> None:
        self.types, self.site = types, site

    def problems(self, uses: Uses) -> Iterator[Problem]:
        site = self.site
        assert site is not None
        step = site.step
        schema, _ = self.types.schemas_of(site)
        if schema is not None:
            yield from self._input(site, schema, uses)
        if step.succeed is not UNSET and self.types.outline.spec.output_schema is not None:
            given = self.types.outline.spec.output_schema
            yield from self.fit(step.succeed, given, f"{site.path}.succeed", "spec.outputSchema")
        form = output_form(step.output) if step.output is not UNSET else None
        if form is not None and isinstance(form.get("schema"), Mapping):
            if "value" in form:
                yield from self.fit(form["value"], form["schema"], f"{site.path}.output.value", "output.schema")
            elif site.body == "set":
                yield from self.fit(step.set, form["schema"], f"{site.path}.set", "output.schema")

    def _input(self, site: Site, schema: Mapping[str, Any], uses: Uses) -> Iterator[Problem]:
        step = site.step
        what = f"the input of {site.body} {_name(getattr(step, site.body))}"
        if step.arguments is not UNSET:
            yield from self.fit(step.arguments, schema, f"{site.path}.arguments", what)
        elif step.input is not UNSET and input_form(step.input, uses.published) is None:
            # What is no object is the one parameter of a tool.
            if site.body != "tool" or isinstance(step.input, Mapping):
                yield from self.fit(step.input, schema, f"{site.path}.input", what)
        elif step.input is not UNSET:
            form = input_form(step.input, uses.published)
            if form and site.body != "tool":
                shape = self.types.follow(("workflow", "input") if form == USER_INPUT else ("data", form), site)
                yield from _overlap(shape, Shape(schema, schema), f"{site.path}.input", what)

    def fit(self, value: Any, schema: Mapping[str, Any], path: str, what: str) -> Iterator[Problem]:
        """Yield where ``value``, a template, cannot fit ``schema``."""
        computed: dict[tuple[str | int, ...], str] = {}
        plain = _without(value, (), computed)
        inside = {place[:count] for place in computed for count in range(len(place) + 1)}
        if () not in computed:
            plain = with_defaults(schema, plain)
            for place, keyword, message in misfits_by_place(schema, plain, _MOST_MISFITS):
                if not keyword:
                    return  # no valid schema; told where it stands
                if place in inside and (place in computed or keyword not in _OWN):
                    continue
                yield Problem(f"{message} ({what})", place_text(place, path))
        whole = Shape(schema, schema)
        for place, text in computed.items():
            wanted = whole
            try:
                for part in place:
                    wanted = wanted.member(part)
            except ExcludedError:
                continue
            yield from _overlap(self.types.of_template(text, self.site), wanted, place_text(place, path), what)


def _overlap(given: Shape, wanted: Shape, path: str, what: str) -> Iterator[Problem]:
    is_, must = given.types, wanted.types
    if is_ is None or must is None or _numbers(is_) & _numbers(must):
        return
    yield Problem(f"expected {word_of_types(must)}, this is {word_of_types(is_)} ({what})", path)


def _numbers(types: frozenset[str]) -> frozenset[str]:
    """A number of either kind may be whole."""
    return types | {"integer", "number"} if types & {"integer", "number"} else types


def _without(value: Any, place: tuple[str | int, ...], computed: dict[tuple[str | int, ...], str]) -> Any:
    """``value`` with null for each text that holds an expression; those are put into ``computed``."""
    if isinstance(value, str):
        if "{{" not in value:
            return value
        computed[place] = value
        return None
    if isinstance(value, Mapping):
        return {key: _without(item, (*place, key), computed) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without(item, (*place, index), computed) for index, item in enumerate(value)]
    return value


def _name(reference: Any) -> str:
    if isinstance(reference, Mapping):
        return str(reference.get("name") or reference.get("ref") or reference.get("refName") or "")
    return str(reference)
