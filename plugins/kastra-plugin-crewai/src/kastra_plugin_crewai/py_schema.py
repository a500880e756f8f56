"""Classes of pydantic, as JSON schemas, as far as the syntax tree tells them."""

from __future__ import annotations

import ast
from typing import Any

from kastra_core.api.meta import JsonObject
from kastra_plugin_crewai.py_eval import Evaluator, Scope
from kastra_plugin_crewai.py_module import Module, docstring
from kastra_plugin_crewai.py_values import Cls, Ext, Func

__all__ = ["arguments_schema", "class_schema"]

_PLAIN = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "dict": {"type": "object"},
    "Dict": {"type": "object"},
    "list": {"type": "array"},
    "List": {"type": "array"},
    "set": {"type": "array"},
    "tuple": {"type": "array"},
    "Any": {},
    "object": {},
    "datetime": {"type": "string", "format": "date-time"},
    "date": {"type": "string", "format": "date"},
    "Decimal": {"type": "number"},
    "EmailStr": {"type": "string", "format": "email"},
    "HttpUrl": {"type": "string", "format": "uri"},
    "AnyUrl": {"type": "string", "format": "uri"},
    "UUID": {"type": "string", "format": "uuid"},
    "Path": {"type": "string"},
    "None": {"type": "null"},
}
_LISTS = frozenset({"list", "List", "Sequence", "Iterable", "set", "Set", "tuple", "Tuple", "frozenset"})
_MAPS = frozenset({"dict", "Dict", "Mapping"})
_BOUNDS = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "max_length": "maxLength",
    "min_length": "minLength",
    "pattern": "pattern",
}


class _UnreadableError(Exception):
    """The tree does not tell the schema."""


def class_schema(evaluator: Evaluator, cls: Cls) -> JsonObject | None:
    """The schema of a class's objects; None where only running would tell it."""
    try:
        return _class(evaluator, cls, ())
    except _UnreadableError:
        return None


def arguments_schema(evaluator: Evaluator, func: Func) -> JsonObject | None:
    """The schema of a function's arguments; None where its signature does not tell it."""
    spec = func.node.args
    if spec.vararg is not None or spec.kwarg is not None or spec.posonlyargs:
        return None
    defaults = dict(zip([one.arg for one in reversed(spec.args)], reversed(spec.defaults), strict=False))
    properties: JsonObject = {}
    required = []
    for at, one in enumerate([*spec.args, *spec.kwonlyargs]):
        if at == 0 and one.arg in ("self", "cls"):
            continue
        try:
            properties[one.arg] = _annotation(evaluator, one.annotation, func.module, ()) if one.annotation else {}
        except _UnreadableError:
            properties[one.arg] = {}
        if one.arg not in defaults and one not in spec.kwonlyargs:
            required.append(one.arg)
    out: JsonObject = {"type": "object", "properties": properties}
    if required:
        out["required"] = required
    return out


def _class(evaluator: Evaluator, cls: Cls, above: tuple[ast.ClassDef, ...]) -> JsonObject:
    if cls.node in above or len(above) > 20:
        raise _UnreadableError
    classes = evaluator.bases(cls)
    outside = {_last(base) for one in classes for base in one.node.bases}
    if outside & {"Enum", "StrEnum", "IntEnum"}:
        return {"enum": _enum(evaluator, cls)}
    if not outside & {"BaseModel", "TypedDict", "RootModel", "SQLModel"}:
        raise _UnreadableError
    properties: JsonObject = {}
    required: list[str] = []
    for one in reversed(classes):
        for statement in one.node.body:
            if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
                continue
            name = statement.target.id
            if name.startswith("_") or name == "model_config" or _last(statement.annotation) == "ClassVar":
                continue
            schema, needed = _property(evaluator, statement, one.module, (*above, cls.node))
            properties[name] = schema
            if needed and name not in required:
                required.append(name)
    out: JsonObject = {"type": "object", "properties": properties}
    if required:
        out["required"] = required
    about = docstring(cls.node)
    return {**out, "description": about} if about else out


def _enum(evaluator: Evaluator, cls: Cls) -> list[Any]:
    scope = Scope(cls.module, evaluator.module(cls.module))
    values = [
        evaluator.value(statement.value, scope) for statement in cls.node.body if isinstance(statement, ast.Assign)
    ]
    if not values or not all(isinstance(value, (str, int, float)) for value in values):
        raise _UnreadableError
    return values


