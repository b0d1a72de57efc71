"""A model converted for serving, and proof that it is still the same model.

Nothing is left behind that was not proven: the directory gets its name when every graph agrees with the weights.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
from safetensors import SafetensorError, safe_open

from sibyl_runtime.errors import InvalidParameters, StartupError
from sibyl_runtime.providers.embedding.build import PRECISIONS, Weights, export
from sibyl_runtime.providers.embedding.model_files import ModelFiles, encoder_shape, find_model, read_model
from sibyl_runtime.providers.embedding.onnx_session import OnnxEncoder
from sibyl_runtime.providers.embedding.reference import ReferenceEncoder
from sibyl_runtime.providers.embedding.tokenizer import Tokenizer
from sibyl_runtime.providers.protocols import Vectors

LEAST_COSINE: Final = MappingProxyType({"fp32": 0.9999, "int8": 0.99})
"""What the worst of the texts below must reach, by precision."""

TEXTS: Final = (
    "Why?", "how long does the service keep its database backups", "UPPER lower MiXeD, 1,234,567.89 USD",
    "naïve café Zürich", "Привет, мир", "東京は日本の首都です。", "SELECT * FROM documents WHERE id = 7;",
    "A cache keeps answers, so that a question that was asked before costs nothing. It forgets them by age.",
)  # fmt: skip


@dataclass(frozen=True)
class ExportedGraph:
    """One graph. Cosines to vectors that were computed from the weights; `bytes` is the size of its file."""

    precision: str
    path: Path
    bytes: int
    mean_cosine: float
    least_cosine: float


def export_verified(model: str, directory: Path, precisions: Sequence[str] = PRECISIONS) -> list[ExportedGraph]:
    """Convert `model` to `directory`, whose name becomes the model's, and compare each graph with the weights.

    Raises InvalidParameters for a directory that holds something, StartupError for a model that cannot be converted
    or a graph that differs; nothing is written then.
    """
    target = directory.resolve()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InvalidParameters(f"{directory} is there and not an empty directory; give another one, or remove it")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # Beside it, so that one rename puts it in place; under its own name, which the files of the graphs carry.
        with tempfile.TemporaryDirectory(prefix=".sibyl-export-", dir=target.parent) as beside:
            made = Path(beside) / target.name
            found = _compare(model, export(model, made, precisions), precisions)
            made.replace(target)
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise StartupError(f"model: converting {model} failed: {type(error).__name__}: {error}") from error
    converted = target / found[0].path.parent.name
    return [
        ExportedGraph(one.precision, converted / one.path.name, one.bytes, one.mean_cosine, one.least_cosine)
        for one in found
    ]


def _compare(model: str, graphs: Sequence[Path], precisions: Sequence[str]) -> list[ExportedGraph]:
    files = read_model(find_model(model, os.environ), model)
    ids = _token_ids(files)
    expected = _expected(files, ids)
    found = []
    for precision, graph in zip(precisions, graphs, strict=True):
        cosines = np.sum(OnnxEncoder(graph, threads=1).encode(ids) * expected, axis=1)
        least = float(cosines.min())
        if not least >= LEAST_COSINE[precision]:
            raise StartupError(
                f"model: the {precision} graph of {files.name} gives other vectors than its weights: cosine {least:.4f}"
                f" where {LEAST_COSINE[precision]} is the least; nothing was written"
                + ("; export --precision fp32 alone" if precision == "int8" else "")
            )
        found.append(ExportedGraph(precision, graph, graph.stat().st_size, float(cosines.mean()), least))
    return found


def _token_ids(files: ModelFiles) -> list[list[int]]:
    tokenizer = Tokenizer.load(files.tokenizer)
    return [list(tokenizer.ids(text))[: files.max_tokens] for text in TEXTS]


def _expected(files: ModelFiles, ids: Sequence[Sequence[int]]) -> Vectors:
    with safe_open(files.weights[0], framework="numpy") as tensors:
        reference = ReferenceEncoder(Weights(tensors), encoder_shape(files))
        return np.stack([reference.encode(text) for text in ids])
