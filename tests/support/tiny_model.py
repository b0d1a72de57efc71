"""Writes small models with random weights in the layout of sentence-transformers, for tests of what their files say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from sibyl_runtime.providers.protocols import Vectors

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"w{number}" for number in range(60))]
HIDDEN, LAYERS, HEADS, INTERMEDIATE, POSITIONS = 32, 2, 4, 48, 24


def tiny_weights(prefix: str = "") -> dict[str, Vectors]:
    """Random tensors under BERT's names, the same at every call."""
    random = np.random.default_rng(7)

    def tensor(*shape: int) -> Vectors:
        return (random.standard_normal(shape) * 0.2).astype(np.float32)

    weights = {
        "embeddings.word_embeddings.weight": tensor(len(WORDS), HIDDEN),
        "embeddings.position_embeddings.weight": tensor(POSITIONS, HIDDEN),
        "embeddings.token_type_embeddings.weight": tensor(2, HIDDEN),
        **_norm("embeddings.LayerNorm", random),
    }
    for number in range(LAYERS):
        layer = f"encoder.layer.{number}"
        for part in ("query", "key", "value"):
            weights |= _dense(f"{layer}.attention.self.{part}", HIDDEN, HIDDEN, random)
        weights |= _dense(f"{layer}.attention.output.dense", HIDDEN, HIDDEN, random)
        weights |= _norm(f"{layer}.attention.output.LayerNorm", random)
        weights |= _dense(f"{layer}.intermediate.dense", HIDDEN, INTERMEDIATE, random)
        weights |= _dense(f"{layer}.output.dense", INTERMEDIATE, HIDDEN, random)
        weights |= _norm(f"{layer}.output.LayerNorm", random)
    return {prefix + name: value for name, value in weights.items()}


def tiny_config(**changes: Any) -> dict[str, Any]:
    """config.json of the tiny model; a change to None removes the key."""
    config = {
        "model_type": "bert",
        "hidden_act": "gelu",
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": INTERMEDIATE,
        "max_position_embeddings": POSITIONS,
        "vocab_size": len(WORDS),
        "type_vocab_size": 2,
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
        **changes,
    }
    return {key: value for key, value in config.items() if value is not None}


def write_tiny_model(
    directory: Path,
    *,
    config: dict[str, Any] | None = None,
    weights: dict[str, Vectors] | None = None,
    pooling: dict[str, Any] | None = None,
    prompts: dict[str, str] | None = None,
) -> Path:
    """A complete model directory."""
    directory.mkdir(parents=True, exist_ok=True)
    _write_json(directory / "config.json", config or tiny_config())
    save_file(weights or tiny_weights(), directory / "model.safetensors", metadata={"format": "pt"})
    _tokenizer().save(str(directory / "tokenizer.json"))
    _write_json(directory / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"})
    modules = ["Transformer", "Pooling", "Normalize"]
    paths = ["", "1_Pooling", "2_Normalize"]
    module = "sentence_transformers.models."
    rows = [
        {"idx": index, "name": str(index), "path": path, "type": module + kind}
        for index, (kind, path) in enumerate(zip(modules, paths, strict=True))
    ]
    _write_json(directory / "modules.json", rows)
    (directory / "1_Pooling").mkdir(exist_ok=True)
    pooled = pooling or {"pooling_mode_mean_tokens": True}
    _write_json(directory / "1_Pooling" / "config.json", {"word_embedding_dimension": HIDDEN, **pooled})
    if prompts is not None:
        _write_json(directory / "config_sentence_transformers.json", {"prompts": prompts})
    return directory


def _tokenizer() -> Tokenizer:
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=8)
    return tokenizer


def _dense(name: str, inputs: int, outputs: int, random: np.random.Generator) -> dict[str, Vectors]:
    weight = random.standard_normal((outputs, inputs)) * 0.3
    return {
        f"{name}.weight": weight.astype(np.float32),
        f"{name}.bias": random.standard_normal(outputs).astype(np.float32),
    }


def _norm(name: str, random: np.random.Generator) -> dict[str, Vectors]:
    scale = 1 + random.standard_normal(HIDDEN) * 0.1
    return {
        f"{name}.weight": scale.astype(np.float32),
        f"{name}.bias": (random.standard_normal(HIDDEN) * 0.1).astype(np.float32),
    }


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")
