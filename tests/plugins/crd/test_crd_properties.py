"""Schemas and values from a generator: verdicts are those of another validator, pruning and defaulting keep their word.

The other one is the package jsonschema, in pure Python; the translation of a schema to its dialect is written here and
shares nothing with the plugin's. ``KASTRA_ORACLE_EXAMPLES=5000`` takes so many examples, others in each run.
"""

from __future__ import annotations

import copy
import os
from typing import Any

import jsonschema
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from kastra_plugin_crd.checks import check_of
from kastra_plugin_crd.defaulting import Defaulter, default, prune_nulls
from kastra_plugin_crd.explanation import explain
from kastra_plugin_crd.lists import list_problems
from kastra_plugin_crd.pruning import Pruner, prune
from kastra_plugin_crd.schema import Structural, read_schema
from kastra_plugin_crd.validation import Validator

EXAMPLES = int(os.environ.get("KASTRA_ORACLE_EXAMPLES", "0"))
NAMES = ("a", "b", "c", "spec", "x-y", "ä")
PATTERNS = ("^a", "b$", "^[a-c]+$", r"\d", r"^\w+-\d*$", "^(a|b)*c?$", "x{2,3}", r"[^a-z\d]", r"a\.b", "[-+]|/")
TEXTS = ("", "a", "ab", "abc", "b-1", "xx", "A.b", "a.b", "ä", "-", "aaaaaaaaaa", "2", "+/")
NUMBERS = (-(2**63), -3, -1, 0, 1, 2, 3, 7, 10, 2**31, 2**53, 2**63 - 1, 2**63, -1.5, 0.0, 0.5, 1.0, 2.5)


def examples(usual: int) -> settings:
    return settings(
        max_examples=EXAMPLES or usual,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )


# ------------------------------------------------------------------------------------------------------ generator

SCALARS = st.none() | st.booleans() | st.sampled_from(NUMBERS) | st.sampled_from(TEXTS)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=6,
)
SMALL = st.integers(0, 3)
BOUNDS = st.sampled_from((-3, -1, 0, 1, 2, 2.5, 7, 10))
KINDS = ("string", "integer", "number", "boolean", "object", "map", "array", "int-or-string", "any")


def some(draw: st.DrawFn, values: dict[str, st.SearchStrategy[Any]]) -> dict[str, Any]:
    """Some of the keywords, most often few."""
    return {key: draw(value) for key, value in values.items() if draw(st.integers(0, 3)) == 0}


@st.composite
def limits(draw: st.DrawFn, kind: str, inner: st.SearchStrategy[dict[str, Any]] | None) -> dict[str, Any]:
    """Validations of values of a kind, as they may stand in a schema and in a clause."""
    out: dict[str, Any] = {}
    if kind in ("string", "int-or-string"):
        out |= some(draw, {"minLength": SMALL, "maxLength": SMALL, "pattern": st.sampled_from(PATTERNS)})
    if kind in ("integer", "number", "int-or-string"):
        out |= some(draw, {"minimum": BOUNDS, "maximum": BOUNDS, "multipleOf": st.sampled_from((1, 2, 3))})
        if "minimum" in out:
            out |= some(draw, {"exclusiveMinimum": st.booleans()})
        if "maximum" in out:
            out |= some(draw, {"exclusiveMaximum": st.booleans()})
    if kind == "object":
        out |= some(draw, {"required": st.lists(st.sampled_from(NAMES), max_size=2, unique=True)})
    if kind == "map":
        out |= some(draw, {"minProperties": SMALL, "maxProperties": SMALL})
    if kind == "array":
        out |= some(draw, {"minItems": SMALL, "maxItems": SMALL})
    if kind in ("string", "integer", "number", "any"):
        out |= some(draw, {"enum": st.lists(SCALARS, min_size=1, max_size=4)})
    if inner is not None:
        several = st.lists(inner, min_size=1, max_size=3)
        out |= some(draw, {"anyOf": several, "oneOf": several, "allOf": several, "not": inner})
    return out


@st.composite
def clauses(draw: st.DrawFn, depth: int = 1) -> dict[str, Any]:
    kind = draw(st.sampled_from(KINDS))
    inner = clauses(depth - 1) if depth else None
    out = draw(limits(kind, inner))
    if inner is not None and draw(st.booleans()):
        out["properties"] = draw(st.dictionaries(st.sampled_from(NAMES), inner, max_size=2))
    return out


