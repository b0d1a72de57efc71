"""Runs an encoder graph on onnxruntime, set up for a pod that shares its cores and for a machine that keeps to itself.

Threads do not spin while they wait: a spinning pool burns the CPU quota of the whole pod. The memory arena is off: it
keeps the peak of the largest batch for ever and gains no speed here. Since 1.29 the official Linux builds send usage
data to their maker and keep a device identifier on disk, unless a variable says no before the library is imported.
Nothing else in this project may import onnxruntime; cross-encoders take their sessions from here.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from sibyl_runtime.errors import StartupError
from sibyl_runtime.providers.embedding.cpu import multiplies_int8
from sibyl_runtime.providers.embedding.encoder import ATTENTION_MASK, EMBEDDINGS, INPUT_IDS, POOLED, TokenIds, pad
from sibyl_runtime.providers.protocols import Vectors

# Strictly before the import below: the choice is latched when the library initialises.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as native

BATCH_TOKENS = 512

EXACT_INT8 = "session.x64quantprecision"
"""A session with this entry multiplies integers exactly on every processor. It is slower where others are exact too."""

_ERRORS_ONLY = 3


class OnnxEncoder:
    """One session over one graph: an `Encoder`."""

    batch_tokens = BATCH_TOKENS

    def __init__(self, graph: Path, threads: int, *, normalize: bool = True) -> None:
        """Load the graph; tens of milliseconds. `normalize`: unit vectors, else those at the length the model gives.

        Raises StartupError for a file that is not a graph.
        """
        self._session = open_session(graph, threads)
        self._output = EMBEDDINGS if normalize else POOLED
        self.dimension = int(self._session.get_outputs()[0].shape[1])

    def encode(self, batch: Sequence[TokenIds]) -> Vectors:
        """Shape (len(batch), dimension), of token ids with their markers."""
        ids, mask = pad(batch)
        vectors: Vectors = self._session.run([self._output], {INPUT_IDS: ids, ATTENTION_MASK: mask})[0]
        return vectors


def open_session(graph: Path, threads: int) -> onnxruntime.InferenceSession:
    """A session over any graph of this project. Raises StartupError for a file that is not one."""
    try:
        return onnxruntime.InferenceSession(str(graph), _options(threads), providers=["CPUExecutionProvider"])
    except (native.Fail, native.InvalidGraph, native.InvalidProtobuf, native.NotImplemented) as error:
        raise StartupError(f"model: {graph} cannot be loaded; delete it and start again: {error}") from error


def _options(threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    options.log_severity_level = _ERRORS_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if not multiplies_int8():
        # Without such instructions, onnxruntime's fast kernels add products in 16 bits, which overflow: wrong vectors.
        options.add_session_config_entry(EXACT_INT8, "1")
    return options
