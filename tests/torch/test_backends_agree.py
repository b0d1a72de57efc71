"""The ONNX graph against sentence-transformers itself. Without the library this fails at import: it must not skip."""

from __future__ import annotations

import asyncio
import random
import re
from pathlib import Path

import numpy as np
import pytest
import sentence_transformers

from sibyl_runtime.errors import InvalidParameters, StartupError
from sibyl_runtime.providers.embedding import LocalEmbedder, open_embedder
from sibyl_runtime.providers.embedding.model_files import find_model
from sibyl_runtime.providers.protocols import Vectors
from sibyl_runtime.workspace import EmbeddingProvider
from tests.support.tiny_model import tiny_config, tiny_weights, write_tiny_model

WORDS = re.findall(
    r"\S+",
    "operator cluster database vector index replica cache query latency pod memory retrieval document chunk answer "
    "the of and to is a in that for on with not as are every never when because although whether bread river 42 3.14",
)


def varied_texts() -> list[str]:
    """Fifty texts from empty to as long as the model reads; the same at every run."""
    source = random.Random(11)
    written = [
        "", " ", "ok", "?", "Why?", "UPPER lower MiXeD", "naïve café Zürich", "東京は日本の首都です。", "🚀🚀🚀",
        "Line one.\nLine two.\n\n\tIndented.", "```python\nprint('hi')\n```", "a" * 90, "https://example.org/a?b=c#d",
        "1,234,567.89 USD", "<html><body>hello</body></html>", "SELECT * FROM documents WHERE id = 7;",
        "Привет, мир", "مرحبا بالعالم", "zero\u200bwidth", "e\u0301 combining",
    ]  # fmt: skip
    lengths = [1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 100, 120, 128, 140, 150, 180, 200, 220, 250, 256, 260]
    lengths += [300, 320, 350, 380, 400, 420, 430, 440, 450]
    return written + [" ".join(source.choices(WORDS, k=length)) for length in lengths]


def cosines(one: Vectors, other: Vectors) -> Vectors:
    products: Vectors = np.sum(one * other, axis=1)
    return products


async def test_fifty_varied_texts_have_the_same_vectors(torch_fp32: LocalEmbedder, onnx_fp32: LocalEmbedder) -> None:
    texts = varied_texts()
    assert len(texts) == 50
    torch_vectors, onnx_vectors = await torch_fp32.embed_documents(texts), await onnx_fp32.embed_documents(texts)
    assert cosines(torch_vectors, onnx_vectors).min() >= 0.99999


async def test_int8_stays_near_and_nearest_for_texts_of_some_length(
    torch_fp32: LocalEmbedder, onnx_int8: LocalEmbedder
) -> None:
    """What int8 loses in one token is evened out by the others: a text of two or three has none."""
    texts = varied_texts()
    found = cosines(await torch_fp32.embed_documents(texts), await onnx_int8.embed_documents(texts))
    assert found.mean() >= 0.9975
    assert found.min() >= 0.99
    long = [cosine for cosine, text in zip(found, texts, strict=True) if len(onnx_int8.tokenize(text)) >= 64]
    assert len(long) >= 10
    assert min(long) >= 0.9985


async def test_the_library_used_plainly_gives_the_same(torch_fp32: LocalEmbedder) -> None:
    """Our tokenising, padding and batching against the library's own `encode`."""
    library = sentence_transformers.SentenceTransformer(str(find_model("all-MiniLM-L6-v2", {})), device="cpu")
    library.max_seq_length = 512
    texts = varied_texts()
    plain = library.encode(texts, normalize_embeddings=True, show_progress_bar=False)
    assert cosines(plain, await torch_fp32.embed_documents(texts)).min() >= 0.99999


async def test_query_and_document_are_the_same_vector(torch_fp32: LocalEmbedder) -> None:
    text = "how are secrets kept?"
    documents = await torch_fp32.embed_documents([text, "a longer neighbour " * 40])
    np.testing.assert_allclose(await torch_fp32.embed_query(text), documents[0], atol=1e-5)


def test_both_backends_write_the_same_tag(torch_fp32: LocalEmbedder, onnx_fp32: LocalEmbedder) -> None:
    """Their vectors are interchangeable, so a change of backend does not ask for a new index."""
    assert torch_fp32.tag == onnx_fp32.tag
    assert (torch_fp32.dimension, torch_fp32.max_tokens) == (384, 512)


@pytest.mark.parametrize(
    ("model_type", "pooling", "activation"),
    [
        ("bert", "mean", "gelu"),
        ("bert", "cls", "gelu"),
        ("bert", "mean", "gelu_new"),
        ("bert", "mean", "relu"),
        ("roberta", "mean", "gelu"),
        ("xlm-roberta", "cls", "gelu"),
    ],
)
async def test_every_kind_of_model_that_the_graph_covers(
    tmp_path: Path, model_type: str, pooling: str, activation: str
) -> None:
    padding = 0 if model_type == "bert" else 1
    directory = write_tiny_model(
        tmp_path / "tiny",
        config=tiny_config(model_type=model_type, hidden_act=activation, pad_token_id=padding),
        weights=tiny_weights() | {"pooler.dense.weight": np.eye(32, dtype=np.float32)},
        pooling={"pooling_mode_mean_tokens": pooling == "mean", "pooling_mode_cls_token": pooling == "cls"},
    )
    torch_model = await open_embedder("t", EmbeddingProvider(model=str(directory), backend="torch"))
    onnx_model = await open_embedder("o", EmbeddingProvider(model=str(directory), precision="fp32"))
    try:
        texts = ["w5", "w7 w8 w9 w10", " ".join(f"w{number}" for number in range(1, 20))]
        found = cosines(await torch_model.embed_documents(texts), await onnx_model.embed_documents(texts))
        assert found.min() >= 0.99999
    finally:
        await asyncio.gather(torch_model.close(), onnx_model.close())


async def test_a_shorter_window_is_honoured(model_cache: Path) -> None:
    embedder = await open_embedder("d", EmbeddingProvider(backend="torch", max_seq_length=10))
    try:
        assert embedder.max_tokens == 10
        with pytest.raises(InvalidParameters, match="query has 22 tokens; the model reads 10"):
            await embedder.embed_query("word " * 20)
    finally:
        await embedder.close()


@pytest.mark.parametrize("device", ["cuda", "mps"])
async def test_a_device_that_is_not_there_is_refused(device: str) -> None:
    provider = EmbeddingProvider.model_validate({"backend": "torch", "device": device})
    with pytest.raises(StartupError) as caught:
        await open_embedder("docs", provider)
    assert caught.value.message == (
        f"providers.embedding.docs.device: {device} is not available on this machine; available: cpu"
    )


async def test_files_that_the_library_cannot_load_are_named(tmp_path: Path) -> None:
    directory = write_tiny_model(tmp_path / "odd", config=tiny_config(model_type="no-such-model"))
    with pytest.raises(StartupError, match=r"providers\.embedding\.d\.model: sentence-transformers cannot load "):
        await open_embedder("d", EmbeddingProvider(model=str(directory), backend="torch"))
