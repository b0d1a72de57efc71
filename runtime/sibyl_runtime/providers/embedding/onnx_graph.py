"""Builds the ONNX graph of a BERT encoder from its own weights, so that serving needs neither torch nor a download.

The graph ends in pooling over the mask and L2 normalisation: what comes out is the unit vector itself, and beside it
the vector at its own length. What never changes is folded into the weights: the embedding of token type 0, and query,
key and value as one matrix product. `MultiHeadAttention` is onnxruntime's own operator: it never holds the full score
matrix, which halves the memory of a batch, and is faster where it is given no mask. Only `build` imports this module,
and the graph of cross-encoders for it, in a process of its own: `onnx` costs memory that a serving process should not
hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from sibyl_runtime.providers.embedding.encoder import ATTENTION_MASK, EMBEDDINGS, INPUT_IDS, LONGEST_PADDED, POOLED
from sibyl_runtime.providers.embedding.model_files import ACTIVATIONS, EncoderShape
from sibyl_runtime.providers.protocols import Vectors

OPSET = 20
IR_VERSION = 10
CONTRIB_DOMAIN = "com.microsoft"

INT8_RANGE = 127
UINT8_RANGE = 255
# Below this the numbers of a token are all zero, and any scale is right but 0.
SMALLEST_SCALE = 1e-12


def build_graph(weights: Mapping[str, Vectors], shape: EncoderShape, *, int8: bool) -> onnx.ModelProto:
    """input_ids, attention_mask (int64, batch x tokens) -> embeddings (float32, batch x hidden, unit length) and
    pooled, the same at the length that the model gives them.

    `weights` carries BERT's tensor names without a model prefix. Raises KeyError for a tensor that is missing.
    """
    graph = Graph()
    hidden = encoded(graph, weights, shape, int8=int8)
    pooled = _pool_mean(graph, hidden) if shape.pooling == "mean" else pool_first(graph, hidden)
    graph.node("Identity", [pooled], output=POOLED)
    graph.node("LpNormalization", [pooled], output=EMBEDDINGS, axis=-1, p=2)
    return graph.model([INPUT_IDS, ATTENTION_MASK], [EMBEDDINGS, POOLED], ["batch", shape.hidden])


def encoded(
    graph: Graph, weights: Mapping[str, Vectors], shape: EncoderShape, *, int8: bool, segments: str | None = None
) -> str:
    """Add the encoder; the name of its output, batch x tokens x hidden. `segments` is the input that tells the two
    texts of a pair apart, shaped as the token ids are; None: one text, of segment 0."""
    embedded = _embed(graph, weights, shape, int8=int8, segments=segments)
    hidden = graph.rows(embedded, shape.hidden)
    batch = _Batch(
        tokens=graph.node("Cast", [ATTENTION_MASK], to=TensorProto.INT32),
        unmasked=_unmasked(graph),
        by_text=graph.node("Concat", [graph.node("Shape", [INPUT_IDS]), graph.constant([-1], np.int64)], axis=0),
    )
    for number in range(shape.layers):
        hidden = _layer(graph, _Layer(weights, f"encoder.layer.{number}.", shape, int8), hidden, batch)
    return graph.node("Reshape", [hidden, batch.by_text])


def _unmasked(graph: Graph) -> str:
    """Whether attention can do without the mask: no text is padded, and all are of those that never are.

    Its sums then run in another order, which int8 makes visible. A short text must not have two vectors, one alone and
    one beside a longer text.
    """
    full = graph.node("Cast", [graph.node("ReduceMin", [ATTENTION_MASK], keepdims=0)], to=TensorProto.BOOL)
    tokens = graph.node("Squeeze", [graph.node("Shape", [INPUT_IDS], start=1, end=2)])
    return graph.node("And", [full, graph.node("Greater", [tokens, graph.constant(LONGEST_PADDED, np.int64)])])


class Graph:
    """Nodes and constants under construction, every value named by its position."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def nodes(self, operator: str, inputs: list[str], outputs: int, **attributes: object) -> list[str]:
        """Add an operator with several outputs; the names of its outputs."""
        name = f"{operator}_{len(self._nodes)}"
        results = [f"{name}_{index}" for index in range(outputs)]
        self._nodes.append(helper.make_node(operator, inputs, results, name=name, **attributes))
        return results

    def node(self, operator: str, inputs: list[str], *, output: str | None = None, **attributes: object) -> str:
        """Add an operator with one output; the name of that output."""
        [result] = self.nodes(operator, inputs, 1, **attributes)
        if output is not None:
            self._nodes[-1].output[0] = output
        return output or result

    def either(self, condition: str, operator: str, one: list[str], other: list[str], **attributes: object) -> str:
        """Add an operator that reads the inputs `one` where the scalar `condition` holds, else `other`; its output."""
        branches = []
        for kind, inputs in (("then", one), ("else", other)):
            name = f"{operator}_{len(self._nodes)}_{kind}"
            node = helper.make_node(operator, inputs, [name], name=name, **attributes)
            made = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
            branches.append(helper.make_graph([node], f"{name}_graph", [], [made]))
        return self.node("If", [condition], then_branch=branches[0], else_branch=branches[1])

    def rows(self, values: str, width: int) -> str:
        """batch x tokens x width as one row per token: products and norms know nothing of texts."""
        return self.node("Reshape", [values, self.constant([-1, width], np.int64)])

    def column(self, values: str) -> str:
        """One number per row, as a column."""
        return self.node("Unsqueeze", [values, self.constant([1], np.int64)])

    def constant(self, values: npt.ArrayLike, dtype: npt.DTypeLike = np.float32) -> str:
        name = f"constant_{len(self._constants)}"
        array = np.asarray(values, dtype=dtype, order="C")
        self._constants.append(numpy_helper.from_array(array, name))
        return name

    def model(self, inputs: list[str], outputs: list[str], shape: list[str | int]) -> onnx.ModelProto:
        """The finished graph: `inputs` are int64, batch x tokens; `outputs` are float32 of `shape`."""
        given = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"]) for name in inputs]
        made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in outputs]
        graph = helper.make_graph(self._nodes, "encoder", given, made, initializer=self._constants)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB_DOMAIN, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


