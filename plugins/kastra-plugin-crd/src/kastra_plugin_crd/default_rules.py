"""Whether the defaults of a schema fit the schema that they stand in.

As in Kubernetes, a default is taken as it stands: defaults of the fields in it are not filled in before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

import attrs

from kastra_core.errors import Problem
from kastra_plugin_crd.pruning import META_FIELDS, prune
from kastra_plugin_crd.schema import MAX_NODES, UNSET, Structural

__all__ = ["default_problems"]

_Around: TypeAlias = Callable[[Any], dict[str, Any]]
"""A value to the smallest resource that has it at its place."""
_MAX_WORK: Final = 4 * MAX_NODES
"""So many schemas are read for the rules that defaults have to keep: for each of these defaults, all schemas below."""
_SHOWN_FIELDS: Final = 5


def default_problems(structural: Structural, path: str, *, rules: bool = True) -> list[Problem]:
    """Return what is wrong with the defaults in a structural schema.

    Args:
        structural: the schema of a whole object.
        path: its field path.
        rules: whether there are rules, and all compile; then defaults have to keep them.
    """
    check = _Check(rules)
    check.walk(structural, path, None, is_resource=True)
    return check.problems


class _Check:
    def __init__(self, rules: bool) -> None:
        self.problems: list[Problem] = []
        self._rules, self._work = rules, 0

    def walk(self, node: Structural, path: str, around: _Around | None, *, is_resource: bool = False) -> None:
        """Look at the default of a schema and at those below it.

        Args:
            around: set inside apiVersion, kind and metadata of a resource.
            is_resource: it is the schema of a whole object; embedded ones say so themselves.
        """
        is_resource = is_resource or node.embedded_resource
        if is_resource:
            around = None
        if node.default is not UNSET:
            self.problems += self._default(node, f"{path}.default", around)
        # There are none below additionalProperties that are filled in.
        if node.items is not None:
            self.walk(node.items, f"{path}.items", around and _in_list(around))
        for name, below in node.properties.items():
            inner = around and _in_object(around, name)
            if is_resource and name in META_FIELDS:
                inner = _in_object(_resource, name)
            self.walk(below, f"{path}.properties.{name}", inner)

    def _default(self, node: Structural, path: str, around: _Around | None) -> list[Problem]:
        value, out = node.default, list[Problem]()
        touched = _touched(node, [value])
        if around is None:
            _, unknown = prune(value, node, path)
            if unknown:
                fields = ", ".join(problem.path[len(path) + 1 :] for problem in unknown[:_SHOWN_FIELDS])
                out.append(Problem(f"has unknown fields: {fields}", path, reason="FieldValueInvalid"))
        wrong = _metadata_problems(value, touched, path, around) or _value_problems(value, touched, path)
        if not wrong and self._rules and _has_rules(touched):
            wrong = self._rule_problems(value, node, path)
        return out + wrong

    def _rule_problems(self, value: Any, node: Structural, path: str) -> list[Problem]:
        """Rules look at a default twice: as a value that is new, and as one that stays as it was."""
        self._work += _size(node)
        if self._work > _MAX_WORK:
            self._rules = False
            message = (
                "the schema has too many defaults that have to keep rules; from this one on they were not looked at"
            )
            return [Problem(message, path, reason="FieldValueInvalid")]
        from kastra_core.cel import Meter
        from kastra_plugin_crd.rules import OBJECT_LIMIT, Rules

        rules = Rules(node, root=node.embedded_resource)
        return rules.problems(value, value, path, Meter(OBJECT_LIMIT)) or rules.problems(
            value, None, path, Meter(OBJECT_LIMIT)
        )


def _metadata_problems(value: Any, node: Structural, path: str, around: _Around | None) -> list[Problem]:
    """What is wrong with the metadata that a default is part of, or that it has in it."""
    from kastra_plugin_crd.embedded import embedded_problems

    if around is None:
        return embedded_problems(value, node, path)
    found = embedded_problems(around(value), Structural(type="object", embedded_resource=True))
    return [
        Problem(f"makes no valid resource: {problem.path}: {problem.message}", path, reason="FieldValueInvalid")
        for problem in found
    ]


def _value_problems(value: Any, node: Structural, path: str) -> list[Problem]:
    # Not by the compiled validator: compiling takes longer than one look.
    from kastra_plugin_crd.checks import check_of
    from kastra_plugin_crd.explanation import explain

    return explain(check_of(node), value, path)


def _touched(node: Structural, values: list[Any]) -> Structural:
    """The part of a schema that values have to do with. A small default in a huge schema costs little then."""
    objects = [value for value in values if isinstance(value, dict)]
    named = dict.fromkeys(name for value in objects for name in value if name in node.properties)
    properties = {
        name: _touched(node.properties[name], [value[name] for value in objects if name in value]) for name in named
    }
    additional = node.additional
    if isinstance(additional, Structural):
        rest = [item for value in objects for name, item in value.items() if name not in node.properties]
        additional = _touched(additional, rest) if rest else True
    items = node.items
    if items is not None:
        found = [item for value in values if isinstance(value, list) for item in value]
        items = _touched(items, found) if found else None
    return attrs.evolve(node, properties=properties, additional=additional, items=items)


def _below(node: Structural) -> Iterator[Structural]:
    yield from node.properties.values()
    if isinstance(node.additional, Structural):
        yield node.additional
    if node.items is not None:
        yield node.items


def _has_rules(node: Structural) -> bool:
    return bool(node.rules) or any(map(_has_rules, _below(node)))


def _size(node: Structural) -> int:
    return 1 + sum(map(_size, _below(node)))


# --------------------------------------------------------------------------------------------- around a value


def _resource(value: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Any", **value}


def _in_object(around: _Around, name: str) -> _Around:
    return lambda value: around({name: value})


def _in_list(around: _Around) -> Callable[[Any], dict[str, Any]]:
    return lambda value: around([value])
