"""What is known of the values in a workflow before it runs: from schemas, literals, and paths that lead to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from kastra_core.api.meta import ResourceKey
from kastra_core.errors import InvalidReferenceError
from kastra_plugin_workflow.expressions import Expression, Path, path_text, whole_expression
from kastra_plugin_workflow.outline import Outline, Site
from kastra_plugin_workflow.rules import reference_of
from kastra_plugin_workflow.shapes import NOTHING, ExcludedError, Shape, of_types
from kastra_plugin_workflow.spec import UNSET
from kastra_plugin_workflow.uses import Uses
from kastra_plugin_workflow.values import USER_INPUT, input_form, output_form

__all__ = ["Schemas", "Types"]

Schemas: TypeAlias = Mapping[ResourceKey, tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]]
"""Resource -> (schema of its input, schema of its output); None where there is none."""

_DEEPEST = 40
"""Values within each other, and steps that take their output from each other; beyond it nothing is known."""
_ERROR = Shape(
    {
        "type": "object",
        "properties": {
            "step": {"type": "string"},
            "reason": {"type": "string"},
            "message": {"type": "string"},
            "attempts": {"type": "integer"},
        },
        "additionalProperties": False,
    }
)
_STATE = of_types("object")
"""Shared: what is in it others know."""
_TEXT = of_types("string")
_INTEGER = of_types("integer")
_OF_CEL = {
    "bool": "boolean",
    "int": "integer",
    "double": "number",
    "string": "string",
    "list": "array",
    "map": "object",
    "null": "null",
}
"""Types of CEL -> of JSON; numbers of computed expressions may be of either kind."""


class Types:
    """Answers what is known of a value. Made once for a workflow."""

    def __init__(self, outline: Outline, uses: Uses, namespace: str, schemas: Schemas) -> None:
        self.outline, self.uses, self.namespace, self.schemas = outline, uses, namespace, schemas
        self._outputs: dict[int, Shape] = {}
        self._depth = 0
        given = outline.spec.input_schema
        self._input = Shape(given, given) if given is not None else NOTHING

    # --------------------------------------------------------------------------------- expressions

    def follow(self, path: Path, site: Site | None, *, tested: bool = False) -> Shape:
        """What is known of the value at a path.

        Args:
            site: the step that names it, None = ``spec.output``.
            tested: it stands in a condition of the step's loop.
        Raises:
            ExcludedError: there can be none; the message begins with the part of the path that excludes it.
        """
        if tested and path[0] in ("iteration", "output"):
            shape, start = (_INTEGER if path[0] == "iteration" else NOTHING), 1
        else:
            shape, start = self._root(path, site)
        for index in range(start, len(path)):
            try:
                shape = shape.member(path[index])
            except ExcludedError as error:
                raise ExcludedError(f"{path_text(path[:index])} {error.message}", error.hint) from None
            if shape.schema is None:
                break
        return shape

    def of_expression(self, expression: Expression, site: Site | None, *, tested: bool = False) -> Shape:
        """What is known of an expression's value."""
        if expression.is_path:
            try:
                return self.follow(expression.references[0], site, tested=tested)
            except ExcludedError:
                return NOTHING
        name = _OF_CEL.get(expression.type_name)
        if name in ("integer", "number"):
            return of_types("integer", "number")
        return of_types(name) if name is not None else NOTHING

    def _root(self, path: Path, site: Site | None) -> tuple[Shape, int]:
        """(what is known of the beginning of a path, how many parts that is)."""
        name = str(path[0])
        bound = self._bound(name, site)
        if bound is not None:
            return bound, 1
        second = path[1] if len(path) > 1 else None
        if name == "workflow" and second == "input":
            return self._input, 2
        if name == "workflow" and second in ("name", "namespace", "run"):
            return _TEXT, 2
        if name == "steps" and isinstance(second, str) and len(path) > 2:
            target = self.outline.by_id.get(second)
            if target is not None and path[2] == "output":
                return self.output(target), 3
            return (_ERROR if path[2] == "error" else NOTHING), 3
        if name == "data" and isinstance(second, str):
            return self._data(second), 2
        if name == "error":
            return _ERROR, 1
        if name == "state":
            return _STATE, 1
        if site is not None and name in ("input", "result"):
            return (self._given(site) if name == "input" else self._result(site)), 1
        return NOTHING, len(path)

    def _bound(self, name: str, site: Site | None) -> Shape | None:
        """What is known of a name of the foreach or loop around; None when it is none."""
        block = site.block if site is not None else None
        while block is not None and block.owner is not None:
            owner = block.owner
            if block.kind == "loop" and name == "iteration":
                return _INTEGER
            if block.kind == "foreach" and owner.step.foreach is not None:
                item = owner.step.foreach.as_
                if name == item:
                    return self._item(owner)
                if name == ("index" if item == "item" else f"{item}_index"):
                    return _INTEGER
            block = owner.block
        return None

    def _item(self, owner: Site) -> Shape:
        assert owner.step.foreach is not None
        items = self.of_template(owner.step.foreach.items, owner)
        known = items.known
        if known is None or "prefixItems" in known or not isinstance(known.get("items"), Mapping):
            return NOTHING
        return Shape(known["items"], items.root)

    def _data(self, name: str) -> Shape:
        publishers = self.uses.published.get(name, [])
        return self.output(publishers[0]) if len(publishers) == 1 else NOTHING

    def _given(self, site: Site) -> Shape:
        """Of a step's input."""
        step = site.step
        if step.arguments is not UNSET:
            return self.of_template(step.arguments, site)
        if step.input is UNSET:
            return NOTHING
        form = input_form(step.input, self.uses.published)
        if form is None:
            return self.of_template(step.input, site)
        if form == USER_INPUT:
            return self._input
        return self._data(form) if form else NOTHING

    # --------------------------------------------------------------------------------- outputs

    def output(self, site: Site) -> Shape:
        """What is known of a step's output."""
        found = self._outputs.get(site.number)
        if found is not None:
            return found
        if self._depth >= _DEEPEST:
            return NOTHING
        self._outputs[site.number] = NOTHING  # of a step that takes it from itself nothing is known
        self._depth += 1
        try:
            found = self._outputs[site.number] = self._output(site)
        finally:
            self._depth -= 1
        return found

    def _output(self, site: Site) -> Shape:
        step = site.step
        if step.on_failure is not None:
            return NOTHING  # it may come from there
        if step.output is UNSET:
            return self._result(site)
        form = output_form(step.output)
        if form is None:
            return self.of_template(step.output, site)
        schema = form.get("schema")
        if isinstance(schema, Mapping):
            return Shape(schema, schema)
        return self.of_template(form["value"], site) if "value" in form else self._result(site)

    def _result(self, site: Site) -> Shape:
        step, body = site.step, site.body
        schema: Any = None
        if body == "set":
            return self.of_template(step.set, site)
        if body == "suspend" and step.suspend is not None:
            schema = step.suspend.schema
        elif body == "waitForEvent" and step.wait_for_event is not None:
            schema = step.wait_for_event.schema
        elif body == "foreach":
            schema = {"type": "array"}
        elif body == "parallel" and step.parallel is not None:
            names: dict[str, Any] = {branch.name: {} for branch in step.parallel.branches}
            schema = {"type": "object", "properties": names, "additionalProperties": False}
        else:
            schema = self.schemas_of(site)[1]
        return Shape(schema, schema)

    def schemas_of(self, site: Site) -> tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]:
        """Schemas of input and output of what a step refers to."""
        if not self.schemas:
            return None, None
        try:
            reference = reference_of(site.step, self.namespace, site.path)
        except InvalidReferenceError:
            return None, None
        return self.schemas.get(reference.key, (None, None)) if reference is not None else (None, None)

    # --------------------------------------------------------------------------------- templates

    def of_template(self, value: Any, site: Site | None, depth: int = 0) -> Shape:
        """What is known of what a template renders to."""
        if depth > _DEEPEST:
            return NOTHING
        if isinstance(value, str):
            if "{{" not in value:
                return _TEXT
            expression = whole_expression(value)
            if expression is not None:
                return self.of_expression(expression, site)
            return NOTHING if value.startswith("{{") and value.endswith("}}") else _TEXT
        if isinstance(value, Mapping):
            fields = {key: self.of_template(item, site, depth + 1) for key, item in value.items()}
            return Shape({"type": "object", "properties": fields, "additionalProperties": False})
        if isinstance(value, (list, tuple)):
            items = [self.of_template(item, site, depth + 1) for item in value]
            return Shape({"type": "array", "prefixItems": items, "items": False})
        if isinstance(value, bool):
            return of_types("boolean")
        if isinstance(value, int):
            return _INTEGER
        return of_types("number") if isinstance(value, float) else of_types("null")
