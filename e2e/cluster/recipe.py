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
    """A Go program. `seconds` is what it takes on 2 cores with cold caches, after those before it.

    With a `version` its main package is fetched by itself, as `go install PACKAGE@VERSION` does; without one it is
    built in the module of its group.
    """

    name: str
    package: str
    seconds: int
    version: str = ""
    linker_flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Group:
    """Programs that are built and kept together. `title` is what a person is told, `module` where they are built."""

    title: str
    programs: tuple[Program, ...]
    module: Path = MODULE

    @property
    def names(self) -> tuple[str, ...]:
        """The programs' file names."""
        return tuple(program.name for program in self.programs)


PROGRAMS = (
    Program("etcd", "go.etcd.io/etcd/server/v3", 45),
    Program("kubectl", "k8s.io/kubernetes/cmd/kubectl", 100),
    Program("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver", 145),
    Program("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager", 55),
    Program("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler", 15),
)
CONTROL_PLANE = Group("the control plane's programs", PROGRAMS)
NAMES = CONTROL_PLANE.names
# Of these a directory of $KUBEBUILDER_ASSETS must have every one; the scheduler is only needed by those who ask for it.
REQUIRED = ("etcd", "kubectl", "kube-apiserver", "kube-controller-manager")
# Apart from the control plane, because the plain tests have no use for them.
NODE = Group(
    "the node's programs",
    (
        Program("kubelet", "k8s.io/kubernetes/cmd/kubelet", 60),
        Program("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy", 20),
    ),
)
_HELM_VERSION = "v4.2.4"
_TOOLS = (
    Program(
        "helm",
        "helm.sh/helm/v4/cmd/helm",
        92,
        _HELM_VERSION,
        (f"-X helm.sh/helm/v4/internal/version.version={_HELM_VERSION}",),
    ),
    Program("kubeconform", "github.com/yannh/kubeconform/cmd/kubeconform", 10, "v0.7.0"),
    Program("metrics-server", "sigs.k8s.io/metrics-server/cmd/metrics-server", 134, "v0.9.0"),
    Program("coredns", "github.com/coredns/coredns", 159, "v1.14.7"),
    Program("k6", "go.k6.io/k6", 62, "v1.8.1"),
)
# Each in a group of its own: whoever wants kubeconform does not wait for k6.
TOOLS = {tool.name: Group(f"the program {tool.name}", (tool,)) for tool in _TOOLS}


def _stamps() -> list[str]:
    """Linker flags that give the programs their version: without them they report v0.0.0-master."""
    major, minor, _patch = KUBERNETES_VERSION.removeprefix("v").split(".")
    values = {"gitVersion": KUBERNETES_VERSION, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return [f"-X {package}.{key}={value}" for package in packages for key, value in values.items()]


_REDUCED = ("-s", "-w")
BUILD_FLAGS = (
    "-mod=readonly",
    "-trimpath",
    "-buildvcs=false",
    "-tags=grpcnotrace,notest",
    "-ldflags=" + " ".join([*_REDUCED, *_stamps()]),
)


def build_arguments(program: Program, directory: Path) -> list[str]:
    """Arguments of `go` that put this program into `directory`; GOBIN must name the same directory."""
    if not program.version:
        return ["build", *BUILD_FLAGS, "-o", str(directory / program.name), program.package]
    linker_flags = " ".join([*_REDUCED, *program.linker_flags])
    return ["install", "-trimpath", f"-ldflags={linker_flags}", f"{program.package}@{program.version}"]


# GOFLAGS is emptied so that a developer's own settings cannot change what the cache key stands for.
BUILD_ENVIRONMENT = {"GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"}


def cache_key(go: str, group: Group = CONTROL_PLANE) -> str:
    """A key that changes with anything that changes the programs: versions, sums, flags, Go, the machine's kind."""
    recipe = {
        "programs": [asdict(program) | {"seconds": None} for program in group.programs],
        "arguments": [build_arguments(program, Path()) for program in group.programs],
        "environment": BUILD_ENVIRONMENT,
        "go": go,
        "machine": [platform.system(), platform.machine()],
    }
    digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode())
    for source in _sources(group):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _sources(group: Group) -> list[Path]:
    """The files that decide what is built; none where the programs name their own version."""
    if all(program.version for program in group.programs):
        return []
    return [group.module / "go.mod", *sorted([*group.module.glob("go.sum"), *group.module.glob("*.go")])]
