"""An image of one static program, as an archive that containerd imports: made here, pulled from nowhere."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from pathlib import Path

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def write_image_archive(path: Path, program: Path, reference: str) -> Path:
    """Write a docker-archive of an image whose only file and entry point is `program`; returns `path`.

    `reference` is fully qualified, such as `localhost/tiny:1`. The same program gives the same bytes.
    """
    layer = _tar({program.name: (program.read_bytes(), 0o755)})
    config = {
        "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {"Entrypoint": [f"/{program.name}"], "User": "65532:65532", "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{_digest(layer)}"]},
        "history": [{"created_by": f"the program {program.name}"}],
    }
    config_text = json.dumps(config, sort_keys=True).encode()
    names = f"{_digest(config_text)}.json", f"{_digest(layer)}/layer.tar"
    manifest = [{"Config": names[0], "RepoTags": [reference], "Layers": [names[1]]}]
    members = {
        names[0]: (config_text, 0o644),
        names[1]: (layer, 0o644),
        "manifest.json": (json.dumps(manifest).encode(), 0o644),
    }
    path.write_bytes(_tar(members))
    return path


def _tar(members: dict[str, tuple[bytes, int]]) -> bytes:
    """A tar of files, by name: content and mode. No time and no owner of this machine goes in."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, (content, mode) in members.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
