"""What is built, and how: everything here is part of the cache key, so a change here builds anew."""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import asdict, dataclass
from pathlib import Path

MODULE = Path(__file__).parent
KUBERNETES_VERSION = "v1.36.4"


@dataclass(frozen=True)
class Program:
    """A Go program. `seconds` is what it takes on 2 cores with cold caches, after those before it."""

    name: str
    package: str
    seconds: int


PROGRAMS = (
    Program("etcd", "go.etcd.io/etcd/server/v3", 45),
    Program("kubectl", "k8s.io/kubernetes/cmd/kubectl", 100),
    Program("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver", 145),
    Program("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager", 55),
    Program("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler", 15),
)
NAMES = tuple(program.name for program in PROGRAMS)
# Of these a directory of $KUBEBUILDER_ASSETS must have every one; the scheduler is only needed by those who ask for it.
REQUIRED = ("etcd", "kubectl", "kube-apiserver", "kube-controller-manager")


def _stamps() -> list[str]:
    """Linker flags that give the programs their version: without them they report v0.0.0-master."""
    major, minor, _patch = KUBERNETES_VERSION.removeprefix("v").split(".")
    values = {"gitVersion": KUBERNETES_VERSION, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return [f"-X {package}.{key}={value}" for package in packages for key, value in values.items()]


BUILD_FLAGS = (
    "-mod=readonly",
    "-trimpath",
    "-buildvcs=false",
    "-tags=grpcnotrace,notest",
    "-ldflags=" + " ".join(["-s", "-w", *_stamps()]),
)
# GOFLAGS is emptied so that a developer's own settings cannot change what the cache key stands for.
BUILD_ENVIRONMENT = {"GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"}


def cache_key(go: str, module: Path = MODULE) -> str:
    """A key that changes with anything that changes the programs: versions, sums, flags, Go, the machine's kind."""
    recipe = {
        "programs": [asdict(program) | {"seconds": None} for program in PROGRAMS],
        "flags": BUILD_FLAGS,
        "environment": BUILD_ENVIRONMENT,
        "go": go,
        "machine": [platform.system(), platform.machine()],
    }
    digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode())
    for name in ("go.mod", "go.sum"):
        digest.update((module / name).read_bytes())
    return digest.hexdigest()[:16]
