"""Environment variables of containers whose value stands elsewhere."""

from __future__ import annotations

from typing import Any

from sibyl_operator.api.sources import Source, SourceKey


def from_source(name: str, taken: SourceKey) -> dict[str, Any]:
    """A variable whose value is one key of a Secret or a ConfigMap."""
    return {"name": name, "valueFrom": {taken.field: {"name": taken.source.name, "key": taken.key}}}


def from_secret(name: str, secret: str, key: str) -> dict[str, Any]:
    """A variable whose value is one key of a Secret that the operator makes."""
    return from_source(name, SourceKey(Source("Secret", secret), key))