@st.composite
def schemas(
    draw: st.DrawFn, depth: int = 3, *, with_clauses: bool = True, kinds: tuple[str, ...] = KINDS
) -> dict[str, Any]:
    """A structural schema."""
    kind = draw(st.sampled_from(kinds if depth else KINDS[:4]))
    inner = schemas(depth - 1, with_clauses=with_clauses)
    out = draw(limits(kind, clauses() if with_clauses and draw(st.integers(0, 2)) == 0 else None))
    if kind == "int-or-string":
        out["x-kubernetes-int-or-string"] = True
    elif kind == "any":
        out["x-kubernetes-preserve-unknown-fields"] = True
    else:
        out["type"] = "object" if kind == "map" else kind
    if kind == "object":
        out["properties"] = draw(st.dictionaries(st.sampled_from(NAMES), inner, max_size=4))
        if draw(st.integers(0, 4)) == 0:
            out["x-kubernetes-preserve-unknown-fields"] = True
    elif kind == "map":
        out["additionalProperties"] = draw(inner)
    elif kind == "array":
        out["items"] = draw(inner)
        out |= some(draw, {"x-kubernetes-list-type": st.sampled_from(("set", "atomic"))})
    elif kind in ("integer", "number"):
        out |= some(draw, {"format": st.sampled_from(("int32", "int64", "float", "unheard-of"))})
    out |= some(draw, {"nullable": st.just(True)})
    if draw(st.integers(0, 3)) == 0:
        fitting = prune(draw(values_of(out)), structural(out))[0]
        if fitting is not None and accepts(out, fitting):
            out["default"] = fitting
    return out


