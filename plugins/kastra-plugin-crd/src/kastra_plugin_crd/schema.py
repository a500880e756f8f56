"""Reads a schema: bounded, and without what Kubernetes drops.

:func:`read_schema` turns the OpenAPI v3 schema of a definition into a tree of :class:`Structural`. It looks at the
types of keywords and at keywords that no definition may use; everything else is a matter of ``structural_rules``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from kastra_core.api.meta import JsonObject
from kastra_core.errors import Problem
from kastra_plugin_crd.structural import MAX_BYTES, MAX_DEPTH, MAX_NODES, UNSET, Rule, Structural, Unset

__all__ = [
    "MAX_BYTES",
    "MAX_DEPTH",
    "MAX_NODES",
    "UNSET",
    "Rule",
    "Structural",
    "Unset",
    "known_part",
    "read_schema",
    "size_problem",
]


def read_schema(schema: JsonObject, path: str) -> tuple[Structural, list[Problem]]:
    """Return what a schema says, and what is wrong with how it says it.

    The tree is complete only when there are no problems. Nothing is compiled (patterns, rules) and no rule for
    structural schemas is looked at.

    Args:
        schema: value of ``openAPIV3Schema``.
        path: its field path; problems begin with it.
    """
    too_large = size_problem(schema, path)
    if too_large is not None:
        return Structural(), [too_large]
    reader = _Reader()
    try:
        return reader.node(schema, path, 1), reader.problems
    except _TooMuch as err:
        return Structural(), [*reader.problems, err.problem]


class _TooMuch(Exception):
    """A bound of the reader is reached; nothing more is read."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def size_problem(value: Any, path: str) -> Problem | None:
    """Return what is wrong with the size of a value, found before anything walks through it in Python, or None."""
    import orjson

    try:
        size = len(orjson.dumps(value))
    except orjson.JSONEncodeError as err:
        # orjson nests at most 254 deep.
        if "ecursion" in str(err):
            hint = f"a schema may hold schemas {MAX_DEPTH} levels deep"
            return Problem("is nested too deeply", path, hint=hint, reason="FieldValueInvalid")
        return Problem(f"is not JSON: {err}", path, reason="FieldValueInvalid")
    if size > MAX_BYTES:
        message = f"has {size / 1048576:.1f} MiB as JSON, at most {MAX_BYTES // 1048576} MiB are read"
        hint = "leave out descriptions, or versions that nobody uses"
        return Problem(message, path, hint=hint, reason="FieldValueTooLong")
    return None


_FIELD_NAMES: Final = {
    "type": "type",
    "nullable": "nullable",
    "title": "title",
    "description": "description",
    "x-kubernetes-embedded-resource": "embedded_resource",
    "x-kubernetes-int-or-string": "int_or_string",
    "x-kubernetes-list-type": "list_type",
    "x-kubernetes-map-type": "map_type",
}
_TEXTS: Final = frozenset({"type", "title", "description", "format", "pattern", "id", "$schema", "$ref"})
_FLAGS: Final = frozenset(
    {
        "nullable",
        "uniqueItems",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "x-kubernetes-embedded-resource",
        "x-kubernetes-int-or-string",
        "x-kubernetes-preserve-unknown-fields",
    }
)
_NUMBERS: Final = frozenset({"minimum", "maximum", "multipleOf"})
_COUNTS: Final = frozenset({"minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"})
_CLAUSES: Final = frozenset({"allOf", "anyOf", "oneOf"})
_CHOICES: Final = {
    "x-kubernetes-list-type": ("atomic", "set", "map"),
    "x-kubernetes-map-type": ("atomic", "granular"),
}
_UNSUPPORTED: Final = frozenset(
    {"id", "$schema", "$ref", "patternProperties", "dependencies", "additionalItems", "definitions"}
)
"""Keywords that Kubernetes' type has and no definition may use."""
_KNOWN: Final = (
    frozenset(_FIELD_NAMES)
    | _TEXTS
    | _FLAGS
    | _NUMBERS
    | _COUNTS
    | _CLAUSES
    | _UNSUPPORTED
    | {
        "properties", "items", "additionalProperties", "not", "enum", "required", "default", "example", "externalDocs",
        "x-kubernetes-list-map-keys", "x-kubernetes-validations", "x-kastra-reference",
    }
)  # fmt: skip
_RULE_FIELDS: Final = {
    "rule": "rule",
    "message": "message",
    "messageExpression": "message_expression",
    "reason": "reason",
    "fieldPath": "field_path",
}


