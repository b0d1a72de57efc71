from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import onnx
import pytest

from sibyl_runtime.errors import StartupError
from sibyl_runtime.providers.embedding import onnx_session
from sibyl_runtime.providers.embedding.onnx_graph import build_graph
from sibyl_runtime.providers.embedding.onnx_session import EXACT_INT8, OnnxEncoder, open_session
from tests.providers.embedding.test_onnx_graph import BATCH, SHAPE
from tests.support.tiny_model import tiny_weights

SERVE = """
import asyncio, sys
from sibyl_runtime.providers.embedding import open_embedder
from sibyl_runtime.workspace import EmbeddingProvider

async def main():
    embedder = await open_embedder("default", EmbeddingProvider())
    await embedder.embed_query("hello")
    await embedder.close()
    print(*sorted({"onnx", "torch", "transformers"} & set(sys.modules)))

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A process of its own that embeds once: its home directory and what it printed."""
    home = tmp_path_factory.mktemp("home")
    hidden = ("SIBYL_CACHE_DIR", "XDG_CACHE_HOME", "ORT_DISABLE_TELEMETRY", "CI")
    environment = {name: value for name, value in os.environ.items() if name not in hidden} | {"HOME": str(home)}
    done = subprocess.run([sys.executable, "-c", SERVE], env=environment, capture_output=True, text=True, check=True)
    return home, done.stdout.strip()


def test_a_serving_process_imports_neither_onnx_nor_torch(served: tuple[Path, str]) -> None:
    assert served[1] == ""


def test_onnxruntime_keeps_no_usage_data_and_no_device_identifier(served: tuple[Path, str]) -> None:
    """Its official builds do by default, in the user's cache directory, and send it when they can."""
    home, _ = served
    assert [path.name for path in home.iterdir()] == [".cache"]
    assert [path.name for path in (home / ".cache").iterdir()] == ["sibyl"]


def test_no_other_module_imports_onnxruntime() -> None:
    """One that did, earlier in the process, would switch the reporting on again."""
    root = Path(__file__).parents[3]
    sources = [*(root / "runtime").rglob("*.py"), *(root / "operator").rglob("*.py"), *(root / "bench").rglob("*.py")]
    importing = [path.name for path in sources if re.search(r"^\s*(?:import|from) onnxruntime", path.read_text(), re.M)]
    assert importing == ["onnx_session.py"]


def test_a_file_that_is_no_graph_is_named(tmp_path: Path) -> None:
    graph = tmp_path / "model.onnx"
    graph.write_bytes(b"not a graph")
    with pytest.raises(StartupError, match=f"model: {graph} cannot be loaded; delete it and start again: "):
        OnnxEncoder(graph, threads=1)


@pytest.mark.parametrize("native", [True, False])
def test_products_are_exact_where_the_processor_would_overflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, native: bool
) -> None:
    """The vectors of a collection must not depend on the processor that made them."""
    onnx.save(build_graph(tiny_weights(), SHAPE, int8=True), tmp_path / "graph.onnx")
    here = OnnxEncoder(tmp_path / "graph.onnx", threads=1).encode(BATCH)
    monkeypatch.setattr(onnx_session, "multiplies_int8", lambda: native)
    options = open_session(tmp_path / "graph.onnx", threads=1).get_session_options()
    with nullcontext() if not native else pytest.raises(RuntimeError, match=EXACT_INT8):
        assert options.get_session_config_entry(EXACT_INT8) == "1"
    there = OnnxEncoder(tmp_path / "graph.onnx", threads=1).encode(BATCH)
    np.testing.assert_allclose(here, there, atol=1e-6)
