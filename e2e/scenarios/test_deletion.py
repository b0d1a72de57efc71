"""Scenario 8: what should stay stays, what should go goes, and nothing hangs."""

from __future__ import annotations

import pytest

from e2e.node.node import Node
from e2e.scenarios.beside import SERVICE_MONITORS
from e2e.scenarios.release import Release
from e2e.scenarios.team import Team, sample, wait_for
from e2e.scenarios.timing import Timings

KINDS = "serviceaccount,configmap,secret,deployment,statefulset,service,hpa,pdb,networkpolicy,pod"


@pytest.mark.parametrize("policy", ["Retain", "Delete"])
def test_deletion_keeps_or_deletes_the_data_as_the_policy_says(team: Team, timings: Timings, policy: str) -> None:
    team.apply(sample("quickstart", deletionPolicy=policy))
    team.wait_ready("quickstart")
    team.ingest("quickstart")
    team.kubectl("delete", "swk", "quickstart", "--timeout=60s")
    took = wait_for(lambda: not team.children("quickstart", KINDS), "every child to be gone", timeout=120)
    timings.seconds(f"8  {policy}: deleted to all children gone", took)
    if policy == "Delete":
        wait_for(lambda: not team.get("pvc")["items"], "the volume to be gone")
        return
    assert [claim["metadata"]["name"] for claim in team.get("pvc")["items"]] == ["data-quickstart-db-0"]
    team.apply(sample("quickstart", deletionPolicy="Delete"))
    team.wait_ready("quickstart")
    sources = team.ask("quickstart", "How do I move a workspace to my own PostgreSQL?")["output"]["sources"]
    assert any("database.md" in source["document"] for source in sources), "the kept data was not taken up again"


def test_optional_kinds_that_vanish_hold_nothing_up(team: Team, node: Node, release: Release, timings: Timings) -> None:
    team.apply(sample("quickstart", deletionPolicy="Delete"))
    team.wait_ready("quickstart")
    _install_service_monitors(node)
    release.upgrade()
    assert "servicemonitor" in release.kubectl("get", "servicemonitors", "-o", "name")
    node.kubectl("delete", "crd", "servicemonitors.monitoring.coreos.com", "--timeout=60s")
    team.kubectl("delete", "swk", "quickstart", "--timeout=60s")
    took = wait_for(lambda: not team.children("quickstart", f"{KINDS},pvc"), "every child to be gone", timeout=120)
    timings.seconds("8  deleted, after optional kinds had vanished", took)
    # Helm cannot read a release of kinds that are gone; whoever deleted the CRD brings it back first.
    _install_service_monitors(node)
    release.upgrade()


def _install_service_monitors(node: Node) -> None:
    node.kubectl("apply", "--server-side", "-f", str(SERVICE_MONITORS))
    node.kubectl("wait", "--for=condition=Established", "crd/servicemonitors.monitoring.coreos.com", "--timeout=60s")
