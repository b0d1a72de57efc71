"""One real control plane for the whole session, a fresh namespace for every test."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from e2e.cluster.binaries import ensure_binaries, ensure_tool
from e2e.cluster.cluster import Cluster, Completed
from e2e.cluster.control_plane import ControlPlane, cluster_from_environment
from e2e.cluster.process_node import ProcessNode

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this directory needs the control plane."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.controlplane)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build the programs before the first test: a cold build takes minutes, more than a test's time limit allows."""
    wanted = any("control_plane" in getattr(item, "fixturenames", ()) for item in session.items)
    if not wanted or session.config.option.collectonly:
        return
    chart = any(item.path.name == "test_chart.py" and item.path.is_relative_to(HERE) for item in session.items)
    capture = session.config.pluginmanager.getplugin("capturemanager")
    with nullcontext() if capture is None else capture.global_and_fixture_disabled():
        ensure_binaries()
        if chart:
            ensure_tool("helm")


@pytest.fixture(scope="session")
def control_plane() -> Iterator[Cluster]:
    """The cluster of this session: a control plane of our own, or $KUBECONFIG with USE_EXISTING_CLUSTER=1."""
    with cluster_from_environment() as cluster:
        yield cluster


@pytest.fixture
def own_control_plane(control_plane: Cluster) -> ControlPlane:
    """The control plane where it must be our own: its audit log can be read, and no scheduler takes our pods."""
    if not isinstance(control_plane, ControlPlane):
        pytest.skip("NOT RUN: needs a control plane of our own, and USE_EXISTING_CLUSTER is set")
    return control_plane


@pytest.fixture
def kubectl(control_plane: Cluster) -> Callable[..., Completed]:
    """Run kubectl with all rights: `kubectl("get", "pods")`."""
    return control_plane.kubectl


@pytest.fixture
def namespace(control_plane: Cluster) -> Iterator[str]:
    """A namespace in which pods can be created; deleted afterwards, without waiting for it."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    control_plane.kubectl("create", "namespace", name)
    try:
        control_plane.wait("serviceaccount/default", for_="create", namespace=name)
        yield name
    finally:
        control_plane.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def process_node(own_control_plane: ControlPlane, namespace: str) -> Iterator[ProcessNode]:
    """A node that runs the pods of the test's namespace as processes; `python` is this interpreter."""
    programs = {"python": Path(sys.executable)}
    with ProcessNode(
        own_control_plane.kubeconfig, programs=programs, namespaces=[namespace], name=f"node-{namespace}"
    ) as node:
        yield node
