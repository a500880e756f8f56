"""The JSON-Schema part of a schema: types, ranges, patterns, formats, required fields, enums, anyOf and its kin.

jsonschema-rs says whether a value fits; only when it does not, :mod:`kastra_plugin_crd.explanation` walks through the
value to say why. Differences from Kubernetes, which is odd in these places:

- null is taken where an enum lists it and the schema says ``nullable`` (Kubernetes refuses it),
- fractional bounds hold for integers, too (Kubernetes cuts them), and 1.5 is not in an enum of 1,
- a string with a format must be a string (Kubernetes takes lists).
"""

from __future__ import annotations

from typing import Any

from kastra_core.errors import Problem
from kastra_plugin_crd.checks import check_of
from kastra_plugin_crd.schema import Structural

__all__ = ["Validator"]


class Validator:
    """Checks values against one schema.

    Args:
        structural: the schema; compiled here, which takes about 20 µs for each schema in it.
    """

    def __init__(self, structural: Structural) -> None:
        self._check = check_of(structural)
        self._is_valid = _compiled(self._check)

    def is_valid(self, value: Any) -> bool:
        """Whether a value fits the schema."""
        if self._is_valid is not None:
            try:
                return bool(self._is_valid(value))
            except (ValueError, RecursionError):
                pass  # half of a surrogate pair, or nested too deep for the library
        return not self._explained(value, "")

    def problems(self, value: Any, path: str = "", old: Any = ...) -> list[Problem]:
        """Return what is wrong with a value, at most 1000 problems, none when it fits.

        Args:
            value: pruned, with its defaults.
            path: where it stands; problems begin with it.
            old: what stands there now, if anything: what does not change is not held against the new value.
        """
        if self.is_valid(value):
            return []
        found = self._explained(value, path)
        if not found:
            return [Problem("it does not fit its schema", path, reason="FieldValueInvalid")]
        return found if old is ... else self._explained(value, path, old)

    def _explained(self, value: Any, path: str, old: Any = ...) -> list[Problem]:
        from kastra_plugin_crd.explanation import NOTHING, explain

        return explain(self._check, value, path, NOTHING if old is ... else old)


def _compiled(check: Any) -> Any:
    """The library's verdict as a function, None when it cannot take the schema."""
    import jsonschema_rs

    from kastra_plugin_crd.json_schema import KEYWORDS, formats, json_schema

    for rust_patterns in (True, False):
        try:
            return jsonschema_rs.Draft202012Validator(
                json_schema(check, rust_patterns=rust_patterns),
                formats=formats(),
                validate_formats=True,
                keywords=KEYWORDS,
                pattern_options=jsonschema_rs.RegexOptions(),
            ).is_valid
        except (ValueError, RecursionError):
            continue  # a pattern that its engine finds too large, or a text that is no Unicode
    return None
