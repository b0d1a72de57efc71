"""The identity of the cache's pod: one of its own, with no rights and no token."""

from __future__ import annotations

from typing import Any

from sibyl_operator.desired.names import CACHE, Names


def cache_service_account(names: Names) -> dict[str, Any]:
    """A ServiceAccount that can do nothing; Redis never talks to the API server."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": names.metadata(names.cache, component=CACHE),
        "automountServiceAccountToken": False,
    }
