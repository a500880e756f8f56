"""Every hook of Kastra. A plugin is a module that the entry-point group ``kastra`` names, with hook implementations.

The hooks of a plugin are called once, together, when the first thing is looked up that a plugin may offer; plugins
come in the order of their names. A hook registers and returns; what it yields does the work, later and lazily. A raise,
or a record of another type, quarantines the plugin: none of its records is used, the rest goes on, and
``kastra plugins`` and ``kastra status`` name the cause. A hook implementation whose name is none of these quarantines
its plugin too. Arguments may be added to a hook in later versions, never taken away.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from kastra_core.registrations import (
        CommandRegistration,
        ControllerRegistration,
        MigratorRegistration,
        ModelProviderRegistration,
        OperationRegistration,
        ResourceKind,
        StoreRegistration,
    )

__all__ = ["API_VERSION", "hookimpl", "hookspec"]

API_VERSION = 1
"""Version of the hooks; a plugin may state ``KASTRA_API_VERSION = 1`` and is quarantined where it is another."""

hookspec = pluggy.HookspecMarker("kastra")
"""Marks the specification of a hook; plugins need :data:`hookimpl` only."""
hookimpl = pluggy.HookimplMarker("kastra")
"""Marks a function of a plugin's module as what a hook of the same name calls."""


@hookspec
def kastra_resource_kinds() -> Iterable[ResourceKind]:  # type: ignore[empty-body]
    """Offer kinds of resources.

    Clash: a group and kind, or a plural within a group, that another plugin offers; the plugin whose name sorts
    first keeps it, both are named in a PluginConflictError that ``kastra plugins`` shows.

    Example:
        @hookimpl
        def kastra_resource_kinds():
            yield ResourceKind(kind="Greeting", plural="greetings", group="acme.example",
                               spec_type="kastra_plugin_acme.spec:GreetingSpec")
    """


@hookspec
def kastra_controllers() -> Iterable[ControllerRegistration]:  # type: ignore[empty-body]
    """Offer controllers, for own kinds or those of others.

    Clash: a controller's name that is taken. Several controllers may serve one kind.

    Example:
        @hookimpl
        def kastra_controllers():
            yield ControllerRegistration(name="greeting", kind="Greeting", group="acme.example",
                                         factory="kastra_plugin_acme.controller:GreetingController")
    """


@hookspec
def kastra_stores() -> Iterable[StoreRegistration]:  # type: ignore[empty-body]
    """Offer stores for URL schemes.

    Clash: a scheme that is taken.

    Example:
        @hookimpl
        def kastra_stores():
            yield StoreRegistration(name="acme", schemes=("acme",), factory="kastra_plugin_acme.store:open_store")
    """


@hookspec
def kastra_model_providers() -> Iterable[ModelProviderRegistration]:  # type: ignore[empty-body]
    """Offer model providers that an Agent can name in ``spec.model.provider``.

    Clash: a provider name that another plugin serves, unless one of the two is a ``fallback``.

    Example:
        @hookimpl
        def kastra_model_providers():
            yield ModelProviderRegistration(name="acme", providers=("acme",),
                                            factory="kastra_plugin_acme.model:AcmeProvider")
    """


@hookspec
def kastra_migrators() -> Iterable[MigratorRegistration]:  # type: ignore[empty-body]
    """Offer migrators.

    Clash: a migrator's name that is taken.

    Example:
        @hookimpl
        def kastra_migrators():
            yield MigratorRegistration(name="acme", factory="kastra_plugin_acme.migrate:AcmeMigrator")
    """


@hookspec
def kastra_operations() -> Iterable[OperationRegistration]:  # type: ignore[empty-body]
    """Offer durable operations that runners name.

    Clash: an operation's name that is taken.

    Example:
        @hookimpl
        def kastra_operations():
            yield OperationRegistration(name="acme.greet", handler="kastra_plugin_acme.ops:greet")
    """


@hookspec
def kastra_commands() -> Iterable[CommandRegistration]:  # type: ignore[empty-body]
    """Add commands to the CLI.

    Clash: a command's name that the core or another plugin has.

    Example:
        @hookimpl
        def kastra_commands():
            yield CommandRegistration(name="greet", command="kastra_plugin_acme.cli:greet", short_help="Say hello.")
    """
