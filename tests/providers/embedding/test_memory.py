"""Free memory is handed back: measured on the process, in a process of its own."""

from __future__ import annotations

import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest

from sibyl_runtime.providers.embedding.memory import KeepsCache, free_memory
from sibyl_runtime.providers.embedding.torch_backend import TorchEncoder
from sibyl_runtime.providers.embedding.worker import EmbeddingWorker
from tests.providers.embedding.test_worker import HeldEncoder

# 64 MiB in pieces that the C library takes from its heap, with one left at the top: it cannot shrink by itself.
MEASURED = """
import ctypes, psutil
from sibyl_runtime.providers.embedding.memory import free_memory
c = ctypes.CDLL(None)
c.malloc.restype, c.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
pieces = [c.malloc(64 * 1024) for _ in range(1024)]
for piece in pieces:
    ctypes.memset(ctypes.c_void_p(piece), 1, 64 * 1024)
top = pieces.pop()
for piece in pieces:
    c.free(piece)
before = psutil.Process().memory_info().rss
assert free_memory()
print(before - psutil.Process().memory_info().rss)
"""


def test_pages_that_the_c_library_keeps_go_back_to_the_system() -> None:
    assert platform.libc_ver()[0] == "glibc", "this test needs glibc, as the images have it"
    found = subprocess.run([sys.executable, "-c", MEASURED], check=True, capture_output=True, text=True)
    assert int(found.stdout) > 32 * 1024 * 1024


def test_it_is_no_error_where_nothing_is_free() -> None:
    assert free_memory() == (platform.libc_ver()[0] == "glibc")


class KeepingEncoder(HeldEncoder):
    emptied = 0

    def empty_cache(self) -> None:
        self.emptied += 1


async def test_a_model_that_keeps_memory_of_its_device_is_asked_too() -> None:
    encoder = KeepingEncoder()
    assert isinstance(encoder, KeepsCache)
    worker = EmbeddingWorker(encoder, max_queued_queries=1, max_batch_texts=1)
    worker.free_memory()
    await worker.close()
    assert encoder.emptied == 1


@pytest.mark.parametrize(("device", "asked"), [("cuda", ["cuda"]), ("mps", ["mps"]), ("cpu", [])])
def test_torch_gives_back_what_it_keeps_of_its_device(device: str, asked: list[str]) -> None:
    """With a stand-in for the library: no machine of the tests has such a device."""
    found: list[str] = []
    encoder = TorchEncoder.__new__(TorchEncoder)
    encoder._device = device
    encoder._torch = SimpleNamespace(
        cuda=SimpleNamespace(empty_cache=lambda: found.append("cuda")),
        mps=SimpleNamespace(empty_cache=lambda: found.append("mps")),
    )
    encoder.empty_cache()
    assert isinstance(encoder, KeepsCache)
    assert found == asked