@dataclass(frozen=True)
class _Batch:
    """Names of values that attention needs beside a row per token: which tokens count (int32, batch x tokens), whether
    that can be left out (a scalar), and the shape in which rows are texts again."""

    tokens: str
    unmasked: str
    by_text: str


@dataclass(frozen=True)
class _Layer:
    weights: Mapping[str, Vectors]
    prefix: str
    shape: EncoderShape
    int8: bool

    def tensor(self, name: str) -> Vectors:
        return self.weights[self.prefix + name]


def _embed(
    graph: Graph, weights: Mapping[str, Vectors], shape: EncoderShape, *, int8: bool, segments: str | None
) -> str:
    table = weights["embeddings.word_embeddings.weight"]
    words = _gather_int8(graph, table) if int8 else graph.node("Gather", [graph.constant(table), INPUT_IDS])
    types = weights["embeddings.token_type_embeddings.weight"]
    places = weights["embeddings.position_embeddings.weight"][shape.position_offset :]
    if segments is None:
        places = places + types[0]
    else:
        words = graph.node("Add", [words, graph.node("Gather", [graph.constant(types), segments])])
    tokens = graph.node("Shape", [INPUT_IDS], start=1, end=2)
    start, axis = graph.constant([0], np.int64), graph.constant([0], np.int64)
    positions = graph.node("Slice", [graph.constant(places), start, tokens, axis])
    summed = graph.node("Add", [words, positions])
    return _layer_norm(graph, summed, weights, "embeddings.", shape)


def _gather_int8(graph: Graph, table: Vectors) -> str:
    """The word table is most of the model's weight; a scale per word keeps rare words as exact as common ones."""
    scales = _scales(table, axis=1)
    rows = graph.node("Gather", [graph.constant(np.round(table / scales), np.int8), INPUT_IDS])
    scale = graph.node("Gather", [graph.constant(scales), INPUT_IDS])
    return graph.node("Mul", [graph.node("Cast", [rows], to=TensorProto.FLOAT), scale])


def _layer(graph: Graph, layer: _Layer, hidden: str, batch: _Batch) -> str:
    attended = _dense(graph, layer, "attention.output.dense", _attention(graph, layer, hidden, batch))
    hidden = _layer_norm(
        graph, graph.node("Add", [attended, hidden]), layer.weights, f"{layer.prefix}attention.output.", layer.shape
    )
    operator, attributes = ACTIVATIONS[layer.shape.activation]
    wide = graph.node(operator, [_dense(graph, layer, "intermediate.dense", hidden)], **attributes)
    narrow = _dense(graph, layer, "output.dense", wide)
    return _layer_norm(graph, graph.node("Add", [narrow, hidden]), layer.weights, f"{layer.prefix}output.", layer.shape)


def _attention(graph: Graph, layer: _Layer, hidden: str, batch: _Batch) -> str:
    names = [f"attention.self.{part}" for part in ("query", "key", "value")]
    weight = np.concatenate([layer.tensor(f"{name}.weight") for name in names])
    bias = np.concatenate([layer.tensor(f"{name}.bias") for name in names])
    joined = graph.node("Reshape", [_product(graph, hidden, weight, bias, int8=layer.int8), batch.by_text])
    parts = graph.nodes("Split", [joined], 3, axis=2, num_outputs=3)
    attended = graph.either(
        batch.unmasked, "MultiHeadAttention", parts, [*parts, "", batch.tokens], domain=CONTRIB_DOMAIN,
        num_heads=layer.shape.heads,
    )  # fmt: skip
    return graph.rows(attended, layer.shape.hidden)


