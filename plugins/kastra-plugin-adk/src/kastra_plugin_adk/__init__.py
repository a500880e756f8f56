"""Migrator for Google ADK: agent configurations and workflow graphs in YAML become Kastra resources."""
