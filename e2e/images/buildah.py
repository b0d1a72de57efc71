"""Builds with buildah in a storage of its own, below one directory that can be removed with everything in it.

Each command has a mount namespace of its own: what it mounts is gone with it, also when it fails or is killed.
The machine's settings for pip reach a build by name and its certificates by a mount: `--unsetenv` takes the names out
of the image again, so that nothing of the machine is in what is built.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from e2e.images.recipe import BASE_REFERENCE, Image
from e2e.images.steps import Progress, run_step
from e2e.programs import ROOT

CERTIFICATES = Path("/etc/ssl/certs")
_POLICY = '{"default": [{"type": "insecureAcceptAnything"}]}'


class Buildah:
    """A buildah whose storage, temporary files and log are below `directory`."""

    def __init__(self, directory: Path, progress: Progress, environment: Mapping[str, str] = os.environ) -> None:
        self._directory = directory
        self._progress = progress
        self._pip = sorted(name for name in environment if name.startswith("PIP_"))
        self._environment = {
            **environment,
            "BUILDAH_ISOLATION": "chroot",
            "TMPDIR": str(directory),
        }
        self._policy = directory / "policy.json"
        self._policy.write_text(_POLICY)

    def import_directory(self, rootfs: Path, reference: str) -> None:
        """Make an image of one layer from a directory."""
        self._run("taking the base in", "from", "--name", "base", "scratch")
        self._run("taking the base in", "add", "--quiet", "base", rootfs, "/")
        self._run("taking the base in", "commit", "--quiet", self._trust, "--rm", "base", reference)

    def load(self, archive: Path) -> None:
        """Take the image of an archive into the storage, under the name that it has there."""
        self._run("loading the base", "pull", "--quiet", self._trust, f"docker-archive:{archive}")

    def build(self, image: Image) -> None:
        """Build an image from its Dockerfile in the repository. Raises ImageError with the end of the output."""
        options = [option for name in self._pip for option in ("--env", name, "--unsetenv", name)]
        if CERTIFICATES.is_dir():
            options += ["--volume", f"{CERTIFICATES}:{CERTIFICATES}:ro"]
        if image.target is not None:
            options += ["--target", image.target]
        self._run(
            f"building {image.reference}", "build", self._trust, "--network=host", "--pull-never",
            f"--build-arg=BASE={BASE_REFERENCE}", *options, f"--file={ROOT / image.dockerfile}",
            f"--tag={image.reference}", ROOT,
        )  # fmt: skip

    def save(self, reference: str, archive: Path) -> None:
        """Write an image as a docker-archive, the form that containerd imports."""
        target = f"docker-archive:{archive}:{reference}"
        self._run(f"saving {reference}", "push", "--quiet", self._trust, reference, target)

    def forget(self, reference: str) -> None:
        """Remove an image and what only it holds: this storage keeps a whole copy of the files for every layer."""
        self._run(f"clearing up after {reference}", "rmi", "--force", reference)
        self._run(f"clearing up after {reference}", "rmi", "--prune", "--force")

    @property
    def _trust(self) -> str:
        return f"--signature-policy={self._policy}"

    def _run(self, what: str, command: str, *arguments: str | Path) -> None:
        # $STORAGE_DRIVER is not read where the root is given.
        storage = [
            "--storage-driver=vfs",
            f"--root={self._directory / 'storage'}",
            f"--runroot={self._directory / 'run'}",
        ]
        run_step(
            what, ["unshare", "--mount", "--propagation=private", "buildah", *storage, command, *arguments],
            log=self._directory / "log", progress=self._progress, env=self._environment,
        )  # fmt: skip
