"""What an operator does to a store from outside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kastra_plugin_libsql._url import SERVER_SCHEMES, settings_of

if TYPE_CHECKING:
    from kastra_core.protocols.store_admin import StoreAdmin

__all__ = ["open_admin"]


def open_admin(url: str, options: Mapping[str, Any]) -> StoreAdmin:
    """Return what serves ``kastra store`` for a URL; nothing is opened yet.

    Args:
        url, options: as for the store itself.
    Raises:
        ConfigError: the URL or an option is wrong.
    """
    if url.partition(":")[0].lower() in SERVER_SCHEMES:
        from kastra_plugin_libsql._remote.admin import RemoteAdmin
        from kastra_plugin_libsql._remote.settings import remote_settings_of

        remote: StoreAdmin = RemoteAdmin(remote_settings_of(url, options))
        return remote
    from kastra_plugin_libsql._admin_file import FileAdmin

    return FileAdmin(settings_of(url, options))
