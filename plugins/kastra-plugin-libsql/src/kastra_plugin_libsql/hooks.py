"""What the plugin offers: the store for ``file:`` URLs and for those of LibSQL servers."""

from __future__ import annotations

from collections.abc import Iterable

from kastra_core.hookspecs import hookimpl
from kastra_core.registrations import StoreRegistration

__all__ = ["KASTRA_API_VERSION", "kastra_stores"]

KASTRA_API_VERSION = 1


@hookimpl
def kastra_stores() -> Iterable[StoreRegistration]:
    yield StoreRegistration(
        name="libsql",
        schemes=("file", "libsql", "http", "https", "ws", "wss"),
        factory="kastra_plugin_libsql.store:open_store",
        admin="kastra_plugin_libsql.admin:open_admin",
    )
