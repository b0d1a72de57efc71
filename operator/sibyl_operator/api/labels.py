"""A workspace's name as a label may hold it."""

from __future__ import annotations

import hashlib
from typing import Final

LONGEST: Final = 63
HASH_LENGTH: Final = 8


def label_value(workspace: str) -> str:
    """The name unchanged up to 63 characters, else shortened with a hash of the whole."""
    if len(workspace) <= LONGEST:
        return workspace
    return f"{workspace[: LONGEST - HASH_LENGTH - 1].rstrip('-.')}-{short_hash(workspace)}"


def short_hash(name: str) -> str:
    """Eight hexadecimal digits that tell names apart which look alike once they are shortened."""
    return hashlib.sha256(name.encode()).hexdigest()[:HASH_LENGTH]
