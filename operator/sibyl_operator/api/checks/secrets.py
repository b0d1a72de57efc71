"""Is what a Secret should hold there? Shared by everything that reads credentials."""

from __future__ import annotations

from sibyl_operator.api.condition import Finding, listed
from sibyl_operator.observed import Observed


def secret_key_finding(observed: Observed, *, name: str, key: str, field: str, example: str) -> Finding | None:
    """What is wrong with one key of one Secret; `field` is where the spec names it, `example` what it may hold."""
    namespace = observed.resource.namespace
    facts = observed.secrets.get(name)
    if facts is None:
        return Finding("SecretNotRead", f"Secret {name}, named in {field}, could not be read", status="Unknown")
    if not facts.exists:
        return Finding(
            "SecretNotFound",
            f"Secret {name}, named in {field}, is not in namespace {namespace}; create it: "
            f"kubectl -n {namespace} create secret generic {name} --from-literal='{key}={example}'",
        )
    if key not in facts.keys:
        held = f"it has {listed(sorted(facts.keys))}" if facts.keys else "it is empty"
        return Finding(
            "SecretKeyMissing",
            f"Secret {name} has no key {key}, named in {field} ({held}); add the key, or name another",
        )
    return None
