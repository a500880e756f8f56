"""What the plugin offers: the store for ``file:`` URLs."""

from __future__ import annotations

from collections.abc import Iterable

from kastra_core.hookspecs import hookimpl
from kastra_core.registrations import StoreRegistration

__all__ = ["KASTRA_API_VERSION", "kastra_stores"]

KASTRA_API_VERSION = 1


@hookimpl
def kastra_stores() -> Iterable[StoreRegistration]:
    yield StoreRegistration(name="libsql", schemes=("file",), factory="kastra_plugin_libsql.store:open_store")
