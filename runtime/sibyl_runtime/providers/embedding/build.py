"""Converts a model to its ONNX graph: `python -m sibyl_runtime.providers.embedding.build all-MiniLM-L6-v2`.

The runtime starts this when a graph is not in its cache. An image runs it with `--export` while it is built, so that
pods start with the graphs in place and carry neither the weights a second time nor the library that converts them.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from sibyl_runtime.errors import StartupError
from sibyl_runtime.providers.embedding.cpu import choose_precision
from sibyl_runtime.providers.embedding.graph_cache import (
    BUILD_MODULE,
    Kind,
    cache_directory,
    graph_name,
    weights_digest,
)
from sibyl_runtime.providers.embedding.model_files import (
    CONVERTED,
    CONVERTED_DIGEST,
    DEFAULT_MODEL,
    DESCRIPTION,
    EncoderShape,
    ModelFiles,
    encoder_shape,
    find_model,
    read_model,
)
from sibyl_runtime.providers.protocols import Vectors
from sibyl_runtime.providers.reranking.shape import ScorerShape, scorer_shape

PRECISIONS = ("int8", "fp32")
WORD_TABLE = "embeddings.word_embeddings.weight"


def main(arguments: list[str] | None = None) -> int:
    """Convert and print the paths. Exit code 1, with the reason on the last line of stderr, when it fails."""
    options = _parser().parse_args(arguments)
    try:
        if options.export is not None:
            written = export(options.model, options.export, kind=options.kind)
        else:
            written = [build(options.model, options.precision, options.output, options.kind)]
    except (StartupError, SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        print(f"{type(error).__name__}: {error}" if not isinstance(error, StartupError) else error, file=sys.stderr)
        return 1
    print(*written, sep="\n")
    return 0


def build(model: str, precision: str, output: Path | None, kind: Kind = "embedding") -> Path:
    """Write the graph of `model` to `output`, or into the cache under its own name. Returns the path.

    `kind` is what the graph is for: a model with a head can also be read as an embedding model, without it.

    Raises StartupError for a model that cannot be converted, KeyError for a tensor that is missing from its weights.
    """
    files, shape = _read(model, kind)
    chosen = choose_precision(precision)
    if output is None:
        directory = cache_directory(os.environ)
        output = directory / graph_name(files, shape, weights_digest(files.weights, directory), chosen)
    _write_graph(files, shape, chosen, output)
    return output


def export(
    model: str, directory: Path, precisions: Sequence[str] = PRECISIONS, *, kind: Kind = "embedding"
) -> list[Path]:
    """Write `model` converted to `directory`: its description and the graphs of these precisions, without weights.

    The name of the directory becomes the model's. Returns the paths of the graphs. Raises as `build` does.
    """
    files, shape = _read(model, kind)
    converted = directory / CONVERTED
    converted.mkdir(parents=True, exist_ok=True)
    for name in DESCRIPTION:
        if (files.directory / name).is_file():
            (directory / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(files.directory / name, directory / name)
    digest = weights_digest(files.weights, cache_directory(os.environ))
    (converted / CONVERTED_DIGEST).write_text(f"{digest}\n")
    exported = read_model(directory, str(directory))
    graphs = [converted / graph_name(exported, shape, digest, precision) for precision in precisions]
    for precision, graph in zip(precisions, graphs, strict=True):
        _write_graph(files, shape, precision, graph)
    return graphs


def _read(model: str, kind: Kind) -> tuple[ModelFiles, EncoderShape]:
    files = read_model(find_model(model, os.environ), model)
    if not files.weights:
        raise StartupError(
            f"model: {files.directory} came converted and holds no weights, and no graph of the wanted precision that "
            "this version reads: convert the model again from its weights"
        )
    return files, scorer_shape(files) if kind == "reranking" else encoder_shape(files)


def _write_graph(files: ModelFiles, shape: EncoderShape, precision: str, output: Path) -> None:
    scores = isinstance(shape, ScorerShape)
    arguments = f"--kind reranking --export DIRECTORY {files.directory}" if scores else f"{files.directory} DIRECTORY"
    command = f"{f'python -m {BUILD_MODULE}' if scores else 'sibyl model export'} {arguments}"
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise StartupError(
            f"model: {files.name} must be converted, and the package `onnx` is not installed: install the extra "
            "`convert` (`pip install 'sibyl-operator[convert]'`), or convert it where that is installed, by "
            f"`{command}`, and name that directory"
        ) from error
    with safe_open(files.weights[0], framework="numpy") as tensors:
        graph = _graph(Weights(tensors), shape, int8=precision == "int8")
    output.parent.mkdir(parents=True, exist_ok=True)
    with _replacing(output) as temporary:
        onnx.save(graph, temporary)


def _graph(weights: Weights, shape: EncoderShape, *, int8: bool) -> Any:
    # Imported here: both need the library that `_write_graph` has just found.
    if isinstance(shape, ScorerShape):
        from sibyl_runtime.providers.reranking.onnx_graph import build_scoring_graph

        return build_scoring_graph(weights, shape, int8=int8)
    from sibyl_runtime.providers.embedding.onnx_graph import build_graph

    return build_graph(weights, shape, int8=int8)


class Weights(Mapping[str, Vectors]):
    """Tensors by BERT's names, read when asked for: two copies of a model would not fit beside a serving process."""

    def __init__(self, tensors: Any) -> None:
        self._tensors = tensors
        self._names: list[str] = list(tensors.keys())
        tables = [name for name in self._names if name.endswith(WORD_TABLE)]
        self._prefix = tables[0].removesuffix(WORD_TABLE) if tables else ""

    def __getitem__(self, name: str) -> Vectors:
        # The head of a cross-encoder stands beside the encoder, so its names have no prefix.
        found = name if name in self._names else self._prefix + name
        try:
            return np.asarray(self._tensors.get_tensor(found), dtype=np.float32)
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
    parser.add_argument("--kind", choices=("embedding", "reranking"), default="embedding", help="what the model is for")
    target = parser.add_mutually_exclusive_group()
    target.add_argument("--output", type=Path, help="file to write; default: in the model cache")
    target.add_argument(
        "--export", type=Path, metavar="DIRECTORY", help="write the model converted to every precision, without weights"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
