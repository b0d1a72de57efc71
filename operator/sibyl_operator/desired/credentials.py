"""Which passwords the operator makes, and where they are used. It makes each once, and never changes one.

A password lives in its Secret alone: pods get it by reference, and addresses are put together inside the pod.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any, Final

from sibyl_operator.api.resource import WorkspaceResource
from sibyl_operator.desired.names import CACHE, DATABASE, Names

USERNAME_KEY: Final = "username"
PASSWORD_KEY: Final = "password"
DATABASE_NAME: Final = "sibyl"
DATABASE_ROLE: Final = "sibyl"
REPLICATION_ROLE: Final = "sibyl_replication"


@dataclass(frozen=True)
class GeneratedSecret:
    """A Secret that the operator makes when it is missing."""

    name: str
    component: str
    username: str

    @property
    def keys(self) -> frozenset[str]:
        """What it holds."""
        return frozenset({USERNAME_KEY, PASSWORD_KEY})


def generated_secrets(resource: WorkspaceResource, names: Names) -> tuple[GeneratedSecret, ...]:
    """The Secrets of the services that the operator runs for this workspace."""
    made = []
    if resource.spec.database.provider == "Builtin":
        made.append(GeneratedSecret(names.database_credentials, DATABASE, DATABASE_ROLE))
        made.append(GeneratedSecret(names.replication_credentials, DATABASE, REPLICATION_ROLE))
    if resource.spec.cache.provider == "Builtin":
        made.append(GeneratedSecret(names.cache, CACHE, "default"))
    return tuple(made)


def secret(names: Names, generated: GeneratedSecret, password: str) -> dict[str, Any]:
    """The Secret with its password. It goes with the workspace; a new one is given to the data that was kept."""
    data = {USERNAME_KEY: generated.username, PASSWORD_KEY: password}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": names.metadata(generated.name, component=generated.component),
        "type": "Opaque",
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()},
    }
