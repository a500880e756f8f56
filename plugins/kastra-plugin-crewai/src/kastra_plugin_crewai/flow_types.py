"""What is known of the types of a flow's values before it runs, so that nothing is refused that only fails later.

A workflow refuses a field of a text or a comparison of a number with a text when it is applied; a flow fails when it
gets there. ``dyn(...)`` around a value says that its type is only known then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kastra_core.cel import DYN, JSON_DIALECT, CelSyntaxError, Environment
from kastra_core.cel.tokens import Token

__all__ = ["COMPARISONS", "EXCLUDED", "UNSURE", "is_doubtful", "type_of_cel", "type_of_state"]

COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">="})
UNSURE = "?"
"""Something is known, but not what."""
EXCLUDED = "!"
"""The path may be refused as it is."""
_CEL = {"bool": "boolean", "int": "number", "double": "number", "string": "string", "list": "array", "map": "object"}
_UNREAD = frozenset(
    ("$ref", "allOf", "anyOf", "oneOf", "if", "not", "patternProperties", "prefixItems", "const", "enum")
)
"""Keywords that this does not look into."""
_LITERALS = {"text": "string", "float": "number", "int": "number", "uint": "number"}


def type_of_state(schema: Any, members: Sequence[str]) -> str:
    """JSON type of a path below an object's schema; "" where nothing is known; or one of the marks above."""
    for member in members:
        if not isinstance(schema, Mapping) or not schema:
            return ""
        if _UNREAD & schema.keys():
            return EXCLUDED
        kind = schema.get("type")
        if kind not in ("object", None, ["object", "null"]):
            return EXCLUDED
        properties = schema.get("properties")
        inner = properties.get(member) if isinstance(properties, Mapping) else None
        if inner is None:
            closed = "additionalProperties" in schema and schema["additionalProperties"] is not True
            return EXCLUDED if closed else ""
        schema = inner
        if schema is False:
            return EXCLUDED
    if not isinstance(schema, Mapping) or not schema.keys() - {"title", "description", "default", "examples"}:
        return ""
    kind = schema.get("type")
    if _UNREAD & schema.keys() or not isinstance(kind, str):
        return UNSURE
    return "number" if kind == "integer" else kind


def type_of_cel(source: str) -> str:
    """JSON type of an expression as far as its form tells."""
    try:
        found = Environment(dict.fromkeys(("state", "outputs", "item"), DYN), JSON_DIALECT).compile(source)
    except CelSyntaxError:
        return ""
    return _CEL.get(found.type.name, "" if found.type.name == "dyn" else UNSURE)


def is_doubtful(kind: str, tokens: Sequence[Token], index: int, after: int, *, below: bool) -> bool:
    """Whether a value of a type may be refused for how it is used.

    Args:
        index: of its first token.
        after: of the token after it.
        below: a member of it is read.
    """
    if not kind:
        return False
    if kind == EXCLUDED or (below and kind != "object"):
        return True
    return any(
        sign.text in COMPARISONS and other != kind
        for sign, other in (
            (tokens[after], _literal(tokens, after + 1)),
            (tokens[index - 1] if index else tokens[-1], _literal_before(tokens, index - 2)),
        )
    )


def _literal(tokens: Sequence[Token], at: int) -> str:
    """Type of a literal that is the whole side of a comparison; "" for all else."""
    if at < len(tokens) and tokens[at].text == "-":
        at += 1
    if at + 1 >= len(tokens):
        return ""
    ends = tokens[at + 1].kind == "end" or tokens[at + 1].text in ("&&", "||", "?", ":", ")", ",", "]", "}")
    return _type_of(tokens[at]) if ends else ""


def _literal_before(tokens: Sequence[Token], at: int) -> str:
    if at < 0:
        return ""
    starts = at == 0 or tokens[at - 1].text in ("&&", "||", "?", ":", "(", ",", "[", "{", "!")
    return _type_of(tokens[at]) if starts else ""


def _type_of(token: Token) -> str:
    if token.text in ("true", "false"):
        return "boolean"
    return _LITERALS.get(token.kind, "")
