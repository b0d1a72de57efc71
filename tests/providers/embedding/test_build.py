from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sibyl_runtime.errors import StartupError
from sibyl_runtime.providers.embedding import open_embedder
from sibyl_runtime.providers.embedding.build import main
from sibyl_runtime.providers.embedding.graph_cache import BUILD_MODULE
from sibyl_runtime.providers.embedding.onnx_session import OnnxEncoder
from sibyl_runtime.workspace import EmbeddingProvider
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


@pytest.fixture
def exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny model, converted without its weights; the cache of this test is another than that of the others."""
    original = write_tiny_model(tmp_path / "original", prompts={"query": "w1 "})
    monkeypatch.setenv("SIBYL_CACHE_DIR", str(tmp_path / "build-cache"))
    assert main([str(original), "--export", str(tmp_path / "image" / "original")]) == 0
    monkeypatch.setenv("SIBYL_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "image" / "original"


@pytest.mark.parametrize("provider", [{"precision": "int8"}, {"precision": "fp32"}], ids=["int8", "fp32"])
async def test_an_exported_model_answers_as_the_original_and_writes_nothing(
    exported: Path, tmp_path: Path, provider: dict[str, Any]
) -> None:
    assert not (exported / "model.safetensors").exists()
    found = []
    for directory in (exported, tmp_path / "original"):
        assert not (tmp_path / "cache").exists()
        embedder = await open_embedder("d", EmbeddingProvider(model=str(directory), **provider))
        found.append((embedder.tag, embedder.max_tokens, (await embedder.embed_query("w7 w9")).tolist()))
        await embedder.close()
    assert found[0] == found[1]


async def test_an_exported_model_whose_graph_is_of_another_version_is_refused(exported: Path) -> None:
    shutil.rmtree(exported / "sibyl")
    (exported / "sibyl").mkdir()
    (exported / "sibyl" / "weights.sha256").write_text("ab" * 32)
    with pytest.raises(StartupError, match=r"no graph of the wanted precision .* convert the model again"):
        await open_embedder("d", EmbeddingProvider(model=str(exported), precision="fp32"))


async def test_a_damaged_digest_of_an_exported_model_is_refused(exported: Path) -> None:
    (exported / "sibyl" / "weights.sha256").write_text("no hash")
    with pytest.raises(StartupError, match=r"weights\.sha256 holds no sha256 of the weights; convert the model again"):
        await open_embedder("d", EmbeddingProvider(model=str(exported)))


async def test_torch_needs_the_weights_that_an_exported_model_has_not(exported: Path) -> None:
    with pytest.raises(StartupError, match=r"holds no weights, which `backend: torch` needs; use the image that"):
        await open_embedder("d", EmbeddingProvider(model=str(exported), backend="torch"))


def test_without_onnx_the_message_names_the_extra_and_the_other_way(tmp_path: Path) -> None:
    """In a process of its own, where `onnx` cannot be imported."""
    (tmp_path / "without" / "onnx").mkdir(parents=True)
    (tmp_path / "without" / "onnx" / "__init__.py").write_text("raise ModuleNotFoundError('onnx', name='onnx')")
    run = subprocess.run(
        [sys.executable, "-m", BUILD_MODULE, str(write_tiny_model(tmp_path / "tiny")), "--output", str(tmp_path / "g")],
        env={"PYTHONPATH": str(tmp_path / "without")}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 1
    assert "install the extra `convert` (`pip install 'sibyl-operator[convert]'`)" in run.stderr
    assert run.stderr.count("\n") == 1
