"""Kastra model provider for every OpenAI-compatible endpoint."""
