"""What Kubernetes demands of a schema, so that every value has one meaning: structural schemas and what goes with them.

Sources: the reference documentation of CustomResourceDefinition and the behaviour of kube-apiserver 1.36. All problems
come at once. As there, defaults are looked at and rules are compiled when the schema is structural.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

from kastra_core.api.meta import JsonObject
from kastra_core.errors import Problem
from kastra_plugin_crd.schema import UNSET, Structural

__all__ = ["root_problems", "structural_problems"]

Level: TypeAlias = Literal["root", "item", "field"]

_TYPES: Final = ("array", "boolean", "integer", "number", "object", "string")
_META: Final = frozenset({"metadata", "kind", "apiVersion"})
_INT_OR_STRING: Final = [{"type": "integer"}, {"type": "string"}]
_WITHOUT_TYPE: Final[Mapping[Level, str]] = {
    "root": "is required: the root of a schema is an object",
    "item": "is required for the items of a list",
    "field": "is required for a field",
}
_NOT_IN_CLAUSES: Final = (
    "type",
    "default",
    "title",
    "description",
    "nullable",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-map-type",
    "x-kubernetes-validations",
)
"""What belongs to the structure and may not be said below allOf, anyOf, oneOf and not."""
_ROOT_WITH_STATUS: Final = frozenset(
    {
        "format", "maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum", "maxLength", "minLength", "pattern",
        "maxItems", "minItems", "uniqueItems", "multipleOf", "required",
    }
)  # fmt: skip
"""The value validations that a root may have when status is a subresource. Source: kube-apiserver's list."""


def structural_problems(structural: Structural, path: str) -> list[Problem]:
    """Return what is wrong with the schema of a definition's version.

    Args:
        structural: the schema, read without problems.
        path: field path of ``openAPIV3Schema``.
    """
    walk = _Walk()
    walk.node(structural, "root", path)
    walk.completeness(structural.values, structural, path, path)
    walk.schema(structural, path, root=True)
    problems = sorted(walk.structural, key=lambda problem: problem.path)
    sound = not problems
    of_rules: list[Problem] = []
    if walk.has_rules:
        from kastra_plugin_crd.rule_checks import rule_problems

        wrong = [problem.path for problem in walk.others]
        of_rules = rule_problems(structural, path, compiled=sound, wrong=wrong)
    if sound:
        from kastra_plugin_crd.default_rules import default_problems

        problems += default_problems(structural, path, rules=walk.has_rules and not of_rules)
    problems += walk.others
    if structural.nullable:
        message = "the root cannot be null"
        problems.append(Problem(message, f"{path}.nullable", reason="FieldValueForbidden"))
    told = {(problem.path, problem.reason) for problem in problems}
    return problems + [problem for problem in of_rules if (problem.path, problem.reason) not in told]


def root_problems(structural: Structural, path: str) -> list[Problem]:
    """Return what a root may not say when status is a subresource: what would be lost when status is checked alone."""
    # That a type is required is told with the rest.
    if structural.type not in ("", "object"):
        return [
            Problem(
                f"must be object when status is a subresource, found {structural.type!r}",
                f"{path}.type",
                reason="FieldValueInvalid",
            )
        ]
    extra = sorted(structural.values.keys() - _ROOT_WITH_STATUS)
    if structural.nullable:
        extra.append("nullable")
    if structural.default is not UNSET:
        extra.append("default")
    if structural.additional is not None:
        extra.append("additionalProperties")
    for name, given in (
        ("x-kubernetes-embedded-resource", structural.embedded_resource),
        ("x-kubernetes-int-or-string", structural.int_or_string),
        ("x-kubernetes-list-type", structural.list_type),
        ("x-kubernetes-list-map-keys", structural.list_keys),
        ("x-kubernetes-map-type", structural.map_type),
    ):
        if given:
            extra.append(name)
    if not extra:
        return []
    return [
        Problem(
            f"the root cannot have {', '.join(extra)} when status is a subresource",
            path,
            hint="put it at spec",
            reason="FieldValueInvalid",
        )
    ]


