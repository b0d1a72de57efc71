"""Where the API server is: read from a file or a pod, refused in words, and never shown with its secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from sibyl_operator.kube.config import KubeconfigError, credentials, load_configuration


def kubeconfig(path: Path, **user: Any) -> str:
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": "https://example.invalid:6443"}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(yaml.safe_dump(content))
    return str(path)


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("user", "scheme", "token"),
    [
        ({"token": "t0ken"}, "Bearer", "t0ken"),
        ({"username": "me", "password": "secret"}, "Basic", "bWU6c2VjcmV0"),
        ({}, None, None),
    ],
)
async def test_credentials_come_from_the_user_of_the_context(
    tmp_path: Path, user: dict[str, str], scheme: str | None, token: str | None
) -> None:
    found = await credentials(await load_configuration(kubeconfig(tmp_path / "config", **user)))
    assert (found.server, found.scheme, found.token) == ("https://example.invalid:6443", scheme, token)
    assert repr(found) == "Credentials(server='https://example.invalid:6443')"


async def test_the_environment_names_the_file_and_the_home_directory_is_the_last_resort(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".kube").mkdir()
    kubeconfig(tmp_path / ".kube" / "config", token="home")
    assert (await credentials(await load_configuration())).token == "home"
    monkeypatch.setenv("KUBECONFIG", kubeconfig(tmp_path / "other", token="environment"))
    assert (await credentials(await load_configuration())).token == "environment"
    assert (await credentials(await load_configuration(kubeconfig(tmp_path / "flag", token="flag")))).token == "flag"


async def test_no_cluster_at_all_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(KubeconfigError, match=r"\.kube/config does not exist.*Set KUBECONFIG, or pass --kubeconfig"):
        await load_configuration()
    with pytest.raises(KubeconfigError, match="absent does not exist"):
        await load_configuration(str(tmp_path / "absent"))


@pytest.mark.parametrize("text", ["{", "kind: Config\n", "- a\n"])
async def test_a_file_that_is_no_kubeconfig_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "broken").write_text(text)
    with pytest.raises(KubeconfigError, match="cannot read the API server's address"):
        await load_configuration(str(tmp_path / "broken"))


async def test_in_a_pod_without_a_service_account_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    with pytest.raises(KubeconfigError, match="cannot read the API server's address"):
        await load_configuration()
