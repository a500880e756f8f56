"""Kastra migrator for CrewAI: crews of YAML, JSON and Python, and declarative flows, become resources."""
