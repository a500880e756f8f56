"""Decoding manifests without a store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kastra_core.cli.common import CliState
from kastra_core.memory_store import MemoryStore
from kastra_core.resources import Decoded
from kastra_core.runtime import RuntimeManager

if TYPE_CHECKING:
    from kastra_core.manifests import Document

__all__ = ["decode_offline"]


def decode_offline(
    state: CliState, documents: Sequence[Document], namespace: str | None, unknown_fields: str = "warn"
) -> list[Decoded]:
    """Return the validated resources of documents; the store is only asked for kinds that no plugin has.

    Raises: ValidationError with every problem.
    """
    runtime = RuntimeManager(
        store=MemoryStore(), config=state.config, plugins=state.plugins, registry=state.registry(documents)
    )
    return runtime.decode(documents, namespace=namespace, unknown_fields=unknown_fields)
