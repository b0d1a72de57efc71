"""Which Secrets a workspace needs, and the digest that moves with them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sibyl_operator.desired import referenced_secrets
from sibyl_operator.desired.secrets import secrets_hash
from sibyl_operator.observed import SecretFacts
from tests.operator.api.facts import full_body, resource, secrets, valid

FULL = valid(full_body())


def test_every_reference_is_found_by_name_and_key() -> None:
    assert referenced_secrets(FULL) == {
        "handbook-api-keys": frozenset({"first"}),
        "handbook-cache": frozenset({"address"}),
        "handbook-database": frozenset({"uri"}),
        "openai": frozenset({"api-key"}),
    }


def test_keys_of_one_secret_are_gathered() -> None:
    env = [{"name": name, "secretKeyRef": {"name": "docs-database", "key": name.lower()}} for name in ("A", "B")]
    assert referenced_secrets(resource(runtime={"env": env})) == {"docs-database": frozenset({"a", "b", "dsn"})}


@pytest.mark.parametrize("name", referenced_secrets(FULL))
def test_the_hash_moves_with_every_secret_that_the_pods_read(name: str) -> None:
    facts = secrets(FULL)
    before = secrets_hash(FULL, facts)
    assert secrets_hash(FULL, {**facts, name: replace(facts[name], digest="another")}) != before
    assert secrets_hash(FULL, {**facts, name: replace(facts[name], exists=False)}) != before


def test_the_hash_ignores_other_secrets_and_other_keys() -> None:
    facts = secrets(FULL)
    more = {**facts, "other": SecretFacts("other", exists=True, keys=frozenset(), digest="x")}
    wider = {**facts, "openai": replace(facts["openai"], keys=frozenset({"api-key", "organisation"}))}
    assert secrets_hash(FULL, facts) == secrets_hash(FULL, more) == secrets_hash(FULL, wider)


def test_the_hash_is_versioned_and_does_not_depend_on_order() -> None:
    facts = secrets(FULL)
    assert secrets_hash(FULL, facts) == secrets_hash(FULL, dict(reversed(facts.items())))
    assert secrets_hash(FULL, facts).startswith("v1-")
    assert len(secrets_hash(FULL, {})) == len("v1-") + 12
