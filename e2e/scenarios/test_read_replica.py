"""Scenario 7: what the primary has, the replica has; a replica that lost its volume is built again."""

from __future__ import annotations

from typing import Any

import psycopg

from e2e.scenarios.team import Team, sample, wait_for
from e2e.scenarios.timing import Timings

NAME = "read-replicas"
SMALL = {
    "provider": "Builtin",
    "readReplicas": 1,
    "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
}
ONE_POD = {"replicas": 1, "resources": {"requests": {"cpu": "100m"}}}


def test_a_replica_follows_the_primary_and_is_rebuilt_when_it_is_lost(team: Team, timings: Timings) -> None:
    team.apply(sample(NAME, rename="docs", database=SMALL, runtime=ONE_POD))
    team.wait_ready("docs")
    team.ingest("docs")
    expected = _count(team, "docs-db-0")
    assert expected > 0
    took = wait_for(lambda: _count(team, "docs-db-replica-0") == expected, "the replica to have every chunk")
    timings.seconds("7  rows on the replica after ingestion", took)
    assert team.get("swk", "docs")["status"]["database"]["readReplicas"] == "1/1"

    team.kubectl("delete", "pvc", "data-docs-db-replica-0", "--wait=false")
    team.kubectl("delete", "pod", "docs-db-replica-0", "--wait=false")
    gone = team.get("pods", "-l", "app.kubernetes.io/component=database-replica")["items"]
    uid = gone[0]["metadata"]["uid"] if gone else ""

    def rebuilt() -> bool:
        pods = team.pods("docs", "database-replica")
        fresh = bool(pods) and pods[0]["metadata"]["uid"] != uid
        return fresh and _ready(pods[0]) and _count(team, "docs-db-replica-0") == expected

    timings.seconds("7  replica and volume deleted to rebuilt", wait_for(rebuilt, "a new replica", timeout=180))
    team.wait_ready("docs")
    assert team.ask("docs", "What is a workspace?")["output"]["sources"]


def _ready(pod: dict[str, Any]) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))


def _count(team: Team, pod: str) -> int:
    """Chunks on one server; -1 while it does not answer."""
    try:
        return int(team.rows("docs", pod, "SELECT count(*) FROM documents_chunks")[0][0])
    except psycopg.Error:
        return -1
