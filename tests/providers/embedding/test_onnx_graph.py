"""The graph against a second implementation of the same network, in numpy, written from the paper's equations."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from sibyl_runtime.providers.embedding.encoder import LONGEST_PADDED
from sibyl_runtime.providers.embedding.model_files import EncoderShape
from sibyl_runtime.providers.embedding.onnx_graph import build_graph, zero_point_weights
from sibyl_runtime.providers.embedding.onnx_session import OnnxEncoder
from sibyl_runtime.providers.protocols import Vectors
from tests.support.tiny_model import HEADS, HIDDEN, LAYERS, tiny_weights

SHAPE = EncoderShape(
    layers=LAYERS, heads=HEADS, hidden=HIDDEN, activation="gelu", epsilon=1e-12, position_offset=0, pooling="mean"
)
SHAPES = (
    SHAPE,
    replace(SHAPE, pooling="cls"),
    replace(SHAPE, activation="gelu_new"),
    replace(SHAPE, activation="relu"),
    replace(SHAPE, position_offset=2),
    replace(SHAPE, epsilon=1e-2),
)
BATCH = [[2, 10, 11, 12, 3], [2, 3], [2, 40, 41, 42, 43, 44, 45, 46, 47, 48, 3], [2, 20, 20, 20, 3]]

ACTIVATIONS: dict[str, Callable[[float], float]] = {
    "gelu": lambda x: x * 0.5 * (1 + math.erf(x / math.sqrt(2))),
    "gelu_new": lambda x: 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "relu": lambda x: max(x, 0.0),
}


class Reference:
    """One text at a time, so that no padding is involved."""

    def __init__(self, shape: EncoderShape) -> None:
        self.shape, self.weights = shape, tiny_weights()

    def __call__(self, ids: list[int]) -> Vectors:
        places = np.arange(len(ids)) + self.shape.position_offset
        hidden = self.weights["embeddings.word_embeddings.weight"][ids]
        hidden = hidden + self.weights["embeddings.position_embeddings.weight"][places]
        hidden = self.norm("embeddings.LayerNorm", hidden + self.weights["embeddings.token_type_embeddings.weight"][0])
        for number in range(self.shape.layers):
            hidden = self.layer(f"encoder.layer.{number}.", hidden)
        pooled = hidden.mean(axis=0) if self.shape.pooling == "mean" else hidden[0]
        unit: Vectors = pooled / np.linalg.norm(pooled)
        return unit

    def layer(self, name: str, hidden: Vectors) -> Vectors:
        heads = []
        query, key, value = (self.dense(f"{name}attention.self.{part}", hidden) for part in ("query", "key", "value"))
        size = HIDDEN // HEADS
        for head in range(HEADS):
            part = slice(head * size, (head + 1) * size)
            scores = query[:, part] @ key[:, part].T / math.sqrt(size)
            shares = np.exp(scores - scores.max(axis=1, keepdims=True))
            heads.append(shares / shares.sum(axis=1, keepdims=True) @ value[:, part])
        attended = self.dense(f"{name}attention.output.dense", np.concatenate(heads, axis=1))
        hidden = self.norm(f"{name}attention.output.LayerNorm", attended + hidden)
        activation = np.vectorize(ACTIVATIONS[self.shape.activation])
        wide = activation(self.dense(f"{name}intermediate.dense", hidden)).astype(np.float32)
        return self.norm(f"{name}output.LayerNorm", self.dense(f"{name}output.dense", wide) + hidden)

    def dense(self, name: str, hidden: Vectors) -> Vectors:
        product: Vectors = hidden @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]
        return product

    def norm(self, name: str, hidden: Vectors) -> Vectors:
        centred = hidden - hidden.mean(axis=1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + self.shape.epsilon)
        normed: Vectors = scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]
        return normed


def encoder(tmp_path: Path, shape: EncoderShape, *, int8: bool) -> OnnxEncoder:
    graph = build_graph(tiny_weights(), shape, int8=int8)
    onnx.checker.check_model(graph)
    onnx.save(graph, tmp_path / "graph.onnx")
    return OnnxEncoder(tmp_path / "graph.onnx", threads=1)


@pytest.mark.parametrize("shape", SHAPES, ids=["bert", "cls", "gelu_new", "relu", "roberta", "epsilon"])
def test_the_graph_computes_what_the_network_is_defined_to_compute(tmp_path: Path, shape: EncoderShape) -> None:
    vectors = encoder(tmp_path, shape, int8=False).encode(BATCH)
    expected = np.stack([Reference(shape)(ids) for ids in BATCH])
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_every_part_of_the_shape_matters() -> None:
    """The comparison above would prove nothing if the reference ignored a setting."""
    base = Reference(SHAPE)(BATCH[0])
    for shape in SHAPES[1:]:
        assert np.abs(Reference(shape)(BATCH[0]) - base).max() > 2e-5, shape


def test_int8_stays_near_and_is_smaller(tmp_path: Path) -> None:
    vectors = encoder(tmp_path, SHAPE, int8=True).encode(BATCH)
    expected = np.stack([Reference(SHAPE)(ids) for ids in BATCH])
    assert np.sum(vectors * expected, axis=1).min() > 0.99
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_a_row_of_zeros_survives_int8(tmp_path: Path) -> None:
    weights = tiny_weights()
    weights["embeddings.word_embeddings.weight"][5] = 0
    weights["encoder.layer.0.output.dense.weight"][:] = 0
    onnx.save(build_graph(weights, SHAPE, int8=True), tmp_path / "graph.onnx")
    assert np.isfinite(OnnxEncoder(tmp_path / "graph.onnx", threads=1).encode([[2, 5, 3]])).all()


@pytest.mark.parametrize("shape", [SHAPE, replace(SHAPE, activation="relu")], ids=["gelu", "relu"])
def test_an_int8_vector_does_not_depend_on_the_batch(tmp_path: Path, shape: EncoderShape) -> None:
    opened = encoder(tmp_path, shape, int8=True)
    together = opened.encode(BATCH)
    alone = np.vstack([opened.encode([ids]) for ids in BATCH])
    assert np.sum(together * alone, axis=1).min() > 0.999999


def test_weights_of_zero_points_take_them_off_and_fit_int8() -> None:
    integers = np.round(np.random.default_rng(3).uniform(-127, 127, (300, 7))).astype(np.float32)
    integers[:, 0] = 127
    integers[:, 1] = 0
    offsets = zero_point_weights(integers)
    activations, zero = np.arange(300) % 256, 77
    wide = np.concatenate([activations, np.full(len(offsets), zero)])
    assert np.abs(offsets).max() <= 127
    np.testing.assert_array_equal(wide @ np.vstack([integers, offsets]), (activations - zero) @ integers)


def test_a_missing_tensor_is_named() -> None:
    weights = tiny_weights()
    del weights["encoder.layer.1.output.dense.bias"]
    with pytest.raises(KeyError, match=r"encoder\.layer\.1\.output\.dense\.bias"):
        build_graph(weights, SHAPE, int8=False)


@pytest.mark.parametrize("int8", [False, True])
def test_attention_without_a_mask_gives_what_it_gives_with_one(tmp_path: Path, int8: bool) -> None:
    """A long text is read without a mask alone, and with one beside a longer text; that is another order of sums."""
    places = np.random.default_rng(5).standard_normal((200, HIDDEN)).astype(np.float32) * 0.2
    weights = tiny_weights() | {"embeddings.position_embeddings.weight": places}
    onnx.save(build_graph(weights, SHAPE, int8=int8), tmp_path / "graph.onnx")
    opened = OnnxEncoder(tmp_path / "graph.onnx", threads=1)
    ids = [2, *(4 + number % 50 for number in range(LONGEST_PADDED)), 3]
    alone, beside = opened.encode([ids])[0], opened.encode([ids, [*ids[:-1], 9, 9, 3]])[0]
    assert float(alone @ beside) >= (0.9995 if int8 else 0.999999)


def test_vectors_at_their_own_length_point_where_unit_vectors_point(tmp_path: Path) -> None:
    onnx.save(build_graph(tiny_weights(), SHAPE, int8=False), tmp_path / "graph.onnx")
    unit = OnnxEncoder(tmp_path / "graph.onnx", threads=1).encode(BATCH)
    own = OnnxEncoder(tmp_path / "graph.onnx", threads=1, normalize=False).encode(BATCH)
    lengths = np.linalg.norm(own, axis=1, keepdims=True)
    assert np.abs(lengths - 1).min() > 0.01
    np.testing.assert_allclose(own / lengths, unit, atol=1e-6)
