"""Reads the Secrets that a workspace refers to, by name: they are never listed, never watched and never kept.

Only existence, key names and a digest leave this module, and the DSN, which goes to the database probe alone.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sibyl_operator.desired import referenced_secrets
from sibyl_operator.kube import Forbidden, KubeApi, Manifest
from sibyl_operator.observed import ApplyError, SecretFacts

if TYPE_CHECKING:
    from sibyl_operator.api.resource import WorkspaceResource


@dataclass(frozen=True)
class Secrets:
    """What was found; `dsn` is kept out of every representation."""

    facts: Mapping[str, SecretFacts]
    dsn: str | None = field(default=None, repr=False)
    errors: tuple[ApplyError, ...] = ()


async def read_secrets(api: KubeApi, resource: WorkspaceResource) -> Secrets:
    """Look at every referenced Secret. One that may not be read is an error; one that is missing is a fact."""
    facts: dict[str, SecretFacts] = {}
    errors: list[ApplyError] = []
    dsn: str | None = None
    reference = resource.spec.database.external and resource.spec.database.external.secret_ref
    for name, needed in sorted(referenced_secrets(resource).items()):
        try:
            secret = await api.get("Secret", resource.namespace, name)
        except Forbidden as error:
            errors.append(ApplyError("Secret", f"read {name}: {error.message}", transient=False))
            continue
        facts[name] = secret_facts(name, secret, needed)
        if reference and reference.name == name:
            dsn = _decoded(secret, reference.key)
    return Secrets(facts, dsn, tuple(errors))


def secret_facts(name: str, secret: Manifest | None, needed: frozenset[str]) -> SecretFacts:
    """The facts of one Secret; the digest covers only the needed keys, so that others may change freely."""
    if secret is None:
        return SecretFacts(name, exists=False, keys=frozenset(), digest="")
    data: Mapping[str, str] = secret.get("data") or {}
    sha256 = hashlib.sha256(b"sibyl-secret-v1")
    for key in sorted(needed & data.keys()):
        for part in (secret["metadata"]["namespace"], name, key, data[key]):
            sha256.update(f"{len(part)}:{part}".encode())
    return SecretFacts(name, exists=True, keys=frozenset(data), digest=sha256.hexdigest())


def _decoded(secret: Manifest | None, key: str) -> str | None:
    value = ((secret or {}).get("data") or {}).get(key)
    return None if value is None else base64.b64decode(value).decode(errors="replace")
