"""What the files of a cross-encoder say about it: an encoder as embedding models have, and a head of one number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sibyl_runtime.errors import StartupError
from sibyl_runtime.providers.embedding.model_files import USE_TORCH, EncoderShape, ModelFiles, encoder_shape

# Where the weights of the head lie, by the type of the model: BERT puts its pooler before a linear layer.
HEADS: Mapping[str, tuple[str, str]] = {
    "bert": ("pooler.dense", "classifier"),
    "roberta": ("classifier.dense", "classifier.out_proj"),
    "xlm-roberta": ("classifier.dense", "classifier.out_proj"),
}
CLASSIFIER = "ForSequenceClassification"


@dataclass(frozen=True)
class ScorerShape(EncoderShape):
    """`head`: the names of its two layers, tanh between them. `segments`: the model tells question and passage apart
    by more than the marker between them."""

    head: tuple[str, str]
    segments: bool


def scorer_shape(files: ModelFiles) -> ScorerShape:
    """The shape of the ONNX graph. Raises StartupError for a model that is no cross-encoder, or not of a known kind."""
    check_cross_encoder(files)
    if (kind := files.config.get("model_type")) not in HEADS:
        raise StartupError(
            f"model: {files.name} is of type {kind!r}; with backend onnx a cross-encoder may be "
            f"{', '.join(sorted(HEADS))}; {USE_TORCH}"
        )
    try:
        encoder = encoder_shape(files)
    except StartupError as error:
        raise StartupError(f"{error.message.partition(';')[0]}; {USE_TORCH}") from error
    return ScorerShape(
        **(asdict(encoder) | {"pooling": "cls"}),
        head=HEADS[str(files.config["model_type"])],
        segments=reads_segments(files),
    )


def check_cross_encoder(files: ModelFiles) -> None:
    """Raise StartupError for a model that no backend can rerank with."""
    for fault in _faults(files.config):
        raise StartupError(f"model: {files.name} {fault}")


def reads_segments(files: ModelFiles) -> bool:
    """Whether the model tells the two texts of a pair apart by an input of their own."""
    return int(files.config.get("type_vocab_size", 1)) > 1


def _faults(config: Mapping[str, Any]) -> Iterator[str]:
    kinds = [str(kind) for kind in config.get("architectures") or ()]
    if not any(kind.endswith(CLASSIFIER) for kind in kinds):
        stated = ", ".join(kinds) or "nothing"
        yield (
            f"is no cross-encoder: its config.json names {stated} under architectures, and a cross-encoder has one "
            f"that ends in {CLASSIFIER}; embedding models cannot rerank"
        )
    # transformers writes neither key for its default of two labels.
    labels = config.get("num_labels") or len(config.get("id2label") or (0, 1))
    if labels != 1:
        yield f"has {labels} labels, and a cross-encoder has one: how relevant a passage is"
