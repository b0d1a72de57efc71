"""What can honestly be freed after a batch: pages that the C library keeps, and what torch keeps on a device.

onnxruntime keeps no arena here, and Python's garbage collector finds nothing to free in an ingest: neither is asked.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class KeepsCache(Protocol):
    """A model whose library keeps memory of a device for later."""

    def empty_cache(self) -> None:
        """Give it back."""


def free_memory() -> bool:
    """Hand free pages of the C heap back to the system. False where the C library (not glibc) has no call for it."""
    trim = _malloc_trim()
    if trim is None:
        return False
    trim(0)
    return True


@functools.cache
def _malloc_trim() -> Any:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None
