"""The archive that a program is wrapped in: complete, and the same for the same program."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

from e2e.node.image_archive import write_image_archive


def test_the_archive_is_what_its_manifest_and_digests_say(tmp_path: Path) -> None:
    program = tmp_path / "tiny"
    program.write_bytes(b"program")
    path = write_image_archive(tmp_path / "image.tar", program, "localhost/tiny:1")
    with tarfile.open(path) as archive:
        content = {name: _read(archive, name) for name in archive.getnames()}
    (manifest,) = json.loads(content["manifest.json"])
    assert manifest["RepoTags"] == ["localhost/tiny:1"]
    config, layer = content[manifest["Config"]], content[manifest["Layers"][0]]
    assert manifest["Config"] == f"{hashlib.sha256(config).hexdigest()}.json"
    assert json.loads(config)["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}"]
    assert json.loads(config)["config"]["Entrypoint"] == ["/tiny"]
    with tarfile.open(fileobj=io.BytesIO(layer)) as files:
        assert (_read(files, "tiny"), files.getmember("tiny").mode) == (b"program", 0o755)


def test_the_same_program_gives_the_same_bytes(tmp_path: Path) -> None:
    program = tmp_path / "tiny"
    program.write_bytes(b"program")
    archives = [write_image_archive(tmp_path / name, program, "localhost/tiny:1") for name in ("a.tar", "b.tar")]
    assert archives[0].read_bytes() == archives[1].read_bytes()


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    assert file is not None
    return file.read()
