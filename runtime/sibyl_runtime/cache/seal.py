"""Ties a value to its key, whole: what lies in a store may be cut off, somebody else's, or another request's reply."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

_BYTES: Final = 16


def sealed(key: bytes, value: bytes) -> bytes:
    """The value as it is stored under `key`."""
    return _seal(key, value) + value


def unsealed(key: bytes, stored: bytes) -> bytes | None:
    """The value; None for anything that was not sealed under `key`."""
    value = stored[_BYTES:]
    return value if hmac.compare_digest(stored[:_BYTES], _seal(key, value)) else None


def _seal(key: bytes, value: bytes) -> bytes:
    return hashlib.blake2b(hashlib.sha256(key).digest() + value, digest_size=_BYTES).digest()
