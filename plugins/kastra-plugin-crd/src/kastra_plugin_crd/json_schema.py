"""A :class:`~kastra_plugin_crd.checks.Check` as JSON Schema, for jsonschema-rs, and what it cannot say as keywords."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from kastra_plugin_crd.checks import INT64, Check, is_multiple
from kastra_plugin_crd.formats import FORMATS
from kastra_plugin_crd.patterns import matcher, rust_pattern

__all__ = ["FORMAT_PREFIX", "KEYWORDS", "formats", "json_schema"]

FORMAT_PREFIX: Final = "k8s:"
"""Before the names of formats, so that none is one of the library's own."""
_COUNTS: Final = (("minLength", "maxLength"), ("minItems", "maxItems"), ("minProperties", "maxProperties"))


def json_schema(check: Check, *, rust_patterns: bool = True) -> dict[str, Any]:
    """Return a schema of draft 2020-12 that accepts what ``check`` accepts.

    Args:
        check: what is asked of a value.
        rust_patterns: patterns that both engines read alike are left to the library's.
    """
    return _Translation(rust_patterns).schema(check)


class _Translation:
    def __init__(self, rust_patterns: bool) -> None:
        self.rust_patterns = rust_patterns

    def schema(self, check: Check) -> dict[str, Any]:
        out: dict[str, Any] = {}
        may_be_null = check.nullable or not check.types
        if check.types:
            types = [*check.types, "null"] if check.nullable else list(check.types)
            out["type"] = types[0] if len(types) == 1 else types
        if check.enum:
            out["enum"] = list(check.enum)
        self.numbers(check, out)
        for least, most in _COUNTS:
            if check.limits.get(least, 0) > 0:
                out[least] = check.limits[least]
            if most in check.limits:
                out[most] = max(check.limits[most], 0)
                if check.limits[most] < 0:  # nothing is so short
                    out[least] = max(out.get(least, 0), 1)
        if "uniqueItems" in check.limits:
            out["uniqueItems"] = True
        self.texts(check, out)
        if check.properties:
            out["properties"] = {name: self.schema(sub) for name, sub in check.properties.items()}
        if isinstance(check.additional, Check):
            out["additionalProperties"] = self.schema(check.additional)
        elif not check.additional:
            out["additionalProperties"] = False
        if check.items is not None:
            out["items"] = self.schema(check.items)
        if check.required:
            out["required"] = list(dict.fromkeys(check.required))
        if check.has_clauses:
            clauses = self.clauses(check)
            if may_be_null:  # null is not looked at by clauses
                out["anyOf"] = [{"type": "null"}, clauses]
            else:
                out.update(clauses)
        return out

    def numbers(self, check: Check, out: dict[str, Any]) -> None:
        limits = check.limits
        for key, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
            if key in limits:
                out[exclusive if limits.get(exclusive) else key] = limits[key]
        if "multipleOf" in limits:
            out["x-multiple-of"] = limits["multipleOf"]
        if "integer" in check.types or check.bounds is not None:
            low, high = check.bounds or INT64
            for key, exclusive, bound in (
                ("minimum", "exclusiveMinimum", low),
                ("maximum", "exclusiveMaximum", high),
            ):
                if key not in out and exclusive not in out:
                    out[key] = bound
                elif key in out:
                    out[key] = (max if key == "minimum" else min)(out[key], bound)
                else:
                    out[key] = bound

    def texts(self, check: Check, out: dict[str, Any]) -> None:
        if check.pattern:
            known = rust_pattern(check.pattern) if self.rust_patterns and matcher(check.pattern) is not None else None
            if known is not None:
                out["pattern"] = known
            else:
                out["x-pattern"] = check.pattern
        if check.format and check.format != "password":
            out["format"] = FORMAT_PREFIX + check.format

    def clauses(self, check: Check) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key, checks in (("allOf", check.all_of), ("anyOf", check.any_of), ("oneOf", check.one_of)):
            if checks:
                out[key] = [self.schema(one) for one in checks]
        if check.negated is not None:
            out["not"] = self.schema(check.negated)
        return out


class _Pattern:
    """``x-pattern``: a text in which Go's regular expression is found. One that is none is found nowhere."""

    def __init__(self, parent_schema: dict[str, Any], value: str, schema_path: list[str | int]) -> None:
        self._found: Callable[[str], bool] = matcher(value) or (lambda text: False)

    def validate(self, instance: Any) -> None:
        if isinstance(instance, str) and not self._found(instance):
            raise ValueError("the pattern is not found")


class _MultipleOf:
    """``x-multiple-of``: multipleOf with Kubernetes' arithmetic."""

    def __init__(self, parent_schema: dict[str, Any], value: float, schema_path: list[str | int]) -> None:
        self._factor = value

    def validate(self, instance: Any) -> None:
        is_number = isinstance(instance, int | float) and not isinstance(instance, bool)
        if is_number and not is_multiple(instance, self._factor):
            raise ValueError("it is no multiple")


KEYWORDS: Final[dict[str, Any]] = {"x-pattern": _Pattern, "x-multiple-of": _MultipleOf}


def formats() -> dict[str, Callable[[str], bool]]:
    """The formats under the names that schemas of :func:`json_schema` have."""
    return {FORMAT_PREFIX + name: check for name, check in FORMATS.items()}
