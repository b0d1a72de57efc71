"""Is what a Secret or a ConfigMap should hold there? Shared by everything that takes a value from one."""

from __future__ import annotations

from typing import Final

from sibyl_operator.api.condition import Finding, listed
from sibyl_operator.api.sources import SourceKey
from sibyl_operator.observed import Observed

CREATE: Final = {"Secret": "create secret generic", "ConfigMap": "create configmap"}


def source_key_finding(observed: Observed, wanted: SourceKey, *, field: str, example: str) -> Finding | None:
    """What is wrong with one key of one source; `field` is where the spec names it, `example` what it may hold."""
    namespace = observed.resource.namespace
    source, key = wanted
    facts = observed.sources.get(source)
    if facts is None:
        return Finding(f"{source.kind}NotRead", f"{source}, named in {field}, could not be read", status="Unknown")
    if not facts.exists:
        return Finding(
            f"{source.kind}NotFound",
            f"{source}, named in {field}, is not in namespace {namespace}; create it: "
            f"kubectl -n {namespace} {CREATE[source.kind]} {source.name} --from-literal='{key}={example}'",
        )
    if key not in facts.keys:
        held = f"it has {listed(sorted(facts.keys))}" if facts.keys else "its data is empty"
        return Finding(
            f"{source.kind}KeyMissing",
            f"{source} has no key {key}, named in {field} ({held}); add the key, or name another",
        )
    return None
