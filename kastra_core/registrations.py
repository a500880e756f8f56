"""The records that hooks yield. Cheap to make; the work behind a Lazy field is imported on first use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from kastra_core.api.kind import MAIN_GROUP, ResourceKind
from kastra_core.api.lazy import Lazy

if TYPE_CHECKING:  # every command imports this module, hardly any needs those
    from kastra_core.protocols.migrator import Exporter, Migrator
    from kastra_core.protocols.runner import OperationHandler
    from kastra_core.protocols.store_admin import StoreAdmin

__all__ = [
    "CommandRegistration",
    "ControllerRegistration",
    "MigratorRegistration",
    "ModelProviderRegistration",
    "OperationRegistration",
    "ResourceKind",
    "StoreRegistration",
]


@attrs.frozen(kw_only=True)
class ControllerRegistration:
    """A controller for a kind, the plugin's own or another's.

    ``factory(runtime)`` returns a Reconciler, usually an :class:`~kastra_core.controller.AbstractController`.
    """

    name: str
    kind: str
    group: str = MAIN_GROUP
    factory: Lazy[Callable[[Any], Any]]
    workers: int = 16
    """Reconciles that may be under way at once (never two of one resource)."""
    periodic: bool = False
    """Has work that time brings. Commands that run something and no controllers reconcile its resources once, aside."""


@attrs.frozen(kw_only=True)
class StoreRegistration:
    """A store for URL schemes. ``factory(url, options)`` is awaited and returns a Store; the schema is brought up."""

    name: str
    schemes: tuple[str, ...]
    factory: Lazy[Callable[[str, Mapping[str, Any]], Any]]
    admin: Lazy[Callable[[str, Mapping[str, Any]], StoreAdmin]] | None = None
    """For ``kastra store``: ``admin(url, options)`` returns a StoreAdmin and opens nothing yet; None: there is none."""


@attrs.frozen(kw_only=True)
class ModelProviderRegistration:
    """Serves provider names of ``spec.model.provider``. ``factory(provider)`` returns a ModelProvider.

    ``fallback``: used only for names that no other plugin serves; ``providers`` ("*",) serves any name.
    The user may choose another plugin per provider in the configuration (``providers.NAME.plugin``).
    """

    name: str
    providers: tuple[str, ...]
    factory: Lazy[Callable[[str], Any]]
    fallback: bool = False
    description: str = ""
    keyless: bool = False
    """Needs no account: may be the default when nothing is configured."""
    embeddings: str = ""
    """Its model that makes embeddings, where it has one."""
    preload: tuple[str, ...] = ()
    """Modules that the first request needs. A command that is about to make one imports them in a thread meanwhile."""


@attrs.frozen(kw_only=True)
class MigratorRegistration:
    """Reads one foreign or older format. ``factory()`` returns a Migrator."""

    name: str
    factory: Lazy[Callable[[], Migrator]]
    description: str = ""
    """What it reads, in a line: "Acme agents (acme.yaml)"."""
    exporter: Lazy[Callable[[], Exporter]] | None = None
    """Writes the format too: ``kastra export --to NAME``."""
    api_versions: tuple[str, ...] = ()
    """apiVersions of stored objects that it brings up to date: ``kastra store migrate``."""


@attrs.frozen(kw_only=True)
class OperationRegistration:
    """A durable operation that runners name in ``ctx.perform``."""

    name: str
    """"<area>.<verb>": ``tool.invoke``."""
    handler: Lazy[OperationHandler]
    counts_as: str = ""
    """"model" or "tool": counted for limits and shown in usage. "embedding": only its tokens and its cost are, as
    ``usage`` of its result says. "" for neither."""


@attrs.frozen(kw_only=True)
class CommandRegistration:
    """A CLI command. ``command`` is a click command, imported when it is called or its help is shown."""

    name: str
    command: Lazy[Any]
    short_help: str = ""
