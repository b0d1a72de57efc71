"""One real node for the session, the operator installed by Helm as the README says, a namespace for every scenario."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from e2e.images.build import Built, ensure_images
from e2e.node.node import Node, running_node
from e2e.scenarios.beside import missing
from e2e.scenarios.release import Release
from e2e.scenarios.team import Team
from e2e.scenarios.timing import Timings

_TIMINGS = Timings()


@pytest.fixture(scope="session")
def timings() -> Timings:
    """Where scenarios say what they measured."""
    return _TIMINGS


def pytest_sessionstart() -> None:
    """What the scenarios need from beside the repository is asked for first, not met half-way."""
    for path in missing():
        pytest.exit(f"{path} is missing, which the scenarios read", returncode=2)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Every figure, after the last scenario."""
    if _TIMINGS.lines:
        terminalreporter.section("measured on the real node")
        for line in _TIMINGS.lines:
            terminalreporter.write_line(f"  {line}")


@pytest.fixture(scope="session")
def images() -> list[Built]:
    """The images of the repository, built from its own Dockerfiles."""
    return ensure_images()


@pytest.fixture(scope="session")
def node(images: list[Built]) -> Iterator[Node]:
    """The node, with the images on it."""
    with running_node() as running:
        for image in images:
            running.load_image(image.archive)
        yield running


@pytest.fixture(scope="session")
def release(node: Node) -> Iterator[Release]:
    """`helm install`, in sibyl-system."""
    installed = Release(node)
    installed.install()
    yield installed
    installed.uninstall()


@pytest.fixture
def team(node: Node, release: Release) -> Iterator[Team]:
    """A team, in a namespace that enforces Pod Security `restricted`."""
    namespace = f"team-{uuid.uuid4().hex[:6]}"
    node.kubectl("create", "namespace", namespace)
    node.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    try:
        yield Team(node, namespace)
    finally:
        node.kubectl("delete", "namespace", namespace, "--wait=false")
