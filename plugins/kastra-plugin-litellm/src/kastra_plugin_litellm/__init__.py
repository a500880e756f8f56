"""Kastra model provider for every provider that litellm knows."""
