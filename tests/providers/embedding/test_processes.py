"""Embedding processes: the same vectors, an end that is told, and no process that outlives its parent."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from sibyl_runtime.errors import IngestError, StartupError, StepFailed
from sibyl_runtime.providers.embedding import LocalEmbedder
from sibyl_runtime.providers.embedding.processes import PROCESS_MODULE, ProcessModel, in_processes
from sibyl_runtime.providers.protocols import BulkSettings
from sibyl_runtime.workspace import EmbeddingProvider
from tests.support.conditions import until
from tests.support.tiny_model import HIDDEN, write_tiny_model

TEXTS = [f"w{number} w{number + 1}" for number in range(12)]
PARENT = """
import asyncio, sys
from sibyl_runtime.providers.embedding import open_embedder
from sibyl_runtime.providers.protocols import BulkSettings
from sibyl_runtime.workspace import EmbeddingProvider

async def main():
    embedder = await open_embedder("d", EmbeddingProvider(model=sys.argv[1], precision="fp32"))
    async with embedder.bulk(BulkSettings(2, 2)):
        print("open", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture
def model(tmp_path: Path, model_cache: Path) -> EmbeddingProvider:
    return EmbeddingProvider(model=str(write_tiny_model(tmp_path / "tiny")), precision="fp32")


def workers(parent: int) -> list[psutil.Process]:
    """The embedding processes below a process."""
    return [child for child in psutil.Process(parent).children() if PROCESS_MODULE in child.cmdline()]


async def opened(provider: EmbeddingProvider) -> LocalEmbedder:
    from sibyl_runtime.providers.embedding import open_embedder

    return await open_embedder("d", provider)


async def test_processes_make_the_vectors_of_the_model_in_this_process(model: EmbeddingProvider) -> None:
    embedder = await opened(model)
    expected = await embedder.embed_documents(TEXTS)
    async with embedder.bulk(BulkSettings(4, 2, free_memory=True)) as embed:
        assert len(workers(os.getpid())) == 2
        parts = await asyncio.gather(*(embed(TEXTS[start : start + 3]) for start in range(0, 12, 3)))
        assert (await embed([])).shape == (0, HIDDEN)
    assert not workers(os.getpid())
    await embedder.close()
    np.testing.assert_allclose(np.concatenate(parts), expected, atol=1e-6)


async def test_a_text_that_is_too_long_is_refused_by_name_and_the_process_goes_on(model: EmbeddingProvider) -> None:
    embedder = await opened(model)
    async with embedder.bulk(BulkSettings(1, 1)) as embed:
        with pytest.raises(IngestError, match=r"a text of 42 tokens is longer than the 24 .* set rag.chunking"):
            await embed(["w1 " * 40])
        assert (await embed(["w1"])).shape == (1, HIDDEN)
    await embedder.close()


async def test_a_process_that_is_killed_is_named_with_what_to_do(model: EmbeddingProvider) -> None:
    embedder = await opened(model)
    async with embedder.bulk(BulkSettings(1, 1)) as embed:
        (worker,) = workers(os.getpid())
        worker.kill()
        with pytest.raises(StepFailed) as caught:
            await embed(["w1"])
        assert caught.value.message == (
            f"embedding worker 1 of 1 (process {worker.pid}) was ended by signal 9 (SIGKILL); where memory is short, "
            "lower workers (1) or batch_size of rag.embedding. Nothing of its batch was stored"
        )
        with pytest.raises(StepFailed, match="embedding worker 1 of 1 has ended"):
            await embed(["w1"])
    await embedder.close()


async def test_a_process_that_cannot_open_its_model_says_why(model: EmbeddingProvider) -> None:
    embedder = await opened(model)
    (Path(model.model) / "tokenizer.json").unlink()
    with pytest.raises(StartupError, match=r"^providers\.embedding\.d\.model: .* holds no tokenizer\.json"):
        async with embedder.bulk(BulkSettings(2, 2)):
            pass
    assert not workers(os.getpid())
    await embedder.close()


async def test_a_model_that_changed_since_is_not_mixed_in(model: EmbeddingProvider) -> None:
    with pytest.raises(StartupError, match=r"worker 1 of 1 opened tiny@.* where another is in use"):
        async with in_processes(ProcessModel("d", model), BulkSettings(1, 1), tag="another", dimension=HIDDEN):
            pass


async def test_a_call_that_is_cancelled_ends_its_process(model: EmbeddingProvider) -> None:
    """What it would still answer must not be taken for the answer to the next question."""
    embedder = await opened(model)
    async with embedder.bulk(BulkSettings(1, 1)) as embed:
        (worker,) = workers(os.getpid())
        worker.suspend()
        call = asyncio.ensure_future(embed(["w1"]))
        await asyncio.sleep(0)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        assert call.cancelled()
        await until(lambda: not worker.is_running())
    await embedder.close()


def test_processes_end_with_a_parent_that_is_killed(model: EmbeddingProvider) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, model.model], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"open\n"
        left = workers(parent.pid)
        assert len(left) == 2
        parent.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(left, timeout=30)
    assert not alive
