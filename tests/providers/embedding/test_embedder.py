"""The default model itself: what its vectors must be, whatever made them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from sibyl_runtime.errors import IngestError, InvalidParameters
from sibyl_runtime.providers.embedding import LocalEmbedder, open_embedder
from sibyl_runtime.providers.embedding.exporting import LEAST_COSINE
from sibyl_runtime.workspace import EmbeddingProvider
from tests.support.tiny_model import write_tiny_model

TEXTS = [
    "Restart the database.",
    "A pod that is evicted loses what it kept in memory, so the cache is warmed again when its replacement starts.",
    "",
    "ok",
    "vacuum " * 300,
    "Zürich, 東京 and 🚀",
    "word " * 509,
]


@pytest.fixture(params=["int8", "fp32"])
def embedder(request: pytest.FixtureRequest) -> LocalEmbedder:
    found: LocalEmbedder = request.getfixturevalue(request.param)
    return found


def tolerance(embedder: LocalEmbedder) -> float:
    return 1e-3 if "/int8/" in embedder.tag else 1e-5


async def test_vectors_have_unit_length(embedder: LocalEmbedder) -> None:
    vectors = await embedder.embed_documents(TEXTS)
    assert vectors.shape == (len(TEXTS), 384)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


async def test_a_batch_gives_what_its_texts_give_alone(embedder: LocalEmbedder) -> None:
    together = await embedder.embed_documents(TEXTS)
    alone = np.stack([await embedder.embed_query(text) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=tolerance(embedder))


async def test_order_does_not_matter(embedder: LocalEmbedder) -> None:
    forward = await embedder.embed_documents(TEXTS)
    backward = await embedder.embed_documents(TEXTS[::-1])
    np.testing.assert_allclose(forward, backward[::-1], atol=tolerance(embedder))


async def test_int8_points_where_fp32_points(int8: LocalEmbedder, fp32: LocalEmbedder) -> None:
    cosines = np.sum(await int8.embed_documents(TEXTS) * await fp32.embed_documents(TEXTS), axis=1)
    assert cosines.min() > LEAST_COSINE["int8"]


async def test_meaning_counts(embedder: LocalEmbedder) -> None:
    pairs = [
        ("How do I back up the database?", "Run pg_dump every night to save the data.", "Bake the bread for an hour."),
        ("The pod ran out of memory", "The container was OOM-killed", "The sky was blue over the lake"),
        ("Where are API keys kept?", "Secrets hold credentials.", "The chart shows sales by month."),
    ]
    for text, near, far in pairs:
        query, close, distant = await asyncio.gather(*map(embedder.embed_query, (text, near, far)))
        assert query @ close > query @ distant + 0.2


async def test_a_known_similarity_is_reproduced(fp32: LocalEmbedder) -> None:
    """The example of the library's quickstart, with the similarities that its documentation prints."""
    sentences = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
    vectors = await fp32.embed_documents(sentences)
    similarities = [vectors[0] @ vectors[1], vectors[0] @ vectors[2], vectors[1] @ vectors[2]]
    np.testing.assert_allclose(similarities, [0.6660, 0.1046, 0.1411], atol=1e-4)


async def test_no_documents_are_no_rows(int8: LocalEmbedder) -> None:
    assert (await int8.embed_documents([])).shape == (0, 384)


async def test_the_longest_text_is_read_whole(fp32: LocalEmbedder) -> None:
    assert fp32.max_tokens == 512
    start = "word " * 509
    one, other = await fp32.embed_documents([start + "peace", start + "war"])
    assert not np.allclose(one, other, atol=1e-4)


async def test_a_query_that_cannot_be_read_whole_is_refused(int8: LocalEmbedder) -> None:
    with pytest.raises(InvalidParameters) as caught:
        await int8.embed_query("word " * 9000)
    assert caught.value.message == "query has 9002 tokens; the model reads 512; ask a shorter question"


async def test_a_document_that_cannot_be_read_whole_is_refused(int8: LocalEmbedder) -> None:
    with pytest.raises(IngestError) as caught:
        await int8.embed_documents(["short", "word " * 511])
    assert caught.value.message == (
        "a text of 513 tokens is longer than the 512 that all-MiniLM-L6-v2 reads; "
        f"set rag.chunking chunk_size to 510 or less. It begins: {'word ' * 12!r}"
    )


async def test_tokens_come_without_markers(int8: LocalEmbedder) -> None:
    assert [(token.start, token.end) for token in int8.tokenize("two words")] == [(0, 3), (4, 9)]


async def test_queries_and_documents_share_the_model(int8: LocalEmbedder) -> None:
    before = int8.stats()
    await asyncio.gather(int8.embed_documents(TEXTS * 3), *(int8.embed_query(f"question {n}") for n in range(20)))
    after = int8.stats()
    assert after["documents"] - before["documents"] == 3 * len(TEXTS)
    assert after["queries"] - before["queries"] == 20
    assert (after["query_queue_depth"], after["document_queue_depth"]) == (0, 0)


async def test_the_models_own_prompts_are_put_before_the_texts(tmp_path: Path, model_cache: Path) -> None:
    plain = await open_embedder("a", EmbeddingProvider(model=str(write_tiny_model(tmp_path / "plain"))))
    prompts = {"query": "w1 w2 ", "document": "w3 "}
    directory = write_tiny_model(tmp_path / "prompted", prompts=prompts)
    prompted = await open_embedder("b", EmbeddingProvider(model=str(directory)))
    try:
        np.testing.assert_array_equal(await prompted.embed_query("w9"), await plain.embed_query("w1 w2 w9"))
        np.testing.assert_array_equal(await prompted.embed_documents(["w9"]), await plain.embed_documents(["w3 w9"]))
        assert prompted.max_tokens == plain.max_tokens - 1
        assert prompted.tag.startswith("prompted@")
        assert "/prompts-" in prompted.tag
        assert "/prompts-" not in plain.tag
    finally:
        await asyncio.gather(plain.close(), prompted.close())
