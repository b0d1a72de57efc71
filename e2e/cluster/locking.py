"""A lock for whoever fills a cache: the kernel releases it with the process that holds it, however that ends."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(path: Path, what: str, progress: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock file `path` exclusively; waits for another run that holds it, and says so once."""
    with path.open("w") as handle:
        told = False
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told:
                    progress(f"another run is building {what}: waiting for it")
                    told = True
                time.sleep(0.5)
        yield
