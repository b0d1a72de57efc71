"""Which Secrets a workspace depends on, and digests of them, so that a new password reaches the pods that read it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping

from sibyl_operator.api.resource import WorkspaceResource
from sibyl_operator.desired.credentials import generated_secrets
from sibyl_operator.desired.names import Names
from sibyl_operator.observed import SecretFacts


def referenced_secrets(resource: WorkspaceResource) -> dict[str, frozenset[str]]:
    """The keys that are needed, by name of the Secret: those that the spec names, and those that the operator makes."""
    names = Names(namespace=resource.namespace, workspace=resource.name, uid=resource.uid)
    made = [(secret.name, key) for secret in generated_secrets(resource, names) for key in secret.keys]
    needed: dict[str, set[str]] = {}
    for name, key in (*_references(resource), *made):
        needed.setdefault(name, set()).add(key)
    return {name: frozenset(keys) for name, keys in sorted(needed.items())}


def secrets_hash(resource: WorkspaceResource, secrets: Mapping[str, SecretFacts]) -> str:
    """A versioned digest that moves when a Secret that the runtime reads appears, changes or goes."""
    names = Names(namespace=resource.namespace, workspace=resource.name, uid=resource.uid)
    return digest_of(referenced_secrets(resource).keys() - {names.replication_credentials}, secrets)


def digest_of(names: Iterable[str], secrets: Mapping[str, SecretFacts]) -> str:
    """A versioned digest of the Secrets of these names that moves when one of them appears, changes or goes."""
    digests = {name: _digest(secrets.get(name)) for name in names}
    text = json.dumps(digests, sort_keys=True, separators=(",", ":"))
    return f"v1-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _digest(facts: SecretFacts | None) -> str | None:
    return facts.digest if facts is not None and facts.exists else None


def _references(resource: WorkspaceResource) -> list[tuple[str, str]]:
    spec = resource.spec
    found = [(ref.name, ref.key) for ref in (variable.secret_key_ref for variable in spec.runtime.env) if ref]
    if spec.database.external is not None:
        found.append((spec.database.external.secret_ref.name, spec.database.external.secret_ref.key))
    if spec.cache.external is not None:
        found.append((spec.cache.external.secret_ref.name, spec.cache.external.secret_ref.key))
    return found
