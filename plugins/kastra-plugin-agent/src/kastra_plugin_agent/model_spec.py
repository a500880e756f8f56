"""``spec.model`` of an Agent, and every other place where its manifest names a model."""

from __future__ import annotations

from kastra_core.model_spec import ModelSpec

__all__ = ["ModelSpec"]
