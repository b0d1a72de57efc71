from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sibyl_runtime.providers.embedding.build import main
from sibyl_runtime.providers.embedding.onnx_session import OnnxEncoder
from tests.support.tiny_model import tiny_config, tiny_weights, write_tiny_model


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_it_writes_a_graph_and_prints_its_path(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], precision: str
) -> None:
    directory, output = write_tiny_model(tmp_path / "tiny"), tmp_path / "deep" / "graph.onnx"
    assert main([str(directory), "--precision", precision, "--output", str(output)]) == 0
    assert capsys.readouterr().out == f"{output}\n"
    assert OnnxEncoder(output, threads=1).encode([[2, 10, 3]]).shape == (1, 32)


def test_without_an_output_it_fills_the_cache(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIBYL_CACHE_DIR", str(tmp_path / "cache"))
    assert main([str(write_tiny_model(tmp_path / "tiny")), "--precision", "fp32"]) == 0
    printed = Path(capsys.readouterr().out.strip())
    assert printed.parent == tmp_path / "cache" / "models"
    assert printed.name.startswith("tiny-fp32-")
    assert printed.is_file()


def test_a_prefix_in_the_tensor_names_does_not_matter(tmp_path: Path) -> None:
    vectors = []
    for prefix in ("", "bert."):
        directory = write_tiny_model(tmp_path / f"m{prefix}", weights=tiny_weights(prefix))
        assert main([str(directory), "--precision", "fp32", "--output", str(tmp_path / f"{prefix}.onnx")]) == 0
        vectors.append(OnnxEncoder(tmp_path / f"{prefix}.onnx", threads=1).encode([[2, 10, 11, 3]]))
    np.testing.assert_array_equal(vectors[0], vectors[1])


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        (lambda directory: (directory / "model.safetensors").write_bytes(b"x" * 100), "SafetensorError: "),
        (lambda directory: (directory / "config.json").unlink(), "config.json is missing"),
        (
            lambda directory: write_tiny_model(directory, config=tiny_config(model_type="t5")),
            "is of type 't5'; the onnx backend reads bert",
        ),
        (
            lambda directory: write_tiny_model(directory, weights={"x": np.zeros(2, np.float32)}),
            "embeddings.word_embeddings.weight",
        ),
    ],
    ids=["damaged weights", "no config", "another type", "another model"],
)
def test_what_cannot_be_converted_is_one_line_on_stderr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], break_it: object, reason: str
) -> None:
    assert callable(break_it)
    directory = write_tiny_model(tmp_path / "tiny")
    break_it(directory)
    assert main([str(directory), "--precision", "fp32", "--output", str(tmp_path / "out" / "g.onnx")]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert reason in captured.err
    assert captured.err.count("\n") == 1
    assert not list(tmp_path.glob("out/*"))
