"""The figures are of the model that was asked for, and they are plausible: the numbers themselves are the machine's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sibyl_runtime.providers.embedding.measure import measure
from tests.support.tiny_model import POSITIONS, write_tiny_model


@pytest.mark.parametrize("precision", ["int8", "fp32"])
async def test_every_figure_is_measured(tmp_path: Path, model_cache: Path, precision: str) -> None:
    figures = await measure(str(write_tiny_model(tmp_path / "tiny")), precision, 8)
    assert (figures.precision, figures.tag.split("/")[1]) == (precision, precision)
    assert 0 < figures.query_p50_ms <= figures.query_p95_ms
    assert figures.tokens_per_text == POSITIONS
    assert figures.tokens_per_second == pytest.approx(figures.texts_per_second * POSITIONS, rel=0.01)
    assert figures.load_seconds > 0
    assert figures.peak_mib > 20


def test_the_peak_is_of_the_process_itself(tmp_path: Path) -> None:
    program = """
from sibyl_runtime.providers.embedding.measure import _peak_mib
before = _peak_mib()
held = bytearray(64 * 1024 * 1024)
held[:] = b"x" * len(held)
del held
print(_peak_mib() - before)
"""
    grown = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert 60 <= int(grown.stdout) <= 200
