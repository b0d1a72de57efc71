"""Environment variables of containers whose value stands elsewhere."""

from __future__ import annotations

from typing import Any


def from_secret(name: str, secret: str, key: str) -> dict[str, Any]:
    """A variable whose value is one key of a Secret."""
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
