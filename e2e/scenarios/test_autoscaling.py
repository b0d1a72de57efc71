"""Scenario 4: load adds pods, by the real autoscaler and real metrics; they serve at once, and go with the load."""

from __future__ import annotations

from datetime import datetime

from e2e.scenarios.load import clients
from e2e.scenarios.team import Object, Team, sample, wait_for
from e2e.scenarios.timing import Timings

RUNTIME = {
    "autoscaling": {
        "minReplicas": 1,
        "maxReplicas": 3,
        "targetCPUUtilization": 60,
        "behavior": {
            "scaleUp": {"stabilizationWindowSeconds": 0},
            "scaleDown": {
                "stabilizationWindowSeconds": 15,
                "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
            },
        },
    },
    "resources": {"requests": {"cpu": "150m", "memory": "384Mi"}, "limits": {"memory": "640Mi"}},
}
SERVES_WITHIN = 5.0


def test_load_adds_pods_that_serve_within_five_seconds_and_go_again(team: Team, timings: Timings) -> None:
    team.apply(sample("quickstart", runtime=RUNTIME))
    team.wait_ready("quickstart")
    team.ingest("quickstart")
    url = f"{team.address('quickstart')}/mcp/tools/search_documents"
    # Three times what one pod may use, and not all of the machine: the new pods need processors to start on.
    with clients(url, number=4, pause=0.05) as answers:
        up = wait_for(lambda: len(ready_pods(team)) >= 3, "the third pod to serve", timeout=180)
        slowest = max(seconds_to_ready(pod) for pod in ready_pods(team)[1:])
        scaled = team.get("swk", "quickstart")["status"]["replicas"]
    timings.seconds("4  load to three serving pods", up)
    timings.seconds("4  slowest new pod, created to serving", slowest)
    assert answers.failed == 0, answers
    assert scaled["desired"] == 3, scaled
    down = wait_for(lambda: len(team.pods("quickstart")) == 1, "the pods to go again", timeout=180)
    timings.seconds("4  end of the load to one pod", down)
    assert slowest <= SERVES_WITHIN


def ready_pods(team: Team) -> list[Object]:
    """Oldest first."""
    found = [pod for pod in team.pods("quickstart") if _since(pod, "Ready")]
    return sorted(found, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))


def seconds_to_ready(pod: Object) -> float:
    """From creation to Ready; Kubernetes writes whole seconds, so it is right to one of them."""
    created, ready = pod["metadata"]["creationTimestamp"], _since(pod, "Ready")
    assert ready is not None
    return (datetime.fromisoformat(ready) - datetime.fromisoformat(created)).total_seconds()


def _since(pod: Object, kind: str) -> str | None:
    conditions = pod.get("status", {}).get("conditions", [])
    return next((c["lastTransitionTime"] for c in conditions if c["type"] == kind and c["status"] == "True"), None)
