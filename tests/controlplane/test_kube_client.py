"""The client, the comparison and the Lease against a real API server: what the fake only imitates is true here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from e2e.cluster.cluster import Cluster, Completed
from sibyl_operator.api.group import API_VERSION, CRD_NAME, KIND
from sibyl_operator.api.resource import WorkspaceResource, read_resource
from sibyl_operator.api.sources import Source
from sibyl_operator.desired import desired
from sibyl_operator.kube import (
    AlreadyExists,
    Forbidden,
    Invalid,
    Manifest,
    NotFound,
    Unauthorized,
    Unavailable,
)
from sibyl_operator.kube.client import KubeClient
from sibyl_operator.kube.config import load_configuration
from sibyl_operator.observed import SourceFacts
from sibyl_operator.process.lease import LeaderElection, LeadershipLost, LeaseSpec
from sibyl_operator.reconcile.children import stamped
from sibyl_operator.reconcile.clock import SystemClock
from sibyl_operator.reconcile.difference import difference
from tests.fakes.contract import SCENARIOS, Scenario, config_map

CRD = Path(__file__).parents[2] / "crds" / f"{CRD_NAME}.yaml"
SOURCES = {Source("Secret", "db"): SourceFacts(True, frozenset({"dsn"}), "digest")}


@pytest.fixture
def crd(kubectl: Callable[..., Completed]) -> None:
    """The kind SibylWorkspace, served."""
    kubectl("apply", "--server-side", "-f", str(CRD))
    kubectl("wait", "--for=condition=Established", f"crd/{CRD_NAME}")


@pytest.fixture
async def api(control_plane: Cluster) -> AsyncIterator[KubeClient]:
    """A client with all rights."""
    async with KubeClient(lambda: load_configuration(str(control_plane.kubeconfig))) as client:
        yield client


def workspace(namespace: str, **runtime: Any) -> Manifest:
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": "demo", "namespace": namespace},
        "spec": {
            "workspace": {"name": "demo"},
            "runtime": runtime,
            "database": {"provider": "External", "external": {"secretRef": {"name": "db"}}},
        },
    }


def children_of(body: Manifest) -> tuple[Manifest, ...]:
    resource = read_resource(body)
    assert isinstance(resource, WorkspaceResource)
    return tuple(stamped(manifest) for manifest in desired(resource, SOURCES))


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
@pytest.mark.usefixtures("crd")
async def test_the_api_server_keeps_the_contract_that_the_fake_keeps(
    api: KubeClient, namespace: str, scenario: Scenario
) -> None:
    await scenario(api, namespace)


async def test_long_lists_are_read_page_by_page(
    api: KubeClient, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sibyl_operator.kube.client.PAGE", 2)
    for number in range(5):
        await api.apply(config_map(namespace, f"page-{number}"))
    names = {item["metadata"]["name"] for item in await api.list("ConfigMap", namespace)}
    assert {f"page-{number}" for number in range(5)} <= names


async def test_what_the_server_refuses_is_told_apart(api: KubeClient, namespace: str, control_plane: Cluster) -> None:
    unknown = {**config_map(namespace), "colour": "blue"}
    with pytest.raises(Invalid, match="colour"):
        await api.apply(unknown)
    service: Manifest = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "bad", "namespace": namespace},
        "spec": {"ports": [{"port": 70000}]},
    }
    with pytest.raises(Invalid) as invalid:
        await api.apply(service)
    assert invalid.value.causes[0][0] == "spec.ports[0].port"
    with pytest.raises(NotFound):
        await api.apply(config_map("no-such-namespace"))
    with pytest.raises(NotFound):
        await api.patch_status(KIND, namespace, "absent", {})

    async def stranger() -> Any:
        configuration = await load_configuration(str(control_plane.kubeconfig))
        configuration.cert_file, configuration.api_key = None, {"BearerToken": "bearer nonsense"}
        return configuration

    async def anonymous() -> Any:
        configuration = await load_configuration(str(control_plane.kubeconfig))
        configuration.cert_file = None
        return configuration

    async def nowhere() -> Any:
        configuration = await load_configuration(str(control_plane.kubeconfig))
        configuration.host = "https://127.0.0.1:1"
        return configuration

    for configure, error in ((stranger, Unauthorized), (anonymous, Forbidden), (nowhere, Unavailable)):
        async with KubeClient(configure) as client:
            with pytest.raises(error):
                await client.get("ConfigMap", namespace, "one")


@pytest.mark.usefixtures("crd")
async def test_status_is_written_apart_and_events_are_posted(
    api: KubeClient, namespace: str, kubectl: Callable[..., Completed]
) -> None:
    body = await api.create(workspace(namespace))
    with pytest.raises(AlreadyExists):
        await api.create(workspace(namespace))
    written = await api.patch_status(KIND, namespace, "demo", {"observedGeneration": 1, "effectiveConfigHash": "v1-x"})
    assert written["metadata"]["generation"] == body["metadata"]["generation"]
    written = await api.patch_status(KIND, namespace, "demo", {"observedGeneration": 1})
    assert written["status"] == {"observedGeneration": 1}
    await api.create_event(body, type="Warning", reason="DatabaseUnreachable", message="no answer " + "ä" * 1200)
    told = kubectl("-n", namespace, "describe", "swk", "demo").stdout
    assert "DatabaseUnreachable" in told


@pytest.mark.usefixtures("crd")
@pytest.mark.parametrize("runtime", [{}, {"replicas": 2}])
async def test_what_was_applied_is_found_to_be_as_desired(
    api: KubeClient, namespace: str, runtime: dict[str, Any]
) -> None:
    """The comparison sees through every default and every rewriting of the API server, so no write follows."""
    runtime = {**runtime, "resources": {"requests": {"cpu": "1000m", "memory": "0.5Gi"}, "limits": {"memory": "1Gi"}}}
    body = await api.create(workspace(namespace, **runtime))
    for manifest in children_of(body):
        live = await api.apply(manifest, force=False)
        assert difference(manifest, live) is None, manifest["kind"]
        read = await api.get(manifest["kind"], namespace, manifest["metadata"]["name"])
        assert read is not None
        assert difference(manifest, read) is None, manifest["kind"]


async def test_the_lease_has_one_holder_and_changes_hands_when_released(api: KubeClient, namespace: str) -> None:
    def candidate(name: str) -> LeaderElection:
        spec = LeaseSpec(namespace, "lease", name, duration=1.0, renew_deadline=0.8, retry_period=0.1)
        return LeaderElection(api, spec, SystemClock())

    async def lease() -> Manifest:
        found = await api.get("Lease", namespace, "lease")
        assert found is not None
        return found

    first, second = candidate("first"), candidate("second")
    await first.acquire()
    holding = asyncio.create_task(first.hold())
    waiting = asyncio.create_task(second.acquire())
    renewals = {(await lease())["spec"]["renewTime"]}
    while len(renewals) < 15:  # renewed for longer than it lasts: only that keeps the second away
        renewals.add((await lease())["spec"]["renewTime"])
    assert not holding.done()
    assert not waiting.done()
    holding.cancel()
    await asyncio.wait([holding])
    await first.release()
    await asyncio.wait_for(waiting, 5.0)
    held = (await lease())["spec"]
    assert (held["holderIdentity"], held["leaseTransitions"]) == ("second", 1)
    with pytest.raises(LeadershipLost, match="second"):
        await first.hold()