class _Reader:
    """One reading: its problems, and how many schemas it has seen."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.nodes = 0

    # ------------------------------------------------------------------------------------------------ schemas

    def node(self, schema: Any, path: str, depth: int) -> Structural:
        """A schema of the structure: the root, a property, items or additionalProperties."""
        if schema is None:  # as Kubernetes: "name: null" below properties is an empty schema
            return Structural()
        if not self._is_object(schema, path, "a schema"):
            return Structural()
        self._count(path, depth)
        fields: dict[str, Any] = {}
        values: dict[str, Any] = {}
        for key, given in schema.items():
            if given is None:
                continue
            if key in _FIELD_NAMES:
                if self._scalar(key, given, path):
                    fields[_FIELD_NAMES[key]] = given
            elif key == "properties":
                fields["properties"] = self._each(given, f"{path}.properties", depth, self.node)
            elif key == "items":
                if self._is_schema(given, f"{path}.items"):
                    fields["items"] = self.node(given, f"{path}.items", depth + 1)
            elif key == "additionalProperties":
                fields["additional"] = self._additional(given, path, depth, self.node)
            elif key == "default":
                fields["default"] = given
            elif key in ("example", "externalDocs"):
                fields["documented"] = True
            elif key == "x-kubernetes-preserve-unknown-fields":
                fields["preserve_unknown"] = self._preserves(given, path)
            elif key == "x-kubernetes-list-map-keys":
                fields["list_keys"] = tuple(self._names(given, f"{path}.{key}"))
            elif key == "x-kubernetes-validations":
                fields["rules"] = self._rules(given, f"{path}.{key}")
            elif key == "x-kastra-reference":
                fields["reference"] = self._reference(given, schema.get("type"), f"{path}.{key}")
            else:
                self._value(key, given, path, depth, values)
        return Structural(**fields, values=values)

    def clause(self, schema: Any, path: str, depth: int) -> JsonObject:
        """A schema that only restricts (below allOf, anyOf, oneOf and not), without what says nothing."""
        if schema is None:
            return {}
        if not self._is_object(schema, path, "a schema"):
            return {}
        self._count(path, depth)
        out: JsonObject = {}
        for key, given in schema.items():
            if given is None:
                continue
            if key in _FIELD_NAMES:
                # A choice counts even when it is empty: no clause may have one.
                if self._scalar(key, given, path) and (given or key in _CHOICES):
                    out[key] = given
            elif key == "properties":
                below = self._each(given, f"{path}.properties", depth, self.clause)
                if below:
                    out[key] = below
            elif key == "items":
                if self._is_schema(given, f"{path}.items"):
                    out[key] = self.clause(given, f"{path}.items", depth + 1)
            elif key == "additionalProperties":
                out[key] = self._additional(given, path, depth, self.clause)
            elif key == "default":
                out[key] = given
            elif key == "x-kubernetes-preserve-unknown-fields":
                if self._preserves(given, path):
                    out[key] = True
            elif key == "x-kubernetes-list-map-keys":
                if names := self._names(given, f"{path}.{key}"):
                    out[key] = names
            elif key == "x-kubernetes-validations":
                if self._rules(given, f"{path}.{key}"):
                    out[key] = given
            elif key not in ("example", "externalDocs", "x-kastra-reference"):
                self._value(key, given, path, depth, out)
        return out

    # ----------------------------------------------------------------------------------------------- keywords

    def _value(self, key: str, given: Any, path: str, depth: int, values: JsonObject) -> None:
        """A validation of the value, or a keyword that may not be used; unknown ones are dropped."""
        where = f"{path}.{key}"
        if key in _CLAUSES:
            if self._is_list(given, where) and given:
                values[key] = [self.clause(item, f"{where}[{i}]", depth + 1) for i, item in enumerate(given)]
        elif key == "not":
            values[key] = self.clause(given, where, depth + 1)
        elif key == "enum":
            if self._is_list(given, where) and given:
                values[key] = given
        elif key == "required":
            if names := self._names(given, where):
                values[key] = names
        elif key in _NUMBERS:
            if isinstance(given, bool) or not isinstance(given, int | float):
                self._wrong(where, "a number", given)
            else:
                values[key] = given
        elif key in _COUNTS:
            if isinstance(given, bool) or not isinstance(given, int):
                self._wrong(where, "an integer", given)
            else:
                values[key] = given
        elif key in _UNSUPPORTED:
            self._unsupported(key, given, path)
        elif (key in _TEXTS or key in _FLAGS) and self._scalar(key, given, path) and given:
            values[key] = given

    def _scalar(self, key: str, given: Any, path: str) -> bool:
        """Whether a text or a flag is one, and one of those allowed."""
        if key in _FLAGS:
            if not isinstance(given, bool):
                self._wrong(f"{path}.{key}", "true or false", given)
                return False
        elif not isinstance(given, str):
            hint = "give one type, and nullable: true where null may be written" if isinstance(given, list) else ""
            self._wrong(f"{path}.{key}", "a string", given, hint)
            return False
        elif key in _CHOICES and given not in _CHOICES[key]:
            self._not_supported(f"{path}.{key}", given, _CHOICES[key])
        return True

    def _preserves(self, given: Any, path: str) -> bool:
        key = "x-kubernetes-preserve-unknown-fields"
        if self._scalar(key, given, path) and given is False:
            self._problem("may only be true, or left out", f"{path}.{key}", "FieldValueInvalid")
        return given is True

    def _additional(self, given: Any, path: str, depth: int, read: Callable[[Any, str, int], Any]) -> Any:
        if isinstance(given, bool):
            return given
        where = f"{path}.additionalProperties"
        if not isinstance(given, dict):
            self._wrong(where, "a schema, true or false", given)
            return None
        return read(given, where, depth + 1)

    def _unsupported(self, key: str, given: Any, path: str) -> None:
        if not given and key in ("id", "$schema", "patternProperties", "definitions"):
            return
        hints = {
            "$ref": "write the schema where it is used",
            "definitions": "write the schemas where they are used",
            "patternProperties": "additionalProperties is for maps with any keys",
        }
        self._problem(
            f"{key} may not be used in a definition", f"{path}.{key}", "FieldValueForbidden", hints.get(key, "")
        )

    def _rules(self, given: Any, path: str) -> tuple[Rule, ...]:
        out: list[Rule] = []
        if not self._is_list(given, path):
            return ()
        for index, item in enumerate(given):
            where = f"{path}[{index}]"
            if item is None or not self._is_object(item, where, "a rule"):
                out.append(Rule(rule=""))
                continue
            fields: dict[str, Any] = {"rule": ""}
            for key, name in _RULE_FIELDS.items():
                text = item.get(key)
                if text is None:
                    continue
                if not isinstance(text, str):
                    self._wrong(f"{where}.{key}", "a string", text)
                    continue
                fields[name] = text
                if key == "reason" and text not in _REASONS:
                    self._not_supported(f"{where}.reason", text, _REASONS)
            optional = item.get("optionalOldSelf")
            if optional is not None and not isinstance(optional, bool):
                self._wrong(f"{where}.optionalOldSelf", "true or false", optional)
            else:
                fields["optional_old_self"] = optional
            out.append(Rule(**fields))
        return tuple(out)

    def _reference(self, given: Any, kind_of_value: Any, path: str) -> tuple[str, str] | None:
        if not self._is_object(given, path, "an object with kind and group"):
            return None
        kind, group = given.get("kind"), given.get("group", "")
        if not isinstance(kind, str) or not kind:
            if kind is None or kind == "":
                self._problem("is required: the kind that is referred to", f"{path}.kind", "FieldValueRequired")
            else:
                self._wrong(f"{path}.kind", "a string", kind)
            return None
        if not isinstance(group, str):
            self._wrong(f"{path}.group", "a string", group)
            return None
        if kind_of_value not in ("string", "object"):
            self._problem(
                "only a string or an object can name a resource", path, "FieldValueInvalid",
                "put it at a field with type: string (its name) or type: object ({name, namespace})",
            )  # fmt: skip
            return None
        for extra in given.keys() - {"kind", "group"}:
            self._problem("is not known here; known are kind and group", f"{path}.{extra}", "FieldValueInvalid")
        return kind, group

    # ------------------------------------------------------------------------------------------ small helpers

    def _each(self, given: Any, path: str, depth: int, read: Callable[[Any, str, int], Any]) -> dict[str, Any]:
        if not self._is_object(given, path, "an object with a schema each"):
            return {}
        return {name: read(schema, f"{path}.{name}", depth + 1) for name, schema in given.items()}

    def _names(self, given: Any, path: str) -> list[str]:
        if not self._is_list(given, path):
            return []
        for index, name in enumerate(given):
            if not isinstance(name, str):
                self._wrong(f"{path}[{index}]", "a string", name)
                return []
        return given  # type: ignore[no-any-return]  # a list, all of texts

    def _is_schema(self, given: Any, path: str) -> bool:
        if isinstance(given, list):
            self._problem("must be one schema, not a list of schemas", path, "FieldValueForbidden")
            return False
        return self._is_object(given, path, "a schema")

    def _is_object(self, given: Any, path: str, expected: str) -> bool:
        if isinstance(given, dict):
            return True
        self._wrong(path, expected, given)
        return False

    def _is_list(self, given: Any, path: str) -> bool:
        if isinstance(given, list):
            return True
        self._wrong(path, "a list", given)
        return False

    def _count(self, path: str, depth: int) -> None:
        self.nodes += 1
        if depth > MAX_DEPTH:
            raise _TooMuch(
                Problem(
                    f"schemas are nested more than {MAX_DEPTH} levels deep", _short(path), reason="FieldValueInvalid"
                )
            )
        if self.nodes > MAX_NODES:
            raise _TooMuch(
                Problem(f"has more than {MAX_NODES} schemas in it", _short(path), reason="FieldValueTooMany")
            )
        if len(self.problems) > _MAX_PROBLEMS:
            raise _TooMuch(Problem("has more problems than are shown", _short(path), reason="FieldValueInvalid"))

    def _wrong(self, path: str, expected: str, found: Any, hint: str = "") -> None:
        self._problem(f"expected {expected}, found {_word(found)}", path, "FieldValueTypeInvalid", hint)

    def _not_supported(self, path: str, found: str, allowed: tuple[str, ...]) -> None:
        self._problem(f"expected one of {', '.join(allowed)}, found {found!r}", path, "FieldValueNotSupported")

    def _problem(self, message: str, path: str, reason: str, hint: str = "") -> None:
        self.problems.append(Problem(message, path, hint=hint, reason=reason))


_REASONS: Final = ("FieldValueRequired", "FieldValueForbidden", "FieldValueInvalid", "FieldValueDuplicate")
"""Source: Kubernetes' supported reasons of a rule."""
_MAX_PROBLEMS: Final = 100


