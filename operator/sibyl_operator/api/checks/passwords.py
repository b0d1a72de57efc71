"""Checks of the passwords that the operator makes: each Secret was made, and nobody has taken its key away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sibyl_operator.api.condition import Finding
from sibyl_operator.api.labels import child_name
from sibyl_operator.api.sources import Source
from sibyl_operator.observed import Observed

PASSWORD_KEY: Final = "password"


def passwords_made(suffixes: tuple[str, ...], holds: str) -> Callable[[Observed], Finding | None]:
    """The check of the Secrets named after the workspace with `suffixes`; `holds` says what is in them."""

    def check(observed: Observed) -> Finding | None:
        return next(filter(None, (_finding(observed, suffix, holds) for suffix in suffixes)), None)

    return check


def _finding(observed: Observed, suffix: str, holds: str) -> Finding | None:
    name = child_name(observed.resource.name, suffix)
    facts = observed.sources.get(Source("Secret", name))
    if facts is None:
        return Finding("SecretNotRead", f"Secret {name}, with {holds}, could not be read", "Unknown")
    if not facts.exists:
        return Finding("SecretMissing", f"Secret {name}, with {holds}, does not exist yet", "Unknown")
    if PASSWORD_KEY not in facts.keys:
        return Finding(
            "SecretKeyMissing",
            f"Secret {name} has no key {PASSWORD_KEY} any more; delete it, and the operator makes it anew: "
            f"kubectl -n {observed.resource.namespace} delete secret {name}",
        )
    return None
