"""Which Secrets and ConfigMaps a workspace depends on, and digests of them, so that a new value reaches the pods that
read it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping

from sibyl_operator.api.resource import WorkspaceResource
from sibyl_operator.api.sources import Source, SourceKey, key_of_secret, key_of_variable
from sibyl_operator.desired.credentials import generated_secrets
from sibyl_operator.desired.names import Names
from sibyl_operator.observed import SourceFacts


def referenced_sources(resource: WorkspaceResource) -> dict[Source, frozenset[str]]:
    """The keys that are needed, by source: those that the spec names, and those that the operator makes."""
    names = Names(namespace=resource.namespace, workspace=resource.name, uid=resource.uid)
    made = [
        SourceKey(Source("Secret", secret.name), key)
        for secret in generated_secrets(resource, names)
        for key in secret.keys
    ]
    needed: dict[Source, set[str]] = {}
    for source, key in (*_references(resource), *made):
        needed.setdefault(source, set()).add(key)
    return {source: frozenset(keys) for source, keys in sorted(needed.items())}


def sources_hash(resource: WorkspaceResource, sources: Mapping[Source, SourceFacts]) -> str:
    """A versioned digest that moves when a source that the runtime reads appears, changes or goes."""
    names = Names(namespace=resource.namespace, workspace=resource.name, uid=resource.uid)
    return digest_of(referenced_sources(resource).keys() - {Source("Secret", names.replication_credentials)}, sources)


def digest_of(wanted: Iterable[Source], sources: Mapping[Source, SourceFacts]) -> str:
    """A versioned digest of these sources that moves when one of them appears, changes or goes."""
    digests = {_label(source): _digest(sources.get(source)) for source in wanted}
    text = json.dumps(digests, sort_keys=True, separators=(",", ":"))
    return f"v1-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _label(source: Source) -> str:
    """A Secret goes by its name alone, as before there were ConfigMaps: another digest would restart all pods."""
    return source.name if source.kind == "Secret" else f"{source.kind}/{source.name}"


def _digest(facts: SourceFacts | None) -> str | None:
    return facts.digest if facts is not None and facts.exists else None


def _references(resource: WorkspaceResource) -> Iterator[SourceKey]:
    spec = resource.spec
    for variable in spec.runtime.env:
        taken = key_of_variable(variable)
        if taken is not None:
            yield taken
    for external in (spec.database.external, spec.cache.external):
        if external is not None:
            yield key_of_secret(external.secret_ref)
