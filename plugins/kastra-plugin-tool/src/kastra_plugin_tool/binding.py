"""JSON to a function's arguments, and a function's result to JSON."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from pathlib import PurePath
from typing import Any, get_type_hints, is_typeddict
from uuid import UUID

import attrs
from cattrs import Converter, transform_error
from cattrs.strategies import configure_union_passthrough

from kastra_core.api.meta import JsonObject, JsonValue
from kastra_plugin_tool.signature import FunctionSignature
from kastra_plugin_tool.typemap import typed_dict_fields

__all__ = ["BindingError", "ResultError", "bind", "to_json"]

_MAX_DEPTH = 100
_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1
"""What JSON text can hold here (orjson)."""


class BindingError(ValueError):
    """Arguments fit the schema but not the function's types."""


class ResultError(TypeError):
    """A result is not JSON and has no plain JSON form."""


@lru_cache(maxsize=1)
def _converter() -> Converter:
    conv = Converter(detailed_validation=True)

    def typed_dict(value: Any, cls: Any) -> Any:
        known = typed_dict_fields(cls)
        missing = [name for name, (_, needed) in known.items() if needed and name not in value]
        if missing:
            raise ValueError(f"required: {', '.join(missing)}")
        return {name: conv.structure(item, _bare(known[name][0])) for name, item in value.items() if name in known}

    for kind in (datetime, date, time):
        conv.register_structure_hook(kind, lambda value, cls: cls.fromisoformat(value))
    conv.register_structure_hook(UUID, lambda value, _: UUID(value))
    conv.register_structure_hook(PurePath, lambda value, cls: cls(value))
    conv.register_structure_hook_func(is_typeddict, typed_dict)
    configure_union_passthrough(str | int | float | bool | None, conv)
    return conv


def _bare(annotation: Any) -> Any:
    """An annotation without what ``Annotated`` adds, at any depth: a dict in it has no hash, and cattrs wants one."""
    holder = type("Holder", (), {"__annotations__": {"value": annotation}})
    return get_type_hints(holder)["value"]


def bind(signature: FunctionSignature, arguments: JsonObject) -> tuple[list[Any], dict[str, Any]]:
    """Return positional and keyword arguments for the function; parameters that are not given keep their defaults.

    Raises:
        BindingError: with every argument that does not fit.
    """
    positional: list[Any] = []
    keywords: dict[str, Any] = {}
    faults: list[str] = []
    left = dict(arguments)
    gap = ""
    for parameter in signature.parameters:
        if parameter.name not in left:
            if parameter.required:
                faults.append(f"{parameter.name}: is required")
            gap = gap or parameter.name
            continue
        value = left.pop(parameter.name)
        if parameter.schema is not None:
            try:
                value = _converter().structure(value, _bare(parameter.annotation))
            except Exception as error:
                # cattrs raises whatever the type's own constructor does; all of it is about this one value.
                faults.append("; ".join(transform_error(error, path=parameter.name)))
                continue
        if not parameter.positional_only:
            keywords[parameter.name] = value
        elif gap:
            faults.append(f"{parameter.name}: needs {gap} too")
        else:
            positional.append(value)
    if left and not signature.takes_more:
        faults.extend(f"{name}: is unknown" for name in left)
    if faults:
        raise BindingError("; ".join(faults))
    return positional, {**keywords, **left}


def to_json(value: Any, path: str = "result", depth: int = 0) -> JsonValue:
    """Return ``value`` as JSON: records become objects, sets and tuples lists, dates ISO 8601 texts.

    Raises:
        ResultError: with the place of what has no JSON form.
    """
    if value is None or (isinstance(value, (bool, str)) and not isinstance(value, Enum)):
        return value if value is None or isinstance(value, bool) else str(value)
    if depth > _MAX_DEPTH:
        raise ResultError(f"{path}: nested more than {_MAX_DEPTH} levels deep, or contains itself")
    if isinstance(value, Enum):
        return to_json(value.value, path, depth + 1)
    if isinstance(value, int):
        if not _INT_MIN <= value <= _INT_MAX:
            raise ResultError(f"{path}: the integer is too large for JSON; return it as text")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ResultError(f"{path}: JSON has no {value}")
        return float(value)
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, (UUID, PurePath, Decimal)):
        return str(value)
    items = _items(value)
    if items is not None:
        return _object(items, path, depth)
    if isinstance(value, AbstractSet):
        return [to_json(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(_ordered(value))]
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray, memoryview)):
        return [to_json(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(value)]
    if callable(getattr(value, "tolist", None)) and not isinstance(value, (type, memoryview)):
        return to_json(value.tolist(), path, depth + 1)  # arrays and their scalars
    raise ResultError(f"{path}: {type(value).__qualname__} has no JSON form; return text, numbers, lists or objects")


def _items(value: Any) -> Mapping[Any, Any] | None:
    """The fields of a record or mapping, None for anything else."""
    if isinstance(value, Mapping):
        return value
    if isinstance(value, type):
        return None
    if attrs.has(type(value)):
        return {field.name: getattr(value, field.name) for field in attrs.fields(type(value))}
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return dict(value._asdict())
    if callable(getattr(value, "model_dump", None)):
        return dict(value.model_dump())
    return None


def _object(items: Mapping[Any, Any], path: str, depth: int) -> JsonObject:
    out: JsonObject = {}
    for key, item in items.items():
        name = key.value if isinstance(key, Enum) else key
        if isinstance(name, int) and not isinstance(name, bool):
            name = str(name)
        if not isinstance(name, str):
            raise ResultError(f"{path}: an object's keys are texts, found {type(key).__qualname__}")
        out[str(name)] = to_json(item, f"{path}.{name}", depth + 1)
    return out


def _ordered(values: AbstractSet[Any]) -> list[Any]:
    """A set in an order that is the same each time, so that a repeated call returns the same JSON."""
    try:
        return sorted(values)
    except TypeError:
        return sorted(values, key=repr)
