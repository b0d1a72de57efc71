"""The identity of the runtime pods: one of their own, with no rights and no token."""

from __future__ import annotations

from typing import Any

from sibyl_operator.desired.names import Names


def service_account(names: Names) -> dict[str, Any]:
    """A ServiceAccount that can do nothing; the runtime never talks to the API server."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": names.metadata(names.runtime),
        "automountServiceAccountToken": False,
    }