def _dense(graph: Graph, layer: _Layer, name: str, hidden: str) -> str:
    return _product(graph, hidden, layer.tensor(f"{name}.weight"), layer.tensor(f"{name}.bias"), int8=layer.int8)


def _product(graph: Graph, hidden: str, weight: Vectors, bias: Vectors, *, int8: bool) -> str:
    """hidden x weight^T + bias; `weight` as torch keeps it, outputs x inputs."""
    if int8:
        return _product_int8(graph, hidden, weight, bias)
    product = graph.node("MatMul", [hidden, graph.constant(weight.T)])
    return graph.node("Add", [product, graph.constant(bias)])


def _product_int8(graph: Graph, hidden: str, weight: Vectors, bias: Vectors) -> str:
    """A scale per output for the weights; a scale and a zero point per token for the activations.

    ONNX's own dynamic quantisation has one scale for the activations of a whole batch: twice the error, and a vector
    that depends on the texts that happen to share its batch. Here the integers of a token depend on nothing else.
    """
    scales = _scales(weight, axis=1)
    integers = np.round(weight / scales).T
    offsets = zero_point_weights(integers)
    scale, zero, quantised = _quantised_rows(graph, hidden)
    zeros = graph.node("Expand", [graph.column(zero), graph.constant([1, len(offsets)], np.int64)])
    wide = graph.node("Concat", [quantised, zeros], axis=1)
    weights = graph.constant(np.vstack([integers, offsets]), np.int8)
    inputs = [wide, weights, graph.constant(1), graph.constant(scales[:, 0])]
    product = graph.node("MatMulIntegerToFloat", inputs, domain=CONTRIB_DOMAIN)
    return graph.node("Add", [graph.node("Mul", [product, graph.column(scale)]), graph.constant(bias)])


def _quantised_rows(graph: Graph, values: str) -> tuple[str, str, str]:
    """`values` as uint8, with the scale and the zero point of each row: value = scale x (integer - zero point)."""
    axis = graph.constant([1], np.int64)
    above = graph.node("Relu", [graph.node("ReduceMax", [values, axis], keepdims=0)])
    below = graph.node("Relu", [graph.node("Neg", [graph.node("ReduceMin", [values, axis], keepdims=0)])])
    step = graph.node("Mul", [graph.node("Add", [above, below]), graph.constant(1 / UINT8_RANGE)])
    scale = graph.node("Max", [step, graph.constant(SMALLEST_SCALE)])
    zero = graph.node("QuantizeLinear", [below, scale], axis=0)
    return scale, zero, graph.node("QuantizeLinear", [values, scale, zero], axis=0)


def zero_point_weights(integers: Vectors) -> Vectors:
    """Rows to append to `integers` (inputs x outputs) that multiply a token's zero point, so that the product comes
    out as if the zero point had been taken off each activation. Several, since none may leave the range of int8."""
    left = -integers.sum(axis=0)
    rows = [np.zeros_like(left)]
    while left.any():
        rows.append(np.clip(left, -INT8_RANGE, INT8_RANGE))
        left = left - rows[-1]
    return np.vstack(rows)


def _scales(values: Vectors, *, axis: int) -> Vectors:
    """What one step of int8 is worth along `axis`; never 0, so that a row of zeros stays zeros."""
    largest = np.abs(values).max(axis=axis, keepdims=True)
    return np.where(largest > 0, largest / INT8_RANGE, 1).astype(np.float32)


def _layer_norm(graph: Graph, hidden: str, weights: Mapping[str, Vectors], prefix: str, shape: EncoderShape) -> str:
    names = [hidden, *(graph.constant(weights[f"{prefix}LayerNorm.{part}"]) for part in ("weight", "bias"))]
    return graph.node("LayerNormalization", names, axis=-1, epsilon=shape.epsilon)


def _pool_mean(graph: Graph, hidden: str) -> str:
    mask = graph.node("Cast", [ATTENTION_MASK], to=TensorProto.FLOAT)
    column = graph.node("Unsqueeze", [mask, graph.constant([2], np.int64)])
    axis = graph.constant([1], np.int64)
    total = graph.node("ReduceSum", [graph.node("Mul", [hidden, column]), axis], keepdims=0)
    return graph.node("Div", [total, graph.node("ReduceSum", [column, axis], keepdims=0)])


def pool_first(graph: Graph, hidden: str) -> str:
    """Add the vector of each text's first token, batch x hidden; its name."""
    return graph.node("Gather", [hidden, graph.constant(0, np.int64)], axis=1)
