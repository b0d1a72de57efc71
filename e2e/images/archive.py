"""Reads the archives that buildah writes: how large an image is, what its configuration says, what files it has."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from e2e.images.errors import ImageError

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"


@dataclass(frozen=True)
class Sizes:
    """Bytes of the layers, uncompressed: of the base, and of all that was put on it."""

    base: int
    layers: int

    @property
    def total(self) -> int:
        return self.base + self.layers


def read_config(archive: Path) -> Mapping[str, Any]:
    """The image's configuration: `config` (environment, user, entry point, labels) and `history`."""
    with _opened(archive) as tar:
        config: Mapping[str, Any] = _json(tar, _manifest(tar)["Config"])
        return config


def read_sizes(archive: Path) -> Sizes:
    """The first layer is the base: those of this project's tests have one."""
    with _opened(archive) as tar:
        base, *rest = [tar.getmember(name).size for name in _layers(tar)]
        return Sizes(base, sum(rest))


def unpack(archive: Path, directory: Path) -> None:
    """Write the files of the image to `directory`, layer over layer. Owners are kept where this process may."""
    with _opened(archive) as tar:
        for name in _layers(tar):
            stream = tar.extractfile(name)
            if stream is None:
                raise ImageError(f"{archive}: the layer {name} is no file")
            with tarfile.open(fileobj=stream) as layer:
                _lay_over(layer, directory)


def _lay_over(layer: tarfile.TarFile, directory: Path) -> None:
    for member in layer:
        path = PurePosixPath(member.name)
        if path.name == _OPAQUE:
            for entry in (directory / path.parent).iterdir():
                _remove(entry)
        elif path.name.startswith(_WHITEOUT):
            _remove(directory / path.parent / path.name.removeprefix(_WHITEOUT))
        else:
            target = directory / path
            if target.is_symlink() or (target.exists() and not member.isdir()):
                _remove(target)
            layer.extract(member, directory, numeric_owner=True, filter="tar")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _opened(archive: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(archive, "r:") as tar:
            yield tar
    except (tarfile.TarError, KeyError, ValueError) as error:
        raise ImageError(f"{archive} is not a whole image archive: {error}; remove it and build again") from error


def _manifest(tar: tarfile.TarFile) -> Mapping[str, Any]:
    [manifest] = _json(tar, "manifest.json")
    found: Mapping[str, Any] = manifest
    return found


def _layers(tar: tarfile.TarFile) -> list[str]:
    names: list[str] = _manifest(tar)["Layers"]
    return names


def _json(tar: tarfile.TarFile, name: str) -> Any:
    stream = tar.extractfile(name)
    return json.load(stream) if stream is not None else None
