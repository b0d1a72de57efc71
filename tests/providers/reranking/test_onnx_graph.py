"""The scoring graph against a second implementation of the same network, in numpy."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from sibyl_runtime.providers.protocols import Vectors
from sibyl_runtime.providers.reranking.onnx_graph import build_scoring_graph
from sibyl_runtime.providers.reranking.onnx_scorer import OnnxScorer
from sibyl_runtime.providers.reranking.pairs import Pair
from sibyl_runtime.providers.reranking.shape import ScorerShape
from tests.providers.embedding.test_onnx_graph import Reference
from tests.support.tiny_cross_encoder import cross_encoder_weights
from tests.support.tiny_model import HEADS, HIDDEN, LAYERS

BERT = ScorerShape(
    layers=LAYERS, heads=HEADS, hidden=HIDDEN, activation="gelu", epsilon=1e-12, position_offset=0, pooling="cls",
    head=("pooler.dense", "classifier"), segments=True,
)  # fmt: skip
ROBERTA = replace(BERT, position_offset=2, head=("classifier.dense", "classifier.out_proj"), segments=False)
PAIRS = [
    Pair([2, 10, 11, 3, 12, 3], [0, 0, 0, 0, 1, 1], False),
    Pair([2, 10, 3, 11, 12, 3], [0, 0, 0, 1, 1, 1], False),
    Pair([2, 40, 41, 3, 42, 43, 44, 45, 46, 3], [0, 0, 0, 0, 1, 1, 1, 1, 1, 1], False),
]


def plain(shape: ScorerShape) -> dict[str, Vectors]:
    """The weights without the prefix of the encoder's names."""
    kind = "bert" if shape.segments else "roberta"
    return {name.removeprefix(f"{kind}."): tensor for name, tensor in cross_encoder_weights(kind).items()}


class ScoringReference(Reference):
    """One pair at a time."""

    def __init__(self, shape: ScorerShape) -> None:
        self.shape, self.weights = shape, plain(shape)
        self.head, self.segments = shape.head, shape.segments

    def score(self, pair: Pair) -> float:
        ids = list(pair.ids)
        types = pair.segments if self.segments else [0] * len(ids)
        places = np.arange(len(ids)) + self.shape.position_offset
        hidden = self.weights["embeddings.word_embeddings.weight"][ids]
        hidden = hidden + self.weights["embeddings.position_embeddings.weight"][places]
        hidden = hidden + self.weights["embeddings.token_type_embeddings.weight"][list(types)]
        hidden = self.norm("embeddings.LayerNorm", hidden)
        for number in range(self.shape.layers):
            hidden = self.layer(f"encoder.layer.{number}.", hidden)
        inner, outer = self.head
        [[logit]] = self.dense(outer, np.tanh(self.dense(inner, hidden[:1])))
        return 1 / (1 + math.exp(-logit))


def scorer(tmp_path: Path, shape: ScorerShape, *, int8: bool) -> OnnxScorer:
    graph = build_scoring_graph(plain(shape), shape, int8=int8)
    onnx.checker.check_model(graph)
    onnx.save(graph, tmp_path / "graph.onnx")
    return OnnxScorer(tmp_path / "graph.onnx", threads=1)


@pytest.mark.parametrize("shape", [BERT, ROBERTA], ids=["bert", "roberta"])
def test_the_graph_computes_what_the_network_is_defined_to_compute(tmp_path: Path, shape: ScorerShape) -> None:
    scores = scorer(tmp_path, shape, int8=False).score(PAIRS)
    np.testing.assert_allclose(scores, [ScoringReference(shape).score(pair) for pair in PAIRS], atol=1e-5)


def test_where_the_passage_begins_matters_to_bert_and_not_to_roberta() -> None:
    """The comparison above would prove nothing if the reference ignored the segments."""
    moved = replace(PAIRS[0], segments=[0, 0, 1, 1, 1, 1])
    assert abs(ScoringReference(BERT).score(PAIRS[0]) - ScoringReference(BERT).score(moved)) > 1e-3
    assert ScoringReference(ROBERTA).score(PAIRS[0]) == ScoringReference(ROBERTA).score(moved)


def test_int8_stays_near(tmp_path: Path) -> None:
    scores = scorer(tmp_path, BERT, int8=True).score(PAIRS)
    expected = np.array([ScoringReference(BERT).score(pair) for pair in PAIRS])
    assert 0 < np.abs(scores - expected).max() < 0.02
    assert np.argsort(scores).tolist() == np.argsort(expected).tolist()


def test_a_score_does_not_depend_on_the_pairs_beside_it(tmp_path: Path) -> None:
    opened = scorer(tmp_path, BERT, int8=True)
    alone = [opened.score([pair])[0] for pair in PAIRS]
    np.testing.assert_allclose(opened.score(PAIRS), alone, atol=1e-6)
