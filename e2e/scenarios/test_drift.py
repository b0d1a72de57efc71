"""Scenario 2: whatever is deleted or edited by hand comes back; what belongs to the autoscaler is left alone."""

from __future__ import annotations

import json
import time

from e2e.cluster.audit import writes
from e2e.node.node import Node
from e2e.scenarios.release import ACCOUNT
from e2e.scenarios.team import Object, Team, sample, wait_for
from e2e.scenarios.timing import Timings

KINDS = "serviceaccount,configmap,secret,deployment,statefulset,service,hpa,pdb,networkpolicy"
WITHIN = 10.0
TOKEN = "automountServiceAccountToken"


def test_every_deleted_child_is_back_within_ten_seconds(team: Team, timings: Timings) -> None:
    team.apply(sample("quickstart"))
    team.wait_ready("quickstart")
    slowest = ("", 0.0)
    children = team.children("quickstart", KINDS)
    assert len(children) >= 12, [child["metadata"]["name"] for child in children]
    for child in children:
        took = _delete_and_wait(team, child)
        slowest = max(slowest, (f"{child['kind']}/{child['metadata']['name']}", took), key=lambda found: found[1])
    timings.say(f"2  {len(children)} children deleted, slowest back", f"{slowest[1]:.1f} s ({slowest[0]})")
    assert slowest[1] < WITHIN, slowest
    team.wait_ready("quickstart")


def _delete_and_wait(team: Team, child: Object) -> float:
    reference = f"{child['kind'].lower()}/{child['metadata']['name']}"
    team.kubectl("delete", reference, "--wait=false")

    def back() -> bool:
        found = team.find(reference)
        return found is not None and found["metadata"]["uid"] != child["metadata"]["uid"]

    return wait_for(back, f"{reference} to come back", timeout=60)


def test_every_edited_child_is_put_back_within_ten_seconds(team: Team, timings: Timings) -> None:
    team.apply(sample("quickstart"))
    team.wait_ready("quickstart")
    edits = (
        ("configmap", "quickstart-config", {"data": {"workspace.yaml": "name: other"}}, ("data", "workspace.yaml")),
        ("deployment", "quickstart-runtime", {"spec": {"revisionHistoryLimit": 9}}, ("spec", "revisionHistoryLimit")),
        ("service", "quickstart-runtime", {"spec": {"selector": {"app": "x"}}}, ("spec", "selector")),
        ("hpa", "quickstart-runtime", {"spec": {"maxReplicas": 9}}, ("spec", "maxReplicas")),
        ("pdb", "quickstart-runtime", {"spec": {"maxUnavailable": 2}}, ("spec", "maxUnavailable")),
        ("statefulset", "quickstart-db", {"spec": {"replicas": 0}}, ("spec", "replicas")),
        ("serviceaccount", "quickstart-runtime", {TOKEN: True}, (TOKEN,)),
    )
    slowest = ("", 0.0)
    for kind, name, patch, path in edits:
        took = _edit_and_wait(team, f"{kind}/{name}", patch, path)
        slowest = max(slowest, (f"{kind}/{name}", took), key=lambda found: found[1])
    timings.say(f"2  {len(edits)} children edited, slowest put back", f"{slowest[1]:.1f} s ({slowest[0]})")
    assert slowest[1] < WITHIN, slowest


def _edit_and_wait(team: Team, reference: str, patch: Object, path: tuple[str, ...]) -> float:
    before = _at(team.get(reference), path)
    team.kubectl("patch", reference, "--type=merge", "-p", json.dumps(patch))
    return wait_for(lambda: _at(team.get(reference), path) == before, f"{reference} to be put back")


def test_the_number_of_pods_is_left_to_the_autoscaler(team: Team, node: Node) -> None:
    team.apply(sample("quickstart"))
    team.wait_ready("quickstart")
    start = node.audit_position()
    team.kubectl("scale", "deployment/quickstart-runtime", "--replicas=3")
    owners = team.get("deployment", "quickstart-runtime", "--show-managed-fields")["metadata"]["managedFields"]
    ours = [entry for entry in owners if entry["manager"] == "sibyl-operator"]
    assert ours
    assert all("f:replicas" not in entry["fieldsV1"].get("f:spec", {}) for entry in ours)
    # Two looks of the operator later nobody has written it back.
    seen = team.get("swk", "quickstart")["status"]
    end = time.monotonic() + 9
    wait_for(lambda: time.monotonic() > end, "two looks of the operator", timeout=20)
    written = [event["objectRef"] for event in writes(node.audit_events(start), user=ACCOUNT)]
    assert not [at for at in written if (at["resource"], at["name"]) == ("deployments", "quickstart-runtime")]
    assert team.get("deployment", "quickstart-runtime")["spec"]["replicas"] in (2, 3), seen


def _at(found: Object, path: tuple[str, ...]) -> object:
    place: object = found
    for part in path:
        assert isinstance(place, dict)
        place = place.get(part)
    return place
