"""Store operations as JSON, for stores that send them elsewhere or keep a log of them."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any, get_args

import attrs

from kastra_core.api.meta import JsonObject, Resource, ResourceKey
from kastra_core.protocols.store import Operation

__all__ = ["operation_from_json", "operation_to_json"]

_TYPES: Mapping[str, Any] = {cls.__name__: cls for cls in get_args(Operation)}


def operation_to_json(operation: Operation) -> JsonObject:
    """Return an operation as JSON, its class as ``type``; whether what it carries is JSON is not looked at.

    Raises: TypeError: it is none.

    >>> operation_to_json(PutBlob(b"x", "run-1"))
    {'type': 'PutBlob', 'data': 'eA==', 'holder': 'run-1'}
    """
    if _TYPES.get(type(operation).__name__) is not type(operation):
        raise TypeError(f"{type(operation).__name__} is no operation of a store")
    out: JsonObject = {"type": type(operation).__name__}
    for field in attrs.fields(type(operation)):
        out[field.name] = _plain(getattr(operation, field.name), field.name)
    return out


def _plain(value: Any, name: str) -> Any:
    if isinstance(value, Resource):
        return value.to_manifest()
    if isinstance(value, ResourceKey):
        return list(value)
    if isinstance(value, bytes):
        return b64encode(value).decode()
    if name == "writes":
        return [operation_to_json(write) for write in value]
    return dict(value) if name == "values" else value


def operation_from_json(data: Mapping[str, Any]) -> Operation:
    """Return the operation that :func:`operation_to_json` was given.

    Raises: ValueError: its type is none that this version knows.
    """
    fields = dict(data)
    name = fields.pop("type", None)
    if name not in _TYPES:
        raise ValueError(f"{name!r} is no operation of a store; known are {', '.join(_TYPES)}")
    if "resource" in fields:
        fields["resource"] = Resource.from_manifest(fields["resource"])
    if "key" in fields:
        fields["key"] = ResourceKey(*fields["key"])
    if "data" in fields:
        fields["data"] = b64decode(fields["data"])
    if "writes" in fields:
        fields["writes"] = tuple(operation_from_json(write) for write in fields["writes"])
    if "items" in fields:
        fields["items"] = [tuple(item) for item in fields["items"]]
    return _TYPES[name](**fields)  # type: ignore[no-any-return]
