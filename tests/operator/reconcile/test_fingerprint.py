"""Fingerprints: blind to bookkeeping, awake to what matters."""

from __future__ import annotations

from typing import Any

import pytest

from sibyl_operator.reconcile.fingerprint import concern, digest, intent


def deployment(**changes: Any) -> dict[str, Any]:
    metadata = {"name": "web", "uid": "u", "resourceVersion": "1", "labels": {"a": "b"}, **changes.pop("metadata", {})}
    status = {"readyReplicas": 1, "conditions": [{"type": "Available", "status": "True", "message": "m"}]}
    return {"kind": "Deployment", "metadata": metadata, "spec": {"replicas": 1}, "status": status, **changes}


def test_a_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": {"c": 2, "d": 3}}) == digest({"b": {"d": 3, "c": 2}, "a": 1})
    assert digest({"a": [1, 2]}) != digest({"a": [2, 1]})


UNIMPORTANT: tuple[dict[str, Any], ...] = (
    {"metadata": {"resourceVersion": "2"}},
    {"metadata": {"generation": 7}},
    {"metadata": {"managedFields": [{}]}},
)


@pytest.mark.parametrize("change", UNIMPORTANT)
def test_bookkeeping_is_overlooked(change: dict[str, Any]) -> None:
    assert intent(deployment(**change)) == intent(deployment())
    assert concern(deployment(**change)) == concern(deployment())


@pytest.mark.parametrize("bit", ["observedGeneration", "readyReplicas", "replicas", "updatedReplicas"])
def test_the_readiness_of_a_stateful_set_is_news(bit: str) -> None:
    before = deployment(kind="StatefulSet", status={bit: 1})
    assert concern(before) != concern(deployment(kind="StatefulSet", status={bit: 2}))
    assert intent(before) == intent(deployment(kind="StatefulSet", status={bit: 2}))
    assert concern(before) == concern(deployment(kind="StatefulSet", status={bit: 1, "currentReplicas": 5}))


IMPORTANT: tuple[dict[str, Any], ...] = (
    {"spec": {"replicas": 2}},
    {"metadata": {"labels": {"a": "c"}}},
    {"metadata": {"annotations": {"a": "c"}}},
    {"metadata": {"ownerReferences": []}},
    {"metadata": {"deletionTimestamp": "2030-01-01T00:00:00Z"}},
)


@pytest.mark.parametrize("change", IMPORTANT)
def test_a_change_of_intent_is_seen(change: dict[str, Any]) -> None:
    assert intent(deployment(**change)) != intent(deployment())
    assert concern(deployment(**change)) != concern(deployment())


def test_of_status_only_readiness_counts() -> None:
    same = deployment()["status"]
    for status, seen in (
        ({**same, "readyReplicas": 0}, True),
        ({**same, "conditions": [{"type": "Available", "status": "False"}]}, True),
        ({**same, "collisionCount": 3}, False),
        ({**same, "conditions": [{"type": "Available", "status": "True", "message": "other"}]}, False),
    ):
        assert intent(deployment(status=status)) == intent(deployment())
        assert (concern(deployment(status=status)) != concern(deployment())) is seen
