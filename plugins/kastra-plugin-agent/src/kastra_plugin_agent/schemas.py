"""JSON schemas that a manifest brings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kastra_core.errors import Problem

__all__ = ["schema_problems", "schema_validator"]


def schema_validator(schema: Mapping[str, Any]) -> Any:
    """A validator; references to other documents are refused, nothing is ever fetched.

    Raises: ValueError, jsonschema_rs.ValidationError.
    """
    import jsonschema_rs

    return jsonschema_rs.validator_for(dict(schema), retriever=_refuse)


def schema_problems(schema: Mapping[str, Any], path: str) -> Iterable[Problem]:
    """What is wrong with a schema at a field."""
    import jsonschema_rs

    try:
        schema_validator(schema)
    except (ValueError, jsonschema_rs.ValidationError) as error:
        yield Problem(f"it is no valid JSON schema: {str(error).splitlines()[0]}", path)


def _refuse(uri: str) -> Any:
    raise ValueError("a schema may refer to itself only ('#/...')")
