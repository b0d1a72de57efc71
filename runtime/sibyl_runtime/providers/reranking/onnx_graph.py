"""Builds the ONNX graph of a cross-encoder: the encoder of the embedding models, and a head that ends in one number.

Only `build` of the embedding models imports this module, in a process of its own, because it needs `onnx`.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from sibyl_runtime.providers.embedding.encoder import ATTENTION_MASK, INPUT_IDS
from sibyl_runtime.providers.embedding.onnx_graph import Graph, encoded, pool_first
from sibyl_runtime.providers.protocols import Vectors
from sibyl_runtime.providers.reranking.pairs import SCORES, SEGMENT_IDS
from sibyl_runtime.providers.reranking.shape import ScorerShape


def build_scoring_graph(weights: Mapping[str, Vectors], shape: ScorerShape, *, int8: bool) -> onnx.ModelProto:
    """input_ids, attention_mask, token_type_ids (int64, batch x tokens) -> scores (float32, batch, 0 to 1).

    The head stays in float32: it is a thousandth of the work. Raises KeyError for a tensor that is missing.
    """
    graph = Graph()
    segments = SEGMENT_IDS if shape.segments else None
    first = pool_first(graph, encoded(graph, weights, shape, int8=int8, segments=segments))
    inner, outer = shape.head
    logit = _linear(graph, weights, outer, graph.node("Tanh", [_linear(graph, weights, inner, first)]))
    axis = graph.constant([1], "int64")
    graph.node("Sigmoid", [graph.node("Squeeze", [logit, axis])], output=SCORES)
    inputs = [INPUT_IDS, ATTENTION_MASK, *([segments] if segments else [])]
    return graph.model(inputs, [SCORES], ["batch"])


def _linear(graph: Graph, weights: Mapping[str, Vectors], name: str, values: str) -> str:
    product = graph.node("MatMul", [values, graph.constant(weights[f"{name}.weight"].T)])
    return graph.node("Add", [product, graph.constant(weights[f"{name}.bias"])])
