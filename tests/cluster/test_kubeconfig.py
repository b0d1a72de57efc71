"""Kubeconfig files."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from e2e.cluster.errors import ClusterError
from e2e.cluster.kubeconfig import Credentials, read_kubeconfig, write_kubeconfig


def test_what_is_written_is_read_back_and_is_private(tmp_path: Path) -> None:
    credentials = Credentials("https://127.0.0.1:1", b"ca", token="secret", namespace="demo")
    path = write_kubeconfig(tmp_path / "config", credentials)
    assert read_kubeconfig(path) == credentials
    assert path.stat().st_mode & 0o777 == 0o600
    assert "secret" not in repr(credentials)


def test_a_sign_in_that_needs_a_program_is_refused_by_name(tmp_path: Path) -> None:
    path = write_kubeconfig(tmp_path / "config", Credentials("https://127.0.0.1:1"))
    document = yaml.safe_load(path.read_text())
    document["users"][0]["user"] = {"exec": {"command": "cloud-login"}}
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(ClusterError, match=r"user 'user' signs in by 'exec'; allowed here: a client certificate or a"):
        read_kubeconfig(path)


def test_a_context_that_names_nothing_is_said(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text("current-context: gone\ncontexts: []\n")
    with pytest.raises(ClusterError, match="contexts has no entry named 'gone'"):
        read_kubeconfig(path)
