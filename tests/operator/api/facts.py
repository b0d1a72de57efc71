"""Workspaces and what was observed of them, good by default, for tests to change one thing at a time."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

from sibyl_operator.api.resource import InvalidResource, WorkspaceResource, read_resource
from sibyl_operator.api.sources import Source
from sibyl_operator.desired import config_hash, desired, referenced_sources
from sibyl_operator.observed import DatabaseFacts, KpiFacts, Observed, PodFacts, SourceFacts, TargetFacts

ROOT = Path(__file__).parents[3]
CORPUS = ROOT / "tests" / "controlplane" / "crd_corpus"

MINIMAL: dict[str, Any] = {
    "apiVersion": "sibyl.dev/v1alpha1",
    "kind": "SibylWorkspace",
    "metadata": {"name": "docs", "namespace": "team", "uid": "uid-1", "generation": 3},
    "spec": {
        "workspace": {},
        "runtime": {"replicas": 2},
        "database": {"provider": "External", "external": {"secretRef": {"name": "docs-database"}}},
    },
}


def body(**spec: Any) -> dict[str, Any]:
    """A minimal resource with fields of spec replaced."""
    made = copy.deepcopy(MINIMAL)
    made["spec"].update(copy.deepcopy(spec))
    return made


def full_body(file: str = "full.yaml") -> dict[str, Any]:
    """A resource of the corpus: by default the one that has every field but those of Builtin services."""
    made: dict[str, Any] = yaml.safe_load((CORPUS / "valid" / file).read_text())
    made["metadata"] |= {"namespace": "team", "uid": "uid-2", "generation": 1}
    return made


def valid(manifest: dict[str, Any]) -> WorkspaceResource:
    """The resource, which must be valid."""
    found = read_resource(manifest)
    assert isinstance(found, WorkspaceResource), [str(problem) for problem in found.problems]
    return found


def resource(**spec: Any) -> WorkspaceResource:
    """A valid minimal resource with fields of spec replaced."""
    return valid(body(**spec))


def problems(manifest: dict[str, Any]) -> list[str]:
    """Everything that is wrong with the resource, as a reader sees it."""
    found = read_resource(manifest)
    return [str(problem) for problem in found.problems] if isinstance(found, InvalidResource) else []


def sources(of: WorkspaceResource) -> dict[Source, SourceFacts]:
    """Facts of every Secret and ConfigMap that the resource names, all there."""
    return {
        source: SourceFacts(exists=True, keys=keys, digest=f"digest-of-{source.name}")
        for source, keys in referenced_sources(of).items()
    }


def children(of: WorkspaceResource, *, available: int = 2) -> dict[tuple[str, str], dict[str, Any]]:
    """The desired children as live objects, rolled out."""
    live = {(made["kind"], made["metadata"]["name"]): made for made in desired(of, sources(of))}
    for (kind, _), child in live.items():
        if kind == "Deployment":
            child["metadata"]["generation"] = 7
            child["spec"].setdefault("replicas", 2)
            child["status"] = {"observedGeneration": 7, "availableReplicas": available, "readyReplicas": available}
        if kind == "StatefulSet":
            child["metadata"]["generation"] = 3
            counts = dict.fromkeys(("replicas", "readyReplicas", "updatedReplicas"), child["spec"]["replicas"])
            child["status"] = {"observedGeneration": 3, **counts}
    return live


def pod(name: str, loaded: str | None, **facts: Any) -> PodFacts:
    """A ready pod that serves the configuration `loaded`."""
    good: dict[str, Any] = {"ip": "10.0.0.1", "ready": True, "terminating": False}
    return PodFacts(name=name, loaded_hash=loaded, **good | facts)


DATABASE = DatabaseFacts(
    reachable=True,
    server_version="17.2",
    vector_version="0.8.5",
    max_connections=100,
    reserved_connections=3,
)
KPIS = KpiFacts(
    p50=0.1234,
    p95=0.4149,
    p99=1.26,
    requests_per_second=12.84,
    error_ratio=0.004,
    cache_hit_ratio=0.637,
    pods_scraped=2,
    pods_expected=2,
    window_seconds=300.0,
    targets=(
        TargetFacts("p95_latency", 3.0, 0.4149, True),
        TargetFacts("availability", 0.999, 0.9962, False, is_share=True),
        TargetFacts("cost_per_query", 0.05, None, None),
    ),
)


def observed(of: WorkspaceResource | None = None, **facts: Any) -> Observed:
    """A workspace of which all is well, with facts replaced."""
    of = of or resource()
    hashed = config_hash(of)
    good: dict[str, Any] = {
        "resource": of,
        "sources": sources(of),
        "children": children(of),
        "conflicts": (),
        "apply_errors": (),
        "database": DATABASE,
        "pods": (pod("docs-a", hashed), pod("docs-b", hashed)),
        "kpis": KPIS,
        "config_hash": hashed,
    }
    return Observed(**good | facts)
