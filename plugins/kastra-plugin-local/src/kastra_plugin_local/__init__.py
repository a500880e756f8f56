"""Kastra model provider that runs small models in this process, without a key."""
