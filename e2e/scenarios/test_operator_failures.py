"""Scenario 5: the service does without its operator; a lost leader is replaced, and two never write."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from e2e.cluster.audit import writes
from e2e.node.node import Node
from e2e.scenarios.load import clients
from e2e.scenarios.release import ACCOUNT, Release
from e2e.scenarios.team import Team, sample, wait_for
from e2e.scenarios.test_change import steps
from e2e.scenarios.timing import Timings

HANDOVER_WITHIN = 20.0


def test_serving_goes_on_without_the_operator_and_the_change_is_made_up_for(
    team: Team, release: Release, timings: Timings
) -> None:
    team.apply(sample("quickstart"))
    team.wait_ready("quickstart")
    team.ingest("quickstart")
    with clients(f"{team.address('quickstart')}/mcp/tools/search_documents", number=2) as answers:
        release.scale(0)
        team.patch("quickstart", steps(2))
        assert len(team.ask("quickstart", "What is a condition?")["output"]["sources"]) == 5
        release.scale(2)
        took = wait_for(
            lambda: len(team.ask("quickstart", "What is a condition?")["output"]["sources"]) == 2,
            "the change to be applied",
            timeout=120,
        )
        team.wait_ready("quickstart")
    timings.seconds("5  operator back to the change in force", took)
    assert answers.failed == 0, answers


def test_a_killed_leader_hands_over_and_two_never_write(
    team: Team, node: Node, release: Release, timings: Timings
) -> None:
    team.apply(sample("quickstart"))
    team.wait_ready("quickstart")
    wait_for(release.leader, "a leader")
    start, before = node.audit_position(), release.leader()
    # The pod as well: the same pod would come back under the same name, and be the leader still.
    os.kill(process_of(before), signal.SIGKILL)
    release.kubectl("delete", "pod", before, "--grace-period=0", "--force")
    took = wait_for(lambda: release.leader() not in ("", before), "another leader", timeout=60)
    after = release.leader()
    timings.seconds("5  leader killed with -9 to the next leader", took)
    assert took < HANDOVER_WITHIN
    team.patch("quickstart", steps(4))
    team.wait_ready("quickstart")
    assert _writers(node, start) <= {before, after}
    turns = _turns(node, start)
    assert turns in ([after], [before, after]), turns


def process_of(pod: str) -> int:
    """The operator's process in a pod, by the pod's name in its environment."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            environment = (entry / "environ").read_bytes()
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if f"POD_NAME={pod}".encode() in environment and b"sibyl-operator" in command:
            return int(entry.name)
    raise LookupError(f"no process of pod {pod} runs here")


def _turns(node: Node, start: int) -> list[str]:
    """Which pods wrote to what is not the Lease, in turns: a pod that comes again would come twice."""
    turns: list[str] = []
    for event in writes(node.audit_events(start), user=ACCOUNT):
        resource = event["objectRef"]["resource"]
        pod = event["user"].get("extra", {}).get("authentication.kubernetes.io/pod-name", [""])[0]
        if resource != "leases" and (not turns or turns[-1] != pod):
            turns.append(pod)
    return turns


def _writers(node: Node, start: int) -> set[str]:
    return set(_turns(node, start))