def _property(
    evaluator: Evaluator, statement: ast.AnnAssign, module: Module, above: tuple[ast.ClassDef, ...]
) -> tuple[JsonObject, bool]:
    schema = dict(_annotation(evaluator, statement.annotation, module, above))
    value, scope = statement.value, Scope(module, evaluator.module(module))
    if value is None:
        return schema, True
    if not (isinstance(value, ast.Call) and _last(value.func) == "Field"):
        return _with_default(schema, evaluator.value(value, scope)), False
    needed = not value.args or (isinstance(value.args[0], ast.Constant) and value.args[0].value is ...)
    if not needed:
        schema = _with_default(schema, evaluator.value(value.args[0], scope))
    for one in value.keywords:
        found = evaluator.value(one.value, scope)
        if one.arg == "description" and isinstance(found, str):
            schema["description"] = " ".join(found.split())
        elif one.arg in _BOUNDS and isinstance(found, (int, float, str)):
            schema[_bound(one.arg, schema)] = found
        elif one.arg == "default" and not (isinstance(one.value, ast.Constant) and one.value.value is ...):
            schema, needed = _with_default(schema, found), False
        elif one.arg == "default_factory":
            needed = False
    return schema, needed


def _bound(word: str, schema: JsonObject) -> str:
    if schema.get("type") == "array":
        return {"max_length": "maxItems", "min_length": "minItems"}.get(word, _BOUNDS[word])
    return _BOUNDS[word]


def _with_default(schema: JsonObject, value: Any) -> JsonObject:
    plain = value is None or isinstance(value, (str, bool, int, float)) or value in ([], {})
    return {**schema, "default": value} if plain else schema


def _annotation(
    evaluator: Evaluator, annotation: ast.expr | None, module: Module, above: tuple[ast.ClassDef, ...]
) -> JsonObject:
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        try:
            annotation = ast.parse(annotation.value, mode="eval").body
        except SyntaxError:
            raise _UnreadableError from None
    if isinstance(annotation, ast.Constant) and annotation.value is None:
        return {"type": "null"}
    if isinstance(annotation, ast.BinOp) and isinstance(annotation.op, ast.BitOr):
        return _any_of([_annotation(evaluator, one, module, above) for one in (annotation.left, annotation.right)])
    if isinstance(annotation, ast.Subscript):
        return _subscript(evaluator, annotation, module, above)
    if isinstance(annotation, (ast.Name, ast.Attribute)):
        found = evaluator.value(annotation, Scope(module, evaluator.module(module)))
        if isinstance(found, Cls):
            return _class(evaluator, found, above)
        word = found.last if isinstance(found, Ext) else _last(annotation)
        if word in _PLAIN:
            return dict(_PLAIN[word])
    raise _UnreadableError


def _subscript(
    evaluator: Evaluator, annotation: ast.Subscript, module: Module, above: tuple[ast.ClassDef, ...]
) -> JsonObject:
    word, inner = _last(annotation.value), annotation.slice
    items = inner.elts if isinstance(inner, ast.Tuple) else [inner]
    if word in ("Optional", "Union"):
        schemas = [_annotation(evaluator, one, module, above) for one in items]
        return _any_of([*schemas, {"type": "null"}] if word == "Optional" else schemas)
    if word == "Literal":
        values = [one.value for one in items if isinstance(one, ast.Constant)]
        return {"enum": [value for value in values if isinstance(value, (str, bool, int, float)) or value is None]}
    if word in ("Annotated", "Required", "NotRequired", "ReadOnly"):
        return _annotation(evaluator, items[0], module, above)
    if word in _LISTS:
        kinds = [_annotation(evaluator, one, module, above) for one in items if not _is_dots(one)]
        return {"type": "array", "items": kinds[0] if len(kinds) == 1 else _any_of(kinds)}
    if word in _MAPS:
        value = _annotation(evaluator, items[-1], module, above)
        return {"type": "object", "additionalProperties": value} if value else {"type": "object"}
    raise _UnreadableError


def _is_dots(expression: ast.expr) -> bool:
    return isinstance(expression, ast.Constant) and expression.value is ...


def _any_of(schemas: list[JsonObject]) -> JsonObject:
    flat: list[JsonObject] = []
    for schema in schemas:
        for one in schema["anyOf"] if set(schema) == {"anyOf"} else [schema]:
            if one not in flat:
                flat.append(one)
    return flat[0] if len(flat) == 1 else {"anyOf": flat}


def _last(expression: ast.expr) -> str:
    if isinstance(expression, ast.Subscript):
        expression = expression.value
    if isinstance(expression, ast.Attribute):
        return expression.attr
    return expression.id if isinstance(expression, ast.Name) else ""
