from __future__ import annotations

import os
from pathlib import Path

import pytest

from e2e.images.build import archive_of, ensure_images
from e2e.images.errors import ImageError
from e2e.images.recipe import IMAGES, POSTGRES, REDIS
from tests.images.test_archive import archive_of as write_archive


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    directory = tmp_path / "sibyl-testcluster" / "images"
    directory.mkdir(parents=True)
    return directory


def quiet(_line: str) -> None:
    pass


def test_archives_in_the_cache_are_used_on_a_machine_that_cannot_build(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    for image in IMAGES:
        write_archive(archive_of(image, cache), [{"base": b""}, {"ours": b"x" * 20_000}])
    built = ensure_images(IMAGES, quiet, {"XDG_CACHE_HOME": str(tmp_path)})
    assert [image.reference for image in built] == [image.reference for image in IMAGES]
    assert all(image.seconds == 0 and image.sizes.layers > 20_000 for image in built)


def test_a_machine_without_the_programs_is_told_what_to_install(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    write_archive(archive_of(REDIS, cache), [{"base": b""}])
    with pytest.raises(ImageError) as caught:
        ensure_images([REDIS, POSTGRES], quiet, {"XDG_CACHE_HOME": str(tmp_path)})
    assert str(caught.value).startswith(
        "cannot build localhost/postgres:18: no buildah, chroot, debootstrap, unshare on PATH "
        "(`python -m e2e.node.requirements` installs them)"
    )


def test_what_a_killed_build_left_behind_is_removed(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    (cache / ".build-killed" / "storage").mkdir(parents=True)
    with pytest.raises(ImageError):
        ensure_images([REDIS], quiet, {"XDG_CACHE_HOME": str(tmp_path)})
    assert os.listdir(cache) == ["lock"]
