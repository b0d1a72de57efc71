"""The servers of a Builtin database as they are in the cluster: what checks of primary and read replicas share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sibyl_operator.api.checks.pods import Advice
from sibyl_operator.api.labels import LONGEST_STATEFUL_SET, child_name
from sibyl_operator.observed import Observed

PRIMARY: Final = "database"
REPLICA: Final = "database-replica"
SUFFIXES: Final[Mapping[str, str]] = {PRIMARY: "db", REPLICA: "db-replica"}
ADVICE: Final = Advice(
    image="spec.database.image",
    reserved="spec.database.resources.requests",
    memory="spec.database.resources.limits.memory",
    reasons={"CrashLoopBackOff": "see why: kubectl -n {namespace} logs {pod} --all-containers --previous"},
)


def components(observed: Observed) -> tuple[str, ...]:
    """The kinds of servers that there should be."""
    return (PRIMARY, REPLICA) if observed.resource.spec.database.read_replicas else (PRIMARY,)


def enlarge_claim(observed: Observed, pod: str) -> str:
    """How to give a server a larger volume."""
    size = '{"spec": {"resources": {"requests": {"storage": "SIZE"}}}}'
    return (
        f"where its StorageClass allows it, enlarge the claim: kubectl -n {observed.resource.namespace} patch pvc "
        f"data-{pod} --type merge --patch '{size}'"
    )


def server_name(observed: Observed, component: str) -> str:
    """The name of a component's StatefulSet, which its pods' names begin with."""
    return child_name(observed.resource.name, SUFFIXES[component], longest=LONGEST_STATEFUL_SET)


def stateful_set(observed: Observed, component: str) -> Mapping[str, Any] | None:
    """A component's StatefulSet, as it is in the cluster."""
    return observed.children.get(("StatefulSet", server_name(observed, component)))


def pods_wanted(observed: Observed, component: str) -> int:
    """How many pods the StatefulSet should have."""
    wanted: int = (stateful_set(observed, component) or {}).get("spec", {}).get("replicas", 1)
    return wanted
