"""What a machine must have for the e2e tier, what of it is missing, and how to get it.

`python -m e2e.node.requirements` installs it where it may, and exits with 1 where something stays missing.
`missing_requirements` judges facts and does nothing; `ensure_requirements` looks, installs Debian packages where it
may, and looks again.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from e2e.cluster.errors import ClusterError
from e2e.node import machine
from e2e.node.configs import CNI_PROGRAMS
from e2e.node.layout import NodeLayout

_MOUNTED = Path("/proc/self/mounts")
_SYSTEM_PROGRAMS = ("/usr/local/sbin", "/usr/sbin", "/sbin")


@dataclass(frozen=True)
class Package:
    """A Debian package, and the programs that are wanted of it (names on PATH, or absolute paths)."""

    name: str
    programs: tuple[str, ...]


NODE_PACKAGES = (
    Package("containerd", ("containerd", "containerd-shim-runc-v2", "ctr")),
    Package("runc", ("runc",)),
    Package(
        "containernetworking-plugins", tuple(f"{CNI_PROGRAMS}/{name}" for name in ("bridge", "host-local", "portmap"))
    ),
    Package("iptables", ("iptables-save", "iptables-restore", "ip6tables-save", "ip6tables-restore")),
    Package("conntrack", ("conntrack",)),
    Package("iproute2", ("ip",)),
    Package("mount", ("mount", "umount")),
)
E2E_PACKAGES = (
    *NODE_PACKAGES,
    Package("buildah", ("buildah",)),
    Package("debootstrap", ("debootstrap",)),
    Package("chromium", ("chromium",)),
    Package("chromium-driver", ("chromedriver",)),
)


class RequirementsError(ClusterError):
    """This machine cannot run the node; the message says what is missing and what to do."""


@dataclass(frozen=True)
class Facts:
    """What was found. `absent` are packages that lack a program; `foreign` are signs of another Kubernetes node."""

    system: str
    root: bool
    cgroups: bool
    settings_writable: bool
    overlay: bool
    absent: tuple[Package, ...]
    foreign: tuple[str, ...]
    debian: bool


def missing_requirements(facts: Facts) -> list[str]:
    """One line for each thing that is missing, with what to do about it; empty where the node can run."""
    if facts.system != "Linux":
        return [f"the system is {facts.system}; a kubelet needs Linux: use a virtual machine with Debian 12"]
    found = []
    if not facts.root:
        found.append(
            "not root; containers, mounts and iptables need it: run this as root, on a machine that may change"
        )
    if not facts.cgroups:
        found.append("no cgroups below /sys/fs/cgroup; mount them, or leave the container that hides them")
    if not facts.settings_writable:
        found.append("/proc/sys cannot be written; leave the unprivileged container, or run it with --privileged")
    if not facts.overlay:
        found.append("the kernel has no overlay filesystem; load it with `modprobe overlay`")
    if facts.absent:
        names = " ".join(package.name for package in facts.absent)
        how = f"apt-get install {names}" if facts.debian else f"install what Debian calls {names}"
        programs = ", ".join(program for package in facts.absent for program in package.programs)
        found.append(f"programs are missing, some of {programs}: {how}")
    if facts.foreign:
        found.append(f"another Kubernetes node is on this machine ({', '.join(facts.foreign)}); stop it first")
    return found


def ensure_requirements(
    packages: Sequence[Package] = NODE_PACKAGES,
    *,
    progress: Callable[[str], None] = print,
    traces_are_ours: bool = False,
) -> None:
    """Install missing packages where this is Debian and we are root. Raises RequirementsError for what stays missing.

    `traces_are_ours`: what looks like another node on the machine is one of ours that is yet to be cleaned.
    """
    use_system_programs()
    facts = observe(packages, traces_are_ours=traces_are_ours)
    if facts.absent and facts.debian and facts.root:
        names = [package.name for package in facts.absent]
        progress(f"installing the Debian packages {' '.join(names)}")
        _install(names)
        facts = observe(packages, traces_are_ours=traces_are_ours)
    missing = missing_requirements(facts)
    if missing:
        raise RequirementsError("the real node cannot run here:\n" + "\n".join(f"  - {line}" for line in missing))


def use_system_programs() -> None:
    """Put the directories of iptables and the like on PATH, for this process and its children: `su` leaves them out."""
    there = os.environ.get("PATH", "").split(":")
    os.environ["PATH"] = ":".join([*there, *(path for path in _SYSTEM_PROGRAMS if path not in there)])


def observe(packages: Sequence[Package], *, traces_are_ours: bool = False) -> Facts:
    """Look at this machine."""
    linux = platform.system() == "Linux"
    return Facts(
        system=platform.system(),
        root=os.geteuid() == 0,
        cgroups=linux and " /sys/fs/cgroup" in _MOUNTED.read_text(),
        settings_writable=linux and not _read_only("/proc/sys"),
        overlay=linux and "overlay" in Path("/proc/filesystems").read_text(),
        absent=tuple(package for package in packages if not all(map(_is_there, package.programs))),
        foreign=tuple(_foreign()) if linux and not traces_are_ours else (),
        debian=Path("/etc/debian_version").exists() and shutil.which("apt-get") is not None,
    )


def _is_there(program: str) -> bool:
    return shutil.which(program) is not None


def _read_only(mount_point: str) -> bool:
    lines = [line.split() for line in _MOUNTED.read_text().splitlines()]
    return any(fields[1] == mount_point and "ro" in fields[3].split(",") for fields in lines)


def _foreign() -> list[str]:
    found = [f"the cgroup {path}" for path in machine.pod_cgroups()]
    if os.geteuid() == 0 and _is_there("iptables-save"):
        rules = [chain for chain in machine.chains() if " KUBE-" in chain]
        found += [f"{len(rules)} KUBE-* chains in iptables"] if rules else []
    return found


def _install(names: Sequence[str]) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "--yes", "--no-install-recommends", *names]
    done = subprocess.run(install, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:  # the lists of packages may be old, or not there at all
        subprocess.run(["apt-get", "update"], capture_output=True, check=False, env=environment)
        done = subprocess.run(install, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-10:])
        raise RequirementsError(f"`{' '.join(install)}` exited with {done.returncode}:\n{tail}")


def main() -> int:
    """Everything that the e2e tier needs of Debian. Exit codes: 0 all is there, 1 something is missing."""
    try:
        ensure_requirements(E2E_PACKAGES, traces_are_ours=NodeLayout().state.exists())
    except RequirementsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"all of {', '.join(package.name for package in E2E_PACKAGES)} is there")
    return 0


if __name__ == "__main__":
    sys.exit(main())