def _short(path: str) -> str:
    """The path, cut where nobody reads on."""
    return path if len(path) <= 400 else path[:400]


def known_part(schema: Any, path: str) -> tuple[Any, list[Problem]]:
    """Return a schema without the keywords that Kubernetes does not know, and a problem for each (at most 100).

    The argument stays as it is; what is unchanged is shared with it.
    """
    notes: list[Problem] = []
    return _known_part(schema, path, 1, notes), notes


def _known_part(schema: Any, path: str, depth: int, notes: list[Problem]) -> Any:
    if not isinstance(schema, dict) or depth > MAX_DEPTH:
        return schema
    out: JsonObject | None = None
    for key, given in schema.items():
        kept = given
        if key not in _KNOWN:
            out = dict(schema) if out is None else out
            del out[key]
            if len(notes) < _MAX_PROBLEMS:
                from kastra_plugin_crd.pruning import unknown_field

                notes.append(unknown_field(key, f"{path}.{key}", dict.fromkeys(_KNOWN)))
            continue
        if key == "properties" and isinstance(given, dict):
            items = {name: _known_part(item, f"{path}.{key}.{name}", depth + 1, notes) for name, item in given.items()}
            kept = items if any(items[name] is not item for name, item in given.items()) else given
        elif key in _CLAUSES and isinstance(given, list):
            clauses = [_known_part(item, f"{path}.{key}[{i}]", depth + 1, notes) for i, item in enumerate(given)]
            kept = clauses if any(new is not old for new, old in zip(clauses, given, strict=True)) else given
        elif key in ("items", "additionalProperties", "not"):
            kept = _known_part(given, f"{path}.{key}", depth + 1, notes)
        if kept is not given:
            out = dict(schema) if out is None else out
            out[key] = kept
    return schema if out is None else out


def _word(value: Any) -> str:
    from kastra_core.serde import type_word

    return type_word(value)
