"""`sibyl model export` and `bench`, on a model that the test makes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Command
from tests.support.tiny_model import write_tiny_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_tiny_model(tmp_path / "tiny")


def test_a_model_is_exported_and_measured(command: Command, model: Path, tmp_path: Path) -> None:
    target = tmp_path / "converted" / "tiny"
    exported = command("model", "export", model, target)
    assert (exported.code, exported.stderr) == (0, "")
    header, int8, fp32 = exported.stdout.splitlines()
    assert header.split() == ["precision", "size", "mean", "cosine", "least", "cosine", "file"]
    assert (int8.split()[0], fp32.split()[0]) == ("int8", "fp32")
    assert Path(fp32.split()[-1]).is_file()
    measured = command("model", "bench", target, "--texts", "8", "--json")
    assert measured.code == 0, measured.stderr
    assert [figures["precision"] for figures in json.loads(measured.stdout)] == ["int8", "fp32"]


def test_one_precision_in_words(command: Command, model: Path, tmp_path: Path) -> None:
    exported = command("model", "export", model, tmp_path / "out", "--precision", "fp32", "--json")
    (graph,) = json.loads(exported.stdout)["graphs"]
    assert graph["precision"] == "fp32"
    assert graph["least_cosine"] > 0.9999
    measured = command("model", "bench", tmp_path / "out", "--texts", "8", "--precision", "fp32")
    header, row, texts = measured.stdout.splitlines()
    assert header.startswith("precision  load")
    assert row.split()[0] == "fp32"
    assert texts == "texts of 24 tokens"


def test_what_stops_it_is_told(command: Command, model: Path, tmp_path: Path) -> None:
    again = command("model", "export", model, model)
    assert again.code == 1
    assert again.stderr == f"sibyl: {model} is there and not an empty directory; give another one, or remove it\n"
    missing = command("model", "bench", tmp_path / "nothing")
    assert missing.code == 3
    assert f"model: there is no directory {tmp_path / 'nothing'}" in missing.stderr
    absent = command("model", "export", tmp_path / "nothing", tmp_path / "out")
    assert (absent.code, absent.stdout) == (3, "")
