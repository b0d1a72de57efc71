"""A file of the disk level, as its tests open it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from sibyl_runtime.cache.disk import DiskCache, DiskFile

MEGABYTE = 1_000_000
SMALL = 20 * MEGABYTE
Opener = Callable[..., DiskFile]


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def cache(file: DiskFile, namespace: str = "docs", kind: str = "answer", ttl: float = 100) -> DiskCache:
    return DiskCache(file, namespace=namespace, kind=kind, ttl=ttl, jitter=lambda life: life)


def taken(directory: Path) -> int:
    """What `du` shows, in bytes."""
    return sum(path.stat().st_blocks * 512 for path in directory.iterdir())


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Opener]:
    files: list[DiskFile] = []

    def opener(clock: Clock | None = None, max_bytes: int = SMALL, directory: Path = tmp_path) -> DiskFile:
        files.append(DiskFile(directory, max_bytes=max_bytes, clock=clock or Clock()))
        return files[-1]

    yield opener
    for file in files:
        await file.close()
