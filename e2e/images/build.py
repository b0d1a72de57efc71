"""Get the images: from the cache, or by building from nothing those whose inputs changed.

An archive is filed under the hash of what it was made from and appears by one rename. The storage of a build lives in
one directory that is removed afterwards; what a killed build left behind is removed by the next.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from e2e.cluster.binaries import cache_root, progress_lines
from e2e.cluster.locking import locked
from e2e.images.archive import Sizes, read_sizes
from e2e.images.base import make_base
from e2e.images.buildah import Buildah
from e2e.images.errors import ImageError
from e2e.images.recipe import (
    BASE_REFERENCE,
    IMAGES,
    REQUIRED_PROGRAMS,
    Image,
    base_key,
    image_key,
)
from e2e.images.steps import Progress

_SCRATCH = ".build-"


@dataclass(frozen=True)
class Built:
    """An image's archive. `seconds` is what this run spent on it: 0 where it came from the cache."""

    reference: str
    archive: Path
    sizes: Sizes
    seconds: float


def ensure_images(
    images: Sequence[Image] = IMAGES,
    progress: Progress | None = None,
    environment: Mapping[str, str] = os.environ,
) -> list[Built]:
    """The archives of `images`, in their order; what is missing is built. Two runs at once build only once.

    Raises ImageError for a machine that cannot build, and for a build that fails.
    """
    cache = cache_root(environment) / "images"
    archives = {image: archive_of(image, cache) for image in images}
    with progress_lines(progress) as report:
        cache.mkdir(parents=True, exist_ok=True)
        spent: dict[Image, float] = {}
        if not all(archive.is_file() for archive in archives.values()):
            with locked(cache / "lock", "the images", report):
                spent = _build_missing(archives, cache, report, environment)
    return [
        Built(image.reference, archive, read_sizes(archive), spent.get(image, 0.0))
        for image, archive in archives.items()
    ]


def archive_of(image: Image, cache: Path) -> Path:
    """Where the archive of an image is, or will be."""
    return cache / f"{image.name}-{image_key(image)}.tar"


def missing_on_this_machine() -> list[str]:
    """What keeps this machine from building images, in words; empty where it can."""
    lacking = [program for program in REQUIRED_PROGRAMS if shutil.which(program) is None]
    found = [f"no {', '.join(lacking)} on PATH (`python -m e2e.node.requirements` installs them)"] if lacking else []
    return found + ([] if os.geteuid() == 0 else ["images are built as root"])


def _build_missing(
    archives: Mapping[Image, Path], cache: Path, progress: Progress, environment: Mapping[str, str]
) -> dict[Image, float]:
    """The seconds that each image took. The caller holds the lock."""
    for left_over in cache.glob(f"{_SCRATCH}*"):
        shutil.rmtree(left_over)
    missing = {image: archive for image, archive in archives.items() if not archive.is_file()}
    if missing and (obstacles := missing_on_this_machine()):
        raise ImageError(f"cannot build {', '.join(image.reference for image in missing)}: {'; '.join(obstacles)}")
    spent = {}
    with tempfile.TemporaryDirectory(dir=cache, prefix=_SCRATCH) as scratch:
        buildah = Buildah(Path(scratch), progress, environment)
        if missing:
            _load_base(buildah, cache, Path(scratch), progress)
        for image, archive in missing.items():
            started = time.monotonic()
            _build(buildah, image, archive, Path(scratch))
            spent[image] = time.monotonic() - started
    return spent


def _build(buildah: Buildah, image: Image, archive: Path, scratch: Path) -> None:
    buildah.build(image)
    if archive_of(image, archive.parent) != archive:
        raise ImageError(f"files of {image.reference} were changed while it was built: build it again")
    _save(buildah, image.reference, archive, scratch)
    buildah.forget(image.reference)


def _load_base(buildah: Buildah, cache: Path, scratch: Path, progress: Progress) -> None:
    archive = cache / f"base-{base_key()}.tar"
    if archive.is_file():
        buildah.load(archive)
        return
    rootfs = scratch / "rootfs"
    make_base(rootfs, scratch / "log", progress)
    buildah.import_directory(rootfs, BASE_REFERENCE)
    shutil.rmtree(rootfs)
    _save(buildah, BASE_REFERENCE, archive, scratch)


def _save(buildah: Buildah, reference: str, archive: Path, scratch: Path) -> None:
    """Write the archive whole, then remove those of the same image that were made from other inputs."""
    temporary = scratch / archive.name
    buildah.save(reference, temporary)
    temporary.rename(archive)
    stem = archive.stem.rpartition("-")[0]
    for other in archive.parent.glob(f"{stem}-{'[0-9a-f]' * 16}.tar"):
        if other != archive:
            other.unlink()
