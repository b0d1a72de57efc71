"""`python -m e2e.node.provisioner KUBECONFIG DIRECTORY`: make and remove the volumes that claims ask for.

The node runs it as a process of its own. It does the part of a storage driver that a single node needs.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from e2e.cluster.errors import ClusterError
from e2e.cluster.kube_rest import ApiError, KubeRest
from e2e.node import volumes
from e2e.node.objects import DEFAULT_CLASS, LIMITED_CLASS, PROVISIONER, persistent_volume

_PERIOD_SECONDS = 0.3
_VOLUMES = "/api/v1/persistentvolumes"


def volume_name(claim: dict[str, Any]) -> str:
    """The name of the volume for a claim: the same claim never gets two."""
    return f"pvc-{claim['metadata']['uid']}"


def wants_volume(claim: dict[str, Any]) -> bool:
    """Whether a claim waits for a volume of ours."""
    spec = claim["spec"]
    waiting = claim.get("status", {}).get("phase") == "Pending" and not spec.get("volumeName")
    return (
        waiting
        and spec.get("storageClassName") in (DEFAULT_CLASS, LIMITED_CLASS)
        and "deletionTimestamp" not in claim["metadata"]
    )


def is_done_with(volume: dict[str, Any]) -> bool:
    """Whether a volume of ours is to go: its claim is gone, and nobody said that it be retained."""
    annotations = volume["metadata"].get("annotations") or {}
    return (
        annotations.get("pv.kubernetes.io/provisioned-by") == PROVISIONER
        and volume.get("status", {}).get("phase") == "Released"
        and volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete"
    )


def reconcile(api: KubeRest, directory: Path) -> None:
    """One round over all claims and all volumes."""
    for claim in api.get("/api/v1/persistentvolumeclaims")["items"]:
        if wants_volume(claim):
            try:
                _provision(api, claim, directory)
            except ClusterError as error:  # one claim that cannot be met must not keep the others waiting
                print(f"error: {claim['metadata']['namespace']}/{claim['metadata']['name']}: {error}", flush=True)
    for volume in api.get(_VOLUMES)["items"]:
        if is_done_with(volume):
            name = volume["metadata"]["name"]
            volumes.remove(directory / name)
            api.delete(f"{_VOLUMES}/{name}")
            print(f"removed {name}", flush=True)


def _provision(api: KubeRest, claim: dict[str, Any], directory: Path) -> None:
    name = volume_name(claim)
    path = directory / name
    if claim["spec"]["storageClassName"] == LIMITED_CLASS:
        volumes.make_limited(path, volumes.size_in_bytes(claim["spec"]["resources"]["requests"]["storage"]))
    else:
        volumes.make_directory(path)
    try:
        api.post(_VOLUMES, persistent_volume(claim, name, str(path)))
    except ApiError as error:
        if error.code != 409:  # made in an earlier round, and not bound yet
            raise
        return
    print(f"made {name} for {claim['metadata']['namespace']}/{claim['metadata']['name']}", flush=True)


def main(arguments: list[str]) -> None:
    """Run until ended."""
    kubeconfig, directory = map(Path, arguments)
    with KubeRest.from_kubeconfig(kubeconfig, user_agent="provisioner") as api:
        while True:
            try:
                reconcile(api, directory)
            except ClusterError as error:  # the next round tries again; the log says what it was
                print(f"error: {error}", flush=True)
            time.sleep(_PERIOD_SECONDS)


if __name__ == "__main__":
    main(sys.argv[1:])
