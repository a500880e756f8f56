"""Migrates declarative agents and workflows of Microsoft Agent Framework."""
