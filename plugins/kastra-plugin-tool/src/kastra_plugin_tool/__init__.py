"""Kastra kind Tool: Python functions and HTTP endpoints that agents can call."""