def values_of(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that often fit a schema, but not always."""
    kind = schema.get("type", "string" if "x-kubernetes-int-or-string" in schema else "")
    plain: st.SearchStrategy[Any]
    if kind == "object":
        if "additionalProperties" in schema:
            plain = st.dictionaries(st.sampled_from(NAMES), values_of(schema["additionalProperties"]), max_size=3)
        else:
            known = {name: values_of(sub) for name, sub in schema.get("properties", {}).items()}
            required = {name: known.get(name, JSON) for name in schema.get("required", ())}
            plain = st.fixed_dictionaries(required, optional={n: v for n, v in known.items() if n not in required})
    elif kind == "array":
        plain = st.lists(values_of(schema["items"]), max_size=3)
    elif kind == "boolean":
        plain = st.booleans()
    elif kind in ("integer", "number"):
        plain = st.sampled_from(NUMBERS)
    elif kind == "string":
        plain = st.sampled_from(TEXTS)
    else:
        plain = JSON
    if "enum" in schema:
        plain = st.sampled_from(schema["enum"]) | plain
    if schema.get("nullable"):
        plain = plain | st.none()
    # One value in a few is anything at all, unknown fields included.
    return st.integers(0, 11).flatmap(lambda n: JSON if n == 0 else plain)


ROOTS = schemas(kinds=("object",))
PAIRS = ROOTS.flatmap(lambda schema: st.tuples(st.just(schema), values_of(schema)))


def structural(schema: dict[str, Any]) -> Structural:
    read, problems = read_schema(schema, "schema")
    assert problems == [], [str(problem) for problem in problems]
    return read


# --------------------------------------------------------------------------------------------- the other validator


def translated(schema: dict[str, Any], *, clause: bool = False) -> dict[str, Any]:
    """JSON Schema for the package jsonschema."""
    same = ("minLength", "maxLength", "pattern", "multipleOf", "required", "enum")
    out: dict[str, Any] = {key: schema[key] for key in same if key in schema}
    out |= {key: schema[key] for key in ("minProperties", "maxProperties", "minItems", "maxItems") if key in schema}
    all_of: list[dict[str, Any]] = []
    for key, strict in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if key in schema:
            all_of.append({strict if schema.get(strict) else key: schema[key]})
    if schema.get("x-kubernetes-int-or-string"):
        out["type"] = ["integer", "string"]
    elif "type" in schema:
        out["type"] = schema["type"]
    if "integer" in out.get("type", ()):
        bits = 32 if schema.get("format") == "int32" else 64
        all_of.append({"minimum": -(2 ** (bits - 1)), "maximum": 2 ** (bits - 1) - 1})
    elif out.get("type") == "number" and schema.get("format") == "float":
        all_of.append({"minimum": -(2**128), "maximum": 2**128})
    if "properties" in schema:
        out["properties"] = {name: translated(sub, clause=clause) for name, sub in schema["properties"].items()}
    if "additionalProperties" in schema:
        out["additionalProperties"] = translated(schema["additionalProperties"])
    if "items" in schema:
        out["items"] = translated(schema["items"])
    for key in ("anyOf", "oneOf"):
        if key in schema:
            out[key] = [translated(sub, clause=True) for sub in schema[key]]
    if "not" in schema:
        out["not"] = translated(schema["not"], clause=True)
    out["allOf"] = all_of + [translated(sub, clause=True) for sub in schema.get("allOf", ())]
    of_null: Any = "type" not in out or bool(schema.get("nullable"))
    if of_null and "enum" in schema:
        of_null = None in schema["enum"]
    return {"if": {"type": "null"}, "then": of_null, "else": out}


def accepts(schema: dict[str, Any], value: Any) -> bool:
    return bool(jsonschema.Draft202012Validator(translated(schema)).is_valid(value))


# ------------------------------------------------------------------------------------------------------ properties


@examples(70)
@given(PAIRS)
def test_verdicts_are_those_of_another_validator(pair: tuple[dict[str, Any], Any]) -> None:
    schema, value = pair
    read = structural(schema)
    expected = accepts(schema, value)
    assert Validator(read).is_valid(value) == expected
    # What explains a refusal comes to the same verdict by itself.
    assert (explain(check_of(read), value) == []) == expected


@examples(30)
@given(PAIRS)
def test_every_refusal_is_explained_at_a_place_in_the_value(pair: tuple[dict[str, Any], Any]) -> None:
    schema, value = pair
    problems = Validator(structural(schema)).problems(value, "root")
    assert bool(problems) == (not accepts(schema, value))
    for problem in problems:
        assert problem.path.startswith("root")
        assert problem.reason
        assert problem.message != "it does not fit its schema"


@examples(30)
@given(PAIRS)
def test_what_does_not_change_is_never_refused(pair: tuple[dict[str, Any], Any]) -> None:
    schema, value = pair
    assert Validator(structural(schema)).problems(value, "root", copy.deepcopy(value)) == []


@examples(30)
@given(PAIRS)
def test_pruning_is_done_once_and_for_all(pair: tuple[dict[str, Any], Any]) -> None:
    schema, value = pair
    read, before = structural(schema), copy.deepcopy(value)
    pruned, dropped = prune(value, read)
    assert value == before
    assert bool(dropped) == (pruned != value)
    assert prune(pruned, read) == (pruned, [])
    found, problems = Pruner(read).prune(value)
    assert found == pruned
    assert [str(one) for one in problems] == [str(one) for one in dropped]


@examples(30)
@given(PAIRS)
def test_defaulting_is_done_once_and_for_all(pair: tuple[dict[str, Any], Any]) -> None:
    schema, value = pair
    read, before = structural(schema), copy.deepcopy(value)
    filled = Defaulter(read).default(value)
    assert value == before
    assert default(prune_nulls(value, read), read) == filled
    assert Defaulter(read).default(filled) == filled
    assert default(filled, read) == filled


@examples(30)
@given(schemas(with_clauses=False, kinds=("object",)).flatmap(lambda s: st.tuples(st.just(s), values_of(s))))
def test_what_fits_still_fits_when_it_is_pruned_and_has_its_defaults(pair: tuple[dict[str, Any], Any]) -> None:
    schema, value = pair
    read = structural(schema)
    # A null where the schema allows none is as good as no field at all, so a required one is missing then.
    pruned = prune_nulls(prune(value, read)[0], read)
    assume(accepts(schema, pruned))
    assert Validator(read).problems(Defaulter(read).default(pruned)) == []


@examples(60)
@given(st.lists(JSON, max_size=6))
def test_a_set_is_refused_exactly_when_an_item_is_there_twice(items: list[Any]) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "array", "x-kubernetes-list-type": "set", "items": {}}}}
    texts = [jsonschema_text(item) for item in items]
    problems = list_problems({"a": items}, structural(schema))
    assert bool(problems) == (len(set(texts)) < len(texts))


def jsonschema_text(value: Any) -> str:
    """The same text for the same JSON, and only for it."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key!r}:{jsonschema_text(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(jsonschema_text, value)) + "]"
    return f"{type(value).__name__} {value!r}"
