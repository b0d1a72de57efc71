from __future__ import annotations

import asyncio
import hashlib
import os
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from sibyl_runtime.errors import StartupError
from sibyl_runtime.providers.embedding import graph_cache
from sibyl_runtime.providers.embedding.graph_cache import cache_directory, graph_file, graph_name, weights_digest
from sibyl_runtime.providers.embedding.model_files import ModelFiles, encoder_shape, read_model
from tests.support.conditions import until
from tests.support.tiny_model import tiny_config, write_tiny_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_tiny_model(tmp_path / "tiny")


@pytest.fixture
def files(model: Path) -> ModelFiles:
    return read_model(model, str(model))


@pytest.mark.parametrize(
    ("environ", "directory"),
    [
        ({"SIBYL_CACHE_DIR": "/cache", "XDG_CACHE_HOME": "/xdg"}, "/cache/models"),
        ({"XDG_CACHE_HOME": "/xdg"}, "/xdg/sibyl/models"),
        ({}, "~/.cache/sibyl/models"),
        ({"XDG_CACHE_HOME": ""}, "~/.cache/sibyl/models"),
    ],
)
def test_where_graphs_are_kept(environ: dict[str, str], directory: str) -> None:
    assert cache_directory(environ) == Path(directory).expanduser()


def test_the_digest_is_of_the_content_and_remembered(model: Path, tmp_path: Path) -> None:
    weights = model / "model.safetensors"
    cache = tmp_path / "cache"
    expected = hashlib.sha256(hashlib.sha256(weights.read_bytes()).digest()).hexdigest()
    assert weights_digest([weights], cache) == expected
    [note] = (cache / "digests").iterdir()
    note.write_text("ab" * 32)
    assert weights_digest([weights], cache) == "ab" * 32


def test_a_changed_file_has_another_digest(model: Path, tmp_path: Path) -> None:
    weights = model / "model.safetensors"
    before = weights_digest([weights], tmp_path)
    changed = bytearray(weights.read_bytes())
    changed[-1] ^= 1
    weights.write_bytes(changed)
    os.utime(weights, ns=(0, 0))
    assert weights_digest([weights], tmp_path) != before


@pytest.mark.parametrize("damage", ["", "ab", "../../etc/passwd"])
def test_a_damaged_note_is_not_believed(model: Path, tmp_path: Path, damage: str) -> None:
    weights = [model / "model.safetensors"]
    before = weights_digest(weights, tmp_path)
    [note] = (tmp_path / "digests").iterdir()
    note.write_text(damage)
    assert weights_digest(weights, tmp_path) == before


def test_everything_that_changes_vectors_changes_the_name(files: ModelFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    shape = encoder_shape(files)
    names = [
        graph_name(files, shape, "a", "int8"),
        graph_name(files, shape, "a", "fp32"),
        graph_name(files, shape, "b", "int8"),
        graph_name(files, replace(shape, pooling="cls"), "a", "int8"),
        graph_name(files, replace(shape, epsilon=1e-5), "a", "int8"),
    ]
    monkeypatch.setattr(graph_cache, "RECIPE", graph_cache.RECIPE + 1)
    names.append(graph_name(files, shape, "a", "int8"))
    assert len(set(names)) == len(names)
    assert all(name.startswith("tiny-") and name.endswith(".onnx") for name in names)


async def test_a_graph_is_built_once(model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = tmp_path / "cache"
    for _ in range(2):
        with caplog.at_level("INFO"):
            async with graph_file(cache, "g.onnx", model, "fp32") as graph:
                assert graph == cache / "g.onnx"
                assert graph.stat().st_size > 10_000
    assert caplog.text.count("this happens once") == 1
    assert [path.name for path in cache.iterdir()] == ["g.onnx"]


async def test_two_that_build_at_once_both_get_a_whole_graph(model: Path, tmp_path: Path) -> None:
    async def build() -> int:
        async with graph_file(tmp_path / "cache", "g.onnx", model, "int8") as graph:
            return graph.stat().st_size

    first, second = await asyncio.gather(build(), build())
    assert first == second > 10_000
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["g.onnx"]


async def test_without_a_writable_cache_the_graph_is_built_in_a_temporary_place_with_a_warning(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    occupied = tmp_path / "file"
    occupied.touch()
    async with graph_file(occupied / "models", "g.onnx", model, "fp32") as graph:
        assert graph.is_file()
    assert not graph.parent.exists()
    assert f"the model cache {occupied / 'models'} cannot be written (" in caplog.text
    assert "Set SIBYL_CACHE_DIR to a directory that can be written" in caplog.text


async def test_without_any_writable_place_the_error_says_what_to_set(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    occupied = tmp_path / "file"
    occupied.touch()
    monkeypatch.setattr("tempfile.tempdir", str(occupied))
    with pytest.raises(StartupError, match="set SIBYL_CACHE_DIR to a directory that can be written"):
        async with graph_file(occupied / "models", "g.onnx", model, "fp32"):
            pass


async def test_a_build_that_fails_says_why_and_leaves_nothing(model: Path, tmp_path: Path) -> None:
    (model / "config.json").write_text(str(tiny_config(num_hidden_layers=3)).replace("'", '"'))
    with pytest.raises(StartupError) as caught:
        async with graph_file(tmp_path / "cache", "g.onnx", model, "fp32"):
            pass
    assert caught.value.message.startswith(f"model: converting {model} failed: ")
    assert "encoder.layer.2.attention.self.query.weight" in caught.value.message
    assert list((tmp_path / "cache").iterdir()) == []


async def test_a_cancelled_build_leaves_no_process(model: Path, tmp_path: Path) -> None:
    async def build() -> None:
        async with graph_file(tmp_path / "cache", "g.onnx", model, "fp32"):
            pass

    def builders() -> list[psutil.Process]:
        children = psutil.Process().children()
        return [child for child in children if graph_cache.BUILD_MODULE in child.cmdline()]

    task = asyncio.create_task(build())
    await until(builders)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()
    assert builders() == []
