"""Reads the Secrets and ConfigMaps that a workspace depends on, by name, and makes the Secrets that are owed to it.

They are never listed, never watched and never kept. Only existence, key names, a digest and the hosts of addresses
leave this module, and the DSN, which goes to the database probe alone.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from sibyl_operator.api.sources import Source, key_of_secret
from sibyl_operator.desired import names_of, referenced_sources
from sibyl_operator.desired.credentials import (
    DATABASE_NAME,
    DATABASE_ROLE,
    PASSWORD_KEY,
    REPLICATION_ROLE,
    GeneratedSecret,
    generated_secrets,
    secret,
)
from sibyl_operator.kube import AlreadyExists, Forbidden, KubeApi, Manifest
from sibyl_operator.observed import ApplyError, Conflict, SourceFacts
from sibyl_operator.reconcile.addresses import endpoints
from sibyl_operator.reconcile.ownership import owned_by, refusal

if TYPE_CHECKING:
    from sibyl_operator.api.resource import WorkspaceResource

PASSWORD_BYTES: Final = 24


@dataclass(frozen=True)
class Sources:
    """What was found; both DSN are kept out of every representation."""

    facts: Mapping[Source, SourceFacts]
    dsn: str | None = field(default=None, repr=False)
    replication_dsn: str | None = field(default=None, repr=False)
    errors: tuple[ApplyError, ...] = ()
    conflicts: tuple[Conflict, ...] = ()


async def read_sources(api: KubeApi, resource: WorkspaceResource) -> Sources:
    """Look at every source, and make a missing Secret of ours. One that may not be read is an error; one that is
    missing is a fact; a Secret of our name that is not ours is a conflict."""
    found: dict[Source, Manifest | None] = {}
    errors: list[ApplyError] = []
    conflicts: list[Conflict] = []
    made = {
        Source("Secret", generated.name): generated for generated in generated_secrets(resource, names_of(resource))
    }
    needed = referenced_sources(resource)
    for source in needed:
        action = "read"
        try:
            held = await api.get(source.kind, resource.namespace, source.name)
            if held is None and source in made and not resource.spec.suspend:
                action = "create"
                held = await _create(api, resource, made[source])
        except Forbidden as error:
            errors.append(ApplyError(source.kind, f"{action} {source.name}: {error.message}", transient=False))
            continue
        found[source] = held
        if held is not None and source in made and not owned_by(held, resource.uid):
            conflicts.append(Conflict(source.kind, source.name, refusal(held)))
    facts = {source: source_facts(source, held, needed[source]) for source, held in found.items()}
    return Sources(facts, _dsn(resource, found), _replication_dsn(resource, found), tuple(errors), tuple(conflicts))


async def _create(api: KubeApi, resource: WorkspaceResource, generated: GeneratedSecret) -> Manifest | None:
    """Created, never applied: a password that somebody else has just written must not be overwritten."""
    try:
        return await api.create(secret(names_of(resource), generated, secrets.token_hex(PASSWORD_BYTES)))
    except AlreadyExists:
        return await api.get("Secret", resource.namespace, generated.name)


def source_facts(source: Source, held: Manifest | None, needed: frozenset[str]) -> SourceFacts:
    """The facts of one source; the digest covers only the needed keys, so that others may change freely.

    A ConfigMap's binaryData is left aside: the kubelet takes no variable from it.
    """
    if held is None:
        return SourceFacts(exists=False, keys=frozenset(), digest="")
    data: Mapping[str, str] = held.get("data") or {}
    sha256 = hashlib.sha256(b"sibyl-secret-v1")
    for key in sorted(needed & data.keys()):
        for part in (held["metadata"]["namespace"], source.name, key, data[key]):
            sha256.update(f"{len(part)}:{part}".encode())
    places = {key: endpoints(_decoded(held, key) or "") for key in sorted(needed) if key in data}
    return SourceFacts(
        exists=True,
        keys=frozenset(data),
        digest=sha256.hexdigest(),
        endpoints={key: found for key, found in places.items() if found},
    )


def _dsn(resource: WorkspaceResource, found: Mapping[Source, Manifest | None]) -> str | None:
    """Where the database is asked: what the user's Secret says, or the operator's own server with its password."""
    external = resource.spec.database.external
    if external is not None:
        source, key = key_of_secret(external.secret_ref)
        return _decoded(found.get(source), key)
    return _own_dsn(resource, found, names_of(resource).database_credentials, DATABASE_ROLE, DATABASE_NAME)


def _replication_dsn(resource: WorkspaceResource, found: Mapping[Source, Manifest | None]) -> str | None:
    """Where the operator's own server is asked for its read replicas; None for another server."""
    if resource.spec.database.provider != "Builtin":
        return None
    return _own_dsn(resource, found, names_of(resource).replication_credentials, REPLICATION_ROLE, "postgres")


def _own_dsn(
    resource: WorkspaceResource, found: Mapping[Source, Manifest | None], secret_name: str, role: str, database: str
) -> str | None:
    names = names_of(resource)
    password = _decoded(found.get(Source("Secret", secret_name)), PASSWORD_KEY)
    if password is None:
        return None
    host = names.host(names.database_read_write)
    return f"postgresql://{role}:{quote(password, safe='')}@{host}:5432/{database}"


def _decoded(held: Manifest | None, key: str) -> str | None:
    """One value as text: a Secret holds base64, a ConfigMap what is meant."""
    if held is None:
        return None
    value: str | None = (held.get("data") or {}).get(key)
    if value is None or held["kind"] == "ConfigMap":
        return value
    return base64.b64decode(value).decode(errors="replace")
