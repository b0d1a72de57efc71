"""Opening a cross-encoder: from weights, from a converted directory, by name; and every way in which it cannot be."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sibyl_runtime.errors import StartupError
from sibyl_runtime.providers.embedding.build import main
from sibyl_runtime.providers.reranking import open_cross_encoder
from tests.support.tiny_cross_encoder import (
    cross_encoder_config,
    cross_encoder_weights,
    write_cross_encoder,
    write_favouring,
)
from tests.support.tiny_model import write_tiny_model

FIELD = "pipelines.search.steps[1].config.model"
PASSAGES = ["the sea", "the tern", "tern tern tern", "a boat and a tern and a net and a crew"]

pytestmark = pytest.mark.usefixtures("model_cache")


async def test_a_model_of_a_directory_judges_passages_by_what_it_has_learnt(tmp_path: Path) -> None:
    model = await open_cross_encoder(str(write_favouring(tmp_path / "likes-terns", "tern")), FIELD)
    relevance = await model.compare("which bird", PASSAGES)
    await model.close()
    scores = list(relevance.scores)
    assert sorted(range(4), key=lambda place: -scores[place]) == [2, 1, 3, 0]
    assert all(0 < score < 1 for score in scores)
    assert relevance.shortened == 0
    assert model.tag.startswith("likes-terns@")
    assert model.tag.endswith("/256")


async def test_passages_longer_than_the_model_reads_are_counted(tmp_path: Path) -> None:
    model = await open_cross_encoder(str(write_favouring(tmp_path / "short", "tern", positions=16)), FIELD)
    relevance = await model.compare("which bird", [*PASSAGES, "water " * 30 + "tern"])
    await model.close()
    assert relevance.shortened == 1
    assert relevance.scores[4] == min(relevance.scores)


async def test_a_name_is_looked_up_where_the_models_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cross_encoder(tmp_path / "models" / "ms-marco-MiniLM-L-6-v2")
    monkeypatch.setenv("SIBYL_MODEL_PATH", str(tmp_path / "models"))
    model = await open_cross_encoder("cross-encoder/ms-marco-MiniLM-L-6-v2", FIELD)
    await model.close()
    assert model.tag.startswith("ms-marco-MiniLM-L-6-v2@")


async def test_a_converted_directory_gives_the_same_scores_without_its_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = write_cross_encoder(tmp_path / "whole" / "tiny")
    assert main([str(directory), "--kind", "reranking", "--export", str(tmp_path / "converted" / "tiny")]) == 0
    assert not list((tmp_path / "converted" / "tiny").glob("*.safetensors"))
    scores = []
    for model in (directory, tmp_path / "converted" / "tiny"):
        opened = await open_cross_encoder(str(model), FIELD)
        scores.append((opened.tag, (await opened.compare("w1 w2", ["w3", "w4 w5"])).scores))
        await opened.close()
    assert scores[0] == scores[1]


async def test_a_roberta_is_read_too(tmp_path: Path) -> None:
    config = cross_encoder_config(
        model_type="roberta", architectures=["RobertaForSequenceClassification"], pad_token_id=1, type_vocab_size=1
    )
    directory = write_cross_encoder(tmp_path / "roberta", config=config, weights=cross_encoder_weights("roberta"))
    model = await open_cross_encoder(str(directory), FIELD)
    one, other = (await model.compare("w1", ["w2", "w3"])).scores
    await model.close()
    assert one != other
    assert model.tag.endswith("/22")


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (
            {"architectures": ["BertModel"]},
            "tiny is no cross-encoder: its config.json names BertModel under architectures, and a cross-encoder has "
            "one that ends in ForSequenceClassification; embedding models cannot rerank",
        ),
        (
            {"architectures": None},
            "tiny is no cross-encoder: its config.json names nothing under architectures, and a cross-encoder has one "
            "that ends in ForSequenceClassification; embedding models cannot rerank",
        ),
        (
            {"id2label": {"0": "no", "1": "maybe", "2": "yes"}},
            "tiny has 3 labels, and a cross-encoder has one: how relevant a passage is",
        ),
        ({"id2label": None}, "tiny has 2 labels, and a cross-encoder has one: how relevant a passage is"),
        (
            {"model_type": "t5"},
            "tiny is of type 't5'; with backend onnx a cross-encoder may be bert, roberta, xlm-roberta; set "
            "`backend: torch` for this model",
        ),
        (
            {"hidden_act": "swish"},
            "tiny uses the activation 'swish'; set `backend: torch` for this model",
        ),
    ],
)
async def test_a_model_that_cannot_rerank_is_refused_with_the_field_and_the_reason(
    tmp_path: Path, config: dict[str, Any], reason: str
) -> None:
    directory = write_cross_encoder(tmp_path / "tiny", config=cross_encoder_config(**config))
    with pytest.raises(StartupError) as caught:
        await open_cross_encoder(str(directory), FIELD)
    assert caught.value.message == f"{FIELD}: {reason}"


async def test_an_embedding_model_is_no_reranker(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"is no cross-encoder: its config\.json names nothing under architectures"):
        await open_cross_encoder(str(write_tiny_model(tmp_path / "tiny")), FIELD)


async def test_a_model_that_is_not_here_is_told_with_the_field_and_every_way_to_provide_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIBYL_MODEL_PATH", str(tmp_path))
    with pytest.raises(StartupError) as caught:
        await open_cross_encoder("cross-encoder/ms-marco-MiniLM-L-6-v2", FIELD)
    assert caught.value.message == (
        f"{FIELD}: 'cross-encoder/ms-marco-MiniLM-L-6-v2' is not on this machine (looked in "
        f"{tmp_path}/cross-encoder/ms-marco-MiniLM-L-6-v2, {tmp_path}/ms-marco-MiniLM-L-6-v2). Models are never "
        "downloaded. Give the path of a model directory, or put the model under a directory of SIBYL_MODEL_PATH"
    )


async def test_weights_without_a_head_are_named_by_the_tensor(tmp_path: Path) -> None:
    weights = cross_encoder_weights()
    del weights["classifier.weight"]
    directory = write_cross_encoder(tmp_path / "tiny", weights=weights)
    with pytest.raises(StartupError, match=r"converting .* failed: KeyError: .*classifier\.weight"):
        await open_cross_encoder(str(directory), FIELD)


async def test_weights_that_give_no_number_are_found_before_the_first_request(tmp_path: Path) -> None:
    weights = cross_encoder_weights()
    weights["classifier.bias"] = np.full(1, np.nan, dtype=np.float32)
    directory = write_cross_encoder(tmp_path / "damaged", weights=weights)
    with pytest.raises(StartupError, match=r"damaged@.* gives nan for a pair, not a number; check its weights"):
        await open_cross_encoder(str(directory), FIELD)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("sibyl-reranking")]


async def test_torch_that_is_not_installed_is_told_at_the_key_that_asks_for_it(tmp_path: Path) -> None:
    directory = write_cross_encoder(tmp_path / "tiny")
    with pytest.raises(StartupError) as caught:
        await open_cross_encoder(str(directory), FIELD, backend="torch")
    assert caught.value.message.startswith(
        "pipelines.search.steps[1].config.backend: torch needs the sentence-transformers library ("
    )
    assert "run `pip install 'sibyl-operator[torch]'`, or use the image that carries it" in caught.value.message


async def test_torch_reads_no_model_that_came_without_its_weights(tmp_path: Path) -> None:
    directory = write_cross_encoder(tmp_path / "whole" / "tiny")
    assert main([str(directory), "--kind", "reranking", "--export", str(tmp_path / "tiny")]) == 0
    with pytest.raises(StartupError, match=r"config\.model: .*/tiny was converted and holds no weights, which"):
        await open_cross_encoder(str(tmp_path / "tiny"), FIELD, backend="torch")
