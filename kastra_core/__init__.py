"""Kastra: a plugin-first, declarative runtime for AI applications.

Names below are imported when they are first used, so that ``import kastra_core`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kastra_core.api.kind import GroupVersionKind, PrinterColumn, ResourceKind
    from kastra_core.api.meta import Condition, ObjectMeta, OwnerReference, Resource, ResourceKey
    from kastra_core.api.references import Reference, parse_reference
    from kastra_core.api.registry import KindRegistry
    from kastra_core.api.selectors import FieldSelector, LabelSelector
    from kastra_core.config import Config, SecretRef
    from kastra_core.controller import AbstractController
    from kastra_core.errors import (
        ConflictError,
        KastraError,
        ManifestError,
        ModelError,
        NotFoundError,
        NotReadyError,
        OperationError,
        PluginError,
        Problem,
        RunError,
        StoreError,
        TerminalError,
        UserError,
        ValidationError,
    )
    from kastra_core.events import EventBus
    from kastra_core.hookspecs import hookimpl
    from kastra_core.memory_store import MemoryStore
    from kastra_core.model_spec import ModelSpec, chosen_model
    from kastra_core.plugins import PluginManager
    from kastra_core.protocols.controller import Request, Result
    from kastra_core.protocols.migrator import (
        Exporter,
        ExportResult,
        MigrationResult,
        MigrationRow,
        MigrationSource,
        Migrator,
        SourceDocument,
    )
    from kastra_core.protocols.model import ModelProvider
    from kastra_core.protocols.runner import OperationContext, RunContext, Runner
    from kastra_core.protocols.store import Store
    from kastra_core.registrations import (
        CommandRegistration,
        ControllerRegistration,
        MigratorRegistration,
        ModelProviderRegistration,
        OperationRegistration,
        StoreRegistration,
    )
    from kastra_core.resources import ResourceClient
    from kastra_core.runtime import (
        ApplyReport,
        ResourceHandle,
        Runtime,
        RuntimeManager,
        load_from_path,
        load_from_string,
    )
    from kastra_core.status import ready_status

__version__ = "0.1.0"

_HOMES = {
    "AbstractController": "controller",
    "ApplyReport": "runtime",
    "CommandRegistration": "registrations",
    "Condition": "api.meta",
    "Config": "config",
    "ConflictError": "errors",
    "ControllerRegistration": "registrations",
    "EventBus": "events",
    "ExportResult": "protocols.migrator",
    "Exporter": "protocols.migrator",
    "FieldSelector": "api.selectors",
    "GroupVersionKind": "api.kind",
    "KastraError": "errors",
    "KindRegistry": "api.registry",
    "LabelSelector": "api.selectors",
    "ManifestError": "errors",
    "MemoryStore": "memory_store",
    "MigrationResult": "protocols.migrator",
    "MigrationRow": "protocols.migrator",
    "MigrationSource": "protocols.migrator",
    "Migrator": "protocols.migrator",
    "MigratorRegistration": "registrations",
    "ModelError": "errors",
    "ModelProvider": "protocols.model",
    "ModelProviderRegistration": "registrations",
    "ModelSpec": "model_spec",
    "NotFoundError": "errors",
    "NotReadyError": "errors",
    "ObjectMeta": "api.meta",
    "OperationContext": "protocols.runner",
    "OperationError": "errors",
    "OperationRegistration": "registrations",
    "OwnerReference": "api.meta",
    "PluginError": "errors",
    "PluginManager": "plugins",
    "PrinterColumn": "api.kind",
    "Problem": "errors",
    "Reference": "api.references",
    "Request": "protocols.controller",
    "Resource": "api.meta",
    "ResourceClient": "resources",
    "ResourceHandle": "runtime",
    "ResourceKey": "api.meta",
    "ResourceKind": "api.kind",
    "Result": "protocols.controller",
    "RunContext": "protocols.runner",
    "RunError": "errors",
    "Runner": "protocols.runner",
    "Runtime": "runtime",
    "RuntimeManager": "runtime",
    "SecretRef": "config",
    "SourceDocument": "protocols.migrator",
    "Store": "protocols.store",
    "StoreError": "errors",
    "StoreRegistration": "registrations",
    "TerminalError": "errors",
    "UserError": "errors",
    "ValidationError": "errors",
    "chosen_model": "model_spec",
    "hookimpl": "hookspecs",
    "load_from_path": "runtime",
    "load_from_string": "runtime",
    "parse_reference": "api.references",
    "ready_status": "status",
}

__all__ = [
    "AbstractController",
    "ApplyReport",
    "CommandRegistration",
    "Condition",
    "Config",
    "ConflictError",
    "ControllerRegistration",
    "EventBus",
    "ExportResult",
    "Exporter",
    "FieldSelector",
    "GroupVersionKind",
    "KastraError",
    "KindRegistry",
    "LabelSelector",
    "ManifestError",
    "MemoryStore",
    "MigrationResult",
    "MigrationRow",
    "MigrationSource",
    "Migrator",
    "MigratorRegistration",
    "ModelError",
    "ModelProvider",
    "ModelProviderRegistration",
    "ModelSpec",
    "NotFoundError",
    "NotReadyError",
    "ObjectMeta",
    "OperationContext",
    "OperationError",
    "OperationRegistration",
    "OwnerReference",
    "PluginError",
    "PluginManager",
    "PrinterColumn",
    "Problem",
    "Reference",
    "Request",
    "Resource",
    "ResourceClient",
    "ResourceHandle",
    "ResourceKey",
    "ResourceKind",
    "Result",
    "RunContext",
    "RunError",
    "Runner",
    "Runtime",
    "RuntimeManager",
    "SecretRef",
    "SourceDocument",
    "Store",
    "StoreError",
    "StoreRegistration",
    "TerminalError",
    "UserError",
    "ValidationError",
    "__version__",
    "chosen_model",
    "hookimpl",
    "load_from_path",
    "load_from_string",
    "parse_reference",
    "ready_status",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
