"""The operator asks for exactly the rights that it uses: every call of a long life, compared with the rules."""

from __future__ import annotations

import asyncio

from sibyl_operator.kube import kind_of
from sibyl_operator.process.lease import LeaderElection, LeaseSpec
from sibyl_operator.rbac import WORKSPACE_GRANTS, lease_grants
from sibyl_operator.reconcile.children import CHILD_KINDS
from tests.fakes.cluster import Call
from tests.fakes.world import NAMESPACE, RUNTIME, FixedClock, World

# Used by the watcher, which does not go through the client; and by the API server's own admission.
ELSEWHERE = {
    *(("watch", kind_of(kind).group, kind_of(kind).plural) for kind in (*CHILD_KINDS, "SibylWorkspace")),
    ("list", "sibyl.dev", "sibylworkspaces"),
    ("update", "sibyl.dev", "sibylworkspaces/finalizers"),
}


async def life() -> tuple[Call, ...]:
    world = World.with_workspace({"cache": {"provider": "Builtin"}, "database": {"provider": "Builtin"}})
    await world.converge()
    for spec in ({"replicas": 2}, {"replicas": 1}, None):
        world.change_spec(runtime=spec)
        await world.converge()
    # Everything of one kind at once is no longer desired only when more kinds are optional; a stray of each will do.
    for kind in CHILD_KINDS:
        child = world.child(kind, {"ConfigMap": "demo-config", "StatefulSet": "demo-db"}.get(kind, RUNTIME))
        metadata = {k: child["metadata"][k] for k in ("labels", "ownerReferences", "namespace")}
        world.cluster.put({**child, "metadata": {**metadata, "name": "stray"}})
    world.restart()
    await world.converge()
    election = LeaderElection(world.cluster, LeaseSpec(NAMESPACE, "lease", "me"), FixedClock())
    await election.acquire()
    await election.acquire()
    return tuple(world.cluster.calls)


def used(calls: tuple[Call, ...]) -> set[tuple[str, str, str]]:
    found = set()
    for call in calls:
        kind = kind_of(call.kind)
        resource = f"{kind.plural}/{call.subresource}" if call.subresource else kind.plural
        found.add((call.verb, kind.group, resource))
        if call.verb == "patch" and call.kind in CHILD_KINDS:
            # Server-side apply of an object that does not exist needs the right to create it.
            found.add(("create", kind.group, resource))
    return found


def test_rights_and_use_are_the_same() -> None:
    granted = {
        (verb, grant.group, grant.resource)
        for grant in (*WORKSPACE_GRANTS, *lease_grants("lease"))
        for verb in grant.verbs
    }
    assert used(asyncio.run(life())) | ELSEWHERE == granted
