"""Hook implementations of kastra-plugin-network."""

from __future__ import annotations

KASTRA_API_VERSION = 1