_MOST_PATTERNS = 1_000_000
"""Instructions of all patterns of a schema together (``patterns.pattern_size``), about a second's work; real schemas
have some thousands."""


def _pattern_error(pattern: str) -> str:
    """Why a pattern is no regular expression, "" when it is one."""
    from kastra_plugin_crd.patterns import is_pattern

    if is_pattern(pattern):
        return ""
    import re2

    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(pattern, options)
    except re2.error as err:
        text = err.args[0] if err.args else ""
        return text.decode(errors="replace") if isinstance(text, bytes) else str(text)
    except UnicodeEncodeError:
        return "it has half of a surrogate pair"
    return "it is too large"


class _Walk:
    """A walk over a schema; ``structural`` has what makes it not structural, ``others`` the rest."""

    def __init__(self) -> None:
        self.structural: list[Problem] = []
        self.others: list[Problem] = []
        self.has_rules = False
        self._pattern_sizes: dict[str, int] = {}
        self._patterns_left = _MOST_PATTERNS

    # ------------------------------------------------------------------------------------------ structure

    def node(self, node: Structural, level: Level, path: str) -> None:
        """What a schema of the structure must and may not say."""
        if node.type == "array" and node.items is None:
            self._bad("is required: the schema of the list's items", f"{path}.items", "FieldValueRequired")
        if node.items is not None:
            self.node(node.items, "item", f"{path}.items")
        for name, below in node.properties.items():
            self.node(below, "field", f"{path}.properties.{name}")
        if node.additional is not None:
            if level == "root":
                self._forbidden(
                    "may not be used at the root",
                    f"{path}.additionalProperties",
                    "an object has apiVersion, kind, metadata",
                )
            if isinstance(node.additional, Structural):
                self.node(node.additional, "field", f"{path}.additionalProperties")
        self._extensions(node, path)
        self._values(
            node.values,
            path,
            skip_any_of=node.values.get("anyOf") == _INT_OR_STRING,
            skip_all_of=_begins_int_or_string(node.values.get("allOf")),
        )
        self._type(node, level, path)
        self._meta(node, level, path)

    def _extensions(self, node: Structural, path: str) -> None:
        if node.int_or_string:
            for given, key in (
                (node.preserve_unknown, "x-kubernetes-preserve-unknown-fields"),
                (node.embedded_resource, "x-kubernetes-embedded-resource"),
            ):
                if given:
                    self._bad("cannot go with x-kubernetes-int-or-string: true", f"{path}.{key}", "FieldValueInvalid")
        if node.embedded_resource:
            if node.additional is not None:
                self._forbidden("cannot go with x-kubernetes-embedded-resource: true", f"{path}.additionalProperties")
            if not node.preserve_unknown and not node.properties:
                self._bad(
                    "is required for an embedded resource: nothing else of it would be kept",
                    f"{path}.properties",
                    "FieldValueRequired",
                    "or set x-kubernetes-preserve-unknown-fields: true",
                )

    def _type(self, node: Structural, level: Level, path: str) -> None:
        where = f"{path}.type"
        if node.embedded_resource and node.type != "object":
            message = "must be object for an embedded resource"
            if node.type:
                self._bad(f"{message}, found {node.type!r}", where, "FieldValueInvalid")
            else:
                self._bad(message, where, "FieldValueRequired")
        elif not node.type and not node.int_or_string and not node.preserve_unknown:
            hint = "" if level == "root" else "for any value: x-kubernetes-preserve-unknown-fields: true"
            self._bad(_WITHOUT_TYPE[level], where, "FieldValueRequired", hint)
        if level == "root" and node.type and node.type != "object":
            self._bad(f"must be object at the root, found {node.type!r}", where, "FieldValueInvalid")

    def _meta(self, node: Structural, level: Level, path: str) -> None:
        """kind, apiVersion and metadata of a whole resource, the root or an embedded one."""
        is_resource = level == "root" or node.embedded_resource
        for name in ("kind", "apiVersion"):
            below = node.properties.get(name)
            if is_resource and below is not None and below.type != "string":
                self._bad(
                    f"must be string, found {below.type!r}", f"{path}.properties.{name}.type", "FieldValueInvalid"
                )
        metadata = node.properties.get("metadata")
        if metadata is None:
            return
        where = f"{path}.properties.metadata"
        if is_resource and metadata.type != "object":
            self._bad(f"must be object, found {metadata.type!r}", f"{where}.type", "FieldValueInvalid")
        if level == "root" and not _says_only_names(metadata):
            self._forbidden(
                "may restrict only name and generateName; the rest of metadata is the same for every kind", where
            )

    # -------------------------------------------------------------------------------------------- clauses

    def _values(self, values: Mapping[str, Any], path: str, *, skip_any_of: bool, skip_all_of: bool) -> None:
        """The validations of a value, with the clauses in it.

        Args:
            skip_any_of: anyOf is the one that int-or-string may have.
            skip_all_of: the first clause of allOf has it.
        """
        for key in ("anyOf", "allOf", "oneOf"):
            if key == "anyOf" and skip_any_of:
                continue
            for index, clause in enumerate(values.get(key, ())):
                first = key == "allOf" and index == 0 and skip_all_of
                self._clause(clause, f"{path}.{key}[{index}]", skip_any_of=first)
        if "not" in values:
            self._clause(values["not"], f"{path}.not")
        pattern = values.get("pattern")
        if pattern:
            self._pattern(pattern, f"{path}.pattern")

    def _pattern(self, pattern: str, path: str) -> None:
        """A pattern must compile, and all of them in bounded time."""
        if pattern in self._pattern_sizes or self._patterns_left < 0:
            return
        if error := _pattern_error(pattern):
            self._bad(
                f"{pattern[:60]!r} is no regular expression: {error}",
                path,
                "FieldValueInvalid",
                "the syntax is that of RE2: no look-around, no back-references",
            )
            return
        from kastra_plugin_crd.patterns import pattern_size

        size = self._pattern_sizes[pattern] = pattern_size(pattern)
        self._patterns_left -= size
        if self._patterns_left < 0:
            hint = "bound a length by maxLength, not by {0,1000}"
            self._bad("the patterns up to here are too large together", path, "FieldValueInvalid", hint)

    def _clause(self, clause: JsonObject, path: str, *, skip_any_of: bool = False) -> None:
        """A schema below allOf, anyOf, oneOf or not: it may only restrict what the structure allows."""
        self._values(clause, path, skip_any_of=skip_any_of, skip_all_of=False)
        for key in _NOT_IN_CLAUSES:
            if key in clause:
                self._forbidden(
                    "may not be set below allOf, anyOf, oneOf or not",
                    f"{path}.{key}",
                    "say it in the schema outside of them",
                )
        if clause.get("additionalProperties", False) is not False:
            self._forbidden(
                "may not be set below allOf, anyOf, oneOf or not", f"{path}.additionalProperties",
                "say it in the schema outside of them",
            )  # fmt: skip
        if "items" in clause:
            self._clause(clause["items"], f"{path}.items")
        for name, below in clause.get("properties", {}).items():
            self._clause(below, f"{path}.properties.{name}")
            if name == "metadata":
                self._forbidden("may not be restricted below allOf, anyOf, oneOf or not", f"{path}.properties.metadata")
        self._in_clause(clause, path)

    def _in_clause(self, clause: JsonObject, path: str) -> None:
        """The rules for all schemas, as far as a clause can break them beyond what is forbidden in one."""
        if clause.get("uniqueItems"):
            self._unique(path)
        if "additionalProperties" in clause and clause.get("properties") and clause["additionalProperties"] is not True:
            self._both(path)
        if clause.get("type", "object") not in _TYPES:
            self._unknown_type(clause["type"], path)

    def completeness(self, values: Mapping[str, Any], node: Structural | None, path: str, clause_path: str) -> None:
        """Every field that a clause of the root restricts must be in the structure."""
        for key in ("allOf", "anyOf", "oneOf"):
            for index, clause in enumerate(values.get(key, ())):
                self._complete(clause, node, path, f"{clause_path}.{key}[{index}]")
        if "not" in values:
            self._complete(values["not"], node, path, f"{clause_path}.not")

    def _complete(self, clause: JsonObject, node: Structural | None, path: str, clause_path: str) -> None:
        if node is None:
            self._bad(
                f"is required, because {clause_path} restricts it",
                path,
                "FieldValueRequired",
                "give it a schema here, too",
            )
            return
        self.completeness(clause, node, path, clause_path)
        if "items" in clause:
            self._complete(clause["items"], node.items, f"{path}.items", f"{clause_path}.items")
        for name, below in clause.get("properties", {}).items():
            self._complete(
                below, node.properties.get(name), f"{path}.properties.{name}", f"{clause_path}.properties.{name}"
            )

    # ---------------------------------------------------------------------------- rules for all schemas

    def schema(
        self, node: Structural, path: str, *, root: bool = False, in_meta: bool = False, no_defaults: str = ""
    ) -> None:
        """What holds for any schema of a definition, structural or not.

        Args:
            in_meta: this is (part of) apiVersion, kind or metadata of a resource.
            no_defaults: why there may be no default here.
        """
        if node.type and node.type not in _TYPES:
            self._unknown_type(node.type, path)
        if node.default is not UNSET and no_defaults:
            self.other(f"may not be set {no_defaults}", f"{path}.default", "FieldValueForbidden")
        if in_meta and node.embedded_resource:
            self.other(
                "may not be used inside metadata", f"{path}.x-kubernetes-embedded-resource", "FieldValueForbidden"
            )
        if node.values.get("uniqueItems"):
            self._unique(path)
        if node.rules:
            self.has_rules = True
        if node.additional is not None:
            if node.properties and node.additional is not True:
                self._both(path)
            if isinstance(node.additional, Structural):
                self.schema(
                    node.additional,
                    f"{path}.additionalProperties",
                    in_meta=in_meta,
                    no_defaults="inside additionalProperties of metadata" if in_meta else no_defaults,
                )
        for name, below in node.properties.items():
            meta = (root or node.embedded_resource) and name in _META
            self.schema(
                below,
                f"{path}.properties.{name}",
                in_meta=in_meta or meta,
                no_defaults=f"in the {name} of the whole object" if meta and root else no_defaults,
            )
        if node.items is not None:
            self.schema(node.items, f"{path}.items", in_meta=in_meta, no_defaults=no_defaults)
        self._map_type(node, path)
        self._list_type(node, path)

    def _map_type(self, node: Structural, path: str) -> None:
        if node.map_type and node.type != "object":
            self._needs_type("object", "x-kubernetes-map-type", node, path)

    def _list_type(self, node: Structural, path: str) -> None:
        items = node.items
        if node.list_type and node.type != "array":
            self._needs_type("array", "x-kubernetes-list-type", node, path)
        elif node.list_type == "set" and items is not None:
            if items.type == "array" and items.list_type not in ("", "atomic"):
                self._set_item(f"{path}.items.x-kubernetes-list-type")
            if items.type == "object" and items.map_type != "atomic":
                self._set_item(f"{path}.items.x-kubernetes-map-type")
        if node.list_keys and node.list_type != "map":
            self.other(
                "must be map when x-kubernetes-list-map-keys is given",
                f"{path}.x-kubernetes-list-type",
                "FieldValueInvalid" if node.list_type else "FieldValueRequired",
            )
        if node.list_type in ("set", "map") and items is not None and items.nullable:
            self.other(
                f"an item of a list of type {node.list_type} cannot be null",
                f"{path}.items.nullable",
                "FieldValueForbidden",
            )
        if node.list_type == "map":
            self._map_list(node, path)

    def _map_list(self, node: Structural, path: str) -> None:
        """A list whose items are told apart by keys."""
        keys = f"{path}.x-kubernetes-list-map-keys"
        if not node.list_keys:
            self.other(
                "is required for a list of type map: the fields that tell its items apart", keys, "FieldValueRequired"
            )
        items = node.items
        if items is None:
            self.other("is required for a list of type map", f"{path}.items", "FieldValueRequired")
            return
        if items.type != "object":
            self.other(
                f"must be object for a list of type map, found {items.type!r}",
                f"{path}.items.type",
                "FieldValueInvalid",
            )
        required = items.values.get("required", ())
        seen: set[str] = set()
        for name in node.list_keys:
            where = f"{path}.items.properties.{name}"
            field = items.properties.get(name)
            if name in seen and items.type == "object":
                self.other(f"has {name!r} twice", keys, "FieldValueInvalid")
            seen.add(name)
            if field is None:
                if items.type == "object":
                    self.other(f"{name!r} is no property of the items", keys, "FieldValueInvalid")
                continue
            if items.type == "object" and field.type in ("array", "object"):
                self.other(
                    f"must be a scalar, because {name} is a key of the list; found {field.type!r}",
                    f"{where}.type",
                    "FieldValueInvalid",
                )
            if name not in required and field.default is UNSET:
                self.other(
                    f"is required: {name} is a key of the list, and every item must have it",
                    f"{where}.default",
                    "FieldValueRequired",
                    f"or list {name} in required",
                )
            if field.nullable:
                self.other(f"cannot be true: {name} is a key of the list", f"{where}.nullable", "FieldValueForbidden")

    # ------------------------------------------------------------------------------------- small helpers

    def _needs_type(self, wanted: str, because: str, node: Structural, path: str) -> None:
        if node.type:
            self.other(
                f"must be {wanted} when {because} is given, found {node.type!r}", f"{path}.type", "FieldValueInvalid"
            )
        else:
            self.other(f"must be {wanted} when {because} is given", f"{path}.type", "FieldValueRequired")

    def _set_item(self, path: str) -> None:
        self.other("must be atomic for the items of a list of type set", path, "FieldValueInvalid")

    def _unique(self, path: str) -> None:
        self.other(
            "cannot be true: its check takes time with the square of the list's length",
            f"{path}.uniqueItems",
            "FieldValueForbidden",
            "for scalars: x-kubernetes-list-type: set",
        )

    def _both(self, path: str) -> None:
        self.other(
            "cannot go with properties: a schema is for an object with known fields, or for a map",
            f"{path}.additionalProperties",
            "FieldValueForbidden",
        )

    def _unknown_type(self, found: str, path: str) -> None:
        hint = "nullable: true lets a field be null" if found == "null" else ""
        self.other(
            f"expected one of {', '.join(_TYPES)}, found {found!r}", f"{path}.type", "FieldValueNotSupported", hint
        )
        if found == "null":
            self.other("null is no type here", f"{path}.type", "FieldValueForbidden", hint)

    def _forbidden(self, message: str, path: str, hint: str = "") -> None:
        self._bad(message, path, "FieldValueForbidden", hint)

    def _bad(self, message: str, path: str, reason: str, hint: str = "") -> None:
        self.structural.append(Problem(message, path, hint=hint, reason=reason))

    def other(self, message: str, path: str, reason: str, hint: str = "") -> None:
        self.others.append(Problem(message, path, hint=hint, reason=reason))


def _begins_int_or_string(clauses: Any) -> bool:
    return bool(clauses) and clauses[0].get("anyOf") == _INT_OR_STRING


def _says_only_names(metadata: Structural) -> bool:
    """Whether a schema of metadata says nothing but what name and generateName are like."""
    return (
        metadata.properties.keys() <= {"name", "generateName"}
        and not metadata.values
        and not metadata.rules
        and metadata.items is None
        and metadata.additional is None
        and not any(
            (
                metadata.nullable, metadata.title, metadata.description, metadata.documented, metadata.preserve_unknown,
                metadata.embedded_resource, metadata.int_or_string, metadata.list_type, metadata.list_keys,
                metadata.map_type, metadata.reference,
            )
        )
    )  # fmt: skip
