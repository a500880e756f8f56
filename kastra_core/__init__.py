"""Kastra."""
