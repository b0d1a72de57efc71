"""Runs any sentence-transformers model on torch: the backend for models and devices that the ONNX graph does not cover.

The library is imported when it is asked for: it takes seconds and most of a gigabyte, and serving images do not carry
it. Tokenising, batching and queueing stay with this project, so both backends see the same token ids.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from sibyl_runtime.errors import StartupError
from sibyl_runtime.providers.embedding.encoder import ATTENTION_MASK, INPUT_IDS, TokenIds, pad
from sibyl_runtime.providers.embedding.model_files import ModelFiles
from sibyl_runtime.providers.protocols import Vectors

CPU_BATCH_TOKENS = 2048
ACCELERATOR_BATCH_TOKENS = 32_768


class TorchEncoder:
    """A SentenceTransformer as an `Encoder`."""

    def __init__(self, files: ModelFiles, *, device: str, threads: int, window: int, normalize: bool = True) -> None:
        """Load the model; takes seconds. Raises StartupError for a missing library or device, or unusable files."""
        self._torch, library = torch_libraries()
        check_device(self._torch, device)
        if device == "cpu":
            self._torch.set_num_threads(threads)
        try:
            self._model = library.SentenceTransformer(str(files.directory), device=device, local_files_only=True)
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise StartupError(f"model: sentence-transformers cannot load {files.directory}: {error}") from error
        self._model.eval()
        self._model.max_seq_length = window
        self._device = device
        self._normalize = normalize
        self.dimension = int(self._model.get_embedding_dimension())
        self.batch_tokens = CPU_BATCH_TOKENS if device == "cpu" else ACCELERATOR_BATCH_TOKENS

    def encode(self, batch: Sequence[TokenIds]) -> Vectors:
        """Shape (len(batch), dimension), of token ids with their markers."""
        torch = self._torch
        ids, mask = pad(batch)
        features = {
            INPUT_IDS: torch.from_numpy(ids).to(self._device),
            ATTENTION_MASK: torch.from_numpy(mask).to(self._device),
        }
        with torch.inference_mode():
            vectors = self._model(features)["sentence_embedding"]
            scaled = torch.nn.functional.normalize(vectors.float(), dim=-1) if self._normalize else vectors.float()
            made: Vectors = scaled.cpu().numpy()
        return made

    def empty_cache(self) -> None:
        """Give memory of the device that torch keeps for later tensors back to the device."""
        if self._device == "cuda":
            self._torch.cuda.empty_cache()
        elif self._device == "mps":
            self._torch.mps.empty_cache()


def torch_libraries() -> tuple[Any, Any]:
    """torch and sentence_transformers. Raises StartupError where they are not installed."""
    # All are read once, at import. OpenMP threads that spin while idle starve the event loop of a pod with a CPU
    # limit. The hub is neither asked nor told anything: models come from this machine alone.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ["HF_HUB_OFFLINE"] = os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    try:
        import sentence_transformers
        import torch
    except ImportError as error:
        raise StartupError(
            f"backend: torch needs the sentence-transformers library ({error}); "
            "run `pip install 'sibyl-operator[torch]'`, or use the image that carries it"
        ) from error
    return torch, sentence_transformers


def check_device(torch: Any, device: str) -> None:
    """Raise StartupError, which names those that are there, for a device that is not."""
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available.get(device, False):
        usable = ", ".join(name for name, present in available.items() if present)
        raise StartupError(f"device: {device} is not available on this machine; available: {usable}")
