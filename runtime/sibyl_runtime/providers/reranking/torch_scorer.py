"""Runs any cross-encoder of sentence-transformers on torch: for models and devices that the ONNX graph does not cover.

Tokenising, batching and the score stay with this project, so both backends read the same tokens and end in a sigmoid.
"""

from __future__ import annotations

from collections.abc import Sequence

from sibyl_runtime.errors import StartupError
from sibyl_runtime.providers.embedding.encoder import ATTENTION_MASK, INPUT_IDS
from sibyl_runtime.providers.embedding.model_files import ModelFiles
from sibyl_runtime.providers.embedding.torch_backend import (
    ACCELERATOR_BATCH_TOKENS,
    CPU_BATCH_TOKENS,
    check_device,
    torch_libraries,
)
from sibyl_runtime.providers.protocols import Vectors
from sibyl_runtime.providers.reranking.pairs import SCORES, SEGMENT_IDS, Pair, padded
from sibyl_runtime.providers.reranking.shape import reads_segments


class TorchScorer:
    """A CrossEncoder of the library as a `Scorer`."""

    def __init__(self, files: ModelFiles, *, device: str, threads: int) -> None:
        """Load the model; takes seconds. Raises StartupError for a missing library or device, or unusable files."""
        self._torch, library = torch_libraries()
        check_device(self._torch, device)
        if device == "cpu":
            self._torch.set_num_threads(threads)
        try:
            self._model = library.CrossEncoder(str(files.directory), device=device, local_files_only=True)
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise StartupError(f"model: sentence-transformers cannot load {files.directory}: {error}") from error
        self._model.eval()
        self._device = device
        self._reads_segments = reads_segments(files)
        self.batch_tokens = CPU_BATCH_TOKENS if device == "cpu" else ACCELERATOR_BATCH_TOKENS

    def score(self, batch: Sequence[Pair]) -> Vectors:
        """Shape (len(batch),), each 0 to 1."""
        torch = self._torch
        ids, mask, segments = padded(batch)
        inputs = {INPUT_IDS: ids, ATTENTION_MASK: mask} | ({SEGMENT_IDS: segments} if self._reads_segments else {})
        features = {name: torch.from_numpy(values).to(self._device) for name, values in inputs.items()}
        with torch.inference_mode():
            # The model itself, not the library's `predict`: a model may name another end there than a sigmoid.
            logits = self._model(features)[SCORES]
            scores: Vectors = torch.sigmoid(logits.float()).reshape(-1).cpu().numpy()
        return scores
