"""Rules of ``spec.memory`` beyond its structure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kastra_core.errors import Problem
from kastra_plugin_agent.memory_spec import MemorySpec, WorkingMemorySpec
from kastra_plugin_agent.schemas import schema_problems
from kastra_plugin_agent.tokens import estimate_text

__all__ = ["memory_problems"]

_PLACE = "spec.memory"
_OF_TYPE = {"summary": "summary", "recall": "vector"}
"""Fields that one type of memory only reads."""
LEAST_TOKENS = {"buffer": 100, "summary": 200, "vector": 300}
"""Below this a question and its answer, or what the type adds, have no room beside what is said about them."""


def memory_problems(
    spec: MemorySpec, written: Mapping[str, Any], *, max_model_calls: int | None = None
) -> Iterable[Problem]:
    """Problems of a memory that has the right structure.

    Args:
        written: what the manifest says.
        max_model_calls: of ``spec.limits``.
    """
    for field, type_ in _OF_TYPE.items():
        if written.get(field) is not None and spec.type != type_:
            yield Problem(
                f"memory of type {spec.type} has no {field}", f"{_PLACE}.{field}", hint=f"set memory.type to {type_}"
            )
    yield from _range(spec.max_messages, "maxMessages", 1)
    if spec.max_tokens is not None:
        yield from _range(spec.max_tokens, "maxTokens", LEAST_TOKENS[spec.type])
    yield from _range(spec.summary.max_tokens, "summary.maxTokens", 50)
    if spec.enabled and spec.type == "summary" and max_model_calls == 1:
        yield Problem(
            "the one call is the answer's, and memory of type summary needs another now and then",
            "spec.limits.maxModelCalls",
            hint="allow 2 or more, or set memory.type to buffer",
        )
    recall = spec.recall
    yield from _range(recall.top_k, "recall.topK", 1, 50)
    yield from _range(recall.min_score, "recall.minScore", -1, 1)
    if recall.embeddings is not None:
        provider, _, model = recall.embeddings.partition("/")
        if not (provider and model):
            yield Problem(
                f"expected PROVIDER/NAME, found {recall.embeddings!r}",
                f"{_PLACE}.recall.embeddings",
                hint="for example local/multilingual-e5-small, or leave it out for the default",
            )
    if spec.working_memory is not None:
        yield from _working(spec.working_memory, spec.max_tokens)


def _working(spec: WorkingMemorySpec, max_tokens: int | None) -> Iterable[Problem]:
    place = f"{_PLACE}.workingMemory"
    yield from _range(spec.max_bytes, "workingMemory.maxBytes", 64, 65536)
    if spec.schema is not None:
        if spec.schema.get("type", "object") != "object":
            yield Problem(
                f"expected a schema of type object, found type {spec.schema['type']!r}",
                f"{place}.schema.type",
                hint="working memory is an object; put the value under a key",
            )
        yield from schema_problems(spec.schema, f"{place}.schema")
    size = estimate_text(spec.template)
    if max_tokens is not None and size > max_tokens // 4:
        yield Problem(
            f"it has about {size} tokens, and memory may add {max_tokens} to a request in all",
            f"{place}.template",
            hint=f"shorten it to a fourth of that, or raise {_PLACE}.maxTokens",
        )


def _range(value: float, field: str, least: float, most: float | None = None) -> Iterable[Problem]:
    if most is None and value < least:
        yield Problem(f"expected {least:g} or more, found {value:g}", f"{_PLACE}.{field}")
    elif most is not None and not least <= value <= most:
        yield Problem(f"expected {least:g} to {most:g}, found {value:g}", f"{_PLACE}.{field}")
