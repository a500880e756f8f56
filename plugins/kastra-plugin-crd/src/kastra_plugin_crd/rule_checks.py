"""What makes the rules of a definition right: that they compile, say what they should, and cannot take too long.

Source: Kubernetes' apiextensions-apiserver, ``pkg/apis/apiextensions/validation/{validation,cel_validation}.go``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

import attrs

from kastra_core.cel.cost import estimate
from kastra_core.errors import Problem
from kastra_plugin_crd.cel_types import MAX_MANIFEST_BYTES, Declarations, Declared
from kastra_plugin_crd.rule_paths import FieldPathError, field_path
from kastra_plugin_crd.rule_programs import SELF, CompiledRule, Compiler
from kastra_plugin_crd.schema import Rule, Structural, read_schema

__all__ = ["RULE_COST_LIMIT", "SCHEMA_COST_LIMIT", "rule_problems", "rules_of"]

RULE_COST_LIMIT: Final = 10_000_000
"""Steps that a rule may take for one object at most, as estimated for the largest object there can be."""
SCHEMA_COST_LIMIT: Final = 100_000_000
"""Steps that all rules of a schema may take together, likewise."""

MAX_RULES: Final = 2_000
"""Rules of one schema. Kubernetes sets no limit; the largest known definitions have about a hundred."""
MAX_CHARACTERS: Final = 400_000
"""Characters of all rules and computed messages of one schema; it takes a second or two to compile so many."""
REASONS: Final = ("FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired")
_ADVICE: Final = "make the rule simpler, or set maxItems, maxProperties and maxLength where lists, maps and texts are"
_LINE_BREAK: Final = re.compile(r"[\r\n]")


def rule_problems(
    structural: Structural, path: str, *, compiled: bool = True, wrong: Collection[str] = ()
) -> list[Problem]:
    """Return what is wrong with the rules of a schema.

    Args:
        structural: the schema of a whole resource.
        path: field path of the schema in its definition ("spec.versions[0].schema.openAPIV3Schema").
        compiled: whether the rules are compiled, too; False for a schema that is not structural.
        wrong: paths of what else is wrong with the schema; rules at and above them are not compiled.
    """
    check = _Check(structural, compiled, wrong)
    check.schema(structural, path, _Scope(root=True, cardinality=1, uncorrelated=""))
    check.total(path)
    return check.problems


def rules_of(schema: Mapping[str, Any]) -> Iterator[Rule]:
    """The rules of a schema that is kept as JSON, as a clause of allOf is."""
    for each in schema.get("x-kubernetes-validations") or ():
        given = each or {}
        yield Rule(
            rule=given.get("rule") or "",
            message=given.get("message") or "",
            message_expression=given.get("messageExpression") or "",
            reason=given.get("reason") or "",
            field_path=given.get("fieldPath") or "",
            optional_old_self=given.get("optionalOldSelf"),
        )


@attrs.frozen
class _Scope:
    """Where in the schema a node is."""

    root: bool
    """A whole resource: the object itself, or an embedded one."""
    cardinality: int | None
    """How many values there can be of the node; None: only bounded by the size of a manifest."""
    uncorrelated: str
    """Path of the list above it whose items correspond to no stored ones, "" if there is none."""


class _Check:
    def __init__(self, structural: Structural, compiled: bool, wrong: Collection[str]) -> None:
        self.problems: list[Problem] = []
        self._wrong = tuple(wrong)
        self._top, self._compiled = structural, compiled
        self._declarations: Declarations | None = None
        self._cost = self._rules = self._characters = 0
        self._expensive: list[tuple[int, str]] = []

    def _add(self, message: str, path: str, reason: str, hint: str = "") -> None:
        self.problems.append(Problem(message, path, reason=reason, hint=hint))

    def schema(self, structural: Structural, path: str, scope: _Scope) -> bool:
        """Check a schema and all below it; return whether all rules are well written."""
        right = True
        most = _most_below(structural)
        cardinality = None if most is None or scope.cardinality is None else most * scope.cardinality
        if isinstance(structural.additional, Structural):
            below = _Scope(structural.additional.embedded_resource, cardinality, scope.uncorrelated)
            right &= self.schema(structural.additional, f"{path}.additionalProperties", below)
        for key, inner in structural.properties.items():
            below = _Scope(inner.embedded_resource, cardinality, scope.uncorrelated)
            right &= self.schema(inner, f"{path}.properties.{key}", below)
        if structural.items is not None:
            uncorrelated = scope.uncorrelated or ("" if structural.list_type == "map" else path)
            below = _Scope(structural.items.embedded_resource, cardinality, uncorrelated)
            right &= self.schema(structural.items, f"{path}.items", below)
        right &= self._clauses(structural.values, path)
        if structural.rules:
            right &= self._form(structural.rules, structural, path)
            if right and self._compiled and not any(_is_below(each, path) for each in self._wrong):
                self._meaning(structural, path, scope)
        return right

    def _clauses(self, schema: Mapping[str, Any], path: str) -> bool:
        """Check the form of rules in what is kept as JSON; they are compiled when they are run."""
        right = True
        for keyword in ("allOf", "anyOf", "oneOf"):
            for index, clause in enumerate(schema.get(keyword) or ()):
                right &= self._json(clause, f"{path}.{keyword}[{index}]")
        return self._json(schema.get("not"), f"{path}.not") and right

    def _json(self, schema: Any, path: str) -> bool:
        if not isinstance(schema, Mapping):
            return True
        right = self._clauses(schema, path)
        for key, inner in (schema.get("properties") or {}).items():
            right &= self._json(inner, f"{path}.properties.{key}")
        right &= self._json(schema.get("additionalProperties"), f"{path}.additionalProperties")
        right &= self._json(schema.get("items"), f"{path}.items")
        if rules := tuple(rules_of(schema)):
            right &= self._form(rules, read_schema(dict(schema), path)[0], path)
        return right

    def _form(self, rules: tuple[Rule, ...], structural: Structural, path: str) -> bool:
        """What can be said of rules without compiling them."""
        before = len(self.problems)
        self._count(rules)
        for index, rule in enumerate(rules):
            at = f"{path}.x-kubernetes-validations[{index}]"
            text, message = rule.rule.strip(), rule.message.strip()
            if not text:
                self._add("expected a rule, found none", f"{at}.rule", "FieldValueRequired")
            elif rule.message and not message:
                self._add("expected a message, found blanks", f"{at}.message", "FieldValueInvalid")
            elif _LINE_BREAK.search(message):
                self._add("expected one line, found line breaks", f"{at}.message", "FieldValueInvalid")
            elif _LINE_BREAK.search(text) and not message:
                hint = "a rule of several lines needs a message"
                self._add("expected a message, found none", f"{at}.message", "FieldValueRequired", hint)
            if rule.message_expression and not rule.message_expression.strip():
                self._add("expected an expression, found blanks", f"{at}.messageExpression", "FieldValueRequired")
            if rule.reason and rule.reason not in REASONS:
                allowed = f"expected one of {', '.join(REASONS)}, found {rule.reason!r}"
                self._add(allowed, f"{at}.reason", "FieldValueNotSupported")
            if rule.field_path:
                self._field_path(rule.field_path, structural, f"{at}.fieldPath")
        return len(self.problems) == before

    def _count(self, rules: tuple[Rule, ...]) -> None:
        """Stop to compile when there is too much of it; :meth:`total` says so."""
        self._rules += len(rules)
        self._characters += sum(len(rule.rule) + len(rule.message_expression) for rule in rules)
        if self._rules > MAX_RULES or self._characters > MAX_CHARACTERS:
            self._compiled = False

    def _field_path(self, text: str, structural: Structural, path: str) -> None:
        if not text.strip():
            self._add("expected the path of a field, found blanks", path, "FieldValueInvalid")
        if _LINE_BREAK.search(text):
            self._add("expected one line, found line breaks", path, "FieldValueInvalid")
        try:
            field_path(text, structural)
        except FieldPathError as err:
            self._add(f"expected the path of a field, found {text[:200]!r}: {err}", path, "FieldValueInvalid")

    def _declared(self, structural: Structural, path: str, scope: _Scope) -> Declared | None:
        if self._declarations is None:
            self._declarations = Declarations()
            self._declarations.of(self._top, SELF, root=True)  # gives names from the top
        return self._declarations.of(structural, path, root=scope.root)

    def _meaning(self, structural: Structural, path: str, scope: _Scope) -> None:
        path = f"{path}.x-kubernetes-validations"
        declared = self._declared(structural, path, scope)
        if declared is None:
            self._add("rules cannot look at what is kept without a schema", path, "InternalError")
            return
        compiler = Compiler(structural, declared.type)
        cardinality = scope.cardinality
        if cardinality is None:
            cardinality = MAX_MANIFEST_BYTES // (declared.least_bytes + 1)
        for index, rule in enumerate(structural.rules):
            self._rule(compiler.compile(rule), f"{path}[{index}]", declared, cardinality, scope.uncorrelated)

    def _rule(self, compiled: CompiledRule, at: str, declared: Declared, cardinality: int, uncorrelated: str) -> None:
        if compiled.error or compiled.program is None:
            self._add(compiled.error, f"{at}.rule", "FieldValueInvalid")
            return
        most = estimate(compiled.program.tree, root=declared.type).most * cardinality
        self._observe(most, "rule", f"{at}.rule")
        if compiled.message_error:
            self._add(compiled.message_error, f"{at}.messageExpression", "FieldValueInvalid")
        elif compiled.message is not None:
            most = estimate(compiled.message.tree, root=declared.type).most
            self._observe(most, "message", f"{at}.messageExpression")
        if compiled.uses_old and uncorrelated:
            text = f"oldSelf cannot be used inside {uncorrelated}: its items correspond to no stored ones"
            hint = "x-kubernetes-list-type: map makes them correspond"
            self._add(text, f"{at}.rule", "FieldValueInvalid", hint)
        elif not compiled.uses_old and compiled.rule.optional_old_self is not None:
            text = "it may not be set when the rule does not use oldSelf"
            self._add(text, f"{at}.optionalOldSelf", "FieldValueInvalid")

    def _observe(self, cost: int, what: str, path: str) -> None:
        self._cost += cost
        if cost > RULE_COST_LIMIT:
            text = f"the {what} may take too long: {_excess(cost, RULE_COST_LIMIT)} what it is allowed"
            self._add(text, path, "FieldValueForbidden", _ADVICE)
        if cost >= SCHEMA_COST_LIMIT // 100:
            self._expensive.append((cost, path))

    def total(self, path: str) -> None:
        """Say whether there are too many rules; whether they may take too long together, and which of them do."""
        if self._rules > MAX_RULES:
            text = f"has {self._rules:,} rules; up to {MAX_RULES:,} are allowed"
            self._add(text, path, "FieldValueTooMany")
        elif self._characters > MAX_CHARACTERS:
            text = f"its rules have {self._characters:,} characters; up to {MAX_CHARACTERS:,} are allowed"
            self._add(text, path, "FieldValueTooLong")
        if self._cost <= SCHEMA_COST_LIMIT:
            return
        for _, at in sorted(self._expensive, key=lambda each: -each[0])[:4]:
            text = "it has a large part in what the rules of the schema take, which is too much"
            self._add(text, at, "FieldValueForbidden", _ADVICE)
        text = f"its rules may take too long: {_excess(self._cost, SCHEMA_COST_LIMIT)} what they are allowed together"
        self._add(text, path, "FieldValueForbidden", _ADVICE)


def _is_below(path: str, above: str) -> bool:
    return path.startswith(above) and path[len(above) :][:1] in ("", ".", "[")


def _most_below(structural: Structural) -> int | None:
    """How many values of the schemas right below there can be for one of this; None: nobody says."""
    keyword = {"object": "maxProperties", "array": "maxItems"}.get(structural.type)
    if keyword is None or (keyword == "maxProperties" and structural.additional is None):
        return 1
    most = structural.values.get(keyword)
    return None if most is None else max(int(most), 0)


def _excess(cost: int, limit: int) -> str:
    factor = cost / limit
    return "more than 100 times" if factor > 100 else f"{factor:.1f} times" if factor >= 1.5 else f"{factor:.4g} times"
