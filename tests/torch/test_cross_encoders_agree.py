"""Cross-encoders on torch against the ONNX graph and the library itself, by models that the tests write."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from sibyl_runtime.errors import StartupError
from sibyl_runtime.providers.reranking import open_cross_encoder
from sibyl_runtime.providers.reranking.pairs import PairTokenizer, padded
from tests.support.tiny_cross_encoder import cross_encoder_config, cross_encoder_weights, write_cross_encoder

FIELD = "pipelines.search.steps[1].config.model"
QUESTION = "w1 w2 w3"
PASSAGES = ["w4", "w5 w6 w7 w8", " ".join(f"w{number}" for number in range(9, 20)), "w1 w2 w3", "w40 w41 " * 20]


async def scores(directory: Path, **how: Any) -> tuple[str, list[float], int]:
    opened = await open_cross_encoder(str(directory), FIELD, **how)
    try:
        relevance = await opened.compare(QUESTION, PASSAGES)
        return opened.tag, list(relevance.scores), relevance.shortened
    finally:
        await opened.close()


def tiny(directory: Path, kind: str) -> Path:
    changes: dict[str, Any] = {}
    if kind != "bert":
        changes = {"architectures": ["RobertaForSequenceClassification"], "pad_token_id": 1, "type_vocab_size": 1}
        changes["model_type"] = "roberta"
    weights = cross_encoder_weights(kind)
    if kind != "bert":
        name = "roberta.embeddings.token_type_embeddings.weight"
        weights[name] = weights[name][:1]
    return write_cross_encoder(directory, config=cross_encoder_config(**changes), weights=weights)


@pytest.mark.parametrize("kind", ["bert", "roberta"])
async def test_both_backends_give_the_same_scores(tmp_path: Path, kind: str) -> None:
    directory = tiny(tmp_path / "tiny", kind)
    of_torch, of_onnx = await asyncio.gather(
        scores(directory, backend="torch"), scores(directory, backend="onnx", precision="fp32")
    )
    assert of_torch[0] == of_onnx[0]
    np.testing.assert_allclose(of_torch[1], of_onnx[1], atol=1e-3)
    assert of_torch[2] == of_onnx[2] == 1
    assert np.ptp(of_torch[1]) > 0.02


async def test_scores_are_shares_of_one_also_for_a_model_that_names_no_sigmoid(tmp_path: Path) -> None:
    """As the public models do. Against transformers itself, which is given one pair at a time, without padding."""
    config = cross_encoder_config() | {"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}}
    directory = write_cross_encoder(tmp_path / "tiny", config=config)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(str(directory)).eval()
    expected = []
    for pair in PairTokenizer.load(directory / "tokenizer.json", 24).pairs(QUESTION, PASSAGES):
        ids, mask, segments = (torch.from_numpy(each) for each in padded([pair]))
        with torch.inference_mode():
            logits = model(input_ids=ids, attention_mask=mask, token_type_ids=segments).logits
        expected.append(float(torch.sigmoid(logits)[0, 0]))
    _, found, _ = await scores(directory, backend="torch")
    np.testing.assert_allclose(found, expected, atol=1e-5)


async def test_a_model_that_the_graph_does_not_cover_runs(tmp_path: Path) -> None:
    directory = write_cross_encoder(tmp_path / "tiny", config=cross_encoder_config(hidden_act="silu"))
    with pytest.raises(StartupError, match="uses the activation 'silu'; set `backend: torch` for this model"):
        await scores(directory, backend="onnx")
    _, found, _ = await scores(directory, backend="torch")
    assert all(0 < score < 1 for score in found)


@pytest.mark.parametrize("device", ["cuda", "mps"])
async def test_a_device_that_is_not_there_is_refused_at_its_key(tmp_path: Path, device: str) -> None:
    directory = write_cross_encoder(tmp_path / "tiny")
    with pytest.raises(StartupError) as caught:
        await scores(directory, backend="torch", device=device)
    assert caught.value.message == (
        f"pipelines.search.steps[1].config.device: {device} is not available on this machine; available: cpu"
    )


async def test_a_name_that_is_not_on_this_machine_is_not_looked_for_anywhere_else() -> None:
    with pytest.raises(StartupError, match=r"config\.model: 'cross-encoder/none' is not on this machine .* never down"):
        await open_cross_encoder("cross-encoder/none", FIELD, backend="torch")


async def test_a_head_of_several_labels_is_refused_as_with_onnx(tmp_path: Path) -> None:
    config = cross_encoder_config(id2label={"0": "no", "1": "maybe", "2": "yes"})
    directory = write_cross_encoder(tmp_path / "tiny", config=config)
    with pytest.raises(StartupError, match="tiny has 3 labels, and a cross-encoder has one"):
        await scores(directory, backend="torch")


async def test_files_that_the_library_cannot_load_are_named(tmp_path: Path) -> None:
    directory = write_cross_encoder(tmp_path / "odd", config=cross_encoder_config(model_type="no-such-model"))
    assert json.loads((directory / "config.json").read_text())["model_type"] == "no-such-model"
    with pytest.raises(StartupError, match=r"config\.model: sentence-transformers cannot load "):
        await scores(directory, backend="torch")
