"""The reference of exports against the graph and against the one that tests of the graph are written from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sibyl_runtime.providers.embedding.model_files import EncoderShape
from sibyl_runtime.providers.embedding.reference import ReferenceEncoder
from tests.providers.embedding.test_onnx_graph import BATCH, SHAPE, SHAPES, Reference, encoder
from tests.support.tiny_model import tiny_weights


@pytest.mark.parametrize("shape", SHAPES, ids=["bert", "cls", "gelu_new", "relu", "roberta", "epsilon"])
def test_it_computes_what_the_network_is_defined_to_compute(tmp_path: Path, shape: EncoderShape) -> None:
    found = np.stack([ReferenceEncoder(tiny_weights(), shape).encode(ids) for ids in BATCH])
    np.testing.assert_allclose(found, np.stack([Reference(shape)(ids) for ids in BATCH]), atol=1e-5)
    np.testing.assert_allclose(found, encoder(tmp_path, shape, int8=False).encode(BATCH), atol=1e-5)


def test_a_missing_tensor_is_named() -> None:
    weights = tiny_weights()
    del weights["encoder.layer.1.output.dense.bias"]
    with pytest.raises(KeyError, match=r"encoder\.layer\.1\.output\.dense\.bias"):
        ReferenceEncoder(weights, SHAPE).encode(BATCH[0])
    assert ReferenceEncoder(weights, replace(SHAPE, layers=1)).encode(BATCH[0]).shape == (32,)
