"""Kastra kind Tool: Python functions and HTTP endpoints that agents can call."""

from __future__ import annotations

from kastra_plugin_tool.context import ToolContext

__all__ = ["ToolContext"]
