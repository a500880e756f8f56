"""What an import must not bring along."""

from __future__ import annotations

__all__ = ["HEAVY_MODULES"]

HEAVY_MODULES = frozenset(
    {"asyncio", "http.client", "multiprocessing", "socket", "sqlite3", "ssl", "unittest", "urllib.request"}
)
"""Modules of the standard library that cost more than all of a module of hooks, or of a command, should."""
