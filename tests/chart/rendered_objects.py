"""How the tests of the chart look at what it renders."""

from __future__ import annotations

from typing import Any

from e2e.chart import render

Manifest = dict[str, Any]
Found = dict[tuple[str, str | None, str], Manifest]


def objects(values: dict[str, Any] | None = None, **options: Any) -> Found:
    """The rendered objects by kind, namespace and name; each stands there once."""
    made = render(values, **options)
    found = {(each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]): each for each in made}
    assert len(found) == len(made)
    return found


def kinds(found: Found) -> set[str]:
    return {kind for kind, _, _ in found}


def deployment(found: Found) -> Manifest:
    return next(manifest for (kind, _, _), manifest in found.items() if kind == "Deployment")


def pod(found: Found) -> Manifest:
    spec: Manifest = deployment(found)["spec"]["template"]["spec"]
    return spec


def container(found: Found) -> Manifest:
    made: Manifest = pod(found)["containers"][0]
    return made


def environment(found: Found, namespace: str = "sibyl-system") -> dict[str, str]:
    """The environment as the pod will have it."""
    of_the_pod = {"metadata.name": "sibyl-operator-1", "metadata.namespace": namespace}
    return {
        entry["name"]: entry.get("value") or of_the_pod[entry["valueFrom"]["fieldRef"]["fieldPath"]]
        for entry in container(found)["env"]
    }
