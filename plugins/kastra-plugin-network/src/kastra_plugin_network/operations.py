"""Operations of this plugin: ``router.embedding`` and ``network.plan``. JSON in, JSON out."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from typing import Any

import attrs

from kastra_core.api.meta import JsonObject, JsonValue
from kastra_core.errors import ModelError, OperationError
from kastra_core.protocols.model import EmbeddingRequest
from kastra_core.protocols.model_input import text_of
from kastra_core.protocols.runner import OperationContext, arguments_as

__all__ = ["embedding", "plan"]

_LONGEST_TEXT = 4000
"""Characters of a text of which a vector is made."""
_MOST_VECTORS = 4096
_NEAREST = 3
"""How many of a member's texts (description and examples) count: the nearest ones. Of the nearest alone, of two, three
and all, three were best both with written examples and with real requests as examples."""
_SHORT_BYTES = 60
"""UTF-8 bytes of a request that may be a follow-up, which says too little by itself: 60 letters, 20 Chinese signs."""
_PREVIOUS_CHARS = 1000
_vectors: dict[tuple[str, str], tuple[float, ...]] = {}
"""(provider/model, text of a candidate) -> unit vector; the same in all runs of the process."""


async def embedding(ctx: OperationContext, arguments: JsonObject) -> JsonValue:
    """Choose the candidate whose description and examples are nearest in meaning to the request.

    A candidate's score is the mean of the best three cosines of the request to "name: description" and its examples.
    Of a short request in a conversation it is the mean of that score and the one of the request after the user's
    message before it: what follows something up counts, and what begins something else does.

    Arguments: as of every ``router.<type>``; ``options.embeddings`` ("provider/name") says what makes the vectors.
    Result: ``{agent, input, reason, done, scores, margin, usage, model}``; scores are means of cosines, ``margin``
    is the best one less the next one (1 for a single candidate).
    Raises: OperationError (EmbeddingsMissing); what the provider says.
    """
    models = ctx.runtime.models
    model = (arguments.get("options") or {}).get("embeddings") or models.embeddings()
    candidates, request = arguments["candidates"], arguments["request"]
    if not candidates:
        return {"agent": None, "input": request, "reason": "there are no candidates", "done": False, "scores": {}}
    if not model:
        raise OperationError(
            "no model makes embeddings; set spec.router.embeddings or defaultEmbeddings in the configuration, or "
            "pip install kastra-plugin-local",
            reason="EmbeddingsMissing",
        )
    provider, _, name = model.partition("/")
    usage = {"input_tokens": 0, "output_tokens": 0}
    settings = models.settings(provider)

    async def on_retry(attempt: int, wait_s: float, error: ModelError) -> None:
        await ctx.emit({"type": "model_retry", "attempt": attempt, "wait_s": round(wait_s, 3), "reason": error.reason})

    async def vectors_of(texts: Sequence[str], kind: Any) -> list[tuple[float, ...]]:
        response = await models.embed(
            provider,
            EmbeddingRequest(model=name, texts=texts, input_type=kind, settings=settings),
            on_retry=on_retry,
        )
        for field, used in response.usage.to_json().items():
            usage[field] = usage.get(field, 0) + used
        if len(response.vectors) != len(texts):
            raise OperationError(
                f"{model} gave {len(response.vectors)} vectors for {len(texts)} texts", reason="BadResponse"
            )
        return [_unit(vector) for vector in response.vectors]

    passages = {candidate["name"]: _passages(candidate) for candidate in candidates}
    texts = list(dict.fromkeys(text for own in passages.values() for text in own))
    missing = [text for text in texts if (model, text) not in _vectors]
    made: dict[str, tuple[float, ...]] = {}
    if missing:
        made = dict(zip(missing, await vectors_of(missing, "passage")))
        if len(_vectors) + len(made) > _MOST_VECTORS:
            _vectors.clear()
        _vectors.update({(model, text): vector for text, vector in made.items()})
    known = {text: made[text] if text in made else _vectors[(model, text)] for text in texts}
    queries = _queries(request, arguments.get("conversation") or ())
    asked = await vectors_of(queries, "query")
    if len({len(vector) for vector in (*asked, *known.values())}) > 1:
        raise OperationError(f"{model} gives vectors of different lengths", reason="BadResponse")
    scores = {}
    for member, own in passages.items():
        vectors = [known[text] for text in own]
        scores[member] = round(math.fsum(_nearness(query, vectors) for query in asked) / len(asked), 6)
    ranked = sorted(scores, key=lambda name: -scores[name])
    best = ranked[0]
    if len(ranked) > 1:
        margin = round(scores[best] - scores[ranked[1]], 6)
        what = "description and examples are" if len(passages[best]) > 1 else "description is"
        to = "request, alone and after the one before it" if len(queries) > 1 else "request"
        reason = f"its {what} nearest to the {to}: {scores[best]:.3f}, {margin:.3f} before {ranked[1]}"
    else:
        margin, reason = 1.0, f"it is the only member ({scores[best]:.3f})"
    return {
        "agent": best,
        "input": request,
        "reason": reason,
        "done": True,
        "scores": scores,
        "margin": margin,
        "usage": usage,
        "model": model,
    }


def _passages(candidate: JsonObject) -> list[str]:
    """The texts that a request is compared with."""
    description = candidate.get("description") or ""
    text = f"{candidate['name']}: {description}" if description else str(candidate["name"])
    return list(dict.fromkeys(each[:_LONGEST_TEXT] for each in (text, *(candidate.get("examples") or ()))))


def _queries(request: str, conversation: Sequence[JsonObject]) -> list[str]:
    """The request; a short one also after the user's message before it."""
    queries = [request[:_LONGEST_TEXT]]
    if len(request.encode(errors="replace")) <= _SHORT_BYTES:
        said = [text for before in conversation if before["role"] == "user" and (text := text_of(before).strip())]
        if said:
            queries.append(f"{said[-1][:_PREVIOUS_CHARS]}\n{request}")
    return queries


def _nearness(query: Sequence[float], vectors: Sequence[Sequence[float]]) -> float:
    best = heapq.nlargest(_NEAREST, (math.fsum(map(float.__mul__, query, vector)) for vector in vectors))
    return math.fsum(best) / len(best)


def _unit(vector: Sequence[float]) -> tuple[float, ...]:
    """The vector with length 1; zeros stay."""
    length = math.hypot(*vector)
    return tuple(float(value) / length for value in vector) if length else tuple(float(value) for value in vector)


@attrs.frozen(kw_only=True)
class _Plan:
    type: str | None = None
    model: str | None = None
    embeddings: str | None = None


async def plan(ctx: OperationContext, arguments: JsonObject) -> JsonValue:
    """Say how a network is routed where that depends on what is installed.

    Arguments: ``type`` (that of the network, or null), ``model`` ("provider/name" or null), ``embeddings`` (or null).
    Result: ``{type, weak}``; ``weak``: the model is one that needs no account.
    """
    given = arguments_as(arguments, _Plan)
    models = ctx.runtime.models
    weak = given.model is None or models.is_keyless(given.model)
    embeddings = given.embeddings or models.embeddings()
    kind = given.type or ("embedding" if weak and embeddings else "model")
    return {"type": kind, "weak": weak}
