"""Writes small cross-encoders in the layout of the public ones: random ones, and one whose judgement a test can tell.

`write_favouring` gives a model that likes one word: the larger its share of question and passage, the higher the score.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from sibyl_runtime.providers.protocols import Vectors
from tests.support.tiny_model import HIDDEN, WORDS, tiny_config, tiny_weights, write_tiny_model

HEADS = {"bert": ("bert.pooler.dense", "classifier"), "roberta": ("classifier.dense", "classifier.out_proj")}
LIKED, OTHER = 4, 5
"""Ids of the vocabulary of `write_favouring`: the word that it likes, and every other."""


def cross_encoder_config(**changes: Any) -> dict[str, Any]:
    """config.json; a change to None removes the key."""
    return tiny_config(**{"architectures": ["BertForSequenceClassification"], "id2label": {"0": "LABEL_0"}, **changes})


def cross_encoder_weights(kind: str = "bert") -> dict[str, Vectors]:
    """Random tensors under the names of a BERT or RoBERTa with a head of one number, the same at every call."""
    random = np.random.default_rng(11)
    weights = tiny_weights(f"{kind}.")
    for name, outputs in zip(HEADS[kind], (HIDDEN, 1), strict=True):
        weights[f"{name}.weight"] = (random.standard_normal((outputs, HIDDEN)) * 0.3).astype(np.float32)
        weights[f"{name}.bias"] = (random.standard_normal(outputs) * 0.1).astype(np.float32)
    return weights


def write_cross_encoder(
    directory: Path, *, config: dict[str, Any] | None = None, weights: dict[str, Vectors] | None = None
) -> Path:
    """A complete model directory, without the files that only embedding models have."""
    write_tiny_model(directory, config=config or cross_encoder_config(), weights=weights or cross_encoder_weights())
    (directory / "modules.json").unlink()
    (directory / "1_Pooling" / "config.json").unlink()
    (directory / "1_Pooling").rmdir()
    return directory


def write_favouring(directory: Path, word: str, *, positions: int = 256) -> Path:
    """A cross-encoder that likes `word`. It reads any English words; all but one are the same to it."""
    weights = {name: np.zeros_like(tensor) for name, tensor in cross_encoder_weights().items()}
    weights["bert.embeddings.position_embeddings.weight"] = np.zeros((positions, HIDDEN), dtype=np.float32)
    for name in weights:
        if name.endswith("LayerNorm.weight"):
            weights[name] = np.ones(HIDDEN, dtype=np.float32)
    # Every token but the liked one is the same vector; the attention of zeros takes the mean of all tokens, so the
    # first token's vector says how many liked ones there are.
    words = weights["bert.embeddings.word_embeddings.weight"]
    words[:, 0], words[LIKED, 0], words[LIKED, 1] = 1, 0, 1
    identity = np.eye(HIDDEN, dtype=np.float32)
    weights["bert.encoder.layer.0.attention.self.value.weight"] = identity
    weights["bert.encoder.layer.0.attention.output.dense.weight"] = identity
    weights["bert.pooler.dense.weight"] = identity * 0.1
    weights["classifier.weight"][0, 1] = 10
    config = cross_encoder_config(max_position_embeddings=positions)
    write_cross_encoder(directory, config=config, weights=weights)
    _tokenizer(word).save(str(directory / "tokenizer.json"))
    return directory


def _tokenizer(word: str) -> Tokenizer:
    vocabulary = {**{special: number for number, special in enumerate(WORDS[:4])}, word: LIKED, "[OTHER]": OTHER}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer
