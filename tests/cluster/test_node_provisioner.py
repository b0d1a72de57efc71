"""Which claims get a volume and which volumes go; what a volume looks like; how large one may be."""

from __future__ import annotations

from typing import Any

import pytest

from e2e.cluster.errors import ClusterError
from e2e.node.objects import DEFAULT_CLASS, LIMITED_CLASS, PROVISIONER, persistent_volume, storage_classes
from e2e.node.provisioner import is_done_with, volume_name, wants_volume
from e2e.node.volumes import size_in_bytes


def claim(**changes: Any) -> dict[str, Any]:
    spec = {
        "storageClassName": DEFAULT_CLASS,
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
    }
    metadata = {"name": "data", "namespace": "demo", "uid": "1234"}
    return {"metadata": metadata, "spec": spec | changes.pop("spec", {}), "status": {"phase": "Pending"}} | changes


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, True),
        ({"spec": {"storageClassName": LIMITED_CLASS}}, True),
        ({"spec": {"storageClassName": "fast"}}, False),
        ({"spec": {"storageClassName": ""}}, False),
        ({"spec": {"volumeName": "by-hand"}}, False),
        ({"status": {"phase": "Bound"}}, False),
        ({"metadata": {"name": "data", "deletionTimestamp": "2026-01-01T00:00:00Z"}}, False),
    ],
)
def test_a_claim_gets_a_volume_while_it_waits_for_one_of_ours(changes: dict[str, Any], wanted: bool) -> None:
    assert wants_volume(claim(**changes)) is wanted


def test_a_volume_is_for_its_claim_alone_and_of_its_size() -> None:
    volume = persistent_volume(claim(), volume_name(claim()), "/volumes/x")
    assert volume["metadata"]["name"] == "pvc-1234"
    assert volume["spec"]["claimRef"]["uid"] == "1234"
    assert volume["spec"]["capacity"] == {"storage": "1Gi"}
    assert volume["spec"]["local"] == {"path": "/volumes/x"}


@pytest.mark.parametrize(
    ("by", "phase", "policy", "done"),
    [
        (PROVISIONER, "Released", "Delete", True),
        (PROVISIONER, "Released", "Retain", False),
        (PROVISIONER, "Bound", "Delete", False),
        ("somebody.else", "Released", "Delete", False),
    ],
)
def test_a_volume_goes_when_its_claim_is_gone_and_nobody_retains_it(
    by: str, phase: str, policy: str, done: bool
) -> None:
    volume = {
        "metadata": {"name": "x", "annotations": {"pv.kubernetes.io/provisioned-by": by}},
        "spec": {"persistentVolumeReclaimPolicy": policy},
        "status": {"phase": phase},
    }
    assert is_done_with(volume) is done


def test_exactly_one_class_is_the_default() -> None:
    default = "storageclass.kubernetes.io/is-default-class"
    found = {c["metadata"]["name"]: c["metadata"]["annotations"][default] for c in storage_classes()}
    assert found == {DEFAULT_CLASS: "true", LIMITED_CLASS: "false"}


def test_sizes_are_quantities_and_have_a_least() -> None:
    assert size_in_bytes("64Mi") == 64 * 2**20
    with pytest.raises(ClusterError, match="a volume of 1Ki is too small for a filesystem: ask for 1Mi or more"):
        size_in_bytes("1Ki")
