"""A BERT encoder in plain numpy, straight from a model's own weights: what an exported graph is compared with.

It shares nothing with the graph but the file of weights, and takes one text at a time, so that no padding is involved.
Slow on purpose: a few texts are enough to find a graph that computes something else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from sibyl_runtime.providers.embedding.model_files import EncoderShape
from sibyl_runtime.providers.protocols import Vectors

_ERF = np.frompyfunc(math.erf, 1, 1)
_TANH_SCALE = math.sqrt(2 / math.pi)


class ReferenceEncoder:
    """`weights` carries BERT's tensor names without a model prefix."""

    def __init__(self, weights: Mapping[str, Vectors], shape: EncoderShape) -> None:
        self._weights = weights
        self._shape = shape

    def encode(self, ids: Sequence[int]) -> Vectors:
        """The unit vector of one text, shape (hidden,). Raises KeyError for a tensor that is missing."""
        places = np.arange(len(ids)) + self._shape.position_offset
        hidden = self._weights["embeddings.word_embeddings.weight"][list(ids)]
        hidden = hidden + self._weights["embeddings.position_embeddings.weight"][places]
        hidden = hidden + self._weights["embeddings.token_type_embeddings.weight"][0]
        hidden = self._norm("embeddings.LayerNorm", hidden)
        for number in range(self._shape.layers):
            hidden = self._layer(f"encoder.layer.{number}.", hidden)
        pooled = hidden.mean(axis=0) if self._shape.pooling == "mean" else hidden[0]
        unit: Vectors = (pooled / np.linalg.norm(pooled)).astype(np.float32)
        return unit

    def _layer(self, name: str, hidden: Vectors) -> Vectors:
        attended = self._dense(f"{name}attention.output.dense", self._attention(f"{name}attention.self.", hidden))
        hidden = self._norm(f"{name}attention.output.LayerNorm", attended + hidden)
        wide = _activated(self._dense(f"{name}intermediate.dense", hidden), self._shape.activation)
        return self._norm(f"{name}output.LayerNorm", self._dense(f"{name}output.dense", wide) + hidden)

    def _attention(self, name: str, hidden: Vectors) -> Vectors:
        query, key, value = (self._heads(self._dense(f"{name}{part}", hidden)) for part in ("query", "key", "value"))
        scores = query @ key.transpose(0, 2, 1) / math.sqrt(query.shape[2])
        shares = np.exp(scores - scores.max(axis=2, keepdims=True))
        shares = shares / shares.sum(axis=2, keepdims=True)
        joined: Vectors = (shares @ value).transpose(1, 0, 2).reshape(hidden.shape)
        return joined

    def _heads(self, tokens: Vectors) -> Vectors:
        """tokens x hidden -> heads x tokens x part."""
        split: Vectors = tokens.reshape(len(tokens), self._shape.heads, -1).transpose(1, 0, 2)
        return split

    def _dense(self, name: str, hidden: Vectors) -> Vectors:
        product: Vectors = hidden @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]
        return product

    def _norm(self, name: str, hidden: Vectors) -> Vectors:
        centred = hidden - hidden.mean(axis=1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + self._shape.epsilon)
        normed: Vectors = scaled * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]
        return normed


def _activated(values: Vectors, activation: str) -> Vectors:
    if activation == "relu":
        return np.maximum(values, np.float32(0))
    if activation == "gelu":
        inner = _ERF(values / math.sqrt(2)).astype(np.float32)
    else:
        inner = np.tanh(_TANH_SCALE * (values + 0.044715 * values**3))
    activated: Vectors = values * 0.5 * (1 + inner)
    return activated
