"""Reads the Secrets that a workspace depends on, by name, and makes those that the operator owes it.

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

from sibyl_operator.desired import names_of, referenced_secrets
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
from sibyl_operator.observed import ApplyError, Conflict, SecretFacts
from sibyl_operator.reconcile.addresses import endpoints
from sibyl_operator.reconcile.ownership import owned_by, refusal

if TYPE_CHECKING:
    from sibyl_operator.api.resource import WorkspaceResource

PASSWORD_BYTES: Final = 24


@dataclass(frozen=True)
class Secrets:
    """What was found; both DSN are kept out of every representation."""

    facts: Mapping[str, SecretFacts]
    dsn: str | None = field(default=None, repr=False)
    replication_dsn: str | None = field(default=None, repr=False)
    errors: tuple[ApplyError, ...] = ()
    conflicts: tuple[Conflict, ...] = ()


async def read_secrets(api: KubeApi, resource: WorkspaceResource) -> Secrets:
    """Look at every Secret, and make a missing one of ours. One that may not be read is an error; one that is missing
    is a fact; one of our name that is not ours is a conflict."""
    found: dict[str, Manifest | None] = {}
    errors: list[ApplyError] = []
    conflicts: list[Conflict] = []
    made = {generated.name: generated for generated in generated_secrets(resource, names_of(resource))}
    needed = referenced_secrets(resource)
    for name in sorted(needed):
        try:
            found[name] = await _read(api, resource, name, made.get(name))
        except Forbidden as error:
            errors.append(ApplyError("Secret", f"read {name}: {error.message}", transient=False))
            continue
        held = found[name]
        if held is not None and name in made and not owned_by(held, resource.uid):
            conflicts.append(Conflict("Secret", name, refusal(held)))
    facts = {name: secret_facts(name, held, needed[name]) for name, held in found.items()}
    return Secrets(facts, _dsn(resource, found), _replication_dsn(resource, found), tuple(errors), tuple(conflicts))


async def _read(api: KubeApi, resource: WorkspaceResource, name: str, made: GeneratedSecret | None) -> Manifest | None:
    held = await api.get("Secret", resource.namespace, name)
    if held is not None or made is None or resource.spec.suspend:
        return held
    try:
        # Created, never applied: a password that somebody else has just written must not be overwritten.
        return await api.create(secret(names_of(resource), made, secrets.token_hex(PASSWORD_BYTES)))
    except AlreadyExists:
        return await api.get("Secret", resource.namespace, name)


def secret_facts(name: str, secret: Manifest | None, needed: frozenset[str]) -> SecretFacts:
    """The facts of one Secret; the digest covers only the needed keys, so that others may change freely."""
    if secret is None:
        return SecretFacts(name, exists=False, keys=frozenset(), digest="")
    data: Mapping[str, str] = secret.get("data") or {}
    sha256 = hashlib.sha256(b"sibyl-secret-v1")
    for key in sorted(needed & data.keys()):
        for part in (secret["metadata"]["namespace"], name, key, data[key]):
            sha256.update(f"{len(part)}:{part}".encode())
    places = {key: endpoints(_decoded(secret, key) or "") for key in sorted(needed) if key in data}
    return SecretFacts(
        name,
        exists=True,
        keys=frozenset(data),
        digest=sha256.hexdigest(),
        endpoints={key: found for key, found in places.items() if found},
    )


def _dsn(resource: WorkspaceResource, found: Mapping[str, Manifest | None]) -> str | None:
    """Where the database is asked: what the user's Secret says, or the operator's own server with its password."""
    external = resource.spec.database.external
    if external is not None:
        return _decoded(found.get(external.secret_ref.name), external.secret_ref.key)
    return _own_dsn(resource, found, names_of(resource).database_credentials, DATABASE_ROLE, DATABASE_NAME)


def _replication_dsn(resource: WorkspaceResource, found: Mapping[str, Manifest | None]) -> str | None:
    """Where the operator's own server is asked for its read replicas; None for another server."""
    if resource.spec.database.provider != "Builtin":
        return None
    return _own_dsn(resource, found, names_of(resource).replication_credentials, REPLICATION_ROLE, "postgres")


def _own_dsn(
    resource: WorkspaceResource, found: Mapping[str, Manifest | None], secret_name: str, role: str, database: str
) -> str | None:
    names = names_of(resource)
    password = _decoded(found.get(secret_name), PASSWORD_KEY)
    if password is None:
        return None
    host = names.host(names.database_read_write)
    return f"postgresql://{role}:{quote(password, safe='')}@{host}:5432/{database}"


def _decoded(secret: Manifest | None, key: str) -> str | None:
    value = ((secret or {}).get("data") or {}).get(key)
    return None if value is None else base64.b64decode(value).decode(errors="replace")
