"""A schema as a :class:`kastra_core.api.kind.Structure`: prune, default, validate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from kastra_core.api.meta import JsonObject, Resource
from kastra_core.errors import Problem
from kastra_plugin_crd.schema import Structural, read_schema

if TYPE_CHECKING:
    from kastra_core.api.references import Reference

__all__ = ["SchemaStructure"]

_BLOCKING: Final = frozenset(
    {
        "FieldValueNotSupported",
        "FieldValueRequired",
        "FieldValueTooLong",
        "FieldValueTooMany",
        "FieldValueTypeInvalid",
    }
)
"""With a problem like these, rules could stumble over the value. Source: apiextensions-apiserver, hasBlockingErr."""


class SchemaStructure:
    """What the schema of one version of a definition says about manifests.

    Cheap to make; the schema is read, and each part of it compiled, when it is asked for the first time.

    Args:
        schema: OpenAPI v3 schema of the whole object, one that a definition may have.
        kind: the kind it describes.
    """

    def __init__(self, schema: JsonObject, *, kind: str) -> None:
        self._schema, self.kind = schema, kind

    def __repr__(self) -> str:
        return f"SchemaStructure(kind={self.kind!r})"

    @property
    def schema(self) -> Mapping[str, Any]:
        return self._schema

    @cached_property
    def structural(self) -> Structural:
        """The schema, read."""
        return read_schema(self._schema, "")[0]

    # Each of these is made at once or not at all, so that two threads at worst make it twice.

    @cached_property
    def _pruner(self) -> Any:
        from kastra_plugin_crd.pruning import Pruner

        return Pruner(self.structural, root=True)

    @cached_property
    def _defaulter(self) -> Any:
        from kastra_plugin_crd.defaulting import Defaulter

        return Defaulter(self.structural)

    @cached_property
    def _embedded(self) -> Any:
        from kastra_plugin_crd.embedded import Embedded

        return Embedded(self.structural)

    @cached_property
    def _lists(self) -> Any:
        from kastra_plugin_crd.lists import ListTypes

        return ListTypes(self.structural)

    @cached_property
    def _validator(self) -> Any:
        from kastra_plugin_crd.validation import Validator

        return Validator(self.structural)

    @cached_property
    def _rules(self) -> Any:
        """The rules, None when there are none: then CEL need not be loaded."""
        if not _has_rules(self.structural):
            return None
        from kastra_plugin_crd.rules import Rules

        return Rules(self.structural, root=True)

    @cached_property
    def _list_map_keys(self) -> Mapping[str, tuple[str, ...]]:
        from kastra_plugin_crd.lists import list_map_keys

        return list_map_keys(self.structural)

    @cached_property
    def _references(self) -> Any:
        from kastra_plugin_crd.references import References

        return References(self.structural)

    def references(self, resource: Resource) -> Sequence[Reference]:
        """What a resource refers to, by ``x-kastra-reference``."""
        found: list[Reference] = self._references.of(resource)
        return found

    def list_map_keys(self) -> Mapping[str, tuple[str, ...]]:
        """The lists that apply merges item by item: path ("spec.tools") to key fields."""
        return self._list_map_keys

    def prune(self, manifest: JsonObject) -> tuple[JsonObject, Sequence[Problem]]:
        """Return a manifest without unknown fields, and a problem for each that was dropped."""
        pruned, dropped = self._pruner.prune(manifest)
        pruned, more = self._embedded.prune_metadata(pruned)
        return pruned, [*dropped, *more] if more else dropped

    def default(self, manifest: JsonObject) -> JsonObject:
        """Return a manifest with defaults, and without the nulls that its schema does not allow."""
        filled: JsonObject = self._defaulter.default(manifest)
        return filled

    def validate(self, manifest: JsonObject, old: JsonObject | None = None) -> Sequence[Problem]:
        """Return what is wrong with a manifest that was pruned and has its defaults.

        Args:
            manifest: what is wanted.
            old: what is stored and would be replaced: for transition rules, and because what does not change is not
                held against the new manifest. With it, the new manifest is what a merge made, and its empty spec may
                stand for none, as in :meth:`validate_stored`.
        """
        problems = self._problems(manifest, old)
        return problems if old is None else self._without_spec(manifest, old, problems)

    def validate_stored(self, manifest: JsonObject) -> Sequence[Problem]:
        """As :meth:`validate`, of what is stored: an empty spec may stand for none, as every stored resource has one.

        It is enough when one of the two fits.
        """
        return self._without_spec(manifest, None, self._problems(manifest, None))

    def _without_spec(self, manifest: JsonObject, old: JsonObject | None, problems: list[Problem]) -> list[Problem]:
        if problems and manifest.get("spec") == {}:
            without = {key: value for key, value in manifest.items() if key != "spec"}
            if not self._problems(without, old):
                return []
        return problems

    def _problems(self, manifest: JsonObject, old: JsonObject | None) -> list[Problem]:
        problems: list[Problem] = self._validator.problems(manifest, "", ... if old is None else old)
        problems += self._embedded.problems(manifest)
        twice = self._lists.problems(manifest)
        if twice and (old is None or not self._lists.problems(old)):
            problems += twice
        problems += self._references.problems(manifest)
        if self._rules is None:
            return problems
        if any(problem.reason in _BLOCKING for problem in problems):
            message = "its rules were not checked, because of the other problems"
            return [*problems, Problem(message, "", hint="mend those first", reason="FieldValueInvalid")]
        from kastra_core.cel import Meter
        from kastra_plugin_crd.rules import OBJECT_LIMIT

        problems += self._rules.problems(manifest, old, "", Meter(OBJECT_LIMIT))
        return problems


def _has_rules(structural: Structural) -> bool:
    if structural.rules:
        return True
    below = (*structural.properties.values(), structural.additional, structural.items)
    return any(_has_rules(sub) for sub in below if isinstance(sub, Structural))
