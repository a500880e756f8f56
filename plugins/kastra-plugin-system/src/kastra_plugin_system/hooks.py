"""Hook implementations of kastra-plugin-system."""

from __future__ import annotations

KASTRA_API_VERSION = 1
