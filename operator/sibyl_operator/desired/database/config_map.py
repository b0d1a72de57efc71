"""What the servers of a Builtin database read: settings, who may connect, and the scripts that start them."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib.resources import files
from typing import Any, Final

from sibyl_operator.api.resource import WorkspaceResource
from sibyl_operator.database.settings import server_settings
from sibyl_operator.desired.credentials import DATABASE_NAME, DATABASE_ROLE, REPLICATION_ROLE
from sibyl_operator.desired.database.server import server_size
from sibyl_operator.desired.names import DATABASE, Names

SCRIPTS: Final = (
    "common.sh",
    "prepare-primary.sh",
    "prepare-replica.sh",
    "primary.sh",
    "probe.sh",
    "serve.sh",
    "serve-replica.sh",
    "stop.sh",
)
# The superuser has no password: only who is inside the pod already gets in without one.
HOST_BASED_AUTHENTICATION: Final = f"""\
# Written by sibyl-operator.
local  all            postgres                       trust
host   {DATABASE_NAME}          {DATABASE_ROLE}              all            scram-sha-256
host   replication    {REPLICATION_ROLE}  all            scram-sha-256
host   postgres       {REPLICATION_ROLE}  all            scram-sha-256
"""


def config_map(resource: WorkspaceResource, names: Names) -> dict[str, Any]:
    """One ConfigMap for primary and replicas, so that what must be equal on both is."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": names.metadata(names.database, component=DATABASE),
        "data": _data(resource),
    }


def database_config_hash(resource: WorkspaceResource) -> str:
    """A versioned digest that moves with anything in the ConfigMap, so that the servers are started anew."""
    text = json.dumps(_data(resource), sort_keys=True, separators=(",", ":"))
    return f"v1-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _data(resource: WorkspaceResource) -> dict[str, str]:
    lines = [f"{name} = {value}" for name, value in server_settings(server_size(resource)).items()]
    return {
        "postgresql.conf": "\n".join(["# Written by sibyl-operator.", *lines, ""]),
        "pg_hba.conf": HOST_BASED_AUTHENTICATION,
        **{name: _script(name) for name in SCRIPTS},
    }


@cache
def _script(name: str) -> str:
    return files(__package__).joinpath("scripts", name).read_text(encoding="utf-8")
