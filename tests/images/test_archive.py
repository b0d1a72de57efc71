"""Archives are written here as buildah writes them: layers in a tar, named by manifest.json."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from e2e.images.archive import read_config, read_sizes, unpack
from e2e.images.errors import ImageError

CONFIG = {"config": {"User": "65532:65532", "Env": ["PATH=/bin"]}}


def tar_of(files: Mapping[str, bytes | None]) -> bytes:
    """A tar of files; None makes a directory."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.mode = 0o755
            if content is None:
                member.type = tarfile.DIRTYPE
            else:
                member.size = len(content)
            tar.addfile(member, io.BytesIO(content or b""))
    return stream.getvalue()


def archive_of(path: Path, layers: Sequence[Mapping[str, bytes | None]]) -> Path:
    tars = {f"layer{number}.tar": tar_of(layer) for number, layer in enumerate(layers)}
    manifest = [{"Config": "config.json", "Layers": list(tars)}]
    path.write_bytes(
        tar_of({**tars, "config.json": json.dumps(CONFIG).encode(), "manifest.json": json.dumps(manifest).encode()})
    )
    return path


def test_the_first_layer_is_the_base(tmp_path: Path) -> None:
    layers: list[Mapping[str, bytes | None]] = [{"a": b"x" * 20_000}, {"b": b"x"}, {"c": b"x"}]
    sizes = read_sizes(archive_of(tmp_path / "i.tar", layers))
    assert (sizes.base, sizes.layers) == (len(tar_of(layers[0])), len(tar_of(layers[1])) + len(tar_of(layers[2])))
    assert sizes.total == sizes.base + sizes.layers


def test_the_configuration_is_read(tmp_path: Path) -> None:
    assert read_config(archive_of(tmp_path / "i.tar", [{"a": b""}])) == CONFIG


def test_later_layers_replace_remove_and_add(tmp_path: Path) -> None:
    archive = archive_of(
        tmp_path / "i.tar",
        [
            {"etc": None, "etc/keep": b"1", "etc/gone": b"1", "etc/changed": b"1", "old": None, "old/x": b"1"},
            {"etc/.wh.gone": b"", "etc/changed": b"2", "old": None, "old/.wh..wh..opq": b"", "old/y": b"2"},
            {"d": None, "d/e": b"3"},
            {".wh.d": b""},
        ],
    )  # fmt: skip
    unpack(archive, tmp_path / "root")
    found = {
        str(path.relative_to(tmp_path / "root")): path.read_text()
        for path in (tmp_path / "root").rglob("*")
        if path.is_file()
    }
    assert found == {"etc/keep": "1", "etc/changed": "2", "old/y": "2"}
    assert not (tmp_path / "root" / "d").exists()


def test_a_damaged_archive_is_named_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "i.tar").write_bytes(b"no tar")
    with pytest.raises(ImageError, match=r"i\.tar is not a whole image archive: .*; remove it and build again"):
        read_sizes(tmp_path / "i.tar")
