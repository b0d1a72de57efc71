"""Converts a model to its ONNX graph: `python -m sibyl_runtime.providers.embedding.build all-MiniLM-L6-v2`.

The runtime starts this when a graph is not in its cache. An image runs it while it is built, so that pods start with
the graph in place.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from safetensors import SafetensorError, safe_open

from sibyl_runtime.errors import StartupError
from sibyl_runtime.providers.embedding.cpu import choose_precision
from sibyl_runtime.providers.embedding.graph_cache import cache_directory, graph_name, weights_digest
from sibyl_runtime.providers.embedding.model_files import DEFAULT_MODEL, encoder_shape, find_model, read_model
from sibyl_runtime.providers.embedding.onnx_graph import build_graph
from sibyl_runtime.providers.protocols import Vectors

WORD_TABLE = "embeddings.word_embeddings.weight"


def main(arguments: list[str] | None = None) -> int:
    """Build one graph and print its path. Exit code 1, with the reason on the last line of stderr, when it fails."""
    options = _parser().parse_args(arguments)
    try:
        print(build(options.model, options.precision, options.output))
    except (StartupError, SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        print(f"{type(error).__name__}: {error}" if not isinstance(error, StartupError) else error, file=sys.stderr)
        return 1
    return 0


def build(model: str, precision: str, output: Path | None) -> Path:
    """Write the graph of `model` to `output`, or into the cache under its own name. Returns the path.

    Raises StartupError for a model that cannot be converted, KeyError for a tensor that is missing from its weights.
    """
    files = read_model(find_model(model, os.environ), model)
    shape = encoder_shape(files)
    chosen = choose_precision(precision)
    if output is None:
        directory = cache_directory(os.environ)
        output = directory / graph_name(files, shape, weights_digest(files.weights, directory), chosen)
    with safe_open(files.weights[0], framework="numpy") as tensors:
        graph = build_graph(_Weights(tensors), shape, int8=chosen == "int8")
    output.parent.mkdir(parents=True, exist_ok=True)
    with _replacing(output) as temporary:
        onnx.save(graph, temporary)
    return output


class _Weights(Mapping[str, Vectors]):
    """Tensors by BERT's names, read when asked for: two copies of a model would not fit beside a serving process."""

    def __init__(self, tensors: Any) -> None:
        self._tensors = tensors
        self._names: list[str] = list(tensors.keys())
        tables = [name for name in self._names if name.endswith(WORD_TABLE)]
        self._prefix = tables[0].removesuffix(WORD_TABLE) if tables else ""

    def __getitem__(self, name: str) -> Vectors:
        try:
            return np.asarray(self._tensors.get_tensor(self._prefix + name), dtype=np.float32)
        except SafetensorError as error:
            raise KeyError(f"{self._prefix}{name}: {error}") from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A temporary file that takes the name `path` in one step, or disappears when the body fails."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sibyl_runtime.providers.embedding.build", description=__doc__)
    parser.add_argument("model", nargs="?", default=DEFAULT_MODEL, help="name of the model, or path of its directory")
    parser.add_argument("--precision", choices=("auto", "int8", "fp32"), default="auto", help="arithmetic of the graph")
    parser.add_argument("--output", type=Path, help="file to write; default: in the model cache")
    return parser


if __name__ == "__main__":
    sys.exit(main())
