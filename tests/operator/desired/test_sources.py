"""Which Secrets and ConfigMaps a workspace needs, and the digest that moves with them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sibyl_operator.api.sources import Source
from sibyl_operator.desired import referenced_sources
from sibyl_operator.desired.sources import digest_of, sources_hash
from sibyl_operator.observed import SourceFacts
from tests.operator.api.facts import full_body, resource, sources, valid

FULL = valid(full_body())
THERE = SourceFacts(exists=True, keys=frozenset({"a"}), digest="d")


def test_every_reference_is_found_by_kind_name_and_key() -> None:
    assert referenced_sources(FULL) == {
        Source("ConfigMap", "locale"): frozenset({"timezone"}),
        Source("Secret", "handbook-api-keys"): frozenset({"first"}),
        Source("Secret", "handbook-cache"): frozenset({"address"}),
        Source("Secret", "handbook-database"): frozenset({"uri"}),
        Source("Secret", "openai"): frozenset({"api-key"}),
    }


def test_keys_of_one_source_are_gathered() -> None:
    env = [
        *({"name": name, "secretKeyRef": {"name": "docs-database", "key": name.lower()}} for name in ("A", "B")),
        *({"name": name, "configMapKeyRef": {"name": "docs-database", "key": name.lower()}} for name in ("C", "D")),
    ]
    assert referenced_sources(resource(runtime={"env": env})) == {
        Source("ConfigMap", "docs-database"): frozenset({"c", "d"}),
        Source("Secret", "docs-database"): frozenset({"a", "b", "dsn"}),
    }


@pytest.mark.parametrize("source", referenced_sources(FULL), ids=str)
def test_the_hash_moves_with_every_source_that_the_pods_read(source: Source) -> None:
    facts = sources(FULL)
    before = sources_hash(FULL, facts)
    assert sources_hash(FULL, {**facts, source: replace(facts[source], digest="another")}) != before
    assert sources_hash(FULL, {**facts, source: replace(facts[source], exists=False)}) != before


def test_the_hash_ignores_other_sources_and_other_keys() -> None:
    facts = sources(FULL)
    openai = Source("Secret", "openai")
    more = {**facts, Source("Secret", "other"): THERE, Source("ConfigMap", "openai"): THERE}
    wider = {**facts, openai: replace(facts[openai], keys=frozenset({"api-key", "organisation"}))}
    assert sources_hash(FULL, facts) == sources_hash(FULL, more) == sources_hash(FULL, wider)


def test_a_secret_and_a_config_map_of_one_name_are_two() -> None:
    first, second = Source("Secret", "both"), Source("ConfigMap", "both")
    assert len({digest_of(wanted, {first: THERE, second: THERE}) for wanted in ((first,), (second,))}) == 2
    assert digest_of((first, second), {first: THERE}) != digest_of((first, second), {second: THERE})


def test_the_hash_is_versioned_and_does_not_depend_on_order() -> None:
    facts = sources(FULL)
    assert sources_hash(FULL, facts) == sources_hash(FULL, dict(reversed(facts.items())))
    assert sources_hash(FULL, facts).startswith("v1-")
    assert len(sources_hash(FULL, {})) == len("v1-") + 12


def test_the_hash_of_secrets_alone_stays_what_it_was_before_there_were_config_maps() -> None:
    """Another one would restart all pods of an installation that is upgraded."""
    held = SourceFacts(True, frozenset({"dsn"}), "1ae84f8b4a1743279d5894eae6ab0b551edb317807afcaf5d2db65f3fe3b9502")
    assert sources_hash(resource(), {Source("Secret", "docs-database"): held}) == "v1-cb244bdc219f"
