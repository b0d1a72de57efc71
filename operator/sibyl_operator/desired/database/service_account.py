"""The identity of the database's pods: one of their own, with no rights and no token."""

from __future__ import annotations

from typing import Any

from sibyl_operator.desired.names import DATABASE, Names


def service_account(names: Names) -> dict[str, Any]:
    """A ServiceAccount that can do nothing; PostgreSQL never talks to the API server."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": names.metadata(names.database, component=DATABASE),
        "automountServiceAccountToken": False,
    }
