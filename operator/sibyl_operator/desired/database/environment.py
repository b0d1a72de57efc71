"""How the runtime learns where its database is and what opens it: by reference to a Secret, put together in the pod."""

from __future__ import annotations

from typing import Any, Final

from sibyl_operator.api.document_checks import DATABASE_URL, replica_variables
from sibyl_operator.api.resource import WorkspaceResource
from sibyl_operator.api.sources import key_of_secret
from sibyl_operator.desired.credentials import DATABASE_NAME, DATABASE_ROLE, PASSWORD_KEY
from sibyl_operator.desired.database.server import PORT
from sibyl_operator.desired.names import Names
from sibyl_operator.desired.variables import from_secret, from_source

DATABASE_PASSWORD: Final = "SIBYL_DATABASE_PASSWORD"
DATABASE_WAIT: Final = "SIBYL_DATABASE_WAIT"
# Both are made at the same time, and a first initdb takes longer than loading a model: less than the startup probe
# allows, so that a pod that waits in vain still says what for.
WAIT_SECONDS: Final = 90


def database_environment(resource: WorkspaceResource, names: Names) -> list[dict[str, Any]]:
    """The variables of the runtime container. The password comes first: a variable sees only those before it.

    Each read replica is told by its own name, so that a pod knows which of them it should avoid.
    """
    external = resource.spec.database.external
    if external is not None:
        return [from_source(DATABASE_URL, key_of_secret(external.secret_ref))]
    headless = names.host(names.database_replica)
    hosts = {DATABASE_URL: names.host(names.database_read_write)} | {
        variable: f"{names.database_replica}-{number}.{headless}"
        for number, variable in enumerate(replica_variables(resource.spec))
    }
    return [
        {"name": DATABASE_WAIT, "value": str(WAIT_SECONDS)},
        from_secret(DATABASE_PASSWORD, names.database_credentials, PASSWORD_KEY),
        *({"name": variable, "value": _address(host)} for variable, host in hosts.items()),
    ]


def _address(host: str) -> str:
    return f"postgresql://{DATABASE_ROLE}:$({DATABASE_PASSWORD})@{host}:{PORT}/{DATABASE_NAME}"
