"""Scenario 9: an upgrade of the operator restarts nobody's pods; an uninstall leaves the data and the CRD."""

from __future__ import annotations

import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

import yaml

from e2e.node.node import Node
from e2e.programs import ROOT
from e2e.scenarios.release import CHART, Release
from e2e.scenarios.team import Team, sample, wait_for
from e2e.scenarios.timing import Timings

COMPONENTS = ("runtime", "database")


def test_an_upgrade_restarts_no_pod_and_an_uninstall_leaves_data_and_crd(
    team: Team, node: Node, release: Release, timings: Timings
) -> None:
    previous, revision = previous_chart(node.work)
    release.uninstall()
    release.chart = previous
    try:
        # The image is of today, so it gets the rights of today beside those of the old chart.
        node.kubectl("apply", "-f", "-", input=_rights_beside(release))
        release.install()
        # A fixed number of pods: the autoscaler replaces none, as it else may while the machine is busy.
        team.apply(sample("quickstart", runtime={"replicas": 2, "resources": {"requests": {"cpu": "200m"}}}))
        team.wait_ready("quickstart")
        team.ingest("quickstart")
        before = _pods(team)
        operators = release.pods()
        # A value that moves the operator's own pods, also where only words of the chart have changed.
        release.values = {"podAnnotations": {"example.com/upgraded": "yes"}}
        release.upgrade(CHART)
        node.kubectl("delete", "clusterrole,clusterrolebinding", "rights-of-the-present-chart")
        assert not release.pods() & operators
        team.patch("quickstart", {"suspend": False})
        wait_for(lambda: release.leader(), "a leader of the new version")
        team.wait_ready("quickstart")
        assert not before - _pods(team), "pods were replaced although their workspace did not change"
        timings.say("9  pods replaced by an upgrade", f"0 of {len(before)} ({revision})")
        release.uninstall()
        assert node.kubectl("get", "crd", "sibylworkspaces.sibyl.dev", "-o", "name").stdout
        assert team.get("swk", "quickstart")
        assert not before - _pods(team)
        assert team.ask("quickstart", "What is a workspace?")["output"]["sources"]
    finally:
        release.chart, release.values = CHART, {}
        node.kubectl("delete", "clusterrole,clusterrolebinding", "rights-of-the-present-chart", "--ignore-not-found")
        release.uninstall()
        release.install()
    team.wait_ready("quickstart")
    assert not before - _pods(team)


def _rights_beside(release: Release) -> str:
    """The ClusterRole of the present chart, and its binding, under names that no release has."""
    rendered = release.helm("template", "sibyl", str(CHART), "--show-only", "templates/rbac.yaml")
    found = [one for one in yaml.safe_load_all(rendered) if one and one["kind"].startswith("ClusterRole")]
    for one in found:
        one["metadata"] = {"name": "rights-of-the-present-chart"}
        if "roleRef" in one:
            one["roleRef"]["name"] = "rights-of-the-present-chart"
    assert {one["kind"] for one in found} == {"ClusterRole", "ClusterRoleBinding"}
    return yaml.safe_dump_all(found)


def _pods(team: Team) -> set[tuple[str, str]]:
    """Names and uids: a database pod that was replaced keeps its name. The autoscaler may have added some."""
    found = [pod for component in COMPONENTS for pod in team.pods("quickstart", component)]
    return {(pod["metadata"]["name"], pod["metadata"]["uid"]) for pod in found}


def previous_chart(directory: Path) -> tuple[Path, str]:
    """The chart as it was before it last changed; the present one where git has no history, as in a shallow clone."""
    path = CHART.relative_to(ROOT)
    for commit in _git("log", "--format=%h", "-20", "--", str(path)).decode().split():
        archive = _git("archive", "--format=tar", commit, str(path))
        with tarfile.open(fileobj=BytesIO(archive)) as tar:
            tar.extractall(directory / commit, filter="data")
        if _contents(directory / commit / path) != _contents(CHART):
            return directory / commit / path, f"the chart of {commit}"
    return CHART, "the present chart: this clone has no history"


def _contents(chart: Path) -> dict[str, bytes]:
    return {str(file.relative_to(chart)): file.read_bytes() for file in chart.rglob("*") if file.is_file()}


def _git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=True).stdout
