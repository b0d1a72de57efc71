"""Keeps built graphs on disk, so that a model is converted once and not at every start.

A graph is filed under what it was made from: the weights' hash, the encoder's shape, the precision and the version of
the recipe. A model may bring its graphs along, converted when an image was built: those are used where they are.
Two processes that build the same graph at once write two files and rename them to the same name.
Building runs in a process of its own: its memory is gone when it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import os
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from sibyl_runtime.errors import StartupError
from sibyl_runtime.providers.embedding.model_files import CONVERTED, CONVERTED_DIGEST, EncoderShape, ModelFiles

CACHE_VARIABLE = "SIBYL_CACHE_DIR"
BUILD_MODULE = "sibyl_runtime.providers.embedding.build"

# Raise with every change of `onnx_graph` that changes vectors or speed; files of other versions are not read. It is no
# part of an embedder's tag, for then each raise would have every collection ingested anew: documents of recipe 2 and
# questions of recipe 3 (cosine 0.9985 for the same text) find Cranfield's answers as well as either does alone, nDCG@10
# 0.392 of 0.393 and 0.391. A recipe for which that does not hold needs another tag.
RECIPE = 3

Kind = Literal["embedding", "reranking"]

_DIGEST = re.compile("[0-9a-f]{64}")

log = logging.getLogger(__name__)


def cache_directory(environ: Mapping[str, str]) -> Path:
    """Where graphs are kept: $SIBYL_CACHE_DIR/models, else sibyl/models in the user's cache directory."""
    if chosen := environ.get(CACHE_VARIABLE):
        return Path(chosen) / "models"
    base = environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path("~/.cache").expanduser()) / "sibyl" / "models"


def model_digest(files: ModelFiles, directory: Path) -> str:
    """sha256 over the weights, as hex: computed, or told by the model where it came converted, without weights.

    Raises StartupError for a note that is no such hash.
    """
    if files.weights:
        return weights_digest(files.weights, directory)
    note = files.converted / CONVERTED_DIGEST
    digest = note.read_text().strip()
    if not _DIGEST.fullmatch(digest):
        raise StartupError(f"model: {note} holds no sha256 of the weights; convert the model again")
    return digest


def weights_digest(weights: Iterable[Path], directory: Path) -> str:
    """sha256 over the weights, as hex. Remembered in `directory` by path, size and change time of the files."""
    files = [path.resolve() for path in weights]
    facts = [(str(path), status.st_size, status.st_mtime_ns) for path in files for status in [path.stat()]]
    note = directory / "digests" / hashlib.sha256(repr(facts).encode()).hexdigest()[:32]
    with contextlib.suppress(OSError):
        if _DIGEST.fullmatch(digest := note.read_text()):
            return digest
    running = hashlib.sha256()
    for path in files:
        with path.open("rb") as stream:
            running.update(hashlib.file_digest(stream, "sha256").digest())
    # Where the cache cannot be written, the weights are hashed again at the next start: slower, not wrong.
    with contextlib.suppress(OSError):
        _write_atomically(note, running.hexdigest())
    return running.hexdigest()


def graph_name(files: ModelFiles, shape: EncoderShape, digest: str, precision: str) -> str:
    """The file name of a graph: readable, and different for everything that changes its vectors."""
    key = json.dumps([RECIPE, digest, precision, asdict(shape)], sort_keys=True)
    readable = re.sub(r"[^A-Za-z0-9._-]", "_", files.name)
    return f"{readable}-{precision}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.onnx"


@contextlib.asynccontextmanager
async def graph_file(
    directory: Path, name: str, model: Path, precision: str, *, kind: Kind = "embedding"
) -> AsyncIterator[Path]:
    """The graph `name`: the model's own, or else built when it is not in `directory` yet. Readable inside the context.

    Where `directory` cannot be written the graph lives in a temporary directory, with a warning, and only as long as
    the context. Raises StartupError when the graph cannot be built or written anywhere.
    """
    for kept in (model / CONVERTED / name, directory / name):
        if kept.is_file():
            yield kept
            return
    obstacle = await asyncio.to_thread(_obstacle, directory)
    kept = directory / name
    with contextlib.ExitStack() as stack:
        if obstacle is not None:
            kept = stack.enter_context(_temporary_directory(directory, obstacle)) / name
        await _build(model, kept, precision, kind)
        yield kept


async def _build(model: Path, output: Path, precision: str, kind: Kind) -> None:
    """Run the build in a child process, which ends with this task if the task is cancelled."""
    log.info("converting the model in %s to a %s graph; this happens once", model, precision)
    started = time.monotonic()
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", BUILD_MODULE),
        *(str(model), "--kind", kind, "--precision", precision, "--output", str(output)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, errors = await child.communicate()
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode != 0:
        reason = errors.decode(errors="replace").strip().rpartition("\n")[2] or f"exit code {child.returncode}"
        raise StartupError(f"model: converting {model} failed: {reason.removeprefix('model: ')}")
    log.info("converted the model in %.1f s", time.monotonic() - started)


def _obstacle(directory: Path) -> OSError | None:
    """Why nothing can be written to `directory`; None when it can."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            return None
    except OSError as error:
        return error


@contextlib.contextmanager
def _temporary_directory(directory: Path, obstacle: OSError) -> Iterator[Path]:
    try:
        temporary = tempfile.TemporaryDirectory(prefix="sibyl-model-")
    except OSError as error:
        raise StartupError(
            f"model: the converted model can be written neither to {directory} ({obstacle}) nor to a temporary "
            f"directory ({error}); set {CACHE_VARIABLE} to a directory that can be written"
        ) from error
    log.warning(
        "the model cache %s cannot be written (%s): the model is converted again at every start. "
        "Set %s to a directory that can be written",
        directory,
        obstacle,
        CACHE_VARIABLE,
    )
    with temporary as name:
        yield Path(name)


def _write_atomically(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.replace(path)
