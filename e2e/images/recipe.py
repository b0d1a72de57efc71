"""Which images are built, and from what: everything here is part of an image's key, so a change here builds anew."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from e2e.programs import ROOT

# What a build runs; `e2e.node.requirements` installs it.
REQUIRED_PROGRAMS: Final = ("buildah", "chroot", "debootstrap", "unshare")

BASE_REFERENCE: Final = "localhost/sibyl-base:1"
SUITE: Final = "bookworm"
BASE_PACKAGES: Final = ("ca-certificates", "python3", "python3-venv")
# What nobody reads in a container, as in the slim images of Debian; and what debootstrap copies from the machine.
BASE_LEFT_OUT: Final = (
    "etc/hostname", "etc/resolv.conf", "usr/share/doc", "usr/share/info", "usr/share/lintian", "usr/share/locale",
    "usr/share/man", "var/cache/apt", "var/cache/debconf", "var/lib/apt/lists", "var/log",
)  # fmt: skip


@dataclass(frozen=True)
class Image:
    """An image by its reference, and the Dockerfile and the files of the repository that it is made of."""

    reference: str
    dockerfile: str
    inputs: tuple[str, ...]
    target: str | None = None

    @property
    def name(self) -> str:
        """The last part of the reference without its tag."""
        return self.reference.rpartition("/")[2].partition(":")[0]


_PROJECT = (".dockerignore", "LICENSE", "README.md", "constraints.txt", "operator", "pyproject.toml", "runtime")

OPERATOR: Final = Image("localhost/sibyl-operator:e2e", "operator/Dockerfile", _PROJECT)
RUNTIME: Final = Image("localhost/sibyl-runtime:e2e", "runtime/Dockerfile", _PROJECT, target="runtime")
POSTGRES: Final = Image("localhost/postgres:18", "e2e/images/postgres.Dockerfile", ("constraints.txt",))
REDIS: Final = Image("localhost/redis:7", "e2e/images/redis.Dockerfile", ())
IMAGES: Final = (OPERATOR, RUNTIME, POSTGRES, REDIS)
"""What the node runs."""

FAISS: Final = Image("localhost/sibyl-runtime-faiss:e2e", "runtime/Dockerfile", _PROJECT, target="faiss")
OTEL: Final = Image("localhost/sibyl-runtime-otel:e2e", "runtime/Dockerfile", _PROJECT, target="otel")
TARGETS: Final = (FAISS, OTEL)
"""The runtime with what an extra brings. Torch's target, several GB, is not built by the tests."""


def base_key() -> str:
    """A key that changes with anything that changes the base, but for Debian's own updates."""
    return _digest({"suite": SUITE, "packages": BASE_PACKAGES, "left_out": BASE_LEFT_OUT, "cpu": platform.machine()})


def image_key(image: Image, root: Path = ROOT) -> str:
    """A key that changes with the image's recipe, its base, or any byte of the files that it is made of."""
    return _digest({"image": asdict(image), "base": base_key()}, _contents(root, (image.dockerfile, *image.inputs)))


def _digest(recipe: object, contents: Iterable[bytes] = ()) -> str:
    digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode())
    for content in contents:
        digest.update(content)
    return digest.hexdigest()[:16]


def _contents(root: Path, inputs: Iterable[str]) -> Iterator[bytes]:
    """Every file's path below `root`, whether it may be executed, and the hash of its content."""
    for entry in inputs:
        for path in _files(root / entry):
            executable = bool(path.stat().st_mode & 0o100)
            yield f"\n{path.relative_to(root)} {executable} ".encode()
            yield hashlib.sha256(path.read_bytes()).digest()


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return sorted(file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
