"""Suites for parts of a plugin that it has none for: what can be tested without knowing more than the record."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from kastra_core.api.kind import ResourceKind
from kastra_core.api.lazy import load
from kastra_core.api.meta import JsonObject
from kastra_core.api.registry import KindRegistry
from kastra_core.decoding import decode
from kastra_core.errors import KastraError
from kastra_core.schemas import json_schema
from kastra_core.testing._check_parts import Part
from kastra_core.testing._smallest import smallest

__all__ = ["derived_suite", "smallest_manifest"]


def smallest_manifest(kind: ResourceKind, registry: KindRegistry) -> JsonObject | None:
    """A valid manifest of a kind, made from its schema; None when none that is valid can be made so."""
    metadata = {"name": "sample", **({"namespace": "default"} if kind.namespaced else {})}
    head: JsonObject = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}
    schema = json_schema(kind)
    described = schema.get("properties", {}).get("spec")
    spec = smallest({**described, "$defs": schema.get("$defs", {})}) if isinstance(described, Mapping) else None
    for tried in (head, {**head, "spec": {}}, {**head, "spec": spec}):
        try:
            decode(registry, tried)
        except KastraError:
            continue
        return tried
    return None


def derived_suite(part: Part, registry: KindRegistry) -> type | None:
    """A test class for a part, None when more has to be known of it than its record says."""
    if part.point == "kind":
        manifest = smallest_manifest(part.record, registry)
        return None if manifest is None else _kind_suite(part.record, manifest, registry)
    if part.point == "command":
        return _command_suite(part.record)
    return None


def _kind_suite(kind: ResourceKind, manifest: JsonObject, registry: KindRegistry) -> type:
    def kind_fixture(self: Any) -> ResourceKind:
        return kind

    def valid(self: Any) -> Sequence[JsonObject]:
        return [manifest]

    def others(self: Any) -> Sequence[ResourceKind]:
        return [other for other in registry if other.group_kind != kind.group_kind]

    return _suite("kind.KindConformance", kind.kind, kind=kind_fixture, valid=valid, others=others)


def _command_suite(record: Any) -> type:
    def command(self: Any) -> Any:
        return record

    return _suite("command.CommandConformance", record.name, command=command)


def _suite(base: str, name: str, **fixtures: Any) -> type:
    cls = load(f"kastra_core.testing.{base.replace('.', ':')}")
    word = "".join(character if character.isalnum() else "_" for character in name)

    def fill(namespace: dict[str, Any]) -> None:
        namespace.update({key: pytest.fixture(name=key)(function) for key, function in fixtures.items()})

    return types.new_class(f"TestDerived_{word}", (cls,), exec_body=fill)
