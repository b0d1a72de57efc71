"""What an embedding process and its parent say to each other: frames of a kind, a length and so many bytes."""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final


class Kind(IntEnum):
    """What a frame holds."""

    SETTINGS = 0
    """To the process, once: JSON, what to open."""
    READY = 1
    """From it: JSON, the tag and dimension of what was opened."""
    TEXTS = 2
    """To it: JSON, a list of texts."""
    VECTORS = 3
    """From it: float32 in the machine's order, one row per text."""
    REFUSED = 4
    """From it: JSON, an error's class and message. The process goes on."""


HEADER: Final = struct.Struct("=BQ")


def framed(kind: Kind, body: bytes) -> bytes:
    """One frame."""
    return HEADER.pack(kind, len(body)) + body
