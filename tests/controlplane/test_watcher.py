"""Kopf as a watcher against a real API server: hears what it should, in order, and leaves no trace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from e2e.cluster.cluster import Cluster, Completed
from sibyl_operator.api.group import API_VERSION, CRD_NAME, KIND
from sibyl_operator.desired.names import MANAGED_BY
from sibyl_operator.handlers import Watcher
from sibyl_operator.kube import Manifest
from sibyl_operator.kube.client import KubeClient
from sibyl_operator.kube.config import Credentials, credentials, load_configuration

CRD = Path(__file__).parents[2] / "crds" / f"{CRD_NAME}.yaml"
PATIENCE = 30.0


@dataclass
class Heard:
    """Events so far, and a way to wait for one."""

    loop: asyncio.AbstractEventLoop
    events: list[tuple[str | None, str, str]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def from_the_watcher(self, event: str | None, manifest: Manifest) -> None:
        self.loop.call_soon_threadsafe(self._keep, event, manifest["kind"], manifest["metadata"]["name"])

    def _keep(self, *event: str | None) -> None:
        self.events.append((event[0], str(event[1]), str(event[2])))
        self.changed.set()

    async def wait_for(self, event: str | None, kind: str, name: str) -> None:
        async with asyncio.timeout(PATIENCE):
            while (event, kind, name) not in self.events:
                self.changed.clear()
                await self.changed.wait()


@pytest.fixture
async def api(control_plane: Cluster, kubectl: Callable[..., Completed]) -> AsyncIterator[KubeClient]:
    kubectl("apply", "--server-side", "-f", str(CRD))
    kubectl("wait", "--for=condition=Established", f"crd/{CRD_NAME}")
    async with KubeClient(lambda: load_configuration(str(control_plane.kubeconfig))) as client:
        yield client


def workspace(namespace: str, name: str) -> Manifest:
    spec = {
        "workspace": {"name": name},
        "database": {"provider": "External", "external": {"secretRef": {"name": "db"}}},
    }
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec}


def config_map(namespace: str, name: str, value: str, labels: dict[str, str] | None = None) -> Manifest:
    metadata = {"name": name, "namespace": namespace, "labels": labels or {}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": value}}


@pytest.mark.parametrize("cluster_wide", [False, True])
async def test_it_hears_of_workspaces_and_labelled_children_and_writes_nothing(
    api: KubeClient, control_plane: Cluster, namespace: str, cluster_wide: bool
) -> None:
    before = await api.create(workspace(namespace, "first"))
    ours = {"app.kubernetes.io/managed-by": MANAGED_BY}
    await api.apply(config_map(namespace, "ours", "1", ours))
    await api.apply(config_map(namespace, "theirs", "1"))
    heard = Heard(asyncio.get_running_loop())

    async def login() -> Credentials:
        return await credentials(await load_configuration(str(control_plane.kubeconfig)))

    async def beat() -> None:
        return

    namespaces = () if cluster_wide else (namespace,)
    watcher = Watcher(on_event=heard.from_the_watcher, on_beat=beat, login=login, namespaces=namespaces)
    running = asyncio.create_task(watcher.run())
    await heard.wait_for(None, KIND, "first")
    await heard.wait_for(None, "ConfigMap", "ours")

    await api.create(workspace(namespace, "second"))
    await heard.wait_for("ADDED", KIND, "second")
    live = await api.apply(config_map(namespace, "ours", "2", ours))
    await heard.wait_for("MODIFIED", "ConfigMap", "ours")
    await api.delete("ConfigMap", namespace, "ours", uid=live["metadata"]["uid"])
    await heard.wait_for("DELETED", "ConfigMap", "ours")
    await api.delete(KIND, namespace, "first", uid=before["metadata"]["uid"])
    await heard.wait_for("DELETED", KIND, "first")

    assert "theirs" not in {name for _, _, name in heard.events}
    second = await api.get(KIND, namespace, "second")
    assert second is not None
    assert second["metadata"].get("annotations", {}) == {}
    assert "finalizers" not in second["metadata"]
    running.cancel()
    await asyncio.wait({running}, timeout=5)
    assert running.cancelled()
