"""An export is served as it is, or is not there at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sibyl_runtime.errors import InvalidParameters, StartupError
from sibyl_runtime.providers.embedding import exporting, open_embedder
from sibyl_runtime.providers.embedding.build import export
from sibyl_runtime.providers.embedding.exporting import export_verified
from sibyl_runtime.workspace import EmbeddingProvider
from tests.support.tiny_model import tiny_weights, write_tiny_model


@pytest.fixture
def model(tmp_path: Path, model_cache: Path) -> Path:
    return write_tiny_model(tmp_path / "tiny")


async def vectors(directory: Path, precision: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    provider = EmbeddingProvider.model_validate({"model": str(directory), "precision": precision})
    embedder = await open_embedder("d", provider)
    try:
        return await embedder.embed_documents(["w1 w2", "w3"])
    finally:
        await embedder.close()


async def test_the_runtime_serves_what_was_exported(model: Path, tmp_path: Path) -> None:
    target = tmp_path / "deep" / "tiny"
    graphs = export_verified(str(model), target)
    assert [(one.precision, one.path.parent) for one in graphs] == [
        ("int8", target / "sibyl"),
        ("fp32", target / "sibyl"),
    ]
    assert all(one.path.stat().st_size == one.bytes for one in graphs)
    assert graphs[0].least_cosine < graphs[1].least_cosine
    assert graphs[1].least_cosine > 0.99999
    assert not list(target.glob("*.safetensors"))
    for precision in ("int8", "fp32"):
        np.testing.assert_array_equal(await vectors(target, precision), await vectors(model, precision))
    assert [path.name for path in target.parent.iterdir()] == ["tiny"]


def test_one_precision_alone(model: Path, tmp_path: Path) -> None:
    (graph,) = export_verified(str(model), tmp_path / "out", ["fp32"])
    assert [path.name for path in graph.path.parent.glob("*.onnx")] == [graph.path.name]


def test_a_directory_that_holds_something_is_left_alone(model: Path, tmp_path: Path) -> None:
    before = sorted(path.name for path in model.iterdir())
    for target in (model, model / "config.json"):
        with pytest.raises(InvalidParameters, match="is there and not an empty directory; give another one"):
            export_verified(str(model), target)
    assert sorted(path.name for path in model.iterdir()) == before


def test_a_graph_that_differs_from_its_weights_is_not_kept(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tiny_weights()
    other["encoder.layer.1.output.dense.weight"] *= -1
    changed = write_tiny_model(tmp_path / "changed", weights=other)
    monkeypatch.setattr(exporting, "export", lambda _, *rest: export(str(changed), *rest))
    with pytest.raises(
        StartupError, match=r"the int8 graph of tiny gives other vectors than its weights: cosine -?0\.\d+"
    ):
        export_verified(str(model), tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["changed", "tiny"]


@pytest.mark.parametrize("fault", ["weights", "tensor", "config"])
def test_a_model_that_cannot_be_converted_leaves_nothing(model: Path, tmp_path: Path, fault: str) -> None:
    if fault == "weights":
        (model / "model.safetensors").write_bytes(b"x" * 100)
    elif fault == "tensor":
        weights = tiny_weights()
        del weights["encoder.layer.0.output.dense.bias"]
        write_tiny_model(model, weights=weights)
    else:
        (model / "config.json").unlink()
    with pytest.raises(StartupError, match=r"^model: "):
        export_verified(str(model), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]
