"""`normalize: false`: vectors as long as the model makes them, and a model that gives no such vectors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sibyl_runtime.errors import StartupError
from sibyl_runtime.providers.embedding import open_embedder
from sibyl_runtime.workspace import EmbeddingProvider
from tests.support.tiny_model import write_tiny_model

TEXTS = ["w5", "w7 w8 w9 w10", " ".join(f"w{number}" for number in range(1, 20))]

pytestmark = pytest.mark.usefixtures("model_cache")


def without_normalize(directory: Path) -> Path:
    write_tiny_model(directory)
    modules = json.loads((directory / "modules.json").read_text())
    (directory / "modules.json").write_text(json.dumps(modules[:2]))
    return directory


@pytest.mark.parametrize("precision", ["int8", "fp32"])
async def test_vectors_keep_the_length_that_the_model_gives_them(tmp_path: Path, precision: str) -> None:
    directory = without_normalize(tmp_path / "tiny")
    found = {}
    for normalize in (True, False):
        provider = EmbeddingProvider.model_validate(
            {"model": str(directory), "precision": precision, "normalize": normalize}
        )
        embedder = await open_embedder("docs", provider)
        found[normalize] = (await embedder.embed_documents(TEXTS), await embedder.embed_query(TEXTS[1]), embedder.tag)
        await embedder.close()
    lengths = np.linalg.norm(found[False][0], axis=1, keepdims=True)
    assert np.abs(lengths - 1).min() > 0.01
    np.testing.assert_allclose(found[False][0] / lengths, found[True][0], atol=1e-6)
    np.testing.assert_allclose(found[False][1], found[False][0][1], atol=1e-3 * float(lengths[1, 0]))
    assert found[False][2] == f"{found[True][2]}/own-length"


async def test_a_model_that_scales_its_vectors_itself_is_named() -> None:
    with pytest.raises(StartupError) as caught:
        await open_embedder("docs", EmbeddingProvider(normalize=False))
    assert caught.value.message == (
        "providers.embedding.docs.normalize: false has no effect: all-MiniLM-L6-v2 scales its vectors to unit length "
        "itself, by its module Normalize; remove it, or name a model without that module"
    )
