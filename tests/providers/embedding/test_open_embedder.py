from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sibyl_runtime.errors import StartupError
from sibyl_runtime.providers.embedding import LocalEmbedder, open_embedder
from sibyl_runtime.workspace import EmbeddingProvider
from tests.support.tiny_model import POSITIONS, tiny_config, tiny_weights, write_tiny_model


def test_the_tag_says_what_made_the_vectors(int8: LocalEmbedder, fp32: LocalEmbedder) -> None:
    assert int8.tag == "all-MiniLM-L6-v2@6fceb341/int8/mean/512"
    assert fp32.tag == "all-MiniLM-L6-v2@6fceb341/fp32/mean/512"
    assert int8.dimension == 384


async def test_a_shorter_window_is_taken_and_tagged(tmp_path: Path, model_cache: Path) -> None:
    directory = write_tiny_model(tmp_path / "tiny")
    embedder = await open_embedder("d", EmbeddingProvider(model=str(directory), max_seq_length=10, precision="fp32"))
    await embedder.close()
    assert embedder.max_tokens == 10
    assert embedder.tag.endswith("/fp32/mean/10")


async def test_a_roberta_model_opens_and_answers(tmp_path: Path, model_cache: Path) -> None:
    config = tiny_config(model_type="xlm-roberta", pad_token_id=1)
    directory = write_tiny_model(tmp_path / "multilingual", config=config, weights=tiny_weights("roberta."))
    embedder = await open_embedder("d", EmbeddingProvider(model=str(directory)))
    vector = await embedder.embed_query("w1 " * (POSITIONS - 4))
    await embedder.close()
    assert embedder.max_tokens == POSITIONS - 2
    assert np.isclose(np.linalg.norm(vector), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"max_seq_length": 513},
            "providers.embedding.docs.max_seq_length: 513 is more than all-MiniLM-L6-v2 reads, 512 tokens; "
            "lower or remove it",
        ),
        (
            {"device": "cuda"},
            "providers.embedding.docs.device: cuda needs `backend: torch`; the onnx backend runs on cpu",
        ),
        (
            {"model": "/nowhere/at/all"},
            "providers.embedding.docs.model: there is no directory /nowhere/at/all; "
            "it must hold a sentence-transformers model",
        ),
    ],
)
async def test_a_setting_that_cannot_be_used_is_named_by_its_path(
    model_cache: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(StartupError) as caught:
        await open_embedder(
            "docs", EmbeddingProvider.model_construct(**{**EmbeddingProvider().model_dump(), **settings})
        )
    assert caught.value.message == message


async def test_weights_that_give_no_vectors_are_found_before_the_first_request(
    tmp_path: Path, model_cache: Path
) -> None:
    weights = tiny_weights()
    weights["encoder.layer.0.output.dense.bias"][:] = np.nan
    directory = write_tiny_model(tmp_path / "damaged", weights=weights)
    before = threading.active_count()
    with pytest.raises(StartupError, match=r"model: damaged@.* gives vectors of length nan, not 1; check its weights"):
        await open_embedder("default", EmbeddingProvider(model=str(directory), precision="fp32"))
    assert "sibyl-embedding" not in [thread.name for thread in threading.enumerate()][before:]


async def test_the_torch_backend_without_its_library_says_how_to_get_it(
    model_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(StartupError) as caught:
        await open_embedder("default", EmbeddingProvider(backend="torch"))
    assert caught.value.message.startswith(
        "providers.embedding.default.backend: torch needs the sentence-transformers library"
    )
    assert "pip install 'sibyl-operator[torch]'" in caught.value.message
