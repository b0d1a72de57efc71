"""Volumes as directories of the host, and mount paths rewritten to them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from e2e.cluster.pod_spec import NotStartableError
from e2e.cluster.pod_volumes import Mount, materialise, rewriter

MOUNTS = [Mount("/etc/web", Path("/h/config")), Mount("/tmp", Path("/h/tmp")), Mount("/etc/web/tls", Path("/h/tls"))]


@pytest.mark.parametrize(
    ("text", "rewritten"),
    [
        ("/etc/web", "/h/config"),
        ("/etc/web/app.yaml", "/h/config/app.yaml"),
        ("/etc/web/tls/ca.crt", "/h/tls/ca.crt"),
        ("--config=/etc/web/app.yaml", "--config=/h/config/app.yaml"),
        ("file:///tmp/x", "file:///h/tmp/x"),
        ("/tmp:/etc/web", "/h/tmp:/h/config"),
        ("/etc/website", "/etc/website"),
        ("/var/tmp", "/var/tmp"),
        ("https://example.org/tmp/x", "https://example.org/tmp/x"),
        ("../tmp", "../tmp"),
    ],
)
def test_mount_paths_are_rewritten_where_they_stand_as_paths(text: str, rewritten: str) -> None:
    assert rewriter(MOUNTS)(text) == rewritten


def test_without_mounts_every_text_stays() -> None:
    assert rewriter([])("/tmp") == "/tmp"


class Stored:
    def config_map(self, name: str) -> Mapping[str, bytes] | None:
        return {"app.yaml": b"a: 1", "other": b"x"} if name == "web" else None

    def secret(self, name: str) -> Mapping[str, bytes] | None:
        return {"key": b"\xff\x00"} if name == "login" else None

    def token(self, service_account: str, source: Mapping[str, Any]) -> str:
        return f"token of {service_account} for {source['audience']}"


def pod(volume: dict[str, Any], **mount: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "p", "namespace": "n", "uid": "u"},
        "spec": {
            "volumes": [{"name": "v", **volume}],
            "containers": [{"name": "c", "volumeMounts": [{"name": "v", "mountPath": "/v", **mount}]}],
        },
    }


def written(tmp_path: Path, volume: dict[str, Any]) -> dict[str, bytes]:
    (mount,) = materialise(pod(volume), Stored(), tmp_path)
    return {str(path.relative_to(mount.host)): path.read_bytes() for path in mount.host.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("volume", "files"),
    [
        ({"configMap": {"name": "web"}}, {"app.yaml": b"a: 1", "other": b"x"}),
        ({"configMap": {"name": "web", "items": [{"key": "other", "path": "a/b"}]}}, {"a/b": b"x"}),
        ({"configMap": {"name": "none", "optional": True}}, {}),
        ({"secret": {"secretName": "login"}}, {"key": b"\xff\x00"}),
        ({"emptyDir": {}}, {}),
        (
            {
                "projected": {
                    "sources": [
                        {"serviceAccountToken": {"path": "token", "audience": "vault"}},
                        {"configMap": {"name": "web", "items": [{"key": "other", "path": "o"}]}},
                        {"downwardAPI": {"items": [{"path": "ns", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
                    ]
                }
            },
            {"token": b"token of default for vault", "o": b"x", "ns": b"n"},
        ),
    ],
)
def test_each_kind_of_volume_is_written(tmp_path: Path, volume: dict[str, Any], files: dict[str, bytes]) -> None:
    assert written(tmp_path, volume) == files


@pytest.mark.parametrize(
    ("volume", "message"),
    [
        ({"configMap": {"name": "none"}}, 'MountVolume.SetUp failed for volume "v": configmap "none" not found'),
        ({"secret": {"secretName": "none"}}, 'MountVolume.SetUp failed for volume "v": secret "none" not found'),
        (
            {"configMap": {"name": "web", "items": [{"key": "gone", "path": "x"}]}},
            'MountVolume.SetUp failed for volume "v": references non-existent key "gone" in configMap web',
        ),
    ],
)
def test_a_missing_source_is_named(tmp_path: Path, volume: dict[str, Any], message: str) -> None:
    with pytest.raises(NotStartableError) as caught:
        materialise(pod(volume), Stored(), tmp_path)
    assert (caught.value.reason, str(caught.value)) == ("ContainerCreating", message)


def test_a_mode_is_kept_and_a_sub_path_is_one_file(tmp_path: Path) -> None:
    volume = {"secret": {"secretName": "login", "defaultMode": 0o400}}
    (mount,) = materialise(pod(volume, subPath="key"), Stored(), tmp_path)
    assert mount.host.read_bytes() == b"\xff\x00"
    assert mount.host.stat().st_mode & 0o777 == 0o400
